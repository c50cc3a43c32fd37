"""What somebody has who looks after a service or takes its results from elsewhere: one TOML file
beside its key, made when it is enrolled.

Nothing in it is secret, and whoever changes it chooses whom the person trusts. Paths are of the
folder in which it is.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from secagg.errors import ParameterError
from secagg.rights import ServiceRole
from secagg.service import tables
from secagg.service.site import LARGEST, entry, relative
from secagg.service.tables import Table
from secagg.shown import short

_ROLES = {role.word: role for role in ServiceRole if role is not ServiceRole.CLIENT}


@dataclass(frozen=True, slots=True)
class Person:
    """console: where it asks, https, or http on loopback. service, key: the service's name and
    Ed25519 key, which it proves. authority: a PEM file of who must have issued its certificate;
    None is whom the machine trusts. name, role: as the person was invited. identity: the file of
    its key."""

    console: str
    service: str
    key: bytes
    authority: Path | None
    name: str
    role: ServiceRole
    identity: Path

    __repr__ = short

    @classmethod
    def read(cls, path: Path) -> Person:
        """Raises InputError for a file that cannot be read, ParameterError with all that it is
        refused for."""
        return parse(*tables.read_file(path, "the file of --service", LARGEST))

    def text(self, folder: Path) -> str:
        """As `read` reads it from a file in that folder."""
        authority, identity = (relative(folder, one) for one in (self.authority, self.identity))
        lines = [
            "# Somebody at a service of secagg: for --service of its commands.",
            "[service]",
            "# where its [admin] is reached from here",
            entry("console", self.console),
            entry("name", self.service),
            entry("key", self.key.hex()),
            *([] if authority is None else [entry("authority", authority)]),
            "",
            "[person]",
            entry("name", self.name),
            entry("role", self.role.word),
            entry("identity", identity),
        ]
        return "\n".join(lines) + "\n"


def parse(data: bytes, folder: Path) -> Person:
    """folder: of which paths are. Raises ParameterError as `Person.read`."""
    try:
        values = tables.decoded(data)
    except ParameterError:
        raise ParameterError("the file of --service is no TOML") from None
    if "client" in values:
        raise ParameterError(
            "this file is a client's, which takes part in rounds (`secagg join --service`): to ask "
            "a service something, be invited in another role"
        )
    return tables.whole(values, folder, _person)


def _person(file: Table, path: tables.Read[Path]) -> Person | None:
    service, person = file.inner("service"), file.inner("person")
    console, host = service.need("console", check_console), service.need("name", tables.host_name)
    key, authority = service.need("key", tables.key), service.may("authority", path)
    name, role = person.need("name", tables.line), person.need("role", _role)
    identity = person.need("identity", path)
    for table in (service, person, file):
        table.over()
    if console is None or host is None or key is None or name is None or role is None:
        return None
    return None if identity is None else Person(console, host, key, authority, name, role, identity)


def check_console(place: str, value: object) -> str:
    """Where somebody asks, as its file has it. ParameterError."""
    words = tables.line(place, value)
    try:
        parts = urlsplit(words)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", 0
    known = _bare(words) and host and port != 0
    if not known or not (words.startswith("https://") or _loopback(host)):
        raise ParameterError(
            f"{place} must be https://HOST:PORT, or http://127.0.0.1:PORT on the service's machine "
            "or at the near end of a tunnel to it"
        )
    return words.rstrip("/")


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bare(url: str) -> bool:
    """Whether it is a scheme of the web, a host and a port, and no more."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    more = parts.query or parts.fragment or parts.username or parts.path not in ("", "/")
    return parts.scheme in ("http", "https") and not more and not set('"\\') & set(url)


def _role(place: str, value: object) -> ServiceRole:
    role = _ROLES.get(tables.line(place, value))
    if role is None:
        raise ParameterError(f"{place} must be one of {', '.join(_ROLES)}")
    return role
