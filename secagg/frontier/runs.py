"""The folder of a table: a line for every training that is done, so that a second call goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from secagg.errors import InputError, ParameterError, StorageError
from secagg.frontier.grid import Cell
from secagg.frontier.training import Row

FILE = "runs.jsonl"


class Runs:
    """folder: made if it is not there. Each row is one write of one line, and on the disk when
    `add` returns; a line that a power cut has left unfinished is taken away when it is opened.

    Raises ParameterError for a folder that cannot be had, InputError for a line that is no row.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise ParameterError(f"--out {folder} cannot be used: {error.strerror}") from None
        self._rows = [self._row(number, line) for number, line in enumerate(self._whole(), 1)]

    def add(self, row: Row) -> None:
        """Raises StorageError where the disk does not take it."""
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        try:
            if os.write(self._file, line) != len(line):
                raise OSError("it took a part of a line only")
            os.fsync(self._file)
        except OSError as error:
            raise StorageError(f"{self.path}: {error}") from None
        self._rows.append(row)

    def of(self, cell: Cell) -> Row | None:
        """What was found for it, the first time."""
        key = cell.key.items()
        return next((row for row in self._rows if key <= _plain(row).items()), None)

    def todo(self, cells: Sequence[Cell]) -> list[Cell]:
        return [cell for cell in cells if self.of(cell) is None]

    def close(self) -> None:
        os.close(self._file)

    def _whole(self) -> list[bytes]:
        data = self.path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            os.truncate(self.path, end)
        return data[:end].splitlines()

    def _row(self, number: int, line: bytes) -> Row:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise InputError(f"{self.path}: line {number} is no row of a table; take it away")
        return row


def _plain(row: Row) -> dict[str, Any]:
    """What can be compared as an item of a set."""
    return {name: value for name, value in row.items() if not isinstance(value, dict | list)}
