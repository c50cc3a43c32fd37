"""Sessions of those who have no link, and links to log in with (rules W1, W2 and W3 of
specs/51-admission.md). Threats 66, 78, 79.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from secagg.crypto import sign
from secagg.errors import InvalidSignature, PolicyRefused
from secagg.rights import ServiceRole
from secagg.rounds.reception import NO_TASK, Reception, as_caller
from secagg.rounds.visitors import (
    EACH,
    LOGIN,
    MOST_GREETINGS,
    MOST_LOGINS,
    MOST_SESSIONS,
    REPLY_SIZE,
    SESSION,
    Entered,
    Visitors,
)
from secagg.types import Seed
from secagg.wire.hello import Service, check_task

SECRET, MINE, OTHERS = (Seed(word.ljust(32)) for word in (b"service", b"mine", b"others"))
SERVICE = Service("sum.hospital.example", sign.public_key(SECRET))
VIEWER = ServiceRole.VIEWER


class Register:
    """Who has a session, by key and role."""

    def __init__(self) -> None:
        self.known = {(sign.public_key(MINE), VIEWER), (sign.public_key(OTHERS), VIEWER)}

    def why_not(self, key: bytes, role: ServiceRole) -> str | None:
        return None if (key, role) in self.known else "site-1 is revoked, not approved"


@pytest.fixture
def register() -> Register:
    return Register()


@pytest.fixture
def visitors(register: Register) -> Visitors:
    judge = Reception(SERVICE, SECRET, lambda key, role, _: register.why_not(key, role))
    return Visitors(judge.visit, register.why_not)


def enter(
    visitors: Visitors,
    seed: Seed = MINE,
    now: float = 0.0,
    *,
    role: ServiceRole = VIEWER,
    task: str = NO_TASK,
    service: Service = SERVICE,
) -> Entered:
    """As a caller does, which checks the service's proof too."""
    mine = as_caller(service, role, task, seed)
    reply = visitors.hear(next(mine), now)
    entered = visitors.prove(reply + mine.send(reply), now)
    with pytest.raises(StopIteration):
        mine.send(entered.proof)
    return entered


def test_rule_w1_both_prove_who_they_are(visitors: Visitors) -> None:
    entered = enter(visitors)
    assert entered.session.key == sign.public_key(MINE)
    assert visitors.who(entered.token, False, 1.0) is entered.session
    assert check_task(NO_TASK) == NO_TASK  # the wire has it, and no configuration


def test_rule_w1_a_proof_of_another_service_is_none(visitors: Visitors) -> None:
    mine = as_caller(SERVICE, VIEWER, NO_TASK, MINE)
    reply = visitors.hear(next(mine), 0.0)
    entered = visitors.prove(reply + mine.send(reply), 0.0)
    forged = entered.proof[:-1] + bytes([entered.proof[-1] ^ 1])
    with pytest.raises(InvalidSignature, match="not the service"):
        mine.send(forged)


@pytest.mark.parametrize(
    ("seed", "role", "task"),
    [
        (Seed(bytes(32)), VIEWER, NO_TASK),
        (MINE, ServiceRole.ADMIN, NO_TASK),
        (MINE, ServiceRole.CLIENT, NO_TASK),
        (MINE, VIEWER, "mortality"),
    ],
    ids=["an unknown key", "another role", "a client's", "of a task"],
)
def test_rule_w1_whatever_is_wrong_has_one_answer(
    visitors: Visitors, seed: Seed, role: ServiceRole, task: str
) -> None:
    with pytest.raises(PolicyRefused, match="^this key is not met here: it waits for"):
        enter(visitors, seed, role=role, task=task)


def test_rule_w1_junk_has_that_answer_and_a_line_in_the_log(
    visitors: Visitors, caplog: pytest.LogCaptureFixture
) -> None:
    mine = as_caller(SERVICE, VIEWER, NO_TASK, MINE)
    hello = next(mine)
    with caplog.at_level(logging.WARNING):
        for junk in (b"", b"x", hello[:-1], hello + b"x", bytes([9]) + hello[1:]):
            with pytest.raises(PolicyRefused, match="this key is not met"):
                visitors.hear(junk, 0.0)
    assert "a visit was refused" in caplog.text
    for junk in (b"", hello, bytes(REPLY_SIZE + 82)):
        with pytest.raises(PolicyRefused, match="this key is not met"):
            visitors.prove(junk, 0.0)


def test_rule_w1_a_greeting_is_good_once_and_for_seconds(visitors: Visitors) -> None:
    mine = as_caller(SERVICE, VIEWER, NO_TASK, MINE)
    hello = next(mine)
    reply = visitors.hear(hello, 0.0)
    said = reply + mine.send(reply)
    with pytest.raises(PolicyRefused):
        visitors.prove(said, 5.0)
    other = visitors.hear(hello, 0.0)
    with pytest.raises(PolicyRefused):  # the proof is of another challenge
        visitors.prove(other + said[REPLY_SIZE:], 0.0)
    with pytest.raises(PolicyRefused):  # and that one is used up
        visitors.prove(other + said[REPLY_SIZE:], 0.0)


