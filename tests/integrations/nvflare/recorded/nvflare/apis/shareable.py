"""Messages: dicts with headers in them."""

from __future__ import annotations

from typing import Any

from nvflare.apis.fl_constant import ReturnCode


class ReservedHeaderKey:
    HEADERS = "__headers__"
    RC = "__rc__"
    COOKIE_JAR = "__cookie_jar__"
    TASK_ID = "__task_id__"
    TASK_NAME = "__task_name__"
    TASK_OPERATOR = "__task_operator__"
    MSG_ROOT_ID = "__msg_root_id__"
    MSG_ROOT_TTL = "__msg_root_ttl__"
    PASS_THROUGH = "__pass_through__"
    AUDIT_EVENT_ID = "__audit_event_id__"
    PEER_CTX = "__peer_ctx__"
    PEER_PROPS = "__peer_props__"


HEADERS, RC = ReservedHeaderKey.HEADERS, ReservedHeaderKey.RC


class Shareable(dict[str, Any]):
    def __init__(self, data: dict[str, Any] | None = None) -> None:
        super().__init__(data or {})
        self[HEADERS] = {}

    def set_header(self, key: str, value: Any) -> None:
        self[HEADERS][key] = value

    def get_header(self, key: str, default: Any = None) -> Any:
        headers = self.get(HEADERS)
        if headers and not isinstance(headers, dict):
            raise ValueError(f"header object must be a dict, but got {type(headers)}")
        return (headers or {}).get(key, default)

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
