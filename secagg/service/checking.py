"""What keeps a configuration from being served, found before anything listens.

`secagg.service.config` has read the words; here they are held against the machine: files, folders,
descriptors. All that is refused is said at once, as whoever mends it has one editor open.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from secagg.drive.listening import descriptors
from secagg.errors import InputError, SecAggError
from secagg.rounds.quota import SPARE
from secagg.service import trial
from secagg.service.config import Config, Pursued
from secagg.service.settings import credentials_of, pace_of, read_terms
from secagg.store import files

LARGEST_PAYLOAD = 1 << 32
"""Bytes."""


def refusals(config: Config) -> list[str]:
    """Everything for which `secagg serve` would not start; a line each, empty where it would."""
    found = [*_state(config), *_listening(config), *_admin(config), *_room(config)]
    if not config.tasks:
        found.append(
            "[tasks] is empty: a service without a task has nothing to do; `secagg task "
            "--clients 5..12` makes the plan of one, and [tasks.NAME] names it"
        )
    for task in config.tasks:
        found += _task(task)
    return found


def effective(config: Config) -> dict[str, object]:
    """Every value that is in force, defaults included, as JSON has them: by table and key."""
    listen = config.listen
    tasks: dict[str, object] = {one.name: _of_task(one) for one in config.tasks}
    return {
        "service": {"name": config.name, "state": str(config.state)},
        "listen": {
            "address": _address(listen.host, listen.port),
            **{key: _path(getattr(listen, key)) for key in ("certificate", "key", "client_ca")},
            "insecure_plaintext": listen.insecure_plaintext,
        },
        "admin": {"address": _address(*config.admin)},
        "tasks": tasks,
        "retention": asdict(config.retention),
        "limits": asdict(config.limits),
    }


def _of_task(task: Pursued) -> dict[str, object]:
    found = {"plan": str(task.plan), "clients": asdict(task.clients), "every": task.every}
    found |= {"deadlines": dict(task.deadlines)}
    found |= {"payload": _path(task.payload), "out": _path(task.out)}
    authority = task.roster_authority
    return found | {"roster_authority": None if authority is None else authority.hex()}


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _state(config: Config) -> Iterator[str]:
    """A folder of this user's, in which others can neither read nor write."""
    where = f"[service] state {config.state}"
    try:
        status = config.state.stat()
    except OSError as error:
        yield f"{where}: {error.strerror}; `secagg service init` makes it"
        return
    if not config.state.is_dir():
        yield f"{where} is no folder"
    elif files.open_to_others(status):
        yield f"{where} is open to other users (mode {status.st_mode & 0o777:04o}): chmod it to 700"
    elif files.of_another(status):
        yield f"{where} belongs to another user, who can read and change it"
    elif not os.access(config.state, os.R_OK | os.W_OK | os.X_OK):
        yield f"{where} cannot be written by this user"
    elif (free := shutil.disk_usage(config.state).free) < config.limits.disk_reserve:
        wanted = f"[limits] disk_reserve, {config.limits.disk_reserve}"
        yield f"{where}: its disk has {free} bytes free, fewer than {wanted}"


def _listening(config: Config) -> Iterator[str]:
    listen = config.listen
    if (
        listen.certificate is None
        and not is_loopback(listen.host)
        and not listen.insecure_plaintext
    ):
        yield (
            f"[listen] {_address(listen.host, listen.port)} is reached by others, and there is no "
            "certificate: name one with its key, or say insecure_plaintext = true behind a proxy "
            "that has TLS"
        )
    try:
        if credentials_of(config) is not None and listen.certificate is not None:
            yield from _named(config.name, listen.certificate)
    except InputError as error:
        yield f"[listen] {error}"


def _named(name: str, chain: Path) -> Iterator[str]:
    """Clients compare the name that they call with those of the certificate."""
    known = trial.names(chain.read_bytes())
    if name not in known and f"*.{name.partition('.')[2]}" not in known:
        whose = ", ".join(known) or "nobody"
        yield f"[listen] certificate {chain} is not of {name}, but of {whose}"


def _admin(config: Config) -> Iterator[str]:
    """It says names and takes orders, and a page without TLS is read by whoever is on the way."""
    host, port = config.admin
    if not is_loopback(host) and config.listen.certificate is None:
        yield (
            f"[admin] {_address(host, port)} is reached by others, and there is no certificate in "
            "[listen]: listen on loopback, and reach it through ssh"
        )
    if port and (host, port) == (config.listen.host, config.listen.port):
        yield "[admin] address is that of [listen]: the public must not reach it"


def _room(config: Config) -> Iterator[str]:
    limit, bounds = descriptors(), config.limits
    needed = (
        bounds.strangers + SPARE + max((task.clients.target for task in config.tasks), default=0)
    )
    if limit is not None and needed > limit:
        yield (
            f"this process may open {limit} files, and {needed} are needed: [limits] strangers, "
            f"the largest target of a task, and {SPARE} to spare; raise it (ulimit -n)"
        )


def _task(task: Pursued) -> Iterator[str]:
    place = f"[tasks.{task.name}]"
    try:
        pace_of(task, read_terms(task.plan))
    except SecAggError as error:
        yield f"{place} plan: {error}" if place not in str(error) else str(error)
    if task.payload is not None:
        yield from _readable(f"{place} payload", task.payload)
    if task.out is not None and not task.out.is_dir():
        yield f"{place} out {task.out} is no folder: make it, or leave `out` out"


def _readable(what: str, path: Path) -> Iterator[str]:
    """A regular file that this process can read."""
    try:
        with path.open("rb") as source:
            source.read(1)
        if not path.is_file():
            yield f"{what} {path} is no regular file"
    except OSError as error:
        yield f"{what} {path} cannot be read: {error.strerror}"


def is_loopback(host: str) -> bool:
    """Whether nobody else can reach what listens there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
