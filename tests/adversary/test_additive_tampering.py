"""Every byte of every message of additive sums, changed: never another total.

Threats T1 and T13; rows 1-3, 6-8, 20, 23, 64, 65. Whatever is changed, the outcome is one of three.
EXACT: the change has no effect on the sum. WITHOUT: one report is not in it, and all others are.
ABORT: there is no sum, and the refusal names a server. Which one it is, is fixed for every field.
The messages are those of one element of three bits and two servers, so that every byte can be
reached: SECAGG_SOAK=1 reaches each. Else it is those at which something begins or ends, in every
field of every message, and one of STRIDE between them, elsewhere in each message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from secagg.crypto import hpke
from secagg.crypto.sign import KEY_SIZE, SIGNATURE_SIZE
from secagg.errors import RemoteProtocolError
from secagg.types import COLLECTOR, AbortReason, PartyId
from secagg.wire.header import HEADER_SIZE
from secagg_protocols.reports import messages
from secagg_protocols.reports.messages import Tag
from tests.ensembles import (
    HELPER,
    LEADER,
    TINY,
    Outcome,
    Setting,
    between,
    carried,
    outcome,
    params_of,
)
from tests.soak import SOAK

CLIENT = PartyId(1)
RELAY, DIRECT = Setting(params_of(2), TINY), Setting(params_of(2, direct=True), TINY)
EXACT, WITHOUT, ABORT = "exact", "without", "abort"

STRIDE = 1 if SOAK else 48

SHARE_0, SHARE_1 = hpke.OVERHEAD + TINY.packed_size, hpke.OVERHEAD + 32


@dataclass(frozen=True)
class Field:
    """One field of a message: its size, and the outcomes that a change of it may have."""

    name: str
    size: int
    outcomes: frozenset[str]


def _fields(default: str, *parts: tuple[str, int] | tuple[str, int, str]) -> tuple[Field, ...]:
    """The header before the parts; each has the default outcome, or those that it names."""
    header = (("version", 1), ("suite", 1), ("tag", 1), ("binding", 32))
    return tuple(
        Field(name, size, frozenset((rest[0] if rest else default).split("|")))
        for name, size, *rest in (*header, *parts)
    )


def _head(id: str, *manifest: str) -> list[tuple[str, int, str]]:
    """The signature covers all before it, so a change of any is the bearer's fault."""
    named = [(f"manifest {i}", 32, outcome) for i, outcome in enumerate(manifest)]
    return [("id", 16, id), ("key", KEY_SIZE, id), *named, ("signature", SIGNATURE_SIZE, id)]


_SET = (("count", 4), ("digest", 32))
_TOTAL = (
    *_SET,
    ("signatures", 2 * SIGNATURE_SIZE),
    ("sealed", SHARE_0),
    ("signature", SIGNATURE_SIZE),
)


@dataclass(frozen=True)
class Place:
    """One message of a batch: who says it to whom, and what its bytes are.

    faulty: the outcome of a message that is cut or has a byte too many.
    """

    name: str
    setting: Setting
    sender: PartyId
    to: PartyId
    tag: Tag
    fields: tuple[Field, ...]
    faulty: str

    @property
    def size(self) -> int:
        return sum(field.size for field in self.fields)

    def run(self, change: Callable[[bytes], bytes]) -> Outcome:
        seen = []

        def changed(data: bytes) -> tuple[bytes]:
            seen.append(data)
            assert len(data) == self.size
            return (change(data),)

        at = self.sender, self.to, self.tag
        if CLIENT in at:
            network = self.setting.network(wire=carried(*at, changed))
        else:
            network = self.setting.network(between=between(*at, changed))
        end = outcome(network, self.setting)
        assert len(seen) == 1
        return end

    def flips(self) -> Iterator[tuple[Field, int, int]]:
        """(field, byte, mask): one bit of a byte, and every bit of the short fields."""
        at, reached = 0, set(self.reached())
        for field in self.fields:
            for byte in sorted(reached.intersection(range(at, at + field.size))):
                bits = range(8) if field.size == 1 else [byte % 8]
                yield from ((field, byte, 1 << bit) for bit in bits)
            at += field.size

    def reached(self) -> Iterator[int]:
        """The first and the last byte of every field, and those between by the stride."""
        at = 0
        for field in self.fields:
            yield from (at, at + field.size - 1)
            at += field.size
        yield from sampled(at, sum(self.name.encode()))


