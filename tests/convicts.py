"""Sessions of active mode in which somebody lies so that it can be proved, and the proofs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from secagg import shamir
from secagg.errors import Aborted
from secagg.testing import Act, Carried, Network, Schedule, counter_randomness
from secagg.types import PartyId, Seed
from secagg.wire.codec import Reader
from secagg.wire.header import HEADER_SIZE
from secagg_protocols.secagg import keys
from secagg_protocols.secagg.active import statements
from secagg_protocols.secagg.active.evidence import Kind
from secagg_protocols.secagg.active.messages import (
    Dealt,
    Digests,
    MaskedInput,
    ShareKeys,
    ShareList,
    UnmaskAnswer,
    answer_digest,
    digest_of,
    share_digest,
)
from secagg_protocols.secagg.keys import Endpoint
from secagg_protocols.secagg.messages import SharePair
from tests.active import SERVER_SEED, Cast, seed_of

Lie = Callable[[Network, Carried], bytes]
OTHER = Seed(b"another secret".ljust(32))


def run(cast: Cast, lie: Lie, liars: Collection[PartyId], phase: str, **run: object) -> Network:
    """A session in which these say in that phase what the lie makes of what they would have said;
    or are told it, where the server is among them."""
    network = cast.network(run.get("schedule"))  # type: ignore[arg-type]

    def wire(message: Carried) -> tuple[bytes, ...]:
        speaks = message.sender in liars and message.phase == phase
        return (lie(network, message) if speaks else message.data,)

    network.wire = wire
    return network


def body_of(message: Carried) -> Reader:
    return Reader(message.data[HEADER_SIZE:])


def answered(network: Network, message: Carried, shares: list[bytes]) -> bytes:
    """An answer of these shares, signed as it should be."""
    fixed = network.server._stage.fixed  # type: ignore[attr-defined]
    cohort = fixed.cohort
    index = cohort.index[message.sender]
    digests = [
        share_digest(cohort.session, v, index, b"b" if v in fixed.survivors else b"s", share)
        for v, share in zip(fixed.masked.dealers(index), shares, strict=True)
    ]
    sets = cohort.digest(fixed.survivors), answer_digest(digests)
    said = statements.ANSWER(cohort.session, index, *sets).signed(seed_of(message.sender))
    return UnmaskAnswer(tuple(shares), said).encode(cohort.session)


def wrong_share(of: PartyId) -> Lie:
    """Answers with another share of this dealer than it was dealt."""

    def lie(network: Network, message: Carried) -> bytes:
        fixed = network.server._stage.fixed  # type: ignore[attr-defined]
        index = fixed.cohort.index[message.sender]
        dealers = fixed.masked.dealers(index)
        shares = list(UnmaskAnswer.read(body_of(message), len(dealers)).shares)
        shares[dealers.index(fixed.cohort.index[of])] = bytes(shamir.SHARE_SIZE)
        return answered(network, message, shares)

    return lie


def redealt(
    network: Network, message: Carried, b: Seed | None = None, s: Seed | None = None, bad: int = 0
) -> bytes:
    """Deals shares of other secrets than it announced, signed; or, to its first `bad` neighbours,
    pairs that do not open."""
    client = network.clients[message.sender]
    now = client._now  # type: ignore[attr-defined]
    seat, dealt = now.seat, now.dealt
    threshold, me = client._terms.params.threshold, seat.index  # type: ignore[attr-defined]
    holders = sorted([*dealt.peers, me])
    draw = counter_randomness(b"redealt")
    shares = [
        shamir.split(secret, threshold, [1 + h for h in holders], draw)
        for secret in (b or dealt.b, s or dealt.keys.s.secret)
    ]
    pairs = {h: SharePair(me, h, one, two) for h, one, two in zip(holders, *shares, strict=True)}
    own = Endpoint(me, dealt.keys.c.public)
    to = []
    for number, (v, peer) in enumerate(dealt.peers.items()):
        there = Endpoint(v, peer.c_pk)
        data = pairs[v].encode()
        sealed = keys.seal_pair(dealt.sealing[v], seat.session, own, there, data)
        if number < bad:
            sealed = bytes(len(sealed))
        to.append(Dealt(sealed, Digests.of(seat.session, pairs[v])))
    commitment = keys.commit(dealt.b, seat.session, me)
    said = ShareKeys.of(commitment, to, Digests.of(seat.session, pairs[me]))
    signature = statements.SHARES(seat.session, me, seat.leaf, said.digest)
    signed = replace(said, signature=signature.signed(seed_of(message.sender)))
    return signed.encode(seat.session)


def delivered(network: Network, message: Carried, change: Callable[..., ShareList]) -> bytes:
    """A share list of a server that changes it, signed as it should be."""
    cohort = network.server._stage.cohort  # type: ignore[attr-defined]
    holder = cohort.index[message.to]
    near = frozenset(cohort.neighbours(holder))
    listed = change(ShareList.read(body_of(message), cohort.size, near))
    said = statements.DELIVERY(cohort.session, holder, listed.digest(cohort.size))
    return replace(listed, delivery=said.signed(SERVER_SEED)).encode(cohort.session, cohort.size)


def swapped(listed: ShareList) -> ShareList:
    """The first two dealers' pairs, each as the other's."""
    one, two, *rest = listed.delivered
    return replace(
        listed,
        delivered=(replace(one, sealed=two.sealed), replace(two, sealed=one.sealed), *rest),
    )


# The evidence that the machines make, by kind


def made(network: Network, kind: Kind) -> bytes:
    """The server's, of that kind: who deals wrongly has also a wrong share of its own."""
    (proof,) = (p for p in network.server.evidence() if p[1] == kind)  # type: ignore[attr-defined]
    return bytes(proof)


