"""One simulated round as a row: what it took, and what the cost model says it should take."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from bench.calibration import calibrate
from bench.common import Row, progress
from secagg import sim
from secagg.cli.simulate import generated, warm_up
from secagg.plans.plan import Plan
from secagg_protocols.secagg.costs import Rates, predict

THREADS = 2
"""For the server's jobs. Clients compute one after the other, on one."""

SEED = 0


def measure(plan: Plan, what: str, *, drop: float, phase: str = "masked-input") -> Row:
    """A round of which round(drop n) clients leave at `phase`.

    server_ms: wall milliseconds of the server's calls and jobs; server_cpu_ms: CPU, of all its
    threads. client_ms: CPU of a client that stayed, on average; it has one thread and never
    waits. seconds: all clients and the server together, one after the other; wall_seconds: with
    the making of inputs and the check of the sum. exact: bit for bit.
    """
    warm_up(plan)
    drops = [sim.drop_at(phase, str(drop))]
    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as executor, progress(what) as tell, _uncollected():
        done = sim.run(
            plan, generated(plan, SEED), drop=drops, seed=SEED, progress=tell, executor=executor
        )
    wall = time.perf_counter() - started
    return {
        "degree": plan.degree,
        "threshold": plan.threshold,
        "ring_bits": plan.ring_bits,
        "contributors": len(done.aggregate.contributors),
        "exact": done.exact,
        "server_ms": _ms(sum(done.server_phases.values())),
        "server_cpu_ms": _ms(done.server_seconds),
        "client_ms": _ms(done.client_seconds),
        "server_phases_ms": _all_ms(done.server_phases),
        "client_phases_ms": _all_ms(done.client_phases),
        "seconds": round(sum(done.phases.values()), 3),
        "wall_seconds": round(wall, 3),
        "bytes_up": done.bytes_up,
        "bytes_down": done.bytes_down,
        "server_state_bytes": done.server_state_bytes,
        "peak_rss": done.peak_rss,
    }


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the cyclic collector: it would walk over the objects of all clients whenever one
    party, the server more often than not, has made many. Reference counts free what a round
    drops."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def rates_of(plan: Plan) -> Rates:
    warm_up(plan)
    return calibrate(plan, THREADS)


def predicted(plan: Plan, rates: Rates, row: Row) -> Row:
    """Columns for a row whose clients left at masked-input; errors are predicted / measured - 1."""
    dropped = plan.threat.clients - row["contributors"]
    cost = predict(plan.params, plan.layout, rates, dropped=dropped)
    client, server = _ms(cost.client_seconds), _ms(cost.server_seconds)
    return {
        "predicted_server_ms": server,
        "predicted_client_ms": client,
        "predicted_server_phases_ms": _all_ms(cost.server),
        "predicted_client_phases_ms": _all_ms(cost.client),
        "server_error": round(server / row["server_ms"] - 1, 3),
        "client_error": round(client / row["client_ms"] - 1, 3),
    }


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)


def _all_ms(by_phase: Mapping[str, float]) -> dict[str, float]:
    return {phase: _ms(seconds) for phase, seconds in by_phase.items()}