PLACES = [
    Place(
        "report",
        RELAY,
        CLIENT,
        LEADER,
        Tag.REPORT,
        _fields(WITHOUT, *_head(WITHOUT, WITHOUT, WITHOUT), ("0", SHARE_0), ("1", SHARE_1)),
        WITHOUT,
    ),
    Place(
        "receipt",
        DIRECT,
        HELPER,
        CLIENT,
        Tag.RECEIPT,
        _fields(EXACT, ("id", 16), ("server", 1), ("signature", SIGNATURE_SIZE)),
        EXACT,
    ),
    Place(
        "share to the leader",
        DIRECT,
        CLIENT,
        LEADER,
        Tag.REPORT_SHARE,
        _fields(WITHOUT, *_head(WITHOUT, WITHOUT, WITHOUT), ("share", SHARE_0)),
        WITHOUT,
    ),
    Place(
        "share to a helper",
        DIRECT,
        CLIENT,
        HELPER,
        Tag.REPORT_SHARE,
        _fields(WITHOUT, *_head(WITHOUT, WITHOUT, WITHOUT), ("share", SHARE_1)),
        WITHOUT,
    ),
    Place(
        "relayed share",
        RELAY,
        LEADER,
        HELPER,
        Tag.REPORT_SHARE,
        _fields(ABORT, *_head(ABORT, ABORT, ABORT), ("share", SHARE_1)),
        ABORT,
    ),
    Place(
        "verdict",
        RELAY,
        HELPER,
        LEADER,
        Tag.VERDICT,
        _fields(
            ABORT,
            ("id", 16, WITHOUT),
            ("digest", 32),
            ("verdict", 1),
            ("receipt", SIGNATURE_SIZE),
        ),
        ABORT,
    ),
    Place(
        "decision",
        RELAY,
        LEADER,
        HELPER,
        Tag.DECISION,
        _fields(ABORT, ("id", 16), ("digest", 32), ("verdict", 1)),
        ABORT,
    ),
    Place("decided", RELAY, HELPER, LEADER, Tag.DECIDED, _fields(ABORT, ("id", 16)), ABORT),
    Place(
        "the leader's statement",
        RELAY,
        LEADER,
        HELPER,
        Tag.STATEMENT,
        _fields(ABORT, *_SET, ("signature", SIGNATURE_SIZE)),
        ABORT,
    ),
    Place(
        "a helper's statement",
        RELAY,
        HELPER,
        LEADER,
        Tag.STATEMENT,
        _fields(ABORT, *_SET, ("signature", SIGNATURE_SIZE)),
        ABORT,
    ),
    Place(
        "agreement",
        RELAY,
        LEADER,
        HELPER,
        Tag.AGREEMENT,
        _fields(ABORT, *_SET, ("signatures", 2 * SIGNATURE_SIZE)),
        ABORT,
    ),
    Place("locked", RELAY, HELPER, LEADER, Tag.LOCKED, _fields(EXACT), EXACT),
    Place("collect", RELAY, COLLECTOR, HELPER, Tag.COLLECT, _fields(ABORT), ABORT),
    Place(
        "the leader's total",
        RELAY,
        LEADER,
        COLLECTOR,
        Tag.TOTAL,
        _fields(ABORT, *_TOTAL),
        ABORT,
    ),
    Place(
        "a helper's total",
        RELAY,
        HELPER,
        COLLECTOR,
        Tag.TOTAL,
        _fields(ABORT, *_TOTAL),
        ABORT,
    ),
]
by_name = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)


