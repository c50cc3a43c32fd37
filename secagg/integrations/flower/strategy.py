"""The server's side: a Strategy around another one, which sees one reply with the weighted mean."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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

from secagg.errors import Aborted, IntegrityError, ParameterError
from secagg.integrations.flower.exchange import Asking, GridRound
from secagg.integrations.flower.model import Model, payload
from secagg.integrations.flower.terms import (
    TIMEOUT,
    UPDATE,
    LearntClip,
    Terms,
    check_clips,
    metrics_of,
)
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
METRICS = "metrics"
"""The record of the one reply's metrics."""


@dataclass(frozen=True, slots=True)
class _Open:
    """A round between its two calls."""

    round: GridRound
    first: Message
    model: Model
    arrays: ArrayRecord


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
    that may be lost in a round. protocol: by name; None chooses. timeouts: seconds of each
    exchange, or by its phase.

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
        timeouts: Mapping[str, float] | float = TIMEOUT,
    ) -> None:
        _refuse_per_client(strategy)
        self._inner: Any = strategy
        summed = check_clips("metrics", metrics or {})
        self._evaluated = check_clips("evaluate_metrics", evaluate_metrics or {})
        self._learnt = clip if isinstance(clip, LearntClip) else None
        first = clip.start if isinstance(clip, LearntClip) else clip
        self._terms = Terms(first, bits, max_weight, summed, corrupt, dropout, protocol, timeouts)
        self._open: _Open | None = None
        self._explained = False
        self.last: Aggregate | None = None
        """Of the last round that had a sum: how many were in it, its bounds, what was clipped."""

    @property
    def clip(self) -> float:
        """Of the next round."""
        return self._terms.clip

    def summary(self) -> None:
        """What the inner strategy says of itself, and what is secured."""
        terms = self._terms
        log.info("\t├──> Secure aggregation: clip %s | bits %d", terms.clip, terms.bits)
        log.info("\t│\t├── Metrics: %s", ", ".join(terms.metrics) or "none leave the nodes")
        log.info("\t│\t└── Evaluation: %s", ", ".join(self._evaluated) or "not asked for")
        self._inner.summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Any
    ) -> Iterable[Message]:
        """The inner strategy's messages, after the exchanges that come before an input."""
        messages = list(self._inner.configure_train(server_round, arrays, config, grid))
        return self._begin(server_round, messages, grid, train=True)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """What the inner strategy makes of the mean; None twice where the round had no sum."""
        begun, total = self._finish(replies)
        if begun is None or total is None:
            return None, None
        moved = begun.model.moved(total.mean[UPDATE], begun.arrays)
        reply = self._reply(begun, total, {self._inner.arrayrecord_key: moved})
        arrays, metrics = self._inner.aggregate_train(server_round, [reply])
        return arrays, metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Any
    ) -> Iterable[Message]:
        """Nothing without evaluate_metrics; else as for training."""
        if not self._evaluated:
            return []
        messages = list(self._inner.configure_evaluate(server_round, arrays, config, grid))
        return self._begin(server_round, messages, grid, train=False)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """The weighted means of evaluate_metrics, as the inner strategy returns them."""
        begun, total = self._finish(replies)
        if begun is None or total is None:
            return None
        reply = self._reply(begun, total, {})
        made: MetricRecord | None = self._inner.aggregate_evaluate(server_round, [reply])
        return made

    # Inside

    def _begin(
        self, number: int, messages: Sequence[Message], grid: Any, *, train: bool
    ) -> list[Message]:
        self._open = None
        if not messages:
            return []
        first = messages[0]
        arrays, model, about = _about(messages, number)
        metrics = self._terms.metrics if train else self._evaluated
        made = self._terms.plan(len(messages), model if train else None, metrics)
        if not self._explained:
            self._explained = True
            log.info("secagg: what the plan of this round promises\n%s", made.explain())
        asking = Asking(
            first.metadata.message_type,
            number,
            self._inner.weighted_by_key,
            self._terms.deadlines(made),
        )
        begun = GridRound(grid, made, about, asking)
        try:
            begun.agree([message.metadata.dst_node_id for message in messages])
            requests = begun.requests(messages)
        except (Aborted, IntegrityError) as ended:
            log.error("secagg: round %d has no sum: %s", number, ended)
            return []
        self._open = _Open(begun, first, model, arrays)
        return requests

    def _finish(self, replies: Iterable[Message]) -> tuple[_Open | None, Aggregate | None]:
        begun, self._open = self._open, None
        if begun is None:
            return None, None
        try:
            self.last = total = begun.round.finish(replies)
        except (Aborted, IntegrityError) as ended:
            log.error("secagg: the round has no sum: %s", ended)
            return begun, None
        for node, why in begun.round.refusals.items():
            log.warning("secagg: node %d is not in the sum: %s", node, why)
        self._say(total, training=UPDATE in total.mean)
        return begun, total

    def _say(self, total: Aggregate, *, training: bool) -> None:
        """How many are in the sum, and what the clip has cut, which the next one may follow."""
        clip, clipped = self._terms.clip, int(total.sum["clipped"][0])
        elements = total.count * (sum(len(mean) for mean in total.mean.values()) - 1)
        log.info("secagg: %d nodes in the sum, %d not", total.count, len(total.dropped))
        if clipped:
            log.warning(
                "secagg: %d of %d elements were beyond their clip, and were cut: the mean is "
                "biased unless clip=%s, or the clip of a metric, is raised",
                clipped,
                elements,
                clip,
            )
        if training and self._learnt is not None:
            clip = self._learnt.after(clip, clipped, elements)
            self._terms = replace(self._terms, clip=clip)

    def _reply(self, begun: _Open, total: Aggregate, content: dict[str, Any]) -> Message:
        """The one reply, as if one node had all examples."""
        metrics: dict[str, Any] = {self._inner.weighted_by_key: total.weight}
        metrics |= metrics_of(total)
        return Message(
            RecordDict({**content, METRICS: MetricRecord(metrics)}), reply_to=begun.first
        )


def _about(messages: Sequence[Message], number: int) -> tuple[ArrayRecord, Model, bytes]:
    """The model and what the round is about: the same in every message."""
    first = messages[0]
    seen = {id(message.content): message for message in messages}
    made = {_payload(message, number) for message in seen.values()}
    if len(made) > 1:
        raise ParameterError(
            "the strategy sends nodes different models or configurations, and a secure round is "
            "about one: what differs belongs into a node's own configuration"
        )
    arrays = _arrays(first)
    return arrays, Model.of(arrays), made.pop()


def _payload(message: Message, number: int) -> bytes:
    model, configs = Model.of(_arrays(message)), dict(message.content.config_records.items())
    about = message.metadata
    return payload(model, configs, about.run_id, about.message_type, number)


def _arrays(message: Message) -> ArrayRecord:
    records = list(message.content.array_records.values())
    if len(records) != 1:
        raise ParameterError(
            f"the strategy's messages have {len(records)} ArrayRecords, and a secure round is "
            "about one model"
        )
    return records[0]


def _refuse_per_client(strategy: Strategy) -> None:
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
