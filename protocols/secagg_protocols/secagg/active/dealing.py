"""What a client of active mode computes between two messages (specs/12-active.md §5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from secagg.errors import InvalidSignature, LocalProtocolError, RemoteProtocolError
from secagg.layout import RingVector
from secagg.roster import Roster
from secagg.types import PartyId, Randomness, Seed, SessionId
from secagg.wire.codec import Reader
from secagg_protocols.secagg import binding, dealing
from secagg_protocols.secagg.active import messages, statements
from secagg_protocols.secagg.active.messages import (
    SALT_SIZE,
    Dealt,
    Delivered,
    Digests,
    KeyList,
    MaskedInput,
    ShareKeys,
    ShareList,
    SignedKeys,
    Survivors,
    UnmaskAnswer,
    UnmaskRequest,
    answer_digest,
    digest_of,
)
from secagg_protocols.secagg.active.params import ActiveParams
from secagg_protocols.secagg.active.standing import (
    Seat,
    WantInput,
    WantQuorum,
    WantShares,
    WantSurvivors,
)
from secagg_protocols.secagg.active.statements import Statement
from secagg_protocols.secagg.standing import Answered, Place, WantKeys
from secagg_protocols.secagg.survivors import check_agreed, check_members, dealers, reveal_shares
from secagg_protocols.secagg.terms import Terms

# Each is a plain function from a state and a message to the next state and a reply, as in
# secagg_protocols.secagg.dealing, which does the work: what is here is who has said it.

Says = Callable[[Statement, bytes], None]
"""Takes what the server says and its signature: InvalidSignature unless the server has signed it.
It is kept there, as a second word against it would be a proof (specs/12-active.md §8)."""


def roster_of(terms: Terms) -> Roster:
    """Whose keys the session's statements are checked against."""
    if terms.session.roster is None:
        raise LocalProtocolError("impossible: a session of active mode has a roster")
    return terms.session.roster


def params_of(terms: Terms) -> ActiveParams:
    """The session's parameters, with signers and quorum."""
    if not isinstance(terms.params, ActiveParams):
        raise LocalProtocolError("impossible: a session of active mode has its parameters")
    return terms.params


def advertise(now: WantKeys, terms: Terms, me: PartyId, signing: Seed) -> SignedKeys:
    """Its keys, signed for this offer and its place in the roster."""
    c_pk, s_pk = now.c.public, now.s.public
    return SignedKeys(c_pk, s_pk, statements.KEYS(terms.offer, me, c_pk, s_pk).signed(signing))


def join(
    now: WantKeys,
    own: SignedKeys,
    listed: KeyList,
    bound: bytes,
    terms: Terms,
    me: PartyId,
    says: Says,
) -> tuple[Seat, dict[int, bytes]]:
    """Rules V2 and V3, and C3, C4: where it is in U1, and the neighbours' leaves by index."""
    roster, params = roster_of(terms), params_of(terms)
    members = frozenset(map(PartyId, listed.members))
    if me not in members:
        raise RemoteProtocolError("U1 omits this client, whose keys were advertised")
    if not members <= roster.members:
        raise RemoteProtocolError("U1 holds somebody who is not in the roster")
    size = len(members)
    if not params.min_clients <= size <= params.clients:
        raise RemoteProtocolError(
            f"|U1| = {size}, and this plan asks for {params.min_clients} to {params.clients}"
        )
    ids = tuple(sorted(members))
    index = ids.index(me)
    leaf = binding.leaf(terms.offer, index, me, own, own.signature)
    leaves, said = cohort_statement(listed, leaf, index, ids, bound, terms)
    *_, root = said.values
    if binding.session_id(terms.offer, roster.size, ids, bytes(root)) != bound:
        raise RemoteProtocolError("the session id does not follow from U1 and the root")
    says(said, listed.signature)
    if tuple(listed.keys) != binding.neighbours(SessionId(bound), size, params.degree, index):
        raise RemoteProtocolError("the neighbours are not those of the session's graph")
    _check_keys(terms, roster, ids, listed.keys)
    dealing.check_advertised([own, *listed.keys.values()])
    return Seat(Place(SessionId(bound), size, index), ids, leaf), leaves


