"""What every store promises, against a dictionary; and what the two kinds share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.effects import Write
from secagg.errors import SecAggError, StorageError
from secagg.store.base import Store
from secagg.store.memory import MemoryStore
from secagg.store.sqlite import SqliteStore

OWNER = bytes(32)
KEYS = st.binary(max_size=3) | st.sampled_from([b"a", b"a\x00", b"a\xff", b"\xff", b"\xff\xff"])
VALUES = st.binary(max_size=40) | st.sampled_from([bytes(9_000), b"\x01" * 9_000, bytes(40_000)])
BATCHES = st.lists(st.lists(st.builds(Write, KEYS, VALUES | st.none()), max_size=6), max_size=8)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = (
        MemoryStore() if request.param == "memory" else SqliteStore.open(tmp_path / "s", owner=b"")
    )
    with made:
        yield made


def _apply(model: dict[bytes, bytes], batch: list[Write]) -> None:
    for write in batch:
        if write.value is None:
            model.pop(write.key, None)
        else:
            model[write.key] = write.value


@settings(max_examples=40, deadline=None)
@given(batches=BATCHES, prefix=KEYS, reopen_after=st.integers(0, 8))
def test_rows_are_those_of_a_dictionary(
    batches: list[list[Write]], prefix: bytes, reopen_after: int
) -> None:
    """Deletions, repeated keys, empty keys and values, prefixes of 0xff; also after reopening."""
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
            expected = sorted(row for row in model.items() if row[0].startswith(prefix))
            assert list(store.rows(prefix)) == list(memory.rows(prefix)) == expected
        store.close()
        with SqliteStore.open(Path(folder, "store.db"), owner=OWNER) as again:
            assert list(again.rows()) == sorted(model.items())


def test_a_commit_may_come_while_rows_are_read(store: Store) -> None:
    store.commit([Write(bytes([i]), b"old") for i in range(4)])
    seen = []
    for key, _ in store.rows():
        seen.append(key)
        store.commit([Write(key, None)])
    assert seen == [bytes([i]) for i in range(4)]
    assert list(store.rows()) == []


@pytest.mark.parametrize(
    "use",
    [lambda s: list(s.rows()), lambda s: s.commit([Write(b"k", b"v")]), lambda s: s.commit([])],
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
