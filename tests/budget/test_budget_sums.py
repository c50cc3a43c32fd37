"""Rows of sums: a budget is opened at the last of them, whatever its history is (40 §9.16)."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from secagg.budget import Budget, verify
from secagg.budget import accounts as counted
from secagg.budget import book as books
from secagg.budget.accounts import Accounts
from secagg.budget.entries import ORIGIN, Row, Standing, State, Summed, decode, encode, linked
from secagg.dp import Claim
from secagg.dp.filters import Way
from secagg.effects import Charge, Step
from secagg.errors import BudgetSpent, StorageError, WireError
from secagg.plans.disclosure import Counting
from secagg.store.memory import MemoryLedger
from tests.budget import budget_plans as plans
from tests.budget.budget_plans import DELTA, key
from tests.budget.test_budget_file import charge, edit, opened, rewritten

SPENT = "UPDATE rows SET content = x'02' WHERE number = ?"
GONE = "DELETE FROM rows WHERE number = ?"


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sums every 8 rows."""
    monkeypatch.setattr(counted, "EVERY", 8)
    yield


def rows(path: Path) -> list[Row]:
    database = sqlite3.connect(path)
    found = database.execute("SELECT number, content, hash FROM rows ORDER BY number").fetchall()
    database.close()
    return [Row(*row) for row in found]


def sums_in(path: Path) -> list[int]:
    return [row.number for row in rows(path) if isinstance(row.entry, Summed)]


def long(path: Path, anchor: MemoryLedger | None = None, aborted: int = 20) -> Path:
    """Two rounds whose input has left, of which one is settled, one that is charged, and so many
    that were given back, before and after."""
    with opened(path, anchor=anchor) as budget:
        for number in range(3):
            charge(budget, number)
        for number in range(2):
            budget.leave(key(number))
        budget.settle(key(0), 18)
        for number in range(100, 100 + aborted):
            charge(budget, number)
            budget.refund(key(number))
    return path


def test_a_budget_is_the_same_wherever_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step of every charge has the answer that it has without sums."""
    path = long(tmp_path / "spent.db", anchor := MemoryLedger())
    assert len(sums_in(path)) > 2
    found = verify(path, anchor)
    assert found.note == ""
    monkeypatch.setattr(counted, "EVERY", 10**6)
    plain = long(tmp_path / "plain.db")
    assert not sums_in(plain)
    with opened(path, anchor=anchor) as one, opened(plain) as other:
        assert one.spending() == found.spending
        for number in (0, 1, 2, 100, 300):
            for step in (Step.REFUND, Step.SETTLE, Step.LEAVE, Step.CHARGE, Step.SETTLE):
                told = one.counting.disclosure(plans.vector())
                asked = Charge(key(number), step, told, 19, key(number % 2))
                assert answer(one, asked) == answer(other, asked), (number, step)
        same = [replace(b.spending(), rows=0, head=b"") for b in (one, other)]
        assert same[0] == same[1] and same[0].refunded == 21
    assert verify(path, anchor).note == ""


def answer(budget: Budget, asked: Charge) -> str | None:
    try:
        budget.enter(asked)
    except BudgetSpent as refused:
        return str(refused)
    return None


def test_opening_reads_from_the_last_sums_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 250 rows and of 1,250, no more than one row of sums, as many as lie between two, and the
    first."""
    read = []

    def taken(accounts: Accounts | None, row: Row) -> Accounts:
        read.append(row.number)
        return counted.taken(accounts, row)

    monkeypatch.setattr(books, "taken", taken)
    most = []
    for aborted in (100, 500):
        path = long(tmp_path / f"{aborted}.db", aborted=aborted)
        read.clear()
        opened(path).close()
        most.append(len(read))
        assert read[0] == sums_in(path)[-1] and read[-1] == 0
    assert max(most) <= 8 + 2 + 2


def test_sums_are_seldom_where_they_are_large(tmp_path: Path) -> None:
    """Rows between two are at least as many as charges stand."""
    path = tmp_path / "spent.db"
    with opened(path, epsilon=64.0) as budget:
        for number in range(60):
            charge(budget, number)
            budget.leave(key(number))
    found = sums_in(path)
    assert len(found) > 2
    for before, after in zip(found, found[1:], strict=False):
        sums = rows(path)[after].entry
        assert isinstance(sums, Summed)
        assert max(8, len(sums.standing)) < after - before <= max(8, len(sums.standing)) + 3


def test_what_is_edited_is_named_by_whoever_reads_it(tmp_path: Path) -> None:
    """Row 115; 40 §9.14, §9.16: from the last sums on whoever opens it, before them verify; and
    nothing is decided by what stands before them."""
    kept = long(tmp_path / "kept.db")
    last, end = sums_in(kept)[-1], len(rows(kept))
    with opened(kept) as budget:
        spending = budget.spending()
    for number in range(end):
        path = Path(shutil.copy(kept, tmp_path / "edited.db"))
        edit(path, lambda database, n=number: database.execute(SPENT, (n,)))
        with pytest.raises(StorageError, match=rf"edited\.db: row {number} "):
            verify(path)
        if number == 0 or number > last:
            with pytest.raises(StorageError, match=rf"edited\.db: row {number} "):
                Budget(path)
        elif number == last:  # it is no row of sums any more: the one before it is where to begin
            with pytest.raises(StorageError, match=rf"edited\.db: row {number} "):
                Budget(path)
        else:
            with Budget(path) as budget:
                assert budget.spending() == spending
    for number in range(1, end):
        path = Path(shutil.copy(kept, tmp_path / "short.db"))
        edit(path, lambda database, n=number: database.execute(GONE, (n,)))
        if number < end - 1:
            with pytest.raises(StorageError, match=f"row {number} is missing"):
                verify(path)
        if last - 1 <= number < end - 1:
            with pytest.raises(StorageError, match=r"row \d+ is missing|its hash does not follow"):
                Budget(path)


