"""How values of many parts show themselves: in one short line.

A debugger, a log or a failed comparison shows them at the worst of times, and of a model's million
elements, or a round's thousand clients, what helps is how many there are. `__repr__ = short` in the
body of a dataclass is all that it takes; what a field hides with repr=False stays hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import fields
from decimal import ROUND_UP, Context, Decimal
from typing import Any

_FEW = 3
"""Items of a collection that are shown: more are counted."""
_PART, _WHOLE = 72, 480
"""Characters of one value, and of all."""
_BYTES = 16


def short(made: Any) -> str:
    """As a dataclass shows itself, but for what would be long."""
    said = ", ".join(f"{f.name}={brief(getattr(made, f.name))}" for f in fields(made) if f.repr)
    return _cut(f"{type(made).__qualname__}({said}", _WHOLE) + ")"


def complete(made: Any) -> str:
    """As a dataclass shows itself of its own, whatever its class says: where a text must be of all
    that there is, as one of which a digest is made."""
    said = ", ".join(f"{f.name}={getattr(made, f.name)!r}" for f in fields(made) if f.repr)
    return f"{type(made).__qualname__}({said})"


def at_most(bound: float | Decimal, digits: int = 3) -> str:
    """A bound that is at least 0 in `digits` digits, rounded up: a promise is never printed below
    what is kept."""
    rounded = Context(prec=digits, rounding=ROUND_UP).plus(Decimal(bound))
    text = f"{float(rounded):.{digits}g}"
    # a subnormal float has fewer digits than are asked for, and may have been rounded down
    return text if Decimal(text) >= rounded else f"{rounded:g}"


def brief(value: Any) -> str:
    """One value. Nothing long is written out to be cut afterwards."""
    kind = type(value).__name__
    if isinstance(value, bytes | bytearray) and len(value) > _BYTES:
        return f"<{len(value)} bytes {value[:4].hex()}..>"
    if isinstance(value, str):
        return repr(value if len(value) <= _PART else value[:_PART] + "..")
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"<{kind} {tuple(value.shape)} {value.dtype}>"
    if type(value).__module__.partition(".")[0] == "secagg":
        return _cut(repr(value), _PART)  # ours have a short one of their own
    if isinstance(value, Mapping | Set | list | tuple) and len(value) > _FEW:
        return f"<{kind} of {len(value)}>"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{brief(k)}: {brief(one)}" for k, one in value.items()) + "}"
    if isinstance(value, Set | list | tuple) and type(value).__repr__ in _PLAIN:
        return f"{_OPEN.get(kind, kind + '(')}{_listed(value)}{_CLOSE.get(kind, ')')}"
    return _cut(repr(value), _PART)


_PLAIN = (list.__repr__, tuple.__repr__, set.__repr__, frozenset.__repr__)
_OPEN = {"list": "[", "tuple": "(", "set": "{"}
_CLOSE = {"list": "]", "set": "}"}


def _listed(values: Set[Any] | Sequence[Any]) -> str:
    return ", ".join(map(brief, values)) + ("," if isinstance(values, tuple) and values else "")


def printable(text: str) -> str:
    """Control characters, line ends included, and what no encoding has, as escapes.

    What others chose, a file's name or a peer's words, neither draws on a terminal nor begins a
    line of its own.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def told(text: str) -> str:
    """What a peer says, for a log: printable, and no longer than what is shown of our own."""
    return _cut(printable(text[:_WHOLE]), _WHOLE)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 2] + ".."
