"""Floors of whoever takes part in a framework's rounds, and where it keeps what it said."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from secagg import registry
from secagg.arguments import integer, kind_of, ratio, real, text
from secagg.errors import ParameterError, PolicyRefused, SecAggError, StorageError
from secagg.fields import FixedPoint, Integer, Vector
from secagg.integrations.ledgers import kept_open
from secagg.integrations.terms import UPDATE
from secagg.plans.choose import Exact
from secagg.plans.plan import Plan
from secagg.rounds.offer import Consent
from secagg.shown import short
from secagg.store.base import Ledger
from secagg.types import MAX_CLIENTS

FILE = "ledger.sqlite"
OURS = "secagg: "
"""What every refusal begins with."""
FEWEST = 2
"""A sum of one client is that client's own input."""


@dataclass(frozen=True)
class Floors:
    """Floors below which a client takes no part, whatever a server announces.

    min_clients: the fewest whose sum may be revealed. max_dropout: the largest fraction that a plan
    may let go: the more may drop, the fewer are in a sum. protocols: by name, None for all that
    protect. max_clip: the largest clip of the model's difference. state: the folder of the ledger,
    on a disk that is this client's own and is never set back. Raises ParameterError.
    """

    min_clients: int = 3
    max_dropout: Exact | None = None
    protocols: Collection[str] | None = None
    max_clip: float | None = None
    state: str | Path = ""

    __repr__ = short

    def __post_init__(self) -> None:
        integer("min_clients", self.min_clients, FEWEST, MAX_CLIENTS)
        if self.max_dropout is not None:
            ratio("max_dropout", self.max_dropout)
        if self.max_clip is not None and not real("max_clip", self.max_clip) > 0:
            raise ParameterError("max_clip must be above 0")
        Consent(protocols=self.protocols)  # which says what they may not be
        for name in self.protocols or ():
            registry.load(text("a name in protocols", name))
        if not isinstance(self.state, str | os.PathLike):
            raise ParameterError(f"state is the path of a folder, not {kind_of(self.state)}")
        state = os.fspath(self.state)  # another working directory would be another, empty ledger
        if state and not (os.path.isabs(state) or state.startswith("~")):
            raise ParameterError(
                "state is an absolute path, or one below ~: wherever the process is started from, "
                "it must find the same ledger"
            )

    @property
    def consent(self) -> Consent:
        """The part of it that rounds judge."""
        return Consent(
            min_clients=self.min_clients,
            protocols=self.protocols,
            unprotected=self.protocols is not None,
        )

    def judge(self, plan: Plan) -> None:
        """The rest. Raises PolicyRefused, before anything has been said."""
        most = self.max_dropout
        if most is not None and plan.threat.dropout > ratio("max_dropout", most):
            raise PolicyRefused(
                f"the plan lets {plan.threat.dropout} of the clients drop, and this one agrees to "
                f"{most} at most: the server's dropout={most} would do"
            )
        self._judge_fields(plan)
        update = dict(plan.schema.fields).get(UPDATE)
        if self.max_clip is not None and isinstance(update, FixedPoint | Vector):
            name, bound = _bound(update)
            if bound > self.max_clip:
                raise PolicyRefused(
                    f"the plan's {name} is {bound}, and this client agrees to {self.max_clip} "
                    f"at most: the server's {name}={self.max_clip} would do"
                )

    def _judge_fields(self, plan: Plan) -> None:
        """An input that cannot be in a sum is declined, and the server sees that it is. Of fields
        that refuse what is too large it could read how large one client's own is, a bit a round;
        what is cut in their place tells nobody."""
        for name, field in plan.schema.given:
            if isinstance(field, Integer) or getattr(field, "excess", "clip") != "clip":
                raise PolicyRefused(
                    f"the plan's field {name!r} refuses values that are too large, and a client "
                    "that declines would tell how large its own are: fields that cut would do, as "
                    "FixedPoint(..., excess='clip')"
                )

    def ledger(self) -> AbstractContextManager[Ledger]:
        """The client's own, for one message; raises StorageError where the disk or the folder
        refuses."""
        if not os.fspath(self.state):  # which is the working directory, wherever that is
            raise StorageError(f"no folder is given for the ledger: {self._remedy}")
        try:
            folder = Path(self.state).expanduser()  # RuntimeError without a home
            if not os.path.isdir(folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (OSError, RuntimeError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise StorageError(
                f"{self.state}: the ledger cannot be kept there ({why}): {self._remedy}"
            ) from None
        return kept_open(folder / FILE)

    def told(self, refused: SecAggError) -> str:
        """What the server hears of a refusal. What a ledger says names its file, and how a
        client's disk is laid out is nobody's but its own: that stays in the client's log."""
        if isinstance(refused, StorageError):
            return (
                f"{OURS}the ledger here cannot be used, and why is in this client's own log; "
                f"where none is kept yet, {self._remedy}"
            )
        return f"{OURS}{refused}"

    @property
    def _remedy(self) -> str:
        """Which setting names a folder that can be used."""
        return "give a folder of one's own as state"


def _bound(field: FixedPoint | Vector) -> tuple[str, float]:
    """How far from 0 an element may be: a vector's is no longer than the whole."""
    return ("clip", field.clip) if isinstance(field, FixedPoint) else ("norm", field.norm)
