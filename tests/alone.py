"""An interpreter that has only what an installation with some extras brings.

The tests run where everything is installed, and so would never miss what a user lacks.
"""

from __future__ import annotations

import importlib.metadata as metadata
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_BLOCKER = """
import sys
ABSENT = frozenset(sys.argv.pop(1).split(","))
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
exec(compile(sys.argv.pop(1), "given", "exec"), {"__name__": "__main__"})
"""


def run(
    program: str, *extras: str, cwd: Path | None = None, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """A program. given: on its standard input."""
    command = [sys.executable, "-c", _BLOCKER, ",".join(sorted(absent(*extras))), program]
    return subprocess.run(
        command, input=given, capture_output=True, text=True, cwd=cwd, timeout=300
    )


@cache
def absent(*extras: str) -> frozenset[str]:
    """Top-level modules that are installed here, and would not be with these extras."""
    there = _closure(extras)
    return frozenset(
        module
        for module, owners in metadata.packages_distributions().items()
        if not there & {canonicalize_name(owner) for owner in owners}
    )


def _closure(extras: Iterable[str]) -> set[str]:
    found: set[tuple[str, str]] = set()
    wanted = [("secagg", extra) for extra in ("", *extras)]
    while wanted:
        name, extra = wanted.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        for needs in map(Requirement, metadata.requires(name) or ()):
            if needs.marker is None or needs.marker.evaluate({"extra": extra}):
                wanted += [(canonicalize_name(needs.name), more) for more in ("", *needs.extras)]
    return {name for name, _ in found}
