"""plainsum passes the conformance suite, and the suite finds what is planted into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from secagg import registry
from secagg.errors import RemoteProtocolError, Truncated, WireError
from secagg.protocol import Infeasible, ProtocolInfo
from secagg.sansio import Aborted, Finished, Ignored, RingTotal
from secagg.testing import ConformanceError, Network, Schedule, check_protocol
from secagg.types import SERVER, AbortReason, Buffer, Fault, PartyId
from secagg.wire.codec import Reader
from secagg_protocols.plainsum import PROTOCOL, PlainSumParams, messages
from secagg_protocols.plainsum.client import PlainSumClient
from secagg_protocols.plainsum.server import PlainSumServer
from tests.networks import inputs_of, session_of


@pytest.mark.parametrize("name", ["plainsum", "secagg", "secagg+"])
def test_every_protocol_conforms(name: str) -> None:
    check_protocol(registry.load(name))


class AddsTwice(PlainSumServer):
    """A duplicate is added again."""

    def receive(self, sender: PartyId, message: Any, /) -> None:
        self._added.pop(sender, None)
        super().receive(sender, message)


class ForgetsToReduce(PlainSumServer):
    def result(self) -> RingTotal:
        total = super().result()
        return RingTotal(self._sum, total.contributors, total.dropped)


class RaisesForPeers(PlainSumServer):
    def _drop(self, party: PartyId, fault: Fault, detail: str = "") -> None:
        super()._drop(party, fault, detail)
        if fault is Fault.MALFORMED:
            raise WireError(detail)


class DisownsWhoLeft(PlainSumServer):
    """Who leaves after its upload stays in the sum but not among the contributors."""

    def lost(self, party: PartyId, /) -> None:
        super().lost(party)
        self._added.pop(party, None)


class NeverDrained(PlainSumServer):
    def events(self) -> list[Any]:
        return list(self._events)


class NeverGivesUp(PlainSumServer):
    def abort(self, why: AbortReason, /) -> None:
        if why is not AbortReason.BELOW_THRESHOLD:
            super().abort(why)


class WaitsForTheLost(PlainSumServer):
    @property
    def waiting_for(self) -> frozenset[PartyId]:
        everyone = frozenset(map(PartyId, range(self._session.params.clients)))
        return everyone - self._added.keys() if self.phase and not self.done else frozenset()


class FirstComesTwice(PlainSumServer):
    """Whoever comes first counts twice: the order of arrival matters."""

    def _add(self, sender: PartyId, reader: Reader, message: Buffer) -> None:
        if not self._added:
            super()._add(sender, Reader(bytes(reader._data)), message)
        super()._add(sender, reader, message)


class LenientReader(Reader):
    def finish(self) -> None:
        pass


class TakesTrailingBytes(PlainSumServer):
    def _add(self, sender: PartyId, reader: Reader, message: Buffer) -> None:
        super()._add(sender, LenientReader(reader._data), message)


class NotBound(PlainSumServer):
    """Takes messages of any session."""

    def receive(self, sender: PartyId, message: Any, /) -> None:
        data = bytes(message)
        super().receive(sender, data[:3] + self._offer + data[35:])


class LastWordCounts(PlainSumServer):
    """A second, different upload is ignored, and its sender stays."""

    def receive(self, sender: PartyId, message: Any, /) -> None:
        if sender in self._added and self._added[sender] != self._fingerprints.of(message):
            self._events.append(Ignored(sender, "again"))
            return
        super().receive(sender, message)


class StartsTwice(PlainSumServer):
    def start(self) -> None:
        self.phase = ""
        super().start()


class EndsTwice(PlainSumServer):
    def close_phase(self) -> None:
        super().close_phase()
        self._events.append(Finished())


class AbortsInSilence(PlainSumServer):
    def abort(self, why: AbortReason, /) -> None:
        super().abort(why)
        self._outgoing.clear()


class AnyTask(PlainSumClient):
    def set_input(self, vector: Any, payload_digest: bytes, /) -> None:
        super().set_input(vector, self._session.payload_digest)


def _with_server(kind: type[PlainSumServer]) -> ProtocolInfo:
    make = lambda session, *, expander, signing=None: kind(session, expander=expander)  # noqa: E731
    return replace(PROTOCOL, family=replace(PROTOCOL.family, server=make))


def _with_client(kind: type[PlainSumClient]) -> ProtocolInfo:
    def make(
        session: Any, me: Any, *, randomness: Any, expander: Any, signing: None = None
    ) -> PlainSumClient:
        return kind(session, me, randomness=randomness, expander=expander)

    return replace(PROTOCOL, family=replace(PROTOCOL.family, client=make))


PLANTED: list[tuple[str, ProtocolInfo]] = [
    ("duplicates-are-idempotent", _with_server(AddsTwice)),
    ("sums-are-exact", _with_server(ForgetsToReduce)),
    ("garbage-drops-its-sender-only", _with_server(RaisesForPeers)),
    ("drops-in-every-phase-are-survived", _with_server(DisownsWhoLeft)),
    ("mailboxes-are-drained", _with_server(NeverDrained)),
    ("too-few-clients-end-the-round", _with_server(NeverGivesUp)),
    ("the-lost-are-not-alive", _with_server(WaitsForTheLost)),
    ("sums-are-exact", _with_server(FirstComesTwice)),
    ("garbage-drops-its-sender-only", _with_server(TakesTrailingBytes)),
    ("garbage-drops-its-sender-only", _with_server(NotBound)),
    ("two-different-messages-drop-their-sender", _with_server(LastWordCounts)),
    ("machines-are-used-once", _with_server(StartsTwice)),
    ("events-are-in-order", _with_server(EndsTwice)),
    ("aborts-end-everything", _with_server(AbortsInSilence)),
    ("other-inputs-are-refused", _with_client(AnyTask)),
    (
        "costs-are-what-is-sent",
        replace(PROTOCOL, cost=lambda *a: replace(PROTOCOL.cost(*a), upload_bytes=1)),
    ),
    ("costs-are-what-is-sent", replace(PROTOCOL, messages={})),
    (
        "parameters-survive-encoding",
        replace(PROTOCOL, decode_params=lambda data: PlainSumParams(9, 9)),
    ),
    ("no threat", replace(PROTOCOL, parameters=lambda threat: Infeasible("never"))),
]


@pytest.mark.parametrize(("rule", "info"), PLANTED)
def test_the_suite_finds_what_is_planted(rule: str, info: ProtocolInfo) -> None:
    with pytest.raises(ConformanceError) as error:
        check_protocol(info)
    assert rule in str(error.value)


def _network(schedule: Schedule | None = None) -> Network:
    session = session_of(PlainSumParams(4, 3))
    return Network.of(PROTOCOL, session, inputs_of(4), schedule=schedule)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + b"\0",
        lambda data: data[:2] + bytes([7]) + data[3:],
        lambda data: data[:3] + bytes(32) + data[35:],
        lambda data: data[:-1] + b"\xff",
        lambda data: data[:-1],
    ],
    ids=["trailing", "tag", "binding", "reason", "truncated"],
)
def test_a_client_ends_at_anything_but_an_abort(change: Callable[[bytes], bytes]) -> None:
    session = session_of(PlainSumParams(4, 3))
    client = PlainSumClient(session, PartyId(0), randomness=bytes, expander=lambda *a, **k: None)
    client.start()
    good = messages.abort(session.offer("plainsum"), AbortReason.CANCELLED.code)
    with pytest.raises(RemoteProtocolError):
        client.receive(SERVER, change(good))
    assert client.done
    assert len(client.outgoing()) == 1


def test_a_client_hears_an_abort() -> None:
    session = session_of(PlainSumParams(4, 3))
    client = PlainSumClient(session, PartyId(0), randomness=bytes, expander=lambda *a, **k: None)
    client.start()
    client.receive(SERVER, messages.abort(session.offer("plainsum"), AbortReason.CANCELLED.code))
    assert client.events()[-1] == Aborted(AbortReason.CANCELLED)


def test_parameters_are_parsed_whole() -> None:
    assert PROTOCOL.decode_params(PlainSumParams(4, 3).encode()) == PlainSumParams(4, 3)
    with pytest.raises(Truncated):
        PROTOCOL.decode_params(PlainSumParams(4, 3).encode()[:-1])


def test_an_abort_with_trailing_bytes_is_malformed() -> None:
    """Row 3."""
    network = _network()
    network.start()
    offer = session_of(PlainSumParams(4, 3)).offer("plainsum")
    network.server.receive(PartyId(0), messages.abort(offer, 1) + b"\0")
    dropped = network.server.events()[-1]
    assert getattr(dropped, "fault", None) is Fault.MALFORMED
