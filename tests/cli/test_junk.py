"""Every command, each of its options, and junk: exit codes 0, 1 or 2, and never a traceback.

Nothing here reaches a network: `serve` is told an address that it refuses once all else is right,
and the others stop where the first link would be opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from secagg import cli
from secagg.errors import LinkClosed, ParameterError
from tests.proven import files
from tests.soak import SOAK

NUMBERS = (
    *("", "-1", "0", "1", "nan", "inf", "-inf", "1e-320", "1_0", "None"),
    *("1e-999999999", "1e999999999", "9" * 400, "9" * 5000, "1/" + "9" * 5000),
)
WORDS = ("\0", "a\0b", "\x1b[31m", "a\nb", "\udcff", "\U0001f600", "\u202e", "%s{}", "a=b", "--")
PLACES = ("/dev/zero", "/dev/null", "PIPE", "FOLDER", "LARGE", "GARBAGE", "none", "none/x", "x.npy")
URLS = ("ws://", "ws://[", "ws://127.0.0.1:99999", "wss://\udcff", "ws://10.0.0.1:1", "http://a")
HERE = "ws://127.0.0.1:9"
POINT = ("--epsilon", "2", "--trust", "distributed")
"""One training: each is planned before junk is refused."""
SIZES = ("--clients", "10", "--length", "5", "--bits", "8")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where junk names files, and where what it names is made."""
    folder = tmp_path / "place"
    folder.mkdir()
    (folder / "FOLDER").mkdir()
    os.mkfifo(folder / "PIPE")
    (folder / "GARBAGE").write_bytes(bytes(range(256)) * 40)
    with (folder / "LARGE").open("wb") as large:
        large.truncate(10 << 30)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def unlinked(work: Coroutine[Any, Any, None]) -> bool:
        work.close()
        raise LinkClosed("here the network would begin")

    def unmeasured(*arguments: object, **options: object) -> None:
        raise ParameterError("here the benchmark would begin")

    def untrained(*arguments: object) -> None:
        raise ParameterError("here the trainings would begin")

    monkeypatch.setattr("bench.common.run", unmeasured)
    monkeypatch.setattr("secagg.cli.frontier._train", untrained)
    for name in ("join", "collect", "demo"):
        monkeypatch.setattr(f"secagg.cli.{name}.run_until_stopped", unlinked)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments))


def made(folder: Path) -> dict[str, tuple[str, ...]]:
    """By command: words with which nothing is wrong but, perhaps, one more option."""
    np.save(folder / "v.npy", np.zeros(5))
    keys = [
        json.loads(call("keys", "--out", str(folder / name), *collector, "--json").stdout)["public"]
        for name, *collector in (["a"], ["b"], ["c", "--collector"])
    ]
    made = ("--server", keys[0], "--server", keys[1], "--collector", keys[2], "--epoch", "1")
    task, store = str(folder / "task"), str(folder / "store")
    assert call("task", *made, *SIZES, "--out", task).exit_code == 0
    assert call("plan", *SIZES, "--out", str(folder / "plan")).exit_code == 0
    admin = folder / "admin"
    key = json.loads(
        call("identity", "new", str(folder / "server"), "--name", "s", "--json").stdout
    )["public"]
    assert call("roster", "init", str(admin), "--server", key).exit_code == 0
    vector = ("--input", str(folder / "v.npy"))
    proven = files(folder)
    signed = ("--roster", str(proven["roster"]))
    member = ("--role", "helper", "--task", task, "--key", str(folder / "b"), "--store", store)
    return {
        "plan": ("plan", *SIZES),
        "keys": ("keys", "--out", str(folder / "new"), "--force"),
        "task": ("task", *made, *SIZES, "--out", task, "--force"),
        "identity": ("identity", "new", str(folder / "member"), "--name", "m"),
        "roster": ("roster", "show", str(admin)),
        "simulate": ("simulate", *SIZES),
        "serve": ("serve", *SIZES, "--host", "0.0.0.0"),
        "serve of several": ("serve", *member, "--host", "0.0.0.0"),
        "join": ("join", HERE, *vector),
        "join a task": ("join", HERE, *vector, "--task", task),
        "collect": ("collect", HERE, HERE, "--task", task, "--key", str(folder / "c")),
        "inspect": ("inspect", str(folder / "plan")),
        "protocols": ("protocols",),
        "bench": ("bench", "pack", "--rows", "d=10"),
        "budget": ("budget", "new", str(folder / "spent"), "--epsilon", "1", "--delta", "1e-6"),
        "audit": ("audit", "--canaries", "50", "--length", "1000"),
        "frontier": ("frontier", "--out", str(folder / "frontier"), *POINT),
        "demo": ("demo",),
        "verify-transcript": ("verify-transcript", str(proven["transcript"]), *signed),
        "verify-evidence": ("verify-evidence", str(proven["evidence"]), *signed),
        "service": ("service", "init", str(folder / "service"), "--name", "sum.example"),
        "enrol": ("enrol", "secagg1-aaaa", "--out", str(folder)),
        "results": ("results", "list", "--config", str(folder / "none.toml")),
        "login": ("login", "--service", str(folder / "none.toml")),
        "top": ("top", "--config", str(folder / "none.toml")),
    }


