"""Rosters of a service: which it takes, and which is in force (rules N1 to N5).

specs/51-admission.md §6, specs/14-roster.md. Threats 51, 78.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from secagg.crypto import sign
from secagg.errors import (
    InvalidSignature,
    ParameterError,
    PolicyRefused,
    RemoteProtocolError,
    SecAggError,
    StorageError,
)
from secagg.rights import ServiceRole
from secagg.roster import Roster, SignedRoster
from secagg.rounds.admissions import CONSOLE, Admissions
from secagg.rounds.enrolled import Host, as_member
from secagg.rounds.epochs import NAMESPACE, Enacted, Epochs, InForce, Taken
from secagg.rounds.greeting import Met, Script
from secagg.rounds.reception import Reception, as_caller
from secagg.types import PartyId, Role
from tests.rounds.test_admissions import EMPTY, NOW, SECRET, SERVICE, TASK, approved, key, seed
from tests.rounds.test_greeting_of_members import Talk

ADMIN, OTHER = seed("administrator"), seed("another administrator")
ADMIN_KEY = sign.public_key(ADMIN)
PEOPLE = ("anna", "ben", "cleo")
END = NOW + 86_400


def register(*names: str) -> Admissions:
    found = EMPTY
    for name in names or PEOPLE:
        found = approved(found, name)
    return found


def signed(epoch: int = 1, *names: str | None, by: Any = ADMIN, **other: Any) -> SignedRoster:
    keys = tuple(None if one is None else key(one) for one in names or PEOPLE)
    fields: dict[str, Any] = {"epoch": epoch, "not_after": END, "server": SERVICE.key, "keys": keys}
    return SignedRoster.sign(Roster(**fields | other), by)


def take(epochs: Epochs, one: SignedRoster, people: Admissions | None = None) -> Taken:
    return epochs.take(one.encode(), {ADMIN_KEY}, people or register(), NOW)


FIRST = take(Epochs(SERVICE), signed(5)).after


def test_rule_n2_the_next_epoch_is_taken_and_the_newest_again_is_nothing() -> None:
    later = signed(6, "anna", None, "cleo", "dora")
    taken = take(FIRST, later, register("anna", "cleo", "dora"))
    assert taken.after.of(ADMIN_KEY) == later and taken.write is not None
    again = take(taken.after, later)
    assert again.write is None and again.after is taken.after
    assert taken.write.key.startswith(NAMESPACE)
    restored = Epochs.restore(SERVICE, [(taken.write.key, taken.write.value or b"")])
    assert restored == taken.after and restored.newest[ADMIN_KEY].gone == {key("ben")}


REFUSED: dict[str, tuple[Callable[[], SignedRoster], str]] = {
    "another administrator": (lambda: signed(6, by=OTHER), "by roster_authority of this service's"),
    "over": (lambda: signed(6, not_after=NOW - 1), "the roster of epoch 6 ended"),
    "older": (lambda: signed(4), "of epoch 4, and the newest here is of epoch 5"),
    "a second one": (lambda: signed(5, not_after=END + 1), "of epoch 5, and the newest here is of"),
    "a place is missing": (lambda: signed(6, "anna", "ben"), "is missing or another's"),
    "a place is another's": (lambda: signed(6, "ben", "anna", "cleo"), "is missing or another's"),
    "another server": (lambda: signed(6, server=key("elsewhere")), "is of another server"),
    "a stranger": (lambda: signed(6, *PEOPLE, "dora"), "place 3: its key is not enrolled"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_rule_n2_what_is_not_taken(case: str) -> None:
    made, words = REFUSED[case]
    with pytest.raises(PolicyRefused, match=words):
        take(FIRST, made())


def test_rule_n2_a_member_is_an_approved_client_by_its_current_key() -> None:
    people = register().revoke("ben", CONSOLE).after
    with pytest.raises(PolicyRefused, match="place 1: ben is revoked, not approved; approve them"):
        take(FIRST, signed(6), people)
    assert take(FIRST, signed(6, "anna", None, "cleo"), people).write
    nobody = replace(people, entries={})
    with pytest.raises(PolicyRefused, match="place 2: .*; approve") as said:
        take(FIRST, signed(6), nobody)
    assert "more" not in str(said.value)


def test_rule_n2_what_is_no_roster() -> None:
    data = bytearray(signed(6).encode())
    data[-1] ^= 1
    with pytest.raises(InvalidSignature):
        FIRST.take(data, {ADMIN_KEY}, register(), NOW)
    for junk in (b"", b"x" * 200, signed(6).encode()[1:]):
        with pytest.raises(SecAggError):
            FIRST.take(junk, {ADMIN_KEY}, register(), NOW)


def test_a_row_that_is_none() -> None:
    row = Enacted(signed(), frozenset({key("ben")})).encode()
    assert Enacted.decode(row) == Enacted(signed(), frozenset({key("ben")}))
    space = NAMESPACE + b"\0"
    for where, value in (
        (space + ADMIN_KEY, row + b"\0"),
        (space + ADMIN_KEY, b"\2" + row[1:]),
        (space + SERVICE.key, row),
    ):
        with pytest.raises(StorageError):
            Epochs.restore(SERVICE, [(where, value)])


def test_rule_n1_what_the_next_epoch_lacks() -> None:
    """Whoever was excluded asks for nothing again."""
    people = register(*PEOPLE, "dora")
    before = Epochs(SERVICE).wanted(ADMIN_KEY, [TASK], people)
    assert [one.name for one in before.requests] == [*PEOPLE, "dora"] and before.leavers == ()
    assert [one.key for one in before.requests] == [key(name) for name in (*PEOPLE, "dora")]
    assert Epochs(SERVICE).wanted(ADMIN_KEY, ["another"], people).requests == ()
    people = people.revoke("ben", CONSOLE).after
    wanted = FIRST.wanted(ADMIN_KEY, [TASK], people)
    assert [one.name for one in wanted.requests] == ["dora"] and wanted.leavers == ("ben",)
    without = take(FIRST, signed(6, None, None, "cleo"), people).after
    wanted = without.wanted(ADMIN_KEY, [TASK], people)
    assert [one.name for one in wanted.requests] == ["dora"] and wanted.leavers == ()


def in_force(roster: SignedRoster | None = None) -> InForce:
    found = InForce(SECRET, {TASK: ADMIN_KEY})
    if roster is not None:
        found.enact(TASK, roster)
    return found


def test_rule_n3_nobody_is_chosen_without_a_roster_or_from_one_that_is_over() -> None:
    found = in_force()
    assert found.places(TASK, NOW) is None and found.host(TASK) is None
    assert found.why_not(TASK, key("anna"), NOW) == "no roster of its task is in force yet"
    assert found.why_not("another", key("anna"), NOW) is None
    found.enact(TASK, signed(6, "anna", None, "cleo"))
    assert found.places(TASK, END) == 3, "N counts places, also of those who are gone"
    assert found.places(TASK, END + 1) is None
    assert found.why_not(TASK, key("anna"), END) is None
    assert found.why_not(TASK, key("anna"), END + 1) == "the roster of epoch 6 is over"
    assert "no member's in the roster of epoch 6" in (found.why_not(TASK, key("ben"), NOW) or "")
    found.check(signed(7), {TASK: 3, "another": 1})
    with pytest.raises(ParameterError, match=f"has 3 places, and the terms of {TASK} are for 2"):
        found.check(signed(7), {TASK: 2})


def greeting(found: InForce, theirs: Script) -> Talk:
    def judge(who: bytes, role: Any, task: str) -> str | None:
        return found.why_not(task, who, NOW)

    return Talk(theirs, Reception(SERVICE, SECRET, judge, host=found.host).greet())


def member(name: str, roster: Roster, place: int | None = None, of: str | None = None) -> Script:
    """Who greets by its own key, and proves a place."""
    met = yield from as_caller(SERVICE, ServiceRole.CLIENT, TASK, seed(name))
    assert met.identity == SERVICE.key
    at = roster.place_of(key(of or name)) if place is None else PartyId(place)
    return (yield from as_member(roster, at, seed(of or name)))


def test_rule_n4_who_has_greeted_proves_its_place_in_the_roster_in_force() -> None:
    roster = signed(6)
    met = greeting(in_force(roster), member("ben", roster.roster))
    assert met.server == Met(Role.CLIENT, key("ben"), met.frames[7], TASK)
    assert met.member == Met(Role.SERVER, SERVICE.key)
    assert [len(frame) for frame in met.frames] == [119 + len(TASK), 50, 82, 82, 90, 50, 82, 82]


def test_rule_n4_other_rosters_and_other_places() -> None:
    roster = signed(6)
    old = greeting(in_force(roster), member("ben", signed(5).roster))
    assert isinstance(old.server, RemoteProtocolError) and len(old.frames) == 5
    theirs = greeting(in_force(roster), member("ben", roster.roster, of="anna"))
    assert isinstance(theirs.server, RemoteProtocolError), "a place of another key of one's own"
    stolen = greeting(in_force(roster), member("ben", roster.roster, place=0))
    assert isinstance(stolen.server, InvalidSignature)
    nobody = greeting(in_force(roster), member("dora", roster.roster, place=0))
    assert isinstance(nobody.server, RemoteProtocolError)
    assert len(nobody.frames) == 3, "rule G4: the service signs nothing for it"


def test_rule_n4_a_greeting_that_ends_under_another_roster() -> None:
    roster, found = signed(6), in_force(signed(6))
    hosts: list[Host | None] = [found.host(TASK)]
    reception = Reception(SERVICE, SECRET, lambda *_: None, host=lambda task: hosts[-1])
    theirs, ours = member("ben", roster.roster), reception.greet()
    next(ours)
    frame = next(theirs)
    for _ in range(3):
        frame = theirs.send(ours.send(frame))
    hosts.append(in_force(signed(7)).host(TASK))
    with pytest.raises(RemoteProtocolError, match="another roster has come into force"):
        ours.send(frame)
