"""`secagg verify-transcript` and `secagg verify-evidence`, as commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from secagg import cli
from tests.active import ADMIN_SEED, Cast
from tests.proven import files, planned


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return files(tmp_path_factory.mktemp("proven"))


def call(*words: object) -> Result:
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def test_a_transcript_is_verified_and_said_what_of(made: dict[str, Path]) -> None:
    result = call("verify-transcript", made["transcript"], "--roster", made["roster"])
    assert result.exit_code == 0
    for said in ("VERIFIED", "4: 0-3", "complete", "not checked", "sum", "3 of 4"):
        assert said in result.stdout, said
    assert "--admin" in result.stderr


def test_json_says_the_same_in_one_object(made: dict[str, Path]) -> None:
    words = "verify-transcript", made["transcript"], "--roster", made["roster"], "--json"
    found = json.loads(call(*words).stdout)
    assert found["verified"] and found["finished"] and found["survivors"] == [0, 1, 2, 3]
    assert found["result"] and "sum" in found["unchecked"]


def test_a_pinned_administrator_is_compared(made: dict[str, Path]) -> None:
    from secagg.crypto.sign import public_key

    words = "verify-transcript", made["transcript"], "--roster", made["roster"], "--admin"
    right = call(*words, public_key(ADMIN_SEED).hex())
    assert right.exit_code == 0 and not right.stderr
    wrong = call(*words, planned().roster.server.hex())
    assert wrong.exit_code == 2 and "pinned" in wrong.stderr


@pytest.mark.parametrize("command", ["verify-transcript", "verify-evidence"])
def test_what_is_no_proof_is_1_and_wrong_use_2(
    command: str, made: dict[str, Path], tmp_path: Path
) -> None:
    name = command.removeprefix("verify-")
    data = bytearray(made[name].read_bytes())
    data[-1] ^= 1
    changed = tmp_path / "changed"
    changed.write_bytes(data)
    refused = call(command, changed, "--roster", made["roster"], "--json")
    assert refused.exit_code == 1 and "not verified" in json.loads(refused.stdout)["message"]
    other = tmp_path / "other"
    other.write_bytes(Cast(epoch=9, places=4).signed.encode())
    refused = call(command, made[name], "--roster", other)
    assert refused.exit_code == 1 and "another roster" in refused.stderr
    assert call(command, made[name]).exit_code == 2
    assert call(command, tmp_path / "none", "--roster", made["roster"]).exit_code == 2
    assert call(command, made[name], "--roster", made[name]).exit_code == 2


def test_evidence_says_who_and_of_what(made: dict[str, Path]) -> None:
    words = "verify-evidence", made["evidence"], "--roster", made["roster"]
    result = call(*words)
    assert result.exit_code == 0
    assert "CONVICTED" in result.stdout and "member 0" in result.stdout
    (verdict,) = json.loads(call(*words, "--json").stdout)["verdicts"]
    assert (verdict["charge"], verdict["party"]) == ("wrong-share", 0)


def test_two_files_of_what_clients_were_told_convict_the_server(
    made: dict[str, Path], tmp_path: Path
) -> None:
    """Threat 46: neither of them does by itself."""
    roster, out = ("--roster", made["roster"]), tmp_path / "proof"
    for name in ("told", "lied", "transcript"):
        alone = call("verify-evidence", made[name], *roster, "--json")
        assert alone.exit_code == 1 and json.loads(alone.stdout)["verdicts"] == []
    honest = call("verify-evidence", made["told"], made["transcript"], *roster)
    assert honest.exit_code == 1 and "nobody" in honest.stdout
    for other in ("told", "transcript"):
        both = call("verify-evidence", made[other], made["lied"], *roster)
        assert both.exit_code == 0 and "the server" in both.stdout
    written = call("verify-evidence", made["told"], made["lied"], *roster, "--out", out)
    assert written.exit_code == 0
    again = call("verify-evidence", out, *roster)
    assert again.exit_code == 0 and "the server" in again.stdout


def test_the_file_that_is_damaged_is_named(made: dict[str, Path], tmp_path: Path) -> None:
    """Threat 46: one who sends a damaged file hides no lie that the others show."""
    roster, bad = ("--roster", made["roster"]), tmp_path / "bad.told"
    whole = made["told"].read_bytes()
    for data in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:100], b"", b"\x01\x07"):
        bad.write_bytes(data)
        words = "verify-evidence", made["told"], bad, made["lied"], *roster, "--json"
        refused = json.loads(call(*words).stdout)
        assert refused["message"].startswith(f"not verified: {bad}: ")
