"""One round of SecAgg by whatever `secagg` the path has: the process that `bench.round` asks.

Nothing but that package and numpy is imported here, and of it only what an old commit has too. It
first says in a line of JSON whose source it runs. Then a request is a line on standard input,
{n, k, t, d, bits, dropped, rounding}, and the answer one on standard output, CPU seconds by party
and phase. The sum is compared with the same sum in plain integers, every time: a round that is not
exact ends the process.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg import records
from secagg.fields import FixedPoint
from secagg.mask import add_streams
from secagg.types import SERVER, PartyId, system_randomness
from secagg_protocols.secagg.client import SecAggClient
from secagg_protocols.secagg.params import SecAggParams
from secagg_protocols.secagg.server import SecAggServer

try:
    from secagg.protocol import Session
    from secagg.schema import Schema
except ModuleNotFoundError:  # they stood elsewhere in the commit that is measured against
    from secagg.fields import Schema  # type: ignore[attr-defined, no-redef]
    from secagg.sansio import Session  # type: ignore[attr-defined, no-redef]

CLIP = 1.0
FIELD = "update"
LOST = "masked-input"

Seconds = dict[str, float]


class Round:
    """The machines of one session, every call of theirs timed; everything else is not."""

    def __init__(
        self, *, n: int, k: int, t: int, d: int, bits: int, dropped: int, rounding: Any
    ) -> None:
        self.schema = Schema.of({FIELD: FixedPoint(d, CLIP, bits, rounding)}, n)
        fewest = max(t, 3)
        params = SecAggParams(n, k, t, fewest, fewest)
        session = Session(bytes(16), bytes(32), bytes(32), params, self.schema.layout)
        self.task = session.payload_digest
        self.seconds: dict[str, Seconds] = {"server": {}, "client": {}}
        self.server = SecAggServer("secagg", session, params, expander=add_streams)
        drivers: Any = {"randomness": system_randomness, "expander": add_streams}
        self.clients = {
            me: SecAggClient("secagg", session, params, me, **drivers)
            for me in map(PartyId, range(n))
        }
        self.lost = {PartyId(i * n // dropped) for i in range(dropped)}

    def run(self) -> npt.NDArray[np.int64]:
        """The signed sums."""
        server = self.server
        self._timed("server", server.start)
        for client in self.clients.values():
            self._timed("client", client.start)
        while not server.done:
            self._upload()
            jobs = self._timed("server", server.jobs)
            for job in jobs:
                self._timed("server", server.finish, job, self._timed("server", job))
            if not jobs and not server.done:
                self._timed("server", server.close_phase)
            self._download()
        levels: npt.NDArray[np.int64] = self._timed("server", self._levels)
        return levels

    def _upload(self) -> None:
        """A client's input is made when it is due, and only then."""
        masking = self.server.phase == LOST
        for party in sorted(self.lost & self.clients.keys()) if masking else []:
            del self.clients[party]
            self._timed("server", self.server.lost, party)
        for party, client in self.clients.items():
            if masking:
                values = drawn(party, self.schema.slots[0].length)
                self._timed("client", self._contribute, client, values)
            for message in self._timed("client", client.outgoing):
                self._timed("server", self.server.receive, party, message.data)
            self._timed("client", client.acknowledged)

    def _contribute(self, client: SecAggClient, values: npt.NDArray[np.float32]) -> None:
        encoded = records.encode(self.schema, {FIELD: values}, 1, system_randomness)
        client.set_input(encoded.vector, self.task)

    def _download(self) -> None:
        for message in self._timed("server", self.server.outgoing):
            if message.to in self.clients:
                client = self.clients[message.to]
                self._timed("client", client.receive, SERVER, message.data)

    def _levels(self) -> npt.NDArray[np.int64]:
        total = self.server.result()
        contributors = len(total.contributors)
        records.check_counts(self.schema, total.vector, contributors)
        return records.decode(self.schema, total.vector, contributors).levels[FIELD]

    def _timed(self, whose: str, work: Callable[..., Any], *given: Any) -> Any:
        """What a message makes a party do belongs to the server's phase before it does it."""
        phase, started = self.server.phase, time.thread_time()
        done = work(*given)
        seconds = self.seconds[whose]
        seconds[phase] = seconds.get(phase, 0.0) + time.thread_time() - started
        return done


def drawn(party: int, d: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng([0, party]).uniform(-CLIP, CLIP, d).astype(np.float32)


@cache
def bounds(
    parties: tuple[int, ...], d: int, bits: int, rounding: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Between which every sum lies, in plain numpy and without secagg: of rounding to nearest it
    is one number, of stochastic rounding any between the floors' and the ceilings'."""
    step = CLIP / ((1 << (bits - 1)) - 1)
    down, up = (np.rint, np.rint) if rounding == "nearest" else (np.floor, np.ceil)
    low, high = np.zeros(d, np.int64), np.zeros(d, np.int64)
    for party in parties:
        y = drawn(party, d).astype(np.float64) / step
        low += down(y).astype(np.int64)
        high += up(y).astype(np.int64)
    return low, high


def answer(request: dict[str, Any]) -> dict[str, Any]:
    gc.collect()
    gc.disable()  # it would walk over the objects of all clients, whoever makes one too many
    one = Round(**request)
    levels = one.run()
    gc.enable()
    stayed = tuple(sorted(one.clients))
    low, high = bounds(stayed, request["d"], request["bits"], request["rounding"])
    wrong = np.count_nonzero((levels < low) | (levels > high))
    if wrong:
        raise SystemExit(f"{wrong} of {request['d']} elements are not the plain sum")
    return {"stayed": len(stayed), **one.seconds}


def main(lines: Iterator[str]) -> None:
    print(json.dumps({"source": records.__file__}), flush=True)
    for line in lines:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main(iter(sys.stdin.readline, ""))
