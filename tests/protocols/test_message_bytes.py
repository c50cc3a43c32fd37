"""What both suites say is frozen, byte for byte, whatever a plan's encoding is.

messages.json has the digests of everything that is said in sessions whose plan is a constant: so a
new version of plans moves nothing here, and a changed message does. After an intended change,
which is one of the suite: `python -m tests.protocols.test_message_bytes`. It has the digests of
those vectors too in which no plan occurs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secagg.committee import Committee, ServerSecrets, opening_secret
from secagg.crypto import hpke
from secagg.errors import RemoteProtocolError
from secagg.mask import add_streams
from secagg.testing import counter_randomness, plain_sum
from secagg.types import COLLECTOR, FIRST_RESERVED, SERVER, PartyId, server_id
from secagg.wire.header import TAG_AT
from secagg_protocols.additive import PROTOCOL as ADDITIVE
from secagg_protocols.additive.params import AdditiveParams
from secagg_protocols.plainsum import PROTOCOL as PLAINSUM
from secagg_protocols.plainsum import PlainSumParams
from secagg_protocols.secagg import SECAGG, SECAGG_PLUS
from tests.active import COMMITTEE, Cast
from tests.networks import COMPLETE, LAYOUT, REGULAR, inputs_of, session_of

FROZEN = Path(__file__).parent / "messages.json"
VECTORS = Path(__file__).parents[2] / "specs" / "vectors" / "v1"
Said = dict[str, list[bytes]]


def carried(machines: dict[PartyId, Any], gone: dict[str, PartyId]) -> tuple[Said, Any]:
    """A session to its end, without a driver: all that was said, by `sender to receiver tag`.

    gone: by phase of the first server, who is lost before it says what is due there.
    """
    said: Said = {}
    first = machines[SERVER]
    for machine in machines.values():
        machine.start()
    while not machines.get(COLLECTOR, first).done:
        if (lost := gone.get(first.phase)) in machines:
            del machines[lost]
            first.lost(lost)
        if not _carry(machines, said):
            jobs = first.jobs()
            for job in jobs:
                first.finish(job, job())
            if not jobs:
                _close(machines)
    return said, machines.get(COLLECTOR, first).result()


def _carry(machines: dict[PartyId, Any], said: Said) -> bool:
    """Everything that waits to be said, once round; whether there was anything."""
    mail = [(who, out) for who, one in machines.items() for out in one.outgoing()]
    for sender, out in mail:
        tag = out.data[TAG_AT]
        said.setdefault(f"{_name(sender)} to {_name(out.to)}, tag {tag}", []).append(out.data)
        if out.to in machines:
            try:
                machines[out.to].receive(sender, out.data)
            except RemoteProtocolError as refused:
                raise AssertionError("an honest session") from refused
    return bool(mail)


def _close(machines: dict[PartyId, Any]) -> None:
    """A collector asks when the batch is locked; before that its servers' phases close."""
    first = machines[SERVER]
    if COLLECTOR in machines and first.phase != "upload":
        for server in machines[COLLECTOR].waiting_for:
            machines[COLLECTOR].reconnected(server)
    else:
        first.close_phase()


def _name(party: PartyId) -> str:
    if party == COLLECTOR:
        return "collector"
    return f"server {server_id(0) - party}" if party >= FIRST_RESERVED else f"client {party}"


def one_server(info: Any, params: Any, gone: dict[str, PartyId]) -> tuple[Said, Any]:
    session = session_of(params)
    machines = {SERVER: info.family.server(session, expander=add_streams)}
    return carried(machines | _clients(info, session), gone)


def active(cast: Cast, gone: dict[str, PartyId]) -> tuple[Said, Any]:
    machines: dict[PartyId, Any] = {SERVER: cast.server()}
    for party, vector in cast.inputs.items():
        draw = counter_randomness(b"frozen" + party.to_bytes(4))
        machines[party] = cast.client(party, randomness=draw)
        machines[party].set_input(tuple(lane.copy() for lane in vector), cast.payload)
    return carried(machines, gone)


def several(servers: int, direct: bool) -> tuple[Said, Any]:
    draw = counter_randomness(b"frozen")
    secrets = [ServerSecrets.generate(draw) for _ in range(servers)]
    collector = opening_secret(draw)
    public = ServerSecrets(collector, collector).public.sealing
    committee = Committee(tuple(one.public for one in secrets), public, 1)
    params = AdditiveParams(clients=4, servers=servers, min_survivors=3, direct=direct)
    session = replace(session_of(params), committee=committee)
    machines = {
        server_id(index): ADDITIVE.family.member(session, index, one, expander=add_streams)  # type: ignore[misc]
        for index, one in enumerate(secrets)
    }
    machines[COLLECTOR] = ADDITIVE.family.collector(session, collector)  # type: ignore[misc]
    with _sealing_that_repeats():
        return carried(machines | _clients(ADDITIVE, session), {})


