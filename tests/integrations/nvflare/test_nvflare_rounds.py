"""Rounds of FedAvg over sites: the plain mean within the bound, whoever drops, and nothing told."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from secagg.errors import PolicyRefused, Spent, StorageError
from secagg.integrations.nvflare import LearntClip, SecAggFilter, carry
from secagg.store.ledger import SqliteLedger
from tests.integrations.nvflare.world import (
    INPUT,
    KEY,
    KEYS,
    STEPS,
    TRAIN,
    UNMASK,
    EventType,
    MetaKey,
    ReturnCode,
    World,
    cells,
    controller,
    expected,
    filters,
    from_shareable,
    leaves,
    moves,
    number_of,
    played,
    result,
)

START = {KEY: np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)}
ROUNDING = 2.0**-22
NEVER = lambda site, step: False  # noqa: E731


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that is lost is not asked twice."""
    monkeypatch.setattr("secagg.integrations.nvflare.server._PATIENCE", 0.0)
    monkeypatch.setattr("secagg.integrations.nvflare.server._PAUSE", 0.0)
    monkeypatch.setattr("secagg.integrations.nvflare.server._BEGINS", 0.0)


def world_of(folder: Path, step: Any = moves, count: int = 4, **floors: Any) -> World:
    return World(cells(count, folder, step, lambda: filters(**floors)))


def bound(made: Any) -> float:
    assert made.last is not None
    return made.last.report.error_bounds["update"] + ROUNDING


def test_the_mean_of_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Round after round, and the metric that was asked for."""
    world = world_of(folder)
    made = controller(world, monkeypatch, metrics={"accuracy": 1.0})
    model = played(made, START, rounds=3)
    distance = np.abs(model.params[KEY] - START[KEY] - 3 * expected(range(1, 5))).max()
    assert distance <= 3 * bound(made) and model.params[KEY].dtype == np.float32
    assert made.last.weight == sum(48_611 + i for i in range(1, 5))
    accuracy = np.average([i / 8 for i in range(1, 5)], weights=[48_611 + i for i in range(1, 5)])
    assert model.metrics == {"accuracy": pytest.approx(accuracy, abs=1e-6)}


@pytest.mark.parametrize("step", STEPS)
def test_a_site_drops(step: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is asked for an input and does not give it is out; one that does not unmask is
    in."""
    world = world_of(folder)
    made = controller(world, monkeypatch, timeouts=0.01 if step == KEYS else None)
    world.fate = lambda site, at: site == "site-2" and at == step
    model = played(made, START)
    left = [1, 2, 3, 4] if step == UNMASK else [1, 3, 4]
    distance = np.abs(model.params[KEY] - START[KEY] - expected(left)).max()
    assert distance <= bound(made) and made.last.count == len(left)


def test_sites_that_are_not_reached_have_not_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that refuses beside them does not end a job before its first sum."""
    world = World(cells(4, folder, moves, lambda: [SecAggFilter(min_clients=1000)]))
    made = controller(world, monkeypatch, timeouts=0.01)
    world.fate = lambda site, at: number_of(site) < 4
    model = played(made, START)
    assert made.last is None and np.array_equal(model.params[KEY], START[KEY])
    world.fate = NEVER
    with pytest.raises(PolicyRefused, match="4 x secagg: the announced plan"):
        played(made, START)


def test_beyond_the_dropout_the_model_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next round has a sum again."""
    world = world_of(folder)
    made = controller(world, monkeypatch)
    world.fate = lambda site, at: at == TRAIN and number_of(site) < 3
    model = played(made, START)
    assert made.last is None and np.array_equal(model.params[KEY], START[KEY])
    world.fate = NEVER
    model.current_round = 1
    made.send_model(TRAIN, model, list(world.cells), callback=made.aggregator.accept_model)
    assert made.aggregator.aggregate_model().params and made.last.count == 4


