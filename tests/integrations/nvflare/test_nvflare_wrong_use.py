"""What is wrong is said where it is, whose it is, and what to do."""

from __future__ import annotations

import copy
import itertools
import re
import subprocess
import sys
from datetime import date, datetime
from enum import Enum
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.shareable import ReservedHeaderKey
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.workflows.fedavg import FedAvg

import secagg
from secagg import FixedPoint, Integer, Plan, Privacy
from secagg.errors import InputError, ParameterError, PolicyRefused, WireError
from secagg.integrations.model import Entries
from secagg.integrations.nvflare import SecAggFedAvg, SecAggFilter, carry, secure
from secagg.integrations.nvflare.given import Received
from secagg.integrations.nvflare.policy import SitePolicy
from secagg.integrations.terms import Terms
from secagg.types import PartyId
from secagg.wire.frame import Announce, DigestOnly
from tests.integrations.nvflare.world import (
    KEY,
    TRAIN,
    Cell,
    Context,
    EventType,
    FilterKey,
    FLContextKey,
    MetaKey,
    ReturnCode,
    World,
    cells,
    controller,
    expected,
    filters,
    leaves,
    make_reply,
    moves,
    played,
    result,
)

ROOT = Path(__file__).parent.parent.parent.parent
START = {KEY: np.zeros(3, np.float32)}


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secagg.integrations.nvflare.server._PATIENCE", 0.0)
    monkeypatch.setattr("secagg.integrations.nvflare.server._PAUSE", 0.0)
    monkeypatch.setattr("secagg.integrations.nvflare.server._BEGINS", 0.0)


def run(
    folder: Path, monkeypatch: Any, step: Any = moves, make: Any = filters, **given: Any
) -> Any:
    world = World(cells(4, folder, step, make))
    made = controller(world, monkeypatch, **given)
    return made, played(made, START), world


def test_sites_whose_job_has_no_filter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of theirs is asked for."""
    world = World(cells(4, folder, moves, lambda: []))
    made = controller(world, monkeypatch, timeouts=0.01)
    with pytest.raises(PolicyRefused, match=r"4 x .*its job has no SecAggFilter.*secure\(recipe"):
        played(made, START)
    assert world.tasks == 0


def test_a_result_that_is_not_masked_is_not_looked_at(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a site that does as it likes."""
    world = World(cells(4, folder, moves, filters))
    world.cells["site-1"].filters.append(PLAIN)
    world.cells["site-1"].listeners.clear()
    made = controller(world, monkeypatch)
    played(made, START)
    assert made.last.count == 3 and "site-1 is not in the sum: it answered outside" in caplog.text


def test_the_log_of_a_sum_names_the_site_that_is_not_in_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def step(name: str, data: Any) -> Any:
        if name == "site-2":
            return result({entry: array * np.nan for entry, array in data.items()})
        return moves(name, data)

    made, *_ = run(folder, monkeypatch, step)
    assert made.last.count == 3
    assert len(re.findall("is not in the sum", caplog.text)) == 1
    assert "site-2 is not in the sum: bad-input: its input does not fit" in caplog.text


