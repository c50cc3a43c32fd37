"""`secagg service init` and `check`."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from secagg.cli import app
from secagg.service.config import read

NAME = ("--name", "sum.hospital.example")


def call(*words: str) -> Result:
    return CliRunner().invoke(app, [*words])


def init(folder: Path, *more: str) -> dict[str, str]:
    done = call("service", "init", str(folder), *NAME, "--json", *more)
    assert done.exit_code == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def modes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode)
        for path in folder.rglob("*")
    }


def test_a_new_service_lacks_a_task_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "service"
    init(folder, "--trial-ca")
    config = read(folder / "service.toml").get()
    assert config.listen.certificate == folder / "tls/chain.pem"
    done = call("service", "check", str(folder / "service.toml"), "--json")
    assert done.exit_code == 2
    (refused,) = json.loads(done.stdout)["refused"]
    assert refused.startswith("[tasks] is empty")


def test_secrets_are_their_owner_s_alone(tmp_path: Path) -> None:
    folder = tmp_path / "service"
    init(folder, "--trial-ca")
    found = modes(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {name for name, mode in found.items() if mode == 0o600} == {
        "state/server.key",
        "tls/key.pem",
        "tls/trial-ca.key",
    }
    assert found["state"] == found["tls"] == 0o700


def test_what_is_there_stays(tmp_path: Path) -> None:
    """No command makes an authority twice, nor replaces an identity."""
    folder = tmp_path / "service"
    first = init(folder)
    assert "authority" not in first
    assert not (folder / "tls").exists()
    second = init(folder, "--trial-ca")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    third = init(folder, "--trial-ca")
    assert first["public"] == second["public"] == third["public"]
    assert second["authority"] == third["authority"]
    assert before == {path: path.read_bytes() for path in before}


def test_a_certificate_is_renewed_by_the_same_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from secagg.service import trial

    folder = tmp_path / "service"
    monkeypatch.setattr(trial, "SERVER_DAYS", 29)
    first = init(folder, "--trial-ca")
    monkeypatch.undo()
    second = init(folder, "--trial-ca")
    assert first["authority"] == second["authority"]
    assert first["certificate_until"] < second["certificate_until"]


@pytest.mark.parametrize("half", ["trial-ca.pem", "trial-ca.key"])
def test_half_an_authority_is_not_made_whole_by_another(half: str, tmp_path: Path) -> None:
    folder = tmp_path / "service"
    init(folder, "--trial-ca")
    (folder / "tls" / half).unlink()
    done = call("service", "init", str(folder), *NAME, "--trial-ca")
    assert done.exit_code == 2
    assert "is missing, and there is only one authority" in done.stderr
    assert not (folder / "tls" / half).exists()


def test_wrong_use(tmp_path: Path) -> None:
    for words, said in (
        (("init", str(tmp_path / "a")), "has a --name"),
        (("init", str(tmp_path / "a"), "--name", "10.0.0.1"), "must be a host's name"),
        (("check", str(tmp_path / "a"), *NAME), "--name is for init"),
        (("check", str(tmp_path / "a")), "cannot be read"),
        (("init", *NAME), "init of what? `secagg service init DIR`"),
        (("audit",), "`secagg service audit verify`"),
        (("roster",), "`secagg service roster export|import`"),
        (("open",), "`secagg service open TASK`"),
        (("revoke",), "`secagg service revoke NAME`"),
        (("list", "x"), "list takes nothing after it"),
    ):
        done = call("service", *words)
        assert done.exit_code == 2
        assert said in done.stderr
    assert not (tmp_path / "a").exists()


def test_check_takes_a_folder_or_the_one_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init(tmp_path / "service")
    monkeypatch.chdir(tmp_path / "service")
    for words in ((), (".",), ("service.toml",)):
        done = call("service", "check", *words)
        assert "refused: [tasks] is empty" in done.stderr


def test_check_shows_defaults_and_every_refusal(tmp_path: Path) -> None:
    folder = tmp_path / "service"
    init(folder)
    file = folder / "service.toml"
    file.write_text(
        file.read_text()
        + '[tasks.a]\nplan = "a.task"\nclients = { min = 3 }\npayload = "b"\n[limits]\nlinks = 0\n'
    )
    done = call("service", "check", str(file))
    assert done.exit_code == 2
    assert "tasks.a.clients.target     3" in done.stdout
    said = [line for line in done.stderr.splitlines() if line.startswith("refused: ")]
    assert len(said) == 3
    assert "[limits] links must be" in said[0]
