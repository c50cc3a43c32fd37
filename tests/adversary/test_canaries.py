"""No input value is in any error, its notes, its causes, a repr, a log or on standard error.

Every public name is either given canaries below or listed as taking no input, so that a new one
is noticed. The numbers of a plan, its names and its phases are public, and may be quoted.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

import secagg
from secagg import analytics
from secagg.drive.service import Service
from secagg.transport import memory

REAL, WHOLE, TEXT = 31337.271828, 8675309421, "canary-7f3a"
MARKS = ("31337.27", "8675309421", "canary-7f3a")


class Leaking:
    """Says what it holds whenever it is asked, as data frames and tensors do."""

    def __repr__(self) -> str:
        return f"Leaking({REAL}, {WHOLE}, {TEXT})"

    __str__ = __repr__


class Failing(Leaking):
    """Quotes what it holds when it fails to be an array."""

    def __init__(self, kind: type[Exception]) -> None:
        self.kind = kind

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise self.kind(f"cannot convert {REAL} {WHOLE} {TEXT}")


class Tensor(Leaking):
    def detach(self) -> Any:
        raise RuntimeError(f"no gradient of {REAL} {TEXT}")


class Frame(Leaking):
    """Named columns, without being a Mapping."""

    def keys(self) -> list[Any]:
        return [TEXT, WHOLE]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys())

    def __getitem__(self, key: Any) -> Any:
        raise KeyError(f"{key} {TEXT} {REAL}")


class Series(Leaking):
    """As pandas: iteration gives values, and `keys` its index."""

    def __iter__(self) -> Iterator[float]:
        return iter([REAL, float(WHOLE)])

    def __len__(self) -> int:
        return 2

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return np.array([REAL, WHOLE])


NUMBERS: list[Any] = [REAL, WHOLE, -WHOLE, np.float64(REAL), np.float32(REAL), np.int64(WHOLE)]
OTHERS: list[Any] = [
    TEXT, TEXT.encode(), [REAL], [WHOLE, WHOLE, WHOLE], [REAL] * 3, [TEXT] * 3,
    [[REAL], [WHOLE, 1]], (REAL, WHOLE, 0.5), {REAL, WHOLE}, {TEXT: REAL}, {TEXT: [REAL] * 3},
    {WHOLE: [TEXT]}, {"u": REAL}, np.full(3, REAL), np.full(3, WHOLE), np.array([TEXT] * 3),
    np.array([REAL, TEXT, WHOLE], object), np.array([0.5, REAL, np.nan]), np.array(REAL),
    np.ma.MaskedArray([REAL] * 3), np.full(3, complex(REAL, 1)),
    np.array([(REAL, WHOLE, 1)] * 3, [(TEXT, "f8"), ("b", "i8"), ("c", "f4")]),
    Leaking(), [Leaking()] * 3, Tensor(), Frame(), Series(), [Series()] * 3,
    *(Failing(kind) for kind in (ValueError, KeyError, TypeError, LookupError, Exception)),
]  # fmt: skip
CANARIES = [*NUMBERS, *OTHERS]

FIELDS = {
    "u": secagg.FixedPoint(3, 1.0, 16, excess="error"),
    "v": secagg.FixedPoint(3, 0.5, 8),
    "h": secagg.Integer(3, 9),
}
GOOD = {"u": [0.0] * 3, "v": [0.5] * 3, "h": [1] * 3}
PLAN = secagg.plan(clients=2, fields=FIELDS, dropout=0, max_weight=5, protocol="plainsum")
STRUCTURE = secagg.Structure.of({"e": np.zeros(3, np.float16)})
QUERY = analytics.Query(
    {
        "x": analytics.Mean(0, 1, excess="error"),
        "y": analytics.Share(),
        "z": analytics.Histogram(categories=("a", "b")),
    },
    by="g",
    groups=("a", "b"),
    rows=5,
)


def everywhere(canary: Any) -> Iterator[dict[Any, Any]]:
    """An input with the canary in each place."""
    yield canary
    for name in FIELDS:
        yield {**GOOD, name: canary}
        yield {**GOOD, name: {"entry": canary}}
        yield {**GOOD, name: {"a": [0.5], "b": canary}}
    if canary.__hash__ is not None:
        yield {**GOOD, canary: [1]}
        yield {**GOOD, "u": {canary: canary}}


def simulated(canary: Any) -> None:
    for given in everywhere(canary):
        shown(lambda given=given: secagg.simulate(PLAN, {0: given, 1: GOOD}))
    shown(lambda: secagg.simulate(PLAN, canary))
    shown(lambda: secagg.simulate(PLAN, {0: GOOD, TEXT: GOOD}))
    for weight in (canary, -1):
        heavy = secagg.Contribution(GOOD, weight)
        shown(lambda heavy=heavy: secagg.simulate(PLAN, lambda me: heavy))


def given_to_a_client(canary: Any) -> None:
    for values in [*everywhere(canary), GOOD]:
        client = secagg.Client(PLAN, 0, nonce=bytes(16), payload_digest=bytes(32))  # type: ignore[arg-type]
        given = {"payload_digest": bytes(32), "weight": canary if values is GOOD else 1}
        shown(lambda c=client, v=values, g=given: c.set_input(v, **g))
        shown(client.outgoing)


def contributed(canary: Any) -> None:
    for values in everywhere(canary):
        shown(lambda values=values: secagg.Contribution(values, canary, canary))


def participated(canary: Any) -> None:
    """Both sides: what the server hears is in its logs."""

    async def play(give: Callable[..., Any]) -> None:
        service = Service()
        ours, theirs = memory.pair()
        serving = asyncio.create_task(service.on_link(ours))
        taking = asyncio.create_task(secagg.participate(theirs, give, plan=PLAN))
        await service.ready(1, 20)
        ended = await asyncio.gather(service.run_round(PLAN, deadlines=20), return_exceptions=True)
        await service.close()  # a bad input ends a client's round, and not its link
        for result in ended + await asyncio.gather(taking, serving, return_exceptions=True):
            check(result)

    for give in (
        lambda offer: secagg.Contribution({**GOOD, "u": canary}),
        lambda offer: secagg.Contribution(GOOD, canary),
        lambda offer: canary,
    ):
        asyncio.run(play(give))


def structured(canary: Any) -> None:
    shown(lambda: secagg.Structure.of({"e": canary}))
    shown(lambda: secagg.Structure.of(canary) if not hasattr(canary, "keys") else None)
    shown(lambda: STRUCTURE.flatten(canary))
    shown(lambda: STRUCTURE.flatten({"e": canary}))
    shown(lambda: STRUCTURE.unflatten(canary))
    if canary.__hash__ is not None:
        shown(lambda: STRUCTURE.flatten({canary: [0.0] * 3}))


def asked(canary: Any) -> None:
    row = {"x": 0.5, "y": True, "z": "a", "g": "a"}
    shown(lambda: QUERY.encode(canary))
    shown(lambda: QUERY.encode([canary] * 3))
    shown(lambda: analytics.Query({"x": analytics.Mean(0, 1)}, rows=2).encode(canary))
    for name in row:
        shown(lambda name=name: QUERY.encode({**row, name: canary}))
        shown(lambda name=name: QUERY.encode([{**row, name: canary}] * 2))
        columns = {key: [value] * 3 for key, value in row.items()}
        shown(lambda name=name, columns=columns: QUERY.encode({**columns, name: canary}))
        shown(lambda name=name, columns=columns: QUERY.encode({**columns, name: [canary] * 3}))


def planned(canary: Any) -> None:
    """Data in the place of a parameter: numbers of a plan are public, and anything else is not."""
    if any(canary is number for number in NUMBERS):
        return
    for name in ("length", "clip", "bits", "rounding", "excess"):
        kept = {"length": 3, "clip": 1.0, "bits": 16, "rounding": "nearest", "excess": "clip"}
        shown(lambda kept=kept, name=name: secagg.FixedPoint(**{**kept, name: canary}))
    shown(lambda: secagg.Integer(canary, 1))
    shown(lambda: secagg.Integer(1, canary))
    arguments = "clients corrupt dropout adversary min_clients max_weight servers direct clipped"
    for name in arguments.split():
        given: dict[str, Any] = {"clients": 5, "fields": FIELDS, name: canary}
        shown(lambda given=given: secagg.plan(**given))
    shown(lambda: secagg.plan(clients=5, fields={"u": canary}))
    if not hasattr(canary, "keys"):
        shown(lambda: secagg.plan(clients=5, fields=canary))
    shown(lambda: secagg.drop_at("unmask", canary))
    shown(lambda: secagg.drop_at("unmask", count=canary))
    shown(lambda: secagg.simulate(PLAN, {0: GOOD, 1: GOOD}, seed=canary))


NOISY = {"v": secagg.Vector(3, 1.0, 8), "k": secagg.Integer(2, 1, 1)}


@cache
def noisy() -> tuple[secagg.Plan, ...]:
    """One for each unit: their noise is calibrated once, and not for each canary."""
    asked = secagg.Privacy(5, 0.1), secagg.Privacy(5, 0.1, unit="example", examples=4)
    made = {"clients": 3, "corrupt": 0, "dropout": 0, "fields": NOISY}
    return tuple(secagg.plan(**made, privacy=one) for one in asked)  # type: ignore[arg-type]


def noisily(canary: Any) -> None:
    """Inputs of plans with privacy, whose units are encoded by code of their own."""
    good = {"v": np.zeros((1, 3)), "k": np.zeros((1, 2), int)}
    for plan in noisy():
        for name in NOISY:
            for value in (canary, [canary] * 3, [[canary] * 3]):
                given = {**good, name: value}
                shown(lambda plan=plan, given=given: secagg.simulate(plan, lambda me: given))
    if any(canary is number for number in NUMBERS):
        return  # of a plan, and public
    for at in range(3):
        numbers: list[Any] = [3, 1.0, 8]
        numbers[at] = canary
        shown(lambda numbers=numbers: secagg.Vector(*numbers))
    shown(lambda: secagg.Integer(3, 1, canary))
    for name in ("epsilon", "delta", "rounds", "unit", "trust", "examples", "split"):
        given = {"epsilon": 1, "delta": 1e-5, name: canary}
        shown(lambda given=given: secagg.Privacy(**given))
    shown(lambda: secagg.plan(clients=5, fields=NOISY, privacy=canary))


def budgeted(canary: Any) -> None:
    """What is given in the place of its numbers; what a client's data tell, its rounds say."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/made.db"
        for name in ("epsilon", "delta", "unit", "against", "anchor"):
            given = {"epsilon": 1.0, "delta": 1e-5, name: canary}
            if not any(canary is number for number in NUMBERS):
                shown(lambda given=given: secagg.Budget(path, **given))
        if not isinstance(canary, str | bytes):
            shown(lambda: secagg.Budget(canary, epsilon=1.0, delta=1e-5))
        with secagg.Budget(f"{folder}/kept.db", epsilon=1.0, delta=1e-5) as budget:
            check(budget)
            for call in (budget.charged, budget.leave, lambda key: budget.charge(key, key)):
                shown(lambda call=call: call(canary))


