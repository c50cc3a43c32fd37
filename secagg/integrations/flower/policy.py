"""What a node agrees to, and where it keeps what it must not forget."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from secagg.arguments import integer, ratio, real
from secagg.errors import ParameterError, PolicyRefused, StorageError
from secagg.fields import FixedPoint
from secagg.integrations.flower.terms import UPDATE
from secagg.plans.choose import Exact
from secagg.plans.plan import Plan
from secagg.rounds.offer import Consent
from secagg.store.ledger import SqliteLedger
from secagg.types import MAX_CLIENTS

STATE = Path("~/.secagg/flower")
"""Where a node's ledger is, unless its configuration says otherwise."""
FILE = "ledger.sqlite"
_PREFIX = "secagg-"
_CONFIG = ("min-clients", "max-dropout", "protocols", "max-clip", "state")


@dataclass(frozen=True)
class NodePolicy:
    """Floors below which a node takes no part, whatever a server announces.

    min_clients: the fewest nodes whose sum may be revealed. max_dropout: the largest fraction that
    a plan may let go: the more may drop, the fewer are in a sum. protocols: by name, None for all
    that protect. max_clip: the largest clip of the model's difference. state: the folder of the
    ledger, on a disk that is this node's own and is never set back.

    A node's own configuration (`--node-config`) has the same names, with `secagg-` before them and
    dashes, and wins wherever it is stricter. Raises ParameterError.
    """

    min_clients: int = 3
    max_dropout: Exact = 1
    protocols: Collection[str] | None = None
    max_clip: float | None = None
    state: str | Path = STATE

    def __post_init__(self) -> None:
        integer("min_clients", self.min_clients, 0, MAX_CLIENTS)
        if self.max_dropout != 1:
            ratio("max_dropout", self.max_dropout)
        if self.max_clip is not None:
            real("max_clip", self.max_clip)

    def within(self, config: Mapping[str, Any]) -> NodePolicy:
        """With what a node's configuration adds; ParameterError for a name that it may not have."""
        own = {k[len(_PREFIX) :]: v for k, v in config.items() if k.startswith(_PREFIX)}
        if unknown := sorted(set(own) - set(_CONFIG)):
            raise ParameterError(
                f"the node's configuration has {_PREFIX}{unknown[0]}; known are "
                f"{', '.join(_PREFIX + name for name in _CONFIG)}"
            )
        made = self
        if "min-clients" in own:
            made = replace(made, min_clients=max(self.min_clients, own["min-clients"]))
        if "max-dropout" in own:
            made = replace(made, max_dropout=min(self.max_dropout, own["max-dropout"]))
        if "max-clip" in own:
            clips = [c for c in (self.max_clip, own["max-clip"]) if c is not None]
            made = replace(made, max_clip=min(clips))
        if "protocols" in own:
            named = {one.strip() for one in str(own["protocols"]).split(",")}
            both = named if self.protocols is None else named & set(self.protocols)
            made = replace(made, protocols=frozenset(both))
        return replace(made, state=own["state"]) if "state" in own else made

    @property
    def consent(self) -> Consent:
        """The part of it that rounds judge."""
        return Consent(
            min_clients=self.min_clients,
            protocols=self.protocols,
            unprotected=self.protocols is not None,
        )

    def judge(self, plan: Plan) -> None:
        """The rest. Raises PolicyRefused, before anything has been said."""
        if self.max_dropout != 1 and plan.threat.dropout > ratio("max_dropout", self.max_dropout):
            raise PolicyRefused(
                f"the plan lets {plan.threat.dropout} of the nodes drop, and this node agrees to "
                f"{self.max_dropout} at most: start SecAgg with dropout={self.max_dropout}"
            )
        update = dict(plan.schema.fields).get(UPDATE)
        if self.max_clip is not None and isinstance(update, FixedPoint):
            if update.clip > self.max_clip:
                raise PolicyRefused(
                    f"the plan's clip is {update.clip}, and this node agrees to {self.max_clip} at "
                    f"most: start SecAgg with clip={self.max_clip}"
                )

    def ledger(self) -> SqliteLedger:
        """The node's own; raises StorageError where the disk or the folder refuses."""
        folder = Path(self.state).expanduser()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{folder}: the node's ledger cannot be kept there ({error.strerror}): give the "
                f"node a folder of its own with {_PREFIX}state in its configuration"
            ) from None
        return SqliteLedger.open(folder / FILE)
