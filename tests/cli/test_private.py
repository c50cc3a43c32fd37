"""Differential privacy on the command line: who makes a plan, who joins one, what is shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secagg
from secagg.cli.simulate import generated
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.types import PartyId
from secagg.wire.frame import payload_digest
from tests.cli import contract
from tests.cli.test_commands import answer, call, refusal

SIZES = ("--clients", "40", "--length", "100")
ASKED = (*SIZES, "--epsilon", "2", "--delta", "1e-3", "--norm", "1")
PLANNED: dict[str, Any] = {"clients": 40, "fields": {"update": secagg.Vector(100, 1.0, 16)}}


def wanted(**more: Any) -> Plan:
    return secagg.plan(**PLANNED, privacy=secagg.Privacy(**{"epsilon": 2, "delta": 1e-3, **more}))


def written(path: Path, plan: Plan) -> str:
    path.write_bytes(plan.encode())
    return str(path)


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ((), {}),
        (("--rounds", "10"), {"rounds": 10}),
        (("--trust", "central"), {"trust": "central"}),
        (("--unit", "example", "--examples", "5"), {"unit": "example", "examples": 5}),
    ],
)
def test_a_plan_is_the_library_s(tmp_path: Path, options: Any, more: Any) -> None:
    file = tmp_path / "plan"
    found = answer("plan", *ASKED, *options, "--out", str(file))
    plan = Plan.decode(file.read_bytes())
    assert plan == wanted(**more)
    contract.check("plan --epsilon", found)
    task = answer("task", *ASKED, *options, "--out", str(tmp_path / "task"))
    assert Task.decode((tmp_path / "task").read_bytes()).plan == plan
    assert task["plan"]["privacy"] == found["privacy"]


def test_inspect_says_what_a_plan_promises_and_what_there_is_to_mind(tmp_path: Path) -> None:
    plan = wanted(rounds=3, delta=0.5)
    file = written(tmp_path / "plan", plan)
    found = answer("inspect", file)
    assert found["max_error"] == plan.max_error > 0
    privacy = found["privacy"]
    assert (privacy["epsilon"], privacy["delta"], privacy["rounds"]) == (2, 0.5, 3)
    assert (privacy["trust"], privacy["unit"], privacy["n_min"]) == ("distributed", "client", 28)
    assert privacy["accounting"] and privacy["epsilon_server"] <= 2
    text = call("inspect", file).stdout
    assert re.search(rf"^privacy +{re.escape(privacy['statement'])}", text, re.M)
    assert re.search(
        r"^mind +delta 0\.5 is not below one over the 40 who may take part", text, re.M
    )
    task = tmp_path / "task"
    task.write_bytes(Task(plan, None, bytes(32)).encode())
    shown = call("inspect", str(task)).stdout
    assert re.search(rf"^plan\.privacy +{re.escape(privacy['statement'])}", shown, re.M)


def test_what_has_no_privacy_says_null(tmp_path: Path) -> None:
    assert answer("plan", *SIZES)["privacy"] is None
    exact = secagg.plan(clients=40, fields={"update": secagg.FixedPoint(100, 1.0, 16)})
    assert "\nprivacy" not in call("inspect", written(tmp_path / "plan", exact)).stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--epsilon", "2"), "--epsilon needs --delta"),
        (("--epsilon", "2", "--delta", "0.001"), "--epsilon needs --norm"),
        (("--norm", "1"), "--norm is of a plan with privacy: give --epsilon"),
        (("--delta", "1e-3"), "--delta is of a plan with privacy"),
        (("--trust", "local"), "--trust is of a plan with privacy"),
        (("--rounds", "3"), "--rounds is of a plan with privacy"),
        ((*ASKED, "--clip", "2"), "--clip bounds elements and no norm: .* give --norm"),
        ((*ASKED, "--max-weight", "3"), "no weights"),
        ((*ASKED, "--unit", "example"), "needs examples"),
        ((*ASKED, "--examples", "3"), "is of unit='example'"),
    ],
)
def test_options_that_would_change_nothing_or_lack_another(options: Any, words: str) -> None:
    assert re.search(words, refusal("plan", *SIZES, *options))


@pytest.mark.parametrize("options", [(), ("--unit", "example", "--examples", "3")])
def test_a_simulated_sum_has_its_label(options: Any) -> None:
    found = answer("simulate", *ASKED, *options)
    contract.check("simulate --epsilon", found)
    assert found["exact"] and found["clipped"] == 0
    assert found["privacy"]["statement"].startswith("Not private")
    assert "privacy" in call("simulate", *ASKED, *options).stdout


def test_generated_vectors_are_within_the_norm() -> None:
    values = generated(wanted(), 7)(PartyId(3)).fields["update"]
    assert values.shape == (100,) and 0.1 < np.linalg.norm(values) <= 1
    rows = generated(wanted(unit="example", examples=5), 7)(PartyId(3)).fields["update"]
    assert rows.shape == (5, 100)


# join and serve, before anything is linked


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (wanted(), "allows an epsilon of 2 over its 1 rounds, and agreed to is 1 at most"),
        (wanted(trust="central"), "trust='distributed' would do"),
        (
            secagg.plan(clients=40, fields={"update": secagg.FixedPoint(100, 1.0, 16)}),
            "has no noise",
        ),
        (wanted(epsilon=1, delta=0.01), "or here max_delta=0.01"),
        (wanted(epsilon=1, unit="example", examples=5), "or here unit='example'"),
    ],
)
def test_join_refuses_a_pinned_plan_that_tells_more(tmp_path: Path, plan: Plan, words: str) -> None:
    np.save(tmp_path / "v.npy", np.zeros(100))
    given = ("--input", str(tmp_path / "v.npy"), "--plan", written(tmp_path / "plan", plan))
    assert words in refusal("join", "ws://127.0.0.1:1", *given, "--max-epsilon", "1")
    task = tmp_path / "task"
    task.write_bytes(Task(plan, None, bytes(32)).encode())
    given = ("--input", str(tmp_path / "v.npy"), "--task", str(task), "--max-epsilon", "1")
    result = call("join", "ws://127.0.0.1:1", *given)
    assert result.exit_code == 2 and words in result.stderr


def test_max_epsilon_is_above_0(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.zeros(100))
    given = ("--input", str(tmp_path / "v.npy"), "--max-epsilon", "0")
    assert "max_epsilon must be above 0" in refusal("join", "ws://127.0.0.1:1", *given)


@pytest.mark.parametrize("shape", [(100,), (3, 99), (6, 100), ()])
def test_join_takes_a_row_for_each_example(tmp_path: Path, shape: tuple[int, ...]) -> None:
    plan = wanted(unit="example", examples=5)
    np.save(tmp_path / "v.npy", np.zeros(shape))
    given = ("--input", str(tmp_path / "v.npy"), "--plan", written(tmp_path / "plan", plan))
    assert "for each of at most 5 examples: (5, 100)" in refusal("join", "ws://127.0.0.1:1", *given)


def test_serve_has_no_more_rounds_than_the_noise_is_for(tmp_path: Path) -> None:
    task = tmp_path / "task"
    task.write_bytes(Task(wanted(rounds=2), None, payload_digest(b"")).encode())
    given = ("--task", str(task), "--rounds", "3")
    assert "more than the 2 that the plan's noise is for" in refusal("serve", *given)
