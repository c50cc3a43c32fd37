"""Rules R5-R7, S6, S7, S9, C6 (rows 53-58; T10, T11): shares that are not what they should be, and
who is named for it.

Every message here is signed as it should be: what is wrong is what is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import pytest

from secagg import shamir
from secagg.errors import Aborted, BelowThreshold
from secagg.sansio import Disputed, Dropped
from secagg.testing import Act, Network, Schedule, counter_randomness
from secagg.types import SERVER, Fault, PartyId, Seed
from secagg.wire.header import HEADER_SIZE
from secagg_protocols.secagg import keys
from secagg_protocols.secagg.active.evidence import Kind
from secagg_protocols.secagg.active.messages import SURVIVORS, Dealt, Digests, ShareKeys
from secagg_protocols.secagg.keys import Endpoint
from secagg_protocols.secagg.messages import SharePair, Tag
from tests.active import REGULAR, Cast
from tests.adversary.active.liars import Lie, Member, after_header, faults, flipped, lying
from tests.adversary.active.members import answer, failing, resigned_with, shares_of, statement
from tests.networks import standing

Pairs = dict[int, SharePair]
DEALER = 1
"""The place of the liar among those asked; who is asked is all, so it is its index too."""


@dataclass(frozen=True)
class Deal:
    """What a dealer does otherwise. pairs: to what it deals, by holder, its own besides. sealed: to
    what it has sealed. said: to the digests that it signs. commitment: to b."""

    pairs: Callable[[Pairs, Member], Pairs] = lambda pairs, m: pairs
    sealed: Callable[[dict[int, bytes]], dict[int, bytes]] = lambda sealed: sealed
    said: Callable[[dict[int, Digests]], dict[int, Digests]] = lambda digests: digests
    commitment: Callable[[bytes], bytes] = lambda commitment: commitment

    def __call__(self, m: Member, data: bytes) -> bytes:
        now = standing(m.client).dealt
        session, me = m.cohort.session, Endpoint(m.index, now.keys.c.public)
        honest = ShareKeys.read(after_header(data), len(now.peers))
        pairs: Pairs = {m.index: now.own}
        ends = {v: Endpoint(v, peer.c_pk) for v, peer in now.peers.items()}
        for place, v in enumerate(now.peers):
            opened = keys.unseal_pair(now.sealing[v], session, me, ends[v], honest.to(place).sealed)
            pairs[v] = SharePair.decode(opened)
        pairs = self.pairs(pairs, m)
        digests = self.said({v: Digests.of(session, pair) for v, pair in pairs.items()})
        sealed = self.sealed(
            {
                v: keys.seal_pair(now.sealing[v], session, me, ends[v], pairs[v].encode())
                for v in now.peers
            }
        )
        made = ShareKeys.of(
            self.commitment(honest.commitment),
            [Dealt(sealed[v], digests[v]) for v in now.peers],
            digests[m.index],
        )
        # what it has dealt itself it answers with, as it says that it did
        object.__setattr__(now, "own", pairs[m.index])
        return resigned_with(m, replace(made, signature=bytes(64)).encode(session))


def other_secret(which: str) -> Callable[[Pairs, Member], Pairs]:
    """Good shares of another b or s_sk than it has announced."""

    def change(pairs: Pairs, m: Member) -> Pairs:
        points = [1 + holder for holder in sorted(pairs)]
        dealt = shamir.split(
            Seed(b"another".ljust(32)), m.cast.params.threshold, points, counter_randomness(b"x")
        )
        shares = dict(zip(sorted(pairs), dealt, strict=True))
        return {v: replace(pair, **{which: shares[v]}) for v, pair in pairs.items()}

    return change


def some(which: str, holders: Collection[int]) -> Callable[[Pairs, Member], Pairs]:
    """Some holders' shares are of no polynomial with the others."""

    def change(pairs: Pairs, m: Member) -> Pairs:
        off = {
            v: replace(pairs[v], **{which: flipped(getattr(pairs[v], which), 7)}) for v in holders
        }
        return pairs | off

    return change


def too_steep(pairs: Pairs, m: Member) -> Pairs:
    """A polynomial of one degree more: t shares do not give its secret."""
    points = [1 + holder for holder in sorted(pairs)]
    b = standing(m.client).dealt.b
    dealt = shamir.split(b, m.cast.params.threshold + 1, points, counter_randomness(b"x"))
    shares = dict(zip(sorted(pairs), dealt, strict=True))
    return {v: replace(pair, b_share=shares[v]) for v, pair in pairs.items()}


