"""Did a round get faster? This checkout against an old commit, both running, turn by turn.

50 clients, the complete graph (k = 49, t = 26 at both, whatever either would choose), 1,000,000
elements of 16 bits, 5 clients lost after share-keys. Each side is a process of its own with its
own source first on the path, the same interpreter and packages, and a cache of compiled kernels of
its own; both run bench/turn.py, which has the real machines and times their calls alone: what
travels between them, inputs and the check of the sum are not counted. Every sum is compared with
plain integers. Seconds are CPU, of one thread; the sides take turns, so that a busy machine is
busy for both, and medians are compared. The first round of each, which compiles, is not counted.

server, client: old CPU / ours; a client's is the mean of those that stayed.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from statistics import median

from bench.common import ROOT, Missing, Ratio, Row, Selection, main, pick, progress
from secagg.errors import IntegrityError, ParameterError, PolicyRefused

NAME = "round"

BASE = "cc822c03bd1deedc648294846966cc6f72a6ecad"
CASE = {"n": 50, "d": 1_000_000, "drop": 0.1, "bits": 16, "rounding": "nearest"}
TURNS = 15
WORKER = Path(__file__).with_name("turn.py")
WARM = 1000
"""Elements of the round that is not counted, which compiles or loads the kernels."""


def rows(selection: Selection) -> Iterator[Row]:
    cases = selection.cases([CASE])
    with ExitStack() as stack:
        base = stack.enter_context(_checked_out(BASE))
        old = stack.enter_context(_running(BASE[:7], base))
        new = stack.enter_context(_running("this checkout", ROOT))
        for case in cases:
            yield case | _row(old, new, **case)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    row = pick(rows, **CASE)
    if row is None:
        absent = Missing("needs the row " + ",".join(f"{k}={v}" for k, v in CASE.items()))
        return {"server": absent, "client": absent}
    return {side: row[f"old_{side}_ms"] / row[f"{side}_ms"] for side in ("server", "client")}


class _Side:
    """A process that runs rounds of one source tree, one for each request."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self.name, self._process = name, process

    def ask(self, request: Row) -> Row:
        self._write(json.dumps(request) + "\n")
        return self.answer()

    def answer(self) -> Row:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            code = self._process.wait()
            raise IntegrityError(
                f"the rounds of {self.name} ended with code {code}; why stands on standard error, "
                "and no figure counts"
            )
        answer: Row = json.loads(line)
        return answer

    def _write(self, line: str) -> None:
        if self._process.stdin is None or self._process.poll() is not None:
            return  # `answer` says how it ended
        self._process.stdin.write(line)
        self._process.stdin.flush()


@contextmanager
def _running(name: str, source: Path) -> Iterator[_Side]:
    """IntegrityError where another source than this is what the process would run."""
    path = os.pathsep.join([str(source), str(source / "protocols")])
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {
            "PYTHONPATH": path,
            "PYTHONSAFEPATH": "1",  # or the worker's own folder would come first
            "NUMBA_CACHE_DIR": cache,
        }
        pipe = subprocess.PIPE
        command = [sys.executable, str(WORKER)]
        with subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env=environment
        ) as process:
            try:
                side = _Side(name, process)
                found = Path(side.answer()["source"]).resolve()
                if not found.is_relative_to(source.resolve()):
                    raise IntegrityError(f"the process for {name} runs {found}, outside {source}")
                yield side
            finally:
                process.kill()


@contextmanager
def _checked_out(commit: str) -> Iterator[Path]:
    """PolicyRefused where the repository does not have it, as a shallow clone may not."""
    git = ["git", "-C", str(ROOT)]
    try:
        done = subprocess.run([*git, "archive", commit, "secagg", "protocols"], capture_output=True)
    except OSError as error:
        raise PolicyRefused(f"git is needed to check out {commit[:7]}: {error.strerror}") from None
    if done.returncode:
        raise PolicyRefused(
            f"commit {commit[:7]}, against which this is measured, is not in this clone: "
            "`git fetch --unshallow` brings it where the clone is a shallow one"
        )
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)


def _row(old: _Side, new: _Side, n: int, d: int, drop: float, bits: int, rounding: str) -> Row:
    k, t, dropped = n - 1, n // 2 + 1, round(Fraction(str(drop)) * n)
    if n - dropped < max(t, 3):
        raise ParameterError(f"{n} clients less {dropped} are fewer than t = {t}, or than three")
    request: Row = {"n": n, "k": k, "t": t, "bits": bits, "dropped": dropped, "rounding": rounding}
    for side in (old, new):
        side.ask(request | {"d": min(d, WARM)})
    answers: dict[str, list[Row]] = {old.name: [], new.name: []}
    with progress(f"n = {n}, d = {d:,}") as tell:
        for turn in range(TURNS):
            for side in (old, new) if turn % 2 == 0 else (new, old):
                answers[side.name].append(side.ask(request | {"d": d}))
            tell("turns", turn + 1, TURNS)
    ours = _medians(answers[new.name])
    theirs = {f"old_{name}": value for name, value in _medians(answers[old.name]).items()}
    return {"k": k, "t": t, "dropped": dropped, "base": BASE, "exact": True, **ours, **theirs}


def _medians(answers: Sequence[Row]) -> Row:
    """Milliseconds: of every turn, the median of whole rounds, and medians of each phase."""
    found: Row = {}
    for side, parties in (("server", 1), ("client", answers[0]["stayed"])):
        each = [_each_ms(answer[side], parties) for answer in answers]
        turns = [round(sum(phases.values()), 3) for phases in each]
        found[f"{side}_ms"] = median(turns)
        found[f"{side}_turns_ms"] = turns
        found[f"{side}_phases_ms"] = {
            phase: median(phases[phase] for phases in each) for phase in each[0]
        }
    return found


def _each_ms(seconds: Mapping[str, float], parties: int) -> dict[str, float]:
    return {phase: round(1000 * spent / parties, 3) for phase, spent in seconds.items()}


if __name__ == "__main__":
    main(NAME)
