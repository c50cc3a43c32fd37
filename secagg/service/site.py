"""What a client of a service has: one TOML file beside its secrets, made when it is enrolled.

Nothing in it is secret, and whoever changes it chooses whom the client trusts: it is kept as its
identity is. Paths are of the folder in which it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from secagg.errors import ParameterError
from secagg.service import tables
from secagg.service.tables import Table
from secagg.shown import short

LARGEST = 64 << 10
"""Bytes of a file."""


@dataclass(frozen=True, slots=True)
class Site:
    """url: of the service, https. service, key: its name and Ed25519 key, which it proves on every
    link. authority: a PEM file of who must have issued its certificate; None is whom the machine
    trusts. name, task: as the client was invited. identity, ledger: files of its own. terms: the
    digest of the task's terms, which its rounds must have. admin: of a task whose clients sign, the
    key of who signs its roster, which the service does not choose; None of another. epoch: the
    lowest of a roster that is taken. policy: the file of this client's own floors. told: a folder
    for what the service has signed."""

    url: str
    service: str
    key: bytes
    authority: Path | None
    name: str
    task: str
    identity: Path
    ledger: Path
    terms: bytes
    admin: bytes | None = None
    epoch: int = 0
    policy: Path | None = None
    told: Path | None = None

    __repr__ = short

    @classmethod
    def read(cls, path: Path) -> Site:
        """Raises InputError for a file that cannot be read, ParameterError with all that it is
        refused for."""
        return parse(*tables.read_file(path, "the site's file", LARGEST))

    def text(self, folder: Path) -> str:
        """As `read` reads it from a file in that folder."""
        files = self.authority, self.identity, self.ledger
        authority, identity, ledger = (relative(folder, one) for one in files)
        lines = [
            "# A client of a service of secagg: `secagg join --service` takes part with it.",
            "[service]",
            entry("url", self.url),
            entry("name", self.service),
            entry("key", self.key.hex()),
            *([] if authority is None else [entry("authority", authority)]),
            "",
            "[client]",
            entry("name", self.name),
            entry("task", self.task),
            entry("terms", self.terms.hex()),
            entry("identity", identity),
            entry("ledger", ledger),
            *self._roster(folder),
        ]
        return "\n".join(lines) + "\n"

    def _roster(self, folder: Path) -> list[str]:
        if self.admin is None:
            return []
        files = {"policy": self.policy, "told": self.told}
        return [
            "",
            "[roster]",
            entry("admin", self.admin.hex()),
            f"epoch = {self.epoch}",
            *(
                entry(key, relative(folder, path))
                for key, path in files.items()
                if path is not None
            ),
        ]


def relative(folder: Path, path: Path | None) -> str | None:
    """As a file in that folder names another one beside it, or below."""
    return None if path is None else str(path.relative_to(folder))


def entry(key: str, value: str | None) -> str:
    """A line of TOML. JSON's strings are strings of TOML."""
    return f"{key} = {json.dumps(value)}"


_WRITTEN = "`secagg enrol` wrote that as DIR/NAME.toml"
_OTHERS = {
    "person": "the file of somebody who asks a service, as by `secagg results --service`",
    "listen": "a service's configuration",
}


def parse(data: bytes, folder: Path) -> Site:
    """folder: of which paths are. Raises ParameterError as `Site.read`."""
    try:
        values = tables.decoded(data)
    except ParameterError:
        raise ParameterError(f"the site's file is no TOML: {_WRITTEN}") from None
    if other := [kind for table, kind in _OTHERS.items() if table in values]:
        raise ParameterError(f"this is {other[0]}, and no site's file: {_WRITTEN}")
    return tables.whole(values, folder, _site)


def _site(file: Table, path: tables.Read[Path]) -> Site | None:
    service, client = file.inner("service"), file.inner("client")
    url, host = service.need("url", _url), service.need("name", tables.host_name)
    key, authority = service.need("key", tables.key), service.may("authority", path)
    name, task = client.need("name", tables.line), client.need("task", tables.task_name)
    identity, ledger = client.need("identity", path), client.need("ledger", path)
    terms = client.need("terms", tables.digits)
    roster = file.inner("roster")
    admin, epoch = roster.may("admin", tables.key), roster.may("epoch", _EPOCH, 0)
    files = [roster.may(each, path) for each in ("policy", "told")]
    if admin is None and roster.values:
        roster.need("admin", tables.key)
    for table in (service, client, roster, file):
        table.over()
    if url is None or host is None or key is None or name is None or task is None:
        return None
    if identity is None or ledger is None or terms is None:
        return None
    about = url, host, key, authority, name, task, identity, ledger, terms
    return Site(*about, admin, epoch or 0, *files)


_EPOCH = tables.number(0, (1 << 32) - 1)


def _url(place: str, value: object) -> str:
    """Where the service is; its paths are known."""
    words = tables.line(place, value)
    try:
        parts = urlsplit(words)
        known = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise ParameterError(f"{place} must be https://HOST or https://HOST:PORT, and no more")
    if any(letter in words for letter in '"\\'):
        raise ParameterError(f"{place} has a letter that no URL has")
    return words.rstrip("/")
