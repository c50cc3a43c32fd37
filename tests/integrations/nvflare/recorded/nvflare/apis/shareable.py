"""Messages: dicts with headers in them."""

from __future__ import annotations

from typing import Any

from nvflare.apis.fl_constant import ReturnCode

HEADERS, RC = "__headers__", "__rc__"


class Shareable(dict[str, Any]):
    def __init__(self, data: dict[str, Any] | None = None) -> None:
        super().__init__(data or {})
        self[HEADERS] = {}

    def set_header(self, key: str, value: Any) -> None:
        self[HEADERS][key] = value

    def get_header(self, key: str, default: Any = None) -> Any:
        return self[HEADERS].get(key, default)

    def set_return_code(self, rc: str) -> None:
        self.set_header(RC, rc)

    def get_return_code(self, default: str = ReturnCode.OK) -> Any:
        return self.get_header(RC, default)


def make_reply(rc: str, headers: dict[str, Any] | None = None) -> Shareable:
    made = Shareable()
    made.set_return_code(rc)
    for key, value in (headers or {}).items():
        made.set_header(key, value)
    return made
