"""A site: what it is in the round that runs, a shell over `secagg.rounds.ClientRounds`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from secagg.effects import Peer
from secagg.errors import InputError, PolicyRefused, SecAggError, Spent
from secagg.integrations.exchange import INPUT, Frames
from secagg.integrations.given import perform, round_of
from secagg.integrations.nvflare.carry import Asked
from secagg.integrations.nvflare.given import Received
from secagg.integrations.nvflare.policy import SitePolicy
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Contribution, Offer
from secagg.rounds.quota import Limits
from secagg.shown import short
from secagg.store.memory import MemoryStore
from secagg.types import AbortReason, Role
from secagg.wire.frame import MAX_SIZE

# Theory of operation.
#
# A job runs in one process at each site, so what a site is in a round stays in memory, and nothing
# of it is carried or restored: a process that was started again is a dropout. What must outlive it
# is what the site has said, which would otherwise be said a second time to a job that asks again:
# that is in the ledger, a file in the site's workspace, which is synced before anything leaves.
#
# Requests of the server come in threads of the framework, training in another one, so all calls
# hold one lock; none of them waits. A request that is repeated, because its reply was lost on the
# way, is answered by the same reply.
#
# There is one round, for an input that two rounds of one `ClientRounds` knew could be freed by the
# end of the first and given to the second. So a request is about one round, of which an
# announcement is the first word; the next announcement ends the round before, of which this site
# will hear no more; and each announcement has rounds of its own, to which nothing else is
# announced. What names an input was given then is in the ledger alone, which frees none.
#
# A round is over for the site, and with it all secrets are gone, once its machine has said its last
# word: by what it is, not by what the server calls its question. It is over too with the first
# request or task that has no answer: below the floors, at odds with the ledger, or broken. It has
# none when it is repeated, for the same reason.
#
# Several filters may be in one process, the job's own and the site's. They find the same `Site` by
# the engine that runs them, and their floors add up. A round that was agreed to below the floors of
# one that is heard of later is over. NVFLARE logs what a handler raises, and goes on without what
# the handler was to do: so while floors are being added there is no site, and where that has raised
# anything there is none from then on.

log = logging.getLogger("nvflare.app_opt.secagg")

_SERVER = Peer("server", None, Role.SERVER)
_SPENT = (
    "this site has said this before, in other words: a round of this job is asked for a second "
    "time, about the same model and configuration"
)
_UNKNOWN = (
    "this site does not know the round: the job is made without secure(recipe, ...), or this "
    "process was started again since the round began, and takes part in the next one. The "
    "simulator starts processes between tasks where it has fewer threads than clients: give SimEnv "
    "as many num_threads as clients"
)
Given = Callable[[Offer], Contribution | None]


@dataclass
class _Part:
    """In the round that runs. rounds: None once that is over for the site, which then knows no
    secret of it any more. asked, answered: the last request and its reply; refused: why there is
    none."""

    rounds: ClientRounds | None
    nonce: bytes
    store: MemoryStore = field(default_factory=MemoryStore)
    asked: Asked | None = None
    answered: Frames = ()
    refused: SecAggError | None = None

    __repr__ = short

    @contextmanager
    def ending(self) -> Iterator[None]:
        """One request or task, with which the round may be over for the site."""
        goes_on = False
        try:
            yield
            goes_on = self.rounds is not None and bool(self.rounds.speaking)
        except SecAggError as refused:
            self.refused = refused
            raise
        finally:
            if not goes_on:
                self.rounds, self.store = None, MemoryStore()

    def again(self) -> Frames:
        """The reply to the last request. Raises what it was refused with."""
        if self.refused is not None:
            raise self.refused.with_traceback(None)
        return self.answered

    @property
    def due(self) -> bool:
        """Whether the server has asked for the input."""
        return self.asked is not None and self.asked.step == INPUT


class Site:
    """One site in one job: `hear` for each request, `give` for the result of a task."""

    def __init__(self, policy: SitePolicy) -> None:
        self.policy = policy.with_(policy)
        self.received: Received | None = None
        """The task that runs."""
        self.masked: Any = None
        """The last result that leaves, as this object: other filters pass it on."""
        self._lock = threading.Lock()
        self._part: _Part | None = None

    def tighten(self, policy: SitePolicy) -> None:
        """Adds floors; a round that has not been held to them is over."""
        with self._lock:
            both = self.policy.with_(policy)
            if both != self.policy:
                self.policy, self._part = both, None

    def hear(self, asked: Asked) -> Frames:
        """What the site says to a request. Raises PolicyRefused where it takes no part, Spent for a
        round that it does not know, WireError, also for a request about several, and
        StorageError."""
        with self._lock:
            part = self._part_of(asked)
            if asked == part.asked:
                return part.again()
            if (rounds := part.rounds) is None:
                raise Spent(_UNKNOWN)
            part.asked, part.answered = asked, ()
            with part.ending():
                for frame in asked.frames:
                    rounds.received(_SERVER, frame, time.monotonic())
                for offer in rounds.asked():
                    self.policy.judge(offer.plan)
                part.answered = self._act(rounds, part.store)
            for outcome in rounds.outcomes():
                log.warning("secagg: the round is over for this site: %s", outcome.detail)
            return part.answered

    def give(self, given: Given) -> Frames:
        """The masked input of the round, or the word that there is none; why stays here.

        given: computes it; None where there were no examples. Raises Spent where the site is in no
        round that asks for an input, PolicyRefused from `given`, and StorageError.
        """
        with self._lock:
            part = self._part
            rounds = part.rounds if part is not None else None
            offers = rounds.owed() if rounds is not None else []
            if part is None or rounds is None or not offers or not part.due:
                raise Spent(_UNKNOWN)
            with part.ending():
                self._contribute(rounds, offers[0], given)
                return self._act(rounds, part.store)

    def _contribute(self, rounds: ClientRounds, offer: Offer, given: Given) -> None:
        now = time.monotonic()
        try:
            contribution = given(offer)
            if contribution is None:
                log.info("secagg: this site has no examples, and is not in this sum")
                rounds.decline(offer, now)
                return
            rounds.contribute(offer, contribution, now)
        except InputError as bad:
            # no error: what NVFLARE calls the log of errors is streamed to the server by default
            log.warning("secagg: this site's input cannot be in the sum: %s", bad)
            rounds.decline(offer, now, AbortReason.BAD_INPUT)
            return
        for name, number in rounds.clipped(offer).items():
            if number:
                log.info("secagg: %d elements of %s are beyond the clip", number, name)

    def _part_of(self, asked: Asked) -> _Part:
        nonce, announced = round_of(asked.frames)
        if self._part is not None and self._part.nonce == nonce:
            return self._part
        if not announced:
            raise Spent(_UNKNOWN)
        # carried: what is repeated is kept as it was said
        limits = Limits(frame=MAX_SIZE, rounds=1)
        rounds = ClientRounds(self.policy.consent, limits=limits, durable=True, carried=True)
        rounds.joined(_SERVER, time.monotonic())
        self._part = _Part(rounds, nonce)
        return self._part

    def _act(self, rounds: ClientRounds, store: MemoryStore) -> Frames:
        with self.policy.ledger() as ledger:
            return tuple(perform(rounds, store, ledger, _SPENT))


@dataclass
class _Known:
    """Of an engine. owed: filters that have heard of the job, and have not added their floors."""

    site: Site | None = None
    owed: int = 0

    __repr__ = short


_SITES: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()
_GUARD = threading.Lock()


def site_of(engine: Any) -> Site:
    """The one of this process's engine. Raises PolicyRefused where no filter has begun with it, or
    one could not add its floors."""
    with _GUARD:
        known = _SITES.get(engine) or _Known()
    if known.owed:
        raise PolicyRefused(
            "floors of this site could not be added, and without them it takes part in nothing; "
            "its own log says why"
        )
    if known.site is None:
        raise PolicyRefused(
            "the site's filter has not heard that the job runs: list it under components of "
            "privacy.json as well, with an id"
        )
    return known.site


def enter(engine: Any, floors: Callable[[], SitePolicy]) -> bool:
    """Adds a filter's floors to the site of this engine; whether it is new. Until they are added
    the site takes part in nothing, and so it does for good where `floors` raises."""
    with _GUARD:
        known = _SITES.setdefault(engine, _Known())
        known.owed += 1
    policy = floors()
    with _GUARD:
        if new := known.site is None:
            known.site = Site(policy)
        else:
            known.site.tighten(policy)
        known.owed -= 1
    return new
