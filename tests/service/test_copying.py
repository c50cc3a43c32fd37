"""The audit's copy, and what `secagg service audit verify` says of both.

Rules B4 to B7 of specs/52-books.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from secagg.errors import StorageError
from secagg.service import audit
from secagg.service.audit import Audit, Deed, Line
from secagg.service.copying import Copy, verified

T = 1_800_000_000
Rows = list[tuple[bytes, bytes]]


def chain(count: int, keep: int | None = None) -> tuple[Rows, list[Line]]:
    """Rows of so many lines, a minute apart, and all the lines; keep: only so many of the newest
    rows stay."""
    made, lines, rows = Audit(), list[Line](), dict[bytes, bytes]()
    for number in range(count):
        line, row = made.add(Deed.OPENED, "service", T + 60 * number, task="mortality")
        lines.append(line)
        rows[row.key] = row.value or b""
    if keep is not None:
        gone, last = made.forget(T + 60 * (count - keep), T + 60 * count)
        assert last is not None
        lines.append(last)
        for write in gone:
            rows.pop(write.key, None)
            if write.value is not None:
                rows[write.key] = write.value
    return sorted(rows.items()), lines


def written(path: Path, lines: Sequence[Line]) -> Copy:
    copy = Copy(path)
    copy.add(lines)
    return copy


@pytest.mark.parametrize("keep", [None, 3])
def test_both_are_whole(keep: int | None, tmp_path: Path) -> None:
    """Also where older rows went, which the copy still has."""
    rows, lines = chain(9, keep)
    copy = written(tmp_path / "copy", lines)
    found = verified(rows, copy.path, lines[2].digest.hex())
    assert (found.broken, found.head) == ((), lines[-1].digest.hex())
    assert (found.rows, found.copied) == (len(rows), len(lines))


def spoilt(text: str, number: int) -> str:
    """One letter of one line is another."""
    lines = text.splitlines(keepends=True)
    lines[number - 1] = lines[number - 1].replace("mortality", "mortalitz")
    return "".join(lines)


def test_the_first_broken_line_of_the_copy_is_said(tmp_path: Path) -> None:
    rows, lines = chain(6)
    path = written(tmp_path / "copy", lines).path
    whole = path.read_text()
    by_line = whole.splitlines(keepends=True)
    cases = {
        spoilt(spoilt(whole, 3), 5): "line 4 of the copy: line 4 of the audit does not follow",
        "".join(by_line[:2] + by_line[3:]): "line 3 of the copy: after line 2 of the audit comes 4",
        "".join(by_line[1:]): "line 1 of the copy: the audit begins with line 2",
        whole.replace("2027", "20x7", 1): "line 1 of the copy: a line of the audit is none",
        whole[:-5]: "the last line of the copy is torn off",
        "".join(by_line[:-2]): "the copy ends with line 4, and the store with line 6",
    }
    for text, words in cases.items():
        path.write_text(text)
        (broken,) = verified(rows, path).broken
        assert broken.startswith(words), broken
    path.unlink()
    assert "cannot be read" in verified(rows, path).broken[0]


def test_the_first_broken_row_is_said_and_an_older_store(tmp_path: Path) -> None:
    rows, lines = chain(6)
    path = written(tmp_path / "copy", lines).path
    edited = [(k, v.replace(b"mortality", b"mortalitz")) for k, v in rows[1:2]]
    broken = verified([rows[0], *edited, *rows[2:]], path).broken
    assert broken[0].startswith("line 3 of the store: line 3 of the audit does not follow")
    assert verified(rows[:4], path).broken == (
        "the store ends with line 4, and the copy with line 6: an older store was put back",
    )
    assert verified(rows, path, "00" * 32).broken == (
        f"no line has the digest {'00' * 32} that was kept",
    )
    others, _ = chain(6)
    one, row = Audit().add(Deed.STARTED, "service", T)
    assert one.number == 1 and row.value is not None
    assert verified([(others[0][0], row.value)], path).broken == (
        "line 1 of the copy is another than that of the store",
    )
    assert verified(rows, path, upto=3).rows == 3


def test_what_was_stored_and_not_copied_is_copied_at_the_start(tmp_path: Path) -> None:
    """Rule B2: a process dies between the two. And a line that was torn off is whole again."""
    rows, lines = chain(5)
    path = written(tmp_path / "copy", lines[:3]).path
    torn = path.read_text() + lines[3].text[:20]
    path.write_text(torn)
    Copy(path).mend(rows)
    assert audit.read(path.read_text()) == lines
    Copy(path).mend(rows)
    assert verified(rows, path).broken == ()
    fresh = Copy(tmp_path / "fresh")
    fresh.mend(rows)
    assert fresh.path.read_text() == path.read_text()
    path.write_text("no line\n")
    with pytest.raises(StorageError, match="begins anew"):
        Copy(path).mend(rows)
