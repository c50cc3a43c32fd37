"""Threats T2: a masked vector looks uniform, and the test would notice if it did not.

The input is constant, so whatever is not uniform comes from the masks. Seeds are fixed: these
tests either always pass or always fail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from secagg.layout import Expander, Lane, Layout, Segment
from secagg.mask import KEY_SIZE, add_stream, add_streams
from secagg.ring import Ring
from secagg.testing import Network
from secagg.types import PartyId
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.secagg import SECAGG
from secagg_protocols.secagg.messages import read_masked_input
from secagg_protocols.secagg.params import SecAggParams
from tests.networks import session_of

LENGTH = 1_000_000
PARAMS = SecAggParams(3, 2, 2, 3, 3)
BINS = 256
LIMIT = 5.0
"""Standard deviations of a chi-square of 255 degrees; a fair one passes it once in 10^6."""


def masked(width: int, expander: Expander) -> Lane:
    """One client's masked vector of LENGTH times the same value, as the server unpacks it."""
    layout = Layout((Segment(Ring(width), LENGTH),))
    value = np.full(LENGTH, 1, Ring(width).dtype)
    inputs = {PartyId(i): (value,) for i in range(3)}
    network = Network.of(
        SECAGG, session_of(PARAMS, layout=layout), inputs, seed=b"uniform", expander=expander
    ).run_until("masked-input")
    reader = Reader(network.queued(PartyId(1))[0])
    read_header(reader)
    _, packed = read_masked_input(reader, 2, layout)
    return packed.unpack()[0]


def deviation(values: npt.NDArray[np.uint64], bins: int) -> float:
    """How many standard deviations the chi-square statistic is from its mean."""
    expected = len(values) / bins
    counts = np.bincount(values.astype(np.int64), minlength=bins)
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return abs(statistic - (bins - 1)) / float(np.sqrt(2 * (bins - 1)))


def worst(lane: Lane, width: int) -> float:
    """Over the lowest and the highest bits, and over differences of neighbours."""
    wide = lane.astype(np.uint64)
    bits = min(width, 8)
    bins, keep = 1 << bits, np.uint64((1 << bits) - 1)
    views = [wide, wide >> np.uint64(width - bits), wide[1:] - wide[:-1]]
    return max(deviation(view & keep, bins) for view in views)


@pytest.mark.parametrize("width", [1, 7, 8, 16, 21, 32, 33, 64])
def test_masked_vectors_are_uniform(width: int) -> None:
    assert worst(masked(width, add_streams), width) < LIMIT


def _each(weak: Callable[..., None]) -> Expander:
    """The expander that a weak generator makes, key by key."""

    def expand(accumulator: Lane, keys: bytes, signs: bytes, /, *, first: int = 0) -> None:
        for i, positive in enumerate(signs):
            weak(accumulator, keys[KEY_SIZE * i :][:KEY_SIZE], 1 if positive else -1, first)

    return expand


def _stuck_bit(accumulator: Lane, key: bytes, sign: int, /, first: int = 0) -> None:
    """Bit 3 of every lane is always 0."""
    stream = np.zeros_like(accumulator)
    add_stream(stream, key, 1, first)
    stream &= ~stream.dtype.type(8)
    accumulator += stream if sign == 1 else -stream


def _half(accumulator: Lane, key: bytes, sign: int, /, first: int = 0) -> None:
    """Only every second element is masked."""
    stream = np.zeros_like(accumulator)
    add_stream(stream, key, 1, first)
    stream[::2] = 0
    accumulator += stream if sign == 1 else -stream


def _short_period(accumulator: Lane, key: bytes, sign: int, /, first: int = 0) -> None:
    """A generator of 28 bits of seed that steps through 2^28 states too slowly to look random.

    x -> 69069 x + 1 modulo 2^28, of which the low bits have the period of a counter.
    """
    seed = int.from_bytes(hashlib.sha256(key).digest()[:4]) >> 4
    steps = np.arange(first, first + accumulator.size, dtype=np.uint64)
    stream = ((np.uint64(seed) + steps * np.uint64(69069)) % np.uint64(1 << 28)).astype(
        accumulator.dtype
    )
    accumulator += stream if sign == 1 else -stream


@pytest.mark.parametrize("weak", [_stuck_bit, _half, _short_period])
@pytest.mark.parametrize("width", [8, 16, 32])
def test_the_test_fails_on_weak_generators(weak: Callable[..., None], width: int) -> None:
    assert worst(masked(width, _each(weak)), width) > LIMIT


def test_two_clients_masks_are_uncorrelated() -> None:
    """The same input at two clients: their masked vectors agree nowhere more than by chance."""
    layout = Layout((Segment(Ring(16), LENGTH),))
    value = np.full(LENGTH, 1, np.uint16)
    network = Network.of(
        SECAGG,
        session_of(PARAMS, layout=layout),
        {PartyId(i): (value,) for i in range(3)},
        seed=b"pair",
    ).run_until("masked-input")
    lanes = []
    for party in (PartyId(0), PartyId(1)):
        reader = Reader(network.queued(party)[0])
        read_header(reader)
        lanes.append(read_masked_input(reader, 2, layout)[1].unpack()[0].astype(np.uint64))
    for combined in (lanes[0] - lanes[1], lanes[0] + lanes[1], lanes[0] ^ lanes[1]):
        assert deviation(combined & np.uint64(255), BINS) < LIMIT
