"""`secagg bench`: what goes where, what it refuses, and that it is found outside of no checkout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bench import pack, service
from secagg import cli
from secagg.cli import bench as command

ROOT = Path(__file__).parents[2]
SMALL = ("pack", "--rows", "width=17,d=10")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["bench", *arguments])


def test_one_object_on_standard_output_and_rows_on_standard_error() -> None:
    result = call(*SMALL, "--json")
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    told = json.loads(line)
    assert {"machine", "commit", "rows", "ratios"} <= told.keys()
    assert [json.loads(row) for row in result.stderr.splitlines()] == told["rows"]
    assert set(told["ratios"]) == {"pack", "unpack"} and told["rows"][0]["width"] == 17


def test_text_has_the_rows_and_the_ratios() -> None:
    result = call(*SMALL)
    assert result.exit_code == 0 and "width=17" in result.stdout and "ratio pack" in result.stdout


def test_selected_rows_overwrite_no_results(tmp_path: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (ROOT / "bench" / "results").glob("*")}
    call(*SMALL)
    assert before == {p: p.stat().st_mtime_ns for p in (ROOT / "bench" / "results").glob("*")}
    call(*SMALL, "--out", str(tmp_path / "mine.json"))
    assert json.loads((tmp_path / "mine.json").read_text())["rows"][0]["width"] == 17


def test_a_whole_run_is_saved_in_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_checkout", lambda: tmp_path)
    monkeypatch.setattr(command, "_load", lambda root, name, run: pack)
    monkeypatch.setattr(pack, "MAX_WIDTH", 2)
    monkeypatch.setattr(pack, "D", 10)
    monkeypatch.setattr(pack, "plots", lambda rows, folder: None)
    assert call("pack").exit_code == 0
    saved = json.loads((tmp_path / "bench" / "results" / "pack.json").read_text())
    assert [row["width"] for row in saved["rows"]] == [1, 2]


def test_it_runs_in_a_checkout_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.secagg, "__file__", str(tmp_path / "secagg" / "__init__.py"))
    result = call(*SMALL, "--json")
    assert result.exit_code == 2
    told = json.loads(result.stdout)
    assert told["error"] == "PolicyRefused" and "checkout" in told["message"]


@pytest.mark.parametrize("name", ["nosuch", "common", "machine", "rivals", "../bench/pack"])
def test_what_is_no_benchmark_is_refused(name: str) -> None:
    result = call(name, "--json")
    assert result.exit_code == 2
    told = json.loads(result.stdout)
    assert told["error"] == "ParameterError"
    assert all(known in told["message"] for known in ("mask", "peer", "tax", "wire", "service"))


def test_a_run_of_a_service_is_named_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(service.RUNS, "small", "bench.pack")
    result = call("service", "small", "--rows", "width=17,d=10")
    assert result.exit_code == 0 and "ratio pack" in result.stdout


@pytest.mark.parametrize("names", [("service",), ("service", "nosuch"), ("pack", "nosuch")])
def test_a_run_that_there_is_not_is_refused(names: tuple[str, ...]) -> None:
    result = call(*names, "--json")
    assert result.exit_code == 2 and json.loads(result.stdout)["error"] == "ParameterError"


def test_every_run_of_a_service_has_the_form_of_a_benchmark() -> None:
    for name in service.RUNS:
        module = service.run(name)
        assert f"service-{name}" == module.NAME
        assert callable(module.rows) and callable(module.ratios)


@pytest.mark.parametrize("rows", ["width", "nosuch=1"])
def test_rows_that_mean_nothing_are_refused(rows: str) -> None:
    result = call("pack", "--rows", rows, "--json")
    assert result.exit_code == 2 and json.loads(result.stdout)["error"] == "ParameterError"
