"""`secagg enrol --renew`: a site has another key from now on, which the old one signs.

The new key is on the disk before anybody hears of it, and the old one until the service has said
that it knows the new one. So whatever ends this in between, the same command again goes on, with
the same new key, which the service takes twice (specs/51-admission.md, rule E7); and `join` does so
by itself.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from secagg.cli.enrolling import Whose, new_seed, read_seed, write_seed
from secagg.cli.output import notice
from secagg.crypto import sign
from secagg.errors import PolicyRefused, StorageError, TransportError
from secagg.invitation import Renewal
from secagg.roster import Enrolment
from secagg.service.desk import RENEW
from secagg.service.site import Site
from secagg.service.web import Asked, ask, trust
from secagg.store.files import sync_folder
from secagg.store.identity import Identity
from secagg.types import Seed
from secagg.wire.hello import Service

PATIENCE = 10.0
"""Seconds that `join` gives a renewal that has not ended."""


def renew(site: Site, timeout: float) -> bytes:
    """The public half of the site's new key. timeout: seconds until the service answers.

    Raises StorageError for an identity that is in use, TransportError where there is no answer, and
    PolicyRefused where the service does not take the key: then the old one is still the site's.
    """
    with Identity.open(site.identity) as identity:  # nobody takes part with it meanwhile
        after = beside(site)
        if after.exists():
            seed = read_seed(after, Whose.IDENTITY)
        else:
            write_seed(after, Whose.IDENTITY, seed := new_seed())
        _tell(site, identity.seed, seed, after, timeout)
        try:
            os.replace(after, site.identity)
            sync_folder(site.identity.resolve().parent)
        except OSError as error:
            raise StorageError(
                f"{site.identity} cannot be replaced: {error.strerror}; the service knows the key "
                f"in {after} now: the same command again ends this"
            ) from None
        return sign.public_key(seed)


def finish(site: Site) -> None:
    """A renewal that was begun and not ended is, if the service can be reached. Raises as `renew`,
    but where it cannot."""
    if not beside(site).exists():
        return
    try:
        renew(site, PATIENCE)
    except TransportError as error:
        notice(f"the renewal of this site's key has not ended: {error}")
    else:
        notice("the renewal of this site's key had not ended, and has now")


def beside(site: Site) -> Path:
    """Where its next key is, while it is renewed."""
    return site.identity.with_name(site.identity.name + ".new")


def _tell(site: Site, old: Seed, new: Seed, after: Path, timeout: float) -> None:
    said = Renewal.make(Service(site.service, site.key), old, Enrolment.make(site.name, new))
    asked = Asked(site.url, "POST", RENEW, said.encode())
    status, data = ask(asked, trust(site.authority), timeout)
    if status == 200:
        return
    why = _why(data)
    if status == 403:  # of a key that it had taken it would not say so, unless it takes neither
        after.unlink()
        raise PolicyRefused(f"the service refuses: {why or status}")
    raise TransportError(f"the service answers HTTP {status}" + (f": {why}" if why else ""))


def _why(data: bytes) -> str:
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    why = answer.get("error") if isinstance(answer, dict) else None
    return why if isinstance(why, str) else ""
