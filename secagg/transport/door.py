"""The door of a service: a socket that listens, with TLS, a WebSocket and routes of plain HTTP.

uvicorn's protocols, behind an accept loop of this package: uvicorn's own waits a minute for a
handshake and for ever for a header, shows nobody's certificate, and logs each descriptor that it
does not get.

    async with listen(on_link, "0.0.0.0", 443, doors=doors, tls=TLS(chain, key).load()) as port:
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from secagg.arguments import functions, instance, integer, seconds
from secagg.errors import MissingExtra, ParameterError, TransportError
from secagg.repeats import Repeats
from secagg.transport.base import DEFAULT_MAX_SIZE, MAX_SIZE, Doors, OnLink
from secagg.transport.doorkeeper import Doorkeeper, Entrance
from secagg.transport.protocols import DOOR, protocols
from secagg.transport.tls import TLS as TLS
from secagg.transport.tls import Credentials as Credentials
from secagg.transport.tunnel import Tunnel
from secagg.transport.websocket import (
    CLOSE_TIMEOUT,
    PING_INTERVAL,
    PING_TIMEOUT,
    AsgiApp,
    Receive,
    Scope,
    Send,
    asgi,
    entrance_of,
    loopback,
    missing,
)
from secagg.watch import Event

if TYPE_CHECKING:
    import uvicorn

log = logging.getLogger(__name__)

_LONG = 1 << 20
"""Seconds: who waits for another request is timed by the doors."""
STILL = "secagg.still"
"""Under which the application of a request finds, in the state of its scope, what says that its
answer goes on: it has the time of a request from then on. A stream says so whenever a piece of it
has left, so that whoever does not read it is cut."""
LINK = "/v1/link"
"""The path of the WebSocket where there are others."""


@asynccontextmanager
async def listen(
    on_link: OnLink,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    doors: Doors,
    max_size: int = DEFAULT_MAX_SIZE,
    tls: Credentials | None = None,
    app: AsgiApp | None = None,
    insecure_plaintext: bool = False,
    ping: float = PING_INTERVAL,
    pong: float = PING_TIMEOUT,
) -> AsyncIterator[int]:
    """Serves `asgi(on_link)` with uvicorn inside the running loop; yields the bound port.

    No signal handlers are installed and no logging is configured: both belong to the caller.
    host: a numeric address or "localhost"; without `tls` loopback, else PolicyRefused. port: 0
    takes a free one. doors: judges connections that are no links yet, and what comes over links:
    `secagg.rounds.doors.Doors` of the caller's limits. tls: `TLS(...).load()`; its `reload` takes
    effect for those who come after it. app: takes requests of plain HTTP, of any path but LINK,
    with a limit of its own for their bodies; None has the WebSocket on every path and nothing else.
    insecure_plaintext: whoever sees the network reads and changes what all links carry, and a plan
    promises nothing about that; for a network that is protected by other means. ping, pong: seconds
    between two pings, and for an answer.

    Raises TransportError when the address is taken, ParameterError for one that is none,
    MissingExtra without the package uvicorn.
    """
    port, max_size = integer("port", port, 0, 65535), integer("max_size", max_size, 1, MAX_SIZE)
    ping, pong = seconds("ping", ping), seconds("pong", pong)
    functions(app=app)
    if tls is not None:
        instance("tls", tls, Credentials)
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtra(missing("uvicorn")) from error
    address = _address(host, tls is not None, insecure_plaintext)
    listener = _bind(address, port)
    served = asgi(on_link, max_size=max_size)
    application = served if app is None else routed(served, app)
    server = uvicorn.Server(_uvicorn_config(application, max_size, ping, pong))
    keeper = Doorkeeper(doors, listener, partial(_made, server, tls), tls=tls is not None)
    async with _serving(server, keeper, listener):
        yield listener.getsockname()[1]


@asynccontextmanager
async def _serving(
    server: uvicorn.Server, keeper: Doorkeeper, listener: socket.socket
) -> AsyncIterator[None]:
    """The steps of Server.serve without its signal handlers, its polling main loop and its
    accepts."""
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    server.servers = []
    accepting = asyncio.create_task(keeper.run())
    words, quiet = logging.getLogger("uvicorn.error"), _Quiet()
    words.addFilter(quiet)
    try:
        yield
    finally:
        accepting.cancel()
        await asyncio.wait({accepting})
        await keeper.parted(CLOSE_TIMEOUT)
        words.removeFilter(quiet)
        # a closed transport still waits for a peer that does not read: such a peer is cut off
        cut = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, _abort_connections, server)
        await server.shutdown(sockets=[listener])
        cut.cancel()
        keeper.close()
        if not accepting.cancelled():
            accepting.result()


def fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes uvloop's event loops, for `asyncio.Runner(loop_factory=...)`, where that package
    is installed; None else, which is asyncio's own."""
    try:
        made: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    except ImportError:
        return None
    return made


