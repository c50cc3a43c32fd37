"""Evidence of active mode: it convicts who lied, and nobody else (specs/12-active.md §8)."""

from __future__ import annotations

from functools import cache

import pytest

from secagg.errors import CryptoError, ParameterError, RemoteProtocolError, WireError
from secagg.proved import Charge, Verdict
from secagg_protocols.secagg.active.convicting import verify_evidence
from secagg_protocols.secagg.active.params import ActiveParams
from tests.active import COMMITTEE, REGULAR, Cast, opener_of
from tests.convicts import proof_of_complaints, proof_of_wrong_secret, proof_of_wrong_share

FOUR = Cast(ActiveParams(4, 3, 3, 4, 3, 4, 3), places=6)
CASTS = {"four": FOUR, "regular": Cast(REGULAR), "committee": Cast(COMMITTEE, places=12)}
REFUSED = (WireError, CryptoError, ParameterError, RemoteProtocolError)


def convicted(data: bytes, cast: Cast) -> Verdict:
    return verify_evidence(data, cast.signed, opener_of(cast))


@cache
def proof(name: str, charge: Charge) -> bytes:
    cast = CASTS[name]
    if charge is Charge.WRONG_SHARE:
        return proof_of_wrong_share(cast, of=_neighbour(cast))
    if charge is Charge.WRONG_SECRET:
        return proof_of_wrong_secret(cast)
    return proof_of_complaints(cast)


def _neighbour(cast: Cast) -> int:
    """A place among the parties of one that the first has a share of."""
    network = cast.network().run_until("share-keys")
    cohort = network.server._stage.cohort  # type: ignore[attr-defined]
    return int(cohort.neighbours(0)[0])


@pytest.mark.parametrize("name", CASTS)
@pytest.mark.parametrize("charge", [Charge.WRONG_SHARE, Charge.WRONG_SECRET, Charge.COMPLAINTS])
def test_what_the_server_makes_of_a_liar_convicts_it(name: str, charge: Charge) -> None:
    """Rules R5, R6, R7."""
    cast = CASTS[name]
    verdict = convicted(proof(name, charge), cast)
    assert (verdict.charge, verdict.party) == (charge, cast.parties[0])
    assert verdict.key == cast.roster.key_of(cast.parties[0]) and verdict.epoch == cast.epoch
    assert verdict.who == f"member {cast.parties[0]}" and verdict.what


def test_a_wrong_share_of_the_key_of_who_was_lost() -> None:
    """Rule R5: its s share, and not its b share."""
    cast = Cast(places=9)
    verdict = convicted(proof_of_wrong_share(cast, of=3, drop=True), cast)
    assert (verdict.charge, verdict.party) == (Charge.WRONG_SHARE, cast.parties[0])


def test_a_wrong_share_of_ones_own() -> None:
    """Rule R5: a dealer is one of its own holders, and was delivered nothing of itself."""
    cast = Cast(places=9)
    verdict = convicted(proof_of_wrong_share(cast, liar=1, of=1), cast)
    assert verdict.party == cast.parties[1] and "of itself" in verdict.what


def test_a_wrong_key_of_who_was_lost() -> None:
    """Rule R6, of s_sk."""
    cast = Cast(places=9)
    verdict = convicted(proof_of_wrong_secret(cast, liar=2, drop=True), cast)
    assert (verdict.charge, verdict.party) == (Charge.WRONG_SECRET, cast.parties[2])
    assert "advertised" in verdict.what