def test_sums_that_were_made_up_are_for_the_anchor_and_for_verify_to_see(tmp_path: Path) -> None:
    """Row 115: whoever computes the chain anew can say that less is spent; verify adds it up."""
    anchor = MemoryLedger()
    path = long(tmp_path / "spent.db", anchor)
    last = sums_in(path)[-1]
    sums, time = decode(rows(path)[last].content)
    assert isinstance(sums, Summed) and len(sums.standing) >= 3
    for forged in (
        replace(sums, standing=sums.standing[1:]),
        replace(sums, refunded=sums.refunded + 1),
        replace(sums, way=Way(sums.way.order + 1)),
        replace(sums, opened=replace(sums.opened, claim=Claim(9.0, DELTA))),
    ):
        other = Path(shutil.copy(path, tmp_path / "forged.db"))
        rewritten(other, last, encode(forged, time))
        with pytest.raises(StorageError, match=f"row {last} was edited: summed: the rows before"):
            verify(other)
        other_budget = forged.opened != sums.opened
        match = "row 0 was edited" if other_budget else "not the one that its anchor knows"
        with pytest.raises(StorageError, match=match):
            Budget(other, anchor=anchor)
    with pytest.raises(StorageError, match="row 0 was edited"):
        Budget(other)


def test_an_older_copy_with_sums_is_refused_by_its_anchor(tmp_path: Path) -> None:
    """Rows 98 and 116; 40 §9.15."""
    anchor = MemoryLedger()
    path = long(tmp_path / "spent.db", anchor)
    older = shutil.copy(path, tmp_path / "older.db")
    with opened(path, anchor=anchor) as budget:
        charge(budget, 7)
    shutil.copy(older, path)
    with pytest.raises(StorageError, match="it is an older copy"):
        opened(path, anchor=anchor)


def test_a_head_that_is_missing_is_seen(tmp_path: Path) -> None:
    """Row 97: without it a transaction that adds nothing would write nothing, and sync nothing."""
    path = long(tmp_path / "spent.db")
    edit(path, lambda database: database.execute("DELETE FROM head"))
    with pytest.raises(StorageError, match="its head is missing"):
        Budget(path)


def a_sum() -> Summed:
    with_both = Counting().disclosure(plans.both())
    plain = Counting().disclosure(plans.vector())
    made = Accounts(opened_row())
    assert made.sums() is None
    for number, told in ((5, plain), (2, with_both), (9, plain)):
        for entry in made.entries(Charge(key(number), Step.CHARGE, told)):
            made.take(entry)
    found = made.sums()
    assert found is not None
    return found


def opened_row() -> books.Opened:
    return books.Opened(bytes(range(16)), Claim(8.0, DELTA), Counting("example", "readers"))


def test_sums_are_their_bytes() -> None:
    """40 §9.13: by ascending key, each disclosure once, in the order of who has it first."""
    sums = a_sum()
    content = encode(sums, 5)
    assert decode(content) == (sums, 5)
    assert [one.key for one in sums.standing] == [key(2), key(5), key(9)]
    for cut in range(9, len(content)):
        with pytest.raises(WireError):
            decode(content[:cut])
    with pytest.raises(WireError):
        decode(content + b"\0")
    assert linked(ORIGIN, 3, content) != linked(ORIGIN, 4, content)


def test_sums_in_another_order_are_refused() -> None:
    """40 §9.13: of what stands there is one row of sums."""
    sums = a_sum()
    one, two, three = sums.standing
    for standing in (
        (two, one, three),
        (one, one, three),
        (one, replace(two, key=bytes(32)), three),
    ):
        with pytest.raises(WireError, match="another order or state"):
            decode(encode(replace(sums, standing=standing), 0))
    content = encode(sums, 0)
    rest = 32 + 32 + 1 + 4
    states = len(content) - 4 - 1
    for wrong in (
        content[:states] + b"\3" + content[states + 1 :],
        content[:-4] + (2).to_bytes(4),
        content[: -2 * rest - 4] + (1).to_bytes(4) + content[-2 * rest :],
    ):
        with pytest.raises(WireError):
            decode(wrong)
    with pytest.raises(WireError, match="one session twice"):
        Accounts.resumed(replace(sums, standing=(one, replace(two, session=one.session))))
    unused = a_sum()
    twice = encode(replace(unused, standing=()), 0)
    with pytest.raises(WireError, match="of no charge, or twice"):
        decode(twice[:-8] + (1).to_bytes(4) + one.disclosure.encode() + bytes(4))


def test_a_row_of_sums_does_not_open_a_budget(tmp_path: Path) -> None:
    path = long(tmp_path / "spent.db")
    rewritten(path, 0, encode(a_sum(), 0))
    for look in (Budget, verify):
        with pytest.raises(StorageError, match="row 0 was edited"):
            look(path)


def test_what_stands_in_sums_has_no_other_state() -> None:
    assert {one.state for one in a_sum().standing} == {State.CHARGED}
    assert Standing(key(1), key(1), a_sum().standing[0].disclosure, State.LEFT).state is State.LEFT
