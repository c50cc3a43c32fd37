"""Upload and Abort, both bound to the offer."""

from __future__ import annotations

from secagg.wire.header import HEADER_SIZE, write_header

UPLOAD = 1
ABORT = 2
NAMES = {UPLOAD: "upload", ABORT: "abort"}
SMALLEST = HEADER_SIZE + 1


def abort(offer: bytes, code: int) -> bytes:
    """code: of an AbortReason (specs/11-plainsum.md)."""
    return write_header(ABORT, offer).u8(code).finish()
