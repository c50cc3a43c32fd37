"""With whom a client was summed before, and what it signs therefore (14-roster.md §6).

T17, T19; row 45. The bound, and why a signature is not yet a sum: decisions/031.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg import earlier
from secagg.crypto import labels
from secagg.earlier import Earlier, Memory, Stage, Taken, as_number, change_bound, write
from secagg.effects import Note
from secagg.errors import PolicyRefused, StorageError
from secagg.policy import Policy
from secagg.store.base import Ledger
from secagg.store.ledger import SqliteLedger
from secagg.store.memory import MemoryLedger
from secagg.types import PartyId
from tests.soak import SOAK

ADMIN, MEMBER = b"a" * 32, b"m" * 32
ALL = frozenset(map(PartyId, range(40)))
LEAST = 10


def offer(number: int) -> bytes:
    return number.to_bytes(32)


def memory(ledger: Ledger | None = None, **policy: Any) -> Memory:
    return Memory.read(ledger or MemoryLedger(), ADMIN, MEMBER, Policy(**policy))


def done(
    held: Memory, number: int, survivors: frozenset[PartyId], least: int = LEAST
) -> list[Note]:
    """A whole round."""
    return [
        held.left(offer(number), least),
        held.agreed(offer(number), survivors),
        held.confirmed(offer(number)),
    ]


def judge(held: Memory, number: int, survivors: frozenset[PartyId]) -> None:
    held.earlier(offer(number), LEAST).judge(survivors)


def without(*parties: int) -> frozenset[PartyId]:
    return ALL - frozenset(map(PartyId, parties))


def test_by_nobody_or_by_enough() -> None:
    """Row 45: one member less is that member's input."""
    held = memory()
    judge(held, 1, ALL)
    done(held, 1, ALL)
    judge(held, 2, ALL)
    for count in range(1, LEAST):
        with pytest.raises(PolicyRefused, match=f"change: .* by {count} members, .* none or 10"):
            judge(held, 2, without(*range(count)))
    judge(held, 2, without(*range(LEAST)))
    # as sets: who came and who went both count
    done(held, 2, without(*range(LEAST)))
    with pytest.raises(PolicyRefused, match="by 6 members"):
        judge(held, 3, without(0, 1, 2, 3, 4, 5, 6, 20, 21, 22))
    judge(held, 3, without(*range(20, 30)))


def test_every_earlier_round_counts() -> None:
    """Not the last one alone, whatever it was about: names are no part of it."""
    held = memory()
    done(held, 1, ALL)
    done(held, 2, without(*range(20)))
    for close in (without(1), without(*range(19))):
        with pytest.raises(PolicyRefused, match="by 1 members"):
            judge(held, 3, close)


def test_the_bound_counts_those_who_may_be_corrupt() -> None:
    """decisions/031: with group members alone, all but one of whom the server has."""
    assert change_bound(39, 100) == 139
    held = memory()
    done(held, 1, ALL)
    group, corrupt = 5, frozenset(map(PartyId, range(30, 40)))
    one = ALL - corrupt - {PartyId(0)}
    assert len(one ^ ALL) == 11 >= group  # all but one of them are the server's
    with pytest.raises(PolicyRefused, match="none or 15"):
        held.earlier(offer(2), change_bound(group, len(corrupt))).judge(one)


@pytest.mark.parametrize("first, second", [(15, 2), (2, 15)])
def test_of_two_plans_the_bounds_of_both_hold(first: int, second: int) -> None:
    """Row 45, decisions/031: the difference of two sums tells of the inputs of both, so a round of
    a plan that counts nobody as corrupt does not undo what an earlier one has promised."""
    held = memory()
    done(held, 1, ALL, first)
    for apart in (2, 14):
        with pytest.raises(PolicyRefused, match=f"by {apart} members, .* none or 15"):
            held.earlier(offer(2), second).judge(without(*range(apart)))
    held.earlier(offer(2), second).judge(without(*range(15)))


def test_of_rounds_with_the_same_survivors_both_bounds_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(earlier, "MOST", 2)
    held = memory()
    done(held, 1, ALL, 15)
    done(held, 2, ALL, 2)
    with pytest.raises(PolicyRefused, match="no room"):
        held.left(offer(3), 2)


