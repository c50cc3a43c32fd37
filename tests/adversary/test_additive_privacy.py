"""Threat T13: any m - 1 servers see nothing of an input, exactly and by statistics.

Exactly: with truly random elements in place of the stream, every input gives every view of m - 1
servers equally often. By statistics: the leader's share under the real stream looks uniform. Both
are shown to fail on a splitting that is broken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest

from secagg.crypto import hpke
from secagg.layout import Expander, Lane, Layout, RingVector, Segment
from secagg.mask import KEY_SIZE, add_streams
from secagg.ring import Ring
from secagg.testing import counter_randomness
from secagg.types import Seed
from secagg.wire.codec import Reader
from secagg.wire.vector import read_vector
from secagg_protocols.additive.sharing import SeedShare
from secagg_protocols.reports.making import make_report
from tests.adversary import test_uniformity as uniformity
from tests.ensembles import Setting, params_of

WIDTH = 2
Vector = tuple[int, ...]
View = tuple[Vector, ...]


class Table:
    """An Expander of truly random elements: each new key takes the next row of a table."""

    def __init__(self, rows: tuple[Vector, ...]) -> None:
        self._rows, self._known = list(rows), dict[bytes, Vector]()

    def __call__(self, accumulator: Lane, keys: bytes, signs: bytes, /, *, first: int = 0) -> None:
        for i, positive in enumerate(signs):
            key = keys[KEY_SIZE * i :][:KEY_SIZE]
            if key not in self._known:
                self._known[key] = self._rows.pop(0)
            stream = np.array(self._known[key], accumulator.dtype)
            accumulator += stream if positive else -stream


class Repeated(Table):
    """Broken: every key expands to the first row, as if one seed served all servers."""

    def __call__(self, accumulator: Lane, keys: bytes, signs: bytes, /, *, first: int = 0) -> None:
        for positive in signs:
            stream = np.array(self._rows[0], accumulator.dtype)
            accumulator += stream if positive else -stream


class Constant(Table):
    """Broken: the streams are there, but known."""

    def __init__(self, rows: tuple[Vector, ...]) -> None:
        super().__init__(tuple((1,) * len(row) for row in rows))


class Half(Table):
    """Broken: the streams cover the first element only."""

    def __init__(self, rows: tuple[Vector, ...]) -> None:
        super().__init__(tuple((row[0], *(0 for _ in row[1:])) for row in rows))


@pytest.fixture
def unsealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shares themselves: what sealing hides from others is not the question here."""
    monkeypatch.setattr(hpke, "seal", lambda public, plaintext, info: bytes(plaintext))


def shares(setting: Setting, vector: Vector, table: Table) -> View:
    """What each server has of one report, once it is opened and expanded."""
    context = setting.context_over(table)
    lane: RingVector = (np.array(vector, np.uint8),)
    sealed = make_report(context, lane, counter_randomness(b"report")).shares
    seen = [read_vector(Reader(sealed[0].data), setting.layout).unpack()]
    for share in sealed[1:]:
        seed, index = Seed(share.data), share.index
        opened = setting.layout.zeros()
        keys = context.scheme.stream_keys(seed, share.head.id, index)
        SeedShare(keys, table).add_to(opened)
        seen.append(opened)
    return tuple(tuple(int(x) % 4 for x in one[0]) for one in seen)


def views(
    servers: int, length: int, kind: Callable[[tuple[Vector, ...]], Table]
) -> dict[Vector, dict[tuple[int, ...], Counter[View]]]:
    """Input -> coalition of m - 1 servers -> how often each view occurs over all tables."""
    setting = Setting(params_of(servers), Layout((Segment(Ring(WIDTH), length),)))
    vectors = list(product(range(1 << WIDTH), repeat=length))
    coalitions = list(combinations(range(servers), servers - 1))
    found: dict[Vector, dict[tuple[int, ...], Counter[View]]] = {}
    for vector in vectors:
        found[vector] = {coalition: Counter() for coalition in coalitions}
        for rows in product(vectors, repeat=servers - 1):
            seen = shares(setting, vector, kind(rows))
            totals = tuple(sum(part) % 4 for part in zip(*seen, strict=True))
            assert totals == vector  # broken or not, the shares sum to the input
            for coalition in coalitions:
                found[vector][coalition][tuple(seen[i] for i in coalition)] += 1
    return found


