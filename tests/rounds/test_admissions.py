"""The register of a service: rules E1 to E8, every role and state with every action.

specs/51-admission.md §2, §3. Threats 51, 78, 79.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from secagg.crypto import sign
from secagg.effects import Write
from secagg.errors import InvalidKey, ParameterError, PolicyRefused, SecAggError, StorageError
from secagg.invitation import PUBLIC_PKI, Acceptance, Invitation, Renewal, Token
from secagg.rights import Action, ServiceRole, allowed
from secagg.roster import Enrolment
from secagg.rounds import admission, admissions
from secagg.rounds.admission import Admission, State
from secagg.rounds.admissions import CONSOLE, GOOD_FOR, NAMESPACE, Actor, Admissions, Change
from secagg.service import audit
from secagg.types import Seed
from secagg.wire.hello import Service

SECRET = Seed(b"service".ljust(32))
SERVICE = Service("sum.example", sign.public_key(SECRET))
CLIENT, TASK, NOW = ServiceRole.CLIENT, "mortality", 1_800_000_000
EMPTY = Admissions(SERVICE)


def seed(word: str) -> Seed:
    return Seed(word.encode().ljust(32))


def key(word: str) -> bytes:
    return sign.public_key(seed(word))


def tasks_of(role: ServiceRole) -> tuple[str, ...]:
    return (TASK,) if role.of_tasks else ()


def invited(
    register: Admissions = EMPTY, name: str = "site-1", role: ServiceRole = CLIENT, **other: Any
) -> tuple[Admissions, Invitation]:
    given: dict[str, Any] = {"tasks": tasks_of(role), "by": CONSOLE, "now": NOW} | other
    given |= {"url": "https://sum.example", "ca": PUBLIC_PKI}
    change, code = register.invite(name, role, **given)
    return change.after, code


def approved(
    register: Admissions = EMPTY, name: str = "site-1", role: ServiceRole = CLIENT, until: int = 0
) -> Admissions:
    register, code = invited(register, name, role)
    return register.accept(code.accept(seed(name)), NOW).after.approve(name, CONSOLE, until).after


def test_rules_e1_e4_e5_from_a_code_to_a_link() -> None:
    register, code = invited()
    entry = register.entries["site-1"]
    assert (entry.state, entry.expires) == (State.INVITED, NOW + GOOD_FOR)
    assert entry.ticket == sign.public_key(code.token.ticket(SERVICE))
    change = register.accept(code.accept(seed("site-1")), NOW + 5)
    register = change.after
    assert register.entries["site-1"].state is State.WAITING
    why = register.why_not(key("site-1"), CLIENT, TASK, NOW)
    assert why == "site-1 is waiting, not approved"
    register = register.approve("site-1", CONSOLE).after
    assert register.why_not(key("site-1"), CLIENT, TASK, NOW) is None
    request = register.entries["site-1"].request
    assert (request.name, request.key) == ("site-1", key("site-1"))
    assert [(deed.what, deed.by) for deed in change.deeds] == [("enrolled", "site-1")]


def test_rule_e4_once_and_the_same_key_again() -> None:
    register, code = invited()
    mine, others = code.accept(seed("mine")), code.accept(seed("others"))
    register = register.accept(mine, NOW).after
    for state in (register, register.approve("site-1", CONSOLE).after):
        assert state.accept(mine, NOW + 10 * GOOD_FOR) == Change(state)
        with pytest.raises(PolicyRefused, match="with another key"):
            state.accept(others, NOW)
    gone = register.revoke("site-1", CONSOLE).after
    for said in (mine, others):
        with pytest.raises(PolicyRefused, match="revoked"):
            gone.accept(said, NOW)


def test_rule_e4_what_nobody_is_told() -> None:
    """Whatever is known here: one text for who has not the token; a ticket is no help."""
    register, code = invited(approved(name="site-2"))
    said = code.accept(seed("mine"))
    stolen = replace(said, request=Enrolment.make("site-1", seed("thief")))
    unknown = replace(code, token=Token(bytes(16))).accept(seed("mine"))
    other = replace(code, url="https://other.example").accept(seed("mine"))
    texts = set()
    for bad in (stolen, unknown, other, replace(said, signature=bytes(64))):
        with pytest.raises(PolicyRefused) as error:
            register.accept(bad, NOW)
        texts.add(str(error.value))
    assert len(texts) == 1


def test_rule_e4_what_the_owner_of_a_token_is_told() -> None:
    register, code = invited(approved(name="site-2"))
    for said, now, words in (
        (replace(code, name="site-3").accept(seed("mine")), NOW, "is for site-1"),
        (code.accept(seed("mine")), NOW + GOOD_FOR, "has ended"),
        (code.accept(seed("site-2")), NOW, "known here"),
        (code.accept(SECRET), NOW, "the service's"),
    ):
        with pytest.raises(PolicyRefused, match=words):
            register.accept(said, now)
    register.accept(code.accept(seed("mine")), NOW + GOOD_FOR - 1)
    with pytest.raises(InvalidKey):  # threat 51: no request of such a key is read
        data = code.accept(seed("mine")).encode()
        Acceptance.decode(data.replace(key("mine"), b"\1" + bytes(31)))


def test_rule_e1_names_and_codes() -> None:
    register, first = invited()
    register, second = invited(register, now=NOW + 9 * GOOD_FOR)
    with pytest.raises(PolicyRefused, match="no invitation"):
        register.accept(first.accept(seed("mine")), NOW)
    register = register.accept(second.accept(seed("mine")), NOW + 9 * GOOD_FOR).after
    for state in (register, register.revoke("site-1", CONSOLE).after):
        with pytest.raises(PolicyRefused, match="already"):
            invited(state)
    for name in ("", " a", "a" * 65, "a\n", "ä"):
        with pytest.raises(ParameterError):
            invited(name=name)
    for role in ServiceRole:
        wrong = () if role.of_tasks else (TASK,)
        for tasks in (wrong, ["A"], [f"t{i}" for i in range(65)]):
            with pytest.raises(ParameterError):
                invited(role=role, tasks=tasks)
    with pytest.raises(ParameterError, match="host"):
        EMPTY.invite("a", CLIENT, [TASK], CONSOLE, NOW, url="https://b.example", ca=PUBLIC_PKI)


def test_rule_e9_a_register_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert admissions.MOST == 1 << 16
    monkeypatch.setattr(admissions, "MOST", 2)
    register = approved(approved(name="a"), name="b")
    with pytest.raises(PolicyRefused, match="as many as it takes"):
        invited(register, name="c")
    gone = register.revoke("a", CONSOLE).after
    with pytest.raises(PolicyRefused, match="as many"):
        invited(gone, name="c")


def test_rule_e6_revoked_for_good_and_from_every_state() -> None:
    register, code = invited()
    waits = register.accept(code.accept(seed("site-1")), NOW).after
    for state in (register, waits, approved()):
        gone = state.revoke("site-1", CONSOLE).after
        assert gone.revoke("site-1", CONSOLE) == Change(gone)
        assert gone.why_not(key("site-1"), CLIENT, TASK, NOW) is not None
        for again in (
            lambda gone=gone: gone.approve("site-1", CONSOLE),
            lambda gone=gone: gone.appoint("site-1", CLIENT, [TASK], CONSOLE),
            lambda gone=gone: invited(gone),
        ):
            with pytest.raises(PolicyRefused):
                again()
    with pytest.raises(PolicyRefused, match="nobody here"):
        EMPTY.revoke("site-1", CONSOLE)
    with pytest.raises(PolicyRefused, match="who waits"):
        register.approve("site-1", CONSOLE)


def test_rule_e5_who_cannot_be_approved_is_said_with_what_would_do() -> None:
    register, _ = invited()
    with pytest.raises(
        PolicyRefused, match="^site-1 is invited, .*: it enrols first, by its code$"
    ):
        register.approve("site-1", CONSOLE)
    with pytest.raises(PolicyRefused, match="^nobody here is called site-2: `service list` has"):
        register.approve("site-2", CONSOLE)
    gone = approved().revoke("site-1", CONSOLE).after
    with pytest.raises(PolicyRefused, match="^site-1 is revoked, and who waits can be approved$"):
        gone.approve("site-1", CONSOLE)


def test_rule_e5_approved_for_a_time() -> None:
    register = approved(until=NOW + 10)
    assert register.why_not(key("site-1"), CLIENT, TASK, NOW + 9) is None
    assert "over" in str(register.why_not(key("site-1"), CLIENT, TASK, NOW + 10))
    assert register.approve("site-1", CONSOLE, NOW + 10) == Change(register)


def renewal(name: str, old: str, new: str, service: Service = SERVICE) -> Renewal:
    return Renewal.make(service, seed(old), Enrolment.make(name, seed(new)))


def test_rule_e7_renewed() -> None:
    register, said = approved(), renewal("site-1", "site-1", "new")
    after = register.renew(said, NOW).after
    assert after.why_not(key("new"), CLIENT, TASK, NOW) is None
    assert "renewed" in str(after.why_not(key("site-1"), CLIENT, TASK, NOW))
    assert after.renew(said, NOW) == Change(after)
    for again in (renewal("site-1", "site-1", "third"), renewal("site-1", "new", "site-1")):
        with pytest.raises(PolicyRefused):
            after.renew(again, NOW)
    third = after.renew(renewal("site-1", "new", "third"), NOW).after
    with pytest.raises(PolicyRefused):
        third.renew(said, NOW)  # what was said once does not come back


def test_rule_e7_a_key_that_somebody_had_is_nobodys() -> None:
    register = approved().renew(renewal("site-1", "site-1", "new"), NOW).after
    for word in ("site-1", "new"):
        after, code = invited(register, "site-2")
        with pytest.raises(PolicyRefused, match="known here"):
            after.accept(code.accept(seed(word)), NOW)


def test_rule_e7_whose_renewal_is_none() -> None:
    register = approved(approved(name="site-2"), until=NOW + 10)
    forged = replace(renewal("site-1", "site-1", "new"), signature=bytes(64))
    for said, now in (
        (forged, NOW),
        (renewal("site-1", "unknown", "new"), NOW),
        (renewal("site-2", "site-1", "new"), NOW),
        (renewal("site-1", "site-1", "new", Service("other.example", SERVICE.key)), NOW),
        (renewal("site-1", "site-1", "site-2"), NOW),
        (renewal("site-1", "site-1", "new"), NOW + 10),
    ):
        with pytest.raises(PolicyRefused):
            register.renew(said, now)
    with pytest.raises(PolicyRefused, match="the service's"):
        register.renew(Renewal.make(SERVICE, seed("site-1"), Enrolment.make("site-1", SECRET)), NOW)
    for state in (register.revoke("site-1", CONSOLE).after, _waiting()):
        with pytest.raises(PolicyRefused):
            state.renew(renewal("site-1", "site-1", "new"), NOW)


def _waiting() -> Admissions:
    register, code = invited()
    return register.accept(code.accept(seed("site-1")), NOW).after


def test_rule_e7_as_often_as_it_is_remembered() -> None:
    register = approved()
    words = ["site-1", *(f"key {i}" for i in range(admission.MAX_RENEWALS + 1))]
    for old, new in zip(words[:-2], words[1:-1], strict=True):
        register = register.renew(renewal("site-1", old, new), NOW).after
    with pytest.raises(PolicyRefused, match="64 times"):
        register.renew(renewal("site-1", words[-2], words[-1]), NOW)


STATES = ("unknown", "invited", "waiting", "expired", "revoked", "renewed", "approved")


def in_state(state: str, role: ServiceRole) -> Admissions:
    register, code = invited(name="me", role=role)
    if state == "unknown":
        return EMPTY
    if state == "invited":
        return register
    register = register.accept(code.accept(seed("me")), NOW).after
    if state == "waiting":
        return register
    register = register.approve("me", CONSOLE, NOW if state == "expired" else 0).after
    if state == "renewed":
        return register.renew(renewal("me", "me", "next"), NOW).after
    return register.revoke("me", CONSOLE).after if state == "revoked" else register


@pytest.mark.parametrize("role", ServiceRole)
@pytest.mark.parametrize("state", STATES)
def test_rules_m1_e8_every_role_in_every_state_with_every_action(
    role: ServiceRole, state: str
) -> None:
    """Row 78: none, wrong, expired, revoked, other role, other task: one text, and no actor."""
    register, told = in_state(state, role), set()
    for action in Action:
        for task in (TASK, "another", None):
            may = state == "approved" and allowed(role, action)
            may = may and (task == TASK or not role.of_tasks)
            if may:
                assert register.actor(key("me"), action, task, NOW) == Actor("me", role)
                continue
            with pytest.raises(PolicyRefused) as error:
                register.actor(key("me"), action, task, NOW)
            told.add(str(error.value))
    assert told == {"this key may not do that here"}
    for asked in ServiceRole:
        why = register.why_not(key("me"), asked, TASK, NOW)
        assert (why is None) is (state == "approved" and asked is role is CLIENT)


@pytest.mark.parametrize("role", ServiceRole)
def test_rule_e8_changes_are_made_by_who_may(role: ServiceRole) -> None:
    """Whatever a route has asked before."""
    by = Actor("somebody", role)
    calls = {
        Action.INVITE: lambda: invited(approved(), "site-2", by=by),
        Action.APPROVE: lambda: _waiting().approve("site-1", by),
        Action.REVOKE: lambda: approved().revoke("site-1", by),
        Action.APPOINT: lambda: approved().appoint("site-1", CLIENT, ["other"], by),
    }
    for action, call in calls.items():
        if allowed(role, action):
            call()
            continue
        with pytest.raises(PolicyRefused, match=f"right '{action.value}'"):
            call()


def test_rule_e8_what_was_done_is_told_to_the_audit() -> None:
    """In words that it has, with no secret, and once."""
    register, code = invited()
    changes = [EMPTY.invite("a", CLIENT, [TASK], CONSOLE, NOW, url="https://sum.example",
                            ca=PUBLIC_PKI)[0]]  # fmt: skip
    changes.append(register.accept(code.accept(seed("site-1")), NOW))
    changes.append(changes[-1].after.approve("site-1", CONSOLE))
    changes.append(changes[-1].after.renew(renewal("site-1", "site-1", "new"), NOW))
    changes.append(changes[-1].after.appoint("site-1", ServiceRole.VIEWER, [], CONSOLE))
    changes.append(changes[-1].after.revoke("site-1", CONSOLE))
    for change in changes:
        [deed], [write] = change.deeds, change.writes
        assert audit.Deed(deed.what) and write.key.startswith(NAMESPACE + b"\0")
        assert code.token.expose() not in (write.value or b"")
        assert code.token.expose().hex() not in repr(change)
    assert [change.deeds[0].what for change in changes] == [
        "invited", "enrolled", "approved", "renewed", "role", "revoked"
    ]  # fmt: skip


def test_the_register_is_what_its_rows_are() -> None:
    register, rows = EMPTY, dict[bytes, bytes]()

    def note(change: Change) -> Admissions:
        for write in change.writes:
            assert isinstance(write, Write) and write.value is not None
            rows[write.key] = write.value
        assert Admissions.restore(SERVICE, rows.items()) == change.after
        return change.after

    for number, role in enumerate(ServiceRole):
        name = f"{role.word} {number}"
        change, code = register.invite(name, role, tasks_of(role), CONSOLE, NOW,
                                       url="https://sum.example", ca=PUBLIC_PKI)  # fmt: skip
        register = note(change)
        if number == 3:
            register = note(register.revoke(name, CONSOLE))  # without a key
            continue
        register = note(register.accept(code.accept(seed(name)), NOW))
        register = note(register.approve(name, CONSOLE, NOW + 9))
        register = note(register.renew(renewal(name, name, name + "!"), NOW))
        if number == 2:
            register = note(register.revoke(name, CONSOLE))
    assert len(register.entries) == len(ServiceRole)


def test_rows_that_are_none() -> None:
    register = approved().renew(renewal("site-1", "site-1", "new"), NOW).after
    entry = register.entries["site-1"]
    good, at = entry.encode(), NAMESPACE + b"\0site-1"
    assert Admission.decode(good) == entry
    two = replace(entry, name="site-2")
    for rows in ([(at, good[:size])] for size in range(len(good))):
        with pytest.raises(StorageError):
            Admissions.restore(SERVICE, rows)
    for made in (
        replace(entry, key=b"", signature=b"", earlier=()), replace(entry, tasks=()),
        replace(entry, state=State.INVITED), replace(entry, tasks=("b", "a")),
        replace(entry, role=ServiceRole.ADMIN), replace(entry, earlier=(entry.key,)),
        replace(entry, tasks=(TASK, TASK)), replace(entry, earlier=entry.earlier * 65),
    ):  # fmt: skip
        with pytest.raises(SecAggError):
            Admission.decode(made.encode())
    for bad in (
        [(at, good + b"\0")], [(at, b"\2" + good[1:])], [(at + b"x", good)],
        [(at, good), (NAMESPACE + b"\0site-2", two.encode())],
    ):  # fmt: skip
        with pytest.raises(StorageError):
            Admissions.restore(SERVICE, bad)
