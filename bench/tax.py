"""What does security cost a whole round over real sockets? Ours / the same round in the clear.

Two services run in this process, on loopback WebSockets: one with the plan that `secagg.plan` would
choose (SecAgg+ where it is feasible), one with `plainsum`, with the same field. All clients are
asyncio tasks in `processes` child processes that both services share, and rounds of the two take
turns. A round is what `Service.run_round` takes: from the announcement to the mean, quantising,
packing and loopback on both sides included. No training is counted: inputs lie ready. Nobody drops.

All clients share this machine's cores, so the work of n clients is in the ratio, where in the field
each would do its own at the same time: `loopback` is the worst case, and a bound on CPU more than
on time. `shaped` holds every client's uplink to `rate` bits a second with a token bucket
(secagg.transport.shaped), as a home connection does.

loopback, shaped: seconds of the secure round / of the plain one, each the best of REPEATS.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bench import fleet
from bench.common import ROOT, Missing, Ratio, Row, Selection, main, pick
from secagg.drive import aio
from secagg.errors import IntegrityError
from secagg.fields import FixedPoint
from secagg.plans import choose
from secagg.plans.plan import Plan

NAME = "tax"

BITS = 16
REPEATS = 4
DEADLINE = 600.0
CASES = {
    "loopback": {"n": 50, "d": 1_000_000, "rate": 0},
    "shaped": {"n": 10, "d": 1_000_000, "rate": 10_000_000},
}
"""rate: bits a second of each uplink, 0 for what loopback gives."""


def rows(selection: Selection) -> Iterator[Row]:
    grid = [{"case": name, **case, "processes": 2} for name, case in CASES.items()]
    for case in selection.cases(grid):
        yield asyncio.run(_row(**case))


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    return {name: _ratio(name, pick(rows, case=name)) for name in CASES}


def _ratio(name: str, row: Row | None) -> Ratio:
    if row is None:
        return Missing(f"needs the row case={name}")
    return float(row["seconds"] / row["plain_seconds"])


@dataclass
class _Side:
    """One service, its plan, and what its rounds took."""

    plan: Plan
    service: aio.Service
    seconds: list[float] = field(default_factory=list)
    max_abs_error: float = 0.0

    async def round(self, mean: npt.NDArray[np.float64]) -> None:
        started = time.perf_counter()
        total = await self.service.run_round(self.plan, deadlines=DEADLINE)
        self.seconds.append(time.perf_counter() - started)
        error = float(np.abs(total.mean["update"] - mean).max())
        if len(total.contributors) != self.plan.threat.clients or error > self.plan.max_error:
            raise IntegrityError(
                f"{self.plan.protocol}: the mean of {len(total.contributors)} clients is off by "
                f"{error:.3g}: no figure counts"
            )
        self.max_abs_error = max(self.max_abs_error, error)


async def _row(case: str, n: int, d: int, rate: float, processes: int) -> Row:
    mean = np.zeros(d)
    for member in range(n):
        mean += fleet.values(member, d) / n
    async with AsyncExitStack() as stack:
        secure, plain = [await _side(stack, n, d, name) for name in (None, "plainsum")]
        await stack.enter_async_context(_fleets([secure, plain], n, d, rate, processes))
        for _ in range(1 + REPEATS):
            for side in (plain, secure):
                await side.round(mean)
    # the first round of each loads kernels in every process
    ours, theirs = min(secure.seconds[1:]), min(plain.seconds[1:])
    report = secure.service.report
    return {
        "case": case,
        "n": n,
        "d": d,
        "rate": rate,
        "processes": processes,
        "protocol": secure.plan.protocol,
        "degree": secure.plan.degree,
        "threshold": secure.plan.threshold,
        "seconds": ours,
        "plain_seconds": theirs,
        "ratio": ours / theirs,
        "all_seconds": secure.seconds[1:],
        "all_plain_seconds": plain.seconds[1:],
        "phases": dict(report.phases) if report else {},
        "bytes_up": secure.plan.upload_bytes,
        "plain_bytes_up": plain.plan.upload_bytes,
        "max_abs_error": secure.max_abs_error,
    }


async def _side(stack: AsyncExitStack, n: int, d: int, protocol: str | None) -> _Side:
    fields = {"update": FixedPoint(d, fleet.CLIP, BITS)}
    plan = choose.plan(clients=n, fields=fields, protocol=protocol)
    limit = aio.message_limit(plan)
    return _Side(plan, await stack.enter_async_context(aio.serve(max_size=limit)))


@asynccontextmanager
async def _fleets(
    sides: Sequence[_Side], n: int, d: int, rate: float, processes: int
) -> AsyncIterator[None]:
    """Child processes with all clients, connected; they end when the services close their links."""
    services = [
        {"url": f"ws://127.0.0.1:{side.service.port}", "plan": side.plan.encode().hex()}
        for side in sides
    ]
    path = os.pathsep.join([str(ROOT), str(ROOT / "protocols")])
    children = []
    try:
        for i in range(processes):
            task = {"members": list(range(n))[i::processes], "d": d, "services": services}
            command = [
                sys.executable,
                "-m",
                "bench.fleet",
                json.dumps(task | {"rate": rate or None}),
            ]
            children.append(subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}))
        for side in sides:
            await side.service.ready(n, timeout=DEADLINE)
        yield
        for side in sides:
            await side.service.close()
        for child in children:
            await asyncio.to_thread(child.wait, 60)
    finally:
        for child in children:
            child.kill()
            child.wait()


if __name__ == "__main__":
    main(NAME)
