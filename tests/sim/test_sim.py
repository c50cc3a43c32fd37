"""Simulation: the schedule, the check against the plain sum, and the meters."""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secagg
from secagg.drive.aio import Contribution
from secagg.errors import (
    BelowThreshold,
    InputError,
    IntegrityError,
    ParameterError,
    RangeError,
)
from secagg.fields import FixedPoint, Integer
from secagg.mask import MaskJob
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.sansio import RingTotal
from secagg.sim import Drop, drop_at, metered, run, simulate, simulation
from secagg.sim.footprint import deep_size
from secagg.types import Fault, PartyId

PHASES = ("advertise-keys", "share-keys", "masked-input", "unmask")
FIELD = FixedPoint(length=9, clip=1.0, bits=10)


def make(clients: int = 8, **options: Any) -> Plan:
    given: dict[str, Any] = {"fields": {"update": FIELD}, "protocol": "secagg", "dropout": 0.3}
    return plan(clients=clients, **given | options)


def values_of(me: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(me).uniform(-1, 1, FIELD.length)


def inputs(me: PartyId) -> dict[str, npt.NDArray[np.float64]]:
    return {"update": values_of(me)}


def plain_levels(me: int) -> list[int]:
    """round(x / step), ties to even, in Python's own numbers."""
    return [round(x / FIELD.step) for x in values_of(me).tolist()]


# The result


@pytest.mark.parametrize("phase", PHASES)
def test_the_sum_is_the_plain_python_sum_of_the_contributors(phase: str) -> None:
    total = simulate(make(), inputs, drop=drop_at(phase, count=2), seed=3)
    expected = [sum(column) for column in zip(*map(plain_levels, total.contributors), strict=True)]
    assert total.levels["update"].tolist() == expected
    # whoever drops at unmask has been added: its masks are opened by the others
    assert len(total.contributors) == (8 if phase == "unmask" else 6)
    assert len(total.dropped) == 8 - len(total.contributors)


def test_weights_and_integers_come_through() -> None:
    fields = {"update": FIELD, "votes": Integer(length=3, max=5), "big": Integer(1, 2**58)}
    given = {
        i: Contribution(
            {"update": values_of(i), "votes": [i % 5, -i % 5, 5], "big": [-(2**58)]}, i + 1
        )
        for i in range(6)
    }
    total = simulate(make(6, fields=fields, max_weight=6), given)
    weights = range(1, 7)
    mean = sum(w * values_of(i) for i, w in enumerate(weights)) / sum(weights)
    assert np.abs(total.mean["update"] - mean).max() <= total.report.error_bounds["update"]
    assert total.weight == 21
    assert total.sum["votes"].tolist() == [10, 10, 30]
    assert total.sum["big"].tolist() == [-6 * 2**58]


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**70),
    counts=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    bits=st.integers(2, 32),
)
def test_any_schedule_is_exact_or_ends_below_the_threshold(
    seed: int, counts: list[int], bits: int
) -> None:
    made = make(8, fields={"update": FixedPoint(5, 1.0, bits)}, dropout=0.3)
    drops = [drop_at(phase, count=c) for phase, c in zip(PHASES, counts, strict=True)]
    kept = 8 - sum(counts)

    def some(me: PartyId) -> dict[str, npt.NDArray[np.float64]]:
        return {"update": np.random.default_rng(me).uniform(-2, 2, 5)}

    try:
        done = run(made, some, drop=drops, seed=seed)
    except BelowThreshold:
        assert kept < made.params.min_survivors
    else:
        assert done.exact
        assert len(done.aggregate.contributors) == kept + counts[3]


def test_a_seed_repeats_a_run_bit_by_bit() -> None:
    made = make(fields={"update": FixedPoint(9, 1.0, 6, rounding="stochastic")})
    drops = [drop_at("share-keys", 0.1), drop_at("masked-input", 0.1)]
    one, two, other = (simulate(made, inputs, drop=drops, seed=s) for s in (5, 5, 6))
    assert one.levels["update"].tolist() == two.levels["update"].tolist()
    assert one.contributors == two.contributors
    assert one.contributors != other.contributors
    rounded, differently = (simulate(made, inputs, seed=s).levels["update"] for s in (5, 6))
    assert rounded.tolist() != differently.tolist()


