"""Every split of U1, U2 and U3 against the real clients of active mode, and that splits can win.

Threats T3, T4; specs/12-active.md §5. `make soak` runs it whole and prints how much that is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from secagg.types import PartyId
from secagg_protocols.secagg import dealing as semi_honest
from secagg_protocols.secagg import survivors
from secagg_protocols.secagg.active import dealing
from secagg_protocols.secagg.active.client import ActiveClient
from secagg_protocols.secagg.active.messages import SURVIVORS
from secagg_protocols.secagg.active.params import ActiveParams
from secagg_protocols.secagg.active.standing import WantQuorum, WantSurvivors
from secagg_protocols.secagg.active.states import CLIENT
from secagg_protocols.secagg.states import ClientState
from tests import active
from tests.exhaustive.knowledge import Parties
from tests.exhaustive.liar import Lair
from tests.exhaustive.opening import opens
from tests.exhaustive.splits import Leaf, Splits

THREE = ActiveParams(3, 2, 2, 3, 3, 3, 2)
FOUR = ActiveParams(4, 3, 3, 3, 3, 4, 3)
"""A = 1. Both as a plan has them."""
FIVE = ActiveParams(5, 4, 3, 3, 3, 5, 3)
"""A = 0: t = 3, q = 3."""
soak = [
    pytest.mark.soak,
    pytest.mark.skipif("SECAGG_SOAK" not in os.environ, reason="`make soak` runs it"),
]


def whole(test: Any) -> Any:
    for mark in soak:
        test = mark(test)
    return test


Said = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Said:
    def aloud(what: str) -> None:
        with capsys.disabled():
            print(f"\n{what}")

    return aloud


def judge(splits: Splits, leaves: Iterable[Leaf], least: int) -> set[Parties]:
    """That the promise holds after each; all sums that were opened, and opened indeed."""
    found: dict[Parties, Leaf] = {}
    for leaf in leaves:
        opened = splits.judged(leaf)
        assert not opened.broken(least), (opened, leaf)
        found.update({frozenset(one): leaf for one in opened.sums})
    assert all(parties in opens(splits, leaf) for parties, leaf in found.items())
    return set(found)


def broken(splits: Splits, leaves: Iterable[Leaf], least: int) -> Leaf:
    """The first leaf after which it does not hold; what it opens is opened indeed."""
    for leaf in leaves:
        opened = splits.judged(leaf)
        if opened.broken(least):
            assert opens(splits, leaf) or opened.both
            return leaf
    raise AssertionError(f"nothing found in {splits.leaves} leaves")


def of(*parties: int) -> Parties:
    return frozenset(map(PartyId, parties))


def everywhere(splits: Splits) -> Iterable[Leaf]:
    return splits.each(splits.sessions())


def together(splits: Splits) -> Iterable[Leaf]:
    """All are shown one U1: everybody."""
    return splits.each([(splits.lair.everybody, 0)])


def test_three_are_one_sum_or_none() -> None:
    """n = 3, t = 2: all there is."""
    splits = Splits(Lair(THREE))
    assert judge(splits, everywhere(splits), 2) == {of(0, 1, 2)}
    assert sum(splits.repeated(party) for party in splits.lair.honest) > 100
    assert (splits.lair.replays, splits.leaves) > (150, 180)


def test_four_with_one_who_is_the_servers_own() -> None:
    """n = 4, A = 1, t = 3, where all are shown one U1."""
    splits = Splits(Lair(FOUR, 1))
    assert judge(splits, together(splits), 2) == {of(0, 1), of(0, 2), of(1, 2), of(0, 1, 2)}


@whole
def test_four_with_every_u1_and_every_repeat(say: Said) -> None:
    """And as many sets of keys of the corrupt one as there are clients to show them to."""
    splits = Splits(Lair(FOUR, 1), 3)
    judge(splits, everywhere(splits), 2)
    runs = splits.lair.replays
    repeats = sum(splits.repeated(party) for party in splits.lair.honest)
    say(f"n = 4, A = 1: {runs} runs, {splits.leaves} leaves; {repeats} with a message more")
    assert runs > 1400 and splits.leaves > 2500 and repeats > 1000


@whole
def test_four_of_a_roster_of_five(say: Said) -> None:
    """Two sessions of one offer at once: a sum of each, and nobody's input in both."""
    splits = Splits(Lair(FOUR, 1, 5))
    found = judge(splits, everywhere(splits), 2)
    say(f"n = 4 of N = 5, A = 1: {splits.lair.replays} runs, {splits.leaves} leaves")
    assert min(map(len, found)) == 2 and max(map(len, found)) == 4


