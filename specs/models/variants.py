"""What must fail, and with which rule left out: a model that cannot fail shows nothing.

Traces are kept in counterexamples/, one file for each variant, as JSON:

    {"variant": NAME, "without": what is left out, "breaks": claim, "rules": {...},
     "refused": {"step": i, "by": RULE}, "steps": [{"to": 0, "kind": "u2", "set": [0, 1, 3]}, ..]}

A step is what the server does next, sets as lists of clients. `to` is a machine: client to, or,
past the honest clients, the twin of client 0. The kinds are u1, which has a `session` besides (0 or
1: two key lists with one U1, and so two session ids); u2; u3; quorum: of U3, who has signed as the
receiver has, whose signatures are shown; answer: to that U3, comes; restart: the client forgets
that it signed and answered. `refused` is the first step that clients who follow all rules do not
follow, and by which rule; for a restart, which nobody can refuse, that nothing is taken up again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from specs.models.game import (
    ANSWER,
    QUORUM,
    REFUSES,
    U1,
    U3,
    Rules,
    Step,
    broken,
    members,
    ring,
    start,
    step,
)  # fmt: skip

FOLDER = Path(__file__).parent / "counterexamples"


@dataclass(frozen=True, slots=True)
class Variant:
    """rules: weakened. breaks: the claim. without: what is left out. whole, u2, u3: of the part of
    the game that Spin searches (active.pml); everything, if they are empty."""

    rules: Rules
    breaks: str
    without: str
    whole: bool = False
    u2: tuple[int, ...] = ()
    u3: tuple[int, ...] = ()


VARIANTS = {
    "lower-threshold": Variant(
        Rules(4, 1, 2, short=1), "both",
        "(ii): t, and with it q, which is the same number on a complete graph, are one less",
    ),
    "no-round": Variant(
        Rules(5, 0, 3, consistency=False), "small", "(i): no quorum is asked for",
        whole=True, u2=(31,), u3=(19, 22, 26),
    ),
    "local-quorum": Variant(
        Rules(7, 0, 3, neighbours=ring(7, 2), local=True), "small",
        "q is counted among the receiver's holders, and from their number",
        whole=True, u2=(127, 53), u3=(110, 53),
    ),
    "own-sharers": Variant(
        Rules(5, 0, 2), "small", "(ii): 2t = n - 1, with the quorum of the plan", whole=True
    ),
    "forgotten-answer": Variant(
        Rules(4, 1, 3, forgets=0b111), "both",
        "V9: clients forget once what they signed and answered",
    ),
    "forgotten-name": Variant(
        Rules(4, 1, 3, twin=True, claims=False), "twice", "V6: an input is masked twice"
    ),
}  # fmt: skip

SOUND = {
    "n3": Rules(3, 0, 2),
    "n3-a1": Rules(3, 1, 3),
    "n4": Rules(4, 0, 3),
    "n4-a1": Rules(4, 1, 3),
    "n4-a1-twin": Rules(4, 1, 3, twin=True),
    "n5-a1": Rules(5, 1, 4),
    "n5-a2": Rules(5, 2, 4),
    "ring4": Rules(4, 0, 2, neighbours=ring(4, 1)),
}
"""Small enough to be searched whole within a gate."""


def replay(rules: Rules, steps: Sequence[Step]) -> tuple[int | None, str | None]:
    """The first step that is refused, if one is, and the claim that is broken after the last."""
    state = start(rules)
    for number, one in enumerate(steps):
        after = step(rules, state, one)
        if after is None:
            return number, None
        state = after
    return None, broken(rules, state)


def with_answers(steps: Iterable[Step]) -> list[Step]:
    """The answer follows the quorum at once: the server loses nothing by hearing it."""
    shown: dict[int, int] = {}
    found = []
    for one in steps:
        found.append(one)
        if one.kind == U3:
            shown[one.to] = one.set
        elif one.kind == QUORUM:
            found.append(Step(one.to, ANSWER, shown[one.to]))
    return found


def document(name: str, steps: Sequence[Step]) -> dict[str, Any]:
    """A counterexample as it is kept."""
    variant = VARIANTS[name]
    refused, _ = replay(variant.rules.sound, steps)
    if refused is None:
        raise ValueError(f"{name}: clients who follow all rules follow this too")
    numbers = {f.name: getattr(variant.rules, f.name) for f in fields(Rules)}
    by = "V6" if variant.breaks == "twice" else REFUSES[steps[refused].kind]
    return {
        "variant": name,
        "without": variant.without,
        "breaks": variant.breaks,
        "rules": numbers | {"neighbours": list(variant.rules.neighbours)},
        "refused": {"step": refused, "by": by},
        "steps": [as_json(one) for one in steps],
    }


def as_json(one: Step) -> dict[str, Any]:
    data: dict[str, Any] = {"to": one.to, "kind": one.kind, "set": list(members(one.set))}
    return data | ({"session": one.session} if one.kind == U1 else {})


def as_step(data: dict[str, Any]) -> Step:
    return Step(data["to"], data["kind"], sum(1 << i for i in data["set"]), data.get("session", 0))


def write(name: str, steps: Sequence[Step]) -> None:
    data = document(name, steps)
    lines = ",\n".join(f"  {json.dumps(one)}" for one in data.pop("steps"))
    head = json.dumps(data, indent=1).removesuffix("\n}")
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(f'{head},\n "steps": [\n{lines}\n ]\n}}\n')


def read(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return data


def rules_of(data: dict[str, Any]) -> Rules:
    given = data["rules"]
    return Rules(**{**given, "neighbours": tuple(given["neighbours"])})
