"""The console's page before a service itself: from nobody to a sum, to a service that is gone, to a
session that is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from secagg.drive.participant import Participant
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent, Contribution, Offer
from secagg.service.attending import Caller
from secagg.service.serving import Serving, opened
from secagg.store.memory import MemoryLedger
from tests.service.browser import NARROW, WIDE, Looked, looking, needed
from tests.service.place import LENGTH, TASK, TERMS, Place, enrol, name, seed, site
from tests.service.visits import ask, owner

needed()
SITES = range(4)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path / "service")


@asynccontextmanager
async def attending(serving: Serving, number: int, go: asyncio.Event) -> AsyncIterator[None]:
    """A site that is there, and has its input when it may."""

    async def inputs(offer: Offer) -> Contribution:
        await go.wait()
        return Contribution({"update": np.full(LENGTH, number, np.int64)})

    participant = Participant(
        ClientRounds(Consent(terms=TERMS)),
        inputs,
        ledger=MemoryLedger(),
        most=1,
        around=(caller := Caller(site(serving, number), seed(number))).around,
    )
    running = asyncio.create_task(caller.stay(participant, 1, timeout=60.0))
    try:
        yield
        await running
    finally:
        running.cancel()


async def signed_in(looked: Looked, serving: Serving, role: str) -> None:
    """By a link that the service's owner has made."""
    asked = {"do": "login", "role": role}
    status, said = await ask(serving, "POST", "/v1/register", asked, owner(serving))
    assert status == 200, said
    await looked.tab.goto(said["link"])
    await looked.live()


async def in_state(looked: Looked, word: str) -> None:
    await looked.tab.locator("article header .badge", has_text=word).wait_for(timeout=20_000)


@pytest.mark.parametrize(
    ("role", "scheme", "width"), [("operator", "light", WIDE), ("viewer", "dark", NARROW)]
)
async def test_from_nobody_to_a_sum_to_a_service_that_is_gone(
    role: str, scheme: str, width: int, place: Place
) -> None:
    config, go = place.config(deadlines={"default": 30.0}), asyncio.Event()
    async with looking(scheme, width) as looked:
        async with opened(config) as serving:
            await signed_in(looked, serving, role)
            await in_state(looked, "Empty")
            await looked.audit("served-empty")
            for number in SITES:
                await enrol(serving, number)
            await in_state(looked, "Waiting")
            async with attending(serving, 0, go), attending(serving, 1, go):
                await looked.shows("2 of 4")
                await looked.audit("served-waiting")
                async with attending(serving, 2, go), attending(serving, 3, go):
                    await in_state(looked, "Running")
                    await looked.shows("Masked inputs arrive")
                    await looked.shows("4 owe, 0 dropped.")
                    names = await looked.tab.locator("tbody th").all_inner_texts()
                    assert names == (
                        [name(number) for number in SITES] if role == "operator" else []
                    )
                    await looked.audit("served-running")
                    go.set()
            await looked.shows("4 sites are in it.")
            [row] = await looked.tab.locator(".results tbody tr").all_inner_texts()
            assert "4" in row.split() and "none" in row and "not taken yet" in row
            await looked.audit("served-done")
            port = serving.ports[1]
        await looked.shows("No contact since")
        await looked.shows("4 sites are in it.")
        await looked.audit("served-gone")
        async with opened(replace(config, admin=("127.0.0.1", port))):
            await looked.shows("Your session is over", timeout=40)
            assert TASK not in await looked.tab.content()
            await looked.audit("served-over")


async def test_an_operator_has_its_way(place: Place) -> None:
    config = place.config(deadlines={"default": 30.0}, every=600.0)
    go = asyncio.Event()
    async with looking() as looked, opened(config) as serving:
        button = looked.tab.get_by_role("button")
        await signed_in(looked, serving, "operator")
        await button.get_by_text("Pause").click()
        await in_state(looked, "Paused")
        await looked.shows("Paused by an operator")
        await button.get_by_text("Resume").click()
        await in_state(looked, "Empty")
        for number in SITES:
            await enrol(serving, number)
        async with attending(serving, 0, go), attending(serving, 1, go):
            async with attending(serving, 2, go), attending(serving, 3, go):
                await in_state(looked, "Running")
                await button.get_by_text("Cancel this round").click()
                await button.get_by_text("Cancel the round").click()
                await looked.shows("It was cancelled.")
        await in_state(looked, "Waiting")
        await looked.shows("If 4 are here then.")
        await button.get_by_text("Open a round now").click()
        await looked.shows("As soon as 4 are here.")
        await button.get_by_text("Drain the service").click()
        await looked.tab.locator("#ask-yes").click()
        await in_state(looked, "Draining")
        lines = (config.state / "audit.jsonl").read_text()
        for deed in ("paused", "resumed", "cancelled", "hastened", "draining"):
            assert f'"deed":"{deed}"' in lines
