"""The transition tables of states.py as text: `python tests/vectors/transitions.py [--write]`.

Prints them, or writes them between their markers in specs/10-secagg.md.
"""

from __future__ import annotations

import enum
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from secagg_protocols.secagg.messages import NAMES, Tag
from secagg_protocols.secagg.states import CLIENT, SERVER, Input

SPEC = Path(__file__).parents[2] / "specs" / "10-secagg.md"
TABLES: Mapping[str, Mapping[tuple[enum.Enum, Input | Tag], enum.Enum]] = {
    "client": CLIENT,
    "server": SERVER,
}


def rendered(table: Mapping[tuple[enum.Enum, Input | Tag], enum.Enum]) -> str:
    """One row a state, in the order of the enumeration."""
    states = list(type(next(iter(table))[0]))
    lines = ["| state | on | next state |", "|---|---|---|"]
    for state in states:
        for (before, cause), after in table.items():
            if before is state:
                lines.append(f"| {_name(state)} | {_cause(cause)} | {_name(after)} |")
        if not any(before is state for before, _ in table):
            lines.append(f"| {_name(state)} | | |")
    return "\n".join(lines)


def inserted(spec: str) -> str:
    """The specification with its tables as they must be."""
    for name, table in TABLES.items():
        begin, end = (rf"<!-- {name} transitions: {edge}[^\n]*-->" for edge in ("begin", "end"))
        block = re.compile(rf"({begin}\n).*?({end})", re.DOTALL)
        if len(block.findall(spec)) != 1:
            raise ValueError(f"{SPEC.name} needs the markers of the {name}'s table once")
        spec = block.sub(lambda m, t=table: f"{m[1]}\n{rendered(t)}\n\n{m[2]}", spec)
    return spec


def _name(state: enum.Enum) -> str:
    return f"`{state.value[0]}`"


def _cause(cause: Input | Tag) -> str:
    return NAMES[cause.value] if isinstance(cause, Tag) else f"*{cause.value}*"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        SPEC.write_text(inserted(SPEC.read_text()))
    else:
        print(*(f"{name}\n\n{rendered(table)}\n" for name, table in TABLES.items()), sep="\n")
