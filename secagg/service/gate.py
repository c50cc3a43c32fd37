"""The way of a link of a service: from its socket past the doors and a greeting to the rounds."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeAlias

from secagg.drive.arrival import Arriving
from secagg.drive.listening import listen
from secagg.effects import Peer
from secagg.rounds.attempts import Attempts
from secagg.rounds.doors import Doors
from secagg.rounds.greeting import Greeted
from secagg.rounds.quota import Limits
from secagg.rounds.reception import Reception
from secagg.rounds.server import ServerRounds
from secagg.service import metrics
from secagg.service.config import Bounds, Listen
from secagg.service.hosted import Hosted
from secagg.service.metrics import Metrics
from secagg.shown import short
from secagg.transport.base import Link, address_of, certificate_of, identity_of
from secagg.transport.door import routed
from secagg.transport.tls import Credentials, ends
from secagg.transport.websocket import AsgiApp, asgi
from secagg.watch import Watch

Serve: TypeAlias = Callable[[Peer, Link], Awaitable[Any]]
"""`Shell.serve`."""


class Gate:
    """Of one service. greeted: the rounds, as the driver has them."""

    def __init__(
        self,
        rounds: Hosted,
        inner: ServerRounds,
        reception: Reception,
        limits: Limits,
        watch: Watch,
    ) -> None:
        """rounds: around `inner`, which knows who has a seat. watch: hears of every link."""
        self.inner, self.limits, self._arrived = inner, limits, 0
        self.attempts = Attempts(Bounds().enrolments)
        """Of who asks to be enrolled, by address."""
        self._doors = Doors(limits, watch)
        self.greeted = Greeted(
            rounds,
            lambda peer: reception.greet(),
            most=limits.links + limits.passing,
            timeout=limits.hello,
            watch=watch,
        )

    __repr__ = short

    def listening(
        self, serve: Serve, where: Listen, tls: Credentials | None, app: AsgiApp
    ) -> AbstractAsyncContextManager[int]:
        """The public door: `secagg.transport.door.listen`. serve: until a link is gone."""
        return listen(
            partial(self._served, serve),
            where.host,
            where.port,
            limits=self.limits,
            doors=self._doors,
            max_size=self.limits.frame,
            tls=tls,
            app=app,
            insecure_plaintext=where.insecure_plaintext,
        )

    def mounted(self, serve: Serve, app: AsgiApp) -> AsgiApp:
        """The same behind another server, whose door is not ours."""
        return routed(asgi(partial(self._served, serve), max_size=self.limits.frame), app)

    def bound(self, limits: Limits) -> None:
        """By others from now on, also of links that are there; but for the pings, and for the
        largest message, which are as they were when it was opened."""
        self.limits = limits
        self._doors.bound(limits)
        self.greeted.bound(limits.links + limits.passing, limits.hello)
        self.inner.present.bound(limits)

    def count(self, numbers: Metrics) -> None:
        """What there is now, by how far it has come."""
        seated = self.inner.present.seated
        numbers.set("links", self._doors.passing, state=metrics.Link.STRANGER)
        numbers.set("links", self.inner.connected - seated, state=metrics.Link.CANDIDATE)
        numbers.set("links", seated, state=metrics.Link.SEATED)
        numbers.set("buffered_bytes", self._doors.buffered)

    async def _served(self, serve: Serve, link: Link) -> None:
        self._arrived += 1
        peer = Peer(f"link {self._arrived}", identity_of(link), address=address_of(link))
        known = partial(self.greeted.known, peer)
        arriving = Arriving(link, known, partial(self._largest, peer))
        shown = certificate_of(link)
        left = None if shown is None else max(0.0, ends(shown) - time.time())
        with contextlib.suppress(TimeoutError):  # a certificate that ends, ends its links
            async with asyncio.timeout(left):
                await serve(peer, arriving)

    def _largest(self, peer: Peer) -> int:
        """Bytes of a frame of whoever has greeted: what its rounds' plans have next."""
        met = self.greeted.met(peer)
        return self.limits.stranger if met is None else self.inner.largest(met)
