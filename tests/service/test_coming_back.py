"""A client of a service comes back to its round, over TLS (specs/50-service.md §2.10)."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from secagg.rounds.offer import Contribution, Offer
from secagg.service import audit
from secagg.service.results import unpacked
from secagg.service.serving import COPY, opened
from secagg.service.site import Site
from tests.processes.fleet import Commands
from tests.service.place import LEAST, LENGTH, Place, call, enrol, given, site
from tests.soak import SOAK

FILE = """
[tasks.mortality]
plan = "mortality.task"
clients = {{ min = {0}, target = {0} }}
deadlines = {{ default = "30s" }}
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Commands]:
    with closing(Commands(tmp_path)) as commands:
        yield commands


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


async def sites(place: Place, port: int) -> dict[int, Site]:
    """Enrolled ones of the service that will listen there."""
    config = place.config()
    config = replace(config, listen=replace(config.listen, port=port))
    async with opened(config) as serving:
        for number in range(1, LEAST + 1):
            await enrol(serving, number)
        return {number: site(serving, number) for number in range(1, LEAST + 1)}


async def test_row_90_a_server_killed_amid_masked_inputs_has_the_sum_over_all(
    tmp_path: Path, start: Commands
) -> None:
    """With SIGKILL: two inputs were there, the others come to the next process."""
    place, port = Place.made(tmp_path / "service"), free_port()
    found = await sites(place, port)
    config = place.folder / "service.toml"
    text = config.read_text().replace("0.0.0.0:443", f"127.0.0.1:{port}")
    config.write_text(text + FILE.format(LEAST))
    server = start("serve", "--config", config)
    asked, more = asyncio.Semaphore(0), asyncio.Event()

    async def inputs(offer: Offer, number: int) -> Contribution:
        asked.release()
        if number > 2:
            await more.wait()
        return given(number)

    async def one(number: int) -> bool | None:
        (outcome,) = await call(found[number], number, lambda offer: inputs(offer, number))
        return outcome.included

    async with asyncio.timeout(60):
        attending = [asyncio.create_task(one(number)) for number in found]
        for _ in found:
            await asked.acquire()
        await asyncio.sleep(0.5)  # until the two inputs have come
        for _ in range(3 if SOAK else 1):
            server.signal(signal.SIGKILL)
            assert await asyncio.to_thread(server.wait) == -signal.SIGKILL
            server = start("serve", "--config", config)
            await asyncio.sleep(0.2)
        more.set()
        assert await asyncio.gather(*attending) == [True] * LEAST
    server.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.wait) == 0
    async with opened(place.config()) as again:
        (result,) = again.books.results.all()
        kept = unpacked(again.arrays_of(result.nonce))
    assert result.contributors == LEAST and result.dropped == 0
    lines = audit.read((place.folder / "state" / COPY).read_text())
    assert [line.deed.value for line in lines].count("opened") == 1, "it is one round"
    assert kept["sum.update"].tolist() == [sum(found)] * LENGTH
