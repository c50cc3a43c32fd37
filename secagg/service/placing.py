"""A site of a task whose clients sign: the roster in force, which its service hands out, and its
administrator has signed (specs/51-admission.md §6)."""

from __future__ import annotations

import asyncio
import http.client
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from secagg.drive.enrolled import Member, renewed
from secagg.errors import InputError, ParameterError, PolicyRefused, SecAggError, TransportError
from secagg.plans.terms import Terms
from secagg.policy import Policy, admit
from secagg.roster import MAX_ROSTER_FILE, Pin, SignedRoster
from secagg.rounds.client import ClientRounds
from secagg.service import tables
from secagg.service.jitter import Jitter
from secagg.service.paths import ROSTER
from secagg.service.site import Site
from secagg.service.web import Asked, answered, trust
from secagg.service.whole import write_whole
from secagg.shown import short
from secagg.store.base import Ledger
from secagg.store.identity import Identity

# Theory of operation.
#
# A service is asked for the roster, and believed nothing: whoever signs it is pinned in the site's
# file, which had it from somebody else. What a service can do is to hand out an older one, or none.
# Against the former there are three marks, and the highest counts: the epoch in the site's file,
# that of the roster that was taken last and lies beside it, and what the ledger has noted. Each
# outlives the loss of the others.
#
# A site may wait for days until it is asked, and rosters last weeks: before each link it asks
# again, and goes on under the newer one.

_LARGEST_POLICY = 1 << 16
"""Bytes."""
_TIMEOUT = 10.0
"""Seconds that a service has to hand a roster out."""


@dataclass
class Placing:
    """admin: who signs the roster, as the site pins it."""

    site: Site
    admin: bytes
    policy: Policy = Policy()
    _signed: SignedRoster | None = field(default=None, repr=False)

    __repr__ = short

    @property
    def kept(self) -> Path:
        """The roster that was taken last: beside the site's identity, by the name of the task."""
        return self.site.identity.with_name(f"{self.site.task}.roster")

    async def begin(self, timeout: float) -> None:
        """The roster in force, before the first link. Raises TransportError where the service has
        none for so many seconds, and as `fetch`."""
        jitter, until = Jitter(), time.monotonic() + timeout
        while self._signed is None:
            try:
                self._signed = await self.fetch()
            except TransportError:
                delay = jitter.again()
                if time.monotonic() + delay > until:
                    raise
                await asyncio.sleep(delay)

    async def fetch(self) -> SignedRoster:
        """What the service hands out, if the pinned administrator has signed it and it is not older
        than what this site has seen. Raises TransportError, PolicyRefused, and as
        `SignedRoster.decode` for what is none."""
        pin = self._pin()
        status, data = await asyncio.to_thread(self._asked)
        if status == 404:
            raise TransportError(
                f"{self.site.url} has no roster of {self.site.task} in force: its administrator "
                "has to sign one, and the service's owner to import it"
            )
        if status != 200:
            raise TransportError(f"{self.site.url} does not hand its roster out: HTTP {status}")
        pin.open(data, time.time())
        return SignedRoster.decode(data)

    def member(self, identity: Identity, ledger: Ledger) -> Member:
        """After `begin`. identity: open, and this process's alone. The roster is noted in the
        ledger, and kept beside. Raises as `admit`."""
        signed = self._signed
        if signed is None:
            raise InputError("a member has the roster that is in force: fetch it first")
        self._admit(ledger, signed)
        return Member(identity, signed, self._pin(), self.policy)

    async def renew(self, rounds: ClientRounds, ledger: Ledger) -> None:
        """Before each further link: these rounds go on under the roster that is in force now, where
        none of them runs. Raises as `fetch` and `admit`, and ParameterError for whoever is in it no
        more."""
        member = rounds.membership
        if member is None or rounds.running:
            return
        signed = await self.fetch()
        if signed.roster.digest != member.roster.digest:
            self._admit(ledger, signed)
            rounds.renew(renewed(member, signed.roster))

    def _admit(self, ledger: Ledger, signed: SignedRoster) -> None:
        admit(ledger, self._pin(), signed, time.time())
        try:
            write_whole(self.kept, signed.encode())
        except OSError as error:
            raise InputError(f"{self.kept} cannot be written: {error.strerror}") from None

    def _pin(self) -> Pin:
        """Of the highest epoch that is known without the ledger."""
        pin = Pin(self.admin, self.site.epoch)
        if not self.kept.exists():
            return pin
        try:
            known = SignedRoster.decode(self.kept.read_bytes())
        except (OSError, SecAggError):
            raise InputError(
                f"{self.kept} is no roster, or cannot be read: remove it, and put the newest epoch "
                "that you know of into the site's file"
            ) from None
        if known.admin != self.admin:
            raise PolicyRefused(
                f"{self.kept} is signed by another administrator than the site's file has: where "
                "there is a new one, remove it"
            )
        return replace(pin, epoch=max(pin.epoch, known.roster.epoch))

    def _asked(self) -> tuple[int, bytes]:
        asked = Asked(self.site.url, "GET", ROSTER.format(task=self.site.task))
        return answered(asked, trust(self.site.authority), _TIMEOUT, _whole)


def _whole(answer: http.client.HTTPResponse) -> tuple[int, bytes]:
    """One byte above the largest is none of a roster's, and is found out when it is read."""
    return answer.status, answer.read(MAX_ROSTER_FILE + 1)


def placing_of(site: Site, terms: Terms) -> Placing | None:
    """None of a task whose clients do not sign. Raises InputError and ParameterError for files that
    do not fit each other (rule N6)."""
    if (terms.adversary == "active") is not (site.admin is not None):
        raise InputError(
            "the terms of the task and the site's file do not say alike whether clients sign: "
            "[roster] has the admin's key where they do; enrol again, with --admin if they do"
        )
    if site.admin is None:
        return None
    return Placing(site, site.admin, Policy() if site.policy is None else _policy(site.policy))


def _policy(path: Path) -> Policy:
    data, _ = tables.read_file(path, "the policy", _LARGEST_POLICY)
    try:
        values = tables.decoded(data)
    except ParameterError as error:
        raise InputError(f"the policy {path} is no TOML: {error}") from None
    try:
        return Policy.of(values)
    except ParameterError as error:
        raise ParameterError(f"the policy {path}: {error}") from None
