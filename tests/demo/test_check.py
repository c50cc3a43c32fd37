"""The judge of a round must find what is wrong with one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from secagg.demo.check import (
    SHOWN,
    Contribution,
    Verdict,
    exact_sum,
    judge,
    plain_mean,
    unmask_nothing,
)
from secagg.drive import pump
from secagg.fields import FixedPoint
from secagg.party import Aggregate, Client, Server
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.types import SERVER, PartyId
from secagg.wire.codec import Writer
from secagg.wire.vector import write_vector

LENGTH, CLIENTS = 20, 4
AGREED: Plan = plan(
    clients=CLIENTS,
    fields={"update": FixedPoint(LENGTH, 1.0, 16)},
    corrupt="0",
    dropout="0.25",
    protocol="secagg",
    max_weight=10,
)


@pytest.fixture(scope="module")
def given() -> list[Contribution]:
    generator = np.random.default_rng(3)
    return [Contribution(generator.uniform(-0.9, 0.9, LENGTH), 1 + 3 * i) for i in range(CLIENTS)]


@pytest.fixture(scope="module")
def total(given: list[Contribution]) -> Aggregate:
    nonce, digest = bytes(16), bytes(32)
    clients = {}
    for i, one in enumerate(given):
        client = Client(AGREED, PartyId(i), nonce=nonce, payload_digest=digest)
        client.set_input({"update": one.update}, weight=one.weight, payload_digest=digest)
        clients[PartyId(i)] = client
    server = Server(AGREED, nonce=nonce, payload_digest=digest)
    pump.run({SERVER: server}, clients)
    return server.aggregate()


def test_a_true_sum_is_exact_and_within_the_bound(
    total: Aggregate, given: list[Contribution]
) -> None:
    verdict = judge(AGREED, total, given)
    assert verdict.exact and verdict.clipped == 0
    assert 0 < verdict.max_abs_error <= AGREED.max_error


def test_one_level_off_is_found(total: Aggregate, given: list[Contribution]) -> None:
    levels = total.levels["update"].copy()
    levels[-1] += 1
    assert not judge(AGREED, replace(total, levels={"update": levels}), given).exact


def test_a_wrong_weight_or_set_is_found(total: Aggregate, given: list[Contribution]) -> None:
    assert not judge(AGREED, replace(total, weight=total.weight + 1), given).exact
    fewer = total.contributors - {PartyId(0)}
    assert not judge(AGREED, replace(total, contributors=fewer), given).exact


def test_a_client_missing_from_the_sum_is_found(
    total: Aggregate, given: list[Contribution]
) -> None:
    assert not judge(AGREED, total, given[1:]).exact


def test_a_mean_that_is_off_shows_in_the_error(total: Aggregate, given: list[Contribution]) -> None:
    mean = total.mean["update"].copy()
    mean[7] += 0.5
    verdict = judge(AGREED, replace(total, mean={"update": mean}), given)
    assert verdict.max_abs_error == pytest.approx(0.5, abs=1e-3)


def test_clipped_elements_are_counted_and_compared_as_clipped(
    total: Aggregate, given: list[Contribution]
) -> None:
    """Had the clients given more than clip, the sum would be that of the clipped."""
    beyond = [replace(one, update=one.update.copy()) for one in given]
    beyond[2].update[[0, 5]] = (1.7, -3.0)
    inside = [replace(one, update=np.clip(one.update, -1, 1)) for one in beyond]
    mean = plain_mean(inside)
    levels = np.array(exact_sum(FixedPoint(LENGTH, 1.0, 16), beyond))
    judged = judge(AGREED, replace(total, mean={"update": mean}, levels={"update": levels}), beyond)
    assert judged == Verdict(exact=True, max_abs_error=0.0, clipped=2)


def test_the_exact_sum_by_hand() -> None:
    """Levels of 1/3 at 3 bits: 3 a side, rounded before they are weighted."""
    fixed = FixedPoint(2, 1.0, 3)
    given = [Contribution(np.array([0.4, -1.0]), 5), Contribution(np.array([0.7, 0.1]), 2)]
    assert exact_sum(fixed, given) == [5 * 1 + 2 * 2, -15]


def test_the_shown_elements_are_those_of_the_message() -> None:
    update = np.zeros(LENGTH)
    update[3:] = 0.5
    vector = AGREED.layout.zeros()
    sent = np.arange(len(vector[0]))
    vector[0][:] = sent
    vector[0][4] = (1 << AGREED.ring_bits) - 7
    vector[0][3] = 16384 * 2
    message = write_vector(Writer().raw(b"a head of any size"), AGREED.layout, vector).finish()
    shown = unmask_nothing(AGREED, 9, Contribution(update, 2), message)
    assert (shown.client, shown.first, shown.length) == (9, 3, LENGTH)
    assert shown.true == [2 * 16384] * SHOWN  # 16383.5 rounds to even
    assert shown.received == [32768, -7, *range(5, 3 + SHOWN)]
    assert shown.unchanged == 2  # the 0 at index 0 too
