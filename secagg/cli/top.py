"""`secagg top`: a service as it is, in a terminal, from the events that its page has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from secagg.cli import options
from secagg.cli.console import reached
from secagg.cli.founding import FILE
from secagg.cli.output import handled, report
from secagg.errors import TransportError
from secagg.shown import printable

_STYLES = {
    "running": "bold green",
    "unmasking": "bold green",
    "ready": "green",
    "paused": "bold yellow",
    "draining": "yellow",
    "failed": "bold red",
    "owes": "yellow",
    "dropped": "red",
}
_MOST_CLIENTS, _MOST_RESULTS = 20, 5
"""Lines of each that are shown: a terminal has few."""


def top(
    ctx: typer.Context,
    config: Annotated[Path, typer.Option(metavar="FILE", help="Of the service that runs.")] = Path(
        FILE
    ),
    service: options.Service = None,
    as_json: options.Json = False,
) -> None:
    """Watch a service's tasks and rounds, until Ctrl-C.

    The service's owner sees everything, on its machine; an operator, with the file that `secagg
    enrol` made, the names of who takes part too, and a viewer counts. With --json one state is
    printed, and that is all.
    """
    with handled(as_json):
        options.refuse_both(ctx, "service", "config")
        with reached(config, service) as console:
            states = console.states()
            if as_json:
                report(_first(states), True, lambda: None)
            else:
                with suppress(KeyboardInterrupt):
                    _watch(states)


def _first(states: Iterator[dict[str, Any]]) -> dict[str, Any]:
    for state in states:
        return state
    raise TransportError("the service is ending")


def _watch(states: Iterator[dict[str, Any]]) -> None:
    """Where it is no terminal that is written to, each state once, below the other."""
    console = Console()
    if not console.is_terminal:
        for state in states:
            console.print(drawn(state))
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for state in states:
            live.update(drawn(state), refresh=True)


def drawn(state: dict[str, Any]) -> RenderableType:
    """state: as `/v1/events` has it. Nothing in it is markup."""
    at = datetime.fromtimestamp(state["at"], UTC).strftime("%H:%M:%S UTC")
    head = Text.assemble((_text(state["service"]), "bold"), f"  {at}  as {_text(state['role'])}")
    reasons = [Text(f"not ready: {_text(one)}", "bold red") for one in state["reasons"]]
    tasks = [_task(one) for one in state["tasks"]]
    results = [_results(state["results"])] if state["results"] else []
    return Group(head, *reasons, *tasks, *results)


def _task(task: dict[str, Any]) -> RenderableType:
    lines: list[RenderableType] = [_people(task)]
    if task["held"]:
        lines.append(Text(_text(task["held"]), "yellow"))
    if (running := task["round"]) is not None:
        lines += _round(running)
    if (last := task["last"]) is not None:
        lines.append(_last(last))
    title = Text.assemble(
        (_text(task["name"]), "bold"), "  ", (_text(task["state"]), _STYLES.get(task["state"], ""))
    )
    return Panel(Group(*lines), title=title, title_align="left")


def _people(task: dict[str, Any]) -> Text:
    said = f"{task['candidates']} of {task['min']} candidates, for {task['target']}; "
    said += f"{task['enrolled']} enrolled"
    if task["round"] is None and task["next"]:
        said += f"; next round in {task['next']:.0f} s"
    return Text(said + (f"; {task['failures']} failures in a row" if task["failures"] else ""))


def _round(running: dict[str, Any]) -> list[RenderableType]:
    phases = Text(f"round {_text(running['round'])}  ")
    for one in running["phases"]:
        style = {"running": "bold green", "waiting": "dim"}.get(one["state"], "")
        phases.append(f"{_text(one['name'])}  ", style)
    left = "" if running["left"] is None else f", {running['left']:.0f} s left"
    numbers = Text(
        f"{running['sent']} of {running['asked']} sent, {running['owe']} owe, "
        f"{running['dropped']} dropped{left}; {_bytes(running['bytes_in'])} in, "
        f"{_bytes(running['bytes_out'])} out"
    )
    return [phases, numbers, *([_clients(running["clients"])] if "clients" in running else [])]


def _clients(clients: list[dict[str, Any]]) -> Table:
    """First those of whom something is to be said."""
    order = {"dropped": 0, "owes": 1}
    table = Table.grid(padding=(0, 2))
    for one in sorted(clients, key=lambda one: order.get(one["state"], 2))[:_MOST_CLIENTS]:
        state = Text(_text(one["state"]), _STYLES.get(one["state"], ""))
        table.add_row(Text(_text(one["name"])), state, Text(_text(one["why"] or "")))
    if len(clients) > _MOST_CLIENTS:
        table.add_row(Text(f"and {len(clients) - _MOST_CLIENTS} more", "dim"))
    return table


def _last(last: dict[str, Any]) -> Text:
    at = datetime.fromtimestamp(last["at"], UTC).strftime("%Y-%m-%d %H:%M")
    if last["outcome"] == "done":
        return Text(f"last round {_text(last['round'])} at {at}: {last['contributors']} clients")
    said = f"last round {_text(last['round'])} at {at} gave no sum: {_text(last['why'])}; "
    return Text(said + _text(last["do"]), "red")


def _results(results: list[dict[str, Any]]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for one in results[:_MOST_RESULTS]:
        at = datetime.fromtimestamp(one["at"], UTC).strftime("%Y-%m-%d %H:%M")
        what = f"{one['contributors']} clients, each mean within {one['error']:.3g}"
        state = "waiting" if one["waiting"] else "taken"
        table.add_row(*(Text(_text(w)) for w in (one["round"], one["task"], at, what, state)))
    return Panel(table, title=Text("results"), title_align="left")


def _text(value: object) -> str:
    return printable(str(value))


def _bytes(size: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 10_240:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} GiB"