def test_a_round_whose_sum_is_unknown() -> None:
    """Its masked input may be in a sum of anybody."""
    held = memory()
    held.left(offer(1), LEAST)
    for survivors in (ALL, without(*range(20))):
        with pytest.raises(PolicyRefused, match="unknown: of 1 earlier rounds"):
            judge(held, 2, survivors)
    with pytest.raises(PolicyRefused, match="unknown = 1 in the policy"):
        held.earlier(offer(2), LEAST).check_unknown()
    held.earlier(offer(1), LEAST).check_unknown()  # its own is not an earlier one
    judge(held, 1, ALL)


def test_a_signature_is_not_yet_a_sum() -> None:
    """The server shows a victim one U3 and a quorum without it another."""
    held = memory()
    held.left(offer(1), LEAST)
    held.agreed(offer(1), ALL)
    with pytest.raises(PolicyRefused, match="unknown"):
        judge(held, 2, ALL)
    held.confirmed(offer(1))
    judge(held, 2, ALL)


def test_what_the_policy_allows() -> None:
    held = memory(unknown=1)
    held.left(offer(1), LEAST)
    held.agreed(offer(1), ALL)
    judge(held, 2, without(*range(20)))
    with pytest.raises(PolicyRefused, match="change"):
        judge(held, 2, without(0))  # what was signed is compared with all the same
    held.left(offer(2), LEAST)
    with pytest.raises(PolicyRefused, match="unknown: of 2"):
        judge(held, 3, without(*range(20)))
    careless = memory(change=False)
    done(careless, 1, ALL)
    careless.left(offer(2), LEAST)
    judge(careless, 3, without(0))


def test_what_is_said_once() -> None:
    held = memory()
    for call in (lambda: held.agreed(offer(1), ALL), lambda: held.confirmed(offer(1))):
        with pytest.raises(PolicyRefused, match="has not left"):
            call()
    held.left(offer(1), LEAST)
    with pytest.raises(PolicyRefused, match="has signed no survivors"):
        held.confirmed(offer(1))
    note = held.agreed(offer(1), ALL)
    assert held.agreed(offer(1), ALL) == note
    with pytest.raises(PolicyRefused, match="other survivors of this round"):
        held.agreed(offer(1), without(0))
    confirmed = held.confirmed(offer(1))
    assert held.confirmed(offer(1)) == held.left(offer(1), LEAST) == confirmed
    assert held.agreed(offer(1), ALL) == confirmed
    assert len(held) == 1


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_it_outlives_the_process(kind: str, steps: int, tmp_path: Path) -> None:
    """T17: as far as it had come. Another member, or administrator, has another memory."""
    path = tmp_path / "ledger.db"
    ledger = MemoryLedger() if kind == "memory" else SqliteLedger.open(path)
    held = memory(ledger)
    for note in [*done(held, 1, without(*range(20))), *done(held, 2, ALL)[:steps]]:
        write(ledger, note)
    if isinstance(ledger, SqliteLedger):
        ledger.close()
        ledger = SqliteLedger.open(path)
    again = memory(ledger)
    assert again._slots == held_after(steps)
    assert len(Memory.read(ledger, ADMIN, b"o" * 32, Policy())) == 0
    assert len(Memory.read(ledger, b"o" * 32, MEMBER, Policy())) == 0
    if isinstance(ledger, SqliteLedger):
        ledger.close()


def held_after(steps: int) -> dict[int, Taken]:
    first = Taken(1, offer(1), Stage.CONFIRMED, LEAST, as_number(without(*range(20))))
    number = as_number(ALL) if steps > 1 else 0
    return {0: first, 1: Taken(2, offer(2), Stage(steps), LEAST, number)}


