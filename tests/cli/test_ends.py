"""Every end of `join --service` has an exit code, a sentence, and a reason in its JSON."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from secagg.cli import app
from secagg.cli.enrolling import Whose, write_seed
from secagg.cli.join import _Joining
from secagg.drive.beside import Beside, beside
from secagg.service.serving import Serving, opened
from secagg.store.identity import Identity
from tests.service.place import LEAST, LENGTH, TASK, TERMS, Place, attend, enrol, name, seed, site

DEADLINES = {"masked-input": 1.5}


@dataclass
class Running:
    """A service in a thread of its own, and the site that the command is."""

    place: Place
    serving: Serving
    thread: Beside[None]
    file: Path

    def do(self, work: Any) -> Any:
        return self.thread.wait(work)

    def others(self) -> None:
        """Come, and stay until their round is over."""

        async def come() -> None:
            coming = [attend(self.serving, n) for n in range(2, LEAST + 1)]
            self.coming = [asyncio.create_task(one) for one in coming]

        self.do(come())

    def join(self, *more: str, timeout: float = 20.0, json: bool = True) -> Result:
        given = ("--input", str(self.place.folder / "x.npy"), "--timeout", str(timeout))
        words = ["join", "--service", str(self.file), *given, *more, *(["--json"] if json else [])]
        return CliRunner().invoke(app, words)


@contextmanager
def running(place: Place, *, enrolled: int = LEAST) -> Iterator[Running]:
    """place: made. enrolled: how many sites are."""
    up: asyncio.Event = asyncio.Event()
    found: list[Serving] = []
    over = asyncio.Event()

    async def work() -> None:
        async with opened(place.config(deadlines={"default": 20.0, **DEADLINES})) as serving:
            for number in range(1, enrolled + 1):
                await enrol(serving, number)
            found.append(serving)
            up.set()
            await over.wait()

    with beside(work()) as thread:
        while not found:
            time.sleep(0.01)
            if thread.ended.done():
                thread.ended.result()
        folder, there = place.folder, site(found[0], 1)
        write_seed(there.identity, Whose.IDENTITY, seed(1))
        file = folder / f"{name(1)}.toml"
        file.write_text(there.text(folder))
        np.save(folder / "x.npy", np.full(LENGTH, 1))
        yield Running(place, found[0], thread, file)
        thread.tell(over.set)
        thread.ended.result()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path / "service")


def late(joining: _Joining, offer: Any) -> Any:
    time.sleep(3.0)
    return joining._given(offer.plan)


def last(done: Result) -> Any:
    return json.loads(done.stdout)["rounds"][-1]


def test_0_in_the_sum_and_2_for_a_name_that_was_in_one(place: Place) -> None:
    with running(place) as service:
        service.others()
        done = service.join("--name", "monday")
        assert done.exit_code == 0, done.stderr
        assert last(done)["included"] and last(done)["error"] is None
        service.others()
        done = service.join("--name", "monday")
        assert (done.exit_code, json.loads(done.stdout)["error"]) == (2, "Spent")
        assert "this input is in a sum already" in done.stderr


def test_1_no_sum(place: Place) -> None:
    """Its operator has cancelled the round; and where the service went for good."""
    with running(place) as service:
        service.others()
        original = _Joining._contribute
        with pytest.MonkeyPatch.context() as patched:

            def cancelled(joining: _Joining, offer: Any) -> Any:
                async def cancel() -> None:
                    service.serving.rounds.paced.cancel(TASK, time.monotonic())
                    service.serving._shell.wake()

                service.do(cancel())
                return original(joining, offer)

            patched.setattr(_Joining, "_contribute", cancelled)
            done = service.join()
        assert done.exit_code == 1, done.stderr
        assert last(done)["error"] == "cancelled" and not last(done)["included"]


def test_3_a_sum_without_this_site(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(place) as service:
        service.others()
        monkeypatch.setattr(_Joining, "_contribute", late)
        done = service.join(json=False)
        assert done.exit_code == 3, done.stderr
        assert "not in the sum of 3 clients: late" in done.stdout
        assert "left out of the sum: late" in done.stderr


def replaced(path: Callable[[Running], Path], data: bytes) -> Callable[[Running], None]:
    return lambda service: (path(service).write_bytes(data), None)[1]


REFUSED: dict[str, tuple[Callable[[Running], None], str, str]] = {
    "no file": (lambda s: s.file.unlink(), "InputError", "cannot be read"),
    "no TOML": (replaced(lambda s: s.file, b"["), "ParameterError", "is no TOML"),
    "no terms": (
        lambda s: (s.place.folder / f"{TASK}.task").unlink(),
        "InputError",
        "the terms .* cannot be read",
    ),
    "other terms": (
        replaced(
            lambda s: s.place.folder / f"{TASK}.task",
            type(TERMS).of(dict(TERMS.fields), (4, 6), corrupt=0, dropout=0.2).encode(),
        ),
        "InputError",
        "has other terms",
    ),
    "no key": (lambda s: site(s.serving, 1).identity.unlink(), "StorageError", "cannot be read"),
    "an open key": (
        lambda s: site(s.serving, 1).identity.chmod(0o644),
        "StorageError",
        "open to other users",
    ),
    "a vector that does not fit": (
        lambda s: np.save(s.place.folder / "x.npy", np.ones(3, np.int64)),
        "InputError",
        "",
    ),
    "no vector": (lambda s: (s.place.folder / "x.npy").unlink(), "InputError", ""),
    "not approved": (
        lambda s: (
            site(s.serving, 1).identity.unlink()
            or write_seed(site(s.serving, 1).identity, Whose.IDENTITY, seed(99))
        ),
        "LinkClosed",
        "this site is not approved there",
    ),
    "another service": (
        lambda s: (
            s.file.write_text(s.file.read_text().replace('"localhost"', '"other.example"')),
            None,
        )[1],
        "LinkClosed",
        "said nothing",
    ),
}


def test_2_for_what_cannot_begin(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(place, enrolled=1) as service:
        kept = {path: path.read_bytes() for path in place.folder.glob("*") if path.is_file()}
        for case, (wrong, kind, said) in REFUSED.items():
            wrong(service)
            done = service.join(timeout=0.1)
            answer = json.loads(done.stdout)
            assert (done.exit_code, answer["error"]) == (2, kind), (case, done.output)
            assert answer["message"] and answer["message"] in done.stderr, case
            assert re.search(said, answer["message"]), (case, answer)
            for path, data in kept.items():
                path.write_bytes(data)
            site(service.serving, 1).identity.chmod(0o600)
        with Identity.open(site(service.serving, 1).identity):
            done = service.join()
        assert done.exit_code == 2 and "in use" in done.stderr
        monkeypatch.setenv("https_proxy", "socks5://user:hidden@proxy.example")
        done = service.join()
        assert done.exit_code == 2 and "is no http://HOST:PORT" in done.stderr
        assert "hidden" not in done.output
    monkeypatch.delenv("https_proxy")
    done = service.join(timeout=0.1)
    assert (done.exit_code, json.loads(done.stdout)["error"]) == (2, "TransportError")
