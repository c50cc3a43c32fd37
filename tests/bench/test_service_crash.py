"""Runs `crash` and `disk` of a service at small sizes; whole ones are `secagg bench service NAME`.

Four kills of processes and not thirty, which would take half a minute of a gate.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from bench import common, service
from bench.common import Selection
from bench.service_crash import compared
from secagg.errors import IntegrityError

KILLS = 30 if "SECAGG_SOAK" in os.environ else 4


def run(name: str, rows: str) -> dict[str, Any]:
    (row,) = common.run(service.run(name), Selection.parse(rows))["rows"]
    return dict(row)


def test_90_91_killed_at_random_over_tls() -> None:
    """Also that a life goes on after the last kill: its round has a sum."""
    row = run("crash", f"run=random,kills={KILLS}")
    assert sum(row["killed"].values()) == KILLS and row["exact"] and row["sums"] >= 1


def test_97_a_log_that_is_cut_is_refused() -> None:
    row = run("disk", "run=cut,file=-wal,times=4")
    assert row["verdicts"] == {"refused": 4}


SUM = {"n1": [0, 1]}


@pytest.mark.parametrize(
    ("member", "nonce", "included", "reason"),
    [(2, "n1", True, None), (0, "n1", False, None), (0, "n2", None, None), (0, "n2", True, "lost")],
)
def test_the_oracle_sees_what_is_not_so(
    member: int, nonce: str, included: bool | None, reason: str | None
) -> None:
    word = {"nonce": nonce, "included": included, "reason": reason, "why": ""}
    with pytest.raises(IntegrityError):
        compared(SUM, [(member, word)])
    true = {"nonce": "n1", "included": True, "reason": None, "why": ""}
    assert compared(SUM, [(0, true), (1, true)])["told"] == {"sum": 2}