class _Suite:
    """In the place of HPKE, whose ephemeral keys no caller can choose: as long, and bound to the
    same key, plaintext and info. What HPKE itself gives has vectors of its own."""

    def encrypt(self, plaintext: bytes, key: Any, *, info: bytes) -> bytes:
        return self._sealed(bytes(plaintext), key.public_bytes_raw(), info)

    def decrypt(self, sealed: bytes, key: Any, *, info: bytes) -> bytes:
        plaintext = bytes(sealed)[32:-16]
        if self._sealed(plaintext, key.public_key().public_bytes_raw(), info) != bytes(sealed):
            raise ValueError
        return plaintext

    def _sealed(self, plaintext: bytes, public: bytes, info: bytes) -> bytes:
        bound = hashlib.sha256(public + info + plaintext).digest()
        return bound + plaintext + bound[:16]


@contextmanager
def _sealing_that_repeats() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hpke, "_SUITE", _Suite())
        yield


def _clients(info: Any, session: Any) -> dict[PartyId, Any]:
    made = {}
    for party, vector in inputs_of(session.params.clients).items():
        draw = counter_randomness(b"frozen" + party.to_bytes(4))
        made[party] = info.family.client(session, party, randomness=draw, expander=add_streams)
        made[party].set_input(vector, session.payload_digest)
    return made


SESSIONS: dict[str, Callable[[], tuple[Said, Any]]] = {
    "plainsum": lambda: one_server(PLAINSUM, PlainSumParams(5, 3), {}),
    "secagg, complete graph": lambda: one_server(SECAGG, COMPLETE, {}),
    "secagg, one lost before each message": lambda: one_server(
        SECAGG, COMPLETE, {"masked-input": PartyId(1), "unmask": PartyId(4)}
    ),
    "secagg+, one lost before its input": lambda: one_server(
        SECAGG_PLUS, REGULAR, {"masked-input": PartyId(2)}
    ),
    "secagg, active, complete graph": lambda: active(
        Cast(), {"masked-input": PartyId(1), "unmask": PartyId(4)}
    ),
    "secagg, active, a committee of a regular graph": lambda: active(
        Cast(COMMITTEE), {"masked-input": PartyId(2)}
    ),
    "additive, two servers, relayed": lambda: several(2, False),
    "additive, three servers, relayed": lambda: several(3, False),
    "additive, two servers, direct": lambda: several(2, True),
}
CONTRIBUTORS: dict[str, set[PartyId]] = {
    name: {PartyId(party) for party in range(number)} - {PartyId(lost) for lost in without}
    for name, number, without in (
        ("plainsum", 5, ()),
        ("secagg, complete graph", 6, ()),
        ("secagg, one lost before each message", 6, (1,)),
        ("secagg+, one lost before its input", 8, (2,)),
        ("secagg, active, complete graph", 6, (1,)),
        ("secagg, active, a committee of a regular graph", 10, (2,)),
        ("additive, two servers, relayed", 4, ()),
        ("additive, three servers, relayed", 4, ()),
        ("additive, two servers, direct", 4, ()),
    )
}


def digests(said: Said) -> dict[str, str]:
    """In an order of their own: the one in which a driver carries them is free."""
    return {
        name: hashlib.sha256(b"".join(sorted(messages))).hexdigest()
        for name, messages in sorted(said.items())
    }


PLANLESS = """additive-reports additive-sealing decoding graph hash keys mask-stream packing
public-keys quantize records session-id shamir signatures""".split()
"""Vectors of what messages are made of, in which no plan and no session of one occurs."""


def _vectors() -> dict[str, str]:
    read = {name: (VECTORS / f"{name}.json").read_bytes() for name in PLANLESS}
    return {name: hashlib.sha256(data).hexdigest() for name, data in read.items()}


def frozen() -> dict[str, dict[str, Any]]:
    return {
        "messages": {name: digests(run()[0]) for name, run in SESSIONS.items()},
        "vectors": _vectors(),
    }


KEPT: dict[str, dict[str, Any]] = json.loads(FROZEN.read_text())


@pytest.mark.parametrize("name", SESSIONS)
def test_messages_are_the_frozen_ones(name: str) -> None:
    said, total = SESSIONS[name]()
    assert digests(said) == KEPT["messages"][name]
    inputs = inputs_of(COMMITTEE.clients)  # of each party its own, however many take part
    plain = plain_sum(LAYOUT, inputs, frozenset(CONTRIBUTORS[name]))
    assert [lane.tolist() for lane in total.vector] == plain, "the session is one that works"


def test_every_message_of_the_suite_is_among_them() -> None:
    """So that no kind of message can change unseen; an abort is in none of these sessions."""
    for info, family in ((PLAINSUM, "plainsum"), (SECAGG, "secagg"), (ADDITIVE, "additive")):
        lines = [
            name for run in SESSIONS if run.startswith(family) for name in KEPT["messages"][run]
        ]
        said = {int(name.rsplit(" ", 1)[1]) for name in lines}
        assert said == {tag for tag, name in info.messages.items() if name != "abort"}, family


def test_vectors_without_a_plan_are_the_frozen_ones() -> None:
    assert _vectors() == KEPT["vectors"]


if __name__ == "__main__":
    FROZEN.write_text(json.dumps(frozen(), indent=1) + "\n")
