"""What every stage of a server can do, and the kinds of its rows (specs/10-secagg.md §12)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import ClassVar, TypeAlias

from secagg.errors import WireError
from secagg.types import Fault, PartyId
from secagg.wire.codec import Reader
from secagg_protocols.rows import Taken, kind_of, number_of
from secagg_protocols.secagg.cohort import ServerCohort
from secagg_protocols.secagg.complaints import Complaints
from secagg_protocols.secagg.messages import AdvertiseKeys
from secagg_protocols.secagg.states import ServerState
from secagg_protocols.secagg.terms import Terms

# Theory of operation.
#
# A stage takes one kind of message from each client, and closing it fixes one set for ever: the
# next stage is made of that, and holds no more. The machine in server.py knows who is alive, what
# is a repeat and what is a fault; a stage knows none of these.
#
# A message is taken whole or not at all: every check of it comes before the first change, so what a
# stage refuses costs its sender and leaves no trace. close() gives the next stage or raises
# Aborted, and the machine has one stage at a time, so no set can be fixed twice.
#
# What a stage says when it opens follows from what it holds, and from nothing that it remembers of
# having said it. So a client on a new link, and whomever a server that was started again waits for,
# is told the same in the same bytes.
#
# It answers for its rows by kind. Those of kinds that the next stage does not have are deleted with
# the close, in the transaction that stores what it has fixed: what has only led to a set does not
# outlive it. `fresh` are those that begin with a stage; the others change one by one, as messages
# come.
#
# Which stage follows it does not know: it asks the terms of the session, where a suite may put
# another one between two of these.

KEYS, DEALT, FAILED, SHARES = b"keys/", b"dealt/", b"failed/", b"shares/"
"""One row of each client: keys by party id, the others by index."""
COMMITMENTS, SUM, TOTAL = b"commitments", b"sum", b"total"

Drop: TypeAlias = Callable[[PartyId, Fault], None]
Said: TypeAlias = Iterator[tuple[PartyId, bytes]]


class Stage:
    """One stage. state: its own in the table. tag: what it takes, None where it waits for nobody.

    kinds: of the rows that it can have. fresh: those that are there from its beginning and were
    not in the stage before.
    """

    state: ClassVar[ServerState]
    tag: ClassVar[int | None] = None
    kinds: ClassVar[frozenset[bytes]] = frozenset()
    fresh: ClassVar[tuple[bytes, ...]] = ()

    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    @property
    def binding(self) -> bytes:
        """What its messages are bound to: the session, from the first moment that there is one."""
        return self.terms.offer

    def awaited(self, alive: frozenset[PartyId]) -> frozenset[PartyId]:
        """Who of these owes it a message: whoever missed an earlier stage is no longer alive."""
        return frozenset() if self.tag is None else alive

    @property
    def quorum(self) -> bool:
        """Whether enough has come for the next stage."""
        return False

    @property
    def contributors(self) -> frozenset[PartyId]:
        """Whose vectors are in the sum so far."""
        return frozenset()

    @property
    def members(self) -> frozenset[PartyId] | None:
        """The set that was fixed last: who is not in it is gone. None before there is one."""
        return None

    @property
    def complaints(self) -> Complaints:
        """Rule S9: what is known of shares that are unusable."""
        return Complaints(self.terms.session.corrupted)

    def opening(self, parties: Collection[PartyId]) -> Said:
        """What these, all of them alive, are told when it opens, and again when they ask."""
        yield from ()

    def again(self, party: PartyId) -> Said:
        """What one of these, on a new link, is told again."""
        return self.opening([party])

    def take(self, sender: PartyId, reader: Reader) -> tuple[bytes, ...]:
        """One message, whole or not at all; the keys of the rows that it changes.

        Raises WireError, InvalidKey or InvalidShare, and then nothing has changed.
        """
        raise NotImplementedError

    def close(self, alive: Collection[PartyId], drop: Drop) -> Stage:
        """Fixes its set. Raises Aborted where too few are left; `drop` is for who cannot go on."""
        raise NotImplementedError

    def following(self, *made: object) -> Stage:
        """The stage after this one, of what closing it has made: which one, the suite says."""
        stage: Stage = self.terms.after[self.state](self.terms, *made)
        return stage

    def has(self, key: bytes) -> bool:
        """Whether a row of this key that was there before is still to be kept."""
        return kind_of(key) in self.kinds

    def row(self, key: bytes) -> bytes | None:
        """The body of one of its rows as it is now, or None where there is none."""
        return None


class Joined(Stage):
    """A stage of a session that has an id. Its messages come from members of U1."""

    def __init__(self, terms: Terms, cohort: ServerCohort) -> None:
        super().__init__(terms)
        self.cohort = cohort

    @property
    def binding(self) -> bytes:
        return self.cohort.session

    @property
    def members(self) -> frozenset[PartyId] | None:
        """U1."""
        return frozenset(self.cohort.ids)

    def row(self, key: bytes) -> bytes | None:
        """The keys of U1, whoever is left of it: session id and graph follow from all of them."""
        if kind_of(key) != KEYS:
            return None
        index = self.cohort.index[PartyId(number_of(key))]
        return b"".join(self.cohort.keys[index].both)

    def named(self, indices: Collection[int]) -> frozenset[PartyId]:
        return frozenset(self.cohort.ids[index] for index in indices)


def cohort_of(terms: Terms, advertised: Mapping[PartyId, AdvertiseKeys]) -> ServerCohort:
    """U1 of these keys, by party id: indices, root, session id and graph follow from them."""
    return ServerCohort.of(terms.offer, terms.params.clients, terms.params.degree, advertised)


def read_cohort(terms: Terms, taken: Taken) -> ServerCohort:
    """U1 is whoever has a row of keys: that is what closing the first stage has fixed."""
    advertised = {}
    for party, body in taken.under(KEYS, terms.params.clients):
        reader = Reader(body)
        advertised[PartyId(party)] = AdvertiseKeys.read(reader)
        reader.finish()
    if not advertised:
        raise WireError("nobody has keys")
    return cohort_of(terms, advertised)
