"""Pins what users install to the lowest release that pyproject.toml admits, one line each."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
TOOLS = "test"
"""The extra of those who work here: they have today's tools."""


def floors() -> dict[str, str]:
    """Package -> version. ValueError for a requirement of users that names no lowest release."""
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    every = [
        *project["dependencies"],
        *(r for extra in extras if extra != TOOLS for r in extras[extra]),
    ]
    found = {}
    for requirement in every:
        if requirement.startswith(project["name"] + "["):
            continue  # an extra that is made of others
        name, floor, version = re.fullmatch(
            r"([\w-]+)(>=)?([\d.]+)?(?:,<[\d.]+)?", requirement
        ).groups()
        if not floor:
            raise ValueError(f"{requirement}: no lowest release")
        found[name] = version
    return found


if __name__ == "__main__":
    print("\n".join(f"{name}=={version}" for name, version in sorted(floors().items())))