USES = (
    *("plan", "keys", "identity", "roster", "task", "simulate", "serve", "serve of several"),
    *("join", "join a task", "collect", "inspect", "protocols", "bench", "budget", "audit"),
    *("frontier", "demo", "verify-transcript", "verify-evidence", "service", "enrol", "results"),
    *("login", "top"),
)


def parameters(command: str) -> Iterator[Any]:
    group = typer.main.get_command(cli.app)
    single = group.get_command(typer.Context(group), command)  # type: ignore[attr-defined]
    return iter(single.params)


def junk_for(command: str, name: str) -> tuple[str, ...]:
    """By what the command's function takes there."""
    kind = str(get_type_hints(cli.function_of(command))[name])
    if "int" in kind or "float" in kind:
        return (*NUMBERS, *WORDS[:5])
    return (*NUMBERS[:2], *WORDS, *PLACES) if "Path" in kind else (*NUMBERS, *WORDS, *URLS)


def junked(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The words with junk in the place of one option's value, or with one more option. But for a
    soak, an option has every second kind of junk, and the next one has the others; of commands that
    take most of a second, every fourth."""
    every = 4 if words[0] in ("audit", "frontier") else 2
    for place, parameter in enumerate(parameters(words[0])):
        choices = junk_for(words[0], parameter.name)[
            slice(None) if SOAK else slice(place % every, None, every)
        ]
        if parameter.param_type_name == "argument":
            yield from ((words[0], junk, *words[2:]) for junk in choices)
        elif not parameter.is_flag:
            flag = parameter.opts[0]
            at = words.index(flag) if flag in words else len(words)
            yield from ((*words[:at], flag, junk, *words[at + 2 :]) for junk in choices)


def judge(words: tuple[str, ...], result: Result) -> None:
    assert result.exception is None or isinstance(result.exception, SystemExit), words
    assert result.exit_code in (0, 1, 2), words
    assert "Traceback" not in result.output, words
    lines = result.stdout.splitlines()
    assert len(lines) == 1 and isinstance(json.loads(lines[0]), dict), words
    if result.exit_code:
        assert json.loads(lines[0]).keys() >= {"error", "message"}, words
    ours = [line for line in result.stderr.splitlines() if line.startswith(("error: ", "warning:"))]
    assert all(line.isprintable() and len(line) < 20_000 for line in ours), words


@pytest.mark.parametrize("use", USES)
def test_no_junk_makes_a_traceback(place: Path, tmp_path: Path, use: str) -> None:
    words, tried = made(tmp_path)[use], 0
    for one in junked(words):
        if "--" in one:
            one = (*one[:1], "--json", *one[1:])  # what follows -- are arguments
        else:
            one = (*one, "--json")
        judge(one, call(*one))
        tried += 1
        assert Path("/dev/null").is_char_device() and (place / "PIPE").is_fifo()
    assert tried >= (0 if use == "protocols" else len(WORDS))


def test_every_command_is_tried(tmp_path: Path) -> None:
    uses = made(tmp_path)
    assert {words[0] for words in uses.values()} == set(cli.COMMANDS) and set(uses) == set(USES)


def test_the_words_to_which_junk_is_added_are_right(tmp_path: Path) -> None:
    """Else junk would be refused for another reason than itself."""
    network = "here the network would begin"
    ends = {
        "serve": "only loopback",
        "serve of several": "only loopback",
        **dict.fromkeys(("join", "join a task", "collect", "demo"), network),
        "bench": "here the benchmark would begin",
        "frontier": "here the trainings would begin",
        "enrol": "the code is missing or wrong",
        **dict.fromkeys(("results", "login", "top"), "cannot be read"),
    }
    for use, words in made(tmp_path).items():
        result = call(*words)
        assert result.exit_code == (2 if use in ends else 0), result.output
        assert ends.get(use, "") in result.stderr


def test_junk_would_be_seen(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise IndexError

    monkeypatch.setattr("secagg.cli.plan.check_target", broken)
    with pytest.raises(AssertionError):
        words = (*made(tmp_path)["plan"], "--json")
        judge(words, call(*words))
