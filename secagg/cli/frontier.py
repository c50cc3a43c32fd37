"""`secagg frontier`: what privacy costs a model, trained for every trust, epsilon and width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from secagg.cli import logs, options
from secagg.cli.output import handled, notice, notices, report, warn
from secagg.cli.output import rows as aligned
from secagg.cli.targets import write_whole
from secagg.errors import MissingExtra, ParameterError

if TYPE_CHECKING:
    from secagg.frontier.grid import Cell
    from secagg.frontier.runs import Runs

_T = TypeVar("_T")


Out: TypeAlias = Annotated[
    Path,
    typer.Option(
        metavar="FOLDER",
        help="Every training that is done is kept here, and the same command goes on with the "
        "others; then tables and plots. Made if there is none.",
    ),
]
Epsilon: TypeAlias = Annotated[
    str, typer.Option(metavar="NUMBER,...", help="Over all rounds together.")
]
Trusts: TypeAlias = Annotated[
    str, typer.Option(metavar="WHO,...", help="Who adds noise; none is without.")
]
Widths: TypeAlias = Annotated[str, typer.Option(metavar="BITS,...", help="Of one element.")]
Servers: TypeAlias = Annotated[
    int, typer.Option(help="Servers that hold shares; with one, it is SecAgg+.")
]
Gone: TypeAlias = Annotated[
    str, typer.Option(metavar="FRACTION", help="Clients that vanish in each round, before input.")
]
Protected: TypeAlias = Annotated[
    str, typer.Option(help="Whose data is protected: a client's or an example's.")
]
Subgroup: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="FRACTION", help="Clients whose images are turned by 90 degrees: a minority."
    ),
]
DataDir: TypeAlias = Annotated[
    Path | None, typer.Option(help="Of mnist: where its four files are.")
]
Jobs: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Processes. Default: one for each core.")
]


def frontier(
    out: Out,
    data: Annotated[str, typer.Option(help="digits or mnist.")] = "digits",
    epsilon: Epsilon = "0.25,1,2,8",
    trust: Trusts = "none,central,distributed,local",
    bits: Widths = "16",
    seeds: Annotated[int, typer.Option(help="Trainings of each, with other data and noise.")] = 3,
    servers: Servers = 2,
    corrupt: options.Corrupt = "0",
    dropout: options.Dropout = "0",
    drop: Gone = "0",
    unit: Protected = "client",
    subgroup: Subgroup = "0",
    data_dir: DataDir = None,
    jobs: Jobs = None,
    as_json: options.Json = False,
) -> None:
    """Train a model for every trust, epsilon, width and seed, and show what each is worth.

    Softmax regression by federated averaging, all users in every round, updates of norm 1. Every
    sum is made by the protocol and compared with the plain one: two servers by default; of central
    trust one server in the clear, since it adds the noise and sees the sum without.
    """
    with handled(as_json):
        from secagg.frontier.grid import Setting, grid

        setting = Setting(
            data=data,
            unit=unit,  # type: ignore[arg-type]
            servers=servers,
            corrupt=_fraction("--corrupt", corrupt),
            dropout=_fraction("--dropout", dropout),
            drop=_fraction("--drop", drop),
            subgroup=_fraction("--subgroup", subgroup),
            data_dir=data_dir,
        )
        trusts, epsilons = _list("--trust", trust, str), _list("--epsilon", epsilon, float)
        cells = grid(setting, trusts, epsilons, _list("--bits", bits, int), seeds)  # type: ignore[arg-type]
        answer = _table(out, cells, jobs)
        report(answer, as_json, lambda: _render(answer))


def _table(out: Path, cells: Sequence[Cell], jobs: int | None) -> dict[str, Any]:
    from secagg.frontier.runs import Runs

    with closing(Runs(out)) as runs:
        _train(runs, runs.todo(cells), jobs)
        return _answer(out, [runs.of(cell) for cell in cells])


def _train(runs: Runs, cells: Sequence[Cell], jobs: int | None) -> None:
    from secagg.frontier.work import cores, rows_of

    words = TextColumn("{task.description}")
    columns = (words, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = notices()
    hidden = not console.is_terminal or logs.in_json()
    with Progress(*columns, console=console, transient=True, disable=hidden) as bars:
        task = bars.add_task("trainings", total=len(cells))
        for row in rows_of(cells, jobs or cores(), lambda done: None):
            runs.add(row)
            bars.advance(task)
            if hidden:
                notice(_line(row))


def _answer(out: Path, rows: Sequence[Any]) -> dict[str, Any]:
    from secagg.frontier.table import as_csv, as_json, commit, machine, points

    answer = {
        "rows": list(rows),
        "points": points(rows),
        "machine": machine(),
        "commit": commit(),
        "folder": str(out),
    }
    files = {"frontier.csv": as_csv(rows).encode(), "frontier.json": as_json(answer).encode()}
    for name, written in {**files, **_pictures(rows)}.items():
        write_whole(out / name, written, force=True)
    return answer


def _pictures(rows: Sequence[Any]) -> dict[str, bytes]:
    from secagg.frontier.plots import plots

    try:
        return plots(rows)
    except MissingExtra as error:
        warn(str(error))
        return {}


def _render(answer: dict[str, Any]) -> None:
    lines = {
        f"{point['trust']} {_number(point['epsilon'])} {point['bits']} bits": (
            f"accuracy {point['accuracy']:.3f} ± {point['spread']:.3f}  "
            f"worst class {point['worst_class']:.3f}  "
            f"{point['bytes_up']:,.0f} bytes  {point['seconds']:.1f} s"
        )
        for point in answer["points"]
    }
    aligned({**lines, "saved": answer["folder"]})


def _line(row: dict[str, Any]) -> str:
    return (
        f"trust={row['trust']}  epsilon={_number(row['epsilon'])}  bits={row['bits']}  "
        f"seed={row['seed']}  accuracy={row['accuracy']:.4f}  seconds={row['seconds']:.1f}"
    )


def _number(epsilon: float | None) -> str:
    return "-" if epsilon is None else f"{epsilon:g}"


def _list(option: str, text: str, kind: Callable[[str], _T]) -> list[_T]:
    try:
        return [kind(word.strip()) for word in text.split(",") if word.strip()]
    except ValueError:
        raise ParameterError(f"{option} takes values with commas between, not {text!r}") from None


def _fraction(option: str, text: str) -> float:
    from secagg.arguments import fraction

    return float(fraction(option, text))
