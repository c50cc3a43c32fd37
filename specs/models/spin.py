"""Runs Spin over active.pml: `python -m specs.models.spin [--soak | --write]`.

Every sound game is searched whole and must have no error; every variant must have one, and its
trail, read back as steps, must break the same claim in game.py. --write keeps the trails in
counterexamples/. --soak adds the games that take long. Without spin or a C compiler it says so,
and ends well.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from specs.models.game import Rules, Step
from specs.models.variants import SOUND, VARIANTS, Variant, replay, with_answers, write

MODEL = Path(__file__).parent / "active.pml"
CLAIMS = {1: "both", 2: "small", 3: "twice", 4: "several"}
LARGER = {"n6-a2": Rules(6, 2, 5)}
"""Too large for explore.py, and not for Spin."""
LARGEST = {"n5-a1-twin": Rules(5, 1, 4, twin=True)}
"""For soak: 2.4 million states, a minute."""
BEYOND = {"n5": Rules(5, 0, 3)}
"""Of these ten minutes are searched, with bits in the place of states: more than a look, and no
proof. What it has beyond n4 and n5-a1 is in views.py and lemmas.py, whole."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """states: stored. complete: whether all were seen. trail: to an error, or none."""

    states: int
    complete: bool
    trail: list[Step] | None
    claim: str | None
    seconds: float


def missing() -> str | None:
    """What is needed and not here."""
    lacks = [name for name in ("spin", "gcc") if shutil.which(name) is None]
    return " and ".join(lacks) or None


def macros(rules: Rules, variant: Variant | None = None) -> list[str]:
    numbers = {
        "N": rules.clients, "A": rules.corrupt, "T": rules.threshold, "SHORT": rules.short,
        "REACH": rules.holders(0).bit_count() // 2, "ROUND": int(rules.consistency),
        "LOCAL": int(rules.local), "FORGETS": rules.forgets, "TWIN": int(rules.twin),
        "CLAIMS": int(rules.claims), "WHOLE": int(variant is not None and variant.whole),
    }  # fmt: skip
    given = [f"-D{name}={value}" for name, value in numbers.items()]
    for name, sets in (("U2S", variant and variant.u2), ("U3S", variant and variant.u3)):
        if sets:
            # a shell of its own hands it to the preprocessor
            given.append(f"-D{name}='" + "||".join(f"shown=={one}" for one in sets) + "'")
    return given


def run(
    given: Sequence[str], *, bitstate: bool = False, compress: bool = False, minutes: int = 0
) -> Outcome:
    """One search, in a folder of its own; minutes: after which it ends as it is, 0 for never."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:

        def call(*command: str) -> str:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{command[0]}: {done.stdout[-800:]}{done.stderr[-800:]}")
            return done.stdout

        call("spin", *given, "-a", str(MODEL))
        how = ["-DBITSTATE"] if bitstate else ["-DCOLLAPSE"] if compress else []
        # -O1: the compiler takes longer than most of the searches
        call("gcc", "-O2" if bitstate or compress else "-O1", "-w", "-DSAFETY", "-DNOREDUCE",
             "-DMEMLIM=16000", *how, "-o", "pan", "pan.c")  # fmt: skip
        limit = [f"-Q{minutes}"] if minutes else []
        said = call("./pan", "-E", "-m2000000", "-w31" if bitstate else "-w22", *limit)
        states = int(re.search(r"(\d+) states, stored", said)[1])  # type: ignore[index]
        limited = "max search depth too small" in said or "Search not completed" in said
        if "errors: 0" in said:
            complete = not (limited or bitstate)
            return Outcome(states, complete, None, None, time.monotonic() - began)
        trail = call("spin", *given, "-k", f"{MODEL.name}.trail", str(MODEL))
    steps = [
        Step(int(to), kind, int(bits), int(session))
        for to, kind, bits, session in re.findall(r"step (\d+) (\w+) (\d+) (\d+)", trail)
    ]
    claim = CLAIMS[int(re.search(r"broken (\d)", trail)[1])]  # type: ignore[index]
    return Outcome(states, False, steps, claim, time.monotonic() - began)


def sound(
    name: str, rules: Rules, *, bitstate: bool = False, compress: bool = False, minutes: int = 0
) -> bool:
    found = run(macros(rules), bitstate=bitstate, compress=compress, minutes=minutes)
    whole = "all states" if found.complete else "states seen"
    verdict = "no error" if found.trail is None else f"BROKEN: {found.claim}"
    print(f"{name:18} {found.states:>11,} {whole:12} {found.seconds:6.1f} s  {verdict}", flush=True)
    return found.trail is None and (found.complete or bitstate)


def weakened(name: str, variant: Variant, *, keep: bool) -> bool:
    found = run(macros(variant.rules, variant))
    good = found.trail is not None and found.claim == variant.breaks
    steps = with_answers(found.trail or [])
    good = good and replay(variant.rules, steps) == (None, variant.breaks)
    refused = replay(variant.rules.sound, steps)[0]
    good = good and refused is not None
    if good and keep:
        write(name, steps)
    said = f"breaks {found.claim} in {len(steps)} steps, of which all rules refuse {refused}"
    print(
        f"{name:18} {found.states:>11,} states seen  {found.seconds:6.1f} s  "
        f"{said if good else 'NOT FOUND'}",
        flush=True,
    )
    return good


def main(arguments: Sequence[str]) -> int:
    lacks = missing()
    if lacks is not None:
        print(f"SKIPPED: no {lacks} here, so no Promela model was checked. What runs anywhere:")
        print("  python -m specs.models.explore; python -m specs.models.views")
        return 0
    good = [sound(name, rules) for name, rules in SOUND.items()]
    good += [weakened(name, one, keep="--write" in arguments) for name, one in VARIANTS.items()]
    good += [sound(name, rules, compress=True) for name, rules in LARGER.items()]
    if "--soak" in arguments:
        good += [sound(name, rules, compress=True) for name, rules in LARGEST.items()]
        good += [sound(name, one, bitstate=True, minutes=10) for name, one in BEYOND.items()]
    return 0 if all(good) else 1


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C")
    raise SystemExit(main(sys.argv[1:]))
