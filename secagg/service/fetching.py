"""A payload that is announced by its digest, from the service by HTTPS (specs/50-service.md §3)."""

from __future__ import annotations

import asyncio
import http.client
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from secagg.errors import InputError, StorageError, TransportError
from secagg.service.jitter import Jitter
from secagg.service.web import Asked, answered
from secagg.shown import short
from secagg.wire.frame import payload_digest

# Theory of operation.
#
# A payload lies beside the site's file under its digest, so it is fetched once, whatever rounds are
# about it. What has come of it meanwhile lies beside that, as a part, and is asked on from: a link
# that breaks costs what was under way, and not what was there. The digest is compared once all has
# come, and before anybody has the payload; a part that has another digest is thrown away, as
# nothing says which of its bytes are wrong.
#
# How long it may take is the round's to say: a phase that needs the input ends, and the task in
# which this runs with it. The limit here is all of the round's deadlines.

MOST_BYTES = 1 << 30
"""Of a payload: a service that announces more is not believed, or fills this site's disk."""
KEPT = 4
"""Payloads that a site keeps: those that it has used last."""
PIECE = 1 << 20
SILENCE = 20.0
"""Seconds that the service may say nothing in the middle of an answer."""


@dataclass(frozen=True, slots=True)
class Fetching:
    """Of one service. url: of it. folder: where payloads are kept; made if it is not there."""

    url: str
    context: ssl.SSLContext = field(repr=False)
    folder: Path
    told: Callable[[str], None] = field(default=lambda text: None, repr=False)

    __repr__ = short

    async def fetch(self, digest: bytes, size: int, seconds: float) -> bytes:
        """The payload of that digest and of so many bytes. seconds: in which it must be there.

        Raises InputError for one of more than MOST_BYTES, where it is not there in time, or what
        the service has is another one; StorageError for a folder that cannot be written.
        """
        if size > MOST_BYTES:
            raise InputError(f"a payload of {size} bytes is announced, and taken are {MOST_BYTES}")
        if (kept := await asyncio.to_thread(self._kept, digest, size)) is not None:
            return kept
        self.told(f"fetching a payload of {size:,} bytes")
        jitter, until = Jitter(), time.monotonic() + seconds
        while True:
            try:
                return await asyncio.to_thread(self._fetched, digest, size)
            except TransportError as error:
                delay = jitter.again(until - time.monotonic())
                if time.monotonic() + delay >= until:
                    raise InputError(
                        f"the payload was not to be had in {seconds:g} seconds: {error}"
                    ) from None
                self.told(f"{error}: trying again")
                await asyncio.sleep(delay)

    def _path(self, digest: bytes) -> Path:
        return self.folder / digest.hex()

    def _kept(self, digest: bytes, size: int) -> bytes | None:
        """A copy that is damaged is as good as none."""
        path = self._path(digest)
        try:
            data = path.read_bytes() if path.stat().st_size == size else b""
            if payload_digest(data) != digest:
                return None
            path.touch()
        except OSError:
            return None
        return data

    def _fetched(self, digest: bytes, size: int) -> bytes:
        """All of it, from where the part ends."""
        path = self._path(digest)
        part = path.with_suffix(".part")
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            if part.exists() and part.stat().st_size > size:
                part.unlink()
            self._append(part, digest, size)
            data = part.read_bytes()
            if payload_digest(data) != digest:
                part.unlink()
                raise InputError("the payload that the service has is not the one it announced")
            part.replace(path)
            self._tidy()
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}") from None
        return data

    def _tidy(self) -> None:
        """What was not used for longest goes, parts as well."""
        found = sorted(self.folder.iterdir(), key=lambda one: one.stat().st_mtime)
        for old in found[:-KEPT]:
            old.unlink()

    def _append(self, part: Path, digest: bytes, size: int) -> None:
        """Until it is whole. Raises TransportError where it is not; what has come stays."""
        start = part.stat().st_size if part.exists() else 0
        if start == size:
            return
        # the last byte that is asked for is the last that was announced: no more is taken
        span = {"Range": f"bytes={start}-{size - 1}", "Accept-Encoding": "identity"}
        asked = Asked(self.url, "GET", f"/v1/payload/{digest.hex()}", headers=span)

        def read(answer: http.client.HTTPResponse) -> tuple[int, bytes]:
            begins = f"bytes {start}-"
            goes_on = answer.status == 206 and (answer.getheader("Content-Range") or "").startswith(
                begins
            )
            if not goes_on and answer.status != 200:
                return answer.status, b""
            with part.open("ab" if goes_on else "wb") as file:
                left = size - file.tell()
                while left and (piece := answer.read(min(PIECE, left))):
                    file.write(piece)
                    left -= len(piece)
            return answer.status, b""

        status, _ = answered(asked, self.context, SILENCE, read)
        if not part.exists() or part.stat().st_size != size:
            said = "broke off" if status in (200, 206) else f"is answered with HTTP {status}"
            raise TransportError(f"the download of the payload {said}")
