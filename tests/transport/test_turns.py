"""Handshakes that came together: one each time that the loop goes round, addresses in turn."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from secagg.drive.listening import listen
from secagg.rounds.doors import Doors
from secagg.transport.doorkeeper import AT_ONCE, Doorkeeper, Entrance
from secagg.transport.turns import Turns
from tests.authority import Authority
from tests.transport.strangers import SOON, echo, until


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.made(tmp_path)


async def test_addresses_have_their_turns_whatever_was_first() -> None:
    turns, done = Turns(), list[str]()
    for number in range(50):
        turns.add("crowd", lambda number=number: done.append(f"crowd {number}"))  # type: ignore[misc]
    turns.add("honest", lambda: done.append("honest"))
    assert done == [], "never at once"
    await until(lambda: len(done) == 51)
    assert done[:3] == ["crowd 0", "honest", "crowd 1"]
    assert done[2:] == [f"crowd {number}" for number in range(1, 50)], "and each in its order"


async def test_between_two_of_them_the_loop_does_what_else_there_is() -> None:
    turns, done, others = Turns(), 0, list[int]()

    def step() -> None:
        nonlocal done
        done += 1

    for _ in range(10):
        turns.add("crowd", step)
    while done < 10:
        await asyncio.sleep(0)
        others.append(done)
    assert others == list(range(1, 11)), "one, and then whoever else waits"


async def test_who_comes_later_waits_behind_one_of_each_address() -> None:
    turns, done = Turns(), list[str]()

    def again() -> None:
        """It steps, and comes again, as a second flight does."""
        done.append("crowd")
        if len(done) < 20:
            turns.add("crowd", again)

    turns.add("crowd", again)
    await until(lambda: len(done) > 3)
    turns.add("honest", lambda: done.append("honest"))
    at = len(done)
    await until(lambda: "honest" in done)
    assert done.index("honest") <= at + 1


async def test_a_handshake_waits_for_its_turn_and_who_goes_meanwhile_has_none(
    authority: Authority, monkeypatch: Any
) -> None:
    held: list[Any] = []
    monkeypatch.setattr(Entrance, "in_turn", lambda self, step: held.append(step))
    context = authority.client()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with (
        asyncio.timeout(SOON),
        listen(echo, tls=authority.issued("127.0.0.1").load()) as port,
    ):
        opening = asyncio.open_connection("127.0.0.1", port, ssl=context)
        task = asyncio.create_task(opening)
        await until(lambda: held)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        first = held.pop()
        await asyncio.sleep(0.02)
        first()  # of one that is gone: nothing, and no error
        task = asyncio.create_task(asyncio.open_connection("127.0.0.1", port, ssl=context))
        while not task.done():
            await asyncio.sleep(0.001)
            if held:
                held.pop()()
        _, writer = await task
        writer.close()


async def test_who_waits_behind_many_is_met_with_them(monkeypatch: Any) -> None:
    """Not one for each time that the loop goes round, in the order of the system's queue."""
    met: list[str] = []
    opened = Doors.opened

    def counted(self: Doors, link: Any, address: str, now: float, *, tls: bool = False) -> None:
        met.append(address)
        opened(self, link, address, now, tls=tls)

    monkeypatch.setattr(Doors, "opened", counted)
    async with asyncio.timeout(SOON), listen(echo) as port:
        sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(2 * AT_ONCE)]
        rounds = 0
        while len(met) < len(sockets):
            await asyncio.sleep(0)
            rounds += 1
        assert rounds < AT_ONCE
        for one in sockets:
            one.close()


async def test_a_timer_that_is_due_at_once_need_not_know_when(monkeypatch: Any) -> None:
    """uvloop gives a plain handle for it."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(
        loop, "call_later", lambda seconds, call, *more: loop.call_soon(call, *more)
    )
    keeper = Doorkeeper(Doors(), socket.create_server(("127.0.0.1", 0)), lambda entrance: None)  # type: ignore[arg-type,return-value]
    one, other = Entrance(keeper, "one"), Entrance(keeper, "other")
    for entrance in (one, other):
        keeper.doors.opened(entrance, entrance.address, 0.0)
        keeper.act()
        keeper._wake_at(-1.0)
    await until(lambda: one.ended and other.ended)
    keeper.close()
    keeper._listener.close()
