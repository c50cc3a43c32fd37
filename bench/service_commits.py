"""What it costs a service to have each input on disk before it is said to be there.

A thousand clients send a vector each, over links in memory, to the asyncio shell with a store on
disk; the rounds behind it do nothing but add. `spaced` is what a service does: one row of the sum
and one of 32 bytes for each input, transactions at most every 50 ms. `each`: the same without the
pause. `vectors`: every vector is a row, and none is added, as a server would have to that keeps
what it has received; `none` has no store. over: seconds in which the inputs come, evenly; 0 is all
at once, which no network does. seconds: until the last was acknowledged; store: of these, spent in
transactions, beside which inputs are read; written: bytes that the process gave to the system to
write, into the log and by its checkpoints.

store, written: `vectors` / `spaced`, where inputs come in 2 seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.common import Missing, Ratio, Row, Selection, main, pick
from secagg.drive import spacing
from secagg.drive.shell import Shell
from secagg.effects import Effects, Peer, Post, Write
from secagg.service.timed import Timed
from secagg.store.sqlite import SqliteStore
from secagg.transport import memory

NAME: str = "service-commits"

GRID: list[Row] = [
    {"how": how, "n": 1000, "d": 100_000, "over": over}
    for over in (0, 2)
    for how in ("spaced", "each", "vectors", "none")
]
SPACE = bytes(17)


class _Stored:
    size = 1

    def encode(self) -> bytes:
        return b"s"


class _Adding:
    """Rounds (`secagg.rounds.base.Rounds`) of one sum."""

    def __init__(self, d: int, keeps: bool) -> None:
        self._sum, self._keeps = np.zeros(d, np.uint32), keeps
        self._heard: list[tuple[Peer, bytes]] = []
        self._number = 0

    def received(self, peer: Peer, frame: bytes, now: float) -> None:
        self._heard.append((peer, frame if self._keeps else b""))
        if not self._keeps:
            self._sum += np.frombuffer(frame, np.uint32)

    def take(self) -> Effects:
        heard, self._heard = self._heard, []
        if not heard:
            return Effects()
        rows = []
        for _, frame in heard:
            self._number += 1
            key = SPACE + b"i" + self._number.to_bytes(4)
            rows.append(Write(key, frame if self._keeps else bytes(32)))
        if not self._keeps:
            rows.append(Write(SPACE + b"sum", self._sum.tobytes()))
        return Effects(tuple(rows), posts=tuple(Post(peer, _Stored()) for peer, _ in heard))

    def restore(self, rows: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """There are none."""

    def ready(self, peer: Peer) -> bool:
        return True

    def tick(self, now: float) -> None: ...
    def joined(self, peer: Peer, now: float) -> None: ...
    def left(self, peer: Peer, now: float) -> None: ...
    def flushed(self, peer: Peer, size: int, now: float) -> None: ...
    def finished(self, work: Any, value: Any, now: float) -> None: ...
    def failed(self, work: Any, error: Exception, now: float) -> None: ...
    def refused(self, refusal: Any, now: float) -> None: ...


def rows(selection: Selection) -> Iterator[Row]:
    for case in selection.cases(GRID):
        yield case | _measured(**case)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    spaced, vectors = (pick(rows, how=how, over=2) for how in ("spaced", "vectors"))
    if spaced is None or vectors is None:
        absent = Missing("needs the rows of spaced and of vectors")
        return {"store": absent, "written": absent}
    return {name: vectors[name] / spaced[name] for name in ("store", "written")}


def _measured(how: str, n: int, d: int, over: float) -> Row:
    pause = spacing.PAUSE
    if how in ("each", "vectors"):
        spacing.PAUSE = 0.0
    try:
        with TemporaryDirectory(dir=".") as folder:
            return asyncio.run(_played(Path(folder), how, n, d, over))
    finally:
        spacing.PAUSE = pause


async def _played(folder: Path, how: str, n: int, d: int, over: float) -> Row:
    with SqliteStore.open(folder / "store.db", owner=b"bench", log=64 << 20) as store:
        spent: list[float] = []
        timed = Timed(store, spent.append)
        shell = Shell(_Adding(d, how == "vectors"), store=None if how == "none" else timed)
        vector = np.arange(d, dtype=np.uint32).tobytes()
        links = [memory.pair() for _ in range(n)]
        serving = [
            asyncio.create_task(shell.serve(Peer(f"{i}"), far)) for i, (_, far) in enumerate(links)
        ]
        before, begun = _written(), time.monotonic()

        async def one(number: int, near: Any) -> None:
            await asyncio.sleep(over * number / n)
            await near.send(vector)
            await near.receive()

        await shell.until(asyncio.gather(*(one(i, near) for i, (near, _) in enumerate(links))))
        seconds = time.monotonic() - begun
        written = _written() - before
        await shell.close(0)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
    return {
        "seconds": seconds,
        "store": sum(spent),
        "transactions": len(spent),
        "written": written,
    }


def _written() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))


if __name__ == "__main__":
    main(NAME)
