"""Session ids, the key tree and the graph, against definitions written out here."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.types import PartyId, SessionId
from secagg_protocols.secagg import binding
from secagg_protocols.secagg.messages import AdvertiseKeys
from tests.soak import examples

KEYS = [AdvertiseKeys(bytes([i]) * 32, bytes([i + 100]) * 32) for i in range(9)]
SESSION = SessionId(bytes(range(32)))


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def h(*parts: bytes, prefix: bytes = b"") -> bytes:
    encoded = b"".join(u32(len(p)) + p for p in parts)
    return hashlib.sha256(prefix + encoded).digest()


def rfc6962(leaves: list[bytes]) -> bytes:
    """Recursively, as RFC 6962 §2.1 defines it: split at the largest power of two below n."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return h(rfc6962(leaves[:split]), rfc6962(leaves[split:]), prefix=b"\1")


def test_leaf() -> None:
    """protocols.md's H(0x00, offer, i, id, c_pk, s_pk, signature), specs/10-secagg.md §3."""
    offer, keys = bytes(range(32)), KEYS[2]
    expected = h(offer, u32(2), u32(5), keys.c_pk, keys.s_pk, b"", prefix=b"\0")
    assert binding.leaf(offer, 2, PartyId(5), keys) == expected


@pytest.mark.parametrize("size", range(1, 34))
def test_tree_is_that_of_rfc_6962(size: int) -> None:
    leaves = [hashlib.sha256(bytes([i])).digest() for i in range(size)]
    assert binding.tree_root(leaves) == rfc6962(leaves)


def test_session_id() -> None:
    offer, root = bytes(range(32)), bytes(32)
    bitmap = h(b"secagg/v1/set", bytes([0b0010_0101, 0b1]))
    expected = h(b"secagg/v1/session", offer, u32(4), bitmap, root)
    members = [PartyId(i) for i in (8, 0, 2, 5)]
    assert binding.session_id(offer, 10, members, root) == expected


def test_session_id_depends_on_everything() -> None:
    members = [PartyId(i) for i in range(4)]
    ids = {
        binding.session_id(bytes(32), 10, members, bytes(32)),
        binding.session_id(bytes([1] * 32), 10, members, bytes(32)),
        binding.session_id(bytes(32), 17, members, bytes(32)),
        binding.session_id(bytes(32), 10, members[1:], bytes(32)),
        binding.session_id(bytes(32), 10, members, bytes([1] * 32)),
    }
    assert len(ids) == 5


def naive_permutation(session: bytes, size: int) -> list[int]:
    """Fisher-Yates over little-endian u32 draws of AES-256-CTR, rejecting the uneven top."""
    encryptor = Cipher(
        algorithms.AES256(h(b"secagg/v1/graph", session)), modes.CTR(bytes(16))
    ).encryptor()
    stream = encryptor.update(bytes(1 << 16))
    draws = iter(int.from_bytes(stream[i : i + 4], "little") for i in range(0, len(stream), 4))
    order = list(range(size))
    for i in range(size - 1, 0, -1):
        draw = next(d for d in draws if d < (1 << 32) // (i + 1) * (i + 1))
        j = draw % (i + 1)
        order[i], order[j] = order[j], order[i]
    return order


@pytest.mark.parametrize("size", [2, 3, 8, 100, 1500])
def test_permutation(size: int) -> None:
    order, place = binding.permutation(SESSION, size)
    assert list(order) == naive_permutation(SESSION, size)
    assert [order[p] for p in place] == list(range(size))


@settings(deadline=None, max_examples=examples(60))
@given(st.binary(min_size=32, max_size=32), st.integers(4, 40), st.data())
def test_graph_is_regular_symmetric_and_connected(
    session: bytes, size: int, data: st.DataObject
) -> None:
    degree = 2 * data.draw(st.integers(1, (size - 2) // 2))
    graph = [binding.neighbours(SessionId(session), size, degree, i) for i in range(size)]
    for i, near in enumerate(graph):
        assert len(near) == degree
        assert list(near) == sorted(set(near) - {i})
        assert all(i in graph[j] for j in near)
    reached, frontier = {0}, {0}
    while frontier:
        frontier = {j for i in frontier for j in graph[i]} - reached
        reached |= frontier
    assert len(reached) == size


@pytest.mark.parametrize("size", [2, 5, 6])
def test_graph_is_complete_where_the_degree_allows_no_other(size: int) -> None:
    for degree, index in itertools.product((5, 6, 99), range(size)):
        everyone = tuple(i for i in range(size) if i != index)
        assert binding.neighbours(SESSION, size, degree, index) == everyone


def test_graph_depends_on_the_session() -> None:
    graphs = {
        tuple(binding.neighbours(SessionId(bytes([s]) * 32), 30, 4, i) for i in range(30))
        for s in range(8)
    }
    assert len(graphs) == 8


def test_uneven_draws_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """2^32 - 1 is the one draw that 3 values reject; for 2 values every draw counts."""
    draws = [(1 << 32) - 1, 5, 2]
    monkeypatch.setattr(binding, "draws", lambda key: iter(draws))
    order, _ = binding.permutation(SessionId(b"rejection" + bytes(23)), 3)
    assert order == (1, 0, 2)
    binding.permutation.cache_clear()
