"""What compiles, or computes wrongly, is found before anybody waits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import secagg
from secagg import Privacy, records
from secagg.analytics import Mean, Query
from secagg.drive import warm
from secagg.errors import CryptoError, IntegrityError
from secagg.fields import FixedPoint, Integer, Vector
from secagg.plans.choose import plan

FIRST = """
import numpy, secagg
from secagg import FixedPoint, Integer, drop_at, plan
from secagg.drive import warm
from secagg.kernels import aes, field, pack, quantize
from secagg.sim.simulation import run

def compiled():
    every = [one for module in (aes, field, pack, quantize) for one in vars(module).items()]
    return {(name, str(s)) for name, one in every for s in getattr(one, "signatures", ())}

few = {"clients": 5, "corrupt": 0, "dropout": "0.2"}
plans = [
    plan(fields={"x": FixedPoint(3, 1.0, 16)}, **few),
    plan(fields={"x": FixedPoint(4, 1.0, 8), "n": Integer(2, 9)}, **few, max_weight=3),
    plan(fields={"x": FixedPoint(4, 1.0, 32, "stochastic")}, protocol="secagg+", clients=9),
    plan(fields={"x": FixedPoint(4, 1.0, 4)}, **few, servers=2, clipped=True),
]
for one in plans:
    warm.up(one)
    before = compiled()
    given = {name: numpy.ones(f.length, "f4" if isinstance(f, FixedPoint) else "i8")
             for name, f in one.schema.given}
    lost = drop_at("masked-input", count=1) if one.params.servers == 1 else None
    run(one, lambda i: given, drop=lost)
    assert compiled() == before, compiled() - before
print("done")
"""


def test_after_it_a_round_compiles_nothing() -> None:
    """In a process of its own: in this one all was compiled by other tests."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr


KINDS: dict[str, dict[str, Any]] = {
    "counts": {"fields": {"n": Integer(1, 1, 1.0)}, "privacy": Privacy(1, 1e-5)},
    "counts of several": {"fields": {"n": Integer(2, 9, 4.0)}, "privacy": Privacy(1, 1e-5)},
    "local": {"fields": {"n": Integer(1, 1, 1.0)}, "privacy": Privacy(1, 1e-5, trust="local")},
    "bits that are told": {
        "fields": {"a": Integer(1, 1, 1.0), "b": Integer(1, 1, 1.0)},
        "privacy": Privacy(1, 1e-6, trust="local", mechanism="response"),
    },
    "reals": {"fields": {"v": Vector(2, 1.0, 16)}, "privacy": Privacy(1, 1e-5)},
    "central": {"fields": {"v": Vector(1, 1.0, 16)}, "privacy": Privacy(1, 1e-5, trust="central")},
    "examples": {
        "fields": {"v": Vector(1, 1.0, 16), "n": Integer(1, 1, 1.0)},
        "privacy": Privacy(1, 1e-5, unit="example", examples=3),
    },
    "a question": {
        "fields": Query({"age": Mean(0, 120)}, privacy=Privacy(1, 1e-5)).fields,
        "privacy": Query({"age": Mean(0, 120)}, privacy=Privacy(1, 1e-5)).privacy,
    },
}


@pytest.mark.parametrize(
    ("kind", "servers"), [(k, n) for k in KINDS for n in (1, 2) if (k, n) != ("central", 2)]
)
def test_every_kind_of_plan_is_tried(kind: str, servers: int) -> None:
    """With one element as with several: what serves and joins does so before anything else."""
    made = plan(clients=60, corrupt=0, dropout=0.1, servers=servers, **KINDS[kind])
    warm._tried.cache_clear()
    warm.up(made)
    assert warm._tried.cache_info().currsize == 1


def small() -> Any:
    return plan(clients=3, fields={"x": FixedPoint(2, 1.0, 9)}, corrupt=0, dropout=0)


def wrong(*args: object) -> None:
    raise IntegrityError("the count lane disagrees")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    warm._tried.cache_clear()
    monkeypatch.setattr(records, "check_counts", wrong)


async def serves() -> None:
    async with secagg.serve():
        pass


async def connects() -> None:
    async with secagg.connect("ws://127.0.0.1:9"):
        pass


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("call", [serves, connects])
async def test_row_61_a_round_that_does_not_add_up_starts_nothing(call: Callable[[], Any]) -> None:
    with pytest.raises(CryptoError, match="self-test: a round of secagg does not add up"):
        await call()


@pytest.mark.usefixtures("broken")
def test_row_61_nor_without_asyncio() -> None:
    with pytest.raises(CryptoError, match="self-test"):
        secagg.join("ws://127.0.0.1:9", {"x": np.zeros(2)}, plan=small())
    with pytest.raises(CryptoError, match="self-test"), secagg.serve_in_thread(small()):
        pass


def test_it_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    warm.up(small())
    monkeypatch.setattr(records, "check_counts", wrong)
    warm.up(small())
    warm.up()


def test_a_protocol_that_needs_many_clients_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    agreed = plan(clients=3, fields={"n": Integer(2, 7)}, corrupt=0, dropout=0)
    monkeypatch.setattr(warm, "_MOST", 2)
    monkeypatch.setattr(warm, "_tried", wrong)
    warm.up(agreed)
