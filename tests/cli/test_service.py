"""`secagg serve` and `secagg join` as processes, and what they refuse."""

from __future__ import annotations

import json
import signal
import socket
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result
from websockets.sync.client import connect

from secagg import selftest
from secagg.cli.join import join
from secagg.cli.serve import serve
from secagg.drive.participant import Participant
from secagg.errors import CryptoError
from secagg.fields import FixedPoint
from secagg.plans.choose import plan
from secagg.plans.task import Task
from secagg.rounds.clock import RoundReport
from secagg.rounds.offer import Outcome
from secagg.types import AbortReason, PartyId
from tests.cli import contract
from tests.processes.fleet import Commands

LENGTH = 30
SERVE = ["--clients", "3", "--length", str(LENGTH), "--bits", "16", "--corrupt", "0"]
SERVE += ["--dropout", "0", "--protocol", "secagg", "--json"]
KEYS = {
    "exact",
    "contributors",
    "dropped",
    "phases",
    "client_seconds",
    "server_seconds",
    "bytes_up",
    "bytes_down",
    "server_state_bytes",
    "peak_rss",
}
PHASES = {"advertise-keys", "share-keys", "masked-input", "unmask"}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Commands]:
    with closing(Commands(tmp_path)) as commands:
        yield commands


def url(port_file: Path) -> str:
    deadline = time.monotonic() + 30
    while not port_file.exists():
        assert time.monotonic() < deadline, "the service did not start"
        time.sleep(0.02)
    return f"ws://127.0.0.1:{int(port_file.read_text())}"


def invoke(command: Callable[..., None], *arguments: str) -> Result:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, arguments)


def test_two_rounds_of_a_service_and_three_ways_to_join_it(start: Commands, tmp_path: Path) -> None:
    vectors = [np.linspace(-1, 1, LENGTH) * (i + 1) / 3 for i in range(3)]
    for i, values in enumerate(vectors):
        np.save(tmp_path / f"{i}.npy", values)
    agreed = plan(
        clients=3,
        fields={"update": FixedPoint(LENGTH, 1.0, 16)},
        corrupt=0,
        dropout=0,
        protocol="secagg",
    )
    (tmp_path / "plan").write_bytes(agreed.encode())
    files = ["--port-file", str(tmp_path / "port"), "--out", str(tmp_path / "mean.npy")]
    server = start("serve", *SERVE, *files, "--rounds", "2")
    where = url(tmp_path / "port")
    pins = [[], ["--plan-digest", agreed.digest().hex()], ["--plan", str(tmp_path / "plan")]]
    clients = [
        start("join", where, "--input", str(tmp_path / f"{i}.npy"), *pin, "--json")
        for i, pin in enumerate(pins)
    ]
    told, err = server.answer()
    contract.check("serve", told)
    for number in (1, 2):
        assert f"round {number}: the sum of 3 clients, without 0\n" in err
    assert told.keys() >= KEYS and told["exact"] is None and told["client_seconds"] is None
    assert (told["contributors"], told["dropped"], len(told["rounds"])) == (3, 0, 2)
    assert told["phases"].keys() == PHASES
    assert told["bytes_up"] == agreed.upload_bytes and told["server_seconds"] > 0
    assert agreed.digest().hex() == told["plan_digest"] and told["plan_digest"] in err
    names = ["mean-0001.npy", "mean-0002.npy"]
    assert [one["out"] for one in told["rounds"]] == [str(tmp_path / name) for name in names]
    assert sorted(file.name for file in tmp_path.glob("mean*")) == [*names, "mean.npy"]
    assert (tmp_path / "mean.npy").read_bytes() == (tmp_path / names[1]).read_bytes()
    mean = np.load(tmp_path / "mean.npy", allow_pickle=False)
    assert np.abs(mean - sum(vectors) / 3).max() <= agreed.max_error

    for i, process in enumerate(clients):
        data, err = process.answer()
        contract.check("join", data)
        assert data.keys() >= KEYS and data["exact"] is None and data["server_seconds"] is None
        assert (data["contributors"], data["dropped"], len(data["rounds"])) == (3, 0, 2)
        assert (data["included"], data["why"], data["spent"]) == (True, "", True)
        assert data["bytes_up"] == agreed.upload_bytes and data["client_seconds"] > 0
        # who did not pin the plan is told, once, what it promises and who chose it
        assert (agreed.explain() in err, err.count(agreed.digest().hex())) == (i == 0, i == 0)
        assert ("warning: the server chose" in err) == (i == 0)


