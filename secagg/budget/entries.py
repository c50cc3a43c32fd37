"""The rows of a budget: what each says, its bytes, and the chain of their hashes (§9.13, §9.14)."""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from secagg.crypto import labels
from secagg.dp.filters import Way
from secagg.dp.mechanisms import SMOOTHINGS
from secagg.dp.rdp import ORDERS
from secagg.dp.release import Claim
from secagg.errors import SecAggError, WireError
from secagg.plans.disclosure import AGAINST, Counting, Disclosure
from secagg.privacy import UNITS
from secagg.shown import short
from secagg.wire.codec import Reader, Writer

HASH_SIZE = KEY_SIZE = 32
ID_SIZE = 16
ORIGIN = bytes(HASH_SIZE)
"""Before the first row."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The first row, and no other. id: random, so that two budgets never have a row in common."""

    id: bytes
    claim: Claim
    counting: Counting

    __repr__ = short

    def encode(self) -> bytes:
        writer = Writer().raw(self.id).f64(self.claim.epsilon).f64(self.claim.delta)
        writer.u8(UNITS.index(self.counting.unit)).u8(AGAINST.index(self.counting.against))
        return writer.finish()

    @classmethod
    def read(cls, reader: Reader) -> Opened:
        found = reader.fixed(ID_SIZE, "id")
        claim = Claim(reader.f64("epsilon"), reader.f64("delta"))
        unit, against = reader.u8("unit"), reader.u8("against")
        if unit >= len(UNITS) or against >= len(AGAINST):
            raise WireError("a unit or an observer has no such code")
        return cls(found, claim, Counting(UNITS[unit], AGAINST[against]))


@dataclass(frozen=True, slots=True)
class Chosen:
    """By which filter the charges that follow count. Only where no charge stands."""

    way: Way

    __repr__ = short

    def encode(self) -> bytes:
        way = self.way
        return Writer().u64(way.order).u8(way.smoothing).f64(way.slack).finish()

    @classmethod
    def read(cls, reader: Reader) -> Chosen:
        order, smoothing = reader.u64("order"), reader.u8("smoothing")
        slack = reader.fixed(8, "slack")
        way = Way(order, smoothing, struct.unpack(">d", slack)[0])
        if order and order not in ORDERS:
            raise WireError("an order that no divergence is computed at")
        if order or not smoothing:  # of divergences, and of responses
            if smoothing or any(slack):
                raise WireError("a filter with numbers that are another's")
        elif smoothing not in SMOOTHINGS or not 0 < way.slack <= 1:
            raise WireError("a filter of Gaussian noise without a smoothing, or without slack")
        return cls(way)


@dataclass(frozen=True, slots=True)
class Charged:
    """A round is begun, at its worst. session: of the one sum."""

    key: bytes
    session: bytes
    disclosure: Disclosure

    __repr__ = short

    def encode(self) -> bytes:
        return self.key + self.session + self.disclosure.encode()

    @classmethod
    def read(cls, reader: Reader) -> Charged:
        key, session = reader.fixed(KEY_SIZE, "key"), reader.fixed(KEY_SIZE, "session")
        return cls(key, session, Disclosure.read(reader))


@dataclass(frozen=True, slots=True)
class Left:
    """Its masked input leaves."""

    key: bytes

    __repr__ = short

    def encode(self) -> bytes:
        return self.key

    @classmethod
    def read(cls, reader: Reader) -> Left:
        return cls(reader.fixed(KEY_SIZE, "key"))


@dataclass(frozen=True, slots=True)
class Settled:
    """The sum had so many honest shares of noise."""

    key: bytes
    honest: int

    __repr__ = short

    def encode(self) -> bytes:
        return Writer().raw(self.key).u32(self.honest).finish()

    @classmethod
    def read(cls, reader: Reader) -> Settled:
        return cls(reader.fixed(KEY_SIZE, "key"), reader.u32("honest"))


@dataclass(frozen=True, slots=True)
class Refunded:
    """Its masked input never left."""

    key: bytes

    __repr__ = short

    def encode(self) -> bytes:
        return self.key

    @classmethod
    def read(cls, reader: Reader) -> Refunded:
        return cls(reader.fixed(KEY_SIZE, "key"))


class State(enum.Enum):
    """How far a charge has gone that counts: one that is refunded is forgotten."""

    CHARGED = "charged"
    LEFT = "left"
    SETTLED = "settled"


_STATES = tuple(State)


