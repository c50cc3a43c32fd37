"""Any bytes in a file that a command reads are what they should be, or refused in one line.

Plans, tasks, keys, vectors, and whatever `secagg inspect` is given. A vector that is accepted is
the one that numpy reads.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import typer

from secagg.cli import keyfile, output, pinned
from secagg.cli.inspect import inspect
from secagg.cli.npy import Vector
from secagg.committee import ServerSecrets
from secagg.types import Seed
from tests import decoders
from tests.fuzz.engine import main

HOLDS = Path(tempfile.mkdtemp(prefix="secagg-fuzz-"))
FILE = HOLDS / "file"


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _key() -> bytes:
    keyfile.write_server(FILE, ServerSecrets(Seed(b"a" * 32), Seed(b"b" * 32)), force=True)
    return FILE.read_bytes()


CORPUS = [
    *decoders.valid_plans()[:3],
    *decoders.valid_tasks()[:2],
    _key(),
    _npy(np.array([0.5, -1.0, np.nan])),
    _npy(np.arange(6, dtype=">i2").reshape(2, 3, order="F")),
    _npy(np.zeros((0, 3), np.float32)),
    json.dumps({"about": "a", "spec": "b", "operations": [], "expect": "c"}).encode(),
    b'{"about": NaN, "operations": [{}], "expect": "\\ud800"}',
    b"0.1,0.2\n",
    b"PK\x03\x04" + bytes(40),
]


def _vector(path: Path) -> None:
    vector = Vector.open(path)
    read = vector.values(vector.header.elements)
    theirs = np.load(path, allow_pickle=False)
    assert (read.dtype, read.shape) == (theirs.dtype, theirs.shape)
    assert read.tobytes() == theirs.tobytes()


READERS: list[Callable[[Path], object]] = [
    lambda path: pinned.read_plan(path, allow_unprotected=True),
    pinned.read_task,
    keyfile.read_server,
    keyfile.read_collector,
    _vector,
    lambda path: inspect(path),
    lambda path: inspect(path, as_json=True),
]


def target(data: bytes) -> None:
    FILE.write_bytes(data)
    FILE.chmod(0o600)
    for reader in READERS:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                with output.handled():
                    reader(FILE)
            except typer.Exit as ended:
                assert ended.exit_code == 2
        said = err.getvalue()
        assert said == "" or (said.startswith("error: ") and said.count("\n") == 1)
        assert all(line.isprintable() for line in (out.getvalue() + said).splitlines())


if __name__ == "__main__":
    main(target, CORPUS)
