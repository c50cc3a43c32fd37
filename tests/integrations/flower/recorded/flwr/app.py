"""Messages and their records."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np

RUN, SERVER = 7, 1
"""Who an instruction is from: the real framework asks the task that makes it."""


class Array:
    def __init__(self, *args: Any) -> None:
        if len(args) == 1:
            buffer = io.BytesIO()
            np.save(buffer, args[0], allow_pickle=False)
            args = (str(args[0].dtype), tuple(args[0].shape), "numpy.ndarray", buffer.getvalue())
        self.dtype, self.shape, self.stype, self.data = args

    def numpy(self) -> Any:
        if self.stype != "numpy.ndarray":
            raise TypeError(f"Unsupported serialization type: {self.stype}")
        return np.load(io.BytesIO(self.data), allow_pickle=False)


class _Typed(dict[str, Any]):
    kinds: tuple[type, ...] = ()

    def __init__(self, values: dict[str, Any] | None = None) -> None:
        super().__init__()
        for key, value in (values or {}).items():
            self[key] = value

    def __setitem__(self, key: str, value: Any) -> None:
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(key, str) or not isinstance(one, self.kinds):
                raise TypeError(f"{key!r}: {type(one)}")
        super().__setitem__(key, value)


class ArrayRecord(_Typed):
    kinds = (Array,)


class MetricRecord(_Typed):
    kinds = (int, float)


class ConfigRecord(_Typed):
    kinds = (int, float, str, bytes)


class RecordDict(_Typed):
    kinds = (ArrayRecord, MetricRecord, ConfigRecord)

    @property
    def array_records(self) -> dict[str, ArrayRecord]:
        return {k: v for k, v in self.items() if isinstance(v, ArrayRecord)}

    @property
    def metric_records(self) -> dict[str, MetricRecord]:
        return {k: v for k, v in self.items() if isinstance(v, MetricRecord)}

    @property
    def config_records(self) -> dict[str, ConfigRecord]:
        return {k: v for k, v in self.items() if isinstance(v, ConfigRecord)}


@dataclass
class Context:
    run_id: int
    node_id: int
    node_config: dict[str, Any]
    state: RecordDict
    run_config: dict[str, Any]


@dataclass
class Metadata:
    run_id: int
    src_node_id: int
    dst_node_id: int
    group_id: str
    ttl: float
    message_type: str


@dataclass
class Error:
    code: int
    reason: str | None = None


@dataclass(init=False)
class Message:
    metadata: Metadata
    _content: RecordDict | None = field(repr=False)
    _error: Error | None

    def __init__(
        self,
        content: RecordDict | Error,
        dst_node_id: int = 0,
        message_type: str = "",
        *,
        ttl: float | None = None,
        group_id: str | None = None,
        reply_to: Message | None = None,
    ) -> None:
        self._content = content if isinstance(content, RecordDict) else None
        self._error = content if isinstance(content, Error) else None
        if reply_to is None:
            self.metadata = Metadata(
                RUN, SERVER, dst_node_id, group_id or "", ttl or 43200.0, message_type
            )
        else:
            asked = reply_to.metadata
            self.metadata = Metadata(
                asked.run_id,
                asked.dst_node_id,
                asked.src_node_id,
                asked.group_id,
                asked.ttl,
                asked.message_type,
            )

    @property
    def content(self) -> RecordDict:
        if self._content is None:
            raise ValueError("Message content is None")
        return self._content

    @content.setter
    def content(self, value: RecordDict) -> None:
        self._content = value

    @property
    def error(self) -> Error:
        if self._error is None:
            raise ValueError("Message error is None")
        return self._error

    def has_content(self) -> bool:
        return self._content is not None

    def has_error(self) -> bool:
        return self._error is not None
