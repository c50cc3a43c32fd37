"""The key schedule, against RFC 5869 in a few lines of hmac (specs/10-secagg.md §4)."""

from __future__ import annotations

import hashlib
import hmac
import itertools

import pytest

from secagg.crypto.agree import KeyPair, shared_secret
from secagg.errors import InvalidTag
from secagg.types import Seed, SessionId
from secagg_protocols.secagg import keys
from secagg_protocols.secagg.keys import Endpoint

SESSION = SessionId(bytes(range(32)))
OTHER = SessionId(bytes(32))
PAIRS = [KeyPair.from_random(bytes([i + 1]) * 32) for i in range(4)]
ENDS = [Endpoint(i, pair.public) for i, pair in enumerate(PAIRS)]
B = Seed(bytes(range(100, 132)))


def info(label: str, *parts: bytes | int) -> bytes:
    raw = [b"secagg/v1/" + label.encode()]
    raw += [p.to_bytes(4, "big") if isinstance(p, int) else p for p in parts]
    return b"".join(len(r).to_bytes(4, "big") + r for r in raw)


def expand(key: bytes, context: bytes) -> bytes:
    return hmac.digest(key, context + b"\1", hashlib.sha256)


def hkdf(secret: bytes, context: bytes) -> bytes:
    return expand(hmac.digest(bytes(32), secret, hashlib.sha256), context)


def test_commitment() -> None:
    assert keys.commit(B, SESSION, 3) == expand(B.expose(), info("commit-b", SESSION, 3))


def test_self_keys() -> None:
    expected = tuple(hkdf(B.expose(), info("self", SESSION, 3, segment)) for segment in range(2))
    assert keys.self_keys(B, SESSION, 3, 2) == expected


def test_pair_keys() -> None:
    """Lower index first with its key, whoever computes it."""
    shared = shared_secret(PAIRS[1].secret, PAIRS[2].public).expose()
    context = (SESSION, 1, ENDS[1].public, 2, ENDS[2].public)
    expected = tuple(hkdf(shared, info("mask", *context, segment)) for segment in range(3))
    assert keys.pair_keys(PAIRS[1].secret, ENDS[1], ENDS[2], SESSION, 3) == expected
    assert keys.pair_keys(PAIRS[2].secret, ENDS[2], ENDS[1], SESSION, 3) == expected


def test_pair_keys_depend_on_everything() -> None:
    secret = PAIRS[0].secret
    found = [
        *keys.pair_keys(secret, ENDS[0], ENDS[1], SESSION, 2),
        *keys.pair_keys(secret, ENDS[0], ENDS[1], OTHER, 2),
        *keys.pair_keys(secret, ENDS[0], ENDS[2], SESSION, 2),
        *keys.pair_keys(secret, ENDS[0], Endpoint(3, ENDS[1].public), SESSION, 2),
        *keys.pair_keys(secret, Endpoint(2, ENDS[0].public), ENDS[1], SESSION, 2),
    ]
    assert len(set(found)) == 10


@pytest.mark.parametrize(("own", "peer"), list(itertools.permutations(range(3), 2)))
def test_signs_cancel(own: int, peer: int) -> None:
    assert keys.sign(own, peer) == (1 if own < peer else -1)
    assert keys.sign(own, peer) + keys.sign(peer, own) == 0


SHARED = shared_secret(PAIRS[0].secret, PAIRS[1].public)
SEALED = keys.seal_pair(SHARED, SESSION, ENDS[0], ENDS[1], b"a pair of shares")


def test_a_pair_opens_at_its_holder() -> None:
    theirs = shared_secret(PAIRS[1].secret, PAIRS[0].public)
    assert keys.unseal_pair(theirs, SESSION, ENDS[0], ENDS[1], SEALED) == b"a pair of shares"


@pytest.mark.parametrize(
    ("session", "dealer", "holder"),
    [
        (OTHER, ENDS[0], ENDS[1]),
        (SESSION, ENDS[1], ENDS[0]),
        (SESSION, ENDS[2], ENDS[1]),
        (SESSION, ENDS[0], ENDS[2]),
        (SESSION, Endpoint(3, ENDS[0].public), ENDS[1]),
        (SESSION, ENDS[0], Endpoint(3, ENDS[1].public)),
    ],
    ids=["session", "direction", "dealer", "holder", "dealer index", "holder index"],
)
def test_row_53_it_opens_nowhere_else(
    session: SessionId, dealer: Endpoint, holder: Endpoint
) -> None:
    with pytest.raises(InvalidTag):
        keys.unseal_pair(SHARED, session, dealer, holder, SEALED)


def test_directions_have_keys_of_their_own() -> None:
    other = keys.seal_pair(SHARED, SESSION, ENDS[1], ENDS[0], b"a pair of shares")
    assert other != SEALED
