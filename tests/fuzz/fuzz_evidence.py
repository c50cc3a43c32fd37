"""Any bytes are refused as evidence with a SecAggError, or convict who has lied and nobody else."""

from __future__ import annotations

from secagg.errors import Aborted, SecAggError
from secagg_protocols.secagg.active.convicting import verify_evidence
from tests.active import Cast, opener_of
from tests.fuzz.engine import main
from tests.properties.test_active_schedules import Liars

CAST = Cast()
DEALER, HOLDER = CAST.parties[1], CAST.parties[2]


def _evidence() -> list[bytes]:
    """Of a dealer of another secret, and of a holder's wrong share."""
    network = CAST.network()
    Liars(network, frozenset({DEALER}), frozenset({HOLDER}))
    try:
        network.run()
    except Aborted:
        pass
    return network.server.evidence()  # type: ignore[attr-defined,no-any-return]


CORPUS = _evidence()


def target(data: bytes) -> None:
    try:
        found = verify_evidence(data, CAST.signed, opener_of(CAST))
    except SecAggError:
        return
    assert found.party in (DEALER, HOLDER)


if __name__ == "__main__":
    main(target, CORPUS)
