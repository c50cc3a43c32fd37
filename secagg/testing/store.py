"""The rows of one machine, as a driver would keep them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from secagg.effects import Write

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
