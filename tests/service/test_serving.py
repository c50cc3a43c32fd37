"""A service as its process runs it: over TLS, with sites that were enrolled.

Rules B1, B2, B3, B11 and B12 of specs/52-books.md.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from secagg.errors import StorageError, TransportError
from secagg.rounds.admissions import CONSOLE
from secagg.service import audit, results
from secagg.service.audit import Deed
from secagg.service.books import OWNER
from secagg.service.desk import TOKEN, find_token
from secagg.service.results import unpacked
from secagg.service.serving import COPY, Serving, opened
from secagg.service.trial import TRIAL
from secagg.store.sqlite import SqliteStore
from tests.service.place import LEAST, LENGTH, TASK, TERMS, Place, attend, enrol, name, seed


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path / "service")


async def round_of(serving: Serving, *numbers: int) -> list[Any]:
    async with asyncio.timeout(60):
        return await asyncio.gather(*(attend(serving, number) for number in numbers))


async def test_a_round_over_tls_with_sites_that_were_enrolled(place: Place) -> None:
    """Rule B1: its result is there, exact, when its clients hear of it."""
    out = place.folder / "out"
    out.mkdir()
    async with opened(place.config(out=out)) as serving:
        for number in range(1, LEAST + 1):
            await enrol(serving, number)
        ends = await round_of(serving, *range(1, LEAST + 1))
        assert all(one.included and one.reason is None for (one,) in ends)
        (result,) = serving.books.results.all()
        found = unpacked(serving.arrays_of(result.nonce))
    assert (result.task, result.contributors, result.dropped) == (TASK, LEAST, 0)
    assert found["sum.update"].tolist() == [sum(range(1, LEAST + 1))] * LENGTH
    (copy,) = out.iterdir()
    assert unpacked(copy.read_bytes()).keys() == found.keys()
    lines = audit.read((place.folder / "state" / COPY).read_text())
    deeds = [line.deed.value for line in lines]
    assert deeds == [
        "started",
        *["invited", "enrolled", "approved"] * LEAST,
        "opened",
        "ended",
        "stopped",
    ]
    assert lines[-3].what["terms"] == TERMS.digest().hex()[:16]


async def test_what_is_remembered_outlives_the_process(place: Place) -> None:
    """Rule B2."""
    async with opened(place.config()) as serving:
        for number in range(1, LEAST + 1):
            await enrol(serving, number)
        await round_of(serving, *range(1, LEAST + 1))
        before = serving.books.results.all(), serving.books.admissions.entries
    async with opened(place.config()) as serving:
        assert (serving.books.results.all(), serving.books.admissions.entries) == before
        await round_of(serving, *range(1, LEAST + 1))
        assert len(serving.books.results.all()) == 2


async def test_94_a_state_has_one_process(place: Place) -> None:
    async with opened(place.config()):
        with pytest.raises(StorageError, match="in use"):
            async with opened(place.config()):
                pass


async def test_95_no_round_begins_without_the_reserve_on_the_disk(place: Place) -> None:
    """It is looked at before each round, and the round begins when there is room again."""
    config = place.config()
    free = shutil.disk_usage(place.folder).free
    small, large = (replace(config.limits, disk_reserve=size) for size in (1, 2 * free))
    async with opened(replace(config, limits=large)) as serving:
        for number in range(1, LEAST + 1):
            await enrol(serving, number)
        sites = [asyncio.create_task(attend(serving, n)) for n in range(1, LEAST + 1)]
        course = serving.rounds.paced.tasks[TASK]
        async with asyncio.timeout(30):
            while not course.waits:
                await asyncio.sleep(0.01)
        _, said = await ask(serving, "GET", "/v1/status")
        assert "disk_reserve" in said["tasks"][TASK]["waits"] and not said["ready"]
        assert course.running is None and not course.asking
        serving.config = replace(config, limits=small)
        serving.rounds.paced.resume(TASK, time.monotonic())
        serving.dismiss()  # wakes the shell
        async with asyncio.timeout(60):
            ends = await asyncio.gather(*sites)
        assert all(one.included for (one,) in ends)


async def test_the_store_s_log_is_bounded_by_its_limit(place: Place) -> None:
    """[limits] wal."""
    config = place.config()
    log = place.folder / "state" / "service.db-wal"
    for wal, kept in ((1 << 20, True), (1, False)):
        async with opened(replace(config, limits=replace(config.limits, wal=wal))) as serving:
            await serving.write([serving.books.note(Deed.STARTED, OWNER, serving.unix)])
            assert bool(log.stat().st_size) == kept


async def test_97_a_damaged_store_is_not_served(place: Place) -> None:
    async with opened(place.config()) as serving:
        await enrol(serving, 1)
    path = place.folder / "state" / "service.db"
    data = bytearray(path.read_bytes())
    at = data.index(name(1).encode())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(StorageError):
        async with opened(place.config()):
            pass


@pytest.mark.parametrize("how", ["unknown", "waiting", "revoked"])
async def test_66_78_whoever_is_not_approved_has_no_link(how: str, place: Place) -> None:
    async with opened(place.config()) as serving:
        if how != "unknown":
            await enrol(serving, 1)
        if how == "revoked":
            books, now = serving.books, serving.unix
            await serving.write(books.change(books.admissions.revoke(name(1), CONSOLE), now))
        number = 2 if how == "waiting" else 1
        with pytest.raises(TransportError):
            await attend(serving, number, timeout=1.0)
        assert serving.rounds.paced.tasks[TASK].candidates == 0


async def test_whoever_is_revoked_loses_its_link_at_once(place: Place) -> None:
    async with opened(place.config()) as serving:
        await enrol(serving, 1)
        waiting = asyncio.create_task(attend(serving, 1, timeout=1.0))
        async with asyncio.timeout(30):
            while not serving.rounds.paced.tasks[TASK].candidates:
                await asyncio.sleep(0.01)
        status, _ = await ask(serving, "POST", "/v1/register", {"do": "revoke", "name": name(1)})
        assert status == 200
        assert serving.rounds.paced.tasks[TASK].candidates == 0
        with pytest.raises(TransportError):
            await waiting


async def ask(
    serving: Serving, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any]:
    """Of the console, with its token unless another is given."""
    port, token = find_token(serving.config.state)
    sent = {"authorization": f"Bearer {token}"} | headers
    async with httpx.AsyncClient(verify=False, base_url=f"http://127.0.0.1:{port}") as client:
        content = None if body is None else json.dumps(body)
        answer = await client.request(method, path, content=content, headers=sent)
    kind = answer.headers["content-type"]
    return answer.status_code, answer.json() if kind == "application/json" else answer.content


ROUTES = (
    ("GET", "/v1/status", None),
    ("GET", "/v1/results/00", None),
    ("POST", "/v1/register", {"do": "list"}),
    ("POST", "/v1/register", {"do": "invite", "name": "x", "role": "client", "tasks": [TASK]}),
    ("POST", "/v1/register", {"do": "pause", "name": TASK}),
)
STRANGE = {
    "none": {"authorization": ""},
    "wrong": {"authorization": "Bearer " + "0" * 64},
    "basic": {"authorization": "Basic " + "0" * 64},
    "a page's": {"origin": "http://127.0.0.1:8443"},
}


@pytest.mark.parametrize("who", STRANGE)
async def test_78_without_the_token_nothing_is_told_and_nothing_changes(
    who: str, place: Place
) -> None:
    """Rule B11."""
    async with opened(place.config()) as serving:
        head = serving.books.audit.head
        for method, path, body in ROUTES:
            status, said = await ask(serving, method, path, body, **STRANGE[who])
            assert (status, said) == (
                401,
                {"error": "sign in: no session that is open has sent this, or it has ended"},
            )
        assert serving.books.audit.head == head
        assert serving.rounds.paced.tasks[TASK].held is None


JUNK: dict[str, tuple[Any, int]] = {
    "no object": ([1], 400),
    "nothing": ({}, 400),
    "unknown": ({"do": "drop table"}, 400),
    "a number": ({"do": "approve", "name": 7}, 400),
    "nobody": ({"do": "approve", "name": "nobody"}, 403),
    "no role": ({"do": "invite", "name": "x", "role": "king"}, 400),
    "no task": ({"do": "invite", "name": "x", "role": "client", "tasks": ["other"]}, 400),
    "tasks as a word": ({"do": "invite", "name": "x", "role": "client", "tasks": TASK}, 400),
    "a name": ({"do": "invite", "name": "\n", "role": "client", "tasks": [TASK]}, 400),
    "no such task": ({"do": "pause", "name": "other"}, 400),
    "no result": ({"do": "remove", "name": "00"}, 400),
    "a bomb": ("[" * 10_000, 400),
    "too large": ({"do": "x" * (17 << 10)}, 413),
}


async def test_a_console_s_junk_changes_nothing(place: Place) -> None:
    async with opened(place.config()) as serving:
        head = serving.books.audit.head
        for case, (body, expected) in JUNK.items():
            status, said = await ask(serving, "POST", "/v1/register", body)
            assert status == expected, (case, said)
            assert "error" in said
        assert serving.books.audit.head == head


async def test_a_console_s_day(place: Place) -> None:
    async with opened(place.config()) as serving:

        async def done(do: str, of: str, **more: Any) -> Any:
            status, said = await ask(
                serving, "POST", "/v1/register", {"do": do, "name": of, **more}
            )
            assert status == 200, said
            return said

        made = await done("invite", "site-9", role="client", tasks=[TASK])
        assert made["code"].startswith("secagg1-")
        assert (await done("list", ""))["entries"][0]["state"] == "invited"
        await done("pause", TASK)
        _, status = await ask(serving, "GET", "/v1/status")
        assert status["tasks"][TASK]["held"] == "paused"
        await done("resume", TASK)
        _, status = await ask(serving, "GET", "/v1/status")
        assert status["tasks"][TASK]["held"] is None
        assert (await ask(serving, "GET", "/readyz"))[0] == 200
        numbers = (await ask(serving, "GET", "/metrics"))[1].decode()
        assert f'secagg_candidates{{task="{TASK}"}} 0.0' in numbers
        assert "site-9" not in numbers


async def test_results_are_listed_taken_and_removed(place: Place) -> None:
    async with opened(place.config()) as serving:
        for number in range(1, LEAST + 1):
            await enrol(serving, number)
        await round_of(serving, *range(1, LEAST + 1))
        _, said = await ask(serving, "POST", "/v1/register", {"do": "results"})
        (one,) = said["results"]
        status, data = await ask(serving, "GET", f"/v1/results/{one['number'][:6]}")
        assert status == 200
        assert np.array_equal(unpacked(data)["sum.update"], [10] * LENGTH)
        assert serving.books.results.waiting(TASK) == 1  # rule B12: what came may have been lost
        safe = {"do": "acknowledge", "name": one["number"]}
        for _ in range(2):
            _, said = await ask(serving, "POST", "/v1/register", safe)
            assert said["waiting"] is False
        assert serving.books.results.waiting(TASK) == 0
        copy = (place.folder / "state" / COPY).read_text()
        deeds = [line.deed.value for line in audit.read(copy)]
        assert deeds[-2:] == ["result-read", "result-taken"]
        await ask(serving, "POST", "/v1/register", {"do": "remove", "name": one["number"]})
        assert (await ask(serving, "GET", f"/v1/results/{one['number']}"))[0] == 404
    number = bytes.fromhex(one["number"])
    owner = serving.service.digest
    with SqliteStore.open(place.folder / "state/service.db", owner=owner) as store:
        for space in (results.NAMESPACE, results.arrays_in(number)):
            assert list(store.rows(space)) == []


async def test_the_token_goes_with_the_process(place: Place) -> None:
    async with opened(place.config()) as serving:
        path = serving.config.state / TOKEN
        assert path.stat().st_mode & 0o777 == 0o600
        first = path.read_text()
    assert not path.exists()
    async with opened(place.config()):
        assert path.read_text() != first


async def test_a_site_is_enrolled_by_http_ten_times_a_minute(place: Place) -> None:
    """The limit of [limits] enrolments, which is by address (rule E9)."""
    async with opened(place.config()) as serving:
        _, made = await ask(
            serving,
            "POST",
            "/v1/register",
            {"do": "invite", "name": name(1), "role": "client", "tasks": [TASK]},
        )
        from secagg.invitation import Invitation

        accepted = Invitation.decode(made["code"]).accept(seed(1)).encode()
        context = ssl.create_default_context(cafile=place.folder / "tls" / TRIAL)
        async with httpx.AsyncClient(verify=context, base_url=serving.url) as client:
            for _ in range(2):  # its answer may have been lost
                answer = await client.post("/v1/enrol", content=accepted)
                assert (answer.status_code, answer.json()["state"]) == (200, "waiting")
            large = await client.post("/v1/enrol", content=b"x" * 5000)
            assert large.status_code == 413
            junk = [await client.post("/v1/enrol", content=b"x") for _ in range(8)]
            assert [one.status_code for one in junk] == [400] * 7 + [429]
            assert junk[-1].headers["retry-after"] == "60"
            authority = await client.get("/v1/authority")
            assert authority.content == (place.folder / "tls" / TRIAL).read_bytes()
            for path in ("/v1/register", "/v1/status", "/metrics", "/readyz", "/v1/results/00"):
                assert (await client.get(path)).status_code == 404
        assert serving.books.admissions.entries[name(1)].state.value == "waiting"


async def test_a_certificate_is_read_again(place: Place) -> None:
    async with opened(place.config()) as serving:
        before = serving.credentials
        assert before is not None
        context = before.context
        serving.reload()
        assert before.context is not context
        (place.folder / "tls" / "chain.pem").write_text("damaged")
        context = before.context
        serving.reload()
        assert before.context is context


async def test_92_a_drain_begins_no_round(place: Place) -> None:
    async with opened(place.config()) as serving:
        for number in range(1, LEAST + 1):
            await enrol(serving, number)
        await serving.drain()
        assert serving.stopping
        assert (await ask(serving, "GET", "/readyz"))[0] == 503
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await round_of(serving, *range(1, LEAST + 1))
        assert serving.books.results.all() == []


async def test_105_without_a_copy_of_the_audit_no_round_begins(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """What was done is in the store all the same, and whoever asks hears why."""
    config = place.config()
    (config.state / COPY).mkdir(parents=True)
    async with opened(config) as serving:
        for number in range(1, LEAST + 1):
            await enrol(serving, number)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await round_of(serving, *range(1, LEAST + 1))
        assert serving.books.results.all() == []
        status, said = await ask(serving, "GET", "/readyz")
        assert status == 503 and said["reasons"]
        assert serving.books.audit.number == 1 + 3 * LEAST
    assert "no copy of the audit" in caplog.text
