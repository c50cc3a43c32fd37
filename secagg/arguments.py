"""What a caller passes in at a public boundary, made Python's own number once.

Data code has numpy's integers and floats where people think of Python's. They are taken for what
they say, here and nowhere deeper: behind the boundary a count is an int and a bound a float, so
that what is computed, encoded and digested does not depend on the caller's types. What says
something else (True as a count, "16", 16.0, an array) is refused with the parameter's name, and
with its type rather than its contents: it may be somebody's data in the wrong place.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import operator
import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar

from secagg.errors import ParameterError

_FRACTION = re.compile(
    r"[-+]?(?:[0-9]{1,40}/0*[1-9][0-9]{0,39}"
    r"|(?:[0-9]{1,40}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][-+]?[0-9]{1,3})?)"
)
"""Short enough to be computed with: the power of ten in 1e-999999999 would take hours."""

_MAX_SHOWN = 256
"""Bits of a number that an error shows."""

_Text = TypeVar("_Text", bound=str)
_Kind = TypeVar("_Kind")


def kind_of(value: Any) -> str:
    """How an error calls what stands where something else belongs. A class there is nearly always
    the right one without its brackets, and its own type says nothing: ABCMeta."""
    if isinstance(value, type):
        return f"the class {value.__name__}: pass an instance, as {value.__name__}(...) makes one"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"


def integer(name: str, value: Any, least: int, most: int) -> int:
    """`value` as an int from `least` to `most`, from anything with `__index__` but a bool.

    Raises ParameterError.
    """
    try:
        if type(value).__name__ == "bool" or is_duration(value):
            raise TypeError  # numpy's bool has an __index__ in some releases
        number = operator.index(value)
    except Exception:  # noqa: BLE001 - the caller's own __index__, which may raise whatever it likes
        raise ParameterError(
            f"{name} must be an integer from {least} to {most}, not {kind_of(value)}"
        ) from None
    if not least <= number <= most:
        raise ParameterError(
            f"{name} must be an integer from {least} to {most}, not {_shown(number)}"
        )
    return number


def settle(frozen: object, **values: object) -> None:
    """For the `__post_init__` of a frozen dataclass: a caller's number as the Python number that
    every computation uses."""
    for name, value in values.items():
        object.__setattr__(frozen, name, value)


def take_integers(made: Any) -> None:
    """For the `__post_init__` of a frozen dataclass of parameters: every field as a u32, or as the
    bool that its default is. What else bounds them, the class says itself. Raises ParameterError.
    """
    for each in dataclasses.fields(made):
        value = getattr(made, each.name)
        if isinstance(each.default, bool):
            value = flag(each.name, value)
        else:
            value = integer(each.name, value, 0, (1 << 32) - 1)
        settle(made, **{each.name: value})


def real(name: str, value: Any) -> float:
    """`value` as a finite float: the nearest one, which of a numpy float is itself.

    Takes every real number type, Decimal included, but no bool, text or array. Raises
    ParameterError.
    """
    number = _float(name, "number", value)
    if not math.isfinite(number):
        raise ParameterError(f"{name} must be a finite number")
    return number


def fraction(name: str, value: Any) -> Fraction:
    """`value` from 0 to 1, exactly as it prints: 0.1 is 1/10, not the nearest binary float.

    Takes the types of `real`, and text such as "0.1" or "1/3". Raises ParameterError.
    """
    if not (isinstance(value, str) or _is_real(value)):
        raise ParameterError(f"{name} must be a fraction from 0 to 1, not {kind_of(value)}")
    exact = _as_printed(value)
    if exact is None:
        raise ParameterError(f'{name} must be a fraction from 0 to 1, such as 0.1 or "1/3"')
    if 1 < exact < 100:
        raise ParameterError(
            f"{name} must be a fraction from 0 to 1: for per cent, did you mean "
            f"{float(exact / 100):.12g}?"
        )
    if not 0 <= exact <= 1:
        raise ParameterError(f"{name} must be a fraction from 0 to 1: twenty per cent are 0.2")
    return exact


def ratio(name: str, value: Any) -> Fraction:
    """What `fraction` takes, if it is below 1 and a ratio of two 32-bit integers, as a plan's bytes
    have it. Raises ParameterError."""
    exact = fraction(name, value)
    if exact == 1:
        raise ParameterError(f"{name} must lie in [0, 1), not be all of them")
    if exact.denominator >> 32:
        raise ParameterError(
            f"{name} is not a ratio of two 32-bit integers; write it with fewer "
            'digits, or as a string or Fraction such as "1/3"'
        )
    return exact


def seconds(name: str, value: Any, *, zero: bool = False) -> float:
    """`value` as a time above 0, or from 0 on, which may be infinite; of the types of `real`.

    Raises ParameterError.
    """
    number = _float(name, "number of seconds", value)
    if not (number > 0 or (zero and number == 0)):
        least = "from 0 on" if zero else "above 0"
        raise ParameterError(f"{name} must be a number of seconds {least}, not {number}")
    return number


def flag(name: str, value: Any) -> bool:
    """`value` if it is True or False, numpy's too: "no" and an array of one False are true to
    Python."""
    if not (isinstance(value, bool) or _is_numpy_bool(value)):
        raise ParameterError(f"{name} must be True or False, not {kind_of(value)}")
    return bool(value)


def text(name: str, value: Any) -> str:
    """`value` as a plain str. Raises ParameterError."""
    if not isinstance(value, str):
        raise ParameterError(f"{name} must be a text, not {kind_of(value)}")
    return str.__str__(value)


def octets(name: str, value: Any, size: int | None = None) -> bytes:
    """`value` as bytes, `size` of them if that is given. Raises ParameterError."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise ParameterError(f"{name} must be bytes, not {kind_of(value)}")
    data = bytes(value)
    if size is not None and len(data) != size:
        raise ParameterError(f"{name} must be {size} bytes long, not {len(data)}")
    return data


