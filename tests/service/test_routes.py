"""Every route of a service, and every word of its register, with credentials that do not do: the
answer is 401, 403 or 404, and nothing has changed (row 78; rules W5 and W6 of
specs/51-admission.md).

The routes are those of the applications themselves: one without an entry here fails.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

import secagg
from secagg.invitation import Renewal
from secagg.rights import RIGHTS, Action, ServiceRole
from secagg.roster import Enrolment
from secagg.rounds.admissions import CONSOLE
from secagg.rounds.reception import NO_TASK, as_caller
from secagg.service import public, serving
from secagg.service.askers import ROUTES, WORDS, Who
from secagg.service.audit import Deed
from secagg.service.clerk import Clerk
from secagg.service.page import FILES
from secagg.service.serving import Serving, opened
from secagg.wire.hello import encode_proof, encode_reply
from tests import totals
from tests.service.place import TASK, Place
from tests.service.visits import appoint, bearer, cookie, enter, log_in, owner, seed_of

OTHER = "other-task"
KEPT = {task: bytes([i]) * 16 for i, task in enumerate((TASK, OTHER), 1)}
"""By task the nonce of its result."""


@dataclass(frozen=True)
class Case:
    """path: with its parts filled in. noted: what the audit has of it where it is allowed.
    other: what else is asked with the credentials of another task."""

    path: str
    body: Mapping[str, Any] | None = None
    status: int = 200
    noted: tuple[Deed, ...] = ()
    other: bool = False


CONSOLE_ROUTES: Mapping[tuple[str, str], Case | None] = {
    ("GET", "/v1/status"): Case("/v1/status"),
    ("GET", "/v1/events"): Case("/v1/events"),
    ("GET", "/v1/session"): Case("/v1/session"),
    ("POST", "/v1/logout"): Case("/v1/logout", status=204),
    ("GET", "/v1/results/{nonce}"): Case(
        f"/v1/results/{KEPT[TASK].hex()}", noted=(Deed.RESULT_READ,), other=True
    ),
    ("POST", "/v1/rosters"): Case("/v1/rosters", status=403),  # of no task here
    ("POST", "/v1/register"): None,  # by its words
}
REGISTER: Mapping[str, Case] = {
    word: Case("/v1/register", {"do": word, **body}, status, noted, other)
    for word, body, status, noted, other in [
        ("list", {}, 200, (), False),
        ("wanted", {"name": TASK}, 400, (), False),  # it is of no roster
        ("results", {}, 200, (), False),
        ("login", {}, 200, (), False),
        ("invite", {"name": "new", "role": "viewer"}, 200, (Deed.INVITED,), False),
        ("approve", {"name": "waiting"}, 200, (Deed.APPROVED,), False),
        ("appoint", {"name": "site", "role": "viewer"}, 200, (Deed.ROLE,), False),
        ("revoke", {"name": "site"}, 200, (Deed.REVOKED,), False),
        ("acknowledge", {"name": KEPT[TASK].hex()}, 200, (Deed.RESULT_TAKEN,), True),
        ("remove", {"name": KEPT[TASK].hex()}, 200, (Deed.RESULT_REMOVED,), True),
        ("end-epoch", {}, 403, (), False),
        ("open", {"name": TASK}, 200, (Deed.HASTENED,), False),
        ("pause", {"name": TASK}, 200, (Deed.PAUSED,), False),
        ("resume", {"task": TASK}, 200, (Deed.RESUMED,), False),
        ("cancel", {"name": TASK}, 200, (Deed.CANCELLED,), False),
        ("drain", {}, 200, (Deed.DRAINING,), False),
        ("audit", {}, 200, (), False),
    ]
}
FREE: Mapping[tuple[str, str], Case] = {
    ("GET", "/healthz"): Case("/healthz"),
    ("GET", "/readyz"): Case("/readyz"),
    ("GET", "/metrics"): Case("/metrics"),
    **{("GET", path): Case(path) for path in FILES},
    ("GET", "/v1/authority"): Case("/v1/authority"),
    ("GET", "/v1/payload/{digest}"): Case("/v1/payload/" + "00" * 32, status=404),
}
"""They show nothing of anybody, whoever asks. A payload's digest is its password."""
JUDGES = {
    ("POST", "/v1/enrol"),
    ("POST", "/v1/renew"),
    ("POST", "/v1/login"),
    ("POST", "/v1/session"),
}
"""They judge what is in their body, and no session: tested one by one, below."""


