"""Tables of a configuration: each key is taken once, by what reads it, and none is left over.

A file that is wrong in three places is mended in one go, so nothing here raises at the first: what
is refused is noted with its place, and reading goes on.
"""

from __future__ import annotations

import math
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from secagg.arguments import integer, kind_of, real
from secagg.crypto import sign
from secagg.errors import CryptoError, InputError, ParameterError
from secagg.shown import short

_T = TypeVar("_T")
Read = Callable[[str, Any], _T]
"""(its place, a value as TOML has it) -> the value that is meant, or ParameterError."""

SECONDS: Mapping[str, float] = {"s": 1, "m": 60, "h": 3600, "d": 86400}
BYTES: Mapping[str, int] = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(s|m|h|d)", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,15}) ?(KiB|MiB|GiB|)", re.ASCII)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_DIGEST = 32
_LONGEST_HOST = 253  # RFC 1035 §2.3.4, written with dots


def read_file(path: Path, what: str, limit: int) -> tuple[bytes, Path]:
    """Its bytes, and the folder of which its paths are. what: it is called that in an error. Raises
    InputError where it cannot be read, is no regular file, or has more bytes than the limit."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would keep us waiting
            hint = ", but a folder: name the file in it" if path.is_dir() else ""
            raise InputError(f"{what} {path} is not a regular file{hint}")
        with path.open("rb") as source:
            data = source.read(limit + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "a file's name has no NUL character"
        raise InputError(f"{what} {path} cannot be read: {why}") from None
    if len(data) > limit:
        raise InputError(f"{what} {path} has more than {limit} bytes")
    return data, path.resolve().parent


def decoded(data: bytes) -> dict[str, Any]:
    """A file of TOML. Raises ParameterError that says where it is none, and never what is there:
    a secret may have been put into the file by mistake."""
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise ParameterError(f"byte {error.start} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        found = str(error)
        place = found[found.rindex("(at ") + 1 : -1] if "(at " in found else "at its end"
        raise ParameterError(place) from None
    except RecursionError:
        raise ParameterError("it is nested too deeply") from None


@dataclass
class Table:
    """One table, called what its heading says. refused: shared by all of a file."""

    name: str
    values: Mapping[str, Any]
    refused: list[str]
    _taken: set[str] = field(default_factory=set)

    __repr__ = short

    def need(self, key: str, read: Read[_T]) -> _T | None:
        """None where it is missing, or refused: then there is a word in `refused`."""
        if key not in self.values:
            self.refuse(f"{self.at(key)} is missing")
            return None
        return self.may(key, read)

    def may(self, key: str, read: Read[_T], default: _T | None = None) -> _T | None:
        """default: where it is not there, or refused."""
        self._taken.add(key)
        if key not in self.values:
            return default
        try:
            return read(self.at(key), self.values[key])
        except ParameterError as error:
            self.refuse(str(error))
            return default

    def inner(self, key: str) -> Table:
        """The table of that name, empty where there is none."""
        inside = self.may(key, mapping) or {}
        return Table(f"{self.name}.{key}" if self.name else key, inside, self.refused)

    def over(self) -> None:
        """Every key that nobody took is one that nothing would come of."""
        known = ", ".join(sorted(self._taken))
        for key in self.values:
            if key not in self._taken:
                self.refuse(f"{self.at(key)} is unknown: {self._where()} has {known}")

    def at(self, key: str) -> str:
        """What an error calls a key of it."""
        return f"[{self.name}] {key}" if self.name else f"[{key}]"

    def refuse(self, why: str) -> None:
        """why: where and what, as a line of its own."""
        self.refused.append(why)

    def _where(self) -> str:
        return f"[{self.name}]" if self.name else "the file"


def mapping(place: str, value: Any) -> Mapping[str, Any]:
    """A table."""
    if not isinstance(value, Mapping):
        raise ParameterError(f"{place} must be a table, not {kind_of(value)}")
    return value


def line(place: str, value: Any) -> str:
    """Text of one line, and not empty."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ParameterError(f"{place} must be a line of text")
    return value