def independent(found: dict[Vector, dict[tuple[int, ...], Counter[View]]]) -> bool:
    """Whether every input has the same distribution of views, for every coalition."""
    first, *others = found.values()
    return all(one == first for one in others)


SIZES = [(2, 1), (2, 2), (3, 1), (3, 2)]


@pytest.mark.usefixtures("unsealed")
@pytest.mark.parametrize(("servers", "length"), SIZES)
def test_views_are_the_same_for_every_input(servers: int, length: int) -> None:
    """Every view occurs equally often: once for each table that it leaves open."""
    found = views(servers, length, Table)
    assert len(found) == 4**length
    assert independent(found)
    for by_coalition in found.values():
        for counts in by_coalition.values():
            assert set(counts.values()) == {1}
            assert len(counts) == 4 ** (length * (servers - 1))


BROKEN: list[tuple[int, int, type[Table]]] = [
    (2, 1, Constant),
    (3, 1, Constant),
    (2, 2, Half),
    (3, 1, Repeated),
]


@pytest.mark.usefixtures("unsealed")
@pytest.mark.parametrize(("servers", "length", "kind"), BROKEN)
def test_broken_splittings_are_noticed(servers: int, length: int, kind: type[Table]) -> None:
    assert not independent(views(servers, length, kind))


def test_no_seed_is_drawn_twice_and_none_keys_two_servers() -> None:
    """One seed for all would still give other streams: the index is in the derivation."""
    setting = Setting(params_of(5))
    sizes: list[int] = []

    def constant(size: int) -> bytes:
        sizes.append(size)
        return bytes(size)

    vector = setting.layout.zeros()
    make_report(setting.context, vector, constant)
    assert sizes == [16, 32, 32, 32, 32, 32]
    stream_keys = setting.context.scheme.stream_keys
    keys = [stream_keys(Seed(bytes(32)), bytes(16), i) for i in range(1, 5)]
    assert len({key for one in keys for key in one}) == 4 * len(setting.layout.segments)
    others = stream_keys(Seed(bytes(32)), bytes([1]) * 16, 1)
    assert not set(others) & set(keys[0])  # nor would a seed that two reports share


# The real stream


def leader_share(width: int, expander: Expander, servers: int = 2) -> Lane:
    """What the leader opens of a report of LENGTH times the same value."""
    layout = Layout((Segment(Ring(width), uniformity.LENGTH),))
    setting = Setting(params_of(servers), layout)
    value = (np.full(uniformity.LENGTH, 1, Ring(width).dtype),)
    report = make_report(setting.context_over(expander), value, counter_randomness(b"uniform"))
    sealed = report.shares[0]
    info = setting.context.share_info(sealed.head.id, sealed.head.front, 0)
    plaintext = setting.keys.servers[0].opening_key().open(sealed.data, info)
    return read_vector(Reader(plaintext), layout).unpack()[0]


@pytest.mark.parametrize("width", [1, 8, 21, 32, 64])
def test_leader_shares_are_uniform(width: int) -> None:
    assert uniformity.worst(leader_share(width, add_streams), width) < uniformity.LIMIT


def test_leader_shares_of_three_servers_are_uniform() -> None:
    assert uniformity.worst(leader_share(16, add_streams, servers=3), 16) < uniformity.LIMIT


WEAK = [uniformity._stuck_bit, uniformity._half, uniformity._short_period]


@pytest.mark.parametrize("weak", WEAK)
@pytest.mark.parametrize("width", [8, 32])
def test_the_test_fails_on_weak_generators(weak: Callable[..., Any], width: int) -> None:
    lane = leader_share(width, uniformity._each(weak))
    assert uniformity.worst(lane, width) > uniformity.LIMIT


def test_two_reports_shares_are_uncorrelated() -> None:
    setting = Setting(params_of(2), Layout((Segment(Ring(16), uniformity.LENGTH),)))
    lanes = []
    for seed in (b"one", b"two"):
        value = np.full(uniformity.LENGTH, 1, np.uint16)
        make_report(setting.context, (value,), counter_randomness(seed))
        lanes.append(value.astype(np.uint64))  # consumed: it is the leader's share now
    one, two = lanes
    for combined in (one - two, one + two, one ^ two):
        low = combined & np.uint64(255)
        assert uniformity.deviation(low, uniformity.BINS) < uniformity.LIMIT
