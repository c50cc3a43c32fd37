"""The abstract proofs of active mode hold, and fail with any rule left out (15-active-proof.md §6).

T2-T4: never both secrets of a client, never a sum of fewer than t - A honest inputs.
"""

from __future__ import annotations

import pytest

from specs.models import lemmas, spin, views
from specs.models.explore import explore
from specs.models.game import Rules
from specs.models.variants import (
    FOLDER,
    SOUND,
    VARIANTS,
    as_step,
    document,
    read,
    replay,
    rules_of,
)
from tests.soak import SOAK

STATES = {
    "n3": 1_264,
    "n3-a1": 31,
    "n4": 23_903,
    "n4-a1": 5_661,
    "n4-a1-twin": 88_933,
    "n5-a1": 120_409,
    "n5-a2": 10_459,
    "ring4": 308_100,
}
"""A rule that refuses too much would hold all claims, with fewer states."""
QUICK = ("n3", "n3-a1", "n4", "n4-a1", "n5-a2")

needs_spin = pytest.mark.skipif(
    spin.missing() is not None, reason=f"no {spin.missing()} here: no Promela model is checked"
)


@pytest.mark.parametrize("name", STATES if SOAK else QUICK)
def test_a_game_by_all_rules_has_no_error(name: str) -> None:
    found = explore(SOUND[name])
    assert (found.claim, found.states) == (None, STATES[name])


def test_every_sound_game_has_its_number_of_states() -> None:
    assert STATES.keys() == SOUND.keys()


@needs_spin
@pytest.mark.parametrize("name", SOUND if SOAK else ("n3", "n4", "n4-a1-twin"))
def test_spin_finds_as_many_states_as_python(name: str) -> None:
    """Written twice, of one game: Spin's one state more is that before its process has begun."""
    found = spin.run(spin.macros(SOUND[name]))
    assert (found.trail, found.complete, found.states) == (None, True, STATES[name] + 1)


@needs_spin
@pytest.mark.parametrize("name", VARIANTS)
def test_spin_breaks_each_variant(name: str) -> None:
    assert spin.weakened(name, VARIANTS[name], keep=False)


@needs_spin
@pytest.mark.parametrize("name", ["no-round", "local-quorum"])
def test_where_only_a_part_is_searched_the_rule_mends_it(name: str) -> None:
    """The same few sets, and the rule back: what broke was the rule, not the choice of sets."""
    variant = VARIANTS[name]
    found = spin.run(spin.macros(variant.rules.sound, variant))
    assert (found.trail, found.complete) == (None, True)


@needs_spin
@pytest.mark.skipif(not SOAK, reason="minutes: make soak")
@pytest.mark.parametrize("name", [*spin.LARGER, *spin.LARGEST])
def test_spin_searches_larger_games_whole(name: str) -> None:
    assert spin.sound(name, (spin.LARGER | spin.LARGEST)[name], compress=True)


@needs_spin
@pytest.mark.skipif(not SOAK, reason="ten minutes: make soak")
def test_spin_searches_as_far_as_it_comes() -> None:
    assert all(
        spin.sound(name, rules, bitstate=True, minutes=10) for name, rules in spin.BEYOND.items()
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_a_kept_counterexample_breaks_its_variant_and_is_refused_by_all_rules(name: str) -> None:
    kept = read(name)
    steps = [as_step(one) for one in kept["steps"]]
    rules = rules_of(kept)
    assert rules == VARIANTS[name].rules
    assert replay(rules, steps) == (None, kept["breaks"])
    assert replay(rules, steps[:-2])[1] is None, "its last message is what breaks it"
    assert replay(rules.sound, steps) == (kept["refused"]["step"], None)
    assert document(name, steps) == kept


def test_every_variant_has_a_counterexample() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == VARIANTS.keys()


@pytest.mark.parametrize(
    ("rules", "claim"),
    [
        (Rules(3, 0, 1, short=1), "both"),
        pytest.param(
            Rules(3, 0, 2, forgets=0b111), "both", marks=pytest.mark.skipif(not SOAK, reason="soak")
        ),
        pytest.param(
            VARIANTS["forgotten-name"].rules,
            "twice",
            marks=pytest.mark.skipif(not SOAK, reason="soak"),
        ),
    ],
)
def test_the_search_in_python_breaks_variants_too(rules: Rules, claim: str) -> None:
    found = explore(rules)
    assert found.claim == claim
    assert replay(rules, found.steps) == (None, claim)


@pytest.mark.parametrize(("clients", "corrupt"), [*lemmas.cases(3, 7 if SOAK else 6)])
def test_by_both_rules_no_sum_has_fewer_than_t_less_a(clients: int, corrupt: int) -> None:
    """T4. And one less than rule (ii) asks for is enough to break it, but for even n + A."""
    found = views.least(clients, corrupt).by_threshold
    for threshold, fewest in found.items():
        below = 2 * threshold < clients + corrupt and threshold - corrupt > 1
        assert (fewest < threshold - corrupt) == below, threshold


def test_by_the_quorum_alone_there_is_a_sum_of_one() -> None:
    """n = 5, A = 0, q = 3, t = 2."""
    assert views.quorum(5, 0) == 3
    found = views.least(5, 0)
    assert (found.by_threshold, found.views) == ({1: 1, 2: 1, 3: 3, 4: 4, 5: 5}, 1_786)


@pytest.mark.parametrize("lemma", [lemmas.l1, lemmas.l2, lemmas.l3], ids=lambda f: f.__name__)
def test_a_lemma_holds_up_to_fifteen_clients(lemma: object) -> None:
    assert [case for case in lemmas.cases(3, 15) if not lemma(*case)] == []  # type: ignore[operator]


@pytest.mark.parametrize("lemma", [lemmas.l4, lemmas.l5, lemmas.l6], ids=lambda f: f.__name__)
def test_a_lemma_holds_by_views(lemma: object) -> None:
    most = 8 if SOAK else 6
    assert [case for case in lemmas.cases(3, most) if not lemma(*case)] == []  # type: ignore[operator]


@pytest.mark.parametrize(("clients", "corrupt"), [(6, 0), (9, 2), (12, 4), (15, 5)])
def test_the_smallest_safe_threshold_is_that_of_the_plan(clients: int, corrupt: int) -> None:
    """T3: floor((n + A)/2) + 1, and z3 has a way to both secrets at one less."""
    t = lemmas.majority(clients, corrupt)
    assert lemmas.both_secrets(clients, corrupt, t - 1)
    assert not lemmas.both_secrets(clients, corrupt, t)


def test_views_of_a_local_quorum_have_a_small_sum() -> None:
    rules = VARIANTS["local-quorum"].rules
    assert lemmas.viewed(rules)
    assert not lemmas.viewed(rules.sound)
