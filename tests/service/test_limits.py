"""Limits of a service as those meet them who pass one: over TLS, at its door.

What a limit is, unit by unit, is in tests/rounds/test_doors.py, test_quota.py and
tests/transport/test_strangers.py; that [limits] reaches them is in test_reloading.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from secagg.errors import LinkClosed, TransportError
from secagg.rights import ServiceRole
from secagg.rounds.reception import as_caller
from secagg.service.config import Config
from secagg.service.serving import Serving, opened
from secagg.service.trial import TRIAL
from secagg.service.web import trust
from secagg.transport.base import Link
from secagg.transport.door import LINK
from secagg.transport.websocket import connect
from tests.service.place import TASK, Place, enrol, seed
from tests.service.test_counted import refused


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path / "service")


def within(config: Config, **limits: int) -> Config:
    return replace(config, limits=replace(config.limits, **limits))


async def link_to(serving: Serving) -> Link:
    url = serving.url.replace("https://", "wss://", 1) + LINK
    return await connect(url, tls=trust(serving.config.state.parent / "tls" / TRIAL))


async def greeted(serving: Serving, number: int) -> Link:
    """Of a site that is known."""
    link = await link_to(serving)
    script = as_caller(serving.service, ServiceRole.CLIENT, TASK, seed(number))
    await link.send(next(script))
    for _ in range(2):
        try:
            await link.send(script.send(await link.receive()))
        except StopIteration:
            break
    await until(lambda: serving.paced.tasks[TASK].candidates == 1)
    return link


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def ended(link: Link) -> LinkClosed:
    async with asyncio.timeout(20):
        with pytest.raises(LinkClosed) as gone:
            while True:
                await link.receive()
    return gone.value


async def test_79_who_is_in_no_round_has_nothing_large_to_say(place: Place) -> None:
    """Also where it is known: it is cut by the length that it announces, with 1009."""
    async with opened(place.config()) as serving:
        await enrol(serving, 1)
        link = await greeted(serving, 1)
        await link.send(b"x" * (serving.config.limits.stranger_message + 1))
        assert "1009" in str(await ended(link))
        assert refused(serving) == {"too-large": 1}
        link = await greeted(serving, 1)
        await link.send(b"x" * serving.config.limits.stranger_message)
        assert "1009" not in str(await ended(link)), "it is read, and is no message of ours"
        assert refused(serving) == {"too-large": 1, "other": 1}


async def test_69_where_all_links_are_taken_the_next_hears_so_at_once(place: Place) -> None:
    """503 with Retry-After before anything of it is read, within a second; who has its place keeps
    it, and a place that is free is somebody's again."""
    async with opened(within(place.config(), links=1)) as serving:
        await enrol(serving, 1)
        link = await greeted(serving, 1)
        begun = time.monotonic()
        with pytest.raises(TransportError, match="503"):
            await link_to(serving)
        assert time.monotonic() - begun < 1.0
        assert refused(serving) == {"full": 1}
        assert serving.paced.tasks[TASK].candidates == 1
        await link.close()
        await until(lambda: serving.paced.tasks[TASK].candidates == 0)
        await (await greeted(serving, 1)).close()


async def test_69_the_oldest_stranger_hears_that_it_may_come_again(place: Place) -> None:
    """1013, where it has a WebSocket already."""
    async with opened(within(place.config(), strangers=2)) as serving:
        strangers = [await link_to(serving) for _ in range(3)]
        assert "1013" in str(await ended(strangers[0]))
        assert refused(serving)["full"] >= 1
        for link in strangers[1:]:
            await link.close()
