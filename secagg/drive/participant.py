"""The client's side of asyncio: takes part in the rounds that a server announces on one link."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from secagg import party
from secagg.arguments import integer
from secagg.drive.clock import FLUSH_TIMEOUT, PhaseClock, RoundReport
from secagg.errors import (
    InputError,
    LinkClosed,
    ParameterError,
    PolicyRefused,
    RemoteProtocolError,
    TransportError,
)
from secagg.plans.plan import Plan
from secagg.records import clipping
from secagg.transport.base import DEFAULT_MAX_SIZE, MAX_SIZE, Link
from secagg.types import SERVER, AbortReason, PartyId, Randomness, system_randomness
from secagg.wire.frame import (
    Announce,
    DigestOnly,
    Frame,
    Message,
    Over,
    decode_frame,
    payload_digest,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a round asks of this client, before anything of it is revealed.

    round: counts from 1 on this link. plan: decoded strictly and checked. payload: the task, or
    None where only its digest was announced. deadlines: seconds of each phase.
    """

    round: int
    party: PartyId
    plan: Plan
    payload: bytes | None = field(repr=False)
    payload_digest: bytes
    deadlines: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Contribution:
    """A client's answer to an offer.

    fields: name -> array, as the plan's fields have it. payload: the task as this client fetched
    it, where the offer brought only its digest: the digest is computed over what was really used.
    """

    fields: Mapping[str, Any] = field(repr=False)
    weight: int = field(default=1, repr=False)
    payload: bytes | None = field(default=None, repr=False)


