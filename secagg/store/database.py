"""The file of a SqliteStore: locked, made, opened and checked.

What SQLite leaves open, and what is done about it here:

- It has no checksums on the pages of the main file, and a damaged log is cut at the damage, below
  pages that a checkpoint has copied already: rows of two batches can mix. Every row carries a
  checksum, the table `head` their sum, and opening reads everything once before it answers.
- It takes a log for committed that was never synced, if the process died in between: a server
  would act on rows that a loss of power can still take away. Opening ends with a checkpoint,
  which syncs whatever was recovered before anybody sees it.
- Its own checkpoints ignore the errors of the disk. They are off; ours stop the store.
- It makes what is missing. A file is made here under another name and moved into place whole, so
  an empty file, or a log without its file, is damage and not a new store.
- Its locks belong to the process, which loses them when it closes any other descriptor of the
  file. Ours is a lock on a file beside it.

- It takes a damaged end of the log for a torn one, and goes on from what is left. So transactions
  have numbers, and the last one's is in a file beside: `secagg.store.mark`.

What stays undetectable: a file, log and mark that were put back together from an older copy. A
deleted row's bytes are overwritten in the file (secure_delete) but may stay in the log until it is
truncated.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from secagg.errors import StorageError
from secagg.store import files

MAGIC = b"SQLite format 3\0"
APPLICATION = 0x5ECA667
"""SQLite's application_id: tells a store from any other database."""
VERSION = 3
"""Of the tables below (user_version). Version 2 had no number, and is brought here
(`secagg.store.migration`); version 1 had no namespaces, and is refused."""

SCHEMA = (
    "CREATE TABLE head (owner BLOB NOT NULL, total BLOB NOT NULL, number INTEGER NOT NULL)",
    "CREATE TABLE rows (key BLOB NOT NULL UNIQUE CHECK (length(key) > 16), "
    "checksum BLOB NOT NULL, value BLOB NOT NULL)",
)
"""number: of the last transaction (`secagg.store.mark`). `rows` has a rowid on purpose: a value of
the same size is then overwritten in place, which halves the time of a commit that rewrites a total
of 400 KB (WITHOUT ROWID deletes and inserts)."""

PAGE_SIZE = 8192
SETTINGS = (
    "locking_mode = EXCLUSIVE",  # no shared-memory file, and SQLite's own lock beside ours
    "synchronous = FULL",  # in WAL mode: the log is synced at every commit
    "fullfsync = ON",  # where fsync alone leaves data in the drive's cache (macOS)
    "checkpoint_fullfsync = ON",
    "wal_autocheckpoint = 0",
    "secure_delete = ON",  # shares are deleted in earnest
    "cell_size_check = ON",  # damaged pages are found when read, for one comparison a cell
    "trusted_schema = OFF",  # nothing in a file that was brought to us may run
    "cache_size = -32768",  # KiB: a batch of 24 MB stays in memory until it is written once
)

LOG = "-wal"
"""How the name of a write-ahead log ends, after its database's."""
CHECKSUM_SIZE = 16
_MODULUS = 1 << (8 * CHECKSUM_SIZE)


def take_lock(path: Path) -> int:
    """A descriptor that holds the exclusive lock of the store at `path` until it is closed.

    The file `path`-lock is never removed: its next maker would hold a lock that says nothing.
    """
    name = path.with_name(path.name + "-lock")
    with reported(path, f"its lock {name.name} cannot be taken"):
        lock = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            files.lock(lock)
        except BlockingIOError:
            os.close(lock)
            raise StorageError(
                f"{path} is in use by another server or another store of this process, which "
                f"holds {name.name}; end that one first"
            ) from None
        except (OSError, StorageError):
            os.close(lock)
            raise
    return lock


def create(path: Path, owner: bytes) -> None:
    """An empty store at `path`, durable, mode 0600. The caller holds the lock."""
    if log_of(path).exists():
        raise StorageError(
            f"{path} is missing, but its log {log_of(path).name} is there: restore both; "
            "an empty store would forget what was acknowledged"
        )
    with files.made_whole(path, LOG) as draft:
        _make(draft, owner)


def _make(draft: Path, owner: bytes) -> None:
    with closing(sqlite3.connect(draft, isolation_level=None)) as database:
        database.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        configure(database, SETTINGS)
        with database:
            database.execute("BEGIN IMMEDIATE")
            lay_out(database, SCHEMA, APPLICATION, VERSION)
            database.execute("INSERT INTO head VALUES (?, ?, 0)", (owner, head_checksum(owner, 0)))
        checkpoint(database)


NO_COPY = (
    "an older copy does not know what was said since, and may say it in other words; begin with a "
    "new file, and of several servers with a new epoch"
)


def connect(
    path: Path, owner: bytes, migrate: Callable[[Path, sqlite3.Connection, bytes], None]
) -> tuple[sqlite3.Connection, int]:
    """A connection that has read and checked everything, and the number of the last transaction.
    The caller holds the lock. migrate: brings a file of the version before to this one."""
    files.demand_private(path)
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:  # SQLite makes a new database of one cut short
            raise StorageError(f"{path} is no database, or damaged: {NO_COPY}")
    with ExitStack() as otherwise:
        database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        otherwise.callback(database.close)
        configure(database, SETTINGS)
        with database:
            database.execute("BEGIN IMMEDIATE")  # takes SQLite's locks, for good
        if pragma(database, "user_version") == VERSION - 1:
            migrate(path, database, owner)
        number = verify(path, database, owner)
        checkpoint(database)
        otherwise.pop_all()
        return database, number


