"""Servers and members of active mode that lie, made of what honest ones have said.

A liar owns its own keys, and those of whoever is corrupt with it: whatever it says is signed as it
should be, unless the lie is about the signature. So what refuses it is the check that the lie is
about, and not the first signature on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from typing import Any

import pytest

from secagg.crypto.agree import KeyPair
from secagg.errors import RemoteProtocolError
from secagg.mask import add_streams
from secagg.sansio import Aborted, Dropped
from secagg.testing import Carried, Network, Schedule
from secagg.types import SERVER, Fault, PartyId, Seed
from secagg.wire.codec import Reader
from secagg.wire.header import HEADER_SIZE, TAG_AT
from secagg_protocols.secagg.active import statements
from secagg_protocols.secagg.active.client import ActiveClient, Judge, agreeable
from secagg_protocols.secagg.active.cohort import Deliveries, SignedCohort
from secagg_protocols.secagg.active.messages import (
    AGREE,
    SURVIVORS,
    KeyList,
    ShareKeys,
    ShareList,
    SignedKeys,
    Survivors,
    UnmaskRequest,
)
from secagg_protocols.secagg.active.statements import Statement, Value
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.terms import Terms
from tests.active import COMMITTEE, REGULAR, SERVER_SEED, Cast, seed_of

OTHER = b"\x5a" * 32
"""A digest of nothing, and a key of nobody."""
DOWN = (Tag.KEY_LIST, Tag.SHARE_LIST, SURVIVORS, Tag.UNMASK_REQUEST)
UP = (Tag.ADVERTISE_KEYS, Tag.SHARE_KEYS, Tag.MASKED_INPUT, AGREE, Tag.UNMASK_ANSWER)


def altered(said: Statement, **changes: Value) -> Statement:
    """The same form with some of its fields changed, by name."""
    names = [name for name, _ in said.form.fields]
    assert changes.keys() <= {*names}
    fields = zip(names, said.values, strict=True)
    return Statement(said.form, tuple(changes.get(name, value) for name, value in fields))


def after_header(data: bytes) -> Reader:
    reader = Reader(data)
    reader.fixed(HEADER_SIZE, "header")
    return reader


def flipped(data: bytes, at: int, bit: int = 0) -> bytes:
    """at: a byte, also from the end."""
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


class Script:
    """An honest session, and what a server can say that has heard all of it."""

    def __init__(self, cast: Cast, schedule: Schedule | None = None) -> None:
        self.cast = cast
        self.network = cast.network(schedule)
        self.total = cast.exact(self.network)
        self.terms = Terms.of("secagg", cast.session, cast.params, add_streams)

    def sent(self, tag: int, *, to: PartyId = SERVER, by: PartyId = SERVER) -> bytes:
        """One message of the session: from a client, or to one."""
        ends = (by, SERVER) if by != SERVER else (SERVER, to)
        sent = (m.data for m in self.network.sent if (m.sender, m.to) == ends)
        return next(data for data in sent if data[TAG_AT] == tag)

    def client(
        self,
        index: int,
        received: int,
        *,
        judge: Judge = agreeable,
        with_input: bool = True,
    ) -> ActiveClient:
        """Another machine of a member, behind as many of the server's messages; its mailbox is
        empty. It draws what the first one drew, so what others were told of it holds."""
        party = self.cohort.ids[index]
        client = self.cast.client(party, judge=judge)
        if with_input:
            vector = tuple(lane.copy() for lane in self.cast.inputs[party])
            client.set_input(vector, self.cast.payload)
        client.start()
        for tag in DOWN[:received]:
            client.receive(SERVER, self.sent(tag, to=party))
        client.outgoing(), client.events()
        return client

    # What follows from what was said

    @cached_property
    def cohort(self) -> SignedCohort:
        said = {
            m.sender: SignedKeys.read(after_header(m.data))
            for m in self.network.sent
            if m.data[TAG_AT] == Tag.ADVERTISE_KEYS and m.sender not in self.absent
        }
        return SignedCohort.joined(self.terms, said, SERVER_SEED)

    @property
    def absent(self) -> frozenset[PartyId]:
        return frozenset()

    @property
    def session(self) -> bytes:
        return self.cohort.session

    @property
    def everyone(self) -> frozenset[int]:
        return frozenset(range(self.cohort.size))

    @cached_property
    def dealt(self) -> dict[int, ShareKeys]:
        return {
            index: ShareKeys.read(
                after_header(self.sent(Tag.SHARE_KEYS, by=party)),
                len(self.cohort.neighbours(index)),
            )
            for index, party in enumerate(self.cohort.ids)
        }

    @cached_property
    def deliveries(self) -> Deliveries:
        return Deliveries(self.cohort, self.dealt)

    # What a server can say; each takes what is to be otherwise

    def key_list(self, index: int) -> KeyList:
        params, size = self.cast.params, self.cast.roster.size
        reader = after_header(self.sent(Tag.KEY_LIST, to=self.cohort.ids[index]))
        return KeyList.read(reader, size, params.degree, params.complete)

    def share_list(self, index: int, sharers: Collection[int] | None = None) -> ShareList:
        """sharers: U2 as it says, all of U1 otherwise; of its dealers those that are there."""
        dealt = {i: self.dealt[i] for i in (self.everyone if sharers is None else sharers)}
        return Deliveries(self.cohort, dealt).to(index)

    def delivered(
        self, index: int, listed: ShareList, *, seed: Seed = SERVER_SEED, **changes: Value
    ) -> bytes:
        """A share list with the server's statement about it, right but for the changes."""
        digest = listed.digest(self.cohort.size)
        said = altered(statements.DELIVERY(self.session, index, digest), **changes).signed(seed)
        return replace(listed, delivery=said).encode(self.session, self.cohort.size)

    def shows(
        self,
        members: Collection[int],
        sharers: Collection[int] | None = None,
        /,
        *,
        seed: Seed = SERVER_SEED,
        **changes: Value,
    ) -> bytes:
        """U3, as the server states it. sharers: U2, all of U1 where it is not said."""
        there = self.everyone if sharers is None else sharers
        said = altered(self.cohort.survivors(there, members), **changes).signed(seed)
        return Survivors(frozenset(members), said).encode(self.session, self.cohort.size)

    def agreement(
        self,
        index: int,
        members: Collection[int] | None = None,
        sharers: Collection[int] | None = None,
    ) -> Statement:
        u2 = self.everyone if sharers is None else sharers
        u3 = self.everyone if members is None else members
        _, *rest = self.cohort.survivors(u2, u3).values
        return statements.AGREE(self.session, index, *rest)

    def request(
        self,
        signers: Iterable[int],
        said: Mapping[int, Statement] | None = None,
        seeds: Mapping[int, Seed] | None = None,
    ) -> bytes:
        """Of these signers, by index, over U3 = U2 = U1. said, seeds: what some sign instead, and
        with which key."""
        said, seeds, there = said or {}, seeds or {}, sorted(signers)
        ids = self.cohort.ids
        signed = tuple(
            said.get(i, self.agreement(i)).signed(seeds.get(i, seed_of(ids[i]))) for i in there
        )
        may, _ = self.cohort.signers
        request = UnmaskRequest(frozenset(may.index(i) for i in there), signed)
        return request.encode(self.session, len(may))


