"""What a service writes into files of what it has stored: its audit's copy, and results.

Rules B1, B2 and B13 of specs/52-books.md.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import pytest

from secagg.effects import Write
from secagg.errors import StorageError
from secagg.rounds.admission import State
from secagg.rounds.admissions import CONSOLE
from secagg.rounds.offer import Contribution, Offer, Outcome
from secagg.service import audit, outs, results
from secagg.service.audit import Deed, Line
from secagg.service.books import OWNER
from secagg.service.hosted import Hosted
from secagg.service.serving import COPY, STORE, Serving, opened
from secagg.store.memory import MemoryLedger
from tests.service.place import (
    LEAST,
    TASK,
    Place,
    attend,
    call,
    enrol,
    given,
    name,
    site,
    waiting_for,
)
from tests.service.visits import OPERATOR, ask, visit


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path / "service")


def rows(serving: Serving, space: bytes) -> list[bytes]:
    return [value for _, value in serving._store.rows(space)]


async def test_what_is_in_a_file_is_in_the_store(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the next thing happens while a transaction is under way, after which the process
    may die: the audit's copy would have a line that another one takes the place of."""
    out = place.folder / "out"
    out.mkdir()
    early, copied, taken = list[str](), list[str](), list[Path]()
    async with opened(place.config(out=out)) as serving:
        add, commit = serving.copy.add, serving._store.commit

        def adding(lines: Sequence[Line]) -> None:
            kept = rows(serving, audit.NAMESPACE)
            early.extend(one.text for one in lines if one.text.encode() not in kept)
            copied.extend(one.text for one in lines)
            add(lines)

        def slow(writes: Sequence[Write]) -> None:
            time.sleep(0.02)
            commit(writes)

        def writing(path: Path, data: bytes) -> None:
            taken.append(path)
            if not rows(serving, results.NAMESPACE):
                early.append(str(path))

        monkeypatch.setattr(serving.copy, "add", adding)
        monkeypatch.setattr(serving._store, "commit", slow)
        monkeypatch.setattr(outs, "write_whole", writing)

        async def noted(number: int) -> None:
            await asyncio.sleep(number / 100)
            await serving.write([serving.books.note(Deed.PAUSED, OWNER, serving.unix, n=number)])

        for number in range(1, LEAST + 1):
            await enrol(serving, number)
        async with asyncio.timeout(30):
            sites = [attend(serving, number) for number in range(1, LEAST + 1)]
            await asyncio.gather(*sites, *(noted(number) for number in range(40)))
    assert early == []
    assert len(copied) > 40 and len(taken) == 1


