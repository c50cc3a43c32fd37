"""Whole rounds over a grid: the mean is the plain one, whoever drops out and wherever."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Error
from flwr.serverapp.strategy import FedAvg

from secagg.errors import ParameterError, PolicyRefused
from secagg.integrations.flower import LearntClip, NodePolicy, SecAgg, from_flower
from secagg.integrations.flower.model import About, Model, configured, payload
from secagg.integrations.terms import METRIC, Terms
from secagg.plans.plan import Plan
from tests.integrations.flower.world import (
    Array,
    ArrayRecord,
    ConfigRecord,
    LocalGrid,
    Message,
    MetricRecord,
    RecordDict,
    arrays,
    identify,
    modded,
    model,
    nodes,
    secured,
    trainer,
)

MODEL = {
    "weight": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4),
    "bias": np.zeros(4, np.float64),
    "half": np.ones(3, np.float16),
    "scale": np.float32(0.5).reshape(()),
    "none": np.zeros((0, 4), np.float32),
    "batches": np.int64(3).reshape(()),
}
FIRST = 1000
WHAT = About(7, "train", 1, "num-examples", b"")


def moved(node: int, received: dict[str, Any]) -> dict[str, Any]:
    draw = np.random.default_rng(node)
    return {
        name: (a + draw.uniform(-0.1, 0.1, a.shape)).astype(a.dtype) if a.dtype.kind == "f" else a
        for name, a in received.items()
    }


def weight(node: int) -> int:
    return node - FIRST + 1


def loss(node: int) -> float:
    return (node - FIRST) / 8


TRAIN = trainer(moved, weight, train_loss=loss, private=loss)


def evaluate(message: Message, context: Any) -> Message:
    told = {"num-examples": weight(context.node_id), "accuracy": loss(context.node_id)}
    return Message(RecordDict({"metrics": MetricRecord(told)}), reply_to=message)


def expected(places: list[int], of: dict[str, Any] = MODEL) -> dict[str, Any]:
    """Plainly: the model moved by the weighted mean difference of these nodes."""
    total = sum(weight(FIRST + place) for place in places)
    made = {}
    for name, array in of.items():
        each = [
            weight(FIRST + p) / total * (moved(FIRST + p, of)[name].astype(float) - array)
            for p in places
        ]
        made[name] = array + sum(each) if array.dtype.kind == "f" else array
    return made


def run(
    folder: Path,
    fate: Callable[[int, int], bool] = lambda exchange, place: False,
    count: int = 5,
    rounds: int = 1,
    **given: Any,
) -> tuple[Any, SecAgg, LocalGrid]:
    strategy = SecAgg(FedAvg(), **{"clip": 0.2, "max_weight": 10, **given})
    grid = LocalGrid(nodes(count, folder, secured(TRAIN, evaluate)), fate)
    return strategy.start(grid, model(MODEL), num_rounds=rounds), strategy, grid


def check(result: Any, strategy: SecAgg, places: list[int]) -> None:
    assert strategy.last is not None and strategy.last.count == len(places)
    made, plain = arrays(result.arrays), expected(places)
    assert list(made) == list(MODEL)
    for name, array in made.items():
        assert (array.shape, name == "batches" or array.dtype) == (
            MODEL[name].shape,
            name == "batches" or MODEL[name].dtype,
        )
        rounding = np.finfo(array.dtype).eps if array.dtype.kind == "f" else 0
        bound = strategy.last.report.error_bounds["update"] + 2 * float(rounding)
        assert np.abs(array - plain[name]).max(initial=0) <= bound, name


def test_the_model_is_moved_by_the_weighted_mean_and_metrics_are_weighted_means(
    folder: Path,
) -> None:
    result, strategy, _ = run(folder, metrics={"train_loss": 1.0})
    check(result, strategy, [0, 1, 2, 3, 4])
    [metrics] = result.train_metrics_clientapp.values()
    assert set(metrics.keys()) == {"train_loss"} and not result.evaluate_metrics_clientapp
    plain = sum(weight(FIRST + i) * loss(FIRST + i) for i in range(5)) / 15
    assert metrics["train_loss"] == pytest.approx(plain, abs=2e-7)


@pytest.mark.parametrize("stage", range(4))
def test_whoever_drops_at_any_stage_the_sum_is_over_those_that_count(
    folder: Path, stage: int
) -> None:
    """Who has sent its masked input is in the sum, though it says nothing afterwards."""
    result, strategy, grid = run(folder, lambda exchange, place: (exchange, place) == (stage, 1))
    check(result, strategy, [0, 2, 3, 4] if stage < 3 else [0, 1, 2, 3, 4])


def test_a_round_without_a_sum_leaves_the_model_and_the_next_one_goes_on(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    strategy = SecAgg(FedAvg(), clip=0.2, max_weight=10)
    grid = LocalGrid(nodes(5, folder, secured(TRAIN)))
    grid.fate = lambda exchange, place: grid.exchange == 2 and place < 2
    result = strategy.start(grid, model(MODEL), num_rounds=2)
    assert "has no sum: below-threshold" in caplog.text and "dropped: 2 lost" in caplog.text
    check(result, strategy, [0, 1, 2, 3, 4])


@pytest.mark.parametrize("rounds", [1, 2])
def test_without_any_sum_the_model_is_what_it_was(
    folder: Path, rounds: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Flower's loop keeps what was aggregated, and would return no model at all."""
    result, strategy, _ = run(folder, lambda exchange, place: place < 2, rounds=rounds)
    assert strategy.last is None and "no round had a sum" in caplog.text
    made = arrays(result.arrays)
    assert list(made) == list(MODEL)
    assert all(np.array_equal(made[name], MODEL[name]) for name in MODEL)


