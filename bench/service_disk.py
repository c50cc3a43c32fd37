"""What a service does whose disk fails, is full, or has changed what was written.

`inject`: a service over TLS as a process under strace, four clients as processes; life after life
another one of its calls of the system on its store, or on the copy of its audit, fails once with
that error. `full`: its state is a file system of 8 MB; `reserve`: the same, of which half is to
stay free. `cut`, `flip`: after some rounds the store is cut, or a bit of it is another, at so many
places, then it is opened as a start does: its file, of a service that was put down, or its log, of
one that was killed.

Every verdict is by what the service says when it ends, which must name a file: `stopped` and
`refused`, and in the log. Whoever is neither is `alive`: what failed was no part of the store, or
of bytes that nothing is in; then all is there. After each life of `inject` and `full` the oracle of
bench.service_crash compares the store with every client's word; and no file that opens may have any
result but exact ones that were stored.

survived: wrong sums and unnamed ends, which are errors, so that a row that is there has none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.common import Ratio, Row, Selection, main, progress
from bench.service_crash import CLIENTS, LONGEST, STRAIGHT, compared, stored
from bench.service_ground import (
    STATE,
    Ground,
    Tasked,
    environment,
    ground,
    until,
)
from bench.service_mortal import Cast
from secagg.errors import IntegrityError, SecAggError, StorageError
from secagg.service.serving import COPY, STORE
from secagg.store.database import LOG

NAME: str = "service-disk"

GRID: list[Row] = [
    *(
        {"run": "inject", "error": error, "call": call, "times": times}
        for error in ("EIO", "ENOSPC")
        for call, times in (("pwrite64", 26), ("fdatasync", 14), ("write", 10))
    ),
    {"run": "full", "megabytes": 8},
    {"run": "reserve", "megabytes": 8},
    *({"run": run, "file": name, "times": 50} for run in ("cut", "flip") for name in ("", LOG)),
]
BIG = 20_000
"""Elements, so that a few results are megabytes."""


def rows(selection: Selection) -> Iterator[Row]:
    runs: dict[str, Callable[..., Row]] = {
        "inject": _injected,
        "full": _full,
        "reserve": _reserved,
        "cut": _damaged,
        "flip": _damaged,
    }
    for case in selection.cases(GRID):
        given = {name: value for name, value in case.items() if name != "run"}
        if runs[str(case["run"])] is _damaged:
            given["how"] = case["run"]
        yield case | runs[str(case["run"])](**given)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    return {"survived": float(len(rows))}


def _task(d: int = 64) -> Tasked:
    more = (STRAIGHT,)
    return Tasked("disk", range(CLIENTS), CLIENTS, d, CLIENTS, dropout=0.25, more=more)


@contextmanager
def _played(place: Ground, task: Tasked) -> Iterator[Cast]:
    with TemporaryDirectory() as folder:
        cast = Cast(place, task, Path(folder))
        try:
            for member in task.members:
                cast.attend(member)
            yield cast
        finally:
            cast.close()


def _injected(error: str, call: str, times: int) -> Row:
    task, seen = _task(), Counter[str]()
    with ground(task) as place, _played(place, task) as cast, progress(f"{call} {error}") as tell:
        for number in range(1, times + 1):
            when = number if call != "write" else (number - 1) // 2 + 1
            seen[_life(place, call, error, when)] += 1
            tell("lives", number, times)
            stored(place, task)
        words = _lived_on(place, cast, task)
    return {"verdicts": dict(seen), **words}


def _life(place: Ground, call: str, error: str, when: int) -> str:
    """One service, until it ends or has a round behind it."""
    log = place.folder / "log"
    log.unlink(missing_ok=True)
    files = [place.store, place.store.with_name(STORE + LOG), place.store.with_name(COPY)]
    paths = [word for path in files for word in ("-P", str(path))]
    inject = f"inject={call}:error={error}:when={when}"
    strace = ["strace", "-f", "-qq", "-o", str(place.folder / "trace"), *paths]
    strace += ["-e", f"trace={call}", "-e", inject]
    (place.folder / STATE / "console.token").unlink(missing_ok=True)
    with log.open("ab") as file:
        process = subprocess.Popen(
            [*strace, sys.executable, "-m", "secagg.cli", "serve", "--config", str(place.config)],
            stdout=file,
            stderr=file,
            env=environment(),
        )
    try:
        _until_round(place, process)
    finally:
        _ended(process)
    said = log.read_text()
    hit = "(INJECTED)" in (place.folder / "trace").read_text()
    if not hit:
        return "not reached"
    if process.returncode < 0:
        return _named(said, "alive")
    if STORE not in said:
        raise IntegrityError(f"a service ended with {process.returncode} and names no file: {said}")
    return "stopped" if "listening" in said else "refused"


def _named(said: str, verdict: str) -> str:
    """Alive, and what could not be copied is in the log."""
    return f"{verdict}, logged" if COPY in said else verdict


def _until_round(place: Ground, process: subprocess.Popen[bytes]) -> None:
    end, before = time.monotonic() + LONGEST, None
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
        try:
            if not (place.folder / STATE / "console.token").is_file():
                continue
            state = place.ask()
            if state["tasks"]["disk"]["held"] is not None:
                if any("audit" in one for one in state["reasons"]):
                    return
                if "draining" in str(state["tasks"]["disk"]["held"]):
                    return
                place.ask(do="resume", name="disk")
            results = len(place.ask(do="results")["results"])
        except (SecAggError, OSError):
            continue
        before = results if before is None else before
        if results > before + 1:
            return


def _ended(process: subprocess.Popen[bytes]) -> None:
    """The tracer's child is the service: killed with it."""
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    if process.poll() is None:
        for child in children:
            os.kill(int(child), 9)
    process.wait(30)


