"""People at the console of a service: what they ask, and with which word.

It is plain HTTP: a client that would read the machine's authorities takes 40 ms for that.
"""

from __future__ import annotations

import json
from typing import Any

import httpx

from secagg.rights import ServiceRole
from secagg.rounds.admissions import CONSOLE
from secagg.rounds.reception import NO_TASK, as_caller
from secagg.service.desk import find_token
from secagg.service.serving import Serving
from secagg.types import Seed
from tests.service.place import TASK

VIEWER, OPERATOR = ServiceRole.VIEWER, ServiceRole.OPERATOR
COLLECTOR, ADMIN = ServiceRole.COLLECTOR, ServiceRole.ADMIN
CA = bytes(32)


def seed_of(name: str) -> Seed:
    return Seed(name.encode().ljust(32, b"."))


async def appoint(
    serving: Serving, name: str, role: ServiceRole, tasks: tuple[str, ...] | None = None
) -> None:
    """Enrolled and approved, with the key of `seed_of`."""
    books, now = serving.books, serving.unix
    of = tasks if tasks is not None else (TASK,) if role.of_tasks else ()
    change, invited = books.admissions.invite(name, role, of, CONSOLE, now, url=serving.url, ca=CA)
    await serving.write(books.change(change, now))
    accepted = books.admissions.accept(invited.accept(seed_of(name)), now)
    await serving.write(books.change(accepted, now))
    await serving.write(books.change(books.admissions.approve(name, CONSOLE), now))


def base(serving: Serving) -> str:
    return f"http://127.0.0.1:{serving.ports[1]}"


def owner(serving: Serving) -> dict[str, str]:
    return bearer(find_token(serving.config.state)[1])


def bearer(word: str) -> dict[str, str]:
    return {"authorization": f"Bearer {word}"}


def cookie(word: str, serving: Serving) -> dict[str, str]:
    """As a browser sends it, from a page of the console."""
    return {"cookie": f"secagg={word}", "origin": base(serving)}


async def enter(serving: Serving, name: str, role: ServiceRole) -> str:
    """The word of a session, by HTTP."""
    mine = as_caller(serving.service, role, NO_TASK, seed_of(name))
    async with httpx.AsyncClient(verify=False, base_url=base(serving)) as client:
        reply = await client.post("/v1/session", content=next(mine))
        assert reply.status_code == 200, reply.text
        said = await client.post("/v1/session", content=reply.content + mine.send(reply.content))
    assert said.status_code == 200, said.text
    try:
        mine.send(bytes.fromhex(said.json()["proof"]))
    except StopIteration:
        word: str = said.json()["session"]
        return word
    raise AssertionError("a greeting has four frames")


async def visit(serving: Serving, name: str, role: ServiceRole) -> dict[str, str]:
    """Of somebody new: the headers to ask with."""
    await appoint(serving, name, role)
    return bearer(await enter(serving, name, role))


async def log_in(serving: Serving, headers: dict[str, str], **asked: Any) -> str:
    """What a browser's cookie has, after a link that who has these headers had made."""
    status, said = await ask(serving, "POST", "/v1/register", {"do": "login", **asked}, headers)
    assert status == 200, said
    token = said["link"].partition("#")[2]
    async with httpx.AsyncClient(verify=False, base_url=base(serving)) as client:
        answer = await client.post(
            "/v1/login", json={"token": token}, headers={"origin": base(serving)}
        )
    assert answer.status_code == 204, answer.text
    return answer.cookies["secagg"]


async def ask(
    serving: Serving,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, Any]:
    """Of the console, with these headers alone."""
    async with httpx.AsyncClient(verify=False, base_url=base(serving)) as client:
        content = None if body is None else json.dumps(body)
        answer = await client.request(method, path, content=content, headers=headers or {})
    kind = answer.headers.get("content-type", "")
    return answer.status_code, answer.json() if kind == "application/json" else answer.content
