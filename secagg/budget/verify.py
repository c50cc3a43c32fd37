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
    """Whoever adds a row stores it before it is anchored: one that the anchor knows and that is not
    there when it is looked for again is missing, and not just new."""
    file.check_pages(database)
    accounts, rows = _following(database, None, None)
    if accounts is None:
        raise StorageError("row 0 is missing: what was spent is not known")
    if anchor is None:
        return Verified(accounts.spending(len(rows), rows[-1].hash), None, UNSEEN)
    id_, end = accounts.opened.id, len(rows)
    known = _compared(id_, rows, anchor)
    while anchor.claimed(anchor_key(id_, end)) is not None:
        later, more = _following(database, accounts, rows[-1])
        if later is None or not more:
            raise StorageError(
                f"it ends with row {end - 1}, and its anchor knows row {end}: it is an older copy, "
                "or was cut short"
            )
        known += _compared(id_, more, anchor)
        accounts, rows, end = later, more, end + len(more)
    return Verified(accounts.spending(end, rows[-1].hash), known, _note(known, end))


def _following(
    database: sqlite3.Connection, accounts: Accounts | None, last: Row | None
) -> tuple[Accounts | None, list[Row]]:
    """What it comes to with every row after that one, and these."""
    rows: list[Row] = []
    for row in file.following(database, last):
        accounts = taken(accounts, row)
        rows.append(row)
    return accounts, rows


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
