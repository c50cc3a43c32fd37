"""What a driver asks of a network: whole messages, in order, until the link is gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Protocol, TypeAlias

from secagg.watch import Cut, Watch
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


def address_of(link: Link) -> str | None:
    """Where the far end's packets come from, where the link's transport knows: the network's word,
    which is that of a proxy for everybody behind it; of IPv6 perhaps its network alone."""
    address: str | None = getattr(link, "address", None)
    return address


def certificate_of(link: Link) -> bytes | None:
    """What the far end has shown in its handshake of TLS, in DER, where the link's transport asks
    for it: of an authority that the transport knows."""
    certificate: bytes | None = getattr(link, "certificate", None)
    return certificate


def stranger(link: Link, unknown: bool) -> None:
    """Tells the link's transport whether its far end has yet to say who it is: meanwhile it has a
    stranger's place, and a stranger's limits, where the transport has any."""
    told: Callable[[bool], None] | None = getattr(link, "stranger", None)
    if told is not None:
        told(unknown)


def bounded(link: Link, most: Callable[[], int]) -> None:
    """Tells the link's transport who knows how many bytes a message of its far end may have now:
    it is asked as one begins, where the transport looks at what is announced."""
    told: Callable[[Callable[[], int]], None] | None = getattr(link, "bounded", None)
    if told is not None:
        told(most)


class Verdicts(Protocol):
    """What becomes of connections: those that are cut, and why; those that may be read on; and when
    the doors want to be asked again, in monotonic seconds."""

    @property
    def cut(self) -> Mapping[Hashable, Cut]: ...
    @property
    def read_on(self) -> Sequence[Hashable]: ...
    @property
    def due(self) -> float: ...


class Doors(Protocol):
    """Who judges connections before and while they are links: `secagg.rounds.doors.Doors`.

    It decides and does nothing: whoever has the sockets tells it of each connection, under any name
    of its own, and carries out what `take` says.
    """

    def opened(self, link: Hashable, address: str, now: float, *, tls: bool = False) -> None: ...
    def secured(self, link: Hashable, now: float) -> None: ...
    def asked(self, link: Hashable, now: float) -> None: ...
    def answered(self, link: Hashable, now: float) -> None: ...
    def greeted(self, link: Hashable, now: float) -> None: ...
    def unknown(self, link: Hashable, now: float) -> None: ...
    def known(self, link: Hashable, now: float) -> None: ...
    def leaving(self, link: Hashable, now: float) -> None: ...
    def closed(self, link: Hashable, now: float) -> None: ...
    def reads(
        self,
        link: Hashable,
        now: float,
        *,
        pieces: int,
        size: int,
        pending: int,
        got: int,
        message: int,
        most: int,
    ) -> bool: ...
    @property
    def watch(self) -> Watch: ...
    @property
    def full(self) -> bool: ...
    @property
    def quiet(self) -> bool: ...
    def starved(self, now: float) -> None: ...
    def tick(self, now: float) -> None: ...
    def take(self) -> Verdicts: ...
    def close(self) -> None: ...
