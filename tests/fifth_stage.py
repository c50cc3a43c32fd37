"""A toy suite under which SecAgg has a stage more: each survivor says that it is one.

Between masked input and unmask the server asks everybody in U3, and goes on with those who answer.
All of it is here: messages, states, tables, the stage with its rows, what a client answers. The
machines are those of SecAgg, made with other courses.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from secagg import registry, suite
from secagg.errors import RemoteProtocolError
from secagg.protocol import Cost, OneServer, Phase, ProtocolInfo, Session
from secagg.suite import SUITE_1, Suite
from secagg.types import PartyId
from secagg.wire.codec import Reader
from secagg.wire.header import HEADER_SIZE, write_header
from secagg_protocols.rows import Taken, kind_of, number_of, numbered
from secagg_protocols.secagg import SECAGG
from secagg_protocols.secagg import course as clients
from secagg_protocols.secagg import stages as servers
from secagg_protocols.secagg.client import SecAggClient
from secagg_protocols.secagg.cohort import at_least
from secagg_protocols.secagg.messages import NAMES, Tag
from secagg_protocols.secagg.server import SecAggServer
from secagg_protocols.secagg.stages.base import Drop, Said, Stage
from secagg_protocols.secagg.stages.unmask import Unmask
from secagg_protocols.secagg.standing import STORED, Standing, WantSurvivors
from secagg_protocols.secagg.states import CLIENT, PHASES, SERVER, ClientState, Input, ServerState
from secagg_protocols.secagg.terms import Terms

TOY = Suite(10, signed=False)
ASK, SAY = 9, 10
CONFIRM = "confirm"
FIVE = (*PHASES[:3], Phase(CONFIRM, SAY), *PHASES[3:])
NAMED = {**NAMES, ASK: "ask", SAY: CONFIRM}
_HEARD = b"heard/"


class Toy(enum.Enum):
    """The one state more, of either side."""

    CONFIRM = (CONFIRM, CONFIRM)

    @property
    def phase(self) -> str:
        return self.value[1]

    @property
    def code(self) -> int:
        return 100


# The server


class Confirm(Unmask):
    """It has what the stage after it has, and hears of each survivor that it is one."""

    state, tag = Toy.CONFIRM, SAY  # type: ignore[assignment]
    kinds = (Unmask.kinds - {b"shares/"}) | {_HEARD}

    def __init__(self, *made: Any) -> None:
        super().__init__(*made)
        self._heard: set[int] = set()

    @classmethod
    def read(cls, terms: Terms, taken: Taken) -> Confirm:
        heard = [index for index, _ in taken.under(_HEARD, terms.params.clients)]
        stage = super().read(terms, taken)
        assert isinstance(stage, Confirm)
        stage._heard = set(heard)
        return stage

    @property
    def quorum(self) -> bool:
        return len(self._heard) >= self.terms.params.min_survivors

    def opening(self, parties: Collection[PartyId]) -> Said:
        ask = write_header(ASK, self.cohort.session).finish()
        yield from ((party, ask) for party in sorted(parties))

    def take(self, sender: PartyId, reader: Reader) -> tuple[bytes, ...]:
        reader.finish()
        index = self.cohort.index[sender]
        self._heard.add(index)
        return (numbered(_HEARD, index),)

    def close(self, alive: Collection[PartyId], drop: Drop) -> Stage:
        at_least(len(self._heard), self.terms.params.min_survivors, "clients have confirmed")
        return self.following(self._survival, self._masked)

    def row(self, key: bytes) -> bytes | None:
        if kind_of(key) == _HEARD:
            return b"" if number_of(key) in self._heard else None
        return super().row(key)


def _with(table: dict[Any, Any], left_out: Any, more: dict[Any, Any]) -> dict[Any, Any]:
    return {key: value for key, value in table.items() if key != left_out} | more


SERVERS = servers.Course(
    table=_with(
        SERVER,
        None,
        {
            (ServerState.MASKED_INPUT, Input.CLOSE): Toy.CONFIRM,
            (Toy.CONFIRM, SAY): Toy.CONFIRM,
            (Toy.CONFIRM, Tag.ABORT): Toy.CONFIRM,
            (Toy.CONFIRM, Input.CLOSE): ServerState.UNMASK,
        },
    ),
    names=NAMED,
    after={
        **servers.COURSE.after,
        ServerState.MASKED_INPUT: Confirm,
        Toy.CONFIRM: Unmask,
    },
    read={**servers.COURSE.read, Toy.CONFIRM: Confirm.read},
)


# The client


@dataclass(frozen=True, slots=True)
class Confirmed(WantSurvivors):
    """It holds what it held, and has said so."""

    state: ClassVar[Any] = Toy.CONFIRM


def confirm(now: Standing, reader: Reader, bound: bytes) -> tuple[Standing, bytes]:
    reader.finish()
    if not isinstance(now, WantSurvivors) or bound != now.place.session:
        raise RemoteProtocolError("the message is bound to another session")
    after = Confirmed(now.place, now.view, now.held)
    return after, write_header(SAY, now.place.session).finish()


CLIENTS = clients.Course(
    table=_with(
        CLIENT,
        (ClientState.WANT_SURVIVORS, Tag.UNMASK_REQUEST),
        {
            (ClientState.WANT_SURVIVORS, ASK): Toy.CONFIRM,
            (Toy.CONFIRM, Tag.UNMASK_REQUEST): ClientState.ANSWERED,
            (Toy.CONFIRM, Tag.ABORT): ClientState.ENDED,
        },
    ),
    names=NAMED,
    more={ASK: confirm},
    stored=(*STORED, Confirmed),
)


# The protocol


def _client(session: Session, me: PartyId, **more: Any) -> Any:
    course = CLIENTS if session.suite == TOY else clients.COURSE
    return SecAggClient("staged", session, session.params, me, course=course, **more)  # type: ignore[arg-type]


def _server(session: Session, **more: Any) -> Any:
    course = SERVERS if session.suite == TOY else servers.COURSE
    return SecAggServer("staged", session, session.params, course=course, **more)  # type: ignore[arg-type]


def _cost(*arguments: Any) -> Cost:
    cost = SECAGG.cost(*arguments)
    up, down = cost.upload_bytes + HEADER_SIZE, cost.download_bytes + HEADER_SIZE
    return replace(cost, upload_bytes=up, download_bytes=down)


STAGED: ProtocolInfo = replace(
    SECAGG,
    name="staged",
    family=OneServer(_client, _server),
    phases=lambda params, of: FIVE if of == TOY else PHASES,
    messages=NAMED,
    cost=_cost,
    resumes=lambda of: of in (SUITE_1, TOY),
)


@pytest.fixture
def staged(monkeypatch: pytest.MonkeyPatch) -> ProtocolInfo:
    """Installed, and its suite known."""
    monkeypatch.setitem(suite.SUITES, TOY.number, TOY)
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda name: STAGED if name == "staged" else load(name))
    return STAGED
