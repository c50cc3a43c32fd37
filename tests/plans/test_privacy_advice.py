"""What an error of a plan with privacy advises is not refused in turn: each piece of advice that
has numbers is followed, and the plan is there."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

import secagg
from secagg.errors import HeadroomError, ParameterError, RangeError, SecAggError
from secagg.fields import Integer, Vector
from secagg.plans.plan import Plan
from secagg.privacy import Privacy
from secagg.threat import Threat

UPDATE = Vector(100, norm=1.0, bits=16)
PLANNED: dict[str, Any] = {"clients": 100, "corrupt": 0.1, "dropout": 0.1}
ASKED = Privacy(epsilon=2, delta=1e-3)


def refused(asked: Privacy, fields: dict[str, Any] | None = None, **threat: Any) -> str:
    with pytest.raises(ParameterError) as caught:
        made(asked, fields, **threat)
    return str(caught.value)


def made(asked: Privacy, fields: dict[str, Any] | None = None, **threat: Any) -> Plan:
    return secagg.plan(**{**PLANNED, **threat}, fields=fields or {"update": UPDATE}, privacy=asked)


def advised(words: str, pattern: str) -> list[str]:
    return re.findall(pattern, words)


@pytest.mark.parametrize("clients", [1, 2])
def test_so_few_clients_that_there_is_no_sum(clients: int) -> None:
    words = refused(ASKED, clients=clients)
    assert words.endswith("plan for 3 clients or more with none corrupt: fewer have no sum")
    few = Privacy(epsilon=50, delta=1e-3)
    assert made(few, clients=3, corrupt=0, dropout=0).privacy is not None


@pytest.mark.parametrize(
    ("asked", "bits", "least"),
    [
        (Privacy(1e-6, 1e-10, 10**6), 16, 1),
        (Privacy(1e-5, 1e-10, 10**6), 30, 1),
        (Privacy(1e-3, 1e-10, 10**4, trust="local"), 30, 1),
        (Privacy(1e-6, 1e-15, 3), 30, 2),
    ],
)
def test_too_little_noise_for_a_claim(asked: Privacy, bits: int, least: int) -> None:
    field = replace(UPDATE, bits=bits)
    words = refused(asked, {"update": field})
    followed = 0
    for epsilon in advised(words, r"epsilon=([\d.e-]+)"):
        made(replace(asked, epsilon=float(epsilon)), {"update": field})
        followed += 1
    for rounds in advised(words, r"rounds=(\d+)"):
        made(replace(asked, rounds=int(rounds)), {"update": field})
        followed += 1
    for fewer in advised(words, r"Vectors of (\d+) bits"):
        made(asked, {"update": replace(field, bits=int(fewer))})
        refused(asked, {"update": replace(field, bits=int(fewer) + 1)})
        followed += 1
    assert followed >= least, words


@pytest.mark.parametrize(
    "threat",
    [
        {"corrupt": 0.5, "dropout": 0.5},
        {"corrupt": 0.4, "dropout": 0.2, "min_clients": 30},
        {"corrupt": 0.5, "dropout": 0.6, "min_clients": 30},
        {"clients": 10, "corrupt": 0.5, "dropout": 0.5, "roster": 20},
        {"servers": 2, "corrupt": 0.3, "dropout": 0.3, "min_clients": 5},
    ],
)
def test_no_honest_share(threat: dict[str, Any]) -> None:
    """Each way by itself; whether a protocol withstands it is the protocol's own rule."""
    words = refused(ASKED, **threat)
    ways = words.partition("plan for ")[2].split(" or ")
    assert ways and "larger" not in words
    for way in ways:
        changed = {**PLANNED, **threat}
        for most in advised(way, r"at most (\d+) corrupt"):
            changed["corrupt"] = Fraction(int(most), changed.get("roster", changed["clients"]))
        for most in advised(way, r"at most (\d+) that drop"):
            changed["dropout"] = Fraction(int(most), changed["clients"])
        for fewest in advised(way, r"min_clients of at least (\d+)"):
            changed["min_clients"] = int(fewest)
        assert changed != {**PLANNED, **threat}, way
        try:
            made(ASKED, **changed)
        except ParameterError as error:
            assert "honest share" not in str(error)