def test_the_check_notices_a_wrong_total(monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed ring element, a changed level, and a contributor too many."""
    made, tally = make(), metered.Tally(make().schema)
    kept: list[tuple[RingTotal, Any]] = []
    equals = metered.Tally.equals

    def keep(self: metered.Tally, total: RingTotal, aggregate: Any, noise: Any) -> bool:
        kept.append((total, aggregate))
        tally.__dict__.update(self.__dict__)
        return equals(self, total, aggregate, noise)

    monkeypatch.setattr(metered.Tally, "equals", keep)
    assert run(made, inputs).exact
    [(total, aggregate)] = kept
    assert equals(tally, total, aggregate)

    vector = tuple(lane.copy() for lane in total.vector)
    vector[0][-1] += 1
    assert not equals(tally, dataclasses.replace(total, vector=vector), aggregate)
    levels = {"update": aggregate.levels["update"].copy()}
    levels["update"][0] -= 1
    assert not equals(tally, total, dataclasses.replace(aggregate, levels=levels))
    fewer = aggregate.contributors - {PartyId(0)}
    assert not equals(tally, total, dataclasses.replace(aggregate, contributors=fewer))

    monkeypatch.setattr(metered.Tally, "equals", lambda *_: False)
    with pytest.raises(IntegrityError, match="plain sum"):
        simulate(made, inputs)


def test_widths_up_to_64_bits_are_signed_right() -> None:
    for width in (1, 2, 7, 8, 31, 32, 33, 63, 64):
        dtype = next(f"u{n}" for n in (1, 2, 4, 8) if 8 * n >= width)
        numbers = [0, (1 << (width - 1)) - 1, 1 << (width - 1), (1 << width) - 1]
        signed = [n - (1 << width) if n >> (width - 1) else n for n in numbers]
        assert metered._signed(np.array(numbers, dtype), width).tolist() == signed


# The schedule


def test_rates_are_decimals_of_n_and_phases_are_disjoint() -> None:
    made = plan(clients=50, fields={"update": FIELD}, protocol="secagg", dropout=0.4)
    drops = [drop_at("masked-input", 0.1), drop_at("share-keys", "0.14"), drop_at("unmask", 0)]
    leaving = simulation._schedule(made, drops, seed=1)
    assert sorted(leaving.values()) == ["masked-input"] * 5 + ["share-keys"] * 7
    assert leaving != simulation._schedule(made, drops, seed=2)
    # 0.29 * 100 is 28.999999999999996 in binary
    assert drop_at("unmask", 0.29).number(100) == 29


@pytest.mark.parametrize(
    ("make_drop", "rule"),
    [
        (lambda: drop_at("unmask"), "either a rate or a count"),
        (lambda: drop_at("unmask", 0.1, count=1), "either a rate or a count"),
        (lambda: drop_at("unmask", 1.1), "from 0 to 1"),
        (lambda: drop_at("unmask", -0.1), "from 0 to 1"),
        (lambda: drop_at("unmask", "1/0"), "from 0 to 1"),
        (lambda: drop_at("unmask", float("nan")), "from 0 to 1"),
        (lambda: drop_at("unmask", count=-1), "from 0 to 1048576"),
        (lambda: drop_at("unmask", count=True), "from 0 to 1048576"),
    ],
)
def test_a_drop_that_cannot_be_is_refused(make_drop: Callable[[], Drop], rule: str) -> None:
    with pytest.raises(ParameterError, match=rule):
        make_drop()


@pytest.mark.parametrize(
    ("drops", "rule"),
    [
        ([drop_at("consistency", 0.1)], "advertise-keys, share-keys, masked-input, unmask"),
        ([drop_at("upload", 0.1)], "has no phase 'upload'"),
        ([drop_at("unmask", 0.6), drop_at("share-keys", 0.6)], "more than the 8 clients"),
        ([drop_at("unmask", 0.1), drop_at("unmask", 0.1)], "twice"),
    ],
)
def test_a_schedule_that_the_plan_cannot_have_is_refused(drops: list[Drop], rule: str) -> None:
    """`consistency` exists in active mode only."""
    with pytest.raises(ParameterError, match=rule):
        simulate(make(), inputs, drop=drops)


def test_too_many_drops_reveal_nothing_and_say_so() -> None:
    with pytest.raises(BelowThreshold, match="below-threshold"):
        simulate(make(), inputs, drop=drop_at("masked-input", 0.5))


# The inputs


def test_inputs_are_made_when_needed_and_only_for_whoever_masks() -> None:
    asked: list[int] = []
    heard: list[tuple[str, int]] = []

    def ask(me: PartyId) -> dict[str, npt.NDArray[np.float64]]:
        asked.append(me)
        if heard[-1][0] == "masked-input":  # the client before was heard before this one is asked
            assert heard[-1][1] == len(asked) - 1
        return inputs(me)

    total = simulate(
        make(),
        ask,
        drop=[drop_at("share-keys", count=1), drop_at("masked-input", count=1)],
        progress=lambda phase, done, of: heard.append((phase, done)),
    )
    assert sorted(asked) == sorted(total.contributors)
    assert heard.count(("masked-input", 6)) == 1


def test_a_mapping_needs_exactly_one_entry_for_each_id() -> None:
    good = {i: inputs(PartyId(i)) for i in range(8)}
    assert simulate(make(), good).contributors == frozenset(range(8))
    for bad in ({i: good[i] for i in range(7)}, good | {8: good[0]}):
        with pytest.raises(InputError, match="each id from 0 to 7"):
            simulate(make(), bad)


def test_a_bad_input_names_its_field() -> None:
    """Row 80: NaN is refused before anything is masked."""
    with pytest.raises(RangeError, match="update.*index 0"):
        simulate(make(), lambda me: {"update": np.full(9, np.nan)})
    with pytest.raises(InputError, match="missing fields"):
        simulate(make(), lambda me: {})


FRACTION = FixedPoint(3, 1.0, 16)


@pytest.mark.parametrize("key", [int, np.int64, np.uint8, np.float64])
@pytest.mark.parametrize("called", [False, True])
def test_a_bad_input_names_its_client(key: Any, called: bool) -> None:
    """Whatever type of number the caller counts with, and however the inputs are given."""
    inputs = {key(i): {"u": np.full(3, np.nan if i == 13 else 0.5)} for i in range(20)}
    made = plan(clients=20, fields={"u": FRACTION}, protocol="plainsum")
    with pytest.raises(RangeError, match="^client 13: field 'u': NaN or infinite at index 0;"):
        simulate(made, inputs.__getitem__ if called else inputs)


def test_an_input_that_cannot_be_made_names_its_client() -> None:
    made = plan(clients=3, fields={"u": FRACTION}, dropout=0, protocol="plainsum")
    with pytest.raises(ZeroDivisionError) as failed:
        simulate(made, lambda me: {"u": [1 / (2 - me)] * 3})
    assert failed.value.__notes__ == ["while the input of client 2 was made"]
    with pytest.raises(InputError, match="^client 0: fields are given by name, .* not as a list"):
        simulate(made, lambda me: [0.5, 0.5, 0.5])  # type: ignore[arg-type, return-value]
    with pytest.raises(InputError, match="given are 2, and client 1 has none"):
        simulate(made, {i: {"u": [0, 0, 0]} for i in (0, 2)})
    with pytest.raises(InputError, match="a callable of an id, and not a list"):
        simulate(made, [{"u": [0, 0, 0]}] * 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("protocol", ["secagg", "plainsum", "additive"])
def test_what_is_clipped_is_reported_and_said_once(
    protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 82: by field, over the contributors; with the lane (02 §5.8) in the sums as well."""
    several = {"servers": 2} if protocol == "additive" else {}
    fields = {"u": FRACTION, "v": FixedPoint(2, 0.5, 8), "w": FixedPoint(1, 9.0, 8)}
    made = plan(
        clients=6,
        fields=fields,
        corrupt=0,
        dropout="1/3",
        clipped=True,
        protocol=protocol,
        **several,
    )
    inputs = {i: {"u": [i, -i, 0.5], "v": [0.5, 0.6], "w": [9]} for i in range(6)}
    phase = made.phase_names[0]
    total = simulate(made, inputs, drop=drop_at(phase, count=1))
    of_u = 2 * sum(i > 1 for i in total.contributors)
    assert total.report.clipped == {"u": of_u, "v": 5, "w": 0}
    assert total.sum["clipped"].tolist() == [of_u + 5]
    [warning] = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warning == (
        f"in this simulation, {of_u} of 15 elements of field 'u' lay beyond ±1.0 and were clipped; "
        "5 of 10 elements of field 'v' lay beyond ±0.5 and were clipped"
    )
    caplog.clear()
    calm = {i: {"u": [1, -1, 0], "v": [0.5, 0], "w": [0]} for i in range(6)}
    assert simulate(made, calm).report.clipped == {"u": 0, "v": 0, "w": 0}
    assert not caplog.records


@pytest.mark.parametrize("seed", [-1, True, 1.5])
def test_a_seed_is_a_number_from_0_on(seed: Any) -> None:
    with pytest.raises(ParameterError, match="seed"):
        simulate(make(), inputs, seed=seed)


def test_an_input_that_is_never_masked_is_not_tallied() -> None:
    """So it is for a client that the server drops for want of holders after share-keys."""
    desk = metered.Desk(make(), inputs, lambda phase, done, of: None)
    client = metered.MeteredClient(desk, PartyId(1), bytes(16), bytes(32), secrets.token_bytes)
    client.start()
    assert len(client.outgoing()) == 1
    assert client.outgoing() == []  # it has its input now, and no shares to mask it with
    assert desk.tally._members == set()
    assert not desk.tally._levels["update"].any()


# The meters


def test_bytes_are_what_the_plan_promises() -> None:
    made = plan(clients=12, fields={"update": FIELD}, protocol="secagg+")
    done = run(made, inputs)
    assert (made.protocol, done.exact) == ("secagg+", True)
    assert done.bytes_up == made.upload_bytes
    assert done.bytes_down == made.cost.download_bytes


def test_plainsum_has_one_phase() -> None:
    done = run(make(protocol="plainsum"), inputs, drop=drop_at("upload", count=2))
    assert done.exact
    assert list(done.phases) == ["upload"]
    assert len(done.aggregate.contributors) == 6


def test_meters_show_what_a_round_costs() -> None:
    done = run(make(), inputs)
    assert list(done.phases) == list(PHASES)
    assert all(seconds > 0 for seconds in done.phases.values())
    assert done.client_seconds > 0 and done.server_seconds > 0
    assert done.server_state_bytes > 8 * 8 * 100  # a sealed pair from everybody for everybody
    assert done.peak_rss is None or done.peak_rss > done.server_state_bytes


def test_cpu_is_counted_for_whoever_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that only the work named here moves: making inputs and the check are nobody's."""
    now = [0.0]

    def costs(where: object, name: str, seconds: float) -> None:
        original = getattr(where, name)

        def slower(*args: Any, **options: Any) -> Any:
            now[0] += seconds
            return original(*args, **options)

        monkeypatch.setattr(where, name, slower)

    def slow(me: PartyId) -> dict[str, npt.NDArray[np.float64]]:
        now[0] += 1000
        return inputs(me)

    monkeypatch.setattr("time.thread_time", lambda: now[0])
    for where, name in [(metered.Tally, "add"), (metered.Tally, "equals"), (metered, "deep_size")]:
        costs(where, name, 1000)
    done = run(make(), slow)
    assert (done.client_seconds, done.server_seconds) == (0, 0)
    assert now[0] > 8 * 2000

    costs(metered.records, "encode", 3)
    costs(MaskJob, "__call__", 5)
    costs(metered.party.records, "decode", 7)
    done = run(make(), slow, drop=drop_at("unmask", count=1))
    assert done.client_seconds == 3
    assert done.client_phases == dict.fromkeys(PHASES, 0) | {"masked-input": 3}
    assert done.server_seconds == 5 + 7  # so short a vector is one job


def test_no_phase_pays_for_the_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def slow(me: PartyId) -> dict[str, npt.NDArray[np.float64]]:
        now[0] += 1000
        return inputs(me)

    def progress(phase: str, done: int, of: int) -> None:
        now[0] += 1000

    done = run(make(), slow, progress=progress)
    assert done.phases == done.server_phases == dict.fromkeys(PHASES, 0)
    assert now[0] > 8 * 2000

    desk = metered.Desk(make(), inputs, progress)
    desk.clock.enter("share-keys", now[0])
    now[0] += 2
    with desk.aside():
        now[0] += 50
    now[0] += 1
    assert desk.clock.stop(now[0]) == {"share-keys": 3}


def test_the_server_pays_for_its_phases_and_for_waiting_for_jobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a clock that only the work named here moves: what a client computes is not the server's,
    and of a job counts how long the server waited for it, not who ran it."""
    now = [0.0]

    def costs(where: object, name: str, seconds: float) -> None:
        original = getattr(where, name)

        def slower(*args: Any, **options: Any) -> Any:
            now[0] += seconds
            return original(*args, **options)

        monkeypatch.setattr(where, name, slower)

    monkeypatch.setattr("time.monotonic", lambda: now[0])
    costs(metered.party.Client, "receive", 1000)
    costs(metered.records, "encode", 1000)
    costs(metered.ServerDelegate, "receive", 1)
    costs(metered.ServerDelegate, "close_phase", 100)
    costs(MaskJob, "__call__", 10_000)
    with ThreadPoolExecutor(1) as executor:
        done = run(make(), inputs, drop=drop_at("masked-input", count=2), executor=executor)
    assert done.server_phases == {
        "advertise-keys": 108,
        "share-keys": 108,
        "masked-input": 106,
        "unmask": 10_106,
    }


def test_jobs_on_an_executor_give_the_same_sum_and_their_cpu_counts() -> None:
    drops = [drop_at("masked-input", count=2)]
    alone = run(make(), inputs, drop=drops, seed=4)
    names: set[str] = set()
    original = MaskJob.__call__

    def noting(job: MaskJob) -> Any:
        names.add(threading.current_thread().name)
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass
        return original(job)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2, "worker") as executor:
        patch.setattr(MaskJob, "__call__", noting)
        done = run(make(), inputs, drop=drops, seed=4, executor=executor)
    assert names and all(name.startswith("worker") for name in names)
    assert done.exact and done.server_seconds > 0.05
    assert done.aggregate.levels["update"].tolist() == alone.aggregate.levels["update"].tolist()


def test_the_server_holds_one_vector_not_n() -> None:
    """I6: O(d + n k). Ten thousand elements more cost their lane and no more, whatever n."""
    sizes = {
        (n, d): run(
            make(n, fields={"update": FixedPoint(d, 1.0, 16)}),
            lambda me, d=d: {"update": np.zeros(d)},  # type: ignore[misc]
        ).server_state_bytes
        for n in (6, 12)
        for d in (1_000, 11_000)
    }
    for n in (6, 12):
        assert sizes[n, 11_000] - sizes[n, 1_000] < 2.2 * 10_000 * 4


# deep_size


def test_deep_size_counts_each_object_once() -> None:
    array = np.zeros(1000)
    assert 8000 <= deep_size(array) < 8300
    assert deep_size([array, array]) < deep_size(array) + 200
    assert deep_size([array, array.copy()]) > 16_000


def test_deep_size_follows_views_slots_and_attributes() -> None:
    base = np.zeros(1000)
    assert deep_size(base[:1]) >= 8000
    data = bytes(5000)
    assert deep_size(memoryview(data)[:1]) >= 5000
    assert deep_size(np.frombuffer(data, np.uint8)[:1]) >= 5000

    class Plain:
        def __init__(self) -> None:
            self.data = data
            self.me = self

    assert 5000 <= deep_size(Plain()) < 6000
    assert deep_size(RingTotal((base,), frozenset(), frozenset())) >= 8000


def test_deep_size_leaves_code_and_caches_out() -> None:
    assert deep_size(lambda: 0) == 0
    assert deep_size([secagg, np, Plan, make, len, FIELD.__class__, Fault.LOST]) < 200
