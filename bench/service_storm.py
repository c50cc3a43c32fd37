"""A server dies under its clients, and is there again a few seconds later: when are they?

A thousand clients have greeted and wait for one more when the server is killed (SIGKILL); `down`
seconds later it is started again, with the same store and port. Nobody tells the clients. Each
tries again after waits that it draws for itself (`secagg.service.attending.Jitter`), and is back
when the new process has greeted it. `p99` counts from the kill, so it has the time down and the
server's start in it. Then the last one comes, and there is a round of all of them.

p99: of the row of a thousand, ours / the bar.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from bench.common import Missing, Ratio, Row, Selection, main, pick, progress
from bench.service_fleet import fleet
from bench.service_ground import ENROLLED, Tasked, ground, loop_name, until
from bench.service_oracle import check

NAME = "service-storm"

SECONDS = 25.0
FULL = {"n": 1000, "down": 3}
GRID = [FULL | {"d": 2000}]
LONGEST = 600.0


def rows(selection: Selection) -> Iterator[Row]:
    for case in selection.cases(GRID):
        yield case | _row(**case)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    full = pick(rows, **FULL)
    if full is None:
        return {"p99": Missing("needs the row " + ",".join(f"{k}={v}" for k, v in FULL.items()))}
    return {"p99": full["p99"] / SECONDS}


def quantile(values: Sequence[float], part: float) -> float:
    """The smallest that so many of them are not above."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def _row(n: int, down: float, d: int) -> Row:
    task = Tasked("storm", range(n + 1), n + 1, max(d, n + 2))
    with ground(task) as place, progress(f"n={n}") as tell:
        place.start()
        with fleet(place, task, timeout=300.0) as clients:
            clients.start(range(n), over=n / 100)
            clients.wait(LONGEST, lambda: clients.count("greeted") >= n, "greetings")
            place.stop_at_once()
            killed = time.monotonic()
            time.sleep(down)
            server = place.start()
            started = time.monotonic() - killed

            def back() -> dict[int, float]:
                found: dict[int, float] = {}
                for one in clients.of("greeted"):
                    if one.at > killed:
                        found.setdefault(one.member, one.at - killed)
                tell("back", len(found), n)
                return found

            clients.wait(LONGEST, lambda: len(back()) >= n, "their return")
            times = list(back().values())
            tries = sum(one.at > killed for one in clients.of("refused"))
            clients.start([n])
            until(lambda: any(place.results.iterdir()), LONGEST, "a round after it")
            row: Row = {
                "enrolled": ENROLLED,
                "loop": loop_name(),
                "started": started,
                "median": quantile(times, 0.5),
                "p99": quantile(times, 0.99),
                "last": max(times),
                "tries": tries / n,
                "server_cpu": server.cpu,
                "server_peak": server.peak,
            }
        (result,) = place.results.iterdir()
        row["contributors"] = len(check(task, result))
        return row


if __name__ == "__main__":
    main(NAME)