async def test_no_round_begins_whose_audit_is_not_copied(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk is full for a moment. Whatever an operator says, no round begins in that life of the
    process, nothing is written after the half line, and the next process writes what is missing."""

    def full(path: Path, lines: Sequence[Line]) -> None:
        if lines:
            with path.open("a") as file:
                file.write(lines[0].text[:30])
            raise OSError(28, "No space left on device")

    async with opened(place.config()) as serving:
        operator = await visit(serving, "ann", OPERATOR)
        for number in range(1, LEAST + 1):
            await enrol(serving, number)
        with monkeypatch.context() as broken:
            broken.setattr(serving.copy, "add", partial(full, serving.copy.path))
            asked = {"do": "pause", "task": TASK}
            assert (await ask(serving, "POST", "/v1/register", asked, operator))[0] == 200
        for word in ("resume", "open"):
            asked = {"do": word, "task": TASK}
            status, said = await ask(serving, "POST", "/v1/register", asked, operator)
            assert status == 403 and "audit" in said["error"]
        serving.paced.resume(TASK, time.monotonic())  # as if that had not been refused
        sites = [asyncio.create_task(attend(serving, one)) for one in range(1, LEAST + 1)]
        await waiting_for(serving, LEAST)
        await serving.write([])
        course = serving.paced.tasks[TASK]
        assert course.running is None and not course.asking and "audit" in course.waits
        for one in sites:
            one.cancel()
        await asyncio.gather(*sites, return_exceptions=True)
        (broken_at,) = (await serving.verify(None)).broken
        assert "torn off" in broken_at
    async with opened(place.config()) as serving:
        assert (await serving.verify(None)).broken == ()
        assert serving.copy.reason == ""


async def test_an_older_store_does_not_take_the_place_of_a_newer_one(place: Place) -> None:
    """Its files are whole and fit each other, so the store itself does not notice. Who was revoked
    since would be met again."""
    state = place.folder / "state"
    async with opened(place.config()) as serving:
        await enrol(serving, 1)
    shutil.copytree(state, place.folder / "yesterday")
    async with opened(place.config()) as serving:
        change = serving.books.admissions.revoke(name(1), CONSOLE)
        await serving.write(serving.books.change(change, serving.unix))
    for path in state.glob(f"{STORE}*"):
        path.unlink()
    for path in (place.folder / "yesterday").glob(f"{STORE}*"):
        shutil.copy(path, state)
    with pytest.raises(StorageError, match="An older store was put back"):
        async with opened(place.config()):
            pass
    (state / COPY).unlink()  # what nobody else has seen is noticed by nothing, as the pages say
    async with opened(place.config()) as serving:
        assert serving.books.admissions.entries[name(1)].state is State.APPROVED
        assert (await serving.verify(None)).broken == ()


async def test_98_in_a_round_that_is_put_back_nobody_says_anything_twice(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service goes on with it, as it knows no better, and has no sum of other inputs."""
    state, yesterday = place.folder / "state", place.folder / "yesterday"
    asked = list[int]()
    ledgers = {number: MemoryLedger() for number in range(1, LEAST + 1)}

    async def round_of(serving: Serving, value: int) -> list[Outcome]:
        def give(offer: Offer) -> Contribution:
            asked.append(offer.round)
            return given(value)

        calls = (call(site(serving, n), n, give, ledger=own) for n, own in ledgers.items())
        async with asyncio.timeout(30):
            return [end for (end,) in await asyncio.gather(*calls)]

    async with opened(place.config()) as serving:
        for number in ledgers:
            await enrol(serving, number)
        commit = serving._store.commit

        def kept(writes: Sequence[Write]) -> None:
            commit(writes)
            if asked and not yesterday.exists():  # what the store has is whole here
                shutil.copytree(state, yesterday)

        monkeypatch.setattr(serving._store, "commit", kept)
        ends = await round_of(serving, 1)
        assert all(end.included for end in ends)
        (result,) = serving.books.results.all()
    for path in (*state.glob(f"{STORE}*"), state / COPY):
        path.unlink()
    for path in yesterday.glob(f"{STORE}*"):
        shutil.copy(path, state)
    async with opened(place.config()) as serving:
        assert serving.paced.tasks[TASK].running == result.nonce
        assert [end.why for end in await round_of(serving, 2)] == ["spent"] * LEAST
        assert not serving.books.results.all()


async def test_lines_of_a_life_that_died_come_before_those_of_the_next(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy lacks its last lines, as after a loss of power, and what is taken up from the store
    has one of its own, as a round has that was lost: those that are missing come before."""
    restore = Hosted.restore

    def lost(rounds: Hosted, rows: Iterable[tuple[bytes, bytes]], now: float) -> None:
        restore(rounds, rows, now)
        rounds.write([rounds.books.note(Deed.ENDED, OWNER, rounds.unix(now), outcome="lost")])

    async with opened(place.config()) as serving:
        await enrol(serving, 1)
    path = place.folder / "state" / COPY
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:40])
    monkeypatch.setattr(Hosted, "restore", lost)
    async with opened(place.config()) as serving:
        assert (await serving.verify(None)).broken == ()
    assert path.read_text().startswith("".join(lines))