def torn(holders: Collection[int]) -> Callable[[dict[int, bytes]], dict[int, bytes]]:
    return lambda sealed: sealed | {v: flipped(sealed[v], 50) for v in holders}


def misnamed(holders: Collection[int]) -> Callable[[dict[int, Digests]], dict[int, Digests]]:
    """The digests of others' shares."""
    return lambda digests: digests | {v: digests[5] for v in holders}


def beyond(holders: Collection[int]) -> Callable[[Pairs, Member], Pairs]:
    """Shares that are no elements of the field, well digested."""
    return lambda pairs, m: pairs | {v: replace(pairs[v], b_share=b"\xff" * 40) for v in holders}


def of(dealer: int | None, holder: int | None) -> Callable[[Pairs, Member], Pairs]:
    """Other indices inside of the pair for client 0."""

    def change(pairs: Pairs, m: Member) -> Pairs:
        kept = pairs[0]
        ends = {"dealer": kept.dealer if dealer is None else dealer}
        ends["holder"] = kept.holder if holder is None else holder
        return pairs | {0: replace(kept, **ends)}

    return change


ONE = {
    "a pair that does not open": Deal(sealed=torn([0])),
    "zeros in place of a sealed pair": Deal(sealed=lambda sealed: sealed | {0: bytes(104)}),
    "two holders' pairs exchanged, which then cost both": Deal(
        sealed=lambda sealed: sealed | {0: sealed[2]}
    ),
    "digests that are not of the shares": Deal(said=misnamed([0])),
    "digests that are of the share of b alone": Deal(
        said=lambda digests: digests | {0: replace(digests[0], s=digests[5].s)}
    ),
    "digests that are of the share of s alone": Deal(
        said=lambda digests: digests | {0: replace(digests[0], b=digests[5].b)}
    ),
    "a share that is no element of the field": Deal(beyond([0])),
    "a pair that names another dealer": Deal(of(3, None)),
    "a pair that names another holder": Deal(of(None, 3)),
}


@pytest.mark.parametrize("name", ONE)
def test_one_pair_that_is_wrong_is_reported_and_nobody_is_blamed(name: str) -> None:
    """Rule R7: dealer or holder lied, and nobody knows who. The sum is exact, of all."""
    cast = Cast()
    network = lying(cast, {(DEALER, Tag.SHARE_KEYS): ONE[name]})
    assert cast.exact(network).contributors == frozenset(cast.parties)
    assert disputed(network) == {(DEALER, 0)} and not faults(network)
    assert not network.server.evidence()  # type: ignore[attr-defined]


def disputed(network: Network) -> set[tuple[int, int]]:
    return {
        (e.dealer, e.holder)
        for who, e in network.events
        if who == SERVER and isinstance(e, Disputed)
    }


TWO = {
    "two pairs that do not open": Deal(sealed=torn([0, 2])),
    "two pairs with other digests": Deal(said=misnamed([0, 2])),
    "two pairs of no elements of the field": Deal(beyond([0, 2])),
    "one that does not open and one with other digests": Deal(sealed=torn([0]), said=misnamed([2])),
}


@pytest.mark.parametrize("name", TWO)
def test_more_reports_than_can_be_lies_are_their_dealers_fault(name: str) -> None:
    """Rules R7, S9: named at the end, with the proof; its vector is in the sum."""
    cast = Cast()
    network = lying(cast, {(DEALER, Tag.SHARE_KEYS): TWO[name]})
    assert cast.exact(network).contributors == frozenset(cast.parties)
    assert faults(network) == {PartyId(DEALER): Fault.INVALID_SHARE}
    assert kinds(network) == [Kind.COMPLAINTS]


def kinds(network: Network) -> list[int]:
    return [proof[1] for proof in network.server.evidence()]  # type: ignore[attr-defined]


def test_pairs_that_open_for_too_few_end_the_round() -> None:
    """Of such a dealer's secrets t shares cannot be had: it is one that the promise of liveness
    leaves out, and nothing of the others is opened."""
    cast = Cast()
    network = lying(cast, {(DEALER, Tag.SHARE_KEYS): Deal(sealed=torn([0, 2, 3]))})
    with pytest.raises(BelowThreshold, match="3 holders are left for client 1"):
        network.run()
    assert faults(network) == {PartyId(DEALER): Fault.INVALID_SHARE}
    assert not [m for m in network.sent if m.data[2] == SURVIVORS], "U3 is not even shown"


