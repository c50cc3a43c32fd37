"""A round of four whose server, or one of whose clients, dies before and after everything it does.

However it goes on: the sum is exact over its contributors, or there is none and everybody can say
why; nobody ever says one thing in two wordings, and no two survivor sets are asked about. What ends
there are is counted by where the death lies, so that a kind that no longer occurs is seen.
Threats T9, T12; specs/03-storage.md §1.3, §3.1-3.4, and 10-secagg.md §8 C1, C9.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable

import pytest

from secagg.errors import Aborted
from secagg.plans.plan import Plan
from secagg.types import AbortReason
from secagg_protocols.secagg.messages import Tag
from tests.rounds.kills import Scene, Town, deaths
from tests.rounds.world import levels, real, total

soak = pytest.mark.skipif("SECAGG_SOAK" not in os.environ, reason="`make soak` runs it")

SECAGG = real(4)
PLUS = real(4, 0, protocol="secagg+")
"""A ring of neighbours. Of so few none may be missing: with a drop it ends, and says so."""
PLUS_OF_SIX = real(6, 0.125, protocol="secagg+")
BEFORE, AFTER = ("d", "masked-input"), ("d", "unmask-answer")
"""A client is gone when others have its shares; or when its input is in the sum already."""
UNHEARD, SUM, LOST, BELOW = "unheard", "sum", "lost", "below-threshold"
"""How a round ends. Unheard: it was never stored, so nobody has heard of it."""


def ends(towns: Iterable[Town]) -> Counter[str]:
    """How each ended, after it was found to have ended well."""
    return Counter(end_of(town) for town in towns)


def end_of(town: Town) -> str:
    at = f"killed {town.killed} ({town.scene.at})"
    assert not town.errors, f"{at}: a client refuses its server"
    for (sender, to, tag), wordings in town.said.items():
        assert len(wordings) == 1, f"{at}: {sender} says {tag} to {to} in two wordings"
    assert len(asked_about(town)) <= 1, f"{at}: two survivor sets"
    sums = {result.contributors for result in town.results}
    reasons = {end.error.reason for end in town.ends if isinstance(end.error, Aborted)}
    assert len(sums) + len(reasons) <= 1, f"{at}: it ends in two ways"
    assert all(end.result or isinstance(end.error, Aborted) for end in town.ends), at
    for result in town.results:
        summed = [town.scene.names[party] for party in sorted(result.contributors)]
        assert levels(result) == total(summed), f"{at}: not the sum over its contributors"
    for name in town.scene.names:
        hears_the_truth(town, name, at)
    if sums:
        return SUM
    if not town.ends:
        assert not any(town.told.values()) and not town.said, f"{at}: nobody hears how it ended"
    return reasons.pop().value if reasons else UNHEARD


def asked_about(town: Town) -> set[bytes]:
    """Who has survived, as any client was ever told."""
    requests = (said for (*_, tag), said in town.said.items() if tag == Tag.UNMASK_REQUEST)
    return {message for said in requests for message in said}


def hears_the_truth(town: Town, name: str, at: str) -> None:
    """Once at most; and an input that may be given again is in no sum."""
    summed = any(town.scene.names.index(name) in r.contributors for r in town.results)
    outcomes = town.told[name]
    assert len(outcomes) <= 1, f"{at}: {name} hears two ends of one round"
    for outcome in outcomes:
        assert outcome.included in (None, summed), f"{at}: {name} hears what is not so"
        assert outcome.spent or not summed, f"{at}: the input of {name} may be in a second sum"


@pytest.mark.parametrize(
    ("plan", "gone", "kind"),
    [
        pytest.param(SECAGG, None, SUM, id="secagg"),
        pytest.param(SECAGG, BEFORE, SUM, id="secagg-drop"),
        pytest.param(PLUS, None, SUM, id="secagg+"),
        pytest.param(PLUS, BEFORE, BELOW, id="secagg+-drop"),
        pytest.param(SECAGG, AFTER, SUM, id="secagg-late-drop", marks=soak),
        pytest.param(PLUS, AFTER, SUM, id="secagg+-late-drop", marks=soak),
        pytest.param(PLUS_OF_SIX, BEFORE, SUM, id="secagg+-of-six-drop", marks=soak),
    ],
)
def test_a_server_dies_at_every_moment(plan: Plan, gone: tuple[str, str] | None, kind: str) -> None:
    """Once its row is stored the round goes on, and ends as if nothing had been. What its
    application had stored before the death it is given again: the same sum."""
    towns = list(deaths(Scene(plan, gone, victim="server")))
    assert ends(towns) == {UNHEARD: 1, kind: len(towns) - 1}
    assert {town.killed for town in towns} >= {
        "before write",
        "after write",
        "after write, before post",
        "after post, before post",
        "before result",
        "after result",
    }
    again = [town.killed for town in towns if len(town.ends) > 1]
    assert again == ["after result", "before write"]
    stayed = [name for name in towns[0].scene.names if gone is None or name != gone[0]]
    for town in towns[1:]:
        heard = [outcome.included for name in stayed for outcome in town.told[name]]
        assert heard == [kind == SUM] * len(stayed), f"killed {town.killed}: they hear of the end"


@pytest.mark.parametrize(
    ("plan", "gone", "kind", "victim"),
    [
        pytest.param(SECAGG, None, SUM, "a", id="secagg"),
        pytest.param(SECAGG, BEFORE, SUM, "a", id="secagg-drop"),
        pytest.param(PLUS, None, SUM, "a", id="secagg+"),
        pytest.param(PLUS, BEFORE, BELOW, "a", id="secagg+-drop"),
        *(
            pytest.param(plan, gone, SUM, victim, id=f"{plan.protocol}-{gone}-{victim}", marks=soak)
            for plan, gone in ((SECAGG, AFTER), (PLUS, AFTER), (PLUS_OF_SIX, BEFORE))
            for victim in "abc"
        ),
    ],
)
def test_a_client_dies_at_every_moment(
    plan: Plan, gone: tuple[str, str] | None, kind: str, victim: str
) -> None:
    """It goes on from its rows, and nobody else notices: its input is in the sum."""
    towns = list(deaths(Scene(plan, gone, victim=victim)))
    assert ends(towns) == {kind: len(towns)}
    for town in towns:
        for result in town.results:
            assert plan.threat.clients - len(result.contributors) == (gone == BEFORE)
    assert {town.killed for town in towns} >= {
        "before write",
        "after write, before post",
        "after write, before claim",
        "after claim, before post",
        "after post",
    }
    mute = [town.killed for town in towns if not town.told[victim]]
    assert mute == ["after write"], "its rows are gone, and nobody had read how it ended"


def test_a_server_of_strangers_dies_at_every_moment() -> None:
    """Nobody can come back to it: the round is lost, unless all that it needs is stored."""
    towns = list(deaths(Scene(SECAGG, known=False, victim="server")))
    answered = [town.killed for town in towns].index("before result") - 3
    """After the transaction of the last answer; then come those of a job, and of the sum."""
    assert towns[answered].killed == "after write"
    kinds = [UNHEARD, *[LOST] * (answered - 1), *[SUM] * (len(towns) - answered)]
    assert [end_of(town) for town in towns] == kinds
    heard = [outcome for town in towns for told in town.told.values() for outcome in told]
    assert {outcome.reason for outcome in heard} == {AbortReason.LOST}


@pytest.mark.parametrize(
    ("back", "gone", "kinds"),
    [
        pytest.param(1, None, {SUM}, id="1"),
        pytest.param(1, BEFORE, {SUM, BELOW}, id="1-drop", marks=soak),
        pytest.param(2, None, {SUM}, id="2", marks=soak),
        pytest.param(3, None, {SUM}, id="3", marks=soak),
    ],
)
def test_a_client_whose_rows_are_put_back(
    back: int, gone: tuple[str, str] | None, kinds: set[str]
) -> None:
    """By as many transactions, at every moment. It says what it said, or is a dropout; only its
    first message, which reveals nothing, has no claim. Its input is in one sum at most."""
    towns = list(deaths(Scene(SECAGG, gone, victim="a", back=back)))
    for town in towns:
        first = town.said.pop(("a", "server", Tag.ADVERTISE_KEYS))
        assert len(first) <= 2, "once in each life"
        assert end_of(town) in kinds, town.killed
    whys = {outcome.why for town in towns for outcome in town.told["a"]}
    assert whys >= {"", "spent", "equivocation", "peer-fault"}
