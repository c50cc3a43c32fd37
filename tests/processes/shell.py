"""The commands of a document, followed as they stand by a shell in an empty folder."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.processes import fleet

LIMIT = 400
"""Seconds for all of the commands, on a machine that does much else."""

REPEATER = """
import json, os, pathlib, socket, sys
folder = pathlib.Path(sys.argv.pop(1))
words = sys.argv[1:]
try:
    (folder / words[0]).mkdir()
except FileExistsError:
    pass
else:
    os.execv(INSTALLED, [INSTALLED, *words])
link = socket.socket(socket.AF_UNIX)
link.connect(DOOR)
out, err = (f"/proc/{os.getpid()}/fd/{number}" for number in (1, 2))
order = {"argv": words, "out": out, "err": err, "faults": [], "cwd": os.getcwd(), "env": {}}
link.sendall(json.dumps(order).encode() + b"\\n")
told = link.makefile("rb")
_, ended = (json.loads(line) for line in [told.readline(), told.readline()])
sys.exit(ended["status"])
"""
"""In the place of `secagg`: what is installed, but the second time that a command is given it is a
fork of the nursery. Two of three in the README are `join`, and most of a join is the loading of
kernels.
"""


def repeater(folder: Path, installed: Path, known: Iterable[str] = ()) -> None:
    """Makes folder/secagg, unless a soak starts each command as it is. known: commands of which the
    first is a fork as well."""
    if "SECAGG_SOAK" in os.environ or not Path("/proc/self/fd").is_dir():
        return
    for command in ("", *known):
        (folder / "seen" / command).mkdir()
    code = f"INSTALLED, DOOR = {str(installed)!r}, {fleet.door()!r}{REPEATER}"
    (folder / "repeater.py").write_text(code)
    words = shlex.join([sys.executable, "-IS", str(folder / "repeater.py"), str(folder / "seen")])
    (folder / "secagg").write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    (folder / "secagg").chmod(0o700)


def follow(
    commands: str, folder: Path, bin: Path, known: Iterable[str] = (), warned: bool = False
) -> str:
    """All that they print, of whom none may fail, but for those in the background. bin: a folder
    for what stands before the PATH. known: as of `repeater`. warned: whether they may warn."""
    installed = Path(sys.executable).parent
    if not (installed / "secagg").exists():
        pytest.skip("the package is not installed here")
    repeater(bin, installed / "secagg", known)
    path = os.pathsep.join([str(bin), str(installed), os.environ["PATH"]])
    shell = subprocess.Popen(
        ["bash", "-e", "-u", "-o", "pipefail", "-c", commands],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = shell.communicate(timeout=LIMIT)
    finally:
        try:
            os.killpg(shell.pid, signal.SIGKILL)  # whatever it had started
        except ProcessLookupError:
            pass
        shell.communicate()
    assert shell.returncode == 0, said
    assert "Traceback" not in said and (warned or "warning:" not in said), said
    return said