def test_what_stays_infinite_has_moved_by_nothing(folder: Path) -> None:
    """As a mask of attention, whose difference to itself numpy has as NaN."""
    mask = np.zeros((2, 1 << 16), np.float32)  # longer than what is looked at together
    mask[0, :2], mask[1, -1] = (-np.inf, np.inf), -np.inf
    start = {"w": np.zeros(3), "mask": mask}
    train = trainer(lambda node, m: {"w": m["w"] + 0.0625, "mask": m["mask"]}, weight)
    grid = LocalGrid(nodes(4, folder, secured(train)))
    result = SecAgg(FedAvg(), clip=0.5, max_weight=4).start(grid, model(start), num_rounds=1)
    made = arrays(result.arrays)
    assert made["w"] == pytest.approx(0.0625, abs=1e-5)
    assert np.array_equal(made["mask"], start["mask"])


@pytest.mark.parametrize("wide", [np.float32, np.float64])
def test_what_is_beyond_all_numbers_is_cut_and_not_declined(
    folder: Path, wide: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The server has chosen the model and the rate: it would see whose has overflown, and so read
    how large an element, or a metric, of one node is. The node's own log says it."""
    start = {"w": np.zeros(3, wide), "b": np.full(2, 3e38 if wide is np.float32 else 1.7e308, wide)}

    def step(node: int, m: Any) -> Any:
        with np.errstate(over="ignore"):
            return {"w": m["w"], "b": m["b"] * wide(3) if node == 1000 else -m["b"]}

    caplog.set_level("INFO")
    train = trainer(step, lambda node: 1, loss=lambda node: math.inf if node == 1000 else 0.0)
    grid = LocalGrid(nodes(4, folder, secured(train)))
    strategy = SecAgg(FedAvg(), clip=0.5, max_weight=1, metrics={"loss": 2.0})
    strategy.start(grid, model(start), num_rounds=1)
    assert strategy.last is not None and len(strategy.last.contributors) == 4
    mean = strategy.last.mean
    assert mean["update"] == pytest.approx([-0.25, -0.25, 0, 0, 0], abs=1e-4)
    assert mean[METRIC + "loss"] == pytest.approx(0.5, abs=1e-4)
    assert "elements of update are beyond the clip" in caplog.text


class _Level(enum.IntEnum):
    TWO = 2


class _Mode(str, enum.Enum):
    FAST = "fast"


@pytest.mark.parametrize(
    ("given", "carried"),
    [
        (np.float64(0.1), 0.1),
        ([np.float64(0.1), np.float64(2.5)], [0.1, 2.5]),
        (_Level.TWO, 2),
        (_Mode.FAST, "fast"),
    ],
)
def test_a_configuration_is_the_same_before_and_after_flowers_encoding(
    given: Any, carried: Any
) -> None:
    """Which has no type but its own: of a learning rate that numpy has computed a float is left."""
    of, about = Model.of(model(MODEL)), []
    for value in (given, carried, True, 1, 1.0, "1", b"1", [1], []):
        content = RecordDict({"arrays": model(MODEL), "config": ConfigRecord({"x": value})})
        about.append(payload(of, content, WHAT))
    assert about[0] == about[1] and len(set(about[1:])) == len(about) - 1


def turned(values: dict[str, Any]) -> dict[str, Any]:
    return dict(reversed(values.items()))


def declared(dtype: str, *shape: int) -> ArrayRecord:
    """Beside its bytes, an array says what it is."""
    one = model({"w": np.zeros(6, np.float32)})["w"]
    return ArrayRecord({"w": Array(dtype, shape, one.stype, one.data)})


def test_a_runs_configuration_is_the_same_in_any_order_and_no_other() -> None:
    """Flower carries it as a map. Every other name, value or type is another one."""
    like = {"lr": 0.5, "rounds": 3, "on": True, "folder": "a"}
    others: list[dict[str, Any]] = [
        {},
        {**like, "lr": 0.25},
        {**like, "rounds": 3.0},
        {**like, "on": 1},
        {**like, "more": ""},
        {"rate" if name == "lr" else name: value for name, value in like.items()},
    ]
    assert configured(turned(like)) == configured(like)
    assert len({configured(one) for one in [like, *others]}) == 1 + len(others)
    for wrong in ("lr=1", {"lr": [0.5]}, {"lr": None}, {1: 2}):
        with pytest.raises(ParameterError, match=r"run_config=context\.run_config"):
            configured(wrong)  # type: ignore[arg-type]


_TWO = {"0": np.ones(3, np.float32), "1": np.full(3, 7, np.float32)}
_RATES = {"lr": 0.5, "decay": 0.25}
UNLIKE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "arrays": ({"a": model(_TWO)}, {"a": model(turned(_TWO))}),
    "configuration": ({"c": ConfigRecord(_RATES)}, {"c": ConfigRecord(turned(_RATES))}),
    "metrics": ({"m": MetricRecord(_RATES)}, {"m": MetricRecord(turned(_RATES))}),
    "records": (
        {"c": ConfigRecord(), "d": ConfigRecord()},
        {"d": ConfigRecord(), "c": ConfigRecord()},
    ),
    "declared type": ({"a": declared("float32", 6)}, {"a": declared("float64", 6)}),
    "declared shape": ({"a": declared("float32", 6)}, {"a": declared("float32", 2, 3)}),
}


