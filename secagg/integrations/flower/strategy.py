"""The server's side: a Strategy around another one, which sees one reply with the weighted mean."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import Strategy

from secagg.errors import ParameterError
from secagg.integrations.flower.secured import Begun, SecuredRounds, raise_minima
from secagg.integrations.flower.strategies import check_strategy, check_wrappers, warn_of_functions
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
    max_weight: the most examples of one node; more count as so many. 1 weighs all nodes alike.
    metrics: of the nodes' training replies, by name, with the clip of each; their weighted means
    come back, and all others stay with the nodes. evaluate_metrics: the same of evaluation, which
    is not asked for without any. corrupt, dropout: the fractions of the sampled nodes that may
    collude with the server, and that may be lost in a round; a smallest round follows from them,
    and `start` raises the strategy's minima of nodes to it. protocol: by name; None chooses.
    timeouts: seconds of each exchange, or by its phase; unless given, ten minutes, and an hour for
    the one that trains.
    run_config: the ServerApp's `context.run_config`, which is then compared with each node's, so
    that whoever runs the SuperLink tells no node another one. privacy: is refused, with what goes
    with Flower, for rounds here have no noise of their own.

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
        privacy: None = None,
        run_config: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(strategy, SecAgg):
            raise ParameterError("SecAgg goes around a strategy once: take one of the two away")
        check_strategy(strategy)
        warn_of_functions(strategy)
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
            privacy=privacy,
            run_config=run_config,
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
        """What the inner strategy says of itself, and what is secured. Raises ParameterError where
        something is around this that cannot be (`check_wrappers`)."""
        check_wrappers()
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
        evaluation; what `timeouts` says of an exchange counts where it is longer. The result's
        arrays are the model as it is then: `initial_arrays` where no round had a sum."""
        raise_minima(self._inner, MINIMA, self._secured.terms.fewest())
        self._secured.starts()
        longest = max(timeout, self._secured.terms.longest)
        result = super().start(grid, initial_arrays, num_rounds, longest, *more, **named)
        if not result.arrays:  # the loop keeps no model but what was aggregated
            log.error("secagg: no round had a sum: the model is what it was")
            result.arrays = initial_arrays
        return result

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Any
    ) -> Iterable[Message]:
        """The inner strategy's messages, after the exchanges that come before an input."""
        check_wrappers()
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