@dataclass(frozen=True, slots=True)
class Standing:
    """A charge that counts, and its key."""

    key: bytes
    session: bytes
    disclosure: Disclosure
    state: State

    __repr__ = short


@dataclass(frozen=True, slots=True)
class Summed:
    """All that the rows before it come to, so that a budget is opened from here (§9.16).

    opened, way: those that hold. refunded: how many were. standing: what counts, by ascending key.
    """

    opened: Opened
    way: Way
    refunded: int
    standing: tuple[Standing, ...]

    __repr__ = short

    def encode(self) -> bytes:
        numbers: dict[Disclosure, int] = {}
        for one in self.standing:
            numbers.setdefault(one.disclosure, len(numbers))
        writer = Writer().raw(self.opened.encode()).raw(Chosen(self.way).encode())
        writer.u64(self.refunded).u32(len(numbers))
        for disclosure in numbers:
            writer.raw(disclosure.encode())
        writer.u32(len(self.standing))
        for one in self.standing:
            writer.raw(one.key + one.session).u8(_STATES.index(one.state))
            writer.u32(numbers[one.disclosure])
        return writer.finish()

    @classmethod
    def read(cls, reader: Reader) -> Summed:
        opened, way = Opened.read(reader), Chosen.read(reader).way
        refunded, many = reader.u64("refunded"), reader.count(_MOST, "disclosures")
        disclosures = [Disclosure.read(reader) for _ in range(many)]
        number = reader.count(_MOST, "charges")
        return cls(opened, way, refunded, tuple(_standing(reader, disclosures, number)))


_MOST = 1 << 24
"""Charges that stand, and their kinds."""


def _standing(reader: Reader, disclosures: Sequence[Disclosure], number: int) -> Iterator[Standing]:
    """In the one order that each of these has."""
    before, known = b"", 0
    for _ in range(number):
        key, session = reader.fixed(KEY_SIZE, "key"), reader.fixed(KEY_SIZE, "session")
        state, index = reader.u8("state"), reader.u32("disclosure")
        if key <= before or state >= len(_STATES) or index > known or index >= len(disclosures):
            raise WireError("charges that stand, in another order or state than any is in")
        before, known = key, max(known, index + 1)
        yield Standing(key, session, disclosures[index], _STATES[state])
    if known < len(disclosures) or len(set(disclosures)) < len(disclosures):
        raise WireError("disclosures of no charge, or twice")


Entry: TypeAlias = Opened | Chosen | Charged | Left | Settled | Refunded | Summed
_READ: tuple[Callable[[Reader], Entry], ...] = (
    Opened.read,
    Chosen.read,
    Charged.read,
    Left.read,
    Settled.read,
    Refunded.read,
    Summed.read,
)
_KINDS = (Opened, Chosen, Charged, Left, Settled, Refunded, Summed)
SUMMED = _KINDS.index(Summed)
"""How such a row begins."""


@dataclass(frozen=True, slots=True)
class Row:
    """number: from 0. content: of the entry and its time. hash: of these and the row before."""

    number: int
    content: bytes
    hash: bytes

    __repr__ = short

    @property
    def entry(self) -> Entry:
        """Raises WireError for bytes that are none."""
        return decode(self.content)[0]


def encode(entry: Entry, time: int) -> bytes:
    """time: whole seconds since 1970, for people: nothing is computed with it (§9.13)."""
    body = entry.encode()
    return Writer().u8(_KINDS.index(type(entry))).u64(max(0, time)).raw(body).finish()


def decode(content: bytes) -> tuple[Entry, int]:
    """The entry and its time. Raises WireError."""
    reader = Reader(content)
    kind, time = reader.u8("kind of row"), reader.u64("time")
    if kind >= len(_READ):
        raise WireError(f"a row of kind {kind}")
    try:
        entry = _READ[kind](reader)
    except WireError:
        raise
    except SecAggError as wrong:  # numbers that nothing has
        raise WireError(str(wrong)) from None
    reader.finish()
    return entry, time


def linked(before: bytes, number: int, content: bytes) -> Row:
    """The row of that number after the one of this hash. Rule §9.14."""
    return Row(number, content, labels.digest(labels.BUDGET_ROW, before, number, content))


def anchor_key(id_: bytes, number: int) -> bytes:
    """What a row is claimed by in a ledger; its digest there is its hash. Rule §9.15."""
    return labels.digest(labels.BUDGET, id_, number)
