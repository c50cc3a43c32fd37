"""For programs without asyncio: `join` blocks like any other call, `serve_in_thread` serves beside.

Each has an event loop in a thread of its own, which is gone when the call or the `with` block is
over, however it ends. What is decided and said is that of `secagg.drive.aio`, of which these are
another face. A callable of `join` runs in the caller's own thread, so that Ctrl-C reaches it, and
so does whatever else a thread has: a connection, a device, a profiler.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

from secagg.arguments import functions, instance, integer, kind_of, seconds
from secagg.budget import Budget
from secagg.drive import aio, warm
from secagg.drive.beside import Beside, Here, beside, first, raises_well
from secagg.drive.enrolled import Member, entered
from secagg.drive.participant import Inputs, Participant, rounds_of
from secagg.drive.rejoin import stay, try_input
from secagg.drive.service import Deadlines, Keep, Observer, Service
from secagg.errors import InputError, LocalProtocolError, ParameterError, TransportError
from secagg.party import Aggregate
from secagg.plans.plan import Plan
from secagg.privacy import Unit
from secagg.roster import SignedRoster
from secagg.rounds.client import PATIENCE
from secagg.rounds.clock import RoundReport
from secagg.rounds.offer import Consent, Contribution, Offer, Outcome
from secagg.rounds.quota import Limits
from secagg.rounds.selection import Candidate, Select
from secagg.schema import MAX_WEIGHT
from secagg.store.base import Ledger
from secagg.store.identity import Identity
from secagg.transport.base import DEFAULT_MAX_SIZE
from secagg.transport.websocket import check_url
from secagg.types import Randomness, system_randomness

Given: TypeAlias = Contribution | Mapping[str, Any]
Fields: TypeAlias = Given | Callable[[Offer], Given | None]

_T = TypeVar("_T")
MOST_ROUNDS = (1 << 31) - 1


def join(
    url: str,
    fields: Fields,
    *,
    weight: int = 1,
    name: str | bytes | None = None,
    plan: Plan | None = None,
    plan_digest: bytes | None = None,
    rounds: int | None = None,
    timeout: float = 60.0,
    patience: float = PATIENCE,
    max_size: int = DEFAULT_MAX_SIZE,
    ledger: Ledger | None = None,
    randomness: Randomness = system_randomness,
    max_epsilon: float | None = None,
    budget: Budget | None = None,
    max_delta: float | None = None,
    unit: Unit | None = None,
    member: Member | None = None,
) -> tuple[Outcome, ...]:
    """Takes part in the rounds of a service until that ends the link in order; blocks meanwhile.

    url: `wss://`, or `ws://` on loopback. fields: by name, arrays as the plan's fields have
    them; or a Contribution; or a function of the Offer that returns one of these, or None to be
    left out of that round. It is called in this thread, for one offer after the other; earlier
    phases go on meanwhile. weight, name: of fields by name, as of a Contribution: under a name
    the same fields are in the first of several rounds and spent in the others; a function gives
    each its own. plan, plan_digest, ledger, max_epsilon, max_delta, unit, budget, member: as of
    `participate`. rounds: leaves after so many and declines what comes then; None stays.
    timeout: seconds that the server may be away; it is tried again with growing pauses.
    patience: seconds beyond a round's deadlines.

    Returns an Outcome for each round as they ended, with whether this client is in the sum and how
    much was clipped; also where the server is lost for good, if any round has ended by then.

    Ctrl-C, or what `fields` raises, tells the server that this client is out, and is raised here;
    an InputError leaves it out of that round only. Raises what `connect` and `participate` do;
    TransportError for a server that closes the link before it announces a round; and before any
    is asked, InputError for fields that do not fit the plan.
    """
    check_url(url)
    weight = integer("weight", weight, 0, MAX_WEIGHT)
    if plan is not None and not callable(fields):
        try_input(instance("plan", plan, Plan), contribution(fields, weight, name))
    warm.up(plan)
    consent = Consent(plan, plan_digest, max_epsilon=max_epsilon, max_delta=max_delta, unit=unit)
    waits, away = seconds("patience", patience), seconds("timeout", timeout)
    most = None if rounds is None else integer("rounds", rounds, 1, MOST_ROUNDS)
    give = giver(fields, weight, name)
    with entered(member, ledger) as who:
        decided = rounds_of(consent, max_size, waits, randomness, budget, who)

        async def work(inputs: Inputs) -> tuple[Outcome, ...]:
            participant = Participant(decided, inputs, ledger=ledger, budget=budget, most=most)
            return await stay(url, participant, timeout=away, max_size=max_size)

        outcomes = in_this_thread(give, work)
    if not outcomes:
        raise TransportError(_UNASKED + _OTHER_ROSTER * (member is not None))
    return outcomes


_UNASKED = (
    "the server closed the link before it announced a round: it may have all the clients it takes, "
    "or have ended, or be one of several, to which a client reports"
)
_OTHER_ROSTER = "; or its roster is another than this client's"


def in_this_thread(
    give: Callable[[Offer], Contribution | None],
    go: Callable[[Inputs], Coroutine[Any, Any, tuple[Outcome, ...]]],
) -> tuple[Outcome, ...]:
    """What takes part in a thread of its own, and `give` in this one. go: given the inputs."""
    here, turn = Here(), asyncio.Semaphore(1)

    async def inputs(offer: Offer) -> Contribution | None:
        """An offer waits for its turn here, where the end of its round ends it: in the queue of the
        other thread it would stay, with its payload, and a server could fill that."""
        await turn.acquire()
        giving = asyncio.get_running_loop().run_in_executor(here, raises_well(give), offer)
        giving.add_done_callback(lambda _: turn.release())
        return await asyncio.shield(giving)

    with beside(go(inputs)) as thread:
        here.run(until=thread.ended)
    return thread.ended.result()


def giver(
    fields: Fields, weight: int, name: str | bytes | None
) -> Callable[[Offer], Contribution | None]:
    """What answers an offer. Raises ParameterError and InputError for what is none of `fields`."""
    if not callable(fields):
        given = contribution(fields, weight, name)
        return lambda offer: given
    if inspect.iscoroutinefunction(fields):
        raise ParameterError("fields is a plain function here: secagg.participate takes coroutines")

    def give(offer: Offer) -> Contribution | None:
        made = fields(offer)
        return None if made is None else contribution(made, weight, name)

    return give


def contribution(given: Given, weight: int, name: str | bytes | None) -> Contribution:
    """Of fields by name, or what is one. InputError for anything else."""
    if isinstance(given, Contribution):
        return given
    if not isinstance(given, Mapping):
        raise InputError(
            "fields are given by name, as a Contribution, or by a function that returns one of "
            f"these or None, not as {kind_of(given)}"
        )
    return Contribution(given, weight, name=name)


@contextmanager
def serve_in_thread(
    plan: Plan,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    max_size: int | None = None,
    limits: Limits | None = None,
    randomness: Randomness = system_randomness,
    roster: SignedRoster | None = None,
    identity: Identity | None = None,
) -> Iterator[Serving]:
    """A service on a WebSocket of its own, in a thread of its own, for a `with` block.

        with secagg.serve_in_thread(plan, port=8000) as server:
            server.ready(timeout=60)
            total = server.run_round(deadlines=30)

    plan: that of its rounds. host, port, max_size, limits, roster, identity: as of
    `secagg.serve`; max_size is otherwise that of the plan. On leaving, rounds that run are
    cancelled, every frame already due is sent, every link is closed, and thread and port are
    free again.

    Raises as `secagg.serve` does, before the block is entered; and on leaving, where the block
    itself raised nothing, what has ended the thread meanwhile.
    """
    limit = aio.message_limit(plan) if max_size is None else max_size
    warm.up(plan)
    opened: Future[Service] = Future()
    leaving, ending = asyncio.Event(), threading.Event()

    async def work() -> None:
        options = {"limits": limits, "randomness": randomness}
        who = {"roster": roster, "identity": identity}
        async with aio.serve(host, port, max_size=limit, **options, **who) as service:  # type: ignore[arg-type]
            opened.set_result(service)
            try:
                await service.until(leaving.wait())
            finally:
                ending.set()

    with beside(work()) as thread:
        first(opened, thread.ended)
        if not opened.done():
            thread.ended.result()
        yield Serving(plan, host, opened.result(), thread, ending)
        thread.tell(leaving.set)
        thread.ended.result()


class Serving:
    """A service in its own thread, as `serve_in_thread` gives it. Its calls may come from any
    thread, and each blocks until it is done; Ctrl-C ends what it waits for."""

    def __init__(
        self,
        plan: Plan,
        host: str,
        service: Service,
        thread: Beside[None],
        ending: threading.Event,
    ) -> None:
        """Made by `serve_in_thread` alone. ending: nothing can be asked of it any more."""
        self._plan, self._service = plan, service
        self._thread, self._ending = thread, ending
        self._host = f"[{host}]" if ":" in host else host

    @property
    def port(self) -> int:
        """The one that is bound."""
        return self._service.port or 0

    @property
    def url(self) -> str:
        """What clients on this machine `join`."""
        return f"ws://{self._host}:{self.port}"

    @property
    def connected(self) -> int:
        """How many clients have a link."""
        return len(self.members)

    @property
    def members(self) -> tuple[Candidate, ...]:
        """Everybody with a link, by arrival."""

        async def look() -> tuple[Candidate, ...]:
            return self._service.members

        return self._wait(look())

    @property
    def report(self) -> RoundReport | None:
        """Of the round that ended last, also of one that failed."""
        return self._service.report

    def ready(self, clients: int | None = None, timeout: float | None = None) -> None:
        """Until so many clients are connected, by default as many as the plan has; LinkTimeout
        after `timeout` seconds."""
        wanted = self._plan.threat.clients if clients is None else clients
        self._wait(self._service.ready(wanted, timeout))

    def run_round(
        self,
        payload: bytes = b"",
        *,
        deadlines: Deadlines,
        plan: Plan | None = None,
        inline: bool = True,
        executor: Executor | None = None,
        insecure_executor: bool = False,
        observer: Observer | None = None,
        clients: Sequence[Candidate | bytes] | None = None,
        select: Select | None = None,
        keep: Keep | None = None,
    ) -> Aggregate:
        """One round; as `secagg.drive.aio.Service.run_round`, and raises as that does.

        plan: another than the service's. observer and select are called in the service's thread,
        and must not block; keep is called in another, and may. Several rounds at once are several
        threads that call this.
        """
        functions(keep=keep)
        running = self._service.run_round(
            self._plan if plan is None else plan,
            payload,
            deadlines=deadlines,
            inline=inline,
            executor=executor,
            insecure_executor=insecure_executor,
            observer=observer,
            clients=clients,
            select=select,
            keep=_apart(keep),
        )
        return self._wait(running)

    def _wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Its result, or what has ended the service."""
        try:
            made: _T = self._thread.wait(work)
            return made
        except (CancelledError, LocalProtocolError):
            if not self._ending.is_set():
                raise
        ended = self._thread.ended.exception()
        if ended is not None and not isinstance(ended, asyncio.CancelledError):
            raise ended
        raise LocalProtocolError("the service is closed, and takes neither clients nor rounds")


def _apart(keep: Keep | None) -> Keep | None:
    """In a thread, so that links are read while it writes."""
    if keep is None or inspect.iscoroutinefunction(keep):
        return keep
    return lambda total: asyncio.to_thread(raises_well(keep), total)
