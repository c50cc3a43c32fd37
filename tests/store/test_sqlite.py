"""The file: one writer, one owner, permissions, damage, a full disk, a process that is killed."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from secagg.effects import Write
from secagg.errors import StorageError
from secagg.store import database, sqlite
from secagg.store.sqlite import SqliteStore

OWNER = bytes(range(32))
SPACE = bytes(17)
"""A namespace and the byte of an owner."""
ROWS_A_BATCH = 12

CHILD = """
import sys
from secagg.errors import StorageError
from secagg.effects import Write
from secagg.store.sqlite import SqliteStore
path, owner, space = sys.argv[1], bytes(range(32)), bytes(17)
"""

COMMITTING = """
from secagg.store import sqlite
sqlite.LOG_LIMIT = 400_000  # checkpoints too are killed
def batch(number):
    value = number.to_bytes(4) * 500
    fresh = [Write(space + b"batch/%08d/%d" % (number, i), value) for i in range(11)]
    return [Write(space + b"total", number.to_bytes(4) * 20_000), *fresh]
with SqliteStore.open(path, owner=owner) as store:
    number = int.from_bytes(dict(store.rows()).get(space + b"total", bytes(4))[:4])
    while True:
        number += 1
        store.commit(batch(number))
        print(number, flush=True)
"""


def _open(path: Path) -> SqliteStore:
    return SqliteStore.open(path, owner=OWNER)


def _child(code: str, path: Path, *before: str, **options: object) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-c", CHILD + code, str(path)]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, **options)  # type: ignore[call-overload, no-any-return]


def _last_batch(rows: dict[bytes, bytes]) -> int:
    """The number of the last batch, after a check that all up to it are there, whole."""
    if not rows:
        return 0
    last = int.from_bytes(rows[SPACE + b"total"][:4])
    expected = {SPACE + b"total": last.to_bytes(4) * 20_000}
    for number in range(1, last + 1):
        for i in range(11):
            expected[SPACE + b"batch/%08d/%d" % (number, i)] = number.to_bytes(4) * 500
    assert rows == expected
    return last


def test_a_killed_writer_leaves_whole_batches_and_all_that_it_acknowledged(tmp_path: Path) -> None:
    """Row 90: SIGKILL at twenty moments of commits and checkpoints, each on the last one's file."""
    path, acknowledged = tmp_path / "store.db", 0
    for round_number in range(20):
        with _child(COMMITTING, path) as child:
            assert child.stdout is not None
            child.stdout.readline()
            stop = threading.Timer(0.003 * round_number, child.kill)
            stop.start()
            lines = child.stdout.read().splitlines(keepends=True)
            stop.join()
        assert child.returncode == -signal.SIGKILL
        whole = [int(line) for line in lines if line.endswith("\n")]
        with _open(path) as store:
            last = _last_batch(dict(store.rows()))
        assert last >= max([acknowledged + 1, *whole])
        acknowledged = last


def test_two_processes_and_two_objects(tmp_path: Path) -> None:
    """Row 94: the second is refused, is told which file, and does no harm to the first."""
    path = tmp_path / "store.db"
    with _open(path) as store:
        with pytest.raises(StorageError, match=r"store\.db is in use"):
            _open(path)
        other = "try: SqliteStore.open(path, owner=owner)\nexcept StorageError as e: print(e)"
        with _child(other, path) as child:
            said, _ = child.communicate()
        assert str(path) in said and "in use" in said
        path.read_bytes()  # closing this descriptor takes SQLite's own locks away, not ours
        with _child(other, path) as child:
            assert "in use" in child.communicate()[0]
        store.commit([Write(SPACE + b"k", b"v")])
    with _open(path) as store:
        assert list(store.rows()) == [(SPACE + b"k", b"v")]