@dataclass(frozen=True)
class Secret:
    deal: Deal
    lost: bool = False
    """Whether the dealer drops out once it has dealt, so that its s_sk is needed."""


SECRETS = {
    "shares of another b": Secret(Deal(other_secret("b_share"))),
    "a commitment to another b": Secret(Deal(commitment=lambda one: flipped(one, 0))),
    "a share of b that is of no polynomial with the others": Secret(Deal(some("b_share", [0]))),
    "its own share of b is of no polynomial with the others": Secret(
        Deal(some("b_share", [DEALER]))
    ),
    "two such shares": Secret(Deal(some("b_share", [0, 3]))),
    "a polynomial of a degree more": Secret(Deal(too_steep)),
    "shares of another s_sk, and it is lost": Secret(Deal(other_secret("s_share")), True),
    "a share of s_sk of no polynomial, and it is lost": Secret(Deal(some("s_share", [0])), True),
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_is_not_what_was_announced_ends_the_round(name: str) -> None:
    """Rules R6, S7: all the shares are what the dealer signed, so it is the dealer, by proof; there
    is no sum, and never a wrong one."""
    cast, made = Cast(), SECRETS[name]
    acts = {("masked-input", PartyId(DEALER)): Act.GONE} if made.lost else {}
    network = lying(cast, {(DEALER, Tag.SHARE_KEYS): made.deal}, Schedule(acts))
    with pytest.raises(Aborted, match="client 1 dealt shares of another secret"):
        network.run()
    found = [e for w, e in network.events if w == SERVER and isinstance(e, Dropped)]
    assert {(e.party, e.fault) for e in found} >= {(PartyId(DEALER), Fault.INVALID_SHARE)}
    assert kinds(network) == [Kind.WRONG_SECRET]


UNSEEN = {
    "shares of another s_sk, and it stays": Deal(other_secret("s_share")),
    "a share of b that is not asked for, of no polynomial": Deal(some("b_share", [5])),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_what_is_wrong_and_not_needed_changes_nothing(name: str) -> None:
    """The t shares of smallest x are what counts: the sum is exact, and nobody is named."""
    cast = Cast()
    network = lying(cast, {(DEALER, Tag.SHARE_KEYS): UNSEEN[name]})
    assert cast.exact(network).contributors == frozenset(cast.parties)
    assert not faults(network) and not disputed(network)


# Holders


def without(dealer: int) -> Lie:
    """An answer that leaves out the dealer it has complained of."""
    return lambda m, data: answer(m, shares_of(data)[:dealer] + shares_of(data)[dealer + 1 :])


def complaining(*holders: int, dealer: int = DEALER) -> Mapping[tuple[int, int], Lie]:
    """False complaints of an honest dealer, with answers that fit."""
    lies: dict[tuple[int, int], Lie] = {}
    for holder in holders:
        lies[holder, Tag.MASKED_INPUT] = failing(dealer - (holder < dealer))
        lies[holder, Tag.UNMASK_ANSWER] = without(dealer)
    return lies


@pytest.mark.parametrize("holder", [0, 2, 5])
def test_a_false_complaint_is_a_dispute(holder: int) -> None:
    cast = Cast()
    network = lying(cast, complaining(holder))
    assert cast.exact(network).contributors == frozenset(cast.parties)
    assert disputed(network) == {(DEALER, holder)} and not faults(network)


def test_a_share_of_a_dealer_that_was_complained_of_is_not_taken() -> None:
    """Rule R5: there is no such share."""
    cast = Cast()
    network = lying(cast, {(0, Tag.MASKED_INPUT): failing(0)})
    assert cast.exact(network).contributors == frozenset(cast.parties)
    assert faults(network) == {PartyId(0): Fault.MALFORMED}


def test_a_share_of_no_field_that_dealer_and_holder_have_agreed_on() -> None:
    """Rule R5: it has the digest that was signed, and the holder has not complained; it costs its
    holder, and never the server."""
    cast, bad = Cast(), b"\xff" * 40
    quiet: Lie = lambda m, data: resigned_with(m, data[:HEADER_SIZE] + b"\0" + data[36:])  # noqa: E731
    lies: dict[tuple[int, int], Lie] = {
        (DEALER, Tag.SHARE_KEYS): Deal(beyond([0])),
        (0, Tag.MASKED_INPUT): quiet,
        (0, Tag.UNMASK_ANSWER): lambda m, data: answer(
            m, [shares_of(data)[0], bad, *shares_of(data)[1:]]
        ),
    }
    network = lying(cast, lies)
    assert cast.exact(network).contributors == frozenset(cast.parties)
    assert faults(network) == {PartyId(0): Fault.INVALID_SHARE}


def test_a_complaint_of_every_dealer_leaves_its_own_share() -> None:
    """Whoever opens nothing refuses to go on (C5); whoever only says so is disputed with all."""
    cast = Cast()
    lies: dict[tuple[int, int], Lie] = {
        (0, Tag.MASKED_INPUT): failing(*range(5)),
        (0, Tag.UNMASK_ANSWER): lambda m, data: answer(m, shares_of(data)[:1]),
    }
    network = lying(cast, lies)
    assert cast.exact(network).contributors == frozenset(cast.parties)
    assert disputed(network) == {(dealer, 0) for dealer in range(1, 6)} and not faults(network)


def test_a_complaint_of_somebody_outside_of_u2() -> None:
    cast = Cast()
    acts = {("share-keys", PartyId(5)): Act.GONE}
    network = lying(cast, {(0, Tag.MASKED_INPUT): failing(4)}, Schedule(acts))
    assert cast.exact(network).contributors == {1, 2, 3, 4}
    assert faults(network)[PartyId(0)] is Fault.MALFORMED


def test_more_liars_than_are_counted_on_can_blame_an_honest_dealer() -> None:
    """What rule R7 says and no more: its bound is the plan's A, and these are two where A is 1."""
    cast = Cast()
    network = lying(cast, complaining(0, 2))
    assert cast.exact(network).contributors == frozenset(cast.parties)
    assert faults(network) == {PartyId(DEALER): Fault.INVALID_SHARE}


@pytest.mark.parametrize("liars", [1, 2])
def test_wrong_shares_are_erasures_and_their_holders_are_named(liars: int) -> None:
    """Row 56, T11: with m = t + e answers of t = 4, e of them wrong."""
    cast = Cast()
    wrong: Lie = lambda m, data: answer(m, [flipped(one, 7) for one in shares_of(data)])  # noqa: E731
    network = lying(cast, {(holder, Tag.UNMASK_ANSWER): wrong for holder in range(liars)})
    assert cast.exact(network).contributors == frozenset(cast.parties)
    assert faults(network) == {PartyId(holder): Fault.INVALID_SHARE for holder in range(liars)}
    assert kinds(network) == [Kind.WRONG_SHARE] * liars


def test_more_wrong_shares_than_can_be_spared_end_it_without_a_sum() -> None:
    cast = Cast()
    wrong: Lie = lambda m, data: answer(m, [flipped(one, 7) for one in shares_of(data)])  # noqa: E731
    network = lying(cast, {(holder, Tag.UNMASK_ANSWER): wrong for holder in range(3)})
    with pytest.raises(BelowThreshold, match="3 shares came of client 0"):
        network.run()
    assert len(faults(network)) == 3 and kinds(network) == [Kind.WRONG_SHARE] * 3


def test_a_dealer_of_a_sparse_graph_deals_wrongly_to_one_neighbour() -> None:
    """Its other neighbours suffice."""
    cast = Cast(replace(REGULAR, min_survivors=8))
    near: list[int] = []

    def deal(m: Member, data: bytes) -> bytes:
        near.append(m.cohort.neighbours(m.index)[0])
        return Deal(sealed=torn(near))(m, data)

    network = lying(cast, {(DEALER, Tag.SHARE_KEYS): deal})
    assert cast.exact(network).contributors == frozenset(cast.parties)
    assert disputed(network) == {(DEALER, near[0])}


def test_the_honest_deal_is_what_the_client_said() -> None:
    """That `Deal` changes nothing where it is told nothing."""
    cast = Cast()
    said: list[bytes] = []

    def deal(m: Member, data: bytes) -> bytes:
        said.extend((data, Deal()(m, data)))
        assert statement(m, data) == statement(m, said[1])
        return data

    assert cast.exact(lying(cast, {(DEALER, Tag.SHARE_KEYS): deal}))
    assert said[0] == said[1]
