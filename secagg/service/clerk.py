"""What comes of what is asked of a service: of its register, of its tasks, and how it is."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from secagg.effects import Write
from secagg.errors import InputError, ParameterError
from secagg.invitation import PUBLIC_PKI, Acceptance
from secagg.plans.terms import Terms
from secagg.rights import ServiceRole
from secagg.rounds.admission import Admission
from secagg.rounds.admissions import CONSOLE, Change
from secagg.service.audit import Deed
from secagg.service.books import Books
from secagg.service.config import Config
from secagg.service.gate import Gate
from secagg.service.hosted import Hosted
from secagg.service.metrics import Metrics
from secagg.service.results import Result
from secagg.service.trial import fingerprint
from secagg.transport.tls import Credentials
from secagg.types import Buffer

_ROLES = {role.word: role for role in ServiceRole}
_SOON = 7 * 86_400.0
"""Seconds before a certificate's end from when on the service says that it is not ready."""


class Served(Protocol):
    """A service that runs, as far as it is asked about (`secagg.service.serving.Serving`)."""

    config: Config
    metrics: Metrics
    books: Books
    rounds: Hosted
    gate: Gate
    credentials: Credentials | None

    @property
    def terms(self) -> Mapping[str, Terms]: ...
    @property
    def unix(self) -> int: ...
    @property
    def url(self) -> str: ...
    @property
    def authority(self) -> bytes | None: ...
    @property
    def stopping(self) -> bool: ...
    async def write(self, writes: Sequence[Write]) -> None: ...
    def arrays_of(self, nonce: bytes) -> bytes: ...
    def dismiss(self) -> None: ...


