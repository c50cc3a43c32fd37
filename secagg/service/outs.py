"""Folders to which results go as well, once they are in the store."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from secagg.rounds.round import End
from secagg.service.config import Pursued
from secagg.service.results import packed
from secagg.service.whole import write_whole
from secagg.shown import short
from secagg.watch import Event

log = logging.getLogger(__name__)


class Outs:
    """Of all tasks, also of those that are gone and have a round."""

    def __init__(self, tasks: Iterable[Pursued]) -> None:
        self._folders: dict[str, Path | None] = {}
        self._due: list[tuple[Path, bytes]] = []
        self.become(tasks)

    __repr__ = short

    def become(self, tasks: Iterable[Pursued]) -> None:
        """Of these from now on."""
        self._folders |= {one.name: one.out for one in tasks}

    def ended(self, task: str, end: End) -> None:
        """Its result is about to be stored."""
        folder = self._folders.get(task)
        if folder is not None and end.result is not None:
            self._due.append((folder / f"{task}-{end.nonce.hex()[:8]}.npz", packed(end.result)))

    def write(self) -> None:
        """What is stored by now. Where that fails the log says so: the result is in the store."""
        due, self._due = self._due, []
        for path, data in due:
            try:
                write_whole(path, data)
            except OSError as error:
                said = "no copy of a result at %s: %s", path, error.strerror
                log.error(*said, extra=Event.RESULT_NOT_COPIED.line)