def modelled(canary: Any) -> None:
    """Names of entries are a model's, and shown to its owner; what is in them is not."""
    good = {"e": np.zeros(3, np.float16), "n": np.zeros(2, np.int8)}
    made = {"clients": 2, "dropout": 0, "clip": 1.0, "protocol": "plainsum"}
    plan = secagg.plan(**made, like=good, counters=5)  # type: ignore[arg-type]
    total = secagg.simulate(plan, {i: plan.input_of(good) for i in range(2)})
    for use in (lambda model: secagg.plan(**made, like=model), plan.input_of, total.as_like):
        for model in ([canary], {"e": canary}, {**good, "f": canary}):
            shown(lambda use=use, model=model: use(model))
        if not hasattr(canary, "keys"):
            shown(lambda use=use: use(canary))


def followed(canary: Any) -> None:
    """What a client says of its update's length comes before the update is encoded."""
    fields = {"v": secagg.Vector(3, 1.0, 8), "within": secagg.AdaptiveNorm.BIT}
    made: Any = {"clients": 3, "corrupt": 0, "dropout": 0, "servers": 2}
    plan = secagg.plan(**made, fields=fields, privacy=secagg.Privacy(8, 1e-3))
    shown(lambda: secagg.AdaptiveNorm(canary))
    for values in ({"v": canary}, {"v": [canary] * 3}, {"v": {"e": canary}}, {"within": canary}):
        shown(lambda values=values: secagg.AdaptiveNorm(plan).answer(values))


