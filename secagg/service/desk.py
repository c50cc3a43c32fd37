"""What is asked of a service by HTTP: at its public door to be enrolled, and behind it everything
that an administrator's console asks.

The console's routes (specs/52-books.md, rule B11) are on an address of their own, and ask for the
token that lies in the state's folder, which its owner alone can read: whoever has it could edit the
store as well. All answers are JSON, one object.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from secagg.errors import (
    CryptoError,
    InputError,
    ParameterError,
    PolicyRefused,
    SecAggError,
    StorageError,
    WireError,
)
from secagg.invitation import MAX_ACCEPTANCE
from secagg.service import metrics
from secagg.store.files import demand_private, make_private
from secagg.transport.doorkeeper import neighbourhood

ENROL, AUTHORITY, REGISTER, STATUS, READY, METRICS = (
    "/v1/enrol",
    "/v1/authority",
    "/v1/register",
    "/v1/status",
    "/readyz",
    "/metrics",
)
RESULTS = "/v1/results/{nonce}"
TOKEN = "console.token"
"""Name of its file in the folder of the state."""
LARGEST = 16 << 10
"""Bytes of a console's request."""
_DIGITS = 64
Answer: TypeAlias = dict[str, Any]


class Desk(Protocol):
    """What is asked of, as `secagg.service.serving.Serving` has it."""

    async def accept(self, data: bytes) -> Answer: ...
    async def register(self, asked: Mapping[str, Any]) -> Answer: ...
    def status(self) -> Answer: ...
    def reasons(self) -> list[str]: ...
    def numbers(self) -> bytes: ...
    async def arrays(self, nonce: str) -> bytes: ...


def new_token() -> str:
    """Another for each life of the process: a copy of the state's folder has none of use."""
    return secrets.token_hex(_DIGITS // 2)


def leave_token(folder: Path, port: int, token: str) -> None:
    """Where whoever may read the folder finds the console and its token. StorageError where it
    cannot be written."""
    path = folder / TOKEN
    try:
        path.unlink(missing_ok=True)
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(made, "w") as file:
            make_private(made)
            file.write(f"{port} {token}")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from None


def find_token(folder: Path) -> tuple[int, str]:
    """The port of the console and its token, of the service whose state is there. InputError where
    none runs, or the folder is not this user's."""
    path = folder / TOKEN
    try:
        demand_private(path)
        port, token = path.read_text("ascii").split()
        return int(port), token
    except (OSError, ValueError, StorageError) as error:
        raise InputError(
            f"{path}, which a service leaves there while it runs, cannot be read: is it running, "
            f"and its state this user's? ({getattr(error, 'strerror', None) or error})"
        ) from None


def enrolling(desk: Desk, allowed: Callable[[str], bool]) -> Route:
    """The public route. allowed: whether an address may ask now."""

    async def enrol(request: Request) -> Response:
        if not allowed(neighbourhood(request.client.host) if request.client else ""):
            return _refused(
                429, "too many have asked from there: in a minute", {"retry-after": "60"}
            )
        return await _answered(request, MAX_ACCEPTANCE, desk.accept)

    return Route(ENROL, enrol, methods=["POST"])


def vouching(certificate: bytes) -> Route:
    """The public route of the authority's certificate, PEM: whoever has a code compares it with the
    fingerprint there, before it says anything else."""

    async def authority(request: Request) -> Response:
        return Response(certificate, media_type="application/x-pem-file")

    return Route(AUTHORITY, authority)


def console(desk: Desk, token: str) -> Starlette:
    """The routes behind. What has no token, or another, hears 401 and changes nothing."""

    def owner(request: Request) -> bool:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode("latin-1", "replace"), token.encode())

    def asked(route: Callable[[Request], Awaitable[Response]]) -> Any:
        async def guarded(request: Request) -> Response:
            # a page that a browser shows cannot set this header for another origin; one that says
            # where it comes from is none of a console's
            if not owner(request) or "origin" in request.headers:
                return _refused(401, "this is for who has the state's folder")
            return await route(request)

        return guarded

    async def register(request: Request) -> Response:
        async def said(data: bytes) -> Answer:
            try:
                found = json.loads(data)
            except (ValueError, RecursionError):
                raise InputError("a request is one JSON object") from None
            if not isinstance(found, dict):
                raise InputError("a request is one JSON object")
            return await desk.register(found)

        return await _answered(request, LARGEST, said)

    async def status(request: Request) -> Response:
        return JSONResponse(desk.status())

    async def ready(request: Request) -> Response:
        reasons = desk.reasons()
        return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def numbers(request: Request) -> Response:
        return Response(desk.numbers(), media_type=metrics.CONTENT_TYPE)

    async def arrays(request: Request) -> Response:
        try:
            data = await desk.arrays(request.path_params["nonce"])
        except InputError as error:
            return _refused(404, str(error))
        return Response(data, media_type="application/octet-stream")

    async def health(request: Request) -> Response:
        return PlainTextResponse("the loop turns\n")

    return Starlette(
        routes=[
            Route("/healthz", health),
            Route(READY, ready),
            Route(METRICS, numbers),
            Route(STATUS, asked(status)),
            Route(RESULTS, asked(arrays)),
            Route(REGISTER, asked(register), methods=["POST"]),
        ]
    )


async def _answered(
    request: Request, limit: int, said: Callable[[bytes], Awaitable[Answer]]
) -> Response:
    """The body, of so many bytes at most, and what comes of it."""
    data = b""
    try:
        async for piece in request.stream():
            data += piece
            if len(data) > limit:
                return _refused(413, f"at most {limit} bytes")
    except ClientDisconnect:
        return _refused(400, "the request was not whole")
    try:
        return JSONResponse(await said(data))
    except PolicyRefused as error:
        return _refused(403, str(error))
    except (WireError, CryptoError, InputError, ParameterError) as error:
        return _refused(400, str(error))
    except SecAggError:
        return _refused(503, "the service cannot write this down now")


def _refused(code: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": why}, code, headers)
