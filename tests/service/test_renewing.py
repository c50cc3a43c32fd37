"""A site's key is renewed by HTTP, and a crash in between leaves a site that can come (rule E7)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secagg.cli.enrol import renew_key as renew
from secagg.cli.enrolling import Whose, read_seed, write_seed
from secagg.crypto import sign
from secagg.errors import PolicyRefused, StorageError, TransportError
from secagg.service.renewing import beside, finish
from secagg.service.serving import Serving, opened
from secagg.service.site import Site
from secagg.service.web import ask
from secagg.store.identity import Identity
from tests.service.place import (
    TASK,
    Place,
    attend,
    call,
    enrol,
    given,
    name,
    seed,
    site,
    waiting_for,
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path / "service")


async def enrolled(serving: Serving, number: int = 1) -> Site:
    await enrol(serving, number)
    found = site(serving, number)
    write_seed(found.identity, Whose.IDENTITY, seed(number))
    return found


def key_of(serving: Serving, number: int = 1) -> bytes | None:
    return serving.books.admissions.entries[name(number)].key


def key_in(path: Path) -> bytes:
    assert path.stat().st_mode & 0o777 == 0o600
    return sign.public_key(read_seed(path, Whose.IDENTITY))


async def test_links_of_the_old_key_end_and_the_new_one_has_its_place(place: Place) -> None:
    async with opened(place.config()) as serving:
        there = await enrolled(serving)
        before = asyncio.create_task(attend(serving, 1, timeout=0.5))
        await waiting_for(serving, 1)
        public = await asyncio.to_thread(renew, there, 10.0)
        assert key_of(serving) == key_in(there.identity) == public != sign.public_key(seed(1))
        assert not beside(there).exists()
        with pytest.raises(TransportError):
            async with asyncio.timeout(20):
                await before
        assert serving.rounds.paced.tasks[TASK].candidates == 0
        new = read_seed(there.identity, Whose.IDENTITY)
        coming = asyncio.create_task(call(there, 1, lambda offer: given(1), key=new))
        await waiting_for(serving, 1)
        coming.cancel()
        lines = (place.folder / "state" / "audit.jsonl").read_text().splitlines()
        assert '"renewed"' in lines[-1] and name(1) in lines[-1]


class Killed(BaseException):
    """The process is gone."""


def dies(*_: Any, **__: Any) -> Any:
    raise Killed


def dies_after(call: Callable[..., Any]) -> Callable[..., Any]:
    def killed(*words: Any, **more: Any) -> Any:
        call(*words, **more)
        raise Killed

    return killed


STEPS: dict[str, tuple[str, Callable[..., Any]]] = {
    "before the new key is written": ("cli.enrol.write_seed", dies),
    "when it is": ("cli.enrol.write_seed", dies_after(write_seed)),
    "before the service hears of it": ("service.renewing.ask", dies),
    "before its answer": ("service.renewing.ask", dies_after(ask)),
    "before the old key is replaced": ("service.renewing.os.replace", dies),
    "when it is replaced": ("service.renewing.os.replace", dies_after(os.replace)),
}


@pytest.mark.parametrize(
    "again",
    [lambda site: renew(site, 10.0), lambda site: finish(site, print)],
    ids=["renew", "join"],
)
@pytest.mark.parametrize("step", STEPS)
async def test_rows_71_91_killed_at_each_step_it_goes_on(
    step: str, again: Callable[[Site], Any], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(place.config()) as serving:
        there = await enrolled(serving)
        with monkeypatch.context() as patched:
            where, instead = STEPS[step]
            patched.setattr(f"secagg.{where}", instead)
            with pytest.raises(Killed):
                await asyncio.to_thread(renew, there, 10.0)
        assert {key_in(there.identity)} <= {sign.public_key(seed(1)), key_of(serving)}
        await asyncio.to_thread(again, there)
        assert key_of(serving) == key_in(there.identity)
        assert not beside(there).exists()


async def test_whoever_is_not_approved_keeps_its_key(place: Place) -> None:
    async with opened(place.config()) as serving:
        there = site(serving, 1)
        write_seed(there.identity, Whose.IDENTITY, seed(1))
        with pytest.raises(PolicyRefused, match="renews no key that is enrolled here"):
            await asyncio.to_thread(renew, there, 10.0)
        assert key_in(there.identity) == sign.public_key(seed(1))
        assert not beside(there).exists()


async def test_what_somebody_in_between_refuses_ends_no_renewal(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service has the new key already, and only its answer was lost: the next try meets the
    page of a proxy."""
    async with opened(place.config()) as serving:
        there = await enrolled(serving)
        with monkeypatch.context() as patched:
            patched.setattr("secagg.service.renewing.ask", dies_after(ask))
            with pytest.raises(Killed):
                await asyncio.to_thread(renew, there, 10.0)
            for page in (b"<html>blocked by policy</html>", b"", b'{"code": 1}'):
                patched.setattr("secagg.service.renewing.ask", lambda *_, said=page: (403, said))
                with pytest.raises(TransportError, match="HTTP 403"):
                    await asyncio.to_thread(renew, there, 10.0)
        await asyncio.to_thread(finish, there, print)
        assert key_of(serving) == key_in(there.identity)


async def test_too_many_tries_are_for_later(place: Place) -> None:
    async with opened(place.config()) as serving:
        there = await enrolled(serving)
        for _ in range(10):
            await asyncio.to_thread(renew, there, 10.0)
        with pytest.raises(TransportError, match="429: too many have asked"):
            await asyncio.to_thread(renew, there, 10.0)
        assert beside(there).exists()
        assert key_of(serving) == key_in(there.identity)


async def test_nobody_takes_part_with_a_key_meanwhile(place: Place) -> None:
    async with opened(place.config()) as serving:
        there = await enrolled(serving)
        with Identity.open(there.identity), pytest.raises(StorageError, match="in use"):
            await asyncio.to_thread(renew, there, 10.0)
        assert not beside(there).exists()


async def test_without_the_service_join_goes_on_with_the_key_that_it_has(place: Place) -> None:
    async with opened(place.config()) as serving:
        there = await enrolled(serving)
    write_seed(beside(there), Whose.IDENTITY, seed(9))
    await asyncio.to_thread(finish, there, print)
    assert key_in(there.identity) == sign.public_key(seed(1))
    assert key_in(beside(there)) == sign.public_key(seed(9))
