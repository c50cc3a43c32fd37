"""A service inside a server of somebody else's (`secagg.service.app`)."""

from __future__ import annotations

import asyncio
import logging

from secagg.errors import ParameterError, SecAggError
from secagg.service.checking import refusals
from secagg.service.config import Config
from secagg.service.serving import Serving, opened
from secagg.shown import short
from secagg.transport.websocket import AsgiApp, Receive, Scope, Send
from secagg.watch import Event

log = logging.getLogger(__name__)


class Mounted:
    """An ASGI application, for the life of which the service runs."""

    def __init__(self, config: Config, version: str) -> None:
        if refused := refusals(config):
            raise ParameterError("; ".join(refused))
        self._config, self._version = config, version
        self._inner: AsgiApp | None = None

    __repr__ = short

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lives(receive, send)
        elif self._inner is not None:
            await self._inner(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()  # websocket.connect
            await send({"type": "websocket.close"})  # before the accept: HTTP 403
        else:
            headers = [(b"retry-after", b"5"), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": b""})

    async def _lives(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        said = "lifespan.startup"
        try:
            async with opened(self._config, self._version, self._mount) as serving:
                await send({"type": f"{said}.complete"})
                said = "lifespan.shutdown"
                await self._served(serving, receive)
        except SecAggError as error:
            await send({"type": f"{said}.failed", "message": str(error)})
        else:
            await send({"type": f"{said}.complete"})
        finally:
            self._inner = None

    async def _served(self, serving: Serving, receive: Receive) -> None:
        """Until the host ends. Where the store fails the service ends alone, and all that comes
        after is answered 503."""
        stop = asyncio.Event()
        running = asyncio.create_task(serving.run(stop))
        ending = asyncio.ensure_future(receive())  # lifespan.shutdown
        await asyncio.wait({running, ending}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            self._inner = None
            said = "the service has ended inside its host, which goes on: %s", running.exception()
            log.error(*said, extra=Event.MOUNT_ENDED.line)
            await ending
        stop.set()
        await running
        await serving.drain()

    def _mount(self, app: AsgiApp, largest: int) -> int:
        self._inner = app
        log.warning(
            "mounted in another server, which has to limit what this service's own door does: see "
            "secagg.service.app; its messages have at most %d bytes",
            largest,
            extra=Event.MOUNTED.line,
        )
        return self._config.listen.port
