"""Suites: which primitives a session is made of, and who signs what, by the number in its bytes."""

from __future__ import annotations

from dataclasses import dataclass

from secagg.errors import UnknownVersion
from secagg.types import Adversary


@dataclass(frozen=True, slots=True)
class Suite:
    """number: the u8 in plans, tasks, offers and headers. signed: whether clients of one server
    have keys in a roster and sign with them.

    Servers' signatures, and those in reports, belong to a protocol of several servers and are there
    in every suite.
    """

    number: int
    signed: bool


SUITE_1 = Suite(1, signed=False)
"""X25519, HKDF-SHA256, AES-256-GCM, AES-256-CTR, SHA-256; no roster (specs/01-wire.md §3)."""
SUITE_2 = Suite(2, signed=True)
"""Suite 1, and Ed25519 by keys of a roster (specs/12-active.md, 14-roster.md)."""

SUITES = {suite.number: suite for suite in (SUITE_1, SUITE_2)}


def suite_of(adversary: Adversary) -> Suite:
    """That plans under it have, and no others: where a server may lie, clients sign."""
    return SUITE_2 if adversary == "active" else SUITE_1


def known(number: int, what: str) -> Suite:
    """The suite of that number. what: whose number it is, for UnknownVersion."""
    if number not in SUITES:
        listed = ", ".join(str(suite) for suite in sorted(SUITES))
        raise UnknownVersion(f"{what} of suite {number}; this code speaks suite {listed}")
    return SUITES[number]
