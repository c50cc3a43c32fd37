"""From identities to a sum against a server that deviates: the commands of everybody in it."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from secagg.cli import app
from secagg.cli.enrolled import name_of
from secagg.cli.hosting import Hosting
from secagg.effects import Write
from secagg.proved import TOLD
from secagg.rounds.base import ROUNDS
from secagg.rounds.clock import RoundReport
from secagg.rounds.hosting import written_in
from secagg.service.transcripts import nonce_of
from secagg.store.sqlite import SqliteStore
from secagg.wire.codec import Writer
from secagg.wire.frame import DIGEST_SIZE, NONCE_SIZE
from tests.cli import contract
from tests.cli.test_service import url
from tests.processes.fleet import Commands
from tests.proven import planned

LENGTH, PEOPLE = 4, ("anna", "ben", "clara")
SIZES = ("--clients", "3", "--length", str(LENGTH), "--corrupt", "0", "--dropout", "0")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def told(*arguments: object) -> dict[str, object]:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert isinstance(data, dict)
    return data


def refusal(*arguments: object) -> str:
    result = call(*arguments, "--json")
    assert result.exit_code == 2, result.output
    return str(json.loads(result.stdout)["message"])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Commands]:
    with closing(Commands(tmp_path)) as commands:
        yield commands


@pytest.fixture
def admin(tmp_path: Path) -> str:
    """Identities of a server and three people, their vectors, and the signed roster."""
    server = told("identity", "new", tmp_path / "server", "--name", "server")["public"]
    folder = tmp_path / "admin"
    key = told("roster", "init", folder, "--server", server)["admin"]
    for number, name in enumerate(PEOPLE):
        told("identity", "new", tmp_path / name, "--name", name)
        told("roster", "add", folder, tmp_path / f"{name}.enrol")
        np.save(tmp_path / f"{name}.npy", np.full(LENGTH, number / 4))
    told("roster", "sign", folder, "--not-after", "2999-01-01")
    signed = next(path for path in folder.iterdir() if path.name.endswith("roster"))
    signed.rename(tmp_path / "roster")
    return str(key)


def joining(folder: Path, name: str, *more: object) -> list[object]:
    files = ("--input", folder / f"{name}.npy", "--ledger", folder / f"{name}.ledger")
    return [*files, "--identity", folder / name, *more, "--json"]


def test_a_round_between_terminals(start: Commands, tmp_path: Path, admin: str) -> None:
    """A task with the roster, a server that keeps transcripts, three members, and the sum."""
    task, roster = tmp_path / "task", tmp_path / "roster"
    told("task", *SIZES, "--members", roster, "--out", task)
    files = ("--port-file", tmp_path / "port", "--out", tmp_path / "mean.npy", "--task", task)
    kept = ("--transcripts", tmp_path / "kept", "--store", tmp_path / "store")
    server = start("serve", *files, "--key", tmp_path / "server", *kept, "--json")
    where = url(tmp_path / "port")
    more = ("--task", task, "--told", tmp_path / "told")
    clients = [start("join", where, *joining(tmp_path, name, *more)) for name in PEOPLE]
    data, err = server.answer()
    contract.check("serve", data)
    assert (data["contributors"], data["dropped"]) == (3, 0) and "consistency" in data["phases"]
    assert np.load(tmp_path / "mean.npy") == pytest.approx([0.25] * LENGTH, abs=1e-3)
    (transcript,) = (tmp_path / "kept").iterdir()
    assert data["rounds"][0]["transcript"] == str(transcript)
    assert transcript.stem == nonce_of(transcript.read_bytes()) and len(transcript.stem) == 32
    if sys.platform != "win32":
        assert stat.S_IMODE(transcript.stat().st_mode) == 0o600
    for client in clients:
        answer, _ = client.answer()
        assert answer["included"] and answer["spent"]
    heard = [file.read_bytes() for file in (tmp_path / "told").iterdir()]
    assert len(heard) == 3 and all(one.startswith(TOLD) for one in heard)


SESSION = Writer().u8(1).prefixed(b"a plan").raw(b"digest of a task".ljust(DIGEST_SIZE))
PIECES = (b"\1", Writer().prefixed(SESSION.raw(b"nonce".ljust(NONCE_SIZE)).finish()).finish())
NAME = b"nonce".ljust(NONCE_SIZE).hex()


def left_behind(tmp_path: Path) -> None:
    """A store of this server's with what a round that is over and told had written down."""
    owner = b"members of " + bytes.fromhex(told("identity", "show", tmp_path / "server")["public"])
    pieces = [*zip(b"ttv", (0, 1, 0), (*PIECES, b"some evidence"), strict=True)]
    with SqliteStore.open(tmp_path / "store", owner=owner) as store:
        place = written_in(b"nonce".ljust(NONCE_SIZE)) + ROUNDS
        store.commit([Write(place + bytes([k]) + n.to_bytes(4), v) for k, n, v in pieces])