def test_a_script_hears_nothing_of_a_tasks_way(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the round is not about a server could tell each site differently, a rate in it."""
    world, heard = World(cells(4, folder, moves, filters)), []
    cell = world.cells["site-1"]
    do = cell.do

    def told(name: str, id: str, task: Any) -> Any:
        task["DXO"]["meta"][MetaKey.FILTER_HISTORY] = ["lr=1"]
        return do(name, id, task)

    def received(task: Any) -> Any:
        heard.append(dict(task["DXO"]["meta"]))
        return from_shareable(task)

    monkeypatch.setattr(cell, "do", told)
    monkeypatch.setattr("tests.integrations.nvflare.world.from_shareable", received)
    made = controller(world, monkeypatch)
    played(made, START)
    assert made.last.count == 4 and len(heard) >= 4
    assert not any(MetaKey.FILTER_HISTORY in meta for meta in heard)


def test_what_a_filter_puts_in_the_place_of_what_was_masked_does_not_leave(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(cells(4, folder, moves, filters))
    world.cells["site-1"].filters.append(PLAIN)
    made = controller(world, monkeypatch)
    played(made, START)
    assert made.last.count == 3 and "a filter that comes after SecAggFilter" in caplog.text
    assert not any(b"hospital" in leaf for one in world.log for leaf in leaves(one))


TASKS = [TRAIN, "peek", "validate", "submit_model", "", "tr*", "*"]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("own", [False, True], ids=["job", "privacy.json"])
def test_no_task_of_any_name_has_an_answer_in_the_clear(
    name: str, own: bool, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Threat row 64: NVFLARE finds a job's filters by the name of a task, and a recipe's executor
    answers to every name. Whatever the data are: a model, or none."""
    [site, *_] = privileged(folder, list) if own else cells(1, folder, moves, filters)
    for asked in (result(START), result({"which": np.ones(1)})):
        told = site.do(name, "x", asked)
        assert told.get_return_code() == ReturnCode.TASK_RESULT_FILTER_ERROR
        assert not any(b"hospital" in leaf for leaf in leaves(told)) and "DXO" not in told
    assert site.raised is None and "secagg: nothing is sent: " in caplog.text


def test_a_task_of_another_name_after_a_round(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next round goes on without harm."""
    world = World(cells(4, folder, moves, filters))
    made = controller(world, monkeypatch)
    played(made, START)
    told = world.cells["site-1"].do("peek", "task 1", result(START))
    assert told.get_return_code() == ReturnCode.TASK_RESULT_FILTER_ERROR and "DXO" not in told
    played(made, {KEY: np.ones(3, np.float32)})
    assert made.last.count == 4


PLAIN = SimpleNamespace(
    process=lambda one, context: moves("site-1", START) if _out(context) else one,
    handle_event=lambda *_: None,
)


def _out(context: Any) -> bool:
    return context.props["__filter_dir__"] == "out"


def test_a_task_outside_of_a_secure_round_is_not_answered(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A plain FedAvg, or a workflow that asks for the models of single sites."""
    world = World(cells(4, folder, moves, filters))
    seen: list[Any] = []
    model = FLModel("FULL", START, start_round=0, current_round=0, total_rounds=1)
    world.broadcast(TRAIN, model, list(world.cells), seen.append)
    [*results] = world.log[1:]
    assert not seen and {one.get_return_code() for one in results} == {
        ReturnCode.TASK_RESULT_FILTER_ERROR
    }
    assert not any(b"hospital" in leaf for one in results for leaf in leaves(one))
    asked = result({"which": np.ones(1)})
    told = world.cells["site-1"].do("submit_model", "x", asked)
    assert told.get_return_code() == ReturnCode.TASK_RESULT_FILTER_ERROR
    assert "answers in secure rounds only, and the task 'submit_model'" in caplog.text
    assert "the job is made without secure(recipe, ...)" in caplog.text


def privileged(folder: Path, job: Any, **floors: Any) -> list[Cell]:
    """Sites with a privacy.json: its component hears events, its filters come first."""
    return [
        Cell(f"site-{i}", folder, moves, job(), "job", filters(), [SecAggFilter(**floors)])
        for i in range(1, 5)
    ]


def test_a_sites_own_policy_is_enough(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the job brings filters or not."""
    for place, job in enumerate((list, filters)):
        world = World(privileged(folder / str(place), job))
        made = controller(world, monkeypatch)
        played(made, START)
        assert made.last.count == 4


def test_a_sites_own_policy_is_above_the_jobs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(privileged(folder, lambda: filters(min_clients=3), max_clip=0.25))
    with pytest.raises(PolicyRefused, match="4 x .*the server's clip=0.25 would do"):
        played(controller(world, monkeypatch), START)
    assert world.tasks == 0


def test_a_job_does_not_loosen_a_site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that names no protocols agrees to those that protect, whatever a job names."""
    job = lambda: filters(protocols=["plainsum"])  # noqa: E731
    plain = {"protocol": "plainsum", "corrupt": 0, "dropout": 0}
    made = controller(World(privileged(folder / "site", job)), monkeypatch, **plain)
    with pytest.raises(PolicyRefused, match="4 x .*agreed to is only none"):
        played(made, START)
    own = controller(World(cells(4, folder / "job", moves, job)), monkeypatch, **plain)
    played(own, START)
    assert own.last.count == 4


POLICIES = [
    SitePolicy(min_clients, dropout, protocols, clip)
    for min_clients, dropout in [(2, None), (4, 0.1), (2, "1/10"), (2, Fraction(1, 5)), (3, "0.2")]
    for protocols in [None, ("secagg", "plainsum"), ("plainsum",)]
    for clip in [None, 0.1]
]


def test_two_policies_are_as_strict_as_each() -> None:
    """Threat row 64: in every respect, and whichever comes first."""
    plans = [
        Terms(clip, 16, 10, protocol=protocol, corrupt=0, dropout=dropout).plan(
            5, Entries(START), {}
        )
        for clip in (0.1, 0.2)
        for dropout in (0.1, 0.2)
        for protocol in ("plainsum", "secagg")
    ]
    agreed = {one: [agrees(one, made) for made in plans] for one in POLICIES}
    for one, other in itertools.product(POLICIES, repeat=2):
        alone = [a and b for a, b in zip(agreed[one], agreed[other], strict=True)]
        both = one.with_(other)
        assert [agrees(both, made) for made in plans] == alone, (one, other)
        assert both.with_(other) == both.with_(one) == both


def agrees(policy: SitePolicy, plan: Plan) -> bool:
    frame = Announce(
        bytes(16), PartyId(0), (1000,) * len(plan.phases), plan.encode(), DigestOnly(bytes(32))
    )
    try:
        policy.judge(policy.consent.judge(frame, 1).plan)
    except PolicyRefused:
        return False
    return True


def test_floors_stand_anywhere_in_a_sites_policy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its filters hear of no job; and who makes the site known may be the job's own."""
    for place, (components, job) in enumerate(
        [([SecAggFilter()], list), ([SecAggFilter()], filters), ([], filters)]
    ):
        world = World(
            Cell(f"site-{i}", folder / str(place), moves, job(), "job", own, components)
            for i in range(1, 5)
            for own in [[filters(min_clients=10)[0], filters(max_clip=0.01)[1]]]
        )
        with pytest.raises(PolicyRefused, match="4 x .*no fewer than 10"):
            played(controller(world, monkeypatch), START)
        assert world.tasks == 0


def test_floors_of_a_filter_that_was_found_by_nobody(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hold from its first task on."""
    world = World(cells(4, folder, moves, filters))
    for cell in world.cells.values():
        cell.own += filters(max_clip=0.01)
    made = controller(world, monkeypatch)
    played(made, START)
    assert made.last is None
    with pytest.raises(PolicyRefused, match="4 x .*the server's clip=0.01 would do"):
        played(made, START)


class Broken(SecAggFilter):
    """Whose floors cannot be added."""

    def _all_floors(self, fl_ctx: Any) -> SitePolicy:
        raise ValueError("an error of this code, or of the site's set-up")


@pytest.mark.parametrize("first", [False, True])
def test_a_site_whose_floors_cannot_be_added_takes_part_in_nothing(
    first: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NVFLARE logs what a handler raises, and goes on without its floors."""
    world = World(
        cells(4, folder, moves, lambda: [Broken(), *filters()] if first else [*filters(), Broken()])
    )
    made = controller(world, monkeypatch)
    assert all(isinstance(cell.raised, ValueError) for cell in world.cells.values())
    with pytest.raises(PolicyRefused, match=r"4 x .*(could not be added|no SecAggFilter)"):
        played(made, START)
    for name in (TRAIN, "peek"):
        told = world.cells["site-1"].do(name, "x", result(START))
        assert told.get_return_code() != ReturnCode.OK and "DXO" not in told


@pytest.mark.parametrize("dropout", ["1/2", "0.5", Fraction(1, 2), 0.5])
def test_whatever_a_job_writes_the_sites_floors_are_added(
    dropout: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = lambda: filters(max_dropout=dropout)  # noqa: E731
    sites = privileged(folder, job, min_clients=10, max_dropout=0.2)
    assert all(cell.raised is None for cell in sites)
    with pytest.raises(PolicyRefused, match="4 x .*no fewer than 10"):
        played(controller(World(sites), monkeypatch), START)


@pytest.mark.parametrize(
    "field", [FixedPoint(1, 1.0, 16, excess="error"), Integer(1, 9)], ids=["excess", "integer"]
)
def test_a_field_that_refuses_values_is_below_every_floor(field: Any) -> None:
    """Whoever declines says how large its own is: a server reads it, a bit a round."""
    made = secagg.plan(clients=5, fields={"metric:loss": field})
    for policy in (SitePolicy(), SitePolicy(protocols=["secagg"], max_clip=9.0)):
        with pytest.raises(PolicyRefused, match=r"'metric:loss' refuses values .* excess='clip'"):
            policy.judge(made)


def test_a_servers_own_policy_touches_nothing(folder: Path) -> None:
    """A privacy.json may be there too, and its filters see all tasks and results."""
    server = Context(object(), "server", folder, "job")
    made = SecAggFilter()
    made.handle_event(EventType.START_RUN, server)
    for direction in (FilterKey.IN, FilterKey.OUT):
        server.props[FLContextKey.FILTER_DIRECTION] = direction
        task = moves("site-1", START)
        assert made.process(task, server) is task
    assert list(folder.iterdir()) == []


def test_a_task_that_a_site_sends_out_is_not_sent(folder: Path) -> None:
    """As a workflow does in which sites send models to each other; NVFLARE sends what it was given,
    whatever a filter returns."""
    [site, *_] = privileged(folder, list)
    assert site.send("swarm_learn", moves("site-1", START), asked=True) is None
    sent = site.send("swarm_learn", moves("site-1", START), asked=False)
    assert sent is not None and not any(b"hospital" in leaf for leaf in leaves(sent))
    assert sent.get_return_code() == ReturnCode.TASK_RESULT_FILTER_ERROR and "DXO" not in sent
    answered = moves("site-2", START)  # by another site, to a task of this one
    site.context.props[FLContextKey.FILTER_DIRECTION] = FilterKey.IN
    assert site.own[1].process(answered, site.context) is answered


@pytest.mark.parametrize(
    ("floors", "words"),
    [
        ({"min_clients": 4}, "no fewer than 4"),
        ({"max_clip": 0.1}, "clip=0.1"),
        ({"max_dropout": 0.1}, "dropout=0.1"),
        ({"protocols": ["secagg+"]}, r"agreed to is only secagg\+"),
    ],
)
def test_a_plan_below_a_sites_floor(
    floors: dict[str, Any], words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PolicyRefused, match=f"4 x .*{words}"):
        run(folder, monkeypatch, make=lambda: filters(**floors))


def test_another_model_than_the_announced_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A filter before ours that changes it, or a server that sends each site another one."""

    def other(one: Any, context: Any) -> Any:
        if not _out(context):
            one["DXO"]["data"][KEY] = np.ones(3, np.float32)
        return one

    def make() -> list[Any]:
        first = SimpleNamespace(process=other, handle_event=lambda *_: None)
        return [first, *filters()]

    made, _, world = run(folder, monkeypatch, make=make)
    assert made.last is None and "the server announced another model" in caplog.text
    assert world.log[-1].get_return_code() == ReturnCode.TASK_RESULT_FILTER_ERROR


def test_a_model_in_another_order_is_another_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An app that takes a list of the entries would start from another point, and its update would
    be told from those of the others."""
    start = {name: np.full(3, place, np.float32) for place, name in enumerate(("w10", "w2", "w1"))}

    def turned(one: Any, context: Any) -> Any:
        if not _out(context) and context.name == "site-2":
            one["DXO"]["data"] = dict(reversed(one["DXO"]["data"].items()))
        return one

    def make() -> list[Any]:
        return [SimpleNamespace(process=turned, handle_event=lambda *_: None), *filters()]

    made = controller(World(cells(4, folder, moves, make)), monkeypatch)
    played(made, start)
    assert made.last is not None and made.last.count == 3
    assert caplog.text.count("the server announced another model") == 1


def test_the_order_of_a_model_stays_the_servers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order is in which a site returns it: round after round, all see the same."""
    start = {name: np.full(3, place, np.float32) for place, name in enumerate(("w10", "w2", "w1"))}
    seen: list[list[str]] = []

    def step(site: str, model: Any) -> Any:
        seen.append(list(model))
        return moves(site, dict(sorted(model.items())))

    made = controller(World(cells(4, folder, step, filters)), monkeypatch, clip=4.0)
    model = played(made, start, rounds=2)
    assert [*map(tuple, seen)] == [tuple(start)] * 8 and list(model.params) == list(start)
    assert made.last.count == 4
    for place, name in enumerate(start):
        assert np.abs(model.params[name] - place - 2 * expected(range(1, 5))).max() < 1e-3


def weighing(weight: Any) -> Any:
    return lambda site, model: result(model, **{MetaKey.NUM_STEPS_CURRENT_ROUND: weight})


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (lambda site, model: result({"v": model[KEY]}), "is in one of them only"),
        (lambda site, model: result({KEY: np.zeros(4, np.float32)}), "of the trained model is .4,"),
        (lambda site, model: result({KEY: np.zeros(4)}, diff=True), "has another shape"),
        (lambda site, model: result({KEY: np.full(3, np.nan, np.float32)}), "NaN"),
        (lambda site, model: make_reply(ReturnCode.EXECUTION_EXCEPTION), "EXECUTION_EXCEPTION"),
        (weighing(-1357), "below 0"),
        (weighing(1.357), "whole number"),
        (weighing(float("inf")), "whole number"),
        (weighing("1357 x"), "is a number"),
        (weighing(10**400), "is a number"),
    ],
)
def test_a_result_that_is_none_stays_at_the_site(
    step: Any,
    words: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The site's own log says why, without a value; the server hears that the input is bad."""
    made, model, world = run(folder, monkeypatch, step, max_weight=1000)
    said = [r.getMessage() for r in caplog.records if "cannot be in the sum" in r.getMessage()]
    assert len(said) == 4 and all(re.search(words, one) for one in said), said
    assert "357" not in caplog.text and "4 bad-input" in caplog.text
    assert made.last is None and np.array_equal(model.params[KEY], START[KEY])
    assert all(one.get_return_code() == ReturnCode.OK for one in world.log)


@pytest.mark.parametrize("metrics", [None, {}, {"loss": [1]}, {"loss": 10**400}, [1], np.ones(2)])
def test_a_metric_that_is_not_there(
    metrics: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def step(site: str, model: Any) -> Any:
        return result(model, **{MetaKey.INITIAL_METRICS: metrics})

    run(folder, monkeypatch, step, metrics={"loss": 1.0})
    assert "the result has no metric 'loss' that is a number" in caplog.text


@pytest.mark.parametrize("diff", [False, True])
def test_what_is_beyond_all_numbers_is_cut_and_not_declined(
    diff: bool, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server has chosen the model and the rate: it would see whose has overflown, and so read
    how large an element, or a metric, of one site is. The site's own log says it."""

    def step(site: str, model: Any) -> Any:
        far, told = (np.inf, -np.inf) if site == "site-1" else (0.0, 0.0)
        params = {KEY: np.full(START[KEY].shape, far)}
        params = params if diff else {KEY: (START[KEY] + params[KEY]).astype(np.float32)}
        metrics = {MetaKey.INITIAL_METRICS: {"loss": told}}
        return result(params, diff=diff, **metrics)

    caplog.set_level("INFO")
    made, model, _ = run(folder, monkeypatch, step, metrics={"loss": 2.0}, clip=0.5)
    assert made.last.count == 4 and model.metrics["loss"] == pytest.approx(-0.5, abs=1e-4)
    assert model.params[KEY] - START[KEY] == pytest.approx(0.125, abs=1e-4)
    assert "elements of update are beyond the clip" in caplog.text


class Tensor:
    """As a library's that numpy half knows."""

    dtype = "torch.float32"

    def detach(self) -> Any:
        return self


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ({"n": np.int64(3)}, "nothing to average"),
        ({"c": np.zeros(2, np.complex64)}, "entry 'c' of the model is complex64"),
        ({"t": Tensor()}, "entry 't' of the model is a Tensor: .*ExchangeFormat.NUMPY"),
        ({"w8": np.zeros(2, np.dtype("V1"))}, "entry 'w8' .*float16, float32 or float64"),
        ({}, "a dict of arrays by name"),
        ({3: np.zeros(2)}, "a dict of arrays by name"),
    ],
)
def test_a_model_without_a_mean(
    start: Any, words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = controller(World(cells(4, folder, moves, filters)), monkeypatch)
    with pytest.raises(InputError, match=words):
        played(made, start)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"clip": 0}, "clip must be above 0"),
        ({"bits": 1}, "bits"),
        ({"max_weight": 0}, "max_weight"),
        ({"metrics": ["loss"]}, "maps the name of a metric to its clip"),
        ({"timeouts": 0}, "timeouts"),
        ({"num_clients": 2}, "2 clients are too few.*4 sites, a recipe's min_clients=4, would do"),
        ({"aggregator": object()}, "aggregator has no place.*the result of each site"),
        ({"aggregation_weights": {"site-1": 2.0}}, "a site's weight is its own"),
        ({"exclude_vars": "b"}, "leave it out there"),
        ({"enable_tensor_disk_offload": True}, "never kept"),
        ({"privacy": object()}, "privacy has no place.*a server of one's own.*docs/privacy.md"),
    ],
)
def test_numbers_that_cannot_be(given: dict[str, Any], words: str) -> None:
    """They are said when the job is made."""
    given = {"clip": 0.5, "max_weight": 10, "num_clients": 4, "dropout": 0.25, **given}
    with pytest.raises(ParameterError, match=words) as caught:
        SecAggFedAvg(**given)
    assert not re.search(r"servers=|\bclients=", str(caught.value))


def recipe_of(controller: Any) -> Any:
    flow = SimpleNamespace(controller=controller)
    app = SimpleNamespace(app_config=SimpleNamespace(workflows=[flow]))
    job = SimpleNamespace(
        _deploy_map={"server": app}, job=SimpleNamespace(), set_app_packages=lambda names: None
    )
    added: list[Any] = []

    def add(made: Any, tasks: Any) -> None:
        added.append((made, tasks))

    return SimpleNamespace(
        _job=job, flow=flow, added=added, add_client_input_filter=add, add_client_output_filter=add
    )


def test_a_recipe_is_changed_in_its_controller_and_its_filters() -> None:
    recipe = recipe_of(FedAvg(num_clients=4, num_rounds=7, persistor_id="mine", patience=3))
    assert secure(recipe, clip=0.5, max_weight=10, dropout=0.25) is recipe
    made = recipe.flow.controller
    assert isinstance(made, SecAggFedAvg)
    kept = (made.num_clients, made.num_rounds, made._persistor_id, made.patience, made.clip)
    assert kept == (4, 7, "mine", 3, 0.5)
    assert recipe._job.job.min_clients == made.survivors == 3
    assert [tasks for _, tasks in recipe.added] == [["train"], ["train"]]


def test_differential_privacy_is_said_to_be_elsewhere() -> None:
    recipe = recipe_of(FedAvg(num_clients=4))
    with pytest.raises(ParameterError, match=r"secagg\.Privacy\(.*docs/privacy\.md"):
        secure(recipe, clip=0.5, max_weight=10, privacy=Privacy(1.0, 1e-5, rounds=1))  # type: ignore[arg-type]
    assert type(recipe.flow.controller) is FedAvg


def test_a_recipe_of_another_workflow() -> None:
    other = type("Scaffold", (FedAvg,), {})
    for recipe in (recipe_of(other(num_clients=4)), SimpleNamespace()):
        with pytest.raises(
            ParameterError, match="goes around a recipe of FedAvg.*(Scaffold|not a SimpleNam)"
        ):
            secure(recipe, clip=0.5, max_weight=10)


def test_a_recipe_is_secured_once() -> None:
    recipe = secure(recipe_of(FedAvg(num_clients=4)), clip=0.5, max_weight=10, dropout=0.25)
    with pytest.raises(ParameterError, match="already secure"):
        secure(recipe, clip=0.5, max_weight=10, dropout=0.25)
    assert len(recipe.added) == 2


def test_a_recipes_class_is_no_recipe() -> None:
    with pytest.raises(ParameterError, match="not the class SimpleNamespace: pass an instance"):
        secure(SimpleNamespace, clip=0.5, max_weight=10)


def test_without_nvflare_the_extra_is_named() -> None:
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'nvflare' else find(name, *a)\n"
        "import secagg.integrations.nvflare"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert "MissingExtra: secagg.integrations.nvflare needs nvflare" in done.stderr
    assert "pip install 'secagg[nvflare]'" in done.stderr


def test_all_of_a_task_that_may_tell_sites_apart_is_what_the_round_is_about() -> None:
    """A site that is told to train at another rate, or that this round is the last, would tell its
    own update from those of the others."""

    def about(rate: Any = 0.5, rounds: int = 5) -> bytes:
        return of(task_of(rate, num_rounds=rounds))

    rates: list[Any] = [np.float32(0.5), np.float32(0), np.zeros(1), np.zeros(2), [np.float32(1)]]
    rates += [b"0", b"1", {1}, {2}, {1, 2}, [1, 2], (1, 2), {1: 2}, {"1": 2}, {(1, 2): 2}, "1", 1]
    rates += [1.0, True, None, ["set", 1], {"a": {1}}, {"a": {2}}, date(2020, 1, 1), ReturnCode.OK]
    rates += [date(2020, 1, 2), datetime(2020, 1, 1), datetime(2020, 1, 1, 1), Mood.WELL, Mood.ILL]
    assert len({about(), about(rounds=1), *map(about, rates)}) == 2 + len(rates)
    assert all(about(rate) == about(copy.deepcopy(rate)) for rate in rates)
    assert about({"a": 1, "b": 2}) != about({"b": 2, "a": 1})
    assert about({"a", "b", "c"}) == about({"c", "b", "a"})
    deep: Any = 0.5
    for _ in range(40):
        deep = [deep]
    assert about(deep) != about([deep])
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(InputError, match="have a list inside 50 others"):
        about(deep)
    for odd in (object(), [object()], {"a": object()}, {object()}, 1j):
        with pytest.raises(
            InputError, match="meta data or headers have a (object|complex), of which"
        ):
            about(odd)


def test_arrays_of_one_content_that_read_otherwise_are_two_tasks() -> None:
    """NVFLARE carries an array with its type, in whose order of bytes the same ones are another
    number, and with the order of its elements; what has names of its own is refused."""
    for kind in ("i2", "u4", "i8", "f2", "f4", "f8", "U2"):
        little = np.arange(6).astype(f"<{kind}").reshape(2, 3)
        big = np.frombuffer(little.tobytes(), f">{kind}").reshape(2, 3)
        told = [of(task_of(one)) for one in (little, big, np.asfortranarray(little))]
        told += [of(task_of(one)) for one in (little[0, 0], little[0], little.T.copy())]
        assert len(set(told)) == len(told)
    assert of(task_of(np.array(1, "M8[s]"))) != of(task_of(np.array(1, "M8[D]")))
    alike = [0.5, np.float64(0.5), np.array(0.5), np.array([0.5])]
    assert len({of(task_of(one)) for one in alike}) == len(alike)
    for names in (["lr", "decay"], ["decay", "lr"]):
        record = np.zeros(1, [(name, "<f8") for name in names])
        for odd in (record, record[0], np.zeros(1, "V8"), np.zeros(1, object)):
            with pytest.raises(InputError, match="have a (ndarray|void) of (void|object)"):
                of(task_of(odd))


def test_entries_of_a_model_that_read_otherwise_are_two_tasks() -> None:
    """A list is not what an array is to a script, nor are elements in another order in memory."""
    whole = np.arange(6, dtype=np.float32).reshape(2, 3)
    swapped = whole.astype(">f4")
    models = [whole, np.asfortranarray(whole), swapped, whole.astype(np.float64)]
    told = [DXO(DataKind.WEIGHTS, data={KEY: one}).to_shareable() for one in models]
    rows = [np.array([1.0, 2.0]), [1.0, 2.0], (1.0, 2.0), [np.float64(1), 2.0]]
    told += [DXO(DataKind.WEIGHTS, data={KEY: one}).to_shareable() for one in rows]
    for task in told:
        task.set_header(AppConstants.CURRENT_ROUND, 1)
    assert len({of(task) for task in told}) == len(told)


def task_of(rate: Any = 0.5, kind: Any = DataKind.WEIGHTS, **headers: Any) -> Any:
    task = DXO(kind, data=START, meta={"lr": rate}).to_shareable()
    task.set_header(AppConstants.CURRENT_ROUND, 1)
    for header, value in headers.items():
        task.set_header(header, value)
    return task


def of(task: Any) -> bytes:
    return Received.of(task, "id", "job", TRAIN).about


def test_every_header_and_entry_of_a_task_is_bound_but_for_its_way() -> None:
    """Whatever a script could be told it by: the kind of model, what is to be validated, a name."""
    told = [task_of(), task_of(kind=DataKind.WEIGHT_DIFF), task_of(kind=DataKind.METRICS)]
    words = ("_validate_type", "submit_model_name", "site_name", "job_id", "of_a_later_release")
    told += [task_of(**{name: value}) for name in words for value in ("a", "b")]
    for place in (None, "DXO"):
        for value in (1, 2):
            task = task_of()
            (task if place is None else task[place])["more"] = value
            told.append(task)
    assert len({of(task) for task in told}) == len(told)
    way = {getattr(ReservedHeaderKey, name): name for name in ("TASK_ID", "COOKIE_JAR", "PEER_CTX")}
    assert of(task_of(**way)) == of(task_of())
    for number in (-1, 1 << 32, 1.0, True, None):
        with pytest.raises(InputError, match="of which round"):
            of(task_of(current_round=number))
    odd = task_of()
    odd["DXO"]["kind"] = 3
    with pytest.raises(InputError, match="no model"):
        of(odd)


class Mood(Enum):
    WELL = 1
    ILL = 2


@pytest.mark.parametrize("bad", [np.array([1, 2]), np.array(1), "1", True, 1.0, None, [1], {}])
@pytest.mark.parametrize("where", ["version", "step", "refused", "frames"])
def test_what_a_peer_puts_anywhere_is_refused_by_its_kind(where: str, bad: Any) -> None:
    """WireError and nothing else: anything else would end the job, and not the one that sent it."""
    request = carry.asking(carry.STEPS[0], [b"frame"])
    request[carry.KEY] = {**request[carry.KEY], "refused": "no", where: bad}
    for read in (carry.read, carry.refused, carry.frames_of):
        try:
            read(request)
        except WireError:
            continue
        assert where != "version" and (where, read) not in {
            ("step", carry.read),
            ("frames", carry.frames_of),
        }


@pytest.mark.parametrize(
    "bad",
    [
        lambda reply: reply.set_return_code(np.arange(3)),
        lambda reply: reply.set_return_code(np.array("OK")),
        lambda reply: reply.set_return_code(["OK"]),
        lambda reply: reply.set_return_code({}),
        lambda reply: reply.set_return_code(None),
        lambda reply: reply.pop("__headers__"),
        lambda reply: reply.update(__headers__=[1]),
        lambda reply: reply.update(__headers__=np.arange(2)),
        lambda reply: reply.update(__headers__=None),
        lambda reply: reply.update(secagg=np.arange(3)),
        lambda reply: reply.update(secagg={"version": 1, "refused": np.arange(3)}),
        lambda reply: reply.update(secagg={"version": 1, "frames": np.arange(3)}),
        lambda reply: reply.update(secagg={"version": 1, "frames": [np.bytes_(b"x")]}),
        lambda reply: reply.clear(),
    ],
)
def test_a_reply_of_any_kind_costs_the_site_that_sent_it(
    bad: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(World):
        def send_aux_request(self, targets: Any, *args: Any, **more: Any) -> Any:
            replies = super().send_aux_request(targets, *args, **more)
            if targets == ["site-1"]:
                bad(replies["site-1"])
            return replies

    made = controller(Odd(cells(4, folder, moves, filters)), monkeypatch)
    played(made, START)
    assert made.last is not None and made.last.count == 3


@pytest.mark.parametrize("reply", [1, "x", [1], np.arange(3), b"x"])
def test_a_reply_that_is_no_message_has_no_return_code(reply: Any) -> None:
    assert carry.code_of(reply) == ""


def test_a_peers_words_are_one_line_of_a_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As it says why it takes no part, and as the code of its reply."""
    words = "x\n2026-01-01 INFO secagg: 4 sites in the sum\x1b[2J\u202e" + "y" * 100_000

    class Loud(World):
        def send_aux_request(self, targets: Any, *args: Any, **more: Any) -> Any:
            if targets == ["site-1"]:
                return {"site-1": carry.refusal(words)}
            if targets == ["site-2"]:
                return {"site-2": make_reply(words)}
            return super().send_aux_request(targets, *args, **more)

    made = controller(Loud(cells(6, folder, moves, filters)), monkeypatch, dropout="1/3", corrupt=0)
    played(made, START)
    assert made.last.count == 4
    [*said] = [one for one in caplog.messages if "x\\n2026-01-01" in one]
    assert len(said) == 2 and all(len(one) < 600 and one.isprintable() for one in said)


def test_a_site_has_no_key_for_active_mode_and_says_so() -> None:
    """It would be refused later, by rounds that have no membership: here is what would do."""
    fields = {"update": FixedPoint(4, 1.0, 8)}
    made = secagg.plan(clients=6, fields=fields, dropout="0.1", adversary="active")
    with pytest.raises(PolicyRefused, match="--identity"):
        SitePolicy().judge(made)
