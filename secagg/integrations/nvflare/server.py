"""The server's side of one round: auxiliary requests to each site, and an aggregator of results."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.aggregators.model_aggregator import ModelAggregator

from secagg.errors import Aborted, IntegrityError, PolicyRefused, WireError
from secagg.integrations.exchange import INPUT, ExchangedRound, Frames
from secagg.integrations.model import Entries
from secagg.integrations.nvflare import carry
from secagg.integrations.terms import UPDATE, Course, LearntClip, Terms, metrics_of
from secagg.party import Aggregate
from secagg.plans.plan import Plan
from secagg.shown import short

# Theory of operation.
#
# FedAvg tells an aggregator when a round begins and which results have come, but neither whom it
# has sampled nor the model that it sends; the controller in `workflow` knows both, and calls
# `begin` in between. There the exchanges before the input run, by one auxiliary request to each
# site, and what the input's exchange has to say to it. The result of the task is the answer to
# that. The exchanges after it run when FedAvg asks for the aggregate.
#
# A site hears requests as soon as its process has a link, and knows what to do with them only when
# its run has begun; in between it logs each as an error. So the first one waits until the site has
# asked for a task, which is after that; or for some time, should tasks come to it in another way. A
# request is tried again as long as the site may not run yet: one that has never answered has the
# whole time of the exchange, any other a short one. To be asked twice is without harm: a site
# repeats what it has said. Each site is waited for by a thread of its own, or those that are lost
# would use up the time of others.

log = logging.getLogger("nvflare.app_opt.secagg")

_PAUSE, _LONGEST, _PATIENCE = 0.25, 4.0, 10.0
"""Seconds between two requests, at first and at last, and for a site that has run before."""
_BEGINS = 120.0
"""Seconds for a site's run to begin, or half of the exchange: then it is asked all the same."""
_THREADS = 512
_AGAIN = (ReturnCode.COMMUNICATION_ERROR, ReturnCode.TOPIC_UNKNOWN, ReturnCode.SERVICE_UNAVAILABLE)
_PLAIN = (
    "it answered outside the secure round: its job has no SecAggFilter, which "
    "secure(recipe, ...), from secagg.integrations.nvflare, adds"
)
_UNREACHED = ReturnCode.COMMUNICATION_ERROR
_LOST = (_UNREACHED, ReturnCode.SERVICE_UNAVAILABLE)


@dataclass
class Sites:
    """Of a job, by name. came: those that have asked for a task. ran: those that were asked for
    something in a round, and have answered or had the time to."""

    came: set[str] = field(default_factory=set)
    ran: set[str] = field(default_factory=set)

    __repr__ = short

    def begun(self, name: str) -> bool:
        return name in self.came or name in self.ran


class CellRound(ExchangedRound[str]):
    """One round over the cells of a job. sites: what is known of them, which grows."""

    def __init__(
        self,
        engine: Any,
        made: Plan,
        payload: bytes,
        deadlines: Mapping[str, float],
        sites: Sites,
    ) -> None:
        super().__init__(made, payload, deadlines)
        self._engine, self._sites = engine, sites

    def invite(self) -> list[str]:
        """Tells each site what the input's exchange has to say to it; those that have heard it."""
        asked = self.asked_for_input()
        heard = self._request(INPUT, asked, _PATIENCE)
        return [name for name in asked if name in heard]

    def _carry(self, step: str, asked: Mapping[str, Frames], seconds: float) -> None:
        for name, frames in self._request(step, asked, seconds).items():
            self.answer(name, frames)

    def _request(self, step: str, asked: Mapping[str, Frames], seconds: float) -> dict[str, Frames]:
        """The frames of those that answer; why others do not is kept."""
        with ThreadPoolExecutor(min(_THREADS, len(asked) or 1)) as pool:
            tried = {
                name: pool.submit(self._ask, name, step, frames, seconds)
                for name, frames in asked.items()
            }
        replies = {name: made.result() for name, made in tried.items()}
        self._sites.ran.update(asked)
        heard = {}
        for name, reply in replies.items():
            code = _UNREACHED if reply is None else carry.code_of(reply)
            if code in _LOST:
                self.lose(name, f"it did not answer ({code})")
                continue
            try:
                heard[name] = self._frames(reply)
            except WireError as why:
                self.refuse(name, str(why))
        return heard

    def _ask(self, name: str, step: str, frames: Frames, seconds: float) -> Any:
        """The site's reply, or None where there was none in time."""
        until = time.monotonic() + seconds
        begins = time.monotonic() + min(seconds / 2, _BEGINS)
        patience = min(until, time.monotonic() + _PATIENCE)
        patience = patience if name in self._sites.ran else until
        pause = _PAUSE
        with self._engine.new_context() as fl_ctx:
            while not self._sites.begun(name) and time.monotonic() < begins:
                if _stopped(fl_ctx):
                    return None
                time.sleep(pause)
            while True:
                left = max(pause, until - time.monotonic())
                request = carry.asking(step, frames)
                replies = self._engine.send_aux_request(
                    [name], carry.TOPIC, request, left, fl_ctx, optional=True
                )
                reply = (replies or {}).get(name)
                if reply is not None and carry.code_of(reply) not in _AGAIN:
                    return reply
                if _stopped(fl_ctx) or time.monotonic() + pause > patience:
                    return reply
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST)

    @staticmethod
    def _frames(reply: Any) -> Frames:
        if (code := carry.code_of(reply)) == ReturnCode.TOPIC_UNKNOWN:
            raise WireError(_PLAIN)
        if code != ReturnCode.OK:
            raise WireError(f"it did not answer ({code or 'without a return code'})")
        if (why := carry.refused(reply)) is not None:
            raise WireError(why)
        return carry.frames_of(reply)