@pytest.mark.parametrize("lane", [[], ["--clipped"]])
def test_clipping_is_told_on_both_sides(start: Commands, tmp_path: Path, lane: list[str]) -> None:
    """Row 82 on the command line: every client its own count, in its JSON and in one warning a
    round; the server how many in all, where the plan has the lane, else that it cannot know."""
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", np.r_[np.full(i, 7.5), np.zeros(LENGTH - i)])
    server = start("serve", *SERVE, "--rounds", "2", "--port-file", str(tmp_path / "port"), *lane)
    where = url(tmp_path / "port")
    clients = []
    for i in range(3):
        given = ["--input", str(tmp_path / f"{i}.npy"), "--json"]
        clients.append(start("join", where, *given))
    told, err = server.answer()
    assert "clients clip what they have for 'update' beyond ±1.0" in err
    assert ("only with --clipped does the plan tell how many" in err) == (not lane)
    assert told["clipped"] == (3 if lane else None)
    assert err.count("clients clipped 3 elements") == (2 if lane else 0)
    for i, process in enumerate(clients):
        data, err = process.answer()
        assert (data["clipped"], [one["clipped"] for one in data["rounds"]]) == (i, [i, i])
        warned = f"{i} of {LENGTH} elements of field 'update' lay beyond ±1.0 and were clipped"
        assert err.count(warned) == (2 if i else 0)


def test_too_few_clients_is_an_exit_code_and_sigterm_a_clean_end(
    start: Commands, tmp_path: Path
) -> None:
    """Row 92, and row 39 seen from the command line."""
    np.save(tmp_path / "0.npy", np.zeros(LENGTH))
    port = ["--port-file", str(tmp_path / "port")]
    server = start("serve", *SERVE, *port, "--wait", "0.1")
    failed, err = server.answer(code=1)
    assert (failed["contributors"], failed["rounds"][0]["error"]) == (0, "below-threshold")
    assert "0 of 3 clients" in err

    (tmp_path / "port").unlink()
    server = start("serve", *SERVE, *port)
    stopped = start("join", url(tmp_path / "port"), "--input", str(tmp_path / "0.npy"), "--json")
    left = start("join", url(tmp_path / "port"), "--input", str(tmp_path / "0.npy"), "--json")
    for process in (stopped, left):
        process.until("connected")
    stopped.signal(signal.SIGTERM)
    assert stopped.answer(code=143)[0]["rounds"] == []
    server.signal(signal.SIGTERM)
    data, err = server.answer(code=143)
    assert data.keys() >= KEYS and data["rounds"] == [] and "Traceback" not in err
    data, err = left.answer(code=2)
    assert data["error"] == "TransportError" and "Traceback" not in err


