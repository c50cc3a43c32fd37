"""Rows as they are given away: as JSON, as CSV, and as means over seeds."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from secagg.frontier.data import CLASSES
from secagg.frontier.training import Row

COLUMNS = (
    *("trust", "epsilon", "bits", "seed", "accuracy", "worst_class", "macro_f1"),
    *("rounds_to_target", "train_test_gap", "calibration_error", "upright", "rotated"),
    *("worst_subgroup", "seconds", "bytes_up", "data", "unit", "servers", "corrupt", "dropout"),
    *("drop", "subgroup", "clients", "rounds", "target", "protocol", "exact"),
)
MEANS = ("accuracy", "worst_class", "macro_f1", "worst_subgroup", "seconds", "bytes_up")
_POINT = ("trust", "epsilon", "bits")


def as_csv(rows: Sequence[Row]) -> str:
    """A line for each row; its label and classes as columns of their own. Empty is None."""
    labelled = ("epsilon_server", "epsilon_release", "delta", "n_min", "honest", "accounting")
    classes = [f"class_{one}" for one in range(CLASSES)]
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow([*COLUMNS, *labelled, *classes])
    for row in rows:
        label = row["privacy"] or {}
        table.writerow(
            [row.get(name) for name in COLUMNS]
            + [label.get(name) for name in labelled]
            + list(row["per_class"])
        )
    return written.getvalue()


def points(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One for each trust, epsilon and width, in the order of rows: how many seeds it has, and of
    each measure the mean over them; `spread` is the deviation of the accuracy."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in _POINT), []).append(row)
    return [
        {
            **dict(zip(_POINT, point, strict=True)),
            "seeds": len(same),
            "spread": pstdev(row["accuracy"] for row in same),
            **{name: _mean(row[name] for row in same) for name in MEANS},
        }
        for point, same in found.items()
    ]


def machine() -> dict[str, Any]:
    """Where the seconds were measured. load: the mean number of busy threads over a minute."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": cores,
        "load": load,
        "python": platform.python_version(),
        "os": platform.system(),
    }


def commit() -> str | None:
    """Of a checkout; None elsewhere."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def as_json(answer: dict[str, Any]) -> str:
    """For a file that people read too."""
    return json.dumps(answer, indent=1, allow_nan=False) + "\n"


def _mean(values: Any) -> float | None:
    numbers = [value for value in values if value is not None]
    return fmean(numbers) if numbers else None