Inputs: TypeAlias = Callable[[Offer], Contribution | Awaitable[Contribution]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a round ended for this client.

    reason: None when the server has its sum. contributors, dropped: as the server says, 0 where it
    said nothing. detail: why this client left, where it did. clipped: by field, how many elements
    of this client's input lay beyond the plan's clip; it stays on this side, but for its sum in a
    plan with the lane `clipped`.
    """

    round: int
    party: PartyId
    reason: AbortReason | None
    contributors: int
    dropped: int
    report: RoundReport
    detail: str = ""
    clipped: Mapping[str, int] = field(default_factory=dict)


async def participate(
    link: Link,
    inputs: Inputs,
    *,
    plan: Plan | None = None,
    plan_digest: bytes | None = None,
    max_size: int = DEFAULT_MAX_SIZE,
    randomness: Randomness = system_randomness,
) -> tuple[Outcome, ...]:
    """Takes part in every round that the server announces, until the link is gone.

    inputs: Offer -> Contribution; a coroutine function, or a plain one, which runs in a thread. It
    may take as long as the deadlines let it: the earlier phases go on meanwhile. plan, plan_digest:
    what the caller agreed to; any other announced plan is refused, and without either any plan is
    accepted that its own rules allow, save one that protects nobody.

    A server that breaks the protocol ends its round (PEER_FAULT), not the link. Elements that were
    clipped are in the Outcome, and logged as one warning a round. Raises
    PolicyRefused for a plan that is not the pinned one, WireError and RemoteProtocolError for
    announcements that are none, InputError for a contribution that does not fit its plan, and
    whatever `inputs` raises: each time after telling the server that this client is out, and for
    the last two that its own input is the reason.
    """
    pinned = _pinned(plan, plan_digest)
    max_size = integer("max_size", max_size, 1, MAX_SIZE)
    participant = _Participant(link, inputs, pinned, max_size, randomness)
    try:
        await participant.run()
    except LinkClosed:
        participant.end(AbortReason.LOST, detail="the link is gone")
    finally:
        await participant.leave()
    return tuple(participant.outcomes)


class _Participant:
    """One client on one link: reads frames, runs the machine of the round, awaits its input.

    One task makes every call into the machine. It waits for the link and for the input at once.
    """

    def __init__(
        self,
        link: Link,
        inputs: Inputs,
        pinned: bytes | None,
        max_size: int,
        randomness: Randomness,
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._link = link
        self._inputs = inputs
        self._pinned = pinned
        self._max_size = max_size
        self._randomness = randomness
        self._nonces: set[bytes] = set()
        self._round: _ClientRound | None = None
        self._receiving: asyncio.Task[bytes] | None = None

    async def run(self) -> None:
        while True:
            receiving = self._receiving or asyncio.create_task(self._link.receive())
            self._receiving = receiving
            running = self._round
            waiting = {receiving} if running is None else running.waiting | {receiving}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if running is not None and running.computing.done() and running.waiting:
                await running.contribute()
            if receiving.done():
                self._receiving = None
                await self._frame(decode_frame(receiving.result(), limit=self._max_size))

    def end(
        self, reason: AbortReason | None, contributors: int = 0, dropped: int = 0, detail: str = ""
    ) -> None:
        """Notes how the running round ended, if there is one."""
        if self._round is not None:
            offer, report = self._round.offer, self._round.finish()
            clipped, self._round = self._round.clipped, None
            told = (reason, contributors, dropped, report, detail, clipped)
            self.outcomes.append(Outcome(offer.round, offer.party, *told))

    async def leave(self) -> None:
        """Whatever the reason: no task is left behind, and the server is not left waiting."""
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.gather(self._receiving, return_exceptions=True)
        if self._round is not None:
            self._round.computing.cancel()
            await self._round.withdraw()

    async def _frame(self, frame: Frame) -> None:
        if isinstance(frame, Announce):
            await self._announced(frame)
        elif self._round is None or frame.nonce != self._round.nonce:
            return  # of a round that this client has left
        elif isinstance(frame, Over):
            self.end(frame.reason, frame.contributors, frame.dropped)
        else:
            try:
                await self._round.receive(frame.data)
            except RemoteProtocolError as fault:
                self.end(AbortReason.PEER_FAULT, detail=str(fault))

    async def _announced(self, frame: Announce) -> None:
        if frame.nonce in self._nonces:
            raise RemoteProtocolError("the server announced one round nonce twice")
        self.end(AbortReason.LOST, detail="the server announced another round")
        self._nonces.add(frame.nonce)
        offer = _offer(frame, len(self._nonces), self._pinned)
        self._round = _ClientRound(self._link, offer, frame.nonce, self._inputs, self._randomness)
        await self._round.start()


class _ClientRound:
    """One client machine, and the task that computes its input."""

    def __init__(
        self, link: Link, offer: Offer, nonce: bytes, inputs: Inputs, randomness: Randomness
    ) -> None:
        self.offer = offer
        self.nonce = nonce
        self._link = link
        self._machine = party.Client(
            offer.plan,
            offer.party,
            nonce=nonce,
            payload_digest=offer.payload_digest,
            randomness=randomness,
        )
        self._clock = PhaseClock()
        self._bytes_up = self._bytes_down = 0
        self._leaving = AbortReason.CANCELLED
        """What to tell the server if this client leaves now: never a value, nor which one."""
        self.computing = asyncio.create_task(_compute(inputs, offer))
        self.waiting: set[asyncio.Task[Any]] = {self.computing}
        """The input, until it was taken from its task."""

    async def start(self) -> None:
        await self._call(self._machine.start)

    async def receive(self, data: bytes) -> None:
        self._bytes_down += len(data)
        await self._call(self._machine.receive, SERVER, data)

    async def contribute(self) -> None:
        self.waiting.clear()
        self._leaving = AbortReason.BAD_INPUT  # until the input is taken
        given = self.computing.result()
        if self._machine.done:
            return  # aborted meanwhile: the input is not needed any more
        digest = self.offer.payload_digest
        if self.offer.payload is None:
            digest = payload_digest(_fetched(given))
        try:
            self._machine.set_input(given.fields, weight=given.weight, payload_digest=digest)
        finally:
            await self._drain()
        self._leaving = AbortReason.CANCELLED
        if note := clipping(self.offer.plan.schema, self.clipped):
            log.warning("in round %d, %s", self.offer.round, note)

    @property
    def clipped(self) -> Mapping[str, int]:
        return dict(self._machine.clipped)

    def finish(self) -> RoundReport:
        self.computing.cancel()
        return RoundReport(self._clock.stop(), self._bytes_up, self._bytes_down)

    async def withdraw(self) -> None:
        """Tells the server, if it still listens; for at most FLUSH_TIMEOUT seconds."""
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT):
                await self._call(self._machine.abort, self._leaving)
        except (TransportError, TimeoutError):
            return  # then it finds out by itself

    async def _call(self, call: Callable[..., None], *args: object) -> None:
        try:
            call(*args)
        finally:
            await self._drain()

    async def _drain(self) -> None:
        self._machine.events()
        self._clock.enter("" if self._machine.done else self._machine.phase)
        for out in self._machine.outgoing():
            self._bytes_up += len(out.data)
            await self._link.send(Message(self.nonce, out.data).encode())


def _pinned(plan: Plan | None, plan_digest: bytes | None) -> bytes | None:
    if plan is None:
        return plan_digest
    if plan_digest is not None and plan_digest != plan.digest():
        raise ParameterError("plan and plan_digest are not of the same plan: give one of them")
    return plan.digest()


def _offer(frame: Announce, number: int, pinned: bytes | None) -> Offer:
    """The announcement, judged: the plan against the pin, then against its own rules."""
    plan = Plan.decode(frame.plan, allow_unprotected=pinned is not None)
    if pinned is not None and plan.digest() != pinned:
        raise PolicyRefused(
            f"the server announced the plan {plan.digest().hex()}, and pinned is {pinned.hex()}: "
            "ask its operator which plan is meant"
        )
    phases = plan.info.phases
    if frame.party >= plan.threat.clients or len(frame.deadlines) != len(phases):
        raise RemoteProtocolError(
            f"the plan has {plan.threat.clients} clients and {len(phases)} phases; announced were "
            f"party {frame.party} and {len(frame.deadlines)} deadlines"
        )
    return Offer(
        round=number,
        party=frame.party,
        plan=plan,
        payload=None if isinstance(frame.payload, DigestOnly) else frame.payload,
        payload_digest=frame.payload_digest,
        deadlines={p: ms / 1000 for p, ms in zip(phases, frame.deadlines, strict=True)},
    )


async def _compute(inputs: Inputs, offer: Offer) -> Contribution:
    given: object
    if inspect.iscoroutinefunction(inputs):
        given = inputs(offer)
    else:
        given = await asyncio.get_running_loop().run_in_executor(None, inputs, offer)
    if inspect.isawaitable(given):
        given = await given
    if not isinstance(given, Contribution):
        raise InputError(f"inputs returns a Contribution, not {type(given).__name__}")
    return given


def _fetched(given: Contribution) -> bytes:
    if given.payload is None:
        raise InputError("only the task's digest was announced: give the Contribution its payload")
    return given.payload
