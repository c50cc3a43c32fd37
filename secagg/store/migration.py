"""A store of the version before, brought to this one; a copy of it as it was stays beside it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from secagg.errors import StorageError
from secagg.store import database as files
from secagg.store import mark
from secagg.store.files import made_whole

BEFORE = 2
"""Whose head had no number, and which had no mark."""
_SCHEMA = ("CREATE TABLE head (owner BLOB NOT NULL, total BLOB NOT NULL)", files.SCHEMA[1])


def migrate(path: Path, database: sqlite3.Connection, owner: bytes) -> None:
    """In one transaction, after all of it was checked, and is safe in the file `path`-version-2.
    Raises StorageError for one that is damaged, or another's, and leaves it as it was."""
    tables = database.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY sql")
    if [sql for (sql,) in tables] != sorted(_SCHEMA):
        raise StorageError(f"{path} holds other tables than a store's: damaged or foreign")
    if files.pragma(database, "quick_check(1)") != "ok":
        raise StorageError(f"{path}: SQLite finds its pages damaged: {files.NO_COPY}")
    heads = database.execute("SELECT owner, total FROM head").fetchall()
    if len(heads) != 1 or heads[0][0] != owner:
        raise StorageError(
            f"{path} belongs to another task or another server; give each a file of its own"
        )
    if heads[0][1] != files.total_of(database, files.checksum(b"", owner)):
        raise StorageError(f"{path}: its rows are not those of one batch: damaged: {files.NO_COPY}")
    copy(database, path.with_name(f"{path.name}-version-{BEFORE}"))
    total = files.total_of(database, files.head_checksum(owner, 0))
    with database:
        database.execute("BEGIN IMMEDIATE")
        database.execute("DROP TABLE head")
        database.execute(files.SCHEMA[0])
        database.execute("INSERT INTO head VALUES (?, ?, 0)", (owner, total))
        # before the version: whoever dies in between migrates once more
        mark.create(path, owner, 0)
        database.execute(f"PRAGMA user_version = {files.VERSION}")


def copy(database: sqlite3.Connection, to: Path) -> None:
    """All of a store as it is now, as one file without a log, durable, whole or not at all."""
    with made_whole(to, files.LOG) as draft:
        with closing(sqlite3.connect(draft, isolation_level=None)) as other:
            other.execute("PRAGMA synchronous = FULL")
            database.backup(other)
            other.execute("PRAGMA journal_mode = DELETE").fetchall()
