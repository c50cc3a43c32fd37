"""A site has another key from now on, which the old one signs (specs/51-admission.md, rule E7).

The new key is on the disk before anybody hears of it, and the old one until the service has said
that it knows the new one. So whatever ends this in between, it goes on with the same new key, which
the service takes twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from secagg.crypto import sign
from secagg.errors import PolicyRefused, StorageError, TransportError
from secagg.invitation import Renewal
from secagg.roster import Enrolment
from secagg.service.paths import RENEW
from secagg.service.site import Site
from secagg.service.web import Asked, ask, trust
from secagg.store.files import sync_folder
from secagg.store.identity import Identity
from secagg.types import Seed
from secagg.wire.hello import Service

PATIENCE = 10.0
"""Seconds that whoever takes part gives a renewal that has not ended."""


def beside(site: Site) -> Path:
    """Where its next key is, while it is renewed."""
    return site.identity.with_name(site.identity.name + ".new")


def take_up(site: Site, timeout: float) -> bytes:
    """The public half of the site's new key, which is `beside` and in its place afterwards.
    timeout: seconds until the service answers.

    Raises StorageError for an identity that is in use, TransportError where there is no answer, and
    PolicyRefused where the service does not take the key: then the old one is still the site's.
    """
    after = beside(site)
    with Identity.open(site.identity) as old, Identity.open(after) as new:
        _tell(site, old.seed, new.seed, timeout)
        try:
            os.replace(after, site.identity)
            sync_folder(site.identity.resolve().parent)
        except OSError as error:
            raise StorageError(
                f"{site.identity} cannot be replaced: {error.strerror}; the service knows the key "
                f"in {after} now: the same again ends this"
            ) from None
        return sign.public_key(new.seed)


def finish(site: Site, told: Callable[[str], None]) -> None:
    """A renewal that was begun and not ended is, if the service can be reached. Raises as
    `take_up`, but where it cannot."""
    if not beside(site).exists():
        return
    try:
        take_up(site, PATIENCE)
    except TransportError as error:
        told(f"the renewal of this site's key has not ended: {error}")
    else:
        told("the renewal of this site's key had not ended, and has now")


def _tell(site: Site, old: Seed, new: Seed, timeout: float) -> None:
    said = Renewal.make(Service(site.service, site.key), old, Enrolment.make(site.name, new))
    asked = Asked(site.url, "POST", RENEW, said.encode())
    status, data = ask(asked, trust(site.authority), timeout)
    if status == 200:
        return
    why = _why(data)
    if status == 403 and why:
        # the service's own word, not that of a proxy: of a key that it had taken it would not say
        # so, unless it takes neither
        beside(site).unlink()
        raise PolicyRefused(f"the service refuses: {why}")
    raise TransportError(f"the service answers HTTP {status}" + (f": {why}" if why else ""))


def _why(data: bytes) -> str:
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    why = answer.get("error") if isinstance(answer, dict) else None
    return why if isinstance(why, str) else ""
