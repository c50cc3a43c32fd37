"""asyncio: `serve` runs the service, `connect` and `participate` are a client of it.

The server, and each of its clients::

    async with secagg.serve(port=8000) as service:
        await service.ready(clients=100, timeout=60)
        total = await service.run_round(plan, task, deadlines=30)

    async with secagg.connect("ws://127.0.0.1:8000") as link:
        await secagg.participate(link, inputs, plan=plan)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from secagg.arguments import instance
from secagg.drive import warm
from secagg.drive.listening import descriptors, listen
from secagg.drive.participant import Contribution, Inputs, Outcome, participate
from secagg.drive.service import Deadlines, Files, Observer, Service
from secagg.plans.plan import Plan
from secagg.roster import SignedRoster
from secagg.rounds.clock import RoundReport
from secagg.rounds.offer import Offer
from secagg.rounds.quota import Limits
from secagg.store.base import Store
from secagg.store.identity import Identity
from secagg.transport import websocket
from secagg.transport.base import DEFAULT_MAX_SIZE, Link
from secagg.transport.tls import Credentials
from secagg.types import Randomness, system_randomness
from secagg.wire.frame import HEAD_SIZE

__all__ = [
    "Contribution",
    "Deadlines",
    "Inputs",
    "Observer",
    "Offer",
    "Outcome",
    "RoundReport",
    "Service",
    "connect",
    "message_limit",
    "participate",
    "serve",
]


@asynccontextmanager
async def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    max_size: int = DEFAULT_MAX_SIZE,
    limits: Limits | None = None,
    randomness: Randomness = system_randomness,
    roster: SignedRoster | None = None,
    identity: Identity | None = None,
    store: Store | None = None,
    files: Files | None = None,
    tls: Credentials | None = None,
) -> AsyncIterator[Service]:
    """A service on a WebSocket of its own, inside the running loop; `service.port` is bound.

    host: loopback (PolicyRefused), or with tls any numeric address: `TLS(certificate, key).load()`
    of `secagg.transport.door`; or mount `asgi(service.on_link)` in another TLS server. port: 0
    takes a free one. max_size: `message_limit(plan)`, or a limit for all plans to come. limits: all
    limits at once, fewer links where this process may not open so many files. roster, identity,
    store, files: as of `Service`.
    On leaving, every frame already due is sent and every link is closed. Kernels are compiled
    before it listens (`secagg.drive.warm`). Raises CryptoError where they compute wrongly.
    """
    if limits is not None:
        instance("limits", limits, Limits)
    limits = (limits or Limits(frame=max_size)).within(descriptors())
    await asyncio.to_thread(warm.up)
    more: dict[str, Any] = {"roster": roster, "identity": identity, "store": store}
    more["files"] = files
    service = Service(limits=limits, randomness=randomness, **more)
    given: dict[str, Any] = {"limits": limits, "max_size": limits.frame, "tls": tls}
    async with listen(service.on_link, host, port, **given) as bound:
        service.port = bound
        try:
            yield service
        finally:
            await service.close()


@asynccontextmanager
async def connect(
    url: str, *, max_size: int = DEFAULT_MAX_SIZE, timeout: float = 10.0
) -> AsyncIterator[Link]:
    """A link to a service, for `participate`; closed on leaving.

    max_size: bytes of the largest frame accepted; an announcement carries the plan and the task.
    Kernels are compiled before, as no deadline runs yet. Raises as
    `secagg.transport.websocket.connect` does, and CryptoError where they compute wrongly.
    """
    await asyncio.to_thread(warm.up)
    link = await websocket.connect(url, max_size=max_size, timeout=timeout)
    try:
        yield link
    finally:
        await link.close()


def message_limit(plan: Plan) -> int:
    """Bytes of the largest frame that a client of this plan sends: a server's `max_size`."""
    return HEAD_SIZE + instance("plan", plan, Plan).cost.largest_message
