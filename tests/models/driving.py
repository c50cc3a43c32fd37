"""A step of the game (specs/models/game.py) as bytes to the shipped client: a server that lies in
what it shows, and signs all of it as it should be.

Each machine of the game is an `ActiveClient` in a house of its own: what it is given to mask has a
name, and what leaves it is claimed first, in its client's ledger. Corrupt clients are machines too,
of which the server has whatever it wants. A number of a session is a nonce.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from secagg.errors import LocalProtocolError, RemoteProtocolError, Spent
from secagg.layout import Layout, Segment
from secagg.mask import add_streams
from secagg.ring import Ring
from secagg.rounds.claims import Names, message_claim, use_digest
from secagg.store.memory import MemoryLedger
from secagg.testing import counter_randomness
from secagg.types import SERVER, PartyId, Randomness
from secagg.wire.header import DIGEST_SIZE, TAG_AT
from secagg_protocols.secagg import binding
from secagg_protocols.secagg.active import dealing, statements
from secagg_protocols.secagg.active.client import ActiveClient
from secagg_protocols.secagg.active.cohort import Deliveries, SignedCohort
from secagg_protocols.secagg.active.messages import (
    Agree,
    Dealt,
    ShareKeys,
    SignedKeys,
    Survivors,
    UnmaskAnswer,
    UnmaskRequest,
)
from secagg_protocols.secagg.active.params import ActiveParams, majority
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.terms import Terms
from specs.models.game import RESTART, U1, U3, Rules, Step, members
from tests.active import SERVER_SEED, Cast, seed_of
from tests.adversary.active.liars import after_header

LAYOUT = Layout((Segment(Ring(32), 2),))
NAME = b"the input".ljust(32)
"""Of each client's: it has one, and both runs of a twin have it."""

Where = tuple[int, int]
"""A session of the game: U1 as a bitmap, and its number."""

RULES = {
    "V2": r"U1 omits|this plan asks for \d+ to",
    "V4": r"shares of client \d+ are not signed",
    "C5": r"U2 omits|\d+ holders are in U2",
    "C8": r"survivor set omits|outside U2|\d+ survivors, and|\d+ holders survive",
    "V8": r"signers are shown where|who has agreed is not in|has not signed the survivor set",
    "C1": r"is not expected now",
    "V6": r"the input has another use",
    "V9": r"writes no rows, and takes none up",
    "said once": r"another wording",
}
"""By rule, what is said where it is broken."""


def rule_of(why: str) -> str:
    """The rule by which that was refused. There is one, or this is no rule of the game."""
    (found,) = [rule for rule, texts in RULES.items() if re.search(texts, why)]
    return found


class Refused(Exception):
    """A step that was not followed, by the rule."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.rule = rule_of(why)


def params_of(rules: Rules) -> ActiveParams:
    """Those of the game, but for the minima, where those of the game are less than is taken."""
    n, least = rules.clients, max(rules.threshold, 3)
    degree = rules.holders(0).bit_count() - 1
    first = least if degree == n - 1 else max(least, degree + 1)
    return ActiveParams(n, degree, rules.threshold, first, least, n, majority(n, rules.corrupt))


def client_of(cast: Cast, party: PartyId, randomness: Randomness) -> ActiveClient:
    """The shipped machine, and then its minima are t, as in the game, so that no larger one does a
    rule's work: of a plan none is less than three."""
    client = replace(cast, params=replace(cast.params)).client(party, randomness=randomness)
    params = client._terms.params
    for name in ("min_survivors", "min_clients") if params.complete else ("min_survivors",):
        object.__setattr__(params, name, params.threshold)
    return client


