"""Who may do what at a service: the table of specs/51-admission.md §3 (rules M1 and M2)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from secagg.errors import PolicyRefused
from secagg.rights import RIGHTS, Action, ServiceRole, allowed, demand
from secagg.types import Role

WORDS: dict[Action, str] = {
    Action.APPOINT: "appoint to another role or other tasks",
    Action.NAMES: "names",
    Action.LINK: "its link",
    Action.PAYLOAD: "its payload",
    Action.STANDING: "its standing",
    Action.RESULTS: "have results",
    Action.ACKNOWLEDGE: "acknowledge them",
    Action.END_EPOCH: "end an epoch",
    Action.PAGE: "the page",
}
"""As the specification says what the table calls otherwise."""


def rows() -> dict[str, str]:
    text = (Path(__file__).parent.parent / "specs" / "51-admission.md").read_text()
    found = re.findall(r"^\| ([a-z]+) \| (.+) \|$", text.split("## §3 Roles")[1], re.M)
    return {role: may for role, may in found if role != "role"}


@pytest.mark.parametrize("role", ServiceRole)
@pytest.mark.parametrize("action", Action)
def test_rule_m1_the_table_is_the_specifications(role: ServiceRole, action: Action) -> None:
    """Row 78, every role with every action: what is not written there is refused."""
    assert rows().keys() == {one.word for one in ServiceRole}
    may = rows()[role.word].replace("have its link, its payload", "its link, its payload")
    may = (
        may.replace("no names", "")
        .replace("no results", "")
        .replace("see names and reasons, the page", "names, the page")
        .replace("see the page", "the page")
        .replace("have its standing", "its standing")
    )
    word = WORDS.get(action, action.value)
    # all may renew: it is said once
    listed = action is Action.RENEW or word in may
    assert allowed(role, action) is listed
    if listed:
        demand(role, action)
        return
    with pytest.raises(
        PolicyRefused, match=rf"^the role {role.word} is without .*'{action.value}'"
    ):
        demand(role, action)


def test_rule_m1_what_is_new_may_nothing() -> None:
    assert set(RIGHTS) == set(ServiceRole)
    assert not allowed(3, Action.PAGE)  # type: ignore[arg-type]
    assert not allowed(ServiceRole.ADMIN, "page")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        RIGHTS[ServiceRole.VIEWER] = frozenset(Action)  # type: ignore[index]


def test_rule_m1_nobody_may_everything_and_everything_is_somebodys() -> None:
    """Who enrols sees no results, and who sees results enrols nobody."""
    for action in Action:
        assert any(allowed(role, action) for role in ServiceRole), action
    for role in ServiceRole:
        enrols = allowed(role, Action.INVITE) or allowed(role, Action.APPROVE)
        assert not (enrols and allowed(role, Action.RESULTS))
        assert allowed(role, Action.LINK) is (role is ServiceRole.CLIENT)  # rule M2


def test_codes_that_both_have_are_the_same() -> None:
    assert ServiceRole.CLIENT == Role.CLIENT and ServiceRole.COLLECTOR == Role.COLLECTOR
    assert Role.SERVER not in set(ServiceRole)
