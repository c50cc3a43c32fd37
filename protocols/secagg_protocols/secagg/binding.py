"""What binds a session: the key tree, the session id, the graph (specs/10-secagg.md §3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from secagg.crypto import labels
from secagg.mask import add_stream
from secagg.types import PartyId, SessionId
from secagg.wire.codec import encode_bitmap
from secagg_protocols.secagg.messages import AdvertiseKeys

# Client and server compute all of it alike from public data; nothing here is secret.


# The tree, and not one digest of all keys, is for what comes later: a client that receives only its
# neighbours' keys can be given paths to the root, once suites sign it. Leaves and nodes have
# different first bytes, as in RFC 6962, so that no node can be passed off as a leaf. The empty
# signature keeps the leaf's layout the same where there will be one.
def leaf(offer: bytes, index: int, party: PartyId, keys: AdvertiseKeys) -> bytes:
    """H(0x00, offer, i, id, c_pk, s_pk, signature); the signature is the empty string here."""
    return labels.tree_digest(labels.LEAF, offer, index, party, keys.c_pk, keys.s_pk, b"")


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """The tree of RFC 6962 §2.1: neighbours are paired level by level, an odd last moves up."""
    level = list(leaves)
    while len(level) > 1:
        paired = [
            labels.tree_digest(labels.NODE, level[i], level[i + 1])
            for i in range(0, len(level) - 1, 2)
        ]
        level = paired + level[len(paired) * 2 :]
    return level[0]


def session_id(offer: bytes, clients: int, members: Iterable[PartyId], root: bytes) -> SessionId:
    """H(label, offer, |U1|, digest of the U1 bitmap, root); the bitmap has `clients` bits."""
    ids = frozenset(members)
    bitmap = labels.digest(labels.SET, encode_bitmap(ids, clients))
    return SessionId(labels.digest(labels.SESSION, offer, len(ids), bitmap, root))


def neighbours(session: SessionId, size: int, degree: int, index: int) -> tuple[int, ...]:
    """The neighbours of one index in U1, ascending, itself not among them.

    The graph is complete where degree >= size - 1, else a ring under a random permutation with
    degree / 2 neighbours on each side (Bell et al. 2020, §4).
    """
    # fewer may have advertised than were planned: the same parameters then give the complete graph
    if degree >= size - 1:
        return tuple(i for i in range(size) if i != index)
    order, place = permutation(session, size)
    # a ring of random order is what Bell et al. call a Harary graph; an Erdős-Rényi graph would do
    # as well on average, and leave somebody with too few neighbours now and then
    steps = [*range(1, degree // 2 + 1), *range(-(degree // 2), 0)]
    return tuple(sorted(order[(place[index] + step) % size] for step in steps))


@lru_cache(maxsize=4)  # in one process all clients of a simulation share the computation
def permutation(session: SessionId, size: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(order, its inverse): Fisher-Yates over range(size), from the last place down.

    Draws are under the key H("graph", session).
    """
    drawn = draws(labels.digest(labels.GRAPH, session))
    order = list(range(size))
    for i in range(size - 1, 0, -1):
        j = below(drawn, i + 1)
        order[i], order[j] = order[j], order[i]
    place = [0] * size
    for position, index in enumerate(order):
        place[index] = position
    return tuple(order), tuple(place)


def below(draws: Iterator[int], number: int) -> int:
    """Uniform in 0..number - 1: a draw at or above the last multiple of number is rejected."""
    # without the rejection low numbers would be likelier by up to size / 2^32, and two
    # implementations that corrected for it in different ways would have two graphs
    limit = (1 << 32) - (1 << 32) % number
    return next(r for r in draws if r < limit) % number


def draws(key: bytes) -> Iterator[int]:
    """The little-endian u32 lanes of AES-256-CTR."""
    chunk, first = 1 << 10, 0
    while True:
        lanes = np.zeros(chunk, np.uint32)
        add_stream(lanes, key, 1, first=first)
        yield from lanes.tolist()
        first += chunk
