"""The console's page in a browser, before a console that says what it is told to."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest

from tests.service.browser import NARROW, WIDE, Looked, looking, needed
from tests.service.screens import COLLECTOR, DONE, OPERATOR, SCREENS, result, running, service, task
from tests.service.stage import TOKEN, Stage, listening

needed()

MARKS = count()
PAUSE, OPEN, CANCEL = "Pause", "Open a round now", "Cancel this round"
DRAIN = "Drain the service"


@asynccontextmanager
async def opened(state: dict[str, Any], **more: Any) -> AsyncIterator[tuple[Looked, Stage, int]]:
    """Signed in by a link."""
    stage = Stage()
    stage.show(state)
    async with listening(stage.app) as port, looking(**more) as looked:
        await looked.tab.goto(f"http://127.0.0.1:{port}/login#{TOKEN}")
        await looked.live()
        yield looked, stage, port


async def turned(looked: Looked, stage: Stage, state: dict[str, Any]) -> None:
    """Until the page shows another state."""
    mark = f"0.1.0+{next(MARKS)}"
    stage.show({**state, "version": mark})
    await looked.shows(mark)


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_state_can_be_read_by_everybody(scheme: str, width: int) -> None:
    """axe finds nothing, and nothing is beyond the edge."""
    async with opened(SCREENS["none"], scheme=scheme, width=width) as (looked, stage, _):
        for name, state in SCREENS.items():
            await turned(looked, stage, state)
            await looked.audit(name)
        await turned(looked, stage, SCREENS["running"])
        await looked.tab.get_by_role("button", name=CANCEL).click()
        await looked.audit("asked")
        stage.answer = 409, {"error": "no round of mortality runs"}
        await looked.tab.get_by_role("button", name="Cancel the round").click()
        await looked.shows("was refused: no round of mortality runs")
        await looked.audit("refused")


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_so_is_what_is_said_without_the_service(scheme: str, width: int) -> None:
    stage = Stage()
    stage.show(SCREENS["running"])
    async with looking(scheme, width) as looked:
        async with listening(stage.app) as port:
            await looked.tab.goto(f"http://127.0.0.1:{port}/login#{TOKEN}")
            await looked.shows("Masked inputs arrive")
        await looked.shows("No contact since")
        await looked.audit("no-contact")
        stage.full = True
        async with listening(stage.app, port):
            await looked.tab.get_by_role("button", name="Try now").click()
            await looked.shows("Too many viewers since")
            await looked.audit("too-many")
            stage.full = False
            await looked.tab.get_by_role("button", name="Try now").click()
            await looked.live()
            stage.end("signed-out")
            await looked.shows("Your session is over")
            await looked.audit("signed-out")


# --- contact ----------------------------------------------------------------------------------


async def test_a_service_that_is_gone_is_said_and_found_again() -> None:
    """76: the last state stays, dimmed; tries are further and further apart; the stream goes on."""
    stage = Stage()
    stage.show(SCREENS["running"])
    async with looking() as looked:
        tries: list[str] = []
        looked.tab.on("request", lambda one: tries.append(one.url))
        async with listening(stage.app) as port:
            await looked.tab.goto(f"http://127.0.0.1:{port}/login#{TOKEN}")
            await looked.shows("6 min 39")  # the deadline of the screen is in 401 s
        await looked.shows("No contact since")
        assert (await looked.tab.title()).startswith("No contact")
        kept = await looked.text("article")
        tries.clear()
        await looked.tab.wait_for_timeout(2500)
        assert await looked.text("article") == kept, "no seconds pass in it"
        assert 1 <= len(tries) <= 4
        for button in await looked.tab.locator("article button").all():
            assert await button.is_disabled()
        async with listening(stage.app, port):
            await looked.tab.get_by_role("button", name="Try now").click()
            await looked.live()
            assert stage.seen[0] is None and stage.seen[-1] == "1001"
            assert await looked.tab.get_by_text("No contact").count() == 0
            assert await looked.text("article") != kept
            await turned(looked, stage, SCREENS["paused"])


async def test_a_link_that_died_in_silence_is_followed_no_more() -> None:
    stage = Stage()
    stage.show(SCREENS["waiting"])
    async with listening(stage.app) as port, looking() as looked:
        await looked.tab.clock.install()
        await looked.tab.goto(f"http://127.0.0.1:{port}/login#{TOKEN}")
        await looked.live()
        await looked.tab.clock.run_for(29_000)
        assert stage.seen == [None]
        await looked.tab.clock.run_for(3_000)  # and it has tried again
        await looked.live()
        assert stage.seen == [None, "1001"]


async def test_a_service_that_says_that_it_stops() -> None:
    async with opened(SCREENS["waiting"]) as (looked, stage, _):
        stage.end("stopping")
        await looked.shows("The service has said that it stops.")


# --- sessions ---------------------------------------------------------------------------------


async def test_a_link_signs_in_once_and_leaves_the_address() -> None:
    async with opened(SCREENS["waiting"]) as (looked, _, port):
        assert looked.tab.url == f"http://127.0.0.1:{port}/"
        assert await looked.tab.evaluate("document.cookie") == "", "no script reads the cookie"
        await looked.tab.reload()
        await looked.live()
        await looked.tab.goto(f"http://127.0.0.1:{port}/login#another")
        await looked.shows("This link is not good any more")
        assert "another" not in looked.tab.url
        await looked.tab.goto(f"http://127.0.0.1:{port}/login")
        await looked.shows("This address has no token in it")


@pytest.mark.parametrize("how", ["button", "service"])
async def test_who_is_signed_out_sees_nothing_of_the_service(how: str) -> None:
    async with opened(SCREENS["running"]) as (looked, stage, port):
        if how == "button":
            await looked.tab.get_by_role("button", name="Sign out").click()
            await looked.shows("You have signed out.")
        else:
            stage.end("signed-out")
            await looked.shows("Your session is over")
        await looked.shows("secagg service login")
        shown = await looked.tab.content()
        assert "mortality" not in shown and "hospital" not in shown
        await looked.tab.reload()
        await looked.shows("Your session is over")


# --- deeds ------------------------------------------------------------------------------------


async def test_a_viewer_is_offered_nothing_and_told_no_names() -> None:
    state = service(task("running", candidates=8, round=running(), last=DONE))
    async with opened(state) as (looked, _, _):
        assert await looked.tab.get_by_role("button").all_inner_texts() == ["Sign out"]
        assert await looked.tab.locator("table, a[download]").count() == 0


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("ready", [PAUSE, OPEN, DRAIN]),
        ("running", [PAUSE, CANCEL, DRAIN]),
        ("failed", [PAUSE, OPEN, DRAIN]),
        ("paused", ["Resume", DRAIN]),
        ("draining", ["Resume"]),
    ],
)
async def test_an_operator_is_offered_what_can_be_done(name: str, offered: list[str]) -> None:
    async with opened({**SCREENS[name], "may": OPERATOR}) as (looked, _, _):
        [_, *found] = await looked.tab.get_by_role("button").all_inner_texts()
        assert [one for one in found if one != CANCEL or name == "running"] == offered
        for text in offered:
            button = looked.tab.get_by_role("button", name=text)
            says = await button.get_attribute("aria-describedby")
            assert await looked.text(f"#{says}"), "what it does"


async def test_what_is_asked_for_and_what_came_of_it() -> None:
    async with opened(SCREENS["ready"]) as (looked, stage, _):
        await looked.tab.get_by_role("button", name=PAUSE).click()
        await looked.shows("Paused: no further round begins.")
        await looked.tab.get_by_role("button", name=DRAIN).click()
        await looked.tab.get_by_role("button", name="Go on as before").click()
        await looked.tab.get_by_role("button", name=DRAIN).click()
        await looked.tab.locator("#ask-yes").click()
        await looked.shows("The service drains")
        assert stage.asked == [{"do": "pause", "name": "mortality"}, {"do": "drain"}]


async def test_a_round_that_is_over_is_not_asked_about_any_more() -> None:
    """Else the answer would cancel the next one."""
    async with opened(SCREENS["running"]) as (looked, stage, _):
        await looked.tab.get_by_role("button", name=CANCEL).click()
        assert await looked.tab.locator("dialog[open]").count() == 1
        following = task("running", round=running("share-keys", round="cafe0002"), last=DONE)
        await turned(looked, stage, service(following, may=OPERATOR))
        assert await looked.tab.locator("dialog[open]").count() == 0
        assert stage.asked == []


async def test_a_collector_takes_a_result() -> None:
    state = service(task("waiting"), results=[result(1), result(2)], may=COLLECTOR)
    async with opened(state, accept_downloads=True) as (looked, _, _):
        async with looked.tab.expect_download() as waiting:
            await looked.tab.get_by_role("link", name="round 00000002").click()
        taken = await waiting.value
        assert taken.suggested_filename == "mortality-00000002.npz"
        assert (await taken.path()).read_bytes() == b"arrays"


# --- for everybody ----------------------------------------------------------------------------

FOCUS = """() => {
    const at = document.activeElement, drawn = getComputedStyle(at);
    return [at.innerText || at.getAttribute("aria-label") || at.tagName, drawn.outlineStyle];
}"""


async def test_a_keyboard_is_enough() -> None:
    async with opened(SCREENS["running"]) as (looked, stage, _):
        keys, stops = looked.tab.keyboard, []
        for _ in range(7):
            await keys.press("Tab")
            stop, outline = await looked.tab.evaluate(FOCUS)
            stops.append(stop.split("\n")[0])
            assert outline == "solid", f"{stop}: where one is can be seen"
        who = "Who takes part in this round of mortality"
        more = stops.pop(3)
        assert stops == ["Skip to the tasks", "Sign out", who, PAUSE, CANCEL, DRAIN]
        assert re.fullmatch(r"\d+ lines more", more)
        await looked.tab.get_by_role("button", name=CANCEL).focus()
        await keys.press("Enter")
        assert (await looked.tab.evaluate(FOCUS))[0] == "Let it run"
        await keys.press("Enter")
        assert (await looked.tab.evaluate(FOCUS))[0] == CANCEL and stage.asked == []
        await keys.press("Enter")
        await keys.press("Escape")
        assert (await looked.tab.evaluate(FOCUS))[0] == CANCEL and stage.asked == []
        for key in ("Enter", "Tab", "Enter"):
            await keys.press(key)
        await looked.shows("The round was cancelled.")
        assert stage.asked == [{"do": "cancel", "name": "mortality"}]
        await looked.tab.get_by_role("button", name=CANCEL).focus()
        await turned(looked, stage, SCREENS["failed"])
        assert (await looked.tab.evaluate(FOCUS))[0] == "mortality", "its button is gone"


async def test_the_skip_link_leads_to_the_tasks() -> None:
    async with opened(SCREENS["waiting"]) as (looked, _, _):
        await looked.tab.keyboard.press("Tab")
        await looked.tab.keyboard.press("Enter")
        assert await looked.tab.evaluate("document.activeElement.id") == "main"


async def test_who_has_the_focus_keeps_it_and_what_is_open_stays_open() -> None:
    async with opened(SCREENS["done"]) as (looked, stage, _):
        await looked.tab.get_by_text("3 older results").click()
        await looked.tab.evaluate("window.before = document.activeElement")
        await turned(looked, stage, {**SCREENS["done"], "ready": False, "reasons": ["disk: full"]})
        assert await looked.tab.evaluate("document.activeElement === window.before")
        assert await looked.tab.locator("details[open]").count() == 1
        several = SCREENS["several"]
        await turned(looked, stage, {**several, "tasks": several["tasks"][-1:]})
        await looked.tab.get_by_role("button", name=PAUSE).focus()
        await turned(looked, stage, several)
        assert await looked.tab.evaluate("document.activeElement.dataset.task") == "sepsis"


async def test_changes_are_said_and_seconds_are_not() -> None:
    async with opened(SCREENS["running"]) as (looked, stage, _):
        await looked.tab.evaluate("""() => {
            const place = document.querySelector("#said");
            window.said = [];
            const heard = () => said.push(place.textContent);
            new MutationObserver(heard).observe(place, {childList: true});
        }""")
        before = await looked.text("article")
        await looked.tab.wait_for_timeout(2200)
        assert await looked.text("article") != before, "seconds have passed"
        assert await looked.tab.evaluate("said") == []
        await turned(looked, stage, SCREENS["unmasking"])
        said = await looked.tab.evaluate("said")
        assert said == ["mortality: Unmasking. Shares of masks are opened"]


@pytest.mark.parametrize(("motion", "moves"), [("no-preference", "come"), ("reduce", "none")])
async def test_nothing_moves_for_those_who_do_not_want_it(motion: str, moves: str) -> None:
    async with opened(SCREENS["degraded"], motion=motion) as (looked, _, _):
        name = "getComputedStyle(document.querySelector('.banner')).animationName"
        assert await looked.tab.evaluate(name) == moves


HOSTILE = "<img src=x onerror=alert(1)><b>bold</b>"


async def test_what_the_service_says_is_text() -> None:
    clients = [{"name": HOSTILE, "state": HOSTILE, "why": HOSTILE}]
    state = service(
        task(
            HOSTILE,
            name="t",
            guarantee=[HOSTILE],
            held=HOSTILE,
            round=running(clients=clients, phase=HOSTILE),
            last={**DONE, "why": HOSTILE, "do": HOSTILE, "outcome": HOSTILE},
        ),
        may=OPERATOR,
        ready=False,
        reasons=[HOSTILE],
        service=HOSTILE,
        role=HOSTILE,
    )
    async with opened(state) as (looked, _, _):
        assert (await looked.text()).count(HOSTILE) >= 10
        assert await looked.tab.locator("img, b").count() == 0
        assert looked.errors == []
        await looked.shows("which this page does not know")


async def test_the_policy_is_in_force() -> None:
    """What the headers forbid, a browser refuses: markup of text, other origins."""
    async with opened(SCREENS["waiting"]) as (looked, _, _):
        for line in (
            "document.body.innerHTML = '<b>bold</b>'",
            "document.body.setAttribute('onclick', 'x()')",
        ):
            with pytest.raises(Exception, match="TrustedHTML|TrustedScript"):
                await looked.tab.evaluate(f"() => {{ {line} }}")
        with pytest.raises(Exception, match="fetch"):
            await looked.tab.evaluate("() => fetch('http://127.0.0.2:9/')")
        assert any("connect-src" in one for one in looked.errors)
