"""Sessions acted out step by step, and recorded: what the vectors of rounds are made with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from operations import OUTPUTS, Data, Stage

from secagg.fields import Field, FixedPoint, Integer
from secagg.plans.plan import Plan
from secagg.schema import Schema
from secagg.threat import Threat
from secagg_protocols.plainsum import PlainSumParams
from secagg_protocols.secagg.params import SecAggParams

PAYLOAD = b"the task of every client"
SESSION = "specs/10-secagg.md"


def shake(name: str, size: int) -> bytes:
    return hashlib.shake_256(b"secagg/v1/vectors/" + name.encode()).digest(size)


@dataclass
class Script:
    """Machines, and the operations performed on them so far with what was observed."""

    plan: Plan
    family: str
    subjects: tuple[Any, ...]
    steps: list[Data] = field(default_factory=list)

    def __post_init__(self) -> None:
        clients = [p for p in self.subjects if p != "server"]
        self.setup = {
            "protocol": self.plan.protocol,
            "plan": self.plan.encode().hex(),
            "payload": PAYLOAD.hex(),
            "server": "server" in self.subjects,
            "clients": {
                str(p): {"randomness": shake(f"{self.family}/{p}", 8192).hex()} for p in clients
            },
        }
        self.stage = Stage(self.setup)

    def do(self, operation: str, party: Any = "server", **inputs: Any) -> Data:
        step = {"operation": operation, "party": party, **inputs}
        outputs = self.stage.perform(step)
        self.steps.append({**step, OUTPUTS: outputs})
        return outputs

    def scenario(self, about: str, spec: str, expect: str) -> Data:
        clients: Any = self.setup["clients"]
        for party, tape in self.stage.tapes.items():
            clients[str(party)]["randomness"] = tape.data[: tape.drawn].hex()
        return {
            "about": about,
            "spec": f"{SESSION} {spec}",
            "expect": expect,
            "setup": self.setup,
            "operations": self.steps,
        }


Tamper = Callable[[str], str]
"""hex -> hex"""


@dataclass
class Round:
    """A whole round, driven as a driver does. lost: (party, phase) pairs that vanish before their
    message of the phase. tampered: (sender, receiver, tag) -> what becomes of the bytes."""

    plan: Plan
    family: str
    lost: frozenset[tuple[int, str]] = frozenset()
    late: frozenset[tuple[int, str]] = frozenset()
    tampered: Mapping[tuple[Any, Any, int], Tamper] = field(default_factory=dict)
    repeated: bool = False
    input_last: bool = False
    inputs: Callable[[Plan, int], list[list[int]]] = lambda plan, party: ring_input(plan, party)

    def run(self) -> Script:
        n = self.plan.threat.clients
        script = Script(self.plan, self.family, ("server", *range(n)))
        self._play(script, range(n), self.plan.phase_names)
        if self.plan.protocol != "plainsum":
            script.do("run_jobs")
        script.do("result")
        script.do("check_counts")
        return script

    def _play(self, script: Any, parties: Iterable[int], phases: Sequence[str]) -> None:
        """Until the last phase is closed."""
        mail: dict[int, list[str]] = {p: [] for p in parties}
        script.do("start")
        for party in mail:
            self._post(mail, party, script.do("start", party))
        for phase in phases:
            if phase == ("masked-input" if self.input_last else phases[0]):
                self._set_inputs(script, mail)
            self._collect(script, mail, phase)
            self._deliver(script, mail, script.do("close_phase"))

    def _post(self, mail: dict[int, list[str]], party: int, outputs: Data) -> None:
        mail[party] += [sent["message"] for sent in outputs.get("sends", [])]

    def _set_inputs(self, script: Any, mail: dict[int, list[str]]) -> None:
        for party in mail:
            vector = self.inputs(self.plan, party)
            self._post(mail, party, script.do("set_input", party, vector=vector))

    def _collect(self, script: Any, mail: dict[int, list[str]], phase: str) -> None:
        for party in list(mail):
            if (party, phase) in self.lost:
                script.do("lost", who=party)
                del mail[party]
            elif (party, phase) in self.late:
                del mail[party]
        for party, messages in mail.items():
            for message in messages:
                script.do("receive", sender=party, message=self._changed(party, "server", message))
                if self.repeated:
                    script.do("receive", sender=party, message=message)
            messages.clear()

    def _deliver(self, script: Any, mail: dict[int, list[str]], outputs: Data) -> None:
        for sent in outputs.get("sends", []):
            party = sent["to"]
            if party not in mail:
                continue
            message = self._changed("server", party, sent["message"])
            step = {"sender": "server", "message": message}
            self._post(mail, party, script.do("receive", party, **step))
            if self.repeated:
                script.do("receive", party, **step)

    def _changed(self, sender: Any, receiver: Any, message: str) -> str:
        tamper = self.tampered.get((sender, receiver, tag_of(message)), lambda same: same)
        return tamper(message)


def tag_of(message: str) -> int:
    return bytes.fromhex(message)[2]


def ring_input(plan: Plan, party: int) -> list[list[int]]:
    """Any ring elements, but a true count lane and a weight of party + 1."""
    lanes = []
    for number, segment in enumerate(plan.layout.segments):
        raw = shake(f"input/{party}/{number}", 8 * segment.length)
        mask = segment.group.mask
        lanes.append([int.from_bytes(raw[8 * i : 8 * i + 8]) & mask for i in range(segment.length)])
    for slot in plan.schema.count_slots:
        lanes[slot.segment][slot.start : slot.start + slot.length] = [1] * slot.length
    if (weight := plan.schema.weight_slot) is not None:
        lanes[weight.segment][weight.start] = party + 1
    return lanes


def make_plan(params: Any, fields: Mapping[str, Field], dropout: str, max_weight: int = 1) -> Plan:
    n = params.clients
    name = "plainsum" if isinstance(params, PlainSumParams) else "secagg+"
    if isinstance(params, SecAggParams) and params.complete:
        name = "secagg"
    threat = Threat(n, Fraction(0), Fraction(dropout))
    return Plan(threat, Schema.of(fields, n, max_weight), name, params)


UPDATE = {"update": FixedPoint(length=5, clip=1.0, bits=8)}
MIXED = {
    "wide": FixedPoint(length=3, clip=2.5, bits=24, rounding="stochastic"),
    "counts": Integer(length=4, max=1),
    "narrow": FixedPoint(length=6, clip=1.0, bits=4),
    "more": FixedPoint(length=2, clip=1.0, bits=24, excess="error"),
    "big": Integer(length=2, max=(1 << 60) - 1),
}


def square() -> Plan:
    """Four clients, t = 3, the smallest session that one may leave: the one that most refusals are
    shown in."""
    return complete(4, "1/4")


def complete(n: int, dropout: str, fields: Mapping[str, Field] = UPDATE, weight: int = 1) -> Plan:
    t = n // 2 + 1
    return make_plan(SecAggParams(n, n - 1, t, t, t), fields, dropout, weight)


def regular(threshold: int, dropped: int) -> Plan:
    """Eight clients with four neighbours each."""
    params = SecAggParams(8, 4, threshold, 8 - dropped, 8 - dropped)
    return make_plan(params, UPDATE, f"{dropped}/8")


def flipped(at: int, bit: int = 1) -> Tamper:
    def flip(message: str) -> str:
        data = bytearray.fromhex(message)
        data[at] ^= bit
        return data.hex()

    return flip


@dataclass
class Honest:
    """The messages of a round of the square in which all goes well, to be tampered with."""

    script: Any
    """A Script, or one of suite 2."""

    def sent(self, party: int, tag: int) -> str:
        return next(
            s["message"]
            for s in self.script.steps
            if s["operation"] == "receive" and s.get("sender") == party
            if tag_of(s["message"]) == tag
        )

    def got(self, party: int, tag: int) -> str:
        return next(
            s["message"]
            for s in self.script.steps
            if s["operation"] == "receive" and s["party"] == party
            if tag_of(s["message"]) == tag
        )
