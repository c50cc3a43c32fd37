"""What a message is of: a kind, data and meta data."""

from __future__ import annotations

from enum import Enum
from typing import Any

from nvflare.apis.fl_constant import FLMetaKey
from nvflare.apis.shareable import Shareable

CONTENT_TYPE = "__content_type__"


class DataKind(str, Enum):
    WEIGHTS = "WEIGHTS"
    WEIGHT_DIFF = "WEIGHT_DIFF"
    METRICS = "METRICS"
    APP_DEFINED = "APP_DEFINED"


class MetaKey(FLMetaKey):
    pass


class DXO:
    def __init__(
        self, data_kind: str, data: dict[str, Any], meta: dict[str, Any] | None = None
    ) -> None:
        self.data_kind, self.data, self.meta = data_kind, data, meta or {}

    def get_meta_prop(self, key: str, default: Any = None) -> Any:
        return self.meta.get(key, default)

    def to_shareable(self) -> Shareable:
        made = Shareable()
        made.set_header(CONTENT_TYPE, "DXO")
        made["DXO"] = {"kind": self.data_kind, "data": self.data, "meta": self.meta}
        return made


def from_shareable(s: Shareable) -> DXO:
    if s.get_header(CONTENT_TYPE) != "DXO":
        raise ValueError("the shareable is not a valid DXO")
    return DXO(s["DXO"]["kind"], s["DXO"]["data"], s["DXO"]["meta"])
