"""The frame of every benchmark: which rows to run, how to time, where it ran, what is written.

A benchmark is a module of this package with

    NAME                    the module's own name
    rows(selection)         yields each row, a flat dict of JSON's own types, once it is measured
    ratios(rows)            the figures that have a bar to meet: name -> number or Missing
    plots(rows, folder)     optional: draws into the folder; see bench.plot

and it ends with `if __name__ == "__main__": main(NAME)`, which is `secagg bench NAME`.

Ratios of "at least" bars are rival / ours, those of "at most" bars ours / reference. Rates, such
as `drop`, are fractions from 0 to 1, never counts or percents.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from bench.machine import commit, machine
from secagg.errors import ParameterError

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"

Row: TypeAlias = dict[str, Any]
OnRow: TypeAlias = Callable[[Row], None]


@dataclass(frozen=True, slots=True)
class Missing:
    """A ratio that could not be measured here: null in the results, with its reason beside it."""

    reason: str


Ratio: TypeAlias = float | Missing


class Benchmark(Protocol):
    """A module, as described above."""

    @property
    def NAME(self) -> str: ...
    def rows(self, selection: Selection, /) -> Iterator[Row]: ...
    def ratios(self, rows: Sequence[Row], /) -> Mapping[str, Ratio]: ...


@dataclass(frozen=True, slots=True)
class Selection:
    """What `--rows` asks for: name -> the values wanted, any of them. Empty: the default grid."""

    wanted: Mapping[str, tuple[int | float | str, ...]]

    @classmethod
    def parse(cls, text: str = "") -> Selection:
        """`n=500,n=1000,drop=0.3`: name=value pairs; a name given twice has two values."""
        wanted: dict[str, tuple[int | float | str, ...]] = {}
        for pair in filter(None, (part.strip() for part in text.split(","))):
            name, equals, value = pair.partition("=")
            if not (name and equals and value):
                raise ParameterError(f"--rows takes NAME=VALUE,..., such as n=20, not {pair!r}")
            wanted[name] = (*wanted.get(name, ()), _value(value))
        return cls(wanted)

    def cases(self, grid: Iterable[Mapping[str, Any]]) -> list[Row]:
        """The rows of the grid that are asked for, without repetition, in the grid's order.

        A value that rows of the grid have keeps those rows. One that no row has replaces the
        value of all, so that any size can be run: `n=6,d=1000` where the grid has neither.
        Raises ParameterError for a name that no row of the grid has.
        """
        cases = [dict(case) for case in grid]
        for name, values in self.wanted.items():
            known = sorted({key for case in cases for key in case})
            if name not in known:
                raise ParameterError(f"rows have {', '.join(known)}, and no {name!r}")
            kept = [case for case in cases if case.get(name) in values]
            new = [value for value in values if all(case.get(name) != value for case in cases)]
            having = [case for case in cases if name in case]
            cases = kept + [case | {name: value} for value in new for case in having]
        return [case for i, case in enumerate(cases) if case not in cases[:i]]


def _value(text: str) -> int | float | str:
    """100000, 1_000_000 and 1e6 alike; 0.1 and 1/3; else a word such as secagg+."""
    try:
        if "/" in text:
            number = Fraction(text)  # without a power of ten, which could fill the memory
        else:
            number = Fraction(float(text)) if set("eE.").intersection(text) else Fraction(int(text))
        return int(number) if number.denominator == 1 else float(number)
    except (ValueError, OverflowError, ZeroDivisionError):
        return text


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. cpu: of all threads of this process."""

    cpu: float
    wall: float