def instance(name: str, value: Any, kind: type[_Kind]) -> _Kind:
    """`value` if it is of that class. Raises ParameterError, which names both."""
    if not isinstance(value, kind):
        raise ParameterError(f"{name} must be a {kind.__name__}, not {kind_of(value)}")
    return value


def function(name: str, value: Any) -> None:
    """ParameterError unless `value` can be called: of what is called later only, that it cannot be
    would be found when a result is waiting for it."""
    if not callable(value):
        raise ParameterError(f"{name} must be a function, not {kind_of(value)}")


def functions(**given: Any) -> None:
    """By their names: each may be called, or is None. Raises ParameterError."""
    for name, value in given.items():
        if value is not None:
            function(name, value)


def choice(name: str, value: Any, options: Sequence[_Text]) -> _Text:
    """The option that `value` is, as the plain text it is listed as. Raises ParameterError."""
    plain = str.__str__(value) if isinstance(value, str) else None
    found = next((o for o in options if o == plain), None)
    if found is None:
        raise ParameterError(f"{name} must be one of {', '.join(options)}")
    return found


def _shown(number: int) -> str:
    """Python writes no integer of more than some thousand digits, and nobody reads one."""
    bits = number.bit_length()
    return str(number) if bits <= _MAX_SHOWN else f"one of {bits} bits"


def _float(name: str, what: str, value: Any) -> float:
    if not _is_real(value):
        raise ParameterError(f"{name} must be a {what}, not {kind_of(value)}")
    try:
        return float(value)
    except OverflowError:
        return -math.inf if value < 0 else math.inf
    except Exception:  # noqa: BLE001 - Decimal's signalling NaN, or whatever the caller's own __float__ raises
        return math.nan


def _as_printed(value: Any) -> Fraction | None:
    """None for what prints as no fraction. Of a Rational the two integers are asked for: its text
    may be longer than Python will write."""
    try:
        if isinstance(value, numbers.Rational):
            return Fraction(int(value.numerator), int(value.denominator))
        printed = str(value).strip()
    except Exception:  # noqa: BLE001 - the caller's own class, which may raise whatever it likes
        return None
    return Fraction(printed) if _FRACTION.fullmatch(printed) else None


def is_duration(value: Any) -> bool:
    """numpy registers its timedelta64 as an integer, which no length of time is."""
    try:
        return bool(getattr(getattr(value, "dtype", None), "kind", "") == "m")
    except Exception:  # noqa: BLE001 - a property of the caller's own class
        return False


def _is_numpy_bool(value: Any) -> bool:
    """By its name, which is bool_ before numpy 2: this module is read before numpy is wanted."""
    kind = type(value)
    return kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_")


def _is_real(value: Any) -> bool:
    of_the_kind = isinstance(value, numbers.Real | Decimal) and not isinstance(value, bool)
    return of_the_kind and not is_duration(value)
