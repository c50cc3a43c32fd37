"""A session whose clients sign: which roster, who is asked, whose key, and what its offer binds.

specs/14-roster.md §3. Rows 8, 12, 34, 44, 46; T5, T6.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import secagg
import secagg.testing
from secagg import registry
from secagg.crypto import labels, sign
from secagg.errors import ParameterError
from secagg.mask import add_streams
from secagg.protocol import OneServer, Session
from secagg.roster import Roster
from secagg.suite import SUITE_2
from secagg.types import SERVER, PartyId, Seed
from secagg.wire.header import VERSION
from tests.ensembles import keys_of

NONCE, PAYLOAD = b"n" * 16, b"p" * 32
SEEDS = tuple(Seed(bytes([number]) * 32) for number in range(1, 8))
SERVER_SEED = Seed(b"s" * 32)
ROSTER = Roster(
    7,
    2_000_000_000,
    sign.public_key(SERVER_SEED),
    (*map(sign.public_key, SEEDS[:3]), None, *map(sign.public_key, SEEDS[3:])),
)
ALL = ROSTER.members
PLAN = secagg.plan(
    clients=6, fields={"x": secagg.FixedPoint(10, 1.0, 16)}, roster=8, protocol="secagg"
)
PLAIN = PLAN.session(NONCE, PAYLOAD)
SIGNED = replace(PLAIN, suite=SUITE_2, roster=ROSTER)
OTHERS: dict[str, dict[str, Any]] = {
    "nonce": {"nonce": b"m" * 16},
    "plan": {"plan_digest": bytes(32)},
    "payload": {"payload_digest": bytes(32)},
    "keys": {"roster": replace(ROSTER, keys=ROSTER.keys[::-1])},
    "epoch": {"roster": replace(ROSTER, epoch=8)},
    "its end": {"roster": replace(ROSTER, not_after=1)},
}


def test_the_offer_of_suite_1_is_what_it_was() -> None:
    """Byte for byte; the nonce is not in it."""
    expected = labels.digest(labels.OFFER, b"secagg", VERSION, 1, PLAN.digest(), PAYLOAD, b"", 0)
    assert PLAIN.offer("secagg") == expected
    assert replace(PLAIN, nonce=b"m" * 16).offer("secagg") == expected
    committee = keys_of(2, epoch=9).committee
    assert replace(PLAIN, committee=committee).offer("secagg") == labels.digest(
        labels.OFFER, b"secagg", VERSION, 1, PLAN.digest(), PAYLOAD, committee.digest, 9
    )


def test_the_offer_of_suite_2() -> None:
    expected = labels.digest(
        *(labels.OFFER, b"secagg", VERSION, 2, PLAN.digest(), PAYLOAD),
        *(ROSTER.digest, 7, NONCE),
    )
    assert SIGNED.offer("secagg") == expected


@pytest.mark.parametrize("part", OTHERS)
def test_what_the_offer_binds(part: str) -> None:
    """T6: what was signed for one round is nothing in another, nor under another roster."""
    assert replace(SIGNED, **OTHERS[part]).offer("secagg") != SIGNED.offer("secagg")
    assert SIGNED.offer("secagg") != SIGNED.offer("secagg+")


def test_whom_it_asks_is_not_in_the_offer() -> None:
    assert replace(SIGNED, invited=ALL - {0}).offer("secagg") == SIGNED.offer("secagg")


def test_a_suite_and_a_roster_go_together() -> None:
    """Row 8: neither without the other."""
    with pytest.raises(ParameterError, match="suite 2 needs a roster"):
        replace(PLAIN, suite=SUITE_2)
    with pytest.raises(ParameterError, match="suite 1 has no roster"):
        replace(PLAIN, roster=ROSTER)
    with pytest.raises(ParameterError, match="suite 1 has no roster"):
        PLAN.session(NONCE, PAYLOAD, roster=ROSTER)


@pytest.mark.parametrize("invited", [ALL - {0}, ALL - {0, 1, 2}])
def test_who_may_be_asked(invited: frozenset[PartyId]) -> None:
    least = PLAN.params.min_clients
    if len(invited) < least:
        with pytest.raises(ParameterError, match=f"{least} to 6 clients, and {len(invited)} are"):
            replace(SIGNED, invited=invited)
    else:
        assert replace(SIGNED, invited=invited).invited == invited


def test_who_may_not_be_asked() -> None:
    """Row 12: the excluded, strangers, more than the plan's."""
    for stranger in (3, 8, -1, SERVER):
        with pytest.raises(ParameterError, match="no member"):
            replace(SIGNED, invited=(ALL - {0, 1}) | {PartyId(stranger)})
    with pytest.raises(ParameterError, match="7 are invited"):
        replace(SIGNED, invited=ALL)
    with pytest.raises(ParameterError, match="0 are invited"):
        replace(SIGNED, invited=frozenset())
    with pytest.raises(ParameterError, match="no member"):
        replace(PLAIN, invited=ALL - {0})


