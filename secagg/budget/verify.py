"""Whether a budget's file is what was written, row by row; nothing is added (§9.14, §9.15)."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from secagg.budget import file
from secagg.budget.accounts import Accounts, Spending, taken
from secagg.budget.entries import Row, anchor_key
from secagg.errors import StorageError
from secagg.shown import short
from secagg.store.base import Ledger
from secagg.store.database import reported
from secagg.store.ledger import PATIENCE

UNSEEN = (
    "no anchor was given: that rows are missing at the end, or that the file is an older copy, "
    "cannot be seen without one"
)


@dataclass(frozen=True, slots=True)
class Verified:
    """A chain whose rows follow from each other. anchored: of its rows, those that the anchor knows
    as they are; None without an anchor. note: what that leaves unsaid, or empty."""

    spending: Spending
    anchored: int | None
    note: str

    __repr__ = short


def verify(path: str | os.PathLike[str], anchor: Ledger | None = None) -> Verified:
    """Every row, from the first. anchor: the ledger that the budget was kept with.

    Raises StorageError, which names the first row that was edited, is missing, or is not the one
    that the anchor knows; ParameterError where there is no budget.
    """
    path = Path(path).resolve()
    with reported(path, "it cannot be read"), closing(file.connect(path, PATIENCE)) as database:
        try:
            return _verified(database, anchor)
        except StorageError as wrong:
            raise StorageError(f"{path}: {wrong}") from None


def _verified(database: sqlite3.Connection, anchor: Ledger | None) -> Verified:
    file.check_pages(database)
    accounts: Accounts | None = None
    rows: list[Row] = []
    for row in file.following(database, None):
        accounts = taken(accounts, row)
        rows.append(row)
    if accounts is None:
        raise StorageError("row 0 is missing: what was spent is not known")
    spending = accounts.spending(len(rows), rows[-1].hash)
    if anchor is None:
        return Verified(spending, None, UNSEEN)
    known = _compared(accounts.opened.id, rows, anchor)
    return Verified(spending, known, _note(known, len(rows)))


def _compared(id_: bytes, rows: list[Row], anchor: Ledger) -> int:
    """How many are known as they are."""
    known = 0
    for row in rows:
        digest = anchor.claimed(anchor_key(id_, row.number))
        if digest not in (None, row.hash):
            raise StorageError(
                f"row {row.number} is not the one that its anchor knows: it or one before it was "
                "edited, or an older copy went on"
            )
        known += digest is not None
    if anchor.claimed(anchor_key(id_, len(rows))) is not None:
        raise StorageError(
            f"it ends with row {len(rows) - 1}, and its anchor knows row {len(rows)}: it is an "
            "older copy, or was cut short"
        )
    return known


def _note(known: int, rows: int) -> str:
    if known == rows:
        return ""
    if not known:
        return (
            "this anchor knows nothing of it: that rows are missing at the end, or that the file "
            "is an older copy, cannot be seen with it"
        )
    return f"{rows - known} of its rows were made without this anchor, and could be missing unseen"