class _Quiet(logging.Filter):
    """What strangers bring about is a line in the log, now and then, and no error of ours: a peer
    that sends what is no text, or no HTTP, does not get a page of it each time."""

    def __init__(self) -> None:
        super().__init__()
        self._repeats = Repeats()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], UnicodeError):
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        if record.exc_info:
            return True
        left_out = self._repeats.count(record.msg, record.created)
        if left_out:
            record.msg, record.args = f"{record.getMessage()} (and {left_out} more like it)", None
        return left_out is not None


def routed(links: AsgiApp, app: AsgiApp) -> AsgiApp:
    """One path is the WebSocket's and all others are the application's, which has none."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        lengths = {b"content-length", b"transfer-encoding"}
        if scope["type"] == "http" and lengths <= {name for name, _ in scope["headers"]}:
            await _ambiguous(send)
        elif scope["path"] == LINK:
            await links(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()  # websocket.connect
            await send({"type": "websocket.close"})  # before the accept: HTTP 403
        else:
            await _answered(app, scope, receive, send)

    return application


async def _ambiguous(send: Send) -> None:
    """Whoever is between may have taken another part of it for the request, and the rest for the
    next one, of somebody else (RFC 9112 §6.3)."""
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _answered(app: AsgiApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Within the time of a request. All that the application learns of this door is STILL."""
    entrance = entrance_of(scope)
    scope["state"] = {name: value for name, value in scope.get("state", {}).items() if name != DOOR}
    if entrance is not None:
        entrance.asked()
        scope["state"][STILL] = entrance.asked
    try:
        await app(scope, receive, send)
    finally:
        if entrance is not None:
            entrance.answered()


def _made(
    server: uvicorn.Server, tls: Credentials | None, entrance: Entrance
) -> asyncio.BaseProtocol:
    made = partial(_protocol_of, server, entrance)
    return made() if tls is None else Tunnel(tls.context, entrance, made)


def _protocol_of(server: uvicorn.Server, entrance: Entrance) -> asyncio.Protocol:
    """As uvicorn makes one for a connection, which finds its entrance in its state."""
    made: asyncio.Protocol = server.config.http_protocol_class(  # type: ignore[call-arg]
        config=server.config, server_state=server.server_state, app_state={DOOR: entrance}
    )
    return made


def _abort_connections(server: uvicorn.Server) -> None:
    for connection in list(server.server_state.connections):
        connection.transport.abort()


def _uvicorn_config(
    application: AsgiApp, max_size: int, ping: float, pong: float
) -> uvicorn.Config:
    import uvicorn

    http, websocket = protocols()
    return uvicorn.Config(
        application,
        ws=websocket,
        ws_max_size=max_size,
        ws_per_message_deflate=False,
        ws_ping_interval=ping,
        ws_ping_timeout=pong,
        http=http,
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_LONG,
        timeout_graceful_shutdown=math.ceil(2 * CLOSE_TIMEOUT),
    )


def _address(host: str, tls: bool, insecure: bool) -> str:
    """To listen on; no name is resolved to find out."""
    if not (tls or insecure):
        return loopback(host)
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise ParameterError(
            f"an address to listen on is numeric, and {host} is not: 0.0.0.0 or :: are all of them"
        ) from None
    if not (tls or address.is_loopback):
        log.warning(
            "links to %s are plain text: whoever sees that network reads and changes what they "
            "carry, and clients speak to no such server by themselves",
            address,
            extra=Event.PLAIN_TEXT.line,
        )
    return str(address)


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # On Windows SO_REUSEADDR lets another process take a port that is in use.
        exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
        option = socket.SO_REUSEADDR if exclusive is None else exclusive
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind((address, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise TransportError(f"cannot listen on {address} port {port}: {error}") from error
    return listener
