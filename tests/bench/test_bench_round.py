"""The benchmark of a round against an old commit, at tiny sizes. No timing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench import common, figures, round, turn
from bench.common import ROOT, Missing, Row, Selection
from secagg import records
from secagg.errors import IntegrityError, ParameterError, PolicyRefused

TINY = {"n": 6, "k": 5, "t": 4, "d": 40, "bits": 16, "dropped": 1}


@pytest.fixture
def itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """This checkout against itself, without a compiler."""

    @contextmanager
    def checked_out(commit: str) -> Iterator[Path]:
        yield ROOT

    monkeypatch.setattr(round, "_checked_out", checked_out)
    monkeypatch.setattr(round, "TURNS", 2)
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_both_sides_run_the_same_round(itself: None, rounding: str) -> None:
    result = common.run(round, Selection.parse(f"n=6,d=40,drop=1/6,rounding={rounding}"))
    json.dumps(result, allow_nan=False)
    (row,) = result["rows"]
    assert (row["k"], row["t"], row["dropped"], row["exact"]) == (5, 4, 1, True)
    for whose in ("server", "client", "old_server", "old_client"):
        assert row[f"{whose}_ms"] > 0 and len(row[f"{whose}_turns_ms"]) == 2
        assert {"advertise-keys", "share-keys", "masked-input", "unmask"} <= set(
            row[f"{whose}_phases_ms"]
        )
    assert result["ratios"] == {"server": None, "client": None}
    assert "d=1000000" in result["reasons"]["server"]


def test_the_old_commit_runs_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever moves since, the worker imports only what both commits have."""
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    request = TINY | {"rounding": "nearest"}
    try:
        with round._checked_out(round.BASE) as base, round._running("the old commit", base) as old:
            assert old.ask(request)["stayed"] == 5
    except PolicyRefused as shallow:
        pytest.skip(str(shallow))


def test_more_drops_than_the_threshold_allows_are_refused(itself: None) -> None:
    with pytest.raises(ParameterError, match="fewer than t = 4"):
        common.run(round, Selection.parse("n=6,d=40,drop=0.5"))


def test_the_parameters_are_those_that_are_asked_for_and_the_ratios_old_over_ours() -> None:
    row: Row = {**round.CASE, "old_server_ms": 8.0, "server_ms": 4.0}
    row |= {"old_client_ms": 3.0, "client_ms": 2.0}
    assert round.ratios([row]) == {"server": 2.0, "client": 1.5}
    assert isinstance(round.ratios([row | {"n": 20}])["client"], Missing)
    assert figures.AT_LEAST["round", "server"] == 1.6
    assert figures.AT_LEAST["round", "client"] == 1.25


def test_medians_are_of_turns() -> None:
    answers: list[Row] = [
        {"stayed": 2, "server": {"a": s, "b": 1.0}, "client": {"a": 2 * s}} for s in (1.0, 9.0, 2.0)
    ]
    found = round._medians(answers)
    assert found["server_ms"] == 3000 and found["server_turns_ms"] == [2000, 10000, 3000]
    assert found["client_ms"] == 2000 and found["server_phases_ms"] == {"a": 2000, "b": 1000}


def test_the_old_commit_is_another_source() -> None:
    try:
        with round._checked_out(round.BASE) as old:
            there = (old / "secagg" / "quantize.py").read_text()
            assert (old / "protocols" / "secagg_protocols" / "secagg" / "server.py").is_file()
    except PolicyRefused:
        pytest.skip("a shallow clone")
    assert there != (ROOT / "secagg" / "quantize.py").read_text()


def test_a_clone_without_the_commit_says_what_would_bring_it() -> None:
    with (
        pytest.raises(PolicyRefused, match="not in this clone.*--unshallow"),
        round._checked_out("0" * 40),
    ):
        pass


def test_another_source_than_the_one_meant_is_no_figure(tmp_path: Path) -> None:
    """An empty folder comes first on the path, and what is installed is found behind it."""
    with pytest.raises(IntegrityError, match="outside"), round._running("nothing", tmp_path):
        pass


def test_a_side_that_ends_is_no_figure() -> None:
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        with pytest.raises(IntegrityError, match="ended with code 3"):
            round._Side("one", process).answer()
        with pytest.raises(IntegrityError, match="no figure counts"):
            round._Side("one", process).ask({})


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_a_wrong_sum_is_no_figure(monkeypatch: pytest.MonkeyPatch, rounding: str) -> None:
    """A client that encodes another number: all machines agree with it, plain integers do not."""
    assert turn.answer({**TINY, "rounding": rounding})["stayed"] == 5
    encode = records.encode

    def off(*arguments: Any) -> records.Encoded:
        encoded = encode(*arguments)
        encoded.vector[0][0] += 7
        return encoded

    monkeypatch.setattr(records, "encode", off)
    with pytest.raises(SystemExit, match="1 of 40 elements are not the plain sum"):
        turn.answer({**TINY, "rounding": rounding})
