"""What binds a session: the key tree, the session id, the graph (specs/10-secagg.md §3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from secagg.crypto import labels
from secagg.errors import WireError
from secagg.mask import add_stream
from secagg.types import PartyId, SessionId
from secagg.wire.codec import encode_bitmap
from secagg_protocols.secagg.messages import AdvertiseKeys

# Client and server compute all of it alike from public data; nothing here is secret.


# The tree, and not one digest of all keys, is for active mode: a client that receives only its
# neighbours' keys is given the path of its own to the root, which the server signs. Leaves and
# nodes have different first bytes, as in RFC 6962, so that no node can be passed off as a leaf. The
# empty signature keeps the leaf's layout the same in both modes.
def leaf(
    offer: bytes, index: int, party: PartyId, keys: AdvertiseKeys, signature: bytes = b""
) -> bytes:
    """H(0x00, offer, i, id, c_pk, s_pk, signature). signature: of active mode; else empty."""
    return labels.tree_digest(labels.LEAF, offer, index, party, keys.c_pk, keys.s_pk, signature)


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """The tree of RFC 6962 §2.1: neighbours are paired level by level, an odd last moves up."""
    return tree_levels(leaves)[-1][0]


def tree_levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """The tree from the leaves up: all of its levels, the last being the root alone."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        level = levels[-1]
        paired = [_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        levels.append(paired + level[len(paired) * 2 :])
    return levels


# Zero bytes stand where a node moves up alone, so that all paths of one tree have one length, and
# with it messages one size. They are checked: a path has one encoding.
_ALONE = bytes(32)


def tree_path(levels: Sequence[Sequence[bytes]], index: int) -> tuple[bytes, ...]:
    """What leads from a leaf to the root (specs/12-active.md §2.3). levels: of `tree_levels`."""
    path = []
    for level in levels[:-1]:
        beside = index ^ 1
        path.append(level[beside] if beside < len(level) else _ALONE)
        index //= 2
    return tuple(path)


def path_root(own: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that a leaf and its path lead to, or WireError for a path that is none in a tree of
    so many leaves. It may be any root: whether it is the session's shows in the session id."""
    node, width = own, size
    for step in path:
        if index ^ 1 < width:
            node = _node(step, node) if index % 2 else _node(node, step)
        elif step != _ALONE:
            raise WireError("a path has something where its node moves up alone")
        index, width = index // 2, (width + 1) // 2
    if width != 1:
        raise WireError("a path ends below the root")
    return node


def _node(left: bytes, right: bytes) -> bytes:
    return labels.tree_digest(labels.NODE, left, right)


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


def committee(session: SessionId, size: int, signers: int) -> tuple[int, ...]:
    """Who of U1 may sign for all of it, ascending: the first of an order of its own, which nobody
    chooses (specs/12-active.md §2.5). signers: how many; size or more is everybody."""
    if signers >= size:
        return tuple(range(size))
    order, _ = permutation(session, size, labels.SIGNERS)
    return tuple(sorted(order[:signers]))


@lru_cache(maxsize=4)  # in one process all clients of a simulation share the computation
def permutation(
    session: SessionId, size: int, label: bytes = labels.GRAPH
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(order, its inverse): Fisher-Yates over range(size), from the last place down.

    Draws are under the key H(label, session).
    """
    drawn = draws(labels.digest(label, session))
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
