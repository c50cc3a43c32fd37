"""A WebSocket of one's own, within what this process may have open."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from secagg.rounds.doors import Doors
from secagg.rounds.quota import Limits
from secagg.transport import websocket
from secagg.transport.base import DEFAULT_MAX_SIZE, OnLink


def descriptors() -> int | None:
    """How many this process may have open; None where no number says so."""
    try:
        import resource
    except ImportError:  # Windows, whose sockets are no files
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def listen(
    on_link: OnLink,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    limits: Limits | None = None,
    max_size: int = DEFAULT_MAX_SIZE,
) -> AbstractAsyncContextManager[int]:
    """`websocket.listen` behind doors of these limits, fewer where the process has no room."""
    doors = Doors((limits or Limits()).within(descriptors()))
    return websocket.listen(on_link, host, port, doors=doors, max_size=max_size)
