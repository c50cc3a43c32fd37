"""What docs/service.md says and shows, followed."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from secagg.service.config import parse
from tests.processes.shell import follow
from tests.soak import SOAK

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "service.md").read_text()
COMMANDS, PEOPLE, SIGNED = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
[TABLE] = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(sys.platform == "win32", reason="the commands are written for a POSIX shell")
def test_the_commands_lead_to_a_round_over_tls(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In an empty folder, by nothing but these lines."""
    used = set(re.findall(r"secagg (\w[\w-]*)", COMMANDS))
    follow(COMMANDS, tmp_path, tmp_path_factory.mktemp("bin"), used, warned=True)
    with np.load(tmp_path / "sum.npz", allow_pickle=False) as found:
        assert abs(found["mean.update"] - 3 / 8).max() < 1e-4
    for secret in ("sums/state/server.key", "sums/tls/key.pem", "site-1/site-1.key"):
        assert (tmp_path / secret).stat().st_mode & 0o077 == 0


def test_the_readme_has_the_same_commands_and_ten_lines_of_them() -> None:
    """From a clone to a round over TLS."""
    [shown] = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    first, _, rest = shown.partition("\n")
    assert first.startswith("pip install -e '.[server]' && ") and rest == COMMANDS
    assert len(shown.splitlines()) <= 10


@pytest.mark.soak
@pytest.mark.skipif(not SOAK, reason="make soak")
@pytest.mark.skipif(sys.platform == "win32", reason="the commands are written for a POSIX shell")
def test_the_commands_lead_to_a_round_against_a_server_that_lies(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """From nothing to a transcript that verifies; in one process, tests/service/test_rosters.py."""
    most, commands = 6, SIGNED
    used = set(re.findall(r"secagg (\w[\w-]*)", commands))
    said = follow(commands, tmp_path, tmp_path_factory.mktemp("bin"), used, warned=True)
    assert "the transcript  VERIFIED\n" in said and f"took part       {most}: 0-{most - 1}" in said
    with np.load(tmp_path / "sum.npz", allow_pickle=False) as found:
        assert abs(found["mean.update"] - (most + 1) / 16).max() < 1e-4
    assert (tmp_path / "site-1/site-1.enrol").read_bytes() in {
        path.read_bytes() for path in (tmp_path / "requests").iterdir()
    }
    (kept,) = (tmp_path / "service/state/rosters").iterdir()
    assert kept.read_bytes() == (tmp_path / "admin/roster").read_bytes()
    assert len(list((tmp_path / "site-4/site-4.told").iterdir())) == 1


def test_the_table_is_one_that_is_read() -> None:
    whole = f"""
    [service]
    name = "localhost"
    state = "state"
    [listen]
    address = "127.0.0.1:0"
    {TABLE}
    """
    assert tomllib.loads(whole)
    (task,) = parse(whole.encode(), Path("/srv")).get().tasks
    assert (task.name, task.clients.target, task.every) == ("mortality", 8, 86400.0)