def sampled(size: int, key: int) -> range:
    """Positions of a message, by the stride; each key has its own."""
    return range(key % STRIDE, size, STRIDE)


def check(end: Outcome, outcomes: frozenset[str], what: str) -> None:
    assert end.kind in outcomes, (what, end.kind, str(end.failure))
    if end.failure is not None:
        assert "server " in str(end.failure), what
    if end.total is not None and end.kind == WITHOUT:
        assert len(end.total.dropped) == 1, what


@by_name
def test_a_changed_byte(place: Place) -> None:
    """The sum is compared with the plain one in every run that has one."""
    for field, byte, mask in place.flips():
        end = place.run(lambda d, i=byte, m=mask: d[:i] + bytes([d[i] ^ m]) + d[i + 1 :])
        check(end, field.outcomes, f"{field.name}: byte {byte} ^ {mask}")


@by_name
def test_another_length(place: Place) -> None:
    """Rows 1-3: cut before and after a byte, and one or a thousand too many."""
    for size in sorted(set(place.reached())):
        check(place.run(lambda d, n=size: d[:n]), frozenset({place.faulty}), f"cut at {size}")
    for more in (b"\0", bytes(1000)):
        end = place.run(lambda d, m=more: d + m)
        check(end, frozenset({place.faulty}), f"{len(more)} more")


def test_every_kind_of_message_is_broken_here() -> None:
    assert {place.tag for place in PLACES} == set(Tag) - {Tag.ABORT, Tag.OPEN}


def _spoilt(data: bytes, key: int = 0) -> Iterator[bytes]:
    """Changed and cut at its ends, on both sides of its header's, and by the stride."""
    ends = {0, 1, 2, 3, HEADER_SIZE - 1, HEADER_SIZE, len(data) - 1}
    for i in sorted(ends.intersection(range(len(data))).union(sampled(len(data), key))):
        yield data[:i] + bytes([data[i] ^ 1 << i % 8]) + data[i + 1 :]
        yield data[:i]
    yield data + b"\0"


@pytest.mark.parametrize("setting", [RELAY, DIRECT], ids=["relay", "direct"])
def test_aborts_of_clients(setting: Setting) -> None:
    """An abort, broken or not, costs its sender only."""
    abort = messages.abort(setting.context.id, AbortReason.CANCELLED)
    for data in (abort, *_spoilt(abort)):
        tag = Tag.REPORT_SHARE if setting.params.direct else Tag.REPORT
        network = setting.network(wire=carried(CLIENT, LEADER, tag, lambda _, d=data: (d,)))
        end = outcome(network, setting)
        assert end.kind == WITHOUT and end.dropped == {CLIENT}


def test_aborts_of_servers() -> None:
    """An abort, broken or not, ends the batch before the lock, and the server is named."""
    abort = messages.abort(RELAY.context.batch(0), AbortReason.CANCELLED)
    for data in (abort, *_spoilt(abort)):
        for sender, to, tag in (
            (HELPER, LEADER, Tag.STATEMENT),
            (LEADER, HELPER, Tag.STATEMENT),
            (LEADER, HELPER, Tag.AGREEMENT),
        ):
            network = RELAY.network(between=between(sender, to, tag, lambda _, d=data: (d,)))
            check(outcome(network, RELAY), frozenset({ABORT}), data.hex())


def test_aborts_to_clients() -> None:
    """Row 49: the client ends; by RemoteProtocolError if it is not an abort of its task."""
    abort = messages.abort(RELAY.context.id, AbortReason.CANCELLED)
    for data in (abort, *_spoilt(abort)):
        client = RELAY.network().clients[CLIENT]
        client.start()
        client.outgoing()
        if data == abort or (data[:-1] == abort[:-1] and data[-1] in range(1, 8)):
            client.receive(LEADER, data)
        else:
            with pytest.raises(RemoteProtocolError):
                client.receive(LEADER, data)
        assert client.done
