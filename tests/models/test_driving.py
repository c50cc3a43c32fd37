"""The counterexamples of the models, in bytes against the shipped clients (T3, T4, T19; rules C5,
V6, V8, V9): each is stopped by the rule that its file names, and succeeds where that one is out.

Sound games too: clients follow what the game follows, and refuse what it refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from secagg.threat import Threat
from secagg_protocols.secagg.active.judging import check_complete
from secagg_protocols.secagg.active.params import ActiveParams, majority
from specs.models.game import U1, Rules, State, Step, _moves, broken, start, step, steps
from specs.models.variants import FOLDER, SOUND, as_step, read, rules_of
from tests.models.driving import Driver
from tests.models.opened import Opened, fewest
from tests.models.weakened import TAKEN_OUT, restored, take_out, weakened
from tests.soak import SOAK

NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
FIELDS = {"to", "kind", "set"}
SMALLEST = {"no-round": 2, "local-quorum": 1, "own-sharers": 1}
"""Inputs in a sum where three are promised, or where two are."""
WALKS = 40 if SOAK else 4


def steps_of(kept: dict[str, Any]) -> list[Step]:
    """All that a step says is known, or the test fails: so it does for a kind in `Driver.do`."""
    for one in kept["steps"]:
        assert one.keys() == FIELDS | ({"session"} if one["kind"] == U1 else set()), one
    return [as_step(one) for one in kept["steps"]]


def played(rules: Rules, followed: list[Step]) -> State:
    """By the game, which follows what the clients have followed."""
    state = start(rules)
    for one in followed:
        after = step(rules, state, one)
        assert after is not None, f"the game refuses {one}, and the clients have followed it"
        state = after
    return state


def opened(driver: Driver, followed: list[Step]) -> tuple[Opened, str | None]:
    state = played(driver.rules, followed)
    return Opened(driver, state), broken(driver.rules, state)


def test_there_is_one_for_each_way_to_fail() -> None:
    assert len(NAMES) >= 6


@pytest.mark.parametrize("padded", [True, False], ids=["made up to a quorum", "as they are"])
@pytest.mark.parametrize("name", NAMES)
def test_a_counterexample_is_stopped_by_the_rule_that_it_names(name: str, padded: bool) -> None:
    """At that step and no earlier; and whatever the server still does with all the others, it has
    no secret and no sum that it may not have."""
    kept = read(name)
    driver = Driver(rules_of(kept).sound, steps_of(kept), padded=padded)
    followed, refused = driver.run(steps_of(kept))
    assert refused[0] == (kept["refused"]["step"], kept["refused"]["by"])
    found, claim = opened(driver, followed)
    assert claim is None and not found.both
    assert fewest(driver.rules, found) >= driver.rules.group


@pytest.mark.parametrize("name", NAMES)
def test_it_succeeds_where_that_rule_is_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both secrets of a client, its input alone, or one input in two sums: in bytes."""
    kept = read(name)
    rules = rules_of(kept)
    take_out(monkeypatch, rules)
    driver = Driver(rules, steps_of(kept))
    followed, refused = driver.run(steps_of(kept))
    assert not refused
    found, claim = opened(driver, followed)
    assert claim == kept["breaks"]
    if claim == "both":
        assert found.both
    elif claim == "small":
        assert fewest(rules, found) == SMALLEST[name] < rules.group
    else:
        assert claim == "twice"
        inputs = [rules.client(machine) for group in found.sums for machine in group]
        assert len(inputs) > len({*inputs})


@pytest.mark.parametrize("name", NAMES)
def test_each_leaves_one_rule_out(name: str) -> None:
    """Every field of its rules is known here. Of a complete graph t and q are one number."""
    kept = read(name)
    rules = rules_of(kept)
    known = {"clients", "corrupt", "threshold", "neighbours", "twin", "sessions", *TAKEN_OUT}
    assert {*kept["rules"]} == {f.name for f in fields(Rules)} == known
    lower = rules.threshold < rules.sound.threshold
    assert len(weakened(rules)) + (lower and not rules.short) == 1


@pytest.mark.parametrize("name", ["lower-threshold", "own-sharers"])
def test_no_plan_has_the_threshold_that_is_too_low(name: str) -> None:
    """Rule P2: what C5 counts to is the plan's, and a plan with less is refused."""
    rules = rules_of(read(name))
    n, t = rules.clients, rules.threshold
    q = majority(n, rules.corrupt)
    least = max(t, rules.corrupt + 2, 3)
    threat = Threat(n, Fraction(rules.corrupt, n), Fraction(0), "active")
    why = check_complete(threat, ActiveParams(n, n - 1, t, least, least, n, q))
    assert why is not None and "2t > n + A" in why
    t = rules.sound.threshold
    assert check_complete(threat, ActiveParams(n, n - 1, t, t, t, n, q)) is None


