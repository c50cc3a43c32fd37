"""Rounds over a network that loses, delays, repeats and changes what goes through it.

Between the clients and the service is a proxy (`bench.service_proxy`) that does one kind of harm,
at random, to pieces of what every connection carries, both ways. Rounds go on until `rounds` of
them are over, with a sum or without. Every sum must be the exact one of its contributors; a round
without a sum must have a reason in the service's audit that is one of the closed list, and what its
clients were told is counted by its name. Where five failures in a row pause the task, as they
should, the operator of this benchmark resumes it.

violations: of the oracle, over all rows, and rounds that ended without a named reason; 0 or it
raises. done: the fraction of rounds that ended with a sum, which has no bar.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from bench.common import Missing, Ratio, Row, Selection, main, progress
from bench.service_fleet import fleet
from bench.service_ground import ENROLLED, Ground, Tasked, ground, loop_name
from bench.service_oracle import check_all
from bench.service_proxy import KINDS, proxy
from secagg.errors import IntegrityError, LinkTimeout
from secagg.service import audit
from secagg.service.audit import Deed
from secagg.service.metrics import OUTCOMES
from secagg.service.serving import COPY

NAME = "service-chaos"

RATES = {"delay": 0.2, "slice": 0.2, "drop": 0.01, "cut": 0.01, "duplicate": 0.01, "corrupt": 0.01}
GRID = [{"kind": kind, "rate": RATES[kind], "n": 8, "d": 5000, "rounds": 50} for kind in KINDS]
NAMED = OUTCOMES - {"failed"}
LONGEST = 900.0


def rows(selection: Selection) -> Iterator[Row]:
    for case in selection.cases(GRID):
        yield case | _row(**case)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    found: dict[str, Ratio] = {"violations": float(sum(row["violations"] for row in rows))}
    for kind in KINDS:
        own = [row for row in rows if row["kind"] == kind]
        part = sum(row["done"] for row in own) / max(1, sum(row["ended"] for row in own))
        found[f"done_{kind}"] = part if own else Missing(f"needs the row kind={kind}")
    return found


def _row(kind: str, rate: float, n: int, d: int, rounds: int) -> Row:
    deadlines = 'deadlines = { default = "3s" }'
    task = Tasked("chaos", range(n), n, d, least=n - 2, dropout=0.25, more=(deadlines,))
    with ground(task) as place, progress(kind) as tell, proxy(kind, place.port, rate) as between:
        place.start()
        begun, resumed = time.monotonic(), 0
        with fleet(
            place, task, rounds=100_000, processes=1, port=between.port, timeout=LONGEST
        ) as clients:
            clients.start(task.members)
            while (ends := _ends(place)).total() < rounds:
                tell("rounds", ends.total(), rounds)
                if place.ask()["tasks"]["chaos"]["held"]:
                    place.ask(do="resume", name="chaos")
                    resumed += 1
                if time.monotonic() - begun > LONGEST:
                    raise LinkTimeout(f"{ends.total()} rounds under {kind} in {LONGEST:g} seconds")
                time.sleep(0.2)
            told = Counter(
                one.more["reason"] or ("included" if one.more["included"] else one.more["why"])
                for one in clients.of("outcome")
            )
        unnamed = sum(number for name, number in ends.items() if name not in NAMED)
        if unnamed:
            raise IntegrityError(f"{unnamed} rounds ended for no reason that is known: {ends}")
        return {
            "enrolled": ENROLLED,
            "loop": loop_name(),
            "seconds": time.monotonic() - begun,
            "faults": between.faults,
            "connections": between.connections,
            "ended": ends.total(),
            "done": ends["done"],
            "ends": dict(ends),
            "told": dict(told),
            "resumed": resumed,
            "exact": check_all(task, place.results.iterdir()),
            "violations": unnamed,
        }


def _ends(place: Ground) -> Counter[str]:
    """How rounds ended, as the audit has it."""
    path = place.store.with_name(COPY)
    lines = audit.read(path.read_text()) if path.is_file() else []
    return Counter(str(line.what["outcome"]) for line in lines if line.deed is Deed.ENDED)


if __name__ == "__main__":
    main(NAME)
