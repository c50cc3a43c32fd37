"""Batches of additive sums acted out step by step, and what each party refuses: their vectors."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from additive_stage import AdditiveStage
from operations import OUTPUTS, Data
from scripts import PAYLOAD, UPDATE, Tamper, ring_input, shake

from secagg.committee import Committee, ServerSecrets, opening_secret
from secagg.crypto.agree import public_key
from secagg.fields import Field
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.schema import Schema
from secagg.threat import Threat
from secagg.types import Randomness
from secagg.wire.frame import payload_digest
from secagg_protocols.additive.params import AdditiveParams

SPEC = "specs/20-additive.md"
REPORT, SHARE, RECEIPT, VERDICT, DECISION, DECIDED = range(1, 7)
STATEMENT, AGREEMENT, LOCKED, COLLECT, TOTAL, ABORT, OPEN = range(7, 14)
LEADER = "server-0"


def drawing(name: str) -> Randomness:
    """Of a server or the collector: as the tape of that name."""
    at = 0

    def draw(size: int) -> bytes:
        nonlocal at
        at += size
        return shake(name, at)[at - size :]

    return draw


def secrets_of(family: str, index: int) -> ServerSecrets:
    return ServerSecrets.generate(drawing(f"{family}/server-{index}"))


def make_task(
    family: str,
    clients: int = 4,
    servers: int = 3,
    *,
    dropout: str = "1/4",
    direct: bool = False,
    fields: Mapping[str, Field] = UPDATE,
    weight: int = 1,
    epoch: int = 5,
) -> Task:
    threat = Threat(
        clients, Fraction(0), Fraction(dropout), servers=servers, direct=direct, min_clients=None
    )
    smallest = max(3, clients - threat.dropped)
    params = AdditiveParams(clients, servers, smallest, direct)
    plan = Plan(threat, Schema.of(fields, clients, weight), "additive", params)
    keys = tuple(secrets_of(family, index).public for index in range(servers))
    collector = public_key(opening_secret(drawing(f"{family}/collector")))
    return Task(plan, Committee(keys, collector, epoch), payload_digest(PAYLOAD))


@dataclass
class AdditiveScript:
    """Machines, and what was done to them so far with what was observed."""

    task: Task
    family: str
    parties: Sequence[str]
    batch: int = 0
    rows: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    steps: list[Data] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.setup: Data = {
            "protocol": "additive",
            "task": self.task.encode().hex(),
            "payload": PAYLOAD.hex(),
            "batch": self.batch,
            "parties": list(self.parties),
            "randomness": {p: shake(f"{self.family}/{p}", 1024).hex() for p in self.parties},
            "ephemeral": {p: shake(f"{self.family}/e/{p}", 1024).hex() for p in self.parties},
        }
        if self.rows:
            self.setup["rows"] = {name: dict(rows) for name, rows in self.rows.items()}
        self.stage = AdditiveStage(self.setup)

    def do(self, operation: str, party: str, **inputs: Any) -> Data:
        step = {"operation": operation, "party": party, **inputs}
        outputs = self.stage.perform(step)
        self.steps.append({**step, OUTPUTS: outputs})
        return outputs

    def scenario(self, about: str, spec: str, expect: str = "accept") -> Data:
        for kind, tapes in (("randomness", self.stage.tapes), ("ephemeral", self.stage.sealing)):
            drawn = {name: tape.data[: tape.drawn].hex() for name, tape in tapes.items()}
            self.setup[kind] = {name: tape for name, tape in drawn.items() if tape}
        return {
            "about": about,
            "spec": f"{SPEC} {spec}",
            "expect": expect,
            "setup": self.setup,
            "operations": self.steps,
        }

    def rows_of(self, name: str) -> dict[str, str]:
        return {key.hex(): value.hex() for key, value in self.stage.rows[name].items()}


@dataclass
class Batch:
    """A whole batch, with a network that is quick, honest unless `tampered`, and repeats if asked.

    tampered: (sender, receiver, tag) -> what becomes of the bytes. lost: clients that never come.
    backwards: of what is said at once, the last arrives first. restarts: after which point which
    servers start anew: "reports", "agreed", "locked".
    """

    task: Task
    family: str
    batch: int = 0
    lost: Sequence[int] = ()
    tampered: Mapping[tuple[str, str, int], Tamper] = field(default_factory=dict)
    repeated: bool = False
    backwards: bool = False
    restarts: dict[str, Sequence[str]] = field(default_factory=dict)
    rows: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def run(self) -> AdditiveScript:
        params = self.task.plan.params
        servers = [f"server-{j}" for j in range(params.servers)]
        clients = [str(i) for i in range(params.clients)]
        script = AdditiveScript(
            self.task, self.family, [*servers, *clients, "collector"], self.batch, self.rows
        )
        self.script = script
        for name in servers:
            self._settle(name, script.do("start", name))
        for name in clients:
            if int(name) in self.lost:
                self._settle(LEADER, script.do("lost", LEADER, who=int(name)))
                continue
            self._settle(name, script.do("start", name))
            vector = ring_input(self.task.plan, int(name))
            self._settle(name, script.do("set_input", name, vector=vector))
        self._restart("reports")
        self._settle(LEADER, script.do("close_phase", LEADER))
        self._restart("locked")
        self._settle("collector", script.do("start", "collector"))
        script.do("result", "collector")
        script.do("check_counts", "collector")
        return script

    def _settle(self, name: str, outputs: Data) -> None:
        """Carries what was said, and what is said upon it, until all is quiet."""
        said = [(name, s["to"], s["message"]) for s in outputs.get("sends", [])]
        mail = deque(reversed(said) if self.backwards else said)
        while mail:
            sender, to, message = mail.popleft()
            tamper = self.tampered.get((sender, to, tag_of(message)), lambda same: same)
            for _ in range(2 if self.repeated else 1):
                heard = self.script.do("receive", to, sender=sender, message=tamper(message))
                mail += [(to, s["to"], s["message"]) for s in heard.get("sends", [])]
            if tag_of(message) == STATEMENT and to != LEADER:
                self._restart("agreed")

    def _restart(self, point: str) -> None:
        """Each once; every link to and from it is then a new one."""
        for name in self.restarts.pop(point, ()):
            self._anew(name)

    def _anew(self, name: str) -> None:
        self._settle(name, self.script.do("restart", name))
        for other in self.script.parties:
            if other.startswith("server") and other != name:
                self._settle(name, self.script.do("reconnected", name, who=other))
                self._settle(other, self.script.do("reconnected", other, who=name))


def tag_of(message: str) -> int:
    return int(message[4:6], 16)


@dataclass
class Honest:
    """The messages of a batch in which all goes well."""

    script: AdditiveScript

    def sent(self, sender: str, to: str, tag: int, number: int = 0) -> str:
        found = [
            s["message"]
            for step in self.script.steps
            if step["party"] == sender
            for s in step[OUTPUTS].get("sends", [])
            if s["to"] == to and tag_of(s["message"]) == tag
        ]
        return found[number]
