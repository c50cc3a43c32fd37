"""Sealed rows and claims (03-storage.md §2 and §3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import rfc5297
from blocks import EXPAND, Cursor, E, H, Refused, u32

Data = dict[str, Any]


def _sealing(key: str, session: str) -> tuple[bytes, list[bytes]]:
    k = bytes.fromhex(key)
    halves = EXPAND(k, "rows", 0) + EXPAND(k, "rows", 1)
    return halves, [E(b"secagg/v1/rows", 1, bytes.fromhex(session))]


def do_seal_rows(key: str, session: str, rows: list[list[str]]) -> Data:
    ordered = sorted((bytes.fromhex(name), bytes.fromhex(value)) for name, value in rows)
    names = [name for name, _ in ordered]
    if len(set(names)) != len(names) or any(len(name) < 17 for name in names):
        raise Refused("ParameterError", "03 §2")
    plain = u32(len(ordered))
    for name, value in ordered:
        plain += u32(len(name)) + name + u32(len(value)) + value
    return {"blob": (b"\x01" + rfc5297.seal(*_sealing(key, session), plain)).hex()}


def do_open_rows(key: str, session: str, blob: str) -> Data:
    data = bytes.fromhex(blob)
    if len(data) < 21:
        raise Refused("WireError", "03 §2")
    if data[0] != 1:
        raise Refused("UnknownVersion", "03 §2")
    plain = rfc5297.unseal(*_sealing(key, session), data[1:])
    if plain is None:
        raise Refused("InvalidTag", "03 §2")
    cursor, rows = Cursor(plain), []
    for _ in range(cursor.int(4)):
        name = cursor.prefixed(len(plain) - cursor.at)
        value = cursor.prefixed(len(plain) - cursor.at)
        if len(name) < 17 or (rows and name.hex() <= rows[-1][0]):
            raise Refused("WireError", "03 §2")
        rows.append([name.hex(), value.hex()])
    cursor.end()
    return {"rows": rows}


def do_claim_answer(offer: str, nonce: str, party: int, message: str) -> Data:
    said = bytes.fromhex(message)
    key = H("claim", bytes.fromhex(offer), bytes.fromhex(nonce), party, said[2])
    return {"key": key.hex(), "digest": H("claim", said).hex()}


def do_claim_input(name: str, attempt: int, offer: str, nonce: str, party: int) -> Data:
    key = H("input-use", bytes.fromhex(name), attempt)
    digest = H("input-use", bytes.fromhex(offer), bytes.fromhex(nonce), party)
    return {"key": key.hex(), "digest": digest.hex()}


def do_name_input(given: str | None, plan_digest: str, payload: str) -> Data:
    if given is not None:
        return {"name": H("input", b"", given.encode()).hex()}
    if not payload:
        return {"name": None}
    digest = H("payload", bytes.fromhex(payload))
    return {"name": H("input", bytes.fromhex(plan_digest), digest).hex()}


ALONE: dict[str, Callable[..., Data]] = {
    name.removeprefix("do_"): function
    for name, function in list(globals().items())
    if name.startswith("do_")
}
