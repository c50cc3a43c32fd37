"""What a command reads and writes: judged first, bounded, whole or not at all, and never lost."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secagg.cli import files, targets
from secagg.errors import InputError, ParameterError, TooLarge


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")  # that nobody writes: opening it would wait for ever
    return folder / "pipe"


def sparse(folder: Path) -> Path:
    with (folder / "large").open("wb") as file:
        file.truncate(10 << 30)
    return folder / "large"


@pytest.mark.parametrize("force", [True, False])
def test_a_name_outlives_a_loss_of_power(
    force: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 97: an epoch that is counted, and a transcript that nothing else has any more. A folder
    that cannot be synced keeps the file all the same."""
    synced: list[tuple[Path, list[str]]] = []

    def sync(folder: Path) -> None:
        synced.append((folder, os.listdir(folder)))
        raise OSError(errno.EINVAL, "no such thing here")

    monkeypatch.setattr(targets, "sync_folder", sync)
    targets.write_whole(tmp_path / "file", b"1", force=force)
    assert synced == [(tmp_path, ["file"])] and (tmp_path / "file").read_bytes() == b"1"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder, "is a directory"),
        (fifo, "not a regular file"),
        (lambda folder: Path("/dev/zero"), "not a regular file"),
        (lambda folder: folder / "none", "No such file"),
        (lambda folder: folder / ("x" * 4000), "File name too long"),
        (lambda folder: folder / "a\0b", "NUL"),
        (lambda folder: folder / "\udcff", "No such file"),
    ],
    ids=["folder", "pipe", "device", "missing", "long", "NUL", "no UTF-8"],
)
def test_only_regular_files_are_read(
    tmp_path: Path, make: Callable[[Path], Path], says: str
) -> None:
    with pytest.raises(InputError, match=says) as caught:
        files.read_at_most(make(tmp_path), 100, "--plan")
    assert str(caught.value).startswith("--plan")


def test_a_stream_that_calls_itself_a_file_is_none(tmp_path: Path) -> None:
    """As /proc/kmsg does: without waiting, it has nothing to give, and that is not its end."""

    class Waiting:
        def read(self, size: int) -> bytes | None:
            return None

    with pytest.raises(InputError, match="a stream"):
        files.take(Waiting(), 8)  # type: ignore[arg-type]


def test_no_more_is_read_than_a_file_may_have(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="--plan .*large has more than 100 bytes"):
        files.read_at_most(sparse(tmp_path), 100, "--plan")
    file = tmp_path / "x"
    file.write_bytes(bytes(100))
    assert files.read_at_most(file, 100, "--plan") == bytes(100)
    with pytest.raises(TooLarge):
        files.read_at_most(file, 99, "--plan")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="of Linux")
def test_a_file_that_says_it_is_empty_is_bounded_too() -> None:
    assert b"Name:" in files.read_at_most(Path("/proc/self/status"), 1 << 16, "FILE")
    with pytest.raises(TooLarge):
        files.read_at_most(Path("/proc/self/status"), 10, "FILE")
    with pytest.raises(InputError, match="cannot be read"):
        files.read_at_most(Path("/proc/self/mem"), 10, "FILE")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder, "is a directory"),
        (lambda folder: folder / "none" / "x", "is not a folder"),
        (lambda folder: Path("/dev/null"), "a device or a pipe"),
        (fifo, "a device or a pipe"),
        (lambda folder: folder / ("x" * 300), "File name too long"),
        (lambda folder: folder / "a\0b", "NUL"),
        (lambda folder: Path(""), "is a directory"),
    ],
    ids=["folder", "no folder", "device", "pipe", "long", "NUL", "empty"],
)
def test_what_cannot_be_written_is_known_before(
    tmp_path: Path, make: Callable[[Path], Path], says: str
) -> None:
    path = make(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ParameterError, match=says) as caught:
        targets.check_target(path, "--out")
    assert str(caught.value).startswith("--out") and sorted(tmp_path.iterdir()) == before


