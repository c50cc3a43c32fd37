"""`secagg bench peer --plugin` with Flower itself, at a size that is no benchmark."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from bench import plugin
from secagg import cli

pytest.importorskip("flwr.supercore", reason="it comes with secagg[flower]")


def test_one_small_round_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "REPEATS", 1)
    result = CliRunner().invoke(
        cli.app, ["bench", "peer", "--plugin", "--rows", "n=4,d=100", "--json"]
    )
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    rows = {row["side"]: row for row in told["rows"]}
    assert list(rows) == list(plugin.STAGES) and {"machine", "commit"} <= told.keys()
    for row in rows.values():
        assert row["cpu"] > 0 and row["bytes_up"] > 0 and row["bytes_down"] > 400
        assert row["max_abs_error"] <= row["error_bound"]
    assert list(rows["secagg"]["survives"].values()) == [True] * 4
    # Flower's nodes are asked for shares of one that never sent them any, and raise
    assert list(rows["flower"]["survives"].values()) == [False, False, True, True]
    assert set(told["ratios"].values()).isdisjoint([None])
