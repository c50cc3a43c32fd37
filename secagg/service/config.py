"""What `secagg serve --config FILE` is told: one TOML file, read whole or refused whole.

Every value has a type here and not one is a string that somebody else takes apart later. Unknown
keys are refused, as a limit that is spelled wrongly would be no limit; secrets are files that are
named, and never values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from secagg.errors import ParameterError
from secagg.service import tables
from secagg.service.tables import Table
from secagg.shown import short
from secagg.types import MAX_CLIENTS

LARGEST = 1 << 20
"""Bytes of a file."""
DAY = tables.SECONDS["d"]
_DEADLINE = 60.0
SPARE = 0.25
"""Of the target, who are asked beyond it."""
_ADMIN = ("127.0.0.1", 8443)
_MOST_TASKS = 256


@dataclass(frozen=True, slots=True)
class Listen:
    """Where clients come in. host, port: 0 takes a free one. certificate, key: PEM files, of the
    chain and its private key; None only with insecure_plaintext, or on loopback. client_ca: who
    must have issued a client's certificate, as a second lock; None asks for none."""

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    insecure_plaintext: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """How many clients a round has: no fewer than min, target if there are so many. spare: the
    fraction of these that is asked beyond them, as some do not answer."""

    min: int
    target: int
    spare: float = SPARE


@dataclass(frozen=True, slots=True)
class Pursued:
    """A task that is pursued. plan: the file of its terms. every: seconds from one round's begin to
    the next; 0 begins as soon as enough are there. deadlines: seconds by phase, of `default` for
    those that are not named. payload: the file of what every client gets. out: a folder to which
    each result is copied. roster_authority: of a task against a server that lies, the key of who
    signs its roster."""

    name: str
    plan: Path
    clients: Asked
    every: float = 0.0
    deadlines: Mapping[str, float] = field(default_factory=lambda: {"default": _DEADLINE})
    payload: Path | None = None
    out: Path | None = None
    roster_authority: bytes | None = None

    __repr__ = short


@dataclass(frozen=True, slots=True)
class Retention:
    """Seconds that results, and rows of the audit, are kept."""

    results: float = 30 * DAY
    audit: float = 400 * DAY


@dataclass(frozen=True, slots=True)
class Bounds:
    """The last numbers that are allowed, of what [limits] may say; the rest stays as it is.

    links, strangers: at once. tls, header, hello, ping, pong: seconds. stranger_message: bytes of
    one. unfinished, unsent: bytes, over all links and of one beside its payload. fragments: of one
    message. links_each: of one identity. frames: of one client in a phase. enrolments: of an
    address in a minute. viewers: pages that are open. events: a second, to each of them.
    disk_reserve: bytes that stay free, or no round begins. wal: bytes of the store's log.
    """

    links: int = 10_000
    strangers: int = 512
    tls: float = 5.0
    header: float = 5.0
    hello: float = 5.0
    stranger_message: int = 4 << 10
    unfinished: int = 256 << 20
    fragments: int = 64
    unsent: int = 1 << 20
    ping: float = 20.0
    pong: float = 20.0
    links_each: int = 2
    frames: int = 8
    enrolments: int = 10
    viewers: int = 50
    events: int = 4
    disk_reserve: int = 1 << 30
    wal: int = 64 << 20


_COUNTS = {
    "links": MAX_CLIENTS,
    "strangers": MAX_CLIENTS,
    "fragments": 1 << 16,
    "links_each": 64,
    "frames": 1 << 16,
    "enrolments": 1 << 16,
    "viewers": 1 << 12,
    "events": 1000,
}
"""The most that may be said of each that is counted."""
_SIZES = ("stranger_message", "unfinished", "unsent", "disk_reserve", "wal")


@dataclass(frozen=True, slots=True)
class Config:
    """name: of the host, as clients call it and its certificate says. state: the folder of all that
    the service keeps. admin: host and port of what is not public."""

    name: str
    state: Path
    listen: Listen
    admin: tuple[str, int]
    tasks: tuple[Pursued, ...]
    retention: Retention = Retention()
    limits: Bounds = Bounds()

    __repr__ = short


@dataclass(frozen=True, slots=True)
class Reading:
    """config: None where something is missing that nothing stands for. refused: all that a file is
    refused for, a line each; only where it is empty the configuration is what the file says."""

    config: Config | None
    refused: tuple[str, ...]

    __repr__ = short

    def get(self) -> Config:
        """ParameterError with every refusal."""
        if self.config is None or self.refused:
            raise ParameterError("; ".join(self.refused))
        return self.config


