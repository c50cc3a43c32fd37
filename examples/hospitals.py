"""Eight hospitals, one table: statistics of 569 patients that no hospital hands over.

    python examples/hospitals.py                 # one server, which sees masked vectors
    python examples/hospitals.py --drop 1        # and a hospital that vanishes before its upload
    python examples/hospitals.py --servers 3     # three servers, which see shares

Every number in the table is compared with numpy's on the pooled data; the exit code is 1 unless
each lies within its printed bound, and unless all counts of fewer than ten patients are suppressed.
The data is scikit-learn's copy of the breast cancer data of
W. H. Wolberg (`pip install secagg[demo]`).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_breast_cancer

import secagg
from secagg import analytics
from secagg.committee import Keys
from secagg.drive import pump
from secagg.mask import add_streams
from secagg.plans.explain import at_most
from secagg.sansio import ServerMachine
from secagg.types import COLLECTOR, PartyId
from secagg.wire.frame import NONCE_SIZE, payload_digest

HOSPITALS = 8

# What a doctor would write down before seeing a patient: ranges must not come from the data.
RANGES = {
    "radius": (0, 40),
    "texture": (0, 50),
    "perimeter": (0, 250),
    "area": (0, 3000),
    "smoothness": (0, 0.25),
    "compactness": (0, 0.5),
    "concavity": (0, 0.6),
    "concave points": (0, 0.3),
    "symmetry": (0, 0.5),
    "fractal dimension": (0, 0.15),
}

# Counted columns are others than those of the moments: a query with a minimum tells each once.
EDGES = (0.0, 15.0, 20.0, 25.0, 30.0, 35.0, float("inf"))
DENTED = 0.15
"""Of the worst concave points."""

QUERY = analytics.Query(
    {
        "moments": analytics.Moments(RANGES, ddof=1),
        "worst texture": analytics.Histogram(edges=EDGES),
        "dented": analytics.Share(),
    },
    by="diagnosis",
    groups=("malignant", "benign"),
    rows=250,
    min_group=10,
)

TINY = 1e-300

Rows = dict[str, Any]
Floats = npt.NDArray[np.float64]


def main() -> int:
    options = _options()
    hospitals = split(load(), options.seed)
    plan = secagg.plan(clients=HOSPITALS, fields=QUERY.fields, servers=options.servers)
    print(f"{HOSPITALS} hospitals of {[len(h['area']) for h in hospitals.values()]} patients")
    print(f"{plan.protocol}: {plan.upload_bytes} bytes up from each\n")

    answers = {i: QUERY.encode(rows) for i, rows in hospitals.items()}  # each on its own machine
    [phase] = [phase.name for phase in plan.phases if phase.takes_input]
    gone = secagg.drop_at(phase, count=options.drop)
    total = secagg.simulate(plan, answers, drop=gone, seed=options.seed, payload=QUERY.payload)
    table = QUERY.table(total)
    print(table, "\n")

    here = [hospitals[i] for i in sorted(total.contributors)]
    pooled = {name: np.concatenate([rows[name] for rows in here]) for name in here[0]}
    right = compare(table, pooled)
    if options.servers > 1:
        right &= views_are_noise(plan, answers)
    return 0 if right else 1


def load() -> Rows:
    data = load_breast_cancer()
    rows: Rows = {name: data.data[:, i] for i, name in enumerate(RANGES)}
    rows["worst texture"], rows["dented"] = data.data[:, 21], data.data[:, 27] > DENTED
    rows["diagnosis"] = data.target_names[data.target]
    return rows


def split(rows: Rows, seed: int) -> dict[int, Rows]:
    """Hospitals of uneven sizes, every patient in one of them."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(rows["area"]))
    sizes = np.cumsum(generator.dirichlet(np.full(HOSPITALS, 3.0)))[:-1] * len(order)
    parts = np.split(order, sizes.astype(int))
    return {
        i: {name: column[part] for name, column in rows.items()} for i, part in enumerate(parts)
    }


def compare(table: analytics.Table, pooled: Rows) -> bool:
    """Prints, for each statistic, the cell that comes closest to its bound."""
    print(f"{'group':<10} {'statistic':<12} {'shown':>5}  {'error':>9}  {'bound':>9}")
    right = True
    for group, line in [*table.groups.items(), ("all", table.total)]:
        if line is None:
            return False  # the query asks for a total
        of_group = slice(None) if group == "all" else pooled["diagnosis"] == group
        rows = {name: column[of_group] for name, column in pooled.items()}
        right &= line.rows == len(rows["area"])
        right &= small_are_suppressed(line.results, rows)
        for statistic, value, bound, true in _cells(line.results, rows):
            if not value.size:
                print(f"{group:<10} {statistic:<12} {'none':>5}")
                continue
            error = np.abs(value - true)
            worst = int(np.argmax(error / np.maximum(bound, TINY)))
            within = bool((error <= bound).all())
            right &= within
            print(
                f"{group:<10} {statistic:<12} {error.size:>5}  {error[worst]:9.1e}  "
                f"{at_most(bound[worst], 2):>9}{'' if within else '  BEYOND ITS BOUND'}"
            )
    return right


