"""No machine of a protocol with a threat model sums so few inputs that its corrupt clients could
subtract their own and have another's: specs/10-secagg.md §8 C0, §9 S0; 20-additive.md §2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from secagg import registry
from secagg.committee import Keys
from secagg.errors import ParameterError
from secagg.fields import Integer
from secagg.mask import add_streams
from secagg.plans.choose import plan
from secagg.protocol import OneServer, ProtocolInfo, Session, SeveralServers
from secagg.testing import counter_randomness
from secagg.types import PartyId, smallest_sum
from secagg_protocols.additive.params import AdditiveParams
from secagg_protocols.secagg.params import SecAggParams

PROTECTED = [info for info in map(registry.load, registry.available()) if info.threat_models]
RANDOM = counter_randomness(b"machines")


def machines_of(info: ProtocolInfo, session: Session, keys: Keys) -> Iterator[Callable[[], Any]]:
    """Every machine that a session of this protocol is made into."""
    yield lambda: info.family.client(session, PartyId(0), randomness=RANDOM, expander=add_streams)
    match info.family:
        case OneServer(server=server):
            yield lambda: server(session, expander=add_streams)
        case SeveralServers(member=member, collector=collector):
            for index, secrets in enumerate(keys.servers):
                yield lambda i=index, s=secrets: member(session, i, s, expander=add_streams)
            yield lambda: collector(session, keys.collector)


@pytest.mark.parametrize("info", PROTECTED, ids=lambda info: info.name)
def test_every_machine_refuses_a_sum_that_its_corrupt_clients_see_through(
    info: ProtocolInfo,
) -> None:
    servers = 2 if isinstance(info.family, SeveralServers) else 1
    agreed = plan(
        clients=60,
        fields={"u": Integer(1, 9)},
        protocol=info.name,
        servers=servers,
        corrupt=0,
        dropout=0.1,
    )
    keys = Keys(max(servers, 2), RANDOM)
    committee = keys.committee if servers > 1 else None
    session = agreed.session(bytes(16), bytes(32), committee)
    for corrupted, refused in ((agreed.params.min_survivors - 2, False), (None, True)):
        known = agreed.params.min_survivors - 1 if corrupted is None else corrupted
        for make in machines_of(info, replace(session, corrupted=known), keys):
            if not refused:
                make()
                continue
            with pytest.raises(ParameterError, match=f"{known + 2} would do"):
                make()


def test_a_session_knows_how_many_of_its_clients_may_collude() -> None:
    for corrupt, expected in ((0, 0), (0.1, 2), (0.25, 5)):
        agreed = plan(clients=20, fields={"u": Integer(1, 9)}, corrupt=corrupt)
        assert agreed.session(bytes(16), bytes(32)).corrupted == expected
        assert agreed.params.min_survivors >= smallest_sum(expected)


def test_no_parameters_are_of_two_inputs() -> None:
    assert [smallest_sum(corrupted) for corrupted in range(5)] == [3, 3, 4, 5, 6]
    with pytest.raises(ParameterError, match="min_survivors must be at least 3, not 2"):
        SecAggParams(3, 2, 2, 2, 2)
    with pytest.raises(ParameterError, match="minimum batch 2"):
        AdditiveParams(3, 2, 2)