@pytest.mark.parametrize("unlike", UNLIKE)
def test_what_an_app_could_tell_apart_is_about_something_else(unlike: str) -> None:
    """Names and values may be the same: an app that goes by places, as with to_numpy_ndarrays, has
    another model where two entries stand the other way round."""
    about = []
    for records in UNLIKE[unlike]:
        content = RecordDict({"arrays": model(MODEL)} | records)
        of = Model.of(content["a"] if "a" in records else content["arrays"])
        about.append(payload(of, content, WHAT))
    assert about[0] != about[1]


@pytest.mark.parametrize(
    ("timeouts", "timeout", "waits"),
    [
        (None, 60, 60),
        ({"masked-input": 7200}, 3600, 7200),
        ({"unmask": 7200}, 9000, 9000),
        (9000, 3600, 9000),
    ],
)
def test_what_is_asked_of_an_exchange_is_waited_for(
    folder: Path, timeouts: Any, timeout: float, waits: float
) -> None:
    """Also where `start`, which carries the one that trains, says less: an hour by default."""
    waited = []

    class Timed(LocalGrid):
        def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> Any:
            waited.append(timeout)
            return super().send_and_receive(messages, timeout=timeout)

    strategy = SecAgg(FedAvg(), clip=0.2, max_weight=10, timeouts=timeouts)
    grid = Timed(nodes(4, folder, secured(TRAIN)))
    strategy.start(grid, model(MODEL), 1, timeout, ConfigRecord({"lr": 0.5}))
    assert waited[2] == waits


