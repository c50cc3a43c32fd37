"""The audit outside the store: a file of its lines for whoever watches it, and whether both are
whole and say the same (specs/52-books.md, rules B4 to B7)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from secagg.errors import IntegrityError, StorageError
from secagg.service import audit
from secagg.service.audit import LARGEST, Line
from secagg.shown import short

Rows = Iterable[tuple[bytes, bytes]]
"""Those of `audit.NAMESPACE`, by ascending key."""


_UNWRITTEN = "audit: its copy cannot be written, and no round begins: mend it, restart"


class Copy:
    """The file. Lines come once they are stored, so it lacks the last ones of a process that died
    in between: the next process adds them before any of its own."""

    def __init__(self, path: Path) -> None:
        self.path, self.failed = path, False
        """And whether a line could not be written: whoever watches it sees no more. Then none
        follows in this life of the process, as one line would be missing, or half there, for ever:
        the next process takes up where the file ends."""

    __repr__ = short

    @property
    def reason(self) -> str:
        """Why no round begins, in words; nothing where it is written."""
        return _UNWRITTEN if self.failed else ""

    def check(self, rows: Rows) -> None:
        """Before anything of the store is acted on (rule B13). Raises StorageError where the file
        ends with a line that the store has not: it was stored before it was copied."""
        try:
            line = self._last()
        except (OSError, StorageError):
            return  # `mend` says so
        kept = {audit.number_in(key): value for key, value in rows}
        if line is None or line.number < min(kept, default=1):
            return
        if kept.get(line.number) != line.text.encode():
            raise StorageError(
                f"{self.path} ends with line {line.number} of the audit, which the store has not: "
                f"its last is {max(kept, default=0)}. An older store was put back, in which what "
                "was revoked, used and said since is undone: bring back the store's files as they "
                "were last, or begin with a new folder. Where the copy is what was changed, move "
                "it away, and it begins anew"
            )

    def mend(self, rows: Rows) -> None:
        """Adds what the store has and the file has not. Raises OSError, and StorageError for a file
        that ends with what is no line."""
        line = self._last()
        last = 0 if line is None else line.number
        texts = (value.decode() for _, value in rows)
        self._append([text for text in texts if Line.parse(text).number > last])

    def add(self, lines: Sequence[Line]) -> None:
        """Raises OSError."""
        if not self.failed:
            self._append([line.text for line in lines])

    def _append(self, texts: Sequence[str]) -> None:
        if texts:
            with self.path.open("a", encoding="ascii") as file:
                file.writelines(f"{text}\n" for text in texts)

    def _last(self) -> Line | None:
        """Its last line, if there is one. A line that was torn off goes."""
        if not self.path.exists():
            return None
        with self.path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 2 * LARGEST))
            tail = file.read()
            torn = len(tail) - (tail.rfind(b"\n") + 1)
            if torn:
                file.truncate(size - torn)
        whole = tail[: len(tail) - torn].splitlines()
        try:
            return Line.parse(whole[-1].decode()) if whole else None
        except (IntegrityError, UnicodeDecodeError):
            raise StorageError(
                f"{self.path} ends with what is no line of the audit: `secagg service audit "
                "verify` says where it is broken; move it away, and it begins anew"
            ) from None


@dataclass(frozen=True, slots=True)
class Verdict:
    """rows, copied: lines of the store, and of the copy. head: the digest of the store's last line.
    broken: what is wrong, in words, the first of each; empty where nothing is."""

    rows: int
    copied: int
    head: str
    broken: tuple[str, ...]

    __repr__ = short


def verified(rows: Rows, path: Path, kept: str | None = None, upto: int | None = None) -> Verdict:
    """path: of the copy. kept: a digest in hexadecimal digits that somebody has written down, of a
    line that has to be there. upto: the last line that counts, of a service that goes on."""
    broken: list[str] = []
    texts = [(str(audit.number_in(key)), value) for key, value in rows]
    ours = _lines("line", "of the store", texts, broken)
    theirs = _lines("line", "of the copy", _texts(path, broken), broken)
    if upto is not None:
        ours, theirs = ([one for one in side if one.number <= upto] for side in (ours, theirs))
    if not broken:
        broken += _differ(ours, theirs)
    if kept is not None and kept not in {one.digest.hex() for one in (*ours, *theirs)}:
        broken.append(f"no line has the digest {kept[:64]} that was kept")
    head = ours[-1].digest.hex() if ours else ""
    return Verdict(len(ours), len(theirs), head, tuple(broken))


def _texts(path: Path, broken: list[str]) -> Iterator[tuple[str, bytes]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        broken.append(f"the copy {path} cannot be read: {error.strerror}")
        return
    for place, line in enumerate(data.split(b"\n")[:-1], start=1):
        yield str(place), line
    if data and not data.endswith(b"\n"):
        broken.append("the last line of the copy is torn off")


def _lines(
    what: str, whose: str, texts: Iterable[tuple[str, bytes]], broken: list[str]
) -> list[Line]:
    """As far as they are lines; what is wrong is said with its place."""
    found: list[Line] = []
    for place, text in texts:
        try:
            found.append(Line.parse(text.decode()))
            audit.check(found[-2:] if len(found) > 1 else [], begin=False)
        except (IntegrityError, UnicodeDecodeError) as error:
            broken.append(f"{what} {place} {whose}: {error}")
            return found
    try:
        audit.check(found)
    except IntegrityError as error:
        broken.append(f"{what} 1 {whose}: {error}")
    return found


def _differ(ours: Sequence[Line], theirs: Sequence[Line]) -> Iterator[str]:
    copied = {one.number: one.digest for one in theirs}
    for one in ours:
        if copied.get(one.number, one.digest) != one.digest:
            yield f"line {one.number} of the copy is another than that of the store"
            return
    last, other = (side[-1].number if side else 0 for side in (ours, theirs))
    if last > other:
        yield f"the copy ends with line {other}, and the store with line {last}"
    elif last < other:
        yield (
            f"the store ends with line {last}, and the copy with line {other}: an older store was "
            "put back"
        )
