"""A client that exists only while it answers, and whoever carries it may put it back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secagg.fields import Integer
from secagg.party import Client, Server
from secagg.plans.choose import plan
from secagg.types import SERVER, PartyId
from secagg.wire.codec import Reader
from secagg.wire.frame import HEAD_SIZE, Announce, Message, Over, decode_frame, payload_digest
from secagg.wire.header import read_header
from secagg_protocols.secagg.messages import KeyList

ROOT = Path(__file__).parents[2]
PLAN = plan(clients=100, fields={"update": Integer(20, 1000)}, protocol="secagg+")
NONCE, PAYLOAD = bytes(range(16)), b"the task"
ME = PartyId(7)
VALUES = list(range(-10, 10))
LARGEST = 6_000
"""Bytes of a blob."""
SHARE_KEYS, MASKED_INPUT, UNMASK_ANSWER, ABORT = 3, 5, 7, 8


FORKING = """
import io, json, os, sys
import carried_client
from secagg import selftest
from secagg.mask import add_streams
selftest.passed()
for line in sys.stdin:
    children = []
    for argv, call, path in json.loads(line):
        child = os.fork()
        if not child:
            sys.argv, sys.stdin = argv, io.StringIO(json.dumps(call))
            with open(path, "w") as sys.stdout, open(path + "-warned", "w") as sys.stderr:
                carried_client.main()
            os._exit(0)
        children.append(child)
    print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children], flush=True)