def test_it_is_said_that_a_function_of_metrics_is_given_the_mean(
    caplog: pytest.LogCaptureFixture,
) -> None:
    own = FedAvg()
    own.evaluate_metrics_aggr_fn = lambda contents, key: MetricRecord({"replies": len(contents)})
    SecAgg(own, clip=0.2, max_weight=10)
    assert "evaluate_metrics_aggr_fn is given one reply" in caplog.text
    caplog.clear()
    SecAgg(FedAvg(), clip=0.2, max_weight=10)
    assert not caplog.records


def test_evaluation_is_summed_too_or_not_asked_for(folder: Path) -> None:
    result, strategy, grid = run(folder, evaluate_metrics={"accuracy": 1.0})
    [metrics] = result.evaluate_metrics_clientapp.values()
    plain = sum(weight(FIRST + i) * loss(FIRST + i) for i in range(5)) / 15
    assert metrics["accuracy"] == pytest.approx(plain, abs=2e-7) and grid.exchange == 8
    assert run(folder / "other")[2].exchange == 4


def test_all_nodes_weigh_alike_where_no_weight_is_above_one(folder: Path) -> None:
    result, strategy, _ = run(folder, max_weight=1)
    assert strategy.last is not None and strategy.last.weight == 5
    mean = sum(moved(FIRST + i, MODEL)["bias"] for i in range(5)) / 5
    assert np.abs(arrays(result.arrays)["bias"] - mean).max() < 1e-5


