"""What a service does by the clock, and what is left of a round when it is over."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from secagg.effects import NAMESPACE_SIZE, Write
from secagg.errors import TransportError
from secagg.rounds.admissions import CONSOLE
from secagg.rounds.base import MACHINE
from secagg.service import audit, results, upkeep
from secagg.service.serving import Serving, opened
from secagg.store.sqlite import SqliteStore
from tests.service.place import LEAST, TASK, Place, attend, enrol, name, seed


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path / "service")


async def candidates(serving: Serving, count: int) -> None:
    async with asyncio.timeout(20):
        while serving.paced.tasks[TASK].candidates != count:
            await asyncio.sleep(0.02)


async def test_an_approval_that_ends_ends_its_link(place: Place) -> None:
    """Rule G5, within two seconds; and nothing is remembered of who may come no more."""
    async with opened(place.config()) as serving:
        for number in (1, 2):
            await enrol(serving, number)
        books, now = serving.books, serving.unix
        entry = books.admissions.entries[name(1)]
        with pytest.MonkeyPatch.context() as clock:
            clock.setattr(upkeep, "SWEEP", 0.05)
            stop = asyncio.Event()
            running = asyncio.create_task(serving.run(stop))
            waiting = [asyncio.create_task(attend(serving, n, timeout=0.1)) for n in (1, 2)]
            await candidates(serving, 2)
            assert set(serving.paced.tasks[TASK].line) >= {entry.key}
            short = replace(entry, expires=now + 1)
            entries = {**books.admissions.entries, entry.name: short}
            books.admissions = replace(books.admissions, entries=entries)
            begun = asyncio.get_running_loop().time()
            await candidates(serving, 1)
            assert asyncio.get_running_loop().time() - begun < 3.5
            with pytest.raises(TransportError):
                await waiting[0]
            assert entry.key not in set(serving.paced.tasks[TASK].line)
            waiting[1].cancel()
            stop.set()
            await running


@pytest.mark.parametrize("broken", ["tidy", "watch"])
async def test_103_what_fails_by_the_clock_ends_the_service(
    place: Place, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """In silence it would be the end of retention, and of approvals that end by themselves."""

    def failing(serving: Serving) -> NoReturn:
        raise RuntimeError("a bug")

    async def failed(serving: Serving) -> NoReturn:
        failing(serving)

    monkeypatch.setattr(upkeep, broken, failing if broken == "tidy" else failed)
    async with opened(place.config()) as serving:
        with pytest.raises(RuntimeError, match="a bug"):
            async with asyncio.timeout(10):
                await serving.run(asyncio.Event())


async def test_nothing_is_remembered_of_who_is_revoked(place: Place) -> None:
    """Its standing goes from the store as well."""
    async with opened(place.config()) as serving:
        for number in (1, 2):
            await enrol(serving, number)
        waiting = [asyncio.create_task(attend(serving, n, timeout=0.1)) for n in (1, 2)]
        await candidates(serving, 2)
        await serving.write([])
        keys = [serving.books.admissions.entries[name(n)].key for n in (1, 2)]
        assert all(any(key in row for row, _ in serving._store.rows()) for key in keys)
        books = serving.books
        gone = books.change(books.admissions.revoke(name(1), CONSOLE), serving.unix)
        await serving.write(gone)
        serving.dismiss()
        await serving.write([])
        known = [any(key in row for row, _ in serving._store.rows()) for key in keys]
        assert known == [False, True]
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_copies_of_payloads_go_with_their_task(place: Place) -> None:
    (place.folder / "model").write_bytes(b"a model")
    async with opened(place.config(payload=place.folder / "model")) as serving:
        folder = place.folder / "state" / "payloads"
        (copy,) = folder.iterdir()
        (place.folder / "model").write_bytes(b"another one")
        assert serving.reload()
        assert len(list(folder.iterdir())) == 2
        upkeep.tidy(serving)
        (left,) = folder.iterdir()
        assert left != copy and left.read_bytes() == b"another one"


def test_what_is_kept_no_longer_goes_500_rows_at_a_time() -> None:
    """So that no transaction of it keeps a round waiting."""
    assert (2 * results.STEP, audit.STEP) == (500, 500)


async def test_shares_are_gone_when_their_round_is_over(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all that the machine of a round had written, shares among it, no row is left, and once the
    log is copied no byte in the file: what a round opened is of use to nobody afterwards."""
    written: list[Write] = []
    commit = SqliteStore.commit

    def kept(self: SqliteStore, writes: Sequence[Write]) -> None:
        written.extend(writes)
        commit(self, writes)

    monkeypatch.setattr(SqliteStore, "commit", kept)
    async with opened(place.config()) as serving:
        for number in range(1, LEAST + 1):
            await enrol(serving, number)
        async with asyncio.timeout(60):
            await asyncio.gather(*(attend(serving, number) for number in range(1, LEAST + 1)))
        (result,) = serving.books.results.all()
    at = NAMESPACE_SIZE
    machine = [w for w in written if w.key[:at] == result.nonce and w.key[at : at + 1] == MACHINE]
    values = [w.value for w in machine if w.value is not None]
    assert len(values) > LEAST and max(map(len, values)) > 100, "it had something to forget"
    path = place.folder / "state" / "service.db"
    with closing(sqlite3.connect(path)) as database:
        rows: list[Any] = database.execute("SELECT key, value FROM rows").fetchall()
    left = [key for key, _ in rows if key[:at] == result.nonce]
    assert len(left) == 1, "the row of its end alone"
    assert not any(key[at : at + 1] == MACHINE for key in left)
    assert not path.with_name("service.db-wal").exists()
    data = path.read_bytes()
    shares = [value[i : i + 32] for value in values for i in range(0, len(value) - 32, 64)]
    assert shares and not [one for one in shares if len(set(one)) > 16 and one in data]
    assert seed(1).expose() not in data
