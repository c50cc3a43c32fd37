"""Links over WebSockets: a client on `websockets`, a server as a bare ASGI callable.

What listens is `secagg.transport.door`.

Binary messages only, no compression at either end (a limit must hold before anything is inflated),
and the same hard limit at both ends. Without TLS nothing but loopback is spoken to: a plan's
promises start from links that nobody else reads.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from secagg.arguments import integer, seconds, text
from secagg.errors import (
    LinkClosed,
    LinkTimeout,
    MissingExtra,
    ParameterError,
    PolicyRefused,
    TransportError,
)
from secagg.transport.base import DEFAULT_MAX_SIZE, MAX_SIZE, Link, OnLink
from secagg.transport.doorkeeper import Entrance
from secagg.transport.protocols import DOOR

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.asyncio.client import connect as connect_type
    from websockets.exceptions import ConnectionClosed

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

PING_INTERVAL = 20.0
PING_TIMEOUT = 60.0
"""Seconds. Wider than the libraries' 20: a client that trains, or a server that unmasks, may hold
its interpreter for many seconds without being gone."""
CLOSE_TIMEOUT = 5.0
"""Seconds that a closing handshake may take; a peer that does not read cannot hold us longer."""
_NO_PROXY = "a proxy is http://HOST:PORT, or http://NAME:PASSWORD@HOST:PORT"
QUEUE = 2
"""Whole messages a client reads ahead: each may be as large as the limit."""

_UNSUPPORTED_DATA, _TOO_BIG = 1003, 1009  # close codes, RFC 6455 §7.4.1
_GOODBYES = (1000, 1001, _UNSUPPORTED_DATA, _TOO_BIG)


def check_url(url: str) -> None:
    """Raises ParameterError for what is no URL of a server, PolicyRefused for `ws://` elsewhere."""
    _parse(url)


async def connect(
    url: str,
    *,
    max_size: int = DEFAULT_MAX_SIZE,
    timeout: float = 10.0,
    tls: ssl.SSLContext | None = None,
    proxy: str | None = None,
) -> Link:
    """A link to the server at `url`, `wss://...`, or `ws://...` on loopback.

    max_size: bytes of the largest message accepted. timeout: seconds for the whole opening. tls:
    whom to trust under `wss://`; None is whom the machine trusts. proxy: `http://HOST:PORT`, with
    or without who asks, by whose CONNECT the link goes; None is none, whatever the environment
    names: a proxy sees who takes part, and when.
    Raises ParameterError for what is no such URL, PolicyRefused for `ws://` to another machine,
    MissingExtra without the package websockets, LinkTimeout, and TransportError when nobody answers
    or what answers is no such service.
    """
    max_size, timeout = integer("max_size", max_size, 1, MAX_SIZE), seconds("timeout", timeout)
    try:
        from websockets.asyncio.client import connect as open_websocket
        from websockets.exceptions import InvalidProxy, WebSocketException
    except ImportError as error:
        raise MissingExtra(missing("websockets")) from error
    host, port = _parse(url)
    if proxy is not None and not proxy.startswith("http://"):
        raise ParameterError(_NO_PROXY)
    given: dict[str, Any] = {} if tls is None else {"ssl": tls}
    if proxy is None:
        # An explicit host and port also make a redirect to another origin an error.
        given |= {"host": host, "port": port}

    try:
        connection = await (open_websocket if proxy is None else _staying(open_websocket))(
            url,
            proxy=proxy,
            compression=None,
            max_size=max_size,
            max_queue=QUEUE,
            open_timeout=timeout,
            close_timeout=CLOSE_TIMEOUT,
            ping_interval=PING_INTERVAL,
            ping_timeout=PING_TIMEOUT,
            **given,
        )
    except InvalidProxy:
        raise ParameterError(_NO_PROXY) from None
    except TimeoutError as error:
        raise LinkTimeout(f"{host}:{port} did not answer within {timeout} seconds") from error
    except (OSError, WebSocketException, ValueError) as error:
        raise TransportError(f"no link to {host}:{port}: {error}") from error
    return _ClientLink(connection)


def _staying(opening: type[connect_type]) -> type[connect_type]:
    """By a proxy the address is its own, and the service's redirects would be followed."""

    class Staying(opening):  # type: ignore[valid-type, misc]
        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc

    return Staying


