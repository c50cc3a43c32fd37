"""keys, task and inspect, and what serve --role, join --task and collect refuse at once."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from secagg import simulate
from secagg.cli import app, keyfile
from secagg.committee import ServerSecrets, opening_secret
from secagg.drive.collecting import Keep
from secagg.errors import InputError, PolicyRefused
from secagg.fields import FixedPoint, Integer
from secagg.plans import choose
from secagg.plans.task import Task
from secagg.types import Seed
from secagg.wire.frame import payload_digest
from tests.cli import contract

SIZES = ["--clients", "5", "--length", "30", "--bits", "12", "--dropout", "0.4"]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def told(*arguments: object) -> dict[str, object]:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert isinstance(data, dict)
    if (name := str(arguments[0])) in contract.KEPT["json"]:
        contract.check(name, data)
    return data


def refusal(*arguments: object) -> str:
    result = call(*arguments, "--json")
    assert result.exit_code == 2, result.output
    return str(json.loads(result.stdout)["message"])


def make_keys(folder: Path, servers: int = 3) -> tuple[list[str], str]:
    """server0.key and on, and collector.key; the public keys of the servers and the collector."""
    public = [
        str(told("keys", "--out", folder / f"server{i}.key")["public"]) for i in range(servers)
    ]
    collector = told("keys", "--out", folder / "collector.key", "--collector")["public"]
    return public, str(collector)


def make_task(folder: Path, *arguments: object, servers: int = 3) -> Path:
    public, collector = make_keys(folder, servers)
    named = [word for key in public for word in ("--server", key)]
    file = folder / "task"
    told("task", *SIZES, *named, "--collector", collector, "--epoch", 7, "--out", file, *arguments)
    return file


def test_keys_are_for_their_owner_only_and_never_replaced(tmp_path: Path) -> None:
    """Row 101: mode 0600 whatever the umask is, and no file is overwritten unasked."""
    file = tmp_path / "a.key"
    before = os.umask(0)
    try:
        public = str(told("keys", "--out", file)["public"])
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secrets = keyfile.read_server(file)
    assert public == (secrets.public.sealing + secrets.public.signing).hex()
    kept = file.read_bytes()
    assert "--force" in refusal("keys", "--out", file) and file.read_bytes() == kept
    again = call("keys", "--out", file, "--force")
    assert again.exit_code == 0 and again.stdout.strip() != public
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["a.key"], "no draft with a secret is left"
    for word in (secrets.opening.expose().hex(), secrets.signing.expose().hex()):
        assert word in kept.decode() and word not in again.output


def test_a_collector_key_opens_what_its_public_key_seals(tmp_path: Path) -> None:
    public = str(told("keys", "--out", tmp_path / "c.key", "--collector")["public"])
    assert len(public) == 64
    assert keyfile.public(keyfile.read_collector(tmp_path / "c.key")).hex() == public


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o601])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    """Row 101, with what to do about it."""
    keyfile.write_server(tmp_path / "a.key", ServerSecrets.generate(), force=False)
    (tmp_path / "a.key").chmod(mode)
    with pytest.raises(PolicyRefused, match="chmod it to 600"):
        keyfile.read_server(tmp_path / "a.key")


def test_each_kind_of_key_is_no_other(tmp_path: Path) -> None:
    keyfile.write_server(tmp_path / "a.key", ServerSecrets.generate(), force=False)
    keyfile.write_collector(tmp_path / "c.key", opening_secret(), force=False)
    with pytest.raises(InputError, match="is a server's key"):
        keyfile.read_collector(tmp_path / "a.key")
    with pytest.raises(InputError, match="is a collector's key"):
        keyfile.read_server(tmp_path / "c.key")
    with pytest.raises(InputError, match="not a regular file"):
        os.mkfifo(tmp_path / "pipe", 0o600)
        held = os.open(tmp_path / "pipe", os.O_RDWR)  # else opening it would wait for a writer
        try:
            keyfile.read_server(tmp_path / "pipe")
        finally:
            os.close(held)


def test_a_key_file_has_one_spelling(tmp_path: Path) -> None:
    """A file that was cut, edited or put together is no key, and no message quotes it."""
    keyfile.write_server(tmp_path / "a.key", ServerSecrets.generate(), force=False)
    whole = (tmp_path / "a.key").read_bytes()
    head, digits = whole.split(b"\n")[:2]
    broken = [whole[:end] for end in range(len(whole))]
    broken += [whole + b"\n", whole + b"x", b"\n" + whole, head + b"\r\n" + digits + b"\n"]
    broken += [whole.replace(b"version 1", b"version 2"), head + b"\n" + b"G" * 128 + b"\n"]
    broken += [head + b"\n" + digits[:-1] + b" \n", head + b"\n" + b"AB" * 64 + b"\n"]
    for data in broken:
        with pytest.raises(InputError) as caught:
            keyfile.parse(data)
        assert digits.decode()[:16] not in str(caught.value)
    assert isinstance(keyfile.parse(whole), ServerSecrets)


def test_a_task_of_one_server_is_refused_with_what_takes_its_plan(tmp_path: Path) -> None:
    """By every command of several servers; `join` takes either kind."""
    keyfile.write_server(tmp_path / "a.key", ServerSecrets.generate(), force=False)
    keyfile.write_collector(tmp_path / "c.key", opening_secret(), force=False)
    plan = choose.plan(clients=10, fields={"u": FixedPoint(4, 1.0, 8)})
    (tmp_path / "one.task").write_bytes(Task(plan).encode())
    task, url = ("--task", tmp_path / "one.task"), "ws://127.0.0.1:9"
    key, store = ("--key", tmp_path / "a.key"), ("--store", tmp_path / "a.sqlite")
    for command in (
        ("serve", "--role", "helper", *task, *key, *store),
        ("collect", url, *task, "--key", tmp_path / "c.key", "--out", tmp_path / "sum.npy"),
    ):
        assert "which has one server" in (said := refusal(*command)) and "with the plan" in said


def test_a_task_holds_the_plan_the_keys_and_the_payload(tmp_path: Path) -> None:
    (tmp_path / "payload").write_bytes(b"what to compute")
    file = make_task(tmp_path, "--payload", tmp_path / "payload", "--max-weight", 3)
    task = Task.decode(file.read_bytes())
    keys = [keyfile.read_server(tmp_path / f"server{i}.key") for i in range(3)]
    assert list(task.committee.servers) == [k.public for k in keys], "the leader is the first"
    assert task.committee.epoch == 7 and task.payload_digest == payload_digest(b"what to compute")
    assert task.plan == choose.plan(
        clients=5,
        fields={"update": FixedPoint(30, 1.0, 12)},
        dropout="0.4",
        max_weight=3,
        servers=3,
    )
    collector = keyfile.read_collector(tmp_path / "collector.key")
    assert task.committee.collector == keyfile.public(collector)

    shown = told("inspect", file)
    assert shown["kind"] == "task" and shown["digest"] == task.digest().hex()
    assert shown["server_keys"] == [keyfile.public(key).hex() for key in keys]
    assert isinstance(shown["plan"], dict) and shown["plan"]["servers"] == 3


def test_a_task_of_a_plan_that_exists_explains_it_and_is_not_replaced(tmp_path: Path) -> None:
    assert (
        call("plan", *SIZES, "--servers", 2, "--direct", "--out", tmp_path / "plan").exit_code == 0
    )
    public, collector = make_keys(tmp_path, 2)
    rest = ["--collector", collector, "--epoch", 1, "--out", tmp_path / "task"]
    both = ["--server", public[0], "--server", public[1]]
    result = call("task", "--plan", tmp_path / "plan", *both, *rest)
    assert result.exit_code == 0, result.output
    task = Task.decode((tmp_path / "task").read_bytes())
    assert task.plan.explain() in result.stdout and task.digest().hex() in result.stdout
    assert task.plan.params.direct
    plan = ["task", "--plan", tmp_path / "plan"]
    assert "--force" in refusal(*plan, *both, *rest)
    fresh = [*rest[:-1], tmp_path / "other"]
    assert "2 servers" in refusal(*plan, *both, "--server", make_keys_of_one(tmp_path), *fresh)
    assert "not both" in refusal(*plan, "--clients", 5, *both, *fresh)
    assert "--plan FILE, or" in refusal("task", *both, *fresh)
    assert "a key occurs twice" in refusal(*plan, *both[:2], *both[:2], *fresh)
    assert "public key of server 0" in refusal(*plan, "--server", "ab", *both[2:], *fresh)
    assert "public key of the collector" in refusal(
        *plan, *both, *["--collector", "zz"], *fresh[2:]
    )
    assert not (tmp_path / "other").exists()


def make_keys_of_one(folder: Path) -> str:
    return str(told("keys", "--out", folder / "third.key")["public"])


def test_inspect_shows_the_public_half_of_a_key(tmp_path: Path) -> None:
    """So that an operator finds again what `keys` printed; nothing of the secret is shown."""
    seeds = [Seed(bytes(range(start, start + 32))) for start in (1, 101)]
    keyfile.write_server(tmp_path / "a.key", ServerSecrets(*seeds), force=False)
    keyfile.write_collector(tmp_path / "c.key", seeds[0], force=False)
    for name, kind, size in (("a.key", "server", 128), ("c.key", "collector", 64)):
        result = call("inspect", tmp_path / name)
        assert kind in result.stdout and not any(s.expose().hex() in result.output for s in seeds)
        assert len(str(told("inspect", tmp_path / name)["public"])) == size


def test_a_server_knows_who_it_is_from_its_key(tmp_path: Path) -> None:
    """Nothing is opened and no port is bound before all of this is right."""
    task = make_task(tmp_path)
    told("keys", "--out", tmp_path / "stranger.key")
    store = tmp_path / "store"

    def server(role: str, key: str, *more: object) -> str:
        files = ["--task", task, "--key", tmp_path / key, "--store", store]
        return refusal("serve", "--role", role, *files, *more)

    peers = ["--peer", "ws://127.0.0.1:1", "--peer", "ws://127.0.0.1:2"]
    assert "not the key of any" in server("helper", "stranger.key")
    assert "server 1: its role is helper" in server("leader", "server1.key", *peers)
    assert "server 0: its role is leader" in server("helper", "server0.key")
    assert "each of the 2 helpers" in server("leader", "server0.key", *peers[:2])
    assert "--peer is the leader's" in server("helper", "server1.key", *peers)
    assert "collector's key" in server("helper", "collector.key")
    assert "sizes from the --task" in server("helper", "server1.key", "--clients", 5)
    (tmp_path / "server1.key").chmod(0o644)
    assert "chmod it to 600" in server("helper", "server1.key")
    (tmp_path / "server1.key").chmod(0o600)
    assert "needs --task, --key and --store" in refusal("serve", "--role", "helper")
    assert "comes with a --role" in refusal("serve", *SIZES, "--task", task)
    assert "--clients, --length and --bits" in refusal("serve")
    cut = tmp_path / "cut"
    cut.write_bytes(task.read_bytes()[:-1])
    files = ["--key", tmp_path / "server1.key", "--store", store]
    assert "payload digest" in refusal("serve", "--role", "helper", "--task", cut, *files)
    assert not store.exists()


def test_a_client_takes_its_task_from_no_server(tmp_path: Path) -> None:
    """A server that hands out the keys of all servers could be every one of them."""
    task = make_task(tmp_path)
    np.save(tmp_path / "v.npy", np.zeros(30))
    join = ["join", "ws://127.0.0.1:9", "--input", tmp_path / "v.npy"]
    plan = tmp_path / "plan"
    plan.write_bytes(Task.decode(task.read_bytes()).plan.encode())
    for words in (["--plan", plan], ["--task-digest", "00" * 32], ["--payload", plan]):
        assert "could be all of them at once" in refusal(*join, *words)
    assert "could be all" in refusal("join", "ws://127.0.0.1:9", *join[1:])
    assert "leave out --plan" in refusal(*join, "--task", task, "--plan", plan)
    other = refusal(*join, "--task", task, "--task-digest", "00" * 32)
    assert Task.decode(task.read_bytes()).digest().hex() in other and "get the file again" in other
    assert "64 hexadecimal digits" in refusal(*join, "--task", task, "--task-digest", "00")
    assert "needs 1 URLs, and 2" in refusal("join", "ws://127.0.0.1:9", *join[1:], "--task", task)
    assert "v.npy is not" not in refusal(*join, "--task", tmp_path / "v.npy")


def test_a_client_of_direct_servers_reaches_each_of_them(tmp_path: Path) -> None:
    task = make_task(tmp_path, "--direct")
    np.save(tmp_path / "v.npy", np.zeros(30))
    one = ["join", "ws://127.0.0.1:9", "--input", tmp_path / "v.npy", "--task", task]
    assert "needs 3 URLs, and 1" in refusal(*one)


def test_the_collector_needs_every_server_and_its_own_key(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    three = [f"ws://127.0.0.1:{port}" for port in (1, 2, 3)]
    key = ["--key", tmp_path / "collector.key"]
    assert "needs 3 URLs, and 2" in refusal("collect", *three[:2], "--task", task, *key)
    server = ["--key", tmp_path / "server0.key"]
    assert "is a server's key" in refusal("collect", *three, "--task", task, *server)
    told("keys", "--out", tmp_path / "other.key", "--collector")
    other = ["--key", tmp_path / "other.key"]
    assert "secret key of the collector" in refusal("collect", *three, "--task", task, *other)


def test_a_file_of_one_vector_is_for_a_plan_of_one_field(tmp_path: Path) -> None:
    fields = {"a": Integer(4, 9), "b": Integer(4, 9)}
    made = choose.plan(clients=5, fields=fields, servers=2)
    (tmp_path / "plan").write_bytes(made.encode())
    public, collector = make_keys(tmp_path, 2)
    task = tmp_path / "task"
    named = [word for key in public for word in ("--server", key)]
    keys = [*named, "--collector", collector, "--epoch", 0, "--out", task]
    told("task", "--plan", tmp_path / "plan", *keys)
    np.save(tmp_path / "v.npy", np.zeros(4))
    vector = ["--input", tmp_path / "v.npy"]
    assert "2 fields" in refusal("join", "ws://127.0.0.1:9", *vector, "--task", task)


def collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *words: object, lose: bool = False
) -> tuple[Result, list[str]]:
    """`secagg collect` of a sum that is there; lose: its folder goes while it is on its way."""
    task = make_task(tmp_path)
    plan = Task.decode(task.read_bytes()).plan
    total = simulate(plan, {i: {"update": np.full(30, i / 8)} for i in range(5)})
    told: list[str] = []

    async def collect(*arguments: object, keep: Keep, **options: object) -> None:
        if lose:
            (tmp_path / "folder").rmdir()
        keep(total)
        told.append("every server may go")

    monkeypatch.setattr("secagg.cli.collect.collect_totals", collect)
    three = [f"ws://127.0.0.1:{port}" for port in (1, 2, 3)]
    files = ["--task", task, "--key", tmp_path / "collector.key", *words]
    return call("collect", *three, *files, "--json"), told


def test_a_sum_that_cannot_be_written_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies elsewhere, and the servers do not hear that they may go."""
    spare = tmp_path / "spare"
    for folder in (spare, tmp_path / "folder"):
        folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    words = ["--out", tmp_path / "folder" / "mean.npy", "--sum", tmp_path / "sum.npy"]
    result, told = collected(tmp_path, monkeypatch, *words, lose=True)
    data = json.loads(result.stdout)
    assert (result.exit_code, told) == (1, []) and data["contributors"] == 5
    assert data["sum"] == str(tmp_path / "sum.npy") and (tmp_path / "sum.npy").exists()
    assert Path(data["out"]).is_relative_to(spare) and data["out"] in result.stderr
    assert np.abs(np.load(data["out"]) - 0.25).max() < 1e-2

    (tmp_path / "folder").mkdir()
    for file in tmp_path.glob("*.key"):
        file.unlink()
    (tmp_path / "task").unlink()
    result, told = collected(tmp_path, monkeypatch, *words)
    assert (result.exit_code, len(told)) == (0, 1) and (tmp_path / "folder" / "mean.npy").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--out", "none/m.npy"], "is not a folder"),
        (["--sum", "none/m.npy"], "is not a folder"),
        (["--out", "m.csv"], "a .npy file"),
        (["--out", "m.npy", "--sum", "m.npy"], "--out and --sum are the same file"),
        (["--timeout", "nan"], "--timeout must be"),
        (["--timeout", "0"], "--timeout must be"),
    ],
)
def test_collect_refuses_before_a_server_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result, told = collected(tmp_path, monkeypatch, *words)
    assert (result.exit_code, told) == (2, []) and says in result.stderr


def test_options_that_a_plan_would_silence_are_refused(tmp_path: Path) -> None:
    assert call("plan", *SIZES, "--servers", 2, "--out", tmp_path / "plan").exit_code == 0
    public, collector = make_keys(tmp_path, 2)
    words = [word for key in public for word in ("--server", key)]
    words += ["--collector", collector, "--epoch", 1, "--out", tmp_path / "t"]
    for more in (["--bits", 12], ["--direct"], ["--dropout", 0.4], ["--clients", 5]):
        message = refusal("task", "--plan", tmp_path / "plan", *words, *more)
        assert message.startswith(f"{more[0]} is already in the --plan")
