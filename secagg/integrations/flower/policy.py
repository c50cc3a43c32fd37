"""What a node agrees to, and where it keeps what it must not forget."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from secagg.arguments import flag, integer, ratio, real, text
from secagg.errors import ParameterError, PolicyRefused
from secagg.integrations.floors import FEWEST, Floors
from secagg.integrations.flower.model import configured
from secagg.integrations.terms import unfit
from secagg.plans.plan import Plan
from secagg.shown import short
from secagg.types import MAX_CLIENTS

STATE = Path("~/.secagg/flower")
"""Where a node's ledger is, unless its configuration says otherwise."""
_PREFIX = "secagg-"
_OURS = "secagg"
"""What no name of anybody else's begins with, however it is spelt."""
NAMES = ("num-examples", "num_examples")
"""What a node weighs by unless its policy says otherwise: Flower's own names, in either API."""
_CONFIG = (
    "min-clients",
    "max-dropout",
    "protocols",
    "max-clip",
    "state",
    "bound-config",
    "weighted-by",
)


@dataclass(frozen=True)
class NodePolicy(Floors):
    """Floors below which a node takes no part, whatever a server announces: see `Floors`.

    min_clients: the fewest nodes whose sum may be revealed. max_dropout: the largest fraction that
    a plan may let go: the more may drop, the fewer are in a sum. protocols: by name, None for all
    that protect. max_clip: the largest clip of the model's difference. state: the folder of the
    ledger, on a disk that is this node's own and is never set back. bound_config: whether a round
    whose ServerApp does not say which run_config it has is refused. weighted_by: the metrics that
    may be this node's weight; unless given, Flower's own, `num-examples`. Who has 0 of it is in no
    sum, which is seen, and its total is told.

    A node's own configuration (`--node-config`) has the same names, with `secagg-` before them and
    dashes, and wins wherever it is stricter. Raises ParameterError.
    """

    state: str | Path = STATE
    bound_config: bool = False
    weighted_by: Collection[str] | None = None

    __repr__ = short

    def __post_init__(self) -> None:
        super().__post_init__()
        if not os.fspath(self.state):
            raise ParameterError(
                f"state is empty: name a folder, or leave it out for {STATE}; as a variable of the "
                "shell it may have none here"
            )
        flag("bound_config", self.bound_config)
        if isinstance(self.weighted_by, str):
            raise ParameterError("weighted_by are several names, as in ['num-examples']")
        for name in self.weighted_by or ():
            text("a name in weighted_by", name)

    def within(self, config: Mapping[str, Any]) -> NodePolicy:
        """With what a node's configuration adds; ParameterError for a name that it may not have."""
        own = {k[len(_PREFIX) :]: v for k, v in config.items() if _is_ours(k)}
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
            named = _names("protocols", own)
            both = named if self.protocols is None else named & set(self.protocols)
            made["protocols"] = frozenset(both)
        if "state" in own:
            made["state"] = text(f"{_PREFIX}state", own["state"])
        if "bound-config" in own:
            bound = flag(f"{_PREFIX}bound-config", own["bound-config"])
            made["bound_config"] = bound or self.bound_config
        if "weighted-by" in own:
            named = _names("weighted-by", own)
            both = named if self.weighted_by is None else named & set(self.weighted_by)
            made["weighted_by"] = frozenset(both)
        return replace(self, **made)

    def agree(self, weighted_by: str, bound: bytes, run_config: Mapping[str, Any]) -> None:
        """weighted_by: the metric that is to be the weight. bound: the digest of the ServerApp's
        configuration of the run, empty where it says none. run_config: this node's.

        Raises PolicyRefused, with what would do.
        """
        agreed = NAMES if self.weighted_by is None else sorted(self.weighted_by)
        if weighted_by not in agreed:
            raise PolicyRefused(
                f"the server weighs by another metric than this node agrees to, which is "
                f"{', '.join(agreed) or 'none'}: the strategy's weighted_by_key={NAMES[0]!r} would "
                "do, or the other name in NodePolicy(weighted_by=[...]), and in the node's own "
                f"{_PREFIX}weighted-by where it has one"
            )
        if not bound and self.bound_config:
            raise PolicyRefused(
                "the server does not say which run_config its nodes have, and this one takes part "
                "only where it does: SecAgg(strategy, ..., run_config=context.run_config) would do"
            )
        if bound and bound != configured(run_config):
            raise PolicyRefused(
                "this node has another run_config than the server's SecAgg: give it that of the "
                "ServerApp's context as it came, SecAgg(strategy, ..., "
                "run_config=context.run_config); where it is, the SuperLink tells nodes another"
            )

    def judge(self, plan: Plan) -> None:
        if (why := unfit(plan)) is not None:
            raise PolicyRefused(why)
        super().judge(plan)

    @property
    def _remedy(self) -> str:
        return f"give the node a folder of its own with {_PREFIX}state in its configuration"


def _names(key: str, own: Mapping[str, Any]) -> set[str]:
    """Those that a node's configuration has, separated by commas."""
    return {one.strip() for one in text(f"{_PREFIX}{key}", own[key]).split(",")}


def _is_ours(key: str) -> bool:
    """Whether a name of a node's configuration is one of these. Raises ParameterError for one that
    only looks like it: a floor that is passed over in silence is none."""
    plain = _plain(key)
    if not plain.startswith(_OURS):
        return False
    known = {_PREFIX + name for name in _CONFIG}
    if key in known:
        return True
    meant = [name for name in sorted(known) if _plain(name) == plain]
    said = f"that is {meant[0]}" if meant else f"known are {', '.join(sorted(known))}"
    raise ParameterError(f"the node's configuration has {key}: {said}")


def _plain(key: str) -> str:
    """However it is spelt: without case, and whatever stands between words."""
    return re.sub(r"[\W_]", "", key).casefold()