def read(path: Path) -> Reading:
    """The file, as `parse`. Raises InputError where it cannot be read."""
    return parse(*tables.read_file(path, "the configuration", LARGEST))


def parse(data: bytes, folder: Path) -> Reading:
    """folder: of which relative paths are."""
    try:
        values = tables.decoded(data)
    except ParameterError as error:
        return Reading(None, (f"the configuration is no TOML: {error}; {_TOML}",))
    refused: list[str] = []
    config = _config(Table("", values, refused), tables.within(folder))
    return Reading(config, tuple(refused))


_TOML = "text is in quotes, and each table, and each key of it, is there once"
"""What is wrong mostly."""


def _config(file: Table, path: tables.Read[Path]) -> Config | None:
    service, listen = file.inner("service"), file.inner("listen")
    admin, tasks = file.inner("admin"), file.inner("tasks")
    name = service.need("name", tables.host_name)
    state = service.need("state", path)
    where = _listen(listen, path)
    behind = admin.may("address", tables.address, _ADMIN)
    pursued = [_task(tasks, key, path) for key in tasks.values]
    if len(pursued) > _MOST_TASKS:
        file.refuse(f"[tasks] has {len(pursued)}, and {_MOST_TASKS} are the most")
    retention, limits = _retention(file.inner("retention")), _bounds(file.inner("limits"))
    for table in (service, admin, tasks, file):
        table.over()
    if name is None or state is None or where is None or behind is None:
        return None
    done = tuple(one for one in pursued if one is not None)
    return Config(name, state, where, behind, done, retention, limits)


def _listen(table: Table, path: tables.Read[Path]) -> Listen | None:
    where = table.need("address", tables.address)
    files = [table.may(key, path) for key in ("certificate", "key", "client_ca")]
    plain = table.may("insecure_plaintext", tables.truth, False)
    table.over()
    certificate, key, client_ca = files
    if (certificate is None) != (key is None):
        table.refuse("[listen] certificate and key come together: the chain, and its private key")
    elif certificate is not None and plain:
        table.refuse("[listen] insecure_plaintext is for a service without a certificate")
    if client_ca is not None and certificate is None:
        table.refuse("[listen] client_ca judges clients of TLS, and there is no certificate")
    return None if where is None else Listen(*where, certificate, key, client_ca, bool(plain))


def _task(tasks: Table, name: str, path: tables.Read[Path]) -> Pursued | None:
    tasks.may(name, lambda place, value: tables.task_name(place, name))
    table = tasks.inner(name)
    plan, asked = table.need("plan", path), _asked(table.inner("clients"))
    every = table.may("every", tables.duration, 0.0)
    deadlines = _deadlines(table.inner("deadlines"))
    payload, out = table.may("payload", path), table.may("out", path)
    authority = table.may("roster_authority", tables.key)
    table.over()
    if plan is None or asked is None:
        return None
    return Pursued(name, plan, asked, every or 0.0, deadlines, payload, out, authority)


def _asked(table: Table) -> Asked | None:
    count = tables.number(2, MAX_CLIENTS)
    least = table.need("min", count)
    target = table.may("target", count, least)
    spare = table.may("spare", tables.share, SPARE)
    table.over()
    if least is None or target is None or spare is None:
        return None
    if target < least:
        table.refuse(f"{table.at('target')} is {target}, below min, {least}")
    return Asked(least, target, spare)


def _deadlines(table: Table) -> dict[str, float]:
    """Which phases there are, the plan knows."""
    found = {key: table.may(key, tables.duration) for key in table.values}
    return {"default": _DEADLINE} | {key: one for key, one in found.items() if one is not None}


def _retention(table: Table) -> Retention:
    found: dict[str, Any] = {
        one.name: table.may(one.name, tables.duration, one.default) for one in fields(Retention)
    }
    table.over()
    return Retention(**found)


def _bounds(table: Table) -> Bounds:
    found: dict[str, Any] = {}
    for one in fields(Bounds):
        read: tables.Read[Any] = tables.duration
        if one.name in _COUNTS:
            read = tables.number(1, _COUNTS[one.name])
        elif one.name in _SIZES:
            read = tables.size
        found[one.name] = table.may(one.name, read, one.default)
    table.over()
    return Bounds(**found)