def test_no_message_has_a_count_a_metric_or_a_word_of_a_site(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(folder)
    made = controller(world, monkeypatch, metrics={"accuracy": 1.0})
    played(made, START)
    sent = [leaf for message in world.log for leaf in leaves(message)]
    assert len(world.log) == 1 + 4 * (2 * 4 + 1)
    own = [leaf for i in range(1, 5) for leaf in leaves(moves(f"site-{i}", START))]
    told = {leaf for leaf in own if leaf.startswith((b"4861", b"0.", b"'hospital"))}
    trained = {leaf for leaf in own if len(leaf) == START[KEY].nbytes}
    assert len(told) == 4 + 4 + 1 + 1 and len(trained) == 4
    assert [
        w for w in told | trained | {b"secret", b"who"} if any(w in leaf for leaf in sent)
    ] == []


def test_a_result_is_frames_and_nothing_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of(folder)
    played(controller(world, monkeypatch), START)
    results = [m for m in world.log if "DXO" in m and KEY not in m["DXO"]["data"]]
    assert len(results) == 4
    for one in results:
        dxo = from_shareable(one)
        assert list(dxo.data) == [carry.KEY] and dxo.meta == {}
        assert set(dxo.data[carry.KEY]) == {"version", "frames"}


def test_a_difference_is_as_good_as_a_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Integers stay what the server sent."""
    start = {**START, "batches": np.int64(7), "half": np.zeros(3, np.float16)}

    def step(site: str, model: Any) -> Any:
        moved = {n: np.full_like(model[n], number_of(site) / 16) for n in (KEY, "half")}
        return result(moved, diff=True)

    made = controller(world_of(folder, step), monkeypatch, max_weight=1)
    model = played(made, start)
    assert np.abs(model.params[KEY] - START[KEY] - 10 / 64).max() <= bound(made)
    assert model.params["half"].dtype == np.float16 and model.params["batches"] == 7


@pytest.mark.parametrize(("most", "weight"), [(10, 6), (1, 3)])
def test_a_site_without_examples_is_not_in_the_sum(
    folder: Path, monkeypatch: pytest.MonkeyPatch, most: int, weight: int
) -> None:
    """Where all weigh alike, its model as it was would count, too."""

    def step(site: str, model: Any) -> Any:
        return result(model, **{MetaKey.NUM_STEPS_CURRENT_ROUND: number_of(site) - 1})

    made = controller(world_of(folder, step), monkeypatch, max_weight=most)
    played(made, START)
    assert made.last is not None and (made.last.count, made.last.weight) == (3, weight)
    assert [fault.value for fault in made.last.report.faults.values()] == ["quit"]


def test_the_clip_follows_what_was_cut(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = controller(world_of(folder), monkeypatch, clip=LearntClip(0.125))
    played(made, START, rounds=2)
    assert made.aggregator.terms.clip == 0.25 * 0.8 or made.aggregator.terms.clip == 0.5
    assert "were beyond their clip" in caplog.text


def test_a_request_that_is_repeated_is_answered_alike(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reply may have been lost on the way."""
    world = world_of(folder)
    send, seen = world.send_aux_request, []

    def twice(*given: Any, **more: Any) -> Any:
        first = send(*copy.deepcopy(given[:3]), *given[3:], **more)
        seen.append((first, send(*given, **more)))
        return seen[-1][1]

    monkeypatch.setattr(world, "send_aux_request", twice)
    made = controller(world, monkeypatch)
    played(made, START)
    assert made.last.count == 4 and len(seen) == 16
    assert all(first == second for first, second in seen)


def test_a_site_is_asked_once_its_run_has_begun(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would log what it is asked before as an error. One that never asks for a task is asked all
    the same, in a while: NVFLARE may have other ways."""
    world = world_of(folder)
    made = controller(world, monkeypatch)
    came: set[str] = set()
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        for name in ("site-1", "site-2", "site-3"):
            if name not in came and clock[0] > number_of(name):
                peer = SimpleNamespace(get_identity_name=lambda name=name: name)
                at = SimpleNamespace(get_peer_context=lambda peer=peer: peer)
                made.handle_event(EventType.BEFORE_PROCESS_TASK_REQUEST, at)
                came.add(name)

    asked: list[tuple[str, bool]] = []

    def fate(site: str, step: str) -> bool:
        asked.append((site, site in came or clock[0] >= 120))
        return False

    world.fate = fate
    monkeypatch.setattr("secagg.integrations.nvflare.server._BEGINS", 120.0)
    monkeypatch.setattr("secagg.integrations.nvflare.server._PAUSE", 0.25)
    ours = SimpleNamespace(sleep=sleep, monotonic=lambda: clock[0])
    monkeypatch.setattr("secagg.integrations.nvflare.server.time", ours)
    played(made, START, rounds=2)
    assert made.last.count == 4 and all(ready for _, ready in asked) and clock[0] < 130


def test_a_job_that_is_aborted_waits_for_nobody(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither for a site to begin, nor for one to answer."""
    world = world_of(folder)
    made = controller(world, monkeypatch)
    slept: list[float] = []
    monkeypatch.setattr("secagg.integrations.nvflare.server._BEGINS", 120.0)
    ours = SimpleNamespace(sleep=slept.append, monotonic=lambda: 100.0 * len(slept))
    monkeypatch.setattr("secagg.integrations.nvflare.server.time", ours)
    aborted = SimpleNamespace(triggered=True)
    monkeypatch.setattr(type(world.new_context()), "get_run_abort_signal", lambda self: aborted)
    for came in ((), world.cells):
        made.aggregator._sites.came.update(came)
        world.fate = lambda site, step: True
        caplog.clear()
        played(made, START)
        assert "4 x it did not answer (COMMUNICATION_ERROR)" in caplog.text
    assert not slept and world.tasks == 0


def test_a_site_that_was_started_again_is_a_dropout(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As the simulator does between tasks with fewer threads than clients."""
    world = world_of(folder)

    def again(site: str, at: str) -> bool:
        if at == TRAIN and site == "site-3":
            [world.cells[site]] = [c for c in cells(4, folder, moves, filters) if c.name == site]
        return False

    world.fate = again
    made = controller(world, monkeypatch)
    played(made, START)
    assert made.last.count == 3 and "as many num_threads as clients" in caplog.text


def test_one_round_of_a_job_has_one_sum(
    disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The ledger is on the disk of the site: a second start of the job, at other processes, is
    refused before anything masked leaves."""
    made = controller(world_of(disk), monkeypatch)
    played(made, START)
    again = world_of(disk)
    second = controller(again, monkeypatch)
    played(second, START)
    assert made.last.count == 4 and second.last is None
    assert "said this before, in other words" in caplog.text
    assert all(carry.KEY not in str(m.get("DXO", "")) for m in again.log)
    assert (disk / "site-1" / "secagg" / "ledger.sqlite").is_file()


@pytest.mark.parametrize("step", [KEYS, TRAIN, UNMASK])
def test_a_site_whose_disk_refuses_the_mark_does_not_answer(
    step: str, disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Why, and where, is said in its own log only."""
    world = world_of(disk)

    def claim(*_: Any) -> None:
        raise StorageError("/of-the-hospital: the claim was not stored: No space left on device")

    def full(site: str, at: str) -> bool:
        if at == step:
            monkeypatch.setattr(SqliteLedger, "claim_all", claim)
        return False

    world.fate = full
    made = controller(world, monkeypatch)
    if step == KEYS:
        with pytest.raises(PolicyRefused, match="4 x .*in this client's own log"):
            played(made, START)
    else:
        played(made, START)
    said = [m for m in world.log if "refused" in m.get(carry.KEY, {})]
    results = [m for m in world.log if m.get_return_code() != ReturnCode.OK]
    assert made.last is None and len(said) + len(results) == 4
    assert caplog.text.count("/of-the-hospital") == 4
    assert not any(b"hospital" in leaf for one in world.log for leaf in leaves(one))


def test_what_is_asked_out_of_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input before it is asked for, a second one, and a word after the last."""
    world = world_of(folder)
    from secagg.integrations.nvflare.site import site_of

    def early(site: str, at: str) -> bool:
        if at == INPUT:
            with pytest.raises(Spent, match="does not know the round"):
                site_of(world.cells[site]).give(lambda offer: None)
        return False

    world.fate = early
    made = controller(world, monkeypatch)
    played(made, START)
    assert made.last.count == 4
    for cell in world.cells.values():
        with pytest.raises(Spent, match="does not know the round"):
            site_of(cell).give(lambda offer: None)
