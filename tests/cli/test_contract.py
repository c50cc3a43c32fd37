"""Commands, options and JSON keys are added to, and never taken away: see contract.py."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.cli import contract


def test_no_command_or_option_goes_or_means_something_else() -> None:
    now = {"commands": contract.commands(), "json": contract.KEPT["json"]}
    assert list(contract.missing(contract.KEPT, now)) == []
    assert contract.merged(contract.KEPT, now) == contract.KEPT, "python -m tests.cli.contract"


@pytest.mark.soak
@pytest.mark.skipif("SECAGG_SOAK" not in os.environ, reason="`make soak` runs it")
def test_every_command_answers_with_the_keys_that_are_written_down() -> None:
    """`contract.check` stands in the tests that run a command anyway; here they run together."""
    now = contract.found()
    assert list(contract.missing(contract.KEPT, now)) == []
    assert contract.merged(contract.KEPT, now) == contract.KEPT, "python -m tests.cli.contract"


def test_the_comparison_sees_what_a_script_would() -> None:
    kept: dict[str, Any] = {"commands": {"f": {"--a": "int, default 1"}}, "json": {"f": ["x"]}}
    assert list(contract.missing(kept, kept)) == []
    for commands, keys, lost in (
        ({}, ["x"], ["f: --a"]),
        ({"f": {}}, ["x"], ["f: --a"]),
        ({"f": {"--a": "int, default 2"}}, ["x"], ["f: --a is now int, default 2"]),
        (kept["commands"], ["y"], ["f: x"]),
    ):
        now: dict[str, Any] = {"commands": commands, "json": {"f": keys}}
        assert list(contract.missing(kept, now)) == lost
    more = {"commands": {"f": {"--b": "flag"}, "g": {}}, "json": {"f": ["y"]}}
    both = contract.merged(kept, more)
    assert both["commands"] == {"f": {"--a": "int, default 1", "--b": "flag"}, "g": {}}
    assert both["json"] == {"f": ["x", "y"]}


def test_keys_of_data_are_no_names() -> None:
    answer = {"phases": {"upload": 1}, "rounds": [{"out": "a", "4": 1}], "plan": {"digest": ""}}
    assert set(contract.keys(answer)) == {
        *("phases", "rounds", "rounds[].out", "plan", "plan.digest")
    }