def _lived_on(place: Ground, cast: Cast, task: Tasked) -> Row:
    """Once nothing fails any more there is another round, and every word is held against it."""
    before = len(stored(place, task))
    cast.serve()
    until(lambda: cast.listens, LONGEST, "a service whose disk is mended")
    until(lambda: _more(place, before), LONGEST, "a round after the disk is mended")
    time.sleep(0.5)
    cast.close()
    return compared(stored(place, task), cast.told())


def _more(place: Ground, before: int) -> bool:
    try:
        if place.ask()["tasks"]["disk"]["held"] is not None:
            place.ask(do="resume", name="disk")
        return len(place.ask(do="results")["results"]) > before
    except SecAggError:
        return False


@contextmanager
def _small(place: Ground, megabytes: int) -> Iterator[Path]:
    """Its state on a file system of that size; needs root."""
    state, kept = place.folder / STATE, place.folder / "before"
    shutil.copytree(state, kept)
    size = f"size={megabytes}m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(state)], check=True)
    try:
        for one in kept.iterdir():
            shutil.copy2(one, state / one.name)
        yield state
    finally:
        subprocess.run(["umount", "--lazy", str(state)], check=True)


def _full(megabytes: int) -> Row:
    task = _task(BIG)
    with (
        ground(task, limits={"disk_reserve": '"1 KiB"'}) as place,
        _small(place, megabytes) as state,
        _played(place, task) as cast,
    ):
        process = cast.serve()
        process.join(LONGEST)
        said = place.log.read_text()
        if process.exitcode in (None, 0) or STORE not in said:
            raise IntegrityError(f"a full disk has not stopped the service: {said[-500:]}")
        cast.close()
        kept = stored_in_copy(place, task, state)
        return {"ended": said.strip().splitlines()[-1][-120:], **compared(kept, cast.told())}


def stored_in_copy(place: Ground, task: Tasked, state: Path) -> dict[str, list[int]]:
    """What is in a store on a disk without room, read where there is some."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "service"
        (copy / STATE).mkdir(parents=True, mode=0o700)
        for one in state.iterdir():
            if one.is_file():
                shutil.copy2(one, copy / STATE / one.name)
        return stored(Ground(copy, (task,), place.port, place.key), task)


def _reserved(megabytes: int) -> Row:
    """It lives, has no further round, and says so; it has one when there is room again."""
    task, half = _task(BIG), f'"{megabytes // 2} MiB"'
    with (
        ground(task, limits={"disk_reserve": half, "wal": '"1 MiB"'}) as place,
        _small(place, megabytes) as state,
        _played(place, task) as cast,
    ):
        process = cast.serve()
        until(lambda: cast.listens, LONGEST, "a service on a small disk")
        until(lambda: _waits(place), LONGEST, "a reserve that is reached")
        why, count = place.ask()["tasks"]["disk"]["waits"], _count(place)
        time.sleep(3.0)
        if _count(place) != count or process.exitcode is not None:
            raise IntegrityError("a round began without the reserve on the disk")
        subprocess.run(["mount", "-o", "remount,size=64m", str(state)], check=True)
        until(lambda: _count(place) > count, LONGEST, "a round when there is room again")
        cast.close()
        return {"waits": why, **compared(stored_in_copy(place, task, state), cast.told())}


def _waits(place: Ground) -> bool:
    try:
        return bool(place.ask()["tasks"]["disk"]["waits"])
    except SecAggError:
        return False


def _count(place: Ground) -> int:
    return len(place.ask(do="results")["results"])


def _damaged(how: str, file: str, times: int) -> Row:
    """file: how the name of the one of the two files ends."""
    task, seen = _task(2000), Counter[str]()
    with ground(task) as place, _played(place, task) as cast, TemporaryDirectory() as folder:
        cast.serve()
        until(lambda: cast.listens and _more(place, 7), LONGEST, "eight rounds")
        if cast.server is not None:
            cast.server.kill()
            cast.server.join()
        kept = Path(folder) / "kept"
        if not file:
            stored(place, task)  # opened and closed: all of it is in the one file
        shutil.copytree(place.folder / STATE, kept)
        whole = stored(place, task)
        for number in range(times):
            seen[_opened(place, task, kept, STORE + file, how, number / times, whole)] += 1
    return {"verdicts": dict(seen), "rounds": len(whole)}


def _opened(
    place: Ground,
    task: Tasked,
    kept: Path,
    name: str,
    how: str,
    at: float,
    whole: Mapping[str, list[int]],
) -> str:
    state = place.folder / STATE
    shutil.rmtree(state)
    shutil.copytree(kept, state)
    path = state / name
    data = bytearray(path.read_bytes())
    position = int(at * len(data))
    if how == "cut":
        del data[position:]
    else:
        data[position] ^= 1
    path.write_bytes(data)
    try:
        found = stored(place, task)
    except StorageError as refused:
        if STORE not in str(refused):
            raise IntegrityError(f"a refusal names no file: {refused}") from None
        return "refused"
    if not found.items() <= whole.items():
        raise IntegrityError(f"{name}, {how} at {position}: a result that there was not")
    return "all there" if found == whole else "earlier"


if __name__ == "__main__":
    main(NAME)
