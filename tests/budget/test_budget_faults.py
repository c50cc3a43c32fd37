"""A budget whose process is killed, or whose disk fails, at every call of the system (40 §9.14)."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from secagg.budget import Budget, verify
from secagg.store.ledger import SqliteLedger
from tests.budget import budget_plans as plans
from tests.budget.budget_plans import DELTA, key
from tests.store import faults

CHARGING = """
import os, sys
from pathlib import Path
from secagg.budget import Budget
from secagg.errors import StorageError
from secagg.plans.disclosure import Disclosure
from secagg.store.ledger import SqliteLedger
from secagg.wire.codec import Reader

path = Path(sys.argv[1])
disclosure = Disclosure.read(Reader(bytes.fromhex(DISCLOSURE)))
name = lambda number: number.to_bytes(32)
print("opening", flush=True)
budget = None
try:
    anchor = SqliteLedger.open(path.with_name("ledger.db"))
    budget = Budget(path, epsilon=8.0, delta=1e-4, anchor=anchor)
    budget.charge(name(0), disclosure)
    print("charged", flush=True)
    budget.charge(name(1), disclosure)
    print("charged", flush=True)
    budget.leave(name(0))
    print("left", flush=True)
    budget.settle(name(0), 18)
    print("settled", flush=True)
    budget.refund(name(1))
    print("refunded", flush=True)
    budget.charge(name(0), disclosure)  # known already, and synced all the same
    print("known", flush=True)
except StorageError:
    print("stopped", flush=True)
    try:
        budget and budget.charge(name(9), disclosure)
        print("accepted " * (budget is not None))
    except StorageError:
        pass
os._exit(0)
"""
STRIDE = 1 if "SECAGG_SOAK" in os.environ else 3
"""Of the places: a call here is a transaction of the budget and one of its anchor."""
SAID = ["opening", "charged", "charged", "left", "settled", "refunded", "known"]


def code() -> str:
    from secagg.plans.disclosure import Counting

    return f"DISCLOSURE = {Counting().disclosure(plans.vector()).encode().hex()!r}\n{CHARGING}"


def nothing_is_counted_below_the_truth(path: Path, said: list[str]) -> None:
    """What was acknowledged is there; what was not is there or not, and refunds count last."""
    assert "accepted" not in said
    anchor = SqliteLedger.open(path.with_name("ledger.db"))
    with anchor, Budget(path, epsilon=8.0, delta=DELTA, anchor=anchor) as budget:
        found = budget.spending()
        charged = said.count("charged") - ("refunded" in said or "settled" in said)
        assert found.charged >= max(0, charged)
        disclosure = budget.counting.disclosure(plans.vector())
        if "left" in said:
            budget.refund(key(0))
            assert budget.spending().charged == found.charged, "it had left"
        budget.charge(key(0), disclosure)
        budget.charge(key(9), disclosure)
        assert budget.spending().charged == (found.charged or 1) + 1
    with SqliteLedger.open(path.with_name("ledger.db")) as anchor:
        assert verify(path, anchor).note == ""


@faults.needs_strace
def test_killed_at_every_call_of_the_system_no_charge_is_lost(tmp_path: Path) -> None:
    """Row 90: SIGKILL before each write, sync and rename, of the budget and of its anchor."""
    run = code()
    (tmp_path / "whole").mkdir()
    traced = faults.whole(run, tmp_path / "whole" / "file.db")
    assert traced.said == SAID
    seen = set()
    for name in faults.WATCHED:
        for nth, path in faults.in_folders(tmp_path, name, traced.places(name)[::STRIDE]):
            died = faults.run(run, path, "-e", f"inject={name}:signal=KILL:when={nth}")
            assert died.code == -signal.SIGKILL and died.said == SAID[: len(died.said)]
            nothing_is_counted_below_the_truth(path, died.said)
            seen.add(len(died.said))
    assert len(seen) >= (len(SAID) - 1 if STRIDE == 1 else 4), "every stage died once"


@faults.needs_strace
@pytest.mark.parametrize(
    ("error", "names"), [("ENOSPC", ["pwrite64"]), ("EIO", ["fdatasync", "fsync"])]
)
def test_a_disk_that_is_full_or_fails_stops_the_budget(
    tmp_path: Path, error: str, names: list[str]
) -> None:
    """Rows 95 and 96: at one write or sync; the next would succeed, and is not asked."""
    run = code()
    (tmp_path / "whole").mkdir()
    traced = faults.whole(run, tmp_path / "whole" / "file.db")
    for name in names:
        numbers = traced.places(name, beside=tmp_path / "whole")[::STRIDE]
        for nth, path in faults.in_folders(tmp_path, name, numbers):
            said = faults.run(run, path, "-e", f"inject={name}:error={error}:when={nth}").said
            assert said[-1] in ("stopped", "known") and said[:-1] == SAID[: len(said) - 1]
            nothing_is_counted_below_the_truth(path, said)


@faults.needs_strace
def test_what_is_acknowledged_was_synced(tmp_path: Path) -> None:
    """Row 96: after the last write of each call comes a sync of that file, also where the charge is
    known already: it may be somebody's who died before the sync."""
    dirty: set[str] = set()
    syncs = 0
    for call in faults.whole(code(), tmp_path / "file.db").calls:
        name, _, rest = call.partition("(")
        file = rest.partition("<")[2].partition(">")[0]
        if name in ("pwrite64", "ftruncate"):
            dirty.add(file)
        elif name in ("fsync", "fdatasync"):
            dirty.discard(file)
            syncs += 1
        elif name == "write" and any(f'"{word}' in rest for word in SAID):
            assert not {one for one in dirty if not one.endswith(("-new", "-new-wal", "-shm"))}, (
                call
            )
            assert syncs or "opening" in rest
            syncs = 0
