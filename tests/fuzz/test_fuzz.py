"""Every fuzz target for a short while: rows 5, 14, 17, 23 and invariant I7.

SECAGG_FUZZ_SECONDS: of each target; 0.4 by default. The seed is fixed, so a failure repeats.
"""

from __future__ import annotations

import importlib
import os

import pytest

from tests.fuzz import engine

SECONDS = float(os.environ.get("SECAGG_FUZZ_SECONDS", "0.4"))
DECODERS = [
    "messages",
    "share_pair",
    "params",
    "schema",
    "plan",
    "frame",
    "additive_message",
    "additive_params",
    "committee",
    "task",
    "stored_report",
]
TARGETS = [
    *DECODERS,
    "client",
    "server",
    "additive_client",
    "additive_member",
    "additive_collector",
    "files",
]


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_documented_errors_leaves(name: str) -> None:
    module = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    assert "ny bytes" in module.__doc__.splitlines()[0] or "plaintext" in module.__doc__
    assert engine.run(module.target, module.CORPUS, SECONDS) >= engine.LEAST


@pytest.mark.parametrize("name", DECODERS)
def test_corpora_are_accepted(name: str) -> None:
    """Else the mutations would all start from garbage."""
    module = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    decoder = {"plan": "a_plan", "messages": "message"}.get(name, name)
    for data in module.CORPUS:
        assert getattr(module.decoders, decoder)(data) == data


def test_the_loop_finds_planted_bugs() -> None:
    """One decoder that is malleable, one that raises what it should not."""

    def malleable(data: bytes) -> None:
        assert len(data) < 4 or data[3] & 1 == 0, "two encodings"

    def crashes(data: bytes) -> None:
        if data[:1] == b"\x80":
            raise IndexError

    with pytest.raises(AssertionError, match="two encodings"):
        engine.run(malleable, [bytes(8)], 2)
    with pytest.raises(IndexError):
        engine.run(crashes, [bytes(8)], 2)
