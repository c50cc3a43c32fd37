"""The commands of people at a service: those who are enrolled for it, and its owner."""

from __future__ import annotations

import asyncio
import io
import json
import shlex
import ssl
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

import secagg
from secagg import cli
from secagg.cli.console import reached
from secagg.cli.top import drawn
from secagg.crypto import sign
from secagg.service import audit
from secagg.service.serving import COPY, Serving, opened
from secagg.types import Seed
from secagg.wire.pace import Why
from tests import totals
from tests.cli import contract
from tests.service.place import TASK, Place
from tests.test_service_page import PEOPLE


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path / "service")


class People:
    """Whoever asks this service, by commands."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.config = ("--config", str(place.folder / "service.toml"))

    async def call(self, *words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, cli.app, list(words))

    async def told(self, *words: str, kept: str = "") -> dict[str, Any]:
        done = await self.call(*words, "--json")
        assert done.exit_code == 0, done.output
        answer: dict[str, Any] = json.loads(done.stdout)
        if kept:
            contract.check(kept, answer)
        return answer

    async def refused(self, *words: str) -> str:
        done = await self.call(*words, "--json")
        assert done.exit_code == 2, done.output
        return str(json.loads(done.stdout)["message"])

    async def enrolled(self, name: str, *role: str) -> tuple[str, str]:
        """What to give with a command, as that."""
        made = await self.told("service", "invite", name, *role, *self.config)
        folder = self.place.folder.parent / name
        enrolled = await self.told("enrol", made["code"], "--out", str(folder))
        contract.check("enrol, of a person", enrolled)
        await self.told("service", "approve", name, *self.config)
        return "--service", str(folder / f"{name}.toml")


def deeds(place: Place) -> list[tuple[str, str]]:
    lines = audit.read((place.folder / "state" / COPY).read_text())
    return [(line.deed.value, line.who) for line in lines]


async def kept(serving: Serving) -> bytes:
    """A result is there."""
    total, nonce = totals.aggregate({"age": secagg.Integer(2, max=9)}), bytes([7]) * 16
    await serving.write(serving.books.results.add(TASK, nonce, total, serving.unix))
    return nonce


async def test_a_collector_takes_a_result_from_elsewhere(place: Place, tmp_path: Path) -> None:
    people, out = People(place), tmp_path / "sum.npz"
    async with opened(place.config()) as serving:
        nonce = await kept(serving)
        col = await people.enrolled("col", "--role", "collector", "--task", TASK)
        (one,) = (await people.told("results", "list", *col, kept="results list"))["results"]
        assert one["number"] == nonce.hex() and one["waiting"]
        got = await people.told("results", "get", "last", "--out", str(out), *col)
        assert got["bytes"] == out.stat().st_size
        assert np.load(out)["sum.age"].shape == (2,)
        assert serving.books.results.waiting(TASK) == 0
        assert deeds(place)[-2:] == [("result-read", "col"), ("result-taken", "col")]
        why = await people.refused("service", "pause", TASK, *col)
        assert why == "the role collector is without the right 'pause', which operator has"
        assert "right 'page'" in await people.refused("login", *col)
        await people.told("results", "rm", "last", *col)
        assert serving.books.results.all() == []
        assert len(serving.watching.visitors._sessions) == 0, "each command ends its own"
        await people.told("service", "revoke", "col", *people.config)
        assert "this key is not met here" in await people.refused("results", "list", *col)


async def test_an_operator_and_an_admin_from_elsewhere(place: Place) -> None:
    people = People(place)
    async with opened(place.config()) as serving:
        course = serving.rounds.paced.tasks[TASK]
        ann = await people.enrolled("ann", "--role", "operator")
        adm = await people.enrolled("adm", "--role", "admin")
        await people.told("service", "pause", TASK, *ann)
        assert course.held is Why.PAUSED
        told = await people.told("service", "status", *ann)
        assert told["tasks"][TASK]["held"] == "paused"
        await people.told("service", "resume", TASK, *ann)
        await people.told("service", "open", TASK, *ann, kept="service open")
        await people.told("service", "drain", *ann, kept="service drain")
        assert course.held is Why.DRAINING
        assert "right 'results'" in await people.refused("results", "list", *ann)
        await people.told("service", "invite", "vic", "--role", "viewer", *adm)
        shown = await people.told(
            "service", "appoint", "ann", "--role", "viewer", *adm, kept="service appoint"
        )
        assert shown["role"] == "viewer"
        assert "this key is not met here" in await people.refused("service", "status", *ann)
        words = "and --service are two ways to say which service"
        for command in (("service", "status"), ("results", "list"), ("top",)):
            assert words in await people.refused(*command, *people.config, *adm)
        assert "is for" in await people.refused("service", "check", "x", *adm)


async def test_links_for_a_browser(place: Place) -> None:
    people = People(place)
    async with opened(place.config()) as serving:
        vic = await people.enrolled("vic", "--role", "viewer")
        mine = await people.told("login", *vic, kept="login")
        owners = await people.told("service", "login", *people.config, kept="service login")
        more = await people.told("service", "login", "--role", "operator", *people.config)
        assert [one["role"] for one in (mine, owners, more)] == ["viewer", "viewer", "operator"]
        for one in (mine, owners, more):
            base, _, token = one["link"].partition("/login#")
            assert base == serving.console_url and len(token) == 64
        alone = await people.call("service", "login", *people.config)
        assert alone.stdout.startswith(serving.console_url) and alone.stdout.count("\n") == 1


async def test_top_shows_a_state_and_ends_with_the_service(place: Place) -> None:
    people = People(place)
    async with opened(place.config(), "0.1.0") as serving:
        await kept(serving)
        vic = await people.enrolled("vic", "--role", "viewer")
        state = await people.told("top", *vic, kept="top")
        assert (state["role"], state["tasks"][0]["name"]) == ("viewer", TASK)
        assert (await people.told("top", *people.config))["role"] == "owner"
        watching = asyncio.create_task(people.call("top", *vic))
        async with asyncio.timeout(10):
            while not serving.watching.here:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        serving.watching.stop()
        done = await watching
        assert done.exit_code == 0, done.output
        assert f"{TASK}  empty" in done.stdout and "taken" not in done.stdout
    why = await people.refused("top", *vic)
    assert "does not answer" in why and "is it running" in why


def test_what_top_shows_of_a_round() -> None:
    """Nothing of it is markup, and nothing of it moves the cursor."""
    clients: list[dict[str, Any]] = [
        {"name": f"site-{i}", "state": "sent", "why": None} for i in range(30)
    ]
    clients[29] = {"name": "[red]\x1b[2J", "state": "dropped", "why": "late"}
    running = {
        "round": "a1b2c3d4",
        "phase": "masked-input",
        "phases": [
            {"name": "advertise-keys", "state": "done"},
            {"name": "masked-input", "state": "running"},
        ],
        "left": 41.0,
        "bytes_in": 20_000,
        "bytes_out": 50 << 20,
        "asked": 30,
        "sent": 29,
        "owe": 0,
        "dropped": 1,
        "clients": clients,
    }
    last = {"round": "00ff", "at": 0, "outcome": "failed", "contributors": 0, "why": "w", "do": "d"}
    task = {
        "name": "mortality",
        "state": "running",
        "held": "paused by an operator",
        "candidates": 4,
        "min": 5,
        "target": 8,
        "enrolled": 9,
        "next": None,
        "failures": 2,
        "round": running,
        "last": last,
    }
    state = {"service": "s", "at": 0, "role": "operator", "reasons": ["disk: full"], "results": []}
    console = Console(file=io.StringIO(), width=100)
    console.print(drawn(state | {"tasks": [task]}))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for words in (
        "not ready: disk: full",
        "4 of 5 candidates, for 8; 9 enrolled; 2 failures in a row",
        "29 of 30 sent, 0 owe, 1 dropped, 41 s left; 19 KiB in, 50 MiB out",
        "[red]\\x1b[2J",
        "and 10 more",
        "last round 00ff at 1970-01-01 00:00 gave no sum: w; d",
    ):
        assert words in text, words
    assert "\x1b[2J" not in text


def test_who_asks_from_elsewhere_needs_nothing_of_a_server() -> None:
    """As `pip install secagg` has it."""
    code = (
        "import sys\n"
        "for name in ('starlette', 'uvicorn', 'prometheus_client'): sys.modules[name] = None\n"
        "import secagg.cli.enrol, secagg.cli.login, secagg.cli.results, secagg.cli.top\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_78_a_console_that_is_not_the_service_is_told_nothing(place: Place) -> None:
    """Its proof is checked before anything is asked (rule W1)."""
    people = People(place)
    async with opened(place.config()) as serving:
        _, file = await people.enrolled("ann", "--role", "operator")
        key, path = serving.service.key.hex(), Path(file)
        other = sign.public_key(Seed(bytes(32))).hex()
        path.write_text(path.read_text().replace(key, other))
        assert "not met here" in await people.refused("service", "status", "--service", file)
        assert len(serving.watching.visitors._sessions) == 0


async def test_the_owner_reaches_a_console_under_tls(place: Place, tmp_path: Path) -> None:
    """Beyond loopback it has the service's certificate, whose name need not lead here."""
    config = replace(place.config(), admin=("0.0.0.0", 0))
    text = (place.folder / "service.toml").read_text()
    (place.folder / "service.toml").write_text(
        text.replace('address = "127.0.0.1:0"', 'address = "0.0.0.0:0"')
    )
    people = People(place)
    async with opened(config) as serving:
        told = await people.told("service", "status", *people.config)
        assert told["ready"] is True
        ann = await people.enrolled("ann", "--role", "operator")
        assert (await people.told("service", "status", *ann))["tasks"].keys() == {TASK}

        def versions() -> str | None:
            with reached(place.folder / "service.toml", None) as console:
                assert console.tls is not None and console.url.startswith("https://localhost:")
                assert console.tls.minimum_version is ssl.TLSVersion.TLSv1_3
                return console.url

        assert await asyncio.to_thread(versions) == serving.console_url


async def test_the_commands_of_the_page(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/service.md shows of people, line by line."""
    monkeypatch.chdir(place.folder)
    people, code = People(place), ""
    async with opened(place.config()) as serving:
        await kept(serving)
        for line in PEOPLE.splitlines():
            program, *words = shlex.split(line.replace("CODE", code))
            done = await people.call(*words)
            assert program == "secagg" and done.exit_code == 0, (line, done.output)
            code = done.stdout.strip() if "invite" in words else code
        assert serving.books.results.waiting(TASK) == 0
    assert np.load("sum.npz")["sum.age"].shape == (2,)
