"""Rivals: other projects' code, measured in virtual environments of their own.

A rival is never a dependency, as its pins would become ours (Flower wants rich<15), and never
imported here: its driver runs in another process and answers in JSON. The environment is made
beside .venv by the first call, which needs a package index, and again when requirements change.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve().parent / "rivals"
INSTALL_SECONDS = 900.0

Command: TypeAlias = Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Outcome:
    """figures: the driver's JSON object; None if there is none, and then reason says why."""

    figures: dict[str, Any] | None
    reason: str = ""


class Unavailable(Exception):
    """A rival that cannot be installed or run."""


def flower(task: str, /, **parameters: Any) -> Outcome:
    """Flower's SecAgg+: `task` is mask, shamir, quantize or round.

    Parameters, figures and what is counted are described in bench/rivals/flower/driver.py.
    Progress goes to standard error. Never raises for a fault of the rival's.
    """
    quiet = {"FLWR_LOG_LEVEL": "WARNING", "FLWR_TELEMETRY_ENABLED": "0"}
    try:
        python = _environment(ROOT / ".venv-flower", HERE / "flower" / "requirements.txt")
        driver = HERE / "flower" / "driver.py"
        command: Command = [python, "-I", driver, task, json.dumps(parameters)]
        return Outcome(_answer(command, os.environ | quiet))
    except Unavailable as why:
        return Outcome(None, f"flower: {why}")


def _environment(place: Path, requirements: Path) -> Path:
    """Its Python, once everything in `requirements` is installed in it.

    The stamp is written last, so that an installation that was cut short is begun again.
    """
    python, stamp = place / "bin" / "python", place / ".installed"
    wanted = requirements.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"making {place.name} from {requirements.relative_to(ROOT)}", file=sys.stderr)
    _install([sys.executable, "-m", "venv", "--clear", place])
    _install([python, "-m", "pip", "install", "--quiet", "--requirement", requirements])
    stamp.write_text(wanted)
    return python


def _install(command: Command) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except OSError as why:
        raise Unavailable(f"cannot be installed: {command[0]}: {why.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"not installed after {INSTALL_SECONDS:.0f} s") from None
    if done.returncode:
        raise Unavailable(f"cannot be installed: {_gist((done.stdout + done.stderr).splitlines())}")


def _gist(lines: list[str]) -> str:
    """The first line that pip marks as an error: what follows is advice. Else the last line."""
    said = [line.strip() for line in lines if line.strip()]
    return next((line for line in said if line.startswith("ERROR")), said[-1] if said else "")


def _answer(command: Command, environment: dict[str, str]) -> dict[str, Any]:
    """What the driver prints; its standard error is passed on line by line as it comes."""
    last: deque[str] = deque(maxlen=1)
    try:
        # A file cannot fill up as a pipe that nobody reads yet would.
        with (
            tempfile.TemporaryFile("w+") as output,
            subprocess.Popen(
                command, stdout=output, stderr=subprocess.PIPE, text=True, env=environment
            ) as driver,
        ):
            for line in driver.stderr or ():
                print(line, end="", file=sys.stderr)
                last.append(line.strip())
            code = driver.wait()
            output.seek(0)
            answer = output.read()
    except OSError as why:
        raise Unavailable(f"cannot be run: {command[0]}: {why.strerror}") from None
    if code:
        raise Unavailable(f"its driver ended with {code}: {''.join(last)}")
    try:
        figures = json.loads(answer)
    except json.JSONDecodeError as why:
        raise Unavailable(f"its driver did not print JSON: {why}") from None
    if not isinstance(figures, dict):
        raise Unavailable(f"its driver printed a {type(figures).__name__}, not an object")
    return figures