@dataclass
class Asked:
    """A service, its applications, and everybody's words."""

    serving: Serving
    public: Starlette
    console: Starlette
    wrong: dict[str, dict[str, str]] = field(default_factory=dict)
    right: dict[str, dict[str, str]] = field(default_factory=dict)

    async def ask(
        self, app: Starlette, method: str, case: Case, headers: Mapping[str, str]
    ) -> httpx.Response:
        origin = f"http://127.0.0.1:{self.serving.ports[1]}"
        there = httpx.ASGITransport(app=app, raise_app_exceptions=True)
        async with httpx.AsyncClient(verify=False, transport=there, base_url=origin) as client:
            body = None if case.body is None else json.dumps(case.body)
            if case.path == "/v1/events" and headers in self.right.values():
                self.serving.watching.stop()  # one that is let in does not end else
            return await client.request(method, case.path, content=body, headers=dict(headers))

    def state(self) -> Any:
        """All that can have changed."""
        books, paced = self.serving.books, self.serving.rounds.paced
        courses = {
            name: (one.held, one.failures, one.next, one.running, one.candidates, one.asking)
            for name, one in paced.tasks.items()
        }
        sessions = set(self.serving.watching.visitors._sessions)
        logins = set(self.serving.watching.visitors._logins)
        return (
            list(self.serving._store.rows()),
            books.admissions.entries,
            books.results.all(),
            books.audit.head,
            courses,
            sessions,
            logins,
        )


def routes(app: Starlette) -> set[tuple[str, str]]:
    """Of everything that it answers; what is no plain route would be missed."""
    assert all(type(one) is Route for one in app.routes)
    return {
        (method, one.path)
        for one in app.routes
        if isinstance(one, Route)
        for method in one.methods or ()
        if method != "HEAD"
    }


@asynccontextmanager
async def asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asked]:
    made: list[Starlette] = []

    def kept(function: Any) -> Any:
        def called(*args: Any) -> Starlette:
            made.append(function(*args))
            return made[-1]

        return called

    monkeypatch.setattr(public, "application", kept(public.application))
    monkeypatch.setattr(serving, "console", kept(serving.console))
    config = Place.made(folder).config()
    tasks = config.tasks[0], replace(config.tasks[0], name=OTHER)
    async with opened(replace(config, tasks=tasks)) as running:
        total = totals.aggregate({"age": secagg.Integer(2, max=9)})
        for task, nonce in KEPT.items():
            await running.write(running.books.results.add(task, nonce, total, running.unix))
        found = Asked(running, *made)
        await _people(found)
        yield found


async def _people(found: Asked) -> None:
    """Somebody of each role, and everybody whose word does not do."""
    running, visitors = found.serving, found.serving.watching.visitors
    await appoint(running, "site", ServiceRole.CLIENT, (TASK,))
    books = running.books
    change, invited = books.admissions.invite(
        "waiting", ServiceRole.VIEWER, (), CONSOLE, running.unix, url=running.url, ca=bytes(32)
    )
    await running.write(books.change(change, running.unix))
    accepted = books.admissions.accept(invited.accept(seed_of("waiting")), running.unix)
    await running.write(books.change(accepted, running.unix))
    for role in RIGHTS:
        if role is ServiceRole.CLIENT:
            continue
        await appoint(running, role.word, role)
        found.right[role.word] = bearer(await enter(running, role.word, role))
        gone = f"gone-{role.word}"
        await appoint(running, gone, role)
        found.wrong[f"revoked {role.word}"] = bearer(await enter(running, gone, role))
        revoked = books.admissions.revoke(gone, CONSOLE)
        await running.write(books.change(revoked, running.unix))
        late = await enter(running, role.word, role)
        found.wrong[f"expired {role.word}"] = bearer(late)
        digest = visitors.who(late, False, 0.0).digest  # type: ignore[union-attr]
        visitors._sessions[digest] = replace(visitors._sessions[digest], until=0.0)
    await appoint(running, "elsewhere", ServiceRole.COLLECTOR, (OTHER,))
    found.right["elsewhere"] = bearer(await enter(running, "elsewhere", ServiceRole.COLLECTOR))
    own = owner(running)
    found.right["owner"] = own
    for role in ("viewer", "operator"):
        word = await log_in(running, own, role=role)
        found.right[f"browser of a {role}"] = cookie(word, running)
        found.wrong[f"a {role}'s cookie as a bearer's word"] = bearer(word)
        page = {"cookie": f"secagg={word}", "origin": "http://127.0.0.1:1"}
        found.wrong[f"a {role}'s cookie from another page"] = page
    word = found.right["operator"]["authorization"].removeprefix("Bearer ")
    found.wrong |= {
        "none": {},
        "wrong": bearer("0" * 64),
        "empty": bearer(""),
        "basic": {"authorization": "Basic " + own["authorization"].removeprefix("Bearer ")},
        "the owner's token from a page": own | {"origin": f"http://127.0.0.1:{running.ports[1]}"},
        "the owner's token in a cookie": cookie(own["authorization"][7:], running),
        "a bearer's word in a cookie": cookie(word, running),
        "a bearer's word from a page": bearer(word) | {"origin": "http://127.0.0.1:1"},
    }


