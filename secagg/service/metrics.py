"""What a service counts, for Prometheus: a table of names, and one registry of its own.

No label says who: a client's name, key or address is in no number. Tasks are the operator's own,
and every other label is one of a list that is closed, so what strangers do makes no new series.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from secagg.errors import ParameterError
from secagg.shown import short
from secagg.types import Fault
from secagg.watch import Refused, Watch

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LONG = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 3600.0)
OUTCOMES = frozenset({"done", "below-threshold", "integrity", "cancelled", "lost", "failed"})


class Link(enum.StrEnum):
    """How far a connection has come."""

    STRANGER = "stranger"
    CANDIDATE = "candidate"
    SEATED = "seated"


@dataclass(frozen=True, slots=True)
class Kind:
    """what: help. made: of prometheus_client. labels: by name, the values that there can be; None
    where these are the operator's own, as tasks are, or the protocol's, as phases are. buckets: of
    a histogram, upper bounds in its unit."""

    what: str
    made: type[Counter] | type[Gauge] | type[Histogram]
    labels: Mapping[str, frozenset[str] | None]
    buckets: tuple[float, ...] = ()

    __repr__ = short


_TASK: Mapping[str, frozenset[str] | None] = {"task": None}
KINDS: Mapping[str, Kind] = {
    "links": Kind("Links by how far they have come", Gauge, {"state": frozenset(Link)}),
    "refused": Kind("Connections and requests refused", Counter, {"why": frozenset(Refused)}),
    "handshake_seconds": Kind("From the accept to a link of who is known", Histogram, {}, _SHORT),
    "candidates": Kind("Clients that a round could have", Gauge, _TASK),
    "rounds": Kind("Rounds that ended", Counter, {**_TASK, "outcome": OUTCOMES}),
    "phase_seconds": Kind("A phase's time", Histogram, {**_TASK, "phase": None}, _LONG),
    "dropped": Kind(
        "Clients lost to a round",
        Counter,
        {**_TASK, "phase": None, "fault": frozenset(fault.value for fault in Fault)},
    ),
    "bytes": Kind("Bytes of messages", Counter, {"direction": frozenset({"in", "out"})}),
    "buffered_bytes": Kind("Bytes of messages that are not whole yet", Gauge, {}),
    "commit_seconds": Kind("A transaction's time", Histogram, {}, _SHORT),
    "disk_free_bytes": Kind("Bytes free where the state is", Gauge, {}),
    "certificate_expiry_seconds": Kind("Until the certificate ends", Gauge, {}),
    "loop_lag_seconds": Kind("How late the loop turns", Histogram, {}, _SHORT),
    "results_waiting": Kind("Results that nobody has taken", Gauge, _TASK),
    "build_info": Kind("1, of this version", Gauge, {"version": None}),
}
"""Each is `secagg_` and its name; counters end with `_total`."""


class Metrics:
    """The numbers of one service."""

    def __init__(self, version: str) -> None:
        self._registry = CollectorRegistry()
        self._made: dict[str, Any] = {}
        for name, kind in KINDS.items():
            self._made[name] = _made(name, kind, self._registry)
        self.set("build_info", 1, version=version)

    def add(self, name: str, value: float = 1, **labels: str) -> None:
        """To a counter. Raises ParameterError for a label that is not of the list."""
        self._of(name, Counter, labels).inc(value)

    def set(self, name: str, value: float, **labels: str) -> None:
        """A gauge."""
        self._of(name, Gauge, labels).set(value)

    def saw(self, name: str, value: float, **labels: str) -> None:
        """One more of a histogram."""
        self._of(name, Histogram, labels).observe(value)

    def text(self) -> bytes:
        """All, as Prometheus reads it, of `CONTENT_TYPE`."""
        return generate_latest(self._registry)

    def watch(self) -> Watch:
        """What links are counted by."""
        return _Counted(self)

    def _of(self, name: str, made: type, labels: Mapping[str, str]) -> Any:
        kind = KINDS[name]
        if kind.made is not made or labels.keys() != kind.labels.keys():
            raise ParameterError(f"{name} is a {kind.made.__name__} of {', '.join(kind.labels)}")
        for label, value in labels.items():
            known = kind.labels[label]
            if known is not None and value not in known:
                raise ParameterError(f"{label} of {name} is one of {', '.join(sorted(known))}")
        found = self._made[name]
        return found.labels(**labels) if labels else found


class _Counted(Watch):
    """Into the numbers."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def refused(self, why: Refused) -> None:
        self._metrics.add("refused", why=why)

    def linked(self, seconds: float) -> None:
        self._metrics.saw("handshake_seconds", seconds)

    def carried(self, *, received: int = 0, sent: int = 0) -> None:
        self._metrics.add("bytes", received, direction="in")
        self._metrics.add("bytes", sent, direction="out")


def _made(name: str, kind: Kind, registry: CollectorRegistry) -> Any:
    labels = tuple(kind.labels)
    if kind.made is Histogram:
        buckets = kind.buckets
        return Histogram(name, kind.what, labels, "secagg", buckets=buckets, registry=registry)
    return kind.made(name, kind.what, labels, "secagg", registry=registry)
