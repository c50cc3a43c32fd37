"""A toy protocol with a fifth phase between two others, under a suite of its own.

Under suite 1 it is SecAgg. Under the toy suite each client whose masked input is in says once more
that it is there, before anybody is asked to unmask: the machines of SecAgg are held up in between,
and know nothing of it. It has no rows under that suite, and says so. Nothing outside this file
knows of the phase, its messages or the suite.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from secagg import registry, suite
from secagg.effects import Write
from secagg.errors import LocalProtocolError
from secagg.protocol import Cost, OneServer, Phase, ProtocolInfo, Session
from secagg.sansio import Dropped, Event, Need, Outgoing, PhaseEntered, QuorumReached
from secagg.suite import SUITE_1, Suite
from secagg.types import SERVER, AbortReason, Buffer, Fault, PartyId
from secagg.wire.header import HEADER_SIZE, write_header
from secagg_protocols.secagg import SECAGG

TOY = Suite(9, signed=False)
ASK, SAY = 9, 10
CONFIRM = "confirm"
PHASES = tuple(SECAGG.phases(None, SUITE_1))  # type: ignore[arg-type]
FIVE = (*PHASES[:3], Phase(CONFIRM, SAY), *PHASES[3:])


def words(session: Session, tag: int) -> bytes:
    return write_header(tag, session.offer("fifth"), session.suite).finish()


class _Held:
    """What both machines do: everything like the one inside, unless said otherwise."""

    def __init__(self, session: Session, inner: Any) -> None:
        self._session, self._inner = session, inner
        self._outgoing: list[Outgoing] = []
        self._events: list[Event] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def writes(self) -> list[Write]:
        self._inner.writes()
        return []

    def restore(self, rows: Iterable[tuple[bytes, bytes]], /) -> None:
        for _ in rows:
            raise LocalProtocolError("this suite does not resume")

    def outgoing(self) -> list[Outgoing]:
        self._drain()
        said, self._outgoing = self._outgoing, []
        return said

    def events(self) -> list[Event]:
        self._drain()
        told, self._events = self._events, []
        return told

    def _drain(self) -> None:
        self._outgoing += self._inner.outgoing()
        self._events += self._inner.events()


class FifthClient(_Held):
    """Says that it is there as often as it is asked, in the same bytes."""

    _asked = False

    @property
    def phase(self) -> str:
        inner: str = self._inner.phase
        return CONFIRM if self._asked and inner == "masked-input" else inner

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        masked = self._inner.phase == "masked-input" and not self._inner.owes_input
        if sender != SERVER or not masked or message != words(self._session, ASK):
            self._inner.receive(sender, message)
            return
        if not self._asked:
            self._drain()
            self._events.append(PhaseEntered(CONFIRM))
        self._asked = True
        self._outgoing.append(Outgoing(SERVER, words(self._session, SAY), commit=True))


class FifthServer(_Held):
    """Keeps back what opens the last phase until it has heard of everybody again."""

    _waiting: set[PartyId] | None = None
    _heard: set[PartyId] = set()
    _kept: tuple[list[Outgoing], list[Event]] = ([], [])
    _over = False

    @property
    def _open(self) -> bool:
        return self._waiting is not None and not self._over and not self._inner.done

    @property
    def phase(self) -> str:
        inner: str = self._inner.phase
        return CONFIRM if self._open else inner

    @property
    def need(self) -> Need:
        if not self._open:
            need: Need = self._inner.need
            return need
        return Need.MESSAGES if self.waiting_for else Need.CLOSE

    @property
    def waiting_for(self) -> frozenset[PartyId]:
        inner: frozenset[PartyId] = self._inner.waiting_for
        return inner & frozenset(self._waiting or ()) if self._open else inner

    @property
    def quorum(self) -> bool:
        if not self._open:
            return bool(self._inner.quorum)
        return len(self._heard & self._inner.alive) >= self._session.params.min_survivors

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        mine = self._waiting is not None and bytes(message) == words(self._session, SAY)
        if not mine or sender not in self._inner.alive:
            self._inner.receive(sender, message)
            return
        quorum = self.quorum
        self._waiting.discard(sender)  # type: ignore[union-attr]
        self._heard.add(sender)
        if self._open and self.quorum and not quorum:
            self._events.append(QuorumReached(CONFIRM))

    def close_phase(self) -> None:
        if not self._open:
            self._inner.close_phase()
            if self._inner.phase == "unmask" and self._waiting is None:
                self._begin()
            return
        for party in self.waiting_for:
            self._inner.lost(party)
            self._events += [
                replace(e, fault=Fault.LATE) if isinstance(e, Dropped) else e
                for e in self._inner.events()
            ]
        if not self.quorum:
            self._inner.abort(AbortReason.BELOW_THRESHOLD)
            self._kept = ([], [])
            return
        said, told = self._kept
        self._over = True
        self._outgoing += [m for m in said if m.to in self._inner.alive]
        self._events += told

    def reconnected(self, party: PartyId, /) -> None:
        if not self._open:
            self._inner.reconnected(party)
        elif party in self.waiting_for:
            self._outgoing.append(Outgoing(party, words(self._session, ASK), commit=True))

    def _begin(self) -> None:
        told = self._inner.events()
        at = next(i for i, e in enumerate(told) if e == PhaseEntered("unmask"))
        self._kept = (self._inner.outgoing(), told[at:])
        self._waiting, self._heard = set(self._inner.waiting_for), set()
        self._events += [*told[:at], PhaseEntered(CONFIRM)]
        ask = words(self._session, ASK)
        self._outgoing += [Outgoing(p, ask, commit=True) for p in sorted(self._waiting)]


def _client(session: Session, me: PartyId, **more: Any) -> Any:
    inner = SECAGG.family.client(session, me, **more)
    return inner if session.suite == SUITE_1 else FifthClient(session, inner)


def _server(session: Session, **more: Any) -> Any:
    assert isinstance(SECAGG.family, OneServer)
    inner = SECAGG.family.server(session, **more)
    return inner if session.suite == SUITE_1 else FifthServer(session, inner)


def _cost(*arguments: Any) -> Cost:
    """Of the toy suite: a header up and one down."""
    cost = SECAGG.cost(*arguments)
    up, down = cost.upload_bytes + HEADER_SIZE, cost.download_bytes + HEADER_SIZE
    return replace(cost, upload_bytes=up, download_bytes=down, uploads=())


FIFTH: ProtocolInfo = replace(
    SECAGG,
    name="fifth",
    family=OneServer(_client, _server),
    phases=lambda params, of: PHASES if of == SUITE_1 else FIVE,
    messages={**SECAGG.messages, ASK: "ask", SAY: "confirm"},
    cost=_cost,
)


@pytest.fixture
def fifth(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProtocolInfo]:
    """Installed, and its suite known."""
    monkeypatch.setitem(suite.SUITES, TOY.number, TOY)
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda name: FIFTH if name == "fifth" else load(name))
    yield FIFTH
