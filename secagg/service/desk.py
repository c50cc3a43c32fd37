"""What is asked of a service by HTTP: at its public door to be enrolled, and how whoever has its
folder is known to its console (`secagg.service.console`).

Its token lies in the state's folder, which its owner alone can read: whoever has it could edit the
store as well (specs/52-books.md, rule B11). All answers are JSON, one object.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
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
from secagg.invitation import MAX_ACCEPTANCE, MAX_RENEWAL
from secagg.service.askers import Asker
from secagg.service.paths import AUTHORITY, ENROL, RENEW, ROSTER
from secagg.service.porter import Refused, body, refused
from secagg.store.files import demand_private, make_private
from secagg.transport.doorkeeper import neighbourhood

TOKEN = "console.token"
"""Name of its file in the folder of the state."""
LARGEST = 16 << 10
"""Bytes of a console's request."""
_DIGITS = 64
Answer: TypeAlias = dict[str, Any]


class Desk(Protocol):
    """What is asked of, as `secagg.service.serving.Serving` has it."""

    async def accept(self, data: bytes) -> Answer: ...
    async def renew(self, data: bytes) -> Answer: ...
    async def register(self, asked: Mapping[str, Any], asker: Asker) -> Answer: ...
    def status(self, asker: Asker) -> Answer: ...
    def reasons(self) -> list[str]: ...
    def numbers(self) -> bytes: ...
    async def arrays(self, nonce: str, asker: Asker) -> bytes: ...
    async def take_roster(self, data: bytes, asker: Asker) -> Answer: ...


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


def enrolling(desk: Desk, allowed: Callable[[str], bool]) -> list[Route]:
    """The public routes. allowed: whether an address may ask now (specs/51-admission.md, E9)."""

    def route(path: str, limit: int, said: Callable[[bytes], Awaitable[Answer]]) -> Route:
        async def asked(request: Request) -> Response:
            if not allowed(neighbourhood(request.client.host) if request.client else ""):
                return refused(
                    429, "too many have asked from there: in a minute", {"retry-after": "60"}
                )
            return await answered(request, limit, said)

        return Route(path, asked, methods=["POST"])

    return [route(ENROL, MAX_ACCEPTANCE, desk.accept), route(RENEW, MAX_RENEWAL, desk.renew)]


def vouching(certificate: bytes) -> Route:
    """The public route of the authority's certificate, PEM: whoever has a code compares it with the
    fingerprint there, before it says anything else."""

    async def authority(request: Request) -> Response:
        return Response(certificate, media_type="application/x-pem-file")

    return Route(AUTHORITY, authority)


def posting(roster_of: Callable[[str], bytes | None]) -> Route:
    """The public route of rosters, by task. Each is signed, so whoever brings it is not believed.
    404 where there is none."""

    async def roster(request: Request) -> Response:
        found = roster_of(request.path_params["task"])
        headers = {"cache-control": "no-store"}
        if found is None:
            return refused(404, "no roster of that task is in force", headers)
        return Response(found, media_type="application/octet-stream", headers=headers)

    return Route(ROSTER, roster)


async def answered(
    request: Request, limit: int, said: Callable[[bytes], Awaitable[Answer]]
) -> Response:
    """The body, of so many bytes at most, and what comes of it."""
    try:
        return JSONResponse(await said(await body(request, limit)))
    except Refused as no:
        return refused(no.code, str(no))
    except PolicyRefused as error:
        return refused(403, str(error))
    except (WireError, CryptoError, InputError, ParameterError) as error:
        return refused(400, str(error))
    except SecAggError:
        return refused(503, "the service cannot write this down now")
