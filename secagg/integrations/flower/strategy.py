"""The server's side: a Strategy around another one, which sees one reply with the weighted mean."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
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
from secagg.integrations.flower.secured import Begun, SecuredRounds, raise_minima, refuse_class
from secagg.integrations.terms import TRAINING, LearntClip, metrics_of
from secagg.party import Aggregate
from secagg.plans.choose import Exact

# Theory of operation.
#
# Flower's loop calls configure_train, sends what it returns, and calls aggregate_train with the
# replies; around it there is no room for exchanges but inside these two, where the grid is at hand.
# So the first runs the exchanges before the input, for the nodes that the inner strategy sampled,
# and returns its messages with what the round asks added; the second runs what is left, and gives
# the inner strategy one reply whose arrays are the model moved by the mean difference, and whose
# weight is the total. An average of one reply is that reply, so every strategy that does nothing
# with replies but average them computes what it would have computed from all of them. One that
# looks at each cannot work here, and is refused when it is wrapped.
#
# Differences are summed, not weights: they are small, so that a clip of their size loses nothing,
# and a model that every node has is no secret. A round that ends without a sum leaves the model as
# it is, as a round of Flower without valid replies does, and the loop goes on.

log = logging.getLogger("flwr.secagg")

AVERAGING = (FedAvg, FedAvgM, FedAdagrad, FedAdam, FedYogi, FedProx)
"""Whose aggregate_train takes nothing from replies but their weighted average."""
MINIMA = ("min_available_nodes", "min_train_nodes", "min_evaluate_nodes")
"""Of a strategy of Flower, which begins with two nodes unless told otherwise."""
METRICS = "metrics"
"""The record of the one reply's metrics."""


class SecAgg(Strategy):
    """`strategy`, of which the server learns sums only: `SecAgg(FedAvg(...), clip=0.5,
    max_weight=10_000)`.

    strategy: FedAvg, FedAvgM, FedAdam, FedAdagrad, FedYogi, FedProx, or a subclass that aggregates
    as they do. clip: the largest change of an element of the model in one round that counts; larger
    ones are cut, and it is said how many; a LearntClip follows the nodes. bits: of each element.
    max_weight: the most examples of one node; 1 weighs all nodes alike. metrics: of the nodes'
    training replies, by name, with the clip of each; their weighted means come back, and all others
    stay with the nodes. evaluate_metrics: the same of evaluation, which is not asked for without
    any. corrupt, dropout: the fractions of the sampled nodes that may collude with the server, and
    that may be lost in a round; a smallest round follows from them, and `start` raises the
    strategy's minima of nodes to it. protocol: by name; None chooses. timeouts: seconds of each
    exchange, or by its phase; unless given, ten minutes, and an hour for the one that trains.

    Raises ParameterError for a strategy that looks at single replies, and as `secagg.plan` does.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        clip: float | LearntClip,
        max_weight: int,
        bits: int = 16,
        metrics: Mapping[str, float] | None = None,
        evaluate_metrics: Mapping[str, float] | None = None,
        corrupt: Exact = 0.1,
        dropout: Exact = 0.2,
        protocol: str | None = None,
        timeouts: Mapping[str, float] | float | None = None,
    ) -> None:
        _refuse_per_client(strategy)
        _warn_of_functions(strategy)
        self._inner: Any = strategy
        self._secured = SecuredRounds(
            clip=clip,
            max_weight=max_weight,
            bits=bits,
            metrics=metrics,
            evaluate_metrics=evaluate_metrics,
            corrupt=corrupt,
            dropout=dropout,
            protocol=protocol,
            timeouts=timeouts,
        )

    @property
    def clip(self) -> float:
        """Of the next round."""
        return self._secured.terms.clip

    @property
    def last(self) -> Aggregate | None:
        """The sum of the last round that had one: how many were in it, its bounds, what was
        clipped; None before."""
        return self._secured.last

    def summary(self) -> None:
        """What the inner strategy says of itself, and what is secured."""
        terms = self._secured.terms
        evaluated = ", ".join(self._secured.evaluated) or "not asked for"
        log.info("\t├──> Secure aggregation: clip %s | bits %d", terms.clip, terms.bits)
        log.info("\t│\t├── Metrics: %s", ", ".join(terms.metrics) or "none leave the nodes")
        log.info("\t│\t└── Evaluation: %s", evaluated)
        self._inner.summary()

    def start(
        self,
        grid: Any,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = TRAINING,
        *more: Any,
        **named: Any,
    ) -> Any:
        """As of every strategy, and raises as that does. timeout: of the replies to training and
        evaluation; what `timeouts` says of an exchange counts where it is longer."""
        raise_minima(self._inner, MINIMA, self._secured.terms.fewest())
        longest = max(timeout, self._secured.terms.longest)
        return super().start(grid, initial_arrays, num_rounds, longest, *more, **named)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Any
    ) -> Iterable[Message]:
        """The inner strategy's messages, after the exchanges that come before an input."""
        inner = self._inner
        messages = list(inner.configure_train(server_round, arrays, config, grid))
        weight = inner.weighted_by_key
        return self._secured.begin(server_round, messages, grid, weight, train=True)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """What the inner strategy makes of the mean; None twice where the round had no sum."""
        if (ended := self._secured.finish(replies)) is None:
            return None, None
        begun, total = ended
        reply = self._reply(begun, total, {self._inner.arrayrecord_key: begun.moved(total)})
        arrays, metrics = self._inner.aggregate_train(server_round, [reply])
        return arrays, metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Any
    ) -> Iterable[Message]:
        """Nothing without evaluate_metrics; else as for training."""
        if not self._secured.evaluated:
            return []
        inner = self._inner
        messages = list(inner.configure_evaluate(server_round, arrays, config, grid))
        weight = inner.weighted_by_key
        return self._secured.begin(server_round, messages, grid, weight, train=False)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """The weighted means of evaluate_metrics, as the inner strategy returns them."""
        if (ended := self._secured.finish(replies)) is None:
            return None
        reply = self._reply(*ended, {})
        made: MetricRecord | None = self._inner.aggregate_evaluate(server_round, [reply])
        return made

    # Inside

    def _reply(self, begun: Begun, total: Aggregate, content: dict[str, Any]) -> Message:
        """The one reply, as if one node had all examples."""
        metrics: dict[str, Any] = {self._inner.weighted_by_key: total.weight}
        metrics |= metrics_of(total)
        return Message(
            RecordDict({**content, METRICS: MetricRecord(metrics)}), reply_to=begun.first
        )


def _refuse_per_client(strategy: Strategy) -> None:
    refuse_class(strategy, "SecAgg({}(), ...)")
    kind = type(strategy)
    if not isinstance(strategy, Strategy):
        raise ParameterError(
            f"SecAgg goes around a strategy, as in SecAgg(FedAvg(), ...), not a {kind.__name__}"
        )
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


def _warn_of_functions(strategy: Any) -> None:
    """Functions of metrics are usually the weighted mean in other words, which stays what it is."""
    for name in ("train_metrics_aggr_fn", "evaluate_metrics_aggr_fn"):
        made = getattr(strategy, name, None)
        if made is not None and not getattr(made, "__module__", "").startswith("flwr."):
            log.warning(
                "secagg: %s is given one reply, with the weighted means and the total weight: a "
                "largest or a median that it takes of single replies is that of the mean",
                name,
            )