def _allowed(who: str, action: Action | Who) -> bool:
    if who == "owner" or action is Who.SOMEBODY:
        return True
    role = "collector" if who == "elsewhere" else who.removeprefix("browser of a ")
    return action in RIGHTS[next(one for one in ServiceRole if one.word == role)]


def _cases() -> list[tuple[str, Case, Action | Who]]:
    found = [(m, case, ROUTES[m, p]) for (m, p), case in CONSOLE_ROUTES.items() if case is not None]
    found += [("POST", case, WORDS[word]) for word, case in REGISTER.items()]
    return [(method, case, action) for method, case, action in found]


async def test_78_rule_w5_every_route_refuses_who_may_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that are for anybody change nothing, and those that judge a word of their own."""
    async with asked(tmp_path / "service", monkeypatch) as found:
        await _free_shows_nobody(found)
        await _what_judges_takes_nothing_else(found)
        assert routes(found.console) | routes(found.public) == {*CONSOLE_ROUTES, *FREE, *JUDGES}
        tabled = {route for route in routes(found.console) if route in ROUTES}
        assert tabled == routes(found.console) <= ROUTES.keys()
        assert REGISTER.keys() == WORDS.keys() == Clerk(found.serving)._deeds.keys()
        before = found.state()
        for method, case, action in _cases():
            refused = {**found.wrong}
            refused |= {w: h for w, h in found.right.items() if not _allowed(w, action)}
            if case.other:
                refused["elsewhere"] = found.right["elsewhere"]
            for who, headers in refused.items():
                answer = await found.ask(found.console, method, case, headers)
                at = who, method, case.path, case.body, answer.text
                assert answer.status_code in (401, 403, 404), at
                assert set(answer.json()) == {"error"}, at
                if who in found.wrong:
                    # whose session has ended is forgotten, and nothing else
                    assert answer.status_code == (403 if "another page" in who else 401), at
        ended = before[:5], found.state()[:5]
        assert ended[0] == ended[1]
        assert found.state()[5] <= before[5] and found.state()[6] == before[6]


async def test_78_rule_w5_and_lets_in_who_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what is refused above is refused for who asks, and is a line where it is done."""
    async with asked(tmp_path / "service", monkeypatch) as found:
        doers = {
            role.word: action_of
            for role, action_of in RIGHTS.items()
            if role is not ServiceRole.CLIENT
        }
        done = set()
        for method, case, action in _cases():
            if case.path in ("/v1/logout", "/v1/events"):
                continue
            who = next((w for w, may in doers.items() if action in may), "viewer")
            number = found.serving.books.audit.number
            answer = await found.ask(found.console, method, case, found.right[who])
            assert answer.status_code == case.status, (who, case, answer.text)
            text = (tmp_path / "service" / "state" / serving.COPY).read_text().splitlines()
            lines = [json.loads(line) for line in text[number:]]
            assert [line["deed"] for line in lines] == [deed.value for deed in case.noted], case
            assert all(line["who"] == who for line in lines), (who, lines)
            done.add(action)
        assert done >= {one for one in WORDS.values()}
        for headers in found.right.values():
            for path in ("/v1/events", "/v1/logout"):
                method = "GET" if path == "/v1/events" else "POST"
                answer = await found.ask(found.console, method, Case(path), headers)
                assert answer.status_code in (200, 204, 403), (path, answer.text)