def test_parts_of_a_budget_that_are_not_one() -> None:
    split = {"update": 0.9, "bars": 0.2}
    with pytest.raises(ParameterError, match="add up to 1.1, .* divided by 1.1 has") as caught:
        Privacy(2, 1e-3, split=split)  # type: ignore[arg-type]
    [whole] = advised(str(caught.value), r"divided by ([\d.]+)")
    Privacy(2, 1e-3, split={name: part / float(whole) for name, part in split.items()})  # type: ignore[misc]
    Privacy(2, 1e-3, split={"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})  # type: ignore[dict-item]
    for wrong in (0.5, 1 - 1e-8):
        with pytest.raises(ParameterError, match="add up to"):
            Privacy(2, 1e-3, split={"a": wrong})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("field", "asked", "threat"),
    [
        (replace(UPDATE, bits=30), Privacy(1, 1e-9, unit="example", examples=1 << 20), 10**5),
        (Integer(10, 1 << 62, sensitivity=1), ASKED, 100),
    ],
)
def test_a_sum_that_does_not_fit(field: Any, asked: Privacy, threat: int) -> None:
    """Nothing about a weight, which such a plan has not."""
    with pytest.raises(HeadroomError, match="a larger epsilon or fewer") as caught:
        made(asked, {"x": field}, clients=threat)
    words = str(caught.value).partition("Use ")[2]
    assert "weight" not in words
    if isinstance(field, Integer):
        assert "smaller max" in words and "bits" not in words
        made(asked, {"x": replace(field, max=1 << 40)}, clients=threat)
    else:
        assert "fewer bits" in words and "fewer examples" in words
        made(asked, {"x": replace(field, bits=16)}, clients=threat)
        made(replace(asked, examples=100), {"x": field}, clients=threat)


@pytest.mark.parametrize("weight", [0, 2])
def test_a_weight(weight: int) -> None:
    plan = made(ASKED)
    contribution = secagg.Contribution({"update": [0.0] * 100}, weight=weight)
    with pytest.raises(RangeError, match="a plan with privacy has no weights") as caught:
        secagg.simulate(plan, lambda me: contribution)
    assert "max_weight" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "instead"),
    [
        ({"servers": 2, "privacy": replace(ASKED, trust="central")}, "trust='distributed'"),
        ({"protocol": "plainsum"}, "trust='central'"),
        ({"protocol": "plainsum"}, "trust='local'"),
    ],
)
def test_a_trust_that_is_named_instead(changed: dict[str, Any], instead: str) -> None:
    asked = changed.pop("privacy", ASKED)
    assert instead in refused(asked, **changed)
    made(replace(asked, trust=instead.split("'")[1]), **changed)  # type: ignore[arg-type]


def test_none_of_what_a_plan_with_privacy_refuses_is_advised() -> None:
    """Over all ways here to be refused: the texts name no weight, lane, FixedPoint or active plan
    as what would do."""
    threats = [
        Threat(100, Fraction(1, 10), Fraction(1, 10)),
        Threat(100, Fraction(1, 2), Fraction(1, 2)),
        Threat(3, Fraction(0), Fraction(0)),
    ]
    fields = [UPDATE, replace(UPDATE, bits=30), Integer(4, 1), Integer(4, 1 << 62, sensitivity=1)]
    asked = [ASKED, Privacy(1e-6, 1e-15, 10**6), replace(ASKED, unit="example", examples=1 << 20)]
    told = 0
    for threat in threats:
        for field in fields:
            for one in asked:
                try:
                    made(
                        one,
                        {"x": field},
                        clients=threat.clients,
                        corrupt=threat.corrupt,
                        dropout=threat.dropout,
                    )
                except SecAggError as error:
                    told += 1
                    assert not re.search("weight|clipped|FixedPoint|active", str(error)), error
    assert told >= 10
