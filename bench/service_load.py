"""One large round over TLS: a thousand clients, of which a tenth vanish after share-keys.

The server is a process of its own (`bench.service_ground`), the clients are real ones in two more
(`bench.service_fleet`), and all of them share this machine. `seconds` is everything from the moment
at which the first client may connect: TLS, greetings, the asking, all work of all clients, and the
service's result on disk. The result is compared with the exact sum before a figure is given.

seconds, memory: of the row of a thousand, ours / the bar.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from bench.common import Missing, Ratio, Row, Selection, main, pick, progress
from bench.service_fleet import fleet
from bench.service_ground import ENROLLED, Tasked, ground, loop_name, until
from bench.service_oracle import check
from secagg.errors import LinkTimeout

NAME = "service-load"

SECONDS, BYTES = 60.0, 700 << 20
"""The bars for the full size."""
FULL = {"n": 1000, "d": 100_000}
GRID = [FULL | {"drop": 0.1, "processes": 2, "deadline": 25, "rate": 100}]
"""rate: clients that come in a second. deadline: seconds for the inputs, which a server waits out,
as who has vanished may come back."""
LONGEST = 900.0


def rows(selection: Selection) -> Iterator[Row]:
    for case in selection.cases(GRID):
        yield case | _row(**case)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    full = pick(rows, **FULL)
    if full is None:
        absent = Missing("needs the row " + ",".join(f"{k}={v}" for k, v in FULL.items()))
        return {"seconds": absent, "memory": absent}
    return {"seconds": full["seconds"] / SECONDS, "memory": full["server_peak"] / BYTES}


def _row(n: int, d: int, drop: float, processes: int, deadline: float, rate: float) -> Row:
    dropped = round(drop * n)
    deadlines = f'deadlines = {{ default = "10m", masked-input = "{deadline}s" }}'
    task = Tasked("load", range(n), n, d, dropout=drop, more=(deadlines,))
    leaving = list(task.members)[:: n // dropped][:dropped] if dropped else []
    gone = set(leaving)
    with ground(task) as place, progress(f"n={n} d={d}") as tell:
        server = place.start()
        with fleet(place, task, processes=processes, leaving=leaving, timeout=LONGEST) as clients:
            before, fleet_before, begun = server.cpu, clients.cpu(), time.monotonic()
            clients.start(task.members, over=n / rate)

            def done() -> bool:
                tell("greeted", clients.count("greeted"), n)
                tell("ended", clients.count("gone"), n)
                ends = [one for one in clients.of("outcome") if one.member not in gone]
                if any(one.more["reason"] for one in ends) or clients.count("error"):
                    raise LinkTimeout(f"there is no sum: {ends[:1] or clients.of('error')[:1]}")
                return any(place.results.iterdir())

            until(done, LONGEST, "a round")
            seconds = time.monotonic() - begun
            clients.wait(LONGEST, lambda: clients.count("gone") == n, "its clients' ends")
            greeted = [one.at - begun for one in clients.of("greeted")]
            row: Row = {
                "dropped": dropped,
                "enrolled": ENROLLED,
                "loop": loop_name(),
                "seconds": seconds,
                "greeted_seconds": max(greeted),
                "all_told_seconds": time.monotonic() - begun,
                "server_cpu": server.cpu - before,
                "client_cpu": clients.cpu() - fleet_before,
                "server_peak": server.peak,
                "phases": place.phases(),
            }
        (result,) = place.results.iterdir()
        members = check(task, result)
        row["contributors"], row["exact"] = len(members), not gone & {*members}
        return row


if __name__ == "__main__":
    main(NAME)