def rows(tmp_path: Path) -> int:
    owner = b"members of " + bytes.fromhex(told("identity", "show", tmp_path / "server")["public"])
    with SqliteStore.open(tmp_path / "store", owner=owner) as store:
        return len([*store.rows(written_in(b"nonce".ljust(NONCE_SIZE)))])


def serving(tmp_path: Path, *more: object) -> Result:
    """A server to which nobody comes."""
    key = ("--key", tmp_path / "server", "--store", tmp_path / "store")
    ended = call("serve", "--task", tmp_path / "task", *key, *more, "--wait", "0", "--json")
    assert ended.exit_code == 1, ended.output
    return ended


@pytest.mark.parametrize("written", [None, b"".join(PIECES), b"another"])
def test_a_transcript_that_was_not_written_is_by_the_next_process(
    tmp_path: Path, admin: str, written: bytes | None
) -> None:
    """The one before it died when the round was over, and before it had its file, or before it
    could say that it had. Rows stay where it cannot be written, also as another file is there."""
    told("task", *SIZES, "--members", tmp_path / "roster", "--out", tmp_path / "task")
    left_behind(tmp_path)
    kept, path = tmp_path / "kept", tmp_path / "kept" / f"{NAME}.transcript"
    if written is not None:
        kept.mkdir()
        path.write_bytes(written)
    ended = serving(tmp_path, "--transcripts", kept)
    assert (kept / f"{NAME}-1.evidence").read_bytes() == b"some evidence"
    assert "can be convicted" in ended.stderr
    assert path.read_bytes() == (written or b"".join(PIECES))
    assert ("is another" in ended.stderr) is (written == b"another")
    assert bool(rows(tmp_path)) is (written == b"another")


def test_who_keeps_no_transcripts_keeps_no_rows_of_them(tmp_path: Path, admin: str) -> None:
    told("task", *SIZES, "--members", tmp_path / "roster", "--out", tmp_path / "task")
    left_behind(tmp_path)
    assert rows(tmp_path) == 3
    serving(tmp_path)
    assert not rows(tmp_path)


def test_the_same_input_is_summed_once(start: Commands, tmp_path: Path, admin: str) -> None:
    """Without a --name a vector is named by its values; the ledger knows it in the next life."""
    roster = ("--members", tmp_path / "roster")
    serve = ("serve", *SIZES, "--bits", "16", *roster, "--key", tmp_path / "server", "--json")
    port = ("--port-file", tmp_path / "port")
    server = start(*serve, *port)
    where = url(tmp_path / "port")
    pins = (*roster, "--admin", admin)
    clients = [start("join", where, *joining(tmp_path, name, *pins)) for name in PEOPLE]
    assert server.answer()[0]["contributors"] == 3
    assert all(client.answer()[0]["included"] for client in clients)
    (tmp_path / "port").unlink()
    again = start(*serve, *port)
    where = url(tmp_path / "port")
    clients = [start("join", where, *joining(tmp_path, name, *pins)) for name in PEOPLE]
    assert again.answer(code=1)[0]["error"] == "below-threshold"
    for client in clients:
        refused, _ = client.answer(code=2)
        assert "this input is in a sum already" in refused["message"]


def test_what_is_missing_is_said_before_anybody_is_asked(tmp_path: Path, admin: str) -> None:
    gone, task = "ws://127.0.0.1:1", tmp_path / "task"
    roster = ("--members", tmp_path / "roster")
    told("task", *SIZES, *roster, "--out", task)
    whole = joining(tmp_path, "anna", *roster, "--admin", admin)
    vector = ("--input", tmp_path / "anna.npy")
    assert "comes with --identity" in refusal("join", gone, *vector, "--admin", admin)
    assert "--identity" in refusal("join", gone, *vector, "--task", task)
    assert "--ledger" in refusal("join", gone, *vector, "--identity", tmp_path / "anna")
    assert "knows the roster" in refusal("join", gone, *joining(tmp_path, "anna", *roster)[:-1])
    other = joining(tmp_path, "anna", "--task", task, "--admin", admin[:-2] + "00")[:-1]
    assert call("join", gone, *other).exit_code == 2
    policy = tmp_path / "policy"
    policy.write_text("clients = 'many'\n")
    assert "--policy" in refusal("join", gone, *whole[:-1], "--policy", policy)
    serve = ("serve", *SIZES, "--bits", "16")
    assert "--key" in refusal(*serve, *roster)
    assert "or with --members" in refusal(*serve, "--key", tmp_path / "server")
    assert "comes with --members" in refusal(*serve, "--transcripts", tmp_path / "kept")
    wrong = refusal(*serve, *roster, "--key", tmp_path / "anna")
    assert "not the identity of the server" in wrong
    assert "roster of 9" in refusal(*serve, "--roster", "9", *roster, "--key", tmp_path / "server")