def _stopped(fl_ctx: FLContext) -> bool:
    """Whether the job is aborted."""
    signal = fl_ctx.get_run_abort_signal()
    return bool(signal and signal.triggered)


@dataclass
class _Begun:
    round: CellRound
    model: Entries
    lock: threading.Lock = field(default_factory=threading.Lock)

    __repr__ = short


class SecAggAggregator(ModelAggregator):  # type: ignore[misc, unused-ignore]
    """Of FedAvg's results, which are masked: `begin`, then what FedAvg calls.

    learnt: whether the clip of `terms` is that of the first round only.
    """

    def __init__(self, terms: Terms, learnt: LearntClip | None = None) -> None:
        super().__init__()
        self._course = Course(terms, learnt)
        self._begun: _Begun | None = None
        self._sites = Sites()
        self._explained = False

    @property
    def terms(self) -> Terms:
        """Of the next round."""
        return self._course.terms

    @property
    def last(self) -> Aggregate | None:
        """Of the last round that had a sum."""
        return self._course.last

    def begin(
        self, engine: Any, names: Sequence[str], model: Entries, about: bytes
    ) -> tuple[list[str], float]:
        """The exchanges before the input: the sites that are asked for one, and for how long; none
        where the round has ended. Raises PolicyRefused where no site takes part, and none of this
        run's rounds had a sum."""
        made = self.terms.plan(len(names), model, self.terms.metrics)
        if not self._explained:
            self._explained = True
            log.info("secagg: what the plan of this round promises\n%s", made.explain())
        begun = CellRound(engine, made, about, self.terms.deadlines(made), self._sites)
        try:
            begun.agree(names)
        except (Aborted, IntegrityError, PolicyRefused) as ended:
            self._course.stands(ended, "the round", log)
            return [], 0.0
        self._begun = _Begun(begun, model)
        return begun.invite(), begun.waits

    def reset_stats(self) -> None:
        """Forgets the round that was."""
        self._begun = None

    def came(self, name: str) -> None:
        """The site has asked for a task: its run has begun."""
        self._sites.came.add(name)

    def accept_model(self, model: FLModel) -> None:
        """A site's result, as it arrives: it is added at once, and not kept."""
        name = str((model.meta or {}).get("client_name"))
        if (begun := self._begun) is None:
            log.warning("secagg: the result of %s is of no round, and is left out", name)
            return
        with begun.lock:
            try:
                begun.round.answer(name, carry.frames_of(model.params))
            except WireError:
                begun.round.refuse(name, _PLAIN)

    def aggregate_model(self) -> FLModel:
        """The model moved by the weighted mean, and the metrics' means; the model as it was where
        the round has no sum."""
        begun, self._begun = self._begun, None
        if begun is None:
            return FLModel(params_type=ParamsType.DIFF, params={})
        try:
            with begun.lock:
                total = begun.round.finish()
        except (Aborted, IntegrityError, PolicyRefused) as ended:
            self._course.stands(ended, "the round", log)
            return FLModel(params_type=ParamsType.DIFF, params={})
        self._course.goes_on(total, begun.round.missing(), log, "sites")
        return FLModel(
            params_type=ParamsType.FULL,
            params=begun.model.after(total.mean[UPDATE]),
            metrics=metrics_of(total) or None,
        )
