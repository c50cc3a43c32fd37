"""What comes of what is asked of a service: of its register, of its tasks, and how it is."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, TypeAlias

from secagg.effects import Write
from secagg.errors import InputError, ParameterError, PolicyRefused
from secagg.invitation import PUBLIC_PKI, Acceptance, Renewal
from secagg.plans.terms import Terms
from secagg.rights import Action, ServiceRole, allowed
from secagg.rounds.admission import Admission
from secagg.rounds.admissions import Actor, Change
from secagg.rounds.visitors import LOGIN
from secagg.service import room
from secagg.service.asked import names, word
from secagg.service.askers import WORDS, Asker
from secagg.service.audit import Deed
from secagg.service.board import told
from secagg.service.books import Books
from secagg.service.config import Config
from secagg.service.copying import Copy, Verdict
from secagg.service.events import Watching
from secagg.service.gate import Gate
from secagg.service.hosted import Hosted
from secagg.service.members import Members
from secagg.service.metrics import Metrics
from secagg.service.results import Result
from secagg.service.trial import fingerprint
from secagg.transport.tls import Credentials
from secagg.types import Buffer

_ROLES = {role.word: role for role in ServiceRole}
LOGIN_PAGE = "/login"
_SOON = 7 * 86_400.0
"""Seconds before a certificate's end from when on the service says that it is not ready."""


class Served(Protocol):
    """A service that runs, as far as it is asked about (`secagg.service.serving.Serving`)."""

    config: Config
    metrics: Metrics
    books: Books
    rounds: Hosted
    gate: Gate
    copy: Copy
    members: Members
    credentials: Credentials | None
    watching: Watching

    @property
    def terms(self) -> Mapping[str, Terms]: ...
    @property
    def unix(self) -> int: ...
    @property
    def url(self) -> str: ...
    @property
    def console_url(self) -> str: ...
    @property
    def authority(self) -> bytes | None: ...
    @property
    def stopping(self) -> bool: ...
    async def write(self, writes: Sequence[Write]) -> None: ...
    def arrays_of(self, nonce: bytes) -> bytes: ...
    def dismiss(self) -> None: ...
    async def verify(self, kept: str | None) -> Verdict: ...


_Asked: TypeAlias = Mapping[str, Any]
_Deed: TypeAlias = Callable[[_Asked, Asker, Actor], Awaitable[dict[str, Any]]]


