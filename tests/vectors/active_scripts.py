"""Sessions of suite 2 acted out step by step, and recorded: see scripts.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from active_stage import ActiveStage
from operations import OUTPUTS, Data
from scripts import PAYLOAD, Round, Tamper, shake

from secagg.crypto import sign
from secagg.roster import Roster
from secagg.types import Seed

SPEC = "specs/12-active.md"
PHASES = ("advertise-keys", "share-keys", "masked-input", "consistency", "unmask")


@dataclass(frozen=True)
class Cast:
    """A session. params: n, k, t, min_clients, min_survivors, m, q. places: N; who is invited are
    all but those before `first` and those that the roster excludes."""

    family: str
    params: tuple[int, ...]
    corrupted: int = 1
    places: int = 0
    first: int = 0
    excluded: tuple[int, ...] = ()
    segments: tuple[tuple[int, int], ...] = ((12, 8),)

    def seed(self, who: Any) -> Seed:
        return Seed(shake(f"{self.family}/seed/{who}", 32))

    @property
    def invited(self) -> list[int]:
        return [p for p in range(self.first, self.size) if p not in self.excluded]

    @property
    def size(self) -> int:
        return self.places or self.params[0]

    @property
    def roster(self) -> Roster:
        keys = [
            None if p in self.excluded else sign.public_key(self.seed(p)) for p in range(self.size)
        ]
        return Roster(7, 1 << 33, sign.public_key(self.seed("server")), tuple(keys))

    def input(self, party: int) -> list[list[int]]:
        lanes = []
        for number, (width, length) in enumerate(self.segments):
            raw = shake(f"input/{party}/{number}", 8 * length)
            each = [raw[8 * i : 8 * i + 8] for i in range(length)]
            lanes.append([int.from_bytes(one) % (1 << width) for one in each])
        return lanes


@dataclass
class ActiveScript:
    """Machines, and the operations performed on them so far with what was observed. refusing: whose
    policy refuses every survivor set."""

    cast: Cast
    subjects: tuple[Any, ...]
    refusing: tuple[int, ...] = ()
    nonce: bytes = bytes(range(16))
    steps: list[Data] = field(default_factory=list)

    def __post_init__(self) -> None:
        cast = self.cast
        clients = [p for p in self.subjects if p != "server"]
        self.setup: Data = {
            "suite": 2,
            "protocol": "secagg" if cast.params[1] == cast.params[0] - 1 else "secagg+",
            "plan": b"what stands for a plan here".hex(),
            "params": list(cast.params),
            "corrupted": cast.corrupted,
            "segments": [list(segment) for segment in cast.segments],
            "payload": PAYLOAD.hex(),
            "nonce": self.nonce.hex(),
            "roster": cast.roster.encode().hex(),
            "invited": cast.invited,
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
    nonce: bytes = bytes(range(16))
    inputs: Callable[[Any, int], list[list[int]]] = lambda cast, party: cast.input(party)

    def run(self) -> Any:
        cast = self.plan
        subjects = ("server", *cast.invited)
        script = ActiveScript(cast, subjects, self.refusing, self.nonce)
        self._play(script, cast.invited, PHASES)
        script.do("run_jobs")
        script.do("result")
        return script


def changed(sender: Any, receiver: Any, tag: int, tamper: Tamper) -> Mapping[Any, Tamper]:
    return {(sender, receiver, tag): tamper}