def test_it_is_said_when_the_clip_bites(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, strategy, _ = run(folder, clip=0.05)
    assert strategy.last is not None and strategy.last.sum["clipped"][0] > 5
    assert "beyond their clip" in caplog.text and "clip=0.05" in caplog.text


def test_a_sum_without_protection_is_for_nodes_that_name_it(folder: Path) -> None:
    """One exchange, and no mask: as a comparison, or where another layer protects."""
    strategy = SecAgg(FedAvg(), clip=0.2, max_weight=10, protocol="plainsum")
    config = {"secagg-protocols": "plainsum"}
    grid = LocalGrid(nodes(5, folder, secured(TRAIN), config))
    check(strategy.start(grid, model(MODEL), num_rounds=1), strategy, [0, 1, 2, 3, 4])
    assert grid.exchange == 1
    with pytest.raises(PolicyRefused, match="protects against nobody"):
        again = LocalGrid(nodes(5, folder / "other", secured(TRAIN)))
        strategy.start(again, model(MODEL), num_rounds=1)


def test_a_protocol_that_does_not_resume_is_refused_on_both_sides(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client of it is one process, and Flower starts one for each message."""
    made = Terms(0.2, 16, 10).plan(5, None, {"m": 1.0})
    NodePolicy().judge(made)
    real = Plan.info.fget  # type: ignore[attr-defined]
    once = property(lambda self: replace(real(self), resumes=lambda suite: False))
    monkeypatch.setattr(Plan, "info", once)
    with pytest.raises(PolicyRefused, match="secagg of suite 1 does not resume"):
        NodePolicy().judge(made)
    with pytest.raises(ParameterError, match="take another protocol"):
        run(folder)


def test_plain_nodes_and_a_plain_strategy_are_what_they_were(folder: Path) -> None:
    """The world that the others are compared in."""
    identify()
    grid = LocalGrid(nodes(5, folder, modded(train=TRAIN)), exchanges=1)
    result = FedAvg(fraction_evaluate=0.0).start(grid, model(MODEL), num_rounds=1)
    plain = expected([0, 1, 2, 3, 4])
    assert np.abs(arrays(result.arrays)["weight"] - plain["weight"]).max() < 1e-6


def test_a_clip_is_learnt_from_what_the_last_round_has_cut(folder: Path) -> None:
    strategy = SecAgg(FedAvg(), clip=LearntClip(0.04), max_weight=10)
    clips = []
    configure = strategy.configure_train

    def seen(*given: Any) -> Any:
        clips.append(strategy.clip)
        return configure(*given)

    strategy.configure_train = seen  # type: ignore[method-assign]
    grid = LocalGrid(nodes(4, folder, secured(TRAIN)))
    strategy.start(grid, model(MODEL), num_rounds=4)
    assert clips == pytest.approx([0.04, 0.08, 0.16, 0.128])


def test_a_learnt_clip_stays_within_bounds_and_its_numbers_are_checked() -> None:
    learnt = LearntClip(1.0, cut=0.01)
    assert [learnt.after(1.0, cut, 1000) for cut in (0, 1, 10, 11)] == [0.8, 1.0, 1.0, 2.0]
    assert learnt.after(1024.0, 1000, 1000) == 1024.0
    assert learnt.after(2.0**-10, 0, 1000) == 2.0**-10
    assert LearntClip(1.0, most=3.0).after(2.0, 1000, 1000) == 3.0
    for wrong in ((0.0, 0.1), (1.0, 0.0), (1.0, 1.0), (1.0, 0.1, 0.5), (1.0, 0.1, math.inf)):
        with pytest.raises(ParameterError):
            LearntClip(*wrong)


def test_a_learnt_clip_above_the_floors_of_all_goes_back(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One node that cheats has it grow; a run that has begun does not end by that."""

    def step(node: int, m: Any) -> Any:
        return {"w": m["w"] + (1000 if node == FIRST else 0)}

    app = secured(trainer(step, lambda node: 1))
    grid = LocalGrid(nodes(4, folder, app, {"secagg-max-clip": 0.15}))
    strategy = SecAgg(FedAvg(fraction_evaluate=0.0), clip=LearntClip(0.1), max_weight=1)
    sums = []
    aggregate = strategy.aggregate_train

    def seen(*given: Any) -> Any:
        before = strategy.clip
        arrays, metrics = aggregate(*given)
        sums.append((before, arrays is not None))
        return arrays, metrics

    strategy.aggregate_train = seen  # type: ignore[method-assign]
    result = strategy.start(grid, model({"w": np.zeros(3, np.float32)}), num_rounds=5)
    assert [clip for clip, done in sums if done] == [0.1] * 3
    assert arrays(result.arrays)["w"] == pytest.approx(3 * 0.1 / 4, abs=1e-4)
    assert "no node takes part in the secure round" in caplog.text
    # the last round had a sum: another run of this object would begin with more than the floors
    assert strategy.clip == 0.2
    sums.clear()
    again = LocalGrid(nodes(4, folder / "again", app, {"secagg-max-clip": 0.15}))
    strategy.start(again, model({"w": np.zeros(3, np.float32)}), num_rounds=2)
    assert [clip for clip, done in sums if done] == [0.1]


def test_an_evaluation_without_a_sum_leaves_the_clip_of_training(folder: Path) -> None:
    def evaluate(message: Message, context: Any) -> Message:
        told = MetricRecord({"num-examples": 1, "loss": math.nan})
        return Message(RecordDict({"metrics": told}), reply_to=message)

    app = secured(trainer(lambda node, m: {"w": m["w"] + 1}, lambda node: 1), evaluate)
    strategy = SecAgg(FedAvg(), clip=LearntClip(0.1), max_weight=1, evaluate_metrics={"loss": 1.0})
    grid = LocalGrid(nodes(4, folder, app))
    strategy.start(grid, model({"w": np.zeros(3, np.float32)}), num_rounds=3)
    assert strategy.clip == 0.8


def test_one_that_refuses_and_an_outage_do_not_end_a_run(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the first sum all have to refuse, and after it nobody's refusal ends the run."""
    for first in (0, 4):  # exchanges of the first and of the second round
        several = nodes(4, folder / str(first), secured(TRAIN), {})
        several[3].context.node_config["secagg-min-clients"] = 1000
        grid = LocalGrid(several)
        grid.fate = lambda _, place, at=first, grid=grid: grid.exchange == at and place != 3
        strategy = SecAgg(FedAvg(fraction_evaluate=0.0), clip=0.5, max_weight=10)
        strategy.start(grid, model(MODEL), num_rounds=3)
        assert strategy.last is not None and strategy.last.count == 3
        assert "has no sum" in caplog.text
        caplog.clear()


@pytest.mark.parametrize("code", [3, 4, 5, 8])
def test_nodes_that_flower_calls_lost_have_not_refused(folder: Path, code: int) -> None:
    """One that refuses beside them does not end a run before its first sum."""
    several = nodes(4, folder, secured(TRAIN), {})
    several[3].context.node_config["secagg-min-clients"] = 1000
    grid = LocalGrid(several)
    for node in several[:3]:
        answer = node.answer

        def away(message: Message, answer: Any = answer) -> Message:
            if grid.exchange:
                return answer(message)  # type: ignore[no-any-return]
            return Message(Error(code, "Message Unavailable"), reply_to=message)

        node.answer = away  # type: ignore[method-assign]
    strategy = SecAgg(FedAvg(fraction_evaluate=0.0), clip=0.5, max_weight=10)
    strategy.start(grid, model(MODEL), num_rounds=2)
    assert strategy.last is not None and strategy.last.count == 3


@pytest.mark.parametrize(
    ("shares", "threshold", "dropout"),
    [(3, 2, Fraction(1, 3)), (1.0, 0.75, Fraction(1, 4)), (5, 0.8, Fraction(1, 5)), (5, 5, 0)],
)
def test_the_numbers_of_secaggplus(shares: float, threshold: float, dropout: Any) -> None:
    made = from_flower(num_shares=shares, reconstruction_threshold=threshold, timeout=30)
    assert made == {
        "clip": 8.0,
        "bits": 22,
        "max_weight": 1000,
        "dropout": dropout,
        "timeouts": 30.0,
    }
    SecAgg(FedAvg(), **made)


def test_it_is_said_what_stands_for_the_numbers_of_secaggplus(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    from_flower(num_shares=4, reconstruction_threshold=3, clipping_range=3.0)
    [said] = [record.getMessage() for record in caplog.records]
    for words in ("dropout=1/4 is", "clip=3.0 is", "so 0.3 or less", "bits=22 are"):
        assert words in said


@pytest.mark.parametrize(
    "wrong",
    [
        {"reconstruction_threshold": 4},
        {"num_shares": 1.5},
        {"num_shares": 0},
        {"clipping_range": -1.0},
        {"quantization_range": 1},
        {"max_weight": 0.2},
        {"timeout": 0.0},
    ],
)
def test_numbers_that_secaggplus_would_take_and_nobody_should(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        given = {"num_shares": 3, "reconstruction_threshold": 2} | wrong
        SecAgg(FedAvg(), **from_flower(**given))
