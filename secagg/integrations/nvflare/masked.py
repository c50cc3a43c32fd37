"""The site's side: a filter of tasks, of their results, and a handler of the rounds' requests."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import reduce
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.filter import Filter, FilterChainType, FilterContextKey
from nvflare.apis.fl_constant import FilterKey, FLContextKey, ProcessType, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply

from secagg.errors import InputError, PolicyRefused, SecAggError
from secagg.integrations.nvflare import carry
from secagg.integrations.nvflare.given import Received, contribution
from secagg.integrations.nvflare.model import forget_way
from secagg.integrations.nvflare.policy import FOLDER, SitePolicy
from secagg.integrations.nvflare.site import Site, enter, site_of
from secagg.plans.choose import Exact

# Theory of operation.
#
# One class is all that a site has of a secure round, in three places: when the job starts, it
# registers for the requests of the server; as a filter of task data it keeps the model that came,
# because a difference is masked, and its digest says that all sites were sent one model; as a
# filter of results it replaces the result, whole. No header, metric, count or text of the result
# goes on: what the plan asks of it is masked, and all else stays here.
#
# NVFLARE makes an object of each place. They find each other through the engine, and what they
# know together is in `Site`. Those of the site's privacy.json come first in both chains, so a job
# cannot undo what they do, nor see the result before them; the job's own then see a result that is
# masked, and pass it on. A privacy.json may be the server's as well, as the simulator's is; there
# is nothing to do there.
#
# NVFLARE finds a job's filters by the exact name of a task, and an executor may answer to all
# names; so what leaves is looked at a second time. Every result passes by an event after its last
# filter, whatever the task is called: one that is not what was masked is emptied where it lies,
# because what a handler returns, or raises, goes nowhere. A result is the server's, or that of
# another site which sent the task.
#
# Tasks that a site itself sends to others, as Swarm and Cyclic learning do, are never sums. The
# communicator there sends the request that it was given, whatever filters return, and not where one
# raises: so these raise, where privacy.json has them in that direction, and the event that follows
# empties the request where they have not been asked. Other messages pass by no filter and no event:
# auxiliary requests of other components (the model that cross-site evaluation among sites hands
# out), streams, tracking. A site that may not be asked for them leaves those classes out of its
# class_allow_list; and nothing here holds code that a job may bring along.

log = logging.getLogger("nvflare.app_opt.secagg")

_PLAIN = (
    "this site answers in secure rounds only, and the task {!r} is of none: put "
    "secure(recipe, ...), from secagg.integrations.nvflare, around the recipe, and leave out "
    "workflows that send models of single sites"
)
_REPLACED = (
    "a filter that comes after SecAggFilter has put something else in place of what was masked: "
    "put it before"
)
_SENT = (
    "this site answers in secure rounds only, and sends no tasks to others: what one site sends "
    "to another, as in Swarm or Cyclic learning, is no sum"
)


class SecAggFilter(Filter):  # type: ignore[misc, unused-ignore]
    """What a site sends of its work is masked, or is not sent.

    min_clients, max_dropout, protocols, max_clip: the floors of `SitePolicy`; those of a job and
    of the site's own privacy.json add up, wherever in it they stand. The ledger is in the folder
    `secagg` of the site's workspace, on a disk that is never set back; no argument says otherwise,
    for a job could give it. Raises ParameterError.
    """

    def __init__(
        self,
        min_clients: int = 3,
        max_dropout: Exact | None = None,
        protocols: Collection[str] | None = None,
        max_clip: float | None = None,
    ) -> None:
        super().__init__()
        self.min_clients, self.max_dropout = min_clients, max_dropout
        self.protocols, self.max_clip = protocols, max_clip
        self._floors = SitePolicy(min_clients, max_dropout, protocols, max_clip)

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """At the start of the job, makes the site known; then looks at what leaves."""
        if not _at_a_site(fl_ctx):
            return
        if event_type == EventType.START_RUN:
            engine = fl_ctx.get_engine()
            if enter(engine, lambda: self._all_floors(fl_ctx)):
                engine.register_aux_message_handler(carry.TOPIC, self._hear)
        elif event_type == EventType.AFTER_TASK_RESULT_FILTER:
            self._look_at(fl_ctx.get_prop(FLContextKey.TASK_RESULT), fl_ctx)
        elif event_type == EventType.AFTER_TASK_DATA_FILTER and _outwards(fl_ctx):
            if (task := fl_ctx.get_prop(FLContextKey.TASK_DATA)) is not None:
                _empty(task, self._refusal(PolicyRefused(_SENT)))

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """A task, which is kept, or a result, which is masked; a server's own are passed on.
        Raises PolicyRefused for a task that this site sends."""
        if not _at_a_site(fl_ctx):
            return shareable
        data = self.get_prop(FilterContextKey.CHAIN_TYPE) == FilterChainType.TASK_DATA_CHAIN
        if data and _outwards(fl_ctx):
            log.error("secagg: nothing is sent: %s", _SENT)
            raise PolicyRefused(_SENT)
        if not data and not _outwards(fl_ctx):
            return shareable  # of a task of this site's own, which others have answered
        site = self._held(fl_ctx)
        if data:
            return self._keep(site, shareable, fl_ctx)
        if site.masked is not shareable:
            site.masked = self._masked(site, shareable, fl_ctx)
        return site.masked

    # Inside

    def _all_floors(self, fl_ctx: FLContext) -> SitePolicy:
        """Those of the filters in the site's privacy.json too: they hear of no job themselves."""
        others = [one._floors for one in _in_scope(fl_ctx)]
        folder = f"{fl_ctx.get_workspace().get_root_dir()}/{FOLDER}"
        return reduce(SitePolicy.with_, others, replace(self._floors, state=folder))

    def _held(self, fl_ctx: FLContext) -> Site:
        """The site, held to the floors of this filter too, whoever has made it known."""
        site = site_of(fl_ctx.get_engine())
        site.tighten(self._floors)
        return site

    def _keep(self, site: Site, task: Shareable, fl_ctx: FLContext) -> Shareable:
        name, id = _task(fl_ctx)
        if site.received is None or site.received.id != id:
            try:
                site.received = Received.of(task, id, fl_ctx.get_job_id(), name)
            except InputError as no_model:
                log.info("secagg: the task %r is of no secure round: %s", name, no_model)
                site.received = None
        forget_way(task)
        return task

    def _masked(self, site: Site, result: Shareable, fl_ctx: FLContext) -> Shareable:
        name, id = _task(fl_ctx)
        received, who = site.received, fl_ctx.get_identity_name()
        try:
            if received is None or received.id != id:
                raise PolicyRefused(_PLAIN.format(name))
            return carry.result(site.give(lambda offer: contribution(received, result, who, offer)))
        except SecAggError as refused:
            return self._refusal(refused)

    def _look_at(self, result: Any, fl_ctx: FLContext) -> None:
        """The last look at a result."""
        name, id = _task(fl_ctx)
        try:
            site = site_of(fl_ctx.get_engine())
        except PolicyRefused as refused:
            _empty(result, self._refusal(refused))
            return
        if site.masked is not result:
            known = site.received is not None and site.received.id == id
            why = _REPLACED if known else _PLAIN.format(name)
            _empty(result, self._refusal(PolicyRefused(why)))
            site.masked = result

    def _refusal(self, refused: SecAggError) -> Shareable:
        log.error("secagg: nothing is sent: %s", refused)
        return make_reply(
            ReturnCode.TASK_RESULT_FILTER_ERROR, {carry.KEY: self._floors.told(refused)}
        )

    def _hear(self, topic: str, request: Shareable, fl_ctx: FLContext) -> Shareable:
        try:
            return carry.answer(site_of(fl_ctx.get_engine()).hear(carry.read(request)))
        except SecAggError as refused:
            log.warning("secagg: no part in the round: %s", refused)
            return carry.refusal(self._floors.told(refused))


def _at_a_site(fl_ctx: FLContext) -> bool:
    return bool(fl_ctx.get_process_type() == ProcessType.CLIENT_JOB)


def _outwards(fl_ctx: FLContext) -> bool:
    return bool(fl_ctx.get_prop(FLContextKey.FILTER_DIRECTION) != FilterKey.IN)


def _in_scope(fl_ctx: FLContext) -> Iterator[SecAggFilter]:
    """Ours in the part of the site's privacy.json that holds for this job."""
    scope = fl_ctx.get_prop(FLContextKey.SCOPE_OBJECT)
    for chains in ("task_data_filters", "task_result_filters"):
        for chain in getattr(scope, chains, {}).values():
            yield from (one for one in chain if isinstance(one, SecAggFilter))


def _empty(message: dict[str, Any], left: Shareable) -> None:
    """Where it lies: NVFLARE goes on with the object that it has."""
    message.clear()
    message.update(left)


def _task(fl_ctx: FLContext) -> tuple[str, str]:
    def text(key: Any) -> str:
        return str(fl_ctx.get_prop(key) or "")

    return text(FLContextKey.TASK_NAME), text(FLContextKey.TASK_ID)
