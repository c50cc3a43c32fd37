"""A payload that is announced by its digest is fetched once, and goes on where it broke off
(specs/50-service.md §3)."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from secagg.errors import InputError
from secagg.rounds.offer import Contribution, Offer
from secagg.rounds.pace import INLINE
from secagg.service import fetching
from secagg.service.fetching import Fetching
from secagg.service.jitter import Jitter
from secagg.service.serving import opened
from secagg.service.trial import TRIAL
from secagg.service.web import trust
from secagg.wire.frame import payload_digest
from tests.service.place import LEAST, Place, call, enrol, given, site

MODEL = bytes(range(256)) * 1000
DIGEST = payload_digest(MODEL)


async def test_a_round_is_about_a_payload_that_each_client_fetches_once(tmp_path: Path) -> None:
    place, heard = Place.made(tmp_path / "service"), list[str]()
    (place.folder / "model").write_bytes(MODEL)
    seen = list[bool]()

    def answer(offer: Offer, number: int) -> Contribution:
        seen.append(offer.payload == MODEL)
        return given(number)

    async with opened(place.config(payload=place.folder / "model")) as serving:
        for number in range(1, LEAST + 1):
            await enrol(serving, number)
        for _ in range(2):
            ends = await asyncio.gather(
                *(
                    call(site(serving, n), n, lambda o, n=n: answer(o, n), told=heard.append)
                    for n in range(1, LEAST + 1)
                )
            )
            assert all(one.included for (one,) in ends)
    assert seen == [True] * 2 * LEAST
    assert len([one for one in heard if "256,000 bytes" in one]) == LEAST, "each once"
    kept = place.folder / "site-1.payloads" / DIGEST.hex()
    assert kept.read_bytes() == MODEL and kept.parent.stat().st_mode & 0o777 == 0o700


def test_up_to_64_kib_are_announced_as_they_are() -> None:
    assert INLINE == 65_536


@dataclass
class Shelf:
    """A service's answers: each takes the place of the next payload that is asked for."""

    answers: list[Callable[[BaseHTTPRequestHandler, int], None]] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)
    port: int = 0

    def fetching(self, place: Place) -> Fetching:
        context = trust(place.folder / "tls" / TRIAL)
        return Fetching(f"https://localhost:{self.port}", context, place.folder / "payloads")


def whole(handler: BaseHTTPRequestHandler, start: int) -> None:
    handler.send_response(206)
    handler.send_header("content-range", f"bytes {start}-{len(MODEL) - 1}/{len(MODEL)}")
    handler.send_header("content-length", str(len(MODEL) - start))
    handler.end_headers()
    handler.wfile.write(MODEL[start:])


def broken_off(handler: BaseHTTPRequestHandler, start: int) -> None:
    handler.send_response(206)
    handler.send_header("content-range", f"bytes {start}-{len(MODEL) - 1}/{len(MODEL)}")
    handler.send_header("content-length", str(len(MODEL) - start))
    handler.end_headers()
    handler.wfile.write(MODEL[start : start + 100_000])


def longer(handler: BaseHTTPRequestHandler, start: int) -> None:
    """Without regard to what was asked for."""
    handler.send_response(200)
    handler.send_header("content-length", str(2 * len(MODEL)))
    handler.end_headers()
    handler.wfile.write(MODEL + MODEL)


def another(handler: BaseHTTPRequestHandler, start: int) -> None:
    handler.send_response(200)
    handler.send_header("content-length", str(len(MODEL)))
    handler.end_headers()
    handler.wfile.write(b"x" * len(MODEL))


def missing(handler: BaseHTTPRequestHandler, start: int) -> None:
    handler.send_response(404)
    handler.send_header("content-length", "0")
    handler.end_headers()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between attempts are none."""
    monkeypatch.setattr(fetching, "Jitter", lambda: Jitter(bytes))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path / "service")


@pytest.fixture
def shelf(place: Place) -> Iterator[Shelf]:
    made = Shelf()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == f"/v1/payload/{DIGEST.hex()}"
            span = self.headers["range"]
            assert span.endswith(f"-{len(MODEL) - 1}")
            start = int(span.removeprefix("bytes=").split("-")[0])
            made.begins.append(start)
            (made.answers.pop(0) if made.answers else missing)(self, start)

        def log_message(self, format: str, *words: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place.folder / "tls/chain.pem", place.folder / "tls/key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


async def test_row_70_what_broke_off_goes_on(place: Place, shelf: Shelf) -> None:
    shelf.answers = [broken_off, missing, broken_off, whole]
    assert await shelf.fetching(place).fetch(DIGEST, len(MODEL), 60) == MODEL
    assert shelf.begins == [0, 100_000, 100_000, 200_000]
    again = await shelf.fetching(place).fetch(DIGEST, len(MODEL), 60)
    assert again == MODEL and len(shelf.begins) == 4, "it is there"


async def test_no_more_is_taken_than_was_announced(place: Place, shelf: Shelf) -> None:
    shelf.answers = [broken_off, longer]
    assert await shelf.fetching(place).fetch(DIGEST, len(MODEL), 60) == MODEL
    (kept,) = (place.folder / "payloads").iterdir()
    assert kept.stat().st_size == len(MODEL)


async def test_another_payload_is_not_kept(place: Place, shelf: Shelf) -> None:
    shelf.answers = [another, whole]
    with pytest.raises(InputError, match="not the one it announced"):
        await shelf.fetching(place).fetch(DIGEST, len(MODEL), 60)
    assert list((place.folder / "payloads").iterdir()) == []
    assert await shelf.fetching(place).fetch(DIGEST, len(MODEL), 60) == MODEL


async def test_a_copy_that_is_damaged_is_fetched_again(place: Place, shelf: Shelf) -> None:
    shelf.answers = [whole, whole]
    await shelf.fetching(place).fetch(DIGEST, len(MODEL), 60)
    (kept,) = (place.folder / "payloads").iterdir()
    kept.write_bytes(b"x" * len(MODEL))
    assert await shelf.fetching(place).fetch(DIGEST, len(MODEL), 60) == MODEL
    assert kept.read_bytes() == MODEL


async def test_a_site_keeps_the_few_that_it_has_used_last(place: Place, shelf: Shelf) -> None:
    folder = place.folder / "payloads"
    folder.mkdir()
    for age in range(6):
        old = folder / f"{age:064x}"
        old.write_bytes(b"x")
        os.utime(old, (age, age))
    shelf.answers = [whole]
    await shelf.fetching(place).fetch(DIGEST, len(MODEL), 60)
    names = {one.name for one in folder.iterdir()}
    assert names == {DIGEST.hex(), *(f"{age:064x}" for age in range(7 - fetching.KEPT, 6))}


async def test_it_has_its_time(place: Place, shelf: Shelf) -> None:
    with pytest.raises(InputError, match="not to be had in 1 seconds.*HTTP 404"):
        await shelf.fetching(place).fetch(DIGEST, len(MODEL), 1)
    with pytest.raises(InputError, match="taken are"):
        await shelf.fetching(place).fetch(DIGEST, fetching.MOST_BYTES + 1, 1)
