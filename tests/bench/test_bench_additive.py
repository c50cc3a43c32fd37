"""The benchmark of additive sums at tiny sizes: columns, exactness, ratios. No timing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from bench import additive, common, figures
from bench.common import Missing, Row, Selection
from secagg import records
from secagg.effects import Write
from secagg.errors import IntegrityError, ParameterError, StorageError
from secagg.fields import FixedPoint
from secagg.plans import choose
from secagg.store.memory import MemoryStore


class Inline:
    """Instead of a process, which would not know what a test has changed."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, work: Any, *args: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*args))
        return done


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(additive, "ProcessPoolExecutor", Inline)


def run(rows: str) -> dict[str, Any]:
    result = common.run(additive, Selection.parse(rows))
    json.dumps(result, allow_nan=False)
    return result


def test_the_same_batch_in_memory_and_on_disk() -> None:
    """The last group is not full, and every report is in the sum."""
    result = run("n=10,d=50,servers=3,group=4")
    memory, disk = result["rows"]
    assert (memory["store"], disk["store"]) == ("memory", "sqlite")
    for row in (memory, disk):
        assert row["exact"] and row["reports"] == 10 and len(row["servers_ms"]) == 3
        assert min(row["servers_ms"]) > 0 and row["server_ratio"] > 0 and row["client_ms"] > 0
        assert row["server_ms"] == pytest.approx(sum(row["servers_ms"]) / 3, abs=1e-3)
        # start, two for each of the three groups, agree, lock
        assert row["commits"] == [1 + 2 * 3 + 2] * 3
    assert result["ratios"] == {"upload": None, "server": None}
    assert "d=100000" in result["reasons"]["upload"]


def test_a_batch_of_one_group_has_one_round_of_commits() -> None:
    (row,) = run("n=5,d=20,servers=2,store=memory,group=64")["rows"]
    assert row["commits"] == [5, 5] and len(row["servers_ms"]) == 2


@pytest.mark.parametrize(("d", "met"), [(50, False), (20_000, True)])
def test_upload_is_what_the_plan_says_and_the_bar_is_told_with_it(d: int, met: bool) -> None:
    (row,) = run(f"n=4,d={d},servers=5,store=memory")["rows"]
    fields = {"update": FixedPoint(d, 1.0, additive.BITS)}
    plan = choose.plan(clients=4, fields=fields, protocol="additive", servers=5)
    assert row["upload_bytes"] == plan.upload_bytes
    assert row["packed_bytes"] == plan.layout.packed_size
    assert row["upload_bar"] == int(1.01 * plan.layout.packed_size) + 500
    assert row["upload_met"] is met
    assert row["upload_ratio"] == plan.upload_bytes / plan.layout.packed_size


def test_the_ratios_are_of_the_largest_batch_of_the_headline_size() -> None:
    """Not of the durable rows, nor of those of another length or number of servers."""
    headline: Row = {**additive.CASE, "n": 1000, "upload_ratio": 1.001, "server_ratio": 1.5}
    others: list[Row] = [
        headline | {"n": 256, "server_ratio": 1.0},
        headline | {"n": 9999, "d": 10, "server_ratio": 8.0},
        headline | {"n": 9999, "servers": 5, "server_ratio": 0.5},
        headline | {"n": 9999, "store": "sqlite", "server_ratio": 3.0},
    ]
    assert additive.ratios([headline, *others]) == {"upload": 1.001, "server": 1.5}
    assert isinstance(additive.ratios(others[1:])["server"], Missing)


def test_the_grid_has_the_headline_and_the_bars_are_known() -> None:
    assert additive.CASE | {"n": 10_000, "group": 64} in additive.GRID
    assert figures.AT_MOST["additive", "server"] == 2
    assert figures.AT_MOST["additive", "upload"] == 1.01


def test_a_wrong_sum_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients add another level than was drawn: servers and reference agree all the same."""
    encode = records.encode

    def off_by_one(*arguments: Any) -> records.Encoded:
        encoded = encode(*arguments)
        encoded.vector[0][0] = 0
        return encoded

    monkeypatch.setattr(records, "encode", off_by_one)
    with pytest.raises(IntegrityError, match="no figure counts"):
        run("n=4,d=20,servers=2,store=memory")


def test_a_reference_that_skips_a_vector_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    add = additive._Reference.add

    def lazy(self: additive._Reference, reports: Sequence[tuple[bytes, bytes]]) -> None:
        add(self, reports[1:])

    monkeypatch.setattr(additive._Reference, "add", lazy)
    with pytest.raises(IntegrityError, match="no figure counts"):
        run("n=4,d=20,servers=2,store=memory")


def test_no_answer_leaves_before_its_rows_are_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that fails: no receipt reaches a client, so no row of the benchmark hides a loss."""

    class Full(MemoryStore):
        def commit(self, writes: Sequence[Write]) -> None:
            if any(write.key[17:18] == b"r" for write in writes):
                raise StorageError("the disk is full")
            super().commit(writes)

    monkeypatch.setattr(additive, "MemoryStore", Full)
    with pytest.raises(StorageError, match="full"):
        run("n=4,d=20,servers=2,store=memory")


def test_another_store_is_named() -> None:
    with pytest.raises(ParameterError, match="memory or sqlite"):
        run("n=4,d=20,servers=2,store=tape")
