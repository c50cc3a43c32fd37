"""A console that says what it is told to, for its page: a browser, and a service's part played."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from secagg.service.page import ROUTES

COOKIE, TOKEN = "secagg", "a-token-of-a-link"


class Stage:
    """One session, and the state that it sees."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.asked: list[dict[str, Any]] = []
        self.answer: tuple[int, dict[str, Any]] = (200, {})
        self.full = False
        self.seen: list[str | None] = []
        self._number, self._session, self._told = 1000, False, asyncio.Event()
        self._end: str | None = None

    def show(self, state: dict[str, Any]) -> None:
        self.state = state
        self._turn()

    def end(self, why: str) -> None:
        self._end = why
        self._session = False
        self._turn()

    def sign_in(self) -> None:
        self._session, self._end = True, None

    @property
    def app(self) -> Starlette:
        """Its routes and the page's."""
        mine = [
            Route("/v1/login", self._login, methods=["POST"]),
            Route("/v1/logout", self._logout, methods=["POST"]),
            Route("/v1/register", self._register, methods=["POST"]),
            Route("/v1/events", self._events),
            Route("/v1/results/{nonce}", self._result),
        ]
        return Starlette(routes=[*ROUTES, *mine])

    # Inside

    def _turn(self) -> None:
        self._number += 1
        told, self._told = self._told, asyncio.Event()
        told.set()

    def _known(self, request: Request) -> bool:
        return self._session and request.cookies.get(COOKIE) == "a-session"

    async def _login(self, request: Request) -> Response:
        if (await request.json()).get("token") != TOKEN:
            return JSONResponse({"error": "no"}, 403)
        self.sign_in()
        answer = Response(status_code=204)
        answer.set_cookie(COOKIE, "a-session", httponly=True, samesite="strict")
        return answer

    async def _logout(self, request: Request) -> Response:
        self.end("signed-out")
        return Response(status_code=204)

    async def _register(self, request: Request) -> Response:
        if not self._known(request):
            return JSONResponse({"error": "no session"}, 401)
        if request.headers.get("origin") != str(request.base_url).rstrip("/"):
            return JSONResponse({"error": "not from here"}, 403)
        self.asked.append(await request.json())
        code, said = self.answer
        return JSONResponse(said, code)

    async def _result(self, request: Request) -> Response:
        if not self._known(request):
            return JSONResponse({"error": "no session"}, 401)
        return Response(b"arrays", media_type="application/octet-stream")

    async def _events(self, request: Request) -> Response:
        if not self._known(request):
            return JSONResponse({"error": "no session"}, 401)
        if self.full:
            return JSONResponse({"error": "as many as may look do"}, 503, {"retry-after": "1"})
        given = request.headers.get("last-event-id")
        self.seen.append(given)
        return StreamingResponse(self._stream(given), media_type="text/event-stream")

    async def _stream(self, given: str | None) -> AsyncIterator[str]:
        yield ": begun\n\n"
        while self._end is None:
            told, number = self._told, str(self._number)
            if number != given:
                given = number
                yield f"id: {number}\nevent: state\ndata: {json.dumps(self.state)}\n\n"
            await told.wait()
        yield f'event: end\ndata: {{"why": "{self._end}"}}\n\n'


@asynccontextmanager
async def listening(app: Any, port: int = 0) -> AsyncIterator[int]:
    """Its port on loopback, while it is there."""
    door = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve([door]))
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        yield door.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        with suppress(asyncio.CancelledError):
            await running
        door.close()
