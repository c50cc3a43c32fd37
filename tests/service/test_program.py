"""A program takes part by the site's file; the blocks of docs/service.md are two of them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secagg
from secagg.cli.enrolling import Whose, write_seed
from secagg.errors import InputError, ParameterError, StorageError, TransportError
from secagg.plans.terms import Terms
from secagg.rounds.offer import Contribution, Offer
from secagg.service.results import unpacked
from secagg.service.serving import Serving, opened
from secagg.store.identity import Identity
from tests.service.place import LEAST, LENGTH, TASK, TERMS, Place, enrol, given, name, seed, site

PAGE = Path(__file__).parents[2] / "docs" / "service.md"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path / "service")


async def written(serving: Serving, number: int, *, approved: bool = True) -> Path:
    """The file of a site, as `secagg enrol` leaves it, with what lies beside it."""
    if approved:
        await enrol(serving, number)
    there, folder = site(serving, number), serving.config.state.parent
    write_seed(there.identity, Whose.IDENTITY, seed(number))
    (folder / f"{TASK}.task").write_bytes(TERMS.encode())
    file = folder / f"{name(number)}.toml"
    file.write_text(there.text(folder))
    return file


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)


def run(block: str, file: Path, values: Path) -> None:
    text = block.replace('"site-1.toml"', repr(str(file))).replace('"x.npy"', repr(str(values)))
    exec(compile(text, "docs/service.md", "exec"), {})


async def test_the_page_s_programs_are_in_a_sum(place: Place) -> None:
    values = place.folder / "x.npy"
    np.save(values, np.full(LENGTH, 1))
    async with opened(place.config()) as serving:
        files = [await written(serving, number) for number in range(1, LEAST + 1)]
        running: list[Any] = [
            asyncio.to_thread(run, block, file, values)
            for block, file in zip(blocks(), files, strict=False)
        ]
        assert len(running) == 2
        running += [
            asyncio.to_thread(secagg.join_service, files[2], lambda offer: given(1)),
            secagg.attend(str(files[3]), lambda offer: given(1), rounds=1),
        ]
        async with asyncio.timeout(60):
            *_, (blocking,), (last,) = await asyncio.gather(*running)
        assert blocking.included and last.included
        (result,) = serving.books.results.all()
        assert unpacked(serving.arrays_of(result.nonce))["sum.update"].tolist() == [4] * LENGTH


async def test_what_does_not_fit_meets_no_service(place: Place) -> None:
    async with opened(place.config()) as serving:
        file = await written(serving, 1)
    with pytest.raises(InputError):
        secagg.join_service(file, {"update": np.zeros(LENGTH + 1)})
    for rounds in (0, -1, True):
        with pytest.raises(ParameterError, match="rounds"):
            secagg.join_service(file, {"update": np.zeros(LENGTH)}, rounds=rounds)
    with pytest.raises(ParameterError):
        await secagg.attend(file, 7)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot be read"):
        await secagg.attend(place.folder / "none.toml", lambda offer: None)
    others = Terms.of({"update": secagg.Integer(LENGTH, max=8)}, (4, 5), dropout=0.2)
    (place.folder / f"{TASK}.task").write_bytes(others.encode())
    with pytest.raises(InputError, match="other terms than those that"):
        await secagg.attend(file, lambda offer: None)


async def test_one_identity_takes_part_once_at_a_time(place: Place) -> None:
    async with opened(place.config()) as serving:
        file = await written(serving, 1)
        with Identity.open(site(serving, 1).identity), pytest.raises(StorageError, match="in use"):
            await secagg.attend(file, lambda offer: None)


async def test_every_wait_has_an_end(place: Place) -> None:
    """Of a site that is not approved, and of a service that is not there any more."""
    async with opened(place.config()) as serving:
        file = await written(serving, 1, approved=False)
        with pytest.raises(TransportError, match="not approved"):
            await secagg.attend(file, lambda offer: None, timeout=0.2)
    with pytest.raises(TransportError):
        await secagg.attend(file, lambda offer: None, timeout=0.2)


async def test_a_name_is_in_one_sum_whatever_call_gives_it(place: Place) -> None:
    async with opened(place.config()) as serving:
        files = [await written(serving, number) for number in range(1, LEAST + 1)]

        def named(offer: Offer) -> Contribution:
            return Contribution({"update": np.ones(LENGTH, np.int64)}, name="monday")

        async def both() -> list[Any]:
            async with asyncio.timeout(60):
                inputs = [named, *[lambda offer: given(1)] * (LEAST - 1)]
                pairs = zip(files, inputs, strict=True)
                return await asyncio.gather(*(secagg.attend(f, i) for f, i in pairs))

        (first,), *_ = await both()
        (again,), *_ = await both()
        assert first.included and not again.included
        assert (again.why, again.spent) == ("spent", True)