def proof_of_wrong_share(cast: Cast, liar: int = 0, of: int = 1, drop: bool = False) -> bytes:
    """drop: whether it is of a dealer that was lost, so that the share is of its key."""
    lie = wrong_share(cast.parties[of])
    schedule = Schedule()
    if drop:
        schedule = Schedule({("masked-input", cast.parties[of]): Act.GONE})
    network = run(cast, lie, [cast.parties[liar]], "unmask", schedule=schedule)
    network.run()
    return made(network, Kind.WRONG_SHARE)


def proof_of_wrong_secret(cast: Cast, liar: int = 0, drop: bool = False) -> bytes:
    party = cast.parties[liar]
    secrets = {"s": OTHER} if drop else {"b": OTHER}
    schedule = Schedule()
    if drop:
        schedule = Schedule({("masked-input", party): Act.GONE})
    network = run(
        cast,
        lambda network, message: redealt(network, message, **secrets),
        [party],
        "share-keys",
        schedule=schedule,
    )
    with pytest.raises(Aborted):
        network.run()
    return made(network, Kind.WRONG_SECRET)


def proof_of_complaints(cast: Cast, liar: int = 0) -> bytes:
    bad = cast.params.tolerated + 1
    network = run(
        cast,
        lambda network, message: redealt(network, message, bad=bad),
        [cast.parties[liar]],
        "share-keys",
    )
    with suppress(Aborted):  # fewer than t holders may be left
        network.run()
    return made(network, Kind.COMPLAINTS)


def failing(stage: Any, message: Carried, dealer: int) -> bytes:
    """Reports a dealer whose pair has opened, and signs that."""
    cohort = stage.cohort
    index = cohort.index[message.sender]
    near = cohort.neighbours(index)
    said, _ = MaskedInput.read(body_of(message), len(near), stage.terms.layout)
    failed = frozenset([near.index(dealer)])
    delivery, _ = stage._deliveries.signed[index]
    told = delivery, digest_of(failed, len(near)), said.digest
    sharers = cohort.digest(stage._deliveries.dealt)
    signature = statements.INPUT(cohort.session, index, sharers, *told)
    lied = replace(said, failed=failed, signature=signature.signed(seed_of(message.sender)))
    return lied.encode(cohort.session, len(near))
