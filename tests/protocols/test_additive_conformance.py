"""Additive sums keep the rules that drivers rely on, in both modes and for 2, 3 and, in a soak, 5
servers."""

from __future__ import annotations

from fractions import Fraction

import pytest

from secagg import registry
from secagg.testing import check_protocol
from secagg.threat import Threat
from tests.soak import SOAK


@pytest.mark.parametrize("direct", [False, True], ids=["relay", "direct"])
@pytest.mark.parametrize("servers", [2, 3, 5] if SOAK else [2, 3])
def test_the_conformance_suite(servers: int, direct: bool) -> None:
    """Rows 1-3, 6-8, 24-26 and 37-39, from outside."""
    threat = Threat(6, Fraction(0), Fraction(1, 4), servers=servers, direct=direct)
    check_protocol(registry.load("additive"), threat=threat)
