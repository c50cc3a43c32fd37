"""Who dies when: always within what the plan withstands, checked against the protocol itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.demo.deaths import MOST, schedule, withstood
from secagg.drive import pump
from secagg.fields import Integer
from secagg.party import Client, Server
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.types import SERVER, PartyId
from secagg_protocols.secagg.params import SecAggParams


def made(clients: int, protocol: str = "secagg+", dropout: str = "0.25") -> Plan:
    return plan(
        clients=clients,
        fields={"update": Integer(3, 1000)},
        corrupt="0.2",
        dropout=dropout,
        protocol=protocol,
    )


PLANS = [made(16), made(20), made(8, "secagg"), made(9, "secagg")]


def test_the_default_plan_withstands_its_four() -> None:
    assert withstood(made(16).params) == made(16).threat.dropped == 4


def test_every_secret_keeps_its_holders() -> None:
    """8 neighbours and t = 7: with 3 dead, one of them has 6 living neighbours at worst."""
    assert withstood(SecAggParams(16, 8, 7, min_clients=12, min_survivors=12)) == 2
    assert withstood(SecAggParams(16, 8, 7, min_clients=15, min_survivors=12)) == 1


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PLANS), st.data())
def test_what_is_withstood_leaves_the_round_a_sum(agreed: Plan, data: st.DataObject) -> None:
    """Row 91: clients vanish in any phases; the sum is over exactly those that had uploaded."""
    deaths = data.draw(
        st.dictionaries(
            st.integers(0, agreed.threat.clients - 1),
            st.sampled_from(agreed.phase_names),
            min_size=withstood(agreed.params),
            max_size=withstood(agreed.params),
        )
    )
    total = one_round(agreed, deaths)
    uploaded = {i for i in range(agreed.threat.clients) if deaths.get(i, "unmask") == "unmask"}
    assert total == (uploaded, [sum(uploaded)] * 3)


def one_round(agreed: Plan, deaths: dict[int, str]) -> tuple[set[int], list[int]]:
    nonce, digest = bytes(16), bytes(32)
    clients = {}
    for i in map(PartyId, range(agreed.threat.clients)):
        clients[i] = Client(agreed, i, nonce=nonce, payload_digest=digest)
        clients[i].set_input({"update": np.full(3, i)}, payload_digest=digest)
    server = Server(agreed, nonce=nonce, payload_digest=digest)
    pump.run({SERVER: server}, clients, gone=lambda i, phase: deaths.get(i) == phase)
    total = server.aggregate()
    return set(total.contributors), total.levels["update"].tolist()


def test_the_schedule_is_of_the_seed_and_sees_every_phase() -> None:
    agreed = made(16)
    deaths, again, other = (schedule(agreed, 8, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert deaths == again != other
    assert list(deaths) == list(range(1, 9))
    assert [len(dying) for dying in deaths.values()] == [1, 2, 3, 1, 2, 3, 1, 2]
    assert {p for dying in deaths.values() for p in dying.values()} == set(agreed.phase_names)


@pytest.mark.parametrize("agreed", PLANS)
def test_no_round_has_more_deaths_than_are_withstood(agreed: Plan) -> None:
    deaths = schedule(agreed, 12, np.random.default_rng(4))
    assert max(map(len, deaths.values())) == min(MOST, withstood(agreed.params))
    assert {c for dying in deaths.values() for c in dying} <= set(range(agreed.threat.clients))


def test_where_none_may_drop_none_dies() -> None:
    agreed = made(20, dropout="0")
    assert withstood(agreed.params) == 0
    assert schedule(agreed, 2, np.random.default_rng(0)) == {1: {}, 2: {}}