"""
"""Every call in a process of its own, of which none has to load the compiler."""


@dataclass
class Carrier:
    """The framework: it has the blobs, and may bring any."""

    folder: Path
    said: dict[int, set[bytes]] = field(default_factory=dict)
    """By tag, every message that has left in any process."""
    largest: int = 0
    forker: Any = None

    def __enter__(self) -> Carrier:
        paths = os.pathsep.join(str(ROOT / part) for part in (".", "protocols", "examples"))
        self.forker = subprocess.Popen(
            [sys.executable, "-c", FORKING],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": paths},
        ).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.forker.__exit__(None, None, None)

    def call(self, frame: bytes, blob: str = "", values: Sequence[int] = VALUES) -> dict[str, Any]:
        return self.race(frame, blob, values)[0]

    def race(self, frame: bytes, blob: str, *inputs: Sequence[int]) -> list[dict[str, Any]]:
        """The same call for each of these inputs, in as many processes at once."""
        paths = [self.folder / f"answer-{number}" for number in range(len(inputs))]
        head = ["carried_client.py", str(self.folder / "ledger.db"), PLAN.digest().hex()]
        call = {"blob": blob, "frame": frame.hex(), "task": PAYLOAD.hex()}
        calls = [
            ([*head, ",".join(map(str, values))], call, str(path))
            for values, path in zip(inputs, paths, strict=True)
        ]
        self.forker.stdin.write(json.dumps(calls) + "\n")
        self.forker.stdin.flush()
        assert json.loads(self.forker.stdout.readline()) == [0] * len(inputs)
        return [self._heard(path) for path in paths]

    def _heard(self, path: Path) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(path.read_text())
        answer["refused"] = "no answer leaves" in Path(f"{path}-warned").read_text()
        for tag, data in _messages(answer).items():
            self.said.setdefault(tag, set()).add(data)
        self.largest = max(self.largest, len(answer["blob"]) // 2)
        return answer


class Worlds:
    """Three servers that hear the same, until one misses a client in U1, and one in U3."""

    def __init__(self) -> None:
        self.missing = {1: PartyId(11)}
        digest = payload_digest(PAYLOAD)
        self.servers = [Server(PLAN, nonce=NONCE, payload_digest=digest) for _ in range(3)]
        self.others = {
            PartyId(i): Client(PLAN, PartyId(i), nonce=NONCE, payload_digest=digest)
            for i in range(100)
            if i != ME
        }
        for server in self.servers:
            server.start()
        for party, client in self.others.items():
            client.start()
            client.set_input({"update": _values(party)}, payload_digest=digest)

    def step(self, mine: bytes | None) -> list[bytes]:
        """The others and this client answer; each server closes. What each then says to me."""
        for party, machine in self.others.items():
            for out in machine.outgoing():
                self._hear(party, out.data)
        if mine is not None:
            self._hear(ME, mine)
        return [self._close(number, server) for number, server in enumerate(self.servers)]

    def _hear(self, party: PartyId, data: bytes) -> None:
        for number, server in enumerate(self.servers):
            early = server.phase == ("advertise-keys", "advertise-keys", "masked-input")[number]
            missed = early and self.missing.get(number) == party
            if not missed and not server.done:
                server.receive(party, data)

    def _close(self, number: int, server: Server) -> bytes:
        if not server.done:
            server.close_phase()
        mine = b""
        for out in server.outgoing():
            if out.to == ME:
                mine = out.data
            elif not number:
                self.others[out.to].receive(SERVER, out.data)
        return Message(NONCE, mine).encode()


def _values(party: PartyId) -> list[int]:
    return [(31 * party + 7 * i) % 2001 - 1000 for i in range(20)]


def _neighbour(keys: bytes) -> PartyId:
    """Somebody whose absence is another question to this client. Everybody is in U1."""
    reader = Reader(keys[HEAD_SIZE:])
    read_header(reader)
    return PartyId(min(KeyList.read(reader, 100, 99).keys))


def _messages(answer: dict[str, Any]) -> dict[int, bytes]:
    frames = (decode_frame(bytes.fromhex(one), limit=1 << 20) for one in answer["frames"])
    return {frame.data[2]: frame.data for frame in frames if isinstance(frame, Message)}


def _message(answer: dict[str, Any]) -> bytes:
    (message,) = _messages(answer).values()
    return message


def _is_spent(answer: dict[str, Any]) -> bool:
    """Nothing but that it goes leaves this client, and that for a claim."""
    return answer["refused"] and set(_messages(answer)) <= {ABORT}


def test_a_carried_client_never_has_two_wordings(tmp_path: Path) -> None:
    """Rows 26, 30 and 98; specs/03-storage.md §3. Put back before each answer and asked the same,
    then otherwise: another key list, another input, another survivor set."""
    worlds = Worlds()
    with Carrier(tmp_path) as carrier:
        announce = Announce(NONCE, ME, (60_000,) * 4, PLAN.encode(), PAYLOAD).encode()
        now = carrier.call(announce)
        assert list(carrier.said) == [1]
        keys, other_keys, _ = worlds.step(_message(now))

        worlds.missing[2] = _neighbour(keys)

        # dealt shares: nothing of a list that came twice is dealt twice
        before = now["blob"]
        now = carrier.call(keys, before)
        for frame in (keys, other_keys):
            again = carrier.call(frame, before)
            assert _is_spent(again), "no share leaves under a key and nonce that have sealed"
        shares, _, _ = worlds.step(_message(now))

        # the masked input: two processes at once, of which one has another input
        before = now["blob"]
        answers = carrier.race(shares, before, VALUES, [1] * 20)
        won = [answer for answer in answers if MASKED_INPUT in _messages(answer)]
        assert len(won) == 1
        mine = VALUES if won[0] is answers[0] else [1] * 20
        now = carrier.call(shares, before, mine)
        assert _message(now) == _message(won[0]), "asked the same, it says the same"
        other = carrier.call(shares, before, [2] * 20)
        assert _is_spent(other)
        survivors, _, other_survivors = worlds.step(_message(now))

        # the unmask answer
        before = now["blob"]
        now = carrier.call(survivors, before)
        assert _message(carrier.call(survivors, before)) == _message(now)
        assert _is_spent(carrier.call(other_survivors, before))
        worlds.step(_message(now))

        for tag in (SHARE_KEYS, MASKED_INPUT, UNMASK_ANSWER):
            assert len(carrier.said[tag]) == 1
        assert 3_000 < carrier.largest <= LARGEST
        server = worlds.servers[0]
        for job in server.jobs():
            server.finish(job, job())
        total = server.aggregate()
        everybody = [mine, *(_values(party) for party in worlds.others)]
        assert total.sum["update"].tolist() == [
            sum(column) for column in zip(*everybody, strict=True)
        ]

        over = Over(NONCE, None, 100, 0).encode()
        end = carrier.call(over, now["blob"])
        assert end["included"] and not end["blob"]
        for frame in (shares, over):
            assert "session has ended" in carrier.call(frame, before)["why"]
