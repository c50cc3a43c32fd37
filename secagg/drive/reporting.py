"""A client of several servers: one report, built once, and the same bytes until they are stored.

    outcome = await report(task, {"update": vector}, urls=["wss://leader.example"])

A link that is lost is opened again, and the report sent again: every server stores it once,
however often it comes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from secagg import party
from secagg.arguments import seconds
from secagg.drive.handshake import anonymous
from secagg.drive.outbound import FLUSH_TIMEOUT
from secagg.errors import LinkTimeout, ParameterError, RemoteProtocolError, WireError
from secagg.plans.task import Task
from secagg.records import clipping
from secagg.sansio import Aborted
from secagg.transport import websocket
from secagg.transport.base import Link
from secagg.transport.router import Backoff, Connected, News, Opener, Received, Router
from secagg.types import AbortReason, PartyId, Randomness, Role, server_id, system_randomness
from secagg.wire.frame import HEAD_SIZE, Message, decode_frame, payload_digest

log = logging.getLogger(__name__)

TIMEOUT = 60.0
"""Seconds, unless the caller says otherwise: longer than a server takes to restart."""
_SMALLEST_LIMIT = 4096
"""Bytes: what servers say to clients and to each other is this small whatever the plan."""


def message_limit(task: Task) -> int:
    """Bytes of the largest frame that anybody of this task sends."""
    return HEAD_SIZE + max(task.plan.cost.largest_message, _SMALLEST_LIMIT)


@dataclass(frozen=True, slots=True)
class ReportOutcome:
    """reason: None once every server has signed that it has stored this report, those among them
    that the leader speaks for; else why it ended, with detail. links: opened. bytes_up: of protocol
    messages, repeats included. clipped: elements beyond clip, by field; it stays on this side, but
    for its sum in a plan with the lane `clipped`.
    """

    reason: AbortReason | None
    detail: str
    links: int
    bytes_up: int
    clipped: Mapping[str, int]

    @property
    def stored(self) -> bool:
        return self.reason is None


async def report(
    task: Task,
    fields: Mapping[str, Any],
    *,
    urls: Sequence[str],
    weight: int = 1,
    payload: bytes = b"",
    timeout: float = TIMEOUT,
    randomness: Randomness = system_randomness,
) -> ReportOutcome:
    """Reports once and waits until every server has signed that it is stored.

    task: from somebody whom the caller trusts not to be all of its servers. fields: as of the plan.
    urls: the leader's alone where it relays, and those of all servers, by index, in direct mode.
    payload: the description of the task as this client has it.

    Raises InputError for another payload, and for fields that do not fit, before anything is sent;
    ParameterError and PolicyRefused for the urls; LinkTimeout after `timeout` seconds. To try
    again with the same bytes, keep a Reporter instead.
    """
    reporter = Reporter(task, fields, weight=weight, payload=payload, randomness=randomness)
    return await reporter.deliver(openers(task, urls, Role.CLIENT), timeout=timeout)


def openers(task: Task, urls: Sequence[str], role: Role) -> dict[PartyId, Opener]:
    """For a client or a collector: by server, what opens a link to it and says hello."""
    reached = task.plan.params.servers
    if role is Role.CLIENT and not task.plan.params.direct:
        reached = 1
    if len(urls) != reached:
        which = (
            "the leader's alone" if reached == 1 else f"those of all {reached} servers, by index"
        )
        raise ParameterError(f"{len(urls)} URLs, and needed are {which}")
    return {server_id(index): _opener(task, url, role) for index, url in enumerate(urls)}


def greeted(opener: Opener, hello: bytes) -> Opener:
    """Opens a link as `opener` does, and says hello."""

    async def open_and_greet() -> Link:
        link = await opener()
        await link.send(hello)
        return link

    return open_and_greet


def message_of(router: Router, news: Received, nonce: bytes, limit: int) -> bytes | None:
    """The message inside a frame, if it has this nonce; what is no frame ends its link."""
    try:
        frame = decode_frame(news.data, limit=limit)
    except WireError as error:
        log.warning("the link to party %d is given up: %s", news.party, error)
        router.renew(news.party)
        return None
    return frame.data if isinstance(frame, Message) and frame.nonce == nonce else None


def _opener(task: Task, url: str, role: Role) -> Opener:
    async def open_link() -> Link:
        return await websocket.connect(url, max_size=message_limit(task))

    return greeted(open_link, anonymous(task, role))


class Reporter:
    """One report, and its delivery, which may be tried as often as it takes.

    A report that may have been stored must never be replaced by a new one of the same input: both
    would be summed.
    """

    def __init__(
        self,
        task: Task,
        fields: Mapping[str, Any],
        *,
        weight: int = 1,
        payload: bytes = b"",
        randomness: Randomness = system_randomness,
    ) -> None:
        """Builds the report. Raises InputError, before anything is sealed."""
        self._nonce, self._limit = task.nonce(), message_limit(task)
        self._client = party.Client(
            task.plan,
            PartyId(0),  # no server asks: links are told apart by the servers
            nonce=self._nonce,
            payload_digest=task.payload_digest,
            committee=task.committee,
            randomness=randomness,
        )
        self._client.set_input(fields, weight=weight, payload_digest=payload_digest(payload))
        if note := clipping(task.plan.schema, self._client.clipped):
            log.warning("in this report, %s", note)
        self._client.start()
        self._client.outgoing()  # said again over every new link
        self._links = self._bytes_up = 0
        self._reason: AbortReason | None = None
        self._detail = ""

    async def deliver(
        self,
        openers: Mapping[PartyId, Opener],
        *,
        timeout: float = TIMEOUT,
        backoff: Backoff | None = None,
    ) -> ReportOutcome:
        """openers: by server. Another call, after a LinkTimeout, sends the same bytes."""
        timeout = seconds("timeout", timeout)
        try:
            async with asyncio.timeout(timeout), Router(openers, backoff=backoff) as router:
                while not self._client.done:
                    self._take(router, await router.receive())
                await router.flush(FLUSH_TIMEOUT)
        except TimeoutError:
            if not self._client.done:
                raise LinkTimeout(self._unheard(timeout)) from None
        return ReportOutcome(
            self._reason, self._detail, self._links, self._bytes_up, dict(self._client.clipped)
        )

    def _unheard(self, timeout: float) -> str:
        if not self._bytes_up:
            return f"no server could be reached within {timeout:g} seconds, and nothing was sent"
        return (
            f"not every server has acknowledged the report within {timeout:g} seconds. It may be "
            "stored or not: the same report may be delivered again, but a new one of the same "
            "input could be summed beside it"
        )

    def _take(self, router: Router, news: News) -> None:
        if isinstance(news, Connected):
            self._links += 1
            self._client.machine.reconnected(news.party)
        elif isinstance(news, Received):
            data = message_of(router, news, self._nonce, self._limit)
            if data is not None:
                self._hear(news.party, data)
        self._drain(router)

    def _hear(self, server: PartyId, data: bytes) -> None:
        try:
            self._client.receive(server, data)
        except RemoteProtocolError as fault:
            self._reason, self._detail = AbortReason.PEER_FAULT, str(fault)

    def _drain(self, router: Router) -> None:
        for event in self._client.events():
            if isinstance(event, Aborted) and self._reason is None:
                self._reason, self._detail = event.reason, event.detail or "a server said so"
        for out in self._client.outgoing():
            if router.reaches(out.to):
                self._bytes_up += len(out.data)
                router.send(out.to, Message(self._nonce, out.data).encode())
