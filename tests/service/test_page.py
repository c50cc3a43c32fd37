"""The console's page without a browser: what it is sent with, what it is made of, what it says."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

import secagg
import secagg.service.page
from secagg.plans.choose import plan
from secagg.plans.terms import Terms
from secagg.rights import Action
from secagg.rounds.admissions import CONSOLE
from secagg.rounds.cohort import Cohort
from secagg.rounds.progress import Progress
from secagg.service import askers
from secagg.service.board import Last
from secagg.service.page import FILES, HEADERS, ROUTES
from secagg.service.serving import opened
from secagg.types import Fault, PartyId
from tests.service.place import Place
from tests.service.screens import SCREENS
from tests.service.test_public import Asker

FOLDER = Path(secagg.service.page.__file__).parent
SOURCES = {name: (FOLDER / name).read_text() for name, _ in FILES.values()}
SCRIPTS = {name: text for name, text in SOURCES.items() if name.endswith(".js")}
PAGE = SOURCES["index.html"]


# --- how it is sent ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asker() -> Asker:
    return Asker(Starlette(routes=list(ROUTES)))


@pytest.mark.parametrize("path", FILES)
def test_each_file_is_sent_with_what_holds_a_browser_back(path: str, asker: Asker) -> None:
    found = asker.get(path)
    name, kind = FILES[path]
    assert (found.status_code, found.text) == (200, SOURCES[name])
    assert found.headers["content-type"] == f"{kind}; charset=utf-8"
    assert HEADERS.items() <= dict(found.headers).items()


def test_the_policy_allows_the_files_beside_and_nothing_else() -> None:
    policy = dict(one.split(" ", 1) for one in HEADERS["content-security-policy"].split("; "))
    assert policy.pop("default-src") == "'none'"
    for lacking in ("form-action", "base-uri", "frame-ancestors", "trusted-types"):
        assert policy.pop(lacking) == "'none'", lacking  # default-src does not cover these
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert policy == dict.fromkeys(("script-src", "style-src", "connect-src"), "'self'")
    assert HEADERS["x-content-type-options"] == "nosniff"
    assert HEADERS["referrer-policy"] == "no-referrer"
    assert HEADERS["cache-control"] == "no-store"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_is_sent_to_it(method: str, asker: Asker) -> None:
    assert {asker.request(method, path).status_code for path in FILES} == {405}


def test_every_file_beside_is_sent() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.suffix not in (".py", "")} == {*SOURCES}


# --- what it is made of -----------------------------------------------------------------------

MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser"
    r"|setHTML|srcdoc|\beval\b|\bFunction\(|import\(|javascript:"
    r"|\bstyle=|\"style\"|cssText|\bon[a-z]+\s*=|\"on[a-z]+\""
)
"""What makes markup or a program of a text, and what is inline."""


@pytest.mark.parametrize("name", SOURCES)
def test_no_text_becomes_markup_and_nothing_is_inline(name: str) -> None:
    found = MARKUP.findall(SOURCES[name].replace('window.addEventListener("online"', ""))
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "a.innerHTML = b",
        "<p style='color: red'>",
        '<a onclick="b()">',
        "eval(a)",
        'h("p", {"style": a})',
    ],
)
def test_what_would_is_found(line: str) -> None:
    assert MARKUP.search(line)


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_comes_from_elsewhere(name: str) -> None:
    addresses = set(re.findall(r"\w+://[^\s\"')]*|url\([^)]*\)|@import[^;]*", SOURCES[name]))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # the name of a namespace


def test_scripts_import_each_other_alone() -> None:
    named = {to for text in SCRIPTS.values() for to in re.findall(r'from "\./(.*?)"', text)}
    assert named == set(SCRIPTS) - {"page.js"}
    assert all(len(text.splitlines()) <= 400 for text in SOURCES.values())
    assert [
        line for text in SCRIPTS.values() for line in text.splitlines() if len(line) > 100
    ] == []


class Read(HTMLParser):
    """The elements of the page, and the text that is in none but the body."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], "an element that is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"{tag}: an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        self.texts[inside] = self.texts.get(inside, "") + data.strip()


@pytest.fixture(scope="module")
def read() -> Read:
    return Read(PAGE)


def test_the_page_is_sound(read: Read) -> None:
    assert PAGE.startswith("<!doctype html>\n")
    tags = [tag for tag, _ in read.elements]
    assert ("html", {"lang": "en"}) in read.elements and read.texts["title"]
    for once in ("main", "header", "footer", "title", "h1"):
        assert tags.count(once) == 1, once
    ids = [given["id"] for _, given in read.elements if "id" in given]
    assert len(ids) == len(set(ids))
    for tag, given in read.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert name not in given or given[name] in ids, f"{tag} {name}"
        assert tag != "button" or given["type"] == "button"
    assert any(tag == "p" and given.get("role") == "status" for tag, given in read.elements)


def test_it_names_what_is_sent_and_has_no_script_of_its_own(read: Read) -> None:
    named = [given["src"] for tag, given in read.elements if tag == "script"]
    assert named == ["/page.js"] and "script" not in read.texts
    links = [given["href"] for tag, given in read.elements if tag == "link"]
    assert {*links, *named} < set(FILES)
    assert not any("style" == tag or "style" in given for tag, given in read.elements)


def test_what_the_script_looks_for_is_there(read: Read) -> None:
    ids = {given["id"] for _, given in read.elements if "id" in given}
    sought = set(re.findall(r'\$\("([\w-]+)"\)', "".join(SCRIPTS.values())))
    assert sought <= ids and len(sought) > 5