@dataclass
class Seat:
    """One run of one client: of an honest one that of a machine of the game, or one that says its
    keys and hears no more. ledger: the client's, whichever run it is."""

    cast: Cast
    party: PartyId
    client: ActiveClient
    ledger: MemoryLedger
    advertised: bytes = b""
    sharers: frozenset[int] = frozenset()
    survivors: frozenset[int] = frozenset()
    masked: bytes = b""
    answer: bytes = b""
    request: bytes = b""

    @classmethod
    def taken(cls, cast: Cast, party: PartyId, ledger: MemoryLedger, draw: bytes) -> Seat:
        """A run that has started, with its input."""
        client = client_of(cast, party, counter_randomness(draw))
        client.set_input(tuple(lane.copy() for lane in cast.inputs[party]), cast.payload)
        seat = cls(cast, party, client, ledger)
        client.start()
        seat.advertised = seat.says()
        return seat

    def hears(self, message: bytes) -> bytes:
        """What leaves for it: Refused where the client refuses, or its ledger."""
        try:
            self.client.receive(SERVER, message)
        except RemoteProtocolError as error:
            assert [m.data[TAG_AT] for m in self.client.outgoing()] in ([Tag.ABORT], [])
            raise Refused(str(error)) from None
        return self.says()

    def says(self) -> bytes:
        said = self.client.outgoing()
        assert len(said) <= 1
        for out in said:
            self._claim(out.data)
        return said[0].data if said else b""

    def _claim(self, data: bytes) -> None:
        """As a client's part in a round claims (secagg.rounds.part): what it says, and, with the
        masked vector, the name of its input. Names are of the process: each run has its own."""
        of = Terms.of("secagg", self.cast.session, self.cast.params, add_streams).offer
        nonce = self.cast.nonce
        if data[TAG_AT] == Tag.MASKED_INPUT:
            use = Names(None).take(NAME, nonce, use_digest(of, nonce, self.party))
            self._made(use.key, use.digest, "the input has another use")
        said = message_claim(of, nonce, self.party, data)
        self._made(said.key, said.digest, "it has another wording")

    def _made(self, key: bytes, digest: bytes, why: str) -> None:
        try:
            self.ledger.claim(key, digest)
        except Spent:
            raise Refused(why) from None

    def restarts(self) -> None:
        """Its process ends, and another one goes on from its rows, if it has any."""
        rows = [(one.key, one.value or b"") for one in self.client.writes()]
        again = client_of(self.cast, self.party, counter_randomness(b"again"))
        try:
            again.restore(rows or [(b"state", b"want-survivors")])
        except LocalProtocolError as error:
            raise Refused(str(error)) from None
        self.client, self.survivors, self.answer = again, frozenset(), b""


