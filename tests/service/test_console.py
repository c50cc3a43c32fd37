"""People at a service's console: how they log in, and what each may see and do (rules W1 to W6 of
specs/51-admission.md)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

import secagg
from secagg.invitation import Invitation
from secagg.rights import Action
from secagg.service import audit
from secagg.service.clerk import Clerk
from secagg.service.porter import Porter, console_url
from secagg.service.serving import COPY, Serving, opened
from secagg.wire.pace import Why
from tests import totals
from tests.service.place import LEAST, TASK, Place, attend, enrol, seed
from tests.service.visits import (
    ADMIN,
    COLLECTOR,
    OPERATOR,
    VIEWER,
    appoint,
    ask,
    base,
    bearer,
    cookie,
    enter,
    log_in,
    owner,
    visit,
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path / "service")


async def done(serving: Serving, headers: dict[str, str], do: str, **more: Any) -> Any:
    status, said = await ask(serving, "POST", "/v1/register", {"do": do, **more}, headers)
    assert status == 200, said
    return said


async def log_in_answer(serving: Serving, token: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(verify=False, base_url=base(serving)) as client:
        return await client.post("/v1/login", json={"token": token}, headers=headers)


async def test_rules_w1_w2_a_session_says_whose_it_is_and_can_be_ended(place: Place) -> None:
    async with opened(place.config()) as serving:
        who = await visit(serving, "ann", OPERATOR)
        _, said = await ask(serving, "GET", "/v1/session", headers=who)
        assert said["role"] == "operator" and 28790 < said["seconds"] <= 28800
        assert "pause" in said["may"] and "results" not in said["may"]
        assert (await ask(serving, "POST", "/v1/logout", headers=who))[0] == 204
        assert (await ask(serving, "GET", "/v1/session", headers=who))[0] == 401
        _, said = await ask(serving, "GET", "/v1/session", headers=owner(serving))
        assert (said["role"], said["seconds"]) == ("owner", None)
        assert set(said["may"]) == {one.value for one in Action}


@pytest.mark.parametrize("by", ["the owner", "a viewer"])
async def test_rules_w3_w4_a_browser_logs_in_by_a_link_that_is_good_once(
    by: str, place: Place
) -> None:
    async with opened(place.config()) as serving:
        maker = owner(serving) if by == "the owner" else await visit(serving, "vic", VIEWER)
        made = await done(serving, maker, "login")
        link, _, token = made["link"].partition("#")
        assert (link, made["role"], made["seconds"]) == (base(serving) + "/login", "viewer", 600.0)
        own = {"origin": base(serving)}
        for strange in ({}, {"origin": "http://evil.example"}, own | {"host": "evil.example"}):
            assert (await log_in_answer(serving, token, **strange)).status_code == 403
        answer = await log_in_answer(serving, token, **own)
        assert answer.status_code == 204
        set_cookie = answer.headers["set-cookie"]
        word = answer.cookies["secagg"]
        assert set_cookie == (f"secagg={word}; Max-Age=28800; Path=/; HttpOnly; SameSite=Strict")
        assert (await log_in_answer(serving, token, **own)).status_code == 403
        mine = {"cookie": f"secagg={word}"}
        assert (await ask(serving, "GET", "/v1/status", headers=mine))[0] == 200
        assert (await ask(serving, "POST", "/v1/logout", headers=mine))[0] == 403
        status, _ = await ask(serving, "GET", "/v1/status", headers=mine | {"origin": "http://x"})
        assert status == 403
        asked = {"do": "login"}  # a browser's session makes none
        page = cookie(word, serving)
        assert (await ask(serving, "POST", "/v1/register", asked, page))[0] == 403
        async with httpx.AsyncClient(verify=False, base_url=base(serving)) as client:
            gone = await client.post("/v1/logout", headers=page)
        assert gone.status_code == 204 and "Max-Age=0" in gone.headers["set-cookie"]
        assert (await ask(serving, "GET", "/v1/status", headers=mine))[0] == 401


async def test_rule_w3_the_owner_says_which_role_of_the_page(place: Place) -> None:
    async with opened(place.config()) as serving:
        word = await log_in(serving, owner(serving), role="operator")
        await done(serving, cookie(word, serving), "pause", name=TASK)
        lines = audit.read((place.folder / "state" / COPY).read_text())
        assert (lines[-1].deed.value, lines[-1].who) == ("paused", "console")
        for role in ("admin", "collector", "client", "king"):
            asked = {"do": "login", "role": role}
            status, said = await ask(serving, "POST", "/v1/register", asked, owner(serving))
            assert (status, said["error"]) == (400, "a browser logs in as operator or viewer")


async def test_78_rule_w2_who_is_revoked_or_appointed_anew_is_signed_out(place: Place) -> None:
    async with opened(place.config()) as serving:
        who = await visit(serving, "ann", VIEWER)
        browser = {"cookie": f"secagg={await log_in(serving, who)}"}
        await done(serving, owner(serving), "appoint", name="ann", role="operator", tasks=[])
        for headers in (who, browser):
            assert (await ask(serving, "GET", "/v1/status", headers=headers))[0] == 401
        again = bearer(await enter(serving, "ann", OPERATOR))
        assert (await ask(serving, "GET", "/v1/status", headers=again))[0] == 200
        await done(serving, owner(serving), "revoke", name="ann")
        assert (await ask(serving, "GET", "/v1/status", headers=again))[0] == 401


async def test_78_rule_w5_what_is_allowed_is_asked_again_when_the_body_has_come(
    place: Place,
) -> None:
    """Somebody who is revoked while its request is under way does nothing with it."""
    async with opened(place.config()) as serving:
        who = await visit(serving, "ann", OPERATOR)

        async def slow() -> Any:
            yield b'{"do": "pau'
            await done(serving, owner(serving), "revoke", name="ann")
            yield f'se", "name": "{TASK}"}}'.encode()

        async with httpx.AsyncClient(verify=False, base_url=base(serving)) as client:
            answer = await client.post("/v1/register", content=slow(), headers=who)
        assert answer.status_code == 403
        assert serving.rounds.paced.tasks[TASK].held is None


async def test_rule_w5_an_operators_day(place: Place) -> None:
    """It sees who is in a round and why, has rounds begin, and sees no result."""
    async with opened(place.config(every=3600.0)) as serving:
        who, viewer = await visit(serving, "ann", OPERATOR), await visit(serving, "vic", VIEWER)
        course = serving.rounds.paced.tasks[TASK]
        for number in range(1, LEAST + 1):
            await enrol(serving, number)
        await asyncio.gather(*(attend(serving, n) for n in range(1, LEAST + 1)))
        assert course.next > 0
        _, said = await ask(serving, "GET", "/v1/status", headers=who)
        assert said["tasks"][TASK]["next_in"] > 3000 and said["tasks"][TASK]["clients"] == []
        _, said = await ask(serving, "GET", "/v1/status", headers=viewer)
        assert "clients" not in said["tasks"][TASK]
        await done(serving, who, "open", name=TASK)
        _, said = await ask(serving, "GET", "/v1/status", headers=who)
        assert said["tasks"][TASK]["next_in"] == 0
        await done(serving, who, "pause", task=TASK)
        asked = {"do": "open", "name": TASK}
        status, said = await ask(serving, "POST", "/v1/register", asked, who)
        assert status == 403 and "resume makes it due" in said["error"]
        await done(serving, who, "resume", name=TASK)
        await done(serving, who, "drain")
        assert course.held is Why.DRAINING
        status, said = await ask(serving, "GET", "/readyz")
        assert (status, said["reasons"]) == (503, ["draining: no further round begins"])
        await done(serving, who, "resume", name=TASK)
        assert (await ask(serving, "GET", "/readyz"))[0] == 200
        deeds = [
            (line.deed.value, line.who)
            for line in audit.read((place.folder / "state" / COPY).read_text())
        ]
        assert deeds[-5:] == [
            (deed, "ann") for deed in ("hastened", "paused", "resumed", "draining", "resumed")
        ]


async def test_rule_w6_a_collector_has_results_of_its_tasks(place: Place) -> None:
    config = place.config()
    tasks = config.tasks[0], replace(config.tasks[0], name="other")
    async with opened(replace(config, tasks=tasks)) as serving:
        total = totals.aggregate({"age": secagg.Integer(2, max=9)})
        nonces = {one: bytes([i]) * 16 for i, one in enumerate((TASK, "other"), 1)}
        for task, nonce in nonces.items():
            await serving.write(serving.books.results.add(task, nonce, total, serving.unix))
        who = await visit(serving, "col", COLLECTOR)
        (one,) = (await done(serving, who, "results"))["results"]
        assert (one["number"], one["task"], one["waiting"]) == (nonces[TASK].hex(), TASK, True)
        status, data = await ask(serving, "GET", "/v1/results/last", headers=who)
        assert status == 200 and data[:2] == b"PK"
        unknown = {}
        for of in (nonces["other"].hex(), "ff" * 16):
            for do in ("acknowledge", "remove"):
                asked = {"do": do, "name": of}
                unknown[do, of] = await ask(serving, "POST", "/v1/register", asked, who)
            unknown["get", of] = await ask(serving, "GET", f"/v1/results/{of}", headers=who)
        assert len({json.dumps(said) for _, said in unknown.values()}) == 1
        assert {status for status, _ in unknown.values()} == {403, 404}
        assert (await done(serving, who, "acknowledge", name=nonces[TASK].hex()))[
            "waiting"
        ] is False
        await done(serving, who, "remove", name="last")
        assert [one.task for one in serving.books.results.all()] == ["other"]
        status, said = await ask(serving, "POST", "/v1/register", {"do": "end-epoch"}, who)
        assert status == 403 and "`secagg collect`" in said["error"]


async def test_rule_w5_an_admin_enrols_and_sees_no_results(place: Place) -> None:
    async with opened(place.config()) as serving:
        who = await visit(serving, "adm", ADMIN)
        made = await done(serving, who, "invite", name="site-7", role="client", tasks=[TASK])
        accepted = Invitation.decode(made["code"]).accept(seed(7))
        found = await Clerk(serving).accept(accepted.encode())
        assert found["role"] == "client" and found["console"] is None
        await done(serving, who, "approve", name="site-7")
        await done(serving, who, "revoke", name="site-7")
        states = {
            one["name"]: one["state"] for one in (await done(serving, who, "list"))["entries"]
        }
        assert states == {"adm": "approved", "site-7": "revoked"}
        whose = [line.who for line in audit.read((place.folder / "state" / COPY).read_text())]
        assert whose[-4:] == ["adm", "site-7", "adm", "adm"]


async def test_what_a_person_is_told_when_it_is_enrolled(place: Place) -> None:
    """Where the console is: the invitation has only the public address."""
    async with opened(place.config()) as serving:
        await appoint(serving, "ann", OPERATOR)
        assert serving.console_url == base(serving)
    config = replace(place.config(), admin=("0.0.0.0", 8443))
    assert console_url(config, 8443) == "https://localhost:8443"
    assert console_url(replace(config, admin=("::1", 0)), 9) == "http://[::1]:9"
    porter = Porter.of(config, "", None, None, tuple)  # type: ignore[arg-type]
    assert porter.tls and porter.hosts == {"localhost", "0.0.0.0"}
    assert porter.cookie(None).endswith("; Secure")


@pytest.mark.parametrize(
    "said",
    [
        {"do": "pause", "task": "\ud800"},
        {"do": "\udfff"},
        {"do": "list", "\ud800": 1},
        {"do": "invite", "name": "x", "role": "client", "tasks": ["\ud800"]},
        ["\ud800"],
    ],
)
async def test_what_is_no_text_is_a_request_that_is_none(place: Place, said: Any) -> None:
    """Half of a surrogate pair in JSON: no answer could name it."""
    async with opened(place.config()) as serving:
        status, answer = await ask(serving, "POST", "/v1/register", said, owner(serving))
    assert status == 400 and answer == {"error": "a request is one JSON object"}
