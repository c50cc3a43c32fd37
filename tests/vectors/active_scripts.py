"""Sessions of suite 2 acted out step by step, and recorded: see scripts.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

from active_stage import ActiveStage
from operations import OUTPUTS, Data
from scripts import PAYLOAD, UPDATE, Round, shake

from secagg.crypto import sign
from secagg.fields import Field
from secagg.plans.plan import Plan
from secagg.roster import Roster
from secagg.schema import Schema
from secagg.suite import SUITE_2
from secagg.threat import Threat
from secagg.types import Seed
from secagg_protocols.secagg.active.params import ActiveParams

SPEC = "specs/12-active.md"
NONCE = bytes(range(16))
PHASES = ("advertise-keys", "share-keys", "masked-input", "consistency", "unmask")


@dataclass(frozen=True)
class Cast:
    """A session. params: n, k, t, min_clients, min_survivors, m, q; its plan is a plan unless
    `judged` is False: no committee is safe among so few. dropped: D. places: N. Invited are all
    members from `first` on."""

    family: str
    params: tuple[int, ...]
    corrupted: int = 1
    dropped: int = 1
    places: int = 0
    first: int = 0
    excluded: tuple[int, ...] = ()
    judged: bool = True
    fields: Mapping[str, Field] = field(default_factory=lambda: UPDATE)

    def seed(self, who: Any) -> Seed:
        return Seed(shake(f"{self.family}/seed/{who}", 32))

    @property
    def invited(self) -> list[int]:
        return [p for p in range(self.first, self.size) if p not in self.excluded]

    @property
    def size(self) -> int:
        return self.places or self.params[0]

    @property
    def protocol(self) -> str:
        return "secagg" if self.params[1] == self.params[0] - 1 else "secagg+"

    @cached_property
    def roster(self) -> Roster:
        keys = [
            None if p in self.excluded else sign.public_key(self.seed(p)) for p in range(self.size)
        ]
        return Roster(7, 1 << 33, sign.public_key(self.seed("server")), tuple(keys))

    @cached_property
    def schema(self) -> Schema:
        return Schema.of(self.fields, self.params[0])

    @property
    def segments(self) -> list[list[int]]:
        return [[s.group.width, s.length] for s in self.schema.layout.segments]

    @cached_property
    def plan(self) -> bytes:
        if not self.judged:
            return b"what stands for a plan here"
        n, corrupt = self.params[0], Fraction(self.corrupted, self.size)
        dropout = Fraction(self.dropped, n)
        threat = Threat(n, corrupt, dropout, "active", roster=self.size)
        params = ActiveParams(*self.params)
        return Plan(threat, self.schema, self.protocol, params, suite=SUITE_2).encode()

    @property
    def setup(self) -> Data:
        """Without those who take part."""
        return {
            "suite": 2,
            "protocol": self.protocol,
            "judged": self.judged,
            "plan": self.plan.hex(),
            "params": list(self.params),
            "corrupted": self.corrupted,
            "segments": self.segments,
            "payload": PAYLOAD.hex(),
            "roster": self.roster.encode().hex(),
            "invited": self.invited,
        }

    def input(self, party: int) -> list[list[int]]:
        """Any ring elements, but a true count lane."""
        lanes = []
        for number, (width, length) in enumerate(self.segments):
            raw = shake(f"input/{party}/{number}", 8 * length)
            each = [raw[8 * i : 8 * i + 8] for i in range(length)]
            lanes.append([int.from_bytes(one) % (1 << width) for one in each])
        for slot in self.schema.count_slots:
            lanes[slot.segment][slot.start : slot.start + slot.length] = [1] * slot.length
        return lanes


@dataclass
class ActiveScript:
    """Machines, and the operations performed on them so far with what was observed. refusing: whose
    policy refuses every survivor set."""

    cast: Cast
    subjects: tuple[Any, ...]
    refusing: tuple[int, ...] = ()
    nonce: bytes = NONCE
    steps: list[Data] = field(default_factory=list)

    def __post_init__(self) -> None:
        cast = self.cast
        clients = [p for p in self.subjects if p != "server"]
        self.setup: Data = {
            **cast.setup,
            "nonce": self.nonce.hex(),
            "server": cast.seed("server").expose().hex() if "server" in self.subjects else "",
            "clients": {
                str(p): {
                    "seed": cast.seed(p).expose().hex(),
                    "refuses": p in self.refusing,
                    "randomness": shake(f"{cast.family}/{p}", 8192).hex(),
                }
                for p in clients
            },
        }
        self.stage = ActiveStage(self.setup)

    def do(self, operation: str, party: Any = "server", **inputs: Any) -> Data:
        step = {"operation": operation, "party": party, **inputs}
        outputs = self.stage.perform(step)
        self.steps.append({**step, OUTPUTS: outputs})
        return outputs

    def scenario(self, about: str, spec: str, expect: str = "accept") -> Data:
        for party, tape in self.stage.tapes.items():
            self.setup["clients"][str(party)]["randomness"] = tape.data[: tape.drawn].hex()
        return {
            "about": about,
            "spec": f"{SPEC} {spec}",
            "expect": expect,
            "setup": self.setup,
            "operations": self.steps,
        }


@dataclass
class ActiveRound(Round):
    """A whole round of suite 2, with the fields of Round."""

    plan: Any
    """A Cast."""
    family: str = ""
    refusing: tuple[int, ...] = ()
    nonce: bytes = NONCE
    inputs: Callable[[Any, int], list[list[int]]] = lambda cast, party: cast.input(party)

    def run(self) -> Any:
        cast = self.plan
        subjects = ("server", *cast.invited)
        script = ActiveScript(cast, subjects, self.refusing, self.nonce)
        self._play(script, cast.invited, PHASES)
        script.do("run_jobs")
        script.do("result")
        if cast.judged:
            script.do("check_counts")
        return script