def test_rule_w1_greetings_are_so_many(visitors: Visitors) -> None:
    mine = as_caller(SERVICE, VIEWER, NO_TASK, MINE)
    hello = next(mine)
    reply = visitors.hear(hello, 0.0)
    for _ in range(MOST_GREETINGS - 1):
        visitors.hear(hello, 0.0)
    said = reply + mine.send(reply)
    assert visitors.prove(said, 0.0)
    again = visitors.hear(hello, 0.0)
    for _ in range(MOST_GREETINGS):
        visitors.hear(hello, 0.0)
    with pytest.raises(PolicyRefused):
        visitors.prove(again + said[REPLY_SIZE:], 0.0)


def test_rule_w2_a_session_ends_after_8_hours(visitors: Visitors) -> None:
    entered = enter(visitors, now=100.0)
    assert visitors.who(entered.token, False, 100.0 + SESSION - 0.001)
    assert visitors.who(entered.token, False, 100.0 + SESSION) is None
    assert visitors.who(entered.token, False, 100.0) is None  # nor does it come back


def test_rule_w2_a_session_ends_when_it_is_left(visitors: Visitors) -> None:
    entered, other = enter(visitors), enter(visitors)
    visitors.leave(entered.session)
    assert visitors.who(entered.token, False, 0.0) is None
    assert visitors.who(other.token, False, 0.0)


def test_rule_w2_who_is_revoked_has_nothing_from_then_on(
    visitors: Visitors, register: Register
) -> None:
    entered = enter(visitors)
    link = visitors.login(entered.session.key, VIEWER, 0.0)
    register.known.clear()
    assert not visitors.stays(entered.session, 0.0)
    register.known.add((sign.public_key(MINE), VIEWER))
    assert visitors.who(entered.token, False, 0.0) is None  # it was forgotten
    register.known.clear()
    with pytest.raises(PolicyRefused):
        visitors.redeem(link, 0.0)


def test_rule_w2_a_word_is_kept_nowhere(visitors: Visitors) -> None:
    entered = enter(visitors)
    link = visitors.login(entered.session.key, VIEWER, 0.0)
    held = repr(vars(visitors))
    for word in (entered.token, link):
        assert word not in held and word[:16] not in held and len(word) == 64
    assert entered.token not in repr(entered)


def test_79_rule_w2_a_key_has_eight_sessions_and_all_together_so_many(visitors: Visitors) -> None:
    other = enter(visitors, OTHERS)
    mine = [enter(visitors) for _ in range(EACH + 1)]
    here = [visitors.who(one.token, False, 0.0) is not None for one in mine]
    assert here == [False] + [True] * EACH
    assert visitors.who(other.token, False, 0.0)
    for number in range(MOST_SESSIONS):
        link = visitors.login(None, list(ServiceRole)[number % 5], 0.0)
        visitors.redeem(link, 0.0)
    assert len(visitors._sessions) <= MOST_SESSIONS


def test_rule_w2_there_are_so_many_sessions(visitors: Visitors, register: Register) -> None:
    first = enter(visitors, OTHERS)
    for number in range(MOST_SESSIONS):
        key = number.to_bytes(32)
        register.known.add((key, VIEWER))
        visitors.redeem(visitors.login(key, VIEWER, 0.0), 0.0)
    assert len(visitors._sessions) == MOST_SESSIONS
    assert visitors.who(first.token, False, 0.0) is None  # the oldest


def test_rule_w3_a_link_is_good_once_and_for_ten_minutes(visitors: Visitors) -> None:
    link = visitors.login(None, VIEWER, 0.0)
    entered = visitors.redeem(link, LOGIN - 0.001)
    assert entered.session.browser and entered.session.key is None
    late = visitors.login(None, VIEWER, 0.0)
    for word, now in ((link, 1.0), (late, LOGIN), ("", 0.0), ("0" * 64, 0.0)):
        with pytest.raises(PolicyRefused, match="unknown, was used, or is more than 10 minutes"):
            visitors.redeem(word, now)


def test_rule_w3_links_that_nobody_uses_are_so_many(visitors: Visitors) -> None:
    """And one who has many made pushes out none of another's."""
    mine, owners = sign.public_key(MINE), visitors.login(None, VIEWER, 0.0)
    links = [visitors.login(mine, VIEWER, 0.0) for _ in range(MOST_LOGINS + EACH)]
    assert visitors.redeem(owners, 0.0).session.key is None
    with pytest.raises(PolicyRefused):
        visitors.redeem(links[-EACH - 1], 0.0)
    assert visitors.redeem(links[-EACH], 0.0)
    for number in range(MOST_LOGINS + 1):
        visitors.login(number.to_bytes(32), VIEWER, 0.0)
    assert len(visitors._logins) == MOST_LOGINS
    with pytest.raises(PolicyRefused):
        visitors.redeem(links[-1], 0.0)  # the oldest


def test_rule_w4_a_cookies_word_is_no_bearers(visitors: Visitors) -> None:
    bearer = enter(visitors)
    browser = visitors.redeem(visitors.login(None, VIEWER, 0.0), 0.0)
    assert visitors.who(bearer.token, True, 0.0) is None
    assert visitors.who(browser.token, False, 0.0) is None
    link = visitors.login(None, VIEWER, 0.0)
    assert visitors.who(link, True, 0.0) is None  # a link is no session


def test_a_session_that_is_made_up_does_not_stay(visitors: Visitors) -> None:
    entered = enter(visitors)
    assert not visitors.stays(replace(entered.session, role=ServiceRole.ADMIN), 0.0)
