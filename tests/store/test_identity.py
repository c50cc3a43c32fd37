"""An identity is one process's at a time, and nobody else's file (14-roster.md §4).

T17, T20, T21.
"""

from __future__ import annotations

import copy
import os
import pickle  # noqa: TID251 - what must not work
import subprocess
import sys
from pathlib import Path

import pytest

from secagg.crypto import sign
from secagg.errors import StorageError
from secagg.store.identity import HEAD, SIZE, Identity
from secagg.types import Seed

SEED = Seed(bytes(range(32)))
UNIX = pytest.mark.skipif(not hasattr(os, "fork"), reason="modes and forks are Unix's")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "clinic"
    made.write_bytes(HEAD + SEED.expose().hex().encode() + b"\n")
    made.chmod(0o600)
    return made


def test_what_it_is(path: Path) -> None:
    assert path.stat().st_size == SIZE
    with Identity.open(path) as identity:
        assert identity.public == sign.public_key(SEED)
        assert identity.seed == SEED
        assert SEED.expose().hex()[:8] not in repr(identity)
        assert identity.public.hex()[:8] in repr(identity)


def test_one_at_a_time(path: Path) -> None:
    """In one process too, and by another name of the same file."""
    other = path.with_name("other")
    os.link(path, other)
    with Identity.open(path) as first:
        for name in (path, other):
            with pytest.raises(StorageError, match="is in use"):
                Identity.open(name)
        first.close()
        with Identity.open(other):
            pass
    with Identity.open(path) as again:
        again.close()
        again.close()
        with pytest.raises(StorageError, match="closed"):
            _ = again.seed


def test_one_process_at_a_time(path: Path) -> None:
    """Until it ends, however it ends."""
    code = (
        "import sys; from secagg.store.identity import Identity\n"
        "held = Identity.open(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match="is in use"):
            Identity.open(path)
        holder.kill()
        holder.wait()
    with Identity.open(path):
        pass


@UNIX
def test_a_fork_has_none(path: Path) -> None:
    """It has the lock, as descriptors are inherited, and so must not have the seed."""
    with Identity.open(path) as identity:
        child = os.fork()
        if child == 0:
            try:
                _ = identity.seed
            except StorageError as error:
                os._exit(7 if "before a fork" in str(error) else 8)
            os._exit(9)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 7
        assert identity.seed == SEED


def test_no_copies(path: Path) -> None:
    with Identity.open(path) as identity:
        for copied in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="never copied"):
                copied(identity)


@UNIX
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666])
def test_open_to_others(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(StorageError, match=f"mode {mode:04o}.*chmod it to 600"):
        Identity.open(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD,
        HEAD + b"0" * 64,
        HEAD + b"0" * 63 + b"\n",
        HEAD + b"0" * 66 + b"\n",
        HEAD + b"A" * 64 + b"\n",
        HEAD + b"g" * 64 + b"\n",
        HEAD + b"0" * 64 + b"\n\n",
        HEAD + b"0" * 64 + b"\r\n",
        HEAD.replace(b"1", b"2") + b"0" * 64 + b"\n",
        HEAD.replace(b"identity", b"administrator") + b"0" * 64 + b"\n",
        bytes(1 << 16),
    ],
)
def test_what_is_none(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(StorageError, match="no identity of version 1|is damaged"):
        Identity.open(path)
    path.write_bytes(HEAD + SEED.expose().hex().encode() + b"\n")
    with Identity.open(path):  # and nothing holds the lock
        pass


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read: No such file"):
        Identity.open(tmp_path / "none")
    with pytest.raises(StorageError, match="not a regular file|cannot be read"):
        Identity.open(tmp_path)
    with pytest.raises(StorageError, match="NUL"):
        Identity.open("a\0b")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(StorageError, match="not a regular file"):
            Identity.open(tmp_path / "pipe")


def test_one_participation_at_a_time(path: Path) -> None:
    """Within a process too: two would each remember its own rounds alone."""
    with Identity.open(path) as identity:
        with identity.alone():
            with pytest.raises(StorageError, match="in use in this process"), identity.alone():
                pass
        with pytest.raises(ZeroDivisionError), identity.alone():
            _ = 1 // 0
        with identity.alone():
            pass
