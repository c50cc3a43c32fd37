"""--log-level and --log-json: which lines come, what is in them, and that no peer forges one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from secagg import cli
from secagg.cli import logs, output
from secagg.cli.logs import Level
from secagg.shown import printable
from secagg.types import Seed

LONG = ("serve", "join", "collect", "simulate", "demo")
log = logging.getLogger("secagg.drive.service")


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    logs.configure()


@pytest.mark.parametrize("command", LONG)
def test_whatever_runs_for_long_has_both_options(command: str) -> None:
    shown = CliRunner().invoke(cli.app, [command, "--help"]).stdout
    assert "--log-level" in shown and "--log-json" in shown
    refused = CliRunner().invoke(cli.app, [command, "--log-level", "loud"])
    assert refused.exit_code == 2
    assert all(f"'{level}'" in refused.stderr for level in Level)


def test_a_level_is_a_floor(capsys: pytest.CaptureFixture[str]) -> None:
    for floor, shown in ((Level.ERROR, 1), (Level.WARNING, 2), (Level.INFO, 3), (Level.DEBUG, 4)):
        logs.configure(floor)
        for level in Level:
            log.log(logging.getLevelNamesMapping()[level.upper()], "said at %s", level)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == shown, "once each, however often it was configured"
    time, level, name, *words = lines[-1].split(" ", 3)
    assert datetime.fromisoformat(time).utcoffset() is not None
    assert (level, name, *words) == ("error", "secagg.drive.service:", "said at error")


def test_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Level.INFO, True)
    extra = {"party": 3, "rate": float("nan"), "file": Path("a"), "key": Seed(b"k" * 32)}
    log.info("party %d\nwas dropped", 3, extra=extra)
    output.warn("a\nb")
    output.notice("on port 5", port=5)
    with pytest.raises(output.typer.Exit), output.handled():
        raise output.SecAggError("c\nd")
    first, *rest = map(json.loads, capsys.readouterr().err.splitlines())
    assert datetime.fromisoformat(first.pop("time")).utcoffset() is not None
    assert first == {
        "level": "info",
        "logger": "secagg.drive.service",
        "message": "party 3\nwas dropped",
        "party": 3,
        "rate": "nan",
        "file": "a",
        "key": str(Seed(b"k" * 32)),
    }
    assert "kkk" not in first["key"] and (b"k" * 32).hex() not in first["key"]
    assert [(one["level"], one["message"]) for one in rest] == [
        ("warning", "a\nb"),
        ("info", "on port 5"),
        ("error", "c d"),
    ]
    assert rest[1]["port"] == 5 and {one["logger"] for one in rest} == {"secagg.cli"}


def test_no_peer_writes_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    log.warning("closed: %s", "x\n2026-01-01T00:00:00Z error secagg: forged\x1b[2J\u202e")
    output.warn("y\nerror: forged\r\x1b[2J")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.isprintable() for line in lines)
    assert printable("a\tb\u2028c\U0001f600é\udcff") == "a\\tb\\u2028c\U0001f600é\\udcff"


def test_a_bug_shows_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        logs.configure(as_json=as_json)
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            log.exception("a bug")
        shown = capsys.readouterr().err
        assert "test_logs.py" in shown
        if as_json:
            assert "ZeroDivisionError" in json.loads(shown)["traceback"]


def test_the_packages_below_show_nothing_of_what_is_sent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At debug, websockets prints the beginning of every frame."""
    logs.configure(Level.DEBUG)
    for name in ("websockets.client", "uvicorn.error", "asyncio"):
        logging.getLogger(name).debug("> BINARY 01 02 03")
        logging.getLogger(name).info("> BINARY 01 02 03")
        logging.getLogger(name).warning("of %s", name)
    shown = capsys.readouterr().err
    assert "BINARY" not in shown and shown.count("\n") == 3


def test_an_error_of_a_command_is_json_where_logs_are(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.zeros(3))
    words = ["join", "ws://127.0.0.1:9", "--input", str(tmp_path / "v.npy"), "--timeout", "1"]
    result = CliRunner().invoke(cli.app, [*words, "--log-json"])
    *_, line = map(json.loads, result.stderr.splitlines())  # what it waited for stands before
    assert result.exit_code == 2 and line["level"] == "error" and line["error"] == "TransportError"
    plain = CliRunner().invoke(cli.app, words)
    assert plain.stderr and "{" not in plain.stderr, "one command's choice is not the next one's"


@pytest.mark.parametrize(
    "words", [["simulate", "--clients", "x"], ["collect"], ["nosuch"], ["plan", "--none", "1"]]
)
def test_wrong_usage_is_a_line_of_json_too(words: list[str]) -> None:
    """Where lines are read by a program: the usage, which is for people, is not printed then."""
    result = CliRunner().invoke(cli.app, [*words, "--log-json", "--json"])
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    said = json.loads(line)
    assert (said["level"], said["error"]) == ("error", "UsageError")
    assert json.loads(result.stdout)["message"] == said["message"]