class Clerk:
    """Of one service that runs (`secagg.service.desk.Desk`)."""

    def __init__(self, serving: Served) -> None:
        self._serving = serving
        self._deeds: dict[str, Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]] = {
            "invite": self._invite,
            "approve": self._approve,
            "revoke": self._revoke,
            "list": self._list,
            "results": self._results,
            "remove": self._remove,
            "pause": partial(self._steer, Deed.PAUSED),
            "resume": partial(self._steer, Deed.RESUMED),
            "cancel": partial(self._steer, Deed.CANCELLED),
        }

    async def accept(self, data: Buffer) -> dict[str, Any]:
        """An invitation is accepted. The answer has what the site needs besides: the terms of its
        tasks. Raises WireError, CryptoError, PolicyRefused."""
        serving, now = self._serving, self._serving.unix
        said = Acceptance.decode(data)
        change = serving.books.admissions.accept(said, now)
        await self._commit(change)
        entry = change.after.entries[said.request.name]
        terms = {
            name: serving.terms[name].encode().hex()
            for name in entry.tasks
            if name in serving.terms
        }
        return {"name": entry.name, "state": entry.state.value, "tasks": terms}

    async def register(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Whatever the console asks. Raises InputError for what it cannot, PolicyRefused for what
        the register does not allow, ParameterError for names that are none."""
        deed = self._deeds.get(str(asked.get("do")))
        if deed is None:
            raise InputError(f"a console asks to {', '.join(self._deeds)}")
        return await deed(asked)

    def status(self) -> dict[str, Any]:
        """How the service is, for its owner: tasks, and how many are there."""
        serving, now = self._serving, time.monotonic()
        tasks = {
            name: {
                "candidates": course.candidates,
                "enrolled": serving.books.enrolled(name, serving.unix),
                "running": course.running is not None,
                "held": None if course.held is None else course.held.value,
                "failures": course.failures,
                "next_in": max(0.0, course.next - now) if course.next > now else 0.0,
                "results_waiting": serving.books.results.waiting(name),
            }
            for name, course in serving.rounds.paced.tasks.items()
        }
        return {"ready": not self.reasons(), "reasons": self.reasons(), "tasks": tasks}

    def reasons(self) -> list[str]:
        """Why it is not ready, in words; none where it is."""
        serving, found = self._serving, []
        free = shutil.disk_usage(serving.config.state).free
        if free < serving.config.limits.disk_reserve:
            found.append("disk: less is free than [limits] disk_reserve")
        ends = serving.credentials
        if ends is not None and ends.expires - time.time() < _SOON:
            found.append("certificate: it ends within a week")
        if serving.stopping:
            found.append("draining: the process is about to end")
        return found

    def numbers(self) -> bytes:
        """For Prometheus."""
        serving, metrics = self._serving, self._serving.metrics
        metrics.set("disk_free_bytes", shutil.disk_usage(serving.config.state).free)
        if serving.credentials is not None:
            metrics.set("certificate_expiry_seconds", serving.credentials.expires - time.time())
        for name, course in serving.rounds.paced.tasks.items():
            metrics.set("candidates", course.candidates, task=name)
            metrics.set("results_waiting", serving.books.results.waiting(name), task=name)
        serving.gate.count(metrics)
        return metrics.text()

    async def arrays(self, nonce: str) -> bytes:
        """Of a result, as `secagg.service.results.packed` has made them; that it was taken is
        stored before. Raises InputError where there is none."""
        serving, found = self._serving, self._result(nonce)
        number = found.nonce.hex()[:8]
        note = serving.books.note(
            Deed.RESULT_READ, CONSOLE.name, serving.unix, task=found.task, round=number
        )
        await serving.write([*serving.books.results.take(found.nonce), note])
        return await asyncio.to_thread(serving.arrays_of, found.nonce)

    # Inside

    def _result(self, nonce: str) -> Result:
        """By its nonce in hexadecimal digits, or as many of the first as are no other's; `last` is
        the newest."""
        known = self._serving.books.results.all()
        if nonce == "last" and known:
            return known[-1]
        found = [one for one in known if nonce and one.nonce.hex().startswith(nonce)]
        if len(found) != 1:
            raise InputError(f"{len(found)} results are called that: `results list` has all")
        return found[0]

    async def _results(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        kept = self._serving.books.results.all()
        return {"results": [_of_result(one) for one in kept]}

    async def _remove(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        serving, found = self._serving, self._result(_word(asked, "name"))
        number = found.nonce.hex()[:8]
        gone = serving.books.results.remove(found.nonce)
        note = serving.books.note(
            Deed.RESULT_REMOVED, CONSOLE.name, serving.unix, task=found.task, round=number
        )
        await serving.write([*gone, note])
        return _of_result(found)

    async def _commit(self, change: Change) -> None:
        writes = self._serving.books.change(change, self._serving.unix)
        if writes:
            await self._serving.write(writes)

    async def _invite(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        serving = self._serving
        role, tasks = _ROLES.get(str(asked.get("role"))), _names(asked.get("tasks"))
        if role is None:
            raise InputError(f"a role is one of {', '.join(_ROLES)}")
        for task in tasks:
            if task not in serving.terms:
                raise ParameterError(f"{task} is no task of this service")
        change, made = serving.books.admissions.invite(
            _word(asked, "name"),
            role,
            tasks,
            CONSOLE,
            serving.unix,
            url=serving.url,
            ca=PUBLIC_PKI if serving.authority is None else fingerprint(serving.authority),
        )
        await self._commit(change)
        return {"name": made.name, "code": made.encode()}

    async def _approve(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        name = _word(asked, "name")
        await self._commit(self._serving.books.admissions.approve(name, CONSOLE))
        return _shown(self._serving.books.admissions.entries[name])

    async def _revoke(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        name = _word(asked, "name")
        await self._commit(self._serving.books.admissions.revoke(name, CONSOLE))
        self._serving.dismiss()
        return _shown(self._serving.books.admissions.entries[name])

    async def _list(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"entries": [_shown(one) for one in self._serving.books.admissions.entries.values()]}

    async def _steer(self, deed: Deed, asked: Mapping[str, Any]) -> dict[str, Any]:
        serving, task, now = self._serving, _word(asked, "name"), time.monotonic()
        paced = serving.rounds.paced
        if task not in serving.terms:
            raise ParameterError(f"{task} is no task of this service")
        steps = {Deed.PAUSED: paced.pause, Deed.RESUMED: paced.resume, Deed.CANCELLED: paced.cancel}
        steps[deed](task, now)
        await serving.write([serving.books.note(deed, CONSOLE.name, serving.unix, task=task)])
        return {"task": task, "done": deed.value}


def _shown(entry: Admission) -> dict[str, Any]:
    return {
        "name": entry.name,
        "role": entry.role.word,
        "tasks": list(entry.tasks),
        "state": entry.state.value,
        "key": entry.key.hex() if entry.key else None,
        "expires": entry.expires or None,
    }


def _of_result(one: Result) -> dict[str, Any]:
    return {
        "number": one.nonce.hex(),
        "task": one.task,
        "at": datetime.fromtimestamp(one.at, UTC).isoformat(),
        "contributors": one.contributors,
        "dropped": one.dropped,
        "error_bounds": dict(one.errors),
        "privacy": json.loads(one.privacy) if one.privacy else None,
        "bytes": one.size,
    }


def _word(asked: Mapping[str, Any], key: str) -> str:
    value = asked.get(key)
    if not isinstance(value, str):
        raise InputError(f"what is asked lacks its {key}")
    return value


def _names(given: object) -> list[str]:
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise InputError("tasks are a list of names")
    return given
