"""A store whose disk fails, or whose process dies, in any call of the system (03 §1.5)."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from secagg.store.sqlite import SqliteStore
from tests.store import faults

SPACE, OWNER = bytes(17), bytes(32)

COMMITTING = """
import sys
from secagg.effects import Write
from secagg.errors import StorageError
from secagg.store import sqlite
from secagg.store.base import forget
from secagg.store.sqlite import SqliteStore
sqlite.LOG_LIMIT = 60_000  # so that one of the batches is followed by a checkpoint
space = bytes(17)
def batch(number):
    kept = [Write(space + b"total", bytes([number]) * 30_000), Write(space + b"%d" % number, b"v")]
    return [forget(space[:16])] * (number == 3) + kept
print("opening", flush=True)
store = None
try:
    store = SqliteStore.open(sys.argv[1], owner=bytes(32))
    print("opened", flush=True)
    for number in range(1, 5):
        store.commit(batch(number))
        print("committed", flush=True)
    store.close()
    print("closed", flush=True)
except StorageError:
    print("stopped", flush=True)
    for use in (lambda: store.commit(batch(9)), lambda: list(store.rows())):
        try:
            store and use()
            print("accepted " * (store is not None))
        except StorageError:
            pass
"""
SAID = ["opening", "opened", "committed", "committed", "committed", "committed", "closed"]


def _state(number: int) -> dict[bytes, bytes]:
    """After so many batches; the third forgets those before."""
    first = 3 if number >= 3 else 1
    rows = {SPACE + b"%d" % i: b"v" for i in range(first, number + 1)}
    return rows | ({SPACE + b"total": bytes([number]) * 30_000} if number else {})


def _whole_batches_and_all_that_were_acknowledged(path: Path, said: list[str]) -> None:
    assert "accepted" not in said
    acknowledged = said.count("committed")
    with SqliteStore.open(path, owner=OWNER) as store:
        found = dict(store.rows())
    assert found in [_state(acknowledged), _state(min(4, acknowledged + 1))]


@faults.needs_strace
def test_killed_at_every_call_of_the_system(tmp_path: Path) -> None:
    """Row 90: SIGKILL before each write, sync, truncation and rename, from the file's making on."""
    traced = faults.whole(COMMITTING, tmp_path / "whole.db")
    assert traced.said == SAID and traced.count("ftruncate"), "a checkpoint is among them"
    seen = set()
    for name in faults.WATCHED:
        for nth, path in faults.in_folders(tmp_path, name, traced.places(name)):
            died = faults.run(COMMITTING, path, "-e", f"inject={name}:signal=KILL:when={nth}")
            assert died.code == -signal.SIGKILL and died.said == SAID[: len(died.said)]
            _whole_batches_and_all_that_were_acknowledged(path, died.said)
            seen.add(len(died.said))
    assert seen >= {1, 2, 3, 4, 5}, "every stage died once"


@faults.needs_strace
@pytest.mark.parametrize(
    ("error", "names"),
    [("ENOSPC", ["pwrite64"]), ("EROFS", ["pwrite64"]), ("EIO", ["fdatasync", "fsync"])],
)
def test_a_disk_that_is_full_or_fails_stops_the_store(
    tmp_path: Path, error: str, names: list[str]
) -> None:
    """Rows 95 and 96: at one write or sync; the next would succeed, and is not asked. While it is
    closed a store only tidies up, and what fails there is nobody's loss."""
    traced = faults.whole(COMMITTING, tmp_path / "whole.db")
    for name in names:
        numbers = traced.places(name, beside=tmp_path)
        for nth, path in faults.in_folders(tmp_path, name, numbers):
            said = faults.run(
                COMMITTING, path, "-e", f"inject={name}:error={error}:when={nth}"
            ).said
            if said.count("committed") < 4:
                assert said[-1] == "stopped" and said[:-1] == SAID[: len(said) - 1]
            _whole_batches_and_all_that_were_acknowledged(path, said)


@faults.needs_strace
def test_a_store_whose_folder_may_not_be_written_any_more(tmp_path: Path) -> None:
    """Row 101: root would pass over a mode. What is open stays so; what opens is refused."""
    faults.whole(COMMITTING, tmp_path / "whole.db")
    path = tmp_path / "file.db"
    SqliteStore.open(path, owner=OWNER).close()
    for file in (path, path.with_name("file.db-wal")):
        fault = ("-P", str(file), "-e", "inject=openat:error=EACCES")
        assert faults.run(COMMITTING, path, *fault).said == ["opening", "stopped"]
        _whole_batches_and_all_that_were_acknowledged(path, [])
