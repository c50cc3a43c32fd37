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
from decimal import Decimal
from typing import Any

from secagg.errors import ParameterError


def integer(name: str, value: Any, least: int, most: int) -> int:
    """`value` as an int from `least` to `most`, from anything with `__index__` but a bool.

    Raises ParameterError.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
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
    if isinstance(value, bool) or not isinstance(value, numbers.Real | Decimal):
        raise ParameterError(f"{name} must be a number, not a {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ParameterError(f"{name} must be a finite number")
    return number
