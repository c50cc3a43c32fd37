"""What a driver asks of a network: whole messages, in order, until the link is gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from secagg.wire.frame import DEFAULT_MAX_SIZE as DEFAULT_MAX_SIZE
from secagg.wire.frame import MAX_SIZE as MAX_SIZE


class Link(Protocol):
    """One end of a connection. At most one task sends and at most one receives at a time."""

    async def send(self, data: bytes) -> None:
        """Returns once the network has room again, not once the peer has it. LinkClosed."""

    async def receive(self) -> bytes:
        """The next whole message; LinkClosed once the link is gone and nothing is left to read."""

    async def close(self) -> None:
        """Idempotent. Whoever waits in `receive` or `send`, at either end, gets LinkClosed."""


OnLink: TypeAlias = Callable[[Link], Awaitable[None]]
"""What a server does with a new link, which is closed when it returns or raises LinkClosed."""


def identity_of(link: Link) -> bytes | None:
    """What the far end has proved to be, where the link's transport has it prove anything: an
    `identity` of the link, such as the digest of a certificate."""
    identity: bytes | None = getattr(link, "identity", None)
    return identity
