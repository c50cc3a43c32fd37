"""What a caller gives in the place of another thing is refused with the parameter's name.

Functions and classes that take plans, files or numbers, and every parameter of each in turn: text
where no text belongs, a number, None, a list. What comes back is a value or a typed error, never an
AttributeError from our inside.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import secagg
from secagg import analytics
from secagg.committee import Committee
from secagg.drive.aio import message_limit
from secagg.errors import ParameterError, SecAggError
from secagg.plans.task import Task
from secagg.rounds.offer import Consent

FIELDS = {"u": secagg.FixedPoint(3, 1.0, 16)}
PLAN = secagg.plan(clients=4, fields=FIELDS, corrupt=0.25, dropout=0)
INPUTS = {i: {"u": np.zeros(3)} for i in range(4)}


def weighing(weight: Any) -> object:
    return secagg.simulate(PLAN, lambda i: secagg.Contribution(INPUTS[i], weight))


RIGHT: dict[Callable[..., Any], dict[str, Any]] = {
    secagg.plan: {"clients": 4, "fields": FIELDS, "corrupt": 0.25, "dropout": 0},
    secagg.simulate: {"plan": PLAN, "inputs": INPUTS},
    secagg.drop_at: {"phase": "unmask", "rate": 0.1},
    secagg.FixedPoint: {"length": 3, "clip": 1.0, "bits": 16},
    secagg.Integer: {"length": 3, "max": 5},
    secagg.Plan.decode: {"data": PLAN.encode()},
    message_limit: {"plan": PLAN},
    Task: {"plan": PLAN},
    Task.decode: {"data": b""},
    Committee.decode: {"data": b""},
    Consent: {},
    secagg.Client: {"plan": PLAN, "me": 0, "nonce": bytes(16), "payload_digest": bytes(32)},
    secagg.Server: {"plan": PLAN, "nonce": bytes(16), "payload_digest": bytes(32)},
    PLAN.session: {"nonce": bytes(16), "payload_digest": bytes(32)},
    secagg.Structure.of: {"mapping": {"u": np.zeros(3)}},
    weighing: {"weight": 1},
    analytics.Query: {"measures": analytics.Mean(0, 1)},
    analytics.Query(analytics.Mean(0, 1)).table: {"aggregate": secagg.simulate(PLAN, INPUTS)},
}
WRONG: tuple[Any, ...] = (
    *("text", 7, -1.5, None, [1, "a"], object(), {"a": 1}, b"bytes"),
    *(10**5000, float("nan"), {1: 2}, {1, 2}, iter([1])),
    *(np.timedelta64(1, "s"), np.array(1), np.array(["x"]), np.float64("inf")),
)
CALLABLE = ("randomness", "expander", "progress", "machine")
"""Parameters that are called, or that are machines: whose own errors they raise is their affair."""


def calls() -> Iterator[Any]:
    for called, given in RIGHT.items():
        for name, parameter in inspect.signature(called).parameters.items():
            if parameter.kind is not parameter.VAR_KEYWORD and name not in CALLABLE:
                yield pytest.param(called, given, name, id=f"{called.__qualname__}-{name}")


@pytest.mark.parametrize(("called", "given", "name"), list(calls()))
def test_a_wrong_kind_is_a_typed_error(
    called: Callable[..., Any], given: dict[str, Any], name: str
) -> None:
    for wrong in WRONG:
        try:
            called(**{**given, name: wrong})
        except SecAggError:
            continue


@pytest.mark.parametrize(
    ("called", "words"),
    [
        (lambda: secagg.plan(clients=4, fields={"u": secagg.FixedPoint}), "FixedPoint"),
        (lambda: secagg.plan(clients=4, fields=dict), "dict"),
        (lambda: secagg.plan(clients=int, fields=FIELDS), "int"),
        (lambda: secagg.plan(clients=4, fields=FIELDS, dropout=float), "float"),
        (lambda: secagg.plan(clients=4, like=secagg.Structure, clip=1.0), "Structure"),
        (lambda: secagg.plan(clients=4, fields=FIELDS, structure={"u": secagg.Structure}), "S"),
        (lambda: secagg.simulate(secagg.Plan, INPUTS), "Plan"),
        (lambda: Task(secagg.Plan), "Plan"),
        (lambda: analytics.Query(analytics.Mean), "Mean"),
        (lambda: analytics.Query({"m": analytics.Mean}), "Mean"),
    ],
)
def test_a_class_in_the_place_of_its_instance(called: Callable[[], Any], words: str) -> None:
    """Its own type is type or ABCMeta, which says nothing."""
    with pytest.raises(SecAggError, match=rf"not (of )?the class {words}\w*: pass an instance"):
        called()


def test_a_service_takes_plans_and_payloads_only() -> None:
    async def told(**given: Any) -> str:
        async with secagg.serve() as service:
            with pytest.raises(SecAggError) as caught:
                await service.run_round(**{"plan": PLAN, "deadlines": 1.0, **given})
            return str(caught.value)

    assert "plan must be a Plan, not a str" in asyncio.run(told(plan="plan"))
    assert "payload must be bytes, not a str" in asyncio.run(told(payload="text"))
    for name in ("observer", "select", "keep"):
        assert f"{name} must be a function, not an int" in asyncio.run(told(**{name: 5}))
    for wrong in (5, "ab", b"ab", len):
        assert "clients must be a list" in asyncio.run(told(clients=wrong))


def test_a_link_has_a_url_and_inputs_are_a_function() -> None:
    async def linked(url: Any) -> None:
        async with secagg.connect(url):
            pytest.fail("it has opened")

    async def taking_part() -> None:
        async with (
            secagg.serve() as service,
            secagg.connect(f"ws://127.0.0.1:{service.port}") as link,
        ):
            await secagg.participate(link, 5)  # type: ignore[arg-type]

    async def limited() -> None:
        async with secagg.serve(limits=5):  # type: ignore[arg-type]
            pytest.fail("it serves")

    for wrong in WRONG:
        with pytest.raises(SecAggError):
            asyncio.run(linked(wrong))
    with pytest.raises(ParameterError, match="inputs must be a function, not an int"):
        asyncio.run(taking_part())
    with pytest.raises(ParameterError, match="limits must be a Limits, not an int"):
        asyncio.run(limited())
