"""A whole round in one process, with its costs and the check that it was exact.

The names below are imported when first used: the commands measure their own memory with
`secagg.sim.footprint` and must not wait for the compiler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secagg.sim.simulation import Drop, Inputs, Simulation, drop_at, run, simulate
else:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'secagg.sim' has no attribute {name!r}")
        from secagg.sim import simulation

        return getattr(simulation, name)


__all__ = ["Drop", "Inputs", "Simulation", "drop_at", "run", "simulate"]
