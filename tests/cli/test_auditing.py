"""`secagg service audit verify`, of a service that runs and of one that does not."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from secagg.cli import app
from secagg.service.desk import leave_token, new_token
from secagg.service.serving import COPY, opened
from tests.service.place import LEAST, Place, enrol


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place.made(tmp_path / "service")
    text = (made.folder / "service.toml").read_text().replace(":443", ":0")
    task = '[tasks.mortality]\nplan = "mortality.task"\nclients = { min = 4 }\n'
    (made.folder / "service.toml").write_text(text + task)
    return made


def verify(place: Place, *more: str) -> tuple[int, dict[str, Any]]:
    words = ["service", "audit", "verify", "--config", str(place.folder / "service.toml")]
    done = CliRunner().invoke(app, [*words, "--json", *more])
    return done.exit_code, json.loads(done.stdout.splitlines()[-1])


def test_the_audit_of_a_service_is_verified(place: Place) -> None:
    async def lived() -> dict[str, Any]:
        async with opened(place.config()) as serving:
            for number in range(1, LEAST + 1):
                await enrol(serving, number)
            code, said = await asyncio.to_thread(verify, place)
            assert code == 0 and said["broken"] == []
            assert said["head"] == serving.books.audit.head.hex()
            return said

    running = asyncio.run(lived())
    code, said = verify(place, "--head", running["head"])
    assert (code, said["broken"]) == (0, []) and said["rows"] == said["copied"]
    copy = place.folder / "state" / COPY
    whole = copy.read_text()
    copy.write_text(whole.replace("site-2", "site-9", 1))
    code, said = verify(place)
    assert code == 1 and said["broken"][0].startswith("line 6 of the copy")
    copy.write_text(whole)
    code, said = verify(place, "--head", "00")
    assert code == 1 and "that was kept" in said["broken"][0]
    code, said = verify(place, "--config", str(place.folder / "none.toml"))
    assert code == 2


def test_90_the_audit_of_a_service_that_was_killed_is_verified(place: Place) -> None:
    """It has left the token of its console, of which nobody is there."""

    async def lived() -> None:
        async with opened(place.config()):
            pass

    asyncio.run(lived())
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    leave_token(place.folder / "state", port, new_token())
    code, said = verify(place)
    assert (code, said["broken"]) == (0, []) and said["rows"] == 2


def test_other_words_after_audit_are_refused(place: Place) -> None:
    config = str(place.folder / "service.toml")
    done = CliRunner().invoke(app, ["service", "audit", "read", "--config", config])
    assert done.exit_code == 2 and "audit verify" in done.stderr
    done = CliRunner().invoke(app, ["service", "audit", "verify", "--config", config])
    assert done.exit_code == 2 and "never run" in done.stderr
