"""Filters of tasks and results."""

from __future__ import annotations

from typing import Any


class Filter:
    def process(self, shareable: Any, fl_ctx: Any) -> Any:
        raise NotImplementedError

    def handle_event(self, event_type: str, fl_ctx: Any) -> None: ...
