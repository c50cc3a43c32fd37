"""What a service must show, a run at a time: `secagg bench service NAME`.

Each run is a module of its own that has the form of a benchmark (bench.common) and a result of its
own, which is named `service-NAME`. `make bench` has none of them run.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from secagg.errors import ParameterError

RUNS: dict[str, str] = {
    "load": "bench.service_load",
    "idle": "bench.service_idle",
    "storm": "bench.service_storm",
    "flood": "bench.service_flood",
    "over": "bench.service_over",
    "chaos": "bench.service_chaos",
    "soak": "bench.service_soak",
    "crash": "bench.service_crash",
    "disk": "bench.service_disk",
    "commits": "bench.service_commits",
}
"""By what a run is called, its module."""


def run(name: str) -> Any:
    """The module of a run. Raises ParameterError where none has that name."""
    if name not in RUNS:
        raise ParameterError(
            f"no run of a service is named {name!r}: `secagg bench service NAME` has "
            f"{', '.join(RUNS) or 'none yet'}"
        )
    return import_module(RUNS[name])