def asgi(on_link: OnLink, *, max_size: int = DEFAULT_MAX_SIZE) -> AsgiApp:
    """An ASGI application that hands every WebSocket to `on_link`, whatever its path.

    It mounts in FastAPI or Starlette and runs under any ASGI server; give that server the same
    limit (`uvicorn --ws websockets-sansio --ws-max-size N --ws-per-message-deflate false`) and TLS.
    A handshake with an Origin header comes from a web page and is refused: a browser lets any page
    open a WebSocket to loopback, and a page is no participant.
    """

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _upgrade_required(send)
        elif scope["type"] == "websocket":
            await _serve_websocket(scope, receive, send)
        else:  # lifespan: nothing to start, and raising is how an application says so
            raise TransportError(f"scope {scope['type']!r} is not served here")

    async def _serve_websocket(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        if any(name.lower() == b"origin" for name, _ in scope["headers"]):
            await send({"type": "websocket.close"})  # before the accept: HTTP 403
            return
        try:
            await send({"type": "websocket.accept"})
        except OSError:
            return  # gone before the accept
        entrance = entrance_of(scope)
        address = _address(scope) if entrance is None else entrance.address
        link = _ServerLink(receive, send, max_size, address, entrance)
        if entrance is not None:
            entrance.greeted()
        try:
            await on_link(link)
        except LinkClosed:
            return  # as good an end of a link as any
        finally:
            if entrance is not None:
                entrance.leaving()
            await link.close()

    return application


class _ClientLink:
    """The client's end, on a connection of the `websockets` package."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, data: bytes) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            await self._connection.send(data)
        except ConnectionClosed as closed:
            raise _gone(closed) from closed

    async def receive(self) -> bytes:
        from websockets.exceptions import ConnectionClosed

        try:
            data = await self._connection.recv()
        except ConnectionClosed as closed:
            raise _gone(closed) from closed
        if isinstance(data, str):
            await self._connection.close(_UNSUPPORTED_DATA, "binary frames only")
            raise LinkClosed("the peer sent a text frame, and was closed")
        return data

    async def close(self) -> None:
        await self._connection.close()


def _gone(closed: ConnectionClosed) -> LinkClosed:
    """In order only where the server has said goodbye, and why."""
    gone = LinkClosed(f"the link is closed: {closed}")
    gone.orderly = closed.rcvd is not None and closed.rcvd.code in _GOODBYES
    gone.too_large = closed.sent is not None and closed.sent.code == _TOO_BIG
    gone.orderly &= not gone.too_large
    return gone


class _ServerLink:
    """The server's end, on the two callables of an accepted ASGI WebSocket."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        max_size: int,
        address: str | None = None,
        entrance: Entrance | None = None,
    ) -> None:
        self.address, self._entrance = address, entrance
        self.certificate = None if entrance is None else entrance.certificate
        self._receive = receive
        self._send = send
        self._max_size = max_size
        self._closed = False

    async def send(self, data: bytes) -> None:
        if self._closed:
            raise LinkClosed("the link is closed")
        try:
            await self._send({"type": "websocket.send", "bytes": data})
            if self._entrance is not None:
                self._entrance.watch.carried(sent=len(data))
        except (OSError, RuntimeError) as gone:
            # ASGI has `send` raise OSError after a disconnect; uvicorn raises RuntimeError where
            # it closed by itself, as it does for a message past the limit. What the peer said
            # before it went can still be received
            raise LinkClosed("the peer is gone") from gone

    async def receive(self) -> bytes:
        if self._closed:
            raise LinkClosed("the link is closed")
        event = await self._receive()
        if event["type"] != "websocket.receive":
            self._closed = True
            raise LinkClosed(f"the peer closed the link, code {event.get('code', 1005)}")
        data: bytes | None = event.get("bytes")
        if data is None:
            await self._close(_UNSUPPORTED_DATA, "binary frames only")
            raise LinkClosed("the peer sent a text frame, and was closed")
        if len(data) > self._max_size:  # a host application's server may have a wider limit
            await self._close(_TOO_BIG, f"at most {self._max_size} bytes")
            raise LinkClosed(f"the peer sent {len(data)} bytes; the limit is {self._max_size}")
        if self._entrance is not None:
            self._entrance.watch.carried(received=len(data))
        return data

    def stranger(self, unknown: bool) -> None:
        """`secagg.transport.base.stranger`; another server has no such places."""
        if self._entrance is not None:
            if unknown:
                self._entrance.unknown()
            else:
                self._entrance.known()

    def bounded(self, most: Callable[[], int]) -> None:
        """`secagg.transport.base.bounded`; another server has its own limit."""
        if self._entrance is not None:
            self._entrance.most = most

    async def close(self) -> None:
        await self._close(1000, "")

    async def _close(self, code: int, reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except (OSError, RuntimeError):
            return  # TimeoutError, or closed already: either way nobody listens


def entrance_of(scope: Scope) -> Entrance | None:
    """Of the connection, as the door that accepted it knows it; None under another server."""
    entrance: Entrance | None = scope.get("state", {}).get(DOOR)
    return entrance


def _address(scope: Scope) -> str | None:
    """As the network has it, or as the host application's server takes it from a proxy."""
    client = scope.get("client")
    return str(client[0]) if client else None


async def _upgrade_required(send: Send) -> None:
    headers = [(b"content-type", b"text/plain"), (b"upgrade", b"websocket")]
    await send({"type": "http.response.start", "status": 426, "headers": headers})
    await send({"type": "http.response.body", "body": b"this is a WebSocket service\n"})


def _parse(url: str) -> tuple[str, int]:
    """Host and port; of what TLS does not protect only loopback."""
    url = text("url", url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ParameterError(f"not a URL: {error}") from error
    if parts.scheme not in ("ws", "wss") or not host:
        raise ParameterError("a server's URL is ws://HOST:PORT or wss://HOST:PORT")
    if port == 0:
        raise ParameterError("a server's URL has the port that it listens on, and 0 is none")
    if parts.scheme == "ws":
        return loopback(host), port or 80
    return host, port or 443


def loopback(host: str) -> str:
    """A numeric loopback address, or PolicyRefused: no name is resolved to find out."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise PolicyRefused(
            f"without TLS only loopback is spoken to, and {host} is not. Put the service behind "
            "TLS (secagg.transport.door.TLS, or secagg.transport.websocket.asgi mounted in a TLS "
            "server) and use wss://"
        )
    return str(address)


def missing(package: str) -> str:
    """What to say where it is not installed."""
    return f"the package {package} is not installed: pip install 'secagg[server]'"
