"""The file of a SqliteLedger: made, opened and checked.

What makes a claim durable is a rollback journal that is truncated and synced (TRUNCATE, FULL):
once a commit has returned, no loss of power rolls it back, and of a destroyed key nothing stays in
a log, as it would in a write-ahead log until the next checkpoint. Blocks that a file system has
freed, and what a disk keeps for itself, are beyond us.

A ledger that was set back, with its disk or within its file, cannot be noticed: also not an older
copy whose bytes were written over the file, or one that was put where the file had been and got its
number, as file systems give a freed one out again. What can be:

- A copy beside it, or one that is another file: a ledger remembers its number in its file system.
- One that is set back to before a session began: it makes another key, and the rows do not open.
- Damage: every row has a checksum, and the head their sum, as in secagg.store.database.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from secagg.errors import StorageError
from secagg.store import files
from secagg.store.database import checksum, checksum_sum, lay_out, pragma

APPLICATION = 0x5ECA66C
"""SQLite's application_id: tells a ledger from a store and any other database."""
VERSION = 1
"""Of the tables below (user_version); another one is refused."""

SCHEMA = (
    "CREATE TABLE head (inode INTEGER NOT NULL, calls INTEGER NOT NULL, total BLOB NOT NULL)",
    "CREATE TABLE claims (key BLOB PRIMARY KEY, digest BLOB NOT NULL, checksum BLOB NOT NULL) "
    "WITHOUT ROWID",
    "CREATE TABLE sessions (name BLOB PRIMARY KEY, key BLOB NOT NULL, checksum BLOB NOT NULL) "
    "WITHOUT ROWID",
)
"""calls: how many there were, so that each changes something. key: empty once it is destroyed."""

SETTINGS = (
    "journal_mode = TRUNCATE",
    "synchronous = FULL",
    "fullfsync = ON",  # where fsync alone leaves data in the drive's cache (macOS)
    "secure_delete = ON",  # a destroyed key is overwritten in the file
    "cell_size_check = ON",
    "trusted_schema = OFF",
)

COLUMNS = {"claims": "key, digest", "sessions": "name, key"}


def checksum_of(table: str, name: bytes, value: bytes) -> bytes:
    """16 bytes over a row and the table it is of, so that none passes for another's."""
    return checksum(table.encode() + name, value)


def checked(table: str, name: object, value: object, stored: object) -> tuple[bytes, bytes]:
    """(name, value), or sqlite3.DatabaseError."""
    if not isinstance(name, bytes) or not isinstance(value, bytes):
        raise sqlite3.DatabaseError("damaged: a row holds other types than were written")
    if stored != checksum_of(table, name, value):
        raise sqlite3.DatabaseError("damaged: a row does not match its checksum")
    return name, value


def create(path: Path) -> None:
    """An empty ledger at `path`, whole or not at all, whoever else makes it at the same moment."""
    with files.alone(path):
        if not path.exists():
            _make(path)


def _make(path: Path) -> None:
    """A journal that is left alone is the end of a ledger that is missing, not of a draft."""
    journal = path.with_name(path.name + "-journal")
    if journal.exists() and journal.stat().st_size:
        raise StorageError(
            f"{path} is missing, but its journal {journal.name} is there: restore both; an empty "
            "ledger would forget what was claimed"
        )
    with files.made_whole(path, "-journal") as draft:
        with closing(sqlite3.connect(draft, isolation_level=None)) as database:
            _configure(database)
            # one sync and no journal: a draft that is cut short is thrown away
            database.execute("PRAGMA journal_mode = OFF").fetchall()
            with database:
                database.execute("BEGIN IMMEDIATE")
                lay_out(database, SCHEMA, APPLICATION, VERSION)
                head = (_signed(draft.stat().st_ino), 0, checksum_sum([]))
                database.execute("INSERT INTO head VALUES (?, ?, ?)", head)


def connect(path: Path, patience: float, moved: bool) -> sqlite3.Connection:
    """A connection that has read and checked everything.

    The file is opened by SQLite alone: its locks belong to the process, which would lose them as
    soon as it closed a descriptor of its own, in the middle of another thread's call.
    """
    files.demand_private(path)
    with ExitStack() as otherwise:
        where = f"{path.as_uri()}?mode=rw"
        database = sqlite3.connect(
            where,
            uri=True,
            timeout=min(patience, 1e6),
            isolation_level=None,
            check_same_thread=False,
        )
        otherwise.callback(database.close)
        _configure(database)
        with database:
            database.execute("BEGIN IMMEDIATE")
            _verify(path, database, moved)
        otherwise.pop_all()
        return database


def _configure(database: sqlite3.Connection) -> None:
    database.executescript("".join(f"PRAGMA {setting};" for setting in SETTINGS))


def _verify(path: Path, database: sqlite3.Connection, moved: bool) -> None:
    """Raises StorageError unless this is a ledger at home, whose rows are those of one call."""
    if pragma(database, "application_id") != APPLICATION:
        raise StorageError(f"{path} is no ledger of this package, or was cut short")
    if (version := pragma(database, "user_version")) != VERSION:
        raise StorageError(
            f"{path} is a ledger of version {version}, and this code keeps version {VERSION}: use "
            "the release that made it until its sessions have ended"
        )
    tables = database.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY sql")
    if [sql for (sql,) in tables] != sorted(SCHEMA) or pragma(database, "quick_check(1)") != "ok":
        raise StorageError(f"{path}: its pages are damaged: what was claimed is not known")
    heads = database.execute("SELECT inode, total FROM head").fetchall()
    sums = [sum_ for table in COLUMNS for sum_ in _checksums(database, table)]
    if len(heads) != 1 or heads[0][1] != checksum_sum(sums):
        raise StorageError(f"{path}: its rows are damaged: what was claimed is not known")
    if heads[0][0] != (here := _signed(path.stat().st_ino)):
        if not moved:
            raise StorageError(
                f"{path} is a copy, or was moved: claims that were made since in the other may be "
                "missing here. Where it was moved and no other is left, open it with moved=True"
            )
        database.execute("UPDATE head SET inode = ?", (here,))


def _checksums(database: sqlite3.Connection, table: str) -> Iterator[bytes]:
    rows = database.execute(f"SELECT {COLUMNS[table]}, checksum FROM {table}")
    return (checksum_of(table, *checked(table, *row)) for row in rows)


def _signed(inode: int) -> int:
    """SQLite's integers have a sign, and some file systems use all 64 bits."""
    return inode - (1 << 64) if inode >> 63 else inode
