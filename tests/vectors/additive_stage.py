"""The machines of additive sums (specs/20-additive.md), acted on as a vector file says.

A server's rows are kept here as its store would keep them, and `restart` makes it anew from them.
Sealing draws its ephemeral key inside a library, so here it is done by the verifier's code, with
scalars from the file; what is opened is opened by the package.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rfc9180
from operations import Data, Tape, event_of, observed, to_bytes, to_vector

from secagg import mask, records
from secagg.committee import ServerSecrets, opening_secret
from secagg.crypto import hpke
from secagg.plans.task import Task
from secagg.sansio import RingTotal
from secagg.types import COLLECTOR, SERVER, PartyId, server_id
from secagg.wire.frame import payload_digest

FAULTS = {
    "malformed",
    "wrong-phase",
    "equivocation",
    "rejected",
    "invalid-signature",
    "disagreement",
}


class AdditiveStage:
    """Every machine that `setup` names: clients, servers by index, the collector."""

    def __init__(self, setup: Data) -> None:
        self.task = Task.decode(to_bytes(setup["task"]))
        self._payload = to_bytes(setup["payload"])
        self._session = self.task.batch(setup["batch"])
        self.tapes = _tapes(setup, "randomness")
        self.sealing = _tapes(setup, "ephemeral")
        self.rows: dict[str, dict[bytes, bytes]] = {}
        self._machines: dict[str, Any] = {}
        for name in setup["parties"]:
            if name.startswith("server"):
                rows = setup.get("rows", {}).get(name, {})
                self.rows[name] = {to_bytes(k): to_bytes(v) for k, v in rows.items()}
            self._machines[name] = self._machine(name)

    def _machine(self, name: str) -> Any:
        info, tape = self.task.plan.info, self.tapes[name]
        if name == "collector":
            return info.family.collector(self._session, opening_secret(tape))
        if not name.startswith("server"):
            return info.family.client(
                self._session, PartyId(int(name)), randomness=tape, expander=mask.add_streams
            )
        index = int(name.removeprefix("server-"))
        tape.drawn = 0  # a server has drawn its keys and nothing else
        secrets = ServerSecrets.generate(tape)
        machine = info.family.member(self._session, index, secrets, expander=mask.add_streams)
        machine.restore(self.rows[name].items())
        return machine

    def perform(self, operation: Data) -> Data:
        name = str(operation["party"])
        with _sealing(self.sealing[name]):
            outputs = observed(lambda: self._act(name, operation))
        machine = self._machines[name]
        events = [self._event(e) for e in map(event_of, machine.events()) if e]
        if any(e[0] == "aborted" or e[-1] in FAULTS for e in events):
            outputs["success"] = False
        writes = self._stored(name, machine)
        sends = [self._sent(message) for message in machine.outgoing()]
        found = {"events": events, "writes": writes, "sends": sends}
        return outputs | {key: value for key, value in found.items() if value}

    def _act(self, name: str, operation: Data) -> Data:
        machine = self._machines[name]
        match operation["operation"]:
            case "start":
                machine.start()
            case "restart":
                self._machines[name] = self._machine(name)
                self._machines[name].start()
            case "set_input":
                payload = to_bytes(operation.get("payload", self._payload.hex()))
                vector = to_vector(operation["vector"], self.task.plan.layout)
                machine.set_input(vector, payload_digest(payload))
            case "receive":
                machine.receive(party_of(operation["sender"]), to_bytes(operation["message"]))
            case "lost":
                machine.lost(party_of(operation["who"]))
            case "reconnected":
                machine.reconnected(party_of(operation["who"]))
            case "close_phase":
                machine.close_phase()
            case "result":
                return _total(machine.result())
            case "check_counts":
                total = machine.result()
                records.check_counts(self.task.plan.schema, total.vector, total.reports)
            case unknown:
                raise ValueError(f"operation {unknown} is unknown")
        return {}

    def _stored(self, name: str, machine: Any) -> list[list[str | None]]:
        """Key and value of each row, by key; the value of one that is deleted is null."""
        if name not in self.rows:
            return []
        writes = {w.key: w.value for w in machine.writes()}
        kept = self.rows[name] | writes
        self.rows[name] = {key: value for key, value in kept.items() if value is not None}
        return [
            [key.hex(), None if writes[key] is None else writes[key].hex()]
            for key in sorted(writes)
        ]

    def _sent(self, message: Any) -> Data:
        sent = {"to": self._name(message.to), "message": message.data.hex()}
        return sent | ({"commit": True} if message.commit else {})

    def _event(self, event: list[Any]) -> list[Any]:
        if event[0] in ("dropped", "ignored"):
            party = PartyId(SERVER) if event[1] == "server" else event[1]
            return [event[0], self._name(party), *event[2:]]
        return event

    def _name(self, party: PartyId) -> str:
        if party == COLLECTOR:
            return "collector"
        index = SERVER - party
        return f"server-{index}" if index < self.task.plan.params.servers else str(party)


def _tapes(setup: Data, kind: str) -> dict[str, Tape]:
    return {name: Tape(to_bytes(setup[kind].get(name, ""))) for name in setup["parties"]}


@contextmanager
def _sealing(tape: Tape) -> Iterator[None]:
    right = hpke.seal

    def seal(public: bytes, plaintext: Any, info: bytes) -> bytes:
        return rfc9180.seal(public, info, bytes(plaintext), tape(32))

    hpke.seal = seal
    try:
        yield
    finally:
        hpke.seal = right


def party_of(name: str | int) -> PartyId:
    if name == "collector":
        return COLLECTOR
    if isinstance(name, str) and name.startswith("server-"):
        return server_id(int(name.removeprefix("server-")))
    return PartyId(int(name))


def _total(total: RingTotal) -> Data:
    return {"vector": [lane.tolist() for lane in total.vector], "reports": total.reports}
