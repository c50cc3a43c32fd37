"""Three `secagg serve`, clients that `join` and a `secagg collect`: files in, a mean out."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from secagg.cli import app
from secagg.plans.task import Task
from tests.cli import contract
from tests.processes.fleet import (
    LENGTH,
    LIMIT,
    Command,
    Commands,
    Fleet,
    Nursery,
    free_ports,
    plain_sum,
)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Commands]:
    with closing(Commands(tmp_path)) as commands:
        yield commands


def told(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert isinstance(data, dict)
    return data


def test_files_in_and_a_mean_out(start: Commands, tmp_path: Path) -> None:
    """The whole of docs/several-servers.md, with a leader that is stopped and resumes."""
    public = [told("keys", "--out", tmp_path / f"{i}.key")["public"] for i in range(3)]
    collector = told("keys", "--out", tmp_path / "c.key", "--collector")
    task = tmp_path / "task"
    keys = [word for key in public for word in ("--server", key)]
    keys += ["--collector", collector["public"], "--epoch", "1"]
    sizes = ["--clients", "3", "--length", "30", "--dropout", "0"]
    made = told("task", *sizes, *keys, "--out", task)

    ports = free_ports(3)
    urls = [f"ws://127.0.0.1:{port}" for port in ports]

    def server(index: int) -> Command:
        role = ["--role", "helper"] if index else ["--role", "leader", "--peer", urls[1]]
        peers = [] if index else ["--peer", urls[2]]
        files = ["--task", task, "--key", tmp_path / f"{index}.key"]
        files += ["--store", tmp_path / f"{index}.sqlite", "--port", ports[index]]
        files += ["--port-file", tmp_path / f"{index}.port"]
        return start("serve", *role, *peers, *files, "--deadline", LIMIT, "--json")

    servers = [server(index) for index in range(3)]
    vectors = [np.linspace(-1, 1, 30) * (i + 1) / 3 for i in range(3)]
    for i, values in enumerate(vectors):
        np.save(tmp_path / f"{i}.npy", values)

    def client(i: int, *pin: object) -> Command:
        vector = ["--input", tmp_path / f"{i}.npy", "--task", task]
        return start("join", urls[0], *vector, *pin, "--json")

    first, err = client(0).answer()
    assert first["stored"] and first["bytes_up"] == made["plan"]["upload_bytes"]
    assert Task.decode(task.read_bytes()).plan.explain() in err and made["digest"] in err
    servers[0].signal(signal.SIGTERM)
    stopped, _ = servers[0].answer(code=143)
    assert stopped["batches"] == [] and stopped["server"] == 0
    servers[0] = server(0)
    for process in [client(i, "--task-digest", made["digest"]) for i in (1, 2)]:
        data, err = process.answer()
        assert data["stored"] and err == ""
        contract.check("join --task", data)

    files = ["--out", tmp_path / "mean.npy", "--sum", tmp_path / "sum.npy"]
    key = ["--task", task, "--key", tmp_path / "c.key"]
    got, _ = start("collect", *urls, *key, *files, "--json").answer()
    contract.check("collect", got)
    assert got["contributors"] == 3 and got["exact"] is None and got["weight"] == 3
    bound = got["error_bounds"]["update"]
    mean = np.load(tmp_path / "mean.npy", allow_pickle=False)
    assert np.abs(mean - sum(vectors) / 3).max() <= bound
    assert np.allclose(np.load(tmp_path / "sum.npy", allow_pickle=False), mean * 3)
    for index, process in enumerate(servers):
        data, err = process.answer()
        contract.check("serve --role", data)
        assert "batch 0: its sum is locked" in err
        assert data["server"] == index and [b["error"] for b in data["batches"]] == [None]
        assert data["task_digest"] == made["digest"]
    assert (data["exact"], data["client_seconds"]) == (None, None)
    # the epoch is over: the store says so to whoever starts the server again
    refused, _ = server(1).answer(code=2)
    assert refused["error"] == "PolicyRefused"


async def test_clients_that_vanish_after_sending_are_in_the_sum(tmp_path: Path) -> None:
    async with Nursery.open() as nursery:
        fleet = Fleet(nursery, tmp_path)
        await fleet.start_all()
        await fleet.report_all(range(4))  # each has closed its link when it returns
        total = await fleet.collect()
        assert total.count == 4 and total.levels["update"].tolist() == plain_sum(range(4))
        assert len(total.levels["update"]) == LENGTH
        await fleet.stop()


async def test_a_server_that_is_missing_is_named_and_there_is_no_sum(
    tmp_path: Path, start: Commands
) -> None:
    """Row 65: after the lock, without server 2; and again when it is back."""
    async with Nursery.open() as nursery:
        fleet = Fleet(nursery, tmp_path)
        await fleet.start_all({2: {"die": "before", "message": "total", "count": 1}})
        await fleet.report_all(range(4))
        key = ["--task", tmp_path / "task", "--key", tmp_path / "collector.key"]
        out = ["--out", tmp_path / "mean.npy", "--timeout", 2, "--json"]
        refused, err = start("collect", *fleet.urls, *key, *out).answer(code=1)
        assert refused["error"] == "Aborted" and "server 2" in refused["message"], err
        assert not (tmp_path / "mean.npy").exists()
        assert await fleet.children[2].ended() == -signal.SIGKILL
        await fleet.start(2)
        total = await fleet.collect()
        assert total.levels["update"].tolist() == plain_sum(range(4))
        await fleet.stop()


async def test_a_second_server_on_a_store_is_refused(tmp_path: Path) -> None:
    """Row 94, and a store of another server."""
    async with Nursery.open() as nursery:
        fleet = Fleet(nursery, tmp_path)
        await fleet.start(1)
        await listening(fleet, 1)
        first = fleet.children[1]
        second = await fleet.nursery.start(
            fleet.command(1), tmp_path / "second.out", tmp_path / "second.err", []
        )
        assert await second.ended() == 2
        why = await second.answer()
        assert why["error"] == "StorageError" and "in use by another server" in why["message"]
        first.kill(signal.SIGTERM)
        assert await first.ended() == 143
        shutil.copy(fleet.store(1), fleet.store(2))
        other = await fleet.start(2)
        assert await other.ended() == 2
        assert "another server" in (await other.answer())["message"]


async def listening(fleet: Fleet, index: int) -> None:
    async with asyncio.timeout(LIMIT):
        while "port" not in fleet.children[index].errors:
            await asyncio.sleep(0.01)


async def test_a_backup_of_one_server_does_not_agree(tmp_path: Path) -> None:
    """Row 98: put back with its mark, without which it does not open (specs/03-storage.md §1.9), it
    has forgotten reports that the others have, and nothing is summed."""
    async with Nursery.open() as nursery:
        fleet = Fleet(nursery, tmp_path)
        await fleet.start_all()
        await fleet.report_all([0])
        fleet.children[1].kill(signal.SIGTERM)
        await fleet.children[1].ended()
        for name in ("1.sqlite", "1.sqlite-mark"):
            shutil.copy(tmp_path / name, tmp_path / f"backup-of-{name}")
        await fleet.start(1, {"die": "after", "row": "included", "count": 2})
        await fleet.report_all([1, 2])
        assert await fleet.children[1].ended() == -signal.SIGKILL
        for file in tmp_path.glob("1.sqlite*"):
            file.unlink()
        shutil.copy(tmp_path / "backup-of-1.sqlite", fleet.store(1))
        shutil.copy(tmp_path / "backup-of-1.sqlite-mark", tmp_path / "1.sqlite-mark")
        await fleet.start(1)
        await fleet.report_all([3])
        (batch,) = (await fleet.children[1].answer())["batches"]
        assert batch["error"] == "integrity" and "server 0" in fleet.children[1].errors
        await fleet.children[0].answer()
        assert "server 1" in fleet.children[0].errors
