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
        self.become(tasks)

    __repr__ = short

    def become(self, tasks: Iterable[Pursued]) -> None:
        """Of these from now on."""
        self._folders |= {one.name: one.out for one in tasks}

    def write(self, ends: Iterable[tuple[str, End]]) -> None:
        """Of rounds whose results are stored. Where that fails the log says so: the result is in
        the store."""
        for task, end in ends:
            folder = self._folders.get(task)
            if folder is None or end.result is None:
                continue
            path = folder / f"{task}-{end.nonce.hex()[:8]}.npz"
            try:
                write_whole(path, packed(end.result))
            except OSError as error:
                said = "no copy of a result at %s: %s", path, error.strerror
                log.error(*said, extra=Event.RESULT_NOT_COPIED.line)
