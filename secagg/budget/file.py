"""The SQLite file of a budget: made, opened, read and checked.

Each call of a `Budget` is one transaction: it reads what others have added, decides, and adds. A
write-ahead log that is synced at every commit (synchronous=FULL) makes a row durable before it is
acted on. A transaction that adds nothing writes all the same: the row that it found may be of a
process that died between its commit and its sync, and is synced with this one.

The chain of hashes shows an edited, missing or exchanged row; that rows are missing at the end, or
that the whole file is an older copy, only an anchor shows (§9.15). Opening reads the chain from the
last row of sums on, and the first row: what stands before those has no part in what it decides, and
is for `verify` to read (§9.16). So are pages that no row is on which is read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from secagg.budget.entries import HASH_SIZE, ORIGIN, SUMMED, Row, linked
from secagg.errors import ParameterError, StorageError
from secagg.store import files
from secagg.store.database import LOG, configure, lay_out, log_of, pragma

APPLICATION = 0x5ECA6BD
"""SQLite's application_id: tells a budget from a store, a ledger and any other database."""
VERSION = 1
"""Of the tables below (user_version); another one is refused."""

SCHEMA = (
    "CREATE TABLE head (calls INTEGER NOT NULL)",
    "CREATE TABLE rows (number INTEGER PRIMARY KEY, content BLOB NOT NULL, hash BLOB NOT NULL)",
)
"""calls: how many there were, so that each changes something."""

SETTINGS = (
    "synchronous = FULL",  # in WAL mode: the log is synced at every commit
    "fullfsync = ON",  # where fsync alone leaves data in the drive's cache (macOS)
    "checkpoint_fullfsync = ON",
    "cell_size_check = ON",
    "trusted_schema = OFF",
)


def create(path: Path, first: bytes) -> None:
    """A budget at `path` with its first row, whole or not at all, whoever else makes it at the same
    moment: mode 0600. first: the row's content."""
    with files.alone(path):
        if not path.exists():
            _make(path, first)


def _make(path: Path, first: bytes) -> None:
    """A log that is left alone is the end of a budget that is missing, not of a draft."""
    if log_of(path).exists():
        raise StorageError(
            f"{path} is missing, but its log {log_of(path).name} is there: restore both; an empty "
            "budget would forget what was spent"
        )
    with files.made_whole(path, LOG, "-shm") as draft:
        with closing(sqlite3.connect(draft, isolation_level=None)) as database:
            configure(database, SETTINGS)
            with database:
                database.execute("BEGIN IMMEDIATE")
                lay_out(database, SCHEMA, APPLICATION, VERSION)
                database.execute("INSERT INTO head VALUES (0)")
                insert(database, linked(ORIGIN, 0, first))
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def connect(path: Path, patience: float) -> sqlite3.Connection:
    """A connection to a file that is a budget. patience: seconds that a call waits for others.

    Raises StorageError. Its rows are not looked at yet.
    """
    if not path.exists():
        raise ParameterError(f"{path}: there is no budget: epsilon= and delta= make one")
    files.demand_private(path)
    with ExitStack() as otherwise:
        database = sqlite3.connect(
            f"{path.as_uri()}?mode=rw",
            uri=True,
            timeout=min(patience, 1e6),
            isolation_level=None,
            check_same_thread=False,
        )
        otherwise.callback(database.close)
        _check(path, database)
        configure(database, SETTINGS)
        database.text_factory = bytes  # whatever somebody put into a row is compared, not decoded
        otherwise.pop_all()
        return database


def _check(path: Path, database: sqlite3.Connection) -> None:
    """Before anything is set: another program's file stays as it is."""
    if pragma(database, "application_id") != APPLICATION:
        raise StorageError(f"{path} is no budget of this package, or was cut short")
    if (version := pragma(database, "user_version")) != VERSION:
        raise StorageError(
            f"{path} is a budget of version {version}, and this code keeps version {VERSION}: use "
            "the release that made it"
        )
    tables = database.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY sql")
    if [sql for (sql,) in tables] != sorted(SCHEMA):
        raise StorageError(f"{path}: its pages are damaged: what was spent is not known")


def check_pages(database: sqlite3.Connection) -> None:
    """All of them. Raises StorageError."""
    if pragma(database, "quick_check(1)") != b"ok":
        raise StorageError("its pages are damaged: what was spent is not known")


def insert(database: sqlite3.Connection, row: Row) -> None:
    """A number that is there already is an IntegrityError."""
    database.execute("INSERT INTO rows VALUES (?, ?, ?)", (row.number, row.content, row.hash))


def touch(database: sqlite3.Connection) -> None:
    """Makes a transaction one that is synced."""
    if database.execute("UPDATE head SET calls = calls + 1").rowcount != 1:
        raise StorageError("its head is missing: nothing would be synced")


def first(database: sqlite3.Connection) -> Row:
    """The first row. Raises StorageError where it is not what begins a chain."""
    found = database.execute("SELECT number, content, hash FROM rows WHERE number <= 0").fetchone()
    return _in_place(ORIGIN, 0, found or (None, None, None))


def newest_sums(database: sqlite3.Connection) -> tuple[int, bytes]:
    """Number of the last row of sums, and the hash before it; of the first row, where none is.

    Whether it is one, and what was meant, the chain from there on says.
    """
    query = (
        "SELECT number FROM rows WHERE number > 0 AND substr(content, 1, 1) = ? "
        "ORDER BY number DESC LIMIT 1"
    )
    found = database.execute(query, (bytes([SUMMED]),)).fetchone()
    if found is None:
        return 0, ORIGIN
    number = found[0]
    query = "SELECT hash FROM rows WHERE number = ?"
    before = database.execute(query, (number - 1,)).fetchone()
    if before is None or not isinstance(before[0], bytes):
        raise StorageError(f"row {number - 1} is missing: what was spent is not known")
    return number, before[0]


def following(
    database: sqlite3.Connection, last: Row | None, start: tuple[int, bytes] = (0, ORIGIN)
) -> Iterator[Row]:
    """Every row after that one, whose place in the chain is right; from it on, where it is given,
    as it may have been exchanged since. start: number and hash before, where it is not given.
    Raises StorageError, which names the row that is not."""
    number, before = start if last is None else (last.number, last.hash)
    query = "SELECT number, content, hash FROM rows WHERE number >= ? ORDER BY number"
    with closing(database.execute(query, (number,))) as found:
        rows = iter(found)
        if last is not None:
            if next(rows, None) != (last.number, last.content, last.hash):
                raise StorageError(f"row {last.number} is not what it was: another file is there")
            number += 1
        for one in rows:
            row = _in_place(before, number, one)
            yield row
            number, before = number + 1, row.hash


def _in_place(before: bytes, expected: int, found: tuple[object, object, object]) -> Row:
    number, content, stored = found
    if number != expected:
        raise StorageError(f"row {expected} is missing: what was spent is not known")
    if not isinstance(content, bytes) or not isinstance(stored, bytes):
        raise StorageError(f"row {expected} holds other types than were written")
    row = linked(before, expected, content)
    if stored != row.hash or len(stored) != HASH_SIZE:
        raise StorageError(
            f"row {expected} was edited, or the one before it: its hash does not follow from both"
        )
    return row
