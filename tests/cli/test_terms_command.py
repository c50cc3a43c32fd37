"""`secagg task --clients 5..12`: terms of a service's task, and who takes them
(specs/50-service.md §1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from secagg.cli import app
from secagg.plans.terms import Terms
from tests.cli import contract
from tests.cli.test_service import url
from tests.processes.fleet import Command, Commands

LENGTH = 6
SIZES = ("--length", str(LENGTH), "--corrupt", "0", "--dropout", "0")


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def refusal(*words: object) -> str:
    result = call(*words, "--json")
    assert result.exit_code == 2, result.output
    return str(json.loads(result.stdout)["message"])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Commands]:
    with closing(Commands(tmp_path)) as commands:
        yield commands


def test_terms_are_written_inspected_and_explained(tmp_path: Path) -> None:
    out = tmp_path / "mortality.task"
    words = ("--clients", "7..12", "--length", "9", "--roster", "20", "--corrupt", "0.05")
    result = call("task", *words, "--max-weight", "3", "--clipped", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)
    contract.check("task, of a range", made)
    terms = Terms.decode(out.read_bytes())
    assert (made["digest"], made["planner"]) == (terms.digest().hex(), 1)
    assert made["clients"] == {"least": 7, "most": 12} and made["population"] == 20
    assert (terms.max_weight, terms.clipped, terms.adversary) == (3, True, "semi-honest")
    found = json.loads(call("inspect", out, "--json").stdout)
    assert found["kind"] == "terms of a task" and made.items() <= found.items()
    again = call("task", *words, "--max-weight", "3", "--clipped", "--out", out, "--force")
    assert again.stdout.rstrip() == terms.explain()
    active = ("--adversary", "active", "--dropout", "0", "--min-clients", "7")
    assert call("task", *words, *active, "--out", out, "--force").exit_code == 0
    terms = Terms.decode(out.read_bytes())
    assert (terms.adversary, terms.min_clients) == ("active", 7)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--clients", "5..x"], "--clients is a number, or two as in 5..12"),
        (["--clients", "5..7..9"], "--clients is a number, or two as in 5..12"),
        (["--clients", "..9"], "--clients is a number, or two as in 5..12"),
        (["--clients", "-1"], "--clients is a number, or two as in 5..12"),
        (["--clients", "9..5"], "the least clients must be an integer from 1 to 5"),
        (["--clients", "3..6", "--dropout", "0.4"], "a round of 3 of the 3 to 6 clients"),
        (["--clients", "3..6", "--payload", "x"], "--payload is not of a range of --clients"),
        (["--clients", "3..6", "--server", "00"], "--server is not of a range of --clients"),
        (["--clients", "3..6", "--epsilon", "1"], "--epsilon is not of a range of --clients"),
        (["--clients", "3..6", "--members", "x"], "--members is not of a range of --clients"),
    ],
)
def test_what_is_no_range(tmp_path: Path, words: list[str], says: str) -> None:
    out = tmp_path / "task"
    assert says in refusal("task", *SIZES, *words, "--out", out)
    assert not out.exists()
    assert "terms need --length" in refusal("task", "--clients", "3..6", "--out", out)


def test_who_counts_no_clients_refuses_terms(tmp_path: Path) -> None:
    file = tmp_path / "terms"
    assert call("task", "--clients", "3..6", *SIZES, "--out", file).exit_code == 0
    np.save(tmp_path / "x.npy", np.zeros(LENGTH))
    vector = ("--input", tmp_path / "x.npy")
    assert "is for 3 to 6 clients, which only a service" in refusal("serve", "--task", file)
    key = ("--key", file)
    assert "which only a service" in refusal("collect", "ws://127.0.0.1:9", "--task", file, *key)
    said = refusal("join", "ws://127.0.0.1:9", *vector, "--plan", file)
    assert said == f"--plan {file} is a task, which --task takes"
    other = refusal("join", "ws://127.0.0.1:9", *vector, "--task", file, "--task-digest", "0" * 64)
    assert "get the file again" in other
    long = tmp_path / "long.npy"
    np.save(long, np.zeros(LENGTH + 1))
    said = refusal("join", "ws://127.0.0.1:9", "--input", long, "--task", file)
    assert str(LENGTH) in said, "a vector that fits no plan of the terms meets no server"
    data = file.read_bytes()
    file.write_bytes(data[:1] + b"\2" + data[2:])
    said = refusal("join", "ws://127.0.0.1:9", *vector, "--task", file)
    assert said.startswith(f"--task {file}: these terms are for planner 2")


def test_join_takes_the_plans_of_its_terms_alone(start: Commands, tmp_path: Path) -> None:
    file, vector = tmp_path / "terms", tmp_path / "x.npy"
    sizes = ("--clients", "3..6", *SIZES, "--roster", "8")
    made = json.loads(call("task", *sizes, "--out", file, "--json").stdout)
    np.save(vector, np.full(LENGTH, 0.5))

    def served(name: str, *words: str) -> tuple[Command, str]:
        port = tmp_path / name
        given = ("--clients", "3", "--length", LENGTH, "--bits", "16", "--dropout", "0", *words)
        return start("serve", *given, "--port-file", port, "--json"), url(port)

    join = ("--input", vector, "--json")
    ours, link = served("ours", "--corrupt", "0", "--roster", "5")
    pins: list[list[str]] = [["--task-digest", made["digest"]], [], []]
    clients = [start("join", link, *join, "--task", file, *pin) for pin in pins]
    theirs, other = served("theirs", "--corrupt", "0.1")
    refusing = start("join", other, *join, "--task", file)
    for _ in range(2):
        start("join", other, *join)
    assert ours.answer()[0]["contributors"] == 3
    for client, pin in zip(clients, pins, strict=True):
        data, err = client.answer()
        assert data["included"] is True
        assert (f"Digest of this task: {made['digest']}" in err) == (not pin)
    data, _ = refusing.answer(code=2)
    assert data["error"] == "PolicyRefused"
    assert "corrupt (announced 1/10, pinned 0)" in data["message"]
    assert theirs.answer(code=1)[0]["contributors"] == 0