def cohort_statement(
    listed: KeyList, leaf: bytes, index: int, ids: tuple[PartyId, ...], bound: bytes, terms: Terms
) -> tuple[dict[int, bytes], Statement]:
    """The neighbours' leaves, and what a server says that shows this list to the client of that
    leaf in a session of this id. WireError or RemoteProtocolError where no root follows."""
    leaves = {v: _leaf(terms.offer, v, ids, keys) for v, keys in listed.keys.items()}
    root = _root(listed, leaves, leaf, index, len(ids))
    bitmap = digest_of(ids, roster_of(terms).size)
    return leaves, statements.COHORT(terms.offer, bound, len(ids), bitmap, root)


def _leaf(offer: bytes, index: int, ids: tuple[PartyId, ...], keys: SignedKeys) -> bytes:
    if index >= len(ids):
        raise RemoteProtocolError("a neighbour's index is not below |U1|")
    return binding.leaf(offer, index, ids[index], keys, keys.signature)


def _root(listed: KeyList, leaves: Mapping[int, bytes], own: bytes, index: int, size: int) -> bytes:
    """From all leaves where no path is given; they must be all then."""
    if listed.path:
        return binding.path_root(own, index, size, listed.path)
    every = {**leaves, index: own}
    if len(every) != size or index in leaves:
        raise RemoteProtocolError("the key list of a complete graph does not hold all the others")
    return binding.tree_root([every[i] for i in range(size)])


def _check_keys(
    terms: Terms, roster: Roster, ids: tuple[PartyId, ...], listed: Mapping[int, SignedKeys]
) -> None:
    """Rule V3. Which client's it is the text says, for it is the server that vouched for it."""
    for index, keys in listed.items():
        party = ids[index]
        said = statements.KEYS(terms.offer, party, keys.c_pk, keys.s_pk)
        try:
            said.check(roster.key_of(party), keys.signature)
        except InvalidSignature:
            raise RemoteProtocolError(f"the keys of client {party} are not signed by it") from None


def deal(
    now: WantKeys,
    seat: Seat,
    leaves: Mapping[int, bytes],
    peers: Mapping[int, SignedKeys],
    threshold: int,
    randomness: Randomness,
    signing: Seed,
) -> tuple[WantShares, ShareKeys]:
    """As in suite 1, with the digests of all that it deals, and its signature of the whole."""
    dealt = dealing.deal(now, seat.place, peers, threshold, randomness)
    digests = {v: Digests.of(seat.session, pair) for v, pair in dealt.pairs.items()}
    to = tuple(Dealt(one, digests[v]) for v, one in zip(peers, dealt.sealed, strict=True))
    said = ShareKeys.of(dealt.commitment, to, digests[seat.index])
    statement = statements.SHARES(seat.session, seat.index, seat.leaf, said.digest)
    return WantShares(seat, dealt.after, leaves), replace(said, signature=statement.signed(signing))


def open_shares(now: WantShares, listed: ShareList, terms: Terms, says: Says) -> WantInput:
    """Rules V4 and V5, and C5, C6."""
    seat, roster = now.seat, roster_of(terms)
    (of_sharers, signature), (of_list, delivery) = list_statements(seat.place, listed)
    says(of_sharers, signature)
    says(of_list, delivery)
    there = [v for v in now.dealt.peers if v in listed.sharers]
    entries = dict(zip(there, listed.delivered, strict=True))
    _check_dealers(now, entries, roster)
    opened = dealing.open_shares(
        now.dealt,
        listed.sharers,
        [entry.sealed for entry in entries.values()],
        terms.params,
        lambda pair: Digests.of(seat.session, pair).digest == entries[pair.dealer].digests,
    )
    _, sharers, _ = of_sharers.values
    *_, digest = of_list.values
    return WantInput(seat, opened, bytes(sharers), bytes(digest))


def list_statements(place: Place, listed: ShareList) -> tuple[tuple[Statement, bytes], ...]:
    """What a server says that gives this list to that client: of U2, and of the list."""
    sharers = digest_of(listed.sharers, place.size)
    number, digest = len(listed.sharers), listed.digest(place.size)
    return (
        (statements.SHARERS(place.session, sharers, number), listed.signature),
        (statements.DELIVERY(place.session, place.index, digest), listed.delivery),
    )


