"""A client of a service: it comes, is asked, takes part, and comes back when it is told to."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from secagg.drive.participant import Participant
from secagg.effects import Peer
from secagg.errors import LinkClosed, TransportError
from secagg.rights import ServiceRole
from secagg.rounds.asked import AskedRounds, Away
from secagg.rounds.client import ClientRounds
from secagg.rounds.greeting import Greeted, Script
from secagg.rounds.offer import Offer, Outcome
from secagg.rounds.reception import as_caller
from secagg.service.fetching import Fetching
from secagg.service.jitter import MOST, Jitter
from secagg.service.site import Site
from secagg.service.web import proxy_of, trust
from secagg.shown import short
from secagg.transport import websocket
from secagg.transport.door import LINK
from secagg.types import Randomness, Seed, system_randomness
from secagg.wire.hello import Service
from secagg.wire.pace import Why

CONNECT = 10.0
"""Seconds that the opening of a link may take; less, where a round waits for it."""
PAYLOADS = ".payloads"
"""Of the name of a folder beside the site's identity: of one process at a time, as that is."""
_SOON = Away(1.0, Why.NOT_DUE)
"""After a round, where the service has said nothing."""


@dataclass
class Caller:
    """One client of one service. signing: the seed of its key. told: hears, for people, of every
    wait and every link. renew: is awaited before each further link, as where a roster may be newer.

        caller = Caller(site, seed)
        participant = Participant(rounds, inputs, ledger=ledger, most=1, **caller.kept)
        await caller.stay(participant, 1, timeout=60.0)
    """

    site: Site
    signing: Seed = field(repr=False)
    told: Callable[[str], None] = field(default=lambda text: None, repr=False)
    randomness: Randomness = field(default=system_randomness, repr=False)
    renew: Callable[[ClientRounds], Awaitable[None]] | None = field(default=None, repr=False)
    _asked: AskedRounds | None = None
    _most: float = math.inf

    __repr__ = short

    def around(self, rounds: ClientRounds) -> Greeted:
        """Of each link: both sides prove who they are, where clients sign by the roster too, and
        then the client is asked whether it is ready."""
        service = Service(self.site.service, self.site.key)
        self._asked = AskedRounds(rounds, self._most)
        task, key = self.site.task, self.signing

        def greet(peer: Peer) -> Script:
            met = yield from as_caller(service, ServiceRole.CLIENT, task, key, self.randomness)
            member = rounds.membership
            return met if member is None else (yield from member.greet(self.randomness))

        return Greeted(self._asked, greet)

    @property
    def kept(self) -> dict[str, Any]:
        """What a Participant has of it."""
        return {"around": self.around, "fetch": self.fetch}

    async def fetch(self, offer: Offer) -> bytes:
        """The payload of an offer that has its digest and size. Raises as `Fetching.fetch`."""
        folder = self.site.identity.with_suffix(PAYLOADS)
        fetching = Fetching(self.site.url, trust(self.site.authority), folder, self.told)
        seconds = sum(offer.deadlines.values())
        return await fetching.fetch(offer.payload_digest, offer.payload_size, seconds)

    async def stay(
        self, participant: Participant, rounds: int | None, *, timeout: float
    ) -> tuple[Outcome, ...]:
        """Until that many rounds are over, over as many links as it takes; None is for ever.
        participant: with what is `kept`, and of as many rounds. timeout: seconds that the service
        may be out of reach, at the beginning or in between; what it says about its next round is
        waited for beside them.

        A round that runs when a link is lost goes on over the next one, if that is there in time.
        Where the service does not come back, what has ended is returned, a round that was lost with
        it included.

        Raises LinkTimeout, or another TransportError, where it is away for longer and no round has
        ended, and whatever `secagg.participate` raises.
        """
        try:
            self._most = math.inf if rounds is None else rounds
            return await self._stay(participant, self._most, timeout)
        except TransportError:
            await participant.leave()
            if not participant.outcomes:
                raise
            return tuple(participant.outcomes)
        finally:
            await participant.leave()

    async def _stay(
        self, participant: Participant, rounds: float, timeout: float
    ) -> tuple[Outcome, ...]:
        jitter, until = Jitter(self.randomness), time.monotonic() + timeout
        while len(participant.outcomes) < rounds:
            begun = time.monotonic()
            try:
                away = await self._over(participant)
            except TransportError as error:
                now = time.monotonic()
                if self._met:
                    until = now + timeout
                    if now - begun >= MOST:
                        jitter.met()
                delay = jitter.again(participant.pressing - now)
                if now + delay > until:
                    raise
                self.told(f"{error}: trying again")
            else:
                if len(participant.outcomes) >= rounds:
                    break
                delay = jitter.after(away.seconds)
                until = time.monotonic() + delay + timeout
                self.told(f"no place now ({away.why.value}): back in {delay:.1f} seconds")
            await participant.wait(delay)
        return tuple(participant.outcomes)

    @property
    def _met(self) -> bool:
        """Whether the service was at the other end of the last link, and has taken this site."""
        return self._asked is not None and self._asked.met

    async def _over(self, participant: Participant) -> Away:
        """A link to its end: after a round, or with a word of when to come back. Raises LinkClosed
        where there was neither, as of a service that does not know this site."""
        if self.renew is not None and self._asked is not None:
            await self.renew(self._asked.rounds)
        url, before = self.site.url.replace("https://", "wss://", 1) + LINK, participant.outcomes[:]
        if self._asked is not None:
            self._asked.met = False
        left = participant.pressing - time.monotonic()
        patience = min(CONNECT, max(1.0, left / 2)) if left > 0 else CONNECT
        proxy = proxy_of(self.site.url)
        link = await websocket.connect(
            url,
            tls=trust(self.site.authority),
            timeout=patience,
            proxy=None if proxy is None else proxy.url,
        )
        by = "" if proxy is None else f" by the proxy {proxy.place}"
        self.told(f"connected to {self.site.url}{by}: waiting for a round")
        try:
            await participant.over(link)
        finally:
            await link.close()
        away = None if self._asked is None else self._asked.later()
        if away is None and participant.lost:
            raise LinkClosed("the link to the service is lost")
        if away is None and participant.outcomes == before:
            raise LinkClosed(
                "the service has closed the link and said nothing: it is ending, or this site is "
                "not approved there, or not any more; ask its administrator"
            )
        return away or _SOON
