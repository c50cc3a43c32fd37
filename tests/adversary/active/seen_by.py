"""The tests that see a refusal of active mode that is gone, by what they lie about."""

from __future__ import annotations

from typing import TypeAlias

Row: TypeAlias = tuple[str, str, str]
"""Id; the text, once in its file; what stands in its place."""
Refused: TypeAlias = tuple[str, str, tuple[Row, ...]]
"""The file below HERE, the tests that should see it, and the refusals in it."""

HERE = "protocols/secagg_protocols/secagg/"
U1 = "tests/adversary/active/test_lying_about_u1.py"
U2 = "tests/adversary/active/test_lying_about_u2.py"
U3 = "tests/adversary/active/test_lying_about_u3.py"
SPLITS = "tests/adversary/active/test_splits.py"
ONCE = "tests/adversary/active/test_said_once.py"
MEMBERS = "tests/adversary/active/test_lying_members.py"
DEALERS = "tests/adversary/active/test_lying_dealers.py"
LOSSES = "tests/adversary/active/test_liars_and_losses.py"
TWICE = "tests/adversary/active/test_two_of_one_kind.py"
ENDED = "tests/adversary/active/test_ended.py"
SESSIONS = "tests/protocols/test_active_sessions.py"
VECTORS = "tests/vectors/test_vectors.py"
