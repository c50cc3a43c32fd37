"""What the operations about a service must give, of 01-wire.md §7.10 and 51-admission.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import rfc8032
from blocks import Cursor, E, H, Refused

Data = dict[str, Any]
LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
ROLES = (1, 2, 4, 5, 6)


def digest_of(name: str, key: bytes) -> bytes:
    """01-wire.md §7.10"""
    parts = name.split(".")
    if not 1 <= len(name) <= 253 or any(len(part) > 63 for part in parts):
        raise Refused("ParameterError", "01 §7")
    if not all(re.fullmatch(LABEL, part, re.ASCII) for part in parts):
        raise Refused("ParameterError", "01 §7")
    if not rfc8032.is_key(key):
        raise Refused("InvalidKey", "01 §7")
    return H("service", name.encode(), key)


def body(data: bytes, kind: int, nonce: bytes, most: int) -> Cursor:
    if len(data) > most:
        raise Refused("TooLarge", "01 §7")
    cursor = Cursor(data, "01 §7")
    if cursor.int(1) != 1:
        raise Refused("UnknownVersion", "01 §7")
    if cursor.int(1) != kind:
        raise Refused("BadTag", "01 §7")
    if cursor.take(16) != nonce:
        raise Refused("RemoteProtocolError", "01 §7")
    return cursor


def only(data: bytes, kind: int, nonce: bytes, size: int) -> bytes:
    cursor = body(data, kind, nonce, 84)
    found = cursor.take(size)
    cursor.end()
    return found


def caller_of(data: bytes, nonce: bytes) -> tuple[bytes, bytes, int, bytes, bytes]:
    cursor = body(data, 10, nonce, 183)
    service, key, role = cursor.take(32), cursor.take(32), cursor.int(1)
    task, challenge = cursor.prefixed(64), cursor.take(32)
    cursor.end()
    if role not in ROLES or not re.fullmatch(b"[a-z0-9-]+", task):
        raise Refused("WireError", "01 §7")
    if service[:16] != nonce:
        raise Refused("RemoteProtocolError", "01 §7")
    return service, key, role, task, challenge


def statement(side: str, caller: tuple[Any, ...], reply: bytes) -> bytes:
    return E(b"secagg/v1/service-link-" + side.encode(), *caller, reply)


def do_service(name: str, key: str) -> Data:
    return {"digest": digest_of(name, bytes.fromhex(key)).hex()}


def do_caller(name: str, key: str, frame: str) -> Data:
    nonce = digest_of(name, bytes.fromhex(key))[:16]
    service, whose, role, task, challenge = caller_of(bytes.fromhex(frame), nonce)
    said = {"service": service.hex(), "key": whose.hex(), "role": role}
    return said | {"task": task.decode(), "challenge": challenge.hex()}


def do_greet(
    name: str, seed: str, challenge: str, enrolled: list[list[Any]], caller: str, proof: str
) -> Data:
    """G1 to G4, and M2"""
    secret, ours = bytes.fromhex(seed), bytes.fromhex(challenge)
    digest = digest_of(name, rfc8032.public(secret))
    who = caller_of(bytes.fromhex(caller), digest[:16])
    service, key, role, task, _ = who
    if service != digest:
        raise Refused("RemoteProtocolError", "01 §7")
    signature = only(bytes.fromhex(proof), 5, digest[:16], 64)
    if not rfc8032.verify(key, statement("client", who, ours), signature):
        raise Refused("InvalidSignature", "G1")
    if [key.hex(), role, task.decode()] not in enrolled or role != 1:
        raise Refused("RemoteProtocolError", "G3")
    head = b"\1" + bytes([11]) + digest[:16]
    own = rfc8032.sign(secret, statement("server", who, ours))
    return {"reply": (head + ours).hex(), "proof": (b"\1\5" + digest[:16] + own).hex()}


def do_call(
    name: str, key: str, seed: str, role: int, task: str, challenge: str, reply: str, proof: str
) -> Data:
    digest, secret = digest_of(name, bytes.fromhex(key)), bytes.fromhex(seed)
    nonce = digest[:16]
    who = (digest, rfc8032.public(secret), role, task.encode(), bytes.fromhex(challenge))
    prefixed = len(who[3]).to_bytes(4, "big") + who[3]
    said = b"\1\x0a" + nonce + who[0] + who[1] + bytes([role]) + prefixed + who[4]
    theirs = only(bytes.fromhex(reply), 11, nonce, 32)
    own = b"\1\5" + nonce + rfc8032.sign(secret, statement("client", who, theirs))
    answer = only(bytes.fromhex(proof), 5, nonce, 64)
    if not rfc8032.verify(bytes.fromhex(key), statement("server", who, theirs), answer):
        raise Refused("InvalidSignature", "G1")
    return {"caller": said.hex(), "proof": own.hex()}


ALONE: dict[str, Callable[..., Data]] = {
    name.removeprefix("do_"): function
    for name, function in list(globals().items())
    if name.startswith("do_")
}