def small_are_suppressed(results: Mapping[str, Any], rows: Rows) -> bool:
    """Bins of few patients, and shares where few are in or few are out."""
    bins = np.histogram(rows["worst texture"], EDGES)[0]
    few = min(rows["dented"].sum(), (~rows["dented"]).sum()) < QUERY.min_group
    small = results["worst texture"].value[bins < QUERY.min_group]
    return not (np.isfinite(small).any() or (few and results["dented"].value is not None))


def _cells(results: Mapping[str, Any], rows: Rows) -> Iterator[tuple[str, Floats, Floats, Floats]]:
    """(statistic, values, bounds, numpy of the pooled rows) of one dimension, of what is shown."""
    moments, texture, dented = (results[name] for name in ("moments", "worst texture", "dented"))
    matrix = np.column_stack([rows[name] for name in RANGES])
    for statistic, got, true in (
        ("mean", moments.mean, matrix.mean(axis=0)),
        ("covariance", moments.covariance, np.cov(matrix.T)),
        ("correlation", moments.correlation, np.corrcoef(matrix.T)),
        ("histogram", texture, np.histogram(rows["worst texture"], EDGES)[0]),
        ("share", dented, rows["dented"].mean()),
    ):
        value, bound, truth = (np.ravel(np.asarray(a, float)) for a in (got.value, got.error, true))
        keep = np.ones(value.size, bool)
        if statistic in ("histogram", "share"):
            keep = np.isfinite(value)
        elif statistic == "correlation":
            # numpy's diagonal is 1 only up to rounding, which is not ours to bound
            keep = ~np.eye(len(RANGES), dtype=bool).ravel()
        yield statistic, value[keep], bound[keep], truth[keep]


def views_are_noise(plan: secagg.Plan, answers: Mapping[int, Mapping[str, Any]]) -> bool:
    """One more round, to look into every server: what it has added up is uniform noise.

    Only together do the servers' sums mean anything: added modulo each ring they are the total.
    """
    keys, nonce, task = Keys(plan.params.servers, os.urandom), os.urandom(NONCE_SIZE), _task()
    session = plan.session(nonce, task, keys.committee)
    servers = plan.info.family.machines(session, keys, expander=add_streams)
    clients = {
        PartyId(i): secagg.Client(
            plan, PartyId(i), nonce=nonce, payload_digest=task, committee=keys.committee
        )
        for i in answers
    }
    pump.start(servers)
    for party, client in clients.items():
        client.start()
        client.set_input(answers[party], payload_digest=task)
        for message in client.outgoing():
            pump.deliver(servers, party, message)
    pump.settle(servers)
    # before the servers agree on the set: then each seals its sum for the collector, and forgets it
    views = [_stored_sum(one, plan) for party, one in servers.items() if party != COLLECTOR]
    while not pump.over(servers):
        pump.advance(servers)
        pump.settle(servers)
    total = pump.total(servers, clients).vector
    print(f"\n{'view of':<10} {'ones among its bits':>20}")
    noise = [_looks_like_noise(f"server {i}", view, plan) for i, view in enumerate(views)]
    together = plan.layout.reduce(tuple(sum(lanes) for lanes in zip(*views, strict=True)))
    _looks_like_noise("together", together, plan)
    same = all(np.array_equal(a, b) for a, b in zip(together, total, strict=True))
    return all(noise) and same


def _task() -> bytes:
    return payload_digest(QUERY.payload)


def _stored_sum(member: ServerMachine, plan: secagg.Plan) -> list[Any]:
    """What this server writes to its disk: its share of the sum, lane by lane."""
    [stored] = [w.value for w in member.writes() if w.key.startswith(b"s") and w.value]
    lanes, at = [], 4  # after how many reports it sums
    for segment in plan.layout.segments:
        dtype = segment.group.dtype.newbyteorder("<")
        lane = np.frombuffer(stored, dtype, segment.length, at)
        lanes.append(segment.group.reduce(lane))
        at += lane.nbytes
    return lanes


def _looks_like_noise(name: str, lanes: list[Any], plan: secagg.Plan) -> bool:
    """Half of all bits are ones, within five standard deviations."""
    ones = sum(int(np.bitwise_count(lane).sum()) for lane in lanes)
    bits = sum(segment.length * segment.group.width for segment in plan.layout.segments)
    away = abs(ones - bits / 2) / np.sqrt(bits / 4)
    print(f"{name:<10} {ones / bits:>19.1%}  {away:.1f} standard deviations from a half")
    return bool(away < 5)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="private statistics of eight hospitals")
    parser.add_argument("--servers", type=int, default=1, help="how many hold shares (1: masks)")
    parser.add_argument("--drop", type=int, default=0, help="hospitals that never upload")
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
