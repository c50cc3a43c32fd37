"""What the demo tells a person, and what it admits."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from secagg.demo import view
from secagg.demo.check import Masked
from secagg.demo.result import Progress, Result, Row
from secagg.fields import FixedPoint
from secagg.plans.choose import plan

AGREED = plan(
    clients=16,
    fields={"update": FixedPoint(2410, 2.0, 16)},
    corrupt="0.2",
    dropout="0.25",
    protocol="secagg+",
    max_weight=256,
)
ROW = Row(
    round=1,
    contributors=15,
    dropped={4: "share-keys", 11: "unmask"},
    exact=True,
    max_abs_error=1.5e-5,
    clipped=0,
    accuracy=0.85,
    plain_accuracy=0.86,
    seconds=1.25,
    bytes_up=8974.5,
    bytes_down=1500.0,
)
SECOND = replace(ROW, round=2, dropped={}, contributors=16, accuracy=0.91, max_abs_error=1e-5)
MASKED = Masked(7, 28, 32, [11, -12], [70111, -80222], 0, 2410)
RESULT = Result(AGREED, (ROW, SECOND), MASKED, 1348, 449, 1, 20.0)


def printed(result: Result) -> str:
    console = Console(file=io.StringIO(), width=80)
    view.summarize(result, Progress(clients=16, rows=list(result.rows)), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_figures_of_a_good_run() -> None:
    assert RESULT.broken() is None
    figures = RESULT.as_json()
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    expected = {
        "accuracy": 0.91,
        "plain_accuracy": 0.86,
        "max_abs_error": 1.5e-5,
        "error_bound": AGREED.max_error,
        "rounds": 2,
        "dropped": 2,
        "exact": True,
        "protocol": "secagg+",
        "degree": 10,
        "threshold": 6,
        "clients": 16,
        "seconds": 20.0,
    }
    assert {name: figures[name] for name in expected} == expected
    rows = figures["per_round"]
    assert isinstance(rows, list) and rows[0]["dropped"] == {"4": "share-keys", "11": "unmask"}


def test_a_sum_that_is_not_exact_is_admitted() -> None:
    bad = replace(RESULT, rows=(ROW, replace(SECOND, exact=False)))
    assert "rounds [2]" in str(bad.broken())
    text = printed(bad)
    assert "THE CHECK FAILED" in text and "NOT EXACT" in text and "bit for bit" not in text


def test_an_error_above_the_bound_is_admitted() -> None:
    bad = replace(RESULT, rows=(replace(ROW, max_abs_error=2 * AGREED.max_error), SECOND))
    assert "the plan's bound" in str(bad.broken())
    assert not bad.as_json()["max_abs_error"] <= bad.error_bound  # type: ignore[operator]


def test_a_model_that_is_worse_than_the_plain_one_is_admitted() -> None:
    assert "more than a point apart" in printed(RESULT)
    close = replace(RESULT, rows=(replace(ROW, plain_accuracy=0.855),))
    assert "more than a point apart" not in printed(close)


def test_the_summary_fits_eighty_columns_and_quotes_the_plan() -> None:
    text = printed(RESULT)
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    for expected in (
        "4: share-keys",
        "11: unmask",
        "70,111",
        "0 of 2410 elements arrived unchanged",
        "bit for bit",
        "10 of the 15 others",
        AGREED.guarantee,
    ):
        assert expected in flat
    assert len(view.told(AGREED)) == 1 + len(view.TOLD)


@pytest.mark.parametrize("phase", AGREED.phase_names)
def test_a_running_round_shows_its_phase_and_its_dead(phase: str) -> None:
    progress = Progress(clients=16, rows=[ROW])
    progress.begin(2)
    progress.phase = phase
    progress.lose(9, "advertise-keys")
    console = Console(file=io.StringIO(), width=80)
    console.print(view.table(progress))
    assert isinstance(console.file, io.StringIO)
    last = console.file.getvalue().splitlines()[-1].split()
    assert last == ["2", phase, "15", "9:", "advertise-keys"]
