"""One round as an app of Flower makes it, through one grid: with SecAgg(FedAvg) and secagg_mod,
with Flower's SecAgg+, and with plain FedAvg. `secagg bench peer --plugin`; needs secagg[flower].

A row is one side: `secagg` is the adapter, `flower` is SecAggPlusWorkflow and secaggplus_mod in
the older API, which is where Flower has them, `plain` is FedAvg without either. bench/grid.py is
the grid: all parties in one process, one after the other, every message serialised by Flower's own
`message_to_proto` and read again by who receives it.

The same on all sides: n nodes; a model of d float32 zeros, which travels to each node; the models
that nodes answer with, uniform in ±clip, so that a difference to the model and the model itself are
one thing; and the round(drop * n) nodes that answer everything before the message that trains, and
nothing from then on. On both secure sides: k neighbours and the threshold t, those of our plan
(corrupt 0.1, dropout 0.2), which Flower gets as num_shares = k + 1 and reconstruction_threshold =
t; clip; 2^bits levels of a value. All weights are max_weight, for Flower 1000 of 1000: its error
grows as the weight falls, and ours does not.

Counted alike, as CPU of the whole process: all that the ServerApp does, from the first node sampled
to the new model, the inner strategy's averaging included (FedAvg averages as many copies of
Flower's mean as there are nodes, and one reply of ours); and all that a ClientApp does with a
message, reading and writing what it keeps between two included, for ours the ledger on disk with
its syncs. Not counted on any side: training, here drawing the values and packing them as Flower
wants them; and carrying messages, which is `transport_cpu`. `seconds` is the wall time of what
`cpu` counts, all parties one after the other. Bytes are those of serialised messages, of all
exchanges, the model's 4 d bytes down included; means over the nodes that stayed.

What differs: Flower rounds stochastically and we to the nearest level; Flower's masks come from a
generator of 32 bits of seed, ours from AES-256; Flower sends num_examples in the clear.

max_abs_error: of the new model against the exact mean of those whose answers arrived; a side that
is beyond `error_bound` ends the benchmark. survives: by stage, whether the round ends in the sum of
those whose inputs arrived when one node is silent from that stage on, tried with vectors of
TRIED elements at most; `lost` says why not.

cpu: Flower's CPU seconds / ours, worst case. bytes: ours / Flower's, up and down; upload: up only,
as the model that goes down is the same on all sides. bytes_16, upload_16: of the grid of 16 bits,
our default; Flower sends integers of 64 bits whatever the grid is. plain_cpu and plain_bytes: ours
/ plain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bench.common import Missing, Ratio, Row, Selection
from secagg.errors import IntegrityError, MissingExtra, ParameterError
from secagg.integrations.model import Entries
from secagg.integrations.terms import Terms

NAME: str = "peer-plugin"
"""Of its result. It is no name of a benchmark, but what `peer --plugin` is."""

REPEATS = 5
TRIED = 1000
SEED = 0
STAGES = {
    "secagg": ("advertise-keys", "share-keys", "masked-input", "unmask"),
    "flower": ("setup", "share_keys", "collect_masked_vectors", "unmask"),
    "plain": ("train",),
}
"""The exchanges of each side."""
TRAINING = {"secagg": 2, "flower": 2, "plain": 0}
"""Which of them brings the inputs."""
CASE: dict[str, Any] = {
    "n": 20,
    "d": 1_000_000,
    "bits": 22,
    "clip": 8.0,
    "max_weight": 1,
    "drop": 0.1,
}
BITS = (22, 16)
"""Of the grid of values: Flower's default, and ours. Both sides have the same one in a row."""
SIZES = tuple(CASE)

Values = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Case:
    """What all sides are given. k, t: neighbours without oneself, and the threshold. error: what
    our plan promises of the mean."""

    n: int
    d: int
    bits: int
    clip: float
    max_weight: int
    drop: float
    k: int = 0
    t: int = 0
    error: float = 0.0

    @property
    def dropped(self) -> int:
        return round(self.drop * self.n)

    def values(self, place: int) -> Values:
        """What the node in this place answers."""
        draw = np.random.default_rng([SEED, place])
        return draw.uniform(-self.clip, self.clip, self.d).astype(np.float32)

    def terms(self) -> Terms:
        return Terms(self.clip, self.bits, self.max_weight)


@dataclass(frozen=True, slots=True)
class Played:
    """One round. model: the new one; None where there was no sum, and then why. heard: the places
    whose inputs arrived. cpu, wall: seconds by (who, stage), who being "server", "transport" or a
    place; up, down: bytes by place."""

    model: npt.NDArray[Any] | None
    why: str
    heard: frozenset[int]
    cpu: Mapping[tuple[str | int, int], float]
    wall: Mapping[tuple[str | int, int], float]
    up: Mapping[int, int]
    down: Mapping[int, int]

    def seconds(self, of: Mapping[tuple[str | int, int], float], *who: str | int) -> float:
        return sum(spent for (account, _), spent in of.items() if account in who)


class Play(Protocol):
    """bench.grid.play: silent has, by place, the exchange from which a node is silent."""

    def __call__(self, side: str, case: Case, silent: Mapping[int, int], /) -> Played: ...


