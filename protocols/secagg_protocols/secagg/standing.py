"""The states of a client as values: each holds exactly what is known in it, and is its own row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from secagg import shamir
from secagg.crypto.agree import KEY_SIZE, KeyPair, public_key, shared_secret
from secagg.errors import InvalidKey, InvalidShare, WireError
from secagg.sansio import Aborted
from secagg.types import Seed, SessionId
from secagg.wire.codec import Reader, Writer
from secagg.wire.header import DIGEST_SIZE
from secagg_protocols.rows import read_end, write_end
from secagg_protocols.secagg.messages import SHARE_SIZE, AdvertiseKeys, SharePair
from secagg_protocols.secagg.params import SecAggParams
from secagg_protocols.secagg.states import ClientState
from secagg_protocols.secagg.survivors import View

# A value is frozen, so nothing of an earlier state is left behind in a later one by oversight: what
# a transition does not carry over is forgotten, in memory and in the store alike. Which transitions
# there are is in states.py, what they compute in dealing.py, when each is made in client.py.
#
# A row has no lengths but those of §7: what it is read with is the plan, and counts that precede
# what they count (specs/10-secagg.md §12).


@dataclass(frozen=True, slots=True)
class Place:
    """Where one client stands in U1. session: whose id it has computed itself."""

    session: SessionId
    size: int
    index: int

    def write(self) -> Writer:
        return Writer().raw(self.session).u32(self.size).u32(self.index)

    @classmethod
    def read(cls, reader: Reader, params: SecAggParams) -> Place:
        # taken and not computed again: U1 and the root, from which it followed, are forgotten. What
        # ties a row to its session is the head of every row (`secagg_protocols.rows`).
        session = SessionId(reader.fixed(DIGEST_SIZE, "session"))
        place = cls(session, reader.count(params.clients, "|U1|"), reader.u32("index"))
        if place.index >= place.size:
            raise WireError("an index is not below |U1|")
        return place


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing is known, and so there is no row."""

    state: ClassVar[ClientState] = ClientState.IDLE

    def encode(self) -> bytes:
        return b""


@dataclass(frozen=True, slots=True)
# c and s are two pairs because they are opened to different people. s_sk of a client that drops out
# is rebuilt by the server, so nothing that must stay secret from it may hang on s: shares are
# sealed under c, which nobody ever rebuilds (two key pairs a user, as in Bonawitz et al. 2017).
class WantKeys:
    """The two key pairs of one session, from start() on: c seals shares, s makes masks."""

    state: ClassVar[ClientState] = ClientState.WANT_KEYS
    c: KeyPair
    s: KeyPair

    @property
    def advertised(self) -> AdvertiseKeys:
        return AdvertiseKeys(self.c.public, self.s.public)

    def encode(self) -> bytes:
        return self.c.secret.expose() + self.s.secret.expose()

    @classmethod
    def read(cls, reader: Reader, params: SecAggParams) -> WantKeys:
        return cls(_read_pair(reader), _read_pair(reader))


@dataclass(frozen=True, slots=True)
class WantShares:
    """Shares are dealt. peers: the neighbours' keys by ascending index. b: the seed of the self
    mask. own: the pair that it deals to itself. The other pairs have left with the message: whoever
    deals again deals other ones, which is why that message commits.

    sealing: X25519 of both c keys, by neighbour; what follows from keys is in no row.
    """

    state: ClassVar[ClientState] = ClientState.WANT_SHARES
    keys: WantKeys
    place: Place
    peers: Mapping[int, AdvertiseKeys]
    b: Seed
    own: SharePair = field(repr=False)
    sealing: Mapping[int, Seed]

    def encode(self) -> bytes:
        writer = self.place.write().raw(self.keys.encode()).raw(self.b.expose())
        _write_shares(writer, self.own)
        _write_indices(writer, self.peers)
        for peer in self.peers.values():
            writer.raw(peer.c_pk).raw(peer.s_pk)
        return writer.finish()

    @classmethod
    def read(cls, reader: Reader, params: SecAggParams) -> WantShares:
        place = Place.read(reader, params)
        own = WantKeys.read(reader, params)
        b = _read_seed(reader, "b")
        pair = _read_shares(reader, place.index, place.index)
        indices = _read_indices(reader, params.degree, place.size)
        peers = {v: AdvertiseKeys.read(reader) for v in indices}
        return cls(own, place, peers, b, pair, agreed(own, peers))