def keys_of(
    s: Script, party: int, draw: int = 0, *, seed: Seed | None = None, **changes: Value
) -> SignedKeys:
    """Fresh keys of a member that a liar has the signing key of, or says so."""
    pairs = [KeyPair.from_random(bytes([7, draw, party, which]) * 8) for which in range(2)]
    return signed(s, party, *(pair.public for pair in pairs), seed=seed, **changes)


def signed(
    s: Script,
    party: int,
    c_pk: bytes,
    s_pk: bytes,
    /,
    *,
    seed: Seed | None = None,
    **changes: Value,
) -> SignedKeys:
    """Those keys, said by that member, or by whoever has the seed; changes: of the statement."""
    values = {"offer": s.terms.offer, "id": party, "c_pk": c_pk, "s_pk": s_pk} | changes
    said = statements.KEYS(*values.values())
    return SignedKeys(c_pk, s_pk, said.signed(seed or seed_of(party)))


CASTS = {
    "complete": Cast(),
    "regular": Cast(REGULAR),
    "committee": Cast(COMMITTEE),
    "roster": Cast(places=9),
}


@cache
def script(name: str = "complete") -> Script:
    """One honest session of each kind, for all who lie about it."""
    return Script(CASTS[name])


@cache
def before() -> Script:
    """An earlier session of the same clients."""
    return Script(Cast(nonce=b"before".ljust(16)))


