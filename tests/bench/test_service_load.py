"""The runs of a service under load: their oracle, their network, their bars; and each run, tiny."""

from __future__ import annotations

import asyncio
import io
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import (
    common,
    service,
    service_chaos,
    service_flood,
    service_idle,
    service_load,
    service_over,
    service_soak,
    service_storm,
)
from bench.common import Missing, Row, Selection
from bench.service_ground import Tasked
from bench.service_oracle import check, payload, slots
from bench.service_proxy import KINDS, proxy
from secagg.errors import IntegrityError
from tests.soak import SOAK

TASK = Tasked("sums", range(3, 9), 6, 40)
NONCE = bytes.fromhex("0a0b0c0d")


def result(folder: Path, members: list[int], change: Any = None) -> Path:
    """As the service would leave it, of these inputs."""
    found = {
        "sum.slot": sum(slots(one - 3, 6) for one in members),
        "sum.payload": sum(payload(one, NONCE, 34) for one in members),
    }
    if change is not None:
        change(found)
    made = io.BytesIO()
    np.savez(made, **found)
    path = folder / f"sums-{NONCE.hex()}.npz"
    path.write_bytes(made.getvalue())
    return path


def test_the_oracle_knows_whose_sum_it_is(tmp_path: Path) -> None:
    assert check(TASK, result(tmp_path, [3, 5, 8])) == [3, 5, 8]


def _twice(found: dict[str, Any]) -> None:
    found["sum.slot"] = found["sum.slot"] + slots(0, 6)


def _one_more(found: dict[str, Any]) -> None:
    found["sum.payload"] = found["sum.payload"] + np.eye(1, 34, 33, np.int64)[0]


def _without(found: dict[str, Any]) -> None:
    found["sum.payload"] = found["sum.payload"] - payload(5, NONCE, 34)


def _negative(found: dict[str, Any]) -> None:
    found["sum.payload"][0] -= 1 << 40


def _of_fewer(found: dict[str, Any]) -> None:
    found["sum.slot"] = found["sum.slot"][:5]


@pytest.mark.parametrize("wrong", [_twice, _one_more, _without, _negative, _of_fewer])
def test_and_refuses_every_other(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError):
        check(TASK, result(tmp_path, [3, 5, 8], wrong))


@pytest.mark.parametrize("kind", KINDS)
async def test_the_network_does_the_harm_that_it_is_named_after(kind: str) -> None:
    sent, got, over = bytes(range(256)) * 32, bytearray(), asyncio.Event()

    async def taking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                got.extend(data)
                if len(got) >= 2 * len(sent):
                    break
        except OSError:
            pass
        over.set()
        writer.close()

    server = await asyncio.start_server(taking, "127.0.0.1", 0)
    target = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(30):
        with proxy(kind, target, rate=1.0) as between:
            between.longest = 0.01
            reader, writer = await asyncio.open_connection("127.0.0.1", between.port)
            writer.write(sent)
            if kind in ("delay", "slice", "corrupt"):
                while len(got) < len(sent):
                    await asyncio.sleep(0.01)
            elif kind in ("drop", "duplicate"):
                while between.faults < 2 or (kind == "duplicate" and len(got) < 2 * len(sent)):
                    await asyncio.sleep(0.01)
            else:
                with pytest.raises((OSError, asyncio.IncompleteReadError)):
                    await reader.readexactly(1)
            writer.transport.abort()
            await over.wait()
        server.close()
    bits = sum((a ^ b).bit_count() for a, b in zip(got, sent, strict=False))
    whole = {"delay": got == sent, "slice": got == sent, "drop": not got, "cut": not got}
    whole |= {"duplicate": len(got) == 2 * len(sent), "corrupt": bits == between.faults > 0}
    assert whole[kind]


FULL: dict[str, tuple[Any, list[Row], dict[str, float]]] = {
    "load": (
        service_load,
        [{"n": 1000, "d": 100_000, "seconds": 30.0, "server_peak": 350 << 20}],
        {"seconds": 0.5, "memory": 0.5},
    ),
    "idle": (
        service_idle,
        [{"links": 5000, "n": 500, "server_rss": 1000 << 20}],
        {"memory": 2.0},
    ),
    "storm": (service_storm, [{"n": 1000, "down": 3, "p99": 12.5}], {"p99": 0.5}),
    "over": (
        service_over,
        [{"n": 100, "times": 3, "refused_p99": 0.5, "goodput": 0.8}],
        {"refused": 0.5, "goodput": 1.0},
    ),
}


@pytest.mark.parametrize("name", FULL)
def test_bars_are_of_the_full_size_only(name: str) -> None:
    module, full, expected = FULL[name]
    assert module.ratios(full) == expected
    assert all(isinstance(one, Missing) for one in module.ratios([]).values())


def test_the_worst_kind_of_a_flood_is_its_figure() -> None:
    quiet = {"links": 1000, "slowdown": 1.0, "connect_p99": 0.1, "rss_more": 0, "log_bytes": 0}
    rows = [quiet | {"kind": kind} for kind in service_flood.KINDS]
    rows[2] |= {"slowdown": 3.0, "log_bytes": 2 << 20}
    found = service_flood.ratios(rows)
    assert (found["round"], found["connect"], found["log"]) == (1.5, 0.2, 2.0)
    assert isinstance(found["handshakes_round"], Missing)
    assert isinstance(service_flood.ratios(rows[1:])["round"], Missing)
    rows[0] |= {"links": 10}
    assert isinstance(service_flood.ratios(rows)["round"], Missing)


def test_what_is_flat_rises_by_a_twentieth_at_most() -> None:
    row: Row = {"rounds": 1000, "rss_rise": 2e7, "rss_begin": 2e8, "file_rise": -5.0}
    row |= {"file_begin": 1e6, "descriptors_rise": 1.9, "descriptors_begin": 20.0}
    assert service_soak.ratios([row]) == {"rss": 2.0, "descriptors": 0.0, "file": 0.0}


def test_chaos_counts_what_its_oracle_has_found() -> None:
    rows: list[Row] = [{"kind": "cut", "violations": 0, "done": 3, "ended": 4}]
    found = service_chaos.ratios(rows)
    assert (found["violations"], found["done_cut"]) == (0.0, 0.75)


TINY = {
    "load": "n=10,d=200,deadline=2,processes=1",
    "idle": "links=24,n=10,d=200,rate=100",
    "storm": "n=12,down=0.5",
    "flood": "kind=pings,links=40,sources=4,rounds=3,newcomers=4",
    "over": "n=10,d=100,seconds=3",
    "chaos": "kind=cut,rounds=3",
    "soak": "rounds=20,warm=5",
}


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_run(name: str) -> None:
    """A server, its fleet and whatever stands between: seconds of processor time each, so that only
    the first runs where a suite gates."""
    if name != "load" and not SOAK:
        pytest.skip("in make soak")
    benchmark = import_module(service.RUNS[name])
    found = common.run(benchmark, Selection.parse(TINY[name]))
    json.dumps(found, allow_nan=False)
    assert found["rows"]