@contextmanager
def quiet(name: str, level: int) -> Iterator[None]:
    """A framework's logger says less for a while, and afterwards what it said before."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def pick(rows: Iterable[Row], **values: Any) -> Row | None:
    """The first row that has these values, for `ratios`: which must do with what there is."""
    return next((r for r in rows if all(r.get(n) == v for n, v in values.items())), None)


def timed(work: Callable[[], object]) -> Timing:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Timing(time.process_time() - cpu, time.perf_counter() - wall)


def interleaved(
    works: Mapping[str, Callable[[], object]], *, repeats: int = 7, at_least: float = 0.02
) -> dict[str, Timing]:
    """Seconds of one call of each: the least CPU and the least wall time of `repeats` turns.

    In every turn each of the works has its go, so that a machine that is busy for a while is busy
    for all of them. at_least: seconds of a go, which is as many calls as that takes. A first call
    of each, which may load or compile, is not counted.
    """
    for work in works.values():
        work()
    calls = {
        name: max(1, round(at_least / max(timed(work).wall, 1e-9))) for name, work in works.items()
    }
    goes: dict[str, list[Timing]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            goes[name].append(timed(partial(_again, work, calls[name])))
    return {
        name: Timing(
            min(go.cpu for go in turns) / calls[name], min(go.wall for go in turns) / calls[name]
        )
        for name, turns in goes.items()
    }


def _again(work: Callable[[], object], times: int) -> None:
    """Each result goes before the next comes: kept, they would be timed as fresh memory."""
    for _ in range(times):
        work()


def best_of(work: Callable[[], object], *, repeats: int = 7, at_least: float = 0.02) -> Timing:
    """`interleaved` of a single work."""
    return interleaved({"": work}, repeats=repeats, at_least=at_least)[""]


@contextmanager
def progress(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """Bars on standard error, hidden unless it is a terminal: a callable (part, done, of).

    It is what `secagg.sim` takes as `progress`.
    """
    console = Console(file=sys.stderr)
    columns = (TextColumn(what), TextColumn("{task.description:<14}"), BarColumn())
    hidden = not console.is_terminal
    with Progress(
        *columns, MofNCompleteColumn(), console=console, transient=True, disable=hidden
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(part: str, done: int, of: int) -> None:
            if part not in tasks:
                tasks[part] = bars.add_task(part, total=of)
            bars.update(tasks[part], completed=done, total=of)

        yield tell


def run(
    benchmark: Benchmark,
    selection: Selection,
    *,
    out: Path | None = None,
    on_row: OnRow = lambda row: None,
) -> dict[str, Any]:
    """All rows, then the object that `secagg bench --json` prints.

    It has `name, machine, commit, rows, ratios` and, for ratios that are null, `reasons`. out: a
    file that holds that object, rewritten after every row with those so far, so that a long run
    that is cut short leaves what it has; `plots` are drawn beside it at the end.
    """
    where, at, done = machine(), commit(), list[Row]()
    result: dict[str, Any] = {}
    for row in benchmark.rows(selection):
        done.append(row)
        result = _result(benchmark, where, at, done)
        on_row(row)
        _write(out, result)
    if not done:
        raise ParameterError(f"no row of {benchmark.NAME} is asked for")
    draw = getattr(benchmark, "plots", None)
    if out is not None and draw is not None:
        draw(done, out.parent)
    return result


def _result(benchmark: Benchmark, where: Row, at: str | None, rows: Sequence[Row]) -> Row:
    ratios = benchmark.ratios(rows)
    result: Row = {
        "name": benchmark.NAME,
        "machine": where,
        "commit": at,
        "rows": list(rows),
        "ratios": {n: None if isinstance(r, Missing) else float(r) for n, r in ratios.items()},
    }
    reasons = {name: r.reason for name, r in ratios.items() if isinstance(r, Missing)}
    return result | ({"reasons": reasons} if reasons else {})


def _write(out: Path | None, result: Row) -> None:
    """Whole or not at all: a reader, or an end in the middle, never meets half a file."""
    if out is None:
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    partial.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    os.replace(partial, out)


def main(name: str) -> None:
    """`python -m bench.NAME` takes the arguments of `secagg bench NAME`."""
    from secagg.cli import app

    app(["bench", name, *sys.argv[1:]])
