"""The configuration of a service that runs, read again: what may change meanwhile, and what not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from secagg.errors import ParameterError
from secagg.rounds.pace import Scheduled
from secagg.rounds.quota import Limits
from secagg.service.checking import refusals
from secagg.service.config import Config, Pursued
from secagg.service.settings import credentials_of, limits_of
from secagg.shown import short
from secagg.transport.tls import Credentials

# Theory of operation.
#
# All of it is read, judged and made ready before anything of it is in force, so a configuration
# that is wrong in one place changes nothing: an administrator who mends one line does not find half
# of the others in force meanwhile.
#
# What cannot change is what others hold on to: the name and the state's folder are the service's
# identity, and a socket that listens belongs to its address. How often links are pinged, and how
# large a message may be at all, is told to the WebSocket when it is opened. For each of them it is
# said that it takes a start, which costs rounds that run.

_RESTART = "it takes a start of the service: stop it when no round runs, and start it again"


@dataclass(frozen=True, slots=True)
class Fresh:
    """All that a configuration means, ready to be in force. credentials: None without TLS."""

    config: Config
    tasks: Mapping[str, Scheduled]
    limits: Limits
    credentials: Credentials | None

    __repr__ = short


def prepared(
    before: Config, after: Config, limits: Limits, scheduled: Callable[[Pursued], Scheduled]
) -> Fresh:
    """limits: that the service was opened with. scheduled: makes a task ready. Raises
    ParameterError with everything that is refused, and InputError for files that cannot be read."""
    refused = [*_fixed(before, after), *refusals(after)]
    if not refused:
        tasks = {one.name: scheduled(one) for one in after.tasks}
        fresh = limits_of(after.limits, [one.terms for one in tasks.values()])
        refused += _opened_with(limits, fresh)
    if refused:
        raise ParameterError("; ".join(refused))
    return Fresh(after, tasks, fresh, credentials_of(after))


def changes(
    before: Config, after: Config, was: Mapping[str, Scheduled], now: Mapping[str, Scheduled]
) -> dict[str, int]:
    """How many tasks are new, gone, and other than before, and whether limits and retention are,
    by which results go without a word: for the audit. was, now: what the files of tasks had and
    have, as another file may have the same name."""
    old, new = ({one.name: one for one in config.tasks} for config in (before, after))
    both = old.keys() & new.keys()
    return {
        "tasks_new": len(new.keys() - both),
        "tasks_gone": len(old.keys() - both),
        "tasks_changed": sum(
            old[name] != new[name] or _about(was.get(name)) != _about(now.get(name))
            for name in both
        ),
        "limits_changed": int(before.limits != after.limits),
        "retention_changed": int(before.retention != after.retention),
    }


def _about(one: Scheduled | None) -> tuple[bytes, bytes] | None:
    return None if one is None else (one.terms.digest(), one.payload)


def _fixed(before: Config, after: Config) -> Iterator[str]:
    where, other = before.listen, after.listen
    held: dict[str, tuple[Any, Any]] = {
        "[service] name": (before.name, after.name),
        "[service] state": (before.state, after.state),
        "[listen] address": ((where.host, where.port), (other.host, other.port)),
        "[listen] insecure_plaintext": (where.insecure_plaintext, other.insecure_plaintext),
        "[listen] certificate": (where.certificate is None, other.certificate is None),
        "[admin] address": (before.admin, after.admin),
        "roster_authority of a task": (_authorities(before), _authorities(after)),
        "[limits] ping": (before.limits.ping, after.limits.ping),
        "[limits] pong": (before.limits.pong, after.limits.pong),
        "[limits] wal": (before.limits.wal, after.limits.wal),
    }
    for what, (old, new) in held.items():
        if old != new:
            yield f"{what} cannot change while the service runs: {_RESTART}"


def _authorities(config: Config) -> dict[str, bytes]:
    named = ((one.name, one.roster_authority) for one in config.tasks)
    return {task: key for task, key in named if key is not None}


def _opened_with(limits: Limits, fresh: Limits) -> Iterator[str]:
    if fresh.frame > limits.frame:
        yield (
            f"a task has messages of {fresh.frame} bytes, and this process reads no more than "
            f"{limits.frame}: {_RESTART}"
        )
