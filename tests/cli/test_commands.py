"""plan, simulate, protocols, inspect: names, JSON keys, exit codes, and what goes where."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

import secagg
from secagg import cli, registry
from secagg.cli import inspect as inspecting
from secagg.cli import output
from secagg.cli.inspect import recognise
from secagg.cli.simulate import generated
from secagg.errors import InputError, SecAggError, TooLarge, TrailingBytes, Truncated, WireError
from secagg.fields import FixedPoint
from secagg.plans import choose
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.sim import metered
from secagg.types import AbortReason, Fault, PartyId
from secagg.wire.frame import Announce, DigestOnly, Message, Over, payload_digest
from secagg.wire.header import write_header
from tests.cli import contract

ROOT = Path(__file__).parents[2]
PLAN_KEYS = {
    "protocol",
    "degree",
    "threshold",
    "ring_bits",
    "upload_bytes",
    "expansion",
    "max_error",
    "guarantee",
    "digest",
    "min_clients",
    "min_survivors",
}
SIMULATE_KEYS = {
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
SMALL = ("--clients", "10", "--length", "50", "--bits", "12")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments))


def answer(*arguments: str) -> dict[str, Any]:
    """One JSON object on standard output, and nothing else there."""
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    data = json.loads(result.stdout)
    assert isinstance(data, dict)
    kind = f", {data['kind']}" if arguments[0] == "inspect" else ""
    if (name := arguments[0] + kind) in contract.KEPT["json"]:
        contract.check(name, data)
    return data


def refusal(*arguments: str) -> str:
    """The message of a failure: one line, on standard error, exit code 2; the same in JSON."""
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    in_json = call(*arguments, "--json")
    assert in_json.exit_code == 2
    error = json.loads(in_json.stdout)
    assert error.keys() == {"error", "message"}
    assert result.stderr == in_json.stderr == f"error: {error['message']}\n"
    return str(error["message"])


# The program


def test_version_and_help() -> None:
    assert call("--version").stdout == f"secagg {secagg.__version__}\n"
    shown = call("--help").stdout
    for name in cli.COMMANDS:
        assert f"  {name} " in shown
    assert call().exit_code == 2  # without a command: the help, and a failure


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_and_json(name: str) -> None:
    result = call(name, "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout


def test_an_unknown_command_is_a_usage_error() -> None:
    result = call("simulat")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "simulat" in result.stderr


@pytest.mark.parametrize("arguments", [("plan", *SMALL, "--json"), ("protocols", "--json")])
def test_it_runs_as_a_module_and_without_the_compiler(arguments: tuple[str, ...]) -> None:
    code = (
        f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'protocols')]!r}; "
        f"sys.argv[1:] = {list(arguments)!r}; import atexit; "
        "atexit.register(lambda: print('numba' in sys.modules, file=sys.stderr)); "
        "import runpy; runpy.run_module('secagg.cli', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "False\n")
    assert isinstance(json.loads(done.stdout), dict)


# What is shared


def test_report_refuses_what_json_cannot_say() -> None:
    with pytest.raises(ValueError, match="JSON"):
        output.report({"x": float("nan")}, True, lambda: None)


def test_a_bug_is_not_dressed_as_an_error() -> None:
    with pytest.raises(ZeroDivisionError), output.handled(True):
        Fraction(1, 0)


def test_an_expected_failure_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught, output.handled():
        raise InputError("a field\n  of the wrong size")
    assert caught.value.exit_code == 2
    assert capsys.readouterr() == ("", "error: a field of the wrong size\n")


# plan


def test_plan_says_what_the_planner_says() -> None:
    data = answer("plan", *SMALL, "--clip", "2", "--max-weight", "3", "--corrupt", "0.2")
    made = choose.plan(
        clients=10, fields={"update": FixedPoint(50, 2.0, 12)}, corrupt=0.2, max_weight=3
    )
    assert data.keys() >= PLAN_KEYS
    assert data["digest"] == made.digest().hex()
    assert data["degree"] == made.params.degree
    assert data["ring_bits"] == (2 * 10 * 3 * 2047).bit_length()
    assert data["upload_bytes"] == made.upload_bytes
    assert data["expansion"] == pytest.approx(made.upload_bytes / (50 * 12 / 8))


def test_plan_explains_by_default() -> None:
    result = call("plan", *SMALL)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "What the server learns: " in result.stdout


def test_fractions_are_taken_as_typed() -> None:
    """1/3 of 9 clients is 3, and no binary float of it is."""
    data = answer("plan", "--clients", "9", "--length", "5", "--dropout", "1/3", "--corrupt", "0")
    assert data["min_survivors"] <= 6


def test_an_active_plan_is_explained_and_simulated() -> None:
    data = answer("plan", "--clients", "100", "--length", "50", "--adversary", "active")
    assert "a server that lies as it likes" in data["guarantee"]
    active = ("--adversary", "active", "--drop", "consistency=0.2")
    done = answer("simulate", "--clients", "10", "--length", "5", "--dropout", "0.2", *active)
    assert done["exact"] and done["contributors"] == 10 and "consistency" in done["phases"]


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (("--clients", "2"), "too few"),
        (("--protocol", "nosuch"), "no protocol 'nosuch'"),
        (("--bits", "33"), "bits must be"),
        (("--clip", "nan"), "clip must be"),
        (("--dropout", "1.5"), "dropout"),
        (("--length", "0"), "length must be"),
        (("--min-clients", "11"), "min_clients"),
    ],
)
def test_plan_refuses_what_cannot_be(arguments: tuple[str, ...], rule: str) -> None:
    assert rule in refusal("plan", *SMALL, *arguments)


def test_out_writes_the_plan_once(tmp_path: Path) -> None:
    file = tmp_path / "a.plan"
    data = answer("plan", *SMALL, "--out", str(file))
    assert Plan.decode(file.read_bytes()).digest().hex() == data["digest"]

    before = file.read_bytes()
    assert "--force" in refusal("plan", *SMALL, "--clip", "3", "--out", str(file))
    assert file.read_bytes() == before
    answer("plan", *SMALL, "--clip", "3", "--out", str(file), "--force")
    assert file.read_bytes() != before
    assert list(tmp_path.iterdir()) == [file], "no temporary file is left"
    other = tmp_path / "other"
    other.touch()
    assert file.stat().st_mode == other.stat().st_mode, "as readable as any file: it is to share"


def test_out_needs_a_folder_that_exists(tmp_path: Path) -> None:
    assert "not a folder" in refusal("plan", *SMALL, "--out", str(tmp_path / "no" / "a.plan"))


# simulate


def test_simulate_is_exact_and_metered() -> None:
    data = answer("simulate", *SMALL, "--drop", "masked-input=0.1", "--drop", "unmask=0.1")
    assert data.keys() >= SIMULATE_KEYS
    assert (data["exact"], data["contributors"], data["dropped"]) == (True, 9, 1)
    assert list(data["phases"]) == ["advertise-keys", "share-keys", "masked-input", "unmask"]
    assert data["bytes_up"] == answer("plan", *SMALL)["upload_bytes"]


@pytest.mark.parametrize("protocol", ["secagg", "secagg+", "plainsum"])
@pytest.mark.parametrize("bits", ["2", "8", "32"])
def test_simulate_any_protocol_and_width(protocol: str, bits: str) -> None:
    size = ("--clients", "20", "--length", "7", "--bits", bits)
    data = answer("simulate", *size, "--protocol", protocol, "--max-weight", "5")
    assert (data["exact"], data["contributors"]) == (True, 20)
    assert data["protocol"] == protocol


def test_simulate_prints_a_summary() -> None:
    result = call("simulate", *SMALL)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "the sum of 10 clients equals the plain sum" in result.stdout


def test_a_wrong_sum_is_told_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metered.Tally, "equals", lambda *_: False)
    result = call("simulate", *SMALL, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["exact"] is False


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (("--drop", "consistency=0.1"), "advertise-keys, share-keys, masked-input, unmask"),
        (("--drop", "unmask"), "PHASE=RATE"),
        (("--drop", "unmask=x"), "rate"),
        (("--servers", "2", "--protocol", "secagg"), "one server"),
        (("--servers", "17"), "servers must be"),
        (("--direct",), "several servers"),
        (("--seed", "-1"), "seed"),
    ],
)
def test_simulate_refuses_what_cannot_be(arguments: tuple[str, ...], rule: str) -> None:
    assert rule in refusal("simulate", *SMALL, *arguments)


def test_a_round_without_a_sum_is_no_wrong_use() -> None:
    """Exit codes: 1 where everything was right and there is no sum, 2 for what was refused."""
    result = call("simulate", *SMALL, "--drop", "masked-input=0.9", "--json")
    assert result.exit_code == 1 and "below-threshold" in json.loads(result.stdout)["message"]


def test_inputs_follow_from_seed_and_id() -> None:
    """As the help says: PCG64 seeded by (seed, id), whatever was drawn for others before."""
    made = choose.plan(clients=5, fields={"update": FixedPoint(4, 2.0, 8)}, max_weight=9)
    source = generated(made, 7)
    source(PartyId(0))
    mine: Any = source(PartyId(3))
    rng = np.random.Generator(np.random.PCG64((7, 3)))
    assert mine.fields["update"].tolist() == rng.uniform(-2, 2, 4).tolist()
    assert mine.weight == rng.integers(1, 10)
    assert (
        mine.fields["update"].tolist() != generated(made, 8)(PartyId(3)).fields["update"].tolist()
    )  # type: ignore[union-attr]


# protocols


def test_protocols_lists_what_is_installed() -> None:
    found = answer("protocols")["protocols"]
    assert [one["name"] for one in found] == list(registry.available())
    for one in found:
        assert one.keys() == {"name", "spec", "threat_models", "status"}
        assert one["spec"] == registry.load(one["name"]).spec
    assert "secagg+" in call("protocols").stdout


def test_a_broken_protocol_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (*registry.available(), "broken")
    points = {"broken": frozenset({"secagg_no_such_package:PROTOCOL"})}
    table = registry._table() | points
    monkeypatch.setattr(registry, "_table", lambda: table)
    found = answer("protocols")["protocols"]
    assert {one["name"] for one in found} == set(names)
    [broken] = [one for one in found if one["name"] == "broken"]
    assert broken["status"].startswith("broken: ")
    assert EntryPoint("broken", *points["broken"], registry.GROUP).name in call("protocols").stdout


# inspect


def made() -> Plan:
    return choose.plan(clients=10, fields={"update": FixedPoint(50, 1.0, 12)})


def npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def test_inspect_reads_a_plan(tmp_path: Path) -> None:
    file = tmp_path / "a.plan"
    file.write_bytes(made().encode())
    data = answer("inspect", str(file))
    assert (data["kind"], data["bytes"]) == ("plan", file.stat().st_size)
    assert data["digest"] == made().digest().hex()
    assert made().digest().hex() in call("inspect", str(file)).stdout


def test_inspect_reads_a_plan_that_protects_nobody() -> None:
    plain = choose.plan(clients=4, fields={"u": FixedPoint(5, 1.0, 8)}, protocol="plainsum")
    assert recognise(plain.encode())["protocol"] == "plainsum"


def test_inspect_reads_a_task_of_one_server() -> None:
    """Which has nobody's keys, and may protect nobody, as a plan may."""
    plain = choose.plan(clients=4, fields={"u": FixedPoint(5, 1.0, 8)}, protocol="plainsum")
    for plan in (made(), plain):
        task = Task(plan, payload_digest=payload_digest(b"x"))
        said = recognise(task.encode())
        assert (said["kind"], said["digest"]) == ("task", task.digest().hex())
        assert said["payload_digest"] == payload_digest(b"x").hex()
        assert (said["epoch"], said["server_keys"], said["collector_key"]) == (None, [], None)


