"""The file of a client's policy: one table of TOML, whose keys are the fields of `Policy`.

roster = 1000
threshold = "0.6"
corrupt = "0.1"
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from secagg.cli.files import read_at_most
from secagg.errors import InputError, ParameterError
from secagg.policy import Policy

_LARGEST = 1 << 16
"""Bytes; a policy has nine lines, and comments."""


def read_policy(path: Path) -> Policy:
    """Raises InputError for what is no TOML, and ParameterError, both of the file, for a key that
    no policy has or a value that is none."""
    data = read_at_most(path, _LARGEST, "--policy")
    try:
        return Policy.of(tomllib.loads(data.decode("utf-8")))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        raise InputError(f"--policy {path} is no TOML") from None
    except ParameterError as error:
        raise ParameterError(f"--policy {path}: {error}") from None