def test_a_roster_of_another_size() -> None:
    """Row 46: the plan counts its corrupt among as many as there are."""
    for keys in (ROSTER.keys[:-1], (*ROSTER.keys, None)):
        with pytest.raises(ParameterError, match=f"roster of 8, .*has {len(keys)} places"):
            PLAN.session(NONCE, PAYLOAD, roster=replace(ROSTER, keys=keys))
    few = replace(ROSTER, keys=(*ROSTER.keys[:2], *[None] * 6))
    with pytest.raises(ParameterError, match="has 2 members that are not excluded"):
        PLAN.session(NONCE, PAYLOAD, roster=few)
    with pytest.raises(ParameterError, match="roster must be a Roster"):
        PLAN.session(NONCE, PAYLOAD, roster=ROSTER.encode())  # type: ignore[arg-type]


def test_whose_key_signs() -> None:
    """T5, row 34: the party's own key of the roster, and nobody else's."""
    SIGNED.check_signing(PartyId(0), SEEDS[0])
    SIGNED.check_signing(PartyId(4), SEEDS[3])
    SIGNED.check_signing(SERVER, SERVER_SEED)
    for party, seed in ((0, SEEDS[1]), (0, SERVER_SEED), (SERVER, SEEDS[0]), (4, SEEDS[4])):
        with pytest.raises(ParameterError, match="not the identity of"):
            SIGNED.check_signing(PartyId(party), seed)
    for party in (0, SERVER):
        with pytest.raises(ParameterError, match="every party signs"):
            SIGNED.check_signing(PartyId(party), None)
    with pytest.raises(ParameterError, match="excluded"):
        SIGNED.check_signing(PartyId(3), SEEDS[3])
    with pytest.raises(ParameterError, match="not in the roster"):
        SIGNED.check_signing(PartyId(8), SEEDS[0])


def test_where_nobody_signs() -> None:
    PLAIN.check_signing(PartyId(0), None)
    with pytest.raises(ParameterError, match="signs nothing"):
        PLAIN.check_signing(PartyId(0), SEEDS[0])


@pytest.mark.parametrize("name", ["secagg", "secagg+", "plainsum", "additive"])
def test_factories_of_suite_1_take_no_key(name: str) -> None:
    """Whoever has an identity and is shown a plan without signatures is told so."""
    family = registry.load(name).family
    seed = SEEDS[0]
    with pytest.raises(ParameterError, match="signs nothing"):
        family.client(
            PLAIN,
            PartyId(0),
            randomness=secagg.testing.counter_randomness(b""),
            expander=add_streams,
            signing=seed,
        )
    with pytest.raises(ParameterError, match="signs nothing|keys"):
        family.machines(PLAIN, None, expander=add_streams, signing=seed)
    if isinstance(family, OneServer):
        with pytest.raises(ParameterError, match="signs nothing"):
            family.server(PLAIN, expander=add_streams, signing=seed)


@pytest.mark.parametrize("name", ["secagg", "plainsum"])
def test_factories_of_suite_2_need_their_own_key(name: str) -> None:
    family = registry.load(name).family
    draw = secagg.testing.counter_randomness(b"")
    for seed in (None, SEEDS[1]):
        with pytest.raises(ParameterError, match="every party signs|not the identity"):
            family.client(SIGNED, PartyId(0), randomness=draw, expander=add_streams, signing=seed)
        with pytest.raises(ParameterError, match="every party signs|not the identity"):
            family.machines(SIGNED, expander=add_streams, signing=seed)
    assert isinstance(SIGNED, Session)
