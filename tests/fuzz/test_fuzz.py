"""Every fuzz target for a short while: rows 5, 14, 17, 23 and invariant I7.

SECAGG_FUZZ_SECONDS: of each target; 0.25 by default. The seed is fixed, so a failure repeats.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest

from secagg.crypto.sign import SIGNATURE_SIZE
from secagg.wire.codec import Reader
from secagg_protocols.secagg import binding
from secagg_protocols.secagg.active import dealing
from secagg_protocols.secagg.active.messages import Survivors
from secagg_protocols.secagg.active.stages.base import Joined
from secagg_protocols.secagg.active.stages.mask import Mask
from tests.fuzz import engine
from tests.soak import SOAK

SECONDS = float(os.environ.get("SECAGG_FUZZ_SECONDS", "0.25"))
DECODERS = [
    "messages",
    "share_pair",
    "params",
    "schema",
    "plan",
    "frame",
    "pace",
    "additive_message",
    "additive_params",
    "committee",
    "task",
    "terms",
    "stored_report",
    "active_message",
    "statement",
    "roster",
    "signed_roster",
    "enrolment",
    "caller",
    "member_hello",
    "greeting",
    "told",
    "invitation",
]
ACTIVE = [
    "active_message",
    "statement",
    "roster",
    "signed_roster",
    "enrolment",
    "active_client",
    "active_server",
    "transcript",
    "evidence",
    "member_hello",
    "greeting",
    "enrolled",
    "told",
]
MANY = 1_000_000
"""Mutations of each of those in a soak, however long they take: some minutes of a machine."""
TARGETS = [
    *DECODERS,
    "client",
    "server",
    "additive_client",
    "additive_member",
    "additive_collector",
    "files",
    "active_client",
    "active_server",
    "transcript",
    "evidence",
    "enrolled",
]


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_documented_errors_leaves(name: str) -> None:
    module = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    assert "ny bytes" in module.__doc__.splitlines()[0] or "plaintext" in module.__doc__
    least = MANY if SOAK and name in ACTIVE else engine.LEAST
    assert engine.run(module.target, module.CORPUS, SECONDS, least=least) >= least


@pytest.mark.parametrize("name", DECODERS)
def test_corpora_are_accepted(name: str) -> None:
    """Else the mutations would all start from garbage."""
    module = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    decoder = {"plan": "a_plan", "messages": "message", "told": "told_file"}.get(name, name)
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


# Bugs that are planted in active mode itself. What finds them are mutations of real messages, also
# signed again: from bytes that are no message, a weakened generator, the loop finds none of them.


def padded(reader: Reader, size: int) -> Survivors:
    """Bits beyond the last member are whatever one likes."""
    raw = reader.fixed((size + 7) // 8, "U3")
    members = frozenset(i for i in range(size) if raw[i // 8] >> i % 8 & 1)
    return Survivors(members, reader.fixed(SIGNATURE_SIZE, "signature"))


def unbounded(offer: bytes, index: int, ids: Any, keys: Any) -> bytes:
    """An index that a peer has named is looked up as it is."""
    return binding.leaf(offer, index, ids[index], keys, keys.signature)


def hasty(stage: Mask, *said: Any) -> None:
    """The vector is added, and then it is asked who has sent it."""
    stage._masked.total[0][0] += 1
    Joined.check(stage, *said)


PLANTED = {
    "active_message": (Survivors, "read", padded, AssertionError),
    "active_client": (dealing, "_leaf", unbounded, IndexError),
    "active_server": (Mask, "check", hasty, AssertionError),
}


@pytest.mark.parametrize("name", PLANTED)
def test_bugs_of_active_mode_are_found_from_real_messages_alone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, what, bug, error = PLANTED[name]
    module = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    monkeypatch.setattr(where, what, bug)
    engine.run(module.target, [bytes(64)], 0, least=1000)
    with pytest.raises(error):
        engine.run(module.target, module.CORPUS, 60)