@dataclass(frozen=True, slots=True)
class WantInput:
    """Shares are opened: c has done its work and is gone. neighbours: all of them, ascending.
    s_keys: the mask keys of those that are in U2. held: the pairs that opened, by dealer, its own
    included."""

    state: ClassVar[ClientState] = ClientState.WANT_INPUT
    place: Place
    neighbours: tuple[int, ...]
    s: KeyPair
    b: Seed
    s_keys: Mapping[int, bytes]
    view: View
    held: Mapping[int, SharePair] = field(repr=False)

    @property
    def failed(self) -> frozenset[int]:
        """Positions among the neighbours of the dealers whose pairs did not open (rule C6)."""
        unopened = self.view.holders - self.held.keys()
        return frozenset(i for i, v in enumerate(self.neighbours) if v in unopened)

    def encode(self) -> bytes:
        writer = self.place.write().raw(self.s.secret.expose()).raw(self.b.expose())
        _write_indices(writer, self.neighbours)
        _write_view(writer, self.view)
        for key in self.s_keys.values():
            writer.raw(key)
        return _write_held(writer, self.view, self.held).finish()

    @classmethod
    def read(cls, reader: Reader, params: SecAggParams) -> WantInput:
        place = Place.read(reader, params)
        s, b = _read_pair(reader), _read_seed(reader, "b")
        neighbours = _read_indices(reader, params.degree, place.size)
        view = _read_view(reader, place, params)
        # whoever holds a share of it was dealt it, and deals went to neighbours
        if not view.holders <= {*neighbours, place.index}:
            raise WireError("a holder is no neighbour")
        present = sorted(view.holders - {place.index})
        s_keys = {v: reader.fixed(KEY_SIZE, "s_pk") for v in present}
        return cls(place, neighbours, s, b, s_keys, view, _read_held(reader, view))


@dataclass(frozen=True, slots=True)
class WantSurvivors:
    """It has masked: only the shares that it holds for others, and for itself, are still needed."""

    state: ClassVar[ClientState] = ClientState.WANT_SURVIVORS
    place: Place
    view: View
    held: Mapping[int, SharePair] = field(repr=False)

    def encode(self) -> bytes:
        writer = _write_view(self.place.write(), self.view)
        return _write_held(writer, self.view, self.held).finish()

    @classmethod
    def read(cls, reader: Reader, params: SecAggParams) -> WantSurvivors:
        place = Place.read(reader, params)
        view = _read_view(reader, place, params)
        return cls(place, view, _read_held(reader, view))


@dataclass(frozen=True, slots=True)
class Answered:
    """Rule C9: it has answered, and has nothing that could answer again."""

    state: ClassVar[ClientState] = ClientState.ANSWERED

    def encode(self) -> bytes:
        return b""

    @classmethod
    def read(cls, reader: Reader, params: SecAggParams) -> Answered:
        return cls()


@dataclass(frozen=True, slots=True)
class Ended:
    """Without success. The reason is kept so that a restored client is over as well."""

    state: ClassVar[ClientState] = ClientState.ENDED
    why: Aborted

    def encode(self) -> bytes:
        return write_end(Writer(), self.why).finish()

    @classmethod
    def read(cls, reader: Reader, params: SecAggParams) -> Ended:
        return cls(read_end(reader))


Standing: TypeAlias = Idle | WantKeys | WantShares | WantInput | WantSurvivors | Answered | Ended

_STORED: tuple[Any, ...] = (WantKeys, WantShares, WantInput, WantSurvivors, Answered, Ended)
"""In the order of their codes, from 1."""


