"""What a node agrees to, and where it keeps what it must not forget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from secagg.arguments import integer, ratio, real, text
from secagg.errors import ParameterError, PolicyRefused
from secagg.integrations.floors import FEWEST, Floors
from secagg.integrations.terms import unfit
from secagg.plans.plan import Plan
from secagg.types import MAX_CLIENTS

STATE = Path("~/.secagg/flower")
"""Where a node's ledger is, unless its configuration says otherwise."""
_PREFIX = "secagg-"
_CONFIG = ("min-clients", "max-dropout", "protocols", "max-clip", "state")


@dataclass(frozen=True)
class NodePolicy(Floors):
    """Floors below which a node takes no part, whatever a server announces: see `Floors`.

    min_clients: the fewest nodes whose sum may be revealed. max_dropout: the largest fraction that
    a plan may let go: the more may drop, the fewer are in a sum. protocols: by name, None for all
    that protect. max_clip: the largest clip of the model's difference. state: the folder of the
    ledger, on a disk that is this node's own and is never set back.

    A node's own configuration (`--node-config`) has the same names, with `secagg-` before them and
    dashes, and wins wherever it is stricter. Raises ParameterError.
    """

    state: str | Path = STATE

    def within(self, config: Mapping[str, Any]) -> NodePolicy:
        """With what a node's configuration adds; ParameterError for a name that it may not have."""
        own = {k[len(_PREFIX) :]: v for k, v in config.items() if k.startswith(_PREFIX)}
        if unknown := sorted(set(own) - set(_CONFIG)):
            raise ParameterError(
                f"the node's configuration has {_PREFIX}{unknown[0]}; known are "
                f"{', '.join(_PREFIX + name for name in _CONFIG)}"
            )
        made: dict[str, Any] = {}
        if "min-clients" in own:
            given = integer(f"{_PREFIX}min-clients", own["min-clients"], FEWEST, MAX_CLIENTS)
            made["min_clients"] = max(self.min_clients, given)
        if "max-dropout" in own:
            share = ratio(f"{_PREFIX}max-dropout", own["max-dropout"])
            floor = share if self.max_dropout is None else ratio("max_dropout", self.max_dropout)
            made["max_dropout"] = own["max-dropout"] if share <= floor else self.max_dropout
        if "max-clip" in own:
            clip = real(f"{_PREFIX}max-clip", own["max-clip"])
            made["max_clip"] = clip if self.max_clip is None else min(clip, self.max_clip)
        if "protocols" in own:
            named = {
                one.strip() for one in text(f"{_PREFIX}protocols", own["protocols"]).split(",")
            }
            both = named if self.protocols is None else named & set(self.protocols)
            made["protocols"] = frozenset(both)
        if "state" in own:
            made["state"] = text(f"{_PREFIX}state", own["state"])
        return replace(self, **made)

    def judge(self, plan: Plan) -> None:
        if (why := unfit(plan)) is not None:
            raise PolicyRefused(why)
        super().judge(plan)

    @property
    def _remedy(self) -> str:
        return f"give the node a folder of its own with {_PREFIX}state in its configuration"
