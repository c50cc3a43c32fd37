"""What a caller passes in at a public boundary, made Python's own number once.

Data code has numpy's integers and floats where people think of Python's. They are taken for what
they say, here and nowhere deeper: behind the boundary a count is an int and a bound a float, so
that what is computed, encoded and digested does not depend on the caller's types. What says
something else (True as a count, "16", 16.0, an array) is refused with the parameter's name, and
with its type rather than its contents: it may be somebody's data in the wrong place.
"""

from __future__ import annotations

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

_Text = TypeVar("_Text", bound=str)


def integer(name: str, value: Any, least: int, most: int) -> int:
    """`value` as an int from `least` to `most`, from anything with `__index__` but a bool.

    Raises ParameterError.
    """
    try:
        if type(value).__name__ == "bool" or is_duration(value):
            raise TypeError  # numpy's bool has an __index__ in some releases
        number = operator.index(value)
    except TypeError:
        raise ParameterError(
            f"{name} must be an integer from {least} to {most}, not a {type(value).__name__}"
        ) from None
    if not least <= number <= most:
        raise ParameterError(f"{name} must be an integer from {least} to {most}, not {number}")
    return number


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
        raise ParameterError(f"{name} must be a fraction from 0 to 1, not a {type(value).__name__}")
    if isinstance(value, numbers.Rational):  # whose text may be longer than Python will write
        exact = Fraction(int(value.numerator), int(value.denominator))
    else:
        text = str(value).strip()
        if _FRACTION.fullmatch(text) is None:
            raise ParameterError(f'{name} must be a fraction from 0 to 1, such as 0.1 or "1/3"')
        exact = Fraction(text)
    if 1 < exact < 100:
        raise ParameterError(
            f"{name} must be a fraction from 0 to 1: for per cent, did you mean "
            f"{float(exact / 100):.12g}?"
        )
    if not 0 <= exact <= 1:
        raise ParameterError(f"{name} must be a fraction from 0 to 1: twenty per cent are 0.2")
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
    """`value` if it is True or False: "no" and an array of one False are true to Python."""
    if not isinstance(value, bool):
        raise ParameterError(f"{name} must be True or False, not a {type(value).__name__}")
    return value


def text(name: str, value: Any) -> str:
    """`value` as a plain str. Raises ParameterError."""
    if not isinstance(value, str):
        raise ParameterError(f"{name} must be a text, not a {type(value).__name__}")
    return str(value)


def choice(name: str, value: Any, options: Sequence[_Text]) -> _Text:
    """The option that `value` is, as the plain text it is listed as. Raises ParameterError."""
    found = next((o for o in options if isinstance(value, str) and o == value), None)
    if found is None:
        raise ParameterError(f"{name} must be one of {', '.join(options)}")
    return found


def _float(name: str, what: str, value: Any) -> float:
    if not _is_real(value):
        raise ParameterError(f"{name} must be a {what}, not a {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        return -math.inf if value < 0 else math.inf
    except ValueError:  # Decimal's signalling NaN, which cannot even be compared
        return math.nan


def is_duration(value: Any) -> bool:
    """numpy registers its timedelta64 as an integer, which no length of time is."""
    return getattr(getattr(value, "dtype", None), "kind", "") == "m"


def _is_real(value: Any) -> bool:
    of_the_kind = isinstance(value, numbers.Real | Decimal) and not isinstance(value, bool)
    return of_the_kind and not is_duration(value)
