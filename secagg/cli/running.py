"""What `serve` and `join` share: how they are stopped, and what both report."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Mapping

import typer

from secagg.cli.output import notice
from secagg.fields import Field, FixedPoint, Integer, Vector
from secagg.party import Aggregate
from secagg.plans.plan import Plan
from secagg.schema import CLIPPED

STOPPED = 128 + signal.SIGTERM
"""The exit code after SIGTERM or SIGINT: everything was closed in order, but not done."""
FAILED_ROUND = 1
"""The exit code when a round ended without a sum; errors of usage and of the network have 2."""
LEFT_OUT = 3
"""The exit code of a client without which there is a sum."""

UNKNOWN: Mapping[str, object] = {
    "exact": None,
    "client_seconds": None,
    "server_seconds": None,
    "server_state_bytes": None,
}
"""Keys of `simulate` that one side of a real round cannot know stay null: nobody here sees all the
inputs, each side sees its own processor only, and what a machine holds is not told from the rest
of a service's memory."""


def clip_notice(plan: Plan) -> str:
    """What becomes of a value that is too large, for an operator who cannot see one."""
    which = ", ".join(filter(None, (_bound(name, field) for name, field in plan.schema.fields)))
    lane = plan.schema.counts_clipped or plan.privacy is not None  # of which that is kept
    told = "" if lane else "; only with --clipped does the plan tell how many"
    return f"clients clip what they have for {which}{told}"


def _bound(name: str, field: Field) -> str:
    match field:
        case FixedPoint():
            return f"{name!r} beyond ±{field.clip!r}"
        case Vector():
            return f"{name!r} longer than {field.norm!r}"
        case Integer():
            return ""  # refused, and never clipped


def revealed(total: Aggregate | None) -> int | None:
    """How many elements were clipped, where the plan has a lane that says so."""
    if total is None or CLIPPED not in total.sum:
        return None
    return int(total.sum[CLIPPED][0])


def leave(stopped: bool, failed: bool, left_out: bool = False) -> None:
    """Ends the command with the exit code of what happened."""
    if stopped or failed or left_out:
        raise typer.Exit(STOPPED if stopped else FAILED_ROUND if failed else LEFT_OUT)


def run_until_stopped(work: Coroutine[None, None, None]) -> bool:
    """Runs `work` in a loop of its own; whether SIGTERM or SIGINT ended it early.

    A signal cancels the work, so that links close in order and peers hear of it. On Windows, whose
    loop takes no handlers, Ctrl-C does the same through asyncio.run, and SIGTERM ends the process.
    """
    try:
        stopped = asyncio.run(_stoppable(work))
    except KeyboardInterrupt:
        stopped = True
    if stopped:
        notice("stopped by a signal before it was done")
    return stopped


async def _stoppable(work: Coroutine[None, None, None]) -> bool:
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # not every platform's loop can
            loop.add_signal_handler(number, task.cancel)
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
    return task.cancelled()
