"""Links of those who are asked who they are: strangers', until it has been said."""

from __future__ import annotations

from collections.abc import Callable

from secagg.transport.base import Link, bounded, stranger


class Arriving:
    """A link that tells its transport when its far end has said who it is.

    Whoever reads it asks for another message when it has judged the one before, so that is when it
    is looked whether the far end is known by now.
    """

    def __init__(
        self, link: Link, known: Callable[[], bool], most: Callable[[], int] | None = None
    ) -> None:
        """most: bytes that a message of whoever is known may have now; None bounds nothing."""
        self._link, self._known = link, known
        stranger(link, True)
        if most is not None:
            bounded(link, most)

    async def send(self, data: bytes) -> None:
        await self._link.send(data)

    async def receive(self) -> bytes:
        if self._known():
            stranger(self._link, False)
        return await self._link.receive()

    async def close(self) -> None:
        await self._link.close()
