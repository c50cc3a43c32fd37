"""What active mode promises of threats that no other test here is about alone (T2, T6, T7, T22;
specs/15-active-proof.md §7)."""

from __future__ import annotations

import ast
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from secagg.errors import Aborted, BelowThreshold, RemoteProtocolError
from secagg.layout import Layout, Segment
from secagg.ring import Ring
from secagg.sansio import Dropped
from secagg.testing import Carried
from secagg.types import SERVER, Fault, PartyId
from secagg.wire.header import TAG_AT
from secagg_protocols.secagg.active.client import ActiveClient
from secagg_protocols.secagg.active.messages import MaskedInput
from secagg_protocols.secagg.messages import Tag
from tests.active import Cast
from tests.adversary.active.liars import DOWN, OTHER, Script, after_header, before, script
from tests.adversary.test_uniformity import LIMIT, worst

ROOT = Path(__file__).parents[3]
NAMES = ("advertise-keys", "share-keys", "masked-input", "consistency", "unmask")


# T2: a server that only looks


@pytest.mark.parametrize("width", [8, 21])
def test_a_masked_vector_of_active_mode_is_uniform(width: int) -> None:
    """T2: of a constant input, by the test that a weakened generator fails."""
    layout = Layout((Segment(Ring(width), 250_000),))
    cast = Cast(layout=layout)
    client = cast.client(cast.parties[1])
    same = (np.full(250_000, 1, Ring(width).dtype),)
    network = cast.network()
    network.clients[cast.parties[1]] = client
    client.set_input(same, cast.payload)
    network.run_until("masked-input")
    said = network.queued(cast.parties[1])[0]
    assert said[TAG_AT] == Tag.MASKED_INPUT
    _, packed = MaskedInput.read(after_header(said), 5, layout)
    assert worst(packed.unpack()[0], width) < LIMIT


# T6: everything of one session, said in another


OTHERS = {
    "a round before": before,
    "another payload": lambda: Script(Cast(payload=OTHER)),
    "another epoch": lambda: Script(Cast(epoch=4)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_client_takes_nothing_of_another_session(name: str) -> None:
    """T6: each message of it, to each client, in each state; the same members, and the same keys
    of all who sign."""
    s, other = script(), OTHERS[name]()
    assert other.terms.offer != s.terms.offer
    for received in range(len(DOWN) + 1):
        for message in other.network.sent:
            client = s.client(1, received)
            assert not takes(client, message), (received, message)
    for received, tag in enumerate(DOWN):  # the probe can tell
        sent = s.sent(tag, to=s.cohort.ids[1])
        assert takes(s.client(1, received), Carried("", SERVER, s.cohort.ids[1], sent))


def takes(client: ActiveClient, message: Carried) -> bool:
    before = client.phase
    try:
        client.receive(SERVER, message.data)
    except RemoteProtocolError:
        return False
    return client.phase != before or bool(client.outgoing())


FAULTS = {Fault.MALFORMED, Fault.INVALID_SIGNATURE, Fault.WRONG_PHASE, Fault.EQUIVOCATION}


@pytest.mark.parametrize("phase", NAMES)
@pytest.mark.parametrize("name", OTHERS)
def test_a_server_takes_nothing_of_another_session(name: str, phase: str) -> None:
    """T6: whoever repeats what was said there is dropped, or not heard, and the others' sum is
    exact."""
    cast, other = Cast(), OTHERS[name]()
    liar = PartyId(4)
    said = [m.data for m in other.network.sent if m.sender == liar]
    assert len(said) == 5
    for data in said:
        network = cast.network().run_until(phase)
        network.server.receive(liar, data)
        network.drain(SERVER)
        said_of = [e for who, e in network.events if who == SERVER and isinstance(e, Dropped)]
        assert {e.party for e in said_of} <= {liar} and {e.fault for e in said_of} <= FAULTS
        assert said_of or liar not in network.server.waiting_for, (phase, data[TAG_AT])
        cast.exact(network)


# T7: not everybody has the same task


def test_members_that_are_given_two_payloads_are_in_no_round_together() -> None:
    """T7: their offers are two, so the keys of one half are no keys in the other's round, with
    whomever the server sides; with fewer than min_clients left it has none."""
    for sides in (Cast(), Cast(payload=OTHER)):
        network = sides.network()
        others = replace(sides, payload=OTHER if sides.payload != OTHER else bytes([9]) * 32)
        for party in sides.parties[:3]:
            client = others.client(party)
            lanes = tuple(lane.copy() for lane in others.inputs[party])
            client.set_input(lanes, others.payload)
            network.clients[party] = client
        with pytest.raises(Aborted) as caught:
            network.run()
        assert isinstance(caught.value, BelowThreshold)
        dropped = [e.party for who, e in network.events if who == SERVER and isinstance(e, Dropped)]
        assert {*sides.parties[:3]} <= {*dropped}


# T22: what is installed


def test_active_mode_needs_nothing_that_suite_1_does_not() -> None:
    """T22: its modules import the standard library and this package; Ed25519 is PyNaCl's, which is
    there for X25519's sake; z3 and spin are for tests alone."""
    folder = ROOT / "protocols" / "secagg_protocols" / "secagg" / "active"
    paths = [*folder.rglob("*.py"), ROOT / "secagg" / "roster.py", ROOT / "secagg" / "verify.py"]
    ours = {"secagg", "secagg_protocols"}
    for path in paths:
        assert imported(path) <= ours | sys.stdlib_module_names, path
    assert "nacl" in imported(ROOT / "secagg" / "crypto" / "sign.py")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = [*project["dependencies"]]
    for name, extra in project["optional-dependencies"].items():
        installed += [] if name == "test" else extra
    assert any(one.startswith("pynacl") for one in project["dependencies"])
    assert not any(one.startswith("z3") for one in installed)


def imported(path: Path) -> set[str]:
    """First parts of the names of all modules that it imports, at any place."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found
