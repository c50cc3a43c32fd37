"""The site's side: a filter of tasks, of their results, and a handler of the rounds' requests."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import FilterKey, FLContextKey, ProcessType, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply

from secagg.errors import InputError, PolicyRefused, SecAggError
from secagg.integrations.nvflare import carry
from secagg.integrations.nvflare.given import Received, contribution
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
# is nothing to do there. A task that a site itself sends out, as to other sites, goes in the
# direction of results, and so it is refused.

log = logging.getLogger("nvflare.app_opt.secagg")

_PLAIN = (
    "this site answers in secure rounds only, and the task {!r} is of none: put "
    "secure(recipe, ...), from secagg.integrations.nvflare, around the recipe, and leave out "
    "workflows that send models of single sites"
)


class SecAggFilter(Filter):  # type: ignore[misc, unused-ignore]
    """What a site sends of its work is masked, or is not sent.

    min_clients, max_dropout, protocols, max_clip: the floors of `SitePolicy`; those of a job and
    of the site's own privacy.json add up. The ledger is in the folder `secagg` of the site's
    workspace, on a disk that is never set back; no argument says otherwise, for a job could give
    it. Raises ParameterError.
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
        """At the start of the job, makes the site known."""
        if event_type == EventType.START_RUN and _at_a_site(fl_ctx):
            engine, root = fl_ctx.get_engine(), fl_ctx.get_workspace().get_root_dir()
            if enter(engine, replace(self._floors, state=f"{root}/{FOLDER}")):
                engine.register_aux_message_handler(carry.TOPIC, self._hear)

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """A task, which is kept, or a result, which is masked; a server's own are passed on."""
        if not _at_a_site(fl_ctx):
            return shareable
        if fl_ctx.get_prop(FLContextKey.FILTER_DIRECTION) == FilterKey.IN:
            return self._keep(shareable, fl_ctx)
        site = site_of(fl_ctx.get_engine())
        if site.masked is not shareable:
            site.masked = self._masked(site, shareable, fl_ctx)
        return site.masked

    # Inside

    def _keep(self, task: Shareable, fl_ctx: FLContext) -> Shareable:
        site = site_of(fl_ctx.get_engine())
        name, id = _task(fl_ctx)
        if site.received is None or site.received.id != id:
            try:
                site.received = Received.of(task, id, fl_ctx.get_job_id(), name)
            except InputError as no_model:
                log.info("secagg: the task %r is of no secure round: %s", name, no_model)
                site.received = None
        return task

    def _masked(self, site: Site, result: Shareable, fl_ctx: FLContext) -> Shareable:
        name, id = _task(fl_ctx)
        received, who = site.received, fl_ctx.get_identity_name()
        try:
            if received is None or received.id != id:
                raise PolicyRefused(_PLAIN.format(name))
            return carry.result(site.give(lambda offer: contribution(received, result, who, offer)))
        except SecAggError as refused:
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


def _task(fl_ctx: FLContext) -> tuple[str, str]:
    def text(key: Any) -> str:
        return str(fl_ctx.get_prop(key) or "")

    return text(FLContextKey.TASK_NAME), text(FLContextKey.TASK_ID)
