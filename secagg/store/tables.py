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
- Damage to whatever an answer rests on. Reading all rows at each opening would find it, at the
  price of a second for each message of a client that has claimed for years. So rows are dealt to
  1,024 buckets by a hash of their names. Each bucket knows the sum of its rows' checksums, and the
  head that of the buckets: opening checks the buckets against the head, a look-up all rows of its
  bucket against it, so that a row that is missing is damage, as one that was changed is. What is
  damaged in other buckets is found when they are asked, or by `verify`; rows have no part in
  answers about others.
"""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

from secagg.errors import StorageError
from secagg.store import files
from secagg.store.database import checksum, checksum_sum, lay_out, pragma

APPLICATION = 0x5ECA66C
"""SQLite's application_id: tells a ledger from a store and any other database."""
VERSION = 2
"""Of the tables below (user_version); another one is refused. Version 1 had no buckets."""

SCHEMA = (
    "CREATE TABLE head (inode INTEGER NOT NULL, calls INTEGER NOT NULL, total BLOB NOT NULL)",
    "CREATE TABLE buckets (number INTEGER PRIMARY KEY, total BLOB NOT NULL)",
    "CREATE TABLE rows (bucket INTEGER NOT NULL, name BLOB NOT NULL, value BLOB NOT NULL, "
    "checksum BLOB NOT NULL, PRIMARY KEY (bucket, name)) WITHOUT ROWID",
)
"""calls: how many there were, so that each changes something. name: of its kind, and its own.
value: of a claim its digest, of a session its key, which is empty once it is destroyed."""

BUCKETS = 1024
CLAIM, SESSION, NOTE = b"c", b"s", b"n"
"""How a row's name begins."""

SETTINGS = (
    "journal_mode = TRUNCATE",
    "synchronous = FULL",
    "fullfsync = ON",  # where fsync alone leaves data in the drive's cache (macOS)
    "secure_delete = ON",  # a destroyed key is overwritten in the file
    "cell_size_check = ON",
    "trusted_schema = OFF",
)


_MISSING = "damaged: rows are missing, or are not those of one call"


def find(database: sqlite3.Connection, name: bytes) -> bytes | None:
    """The value of the row, or None where there is none; sqlite3.DatabaseError where its bucket is
    not what was written.

    One statement, which other processes commit before or after: two would find rows of one moment
    and the sum of another, and call a good ledger damaged.
    """
    query = """
        SELECT total, name, value, checksum
        FROM buckets LEFT JOIN rows ON bucket = number WHERE number = ?
    """
    found = database.execute(query, (bucket_of(name),)).fetchall()
    if not found:
        raise sqlite3.DatabaseError("damaged: a bucket is missing")
    rows = [_checked(*row) for _, *row in found if row[0] is not None]
    if checksum_sum([checksum(*row) for row in rows]) != found[0][0]:
        raise sqlite3.DatabaseError(_MISSING)
    return dict(rows).get(name)


def put(database: sqlite3.Connection, name: bytes, value: bytes, before: bytes | None) -> None:
    """In the transaction that is open. before: the value that it replaces, as `find` says it."""
    bucket, sum_ = bucket_of(name), checksum(name, value)
    row = (bucket, name, value, sum_)
    database.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)", row)
    old = _total(database, bucket)
    new = checksum_sum([old, sum_], [] if before is None else [checksum(name, before)])
    database.execute("UPDATE buckets SET total = ? WHERE number = ?", (new, bucket))
    (total,) = database.execute("SELECT total FROM head").fetchone()
    total = checksum_sum([total, new], [old])
    database.execute("UPDATE head SET total = ?", (total,))


def bucket_of(name: bytes) -> int:
    """By a hash, as a server may choose what a session is called."""
    return int.from_bytes(hashlib.sha256(name).digest()[:2]) % BUCKETS


def _total(database: sqlite3.Connection, bucket: int) -> bytes:
    row = database.execute("SELECT total FROM buckets WHERE number = ?", (bucket,)).fetchone()
    if row is None or not isinstance(row[0], bytes):
        raise sqlite3.DatabaseError("damaged: a bucket is missing")
    return row[0]


