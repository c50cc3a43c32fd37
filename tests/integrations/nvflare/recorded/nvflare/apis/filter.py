"""Filters of tasks and results."""

from __future__ import annotations

from typing import Any


class FilterChainType:
    TASK_DATA_CHAIN = "task_data"
    TASK_RESULT_CHAIN = "task_result"


class FilterContextKey:
    CHAIN_TYPE = "__chain_type"


class Filter:
    def set_prop(self, key: str, value: Any) -> None:
        setattr(self, key, value)

    def get_prop(self, key: str, default: Any = None) -> Any:
        return getattr(self, key, default)

    def process(self, shareable: Any, fl_ctx: Any) -> Any:
        raise NotImplementedError

    def handle_event(self, event_type: str, fl_ctx: Any) -> None: ...
