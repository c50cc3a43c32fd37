"""The numbers of a service that runs: what moves them, and that none says who."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from secagg.drive.participant import Participant
from secagg.errors import InputError, LinkClosed, TransportError
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent, Contribution
from secagg.service.attending import Caller, trust
from secagg.service.clerk import Clerk
from secagg.service.metrics import KINDS
from secagg.service.serving import Serving, opened
from secagg.service.trial import TRIAL
from secagg.transport.base import Link
from secagg.transport.door import LINK
from secagg.transport.websocket import connect
from secagg.watch import Refused
from tests.service.place import LEAST, LENGTH, MOST, TASK, TERMS, Place, attend, enrol, name, seed
from tests.service.place import site as site_of


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path / "service")


def samples(serving: Serving) -> dict[str, float]:
    families = text_string_to_metric_families(Clerk(serving).numbers().decode())
    return {
        one.name + "".join(f",{k}={v}" for k, v in sorted(one.labels.items())): one.value
        for family in families
        for one in family.samples
        if not one.name.endswith("_created")
    }


def refused(serving: Serving) -> dict[str, float]:
    """By why; those of which there was none are left out."""
    begin = "secagg_refused_total,why="
    found = samples(serving).items()
    return {key.removeprefix(begin): value for key, value in found if key.startswith(begin)}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def link_to(serving: Serving) -> Link:
    url = serving.url.replace("https://", "wss://", 1) + LINK
    return await connect(url, tls=trust(serving.config.state.parent / "tls" / TRIAL))


async def misfit(serving: Serving, number: int) -> None:
    """A site whose input does not fit: it says so, and is out of the round."""
    caller = Caller(site_of(serving, number), seed(number))
    much = Contribution({"update": np.full(LENGTH, 10**6)})
    rounds = ClientRounds(Consent(terms=TERMS))
    participant = Participant(rounds, lambda offer: much, most=1, around=caller.around)
    with pytest.raises((InputError, TransportError)):
        await caller.stay(participant, 1, timeout=0.1)


async def test_a_round_moves_the_numbers(place: Place) -> None:
    """Of a round of five, one of whom is dropped."""
    async with opened(place.config(MOST)) as serving:
        for number in range(1, MOST + 1):
            await enrol(serving, number)
        before = samples(serving)
        assert before["secagg_links,state=seated"] == 0
        sites = [asyncio.create_task(attend(serving, number)) for number in range(1, LEAST + 1)]
        await until(lambda: samples(serving)["secagg_links,state=candidate"] == LEAST)
        sites.append(asyncio.create_task(misfit(serving, MOST)))  # type: ignore[arg-type]
        await until(lambda: bool(serving.books.results.all()))
        async with asyncio.timeout(20):
            await asyncio.gather(*sites)
        after = samples(serving)
        assert after[f"secagg_rounds_total,outcome=done,task={TASK}"] == 1
        (dropped,) = (key for key in after if key.startswith("secagg_dropped_total"))
        assert after[dropped] == 1 and ",fault=bad-input," in dropped
        phase = dropped.partition(",phase=")[2].partition(",")[0]
        assert phase in TERMS.plan(MOST, MOST).phase_names
        for kind in KINDS.keys() - {"refused"}:  # of whom there was none
            assert any(key.startswith(f"secagg_{kind}") for key in after), kind
        assert after["secagg_handshake_seconds_count"] == MOST
        assert after["secagg_bytes_total,direction=in"] > MOST * 500
        assert after["secagg_bytes_total,direction=out"] > MOST * 500
        assert after["secagg_commit_seconds_count"] > before["secagg_commit_seconds_count"] > 0
        assert after["secagg_buffered_bytes"] == 0
        text = Clerk(serving).numbers().decode()
        for number in range(1, MOST + 1):
            assert name(number) not in text and seed(number).expose().hex() not in text
        for entry in serving.books.admissions.entries.values():
            assert entry.key.hex() not in text
        assert "127.0.0.1" not in text and "link 1" not in text


async def test_each_refusal_is_counted_by_why(place: Place) -> None:
    """Those of the doors alone are in tests/rounds/test_doors.py."""
    async with opened(place.config()) as serving:
        port = serving.ports[0]
        assert refused(serving) == {}
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")  # no TLS
        await until(lambda: refused(serving) == {"tls": 1})
        writer.close()
        link = await link_to(serving)
        await link.send(b"collect me")
        with pytest.raises(LinkClosed):
            await link.receive()
        with pytest.raises(TransportError):
            await attend(serving, 1, timeout=0.1)
        found = refused(serving)
        assert (found["greeting"], found["role"]) == (1, found["role"]) and found["role"] >= 1
        context = ssl.create_default_context(cafile=place.folder / "tls" / TRIAL)
        async with httpx.AsyncClient(verify=context, base_url=serving.url) as client:
            for _ in range(12):
                await client.post("/v1/enrol", content=b"x")
        assert refused(serving)["rate"] == 2
        assert set(refused(serving)) <= set(Refused)
