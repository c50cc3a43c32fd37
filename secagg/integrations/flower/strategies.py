"""Which strategies a secure round goes with, and what is said of the others."""

from __future__ import annotations

import logging
import sys
from types import FrameType
from typing import Any

from flwr.serverapp.strategy import (
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedProx,
    FedYogi,
    Strategy,
)

from secagg.errors import ParameterError

log = logging.getLogger("flwr.secagg")

AVERAGING = (FedAvg, FedAvgM, FedAdagrad, FedAdam, FedYogi, FedProx)
"""Whose aggregate_train takes nothing from replies but their weighted average."""
OLDER, MESSAGES = "flwr.server.strategy", "flwr.serverapp.strategy"
"""Where Flower has strategies: of the older API, and of the one that SecAgg is for."""
NOISE = (
    "DifferentialPrivacyClientSideFixedClipping(SecAgg(...), ...) with "
    "ClientApp(mods=[secagg_mod, fixedclipping_mod]) has the nodes clip and the server add noise "
    "to the mean; LocalDpMod(...) after secagg_mod adds each node's own"
)
"""What goes with a secure round."""
_PRIVATE = "DifferentialPrivacy"
"""What the names of Flower's wrappers begin with."""
_GOES_AROUND = f"{_PRIVATE}ClientSideFixed"


def check_strategy(strategy: Any) -> None:
    """Raises ParameterError, with what would do, unless all that it does with replies is to average
    them."""
    refuse_class(strategy, "SecAgg({}(), ...)")
    kind = type(strategy)
    if is_of(kind, OLDER):
        raise ParameterError(
            f"this {kind.__name__} is of {OLDER}, Flower's older API: SecAgg takes that of "
            f"{MESSAGES}, as in `from {MESSAGES} import FedAvg`; an app of the older API has "
            "SecAggWorkflow, from secagg.integrations.flower.legacy"
        )
    if not isinstance(strategy, Strategy):
        raise ParameterError(
            f"SecAgg goes around a strategy, as in SecAgg(FedAvg(), ...), not a {kind.__name__}"
        )
    if is_private(kind):
        raise ParameterError(f"{kind.__name__} goes into no secure round: {NOISE}")
    known = {made.aggregate_train for made in AVERAGING}
    if getattr(kind, "aggregate_train", None) not in known:
        raise ParameterError(
            f"{kind.__name__} has an aggregate_train of its own: it looks at the reply of each "
            "node, and a secure round has only their weighted average. Strategies that do nothing "
            f"else with replies are {', '.join(made.__name__ for made in AVERAGING)}, and their "
            "subclasses that do not override aggregate_train"
        )
    if getattr(kind, "aggregate_evaluate", None) is not FedAvg.aggregate_evaluate:
        raise ParameterError(
            f"{kind.__name__} has an aggregate_evaluate of its own, which would see one reply in "
            "place of all: give functions of its metrics to SecAgg's result instead"
        )


def check_wrappers() -> None:
    """Raises ParameterError where a wrapper of Flower's for differential privacy has called, and
    looks at replies itself. It would find masked frames in them; or no number at all, and go on
    with a clipping norm that only grows. A wrapper does not tell what it is put around, so this is
    seen when it calls: first for a summary, before a round has begun."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        kind = type(frame.f_locals.get("self"))
        if is_private(kind) and not is_private(kind, _GOES_AROUND):
            raise ParameterError(
                f"{kind.__name__} around SecAgg looks at the reply of each node, and a secure "
                f"round has only their weighted average: {NOISE}"
            )
        frame = frame.f_back


def warn_of_functions(strategy: Any) -> None:
    """Functions of metrics are usually the weighted mean in other words, which stays what it is."""
    for name in ("train_metrics_aggr_fn", "evaluate_metrics_aggr_fn"):
        made = getattr(strategy, name, None)
        if made is not None and not getattr(made, "__module__", "").startswith("flwr."):
            log.warning(
                "secagg: %s is given one reply, with the weighted means and the total weight: a "
                "largest or a median that it takes of single replies is that of the mean",
                name,
            )


def refuse_class(strategy: Any, of: str) -> None:
    """ParameterError for a class in the place of a strategy, whose own class is ABCMeta."""
    if isinstance(strategy, type):
        name = strategy.__name__
        raise ParameterError(
            f"{name} is the class of a strategy: pass an instance, as in {of.format(name)}"
        )


def is_private(kind: type, named: str = _PRIVATE) -> bool:
    """Whether it is one of Flower's wrappers for differential privacy."""
    return any(
        made.__name__.startswith(named) and made.__module__.startswith("flwr.")
        for made in kind.__mro__
    )


def is_of(kind: type, package: str) -> bool:
    """Whether it, or what it inherits from, comes from this package."""
    return any(f"{made.__module__}.".startswith(f"{package}.") for made in kind.__mro__)
