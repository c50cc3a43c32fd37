"""A committee: servers that are all different, a collector, an epoch, and one encoding of it all.

specs/20-additive.md §3. Rows 2, 3, 9, 23, 33, 46, 50, 51.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from secagg.committee import Committee, ServerKeys, ServerSecrets, opening_secret
from secagg.crypto import agree, sign
from secagg.errors import CryptoError, InvalidKey, ParameterError, SecAggError
from secagg.testing import counter_randomness
from secagg.types import MAX_SERVERS
from tests.ensembles import keys_of

COMMITTEE = keys_of(3, epoch=5).committee


def test_the_encoding() -> None:
    """u8 m, for each server sealing and signing key, the collector's key, u32 epoch."""
    listed = b"".join(s.sealing + s.signing for s in COMMITTEE.servers)
    expected = b"\x03" + listed + COMMITTEE.collector + (5).to_bytes(4)
    assert COMMITTEE.encode() == expected
    assert Committee.decode(expected) == COMMITTEE
    assert Committee.decode(memoryview(expected)).digest == COMMITTEE.digest
    assert len(COMMITTEE.digest) == 32


def test_every_length_but_the_right_one_is_refused() -> None:
    """Rows 2 and 3."""
    data = COMMITTEE.encode()
    for size in range(len(data)):
        with pytest.raises(SecAggError):
            Committee.decode(data[:size])
    with pytest.raises(SecAggError):
        Committee.decode(data + b"\0")


def test_every_part_is_in_the_digest() -> None:
    data, digests = COMMITTEE.encode(), {COMMITTEE.digest}
    for at in range(len(data)):
        try:
            other = Committee.decode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        except SecAggError:
            continue  # some keys are none when a bit flips
        assert other != COMMITTEE
        digests.add(other.digest)
    assert len(digests) > 100
    swapped = replace(COMMITTEE, servers=COMMITTEE.servers[::-1])
    assert swapped.digest not in digests  # the first of them is the leader


@pytest.mark.parametrize("count", [0, 1, MAX_SERVERS + 1, 255])
def test_too_few_or_too_many_servers(count: int) -> None:
    """Row 46."""
    servers = tuple(COMMITTEE.servers[0] for _ in range(count))
    with pytest.raises(ParameterError, match="servers"):
        Committee(servers, COMMITTEE.collector, 0)


def test_the_most_servers() -> None:
    keys = keys_of(MAX_SERVERS)
    assert Committee.decode(keys.committee.encode()) == keys.committee


@pytest.mark.parametrize("epoch", [-1, 1 << 32])
def test_epochs_outside_32_bits(epoch: int) -> None:
    with pytest.raises(ParameterError, match="epoch"):
        replace(COMMITTEE, epoch=epoch)


def _repeated() -> list[dict[str, Any]]:
    one, two, three = COMMITTEE.servers
    return [
        {"servers": (one, two, replace(three, sealing=one.sealing))},
        {"servers": (one, two, replace(three, signing=two.signing))},
        {"servers": (one, one, three)},
        {"collector": one.sealing},
        {"collector": three.sealing},
    ]


@pytest.mark.parametrize("changes", _repeated())
def test_a_key_that_occurs_twice(changes: dict[str, Any]) -> None:
    """Rows 9 and 33: one server under two names would hold two shares."""
    with pytest.raises(ParameterError, match="twice"):
        replace(COMMITTEE, **changes)


def test_keys_that_are_none() -> None:
    """Rows 50 and 51: small order, not canonical, another length."""
    good = COMMITTEE.servers[0]
    low, high = bytes(32), b"\xff" * 32
    for bad in (low, b"\x01" + bytes(31), high, good.sealing[:31], good.sealing + b"\0"):
        with pytest.raises(InvalidKey):
            ServerKeys(bad, good.signing)
        with pytest.raises(InvalidKey):
            replace(COMMITTEE, collector=bad)
    for bad in (low, b"\x01" + bytes(31), high, good.signing[:31]):
        with pytest.raises(InvalidKey):
            ServerKeys(good.sealing, bad)


def test_secrets_come_from_the_randomness_given() -> None:
    first = ServerSecrets.generate(counter_randomness(b"a"))
    assert first == ServerSecrets.generate(counter_randomness(b"a"))
    assert first != ServerSecrets.generate(counter_randomness(b"b"))
    assert ServerSecrets.generate() != ServerSecrets.generate()
    assert first.public.sealing == agree.public_key(first.opening)
    assert first.public.signing == sign.public_key(first.signing)
    assert "redacted" in repr(first)
    assert agree.public_key(opening_secret(counter_randomness(b"c")))


def test_randomness_that_runs_dry() -> None:
    """Row 62: never fewer bytes, never a fallback."""
    for give in (0, 31, 33):
        with pytest.raises(CryptoError, match="randomness"):
            ServerSecrets.generate(lambda size, n=give: bytes(n))
        with pytest.raises(CryptoError, match="randomness"):
            opening_secret(lambda size, n=give: bytes(n))