def test_a_link_is_the_same_store(tmp_path: Path) -> None:
    """Row 94: another name for the file is no way round the lock."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "store.db")
    with _open(tmp_path / "store.db"), pytest.raises(StorageError, match="in use"):
        _open(tmp_path / "folder" / "link")


def test_sqlite_itself_refuses_others(tmp_path: Path) -> None:
    """Row 94: a tool that knows nothing of the lock file can neither read nor write."""
    with _open(tmp_path / "store.db"):
        code = "import sqlite3\ntry: sqlite3.connect(path, timeout=0).execute('SELECT * FROM rows')"
        with _child(
            code + "\nexcept sqlite3.OperationalError as e: print(e)", tmp_path / "store.db"
        ) as c:
            assert "locked" in c.communicate()[0]


def test_another_owner_and_another_version(tmp_path: Path) -> None:
    """Row 102: each is refused with what to do, and the file is as before."""
    path = tmp_path / "store.db"
    with _open(path) as store:
        store.commit([Write(SPACE + b"k", b"v")])
    with pytest.raises(StorageError, match="another task"):
        SqliteStore.open(path, owner=OWNER[:-1] + b"x")
    for version in (0, 1, 4):
        _execute(path, f"PRAGMA user_version = {version}")
        with pytest.raises(StorageError, match=f"version {version}.*finish its tasks"):
            _open(path)
    _execute(path, "PRAGMA user_version = 3")
    with _open(path) as store:
        assert list(store.rows()) == [(SPACE + b"k", b"v")]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("PRAGMA application_id = 7", "no store"),
        ("CREATE TABLE more (x)", "other tables"),
        ("CREATE TRIGGER t AFTER UPDATE ON head BEGIN DELETE FROM rows; END", "other tables"),
        ("DELETE FROM head", "another task"),
        ("DELETE FROM rows WHERE key = x'{SPACE}01'", "not those of one batch"),
        ("UPDATE rows SET value = x'00' WHERE key = x'{SPACE}01'", "checksum"),
        ("UPDATE rows SET value = 'text' WHERE key = x'{SPACE}01'", "other types"),
        ("UPDATE rows SET key = x'{SPACE}07' WHERE key = x'{SPACE}01'", "checksum"),
        ("UPDATE head SET total = x'00'", "not those of one batch"),
    ],
)
def test_what_was_changed_behind_its_back(tmp_path: Path, statement: str, message: str) -> None:
    """Row 97: rows lost, changed or moved are noticed when the file is opened."""
    path = tmp_path / "store.db"
    with _open(path) as store:
        store.commit([Write(SPACE + b"\x01", b"one"), Write(SPACE + b"\x02", b"two")])
    _execute(path, statement.replace("{SPACE}", SPACE.hex()))
    with pytest.raises(StorageError, match=message):
        _open(path)


def test_a_row_damaged_while_the_store_is_open(tmp_path: Path) -> None:
    """Row 97: every reading checks, and after damage nothing is written on top of it."""
    with _open(tmp_path / "store.db") as store:
        store.commit([Write(SPACE + b"k", b"v")])
        store._database.execute("UPDATE rows SET value = x'00'")
        with pytest.raises(StorageError, match="checksum"):
            list(store.rows())
        with pytest.raises(StorageError, match="refused: reading failed"):
            store.commit([Write(SPACE + b"k", b"v")])


def _execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()


# Rows 97: damage to the file and to the log


def _batches(count: int) -> list[dict[bytes, bytes]]:
    """The states after each batch: a total rewritten, rows added, changed and taken away.

    A part is nearly a page, so that a batch leaves pages alone which the next one changes.
    """
    states = [{SPACE + b"part%d" % n: bytes(6_000) for n in range(6)}]
    for n in range(1, count + 1):
        total = bytes([n]) * 20_000
        rows = states[-1] | {SPACE + b"row%d" % n: total[:300], SPACE + b"total": total}
        rows.pop(SPACE + b"row%d" % (n - 3), None)
        rows[SPACE + b"part%d" % (n % 6)] = bytes([n]) * 6_000
        states.append(rows)
    return states


STATES = _batches(8)


def _writes(before: dict[bytes, bytes], after: dict[bytes, bytes]) -> list[Write]:
    return [
        Write(key, after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _crash(folder: Path, *, copied: bool) -> Path:
    """A store as a killed process leaves it: batches 1 to 3 in the file, 4 to 8 in the log.

    copied: killed within a checkpoint, after the log was copied to the file.
    """
    with _open(folder / "live.db") as store:
        store.commit(_writes({}, STATES[0]))
        for number, (before, after) in enumerate(pairwise(STATES), start=1):
            store.commit(_writes(before, after))
            if number == 3:
                database.checkpoint(store._database)
        if copied:
            store._database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        for suffix in ("", "-wal", "-mark"):
            shutil.copy(folder / f"live.db{suffix}", folder / f"store.db{suffix}")
    return folder


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _crash(tmp_path_factory.mktemp("crashed"), copied=False)


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _crash(tmp_path_factory.mktemp("copied"), copied=True)


def _outcome(crashed: Path, where: Path, damage: Callable[[Path], None]) -> str:
    """'refused', or the number of the batch whose rows are there; anything else fails."""
    for name in ("store.db", "store.db-wal", "store.db-mark"):
        shutil.copy(crashed / name, where / name)
    damage(where)
    try:
        with _open(where / "store.db") as store:
            rows = dict(store.rows())
    except StorageError:
        return "refused"
    return str(STATES.index(rows))


def _flip(name: str, position: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[position % len(data)] ^= 1 << position % 8
        (folder / name).write_bytes(data)

    return damage


def _cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, size)


def test_an_undamaged_crash_loses_nothing(crashed: Path, copied: Path, tmp_path: Path) -> None:
    """Row 90: the last batch was acknowledged, and it is the state after recovery."""
    for folder in (crashed, copied):
        assert _outcome(folder, tmp_path, lambda where: None) == "8"


def test_flipped_bytes_of_the_file(crashed: Path, tmp_path: Path) -> None:
    """Row 97: a wrong row never; the pages that the log replaces may be damaged without harm."""
    size = (crashed / "store.db").stat().st_size
    positions = [*range(0, 120), *range(120, size, size // 150)]
    seen = {_outcome(crashed, tmp_path, _flip("store.db", p)) for p in positions}
    assert "refused" in seen and seen <= {"refused", "8"}


def test_flipped_bytes_of_a_file_without_a_log(tmp_path: Path) -> None:
    """Row 97: hardly a byte of the file can change unnoticed, and none that changes a row."""
    folder = tmp_path / "closed"
    folder.mkdir()
    with _open(folder / "store.db") as store:
        store.commit(_writes({}, STATES[8]))
    (folder / "store.db-wal").touch()
    size = (folder / "store.db").stat().st_size
    positions = range(1, size, size // 300)
    seen = [_outcome(folder, tmp_path, _flip("store.db", p)) for p in positions]
    assert set(seen) <= {"refused", "8"}
    assert seen.count("refused") > len(seen) // 3  # the rest is free space of pages


LOG = "store.db-wal"


def _positions(folder: Path) -> list[int]:
    size = (folder / LOG).stat().st_size
    return [*range(0, 64), *range(64, size, size // 200)]


def test_flipped_bytes_of_the_log(crashed: Path, tmp_path: Path) -> None:
    """Row 97: SQLite cuts the log at the damage, and would go on from the batches before it."""
    seen = {_outcome(crashed, tmp_path, _flip(LOG, p)) for p in _positions(crashed)}
    assert "refused" in seen and seen <= {"refused", "8"}


def test_flipped_bytes_of_a_log_that_was_copied(copied: Path, tmp_path: Path) -> None:
    """Row 97: pages of batch 8 lie under those of batch 5; the sum over all rows notices."""
    seen = {_outcome(copied, tmp_path, _flip(LOG, p)) for p in _positions(copied)}
    assert "refused" in seen and seen <= {"refused", "8"}


def test_truncated_files(crashed: Path, copied: Path, tmp_path: Path) -> None:
    """Row 97: what was acknowledged is missing in a log without its end; a torn file is refused or
    mended."""
    log = (crashed / LOG).stat().st_size
    seen = [_outcome(crashed, tmp_path, _cut(LOG, cut)) for cut in range(0, log, log // 60)]
    assert set(seen) == {"refused"}
    seen = [_outcome(copied, tmp_path, _cut(LOG, cut)) for cut in range(0, log, log // 60)]
    assert set(seen) <= {"refused", "8"} and seen[0] == "8"
    size = (crashed / "store.db").stat().st_size
    for cut in range(0, size, size // 60):
        assert _outcome(crashed, tmp_path, _cut("store.db", cut)) in ("refused", "8")
    assert _outcome(crashed, tmp_path, _cut("store.db", 0)) == "refused"


def test_a_missing_file_is_not_a_new_store(crashed: Path, tmp_path: Path) -> None:
    """Row 97: SQLite would delete the log and begin afresh."""
    assert _outcome(crashed, tmp_path, lambda folder: (folder / "store.db").unlink()) == "refused"
    assert (tmp_path / "store.db-wal").stat().st_size > 0


def test_what_is_said_of_a_log_that_was_cut(crashed: Path, tmp_path: Path) -> None:
    """Row 97: which file, what is missing, and what to do."""
    for name in ("store.db", "store.db-mark"):
        shutil.copy(crashed / name, tmp_path / name)
    with pytest.raises(StorageError, match=r"store\.db has come to transaction 4.*says 9.*Bring"):
        _open(tmp_path / "store.db")


def test_98_an_older_copy_in_the_place_of_a_store(tmp_path: Path) -> None:
    """Also one that was whole and closed; the mark knows that there was more."""
    path, copy = tmp_path / "store.db", tmp_path / "copy"
    with _open(path) as store:
        store.commit([Write(SPACE + b"k", b"1")])
    shutil.copy(path, copy)
    with _open(path) as store:
        store.commit([Write(SPACE + b"k", b"2")])
    shutil.copy(copy, path)
    with pytest.raises(StorageError, match="older copy"):
        _open(path)


def test_a_mark_that_is_older_is_that_of_a_loss_of_power(tmp_path: Path) -> None:
    """It is not synced, and never ahead: what is behind it is acknowledged all the same."""
    path = tmp_path / "store.db"
    with _open(path) as store:
        store.commit([Write(SPACE + b"k", b"1")])
        before = path.with_name("store.db-mark").read_bytes()
        store.commit([Write(SPACE + b"k", b"2")])
    path.with_name("store.db-mark").write_bytes(before)
    with _open(path) as store:
        assert dict(store.rows()) == {SPACE + b"k": b"2"}
        store.commit([Write(SPACE + b"k", b"3")])
    assert int.from_bytes(path.with_name("store.db-mark").read_bytes()[:8]) == 3


@pytest.mark.parametrize("position", range(24))
def test_a_mark_that_is_damaged_or_missing(position: int, tmp_path: Path) -> None:
    """Row 97: neither is an older mark nor a new store."""
    path, beside = tmp_path / "store.db", tmp_path / "store.db-mark"
    with _open(path) as store:
        store.commit([Write(SPACE + b"k", b"1")])
    data = bytearray(beside.read_bytes())
    data[position] ^= 1
    for wrong in (bytes(data), bytes(data[:position]), bytes(data) + b"x"):
        beside.write_bytes(wrong)
        with pytest.raises(StorageError, match="its mark .* is damaged"):
            _open(path)
    beside.unlink()
    with pytest.raises(StorageError, match="without its mark"):
        _open(path)


def test_a_mark_without_its_store(tmp_path: Path) -> None:
    """Row 97: of a store that was made and has nothing in it, there may be the mark alone."""
    path = tmp_path / "store.db"
    _open(path).close()
    path.unlink()
    with _open(path) as store:
        store.commit([Write(SPACE + b"k", b"1")])
    path.unlink()
    with pytest.raises(StorageError, match="is missing, but its mark"):
        _open(path)


def _version_2(path: Path, rows: dict[bytes, bytes]) -> None:
    """A store as the release before has made it: its tables and settings, by SQL."""
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute("PRAGMA page_size = 8192")
        old.execute("PRAGMA journal_mode = WAL").fetchall()
        old.execute("CREATE TABLE head (owner BLOB NOT NULL, total BLOB NOT NULL)")
        old.execute(
            "CREATE TABLE rows (key BLOB NOT NULL UNIQUE CHECK (length(key) > 16), "
            "checksum BLOB NOT NULL, value BLOB NOT NULL)"
        )
        old.execute(f"PRAGMA application_id = {0x5ECA667}")
        old.execute("PRAGMA user_version = 2")
        sums = {key: database.checksum(key, value) for key, value in rows.items()}
        old.executemany("INSERT INTO rows VALUES (?, ?, ?)", [(k, sums[k], rows[k]) for k in rows])
        total = database.checksum_sum([database.checksum(b"", OWNER), *sums.values()])
        old.execute("INSERT INTO head VALUES (?, ?)", (OWNER, total))
    path.chmod(0o600)


def test_102_a_store_of_the_version_before_is_brought_here(tmp_path: Path) -> None:
    """It opens with all its rows, and a copy of it as it was stays beside it."""
    path, rows = tmp_path / "store.db", STATES[8]
    _version_2(path, rows)
    before = path.read_bytes()
    with _open(path) as store:
        assert dict(store.rows()) == rows
        store.commit([Write(SPACE + b"more", b"1")])
    copy = tmp_path / "store.db-version-2"
    with closing(sqlite3.connect(copy)) as old:
        assert dict(old.execute("SELECT key, value FROM rows")) == rows
        assert database.pragma(old, "user_version") == 2
    assert copy.stat().st_mode & 0o777 == 0o600 and len(before) <= copy.stat().st_size
    with _open(path) as store:
        assert dict(store.rows()) == rows | {SPACE + b"more": b"1"}


def test_102_a_store_of_the_version_before_that_is_damaged_or_another_s(tmp_path: Path) -> None:
    """It stays as it was, and nothing is left beside it."""
    path = tmp_path / "store.db"
    for statement, message in (
        ("UPDATE rows SET value = x'00'", "checksum"),
        ("DELETE FROM rows", "not those of one batch"),
        ("UPDATE head SET owner = x'00'", "another task"),
        ("CREATE TABLE more (x)", "other tables"),
    ):
        path.unlink(missing_ok=True)
        _version_2(path, STATES[8])
        _execute(path, statement)
        with pytest.raises(StorageError, match=message):
            _open(path)
        left = {one.name for one in tmp_path.iterdir()}
        assert not {"store.db-version-2", "store.db-mark"} & left
        with closing(sqlite3.connect(path)) as old:
            assert database.pragma(old, "user_version") == 2


def test_no_database_at_all(tmp_path: Path) -> None:
    """Row 97."""
    path = tmp_path / "store.db"
    path.touch(0o600)
    for content in (b"", b"x", b"SQLite format 3", b"no database " * 4_000):
        path.write_bytes(content)
        with pytest.raises(StorageError, match=r"store\.db"):
            _open(path)
        assert path.read_bytes() == content


def test_a_creation_that_was_cut_short(tmp_path: Path) -> None:
    """Row 90: the half-made file has another name, and the next opening clears it away."""
    (tmp_path / "store.db-new").write_bytes(b"half")
    (tmp_path / "store.db-new-wal").write_bytes(b"half")
    with _open(tmp_path / "store.db") as store:
        assert list(store.rows()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "store.db",
        "store.db-lock",
        "store.db-mark",
    ]


# Rows 95, 96, 101: the disk and the folder

FULL = """
import resource
store = SqliteStore.open(path, owner=owner)
store.commit([Write(space + b"kept", b"v")])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
for number in range(100):
    try:
        store.commit([Write(space + b"%d" % number, bytes(30_000))])
    except StorageError as error:
        break
    print(number)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for refused in (lambda: store.commit([Write(space + b"late", b"")]), lambda: list(store.rows())):
    try:
        refused()
        print("accepted after a failure")
    except StorageError as error:
        assert path in str(error) and "refused" in str(error), error