CHECKS: dict[str, Callable[[Any], None]] = {
    "AdaptiveNorm": followed,
    "Aggregate": modelled,
    "Budget": budgeted,
    "Client": given_to_a_client,
    "Contribution": contributed,
    "FixedPoint": planned,
    "Integer": planned,
    "Plan": modelled,
    "Privacy": noisily,
    "Structure": structured,
    "Vector": noisily,
    "attend": participated,  # over one link after another
    "drop_at": planned,
    "join": participated,  # which it does, in a loop of its own
    "join_service": participated,  # likewise
    "participate": participated,
    "plan": planned,
    "simulate": simulated,
    "analytics.Query": asked,
}
NO_INPUT = {
    "SecAggError", "Server", "__version__", "connect", "serve", "serve_in_thread",
    *(f"analytics.{name}" for name in analytics.__all__ if name != "Query"),
}  # fmt: skip
"""Results, and what is made from public parameters only."""


def shown(call: Callable[[], Any]) -> None:
    try:
        result = call()
    except Exception as error:  # noqa: BLE001  whatever a caller can get to see
        check(error)
    else:
        if type(result).__module__.startswith("secagg"):  # an array is the caller's own
            check(result)


def check(thing: Any) -> None:
    """The thing, and whatever an error that it is leads to, suppressed or not."""
    texts = [repr(thing), str(thing), *getattr(thing, "__notes__", [])]
    for text in texts:
        assert not any(mark in text for mark in MARKS), f"{type(thing).__name__} quotes its input"
    for cause in (getattr(thing, "__cause__", None), getattr(thing, "__context__", None)):
        if cause is not None:
            check(cause)


def test_every_public_name_is_looked_at() -> None:
    public = {*secagg.__all__, *(f"analytics.{name}" for name in analytics.__all__)}
    assert public == CHECKS.keys() | NO_INPUT and not CHECKS.keys() & NO_INPUT


@pytest.mark.parametrize("look", dict.fromkeys(CHECKS.values()), ids=lambda look: look.__name__)
def test_no_canary_is_seen(
    look: Callable[[Any], None],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """specs/00-threat-model.md, threats 81: also of what somebody's class says when it fails."""
    caplog.set_level("DEBUG")
    for canary in CANARIES:
        look(canary)
    out, err = capsys.readouterr()
    for mark in MARKS:
        assert mark not in caplog.text + out + err


def test_a_leak_would_be_seen() -> None:
    for error in (ValueError(f"{REAL} is no weight"), KeyError(TEXT), Failing(ValueError)):
        with pytest.raises(AssertionError, match="quotes its input"):
            check(error)
    hidden = ValueError("fine")
    hidden.__context__ = ValueError(str(WHOLE))
    hidden.__suppress_context__ = True
    with pytest.raises(AssertionError, match="quotes its input"):
        check(hidden)
