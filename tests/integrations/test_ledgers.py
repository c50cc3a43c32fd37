"""Ledgers that a process keeps open between messages, and when it does not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from secagg.errors import Spent, StorageError
from secagg.integrations import ledgers
from secagg.integrations.floors import FILE, Floors
from secagg.integrations.ledgers import close_idle, kept_open
from secagg.store.ledger import SqliteLedger

KEY, ONE, OTHER = bytes(32), b"1" * 32, b"2" * 32


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    close_idle()
    yield
    close_idle()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def used(path: Path) -> SqliteLedger:
    with kept_open(path) as ledger:
        ledger.claim(KEY, ONE)
    return ledger


def test_the_next_message_finds_it_open(tmp_path: Path) -> None:
    with Floors(state=tmp_path / "home").ledger() as first:
        first.claim(KEY, ONE)
    with (
        pytest.raises(Spent),
        Floors(state=tmp_path / "home").ledger() as second,
    ):
        assert second is first
        second.claim(KEY, OTHER)
    assert used(tmp_path / "home" / FILE) is first, "what the caller raises is no fault of it"


def test_two_at_once_have_their_own_and_one_is_kept(path: Path) -> None:
    with kept_open(path) as first, kept_open(path) as second:
        assert first is not second
        second.claim(KEY, ONE)
        with pytest.raises(Spent):
            first.claim(KEY, OTHER)
    assert first.failed and not second.failed
    assert used(path) is second


@pytest.mark.parametrize("there", [True, False])
def test_another_file_in_its_place_is_opened_and_judged(path: Path, there: bool) -> None:
    first = used(path)
    copied = path.with_name("copied")
    shutil.copy(path, copied)
    path.unlink()
    if there:
        os.rename(copied, path)
        with pytest.raises(StorageError, match="is a copy"):
            used(path)
    else:
        assert used(path) is not first
    assert first.failed


def test_one_that_others_may_read_by_now_is_refused(path: Path) -> None:
    used(path)
    path.chmod(0o644)
    with pytest.raises(StorageError, match="open to other users"):
        used(path)


def test_one_that_has_failed_is_opened_anew(path: Path) -> None:
    first = used(path)
    with pytest.raises(StorageError), kept_open(path) as again:
        assert again is first
        again._database.execute("UPDATE rows SET value = ?", (OTHER,))
        again.claim(KEY, ONE)
    assert first.failed
    with pytest.raises(StorageError, match="damaged"):
        used(path)


def test_the_one_used_least_lately_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "MOST", 2)
    paths = [tmp_path / name for name in "abc"]
    a, b = (used(path) for path in paths[:2])
    assert used(paths[0]) is a
    c = used(paths[2])
    assert (a.failed, b.failed, c.failed) == (False, True, False)


def test_what_was_opened_before_a_fork_is_left_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, here = used(path), os.getpid()
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: here + 1)
        second = used(path)
        assert second is not first and not first.failed
        close_idle()
    assert second.failed and used(path) is first