def truth(place: str, value: Any) -> bool:
    """true or false, and no word for them."""
    if not isinstance(value, bool):
        raise ParameterError(f"{place} must be true or false")
    return value


def number(least: int, most: int) -> Read[int]:
    """Of integers from `least` to `most`."""
    return lambda place, value: integer(place, value, least, most)


def share(place: str, value: Any) -> float:
    """A fraction, 0 to 1."""
    found = real(place, value)
    if not 0 <= found <= 1:
        raise ParameterError(f"{place} must be from 0 to 1")
    return found


def duration(place: str, value: Any) -> float:
    """Seconds, of a number and its unit: "60s", "1.5h". Above zero, and no more than ten years."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ParameterError(f'{place} must be a time as "30s", "10m", "6h" or "1d"')
    found = float(match[1]) * SECONDS[match[2]]
    if not 0 < found <= 3650 * SECONDS["d"] or math.isinf(found):
        raise ParameterError(f"{place} must be above zero, and at most 3650d")
    return found


def size(place: str, value: Any) -> int:
    """Bytes, of a number and its unit: "1 GiB", or a number alone."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ParameterError(f'{place} must be a size as "64 KiB", "256 MiB" or "1 GiB"')
    return integer(place, int(match[1]) * BYTES[match[2]], 1, 1 << 60)


def host_name(place: str, value: Any) -> str:
    """As certificates and URLs have it, in lower case; an address is none."""
    name = line(place, value)
    known = _HOST.fullmatch(name) is not None and len(name) <= _LONGEST_HOST
    if not known or name.split(".")[-1].isdigit():
        raise ParameterError(f"{place} must be a host's name in lower case, as sum.example.org")
    return name


def task_name(place: str, value: Any) -> str:
    """What a task is called in files, logs and commands."""
    if not isinstance(value, str) or _NAME.fullmatch(value) is None:
        raise ParameterError(
            f"{place}: a task's name is 1 to 64 of a to z, 0 to 9 and -, and begins with none"
        )
    return value


def digits(place: str, value: Any) -> bytes:
    """32 bytes, as hexadecimal digits in lower case."""
    words = line(place, value)
    try:
        found = bytes.fromhex(words)
    except ValueError:
        found = b""
    if len(found) != _DIGEST or words != found.hex():
        raise ParameterError(f"{place} must be {2 * _DIGEST} hexadecimal digits")
    return found


def key(place: str, value: Any) -> bytes:
    """An Ed25519 key that somebody can have signed with."""
    try:
        return sign.check_public(digits(place, value))
    except CryptoError:
        raise ParameterError(f"{place} is no key that anybody signs with") from None


def address(place: str, value: Any) -> tuple[str, int]:
    """Host and port, as "0.0.0.0:443" or "[::1]:8443"; port 0 takes a free one."""
    words = line(place, value)
    host, colon, port = words.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not (colon and host and port.isascii() and port.isdigit()) or (":" in host) != bracketed:
        raise ParameterError(f'{place} must be HOST:PORT, as "0.0.0.0:443" or "[::]:443"')
    return host.strip("[]"), integer(f"{place}, its port", int(port[:6]), 0, 65535)


def within(folder: Path) -> Read[Path]:
    """Paths are of the folder in which the file is, whatever the process's own is."""

    def read(place: str, value: Any) -> Path:
        return folder / line(place, value)

    return read


def whole(
    values: Mapping[str, Any], folder: Path, made: Callable[[Table, Read[Path]], _T | None]
) -> _T:
    """What a file says. made: of its outermost table and the reader of paths in that folder; None
    where something is refused. Raises ParameterError with all that is."""
    refused: list[str] = []
    found = made(Table("", values, refused), within(folder))
    if found is None or refused:
        raise ParameterError("; ".join(refused))
    return found