def test_there_is_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rounds with the same survivors one says it all."""
    monkeypatch.setattr(earlier, "MOST", 3)
    ledger = MemoryLedger()
    held = memory(ledger)
    sets = [ALL, without(*range(10)), without(*range(20))]
    for number, survivors in enumerate([*sets[:2], sets[0], sets[0], sets[2]]):
        for note in done(held, number, survivors):
            write(ledger, note)
    assert len(held) == 3
    assert {one.survivors for one in held._slots.values()} == {*map(as_number, sets)}
    assert memory(ledger)._slots == held._slots
    with pytest.raises(PolicyRefused, match="forget: 3 rounds"):
        held.left(offer(9), LEAST)
    held.left(offer(4), LEAST)  # of one that it knows nothing is added
    forgetful = memory(ledger, forget=True)
    forgetful.left(offer(9), LEAST)
    assert offer(0) not in {one.offer for one in forgetful._slots.values()}


def test_what_is_unknown_is_forgotten_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier, "MOST", 2)
    held = memory(forget=True, unknown=5)
    held.left(offer(1), LEAST)
    done(held, 2, ALL)
    held.left(offer(3), LEAST)
    assert {one.offer for one in held._slots.values()} == {offer(1), offer(3)}


@given(
    st.integers(0, (1 << 64) - 1),
    st.binary(min_size=32, max_size=32),
    st.sampled_from(Stage),
    st.integers(0, (1 << 32) - 1),
    st.frozensets(st.integers(0, 300)),
)
def test_the_encoding(
    order: int, told: bytes, stage: Stage, least: int, parties: frozenset[int]
) -> None:
    """Row 23."""
    taken = Taken(order, told, stage, least, as_number(frozenset(map(PartyId, parties))))
    data = taken.encode()
    assert Taken.decode(data) == taken
    assert taken.survivors == sum(1 << party for party in parties)
    for other in (data + b"\0", data[:41], b"\2" + data[1:], data[:41] + b"\4" + data[42:], b""):
        with pytest.raises(StorageError, match="damaged"):
            Taken.decode(other)


def test_damage_is_not_nothing() -> None:
    """Fail closed: a round that cannot be read is not one that never was."""
    ledger = MemoryLedger()
    note = memory(ledger).left(offer(1), LEAST)
    ledger.note(note.key, lambda known: b"junk")
    with pytest.raises(StorageError, match="damaged"):
        memory(ledger)
    assert note.key == labels.digest(
        labels.TAKEN_PART, labels.digest(labels.TAKEN_PART, ADMIN, MEMBER), 0
    )


def test_sets_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them in the time of one round: as numbers, not as sets."""
    everybody = frozenset(map(PartyId, range(10_000)))
    sets = tuple(
        (as_number(everybody - {PartyId(party)}), 50) for party in range(4096 if SOAK else 1024)
    )
    with pytest.raises(PolicyRefused, match="by 1 members"):
        Earlier(sets, 0, 50).judge(everybody)


def test_a_note_that_was_not_stored_hides_no_other(tmp_path: Path) -> None:
    """Row 45: of two rounds at once the first one's note failed, and the second one's did not."""
    with SqliteLedger.open(tmp_path / "ledger") as ledger:
        held = memory(ledger)
        held.left(offer(1), LEAST)
        for note in done(held, 2, ALL):
            write(ledger, note)
        again = memory(ledger)
        assert len(again) == 1
        with pytest.raises(PolicyRefused, match="by 1 members"):
            judge(again, 3, without(0))
        for note in done(again, 3, ALL):  # in the place that is free
            write(ledger, note)
        assert len(memory(ledger)) == 2


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_copy_of_the_identity_hides_no_round(kind: str, tmp_path: Path) -> None:
    """Row 43: two that share a ledger, as when the identity's file is replaced while it is in use.
    What the one has written the other does not overwrite, and its input does not leave."""
    ledger = MemoryLedger() if kind == "memory" else SqliteLedger.open(tmp_path / "ledger")
    one, two = memory(ledger), memory(ledger)
    first = one.left(offer(1), LEAST)
    write(ledger, first)
    write(ledger, first)
    with pytest.raises(StorageError, match="a copy of its identity"):
        write(ledger, two.left(offer(2), LEAST))
    assert ledger.noted(first.key) == first.value if kind == "memory" else ledger.failed  # type: ignore[attr-defined]
    if isinstance(ledger, SqliteLedger):
        ledger.close()
