"""Files that a command writes: judged before the work begins, and written whole or not at all.

A sum that many clients made cannot be made again. So whatever would keep its file from being
written is looked for first, and where writing fails nevertheless, the sum goes to another place.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secagg.errors import ParameterError
from secagg.store.files import sync_folder

if TYPE_CHECKING:
    import numpy.typing as npt

ARRAY = ".npy"
_NPY_HEADER = 128


def array_bytes(elements: int) -> int:
    """Of a .npy file of float64 or int64."""
    return _NPY_HEADER + 8 * elements


def check_target(
    path: Path | None, what: str, *, force: bool = True, suffix: str = "", size: int = 0
) -> None:
    """Nothing for None; ParameterError for a file that could not be written. Changes nothing.

    what: the option, such as "--out". force: a file of that name may be replaced. suffix: of the
    only format that there is. size: bytes that its folder must have room for.
    """
    if path is None:
        return
    if suffix and path.suffix != suffix:
        raise ParameterError(f"{what} {path}: what is written is a {suffix} file; name it so")
    try:
        check_name(path, what, force=force)
        folder = path.resolve().parent
        if not folder.is_dir():
            raise ParameterError(f"{what} {path}: {folder} is not a folder; make it first")
        _try(folder)
        free = shutil.disk_usage(folder).free
    except ValueError:
        raise ParameterError(f"{what}: a file's name has no NUL character") from None
    except OSError as error:
        raise ParameterError(f"{what} {path} cannot be written: {error.strerror}") from None
    if free < size:
        raise ParameterError(
            f"{what} {path} will have {size} bytes, and its disk has room for {free}"
        )


def check_distinct(targets: Mapping[str, Path | None]) -> None:
    """By option. ParameterError where two name one file: the second would replace the first."""
    seen: dict[Path, str] = {}
    for option, path in targets.items():
        if path is not None:
            first = seen.setdefault(_resolved(path, option), option)
            if first != option:
                raise ParameterError(f"{first} and {option} are the same file, {path}")


def numbered(path: Path, number: int) -> Path:
    """mean.npy of round 7 is mean-0007.npy."""
    return path.with_name(f"{path.stem}-{number:04d}{path.suffix}")


def every_round(path: Path | None, rounds: int) -> Iterator[Path]:
    """The files of the rounds, beside the one of the last; none for a single round."""
    if path is not None and rounds > 1:
        yield from (numbered(path, number) for number in range(1, rounds + 1))


def write_whole(path: Path, data: bytes, *, force: bool, mode: int = 0o666) -> None:
    """The whole file or none of it; FileExistsError for one that is there, unless forced. It
    outlives a loss of power from then on, where its folder can be synced.

    mode: of the file from its first byte on, less what the umask takes.
    """
    path = _through_links(path) if force else path
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is not a folder")  # and not the temporary name
    draft = _draft(path.parent)
    try:
        with open(draft, "xb", opener=partial(os.open, mode=mode)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # before its name: after a loss of power it is whole as well
        if force:
            os.replace(draft, path)
        else:
            os.link(draft, path)  # unlike a rename, it fails where the name is taken
    except FileExistsError:
        raise FileExistsError(f"{path} exists; --force replaces it") from None
    finally:
        draft.unlink(missing_ok=True)
    with suppress(OSError):  # of one that cannot even be read, or a file system without
        sync_folder(path.parent)


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    """As .npy; replaces a file of that name, whole."""
    import numpy as np

    whole = io.BytesIO()
    np.save(whole, array, allow_pickle=False)
    write_whole(path, whole.getvalue(), force=True)


@dataclass(frozen=True, slots=True)
class Saved:
    """Where an array went: path, or None where no disk took it. failed: why not to its own file."""

    path: Path | None
    failed: str = ""

    def figures(self, key: str, array: npt.NDArray[Any]) -> dict[str, object]:
        """For the command's answer, which is the last place that is left to an array."""
        if self.path is None:
            return {key: None, f"{key}_values": array.tolist()}
        return {key: str(self.path)}


_UNSAVED = (OSError, MemoryError, RuntimeError, ValueError)
"""What stands between an array and its file. Beside the disk's errors: no memory for the file's
bytes, a circle of links (RuntimeError before Python 3.13), and a name that became none."""


def save_somewhere(path: Path, array: npt.NDArray[Any]) -> Saved:
    """As `save_array`; where that fails, in a file of the folder for temporary ones."""
    try:
        save_array(path, array)
    except _UNSAVED as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        with suppress(*_UNSAVED):
            spare = Path(tempfile.mkdtemp(prefix="secagg-")) / path.name  # 0700: it is not public
            save_array(spare, array)
            return Saved(spare, f"{path} cannot be written: {why}; it is in {spare}")
        return Saved(None, f"{path} cannot be written: {why}; nor can the temporary folder")
    return Saved(path)


def check_name(path: Path, what: str, *, force: bool = True) -> None:
    """Of `check_target`, what is known of the name alone. OSError for one that no file can have."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink() and not force:
            raise ParameterError(f"{what} {path} exists; --force replaces it") from None
        return
    if stat.S_ISDIR(mode):
        raise ParameterError(f"{what} {path} is a directory; name a file in it")
    if not stat.S_ISREG(mode):  # a rename would put a file in the place of /dev/null
        raise ParameterError(f"{what} {path} is a device or a pipe; name a regular file")
    if not force:
        raise ParameterError(f"{what} {path} exists; --force replaces it")


def _try(folder: Path) -> None:
    """Permissions tell less than a file that is really made: of a read-only or full disk nothing.

    A block, as a disk without room for data may still have room for names.
    """
    draft = _draft(folder)
    try:
        with draft.open("xb") as file:
            file.write(bytes(4096))
    finally:
        draft.unlink(missing_ok=True)


def _draft(folder: Path) -> Path:
    """Not made from the target's name, which may be as long as names can be."""
    return folder / f".secagg-{os.urandom(8).hex()}"


def _through_links(path: Path) -> Path:
    """A link stays one; the file that it leads to is replaced."""
    return path.resolve() if path.is_symlink() else path


def _resolved(path: Path, what: str) -> Path:
    try:
        return path.resolve()
    except (ValueError, OSError, RuntimeError):  # a NUL; a circle of links
        raise ParameterError(f"{what} is no name of a file") from None
