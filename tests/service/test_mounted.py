"""The service as an application of somebody else's server: here a plain uvicorn."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from secagg import service
from secagg.errors import ParameterError
from secagg.service.config import Config, Listen
from secagg.service.serving import Serving, opened
from tests.service.place import LEAST, Place, attend, enrol


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path / "service")


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def behind(place: Place) -> Config:
    """The host has the certificate."""
    return replace(place.config(every=3600.0), listen=Listen("127.0.0.1", free_port()))


@asynccontextmanager
async def hosted(config: Config, place: Place) -> AsyncIterator[uvicorn.Server]:
    tls = place.folder / "tls"
    made: dict[str, Any] = {"ssl_certfile": tls / "chain.pem", "ssl_keyfile": tls / "key.pem"}
    server = uvicorn.Server(
        uvicorn.Config(
            service.app(config),
            port=config.listen.port,
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            lifespan="on",
            log_config=None,
            timeout_graceful_shutdown=5,
            **made,
        )
    )
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(30):
        while not server.started and not serving.done():
            await asyncio.sleep(0.02)
    try:
        yield server
    finally:
        server.should_exit = True
        await serving


async def test_a_round_behind_another_server(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is left to that server is said, in the log."""
    found: list[Serving] = []
    made = Serving.__init__

    def kept(self: Serving, *given: Any) -> None:
        found.append(self)
        made(self, *given)

    monkeypatch.setattr(Serving, "__init__", kept)
    config = behind(place)
    caplog.set_level(logging.WARNING)
    async with hosted(config, place):
        (serving,) = found
        assert serving.url == f"https://localhost:{config.listen.port}"
        for number in range(1, LEAST + 1):
            await enrol(serving, number)
        sites = (attend(serving, number) for number in range(1, LEAST + 1))
        async with asyncio.timeout(60):
            ends = await asyncio.gather(*sites)
        assert all(one.included for (one,) in ends)
        (result,) = serving.books.results.all()
        assert result.contributors == LEAST
        authority = ssl.create_default_context(cafile=place.folder / "tls" / "trial-ca.pem")
        async with httpx.AsyncClient(verify=authority, base_url=serving.url) as client:
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/v1/status")).status_code == 404, "the console is elsewhere"
    assert "which has to limit" in caplog.text
    assert any(getattr(line, "event", "") == "mounted" for line in caplog.records)


async def test_what_is_refused_is_no_application(place: Place) -> None:
    with pytest.raises(ParameterError, match="tasks"):
        service.app(replace(behind(place), tasks=()))


async def test_94_a_host_does_not_start_with_a_state_that_is_in_use(place: Place) -> None:
    """And whoever asks meanwhile is told to come again."""
    app, said = service.app(behind(place)), list[Any]()

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        said.append(message)

    async with opened(place.config()):
        await app({"type": "lifespan"}, receive, send)
    (failed,) = said
    assert failed["type"] == "lifespan.startup.failed" and "in use" in failed["message"]
    there = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=there, base_url="http://localhost") as client:
        answer = await client.get("/healthz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
