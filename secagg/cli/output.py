"""What every command prints, and how it fails.

Standard output carries the answer: text for people or, with --json, exactly one JSON object.
Progress, warnings and errors go to standard error.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from secagg.errors import SecAggError, TooLarge

if TYPE_CHECKING:
    import numpy.typing as npt

FAILED = 2
"""The exit code of every error that has a message, wrong usage included."""


def report(data: Mapping[str, object], as_json: bool, render: Callable[[], None]) -> None:
    """The command's answer: one line of JSON, or whatever `render` prints.

    data: JSON's own types only. NaN and infinities, which JSON lacks, are a ValueError.
    """
    if as_json:
        typer.echo(json.dumps(data, allow_nan=False))
    else:
        render()


@contextmanager
def handled(as_json: bool = False) -> Iterator[None]:
    """Ends the command with one line on standard error and exit code 2 for an expected failure.

    Expected are SecAggError and OSError: what a user can cause and mend. With as_json standard
    output gets {"error": kind, "message": text} as well, so that a script has one object to read
    either way. Everything else is a bug and shows its traceback.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of our output has left; typer ends quietly
    except (SecAggError, OSError) as error:
        message = " ".join(str(error).split())
        typer.echo(f"error: {message}", err=True)
        if as_json:
            typer.echo(json.dumps({"error": type(error).__name__, "message": message}))
        raise typer.Exit(FAILED) from None


def warn(text: str) -> None:
    typer.echo(f"warning: {text}", err=True)


def notices() -> Console:
    """The console on standard error, for progress: made when used, as tests swap the streams."""
    return Console(file=sys.stderr)


def rows(pairs: Mapping[str, object]) -> None:
    """`name  value` lines with the values aligned; never wrapped, so that grep and cut work."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        typer.echo(f"{name:<{width}}  {value}")


def read_at_most(path: Path, limit: int) -> bytes:
    """The file, or TooLarge: also for what does not say its size beforehand, such as a pipe."""
    with path.open("rb") as source:
        data = source.read(limit + 1)
    if len(data) > limit:
        raise TooLarge(f"{path} has more than {limit} bytes")
    return data


def write_whole(path: Path, data: bytes, *, force: bool, mode: int = 0o666) -> None:
    """The whole file or none of it; FileExistsError for one that is there, unless forced.

    mode: of the file from its first byte on, less what the umask takes.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is not a folder")  # and not the temporary name
    draft = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        with open(draft, "xb", opener=partial(os.open, mode=mode)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # before its name: after a loss of power it is whole as well
        if force:
            os.replace(draft, path)
        else:
            os.link(draft, path)  # unlike a rename, it fails where the name is taken
    except FileExistsError:
        raise FileExistsError(f"{path} exists; --force replaces it") from None
    finally:
        draft.unlink(missing_ok=True)


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    """As .npy; replaces a file of that name, whole."""
    import numpy as np

    whole = io.BytesIO()
    np.save(whole, array, allow_pickle=False)
    write_whole(path, whole.getvalue(), force=True)