def test_a_task_is_served_with_a_roster_that_its_clients_take(tmp_path: Path, admin: str) -> None:
    """Row 34: not an older one than the task's, nor another administrator's."""
    task, old = tmp_path / "task", tmp_path / "roster"
    folder = tmp_path / "admin"
    told("roster", "sign", folder, "--not-after", "2999-01-01")
    newer = folder / "roster"
    told("task", *SIZES, "--members", newer, "--out", task)
    serve = ("serve", "--task", task, "--key", tmp_path / "server", "--members")
    assert "pinned is epoch 2" in refusal(*serve, old)
    server = told("identity", "show", tmp_path / "server")["public"]
    other = tmp_path / "other"
    told("roster", "init", other, "--server", server)
    told("roster", "add", other, *(tmp_path / f"{name}.enrol" for name in PEOPLE))
    told("roster", "sign", other, "--not-after", "2999-01-01")
    assert "signed by the administrator" in refusal(*serve, other / "roster")


def test_a_ledger_that_is_not_there_is_said_to_be_new(tmp_path: Path, admin: str) -> None:
    """A name that is misspelt forgets all that was said; it is said while one can still stop."""
    pins = ("--members", tmp_path / "roster", "--admin", admin, "--timeout", "0.1")
    words = ("join", "ws://127.0.0.1:1", *joining(tmp_path, "anna", *pins))
    first, second = call(*words), call(*words)
    assert "anna.ledger is new" in first.stderr and "is new" not in second.stderr


def test_the_same_values_have_the_same_name() -> None:
    """Row 42: whatever type a file has them in, one sum; others, another."""
    for whole, others in (
        (np.array([0, 1, -3, 100]), ("i1", "i2", "<i4", ">i8", "f4", ">f8")),
        (np.array([0.0, 0.25, -3.0, 1000.0]), ("f4", "f2", ">f8")),
        (np.array([1 << 62, 3]), ("u8", ">i8")),
    ):
        name = name_of(whole, b"task")
        for kind in others:
            other = whole.astype(kind)
            assert name_of(other, b"task") == name_of(other.reshape(2, -1), b"task") == name
        assert name_of(whole, b"another") != name != name_of(whole + 1, b"task")
    assert name_of(np.array([-0.0, 1.0]), b"") == name_of(np.array([0.0, 1.0]), b"")
    big = 1 << 53
    assert name_of(np.array([big, 1]), b"") != name_of(np.array([big + 1, 1]), b"")


def test_a_transcript_without_a_file_is_missing(tmp_path: Path) -> None:
    """Row 105: with a store the next process writes it, and without one nobody: the exit code says
    so in any case."""
    cast = planned()
    network = cast.network()
    network.run()
    transcript = b"".join(network.server.transcript())  # type: ignore[attr-defined]
    report = RoundReport({}, 0.0, 0.0, transcript=transcript, evidence=(b"proof",))
    kept = tmp_path / "kept"
    host = Hosting(cast.signed, tmp_path / "key", kept)
    assert not host.file(report) and host.missing(report)
    kept.mkdir()
    assert host.file(report) and not host.missing(report)
    (kept / f"{nonce_of(transcript)}-1.evidence").unlink()
    assert host.missing(report)
    assert not host.missing(None) and not Hosting(cast.signed, tmp_path / "key").missing(report)


@pytest.mark.parametrize("lost", [True, False])
def test_the_exit_code_says_that_a_transcript_is_missing(
    lost: bool, start: Commands, tmp_path: Path, admin: str
) -> None:
    task, kept = tmp_path / "task", tmp_path / "kept"
    told("task", *SIZES, "--members", tmp_path / "roster", "--out", task)
    files = ("--port-file", tmp_path / "port", "--task", task, "--transcripts", kept)
    server = start("serve", *files, "--key", tmp_path / "server", "--json")
    where = url(tmp_path / "port")
    if lost:
        kept.rmdir()
    clients = [start("join", where, *joining(tmp_path, name, "--task", task)) for name in PEOPLE]
    data, err = server.answer(code=1 if lost else 0)
    assert data["contributors"] == 3 and (data["rounds"][0]["transcript"] is None) is lost
    for client in clients:
        assert client.answer()[0]["included"]