# --- what it says -----------------------------------------------------------------------------


def tables() -> dict[str, dict[str, Any]]:
    found = re.findall(r"^export const ([A-Z]+) = (\{.*?^\});", SCRIPTS["words.js"], re.M | re.S)
    return {name: json.loads(text) for name, text in found}


WORDS = tables()
STATES = {"empty", "waiting", "ready", "running", "unmasking", "paused", "draining"}
WHOLE = {"live", "opening", "degraded", "draining", "lost", "full", "out"}
TONES = {"calm", "good", "busy", "warn", "bad"}


def test_every_state_has_words() -> None:
    """What it is called, what it means, and what is to be done."""
    assert set(WORDS["STATES"]) == STATES
    assert set(WORDS["OUTCOMES"]) == {"done", "failed"}
    assert set(WORDS["STEPS"]) == {"done", "running", "waiting"}
    assert set(WORDS["CLIENTS"]) == {"owes", "sent", "dropped"}
    assert set(WORDS["SERVICE"]) == WHOLE
    for table in ("STATES", "OUTCOMES", "SERVICE"):
        for state, words in WORDS[table].items():
            if (table, state) != ("SERVICE", "live"):
                assert words["word"] and words["means"] and words["do"], state
    named = [one for table in ("STATES", "OUTCOMES", "STEPS", "CLIENTS") for one in WORDS[table]]
    assert {*named, *WHOLE} <= set(WORDS["ICONS"])


def test_no_tone_is_alone() -> None:
    toned = [
        words
        for table in ("STATES", "OUTCOMES", "STEPS", "CLIENTS", "SERVICE")
        for words in WORDS[table].values()
    ]
    assert all(words["word"] for words in toned)
    assert {words["tone"] for words in toned} == TONES
    assert set(re.findall(r'\[data-tone="(\w+)"\] \{', SOURCES["page.css"])) == TONES


def test_every_phase_has_words() -> None:
    """Those of every protocol of one server, in both suites."""
    fields = {"u": secagg.Integer(2, 3)}
    plans = [plan(clients=9, fields=fields, adversary=one) for one in ("semi-honest", "active")]
    plans.append(plan(clients=9, fields=fields, protocol="plainsum", corrupt=0, dropout=0))
    phases = {name for made in plans for name in made.phase_names}
    assert {"masked-input", "consistency", "upload"} < phases <= set(WORDS["PHASES"])


def test_every_fault_has_words() -> None:
    assert set(WORDS["FAULTS"]) == {fault.value for fault in Fault}


@pytest.mark.parametrize("adversary", ["semi-honest", "active"])
def test_what_is_shown_of_a_promise_is_in_it(adversary: str) -> None:
    """A line of other words would be folded with the rest."""
    fields = {"u": secagg.Integer(2, 3)}
    said = Terms.of(fields, (9, 9), corrupt=0, dropout=0.2, adversary=adversary).explain()
    found = re.search(r"^export const PROMISED = (\[.*?\]);", SCRIPTS["words.js"], re.M | re.S)
    assert found is not None
    for about in json.loads(found[1]):
        assert re.search(rf"^ *{about}: ", said, re.M), about


def test_every_deed_is_a_right_of_an_operator_and_grave_ones_are_asked_about() -> None:
    rights = {action.value for action in Action}
    assert {one for one in WORDS["DEEDS"] if one not in rights} == {"resume"}  # with pause
    asked = {one for one, words in WORDS["DEEDS"].items() if "ask" in words}
    assert asked == {"cancel", "drain"}
    for words in WORDS["DEEDS"].values():
        assert words["says"] and words["done"] and words["label"]


def test_the_screens_show_every_state() -> None:
    """Those of the tests with a browser."""
    tasks = [task for screen in SCREENS.values() for task in screen["tasks"]]
    assert {task["state"] for task in tasks} == STATES
    assert {task["last"]["outcome"] for task in tasks if task["last"]} == {"done", "failed"}
    rounds = [task["round"] for task in tasks if task["round"]]
    assert {one["state"] for found in rounds for one in found["phases"]} == set(WORDS["STEPS"])
    named = [one["state"] for found in rounds for one in found.get("clients", ())]
    assert set(named) == set(WORDS["CLIENTS"])


async def test_the_screens_have_what_a_service_says(tmp_path: Path) -> None:
    """Else the page would be looked at with what never comes."""
    async with opened(Place.made(tmp_path / "service").config()) as serving:
        watching, (course,) = serving.watching, serving.rounds.paced.tasks.values()
        course.running = nonce = bytes(16)
        cohort = Cohort([b"k" * 32])
        progress = Progress("unmask", ("unmask",), 0.0, 1, 2, frozenset({PartyId(0)}), {}, cohort)
        watching.board.looked = lambda found: progress
        watching.board.last["mortality"] = Last(nonce, 0, "below-threshold", 0)
        _, now = watching.state(askers.Asker(None, lambda *given: CONSOLE, ("mortality",)))
        state = now()
        course.running = None
    screen = SCREENS["running"]
    assert set(state) == set(screen)
    [task], [shown] = state["tasks"], screen["tasks"]
    assert set(task) == set(shown) and set(task["last"]) == set(shown["last"])
    assert set(task["round"]) == set(shown["round"])
    assert set(task["round"]["clients"][0]) == set(shown["round"]["clients"][0])
    assert task["state"] == "unmasking" and set(task["round"]["phases"][0]) == {"name", "state"}
