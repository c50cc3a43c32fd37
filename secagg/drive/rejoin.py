"""A client that comes back: one link after the other, until the server ends one in order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from secagg import records
from secagg.drive.aio import connect
from secagg.drive.participant import Participant
from secagg.errors import LinkClosed, TransportError
from secagg.plans.plan import Plan
from secagg.rounds.offer import Contribution, Outcome
from secagg.transport.base import DEFAULT_MAX_SIZE
from secagg.transport.opening import Attempts
from secagg.types import system_randomness


async def stay(
    url: str,
    participant: Participant,
    *,
    timeout: float,
    max_size: int = DEFAULT_MAX_SIZE,
    told: Callable[[str], None] = lambda text: None,
) -> tuple[Outcome, ...]:
    """Over as many links as it takes. timeout: seconds that the server may be away, at the
    beginning or in between. told: hears of every link and every loss, and not of each attempt.

    Raises as `connect` and `participate` do. A server that does not come back is an error only
    where no round has ended; what has is in `participant.outcomes`, whatever is raised.
    """
    attempts, away = Attempts(timeout, time.monotonic()), False
    while True:
        try:
            async with connect(url, max_size=max_size) as link:
                told(f"connected to {url}: waiting for a round")
                attempts.opened(time.monotonic())
                away = False
                outcomes = await participant.over(link)
            if not participant.lost:
                return outcomes
            raise LinkClosed("the server is lost")
        except TransportError as error:
            if isinstance(error, LinkClosed) and error.too_large:
                raise
            delay = attempts.failed(time.monotonic())
            if delay is None:
                if participant.outcomes:
                    return tuple(participant.outcomes)
                raise
            if not away:
                told(f"{error}: trying again for {timeout:g} seconds")
            away = True
        await asyncio.sleep(delay)


def try_input(plan: Plan, given: Contribution) -> None:
    """What does not fit a plan that is known beforehand meets no server: InputError, RangeError."""
    records.encode(plan.schema, given.fields, given.weight, system_randomness, plan.structure)