def checkpoint(database: sqlite3.Connection) -> None:
    """Copies the log into the file, syncs the file, and empties the log."""
    ((busy, _, _),) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if busy:  # impossible: there is no other connection, and no cursor stays open
        raise sqlite3.OperationalError("the log is in use")


def checked(row: tuple[object, object, object]) -> tuple[bytes, bytes]:
    """(key, value) of a row (key, checksum, value), or sqlite3.DatabaseError."""
    key, stored, value = row
    if not isinstance(key, bytes) or not isinstance(value, bytes):
        raise sqlite3.DatabaseError("damaged: a row holds other types than were written")
    if stored != checksum(key, value):
        raise sqlite3.DatabaseError("damaged: a row does not match its checksum")
    return key, value


def checksum(key: bytes, value: bytes) -> bytes:
    """16 bytes of SHA-256 over key and value, each behind its u32 length.

    The head's own is `head_checksum`.
    """
    state = hashlib.sha256(len(key).to_bytes(4) + key + len(value).to_bytes(4))
    state.update(value)
    return state.digest()[:CHECKSUM_SIZE]


def head_checksum(owner: bytes, number: int) -> bytes:
    """Of whose store it is, and how far it has come."""
    return checksum(b"", owner + number.to_bytes(8))


def checksum_sum(added: Sequence[bytes], removed: Sequence[bytes] = ()) -> bytes:
    """Of checksums, modulo 2^128: follows a batch without reading the other rows.

    Proof against accident, not against an author of rows: who can write the file owns it anyway.
    """
    total = sum(map(int.from_bytes, added)) - sum(map(int.from_bytes, removed))
    return (total % _MODULUS).to_bytes(CHECKSUM_SIZE)


def log_of(path: Path) -> Path:
    """The write-ahead log beside a database, which SQLite names so."""
    return path.with_name(path.name + LOG)


@contextmanager
def reported(path: Path, what: str) -> Iterator[None]:
    """Errors of SQLite and of the system as StorageError, with the file's name.

    UnicodeDecodeError is what sqlite3 makes of an error that quotes a damaged schema.
    """
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path}: {what}: {error}") from error


def configure(database: sqlite3.Connection, settings: Sequence[str]) -> None:
    """With a write-ahead log besides, or sqlite3.OperationalError."""
    for setting in settings:
        database.execute(f"PRAGMA {setting}").fetchall()
    mode = pragma(database, "journal_mode = WAL")
    if mode != "wal":
        raise sqlite3.OperationalError(f"this file system allows no log, only mode {mode}")


def lay_out(
    database: sqlite3.Connection, tables: Sequence[str], application: int, version: int
) -> None:
    """Empty tables, in the transaction that is open, and what the file says of itself."""
    for statement in tables:
        database.execute(statement)
    database.execute(f"PRAGMA application_id = {application}")
    database.execute(f"PRAGMA user_version = {version}")


def verify(path: Path, database: sqlite3.Connection, owner: bytes) -> int:
    """The number of the last transaction. Raises StorageError unless this is our file and its rows
    are those of one batch."""
    if pragma(database, "application_id") != APPLICATION:
        raise StorageError(f"{path} is a database, but no store of this package")
    version = pragma(database, "user_version")
    if version != VERSION:
        raise StorageError(
            f"{path} is a store of version {version}, and this code keeps version {VERSION}: "
            "finish its tasks with the release that made it, or begin with a new file"
        )
    tables = database.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY sql")
    if [sql for (sql,) in tables] != sorted(SCHEMA):
        raise StorageError(f"{path} holds other tables than a store's: damaged or foreign")
    if pragma(database, "quick_check(1)") != "ok":
        raise StorageError(f"{path}: SQLite finds its pages damaged: {NO_COPY}")
    heads = database.execute("SELECT owner, total, number FROM head").fetchall()
    if len(heads) != 1 or heads[0][0] != owner:
        raise StorageError(
            f"{path} belongs to another task or another server; give each a file of its own"
        )
    number = heads[0][2]
    known = isinstance(number, int) and number >= 0
    if not known or heads[0][1] != total_of(database, head_checksum(owner, number)):
        raise StorageError(f"{path}: its rows are not those of one batch: damaged: {NO_COPY}")
    return int(number)


def total_of(database: sqlite3.Connection, head: bytes) -> bytes:
    """What the head has to say of all rows, each of which is checked. head: its own checksum."""
    rows = database.execute("SELECT key, checksum, value FROM rows ORDER BY key")
    return checksum_sum([head, *(checksum(*checked(row)) for row in rows)])


def pragma(database: sqlite3.Connection, name: str) -> object:
    """One setting, as the open database says that it is."""
    return database.execute(f"PRAGMA {name}").fetchone()[0]