store.close()
"""


def test_a_full_disk_stops_the_store(tmp_path: Path) -> None:
    """Row 95: what was acknowledged stays, nothing is accepted afterwards, and it opens again."""
    with _child(FULL, tmp_path / "store.db") as child:
        said = child.communicate()[0].split()
    assert child.returncode == 0 and said and said == [str(i) for i in range(len(said))]
    with _open(tmp_path / "store.db") as store:
        kept = {key for key, _ in store.rows()} - {SPACE + str(len(said)).encode()}
    assert kept == {SPACE + b"kept", *(SPACE + name.encode() for name in said)}


SYNCED = """
import os
store = SqliteStore.open(path, owner=owner)
# its sync is of the log's head, whatever the mode
store.commit([Write(space + b"first", os.urandom(8))])
print("opened", flush=True)
for number in range(3):
    try:
        store.commit([Write(space + b"%d" % number, os.urandom(8))])
        print("acknowledged", flush=True)
    except StorageError:
        print("stopped", flush=True)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to make fsync fail")
def test_a_failed_sync_is_never_acknowledged(tmp_path: Path) -> None:
    """Row 96: EIO from one sync alone; the next ones would succeed, and are not asked."""
    path = tmp_path / "store.db"
    _open(path).close()

    def run(*arguments: str) -> tuple[list[str], list[str]]:
        trace = tmp_path / "trace"
        strace = ["strace", "-f", "-o", str(trace), "-e", "trace=fsync,fdatasync,write", *arguments]
        with _child(SYNCED, path, *strace) as child:
            said = child.communicate()[0].split()
        calls = [line.split(" ", 1)[1].strip() for line in trace.read_text().splitlines()]
        return said, calls

    said, calls = run()
    if not said:
        pytest.skip("strace may not trace here")
    assert said == ["opened", *["acknowledged"] * 3]
    opened = next(i for i, call in enumerate(calls) if "opened" in call)
    name = next(call for call in calls[opened:] if call.startswith(("fsync", "fdatasync")))
    name = name.split("(")[0]
    nth = 1 + sum(call.startswith(name + "(") for call in calls[:opened])
    said, _ = run("-e", f"inject={name}:error=EIO:when={nth}")
    assert said == ["opened", *["stopped"] * 3]


