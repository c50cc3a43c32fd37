"""What a round is asked for: its fields and its plan, for whoever was sampled."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from secagg import registry
from secagg.arguments import integer, ratio, real, seconds, text
from secagg.errors import ParameterError, PolicyRefused, SecAggError
from secagg.fields import Field, FixedPoint
from secagg.integrations.model import Entries
from secagg.party import Aggregate
from secagg.plans.choose import NONE, Exact, plan
from secagg.plans.plan import Plan
from secagg.protocol import OneServer, Phase, ProtocolInfo, SeveralServers
from secagg.shown import short

UPDATE, METRIC = "update", "metric:"
"""Names of fields: of the model's difference, and before the name of each metric."""
METRIC_BITS = 24
MANY = 64
"""Nodes, below which the smallest round is looked for."""
LARGE = 1024
"""Nodes of whom there is a round unless the fractions that are asked for exclude each other."""
_NAMED = 20
"""Of whoever is not in a sum, in the log of its round."""
_CLIENTS = re.compile(r"(?<!\w)clients=(\d+)")
TIMEOUT, TRAINING = 600.0, 3600.0
"""Seconds of an exchange, and of the one in which nodes compute, unless others are given."""


@dataclass(frozen=True)
class LearntClip:
    """A clip that follows the nodes: doubled after a round that has cut more than `cut` of all
    elements, and four fifths of itself after one that has cut none.

    start: of the first round. cut: a fraction. most: the largest that it grows to, 2^10 of its
    start unless given; it does not shrink below 2^-10 of that. What it goes by is the one number of
    clipped elements that a sum has; a node's own is nobody's. So one node that cheats, or diverges,
    can have it grow to `most`: a node refuses what is above its own floor, so `most` is that floor
    where nodes have one. After a round without a sum it is what it was in the last one that had
    one. Raises ParameterError.
    """

    start: float
    cut: float = 1e-3
    most: float | None = None

    def __post_init__(self) -> None:
        if not 0 < real("cut", self.cut) < 1:
            raise ParameterError("cut is a fraction of all elements, between 0 and 1")
        FixedPoint(1, self.start, METRIC_BITS)
        if self.most is not None:
            FixedPoint(1, self.most, METRIC_BITS)
            if self.most < self.start:
                raise ParameterError("most is no less than start: it is the largest clip")

    def after(self, clip: float, clipped: int, elements: int) -> float:
        """The clip of the next round."""
        if clipped > self.cut * elements:
            return min(2 * clip, self.start * 1024 if self.most is None else self.most)
        return clip if clipped else max(0.8 * clip, self.start / 1024)


@dataclass(frozen=True)
class Terms:
    """The numbers that a user gives, checked. resumes: whether messages of a round may reach
    different processes, so that only a protocol that resumes will do. cohort: what the framework
    calls so many clients. Raises ParameterError with the argument's name."""

    clip: float
    bits: int
    max_weight: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    corrupt: Exact = 0.1
    dropout: Exact = 0.2
    protocol: str | None = None
    timeouts: Mapping[str, float] | float | None = None
    resumes: bool = True
    cohort: str = "{} nodes"

    __repr__ = short

    def __post_init__(self) -> None:
        integer("max_weight", self.max_weight, 1, (1 << 32) - 1)
        FixedPoint(1, self.clip, self.bits)
        self.seconds(Phase("", 0))
        ratio("corrupt", self.corrupt)
        ratio("dropout", self.dropout)
        if self.protocol is not None:
            _of_one_server(registry.load(text("protocol", self.protocol)))
        self.deadlines(self._smallest or self._large())

    def plan(self, clients: int, model: Entries | None, metrics: Mapping[str, float]) -> Plan:
        """For so many nodes; model: None where only metrics are summed."""
        fields: dict[str, Field] = {}
        if model is not None:
            fields[UPDATE] = FixedPoint(model.structure.length, self.clip, self.bits)
        fields |= {METRIC + n: FixedPoint(1, c, METRIC_BITS) for n, c in metrics.items()}
        structure = None if model is None else {UPDATE: model.structure}
        make = partial(self._planned, clients, fields, structure)
        try:
            made = make(self.protocol)
        except ParameterError as refused:
            raise type(refused)(self._in_words(str(refused), make)) from None
        if self.resumes and (why := unfit(made)) is not None:
            raise ParameterError(why)
        return made

    def _planned(self, clients: int, fields: Any, structure: Any, protocol: str | None) -> Plan:
        return plan(
            clients=clients,
            fields=fields,
            corrupt=self.corrupt,
            dropout=self.dropout,
            protocol=protocol,
            max_weight=self.max_weight,
            clipped=True,
            structure=structure,
        )

    def _in_words(self, refused: str, make: Callable[[str], Plan]) -> str:
        """Advice for whoever calls `plan` names arguments that a framework has not: several
        servers, and clients, which there are nodes or sites."""
        if refused.startswith(NONE):
            found = map(registry.load, registry.available())
            ours = (info.name for info in found if info.threat_models and _has_one_server(info))
            refused = NONE + "; ".join(_refusal(make, name) for name in ours)
        return _CLIENTS.sub(lambda found: self.cohort.format(found[1]), refused)

    def fewest(self) -> int:
        """Nodes of the smallest round that the threat allows; 2 where none of few nodes is, so that
        the plan itself says why."""
        smallest = self._smallest
        return 2 if smallest is None else smallest.threat.clients

    @cached_property
    def _smallest(self) -> Plan | None:
        for clients in range(2, MANY):
            with suppress(ParameterError):
                return self.plan(clients, None, {"any": 1.0})
        return None

    def _large(self) -> Plan:
        """Some threats have their smallest round here; one that has none even here has none."""
        try:
            return self.plan(LARGE, None, {"any": 1.0})
        except ParameterError as refused:
            raise ParameterError(f"no number of clients would do; of {LARGE}: {refused}") from None

    def seconds(self, phase: Phase) -> float:
        """That the exchange of this phase may last."""
        given = self.timeouts
        usual = TRAINING if phase.takes_input else TIMEOUT
        if isinstance(given, Mapping):
            return seconds(f"timeouts[{phase.name!r}]", given.get(phase.name, usual))
        return usual if given is None else seconds("timeouts", given)

    @property
    def longest(self) -> float:
        """Seconds of the longest exchange that was asked for; 0 where none was."""
        given = self.timeouts
        if not isinstance(given, Mapping):
            return 0.0 if given is None else given
        return max((seconds(f"timeouts[{n!r}]", s) for n, s in given.items()), default=0.0)

    def deadlines(self, made: Plan) -> dict[str, float]:
        """By phase. Raises ParameterError for a timeout of a phase that the plan lacks."""
        given = self.timeouts
        if isinstance(given, Mapping) and (unknown := set(given) - set(made.phase_names)):
            raise ParameterError(
                f"timeouts names {sorted(unknown)[0]!r}; the phases are "
                f"{', '.join(made.phase_names)}"
            )
        return {phase.name: self.seconds(phase) for phase in made.phases}