async def _free_shows_nobody(found: Asked) -> None:
    before = found.state()
    for method, path in routes(found.console) | routes(found.public):
        if (case := FREE.get((method, path))) is None:
            continue
        app = found.public if (method, path) in routes(found.public) else found.console
        told = set()
        for headers in (found.wrong["none"], found.wrong["wrong"], found.right["owner"]):
            answer = await found.ask(app, method, case, headers)
            assert answer.status_code == case.status, (path, answer.text)
            told.add(answer.content if path != "/metrics" else b"")
            assert b"gone-viewer" not in answer.content, path
        assert len(told) == 1, path
    assert found.state() == before


async def _what_judges_takes_nothing_else(found: Asked) -> None:
    """To be enrolled, to begin a session, to log in: with a word of another kind, used, or none."""
    running, own = found.serving, found.right["owner"]
    visitors = running.watching.visitors
    link = visitors.login(None, ServiceRole.VIEWER, time.monotonic())
    word = found.right["operator"]["authorization"].removeprefix("Bearer ")
    hello = next(as_caller(running.service, ServiceRole.VIEWER, NO_TASK, seed_of("nobody")))
    reply = encode_reply(bytes(32), running.service.nonce)
    proof = encode_proof(bytes(64), running.service.nonce)
    origin = {"origin": f"http://127.0.0.1:{running.ports[1]}"}
    nobody = seed_of("nobody")
    stranger = Renewal.make(running.service, nobody, Enrolment.make("nobody", seed_of("else")))
    before = found.state()
    wrong: list[tuple[str, bytes, dict[str, str]]] = [
        ("/v1/enrol", b"", {}),
        ("/v1/enrol", b"x" * 300, own),
        ("/v1/renew", b"", {}),
        ("/v1/renew", b"x" * 300, own),
        ("/v1/renew", stranger.encode(), {}),
        ("/v1/session", b"", own),
        ("/v1/session", b"x" * 1000, own),
        ("/v1/session", hello[:-1], own),
        ("/v1/session", reply + proof, own),
        ("/v1/login", b"{}", origin),
        ("/v1/login", b"[1]", origin),
        ("/v1/login", b"[" * 5000, origin),
        ("/v1/login", json.dumps({"token": word}).encode(), origin),
        ("/v1/login", json.dumps({"token": own["authorization"][7:]}).encode(), origin),
        ("/v1/login", json.dumps({"token": link}).encode(), {}),
        ("/v1/login", json.dumps({"token": link}).encode(), {"origin": "http://x"}),
        ("/v1/login", json.dumps({"token": link}).encode(), origin | {"host": "x"}),
    ]
    for path, body, headers in wrong:
        app = found.public if path in ("/v1/enrol", "/v1/renew") else found.console
        there = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(
            verify=False, transport=there, base_url=origin["origin"]
        ) as client:
            answer = await client.post(path, content=body, headers=headers)
        assert answer.status_code in (400, 403, 413), (path, body[:80], answer.text)
        assert "set-cookie" not in answer.headers
    assert found.state() == before


MAY = {
    ServiceRole.ADMIN: "POST /v1/rosters appoint approve audit invite list revoke wanted",
    ServiceRole.OPERATOR: (
        "GET /v1/events GET /v1/status cancel drain list login open pause resume wanted"
    ),
    ServiceRole.CLIENT: "",
    ServiceRole.COLLECTOR: "GET /v1/results/{nonce} acknowledge end-epoch remove results",
    ServiceRole.VIEWER: "GET /v1/events GET /v1/status login",
}
"""As docs/service.md has the roles; all else here follows the tables of the code."""


@pytest.mark.parametrize("role", ServiceRole)
def test_rule_w6_what_each_role_may_ask(role: ServiceRole) -> None:
    """Row 78. Free are the page's files, which show nothing, and what judges what it is given."""
    rights = RIGHTS[role]
    found = [f"{method} {path}" for (method, path), need in ROUTES.items() if need in rights]
    found += [word for word, need in WORDS.items() if need in rights]
    assert " ".join(sorted(found)) == MAY[role]
    free = {path for (_, path), need in ROUTES.items() if need is Who.ANYBODY}
    asks = {"/healthz", "/readyz", "/metrics", "/v1/login", "/v1/session"}
    assert free == {*FILES, *asks}
    somebody = {path for (_, path), need in ROUTES.items() if need is Who.SOMEBODY}
    assert somebody == {"/v1/session", "/v1/logout", "/v1/register"}