def _check_dealers(now: WantShares, entries: Mapping[int, Delivered], roster: Roster) -> None:
    """Rule V4: who deals signs over its leaf, which is of the keys that this client was shown."""
    for v, entry in entries.items():
        party = now.seat.ids[v]
        said = statements.SHARES(now.seat.session, v, now.leaves[v], entry.body)
        try:
            said.check(roster.key_of(party), entry.signature)
        except InvalidSignature:
            raise RemoteProtocolError(
                f"the shares of client {party} are not signed by it, over the keys shown of it"
            ) from None


def mask(
    now: WantInput, vector: RingVector, terms: Terms, randomness: Randomness, signing: Seed
) -> tuple[WantSurvivors, MaskedInput]:
    """As in suite 1, in place, and signed with all that it answers."""
    seat, opened = now.seat, now.opened
    masked = dealing.mask(opened, vector, terms.expander)
    packed = messages.packed(terms.layout, vector)
    said = MaskedInput(opened.failed, randomness(SALT_SIZE), packed, b"")
    failed = digest_of(opened.failed, len(opened.neighbours))
    statement = statements.INPUT(
        seat.session, seat.index, now.sharers, now.delivery, failed, said.digest
    )
    after = WantSurvivors(seat, masked, now.sharers)
    return after, replace(said, signature=statement.signed(signing))


def look_at(now: WantSurvivors, shown: Survivors, says: Says) -> WantQuorum:
    """Rule V7 but for the policy: U3 as the server signed it, over this client's own U2."""
    says(survivors_statement(now.seat.place, now.sharers, shown), shown.signature)
    check_members(now.masked.view, shown.members)
    return WantQuorum(now.seat, now.masked, now.sharers, shown.members)


def survivors_statement(place: Place, sharers: bytes, shown: Survivors) -> Statement:
    """What a server says that shows this U3 to a client with that U2."""
    survivors = digest_of(shown.members, place.size)
    return statements.SURVIVORS(place.session, sharers, survivors, len(shown.members))


def agreement(now: WantQuorum, index: int) -> Statement:
    """What this signer of U1 says of this client's own U2 and U3."""
    survivors = digest_of(now.survivors, now.seat.size)
    return statements.AGREE(now.seat.session, index, now.sharers, survivors, len(now.survivors))


def signers_of(seat: Seat, terms: Terms) -> tuple[tuple[int, ...], int]:
    """Who may sign, ascending, and how many have to (specs/12-active.md §2.5)."""
    return _signers(seat.place, params_of(terms), terms.session.corrupted)


def _signers(place: Place, params: ActiveParams, corrupted: int) -> tuple[tuple[int, ...], int]:
    number, quorum = params.quorum_of(place.size, corrupted)
    return binding.committee(place.session, place.size, number), quorum


def answer(
    now: WantQuorum, reader: Reader, terms: Terms, signing: Seed
) -> tuple[Answered, UnmaskAnswer]:
    """Rules V8 and C8, C9: nothing is opened for a set that a quorum has not signed."""
    signers, quorum = signers_of(now.seat, terms)
    request = UnmaskRequest.read(reader, len(signers), quorum)
    reader.finish()
    shown = {signers[position] for position in request.signers}

    def agreed(members: frozenset[int]) -> None:
        if not shown <= members:
            raise RemoteProtocolError("somebody who has agreed is not in the survivor set")
        for index, signature in zip(sorted(shown), request.signatures, strict=True):
            party = now.seat.ids[index]
            try:
                agreement(now, index).check(roster_of(terms).key_of(party), signature)
            except InvalidSignature:
                raise RemoteProtocolError(
                    f"client {party} has not signed the survivor set that this client was shown"
                ) from None

    opened = check_agreed(now.masked.view, now.survivors, agreed)
    shares = reveal_shares(opened, now.held)
    digests = [
        _digest(now, dealer, share) for dealer, share in zip(dealers(now.held), shares, strict=True)
    ]
    survivors = digest_of(now.survivors, now.seat.size)
    said = statements.ANSWER(now.seat.session, now.seat.index, survivors, answer_digest(digests))
    return Answered(), UnmaskAnswer(shares, said.signed(signing))


def _digest(now: WantQuorum, dealer: int, share: bytes) -> bytes:
    kind = messages.B if dealer in now.survivors else messages.S
    return messages.share_digest(now.seat.session, dealer, now.seat.index, kind, share)
