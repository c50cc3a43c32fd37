"""A client's floors, and the newest roster that it has seen (14-roster.md §5).

T6, T8, T20; rows 34, 46; a plan out of policy in every field.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import secagg
from secagg.crypto import labels, sign
from secagg.errors import ParameterError, PolicyRefused, StorageError
from secagg.plans.plan import Plan
from secagg.policy import Policy, admit
from secagg.roster import Pin, Roster, SignedRoster
from secagg.store.base import Ledger
from secagg.store.ledger import SqliteLedger
from secagg.store.memory import MemoryLedger
from secagg.suite import SUITE_2
from secagg.types import Seed

PLAN = replace(
    secagg.plan(
        clients=20, fields={"x": secagg.FixedPoint(10, 1.0, 16)}, roster=40, protocol="secagg"
    ),
)
HOLDERS = PLAN.degree + 1
ANY = (1, 2)
ADMIN, OTHER_ADMIN = Seed(b"a" * 32), Seed(b"o" * 32)
KEYS = tuple(sign.public_key(Seed(bytes([n]) * 32)) for n in range(1, 6))
END = 2_000_000_000


def signed(epoch: int, *, keys: Any = KEYS[:3], admin: Seed = ADMIN) -> SignedRoster:
    return SignedRoster.sign(Roster(epoch, END, KEYS[4], keys), admin)


PIN = Pin(signed(1).admin)


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger()
    else:
        with SqliteLedger.open(tmp_path / "ledger.db") as made:
            yield made


AT_THE_BOUND: dict[str, tuple[Any, Any]] = {
    "roster": (40, 41),
    "clients": (20, 21),
    "corrupt": (PLAN.threat.corrupt, PLAN.threat.corrupt + Fraction(1, 1000)),
    "threshold": (
        Fraction(PLAN.threshold, HOLDERS),
        Fraction(PLAN.threshold, HOLDERS) + Fraction(1, 1000),
    ),
    "ring_bits": (PLAN.ring_bits, PLAN.ring_bits - 1),
    "suites": ((1,), (2,)),
}


@pytest.mark.parametrize("field", AT_THE_BOUND)
def test_each_floor_at_its_bound(field: str) -> None:
    """T8: the field and the bound are named, and what is just enough is taken."""
    enough, more = AT_THE_BOUND[field]
    given = {"suites": ANY}
    Policy(**(given | {field: enough})).check(PLAN)
    with pytest.raises(PolicyRefused, match=f"^{field}: .*policy (demands|takes)"):
        Policy(**(given | {field: more})).check(PLAN)


def test_the_group_has_a_floor_of_its_own() -> None:
    """T8: a plan may keep all other floors of a strict policy, and its sums be of two."""
    planned = secagg.plan(
        clients=1000,
        fields={"x": secagg.FixedPoint(10, 1.0, 16)},
        corrupt="0.1",
        dropout="0",
        adversary="active",
        protocol="secagg+",
    )
    params = replace(planned.params, degree=36, threshold=36)  # type: ignore[type-var]
    small = Plan.decode(replace(planned, params=params).encode())
    assert small.promise.numbers["group"] == 2
    floors = Policy(1000, 1000, Fraction("0.6"), Fraction("0.1"))
    floors.check(small)
    replace(floors, group=2).check(small)
    with pytest.raises(PolicyRefused, match="^group: the fewest .* is 2, .* demands 3 or more"):
        replace(floors, group=3).check(small)
    with pytest.raises(PolicyRefused, match="^group: .* is 0, "):
        Policy(group=1, suites=ANY).check(PLAN)


def test_of_its_own_it_takes_signed_plans_only() -> None:
    """Row 8: a server cannot talk a client of active mode down to a plan without signatures."""
    with pytest.raises(PolicyRefused, match="suites: the plan is of suite 1"):
        Policy().check(PLAN)
    assert Policy().suites == (SUITE_2.number,)


def test_from_a_file() -> None:
    table = {"roster": 100, "threshold": "0.6", "suites": [2], "change": False, "unknown": 3}
    assert Policy.of(table) == Policy(
        roster=100, threshold=Fraction(3, 5), suites=(2,), change=False, unknown=3
    )
    assert Policy.of({}) == Policy()
    for name in ("Roster", "min_roster", "threshold ", "a" * 1000, "__class__"):
        with pytest.raises(ParameterError, match="a policy has no .* it has roster, clients"):
            Policy.of({name: 1})


@pytest.mark.parametrize(
    ("field", "value"),
    [(f.name, bad) for f in fields(Policy) for bad in (None, -1, "x", [], {}, float("nan"))]
    + [("roster", True), ("suites", ["2"]), ("suites", (0,)), ("suites", "2"), ("change", 1)]
    + [("threshold", 1), ("corrupt", "3/2"), ("ring_bits", 0), ("ring_bits", 65)],
)
def test_floors_that_are_none(field: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=field):
        Policy.of({field: value})


def test_the_newest_roster(ledger: Ledger) -> None:
    """T6: what was seen once is the least that is taken, whatever the pin says."""
    assert admit(ledger, PIN, signed(3), 0) == signed(3).roster
    assert admit(ledger, PIN, signed(3), 0) == signed(3).roster
    for old in (1, 2):
        with pytest.raises(PolicyRefused, match=f"of epoch {old}, and one of epoch 3 was seen"):
            admit(ledger, PIN, signed(old), 0)
    admit(ledger, PIN, signed(7), 0)
    with pytest.raises(PolicyRefused, match="of epoch 3, and one of epoch 7"):
        admit(ledger, PIN, signed(3), 0)


def test_two_rosters_of_one_epoch(ledger: Ledger) -> None:
    """The administrator, or who has its key, shows different members to different clients."""
    admit(ledger, PIN, signed(3), 0)
    twin = signed(3, keys=KEYS[:4])
    with pytest.raises(PolicyRefused, match="two rosters of epoch 3") as error:
        admit(ledger, PIN, twin, 0)
    assert twin.roster.digest.hex() in str(error.value)
    assert signed(3).roster.digest.hex() in str(error.value)
    assert admit(ledger, PIN, signed(3), 0) == signed(3).roster


def test_what_the_pin_refuses_is_not_seen(ledger: Ledger) -> None:
    """Another administrator's, or one that is over, must not lock the right one out."""
    foreign = signed(9, admin=OTHER_ADMIN)
    with pytest.raises(PolicyRefused, match="is signed by the administrator"):
        admit(ledger, PIN, foreign, 0)
    with pytest.raises(PolicyRefused, match="ended"):
        admit(ledger, PIN, signed(8), END + 1)
    with pytest.raises(PolicyRefused, match="pinned is epoch 7"):
        admit(ledger, Pin(PIN.admin, 7), signed(5), 0)
    admit(ledger, PIN, signed(1), 0)
    admit(ledger, Pin(foreign.admin), foreign, 0)  # each administrator has epochs of its own
    admit(ledger, PIN, signed(2), 0)


