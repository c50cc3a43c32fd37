"""What every store promises, against a dictionary; and what the two kinds share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.effects import MACHINE, ROUNDS, Write
from secagg.errors import ParameterError, SecAggError, StorageError
from secagg.store.base import Store, forget
from secagg.store.memory import MemoryStore
from secagg.store.space import Space
from secagg.store.sqlite import SqliteStore

OWNER = bytes(32)
SPACES = st.sampled_from([bytes(16), bytes(15) + b"\x01", b"\xff" * 15 + b"\xfe", b"\xff" * 16])
OWN = st.binary(max_size=2) | st.sampled_from([b"a", b"a\x00", b"a\xff", b"\xff", b"\xff\xff"])
KEYS = st.builds(lambda *parts: b"".join(parts), SPACES, st.sampled_from([b"\0", b"\xff"]), OWN)
VALUES = st.binary(max_size=40) | st.sampled_from([bytes(9_000), b"\x01" * 9_000, bytes(40_000)])
WRITES = st.builds(Write, KEYS, VALUES | st.none()) | st.builds(forget, SPACES)
BATCHES = st.lists(st.lists(WRITES, max_size=6), max_size=8)
NAMESPACE = bytes(range(16))
K = NAMESPACE + b"\x01k"


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = (
        MemoryStore() if request.param == "memory" else SqliteStore.open(tmp_path / "s", owner=b"")
    )
    with made:
        yield made


def _apply(model: dict[bytes, bytes], batch: list[Write]) -> None:
    for write in batch:
        if len(write.key) == 16:
            for key in [key for key in model if key[:16] == write.key]:
                del model[key]
        elif write.value is None:
            model.pop(write.key, None)
        else:
            model[write.key] = write.value


@settings(max_examples=40, deadline=None)
@given(batches=BATCHES, namespace=SPACES, reopen_after=st.integers(0, 8))
def test_rows_are_those_of_a_dictionary(
    batches: list[list[Write]], namespace: bytes, reopen_after: int
) -> None:
    """Deletions, repeated keys, namespaces that end, of 0xff too; also after reopening (03 §1)."""
    model: dict[bytes, bytes] = {}
    memory = MemoryStore()
    with TemporaryDirectory() as folder:
        store = SqliteStore.open(Path(folder, "store.db"), owner=OWNER)
        for number, batch in enumerate(batches):
            if number == reopen_after:
                store.close()
                store = SqliteStore.open(Path(folder, "store.db"), owner=OWNER)
            _apply(model, batch)
            memory.commit(batch)
            store.commit(batch)
            expected = sorted(row for row in model.items() if row[0].startswith(namespace))
            assert list(store.rows(namespace)) == list(memory.rows(namespace)) == expected
            assert list(store.rows()) == list(memory.rows()) == sorted(model.items())
        store.close()
        with SqliteStore.open(Path(folder, "store.db"), owner=OWNER) as again:
            assert list(again.rows()) == sorted(model.items())


def test_a_commit_may_come_while_rows_are_read(store: Store) -> None:
    keys = [K + bytes([i]) for i in range(4)]
    store.commit([Write(key, b"old") for key in keys])
    seen = []
    for key, _ in store.rows():
        seen.append(key)
        store.commit([Write(key, None)])
    assert seen == keys
    assert list(store.rows()) == []


@pytest.mark.parametrize(
    "use",
    [lambda s: list(s.rows()), lambda s: s.commit([Write(K, b"v")]), lambda s: s.commit([])],
)
def test_a_closed_store_refuses_and_closes_twice(
    store: Store, use: Callable[[Store], object]
) -> None:
    store.close()
    store.close()
    with pytest.raises(StorageError, match="closed"):
        use(store)


def test_the_error_is_one_of_ours() -> None:
    assert issubclass(StorageError, SecAggError)


def test_a_value_is_not_in_the_repr() -> None:
    """A row can hold a share, and an error may be logged anywhere."""
    assert "secret" not in repr(Write(b"k", b"secret"))


@pytest.mark.parametrize(
    "write",
    [Write(b"", b"v"), Write(b"short", None), Write(NAMESPACE, b"v"), Write(NAMESPACE[:-1], None)],
)
def test_a_key_of_no_namespace_changes_nothing(store: Store, write: Write) -> None:
    """03 §1.1: such a row would outlive every session. The store goes on: nothing has failed."""
    with pytest.raises(ParameterError, match="16 bytes of namespace"):
        store.commit([Write(K, b"v"), write])
    assert list(store.rows()) == []
    store.commit([Write(K, b"v")])
    for namespace in (b"k", NAMESPACE + b"\x01"):
        with pytest.raises(ParameterError, match="a namespace has 16 bytes"):
            store.rows(namespace)
        with pytest.raises(ParameterError, match="a namespace has 16 bytes"):
            forget(namespace)
    assert list(store.rows()) == [(K, b"v")]


def test_a_namespace_ends_within_the_batch_that_says_how(store: Store) -> None:
    """03 §1.4: what a session leaves is its end, and nobody else's rows are touched."""
    other, end = b"\xff" * 16 + b"\x00k", NAMESPACE + b"\x00end"
    store.commit([Write(K + b"%d" % i, b"v") for i in range(20)] + [Write(other, b"v")])
    store.commit([Write(end, b"not yet")])
    store.commit([Write(K + b"late", b"v"), forget(NAMESPACE), Write(end, b"done")])
    assert list(store.rows()) == [(end, b"done"), (other, b"v")]
    store.commit([forget(other[:16]), forget(b"never there, so.")])
    assert list(store.rows(NAMESPACE)) == [(end, b"done")] == list(store.rows())


def test_an_owner_sees_its_own_rows_under_its_own_keys(store: Store) -> None:
    """03 §1.2, 1.3."""
    spaces = [Space(store, n, owner) for n in (bytes(16), NAMESPACE) for owner in (ROUNDS, MACHINE)]
    for number, space in enumerate(spaces):
        space.commit([Write(b"k", b"%d" % number), Write(b"", b"empty")])
    spaces[0].commit([Write(b"k", None)], besides=spaces[1].under([Write(b"k", b"changed")]))
    assert [dict(space.rows()).get(b"k") for space in spaces] == [None, b"changed", b"2", b"3"]
    assert len(list(store.rows())) == 7
