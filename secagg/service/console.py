"""The routes of a service's console: what its owner, and those who are enrolled for it, ask and see
(specs/51-admission.md §5, specs/52-books.md §4).

Each asks the porter who it is, by the one table of `secagg.service.askers`. Answers are JSON, one
object, but for arrays, numbers, pages and the stream of events.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from secagg.errors import InputError, PolicyRefused
from secagg.roster import MAX_ROSTER_FILE
from secagg.rounds.visitors import Visitors
from secagg.service import metrics
from secagg.service.askers import Asker
from secagg.service.desk import LARGEST, Answer, Desk, answered
from secagg.service.events import Watching
from secagg.service.paths import (
    EVENTS,
    HEALTH,
    LOGIN,
    LOGOUT,
    METRICS,
    READY,
    REGISTER,
    RESULTS,
    ROSTERS,
    SESSION,
    STATUS,
)
from secagg.service.porter import Porter, Refused, body, free, refused
from secagg.wire.hello import LARGEST_CALLER, REPLY

_BINARY = "application/octet-stream"


def console(
    desk: Desk, porter: Porter, watching: Watching, pages: Sequence[Route] = ()
) -> Starlette:
    """pages: what a browser shows, which tell nothing by themselves."""
    for page in pages:
        free(page.path)
    return Starlette(
        routes=[
            *pages,
            *_of_anybody(desk),
            *_of_sessions(porter),
            *_of_rights(desk, porter, watching),
        ]
    )


def _of_anybody(desk: Desk) -> list[Route]:
    """For whoever watches the process: no names, and no word of a client's."""

    async def health(request: Request) -> Response:
        return PlainTextResponse("the loop turns\n")

    async def ready(request: Request) -> Response:
        reasons = desk.reasons()
        return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def numbers(request: Request) -> Response:
        return Response(desk.numbers(), media_type=metrics.CONTENT_TYPE)

    return [Route(free(HEALTH), health), Route(free(READY), ready), Route(free(METRICS), numbers)]


def _of_sessions(porter: Porter) -> list[Route]:
    """How one begins and ends."""
    visitors = porter.visitors

    async def enter(request: Request) -> Response:
        """A hello has a challenge as its answer; that, and a proof behind it, a session."""
        try:
            return _entered(visitors, await body(request, LARGEST_CALLER))
        except PolicyRefused as error:
            return refused(403, str(error))
        except Refused as no:
            return refused(no.code, str(no))

    async def login(request: Request) -> Response:
        if not porter.own(request):
            return refused(403, "a browser logs in from a page of the console alone")
        try:
            token = _token(await body(request, LARGEST))
            entered = visitors.redeem(token, time.monotonic())
        except PolicyRefused as error:
            return refused(403, str(error))
        except Refused as no:
            return refused(no.code, str(no))
        return Response(status_code=204, headers={"set-cookie": porter.cookie(entered)})

    async def logout(request: Request, asker: Asker) -> Response:
        if asker.session is not None:
            visitors.leave(asker.session)
        return Response(status_code=204, headers={"set-cookie": porter.cookie(None)})

    async def whose(request: Request, asker: Asker) -> Response:
        return JSONResponse(_shown(asker))

    return [
        Route(free(SESSION, "POST"), enter, methods=["POST"]),
        Route(free(LOGIN, "POST"), login, methods=["POST"]),
        porter.route(LOGOUT, logout, "POST"),
        porter.route(SESSION, whose),
    ]


def _of_rights(desk: Desk, porter: Porter, watching: Watching) -> list[Route]:
    async def register(request: Request, asker: Asker) -> Response:
        async def said(data: bytes) -> Answer:
            try:
                found = json.loads(data)
                json.dumps(found, ensure_ascii=False).encode()  # no half of a surrogate pair
            except (ValueError, RecursionError):
                raise InputError("a request is one JSON object") from None
            if not isinstance(found, dict):
                raise InputError("a request is one JSON object")
            return await desk.register(found, asker)

        return await answered(request, LARGEST, said)

    async def rosters(request: Request, asker: Asker) -> Response:
        async def said(data: bytes) -> Answer:
            return await desk.take_roster(data, asker)

        return await answered(request, MAX_ROSTER_FILE, said)

    async def status(request: Request, asker: Asker) -> Response:
        return JSONResponse(desk.status(asker))

    async def arrays(request: Request, asker: Asker) -> Response:
        try:
            data = await desk.arrays(request.path_params["nonce"], asker)
        except (InputError, PolicyRefused) as error:
            return refused(404, str(error))
        return Response(data, media_type=_BINARY, headers={"cache-control": "no-store"})

    async def events(request: Request, asker: Asker) -> Response:
        return watching.answer(asker, request.headers.get("last-event-id", ""))

    return [
        porter.route(REGISTER, register, "POST"),
        porter.route(ROSTERS, rosters, "POST"),
        porter.route(STATUS, status),
        porter.route(RESULTS, arrays),
        porter.route(EVENTS, events),
    ]


def _token(data: bytes) -> str:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("token"), str):
        raise Refused(400, 'a login is {"token": "..."}')
    token: str = said["token"]
    return token


def _entered(visitors: Visitors, data: bytes) -> Response:
    """Rule W1. PolicyRefused."""
    now = time.monotonic()
    if data[1:2] != bytes([REPLY]):
        return Response(visitors.hear(data, now), media_type=_BINARY)
    entered = visitors.prove(data, now)
    session = entered.session
    said: dict[str, Any] = {"session": entered.token, "proof": entered.proof.hex()}
    return JSONResponse(
        {**said, "role": session.role.word, "seconds": session.until - now},
        headers={"cache-control": "no-store"},
    )


def _shown(asker: Asker) -> Answer:
    session = asker.session
    left = None if session is None else max(0.0, session.until - time.monotonic())
    return {"role": asker.role, "may": sorted(one.value for one in asker.may), "seconds": left}
