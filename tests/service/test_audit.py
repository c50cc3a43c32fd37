"""The audit of a service: a chain in which every edit shows, and whose old end may go.

Rules B4, B5, B6 and B7 of specs/52-books.md.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.effects import NAMESPACE_SIZE, Write
from secagg.errors import IntegrityError, ParameterError, StorageError
from secagg.service import audit
from secagg.service.audit import Audit, Deed, Line, read

NOW = 1_800_000_000


class Kept:
    """An audit and the rows that a store would have of it."""

    def __init__(self) -> None:
        self.audit, self.rows = Audit(), dict[bytes, bytes]()

    def add(self, deed: Deed, now: int = NOW, **what: audit.Value) -> Line:
        line, row = self.audit.add(deed, "alice", now, **what)
        self.commit(row)
        return line

    def forget(self, before: int, now: int = NOW) -> int:
        size = len(self.rows)
        self.commit(*self.audit.forget(before, now)[0])
        return size - len(self.rows)

    def commit(self, *rows: Write) -> None:
        for row in rows:
            assert row.key[:NAMESPACE_SIZE] == audit.NAMESPACE
            if row.value is None:
                del self.rows[row.key]
            else:
                self.rows[row.key] = row.value

    @property
    def text(self) -> str:
        return "".join(f"{row.decode()}\n" for _, row in sorted(self.rows.items()))

    def again(self) -> Audit:
        found = Audit()
        found.restore(sorted(self.rows.items()))
        return found


def some(count: int = 4) -> Kept:
    kept = Kept()
    for number in range(count):
        kept.add(Deed.OPENED, NOW + number, task="mortality", clients=8)
    return kept


def test_a_line_says_who_did_what_and_when() -> None:
    line = Kept().add(Deed.APPROVED, name="site-1", role="client")
    assert json.loads(line.text) == {
        "number": 1,
        "at": "2027-01-15T08:00:00+00:00",
        "deed": "approved",
        "who": "alice",
        "what": {"name": "site-1", "role": "client"},
        "previous": "00" * 32,
    }
    assert Line.parse(line.text) == line


def test_it_goes_on_after_a_restart() -> None:
    kept = some()
    assert kept.again().head == kept.audit.head
    assert kept.again().number == 4
    kept.audit = kept.again()
    kept.add(Deed.STARTED)
    assert [line.number for line in read(kept.text)] == [1, 2, 3, 4, 5]


def test_a_clock_that_is_set_back_does_not_break_the_chain() -> None:
    """(77)"""
    kept = some()
    assert kept.add(Deed.STOPPED, NOW - 3600).at == NOW + 3
    assert len(read(kept.text)) == 5


@given(st.integers(0, 3), st.integers(0, 10_000), st.characters(codec="ascii"))
def test_every_edit_shows(line: int, place: int, letter: str) -> None:
    kept = some()
    lines = kept.text.splitlines()
    old = lines[line]
    place %= len(old)
    lines[line] = old[:place] + letter + old[place + 1 :]
    head = kept.audit.head
    try:
        found = read("\n".join(lines))
    except IntegrityError:
        return
    # the last line can be made anew by anybody; its digest is not the one that was kept elsewhere
    assert lines[line] == old or found[-1].digest != head


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_line_that_is_missing_shows(gone: int) -> None:
    lines = some().text.splitlines()
    del lines[gone]
    with pytest.raises(IntegrityError):
        read("\n".join(lines))


def test_lines_in_another_order_show() -> None:
    lines = some().text.splitlines()
    lines[1], lines[2] = lines[2], lines[1]
    with pytest.raises(IntegrityError):
        read("\n".join(lines))


def test_an_earlier_line_behind_a_later_one_shows() -> None:
    first = Line.of(1, NOW, Deed.STARTED, "service", {}, bytes(32))
    second = Line.of(2, NOW - 1, Deed.STOPPED, "service", {}, first.digest)
    with pytest.raises(IntegrityError, match="earlier"):
        audit.check([first, second])


JUNK = {
    "none": "",
    "no object": "[]",
    "a bomb": "[" * 100_000,
    "a number": "1",
    "nan": '{"number":NaN}',
    "another deed": Line.of(1, NOW, Deed.STARTED, "a", {}, bytes(32)).text.replace(
        "started", "begun"
    ),
    "a float": Line.of(1, NOW, Deed.STARTED, "a", {"n": 1}, bytes(32)).text.replace(":1,", ":1.0,"),
    "spaces": Line.of(1, NOW, Deed.STARTED, "a", {}, bytes(32)).text.replace(":", ": "),
    "another zone": Line.of(1, NOW, Deed.STARTED, "a", {}, bytes(32)).text.replace(
        "08:00:00+00:00", "09:00:00+01:00"
    ),
    "a list": Line.of(1, NOW, Deed.STARTED, "a", {}, bytes(32)).text.replace("{}", '{"a":[]}'),
}


@pytest.mark.parametrize("case", JUNK)
def test_what_is_no_line_is_refused(case: str) -> None:
    with pytest.raises(IntegrityError):
        Line.parse(JUNK[case])
    kept = some(1)
    kept.rows[audit.NAMESPACE + b"\0" + (2).to_bytes(8)] = JUNK[case].encode()
    with pytest.raises(StorageError, match="damaged"):
        kept.again()


@pytest.mark.parametrize("word", ["a\nb", "\x1b[2J", "‮", "x" * 201])
def test_18_words_are_short_and_printable(word: str) -> None:
    with pytest.raises(ParameterError):
        Audit().add(Deed.INVITED, word, NOW)
    with pytest.raises(ParameterError):
        Audit().add(Deed.INVITED, "alice", NOW, name=word)


def test_a_line_has_a_limit() -> None:
    with pytest.raises(ParameterError, match="2048"):
        Audit().add(Deed.INVITED, "alice", NOW, **{f"k{i}": "x" * 200 for i in range(11)})


def test_old_lines_go_and_the_chain_says_so() -> None:
    kept = some(6)
    assert kept.forget(NOW + 3) == 3 - 1  # three went, and a line came
    lines = read(kept.text)
    assert [line.number for line in lines] == [4, 5, 6, 7]
    assert lines[-1].deed is Deed.FORGOTTEN
    assert kept.again().head == kept.audit.head
    assert kept.forget(NOW + 5) == 2 - 1  # and once more
    assert [line.number for line in read(kept.text)] == [6, 7, 8]
    assert kept.forget(NOW) == 0


def test_a_beginning_that_is_cut_off_shows() -> None:
    kept = some(6)
    kept.forget(NOW + 3)
    lines = kept.text.splitlines()
    with pytest.raises(IntegrityError, match="what became of"):
        read("\n".join(lines[1:]))
    with pytest.raises(IntegrityError, match="what became of"):
        read("\n".join(some().text.splitlines()[1:]))


def test_few_lines_go_at_a_time_and_the_last_stays() -> None:
    kept = some(audit.STEP + 2)
    assert kept.forget(NOW * 2, NOW * 2) == audit.STEP - 1
    while kept.forget(NOW * 2, NOW * 2 - 1) > 0:
        pass
    assert len(read(kept.text)) == 2  # the last that was old, and that they went
    assert Audit().forget(NOW, NOW) == ([], None)
