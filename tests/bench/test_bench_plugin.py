"""`secagg bench peer --plugin` without Flower: the refusal, and rows of made-up rounds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from bench import common, plugin
from bench.common import Missing, Row, Selection
from bench.plugin import STAGES, TRAINING, Case, Played
from secagg import cli
from secagg.errors import IntegrityError, ParameterError

SECONDS = {"secagg": 1.0, "flower": 12.0, "plain": 0.5}
UP = {"secagg": 30, "flower": 80, "plain": 40}


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["bench", *arguments, "--json"])


def test_without_flwr_the_answer_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(plugin, "version", absent)
    result = call("peer", "--plugin", "--rows", "n=4,d=100")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["error"]) == (2, "MissingExtra")
    assert "pip install 'secagg[flower]'" in told["message"]


def test_it_is_of_peer_alone() -> None:
    result = call("mask", "--plugin")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["error"]) == (2, "ParameterError")
    assert "peer" in told["message"] and "mask" in told["message"]


class Fake:
    """Rounds without a framework, each exact but for what a test asks."""

    def __init__(self, fragile: tuple[str, int] | None = None, off: float = 0.0) -> None:
        self.fragile, self.off = fragile, off
        self.asked: list[tuple[str, int, dict[int, int]]] = []

    def __call__(self, side: str, case: Case, silent: Mapping[int, int]) -> Played:
        self.asked.append((side, case.d, dict(silent)))
        heard = frozenset(place for place in range(case.n) if silent.get(place, 9) > TRAINING[side])
        mean = sum(case.values(place).astype(float) for place in heard) / len(heard)
        lost = (side, *silent.values()) == self.fragile
        spent: dict[tuple[str | int, int], float]
        spent = {("server", 0): SECONDS[side], (case.n - 1, 0): 0.25, ("transport", 0): 7.0}
        up, down = dict.fromkeys(range(case.n), UP[side]), dict.fromkeys(range(case.n), 40)
        model = None if lost else np.asarray(mean + self.off)
        return Played(model, "a node raised" if lost else "", heard, spent, spent, up, down)


def run(
    monkeypatch: pytest.MonkeyPatch, fake: Fake, rows: str = "n=10,d=2000,bits=22"
) -> dict[str, Any]:
    monkeypatch.setattr(plugin, "_play", lambda: fake)
    result = common.run(plugin, Selection.parse(rows))
    json.dumps(result, allow_nan=False)
    return result


def test_each_side_has_a_row_of_the_same_round(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(fragile=("flower", 1))
    result = run(monkeypatch, fake)
    assert result["name"] == "peer-plugin"
    rows = {row["side"]: row for row in result["rows"]}
    assert list(rows) == ["secagg", "flower", "plain"]
    assert len({tuple(row[name] for name in plugin.SIZES) for row in result["rows"]}) == 1
    assert {row["dropped"] for row in result["rows"]} == {1}
    assert [(rows[side]["k"], rows[side]["t"]) for side in rows] == [(9, 6), (9, 6), (None, None)]
    for side, row in rows.items():
        assert row["cpu"] == row["seconds"] == SECONDS[side] + 0.25, "carrying is not in it"
        assert row["transport_cpu"] == 7.0 and row["client_cpu"] == pytest.approx(0.25 / 9)
        assert row["max_abs_error"] < row["error_bound"]
        assert tuple(row["stages"]) == tuple(row["survives"]) == STAGES[side]
    assert rows["flower"]["survives"] == {
        "setup": True,
        "share_keys": False,
        "collect_masked_vectors": True,
        "unmask": True,
    }
    assert rows["flower"]["lost"] == {"share_keys": "no sum: a node raised"}
    assert all(rows["secagg"]["survives"].values()) and not rows["secagg"]["lost"]
    both = {name: result["ratios"].pop(name) for name in ("bytes_16", "upload_16")}
    assert both == {"bytes_16": None, "upload_16": None}, "a ratio of rows that are not there"
    assert result["ratios"] == {
        "cpu": pytest.approx(12.25 / 1.25),
        "bytes": pytest.approx(70 / 120),
        "upload": pytest.approx(30 / 80),
        "plain_cpu": pytest.approx(1.25 / 0.75),
        "plain_bytes": pytest.approx(70 / 80),
    }


def test_sides_take_turns_and_each_stage_loses_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake()
    run(monkeypatch, fake, "n=10,d=2000,bits=16,side=secagg,side=plain")
    assert [side for side, d, _ in fake.asked if d == 2000] == ["secagg", "plain"] * plugin.REPEATS
    assert {(side, *gone.items()) for side, d, gone in fake.asked if d == 2000} == {
        ("secagg", (0, 2)),
        ("plain", (0, 0)),
    }
    assert [(side, gone) for side, d, gone in fake.asked if d == plugin.TRIED] == [
        *(("secagg", {0: stage}) for stage in range(4)),
        ("plain", {0: 0}),
    ]


@pytest.mark.parametrize("fake", [Fake(off=1e-3), Fake(fragile=("plain", 0))])
def test_no_figure_of_a_round_that_is_wrong(monkeypatch: pytest.MonkeyPatch, fake: Fake) -> None:
    with pytest.raises(IntegrityError, match="no figure counts"):
        run(monkeypatch, fake, "n=10,d=20,side=plain")


def test_a_side_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParameterError, match="flower"):
        run(monkeypatch, Fake(), "n=10,d=20,side=nosuch")


@pytest.mark.parametrize("n", [4, 20, 50, 51, 75, 100])
def test_flowers_ring_has_as_many_neighbours_as_our_plan(n: int) -> None:
    case = plugin._planned(replace(Case(**plugin.CASE), n=n, d=1))
    assert (case.k % 2 == 0 or case.k == n - 1) and 2 <= case.t <= case.k


def test_the_ratios_are_the_worst_cases_and_need_both_sides() -> None:
    sizes: Row = {**plugin.CASE, "bytes_down": 0.0}
    rows = [
        sizes | {"side": "secagg", "cpu": 1.0, "bytes_up": 1.0},
        sizes | {"side": "flower", "cpu": 30.0, "bytes_up": 2.0},
        sizes | {"side": "secagg", "n": 9, "cpu": 2.0, "bytes_up": 1.0},
        sizes | {"side": "flower", "n": 9, "cpu": 30.0, "bytes_up": 4.0},
    ]
    ratios = plugin.ratios(rows)
    assert (ratios["cpu"], ratios["bytes"], ratios["upload"]) == (15.0, 0.5, 0.5)
    assert isinstance(ratios["bytes_16"], Missing)
    ratios = plugin.ratios([*rows, *(row | {"bits": 16, "bytes_up": 1.0} for row in rows)])
    assert (ratios["bytes_16"], ratios["upload_16"]) == (1.0, 1.0) and ratios["cpu"] == 15.0
    assert isinstance(ratios["plain_cpu"], Missing)