def test_a_mean_whose_folder_is_gone_is_not_lost(
    start: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was checked before may have changed by the end."""
    spare, folder = tmp_path / "spare", tmp_path / "folder"
    spare.mkdir()
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(spare))
    files = ["--port-file", str(tmp_path / "port"), "--out", str(folder / "mean.npy")]
    server = start("serve", *SERVE, *files)
    where = url(tmp_path / "port")
    folder.rmdir()
    np.save(tmp_path / "v.npy", np.full(LENGTH, 0.5))
    vector = str(tmp_path / "v.npy")
    for process in [start("join", where, "--input", vector, "--json") for _ in range(3)]:
        process.answer()
    told, err = server.answer(code=1)
    assert told["contributors"] == 3 and Path(told["out"]).is_relative_to(spare)
    assert told["out"] in err and "folder is not a folder" in err
    assert np.abs(np.load(told["out"], allow_pickle=False) - 0.5).max() < 1e-4


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--out", "none/mean.npy"], "is not a folder"),
        (["--out", "."], "a .npy file"),
        (["--out", "folder.npy"], "is a directory"),
        (["--out", "mean.csv"], "a .npy file; name it so"),
        (["--out", "port.npy", "--port-file", "port.npy"], "the same file"),
        (["--out", "a.npy", "--rounds", "2", "--port-file", "a-0002.npy"], "the same file"),
        (["--out", "last.npy", "--rounds", "2"], "last-0002.npy is a directory"),
        (["--port-file", "none/port"], "is not a folder"),
        (["--payload", "none"], "No such file"),
        (["--payload", "/dev/zero"], "not a regular file"),
        *(
            (["--deadline", s], "--deadline must be")
            for s in ("0", "-1", "nan", "inf", "4294967", "4294968")
        ),
        *((["--wait", s], "--wait must be") for s in ("-1", "nan", "-inf")),
        (["--rounds", "0"], "--rounds"),
        (["--batches", "2"], "--batches comes with a --role"),
        (["--linger", "2"], "--linger comes with a --role"),
        (["--collect-only"], "--collect-only comes with a --role"),
        (["--role", "helper"], "--clients is of a server alone"),
    ],
)
def test_serve_refuses_before_a_client_can_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("folder.npy", "last-0002.npy"):
        (tmp_path / name).mkdir()

    def bound(*arguments: object) -> None:
        raise AssertionError("it has begun")

    monkeypatch.setattr("secagg.cli.serve.run_until_stopped", bound)
    result = invoke(serve, *SERVE, *words)
    assert result.exit_code == 2 and says in " ".join(result.output.split())
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("words", [["--payload", "v.npy"], ["--task-digest", "00" * 32]])
def test_join_does_not_ignore_what_is_of_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("v.npy", np.zeros(3))
    result = invoke(join, "ws://127.0.0.1:9", "--input", "v.npy", *words, "--json")
    assert result.exit_code == 2 and f"{words[0]} is of a task" in result.stderr


@pytest.mark.parametrize(
    ("values", "says"),
    [(np.zeros(9), "holds 9 elements"), (np.full(30, np.nan), "NaN"), (np.zeros(30, "c8"), "")],
)
def test_an_input_that_does_not_fit_a_pinned_plan_meets_no_server(
    tmp_path: Path, values: Any, says: str
) -> None:
    np.save(tmp_path / "v.npy", values)
    agreed = plan(clients=10, fields={"update": FixedPoint(LENGTH, 1.0, 16)})
    (tmp_path / "plan").write_bytes(agreed.encode())
    words = ["--input", str(tmp_path / "v.npy"), "--plan", str(tmp_path / "plan"), "--json"]
    result = invoke(join, "ws://127.0.0.1:9", *words)
    told = json.loads(result.stdout)
    assert result.exit_code == 2 and told["error"] in ("InputError", "RangeError"), told
    assert says in told["message"]


def test_a_service_without_tls_stays_on_loopback() -> None:
    result = invoke(serve, *SERVE, "--host", "0.0.0.0")
    assert result.exit_code == 2 and json.loads(result.stdout)["error"] == "PolicyRefused"


def test_join_refuses_a_remote_server_without_tls(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.zeros(3))
    result = invoke(join, "ws://192.0.2.1:9", "--input", str(tmp_path / "v.npy"), "--json")
    assert result.exit_code == 2 and json.loads(result.stdout)["error"] == "PolicyRefused"


def _header(promised: int) -> bytes:
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({promised},), }}".ljust(117)
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.encode() + b"\n"


def _pickled(path: Path) -> None:
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)


def _archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", _header(0))


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"1.0, 2.0"),
        lambda path: path.write_bytes(_header(1 << 40)),
        lambda path: path.write_bytes(_header(4)[:40]),
        _pickled,
        _archive,
    ],
    ids=["empty", "text", "8-TiB", "cut", "pickle", "archive"],
)
def test_an_input_that_is_no_vector(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Rows 14 and 17: no pickle is loaded, and nothing is allocated that a header only promises."""
    make(tmp_path / "v.npy")
    result = invoke(join, "ws://127.0.0.1:9", "--input", str(tmp_path / "v.npy"), "--json")
    assert result.exit_code == 2, result.output
    told = json.loads(result.stdout)
    assert told["error"] == "InputError" and "v.npy" in told["message"]


@pytest.mark.parametrize("digest", ["", "00", "zz" * 32, "00" * 33])
def test_a_digest_that_is_none(tmp_path: Path, digest: str) -> None:
    np.save(tmp_path / "v.npy", np.zeros(3))
    arguments = ["--input", str(tmp_path / "v.npy"), "--plan-digest", digest, "--json"]
    result = invoke(join, "ws://127.0.0.1:9", *arguments)
    assert result.exit_code == 2 and "64 hexadecimal digits" in json.loads(result.stdout)["message"]


def test_a_plan_file_that_is_none(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.zeros(3))
    (tmp_path / "plan").write_bytes(b"\x02\x01junk")
    arguments = ["--input", str(tmp_path / "v.npy"), "--plan", str(tmp_path / "plan"), "--json"]
    result = invoke(join, "ws://127.0.0.1:9", *arguments)
    assert result.exit_code == 2 and json.loads(result.stdout)["error"] in ("Truncated", "TooLarge")


def test_one_vector_is_in_one_sum_by_its_name(start: Commands, tmp_path: Path) -> None:
    """The difference of two sums is one client's input: who has named it says no the second time,
    and whoever has not is in a sum without it. Exit code 3 of whom there is a sum without."""
    agreed = ["--clients", "4", "--length", str(LENGTH), "--bits", "16", "--corrupt", "0"]
    files = ["--port-file", str(tmp_path / "port"), "--dropout", "0.25", "--rounds", "2", "--json"]
    server = start("serve", *agreed, *files)
    np.save(tmp_path / "v.npy", np.full(LENGTH, 0.731058))
    words = (url(tmp_path / "port"), "--input", str(tmp_path / "v.npy"), "--json")
    once = start("join", *words, "--name", "visit 7")
    others = [start("join", *words) for _ in range(3)]
    told, _ = server.answer()
    assert [one["contributors"] for one in told["rounds"]] == [4, 3]
    for process in others:
        data, err = process.answer()
        assert (data["included"], data["why"], data["spent"]) == (True, "", True)
        assert err.count("has no --name") == 1, "in two rounds, and said once"
    data, err = once.answer(code=3)
    assert "has no --name" not in err
    assert [(one["included"], one["why"]) for one in data["rounds"]] == [
        (True, ""),
        (False, "spent"),
    ]
    assert (data["included"], data["spent"], data["contributors"]) == (False, True, 3)
    assert "a sum without this client" in err
    assert [bool(one["detail"]) for one in data["rounds"]] == [False, True]
    assert f"round 2: {data['detail']}" in err, "in words, and why"
    assert "731" not in err + data["detail"], "and no value of the vector"


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_why_a_client_is_in_no_sum_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Also where nobody signs: on standard error either way, and in the JSON of its round."""
    figures = RoundReport({}, 7, 8)
    outcomes = [
        Outcome(1, PartyId(0), None, 3, 1, figures, "left out of the sum: late", why="late"),
        Outcome(2, PartyId(0), None, 3, 1, figures, included=True),
        Outcome(3, PartyId(0), AbortReason.CANCELLED, 0, 0, figures, "min_clients is 3, not 9"),
    ]

    async def stay(url: str, participant: Participant, **more: object) -> None:
        participant.outcomes += outcomes

    monkeypatch.setattr("secagg.cli.join.stay", stay)
    np.save(tmp_path / "v.npy", np.zeros(3))
    result = invoke(join, "ws://127.0.0.1:9", "--input", str(tmp_path / "v.npy"), *words)
    assert "round 1: left out of the sum: late" in result.stderr
    assert "round 2" not in result.stderr
    assert "round 3: min_clients is 3, not 9" in result.stderr
    if words:
        data = json.loads(result.stdout)
        told = ["left out of the sum: late", "", "min_clients is 3, not 9"]
        assert [one["detail"] for one in data["rounds"]] == told
        assert data["detail"] == told[-1]


def test_the_text_has_a_line_for_each_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What became of the last round is not what became of all."""
    figures, spent = RoundReport({}, 7, 8), {"why": "spent", "spent": True}
    outcomes = [
        Outcome(1, PartyId(0), None, 3, 1, figures, "", {"x": 2, "y": 1}, True, "", True),
        Outcome(2, PartyId(0), None, 2, 2, figures, "", {}, False, **spent),
        Outcome(3, PartyId(0), None, 3, 1, figures, "", {}, False, "late", False),
        Outcome(4, PartyId(0), AbortReason.LOST, 0, 0, figures, "", {}, None, "lost", True),
    ]

    async def stay(url: str, participant: Participant, **more: object) -> None:
        participant.outcomes += outcomes

    monkeypatch.setattr("secagg.cli.join.stay", stay)
    np.save(tmp_path / "v.npy", np.zeros(3))
    result = invoke(join, "ws://127.0.0.1:9", "--input", str(tmp_path / "v.npy"))
    lines = result.stdout.splitlines()
    assert [" ".join(line.split()) for line in lines[:4]] == [
        "round 1 in the sum of 3 clients, without 1, 3 elements clipped",
        "round 2 not in the sum of 2 clients: spent",
        "round 3 not in the sum of 3 clients: late",
        "round 4 no sum: lost, this input is spent",
    ]
    assert [line.split()[0] for line in lines[4:]] == ["bytes_up", "bytes_down", "peak_rss"]


def test_a_task_of_one_server_is_made_served_and_joined(start: Commands, tmp_path: Path) -> None:
    """Plan and payload in one file, for server and clients; of another task, or about another
    payload, nothing is announced and nothing joined."""
    (tmp_path / "model").write_bytes(b"what it is about")
    sizes = ("--clients", "4", "--length", str(LENGTH), "--corrupt", "0", "--dropout", "0.25")
    files = [str(tmp_path / name) for name in ("task", "other")]
    told = start("task", *sizes, "--payload", str(tmp_path / "model"), "--out", files[0], "--json")
    made, _ = told.answer()
    contract.check("task", made)
    assert (made["epoch"], made["server_keys"], made["collector_key"]) == (None, [], None)
    start("task", *sizes, "--out", files[1], "--json").answer()
    given = ("--task", files[0], "--payload", str(tmp_path / "model"), "--json")
    server = start("serve", *given, "--port-file", str(tmp_path / "port"))
    np.save(tmp_path / "v.npy", np.full(LENGTH, 0.5))
    words = ("join", url(tmp_path / "port"), "--input", str(tmp_path / "v.npy"), "--json")
    other = start(*words, "--task", files[1])
    pins = [["--task-digest", made["digest"]], [], []]
    clients = [start(*words, "--task", files[0], *pin) for pin in pins]
    said, err = server.answer()
    data, _ = other.answer(code=2)
    assert data["error"] == "PolicyRefused" and "payload" in data["message"]
    assert said["contributors"] == 3 and f"task digest {made['digest']}" in err
    for client, pin in zip(clients, pins, strict=True):
        data, err = client.answer()
        assert data["included"] is True
        assert (f"Digest of this task: {made['digest']}" in err) == (not pin)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--clients", "3"], "--clients is already in the --task"),
        (["--bits", "8"], "--bits is already in the --task"),
        (["--payload", "model"], "is about bytes of the digest"),
        (["--key", "k"], "--key comes with a --role"),
        (["--store", "s"], "a server alone keeps nothing"),
    ],
)
def test_what_a_task_of_one_server_says_is_not_said_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model").write_bytes(b"another model")
    Path("task").write_bytes(Task(plan(clients=4, fields={"x": FixedPoint(3, 1.0, 8)})).encode())
    result = invoke(serve, "--task", "task", *words, "--json")
    assert result.exit_code == 2 and says in json.loads(result.stdout)["message"]
    np.save("v.npy", np.zeros(3))
    more = ("--input", "v.npy", "--task", "task", "--payload", "model", "--json")
    result = invoke(join, "ws://127.0.0.1:9", *more)
    assert result.exit_code == 2
    assert "the one server of this task announces" in json.loads(result.stdout)["message"]


