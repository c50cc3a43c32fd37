"""The frame of the benchmarks: selection, timing, results. No figure is judged here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from bench import common, figures, machine, plot
from bench.common import Missing, Ratio, Row, Selection, interleaved, pick
from secagg.errors import ParameterError

GRID = [{"n": n, "drop": drop} for n in (10, 20) for drop in (0.0, 0.1)]


def cases(text: str) -> list[Row]:
    return Selection.parse(text).cases(GRID)


def test_without_a_selection_the_grid_is_run() -> None:
    assert cases("") == GRID


def test_values_of_the_grid_select_its_rows() -> None:
    assert cases("n=20") == GRID[2:]
    assert cases("drop=0.1,n=10") == [GRID[1]]
    assert cases("n=10,n=20,drop=0") == [GRID[0], GRID[2]]


def test_other_values_replace_those_of_the_grid_without_repetition() -> None:
    assert cases("n=6") == [{"n": 6, "drop": 0.0}, {"n": 6, "drop": 0.1}]
    assert cases("n=6,n=20,drop=0.1") == [{"n": 20, "drop": 0.1}, {"n": 6, "drop": 0.1}]


def test_a_name_that_only_some_rows_have_selects_among_those() -> None:
    mixed = [{"lane": 8}, {"lane": 32}, {"cache": "cold"}]
    assert Selection.parse("lane=32").cases(mixed) == [{"lane": 32}]
    assert Selection.parse("lane=64").cases(mixed) == [{"lane": 64}]
    assert Selection.parse("cache=cold").cases(mixed) == [{"cache": "cold"}]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1_000", 1000), ("1e6", 1_000_000), ("0.3", 0.3), ("1/4", 0.25), ("secagg+", "secagg+")],
)
def test_values_are_integers_rates_or_words(text: str, value: object) -> None:
    (found,) = Selection.parse(f"x={text}").wanted["x"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("text", ["n", "n=", "=3", "nosuch=3"])
def test_a_selection_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(ParameterError):
        cases(text)


def test_rivals_take_turns_and_the_first_call_is_not_counted() -> None:
    calls: list[str] = []
    works = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    taken = interleaved(works, repeats=3, at_least=0)
    assert calls == ["a", "b"] + ["a", "b"] + ["a", "b"] * 3  # first, sized, turns
    assert taken.keys() == {"a", "b"} and taken["a"].wall > 0


def test_seconds_are_of_one_call_however_many_fill_a_go(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def work() -> None:
        nonlocal now
        now += 2.0

    monkeypatch.setattr(common.time, "perf_counter", lambda: now)
    monkeypatch.setattr(common.time, "process_time", lambda: now / 2)
    assert common.best_of(work, repeats=2, at_least=10) == common.Timing(cpu=1.0, wall=2.0)
    assert now == 2.0 * (1 + 1 + 2 * 5)


class Toy:
    """A benchmark that reads its own results file while it runs."""

    NAME = "toy"

    def __init__(self, file: Path) -> None:
        self.file, self.seen = file, list[int]()

    def rows(self, selection: Selection) -> Iterator[Row]:
        for case in selection.cases([{"x": 1}, {"x": 2}]):
            saved = json.loads(self.file.read_text())["rows"] if self.file.exists() else []
            self.seen.append(len(saved))
            yield case | {"y": case["x"] ** 2}

    def ratios(self, rows: Sequence[Row]) -> Mapping[str, Ratio]:
        return {"most": max(row["y"] for row in rows), "rival": Missing("it is not there")}


def test_results_hold_the_contract_and_are_written_row_by_row(tmp_path: Path) -> None:
    toy, told = Toy(tmp_path / "deep" / "toy.json"), list[Row]()
    result = common.run(toy, Selection.parse(), out=toy.file, on_row=told.append)
    assert toy.seen == [0, 1]
    assert told == result["rows"] == [{"x": 1, "y": 1}, {"x": 2, "y": 4}]
    assert result["ratios"] == {"most": 4.0, "rival": None}
    assert result["reasons"] == {"rival": "it is not there"}
    assert {"name", "machine", "commit", "rows", "ratios"} <= result.keys()
    assert json.loads(toy.file.read_text()) == result
    assert [path.name for path in toy.file.parent.iterdir()] == ["toy.json"]


def test_no_row_is_no_result(tmp_path: Path) -> None:
    class Empty(Toy):
        def rows(self, selection: Selection) -> Iterator[Row]:
            return iter(())

    with pytest.raises(ParameterError, match="toy"):
        common.run(Empty(tmp_path / "toy.json"), Selection.parse())


def test_the_machine_says_what_a_reader_needs() -> None:
    found = machine.machine()
    assert found["cores"] >= 1 and found["memory"] > 1 << 20 and found["cpu"]
    assert found["versions"]["numpy"] and found["versions"]["numba"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_checkout_without_git_has_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert machine.commit() is None


@pytest.mark.parametrize(("changed", "commit"), [("", "abc"), (" M a.py", "abc-dirty")])
def test_a_changed_tree_is_marked(
    monkeypatch: pytest.MonkeyPatch, changed: str, commit: str
) -> None:
    monkeypatch.setattr(machine, "_git", lambda what, *_: "abc" if what == "rev-parse" else changed)
    assert machine.commit() == commit


def test_pick_takes_the_first_row_that_fits() -> None:
    assert pick(GRID, n=20) == GRID[2] and pick(GRID, n=30) is None


def test_a_plot_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="it comes with secagg[bench]")
    rows: list[Row] = [{"n": 1, "s": 2.0, "p": "a"}, {"n": 2, "s": None, "p": "a"}]
    path = plot.lines(rows, tmp_path / "p.png", x="n", y="s", by="p", title="t")
    assert path is not None and path.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_no_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert plot.lines([], tmp_path / "p.png", x="n", y="s", by="p", title="t") is None
    assert not list(tmp_path.iterdir())


def test_the_table_of_figures(tmp_path: Path) -> None:
    ratios = {"cpu": 30.0, "bytes": 0.75, "other": 3.0, "gone": None}
    result = {"name": "peer", "commit": "a" * 40 + "-dirty", "ratios": ratios}
    result["reasons"] = {"gone": "it is not there"}
    (tmp_path / "peer.json").write_text(json.dumps(result))
    (tmp_path / "README.md").write_text(f"a\n{figures.BEGIN}old\n{figures.END}b\n")
    figures.fill(tmp_path / "README.md", tmp_path)
    figures.fill(tmp_path / "README.md", tmp_path)
    lines = (tmp_path / "README.md").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("a", "b") and "old" not in lines
    assert lines[4:-2] == [
        "| peer | cpu | 30 | at least 25 | yes | aaaaaaaaa (changed) |",
        "| peer | bytes | 0.75 | at most 0.5 | no | aaaaaaaaa (changed) |",
        "| peer | other | 3 |  |  | aaaaaaaaa (changed) |",
        "| peer | gone | none: it is not there |  |  | aaaaaaaaa (changed) |",
    ]
