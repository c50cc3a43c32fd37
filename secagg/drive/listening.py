"""A WebSocket of one's own, within what this process may have open."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from secagg.rounds.doors import Doors
from secagg.rounds.quota import Limits
from secagg.transport import door
from secagg.transport.base import DEFAULT_MAX_SIZE, OnLink
from secagg.transport.tls import Credentials
from secagg.transport.websocket import AsgiApp


def descriptors() -> int | None:
    """How many this process may open; None where no number says so."""
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
    doors: Doors | None = None,
    max_size: int = DEFAULT_MAX_SIZE,
    tls: Credentials | None = None,
    app: AsgiApp | None = None,
    insecure_plaintext: bool = False,
) -> AbstractAsyncContextManager[int]:
    """`secagg.transport.door.listen` behind doors of these limits, fewer where the process has no
    room; or behind `doors`, for whoever looks at them meanwhile, with the pings of the limits."""
    within = (limits or Limits()).within(descriptors())
    return door.listen(
        on_link,
        host,
        port,
        doors=Doors(within) if doors is None else doors,
        max_size=max_size,
        tls=tls,
        app=app,
        insecure_plaintext=insecure_plaintext,
        ping=within.ping,
        pong=within.pong,
    )
