"""The file of a budget: kept, shared, edited, cut short, put back (40 §9.13-§9.15)."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.budget import Budget, verify
from secagg.budget import accounts as counted
from secagg.budget import book as books
from secagg.budget.entries import ORIGIN, linked
from secagg.dp import loss
from secagg.errors import BudgetSpent, ParameterError, StorageError
from secagg.store.base import Ledger
from secagg.store.ledger import SqliteLedger
from secagg.store.memory import MemoryLedger
from tests.budget import budget_plans as plans
from tests.budget.budget_plans import DELTA, key


def opened(path: Path, epsilon: float = 8.0, **more: Any) -> Budget:
    return Budget(path, epsilon=epsilon, delta=DELTA, **more)


def charge(budget: Budget, number: int) -> None:
    budget.charge(key(number), budget.counting.disclosure(plans.vector()))


@pytest.fixture
def budget(tmp_path: Path) -> Iterator[Budget]:
    with opened(tmp_path / "spent.db") as made:
        yield made


def filled(path: Path, anchor: Ledger | None = None, rounds: int = 3) -> Path:
    """Charged so often, of which the first has left; closed."""
    with opened(path, anchor=anchor) as budget:
        for number in range(rounds):
            charge(budget, number)
        budget.leave(key(0))
    return path


def edit(path: Path, change: Callable[[sqlite3.Connection], Any]) -> None:
    database = sqlite3.connect(path)
    with database:
        change(database)
    database.close()


def test_it_is_kept(tmp_path: Path) -> None:
    """Also by whoever opens it without its numbers; mode 0600."""
    path = filled(tmp_path / "spent.db")
    assert path.stat().st_mode & 0o777 == 0o600
    with Budget(path) as again:
        found = again.spending()
        assert (found.epsilon, found.delta, found.charged, found.rows) == (8.0, DELTA, 3, 6)
        assert again.charged(plans.vector()) == 3 and again.charged(plans.counts()) == 0
        charge(again, 0)
        again.refund(key(0))
        assert again.spending() == found, "said again, and a refund of what has left"
        again.refund(key(1))
        assert again.charged(plans.vector()) == 2
        assert repr(again) == "<Budget spent.db>"
    assert [one.stat().st_mode & 0o77 for one in tmp_path.iterdir()] == [0] * len(
        list(tmp_path.iterdir())
    )


def test_its_numbers_are_for_good(tmp_path: Path) -> None:
    path = filled(tmp_path / "spent.db")
    for other in (
        {"epsilon": 9.0},
        {"delta": 1e-5},
        {"unit": "example"},
        {"against": "readers"},
    ):
        with pytest.raises(ParameterError, match="for good: another one needs a file of its own"):
            Budget(path, **other)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="there is no budget: epsilon= and delta= make one"):
        Budget(tmp_path / "other.db")
    with pytest.raises(ParameterError, match="there is no budget"):
        Budget(tmp_path / "other.db", epsilon=2.0)
    for wrong in ({"epsilon": 0.0}, {"epsilon": 2e3}, {"delta": 0.0}, {"delta": 1.0}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            Budget(tmp_path / "other.db", **({"epsilon": 1.0, "delta": 1e-5} | wrong))
    with pytest.raises(ParameterError, match="unit"):
        opened(tmp_path / "other.db", unit="row")
    assert not (tmp_path / "other.db").exists()


def test_a_refusal_changes_nothing(tmp_path: Path) -> None:
    """40 §9.14: and the budget goes on."""
    with opened(tmp_path / "spent.db", epsilon=0.7) as budget:
        charge(budget, 0)
        before = budget.spending()
        with pytest.raises(BudgetSpent, match="takes .* of the budget"):
            charge(budget, 1)
        assert budget.spending() == before and before.charged == 1
        budget.refund(key(0))
        charge(budget, 1)
    with pytest.raises(ParameterError, match="key"), opened(tmp_path / "spent.db", 0.7) as budget:
        budget.leave(b"short")


def test_what_is_closed_takes_nothing(budget: Budget) -> None:
    budget.close()
    budget.close()
    for call in (lambda: charge(budget, 1), budget.spending):
        with pytest.raises(StorageError, match="it is closed"):
            call()


def test_a_clock_that_is_set_back_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 117; 40 §9.13."""
    found = []
    for name, times in (
        ("right", range(100, 200)),
        ("back", range(200, 0, -1)),
        ("none", [0] * 99),
    ):
        clock = iter(times)
        monkeypatch.setattr(books, "_clock", lambda clock=clock: next(clock))
        anchor = MemoryLedger()
        with opened(filled(tmp_path / name, anchor), anchor=anchor) as budget:
            charge(budget, 7)
            spending = budget.spending().as_dict()
            found.append({k: v for k, v in spending.items() if k != "head"})
        assert verify(tmp_path / name, anchor).note == ""
    assert found[0] == found[1] == found[2]


