"""The cost model's counts: specs/10-secagg.md §10, and what the machines really do."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from secagg import mask, selftest, sim
from secagg.crypto import agree, labels
from secagg.errors import ParameterError
from secagg.fields import FixedPoint, Integer
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg_protocols.secagg import keys, standing
from secagg_protocols.secagg.costs import Glue, Prediction, Rates, predict

NONE = Glue({}, {})
LANES = (8, 16, 32, 64)
SCALARS = (
    "key_pair agree derive seal unseal split_term combine combine_share weight_term member bound "
    "encode pack unpack decode hash pair_job"
).split()


def rates(mask: float = 0.0, mask_job: float = 0.0, **seconds: Any) -> Rates:
    """All zero but for those named."""
    scalars = dict.fromkeys(SCALARS, 0.0)
    by_lane = {"mask": dict.fromkeys(LANES, mask), "mask_job": dict.fromkeys(LANES, mask_job)}
    given: dict[str, Any] = scalars | by_lane | {"client": NONE, "server": NONE, "threads": 1}
    return Rates(**given | seconds)


def of(made: Plan, dropped: int = 0, **seconds: Any) -> Prediction:
    return predict(made.params, made.layout, rates(**seconds), dropped=dropped)


def complete(n: int = 10, **options: Any) -> Plan:
    fields = {"update": FixedPoint(7, 1.0, 16)}
    return plan(clients=n, **{"fields": fields, "protocol": "secagg", "dropout": 0.3} | options)


def regular(n: int = 60) -> Plan:
    return plan(clients=n, fields={"update": FixedPoint(7, 1.0, 16)}, protocol="secagg+")


def test_expansions_of_the_complete_graph() -> None:
    """E = (n - D) + D (n - D), of d lane/8 bytes each; a client expands k + 1."""
    made = complete()
    stream = 4 * made.layout.length
    got = of(made, 3, mask=1.0, mask_job=100.0)
    assert got.server_seconds == 100 * stream * (7 + 3 * 7)
    assert got.client_seconds == stream * 10
    assert of(made, 0, mask_job=1.0).server_seconds == stream * 10


def test_expansions_of_a_regular_graph() -> None:
    """D k (1 - delta) pairs."""
    made = regular()
    assert 0 < made.degree < 59
    got = of(made, 15, pair_job=1.0)
    assert got.server_seconds == pytest.approx(15 * made.degree * 0.75)
    assert got.client_seconds == 0


@pytest.mark.parametrize("dropped", [0, 3])
def test_agreements_and_keys_are_what_the_machines_do(
    dropped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in a real round; a plan of two segments, so that each has its own mask keys."""
    selftest.passed()  # once in a process
    done = Counter[str]()

    def counted(where: Any, name: str, what: str) -> None:
        original = getattr(where, name)

        def counting(*args: Any, **options: Any) -> Any:
            done[what] += 1
            return original(*args, **options)

        monkeypatch.setattr(where, name, counting)

    fields = {"update": FixedPoint(7, 1.0, 16), "votes": Integer(3, 1)}
    made = complete(fields=fields)
    n = 10
    assert len(made.layout.segments) == 2
    counted(standing, "shared_secret", "agree")
    counted(keys, "shared_secret", "agree")
    counted(agree, "crypto_scalarmult_base", "base")
    counted(labels, "_expanded", "derive")  # keys and commitments, each once
    inputs = {i: {"update": np.zeros(7), "votes": [0, 1, -1]} for i in range(n)}
    assert sim.run(made, inputs, drop=sim.drop_at("masked-input", count=dropped)).exact

    def total(**seconds: float) -> float:
        got = of(made, dropped, **seconds)
        early = got.client["advertise-keys"] + got.client["share-keys"]
        late = got.client["masked-input"] + got.client["unmask"]
        return n * early + (n - dropped) * late + got.server_seconds

    assert done["agree"] == total(agree=1.0, pair_job=1.0)
    assert done["base"] == total(key_pair=1.0)
    # a pair's job derives one key, and whoever drops at masked-input has opened k shares before
    jobs = of(made, dropped, pair_job=1.0).server_seconds
    assert done["derive"] == total(derive=1.0) + jobs + dropped * made.degree


def test_streams_are_what_the_jobs_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    streamed = Counter[str]()
    original = mask.MaskJob.__call__

    def counting(job: mask.MaskJob) -> Any:
        streamed["bytes"] += len(job.signs) * job.count * job.lane_bits // 8
        return original(job)

    monkeypatch.setattr(mask.MaskJob, "__call__", counting)
    made = complete()
    inputs = {i: {"update": np.zeros(7)} for i in range(10)}
    sim.run(made, inputs, drop=sim.drop_at("masked-input", count=3))
    assert streamed["bytes"] == of(made, 3, mask_job=1.0).server_seconds


def test_weights_once_where_holders_repeat() -> None:
    """n reconstructions of t shares: t^2 to rebuild and 3 t (m - t) to check, each or once."""
    made, other = complete(), regular()
    t, u, m = made.threshold, other.threshold, other.degree * 57 / 60
    assert of(made, 3, weight_term=1.0).server["unmask"] == t**2 + 3 * t * (7 - t)
    terms = of(other, 3, weight_term=1.0).server["unmask"]
    assert terms == pytest.approx(60 * (u**2 + 3 * u * (m - u)))
    assert of(made, 3, combine=1.0, combine_share=1.0).server_seconds == 10 * (1 + t)
    assert of(made, 3, split_term=1.0).client["share-keys"] == 2 * 5 * t * 10


def test_strangers_cost_in_a_regular_graph_only() -> None:
    assert of(complete(), member=1.0, bound=1.0) == of(complete())
    made = regular()
    strangers = 59 - made.degree
    assert of(made, member=1.0).client_seconds == 3 * strangers
    assert of(made, bound=1.0).client_seconds == strangers


def test_elements() -> None:
    made = complete()
    length, packed = made.layout.length, made.layout.packed_size
    assert of(made, encode=1.0, pack=10.0).client["masked-input"] == 11 * length
    got = of(made, 3, unpack=1.0, hash=10.0, decode=100.0).server
    assert got["masked-input"] == 7 * (length + 10 * packed)
    assert got["unmask"] == 100 * length


def test_glue_is_once_and_for_each_neighbour() -> None:
    made = complete()
    glue = Glue({"share-keys": 100.0, "unmask": 1.0}, {"share-keys": 1.0})
    got = of(made, 3, client=glue, server=glue)
    assert got.client["share-keys"] == 109 and got.server["share-keys"] == 1090
    assert got.client["unmask"] == 1 and got.server["unmask"] == 7


def test_a_protocol_without_neighbours_is_refused() -> None:
    made = complete(protocol="plainsum")
    with pytest.raises(ParameterError, match="neighbours"):
        of(made)
