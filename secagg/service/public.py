"""What anybody may ask of a service by plain HTTP: whether it turns, and a task's payload.

Links are beside it, on a path of their own (`secagg.transport.door`). A payload is asked for by its
digest, which a round's announcement has: whoever knows the 32 bytes was told them. It is served
from a copy that is named after its digest and never changes, so that a download that broke off goes
on with the same bytes (RFC 9110 §14), whatever the operator does to the file meanwhile.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from secagg.errors import InputError, StorageError
from secagg.service.whole import write_whole
from secagg.wire.frame import DIGEST_SIZE, payload_digest

PAYLOAD, HEALTH = "/v1/payload/{digest}", "/healthz"
_HEADERS: Mapping[str, str] = {
    "cache-control": "public, max-age=31536000, immutable",  # its name is its digest
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'",
}
_BINARY = "application/octet-stream"


class Payloads:
    """Copies of payloads in a folder of their own, by digest."""

    def __init__(self, folder: Path) -> None:
        """folder: made if it is not there; StorageError where it cannot be."""
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{folder} cannot be made: {error.strerror}") from None

    def keep(self, source: Path) -> tuple[bytes, bytes]:
        """The payload in the file, and its digest; a copy is durable when this returns. InputError
        for a file that cannot be read, StorageError where the copy cannot be written."""
        try:
            data = source.read_bytes()
        except OSError as error:
            raise InputError(f"the payload {source} cannot be read: {error.strerror}") from None
        digest = payload_digest(data)
        path = self._path(digest)
        try:
            if self._whole(digest, data) is None:
                write_whole(path, data)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}") from None
        return data, digest

    def find(self, digest: str) -> Path | None:
        """The file of that digest, in lower-case hexadecimal digits; None for every other word, so
        that no word leads out of the folder."""
        if len(digest) != 2 * DIGEST_SIZE or not set(digest) <= set("0123456789abcdef"):
            return None
        path = self._folder / digest
        try:
            return path if stat.S_ISREG(path.lstat().st_mode) else None
        except OSError:
            return None

    def drop(self, kept: frozenset[bytes]) -> None:
        """All but these: of tasks that are pursued no more. What cannot go stays, and costs room
        alone."""
        names = {digest.hex() for digest in kept}
        for name in _names(self._folder):
            if name not in names:
                with suppress(OSError):
                    (self._folder / name).unlink()

    def _path(self, digest: bytes) -> Path:
        return self._folder / digest.hex()

    def _whole(self, digest: bytes, data: bytes) -> Path | None:
        """The copy, unless it is damaged or missing."""
        path = self.find(digest.hex())
        if path is None:
            return None
        with path.open("rb") as copy:
            found = sha256()
            while piece := copy.read(1 << 20):
                found.update(piece)
        return path if found.digest() == sha256(data).digest() else None


def _names(folder: Path) -> list[str]:
    with suppress(OSError):
        return os.listdir(folder)
    return []


def application(payloads: Payloads, *more: Route) -> Starlette:
    """These routes and others. Everything else is 404, and every other method 405."""

    async def health(request: Request) -> Response:
        return PlainTextResponse("the loop turns\n", headers={"cache-control": "no-store"})

    async def payload(request: Request) -> Response:
        path = payloads.find(request.path_params["digest"])
        if path is None:
            return PlainTextResponse("there is no such payload\n", status_code=404)
        return FileResponse(path, media_type=_BINARY, headers=dict(_HEADERS))

    routes = [Route(HEALTH, health), Route(PAYLOAD, payload), *more]
    return Starlette(routes=routes)