def test_a_client_that_is_put_back_is_stopped_by_its_ledger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """V9 is out, and the claims are not: it agrees to the same once more, and to nothing else."""
    kept = read("forgotten-answer")
    restored(monkeypatch, rules_of(kept))
    driver = Driver(rules_of(kept), steps_of(kept))
    followed, refused = driver.run(steps_of(kept))
    assert refused[0] == (14, "said once")
    assert followed[4].kind == "restart" and followed[5].kind == "u3"
    found, claim = opened(driver, followed)
    assert claim is None and not found.both


def test_a_step_that_is_not_known_fails() -> None:
    kept = read("own-sharers")
    known = steps_of(kept)
    strange = replace(known[3], kind="u9")
    with pytest.raises(ValueError, match="u9"):
        Driver(rules_of(kept).sound, known).run([*known[:2], strange])
    with pytest.raises(AssertionError):
        steps_of({"steps": [{**kept["steps"][2], "again": True}]})


def test_a_run_that_the_game_does_not_follow_is_noticed() -> None:
    """The shares that are there are compared with those of the game."""
    kept = read("own-sharers")
    rules = rules_of(kept)
    driver = Driver(rules, steps_of(kept))
    followed, refused = driver.run(steps_of(kept))
    assert not refused
    with pytest.raises(AssertionError, match="says otherwise"):
        Opened(driver, played(rules, followed[:-2]))


# Sound games

WALKED = ("n3", "n3-a1", "n4", "n4-a1", "n5-a1", "n5-a2", "ring4")


def drawing(seed: int) -> Callable[[int], int]:
    """Numbers below what is asked, the same for the same seed."""
    drawn = np.random.Generator(np.random.PCG64(seed))
    return lambda limit: int(drawn.integers(limit))


def fits(rules: Rules, one: Step) -> bool:
    """Of a ring: a session of fewer has a graph of its own, which is no part of it (§6)."""
    return not rules.neighbours or one.kind != U1 or one.set == (1 << rules.clients) - 1


def walk(rules: Rules, seed: int) -> tuple[list[Step], State]:
    """To where nothing more is followed."""
    draw, state, done = drawing(seed), start(rules), list[Step]()
    while True:
        there = [(one, after) for one, after in steps(rules, state) if fits(rules, one)]
        if not there:
            return done, state
        one, state = there[draw(len(there))]
        done.append(one)


def honest(rules: Rules) -> Iterator[Step]:
    """What an honest server does."""
    everybody = (1 << rules.clients) - 1
    for kind in ("u1", "u2", "u3", "quorum", "answer"):
        for machine in range(rules.honest):
            yield Step(machine, kind, everybody)


@pytest.mark.parametrize("name", WALKED)
def test_an_honest_game_ends_with_the_sum_of_all(name: str) -> None:
    rules = SOUND[name]
    driver = Driver(rules, [*honest(rules)])
    followed, refused = driver.run(honest(rules))
    assert not refused
    found, claim = opened(driver, followed)
    assert claim is None and not found.both
    assert found.sums == [frozenset(range(rules.honest))]


@pytest.mark.parametrize("seed", range(WALKS))
@pytest.mark.parametrize("name", WALKED)
def test_clients_follow_what_the_game_follows(name: str, seed: int) -> None:
    """To the end of a random walk, and then to a step that it refuses: of each machine one."""
    rules = SOUND[name]
    way, state = walk(rules, seed)
    driver = Driver(rules, way)
    followed, refused = driver.run(way)
    assert (followed, refused) == (way, [])
    found, claim = opened(driver, followed)
    assert claim is None and not found.both


@pytest.mark.parametrize("seed", range(WALKS))
@pytest.mark.parametrize("name", WALKED)
def test_clients_refuse_what_the_game_refuses(name: str, seed: int) -> None:
    """After a part of a random walk, of each machine one step, by the rule of its kind."""
    rules, draw = SOUND[name], drawing(seed)
    way, _ = walk(rules, seed + 1000)
    way = way[: 1 + draw(len(way))]
    state = played(rules, way)
    strange = []
    for machine in range(rules.machines):
        moves = [one for one in _moves(rules, state, machine) if fits(rules, one)]
        moves = [one for one in moves if one.kind != U1 and step(rules, state, one) is None]
        strange += [moves[draw(len(moves))]] if moves else []
    driver = Driver(rules, way)
    assert driver.run(way) == (way, [])
    followed, refused = driver.run(strange)
    assert not followed and len(refused) == len(strange)
    assert {rule for _, rule in refused} <= {"C5", "V4", "C8", "V8", "V9"}
