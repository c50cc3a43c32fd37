"""Diffs that pages show, applied."""

from __future__ import annotations

import re


def patched(files: dict[str, str], diff: str) -> dict[str, str]:
    """As `patch -p1` does it, strictly: each hunk's lines must be there, once."""
    made = dict(files)
    for name, hunks in re.findall(r"^\+\+\+ b/(\S+)\n((?:(?!^--- ).*\n)*)", diff, re.MULTILINE):
        for hunk in re.split(r"^@@.*\n", hunks, flags=re.MULTILINE)[1:]:
            lines = hunk.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] in " -")
            assert made[name].count(old) == 1, name
            made[name] = made[name].replace(old, "".join(x[1:] for x in lines if x[0] in " +"))
    return made
