"""The first and the last numbers that a batch of additive sums can have (20-additive.md §2)."""

from __future__ import annotations

import pytest

from secagg.committee import MIN_SERVERS
from secagg.errors import ParameterError, WireError
from secagg.types import MAX_CLIENTS, MAX_SERVERS, MIN_COHORT
from secagg_protocols.additive.params import AdditiveParams, decode_params


@pytest.mark.parametrize(
    ("clients", "servers", "smallest"),
    [
        (MIN_COHORT, MIN_SERVERS, MIN_COHORT),
        (MAX_CLIENTS, MAX_SERVERS, MAX_CLIENTS),
        (MAX_CLIENTS, MAX_SERVERS, MIN_COHORT),
    ],
)
def test_the_first_and_the_last_that_are_possible(
    clients: int, servers: int, smallest: int
) -> None:
    params = AdditiveParams(clients, servers, smallest)
    assert decode_params(params.encode()) == params


@pytest.mark.parametrize(
    ("clients", "servers", "smallest", "why"),
    [
        (8, MIN_SERVERS - 1, 3, "servers must be"),
        (8, MAX_SERVERS + 1, 3, "servers must be"),
        (8, 2, MIN_COHORT - 1, "minimum batch"),
        (8, 2, 9, "minimum batch"),
        (MAX_CLIENTS + 1, 2, 3, "minimum batch"),
    ],
)
def test_one_beyond_is_refused(clients: int, servers: int, smallest: int, why: str) -> None:
    """Whoever makes them, and in bytes as well."""
    with pytest.raises(ParameterError, match=why):
        AdditiveParams(clients, servers, smallest)
    raw = clients.to_bytes(4) + bytes([servers]) + smallest.to_bytes(4) + b"\0"
    with pytest.raises(ParameterError, match=why):
        decode_params(raw)


def test_a_mode_is_one_of_two() -> None:
    raw = AdditiveParams(8, 2, 3).encode()
    assert decode_params(raw[:-1] + b"\1").direct
    with pytest.raises(WireError, match="direct"):
        decode_params(raw[:-1] + b"\2")
