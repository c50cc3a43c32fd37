"""What a console's page is shown: each state that a service can be in, as its events say it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from secagg.fields import FixedPoint
from secagg.plans.terms import Terms

AT = 1_790_000_000
TERMS = Terms.of({"update": FixedPoint(8, 1.0, 16)}, (5, 12), corrupt=0, dropout=0.2)
VIEWER = ["page", "counts"]
OPERATOR = [*VIEWER, "names", "open", "pause", "cancel", "drain"]
COLLECTOR = [*VIEWER, "results"]
GUARANTEE = TERMS.explain().splitlines()[:-1]
PHASES = ("advertise-keys", "share-keys", "masked-input", "unmask")


def task(state: str = "waiting", **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": "mortality",
        "state": state,
        "guarantee": GUARANTEE,
        "min": 5,
        "target": 8,
        "candidates": 3,
        "enrolled": 9,
        "next": 83.2,
        "failures": 0,
        "held": None,
        "round": None,
        "last": None,
    }
    return found | changes


def phases(now: str) -> list[dict[str, str]]:
    at = PHASES.index(now)
    states = ["done"] * at + ["running"] + ["waiting"] * (len(PHASES) - at - 1)
    return [{"name": one, "state": state} for one, state in zip(PHASES, states, strict=True)]


CLIENTS = [
    {"name": "charite-berlin", "state": "sent", "why": None},
    {"name": "hopital-st-louis", "state": "sent", "why": None},
    {"name": "karolinska", "state": "owes", "why": None},
    {"name": "site-with-a-name-of-quite-some-length-1", "state": "sent", "why": None},
    {"name": "st-thomas", "state": "owes", "why": None},
    {"name": "ucl", "state": "sent", "why": None},
    {
        "name": "vall-dhebron",
        "state": "dropped",
        "why": "late",
    },
    {"name": "ziekenhuis-gent", "state": "sent", "why": None},
]


def running(now: str = "masked-input", *, names: bool = False, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "round": "a1b2c3d4",
        "phase": now,
        "phases": phases(now),
        "left": 401.0,
        "bytes_in": 12_345_678,
        "bytes_out": 48_200,
        "asked": 8,
        "sent": 5,
        "owe": 2,
        "dropped": 1,
    }
    return found | ({"clients": CLIENTS} if names else {}) | changes


DONE = {
    "round": "00000001",
    "at": AT - 3600,
    "outcome": "done",
    "contributors": 7,
    "why": None,
    "do": None,
}
FAILED = {
    "round": "0badcafe",
    "at": AT - 600,
    "outcome": "failed",
    "contributors": 0,
    "why": "fewer clients stayed than its plan asks for",
    "do": "see which were lost, and in which phase; the next round comes by itself",
}


def result(number: int, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "task": "mortality",
        "round": f"{number:08x}",
        "nonce": f"{number:032x}",
        "at": AT - 86_400 * number,
        "contributors": 7,
        "error": 0.00012,
        "waiting": number == 1,
    }
    return found | changes


def service(*tasks: dict[str, Any], may: list[str] = VIEWER, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "service": "sum.hospital.example",
        "version": "0.1.0",
        "at": AT,
        "role": "operator" if "pause" in may else "viewer",
        "may": may,
        "ready": True,
        "reasons": [],
        "draining": False,
        "tasks": list(tasks),
        "results": [],
    }
    return deepcopy(found | changes)


REASONS = ["disk: less is free than [limits] disk_reserve", "certificate: it ends within a week"]
HELD = "paused after five rounds in a row that failed: see why, then resume"
DRAINS = "draining: no further round begins in this life of the process, or until resume"
SCREENS: dict[str, dict[str, Any]] = {
    "none": service(),
    "empty": service(task("empty", candidates=0, enrolled=0, next=0.0)),
    "waiting": service(task("waiting")),
    "ready": service(task("ready", candidates=7), may=OPERATOR),
    "running": service(
        task("running", candidates=8, round=running(names=True), last=DONE), may=OPERATOR
    ),
    "unmasking": service(task("unmasking", candidates=8, round=running("unmask", left=12.0))),
    "done": service(
        task("waiting", last=DONE, next=7412.0),
        results=[result(n) for n in range(1, 9)],
        may=COLLECTOR,
    ),
    "failed": service(task("waiting", last=FAILED, failures=2, next=4.0), may=OPERATOR),
    "paused": service(
        task("paused", candidates=8, held=HELD, last=FAILED, failures=5, next=None), may=OPERATOR
    ),
    "draining": service(
        task("draining", candidates=8, held=DRAINS),
        draining=True,
        ready=False,
        reasons=["draining: the process is about to end"],
    ),
    "degraded": service(task("waiting"), ready=False, reasons=REASONS),
    "several": service(
        task("running", candidates=8, round=running(names=True), last=DONE),
        task("paused", name="readmission-30-days", held=HELD, candidates=2),
        task("ready", name="sepsis", candidates=6, next=0.0, enrolled=6),
        may=OPERATOR,
        results=[result(1), result(2, task="sepsis"), result(3, task="an-older-task")],
    ),
}
