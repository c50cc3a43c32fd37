"""What does a client upload, against plain float32, Flower, and the published formulas?

upload_bytes is the plan's exact figure for a whole round without drops; `measured` says what the
clients of a simulated round did upload, for vectors short enough to run in a moment, and the two
must agree. A neighbour's bytes are all that is not the vector, over the degree: what a client would
save with one neighbour fewer, and its share of the fixed headers.

upload    ours / the model of CCS 2017 at the same n, d and bits, worst row. The model is of the
          complete graph; it has no headers, no digests, and no room for a sign or a count.
neighbour ours / 324 bytes, the figure of a public implementation, worst row.
float32   ours / 4 bytes an element, worst row.  flower: ours / its masked upload, worst row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import numpy as np

from bench import rivals
from bench.common import Missing, Ratio, Row, Selection, main
from secagg import sim
from secagg.fields import FixedPoint
from secagg.plans import choose
from secagg.plans.plan import Plan
from secagg_protocols.secagg.params import ccs17_expansion

NAME = "wire"

NEIGHBOUR_BYTES = 324
SHORT = 1_000
"""Elements of the round that is simulated to see that the plan's figure is what is sent."""

GRID = [
    {"n": n, "d": d, "bits": bits, "protocol": protocol}
    for protocol in ("secagg", "secagg+")
    for n, d, bits in ((100, 100_000, 16), (100, 1_000_000, 16), (1000, 1_000_000, 16))
] + [
    # the sizes of the published expansion figures, 1.73x, 3.62x and 1.98x
    {"n": n, "d": d, "bits": 16, "protocol": "secagg"}
    for n, d in ((1 << 10, 1 << 20), (1 << 14, 1 << 20), (1 << 14, 1 << 24))
]


def rows(selection: Selection) -> Iterator[Row]:
    for case in selection.cases(GRID):
        yield _row(**case)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    flower = [r["upload_bytes"] / r["flower_bytes"] for r in rows if r["flower_bytes"]]
    reason = next((r["flower_reason"] for r in rows if "flower_reason" in r), "no row")
    return {
        "upload": max(r["expansion"] / r["ccs17_expansion"] for r in rows),
        "neighbour": max(r["neighbour_bytes"] for r in rows) / NEIGHBOUR_BYTES,
        "float32": max(r["upload_bytes"] / r["float32_bytes"] for r in rows),
        "flower": max(flower) if flower else Missing(reason),
    }


def _row(n: int, d: int, bits: int, protocol: str) -> Row:
    plan = _plan(n, d, bits, protocol)
    per_element, reason = _flower()
    row: Row = {
        "n": n,
        "d": d,
        "bits": bits,
        "protocol": protocol,
        "degree": plan.degree,
        "ring_bits": plan.ring_bits,
        "upload_bytes": plan.upload_bytes,
        "measured": _measured(_plan(n, SHORT, bits, protocol)) if n <= 200 else None,
        "element_bytes": plan.layout.packed_size / d,
        "neighbour_bytes": (plan.upload_bytes - plan.layout.packed_size) / plan.degree,
        "expansion": plan.expansion,
        "ccs17_expansion": ccs17_expansion(n, d, bits),
        "float32_bytes": 4 * d,
        "flower_bytes": None if per_element is None else per_element * d,
    }
    return row | ({} if per_element is not None else {"flower_reason": reason})


def _plan(n: int, d: int, bits: int, protocol: str) -> Plan:
    return choose.plan(clients=n, fields={"update": FixedPoint(d, 1.0, bits)}, protocol=protocol)


def _measured(plan: Plan) -> Row:
    """Sent by a client of a simulated round, and what the plan says of it."""
    done = sim.run(plan, lambda me: {"update": np.zeros(SHORT)})
    return {"d": SHORT, "sent": done.bytes_up, "planned": plan.upload_bytes}


@cache
def _flower() -> tuple[float | None, str]:
    """Bytes up for one more parameter, by Flower's own serialisation: two rounds' difference."""
    short, long = (rivals.flower("round", n=4, k=3, t=3, d=d, dropped=0) for d in (10_000, 110_000))
    if short.figures is None or long.figures is None:
        return None, short.reason or long.reason
    return (long.figures["bytes_up"] - short.figures["bytes_up"]) / 100_000, ""


if __name__ == "__main__":
    main(NAME)
