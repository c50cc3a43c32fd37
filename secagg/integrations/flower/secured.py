"""The secure rounds of one run at the server, whichever of Flower's loops they are in."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flwr.app import ArrayRecord, Message

from secagg.errors import Aborted, IntegrityError, ParameterError, PolicyRefused
from secagg.integrations.flower.exchange import Asking, GridRound
from secagg.integrations.flower.model import About, Model, configured, payload
from secagg.integrations.flower.strategies import NOISE
from secagg.integrations.terms import UPDATE, Course, LearntClip, Terms, check_clips
from secagg.party import Aggregate
from secagg.plans.choose import Exact
from secagg.shown import short

log = logging.getLogger("flwr.secagg")


@dataclass(frozen=True, slots=True)
class Begun:
    """A round between its two calls."""

    round: GridRound
    first: Message
    model: Model
    arrays: ArrayRecord
    train: bool

    __repr__ = short

    def moved(self, total: Aggregate) -> ArrayRecord:
        """The model after the mean difference."""
        return self.model.moved(total.mean[UPDATE], self.arrays)


class SecuredRounds:
    """`begin`, and with the replies to what that returns `finish`, round after round.

    Arguments and errors are those of `SecAgg`.
    """

    def __init__(
        self,
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
        if privacy is not None:
            raise ParameterError(
                "privacy is of secagg.plan, and the rounds of a Flower app have no noise of their "
                f"own: {NOISE}; noise that no single party knows is in rounds without Flower "
                "(docs/privacy.md)"
            )
        summed = check_clips("metrics", metrics or {})
        self.evaluated = check_clips("evaluate_metrics", evaluate_metrics or {})
        """Metrics of evaluation, with their clips."""
        learnt = clip if isinstance(clip, LearntClip) else None
        first = clip.start if isinstance(clip, LearntClip) else clip
        terms = Terms(first, bits, max_weight, summed, corrupt, dropout, protocol, timeouts)
        self._course = Course(terms, learnt)
        self._run_config = b"" if run_config is None else configured(run_config)
        self._begun: Begun | None = None
        self._explained = False
        self.waits: float = 0.0
        """Seconds for the answers to what `begin` has returned."""

    @property
    def terms(self) -> Terms:
        """Of the next round."""
        return self._course.terms

    @property
    def last(self) -> Aggregate | None:
        """Of the last round that had a sum."""
        return self._course.last

    def starts(self) -> None:
        """A run does: where all nodes refuse, its first round says so, and ends it."""
        self._course.begins()

    def bind(self, run_config: Mapping[str, Any]) -> None:
        """Of a loop that brings its context with it, where none was given before."""
        self._run_config = self._run_config or configured(run_config)

    def begin(
        self, number: int, messages: Sequence[Message], grid: Any, weighted_by: str, *, train: bool
    ) -> list[Message]:
        """The messages with what the round asks, after the exchanges that come before an input;
        none where the round has ended. weighted_by: the metric that is a node's weight."""
        self._begun = None
        if not messages:
            return []
        first = messages[0]
        kind = first.metadata.message_type
        what = About(first.metadata.run_id, kind, number, weighted_by, self._run_config)
        arrays, model, about = _about(messages, what)
        metrics = self.terms.metrics if train else self.evaluated
        made = self.terms.plan(len(messages), model if train else None, metrics)
        if not self._explained:
            self._explained = True
            log.info("secagg: what the plan of this round promises\n%s", made.explain())
        deadlines = self.terms.deadlines(made)
        asking = Asking(kind, number, weighted_by, self._run_config, deadlines)
        begun = GridRound(grid, made, about, asking)
        try:
            begun.agree([message.metadata.dst_node_id for message in messages])
            requests = begun.requests(messages)
        except (Aborted, IntegrityError, PolicyRefused) as ended:
            self._course.stands(ended, f"round {number}", log, model=train)
            return []
        self._begun = Begun(begun, first, model, arrays, train)
        self.waits = begun.waits
        return requests

    def finish(self, replies: Iterable[Message]) -> tuple[Begun, Aggregate] | None:
        """The round that was begun, and its sum; None where there is none."""
        begun, self._begun = self._begun, None
        if begun is None:
            return None
        try:
            total = begun.round.total(replies)
        except (Aborted, IntegrityError, PolicyRefused) as ended:
            self._course.stands(ended, "the round", log, model=begun.train)
            return None
        missing = {f"node {node}": why for node, why in begun.round.missing().items()}
        self._course.goes_on(total, missing, log, "nodes")
        return begun, total


def raise_minima(strategy: Any, minima: Sequence[str], fewest: int) -> None:
    """With its own minima a strategy begins as soon as two nodes are there, of which there is no
    secure sum: whoever connects first would decide whether the run lives. minima: the names of its
    attributes that say with how many nodes a round begins."""
    given = {name: getattr(strategy, name, fewest) for name in minima}
    low = [name for name, nodes in given.items() if nodes < fewest]
    for name in low:
        setattr(strategy, name, fewest)
    if low:
        log.info(
            "secagg: a secure round with this corrupt and dropout needs %d nodes, and waits for "
            "them: %s of %s is raised to that (in a simulation, --num-supernodes says how many "
            "there are)",
            fewest,
            ", ".join(low),
            type(strategy).__name__,
        )


def _about(messages: Sequence[Message], what: About) -> tuple[ArrayRecord, Model, bytes]:
    """The model and what the round is about: the same in every message."""
    first = messages[0]
    seen = {id(message.content): message for message in messages}
    made = {payload(Model.of(_arrays(m)), m.content, what) for m in seen.values()}
    if len(made) > 1 or any(m.metadata.message_type != what.kind for m in messages):
        raise ParameterError(
            "the strategy sends nodes different models or configurations, and a secure round is "
            "about one: what differs belongs into a node's own configuration"
        )
    arrays = _arrays(first)
    return arrays, Model.of(arrays), made.pop()


def _arrays(message: Message) -> ArrayRecord:
    records = list(message.content.array_records.values())
    if len(records) != 1:
        raise ParameterError(
            f"the strategy's messages have {len(records)} ArrayRecords, and a secure round is "
            "about one model"
        )
    return records[0]