def test_a_failed_checkpoint_stops_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 96: SQLite's own checkpoints would pass over the error in silence."""

    def fails(_: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with _open(tmp_path / "store.db") as store:
        assert database.pragma(store._database, "wal_autocheckpoint") == 0
        monkeypatch.setattr(sqlite, "LOG_LIMIT", 0)
        monkeypatch.setattr(database, "checkpoint", fails)
        with pytest.raises(StorageError, match="disk I/O error"):
            store.commit([Write(SPACE + b"k", b"v")])
        with pytest.raises(StorageError, match="refused"):
            store.commit([Write(SPACE + b"k", b"v")])
    monkeypatch.undo()
    with _open(tmp_path / "store.db") as store:
        assert list(store.rows()) == [(SPACE + b"k", b"v")]


def test_the_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 107: a total that is rewritten for ever takes no more room than the limit and itself."""
    monkeypatch.setattr(sqlite, "LOG_LIMIT", 1 << 20)
    with _open(tmp_path / "store.db") as store:
        for number in range(40):
            store.commit([Write(SPACE + b"total", bytes([number]) * 100_000)])
            assert (tmp_path / "store.db-wal").stat().st_size < (1 << 20) + 200_000
    assert (tmp_path / "store.db").stat().st_size < 200_000


def test_the_log_is_bounded_by_what_its_owner_says(tmp_path: Path) -> None:
    """The whole of a transaction may be in it beside: it is emptied after one, never within."""
    for name, limit in (("small", 0), ("large", 1 << 20)):
        path, largest = tmp_path / name, 0
        with SqliteStore.open(path, owner=OWNER, log=limit) as store:
            for number in range(20):
                store.commit([Write(SPACE + b"total", bytes([number]) * 100_000)])
                largest = max(largest, path.with_name(f"{name}-wal").stat().st_size)
        assert limit * 3 // 4 <= largest <= limit, "checked after each: emptied where it is above"


def test_the_settings_that_durability_rests_on(tmp_path: Path) -> None:
    with _open(tmp_path / "store.db") as store:
        found = {
            name: database.pragma(store._database, name)
            for name in ("journal_mode", "synchronous", "locking_mode", "page_size")
        }
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "locking_mode": "exclusive",
        "page_size": database.PAGE_SIZE,
    }


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_only_the_owner_may_read(tmp_path: Path, umask: int) -> None:
    """Row 101: every file, whatever the umask."""
    before = os.umask(umask)
    try:
        with _open(tmp_path / "store.db") as store:
            store.commit([Write(SPACE + b"k", b"v")])
            modes = {p.name: p.stat().st_mode & 0o777 for p in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes["store.db"] == modes["store.db-wal"] == 0o600
    assert modes["store.db-lock"] & 0o077 == 0


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """Row 101."""
    _open(tmp_path / "store.db").close()
    (tmp_path / "store.db").chmod(mode)
    with pytest.raises(StorageError, match="chmod"):
        _open(tmp_path / "store.db")


def test_folders_that_refuse(tmp_path: Path) -> None:
    """Row 101: a folder that is missing, one that is a file, one where nobody can write."""
    (tmp_path / "file").touch()
    folders = [tmp_path / "missing", tmp_path / "file"]
    if Path("/proc/self").is_dir():  # read-only even for root, who passes over a mode of 0500
        folders.append(Path("/proc/self"))
    for folder in folders:
        with pytest.raises(StorageError, match=r"store\.db: its lock"):
            _open(folder / "store.db")
    with pytest.raises(StorageError):
        _open(tmp_path)


def test_a_refused_opening_holds_nothing(tmp_path: Path) -> None:
    """Row 100: neither the lock nor a descriptor, so that a corrected call succeeds."""
    path = tmp_path / "store.db"
    _open(path).close()
    descriptors = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else None
    for _ in range(5):
        with pytest.raises(StorageError):
            SqliteStore.open(path, owner=b"other")
    if descriptors is not None:
        assert len(os.listdir("/proc/self/fd")) == descriptors
    _open(path).close()


def test_several_threads_commit_at_once(tmp_path: Path) -> None:
    """A driver commits in an executor: batches stay whole, whoever writes them."""
    with _open(tmp_path / "store.db") as store:

        def work(worker: int) -> None:
            for number in range(20):
                store.commit(
                    [Write(SPACE + b"%d/%d" % (worker, number), b""), Write(SPACE + b"last", b"")]
                )

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(list(store.rows())) == 81
    with _open(tmp_path / "store.db") as store:
        assert len(list(store.rows())) == 81