def test_a_check_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mean.npy"
    targets.check_target(None, "--out")
    targets.check_target(file, "--out", suffix=".npy", size=1000)
    assert not list(tmp_path.iterdir())
    file.write_bytes(b"old")
    targets.check_target(file, "--out")
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]
    for taken in (file, tmp_path / "link"):
        (tmp_path / "link").is_symlink() or (tmp_path / "link").symlink_to("nowhere")
        with pytest.raises(ParameterError, match="--force replaces it"):
            targets.check_target(taken, "--out", force=False)
    with pytest.raises(ParameterError, match=r"a \.npy file; name it so"):
        targets.check_target(tmp_path / "mean.csv", "--out", suffix=".npy")


def test_a_disk_without_room_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(ParameterError, match="has room for"):
        targets.check_target(tmp_path / "x", "--out", size=free + (1 << 40))

    def full(self: Path, mode: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(ParameterError, match="No space left"):
        targets.check_target(tmp_path / "x", "--out")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ParameterError, match="Permission denied"):
        targets.check_target(tmp_path / "x", "--out")


def test_two_options_are_two_files(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    targets.check_distinct({"--out": a, "--sum": b, "--x": None, "--y": None})
    b.symlink_to(a)
    for same in (a, b, tmp_path / "." / "a"):
        with pytest.raises(ParameterError, match="--out and --sum are the same file"):
            targets.check_distinct({"--out": a, "--sum": same})


def test_a_link_stays_one_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "file")
    for data in (b"1", b"2"):
        targets.write_whole(tmp_path / "link", data, force=True)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "there" / "file").read_bytes() == data
    assert len(list((tmp_path / "there").iterdir())) == 1, "no draft is left"


def test_the_longest_name_that_there_can_be(tmp_path: Path) -> None:
    targets.write_whole(tmp_path / ("x" * 255), b"1", force=False)
    assert (tmp_path / ("x" * 255)).read_bytes() == b"1"


def test_what_has_no_place_goes_to_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is gone by the end, and so may the temporary one be."""
    array = np.arange(3.0)
    assert targets.save_somewhere(tmp_path / "m.npy", array) == targets.Saved(tmp_path / "m.npy")

    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    saved = targets.save_somewhere(tmp_path / "gone" / "m.npy", array)
    assert saved.path is not None and saved.path.is_relative_to(spare)
    assert stat.S_IMODE(saved.path.parent.stat().st_mode) == 0o700
    assert np.array_equal(np.load(saved.path), array)
    assert "gone is not a folder" in saved.failed and str(saved.path) in saved.failed
    assert saved.figures("out", array) == {"out": str(saved.path)}

    shutil.rmtree(spare)
    lost = targets.save_somewhere(tmp_path / "gone" / "m.npy", array)
    assert lost.path is None and "temporary" in lost.failed
    assert lost.figures("out", array) == {"out": None, "out_values": [0.0, 1.0, 2.0]}


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("Symlink loop"), ValueError("null byte"), OSError(5, "I/O")],
)
def test_whatever_keeps_a_file_from_being_written_costs_no_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    right = targets.write_whole

    def fails(path: Path, *args: Any, **options: Any) -> None:
        if path.parent == tmp_path:
            raise error
        right(path, *args, **options)

    monkeypatch.setattr(targets, "write_whole", fails)
    saved = targets.save_somewhere(tmp_path / "m.npy", np.arange(3.0))
    assert saved.path is not None and np.load(saved.path).tolist() == [0, 1, 2]
    assert "cannot be written: " in saved.failed and ": ;" not in saved.failed

    def never(path: Path, *args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(targets, "write_whole", never)
    assert targets.save_somewhere(tmp_path / "m.npy", np.arange(3.0)).path is None


def test_the_names_of_several_rounds() -> None:
    out = Path("a/mean.npy")
    assert list(targets.every_round(out, 1)) == list(targets.every_round(None, 5)) == []
    assert [f.name for f in targets.every_round(out, 2)] == ["mean-0001.npy", "mean-0002.npy"]
    assert targets.numbered(out, 12345) == Path("a/mean-12345.npy")
