"""The client process: its orders, its notes, and its death right before a message leaves."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from secagg.demo.client import MortalLink, Orders
from secagg.demo.folder import Folder
from secagg.demo.model import LENGTH, Samples
from secagg.demo.task import Task
from secagg.errors import InputError, TrailingBytes, Truncated
from secagg.fields import Integer
from secagg.plans.choose import plan
from secagg.transport import memory
from secagg.types import PartyId
from secagg.wire.frame import Announce, DigestOnly, Message

AGREED = plan(clients=4, fields={"update": Integer(3, 9)}, corrupt=0, protocol="secagg")
NONCE = bytes(16)


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    return Orders(
        client=3,
        url="ws://127.0.0.1:1",
        plan_digest=AGREED.digest(),
        folder=Folder(tmp_path),
        seed=7,
        deaths=frozenset({(2, "masked-input"), (10, "unmask")}),
    )


def test_orders_survive_the_command_line(orders: Orders) -> None:
    assert Orders.parse(orders.arguments()) == orders
    alive = replace(orders, deaths=frozenset())
    assert Orders.parse(alive.arguments()) == alive


def test_a_task_survives_the_wire_and_nothing_else_is_one() -> None:
    task = Task(3, np.linspace(-1, 1, LENGTH))
    data = task.encode()
    back = Task.decode(data)
    assert back.round == 3 and back.model.tolist() == task.model.tolist()
    assert back.model.flags.writeable
    with pytest.raises(Truncated):
        Task.decode(data[:-1])
    with pytest.raises(TrailingBytes):
        Task.decode(data + b"\0")
    for nothing in (None, DigestOnly(bytes(32))):
        with pytest.raises(InputError):
            Task.decode(nothing)


def test_the_folder_gives_back_what_was_put(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put_samples(1, Samples(np.eye(2), np.array([4, 5])))
    assert folder.samples(1).images.tolist() == np.eye(2).tolist()
    assert folder.samples(1).labels.tolist() == [4, 5]
    folder.put_update(2, 1, np.arange(3.0))
    assert folder.update(2, 1).tolist() == [0, 1, 2]
    for round, client, party in ((1, 4, 0), (1, 2, 13), (11, 5, 6)):
        folder.put_party(round, client, PartyId(party))
    assert folder.clients(1) == {0: 4, 13: 2}
    assert folder.clients(11) == {6: 5}
    assert folder.clients(2) == {}


class Killed(Exception):
    pass


async def until_death(orders: Orders, round: int, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The messages that reached the server before the client died, or all four."""

    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (os.getpid(), signal.SIGKILL)
        raise Killed

    monkeypatch.setattr(os, "kill", kill)
    server, theirs = memory.pair()
    client = MortalLink(theirs, orders)
    task = Task(round, np.zeros(LENGTH)).encode()
    await server.send(Announce(NONCE, PartyId(1), (1,) * 4, AGREED.encode(), task).encode())
    await client.receive()
    try:
        for i in range(4):
            await client.send(Message(NONCE, b"%d" % i).encode())
    except Killed:
        pass
    await client.close()
    received = []
    with pytest.raises(Exception, match="closed"):
        async with asyncio.timeout(5):
            while True:
                received.append(await server.receive())
    return received


@pytest.mark.parametrize(("round", "sent"), [(1, 4), (2, 2), (10, 3), (3, 4)])
async def test_it_dies_before_the_message_of_its_phase(
    orders: Orders, round: int, sent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(await until_death(orders, round, monkeypatch)) == sent
    assert orders.folder.clients(round) == {1: 3}
