"""The logs of a command, on standard error: lines of text or, with --log-json, lines of JSON.

A library configures no logging; a program does, once. Records of the packages that the service
runs on come out in the same form, from warnings on: below that, some of them show what is sent.
"""

from __future__ import annotations

import enum
import json
import logging
import math
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias

import typer

from secagg.shown import printable


class Level(enum.StrEnum):
    """What a log line weighs, spelt as on the command line."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


LogLevel: TypeAlias = Annotated[
    Level, typer.Option(help="The least that is logged, on standard error.")
]
LogJson: TypeAlias = Annotated[
    bool, typer.Option("--log-json", help="Every line on standard error is one JSON object.")
]

_OWN = logging.getLogger("secagg")
_COMMAND = "secagg.cli"
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


def configure(level: Level = Level.WARNING, as_json: bool = False) -> None:
    """Before anything else that a command does; what an earlier command had chosen is over."""
    logging.getLogger().removeHandler(_HANDLER)
    logging.getLogger().addHandler(_HANDLER)
    _HANDLER.as_json = as_json
    _OWN.setLevel(level.upper())


def in_json() -> bool:
    """Whether this command writes its log lines as JSON."""
    return _HANDLER.as_json


def say(level: Level, text: str, **fields: object) -> None:
    """A line of the command itself, whatever is logged: to be called where `in_json`."""
    number = logging.getLevelNamesMapping()[level.upper()]
    record = logging.LogRecord(_COMMAND, number, "", 0, text, None, None)
    record.__dict__.update(fields)
    _HANDLER.handle(record)


class _Handler(logging.Handler):
    """To standard error as it is when something is said."""

    as_json = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            typer.echo(_json(record) if self.as_json else _text(record), err=True)
        except (OSError, TypeError, ValueError):  # a stream that is gone, or arguments that misfit
            self.handleError(record)


_HANDLER = _Handler()


def _text(record: logging.LogRecord) -> str:
    extra = "".join(f" {name}={value}" for name, value in _extra(record).items())
    words = " ".join(record.getMessage().split())
    line = f"{_time(record)} {record.levelname.lower()} {record.name}: {words}{extra}"
    return "\n".join([printable(line), *_trace(record)])


def _json(record: logging.LogRecord) -> str:
    line = _extra(record) | {
        "time": _time(record),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
    }
    if trace := _trace(record):
        line["traceback"] = "\n".join(trace)
    return json.dumps(line, allow_nan=False)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    given = {name: v for name, v in record.__dict__.items() if name not in _STANDARD}
    return {name: _plain(value) for name, value in given.items()}


def _plain(value: object) -> object:
    """JSON's own types as they are, anything else as it prints itself: a secret as none."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return str(value)


def _trace(record: logging.LogRecord) -> list[str]:
    """Of a bug: the code's lines, without the variables in them."""
    if not record.exc_info:
        return []
    return logging.Formatter().formatException(record.exc_info).splitlines()


def _time(record: logging.LogRecord) -> str:
    """UTC, as RFC 3339 writes it."""
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
