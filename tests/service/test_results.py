"""Results of a service: kept with the end of their round, listed, taken, expired.

Rules B8, B9 and B10 of specs/52-books.md.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence

import numpy as np
import pytest

import secagg
from secagg.crypto import sign
from secagg.effects import Write
from secagg.errors import InputError, StorageError
from secagg.party import Aggregate
from secagg.rounds.clock import RoundReport
from secagg.rounds.round import End
from secagg.service import results
from secagg.service.audit import Deed
from secagg.service.books import OWNER, Books
from secagg.service.results import Result, Results, arrays_key, packed, unpacked
from secagg.types import Seed
from secagg.wire.hello import Service
from tests import totals

NOW = 1_800_000_000


class Kept:
    """Results and the rows that a store would have."""

    def __init__(self) -> None:
        self.results, self.rows = Results(), dict[bytes, bytes]()

    def commit(self, writes: Sequence[Write]) -> int:
        for write in writes:
            if write.value is None:
                del self.rows[write.key]
            else:
                self.rows[write.key] = write.value
        return len(writes)

    def add(self, number: int, task: str = "mortality", at: int = NOW) -> bytes:
        nonce = bytes([number]) * 16
        assert self.commit(self.results.add(task, nonce, total(), at)) == 2
        return nonce

    def again(self) -> Results:
        found = Results()
        found.restore(self.rows.items())
        return found


def total() -> Aggregate:
    return totals.aggregate(
        {"age": secagg.Integer(2, max=9), "dose": secagg.FixedPoint(2, clip=1.0, bits=8)}
    )


def test_a_result_is_there_after_a_restart() -> None:
    kept = Kept()
    nonce = kept.add(1)
    found = kept.again().get(nonce)
    assert found == kept.results.get(nonce)
    assert found is not None
    assert (found.task, found.at, found.contributors) == ("mortality", NOW, 3)
    assert set(found.errors) == {"dose"}  # integers are not rounded
    assert found.size == len(kept.rows[arrays_key(nonce)])


def test_its_arrays_are_those_of_the_sum() -> None:
    kept, expected = Kept(), total()
    found = unpacked(kept.rows[arrays_key(kept.add(1))])
    assert set(found) == {"sum.age", "sum.dose", "mean.age", "mean.dose"}
    for name in ("age", "dose"):
        assert np.array_equal(found[f"sum.{name}"], expected.sum[name])
        assert found[f"sum.{name}"].dtype == expected.sum[name].dtype
        assert np.array_equal(found[f"mean.{name}"], expected.mean[name])


def test_equal_results_are_equal_bytes() -> None:
    assert packed(total()) == packed(total())


def test_the_same_round_again_is_no_second_result() -> None:
    """A server that died before clients were told ends the round again."""
    kept = Kept()
    nonce = kept.add(1)
    kept.results = kept.again()
    assert kept.commit(kept.results.add("mortality", nonce, total(), NOW + 9)) == 0
    assert len(kept.results.all()) == 1


def test_whoever_asks_sees_the_results_of_its_tasks() -> None:
    kept = Kept()
    first, other = kept.add(1), kept.add(2, "age")
    assert [one.nonce for one in kept.results.all()] == [first, other]
    assert [one.nonce for one in kept.results.all({"age"}.__contains__)] == [other]
    assert kept.results.get(bytes(16)) is None


def test_a_result_is_taken_once() -> None:
    kept = Kept()
    nonce = kept.add(1)
    assert kept.results.waiting("mortality") == 1
    assert kept.commit(kept.results.take(nonce)) == 1
    assert kept.commit(kept.results.take(nonce)) == 0
    assert kept.commit(kept.results.take(bytes(16))) == 0
    assert kept.again().waiting("mortality") == 0


def test_what_is_removed_leaves_nothing() -> None:
    kept = Kept()
    nonce = kept.add(1)
    assert kept.commit(kept.results.remove(nonce)) == 2
    assert kept.rows == {}
    assert kept.commit(kept.results.remove(nonce)) == 0


def test_old_results_expire_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "STEP", 2)
    kept = Kept()
    for number in range(4):
        kept.add(number, at=NOW + number)
    assert kept.commit(kept.results.expire(NOW + 3)) == 2 * 2
    assert [one.at for one in kept.results.all()] == [NOW + 2, NOW + 3]
    assert kept.commit(kept.results.expire(NOW + 3)) == 2
    assert kept.commit(kept.results.expire(NOW + 3)) == 0
    assert len(kept.rows) == 2


def test_they_are_listed_by_time_after_a_restart() -> None:
    kept = Kept()
    for number, at in ((1, NOW + 5), (2, NOW)):
        kept.add(number, at=at)
    assert [one.at for one in kept.again().all()] == [NOW, NOW + 5]


@pytest.mark.parametrize("change", ["version", "short", "long", "name"])
def test_97_a_damaged_row_is_found(change: str) -> None:
    kept = Kept()
    nonce = kept.add(1)
    key = next(key for key in kept.rows if key != arrays_key(nonce))
    row = kept.rows[key]
    kept.rows[key] = {
        "version": b"\2" + row[1:],
        "short": row[:-1],
        "long": row + b"\0",
        "name": row.replace(b"mortality", b"mortal\xffty"),
    }[change]
    with pytest.raises(StorageError, match="damaged"):
        kept.again()


@pytest.mark.parametrize("data", [b"", b"PK", b"\x93NUMPY", b"x" * 100])
def test_17_other_bytes_are_no_arrays(data: bytes) -> None:
    with pytest.raises(InputError):
        unpacked(data)


def test_17_a_pickle_in_an_archive_is_not_loaded() -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive, archive.open("sum.a.npy", "w") as file:
        np.save(file, np.array([object()]), allow_pickle=True)
    with pytest.raises(InputError):
        unpacked(whole.getvalue())


def test_a_label_is_kept_with_what_it_is_of() -> None:
    private = totals.aggregate(
        {"dose": secagg.Vector(2, norm=1.0, bits=8)}, privacy=secagg.Privacy(2.0, 1e-3)
    )
    kept = Kept()
    kept.commit(kept.results.add("t", bytes(16), private, NOW))
    found = kept.again().get(bytes(16))
    assert found is not None
    assert json.loads(found.privacy)["epsilon_server"] <= 2.0
    assert isinstance(found, Result)


def test_77_a_clock_that_was_set_back_makes_no_result_old() -> None:
    """As of a machine that begins in 1970 until it has found the time: the result has the date of
    its line in the audit, so that the first sweep by the right clock leaves it."""
    books, report = (
        Books(Service("localhost", sign.public_key(Seed(bytes(32))))),
        RoundReport({}, 0, 0),
    )
    books.note(Deed.STARTED, OWNER, NOW)
    end = End(bytes([5]) * 16, total(), None, report)
    assert books.ended("mortality", end, 60)
    (kept,) = books.results.all()
    assert kept.at == NOW
    assert books.expire(NOW, 0, NOW + 1) == []
