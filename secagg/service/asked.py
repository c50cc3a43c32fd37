"""Values of what a console is asked, as JSON has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secagg.errors import InputError


def word(asked: Mapping[str, Any], key: str) -> str:
    """Text. Raises InputError for anything else, or nothing."""
    value = asked.get(key)
    if not isinstance(value, str):
        raise InputError(f"what is asked lacks its {key}")
    return value


def names(given: object) -> list[str]:
    """Of a list that may be left out. Raises InputError."""
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise InputError("tasks are a list of names")
    return given
