"""The transition tables of states.py as text: `python tests/vectors/transitions.py [--write]`.

Prints them, or writes them between their markers in the protocols' specifications.
"""

from __future__ import annotations

import enum
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from secagg_protocols.reports import messages as additive_messages
from secagg_protocols.reports import states as additive
from secagg_protocols.secagg.active import states as active
from secagg_protocols.secagg.active.messages import NAMES
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.states import CLIENT, SERVER, Input

SPECS = Path(__file__).parents[2] / "specs"
Steps = Mapping[tuple[enum.Enum, Input | Tag], enum.Enum]
Takes = Mapping[tuple[additive.Stage, additive.Role], frozenset[additive_messages.Tag]]


def rendered(table: Steps) -> str:
    """One row a state, in the order of the enumeration."""
    ends = {*table.values(), *(before for before, _ in table)}
    states = [s for s in type(next(iter(table))[0]) if s in ends or s.value[0] == "aborted"]
    lines = ["| state | on | next state |", "|---|---|---|"]
    for state in states:
        for (before, cause), after in table.items():
            if before is state:
                lines.append(f"| {_name(state)} | {_cause(cause)} | {_name(after)} |")
        if not any(before is state for before, _ in table):
            lines.append(f"| {_name(state)} | | |")
    return "\n".join(lines)


def taken(table: Takes) -> str:
    """One row a stage and role: what the stage takes of whom."""
    lines = ["| stage | from | takes |", "|---|---|---|"]
    for (stage, role), tags in sorted(table.items(), key=_by_stage):
        names = ", ".join(additive_messages.NAMES[tag] for tag in sorted(tags))
        lines.append(f"| `{_stage(stage)}` | {role.value} | {names} |")
    return "\n".join(lines)


def inserted(spec: str, tables: Mapping[str, str]) -> str:
    """The specification with its tables as they must be."""
    for name, table in tables.items():
        begin, end = (rf"<!-- {name} transitions: {edge}[^\n]*-->" for edge in ("begin", "end"))
        block = re.compile(rf"({begin}\n).*?({end})", re.DOTALL)
        if len(block.findall(spec)) != 1:
            raise ValueError(f"a specification needs the markers of the {name}'s table once")
        spec = block.sub(lambda m, t=table: f"{m[1]}\n{t}\n\n{m[2]}", spec)
    return spec


def _by_stage(entry: tuple[tuple[additive.Stage, additive.Role], object]) -> tuple[int, int]:
    (stage, role), _ = entry
    return stage.code, list(additive.Role).index(role)


def _stage(stage: additive.Stage) -> str:
    return stage.name.lower()


def _name(state: enum.Enum) -> str:
    return f"`{state.value[0]}`"


def _cause(cause: Input | Tag) -> str:
    return f"*{cause.value}*" if isinstance(cause, Input) else NAMES[int(cause)]


DOCUMENTS: Mapping[str, Mapping[str, str]] = {
    "10-secagg.md": {"client": rendered(CLIENT), "server": rendered(SERVER)},
    "12-active.md": {"client": rendered(active.CLIENT), "server": rendered(active.SERVER)},
    "20-additive.md": {"leader": taken(additive.LEADER), "helper": taken(additive.HELPER)},
}
"""Document -> whose table -> the table."""


if __name__ == "__main__":
    for document, tables in DOCUMENTS.items():
        if "--write" in sys.argv[1:]:
            path = SPECS / document
            path.write_text(inserted(path.read_text(), tables))
        else:
            print(document, *(f"{name}\n\n{t}\n" for name, t in tables.items()), sep="\n")