def zipped(array: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, w=array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("v.csv", b"0.1,0.2\n0.3,0.4\n", r"is text.*numpy\.loadtxt\('v\.csv', delimiter=','\)"),
        ("v.txt", b"0.1 0.2\n", r"is text.*numpy\.loadtxt\('v\.txt'\)"),
        ("v.npz", zipped(np.ones(2)), r"is an archive.*numpy\.load\('v\.npz'\)\['NAME'\]"),
        ("v.pt", zipped(np.ones(2)), r"torch\.load\('v\.pt'"),
        ("v.npy", b"", "is empty"),
    ],
)
def test_inspect_tells_of_other_arrays_what_makes_a_npy_file_of_them(
    tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(data)
    assert re.search(says, refusal("inspect", str(tmp_path / name)))


def test_inspect_reads_frames() -> None:
    nonce = bytes(range(16))
    announce = Announce(nonce, PartyId(3), (1000, 2000), made().encode(), b"task")
    found = recognise(announce.encode())
    assert (found["kind"], found["frame"], found["party"]) == ("frame", "announce", 3)
    assert found["payload_digest"] == payload_digest(b"task").hex()
    assert isinstance(found["plan"], dict) and found["plan"]["digest"] == made().digest().hex()
    by_digest = Announce(nonce, PartyId(3), (), made().encode(), DigestOnly(bytes(32)))
    assert recognise(by_digest.encode())["payload"] == "by digest"

    over = recognise(Over(nonce, AbortReason.BELOW_THRESHOLD, 0, 4).encode())
    assert (over["outcome"], over["dropped"]) == ("below-threshold", 4)
    assert over["standing"] is None
    late = recognise(Over(nonce, None, 3, 1, Fault.LATE).encode())
    assert (late["outcome"], late["standing"]) == ("done", "late")
    inner = write_header(2, bytes(32)).raw(b"abc").finish()
    found = recognise(Message(nonce, inner).encode())
    assert isinstance(found["message"], dict)
    assert found["message"]["name"]["secagg"] == "key-list"


def test_inspect_names_a_message_by_every_protocol_that_has_its_tag() -> None:
    found = recognise(write_header(1, bytes([7]) * 32).raw(bytes(64)).finish())
    assert found["kind"] == "protocol message"
    assert found["name"] == {
        "additive": "report",
        "plainsum": "upload",
        "secagg": "advertise-keys",
        "secagg+": "advertise-keys",
    }
    assert (found["body_bytes"], found["binding"]) == (64, "07" * 32)
    unknown = recognise(write_header(99, bytes(32)).finish())
    assert "unknown" in str(unknown["name"])


def test_inspect_shows_nothing_of_a_message_but_its_size() -> None:
    secret = b"\xca\xfe\xba\xbe" * 16
    for data in (
        write_header(7, bytes(32)).raw(secret).finish(),
        Message(bytes(16), write_header(7, bytes(32)).raw(secret).finish()).encode(),
        Announce(bytes(16), PartyId(0), (), made().encode(), secret).encode(),
    ):
        assert "cafebabe" not in repr(recognise(data))


def test_inspect_reads_arrays() -> None:
    found = recognise(npy(np.array([[0.5, -3.0], [1.0, 2.0]])))
    assert (found["kind"], found["dtype"], found["shape"]) == ("array", "float64", [2, 2])
    assert (found["finite"], found["max_magnitude"]) == (True, 3.0)
    found = recognise(npy(np.array([np.inf, -1.0], np.float32)))
    assert (found["finite"], found["max_magnitude"]) == (False, 1.0)
    assert recognise(npy(np.array([np.nan])))["max_magnitude"] == 0.0
    assert "finite" not in recognise(npy(np.arange(3)))
    assert recognise(npy(np.zeros((0, 3))))["shape"] == [0, 3]


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return print, ("unpickled",)


def test_inspect_never_unpickles(capsys: pytest.CaptureFixture[str]) -> None:
    data = npy(np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="Python objects"):
        recognise(data)
    assert capsys.readouterr().out == ""


def test_inspect_believes_no_array_header() -> None:
    """A shape is checked against the bytes that are there before anything is allocated."""
    data = npy(np.zeros(3))
    huge = data.replace(b"(3,), }" + b" " * 15, b"(3000000000000000,), }")
    assert len(huge) == len(data) and huge != data
    with pytest.raises(Truncated, match="24 are there"):
        recognise(huge)
    with pytest.raises(TrailingBytes):
        recognise(data + b"x")
    for cut in (7, 9, 20, len(data) - 25):
        with pytest.raises(SecAggError):
            recognise(data[:cut])
    with pytest.raises(WireError, match="version"):
        recognise(b"\x93NUMPY\x09\x00" + data[8:])


def test_inspect_reads_test_vectors() -> None:
    vector = {"about": "a full round", "spec": "10-secagg.md", "operations": [{}, {}]}
    found = recognise(json.dumps(vector).encode())
    assert (found["kind"], found["operations"]) == ("test vector", 2)
    for other in (b"{", b"[1]", b"{}", b"[" * 100_000, b'{"operations": "\xff"}'):
        with pytest.raises(InputError, match="JSON"):
            recognise(other)


def test_inspect_parses_no_more_json_than_a_test_vector_has() -> None:
    """Parsed it takes many times its size."""
    vector = json.dumps({"about": "a full round", "operations": []}).encode()
    assert recognise(vector.ljust(1 << 22))["kind"] == "test vector"
    with pytest.raises(TooLarge, match="4194305 bytes of JSON"):
        recognise(vector.ljust((1 << 22) + 1))


def test_inspect_says_why_it_knows_a_file_not(tmp_path: Path) -> None:
    file = tmp_path / "x"
    for data in (b"", b"\x00", b"\x02\x01\x01" + bytes(40), b"hello world"):
        file.write_bytes(data)
        message = refusal("inspect", str(file))
        assert "as a plan: " in message and "as a frame: " in message
    assert "this code speaks version 1" in message
    assert "No such file" in refusal("inspect", str(tmp_path / "none"))
    assert "directory" in refusal("inspect", str(tmp_path))


def test_inspect_refuses_what_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspecting, "MAX_SIZE", 100)
    file = tmp_path / "x"
    file.write_bytes(bytes(101))
    assert "more than 100 bytes" in refusal("inspect", str(file))


