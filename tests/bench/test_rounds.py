"""The benchmarks of whole rounds at tiny sizes: columns, exactness, predictions. No timing."""

from __future__ import annotations

import json
from concurrent.futures import Future
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench import active, calibration, ccs17, common, dropout, glue, rounds, scale
from bench.common import Missing, Row, Selection
from secagg.errors import IntegrityError, ParameterError
from secagg.fields import FixedPoint
from secagg.plans.choose import plan
from secagg_protocols.secagg.costs import Rates

PHASES = {"advertise-keys", "share-keys", "masked-input", "unmask"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "REPEATS": 1,
        "AT_LEAST": 0.0,
        "STREAM": 1 << 12,
        "PAIRS": 4,
        "MEMBERS": 64,
        "CACHES": 1 << 10,
    }.items():
        monkeypatch.setattr(calibration, name, value)
    for name, value in {"COMPLETE": (2, 6), "REGULAR": (2, 6), "CLIENTS": 9, "ROUNDS": 1}.items():
        monkeypatch.setattr(glue, name, value)


class Inline:
    """Instead of a process, which would not know what `quick` has changed."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, work: Any, *args: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*args))
        return done


def run(benchmark: ModuleType, rows: str) -> dict[str, Any]:
    result = common.run(benchmark, Selection.parse(rows))  # type: ignore[arg-type]
    json.dumps(result, allow_nan=False)
    return result


def test_the_rows_of_ccs17() -> None:
    result = run(ccs17, "n=30,d=50,drop=0,drop=0.3")
    found = [(row["protocol"], row["drop"], row["contributors"]) for row in result["rows"]]
    assert found == [
        ("secagg", 0, 30),
        ("secagg", 0.3, 21),
        ("secagg+", 0, 30),
        ("secagg+", 0.3, 21),
    ]
    for row in result["rows"]:
        assert row["exact"] is True and row["ring_bits"] == 24
        for side in ("server", "client"):
            phases = row[f"{side}_phases_ms"]
            assert set(phases) == PHASES == set(row[f"predicted_{side}_phases_ms"])
            assert sum(phases.values()) == pytest.approx(row[f"{side}_ms"], abs=0.01)
            assert row[f"predicted_{side}_ms"] > 0
            expected = row[f"predicted_{side}_ms"] / row[f"{side}_ms"] - 1
            assert row[f"{side}_error"] == pytest.approx(expected, abs=0.001)
        assert row["bytes_up"] > 0 and row["bytes_down"] > 0
        assert row["published_server_ms"] is row["published_client_ms"] is None, "no such row there"
    assert result["ratios"]["server"] is None and "published" in result["reasons"]["server"]
    assert result["ratios"]["prediction"] > 0


@pytest.mark.parametrize(("n", "bits"), [(500, 15), (1000, 14)])
def test_entries_fill_a_ring_of_24_bits(n: int, bits: int) -> None:
    """The entries of the published table."""
    made = ccs17.plan_of("secagg", n, ccs17.D)
    assert made.ring_bits == 24 and dict(made.schema.fields)["update"].length == 100_000
    assert made.schema.fields == (("update", FixedPoint(100_000, 1.0, bits)),)


def test_the_whole_table_is_the_default() -> None:
    cases = Selection.parse("").cases(ccs17.GRID)
    assert len(cases) == 12 and {case["d"] for case in cases} == {100_000}
    complete = {(case["n"], case["drop"]) for case in cases if case["protocol"] == "secagg"}
    assert complete == set(ccs17.PUBLISHED_SERVER_MS)


def test_the_ratios_of_ccs17_are_ours_over_published() -> None:
    def row(protocol: str, drop: float, server: float) -> Row:
        case: Row = {"protocol": protocol, "n": 1000, "d": ccs17.D, "drop": drop}
        measured = {"server_ms": server, "client_ms": 169.9}
        errors = {"server_error": -0.2, "client_error": 0.1}
        return case | measured | ccs17._published(case, measured) | errors

    some = [row("secagg", 0, 488.7), row("secagg", 0.3, 4137.67), row("secagg+", 0.3, 413.767)]
    assert ccs17.ratios(some) == {
        "server": 0.1,
        "client": 0.1,
        "server_secagg_plus": 0.001,
        "client_secagg_plus": 0.1,
        "prediction": 0.2,
    }
    assert row("secagg", 0.2, 1.0)["published_server_ms"] is None
    other = {"n": 1000, "d": 7, "drop": 0}
    assert ccs17._published(other, {"server_ms": 1.0, "client_ms": 1.0})["server_ratio"] is None
    assert isinstance(ccs17.ratios([])["prediction"], Missing)


def test_dropout_at_every_phase(tmp_path: Path) -> None:
    """secagg+ has no plan for so few clients, and its phases are the same ones: it drops in one."""
    complete = run(dropout, "protocol=secagg,n=10,d=20,drop=0,drop=0.3")
    regular = run(dropout, "protocol=secagg+,n=30,d=20,drop=0,drop=0.3,phase=masked-input")
    assert (len(complete["rows"]), len(regular["rows"])) == (4 * 2, 2)
    for row in (rows := [*complete["rows"], *regular["rows"]]):
        assert row["exact"] is True
        lost = 0 if row["phase"] == "unmask" else round(row["n"] * row["drop"])
        assert row["contributors"] == row["n"] - lost
    for result, name in ((complete, "secagg"), (regular, "secagg+")):
        assert set(result["ratios"]) == {name} and result["ratios"][name] > 0
    pytest.importorskip("matplotlib")
    dropout.plots(rows, tmp_path)
    pictures = {path.name for path in tmp_path.iterdir()}
    assert pictures == {"dropout-secagg-10.png", "dropout-secagg-plus-30.png"}


def test_the_factor_of_dropout_is_of_masked_input_in_the_largest_rows() -> None:
    def row(n: int, phase: str, drop: float, ms: float) -> Row:
        return {"protocol": "secagg", "n": n, "phase": phase, "drop": drop, "server_ms": ms}

    some = [row(9, "masked-input", d, ms) for d, ms in ((0, 2.0), (0.1, 3.0), (0.3, 8.0))]
    some += [row(9, "unmask", 0.3, 99.0), row(5, "masked-input", 0.4, 99.0)]
    assert dropout.ratios(some) == {"secagg": 4.0}
    assert isinstance(dropout.ratios(some[:1])["secagg"], Missing)


def test_scale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(scale, "ProcessPoolExecutor", Inline)
    result = run(scale, "n=30,d=20")
    [row] = result["rows"]
    assert row["exact"] is True and row["contributors"] == 27
    assert row["seconds"] > 0 and row["peak_rss"] > 0
    assert result["ratios"]["seconds"] is None and "n=10000" in result["reasons"]["seconds"]
    pytest.importorskip("matplotlib")
    scale.plots(result["rows"], tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_the_bars_of_scale() -> None:
    row: Row = {**scale.LARGEST, "seconds": 36.0, "peak_rss": 1 << 30}
    row |= {"server_error": -0.2, "client_error": 0.1}
    assert scale.ratios([row]) == {"seconds": 0.1, "memory": 0.25, "prediction": 0.2}
    assert isinstance(scale.ratios([row | {"peak_rss": None}])["memory"], Missing)
    assert scale.LARGEST.items() <= max(scale.GRID, key=lambda case: case["n"]).items()


def test_every_rate_is_measured() -> None:
    made = plan(clients=20, fields={"update": FixedPoint(5, 1.0, 16)}, protocol="secagg+")
    rates = calibration.calibrate(made, threads=2)
    assert rates.threads == 2
    positive = {f.name for f in fields(Rates)} - {"threads", "client", "server", "mask", "mask_job"}
    may_be_lost_in_noise = {"seal", "unseal", "combine_share"}
    assert {name for name in positive if getattr(rates, name) <= 0} <= may_be_lost_in_noise
    assert set(rates.mask) == set(rates.mask_job) == {32}
    for side in (rates.client, rates.server):
        assert set(side.once) == set(side.each) == PHASES
        assert min([*side.once.values(), *side.each.values()]) >= 0


def test_only_the_protocols_of_the_model_are_calibrated() -> None:
    made = plan(clients=8, fields={"update": FixedPoint(5, 1.0, 16)}, protocol="plainsum")
    with pytest.raises(ParameterError, match="plainsum"):
        rounds.rates_of(made)


def test_active() -> None:
    """In both modes, all measured and a sample: bytes are the plan's, and the sum is checked."""
    result = run(active, "n=6,d=20")
    [row] = result["rows"]
    assert row["exact"] is True and row["measured_clients"] == 6
    for mode in ("semi_honest", "active"):
        assert row[f"{mode}_upload_as_planned"] and row[f"{mode}_download_as_planned"]
    assert row["active_quorum"] == 4 and row["client_verifications"] == 2 * 5 + 4 + 4
    assert result["ratios"]["client_100"] is None


def test_a_sum_of_active_that_is_not_exact_is_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(active, "ALL", 3)
    monkeypatch.setattr(active, "SAMPLE", 2)
    [row] = run(active, "n=6,d=20")["rows"]
    assert row["measured_clients"] == 2, "the others believe, and say the same"
    drawn = active._Run._drawn

    def off(self: Any) -> Any:
        vector = drawn(self)
        self.expected[0][0] += 1
        return vector

    monkeypatch.setattr(active._Run, "_drawn", off)
    with pytest.raises(IntegrityError):
        run(active, "n=6,d=20")
