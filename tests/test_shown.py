"""What values show of themselves: one short line, without anything that is secret."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import secagg
from secagg import analytics
from secagg.effects import Effects, Peer, Post, Write
from secagg.plans.task import Task
from secagg.rounds.offer import Consent, Offer
from secagg.shown import brief, complete, short
from secagg.types import PartyId, Role
from secagg.wire.frame import Announce
from tests import modules

LIMIT = 500
MANY = 1000
LONG: dict[str, Any] = {
    "ndarray|Vector|Int64s": np.zeros(1 << 20),
    "Mapping|dict": {f"entry {i}": bytes(40) for i in range(MANY)},
    "frozenset|set": frozenset(range(MANY)),
    "tuple|list|Sequence|Collection": tuple(f"entry {i}" for i in range(MANY)),
    "bytes|Buffer": bytes(1 << 20),
}
"""By a word of its annotation: what a field might hold."""
APART = ("cli", "demo", "kernels")
"""Nobody else's programs have values of these."""


@pytest.fixture(scope="module")
def model() -> dict[str, np.ndarray[Any, Any]]:
    return {f"layers.{i}.weight": np.full((10, 100), 0.123, np.float32) for i in range(MANY)}


@pytest.fixture(scope="module")
def plan(model: Any) -> secagg.Plan:
    return secagg.plan(clients=3, like=model, clip=1.0, dropout=0, corrupt=0)


def test_a_plan_of_a_large_model(model: Any, plan: secagg.Plan) -> None:
    structure = secagg.Structure.of(model)
    shown = [
        plan,
        plan.schema,
        plan.structure,
        structure,
        Task(plan),
        Consent(plan),
        Consent(task=Task(plan)),
        secagg.Contribution(model, weight=48_611, payload=bytes(10_000), name="x" * 10_000),
        Offer(1, PartyId(0), plan, bytes(10_000), bytes(32), dict.fromkeys(plan.phase_names, 1.0)),
        Announce(bytes(16), PartyId(0), (1,) * 4, plan.encode(), bytes(10_000)),
        Effects(writes=(Write(bytes(40), bytes(10_000)),) * MANY),
        Post(
            Peer("server", None, Role.SERVER), Announce(bytes(16), PartyId(0), (), b"", b"x" * 999)
        ),
    ]
    for one in shown:
        assert len(repr(one)) < LIMIT, repr(one)
        assert "0.123" not in repr(one) and "48611" not in repr(one)
    assert "1000 entries, 1000000 elements: 'layers.0.weight' (10, 100) float32" in repr(structure)
    assert repr(plan.structure).startswith("<digests of 1000 entries") and plan.structure
    assert "structure=<digests of 1000 entries" in repr(plan) and "clients=3" in repr(plan)
    made = copy.deepcopy(plan)
    assert (
        made == plan and made.structure == tuple(plan.structure) and made.encode() == plan.encode()
    )


def test_the_sum_of_a_large_model(model: Any, plan: secagg.Plan) -> None:
    total = secagg.simulate(plan, dict.fromkeys(range(3), plan.input_of(model)))
    for one in (total, total.report, total.as_like):
        assert "0.123" not in repr(one)[:10_000]
    assert len(repr(total)) < LIMIT and len(repr(total.report)) < LIMIT


def test_a_query_of_many_groups() -> None:
    """Its payload has every category all the same."""
    words = tuple(f"category {i}" for i in range(MANY))
    query = analytics.Query(analytics.Histogram(categories=words), by="g", groups=words[:20])
    assert len(repr(query)) < LIMIT and len(repr(query.named["value"])) < LIMIT
    assert all(word in str(json.loads(query.payload)["measures"]) for word in words)
    assert "Histogram(column=None, edges=(), categories=('category 0'," in complete(
        query.named["value"]
    )


def classes() -> Iterator[Any]:
    """Dataclasses of the library with a field that may be long and is shown."""
    for name in modules.names():
        if name.split(".")[0] != "secagg" or name.split(".")[1:2] in [[part] for part in APART]:
            continue
        if any(part.startswith("_") for part in name.split(".")):
            continue
        for made in vars(importlib.import_module(name)).values():
            if not isinstance(made, type) or made.__module__ != name or made is secagg.Structure:
                continue
            if dataclasses.is_dataclass(made) and not made.__name__.startswith("_"):
                if any(_long(part) is not None for part in dataclasses.fields(made) if part.repr):
                    yield made


def _long(part: dataclasses.Field[Any]) -> Any:
    if part.type == "bytes | str" or "Callable" in str(part.type):
        return None
    found = (v for words, v in LONG.items() if re.search(rf"\b({words})\b", str(part.type)))
    return next(found, None)


def test_no_value_of_the_library_is_long() -> None:
    seen, long = 0, {}
    for kind in classes():
        made = object.__new__(kind)
        for part in dataclasses.fields(kind):
            value = _long(part)
            with_text = "x" * 20 if value is None else value
            object.__setattr__(made, part.name, with_text)
        seen += 1
        if len(text := repr(made)) > LIMIT:
            long[f"{kind.__module__}.{kind.__qualname__}"] = text[:90]
    assert long == {} and seen > 40


def test_brief() -> None:
    @dataclasses.dataclass
    class Two:
        a: Any
        b: Any = dataclasses.field(repr=False)

        __repr__ = short

    assert repr(Two(1, 2)).endswith("Two(a=1)")
    assert brief(b"ab") == "b'ab'" and brief(bytes(17)) == "<17 bytes 00000000..>"
    assert brief((1,)) == "(1,)" and brief(()) == "()" and brief([1, "a"]) == "[1, 'a']"
    assert brief({1}) == "{1}" and brief(frozenset({1})) == "frozenset(1)"
    assert brief({"a": (1, 2)}) == "{'a': (1, 2,)}" and brief(range(9)) == "range(0, 9)"
    assert brief(np.ones((2, 3))) == "<ndarray (2, 3) float64>" and brief([1] * 4) == "<list of 4>"
    assert brief("x" * 99) == repr("x" * 72 + "..") and len(brief(object())) < 74