@pytest.mark.parametrize("which", ["the same", "another", "none"])
def test_a_ledger_remembers_a_name_from_one_command_to_the_next(
    start: Commands, tmp_path: Path, which: str
) -> None:
    """Claimed and synced before the masked vector leaves, so a second command with the same file
    gives nothing to its sum, and says so: Spent, exit code 2. Without the file it cannot know."""
    agreed = ["--clients", "4", "--length", str(LENGTH), "--bits", "16", "--corrupt", "0"]
    agreed += ["--dropout", "0.25", "--json"]
    np.save(tmp_path / "v.npy", np.zeros(LENGTH))
    ledgers = ["first", {"the same": "first", "another": "second"}.get(which)]
    for number, ledger in enumerate(ledgers):
        port = tmp_path / f"port {number}"
        server = start("serve", *agreed, "--port-file", str(port))
        words = (url(port), "--input", str(tmp_path / "v.npy"), "--json")
        kept = [] if ledger is None else ["--ledger", str(tmp_path / ledger)]
        named = start("join", *words, "--name", "visit 7", *kept)
        others = [start("join", *words) for _ in range(3)]
        refused = number == 1 and which == "the same"
        assert server.answer()[0]["contributors"] == (3 if refused else 4)
        for process in others:
            process.answer()
        data, err = named.answer(code=2 if refused else 0)
        if refused:
            assert data["error"] == "Spent" and str(tmp_path / "first") in data["message"]
            assert "Another vector needs another --name" in err
        else:
            assert (data["included"], data["spent"]) == (True, True)


