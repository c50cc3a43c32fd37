"""What every command prints, and how it fails.

Standard output carries the answer: text for people or, with --json, exactly one JSON object.
Progress, warnings and errors go to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import typer
from rich.console import Console

from secagg.cli import logs
from secagg.cli.logs import Level
from secagg.errors import Aborted, IntegrityError, SecAggError
from secagg.shown import printable

NO_SUM = 1
"""The exit code where everybody did as they should, and there is no sum to give."""
FAILED = 2
"""The exit code of every other error that has a message, wrong usage included."""


def report(data: Mapping[str, object], as_json: bool, render: Callable[[], None]) -> None:
    """The command's answer: one line of JSON, or whatever `render` prints.

    data: JSON's own types only. NaN and infinities, which JSON lacks, are a ValueError.
    """
    if as_json:
        _answer(json.dumps(data, allow_nan=False))
    else:
        render()


def _answer(line: str) -> None:
    """To standard output. What a full disk did not take is not tried again when Python ends."""
    try:
        typer.echo(line)
    except BrokenPipeError:
        raise
    except OSError:
        with suppress(OSError, ValueError):  # a stream without a file
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


@contextmanager
def handled(as_json: bool = False) -> Iterator[None]:
    """Ends the command with one line on standard error and exit code 1 or 2, as above.

    Expected are SecAggError and OSError, what a user can cause and mend, and want of memory. With
    as_json standard output gets {"error": kind, "message": text} as well, so that a script has one
    object to read either way. Everything else is a bug and shows its traceback.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of our output has left; typer ends quietly
    except (SecAggError, OSError, MemoryError) as error:
        fail(type(error).__name__, _words(error), as_json)
        no_sum = isinstance(error, Aborted | IntegrityError)
        raise typer.Exit(NO_SUM if no_sum else FAILED) from None


def fail(kind: str, message: str, as_json: bool) -> None:
    """Says why on standard error and, with as_json, on standard output, if that takes anything."""
    message = " ".join(message.split())
    if logs.in_json():
        logs.say(Level.ERROR, message, error=kind)
    else:
        typer.echo(f"error: {printable(message)}", err=True)
    if as_json:
        with suppress(OSError):
            _answer(json.dumps({"error": kind, "message": message}))


def _words(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "there is not enough memory for this on this machine"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def warn(text: str) -> None:
    """One line on standard error, of what a user should know and the command survives."""
    if logs.in_json():
        logs.say(Level.WARNING, text)
    else:
        typer.echo(f"warning: {printable(text)}", err=True)


def notice(text: str, **fields: object) -> None:
    """What a user waits for, such as the port; several lines where they are ours. fields: of it."""
    if logs.in_json():
        logs.say(Level.INFO, text, **fields)
    else:
        typer.echo(text, err=True)


def notices() -> Console:
    """The console on standard error, for progress: made when used, as tests swap the streams."""
    return Console(file=sys.stderr)


def rows(pairs: Mapping[str, object]) -> None:
    """`name  value` lines with the values aligned; never wrapped, so that grep and cut work."""
    width = max(map(len, pairs), default=0)
    lines = [printable(f"{name:<{width}}  {value}") for name, value in pairs.items()]
    typer.echo("\n".join(lines))  # in one piece: commands side by side may share a file


def encodable() -> None:
    """Standard output of another encoding than ours shows escapes for what it lacks."""
    with suppress(AttributeError):  # a stream of somebody's own
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
