"""A model and what is said of it."""

from __future__ import annotations

from enum import Enum
from typing import Any


class ParamsType(str, Enum):
    FULL = "FULL"
    DIFF = "DIFF"


class FLModel:
    def __init__(
        self,
        params_type: str | None = None,
        params: Any = None,
        metrics: dict[str, Any] | None = None,
        start_round: int | None = None,
        current_round: int | None = None,
        total_rounds: int | None = None,
        meta: dict[str, Any] | None = None,
    ) -> None:
        self.params_type, self.params, self.metrics = params_type, params, metrics
        self.start_round, self.total_rounds = start_round, total_rounds
        self.current_round, self.meta = current_round, meta or {}