def test_a_ledger_that_is_none(tmp_path: Path) -> None:
    """Found before anything is said, also where no server is there."""
    np.save(tmp_path / "v.npy", np.zeros(3))
    (tmp_path / "no ledger").write_bytes(b"something else entirely" * 1000)
    (tmp_path / "no ledger").chmod(0o600)
    for where, error in (
        (tmp_path / "no" / "folder", "ParameterError"),
        ("no ledger", "StorageError"),
    ):
        words = ("--input", str(tmp_path / "v.npy"), "--ledger", str(tmp_path / where), "--json")
        result = invoke(join, "ws://127.0.0.1:9", *words, "--timeout", "0.05")
        assert result.exit_code == 2
        assert json.loads(result.stdout)["error"] == error


def test_clients_may_be_there_before_their_server(start: Commands, tmp_path: Path) -> None:
    """Case 34: as in any compose file."""
    np.save(tmp_path / "v.npy", np.zeros(LENGTH))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        words = (f"ws://127.0.0.1:{port}", "--input", str(tmp_path / "v.npy"), "--json")
        clients = [start("join", *words) for _ in range(3)]
        clients[0].until("trying again")
    server = start("serve", *SERVE, "--port", port)
    assert server.answer()[0]["contributors"] == 3
    for client in clients:
        assert client.answer()[0]["included"] is True


