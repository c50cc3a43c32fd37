"""A configuration against the machine: what would keep its service from starting, all at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import secagg
from secagg.crypto import sign
from secagg.plans.terms import Terms
from secagg.service import checking
from secagg.service.checking import effective, refusals
from secagg.service.config import Asked, Bounds, Config, Listen, Pursued
from secagg.service.trial import Authority
from secagg.types import Seed

NOW = datetime.now(UTC)
TERMS = Terms.of({"update": secagg.Integer(4, max=9)}, (4, 5), corrupt=0, dropout=0.2)


@pytest.fixture
def good(tmp_path: Path) -> Config:
    """That nothing is refused of."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    chain, key = Authority.new("localhost", NOW).issue("localhost", NOW)
    files = {"chain.pem": chain, "key.pem": key, "a.task": TERMS.encode(), "payload": b"x"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "key.pem").chmod(0o600)
    (tmp_path / "out").mkdir()
    tls = tmp_path / "chain.pem", tmp_path / "key.pem"
    task = Pursued("a", tmp_path / "a.task", Asked(4, 4), out=tmp_path / "out")
    task = replace(task, payload=tmp_path / "payload")
    limits = Bounds(disk_reserve=1, strangers=1)
    where = Listen("0.0.0.0", 0, *tls)
    return Config("localhost", state, where, ("127.0.0.1", 0), (task,), limits=limits)


def test_nothing_is_refused_of_what_is_right(good: Config) -> None:
    assert refusals(good) == []


def _state(change: Callable[[Path], object]) -> Callable[[Config], Config]:
    def changed(config: Config) -> Config:
        change(config.state)
        return config

    return changed


def _task(**changes: Any) -> Callable[[Config], Config]:
    return lambda config: replace(config, tasks=(replace(config.tasks[0], **changes),))


def _listen(**changes: Any) -> Callable[[Config], Config]:
    return lambda config: replace(config, listen=replace(config.listen, **changes))


def _open_key(config: Config) -> Config:
    assert config.listen.key is not None
    config.listen.key.chmod(0o644)
    return config


def _become_a_file(path: Path) -> None:
    path.rmdir()
    path.touch(0o600)


def _active(config: Config) -> Config:
    """Rule N1."""
    config.tasks[0].plan.write_bytes(replace(TERMS, adversary="active", dropout=0).encode())
    return config


KEY = sign.public_key(Seed(bytes(range(32))))
NONE = Path("/nowhere")
REFUSED: dict[str, tuple[Callable[[Config], Config], str]] = {
    "no state": (_state(Path.rmdir), "No such file or directory; `secagg service init` makes it"),
    "open state": (_state(lambda path: path.chmod(0o755)), "is open to other users (mode 0755)"),
    "state is a file": (_state(_become_a_file), "is no folder"),
    "disk": (lambda one: replace(one, limits=Bounds(disk_reserve=1 << 60)), "bytes free, fewer"),
    "plaintext": (_listen(certificate=None, key=None), "there is no certificate: name one"),
    "certificate": (_listen(certificate=NONE), "[listen] /nowhere cannot be read"),
    "client_ca": (_listen(client_ca=NONE), "[listen] /nowhere cannot be read"),
    "key of others": (_open_key, "chmod it to 600"),
    "admin": (
        lambda one: replace(
            one, admin=("0.0.0.0", 1), listen=Listen("0.0.0.0", 2, insecure_plaintext=True)
        ),
        "[admin] 0.0.0.0:1 is reached by others",
    ),
    "one address": (
        lambda one: replace(one, admin=("127.0.0.1", 9), listen=Listen("127.0.0.1", 9)),
        "[admin] address is that of [listen]",
    ),
    "no task": (
        lambda one: replace(one, tasks=()),
        "`secagg task --clients 5..12` makes the plan of one",
    ),
    "name": (lambda one: replace(one, name="sum.example"), "is not of sum.example, but of localh"),
    "plan": (_task(plan=NONE), "[tasks.a] plan: the terms /nowhere cannot be read"),
    "plan is a folder": (
        _task(plan=Path("/")),
        "[tasks.a] plan: the terms / is not a regular file",
    ),
    "min": (_task(clients=Asked(3, 4)), "[tasks.a] plan: least must be an integer from 4"),
    "phase": (_task(deadlines={"default": 1.0, "mask": 1.0}), "[tasks.a.deadlines] mask is no ph"),
    "payload": (_task(payload=NONE), "[tasks.a] payload /nowhere cannot be read"),
    "a roster": (_task(roster_authority=KEY), "[tasks.a] roster_authority is of a task against a"),
    "no roster": (_active, "[tasks.a] is against a server that lies, and nobody signs the roster"),
    "out": (_task(out=NONE), "[tasks.a] out /nowhere is no folder: make it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused(case: str, good: Config) -> None:
    change, words = REFUSED[case]
    found = refusals(change(good))
    assert len(found) == 1, found
    assert words in found[0]


def test_a_task_whose_clients_sign_names_who_signs_their_roster(good: Config) -> None:
    config = _task(roster_authority=KEY)(_active(good))
    assert refusals(config) == []
    tasks = effective(config)["tasks"]
    assert isinstance(tasks, dict) and tasks["a"]["roster_authority"] == KEY.hex()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.0.1"])
def test_loopback_needs_no_certificate(host: str, good: Config) -> None:
    assert refusals(replace(good, listen=Listen(host, 0))) == []


def test_a_proxy_that_has_tls_is_the_operator_s_word(good: Config) -> None:
    assert refusals(replace(good, listen=Listen("0.0.0.0", 0, insecure_plaintext=True))) == []


@pytest.mark.parametrize(("files", "refused"), [(69, 0), (68, 1), (None, 0)])
def test_files_that_the_process_may_open(
    files: int | None, refused: int, good: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(100) One stranger, 4 clients and 64 to spare."""
    monkeypatch.setattr(checking, "descriptors", lambda: files)
    found = refusals(good)
    assert len(found) == refused
    assert all(f"may open {files} files, and 69 are needed" in one for one in found)


def test_a_state_of_another_user(good: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """(101)"""
    if not hasattr(os, "geteuid"):
        pytest.skip("no owners")
    # root owns it here, whom everybody must trust; so it is the user that is another
    os.chown(good.state, 4321, -1)
    assert "belongs to another user" in refusals(good)[0]


def test_effective_values_are_all_there(good: Config) -> None:
    found = effective(good)
    assert [*found] == ["service", "listen", "admin", "tasks", "retention", "limits"]
    listen = found["listen"]
    assert isinstance(listen, dict)
    assert listen["address"] == "0.0.0.0:0"
    tasks = found["tasks"]
    assert isinstance(tasks, dict)
    assert tasks["a"]["clients"] == {"min": 4, "target": 4, "spare": 0.25}
