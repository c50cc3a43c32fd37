"""What the demo found out, and what it is doing while it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from secagg.demo.check import Masked
from secagg.plans.plan import Plan
from secagg.shown import at_most, short


@dataclass(frozen=True)
class Row:
    """One round. dropped: client -> the phase in which the server lost it; one lost in `unmask`
    had uploaded and is still among the contributors. seconds: of the round alone. bytes_up,
    bytes_down: the mean of a client. accuracy: of the model after the round, on held-out data."""

    round: int
    contributors: int
    dropped: Mapping[int, str]
    exact: bool
    max_abs_error: float
    clipped: int
    accuracy: float
    plain_accuracy: float
    seconds: float
    bytes_up: float
    bytes_down: float


@dataclass
class Progress:
    """What the run is doing: it writes, and whoever draws it reads, maybe in another thread.

    rows: finished rounds.
    """

    stage: str = ""
    clients: int = 0
    round: int = 0
    phase: str = ""
    dropped: Mapping[int, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    __repr__ = short

    def begin(self, round: int) -> None:
        self.stage, self.phase, self.round, self.dropped = "", "", round, {}

    def lose(self, client: int, how: str) -> None:
        """Replaces the mapping: a thread that draws the old one must not see it grow."""
        self.dropped = {**self.dropped, client: how}


@dataclass(frozen=True)
class Result:
    """seconds: from start to end, compiling and starting processes included."""

    plan: Plan
    rows: tuple[Row, ...]
    masked: Masked
    samples: int
    held_out: int
    seed: int
    seconds: float

    __repr__ = short

    @property
    def exact(self) -> bool:
        return all(row.exact for row in self.rows)

    @property
    def max_abs_error(self) -> float:
        return max(row.max_abs_error for row in self.rows)

    @property
    def error_bound(self) -> float:
        return self.plan.max_error

    @property
    def dropped(self) -> int:
        return sum(len(row.dropped) for row in self.rows)

    @property
    def clipped(self) -> int:
        return sum(row.clipped for row in self.rows)

    def broken(self) -> str | None:
        """The promise that this run did not keep, in words; None is success."""
        inexact = [row.round for row in self.rows if not row.exact]
        if inexact:
            return (
                f"in rounds {inexact} the secure sum is not the plain integer sum over its "
                "contributors"
            )
        if self.max_abs_error > self.error_bound:
            return (
                f"a mean is off by {self.max_abs_error:.3g}, and the plan's bound is "
                f"{at_most(self.error_bound)}"
            )
        return None

    def as_json(self) -> dict[str, object]:
        last, params = self.rows[-1], self.plan.params
        return {
            "accuracy": last.accuracy,
            "plain_accuracy": last.plain_accuracy,
            "max_abs_error": self.max_abs_error,
            "error_bound": self.error_bound,
            "rounds": len(self.rows),
            "dropped": self.dropped,
            "exact": self.exact,
            "clipped": self.clipped,
            "protocol": self.plan.protocol,
            "degree": self.plan.degree,
            "threshold": self.plan.threshold,
            "ring_bits": self.plan.ring_bits,
            "clients": params.clients,
            "min_clients": params.min_clients,
            "min_survivors": params.min_survivors,
            "length": self.masked.length,
            "samples": self.samples,
            "held_out": self.held_out,
            "seed": self.seed,
            "seconds": self.seconds,
            "plan_digest": self.plan.digest().hex(),
            "per_round": [_row(row) for row in self.rows],
            "masked_upload": asdict(self.masked),
        }


def _row(row: Row) -> dict[str, object]:
    """JSON's keys are strings, so the clients that dropped are."""
    return {**asdict(row), "dropped": {str(client): phase for client, phase in row.dropped.items()}}
