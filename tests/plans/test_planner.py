"""The planner makes the plans that it has always made, or is another planner.

planner.json holds digests of the plans of a grid of terms. Whoever has pinned terms derives plans
of them with a release of his own (specs/50-service.md §1.5), so when one of these changes, every
such client would refuse every round, and not know why. Then raise PLANNER in secagg/plans/choose.py
and write the file anew: `python -m tests.plans.test_planner`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from secagg.errors import ParameterError
from secagg.fields import FixedPoint, Integer
from secagg.plans import choose
from secagg.plans.choose import PLANNED, PLANNER, derived
from secagg.schema import Schema
from secagg.threat import Threat
from secagg.types import ADVERSARIES
from tests.soak import SOAK

FILE = Path(__file__).parent / "planner.json"
SCHEMAS: dict[str, Any] = {
    "votes": ({"votes": Integer(3, 7)}, 1, False),
    "model": ({"update": FixedPoint(50_890, 1.0, 16), "seen": Integer(1, 1000)}, 100, True),
}
CLIENTS = (3, 4, 5, 6, 8, 11, 20, 50, 51, 64, 100, 200, 500)
SAMPLE = CLIENTS if SOAK else (3, 8, 50, 51)
"""A suite that gates looks at these."""
LOST = ("0", "1/100", "1/10", "1/5", "1/3")
FURTHER = (1, 2, 10)
"""Times as many of whom the clients are chosen."""


def grid(clients: tuple[int, ...] = CLIENTS) -> Iterator[tuple[str, str]]:
    """A name and a digest for each adversary, protocol, schema and number of clients."""
    for adversary, protocol, name, n in product(ADVERSARIES, (None, *PLANNED), SCHEMAS, clients):
        fields, weight, clipped = SCHEMAS[name]
        schema = Schema.of(fields, n, weight, clipped=clipped)
        state = hashlib.sha256()
        for corrupt, dropout, times in product(LOST, ("0", "1/10", "1/5"), FURTHER):
            for asked in (None, n):
                more = {"min_clients": asked, "roster": n * times}
                threat = Threat(n, corrupt, dropout, adversary, **more)  # type: ignore[arg-type]
                try:
                    state.update(derived(threat, schema, protocol).digest())
                except ParameterError:
                    state.update(bytes(32))
        yield f"{adversary} {protocol or 'any'} {name} {n}", state.hexdigest()


@pytest.fixture(scope="module")
def now() -> dict[str, str]:
    return dict(grid(SAMPLE))


def test_plans_are_what_they_were_or_the_planner_is_another(now: dict[str, str]) -> None:
    kept = json.loads(FILE.read_text())
    assert kept["planner"] == PLANNER, "write the file anew: python -m tests.plans.test_planner"
    assert len(kept["digests"]) == len(now) // len(SAMPLE) * len(CLIENTS)
    changed = [name for name in now if now[name] != kept["digests"].get(name)]
    assert not changed, (
        f"raise PLANNER in secagg/plans/choose.py, and write the file anew: other plans are made "
        f"of {len(changed)} of {len(now)} groups of terms, the first {changed[0]}"
    )


def test_a_changed_rule_is_seen(monkeypatch: pytest.MonkeyPatch, now: dict[str, str]) -> None:
    """One protocol fewer, which is what forgetting it would be."""
    monkeypatch.setattr(choose, "PLANNED", PLANNED[:1])
    changed = {name for name, digest in grid((50,)) if digest != now[name]}
    assert changed and all(" any " in name for name in changed)


if __name__ == "__main__":
    FILE.write_text(json.dumps({"planner": PLANNER, "digests": dict(grid())}, indent=1) + "\n")