def _refusal(make: Callable[[str], Plan], protocol: str) -> str:
    """What is said of a protocol of which there is no plan."""
    try:
        make(protocol)
    except ParameterError as refused:
        return str(refused)
    return ""


def _has_one_server(found: ProtocolInfo) -> bool:
    match found.family:
        case OneServer():
            return True
        case SeveralServers():
            return False


def _of_one_server(found: ProtocolInfo) -> None:
    """A framework has one server, and no argument for several: so the plan's own advice, to state
    them, would be of no use."""
    match found.family:
        case OneServer():
            return
        case SeveralServers():
            raise ParameterError(
                f"{found.name} is for several servers, and a framework has one: leave protocol "
                "out, or name secagg or secagg+; rounds of one's own may have several "
                "(docs/several-servers.md)"
            )


def unfit(made: Plan) -> str | None:
    """Why messages of this plan's rounds may not reach different processes, as Flower's do; or
    None."""
    if len(made.phases) == 1 or made.info.resumes(made.suite):
        return None
    return (
        f"{made.protocol} of suite {made.suite.number} does not resume: a client of it is one "
        "process for the round, and Flower starts a process for each message; take another protocol"
    )


@dataclass
class Course:
    """What goes from one round of a run to the next. terms: of the next one. learnt: whether their
    clip is that of the first only. last: the last sum; None before."""

    terms: Terms
    learnt: LearntClip | None = None
    last: Aggregate | None = None
    _summed: float | None = None
    """The clip of the last sum of models."""
    _agreed: bool = False
    """Whether a round of this run had a sum."""

    __repr__ = short

    def begins(self) -> None:
        """A run does, with others perhaps."""
        self._agreed = False

    def goes_on(
        self, total: Aggregate, missing: Mapping[Any, str], log: logging.Logger, who: str
    ) -> None:
        """After a sum: a learnt clip follows it where a model was in it. It is said how many are in
        the sum, who is not and why, and what the clip has cut. who: what clients are called there,
        `missing` with them."""
        self.last, self._agreed = total, True
        clip, clipped = self.terms.clip, int(total.sum["clipped"][0])
        elements = total.count * (sum(len(mean) for mean in total.mean.values()) - 1)
        for one in list(missing)[:_NAMED]:
            log.warning("secagg: %s is not in the sum: %s", one, missing[one])
        if len(missing) > _NAMED:
            log.warning("secagg: nor are %d other %s", len(missing) - _NAMED, who)
        log.info("secagg: %d %s in the sum, %d not", total.count, who, len(total.dropped))
        if clipped:
            log.warning(
                "secagg: %d of %d elements were beyond their clip, and were cut: the mean is "
                "biased unless clip=%s, or the clip of a metric, is raised",
                clipped,
                elements,
                clip,
            )
        if self.learnt is not None and UPDATE in total.mean:
            self._summed = clip
            self.terms = replace(self.terms, clip=self.learnt.after(clip, clipped, elements))

    def stands(
        self, why: SecAggError, what: str, log: logging.Logger, *, model: bool = True
    ) -> None:
        """After a round without a sum; what: what the log calls it; model: whether one was to be in
        it. A learnt clip goes back to that of the last sum then: what it grew to may be above the
        floors of too many.

        Raises `why` where all have refused, none of this run's rounds had a sum, and there is
        nothing to go back to: they would in the next one too.
        """
        grown = model and self._summed is not None and self.terms.clip != self._summed
        if model and self._summed is not None:
            self.terms = replace(self.terms, clip=self._summed)
        if isinstance(why, PolicyRefused) and not self._agreed and not grown:
            raise why
        log.error("secagg: %s has no sum: %s", what, why)


def metrics_of(total: Aggregate) -> dict[str, float]:
    """The weighted mean of each metric."""
    return {
        name.removeprefix(METRIC): float(mean[0])
        for name, mean in total.mean.items()
        if name.startswith(METRIC)
    }


def check_clips(what: str, given: Mapping[str, float]) -> dict[str, float]:
    """The clips of metrics by name, as they were given. Raises ParameterError."""
    if not isinstance(given, Mapping):
        raise ParameterError(
            f"{what} maps the name of a metric to its clip, as in {{'train_loss': 10.0}}"
        )
    for name, clip in given.items():
        text(f"a name in {what}", name)
        FixedPoint(1, clip, METRIC_BITS)
    return dict(given)
