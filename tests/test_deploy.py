"""What deploy/ says is so: its files name what there is, and a service lives as they have it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from secagg.service.config import Bounds
from secagg.service.desk import TOKEN
from tests.cli.contract import commands
from tests.service.place import TERMS

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
UNIT, CONTAINER = DEPLOY / "secagg.service", DEPLOY / "Containerfile"
COMPOSE, RULES = DEPLOY / "compose.yaml", ROOT / "secagg/service/alerts.yml"
UID = 10001
SECAGG = Path(sys.executable).with_name("secagg")
linux = pytest.mark.skipif(sys.platform != "linux", reason="units and containers are of Linux")


def lines() -> Iterator[list[str]]:
    """Every command of `secagg` in those files, as its words."""
    for path in (UNIT, CONTAINER, COMPOSE):
        text = path.read_text().replace("\\\n#", "")
        for found in re.findall(r'(?:CMD|command:) (\[".*?"\])', text):
            words = re.findall(r'"(.*?)"', found)
            if words[0] != "python":
                yield words
        yield from (
            shlex.split(line)
            for line in re.findall(r"(?:bin/secagg|run client| secagg) +([a-z].*)$", text, re.M)
            if line.split()[0] in commands()
        )


def test_every_command_and_option_is_one_that_there_is() -> None:
    known, found = commands(), list(lines())
    assert {words[0] for words in found} >= {"serve", "service", "enrol", "join"}
    for words in found:
        for option in (word for word in words if word.startswith("--")):
            assert option in known[words[0]], (words[0], option)
    assert sum(words[0] == "serve" for words in found) == 3
    assert all("--config" in words for words in found if words[0] == "serve")


def test_the_table_of_limits_is_that_of_the_code() -> None:
    """Each has its row, and its default as it is in force."""
    page = (ROOT / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\d+)(?: s| bytes)? \|", page, re.M)
    assert {name: int(value) for name, value in rows} == asdict(Bounds())


def test_files_that_are_named_are_there() -> None:
    for path in re.findall(r"\./([\w.]+\.yml)|\.\./([\w./]+\.yml)", COMPOSE.read_text()):
        assert (DEPLOY / (path[0] or f"../{path[1]}")).is_file(), path
    assert "dockerfile: deploy/Containerfile" in COMPOSE.read_text()
    assert f"USER {UID}:{UID}" in CONTAINER.read_text()
    text = COMPOSE.read_text()
    assert text.count(f'user: "{UID}:{UID}"') == 2 and text.count("read_only: true") == 3
    for held in ("cap_drop: [ALL]", 'security_opt: ["no-new-privileges:true"]'):
        assert text.count(held) == text.count("    volumes:")


@linux
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    """With a program and a user that are there."""
    unit = UNIT.read_text().replace("/opt/secagg/bin/secagg", "/bin/true")
    (tmp_path / UNIT.name).write_text(unit.replace("User=secagg", "User=root"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / UNIT.name)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def until(condition: Callable[[], bool], running: subprocess.Popen[bytes]) -> None:
    begun = time.monotonic()
    while not condition():
        assert running.poll() is None and time.monotonic() - begun < 120
        time.sleep(0.05)


def caught(process: int, number: int) -> bool:
    """Whether that process has a handler of its own."""
    status = Path(f"/proc/{process}/status").read_text()
    (mask,) = re.findall(r"^SigCgt:\t(\w+)$", status, re.M)
    return bool(int(mask, 16) >> (number - 1) & 1)


@linux
@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="another user is somebody's whom root can be, by setpriv",
)
def test_92_93_the_entry_command_as_the_container_has_it() -> None:
    """Under its uid, with a package that it cannot write and one folder that it can, without a home
    and without a right. It goes on after it was stopped (row 93), reads its configuration again,
    and ends within ten seconds of SIGTERM (row 92)."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        volume = Path(made) / "volume"
        volume.mkdir(mode=0o700)
        (volume / "mortality.task").write_bytes(TERMS.encode())
        for path in (volume, volume / "mortality.task"):
            os.chown(path, UID, UID)
        env = {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
        env["NUMBA_CACHE_DIR"] = str(volume / "cache")
        held = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--no-new-privs"]
        base = [*held, "--bounding-set=-all", str(SECAGG)]
        init = ["service", "init", str(volume), "--name", "localhost", "--trial-ca"]
        subprocess.run([*base, *init, "--address", "127.0.0.1:0"], env=env, check=True)
        config = volume / "service.toml"
        task = '[tasks.mortality]\nplan = "mortality.task"\nclients = { min = 4 }\n'
        config.write_text(config.read_text() + task)
        log = Path(made) / "log"
        with log.open("wb") as err:
            serve = ["serve", "--config", str(config), "--log-json", "--log-level", "info"]
            running = subprocess.Popen([*base, *serve], env=env, stderr=err)
        try:
            until(lambda: caught(running.pid, signal.SIGHUP), running)
            assert not (volume / "state" / TOKEN).exists()
            running.send_signal(signal.SIGHUP)  # while it starts
            until(lambda: '"event": "reloaded"' in log.read_text(), running)
            assert (volume / "state" / TOKEN).exists()
            status = Path(f"/proc/{running.pid}/status").read_text()
            assert f"Uid:\t{UID}\t{UID}" in status and "NoNewPrivs:\t1" in status
            running.send_signal(signal.SIGSTOP)
            time.sleep(0.3)
            running.send_signal(signal.SIGCONT)
            running.send_signal(signal.SIGHUP)
            until(lambda: log.read_text().count('"event": "reloaded"') == 2, running)
            running.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            assert running.wait(20) == 0
            assert time.monotonic() - begun < 10
        finally:
            running.kill()
            running.wait()
        owners = {path.stat().st_uid for path in volume.rglob("*") if path.name != "service.toml"}
        assert owners == {UID}


def test_the_numbers_of_alerts_are_scraped_from_the_console() -> None:
    assert "127.0.0.1:8444" in (DEPLOY / "prometheus.yml").read_text()
    assert '[admin] address = "127.0.0.1:8444"' in COMPOSE.read_text()
    assert RULES.is_file()
