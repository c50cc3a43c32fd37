"""Services that ask each link who it is, behind a door that has places for strangers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from secagg.drive.arrival import Arriving
from secagg.drive.listening import listen
from secagg.drive.service import Service
from secagg.rounds.quota import Limits
from secagg.transport.base import Link
from tests.drive.test_enrolled import SERVER, identity, signed
from tests.transport.strangers import SOON, ended, raw


class Noted:
    """A link that has heard so often what its far end is."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def stranger(self, unknown: bool) -> None:
        self.said.append(unknown)

    async def send(self, data: bytes) -> None:
        self.said.append(data)

    async def receive(self) -> bytes:
        self.said.append("receive")
        return b"x"

    async def close(self) -> None:
        self.said.append("close")


async def test_a_link_hears_that_its_far_end_is_known_before_it_is_read_again() -> None:
    known, link = False, Noted()
    arriving: Link = Arriving(link, lambda: known)
    assert await arriving.receive() == b"x"
    await arriving.send(b"y")
    known = True
    assert link.said == [True, "receive", b"y"]
    await arriving.receive()
    await arriving.close()
    assert link.said[3:] == [False, "receive", "close"]


@pytest.mark.parametrize(
    ("limits", "said", "why"),
    [
        (Limits(hello=0.05), b"", "the handshake took more than 0.05 seconds"),
        (
            Limits(hello=1e6, stranger=200),
            b"\x82\xfe" + (201).to_bytes(2) + bytes(4),
            "a message of 201 bytes, and it has not said who it is",
        ),
    ],
    ids=["nothing", "too much"],
)
async def test_row_68_whoever_does_not_say_who_it_is_has_no_link_for_long(
    tmp_path: Path, limits: Limits, said: bytes, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    with identity(tmp_path, SERVER) as own:
        service = Service(roster=signed(), identity=own, limits=limits)
        async with (
            asyncio.timeout(SOON),
            listen(service.on_link, limits=limits) as port,
            raw(port) as one,
        ):
            await asyncio.get_running_loop().sock_sendall(one, said)
            await ended(one)
            await service.close()
    assert why in caplog.text


async def test_row_69_it_has_a_stranger_s_place_meanwhile(tmp_path: Path) -> None:
    limits = Limits(hello=1e6, passing=1)
    with identity(tmp_path, SERVER) as own:
        service = Service(roster=signed(), identity=own, limits=limits)
        async with (
            asyncio.timeout(SOON),
            listen(service.on_link, limits=limits) as port,
            raw(port) as first,
            raw(port, upgraded=False),
        ):
            await ended(first)
            await service.close()