def test_it_is_seen_by_whoever_opens_the_ledger(tmp_path: Path) -> None:
    with SqliteLedger.open(tmp_path / "ledger.db") as one:
        admit(one, PIN, signed(5), 0)
        with (
            SqliteLedger.open(tmp_path / "ledger.db") as two,
            pytest.raises(PolicyRefused, match="one of epoch 5 was seen"),
        ):
            admit(two, PIN, signed(4), 0)
        admit(one, PIN, signed(6), 0)
    with SqliteLedger.open(tmp_path / "ledger.db") as again, pytest.raises(PolicyRefused):
        admit(again, PIN, signed(5), 0)


@pytest.mark.parametrize("value", [b"", b"\x01", b"\x02" + bytes(36), bytes(37), bytes(400)])
def test_what_is_damaged_is_not_forgotten(ledger: Ledger, value: bytes) -> None:
    """Fail closed: what was seen is not known."""
    ledger.note(labels.digest(labels.NEWEST, PIN.admin), lambda known: value)
    with pytest.raises(StorageError, match="newest roster is damaged"):
        admit(ledger, PIN, signed(5), 0)


def test_a_ledger_without_notes_is_refused() -> None:
    class Claims(Ledger):
        """As they were before there were rosters."""

    with pytest.raises(StorageError, match="no notes"):
        admit(Claims(), PIN, signed(5), 0)  # type: ignore[abstract]
