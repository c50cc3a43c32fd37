"""The stream of events of a console, over HTTP (rules W7 and W8 of specs/51-admission.md)."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from secagg.rounds.quota import Limits
from secagg.service import events
from secagg.service.askers import Asker
from secagg.service.serving import Serving, opened
from tests.service.place import LEAST, TASK, TERMS, Place, attend, enrol, name
from tests.service.visits import (
    OPERATOR,
    VIEWER,
    ask,
    base,
    bearer,
    cookie,
    enter,
    log_in,
    owner,
    visit,
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path / "service")


@dataclass
class Told:
    number: int
    event: str
    data: Any


@asynccontextmanager
async def stream(
    serving: Serving, headers: dict[str, str]
) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[Told]]]:
    async with httpx.AsyncClient(verify=False, base_url=base(serving), timeout=20) as client:
        async with client.stream("GET", "/v1/events", headers=headers) as answer:
            yield answer, _told(answer)


async def _told(answer: httpx.Response) -> AsyncIterator[Told]:
    """Comments are an event of no name."""
    one = Told(0, "", None)
    async for line in answer.aiter_lines():
        word, _, rest = line.partition(": ")
        if not line:
            yield one
            one = Told(0, "", None)
        elif word == "id":
            one.number = int(rest)
        elif word == "event":
            one.event = rest
        elif word == "data":
            one.data = json.loads(rest)


async def until(told: AsyncIterator[Told], wanted: Any) -> Told:
    async with asyncio.timeout(30):
        async for one in told:
            if wanted(one):
                return one
    raise AssertionError("the stream has ended")


KEYS = {"service", "version", "at", "role", "may", "ready", "reasons", "draining", "tasks"}
TASK_KEYS = {"name", "state", "guarantee", "min", "target", "candidates", "enrolled", "next"}
ROUND_KEYS = {"round", "phase", "phases", "left", "bytes_in", "bytes_out", "asked", "sent", "owe"}


async def test_rule_w7_a_round_is_seen_from_nobody_to_its_result(place: Place) -> None:
    """By an operator with the names of its clients, and by a viewer without."""
    async with opened(place.config(), "0.1.0") as serving:
        seers = {one: await visit(serving, one.word, one) for one in (OPERATOR, VIEWER)}
        seen: dict[Any, list[Any]] = {OPERATOR: [], VIEWER: []}

        async def look(who: Any) -> None:
            async with stream(serving, seers[who]) as (_, told):
                async for one in told:
                    if one.event == "state":
                        seen[who].append(one)
                        if one.data["results"]:
                            return

        looking = [asyncio.create_task(look(who)) for who in seers]
        async with asyncio.timeout(30):
            while not all(seen.values()):
                await asyncio.sleep(0.01)
            for number in range(1, LEAST + 1):
                await enrol(serving, number)
            await asyncio.gather(*(attend(serving, n) for n in range(1, LEAST + 1)))
            await asyncio.gather(*looking)
    for who, told in seen.items():
        first, last = told[0].data, told[-1].data
        assert first.keys() == KEYS | {"results"}
        assert (first["service"], first["version"], first["role"]) == (
            "localhost",
            "0.1.0",
            who.word,
        )
        assert {"page", "counts"} <= set(first["may"]) and "results" not in first["may"]
        assert (first["ready"], first["draining"], first["results"]) == (True, False, [])
        (before,), (after,) = first["tasks"], last["tasks"]
        assert before.keys() == TASK_KEYS | {"failures", "held", "round", "last"}
        assert (before["state"], before["enrolled"], before["last"]) == ("empty", 0, None)
        assert (before["min"], before["target"], before["next"]) == (LEAST, LEAST, 0.0)
        assert len(before["guarantee"]) > 3
        (result,) = last["results"]
        assert after["last"] == {
            "round": result["round"],
            "at": result["at"],
            "outcome": "done",
            "contributors": LEAST,
            "why": None,
            "do": None,
        }
        assert result["nonce"][:8] == result["round"] and result["waiting"]
        assert (result["task"], result["contributors"]) == (TASK, LEAST)
        numbers = [one.number for one in told]
        assert numbers == sorted(set(numbers))
        rounds = [one.data["tasks"][0]["round"] for one in told if one.data["tasks"][0]["round"]]
        for one in rounds:
            assert one.keys() - {"clients"} == ROUND_KEYS | {"dropped"}
            assert one["asked"] == one["sent"] + one["owe"] + one["dropped"] == LEAST
            assert ("clients" in one) is (who is OPERATOR)
        text = json.dumps([one.data for one in told])
        assert (name(1) in text) is (who is OPERATOR and bool(rounds))


async def test_rule_w7_the_newest_number_hears_nothing_until_something_changes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(place.config()) as serving:
        who = await visit(serving, "viewer", VIEWER)
        async with stream(serving, who) as (answer, told):
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            first = await until(told, lambda one: one.event == "state")
        async with stream(serving, who | {"last-event-id": str(first.number)}) as (_, told):
            assert (await anext(told)).event == ""  # it hears that the service is there
            await ask(
                serving, "POST", "/v1/register", {"do": "pause", "name": TASK}, owner(serving)
            )
            second = await until(told, lambda one: one.event == "state")
        assert second.number > first.number
        assert second.data["tasks"][0]["state"] == "paused"
        assert "resume" in second.data["tasks"][0]["held"]
        async with stream(serving, who | {"last-event-id": str(first.number)}) as (_, told):
            assert (await anext(told)).number >= second.number
    async with opened(place.config()) as again:
        async with stream(again, bearer(await enter(again, "viewer", VIEWER))) as (_, told):
            assert (await anext(told)).number > second.number + 1000


async def test_rule_w7_who_hears_nothing_hears_that_the_service_is_there(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "ALIVE", 0.5)
    async with opened(place.config()) as serving:
        async with stream(serving, await visit(serving, "viewer", VIEWER)) as (_, told):
            assert (await anext(told)).event == "state"
            async with asyncio.timeout(3):
                assert (await anext(told)) == Told(0, "", None)


@pytest.mark.parametrize("how", ["revoked", "signed out", "stopping"])
async def test_78_rules_w2_w7_a_stream_ends_with_its_session(how: str, place: Place) -> None:
    """Within a second."""
    async with opened(place.config()) as serving:
        who = await visit(serving, "viewer", VIEWER)
        word = await log_in(serving, who)
        async with stream(serving, cookie(word, serving)) as (_, told):
            assert (await anext(told)).event == "state"
            begun = asyncio.get_running_loop().time()
            if how == "revoked":
                asked = {"do": "revoke", "name": "viewer"}
                await ask(serving, "POST", "/v1/register", asked, owner(serving))
            elif how == "signed out":
                status, _ = await ask(serving, "POST", "/v1/logout", None, cookie(word, serving))
                assert status == 204
            else:
                serving.watching.stop()
            end = await until(told, lambda one: one.event == "end")
            assert asyncio.get_running_loop().time() - begun < 1.0
            assert end.data == {"why": "stopping" if how == "stopping" else "signed-out"}
            assert [one async for one in told] == []


async def test_rule_w8_no_more_viewers_than_there_may_be(place: Place) -> None:
    """[limits] viewers."""
    config = place.config()
    config = replace(config, limits=replace(config.limits, viewers=2))
    async with opened(config) as serving:
        who = owner(serving)
        async with stream(serving, who) as (_, first), stream(serving, who) as (_, second):
            await anext(first)
            await anext(second)
            async with stream(serving, who) as (answer, _):
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        async with asyncio.timeout(5):
            while serving.watching.here:
                await asyncio.sleep(0.01)
        async with stream(serving, who) as (answer, told):
            assert (await anext(told)).event == "state"


async def test_rule_w8_nobody_takes_all_places(place: Place) -> None:
    """Half of them are for others, whatever one key does; and none for ever."""
    config = place.config()
    config = replace(config, limits=replace(config.limits, viewers=4))
    async with opened(config) as serving:
        who, other = await visit(serving, "looker", VIEWER), await visit(serving, "op", OPERATOR)
        async with stream(serving, who) as (_, first), stream(serving, who) as (_, second):
            await anext(first)
            await anext(second)
            async with stream(serving, who) as (answer, _):
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
            async with stream(serving, other) as (_, told):
                assert (await anext(told)).data["role"] == "operator"
        async with asyncio.timeout(5):
            while serving.watching.here:
                await asyncio.sleep(0.01)
        async with stream(serving, who) as (_, told):
            assert (await anext(told)).event == "state"


async def test_a_number_that_is_none_has_the_newest_state(place: Place) -> None:
    async with opened(place.config()) as serving:
        for seen in ("9" * 5000, "-1", "x", "0x10"):
            headers = owner(serving) | {"last-event-id": seen}
            async with stream(serving, headers) as (answer, told):
                assert answer.status_code == 200 and (await anext(told)).event == "state"


async def test_rule_w8_no_more_states_a_second_than_there_may_be(place: Place) -> None:
    """[limits] events."""
    config = place.config()
    config = replace(config, limits=replace(config.limits, events=2))
    async with opened(config) as serving:
        async with stream(serving, owner(serving)) as (_, told):
            await anext(told)

            async def change() -> None:
                while True:
                    serving.rounds.paced.tasks[TASK].failures += 1
                    serving.watching.news()
                    await asyncio.sleep(0.01)

            changing = asyncio.create_task(change())
            begun = asyncio.get_running_loop().time()
            states = [await until(told, lambda one: one.event == "state") for _ in range(4)]
            took = asyncio.get_running_loop().time() - begun
            changing.cancel()
    assert took >= 1.5, "at most two a second"
    failures = [one.data["tasks"][0]["failures"] for one in states]
    assert failures[-1] > 60, "each is the newest, and what was between is left out"


async def test_rule_w8_who_does_not_read_costs_one_state_and_is_cut(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """States of a quarter of a megabyte, a hundred of which were due: what is kept is what its
    connection buffers, and the newest is made when there is room. Whoever reads stays."""
    monkeypatch.setattr(events, "FRESH", 0.0)
    monkeypatch.setattr("secagg.service.serving.Limits", partial(Limits, request=1.0))
    made: Counter[str] = Counter()
    text = events.Watching.text

    def counted(self: events.Watching, asker: Asker) -> str:
        made[asker.role] += 1
        return text(self, asker)

    monkeypatch.setattr(events.Watching, "text", counted)
    config = place.config()
    config = replace(config, limits=replace(config.limits, events=100))
    async with opened(config) as serving:
        monkeypatch.setitem(serving.watching.board._words, TERMS.digest(), ["x" * (256 << 10)])
        who, port = await visit(serving, "viewer", VIEWER), serving.ports[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_request(who))
        reading = asyncio.create_task(_drained(reader))
        with closing(socket.socket()) as idle:
            idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            idle.connect(("127.0.0.1", port))
            idle.sendall(_request(owner(serving)))
            for _ in range(100):
                serving.rounds.paced.tasks[TASK].failures += 1
                serving.watching.news()
                await asyncio.sleep(0.012)
            # the system has buffers of its own, of megabytes on loopback
            assert 1 <= made["owner"] <= 40 < made["viewer"]
            async with asyncio.timeout(5):
                while serving.watching.here > 1:
                    await asyncio.sleep(0.01)
        assert not reading.done()
        writer.close()
        assert await reading > 40 * (256 << 10)


def _request(headers: dict[str, str]) -> bytes:
    lines = ["GET /v1/events HTTP/1.1", "host: x", *(f"{n}: {v}" for n, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


async def _drained(reader: asyncio.StreamReader) -> int:
    size = 0
    while piece := await reader.read(1 << 20):
        size += len(piece)
    return size
