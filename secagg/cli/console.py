"""What an administrator asks of a service that runs, on the machine where it does."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from secagg.errors import InputError, PolicyRefused, TransportError
from secagg.service.askers import REGISTER, RESULTS, ROSTERS, STATUS
from secagg.service.config import read
from secagg.service.desk import find_token

_TIMEOUT = 30.0
_LARGEST = 1 << 31
"""Bytes of an answer; above those of any result."""


def ask(config: Path, asked: Mapping[str, Any] | None) -> dict[str, Any]:
    """asked: one JSON object for the register; None asks how the service is. Raises InputError
    where no service runs with that configuration, PolicyRefused for what it refuses, and
    TransportError."""
    if asked is None:
        return _said(*_request(config, "GET", STATUS, None))
    return _said(*_request(config, "POST", REGISTER, json.dumps(asked)))


def take_roster(config: Path, data: bytes) -> dict[str, Any]:
    """A signed roster, as its file has it, for the service that runs. Raises as `ask`."""
    return _said(*_request(config, "POST", ROSTERS, data))


def arrays(config: Path, number: str) -> bytes:
    """Of a result, as `secagg.service.results.packed` has made them. Raises as `ask`."""
    status, data = _request(config, "GET", RESULTS.format(nonce=quote(number, safe="")), None)
    if status != 200:
        _said(status, data)
    return data


def _request(config: Path, method: str, path: str, body: str | bytes | None) -> tuple[int, bytes]:
    found = read(config).get()
    port, token = find_token(found.state)
    host = found.admin[0]
    made = http.client.HTTPConnection(
        "127.0.0.1" if host == "localhost" else host, port, timeout=_TIMEOUT
    )
    try:
        made.request(method, path, body, {"authorization": f"Bearer {token}"})
        answer = made.getresponse()
        return answer.status, answer.read(_LARGEST)
    except (OSError, http.client.HTTPException) as error:
        raise TransportError(
            f"the service of {config} does not answer on port {port}: {error}; is it running?"
        ) from None
    finally:
        made.close()


def _said(status: int, data: bytes) -> dict[str, Any]:
    try:
        said = json.loads(data)
    except ValueError:
        raise TransportError(f"what answers there is no service: HTTP {status}") from None
    if status == 200 and isinstance(said, dict):
        return said
    why = said.get("error", status) if isinstance(said, dict) else status
    if status == 403:
        raise PolicyRefused(str(why))
    raise InputError(str(why))
