"""Floats through party.Client and party.Server: exact levels, and means within their bound."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.drive import pump
from secagg.errors import Aborted, BelowThreshold
from secagg.fields import FixedPoint, Integer
from secagg.party import Client, Server
from secagg.plans.choose import plan
from secagg.testing import counter_randomness
from secagg.types import SERVER, PartyId
from tests.networks import PHASES
from tests.properties.strategies import runs


@settings(deadline=None, max_examples=runs(60))
@given(st.data())
def test_weighted_means_err_by_no_more_than_the_bound(data: st.DataObject) -> None:
    """Rows 82, 84, 85, 88; the oracle is exact rational arithmetic over the clipped inputs."""
    n = data.draw(st.integers(3, 7))
    clip = data.draw(st.sampled_from([0.5, 1.0, 3.7, 1e-3, 1e6]))
    update = FixedPoint(
        data.draw(st.integers(1, 4)),
        clip=clip,
        bits=data.draw(st.integers(2, 32)),
        rounding=data.draw(st.sampled_from(["nearest", "stochastic"])),
    )
    votes = Integer(2, max=data.draw(st.sampled_from([1, 5, 10**6])))
    top = data.draw(st.sampled_from([1, 2, 100]))
    fields = {"update": update, "votes": votes}
    made = plan(clients=n, fields=fields, max_weight=top, corrupt=0, dropout=0)
    value = st.one_of(
        st.floats(-2 * clip, 2 * clip), st.sampled_from([clip, -clip, -0.0, 5e-324, 1e300])
    )
    task = bytes(32)
    server = Server(made, nonce=bytes(16), payload_digest=task)
    clients, given_ = {}, {}
    for i in map(PartyId, range(n)):
        floats = data.draw(st.lists(value, min_size=update.length, max_size=update.length))
        ints = data.draw(st.lists(st.integers(-votes.max, votes.max), min_size=2, max_size=2))
        weight = data.draw(st.integers(1, top))
        given_[i] = floats, ints, weight
        clients[i] = Client(
            made,
            i,
            nonce=bytes(16),
            payload_digest=task,
            randomness=counter_randomness(i.to_bytes(4)),
        )
        clients[i].set_input(
            {"update": np.array(floats), "votes": np.array(ints)},
            payload_digest=task,
            weight=weight,
        )
    leaving = data.draw(st.dictionaries(st.integers(0, n - 1), st.sampled_from(PHASES), max_size=1))
    try:
        pump.run({SERVER: server}, clients, gone=lambda who, phase: leaving.get(who) == phase)
    except Aborted as error:
        assert isinstance(error, BelowThreshold)
        return
    _check(server.aggregate(), given_, update)


def _check(total: Any, given_: dict[PartyId, Any], update: FixedPoint) -> None:
    members = [given_[i] for i in total.contributors]
    weight = sum(w for _, _, w in members)
    assert total.weight == weight
    bound = total.report.error_bounds["update"]
    for j in range(update.length):
        clipped = [max(-update.clip, min(update.clip, xs[j])) for xs, _, _ in members]
        exact = math.fsum(x * w for x, (_, _, w) in zip(clipped, members, strict=True)) / weight
        assert abs(float(total.mean["update"][j]) - exact) <= bound * (1 + 1e-12)
    for j in range(2):
        assert int(total.sum["votes"][j]) == sum(ints[j] for _, ints, _ in members)