# Others


def test_two_processes_on_one_budget(tmp_path: Path) -> None:
    """Row 94: what both of them charge is no more than the budget."""
    path, code = (
        tmp_path / "spent.db",
        (
            "import sys\n"
            "from pathlib import Path\n"
            "from secagg.errors import BudgetSpent\n"
            "from tests.budget.test_budget_file import charge, opened\n"
            "budget = opened(Path(sys.argv[1]), 2.0)\n"
            "made = 0\n"
            "sys.stdin.readline()\n"
            "for number in range(int(sys.argv[2]), int(sys.argv[2]) + 8):\n"
            "    try:\n"
            "        charge(budget, number)\n"
            "        made += 1\n"
            "    except BudgetSpent:\n"
            "        pass\n"
            "print(made)\n"
        ),
    )
    command = [sys.executable, "-c", code, str(path)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    root = Path(__file__).parents[2]
    running = [subprocess.Popen([*command, str(100 * n)], cwd=root, **pipes) for n in range(2)]
    for one in running:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    made = [int(one.communicate()[0]) for one in running]
    assert sum(made) == 10
    with Budget(path) as budget:
        assert budget.spending().charged == 10 and budget.spending().spent <= 2.0
    assert verify(path).spending.rows == 12


def test_two_objects_see_each_other(tmp_path: Path) -> None:
    anchor = MemoryLedger()
    with opened(tmp_path / "a", anchor=anchor) as one, opened(tmp_path / "a", anchor=anchor) as two:
        for number in range(6):
            charge((one, two)[number % 2], number)
            charge((two, one)[number % 2], number)
        assert one.spending() == two.spending() and one.spending().charged == 6
    assert verify(tmp_path / "a", anchor).note == ""


def test_threads_share_one(budget: Budget) -> None:
    threads = [threading.Thread(target=charge, args=(budget, n // 2)) for n in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert budget.spending().charged == 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_it_is_refused(budget: Budget) -> None:
    pid = os.fork()
    if not pid:
        try:
            charge(budget, 1)
        except StorageError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


# Edited, cut short, put back


def test_an_edited_row_is_named(tmp_path: Path) -> None:
    """Row 115; 40 §9.14: whichever it is, and whatever of it was changed."""
    kept = filled(tmp_path / "kept.db")
    for number in range(6):
        for change in (
            f"UPDATE rows SET content = content || x'00' WHERE number = {number}",
            f"UPDATE rows SET content = x'02' WHERE number = {number}",
            f"UPDATE rows SET hash = zeroblob(32) WHERE number = {number}",
            f"UPDATE rows SET hash = 'text' WHERE number = {number}",
        ):
            path = Path(shutil.copy(kept, tmp_path / "edited.db"))
            edit(path, lambda database, change=change: database.execute(change))
            for look in (Budget, verify):
                with pytest.raises(StorageError, match=rf"edited\.db: row {number} "):
                    look(path)
        if number < 5:
            path = Path(shutil.copy(kept, tmp_path / "edited.db"))
            edit(path, lambda one, n=number: one.execute("DELETE FROM rows WHERE number = ?", (n,)))
            with pytest.raises(StorageError, match=f"row {number} is missing"):
                Budget(path)


def rewritten(path: Path, number: int, content: bytes) -> None:
    """With hashes that follow, as somebody would who means it."""

    def change(database: sqlite3.Connection) -> None:
        rows = database.execute("SELECT number, content, hash FROM rows ORDER BY number").fetchall()
        before = ORIGIN if not number else rows[number - 1][2]
        for at, old, _ in rows[number:]:
            row = linked(before, at, content if at == number else old)
            values = row.content, row.hash, at
            database.execute("UPDATE rows SET content = ?, hash = ? WHERE number = ?", values)
            before = row.hash

    edit(path, change)


def test_a_chain_that_was_computed_anew_is_for_the_anchor_to_see(tmp_path: Path) -> None:
    """Row 115."""
    anchor = MemoryLedger()
    path = filled(tmp_path / "spent.db", anchor)
    database = sqlite3.connect(path)
    (left,) = database.execute("SELECT content FROM rows WHERE number = 5").fetchone()
    database.close()
    rewritten(path, 5, left[:-1] + b"\1")  # the second round instead of the first
    assert verify(path).note.startswith("no anchor was given")
    with pytest.raises(StorageError, match="row 5 is not the one that its anchor knows"):
        verify(path, anchor)
    with pytest.raises(StorageError, match="a row from 5 on is not the one that its anchor knows"):
        opened(path, anchor=anchor)
    rewritten(path, 5, left[:1])
    with pytest.raises(StorageError, match="row 5 was edited"):
        Budget(path)


def put_back(path: Path, anchor: Ledger | None = None) -> Path:
    """An older copy in the place of the newer."""
    filled(path, anchor)
    older = shutil.copy(path, path.with_name("older.db"))
    with opened(path, anchor=anchor) as budget:
        charge(budget, 4)
    return Path(shutil.copy(older, path))


def test_an_older_copy_is_refused_by_its_anchor(tmp_path: Path) -> None:
    """Rows 98 and 116; 40 §9.15."""
    anchor = MemoryLedger()
    path = put_back(tmp_path / "spent.db", anchor)
    match = r"spent\.db: it ends with row 5, and its anchor knows row 6: it is an older copy"
    with pytest.raises(StorageError, match=match):
        opened(path, anchor=anchor)
    with pytest.raises(StorageError, match=match):
        verify(path, anchor)


def test_without_an_anchor_an_older_copy_cannot_be_seen_and_that_is_said(tmp_path: Path) -> None:
    """40 §9.15."""
    path = put_back(tmp_path / "spent.db")
    found = verify(path)
    assert found.anchored is None and "cannot be seen without one" in found.note
    assert found.spending.charged == 3


def test_a_budget_that_is_charged_meanwhile_is_no_older_copy(tmp_path: Path) -> None:
    """40 §9.15: verify reads rows and then asks the anchor, and others add to both in between."""

    class Busy(MemoryLedger):
        """A round is charged each time before it is asked, and for some time."""

        def claimed(self, key: bytes) -> bytes | None:
            if len(charged) < 9 and not charging:
                charging.append(True)
                with opened(path, anchor=self) as budget:
                    charge(budget, 10 + len(charged))
                charged.append(charging.pop())
            return super().claimed(key)

    charged: list[bool] = [True] * 9
    charging: list[bool] = []
    anchor = Busy()
    path = filled(tmp_path / "spent.db", anchor)
    charged.clear()
    found = verify(path, anchor)
    assert (found.note, len(charged)) == ("", 9)
    assert found.spending.charged == found.spending.rows - 3 > 3 and found.anchored is not None
    edit(path, lambda database: database.execute("DELETE FROM rows WHERE number > 7"))
    with pytest.raises(StorageError, match="it ends with row 7, and its anchor knows row 8"):
        verify(path, anchor)


def test_an_older_copy_that_went_on_is_seen_too(tmp_path: Path) -> None:
    anchor = MemoryLedger()
    path = put_back(tmp_path / "spent.db", anchor)
    with opened(path) as budget:
        charge(budget, 5)
        charge(budget, 6)
    with pytest.raises(StorageError, match="row 6 is not the one that its anchor knows"):
        verify(path, anchor)
    with pytest.raises(StorageError, match="its anchor knows"):
        opened(path, anchor=anchor)


def test_a_budget_that_is_cut_short_is_refused_by_its_anchor(tmp_path: Path) -> None:
    """Row 116."""
    for rows in range(1, 6):
        anchor = MemoryLedger()
        path = filled(tmp_path / f"{rows}.db", anchor)
        edit(path, lambda one, n=rows: one.execute("DELETE FROM rows WHERE number >= ?", (n,)))
        assert verify(path).spending.rows == rows
        match = f"its anchor knows row {rows}"
        with pytest.raises(StorageError, match=match):
            verify(path, anchor)
        with pytest.raises(StorageError, match=match):
            opened(path, anchor=anchor)


def test_a_file_that_is_exchanged_under_an_open_budget(tmp_path: Path) -> None:
    """What it knows is compared each time."""
    path = filled(tmp_path / "spent.db")
    with opened(path) as budget:
        edit(path, lambda one: one.execute("DELETE FROM rows WHERE number = 5"))
        with pytest.raises(StorageError, match="row 5 is not what it was"):
            charge(budget, 9)
        with pytest.raises(StorageError, match="refused"):
            charge(budget, 9)


def test_an_anchor_that_comes_later_knows_all_rows(tmp_path: Path) -> None:
    anchor = MemoryLedger()
    path = filled(tmp_path / "spent.db")
    assert verify(path, anchor).note.startswith("this anchor knows nothing of it")
    opened(path, anchor=anchor).close()
    assert verify(path, anchor).anchored == 6
    with opened(path) as budget:
        charge(budget, 9)
    found = verify(path, anchor)
    assert found.anchored == 6 and found.note.startswith("1 of its rows were made without")
    opened(path, anchor=anchor).close()
    assert verify(path, anchor).anchored == 7


def test_an_anchor_on_a_disk(tmp_path: Path) -> None:
    with SqliteLedger.open(tmp_path / "ledger.db") as anchor:
        path = put_back(tmp_path / "spent.db", anchor)
        with pytest.raises(StorageError, match="older copy"):
            opened(path, anchor=anchor)


def test_a_ledger_that_cannot_look_still_refuses_other_rows(tmp_path: Path) -> None:
    class Blind(MemoryLedger):
        def claimed(self, key: bytes) -> bytes | None:
            return Ledger.claimed(self, key)

    anchor = Blind()
    path = put_back(tmp_path / "spent.db", anchor)
    with opened(path, anchor=anchor) as budget:
        with pytest.raises(StorageError, match="not the one that its anchor knows"):
            charge(budget, 5)


def test_an_anchor_that_fails_stops_the_budget(tmp_path: Path) -> None:
    """What its anchor has not taken is not acknowledged, and nothing leaves."""

    class Full(MemoryLedger):
        def claim(self, key: bytes, digest: bytes) -> None:
            raise StorageError("ledger.db: no room")

    path = filled(tmp_path / "spent.db")
    with pytest.raises(StorageError, match="no room"):
        opened(path, anchor=Full())


def test_what_is_no_budget(tmp_path: Path) -> None:
    """Row 102: another database, another version, another table, another mode, another kind."""
    path = filled(tmp_path / "spent.db")
    for change, match in (
        ("PRAGMA user_version = 2", "of version 2, and this code keeps version 1"),
        ("PRAGMA application_id = 7", "no budget of this package"),
        ("CREATE TABLE more (x)", "pages are damaged"),
    ):
        other = Path(shutil.copy(path, tmp_path / "other.db"))
        edit(other, lambda database, change=change: database.execute(change))
        for look in (Budget, verify):
            with pytest.raises(StorageError, match=match):
                look(other)
    path.chmod(0o644)
    with pytest.raises(StorageError, match="chmod it to 600"):
        Budget(path)
    text = tmp_path / "text.db"
    text.write_text("no database at all, but long enough to be looked at as one\n" * 40)
    text.chmod(0o600)
    with pytest.raises(StorageError, match="not a database"):
        Budget(text)
    with pytest.raises(StorageError, match="cannot be opened"):
        opened(tmp_path / "missing" / "spent.db")
    with pytest.raises(ParameterError, match="there is no budget"):
        verify(tmp_path / "missing.db")
    other = Path(shutil.copy(path, tmp_path / "empty.db"))
    other.chmod(0o600)
    edit(other, lambda database: database.execute("DELETE FROM rows"))
    for look in (Budget, verify):
        with pytest.raises(StorageError, match="row 0 is missing"):
            look(other)


def test_a_log_without_its_budget(tmp_path: Path) -> None:
    path = tmp_path / "spent.db"
    (tmp_path / "spent.db-wal").touch()
    with pytest.raises(StorageError, match="restore both"):
        opened(path)


# What is counted is never below the truth


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["charge", "leave", "settle", "refund", "again", "older"]),
        st.integers(0, 4),
        st.integers(10, 20),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=60)
@given(steps=STEPS)
def test_the_total_is_never_below_the_truth(
    steps: list[tuple[str, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """40 §9.9-§9.12, §9.16: against a plain list of what left, with how much noise at least; the
    budget is closed and opened anew in between, also at rows of sums, and an older copy of it is
    never taken."""
    with pytest.MonkeyPatch.context() as often:
        often.setattr(counted, "EVERY", 3)
        never_below_the_truth(steps, tmp_path_factory)


def never_below_the_truth(
    steps: list[tuple[str, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path, anchor = tmp_path_factory.mktemp("budget") / "spent.db", MemoryLedger()
    with opened(path, anchor=anchor) as new:
        disclosure = new.counting.disclosure(plans.vector())
    older = path.with_name("older")
    shutil.copy(path, older)
    truth: dict[int, int] = {}  # shares of noise, of what has left
    budget = opened(path, anchor=anchor)
    for step, number, honest in steps:
        if step == "charge":
            budget.charge(key(number), disclosure)
        elif step == "leave":
            try:
                budget.leave(key(number))
                truth.setdefault(number, disclosure.honest)
            except BudgetSpent:
                assert number not in truth
        elif step == "settle":
            budget.settle(key(number), honest)
            if truth.get(number) == disclosure.honest:
                truth[number] = max(honest, disclosure.honest)
        elif step == "refund":
            budget.refund(key(number))
        elif step == "again":
            budget.close()
            budget = opened(path, anchor=anchor)
        elif budget.spending().rows > 1:
            budget.close()
            newest = shutil.copy(path, path.with_name("newest"))
            shutil.copy(older, path)
            with pytest.raises(StorageError, match="older copy"):
                opened(path, anchor=anchor)
            shutil.copy(newest, path)
            budget = opened(path, anchor=anchor)
    left = [disclosure.with_honest(honest).blocks[0] for honest in truth.values()]
    assert budget.spending().spent >= (loss(left, DELTA).epsilon if left else 0) * (1 - 1e-12)
    assert budget.spending().charged >= len(truth)
    budget.close()
    assert verify(path, anchor).note == ""
