"""Three times as many clients as a service has links for: how soon do the others know it, and what
does it cost those who are served?

The service takes `n` links, and `times` as many are enrolled. First exactly `n` clients are there,
and have round after round for `seconds`; then, at a new service, all come at once, each of which
tries again as `secagg join --service` does, for the same time. `goodput` is the results with the
crowd / without; what those who are refused compute is on the same processors. A refusal's seconds
are from the beginning of a connection to the error that its client hears.

refused: the 99th percentile / the bar; goodput: the bar / ours, so that 1 is met by both.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from bench.common import Missing, Ratio, Row, Selection, main, pick, progress
from bench.service_fleet import fleet
from bench.service_ground import ENROLLED, Tasked, ground, loop_name
from bench.service_oracle import check_all
from bench.service_storm import quantile

NAME = "service-over"

REFUSED, GOODPUT = 1.0, 0.8
FULL = {"n": 100, "times": 3}
GRID = [FULL | {"d": 10_000, "seconds": 40}]
LONGEST = 300.0


def rows(selection: Selection) -> Iterator[Row]:
    for case in selection.cases(GRID):
        yield case | _row(**case)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    full = pick(rows, **FULL)
    if full is None:
        absent = Missing("needs the row " + ",".join(f"{k}={v}" for k, v in FULL.items()))
        return {"refused": absent, "goodput": absent}
    return {"refused": full["refused_p99"] / REFUSED, "goodput": GOODPUT / full["goodput"]}


def _row(n: int, times: int, d: int, seconds: float) -> Row:
    alone = _side(n, times, n, d, seconds)
    crowded = _side(n, times, n * times, d, seconds)
    return {
        "enrolled": ENROLLED,
        "loop": loop_name(),
        "results_alone": alone["results"],
        "results": crowded["results"],
        "goodput": crowded["results"] / max(1, alone["results"]),
        **{name: value for name, value in crowded.items() if name != "results"},
    }


def _side(n: int, times: int, come: int, d: int, seconds: float) -> Row:
    """One service, for so many seconds from its first result on. As many are enrolled on both
    sides, since the corrupt are counted among all of them, and a round costs what that takes; so
    many of them come."""
    task = Tasked("over", range(n * times), n, max(d, n * times + 1))
    with (
        ground(task, limits={"links": str(n)}) as place,
        progress(f"{come} for {n}") as tell,
    ):
        server = place.start()
        with fleet(place, task, rounds=100_000, timeout=10 * seconds) as clients:
            clients.start(range(come))
            clients.wait(LONGEST, lambda: any(place.results.iterdir()), "a first result")
            begun, before = time.monotonic(), len(list(place.results.iterdir()))
            cpu = server.cpu
            while (done := time.monotonic() - begun) < seconds:
                tell("seconds", int(done), int(seconds))
                time.sleep(0.2)
            found = len(list(place.results.iterdir())) - before
            every = clients.of("refused")
            refused = [one.more["seconds"] for one in every]
            said = sum("503" in one.more["text"] for one in every)
            row: Row = {
                "results": found,
                "refusals": len(refused),
                "refused_by_503": said,
                "served_members": len({one.member for one in clients.of("outcome")}),
                "server_cpu_share": (server.cpu - cpu) / seconds,
                "server_peak": server.peak,
            }
        row["exact_rounds"] = check_all(task, place.results.iterdir())
    if refused:
        row |= {
            "refused_median": quantile(refused, 0.5),
            "refused_p99": quantile(refused, 0.99),
            "refused_last": max(refused),
        }
    return row


if __name__ == "__main__":
    main(NAME)