# What must come of it


def refuses(client: ActiveClient, data: bytes, why: str) -> None:
    """A client ends, says so once and no more, and stays silent whatever comes next."""
    with pytest.raises(RemoteProtocolError, match=why) as caught:
        client.receive(SERVER, data)
    reveals_nothing(client, data)
    assert not any(secret in str(caught.value).encode() for secret in (data[-64:], OTHER))


def reveals_nothing(client: ActiveClient, data: bytes) -> None:
    assert client.done and client.phase == "ended"
    assert [m.data[TAG_AT] for m in client.outgoing()] in ([Tag.ABORT], [])
    assert [e for e in client.events() if isinstance(e, Aborted)]
    client.receive(SERVER, data)
    assert not client.outgoing()


Lie = Callable[["Member", bytes], bytes | Sequence[bytes]]
"""What a member says in place of its message."""


class Member:
    """A member that lies: what it knows of its session, and how it signs."""

    def __init__(self, network: Network, cast: Cast, party: PartyId) -> None:
        self.network, self.cast, self.party = network, cast, party

    @property
    def seed(self) -> Seed:
        return seed_of(self.party)

    @property
    def client(self) -> Any:
        return self.network.clients[self.party]

    @property
    def stage(self) -> Any:
        """Of the server: what it holds is what it has told this member, or will."""
        return self.network.server._stage  # type: ignore[attr-defined]

    @property
    def cohort(self) -> SignedCohort:
        return self.stage.cohort  # type: ignore[no-any-return]

    @property
    def index(self) -> int:
        return self.cohort.index[self.party]

    def at(self, neighbour: int) -> int:
        """The place of another's index among its neighbours."""
        return self.cohort.position(self.index, neighbour)


def lying(
    cast: Cast, lies: Mapping[tuple[int, int], Lie], schedule: Schedule | None = None
) -> Network:
    """lies: by the place of a party among those asked, and the message in whose place it lies."""
    network = cast.network(schedule)
    members = {(cast.parties[i], tag): lie for (i, tag), lie in lies.items()}

    def wire(message: Carried) -> Sequence[bytes]:
        lie = members.get((message.sender, message.data[TAG_AT]))
        if lie is None:
            return (message.data,)
        said = lie(Member(network, cast, message.sender), message.data)
        return (said,) if isinstance(said, bytes) else said

    network.wire = wire
    return network


def faults(network: Network) -> dict[PartyId, Fault]:
    """The first of each client, as the server reported it."""
    found: dict[PartyId, Fault] = {}
    for who, event in network.events:
        if who == SERVER and isinstance(event, Dropped):
            found.setdefault(event.party, event.fault)
    return found


def costs_its_sender(cast: Cast, place: int, tag: int, lie: Lie, fault: Fault) -> Network:
    """The liar is dropped with that fault, and the round goes on to the exact sum of the rest, or
    of all where its vector was there already."""
    network = lying(cast, {(place, tag): lie})
    total = cast.exact(network)
    liar = cast.parties[place]
    twice = (tag, fault) == (Tag.MASKED_INPUT, Fault.EQUIVOCATION)
    summed = twice or UP.index(tag) > UP.index(Tag.MASKED_INPUT)
    assert faults(network) == {liar: fault}
    assert (liar in total.contributors) is summed
    assert not network.refusals.keys() - {liar}
    return network