def _checked(name: object, value: object, stored: object) -> tuple[bytes, bytes]:
    """(name, value), or sqlite3.DatabaseError."""
    if not isinstance(name, bytes) or not isinstance(value, bytes):
        raise sqlite3.DatabaseError("damaged: a row holds other types than were written")
    if stored != checksum(name, value):
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
                empty = checksum_sum([])
                every = [(number, empty) for number in range(BUCKETS)]
                database.executemany("INSERT INTO buckets VALUES (?, ?)", every)
                total = checksum_sum([empty for _, empty in every])
                head = (_signed(draft.stat().st_ino), 0, total)
                database.execute("INSERT INTO head VALUES (?, ?, ?)", head)


def connect(path: Path, patience: float, moved: bool) -> sqlite3.Connection:
    """A connection that has checked the head and the buckets; all, of a ledger that was moved.

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
            _check(path, database, moved)
        otherwise.pop_all()
        return database


def _configure(database: sqlite3.Connection) -> None:
    database.executescript("".join(f"PRAGMA {setting};" for setting in SETTINGS))


def _check(path: Path, database: sqlite3.Connection, moved: bool) -> None:
    """Raises StorageError unless this is a ledger at home, with the buckets of one call."""
    if pragma(database, "application_id") != APPLICATION:
        raise StorageError(f"{path} is no ledger of this package, or was cut short")
    if (version := pragma(database, "user_version")) != VERSION:
        raise StorageError(
            f"{path} is a ledger of version {version}, and this code keeps version {VERSION}: use "
            "the release that made it until its sessions have ended"
        )
    tables = database.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY sql")
    if [sql for (sql,) in tables] != sorted(SCHEMA):
        raise StorageError(f"{path}: its pages are damaged: what was claimed is not known")
    heads = database.execute("SELECT inode, total FROM head").fetchall()
    if len(heads) != 1 or heads[0][1] != _sum_of_buckets(database):
        raise StorageError(f"{path}: its rows are damaged: what was claimed is not known")
    if moved:
        verify(path, database)
    if heads[0][0] != (here := _signed(path.stat().st_ino)):
        if not moved:
            raise StorageError(
                f"{path} is a copy, or was moved: claims that were made since in the other may be "
                "missing here. Where it was moved and no other is left, "
                "open it once in Python with moved=True (SqliteLedger.open)"
            )
        database.execute("UPDATE head SET inode = ?", (here,))


def verify(path: Path, database: sqlite3.Connection) -> int:
    """How many rows there are, all of which are as written; StorageError where one is not, or is
    missing, or a page is damaged. Within a transaction."""
    if pragma(database, "quick_check(1)") != "ok":
        raise StorageError(f"{path}: its pages are damaged: what was claimed is not known")
    totals, number = [checksum_sum([])] * BUCKETS, 0
    for bucket, *row in database.execute("SELECT bucket, name, value, checksum FROM rows"):
        name, value = _checked(*row)
        if bucket != bucket_of(name):
            raise sqlite3.DatabaseError("damaged: a row is in another bucket than it was put into")
        totals[bucket] = checksum_sum([totals[bucket], checksum(name, value)])
        number += 1
    if totals != [_total(database, bucket) for bucket in range(BUCKETS)]:
        raise sqlite3.DatabaseError(_MISSING)
    return number


def _sum_of_buckets(database: sqlite3.Connection) -> bytes:
    found = database.execute("SELECT number, total FROM buckets ORDER BY number").fetchall()
    numbers, totals = [number for number, _ in found], [total for _, total in found]
    if numbers != list(range(BUCKETS)):
        raise sqlite3.DatabaseError("damaged: a bucket is missing")
    if set(map(type, numbers)) != {int} or set(map(type, totals)) != {bytes}:
        raise sqlite3.DatabaseError("damaged: a bucket holds other types than were written")
    return checksum_sum(totals)  # not of a hash of each, which took 1 ms an opening


def _signed(inode: int) -> int:
    """SQLite's integers have a sign, and some file systems use all 64 bits."""
    return inode - (1 << 64) if inode >> 63 else inode