@dataclass
class Session:
    """One session of the game in bytes. index: by client of the game, in U1. runs: of the honest,
    by client of the game. dealt: by index."""

    cohort: SignedCohort
    index: Mapping[int, int]
    runs: Mapping[int, Seat]
    dealt: dict[int, ShareKeys] = field(default_factory=dict)
    agreed: dict[tuple[int, frozenset[int], frozenset[int]], bytes] = field(default_factory=dict)
    corrupt: dict[int, ActiveClient] = field(default_factory=dict)
    shares: dict[tuple[int, str], dict[int, bytes]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    def indices(self, bits: int) -> frozenset[int]:
        return frozenset(self.index[client] for client in members(bits))

    def near(self, index: int) -> frozenset[int]:
        return frozenset(self.cohort.neighbours(index))


class Driver:
    """The game by these rules with real machines. steps: all that will be done, of which it is
    known who is in which session. padded: whether fewer signatures than a quorum are made up to
    one, by what the server signs itself."""

    def __init__(self, rules: Rules, steps: Sequence[Step], *, padded: bool = True) -> None:
        self.rules, self.padded = rules, padded
        self.casts = [self._cast(number) for number in range(rules.sessions)]
        self.where = {one.to: (one.set, one.session) for one in steps if one.kind == U1}
        self._ledgers = [MemoryLedger() for _ in range(rules.clients)]
        self._runs: dict[tuple[PartyId, int, bool], Seat] = {}
        self.sessions: dict[Where, Session] = {}
        self.ended: set[int] = set()

    def _cast(self, number: int) -> Cast:
        nonce = bytes([number]) * 16
        return Cast(params_of(self.rules), self.rules.corrupt, nonce=nonce, layout=LAYOUT)

    # Who is there

    def _run(self, party: PartyId, number: int, twin: bool = False) -> Seat:
        key = (party, number, twin)
        if key not in self._runs:
            draw = b"run" + bytes([party, number, twin])
            self._runs[key] = Seat.taken(self.casts[number], party, self._ledgers[party], draw)
        return self._runs[key]

    def session(self, where: Where) -> Session:
        if where not in self.sessions:
            self.sessions[where] = self._opened(where)
        return self.sessions[where]

    def _opened(self, where: Where) -> Session:
        """All of U1 have said their keys, and those who are corrupt have dealt as well."""
        bits, number = where
        twin = self.rules.twin and self.where.get(self.rules.honest) == where
        of_u1 = [PartyId(client) for client in members(bits)]
        runs = {p: self._run(p, number, twin and p == 0) for p in of_u1}
        cast = self.casts[number]
        terms = Terms.of("secagg", cast.session, cast.params, add_streams)
        said = {p: SignedKeys.read(after_header(run.advertised)) for p, run in runs.items()}
        cohort = SignedCohort.joined(terms, said, SERVER_SEED)
        index = self._placed(cohort)
        honest = {c: runs[cohort.ids[i]] for c, i in index.items() if c < self.rules.honest}
        opened = Session(cohort, index, honest)
        for client in sorted(index.keys() - honest.keys()):
            party = cohort.ids[index[client]]
            draw = counter_randomness(b"run" + bytes([party, number, False]))
            liar = client_of(cast, party, draw)
            liar.start(), liar.outgoing()
            liar.receive(SERVER, cohort.key_list(index[client]))
            opened.corrupt[index[client]] = liar
            opened.dealt[index[client]] = self._dealt(
                opened, index[client], liar.outgoing()[0].data
            )
        return opened

    def _placed(self, cohort: SignedCohort) -> dict[int, int]:
        """Index by client of the game: as it is, or around the ring that the session id gives."""
        if not self.rules.neighbours:
            return {party: index for index, party in enumerate(cohort.ids)}
        assert not self.rules.corrupt and cohort.size == self.rules.clients
        order, _ = binding.permutation(cohort.session, cohort.size)
        index = dict(enumerate(order))
        for client, bits in enumerate(self.rules.neighbours):
            assert {index[c] for c in members(bits)} == {*cohort.neighbours(index[client])}
        return index

    def at(self, machine: int) -> tuple[Session, int, Seat]:
        session, client = self.session(self.where[machine]), self.rules.client(machine)
        return session, session.index[client], session.runs[client]

    # What is done

    def do(self, one: Step) -> bool:
        """Whether it was new: what was said before is answered as before (C1). Raises Refused where
        it is not followed; whoever has refused follows nothing more."""
        before = [run.survivors for run in self._runs.values()]
        if one.to in self.ended:
            raise Refused("is not expected now")
        match one.kind:
            case "u1":
                self._u1(one)
            case "u2":
                self._u2(one)
            case "u3":
                self._u3(one)
            case "quorum":
                self._quorum(one)
            case "answer":
                self._answer(one)
            case "restart":
                assert not one.set
                self.at(one.to)[2].restarts()
            case _:
                raise ValueError(f"no bytes are known for a step that is called {one.kind}")
        return one.kind != U3 or before != [run.survivors for run in self._runs.values()]

    def run(self, steps: Iterable[Step]) -> tuple[list[Step], list[tuple[int, str]]]:
        """Those that were followed and no repeats, and by number and rule those that were not."""
        followed, refused = list[Step](), list[tuple[int, str]]()
        for number, one in enumerate(steps):
            try:
                new = self.do(one)
            except Refused as why:
                refused.append((number, why.rule))
                if one.kind != RESTART:  # it has not died, then
                    self.ended.add(one.to)
            else:
                followed += [one] if new else []
        return followed, refused

    def _u1(self, one: Step) -> None:
        assert self.where[one.to] == (one.set, one.session)
        session, index, run = self.at(one.to)
        session.dealt[index] = self._dealt(
            session, index, run.hears(session.cohort.key_list(index))
        )

    def _dealt(self, session: Session, index: int, data: bytes) -> ShareKeys:
        assert data[TAG_AT] == Tag.SHARE_KEYS
        return ShareKeys.read(after_header(data), len(session.cohort.neighbours(index)))

    def _u2(self, one: Step) -> None:
        session, index, run = self.at(one.to)
        cohort, sharers = session.cohort, session.indices(one.set)
        dealt = {i: session.dealt.get(i) or self._made_up(session, i) for i in sharers}
        listed = Deliveries(cohort, dealt).to(index)
        digest = listed.digest(cohort.size)
        said = statements.DELIVERY(cohort.session, index, digest).signed(SERVER_SEED)
        run.masked = run.hears(replace(listed, delivery=said).encode(cohort.session, cohort.size))
        assert run.masked[TAG_AT] == Tag.MASKED_INPUT
        run.sharers = sharers

    def _made_up(self, session: Session, index: int) -> ShareKeys:
        """Of one who has dealt nothing, signed by whom there is to sign."""
        cohort = session.cohort
        size = 3 * DIGEST_SIZE + len(cohort.neighbours(index)) * Dealt.SIZE
        said = ShareKeys(bytes(size))
        leaf = cohort.leaves[index]
        signed = statements.SHARES(cohort.session, index, leaf, said.digest).signed(SERVER_SEED)
        return replace(said, signature=signed)

    def _u3(self, one: Step) -> None:
        session, index, run = self.at(one.to)
        cohort, survivors = session.cohort, session.indices(one.set)
        signature = cohort.survivors(run.sharers, survivors).signed(SERVER_SEED)
        said = run.hears(Survivors(survivors, signature).encode(cohort.session, cohort.size))
        run.survivors = survivors
        session.agreed[index, run.sharers, survivors] = Agree.read(after_header(said)).signature

    def _quorum(self, one: Step) -> None:
        session, index, run = self.at(one.to)
        may, quorum = dealing.signers_of(run.client._now.seat, run.client._terms)
        shown = sorted(session.indices(one.set))[:quorum]
        assert {*shown} <= {*may}
        if self.padded:
            others = sorted({*may} - {*shown}, key=lambda i: (i not in run.survivors, i))
            shown = sorted((shown + others)[:quorum])
        there = {i: self._signature(session, i, run) for i in shown}
        places = frozenset(may.index(i) for i in shown)
        request = UnmaskRequest(places, tuple(there[i] for i in shown))
        run.request = request.encode(session.cohort.session, len(may))
        run.answer = run.hears(run.request)
        self._take(session, index, run)

    def _signature(self, session: Session, index: int, run: Seat) -> bytes:
        """What that one has signed of this U2 and U3, what a corrupt one signs, or the server."""
        found = session.agreed.get((index, run.sharers, run.survivors))
        if found is not None:
            return found
        cohort = session.cohort
        _, *rest = cohort.survivors(run.sharers, run.survivors).values
        corrupt = index in session.corrupt
        seed = seed_of(cohort.ids[index]) if corrupt else SERVER_SEED
        return statements.AGREE(cohort.session, index, *rest).signed(seed)

    def _take(self, session: Session, index: int, run: Seat) -> None:
        """A share of each dealer that it holds."""
        dealers = sorted((session.near(index) | {index}) & run.sharers)
        answer = UnmaskAnswer.read(after_header(run.answer), len(dealers))
        for dealer, share in zip(dealers, answer.shares, strict=True):
            session.shares[dealer, "b" if dealer in run.survivors else "s"][1 + index] = share

    def _answer(self, one: Step) -> None:
        """That of before, which it gives again to whoever asks again (C1)."""
        session, _, run = self.at(one.to)
        if not run.answer:
            raise Refused("is not expected now")
        assert run.survivors == session.indices(one.set)
        assert run.hears(run.request) == run.answer
