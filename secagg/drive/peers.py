"""Whoever a server has a link to, and what they brought: in lanes that make senders wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from secagg.transport.router import Channel
from secagg.types import PartyId, Role
from secagg.wire.frame import Frame


@dataclass(frozen=True, eq=False)
class Peer:
    """One link, and who proved or said to be at its end. party: of a server."""

    role: Role
    party: PartyId
    channel: Channel


@dataclass(frozen=True, slots=True)
class Linked:
    """A server's link; from here on, what is said to it takes this one."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class Gone:
    """A link has ended: nothing more comes from this peer."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class Arrived:
    """A frame of a peer, in the order of its link."""

    peer: Peer
    frame: Frame


Item: TypeAlias = Linked | Gone | Arrived


class Lane:
    """What waits to be handled, in order. room: messages, before whoever brings one must wait."""

    def __init__(self, room: int, wake: asyncio.Event) -> None:
        self._items: deque[tuple[Item, bool]] = deque()  # and whether it took room
        self._room = asyncio.Semaphore(room)
        self._wake = wake

    def __bool__(self) -> bool:
        return bool(self._items)

    async def put(self, message: Arrived) -> None:
        await self._room.acquire()
        self._items.append((message, True))
        self._wake.set()

    def put_now(self, item: Item) -> None:
        """News of links take no room: there are as many as links."""
        self._items.append((item, False))
        self._wake.set()

    def put_back(self, messages: Sequence[Arrived]) -> None:
        """Before all others."""
        self._items.extendleft((message, False) for message in reversed(messages))

    def take(self) -> Item:
        item, took_room = self._items.popleft()
        if took_room:
            self._room.release()
        return item
