"""Whatever speaks for one party in one session: found wherever it is, and never two of it.

A machine that is written tomorrow is found by its shape, so these tests hold for it too.
"""

from __future__ import annotations

import copy
import importlib
import pickle  # noqa: TID251  # only to see that it is refused
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import secagg
from secagg import party, registry
from secagg.protocol import SeveralServers
from secagg.testing import Network
from secagg.types import NonCopyable, PartyId
from secagg_protocols.ring import RingParams, RingParty
from tests import modules
from tests.ensembles import Setting, params_of
from tests.networks import COMPLETE, PAYLOAD, PHASES, network_of, session_of

CALLS = ("start", "receive", "lost", "abort", "outgoing", "events")
"""What every machine can be told, and nothing else here."""


def _classes() -> Iterator[type]:
    for name in modules.names():
        if not name.endswith("__main__"):
            yield from (
                c for c in vars(importlib.import_module(name)).values() if isinstance(c, type)
            )


def machines() -> set[type]:
    """Every class that has a machine's calls; what only describes one is not among them."""
    return {
        c
        for c in _classes()
        if all(callable(getattr(c, name, None)) for name in CALLS)
        and not getattr(c, "_is_protocol", False)
    }


MACHINES = machines()


def test_the_walk_finds_every_kind_of_machine() -> None:
    names = {c.__name__ for c in MACHINES}
    several = {"ReportClient", "Leader", "Helper", "Collector"}
    single = {"SecAggClient", "SecAggServer", "PlainSumClient", "PlainSumServer", "RingParty"}
    assert names >= several | single | {"Client", "Server", "MeteredClient", "MeteredServer"}


@pytest.mark.parametrize("machine", sorted(MACHINES, key=lambda c: f"{c.__module__}.{c.__name__}"))
def test_every_machine_refuses_to_be_two(machine: type) -> None:
    assert issubclass(machine, NonCopyable)
    for way in ("__reduce_ex__", "__copy__", "__deepcopy__"):
        assert getattr(machine, way, None) in (None, NonCopyable.__reduce_ex__), way


def _refuses(machine: Any) -> None:
    clones: list[Callable[[Any], Any]] = [copy.copy, copy.deepcopy, pickle.dumps]
    for clone in clones:
        with pytest.raises(TypeError, match=f"^a {type(machine).__name__} is one party in one "):
            clone(machine)


@pytest.mark.parametrize("phase", PHASES)
def test_machines_of_one_server_at_every_phase(phase: str) -> None:
    network = network_of(COMPLETE)
    for machine in (network.server, network.clients[PartyId(0)]):
        _refuses(machine)
    network.run_until(phase)
    for machine in (network.server, network.clients[PartyId(0)]):
        _refuses(machine)


@pytest.mark.parametrize("name", registry.available())
def test_machines_of_every_protocol_and_what_wraps_them(name: str) -> None:
    threat = {}
    match registry.load(name).family:
        case SeveralServers():
            threat = {"servers": 2}
    made = secagg.plan(
        clients=60, fields={"x": secagg.Integer(3, 9)}, protocol=name, corrupt=0, **threat
    )
    network = Network.of(made.info, made.session(bytes(16), PAYLOAD), {})
    for machine in network.servers.values():
        _refuses(machine)
    if len(network.servers) == 1:
        _refuses(party.Server(made, nonce=bytes(16), payload_digest=PAYLOAD))
        _refuses(party.Client(made, PartyId(0), nonce=bytes(16), payload_digest=PAYLOAD))


def test_a_ring_party_and_a_collector() -> None:
    _refuses(RingParty(session_of(RingParams(3, True)), PartyId(0)))
    _refuses(Setting(params_of(3)).network().server)