@whole
def test_five_hold_with_both_rules(say: Said) -> None:
    """n = 5, A = 0, t = 3, q = 3, where all are shown one U1."""
    splits = Splits(Lair(FIVE), thorough=False)
    found = judge(splits, splits.by_quorum(splits.lair.everybody), FIVE.threshold)
    say(f"n = 5, A = 0: {splits.lair.replays} runs, {splits.leaves} leaves")
    assert min(map(len, found)) == 3 and splits.leaves > 10_000


# That all of this can fail: the same search with a rule taken out


@pytest.mark.parametrize(
    "params", [pytest.param(THREE, id="three"), pytest.param(FOUR, id="four", marks=soak)]
)
def test_a_threshold_that_is_one_lower_is_found_out(params: ActiveParams) -> None:
    """Whoever is shown a U2 of t - 1 has masks that the server can remove."""
    corrupt = params.clients - 3
    splits = Splits(Lair(replace(params, threshold=params.threshold - 1), corrupt))
    leaf = broken(splits, together(splits), 2)
    assert any(one.sharers and len(one.sharers) < params.threshold for one in leaf.values())


def test_the_quorum_alone_is_found_out() -> None:
    """Rule (i) without rule (ii), t = 2: a victim has a U2 of its own, whose honest members the
    quorum calls dropped."""
    splits = Splits(Lair(replace(FIVE, threshold=2)), thorough=False)
    everybody = splits.lair.everybody
    leaf = broken(splits, splits.by_quorum(everybody, [everybody]), 2)
    (victim,) = opens(splits, leaf)
    assert len(victim) == 1


def unasked(view: Any, members: Any, agreed: Any) -> Any:
    return survivors.check_agreed(view, members, lambda _: None)


def test_the_threshold_alone_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule (ii) without rule (i): rule V8 is out. Of four it still holds, of five no more."""
    monkeypatch.setattr(dealing, "check_agreed", unasked)
    splits = Splits(Lair(FIVE), thorough=False)
    leaf = broken(splits, splits.victim(splits.lair.everybody), FIVE.threshold)
    assert len({one.survivors for one in leaf.values()}) > 2


@whole
def test_without_c5_a_client_masks_for_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    strict = semi_honest.open_shares

    def easy(now: Any, sharers: Any, sealed: Any, params: Any, fits: Any) -> Any:
        opened = strict(now, sharers, sealed, replace(params, threshold=1), fits)
        return replace(opened, view=replace(opened.view, threshold=params.threshold))

    monkeypatch.setattr(semi_honest, "open_shares", easy)
    splits = Splits(Lair(FOUR, 1))
    broken(splits, together(splits), 2)


@whole
def test_without_c8_and_v8_there_are_sums_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Either is enough at four: a quorum is as many as C8 asks for. Without both it is not."""
    strict = survivors.check_members

    def easy(view: Any, members: Any) -> None:
        strict(replace(view, min_survivors=0, threshold=0), members)

    monkeypatch.setattr(survivors, "check_members", easy)
    monkeypatch.setattr(dealing, "check_members", easy)
    monkeypatch.setattr(dealing, "check_agreed", unasked)
    splits = Splits(Lair(FOUR, 1), thorough=False)
    broken(splits, together(splits), 2)


class Forgetful(ActiveClient):
    """Takes one survivor set after the other."""

    table = {**CLIENT, (ClientState.WANT_QUORUM, SURVIVORS): ClientState.WANT_QUORUM}

    def _on_message(self, tag: int, reader: Any, bound: bytes) -> None:
        if tag == SURVIVORS and isinstance(self._now, WantQuorum):
            self._now = WantSurvivors(self._now.seat, self._now.masked, self._now.sharers)
        super()._on_message(tag, reader, bound)


@whole
def test_a_second_signature_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule V7: a client agrees to one survivor set."""
    monkeypatch.setattr(active, "ActiveClient", Forgetful)
    splits = Splits(Lair(FOUR, 1), thorough=False)
    judge(splits, together(splits), 2)
    with pytest.raises(AssertionError, match="a second one is taken"):
        splits.repeated(PartyId(0))
