"""What waits to be stored: a row that is written again before it was taken is stored once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from secagg.effects import NAMESPACE_SIZE, Write
from secagg.rounds.base import MACHINE, Outbox
from secagg.store.base import outcome

SPACES = [bytes([i]) * NAMESPACE_SIZE for i in range(2)]
DEEDS = st.tuples(
    st.sampled_from(SPACES),
    st.none() | st.tuples(st.sampled_from([b"a", b"b"]), st.none() | st.binary(max_size=2)),
)


@given(st.lists(DEEDS, max_size=12))
def test_what_is_stored_is_what_was_written(deeds: list[tuple[bytes, tuple[bytes, bytes]]]) -> None:
    """In whatever order rows and whole namespaces come and go; specs/03-storage.md §1."""
    outbox, all_of_them = Outbox(), []
    for space, row in deeds:
        if row is None:
            outbox.forget(space)
            all_of_them.append(Write(space, None))
        else:
            outbox.write(space, MACHINE, [Write(*row)])
            all_of_them.append(Write(space + MACHINE + row[0], row[1]))
    assert outcome(outbox.take().writes) == outcome(all_of_them)


def test_a_sum_that_waits_is_kept_once() -> None:
    """While a transaction is under way a hundred inputs come, and each makes another sum."""
    outbox = Outbox()
    for number in range(100):
        outbox.write(SPACES[0], MACHINE, [Write(b"sum", bytes([number]) * 1000)])
    (only,) = outbox.take().writes
    assert only.value == bytes([99]) * 1000
    assert not outbox.take().writes