def write_standing(writer: Writer, now: Standing) -> Writer:
    """A client's state as its row: which one, then what it holds."""
    return writer.u8(1 + [one.state for one in _STORED].index(now.state)).raw(now.encode())


def read_standing(reader: Reader, params: SecAggParams) -> Standing:
    """Raises WireError for what no client of these parameters has written."""
    # 0 is left out so that a row of zeros, as a disk may return, is no state
    code = reader.u8("state")
    if not 1 <= code <= len(_STORED):
        raise WireError("an unknown state")
    try:
        now: Standing = _STORED[code - 1].read(reader, params)
        return now
    except (InvalidShare, InvalidKey) as error:
        raise WireError(str(error)) from None


def agreed(own: WantKeys, peers: Mapping[int, AdvertiseKeys]) -> dict[int, Seed]:
    """X25519 of both c keys, by neighbour."""
    return {v: shared_secret(own.c.secret, peer.c_pk) for v, peer in peers.items()}


# Pieces of rows. Every integer is checked against the plan before anything is allocated for it.


def _read_seed(reader: Reader, what: str) -> Seed:
    return Seed(reader.fixed(Seed.SIZE, what))


def _read_pair(reader: Reader) -> KeyPair:
    # the public half is in no row: a pair whose halves did not fit would be sealed with one key and
    # opened with another
    secret = _read_seed(reader, "a private key")
    return KeyPair(secret, public_key(secret))


def _write_indices(writer: Writer, indices: Iterable[int]) -> Writer:
    numbers = list(indices)
    return writer.u32(len(numbers)).raw(b"".join(i.to_bytes(4) for i in numbers))


def _read_indices(reader: Reader, most: int, size: int) -> tuple[int, ...]:
    """Ascending and below |U1|, at most `most`: checked before any is used. WireError."""
    number = reader.count(most, "number of indices")
    indices = tuple(reader.u32("index") for _ in range(number))
    if any(i >= size for i in indices) or sorted({*indices}) != list(indices):
        raise WireError("indices are not ascending, or not below |U1|")
    return indices


def _write_shares(writer: Writer, pair: SharePair) -> None:
    writer.raw(pair.b_share).raw(pair.s_share)


def _read_shares(reader: Reader, dealer: int, holder: int) -> SharePair:
    b_share, s_share = (reader.fixed(SHARE_SIZE, "share") for _ in range(2))
    shamir.check_shares(b_share + s_share)
    return SharePair(dealer, holder, b_share, s_share)


def _write_view(writer: Writer, view: View) -> Writer:
    return _write_indices(writer.prefixed(view.sharers), sorted(view.holders))


def _read_view(reader: Reader, place: Place, params: SecAggParams) -> View:
    """t and s come from the plan, as they did when the view was made."""
    size = (place.size + 7) // 8
    sharers = reader.prefixed(size, "U2")
    bits = Reader(sharers)
    in_u2 = bits.bitmap(place.size, "U2")
    bits.finish()
    holders = frozenset(_read_indices(reader, params.degree + 1, place.size))
    if not place.index in holders <= in_u2:
        raise WireError("the holders are not in U2, or this client is not among them")
    return View(place.index, holders, sharers, params.threshold, params.min_survivors)


def _write_held(writer: Writer, view: View, held: Mapping[int, SharePair]) -> Writer:
    """Of each holder that has dealt to this client: a bit, and the shares where it is set."""
    dealers = sorted(view.holders)
    writer.bitmap((i for i, v in enumerate(dealers) if v in held), len(dealers))
    for v in dealers:
        if v in held:
            _write_shares(writer, held[v])
    return writer


def _read_held(reader: Reader, view: View) -> dict[int, SharePair]:
    dealers = sorted(view.holders)
    opened = sorted(reader.bitmap(len(dealers), "dealers"))
    return {dealers[i]: _read_shares(reader, dealers[i], view.index) for i in opened}
