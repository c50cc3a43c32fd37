"""A client of a service: takes part in every round that is announced to it.

What it consents to, says and claims is `secagg.rounds.client`; how that is carried out,
`secagg.drive.shell`. Here the inputs are computed, each in a task of its own.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

from secagg.arguments import function, instance, integer, kind_of, seconds
from secagg.budget import Budget
from secagg.cut import clipping
from secagg.drive.beside import raises_well
from secagg.drive.enrolled import Member, entered
from secagg.drive.shell import Shell
from secagg.effects import Peer
from secagg.errors import (
    BudgetSpent,
    InputError,
    LinkClosed,
    ParameterError,
    SecAggError,
    TransportError,
)
from secagg.plans.disclosure import Counting
from secagg.plans.plan import Plan
from secagg.privacy import Unit
from secagg.rounds.base import Rounds
from secagg.rounds.client import PATIENCE, ClientRounds
from secagg.rounds.greeting import Greeted, Script
from secagg.rounds.membership import Membership
from secagg.rounds.offer import Consent, Offer
from secagg.rounds.offer import Contribution as Contribution
from secagg.rounds.offer import Outcome as Outcome
from secagg.rounds.part import BUDGET
from secagg.rounds.quota import Limits
from secagg.store.base import Ledger
from secagg.transport.base import Link
from secagg.types import AbortReason, Randomness, Role, system_randomness
from secagg.wire.frame import DEFAULT_MAX_SIZE, MAX_SIZE

log = logging.getLogger(__name__)

Given: TypeAlias = Contribution | None
AT_ONCE = 8
"""Inputs that are computed in threads at once; further ones wait for their turn."""

Inputs: TypeAlias = Callable[[Offer], Given | Awaitable[Given]]


async def participate(
    link: Link,
    inputs: Inputs,
    *,
    plan: Plan | None = None,
    plan_digest: bytes | None = None,
    max_size: int = DEFAULT_MAX_SIZE,
    randomness: Randomness = system_randomness,
    timeout: float = PATIENCE,
    ledger: Ledger | None = None,
    max_epsilon: float | None = None,
    budget: Budget | None = None,
    max_delta: float | None = None,
    unit: Unit | None = None,
    member: Member | None = None,
) -> tuple[Outcome, ...]:
    """Takes part in every round that the server announces, until the link is gone.

    inputs: Offer -> Contribution, or None for whoever has nothing this round; a coroutine function,
    or a plain one, which runs in a thread. It may take as long as the deadlines let it: the earlier
    phases go on meanwhile. plan, plan_digest: what the caller agreed to; any other announced plan
    is refused, and without either any plan is accepted that its own rules allow, save one that
    protects nobody. timeout: seconds that a round may last beyond its own deadlines before the
    server counts as gone. ledger: where claims are kept (`secagg.store`), so that an input that is
    named is spent for this client's other links, and after a restart, too. max_epsilon: what sums
    may tell the server of any one's data over a plan's rounds (`secagg.Privacy`): a plan of more,
    or without noise, is refused before a key leaves, and so is one of a delta above max_delta, by
    default 1e-3, and of single examples, unless unit="example" agrees to these. budget: what this
    client's data may tell over all plans (`secagg.Budget`): each round is charged to it before a
    key leaves, and one that does not fit is declined; plans without noise are refused. member: for
    plans against a server that lies, and for no others unless its policy takes them: the server
    then proves that it is the roster's, this client its place, and a ledger is needed.

    A server that breaks the protocol ends its round (PEER_FAULT), not the link; an input that does
    not fit, or an InputError of `inputs`, leaves this client out of that round, and of no other.
    Each is in its Outcome, with whether this client is in the sum, and logged. Elements that were
    clipped are in the Outcome, and logged as one warning a round.

    Raises PolicyRefused for a plan that is not the pinned one, or tells too much, BudgetSpent when
    the link is gone, if the budget had no room for any round, WireError,
    RemoteProtocolError and, of the plan, ParameterError for announcements that are none, and
    whatever else `inputs` raises: each time after telling the server that this client is out. What
    `Member.enter` raises, and CryptoError or RemoteProtocolError for a server that is not the
    roster's.
    Raises the InputError when the link is gone, if no round had an input of this client, LinkClosed
    where the server was lost before it announced any, and the StorageError of a ledger or budget,
    without which nothing may leave.
    """
    function("inputs", inputs)
    timeout = seconds("timeout", timeout)
    consent = Consent(plan, plan_digest, max_epsilon=max_epsilon, max_delta=max_delta, unit=unit)
    with entered(member, ledger) as membership:
        rounds = rounds_of(consent, max_size, timeout, randomness, budget, membership)
        participant = Participant(rounds, inputs, ledger=ledger, budget=budget)
        return await participant.over(link)


def rounds_of(
    consent: Consent,
    max_size: int,
    patience: float,
    randomness: Randomness,
    budget: Budget | None,
    member: Membership | None = None,
) -> ClientRounds:
    """Of one client without rows. Raises ParameterError."""
    return ClientRounds(
        consent,
        limits=Limits(frame=integer("max_size", max_size, 1, MAX_SIZE)),
        patience=patience,
        randomness=randomness,
        counting=counting(budget),
        member=member,
    )


def counting(budget: Budget | None) -> Counting | None:
    """What rounds are to charge for. Raises ParameterError for what is no budget."""
    return None if budget is None else instance("budget", budget, Budget).counting


@dataclass(frozen=True, slots=True)
class _Beside:
    """What whoever has a Participant does for it."""

    heard: Callable[[Outcome], None]
    around: Callable[[ClientRounds], Rounds] | None
    fetch: Callable[[Offer], Awaitable[bytes]] | None


class Participant:
    """One client and the inputs it computes, over one link after another; outcomes add up. With a
    link go the rounds that ran over it, but those that outlive it (`ClientRounds`): they go on over
    the next one, until `leave`."""

    def __init__(
        self,
        rounds: ClientRounds,
        inputs: Inputs,
        *,
        ledger: Ledger | None = None,
        budget: Budget | None = None,
        most: int | None = None,
        heard: Callable[[Outcome], None] = lambda outcome: None,
        around: Callable[[ClientRounds], Rounds] | None = None,
        fetch: Callable[[Offer], Awaitable[bytes]] | None = None,
    ) -> None:
        """most: of how many rounds it has enough, whatever comes of them; None takes them all.
        heard: of each outcome, when it is there; it must not raise. around: what else a link to
        this server has beside rounds, such as a greeting; made anew when no round has outlived the
        last link. fetch: the payload of an offer that has its digest and size alone, before its
        input is asked for; an InputError leaves this client out of that round.
        Raises ParameterError for rounds of a member without a ledger."""
        if rounds.membership is not None and ledger is None:
            raise ParameterError("rounds whose clients sign need the ledger that they remember in")
        self.outcomes: list[Outcome] = []
        self.lost = False
        """Whether the last link ended otherwise than in order: another one may be opened."""
        self._rounds, self._inputs = rounds, inputs
        self._beside = _Beside(heard, around, fetch)
        self._kept: dict[str, Any] = {"ledger": ledger, "budget": budget}
        self._computing: dict[bytes, asyncio.Task[None]] = {}
        self._unfit: list[InputError] | None = []
        """Of this client's inputs; None once one has fitted."""
        self._most = most
        self._shell: Shell | None = None
        self._threads = asyncio.Semaphore(AT_ONCE)
        self._refused: SecAggError | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Of this side: it has failed, or has had enough."""

    async def over(self, link: Link) -> tuple[Outcome, ...]:
        """Until the link is gone; raises as `participate` does."""
        server, self._refused = Peer("server", None, Role.SERVER), None
        if self._shell is None:
            self._shell = Shell(self._driven(), news=self._news, **self._kept)
            self._shell.start()
        serving = asyncio.create_task(self._shell.serve(server, link))
        ends: set[asyncio.Future[Any]] = {serving, self._ended}
        gone, stays = None, False
        try:
            await self._shell.until(asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED))
            if not self._ended.done():
                gone = await serving
                stays = bool(self._rounds.running)
        finally:
            if not stays:
                await self.leave(serving)
        if self._ended.done():
            self._ended.result()
            gone = None
        self.lost = gone is not None and not (isinstance(gone, LinkClosed) and gone.orderly)
        if self._unfit:
            raise self._unfit[0]
        if self.outcomes and all(one.why == BUDGET for one in self.outcomes):
            raise BudgetSpent(self.outcomes[-1].detail)
        if isinstance(gone, LinkClosed) and gone.too_large:
            raise gone
        if self._refused is not None:
            raise self._refused
        if gone is not None and self.lost and not self.outcomes:
            raise gone
        return tuple(self.outcomes)

    def _driven(self) -> Rounds:
        """Where clients sign, both sides of a link first prove who they are; what is around these
        rounds sees to that itself."""
        if self._beside.around is not None:
            return self._beside.around(self._rounds)
        if (member := self._rounds.membership) is None:
            return self._rounds

        def greet(peer: Peer) -> Script:
            try:
                return (yield from member.greet())
            except SecAggError as refused:
                self._refused = refused
                raise

        return Greeted(self._rounds, greet)

    @property
    def pressing(self) -> float:
        """As `ClientRounds.pressing`: until when there should be a link again."""
        return self._rounds.pressing

    async def wait(self, seconds: float) -> None:
        """Between two links, for so long, or until this side has failed or has enough. What runs
        goes on meanwhile, and raises here."""
        ended: Awaitable[Any] = asyncio.wait({self._ended}, timeout=seconds)
        await (ended if self._shell is None else self._shell.until(ended))
        if self._ended.done():
            self._ended.result()

    async def leave(self, *serving: asyncio.Task[TransportError | None]) -> None:
        """Whatever the reason: no task is left behind, and the server is not left waiting. What
        still runs is lost. Harmless when repeated. serving: of the link that there is."""
        shell, self._shell = self._shell, None
        if shell is None:
            return
        for computing in self._computing.values():
            computing.cancel()
        self._rounds.withdraw(time.monotonic())
        try:
            await shell.close()
        finally:  # a shell that has ended, for want of its ledger, says so again
            await asyncio.gather(*serving, *self._computing.values(), return_exceptions=True)
        self._rounds.give_up(time.monotonic())
        self._news()

    def _news(self) -> None:
        for offer in self._rounds.asked():
            if self._most is not None and offer.round > self._most:
                self._rounds.decline(offer, time.monotonic())
                self._wake()
                continue
            computing = asyncio.create_task(self._compute(offer))
            computing.add_done_callback(partial(self._computed, offer))
            self._computing[offer.nonce] = computing
        for outcome in self._rounds.outcomes():
            self.outcomes.append(outcome)
            self._beside.heard(outcome)
            if outcome.why == BUDGET:
                log.warning("round %d goes on without this client: %s", *_why(outcome))
            elif outcome.reason is None and not outcome.included:
                log.warning("round %d has a sum without this client: %s", *_why(outcome))
        if self._enough and not self._ended.done():
            self._ended.set_result(None)
        for nonce in self._computing.keys() - self._rounds.running:
            self._computing.pop(nonce).cancel()

    def _wake(self) -> None:
        if self._shell is not None:
            self._shell.wake()

    @property
    def _enough(self) -> bool:
        most = self._most
        return most is not None and sum(one.round <= most for one in self.outcomes) >= most

    async def _compute(self, offer: Offer) -> None:
        try:
            given = await self._given(offer)
            now = time.monotonic()
            if given is None:
                self._rounds.decline(offer, now)
                return
            self._rounds.contribute(offer, given, now)
            self._unfit = None
            if note := clipping(offer.plan.schema, self._rounds.clipped(offer)):
                log.warning("in round %d, %s", offer.round, note)
        except InputError as bad:
            if self._unfit is not None:
                self._unfit.append(bad)
            log.warning("round %d goes on without this client: %s", offer.round, bad)
            self._rounds.decline(offer, time.monotonic(), AbortReason.BAD_INPUT, str(bad))
        finally:
            self._wake()

    async def _given(self, offer: Offer) -> Given:
        if (
            offer.payload is not None
            or not offer.payload_size
            or (fetch := self._beside.fetch) is None
        ):
            return await self._answer(offer)
        payload = await fetch(offer)
        given = await self._answer(replace(offer, payload=payload))
        return None if given is None else replace(given, payload=payload)

    async def _answer(self, offer: Offer) -> Given:
        given: object
        if inspect.iscoroutinefunction(self._inputs):
            given = self._inputs(offer)
        else:
            given = await self._in_a_thread(offer)
        if inspect.isawaitable(given):
            given = await given
        if given is not None and not isinstance(given, Contribution):
            raise InputError(f"inputs returns a Contribution or None, not {kind_of(given)}")
        return given

    async def _in_a_thread(self, offer: Offer) -> object:
        """A thread cannot be cancelled, and what waits in an executor keeps its offer when the
        round is over: a server that opens and ends rounds would fill this client's memory. So it
        waits here, where its round ends it, and a turn ends with the function itself."""
        await self._threads.acquire()
        loop, inputs = asyncio.get_running_loop(), raises_well(self._inputs)
        running = loop.run_in_executor(None, inputs, offer)
        running.add_done_callback(lambda _: self._threads.release())
        return await asyncio.shield(running)

    def _computed(self, offer: Offer, done: asyncio.Task[None]) -> None:
        """Anything but an InputError is the caller's, and ends its part in all rounds."""
        error = None if done.cancelled() else done.exception()
        if error is not None and not self._ended.done():
            self._rounds.decline(offer, time.monotonic(), AbortReason.BAD_INPUT)
            self._ended.set_exception(error)


def _why(outcome: Outcome) -> tuple[int, str]:
    return outcome.round, outcome.detail or outcome.why
