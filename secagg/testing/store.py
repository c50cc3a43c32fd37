"""The rows of one machine, as a driver would keep them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from secagg.effects import Write
from secagg.errors import SecAggError
from secagg.testing.bench import demand, demand_raises

Rows: TypeAlias = Mapping[bytes, bytes]


@dataclass
class Store:
    """In memory, and of one machine: its keys are the machine's own."""

    rows: dict[bytes, bytes] = field(default_factory=dict, repr=False)

    def apply(self, writes: Iterable[Write]) -> None:
        for write in writes:
            if write.value is None:
                self.rows.pop(write.key, None)
            else:
                self.rows[write.key] = write.value


_FACTS = (
    *("phase", "done", "ended", "need", "waiting_for", "alive", "contributors", "quorum"),
    *("owes_input", "included", "pending", "answered"),
)


def facts(machine: Any) -> dict[str, Any]:
    """What a driver can see of a machine, of what kind it may be."""
    return {name: getattr(machine, name) for name in _FACTS if hasattr(machine, name)}


def refuses_rows(new: Callable[[], Any], rows: Rows, kind: type[SecAggError], what: str) -> None:
    """restore() raises that error, and the machine is as it was: a part of what it has taken up
    would be taken for the whole, by whoever catches the error."""
    machine = new()
    before = facts(machine)
    demand_raises(kind, lambda: machine.restore(rows.items()), what)
    after = facts(machine)
    changed = [name for name in before if before[name] != after[name]]
    demand(not changed, f"{what} is refused, and is taken up in part: {changed}")
    left = (*machine.outgoing(), *machine.events(), *machine.writes())
    demand(not left, f"{what} is refused, and the machine has something to say")
    machine.start()
    begun, other = facts(machine), new()
    other.start()
    changed = [name for name, fact in facts(other).items() if begun[name] != fact]
    demand(not changed, f"{what} is refused, and is there once it begins: {changed}")
