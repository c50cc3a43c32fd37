"""The demo on a terminal: a table that fills while it runs, and a summary in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from secagg.demo.result import Progress, Result, Row
from secagg.plans.plan import Plan
from secagg.shown import at_most

TOLD = ("What the server learns", "Who must take part", "Who may drop", "Who may collude")
"""The lines of a plan's explanation that a first reader needs; `secagg plan` prints them all."""

_NOTABLE = 0.01


def live(progress: Progress, console: Console) -> Live:
    """Draws `progress` again and again; on a console that is no terminal, once at the end."""
    return Live(
        console=console,
        refresh_per_second=8,
        get_renderable=lambda: table(progress),
        transient=True,
    )


def table(progress: Progress) -> RenderableType:
    """80 columns wide while no number grows by a digit."""
    drawn = Table(
        title="Federated training: every round a secure sum", box=None, padding=(0, 1, 0, 0)
    )
    for heading in ("#", "phase", "alive", "died before sending", "summed"):
        drawn.add_column(heading)
    for heading in ("error", "acc.", "plain", "sec", "kB up"):
        drawn.add_column(heading, justify="right")
    for row in progress.rows:
        drawn.add_row(*_finished(row, progress.clients))
    if progress.round > len(progress.rows):
        alive = str(progress.clients - len(progress.dropped))
        drawn.add_row(str(progress.round), progress.phase, alive, _dropped(progress.dropped))
    return Group(drawn, Text(progress.stage)) if progress.stage else drawn


def summarize(result: Result, progress: Progress, console: Console) -> None:
    """Prints the whole demo: rounds, one masked upload beside the true one, what it shows."""
    console.print(table(progress))
    console.print()
    console.print(upload(result))
    for paragraph in summary(result):
        console.print()
        console.print(Text(paragraph))
    for line in told(result.plan):
        console.print(Padding(Text(line), (0, 0, 0, 2)))


def summary(result: Result) -> Iterator[str]:
    """What happened and what it means, a paragraph a line."""
    plan, last = result.plan, result.rows[-1]
    yield (
        f"{plan.params.clients} clients, each a process of its own, trained on {result.samples} "
        f"handwritten digits for {len(result.rows)} rounds, in {result.seconds:.1f} seconds. "
        "Each sent its update masked, and the server got sums only; to check them, and only in "
        "this demo, each client also left its true update in a private directory."
    )
    yield (
        f"The server lost a client in the middle of a round {result.dropped} times: they kill "
        "themselves (SIGKILL) by a schedule from the seed, and a new process takes their place "
        "for the next round. No round was lost. Each sum is over exactly the clients whose masked "
        "update had arrived; one that died before sending its unmask message still counts."
    )
    yield _judgement(result)
    apart = abs(last.accuracy - last.plain_accuracy)
    yield (
        f"On {result.held_out} digits that no client had, the model is right in {last.accuracy:.1%}"
        f" of cases. The same training without cryptography: {last.plain_accuracy:.1%}"
        + ("." if apart <= _NOTABLE else ", which is more than a point apart.")
    )
    yield "The plan, in its own words:"


def told(plan: Plan) -> list[str]:
    """The headline of the plan's explanation, which tells of the graph, and the lines of TOLD."""
    first, *rest = plan.explain().splitlines()
    return [first, *(line for line in rest if line.startswith(TOLD))]


def _judgement(result: Result) -> str:
    broken = result.broken()
    if broken is not None:
        return f"THE CHECK FAILED: {broken}."
    return (
        "In every round the secure sum equals the plain integer sum of its contributors' rounded "
        f"updates, bit for bit. Against their unrounded mean the largest error was "
        f"{result.max_abs_error:.2g}; the plan promised at most {at_most(result.error_bound, 2)}. "
        f"{result.clipped} elements were clipped."
    )


def upload(result: Result) -> Table:
    """One upload of the last round, as it came and as it was."""
    masked = result.masked
    last = masked.first + len(masked.true) - 1
    drawn = Table(
        title=f"One upload of the last round: client {masked.client}, elements {masked.first} to "
        f"{last}, as {masked.ring_bits}-bit integers",
        caption=f"{masked.unchanged} of {masked.length} elements arrived unchanged",
    )
    drawn.add_column("its rounded update * its weight", justify="right")
    drawn.add_column("what the server got of it", justify="right")
    for true, received in zip(masked.true, masked.received, strict=True):
        drawn.add_row(f"{true:,}", f"{received:,}")
    return drawn


def _finished(row: Row, clients: int) -> tuple[str, ...]:
    return (
        str(row.round),
        "done" if row.exact else "NOT EXACT",
        str(clients - len(row.dropped)),
        _dropped(row.dropped),
        str(row.contributors),
        f"{row.max_abs_error:.2g}",
        f"{row.accuracy:.1%}",
        f"{row.plain_accuracy:.1%}",
        f"{row.seconds:.1f}",
        f"{row.bytes_up / 1000:.1f}",
    )


def _dropped(dropped: Mapping[int, str]) -> str:
    return "\n".join(f"{client}: {phase}" for client, phase in dropped.items()) or "-"
