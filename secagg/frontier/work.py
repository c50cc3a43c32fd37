"""Trainings beside each other, a process each: one alone would leave the other cores idle."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process

from secagg.frontier.grid import Cell
from secagg.frontier.training import Row, Told, train


def rows_of(cells: Sequence[Cell], jobs: int, told: Told) -> Iterator[Row]:
    """Each row when it is done. jobs: processes; with 1 it is this one, and `told` hears of rounds.

    Whatever ends this early, trainings that have not begun are not begun.
    """
    if jobs == 1 or len(cells) <= 1:
        yield from (train(cell, told) for cell in cells)
        return
    # not forked: numpy's and numba's threads do not survive that
    pool = ProcessPoolExecutor(
        min(jobs, len(cells)), mp_context=get_context("spawn"), initializer=_led
    )
    try:
        for done in as_completed([pool.submit(train, cell) for cell in cells]):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """That this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _led() -> None:
    """Ctrl-C is for the parent, which then ends its workers: theirs would be tracebacks. Where that
    is killed they end as well, and not after hours of a training that nobody waits for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)
