"""A thousand rounds while clients come and go: what does a service keep of them?

Of `members` who are enrolled as many as a round needs, and two more, are there at any moment; every
few rounds one of them is replaced by another, in the middle of whatever it is in. Results and lines
of the audit are kept for a minute, as the sweep takes away what is older, so that what the store
has is bounded and its file can be flat; its write-ahead log comes and goes with each checkpoint and
is told apart (`wal_most`), and so is the copy of the audit, which only grows, by design. After each
hundredth of the rounds the server is looked at. A straight line is fitted through
what was seen after the first `warm` rounds, in which caches fill and the first minute goes by.

rss, descriptors, file: what the line rises by over all rounds / what there was at its beginning,
against 5 % (an absolute megabyte, or two descriptors, are no rise): 1 is the bar.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bench.common import Missing, Ratio, Row, Selection, main, pick, progress
from bench.service_fleet import fleet
from bench.service_ground import ENROLLED, Tasked, ground, loop_name
from bench.service_oracle import check
from secagg.errors import LinkTimeout
from secagg.service.serving import COPY
from secagg.store.database import log_of

NAME = "service-soak"

RISE = 0.05
FULL = {"rounds": 1000}
GRID = [FULL | {"warm": 300, "n": 8, "members": 24, "d": 1000, "churn": 5}]
"""churn: rounds after which somebody is replaced."""
SLACK = {"rss": 1 << 20, "descriptors": 2, "file": 1 << 20}
RETENTION = '[retention]\nresults = "60s"\naudit = "60s"\n'
LONGEST = 3600.0


def rows(selection: Selection) -> Iterator[Row]:
    for case in selection.cases(GRID):
        yield case | _row(**case)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    full = pick(rows, **FULL)
    if full is None:
        return {name: Missing("needs the row rounds=1000") for name in SLACK}
    return {name: _flat(full, name) for name in SLACK}


def _flat(row: Row, name: str) -> float:
    rise = max(0.0, row[f"{name}_rise"])
    return 0.0 if rise <= SLACK[name] else rise / row[f"{name}_begin"] / RISE


def _row(rounds: int, warm: int, n: int, members: int, d: int, churn: int) -> Row:
    deadlines = 'deadlines = { default = "5s" }'
    more = {"least": n - 2, "dropout": 0.25, "corrupt": 0.04, "spare": 0.25, "more": (deadlines,)}
    task = Tasked("soak", range(members), n, d, **more)  # type: ignore[arg-type]
    seen: list[tuple[int, ...]] = []
    with ground(task, more=RETENTION) as place, progress("rounds") as tell:
        server = place.start()
        copy = place.store.with_name(COPY)
        lot, begun = np.random.default_rng(1), time.monotonic()
        with fleet(place, task, rounds=1_000_000, processes=1, timeout=LONGEST) as clients:
            there, away = list(range(n + 2)), list(range(n + 2, members))
            clients.start(there)
            done = exact = replaced = most = 0
            while done < rounds:
                for one in place.results.glob("*.npz"):
                    check(task, one)
                    one.unlink()
                    exact, done = exact + 1, done + 1
                    if done % max(1, rounds // 100) == 0:
                        size = place.store.stat().st_size
                        seen.append((done, server.rss, server.descriptors, size))
                        most = max(most, log_of(place.store).stat().st_size)
                tell("rounds", done, rounds)
                if done // churn > replaced:
                    replaced += 1
                    gone = there.pop(int(lot.integers(len(there))))
                    clients.stop([gone])
                    there.append(away.pop(0))
                    away.append(gone)
                    clients.start(there[-1:])
                if place.ask()["tasks"]["soak"]["held"]:
                    place.ask(do="resume", name="soak")
                if time.monotonic() - begun > LONGEST:
                    raise LinkTimeout(f"{done} rounds in {LONGEST:g} seconds")
                time.sleep(0.1)
            row: Row = {
                "enrolled": ENROLLED,
                "loop": loop_name(),
                "seconds": time.monotonic() - begun,
                "exact": exact,
                "failed": _failed(place.numbers("secagg_rounds_total")),
                "replaced": replaced,
                "server_cpu": server.cpu,
                "copy_bytes_a_round": copy.stat().st_size / done,
                "wal_most": most,
                "log_bytes": place.log.stat().st_size,
            }
    points = np.array([one for one in seen if one[0] > warm] or seen[-2:], np.float64)
    for column, name in enumerate(SLACK, start=1):
        slope, begin = np.polyfit(points[:, 0], points[:, column], 1) if len(points) > 1 else (0, 0)
        row[f"{name}_a_round"] = float(slope)
        row[f"{name}_begin"] = float(begin + slope * points[0, 0])
        row[f"{name}_rise"] = float(slope * rounds)
        row[f"{name}_last"] = int(points[-1, column])
    return row


def _failed(numbers: Mapping[str, float]) -> int:
    """Rounds without a sum, of the service's own count."""
    return int(sum(value for what, value in numbers.items() if 'outcome="done"' not in what))


if __name__ == "__main__":
    main(NAME)