def test_a_file_of_another_kind_is_named_with_what_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(50))
    task, plan, text = (tmp_path / name for name in ("a.task", "a.plan", "a.txt"))
    plan.write_bytes(made().encode())
    task.write_bytes(Task(made()).encode())
    text.write_text("hello")
    join = ("join", "ws://127.0.0.1:9", "--input", str(tmp_path / "x.npy"))
    assert refusal(*join, "--plan", str(task)) == f"--plan {task} is a task, which --task takes"
    said = refusal(*join, "--task", str(plan))
    assert said == f"--task {plan} is a plan, of which `secagg task` makes one"
    for option, kind in (("--plan", "plan"), ("--task", "task")):
        said = refusal(*join, option, str(text))
        assert said.startswith(f"{option} {text}: a {kind} of version 104")
        assert f"or no {kind}; this code speaks version" in said


def test_a_weight_that_no_plan_allows_meets_no_server(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(50))
    join = ("join", "ws://127.0.0.1:9", "--input", str(tmp_path / "x.npy"))
    for weight in ("-5", "4294967296"):
        assert "--weight must be an integer from 0" in refusal(*join, "--weight", weight)
    said = refusal("join", "ws://127.0.0.1:0", "--input", str(tmp_path / "x.npy"))
    assert "the port that it listens on, and 0 is none" in said


def test_the_largest_weight_is_simulated() -> None:
    """Its first, small round has fewer clients, whose weights would have been larger still."""
    done = answer("simulate", *SMALL, "--bits", "2", "--max-weight", str(2**32 - 1))
    assert done["exact"]
