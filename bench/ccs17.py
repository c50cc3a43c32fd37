"""The table of CCS 2017, on this machine: what do a server and a client compute, drops included?

100,000 entries of 24 bits, 500 and 1000 clients, of whom 0, 10 or 30 % drop after they have shared
their keys: the published figures (Bonawitz et al., CCS 2017, table of running times; Java, one
thread, Xeon E5-1650 v3) beside ours on the complete graph and, at the same sizes, on the graph of
SecAgg+. The server's jobs have two threads. The plans are made for 10 % corrupt and 30 % dropped.
Every row also has what secagg_protocols.secagg.costs predicts from rates measured in the same run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench import rounds
from bench.common import Missing, Ratio, Row, Selection, main
from secagg.fields import FixedPoint
from secagg.plans import choose
from secagg.plans.plan import Plan
from secagg.ring import Ring
from secagg_protocols.secagg.costs import Rates

NAME = "ccs17"

D = 100_000
RING_BITS = 24
GRID = [
    {"protocol": protocol, "n": n, "d": D, "drop": drop}
    for protocol in ("secagg", "secagg+")
    for n in (500, 1000)
    for drop in (0, 0.1, 0.3)
]

PUBLISHED_SERVER_MS = {
    (500, 0): 2_018,
    (500, 0.1): 62_239,
    (500, 0.3): 143_389,
    (1000, 0): 4_887,
    (1000, 0.1): 180_875,
    (1000, 0.3): 413_767,
}
PUBLISHED_CLIENT_MS = {500: 849, 1000: 1_699}


def rows(selection: Selection) -> Iterator[Row]:
    rates: dict[tuple[str, int, int], Rates] = {}
    for case in selection.cases(GRID):
        key = case["protocol"], case["n"], case["d"]
        plan = plan_of(*key)
        if key not in rates:
            rates[key] = rounds.rates_of(plan)
        what = f"{case['protocol']}, n = {case['n']}, {case['drop']:.0%} dropped"
        measured = rounds.measure(plan, what, drop=case["drop"])
        yield (
            case
            | measured
            | _published(case, measured)
            | rounds.predicted(plan, rates[key], measured)
        )


def plan_of(protocol: str, n: int, d: int) -> Plan:
    """The most bits an entry can have in a ring of 24: 15 at n = 500, 14 at n = 1000."""
    fields = {"update": FixedPoint(d, 1.0, _bits(n))}
    return choose.plan(clients=n, fields=fields, corrupt=0.1, dropout=0.3, protocol=protocol)


def _bits(n: int) -> int:
    fitting = (
        b
        for b in range(2, RING_BITS)
        if Ring.holding(n * FixedPoint(1, 1.0, b).levels).width <= RING_BITS
    )
    return max(fitting)


def _published(case: Row, measured: Row) -> Row:
    """None where the paper has no such row. Its one graph is the complete one."""
    at_all = case["d"] == D
    server = PUBLISHED_SERVER_MS.get((case["n"], case["drop"])) if at_all else None
    client = PUBLISHED_CLIENT_MS.get(case["n"]) if at_all else None
    return {
        "published_server_ms": server,
        "published_client_ms": client,
        "server_ratio": server and round(measured["server_ms"] / server, 5),
        "client_ratio": client and round(measured["client_ms"] / client, 5),
    }


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    """Ours / published, the worst row of each graph; prediction: the largest error of a row."""
    return {
        "server": _worst(rows, "secagg", "server_ratio"),
        "client": _worst(rows, "secagg", "client_ratio"),
        "server_secagg_plus": _worst(rows, "secagg+", "server_ratio"),
        "client_secagg_plus": _worst(rows, "secagg+", "client_ratio"),
        "prediction": worst_prediction(rows),
    }


def worst_prediction(rows: Sequence[Row]) -> Ratio:
    errors = [abs(row[f"{side}_error"]) for row in rows for side in ("server", "client")]
    return max(errors) if errors else Missing("needs a row")


def _worst(rows: Sequence[Row], protocol: str, ratio: str) -> Ratio:
    found = [row[ratio] for row in rows if row["protocol"] == protocol and row[ratio] is not None]
    return max(found) if found else Missing(f"needs a published row of {protocol}")


if __name__ == "__main__":
    main(NAME)
