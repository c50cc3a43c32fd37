"""For the tests of protocols and drivers, ours and yours: a network with faults, a conformance
suite, and randomness that repeats. Nothing here belongs into a service.
"""

from __future__ import annotations

from secagg.testing.bench import ConformanceError
from secagg.testing.conformance import check_protocol
from secagg.testing.network import (
    Act,
    Carried,
    Network,
    Schedule,
    Wire,
    counter_randomness,
    plain_sum,
)

__all__ = [
    "Act",
    "Carried",
    "ConformanceError",
    "Network",
    "Schedule",
    "Wire",
    "check_protocol",
    "counter_randomness",
    "plain_sum",
]