class Clerk:
    """Of one service that runs (`secagg.service.desk.Desk`)."""

    def __init__(self, serving: Served) -> None:
        self._serving = serving
        self._deeds: dict[str, _Deed] = {
            "invite": self._invite,
            "approve": self._approve,
            "revoke": self._revoke,
            "appoint": self._appoint,
            "list": self._list,
            "wanted": self._wanted,
            "results": self._results,
            "acknowledge": self._acknowledge,
            "remove": self._remove,
            "end-epoch": self._end_epoch,
            "login": self._login,
            "open": partial(self._steer, Deed.HASTENED),
            "pause": partial(self._steer, Deed.PAUSED),
            "resume": partial(self._steer, Deed.RESUMED),
            "cancel": partial(self._steer, Deed.CANCELLED),
            "drain": self._drain,
            "audit": self._audit,
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
        found = {"name": entry.name, "state": entry.state.value, "tasks": terms}
        where = None if entry.role is ServiceRole.CLIENT else serving.console_url
        return found | {"role": entry.role.word, "console": where}

    async def renew(self, data: Buffer) -> dict[str, Any]:
        """Who has a key that is enrolled has another from now on (rule E7); links of the old one
        end. Raises WireError, CryptoError, PolicyRefused."""
        serving = self._serving
        said = Renewal.decode(data)
        change = serving.books.admissions.renew(said, serving.unix)
        await self._commit(change)
        serving.dismiss()
        entry = change.after.entries[said.request.name]
        return {"name": entry.name, "state": entry.state.value}

    async def register(self, asked: Mapping[str, Any], asker: Asker) -> dict[str, Any]:
        """Whatever the console asks. Raises InputError for what it cannot, PolicyRefused for what
        its role may not or the register does not allow, ParameterError for names that are none."""
        word = str(asked.get("do"))
        deed, action = self._deeds.get(word), WORDS.get(word)
        if deed is None or action is None:
            raise InputError(f"a console asks to {', '.join(self._deeds)}")
        return await deed(asked, asker, asker.demand(action))

    def status(self, asker: Asker) -> dict[str, Any]:
        """How the service is: tasks, and how many are there; for those who may see names, who is in
        the round that runs."""
        serving, now = self._serving, time.monotonic()
        tasks: dict[str, dict[str, Any]] = {
            name: {
                "candidates": course.candidates,
                "enrolled": serving.books.enrolled(name, serving.unix),
                "running": course.running is not None,
                "held": None if course.held is None else course.held.value,
                "waits": course.waits or None,
                "failures": course.failures,
                "next_in": max(0.0, course.next - now) if course.next > now else 0.0,
                "results_waiting": serving.books.results.waiting(name),
                "roster": serving.members.status(name),
            }
            for name, course in serving.rounds.paced.tasks.items()
        }
        if Action.NAMES in asker.may:
            for one in serving.watching.board.tasks_now(True, serving.unix):
                running = one["round"] or {}
                tasks[one["name"]]["clients"] = running.get("clients", [])
        return {"ready": not self.reasons(), "reasons": self.reasons(), "tasks": tasks}

    def seen(self, asker: Asker) -> tuple[Any, Callable[[], dict[str, Any]]]:
        """How it is, for whoever looks on (`secagg.service.events.Watching.state`)."""
        serving, reasons, unix = self._serving, self.reasons(), self._serving.unix
        board = serving.watching.board
        tasks = board.tasks_now(Action.NAMES in asker.may, unix)
        about = {
            "service": serving.config.name,
            "version": serving.watching.version,
            "role": asker.role,
            "may": sorted(one.value for one in asker.may),
            "ready": not reasons,
            "reasons": reasons,
            "draining": serving.stopping,
            "results": board.results(),
        }

        def now() -> dict[str, Any]:
            moment = {"at": serving.unix, "tasks": told(tasks, time.monotonic())}
            return about | moment

        return (about, tasks), now

    def reasons(self) -> list[str]:
        """Why it is not ready, in words; none where it is."""
        serving, found = self._serving, []
        if short := room.wanting(serving.config):
            found.append(short)
        ends = serving.credentials
        if ends is not None and ends.expires - time.time() < _SOON:
            found.append("certificate: it ends within a week")
        found += serving.members.reasons(serving.unix)
        if serving.stopping:
            found.append("draining: no further round begins")
        if unwritten := serving.copy.reason:
            found.append(unwritten)
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

    async def arrays(self, nonce: str, asker: Asker) -> bytes:
        """Of a result, as `secagg.service.results.packed` has made them; that somebody has it is
        stored before. Raises InputError or PolicyRefused where there is none for who asks."""
        by, found = asker.demand(Action.RESULTS), self._result(nonce, asker, Action.RESULTS)
        await self._serving.write([self._note(Deed.RESULT_READ, by, found)])
        return await asyncio.to_thread(self._serving.arrays_of, found.nonce)

    async def take_roster(self, data: bytes, asker: Asker) -> dict[str, Any]:
        """The next roster of whoever signs one here. Raises as `Members.take`."""
        return await self._serving.members.bring(data, asker.demand(Action.APPROVE), self._serving)

    # Inside

    def _result(self, nonce: str, asker: Asker, action: Action) -> Result:
        """By its nonce in hexadecimal digits, or as many of the first as are no other's; `last` is
        the newest. Of those alone with which this asker may do that."""
        known = self._serving.books.results.all(lambda task: asker.sees(action, task))
        if nonce == "last" and known:
            return known[-1]
        found = [one for one in known if nonce and one.nonce.hex().startswith(nonce)]
        if len(found) == 1:
            return found[0]
        why = f"{len(found)} results are called that: `results list` has all"
        raise InputError(why) if asker.owner else PolicyRefused(why)

    def _note(self, deed: Deed, by: Actor, found: Result) -> Write:
        books, number = self._serving.books, found.nonce.hex()[:8]
        return books.note(deed, by.name, self._serving.unix, task=found.task, round=number)

    async def _results(self, asked: _Asked, asker: Asker, by: Actor) -> dict[str, Any]:
        kept = self._serving.books.results.all(lambda task: asker.sees(Action.RESULTS, task))
        return {"results": [_of_result(one) for one in kept]}

    async def _acknowledge(self, asked: _Asked, asker: Asker, by: Actor) -> dict[str, Any]:
        """Whoever has a result says that it is safe (rule B12). Once more changes nothing."""
        serving = self._serving
        found = self._result(word(asked, "name"), asker, Action.ACKNOWLEDGE)
        if taken := serving.books.results.take(found.nonce):
            await serving.write([*taken, self._note(Deed.RESULT_TAKEN, by, found)])
        return _of_result(replace(found, taken=True))

    async def _remove(self, asked: _Asked, asker: Asker, by: Actor) -> dict[str, Any]:
        serving = self._serving
        found = self._result(word(asked, "name"), asker, Action.ACKNOWLEDGE)
        gone = serving.books.results.remove(found.nonce)
        await serving.write([*gone, self._note(Deed.RESULT_REMOVED, by, found)])
        return _of_result(found)

    async def _end_epoch(self, asked: _Asked, asker: Asker, by: Actor) -> dict[str, Any]:
        raise PolicyRefused(
            "rounds of a service end by themselves, and have no epochs: those are of several "
            "servers, where `secagg collect` ends one; `acknowledge` says that a result is safe"
        )

    async def _login(self, asked: _Asked, asker: Asker, by: Actor) -> dict[str, Any]:
        """A link for a browser, in the role of who asks; the owner says which."""
        session, now = asker.session, time.monotonic()
        if session is None:
            role = _ROLES.get(str(asked.get("role", ServiceRole.VIEWER.word)))
            if role is None or not allowed(role, Action.PAGE):
                who = " or ".join(one.word for one in ServiceRole if allowed(one, Action.PAGE))
                raise InputError(f"a browser logs in as {who}")
            token = self._serving.watching.visitors.login(None, role, now)
        elif session.browser:
            raise PolicyRefused("a browser's session makes no other one: ask where its link was of")
        else:
            role = session.role
            token = self._serving.watching.visitors.login(session.key, role, now)
        link = f"{self._serving.console_url}{LOGIN_PAGE}#{token}"
        return {"link": link, "role": role.word, "seconds": LOGIN}

    async def _commit(self, change: Change) -> None:
        writes = self._serving.books.change(change, self._serving.unix)
        if writes:
            await self._serving.write(writes)

    async def _invite(self, asked: _Asked, asker: Asker, by: Actor) -> dict[str, Any]:
        serving = self._serving
        role, tasks = self._appointed(asked)
        change, made = serving.books.admissions.invite(
            word(asked, "name"),
            role,
            tasks,
            by,
            serving.unix,
            url=serving.url,
            ca=PUBLIC_PKI if serving.authority is None else fingerprint(serving.authority),
        )
        await self._commit(change)
        return {"name": made.name, "code": made.encode()}

    async def _approve(self, asked: _Asked, asker: Asker, by: Actor) -> dict[str, Any]:
        name = word(asked, "name")
        await self._commit(self._serving.books.admissions.approve(name, by))
        return self._shown_of_roster(name)

    async def _revoke(self, asked: _Asked, asker: Asker, by: Actor) -> dict[str, Any]:
        name = word(asked, "name")
        await self._commit(self._serving.books.admissions.revoke(name, by))
        self._serving.dismiss()
        return self._shown_of_roster(name)

    def _shown_of_roster(self, name: str) -> dict[str, Any]:
        """Of somebody whose standing has changed; of a client that signs with what the roster has
        still to say of it."""
        entry = self._serving.books.admissions.entries[name]
        said = self._serving.members.outstanding(entry)
        return _shown(entry) | ({} if said is None else {"roster": said})

    async def _wanted(self, asked: _Asked, asker: Asker, by: Actor) -> dict[str, Any]:
        return self._serving.members.wanted(word(asked, "name"))

    async def _list(self, asked: _Asked, asker: Asker, by: Actor) -> dict[str, Any]:
        return {"entries": [_shown(one) for one in self._serving.books.admissions.entries.values()]}

    async def _appoint(self, asked: _Asked, asker: Asker, by: Actor) -> dict[str, Any]:
        name, (role, tasks) = word(asked, "name"), self._appointed(asked)
        await self._commit(self._serving.books.admissions.appoint(name, role, tasks, by))
        self._serving.dismiss()
        return _shown(self._serving.books.admissions.entries[name])

    def _appointed(self, asked: _Asked) -> tuple[ServiceRole, list[str]]:
        role, tasks = _ROLES.get(str(asked.get("role"))), names(asked.get("tasks"))
        if role is None:
            raise InputError(f"a role is one of {', '.join(_ROLES)}")
        for task in tasks:
            if task not in self._serving.terms:
                raise ParameterError(f"{task} is no task of this service")
        return role, tasks

    async def _audit(self, asked: _Asked, asker: Asker, by: Actor) -> dict[str, Any]:
        kept = asked.get("head")
        found = await self._serving.verify(kept if isinstance(kept, str) else None)
        return asdict(found) | {"broken": list(found.broken)}

    async def _steer(self, deed: Deed, asked: _Asked, asker: Asker, by: Actor) -> dict[str, Any]:
        serving, now = self._serving, time.monotonic()
        task = word(asked, "task" if "task" in asked else "name")
        paced = serving.rounds.paced
        if task not in serving.terms:
            raise ParameterError(f"{task} is no task of this service")
        steps = {
            Deed.HASTENED: paced.hasten,
            Deed.PAUSED: paced.pause,
            Deed.RESUMED: paced.resume,
            Deed.CANCELLED: paced.cancel,
        }
        if (why := serving.copy.reason) and deed in (Deed.HASTENED, Deed.RESUMED):
            raise PolicyRefused(why)
        steps[deed](task, now)
        await serving.write([serving.books.note(deed, by.name, serving.unix, task=task)])
        return {"task": task, "done": deed.value}

    async def _drain(self, asked: _Asked, asker: Asker, by: Actor) -> dict[str, Any]:
        """No further round of any task, in this life of the process, but of those resumed."""
        serving = self._serving
        serving.rounds.paced.drain(time.monotonic())
        await serving.write([serving.books.note(Deed.DRAINING, by.name, serving.unix)])
        return {"done": Deed.DRAINING.value}


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
        "waiting": not one.taken,
    }