def rows(selection: Selection) -> Iterator[Row]:
    play = _play()
    grid = [CASE | {"bits": bits, "side": side} for bits in BITS for side in STAGES]
    asked: dict[Case, list[str]] = {}
    for wanted in selection.cases(grid):
        side = str(wanted.pop("side"))
        if side not in STAGES:
            raise ParameterError(f"a side is {', '.join(STAGES)}, not {side}")
        asked.setdefault(Case(**wanted), []).append(side)
    for case, sides in asked.items():
        yield from _rows(play, _planned(case), sides)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    def worst(rival: str, figure: Any, pick: Any, bits: int | None = None) -> Ratio:
        pairs = [pair for pair in _pairs(rows, rival) if bits in (None, pair[0]["bits"])]
        found = [figure(mine, its) for mine, its in pairs]
        of = "" if bits is None else f" of {bits} bits"
        return pick(found) if found else Missing(f"no case{of} has rows of both secagg and {rival}")

    ours = BITS[1]
    return {
        "cpu": worst("flower", lambda mine, its: its["cpu"] / mine["cpu"], min),
        "bytes": worst("flower", lambda mine, its: _bytes(mine) / _bytes(its), max),
        "upload": worst("flower", lambda mine, its: mine["bytes_up"] / its["bytes_up"], max),
        f"bytes_{ours}": worst("flower", lambda mine, its: _bytes(mine) / _bytes(its), max, ours),
        f"upload_{ours}": worst(
            "flower", lambda mine, its: mine["bytes_up"] / its["bytes_up"], max, ours
        ),
        "plain_cpu": worst("plain", lambda mine, its: mine["cpu"] / its["cpu"], max),
        "plain_bytes": worst("plain", lambda mine, its: _bytes(mine) / _bytes(its), max),
    }


def _pairs(rows: Sequence[Row], rival: str) -> Iterator[tuple[Row, Row]]:
    """Ours and its, of one case each."""
    for mine in rows:
        for its in rows:
            same = all(mine[name] == its[name] for name in SIZES)
            if same and (mine["side"], its["side"]) == ("secagg", rival):
                yield mine, its


def _bytes(row: Row) -> float:
    return float(row["bytes_up"] + row["bytes_down"])


def _play() -> Play:
    try:
        version("flwr")
    except PackageNotFoundError:
        raise MissingExtra("bench peer --plugin needs flwr: pip install 'secagg[flower]'") from None
    play: Play = import_module("bench.grid").play
    return play


def _planned(case: Case) -> Case:
    """With k and t of our plan: n - 1 or an even k, which Flower's ring wants too."""
    model = Entries({"w": np.zeros(case.d, np.float32)})
    plan = case.terms().plan(case.n, model, {})
    params: Any = plan.params
    return replace(case, k=params.degree, t=params.threshold, error=plan.max_error)


def _rows(play: Play, case: Case, sides: Sequence[str]) -> Iterator[Row]:
    for side in sides:
        play(side, replace(case, d=1), {})  # loads what is loaded once
    gone = {side: dict.fromkeys(range(case.dropped), TRAINING[side]) for side in sides}
    played: dict[str, list[Played]] = {side: [] for side in sides}
    for _ in range(REPEATS):
        for side in sides:
            played[side].append(play(side, case, gone[side]))
    for side in sides:
        yield _row(play, case, side, played[side])


def _row(play: Play, case: Case, side: str, played: Sequence[Played]) -> Row:
    stayed = range(case.dropped, case.n)
    everybody = ("server", *range(case.n))
    for fault in filter(None, (_fault(case, side, one) for one in played)):
        raise IntegrityError(f"{side}: {fault}: no figure counts")
    best = min(played, key=lambda one: one.seconds(one.cpu, *everybody))
    secure = side != "plain"
    return {
        **{name: getattr(case, name) for name in SIZES},
        "side": side,
        **({"k": case.k, "t": case.t} if secure else {"k": None, "t": None}),
        "dropped": case.dropped,
        "seconds": min(one.seconds(one.wall, *everybody) for one in played),
        "cpu": best.seconds(best.cpu, *everybody),
        "server_cpu": best.seconds(best.cpu, "server"),
        "client_cpu": best.seconds(best.cpu, *stayed) / len(stayed),
        "transport_cpu": best.seconds(best.cpu, "transport"),
        "bytes_up": sum(best.up[place] for place in stayed) / len(stayed),
        "bytes_down": sum(best.down[place] for place in stayed) / len(stayed),
        "max_abs_error": max(_error(case, one) for one in played),
        "error_bound": _bound(case, side),
        "stages": {
            name: sum(s for (who, at), s in best.wall.items() if at == i and who != "transport")
            for i, name in enumerate(STAGES[side])
        },
        **_survives(play, replace(case, d=min(case.d, TRIED)), side),
    }


def _fault(case: Case, side: str, played: Played) -> str:
    """Why the round did not end in the sum of those whose inputs arrived; "" where it did."""
    if played.model is None:
        return f"no sum: {played.why}"
    error, bound = _error(case, played), _bound(case, side)
    return "" if error <= bound else f"the mean is off by {error:.3g}, which is over {bound:.3g}"


def _error(case: Case, played: Played) -> float:
    total = np.zeros(case.d)
    for place in played.heard:
        total += case.values(place)
    return float(np.abs(np.asarray(played.model) - total / len(played.heard)).max())


def _bound(case: Case, side: str) -> float:
    """Ours: the plan's, and what float32 adds to a model. Flower's: two levels. Plainly: one
    rounding a node."""
    float32 = case.clip * 2.0**-23
    return {
        "secagg": case.error + float32,
        "flower": 4 * case.clip / (1 << case.bits),
        "plain": case.n * float32,
    }[side]


def _survives(play: Play, case: Case, side: str) -> Row:
    """One node in turn at each stage, by trying."""
    survives: dict[str, bool] = {}
    lost: dict[str, str] = {}
    for stage, name in enumerate(STAGES[side]):
        why = _fault(case, side, play(side, case, {0: stage}))
        survives[name] = not why
        lost |= {name: why} if why else {}
    return {"survives": survives, "lost": lost}