def test_what_a_client_has_to_compile_it_compiles_before_a_deadline_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here its known answers are wrong, and it says so before it looks for a server."""

    def wrong() -> None:
        raise CryptoError("self-test: wrong")

    monkeypatch.setattr(selftest, "passed", wrong)
    np.save(tmp_path / "x.npy", np.zeros(4))
    words = ("--input", str(tmp_path / "x.npy"), "--timeout", "0.05")
    result = invoke(join, "ws://127.0.0.1:9", *words)
    assert (result.exit_code, result.stderr) == (2, "error: self-test: wrong\n")


def test_a_server_that_never_comes_is_given_up(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.zeros(3))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"ws://127.0.0.1:{free.getsockname()[1]}"
        words = ("--input", str(tmp_path / "v.npy"), "--timeout", "0.05", "--json")
        result = invoke(join, where, *words)
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"] == "TransportError"


@pytest.mark.parametrize(
    ("clients", "limit", "code"), [(832, 1024, 0), (833, 1024, 2), (833, 1025, 0)]
)
def test_clients_are_compared_with_the_descriptors_of_the_process(
    monkeypatch: pytest.MonkeyPatch, clients: int, limit: int, code: int
) -> None:
    """Before the first client comes, and with both numbers."""
    from secagg.cli import serve as module

    monkeypatch.setattr(module, "descriptors", lambda: limit)
    monkeypatch.setattr(module, "run_until_stopped", lambda work: work.close())
    sizes = ["--clients", str(clients), "--length", "5", "--bits", "16", "--corrupt", "0"]
    result = invoke(serve, *sizes, "--protocol", "secagg+", "--json")
    assert result.exit_code == code, result.output
    if code:
        error = json.loads(result.stdout)
        assert error["error"] == "ParameterError"
        assert "--clients 833 needs 1025 open files" in error["message"]
        assert "may have 1024" in error["message"]


def test_a_mean_is_in_its_file_before_a_client_hears_of_it(start: Commands, tmp_path: Path) -> None:
    """Seen by who cannot be fooled: a file that cannot be there yet, and a client that is told."""
    np.save(tmp_path / "v.npy", np.full(LENGTH, 0.5))
    out = tmp_path / "mean.npy"
    server = start("serve", *SERVE, "--port-file", str(tmp_path / "port"), "--out", str(out))
    where = url(tmp_path / "port")
    clients = [start("join", where, "--input", str(tmp_path / "v.npy"), "--json") for _ in range(3)]
    for client in clients:
        told, _ = client.answer()
        assert told["included"] is True and out.exists()
    assert np.abs(np.load(out) - 0.5).max() < 1e-3
    server.answer()


def test_a_round_that_a_signal_interrupts_leaves_its_record(
    start: Commands, tmp_path: Path
) -> None:
    port = ["--port-file", str(tmp_path / "port"), "--deadline", "600"]
    server = start("serve", *SERVE, *port)
    where = url(tmp_path / "port")
    with connect(where) as one, connect(where) as two, connect(where) as three:
        for silent in (one, two, three):
            silent.recv(timeout=60)  # the announcement: the round is under way
        server.signal(signal.SIGTERM)
        data, err = server.answer(code=143)
    (round,) = data["rounds"]
    assert (round["error"], round["contributors"], round["dropped"]) == ("cancelled", 0, 3)
    assert list(round["phases"]) == ["advertise-keys"]
    assert "ended without a result (advertise-keys" in err and "Traceback" not in err
