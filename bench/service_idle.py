"""Thousands of clients that are there and wait, and then a round over some of them.

All of them have greeted over TLS. Most are of a task that waits for one more than there are, so
that nobody asks them; the others are of a task whose round begins when the last of them comes,
which is after the memory of the server was read. `server_rss` is what is resident then,
`server_peak` the most until the end of the round, and a link's bytes are what the server has beyond
its size before the first came, by links.

memory: of the row of 5,000, what is resident when all have greeted / the bar.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from bench.common import Missing, Ratio, Row, Selection, main, pick, progress
from bench.service_fleet import fleet
from bench.service_ground import ENROLLED, Tasked, ground, loop_name, until
from bench.service_oracle import check

NAME = "service-idle"

BYTES = 500 << 20
FULL = {"links": 5000, "n": 500}
GRID = [FULL | {"d": 10_000, "rate": 50}]
"""rate: links that come in a second: of all at once most are cut, as strangers, and come again."""
LONGEST = 900.0


def rows(selection: Selection) -> Iterator[Row]:
    for case in selection.cases(GRID):
        yield case | _row(**case)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    full = pick(rows, **FULL)
    if full is None:
        return {"memory": Missing("needs the row " + ",".join(f"{k}={v}" for k, v in FULL.items()))}
    return {"memory": full["server_rss"] / BYTES}


def _row(links: int, n: int, d: int, rate: float) -> Row:
    waiting = Tasked("waiting", range(n, links + 1), links - n + 1, 2 * links)
    task = Tasked("asked", range(n), n, d)
    with ground(waiting, task) as place, progress(f"{links} links") as tell:
        server = place.start()
        empty = server.rss
        with (
            fleet(place, waiting, timeout=600.0) as idle,
            fleet(place, task, processes=1) as asked,
        ):
            begun = time.monotonic()
            *early, last = task.members
            asked.start(early, over=n / rate)
            idle.start(range(n, links), over=links / rate)

            def greeted() -> bool:
                found = idle.count("greeted") + asked.count("greeted")
                tell("greeted", found, links - 1)
                return found >= links - 1

            until(greeted, LONGEST, "greetings")
            row: Row = {
                "enrolled": ENROLLED,
                "loop": loop_name(),
                "greeted_seconds": time.monotonic() - begun,
                "server_empty": empty,
                "server_rss": server.rss,
                "link_bytes": (server.rss - empty) // (links - 1),
                "descriptors": server.descriptors,
            }
            begun = time.monotonic()
            asked.start([last])
            until(lambda: any(place.results.iterdir()), LONGEST, "a round")
            row["round_seconds"] = time.monotonic() - begun
            row |= {"server_peak": server.peak, "server_cpu": server.cpu, "phases": place.phases()}
            row["lost_links"] = links - n - place.ask()["tasks"]["waiting"]["candidates"]
        (result,) = place.results.iterdir()
        row["contributors"] = len(check(task, result))
        return row


if __name__ == "__main__":
    main(NAME)
