"""What the operations about a service must give, of 01-wire.md §7.10 and 51-admission.md."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import active_checks
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


# 51-admission.md §2


def data_of(code: str) -> bytes:
    """E2, as far as letters go."""
    letters = code[8:]
    if code[:8] != "secagg1-" or not re.fullmatch("[a-z2-7]*", letters, re.ASCII):
        raise Refused("InputError", "E2")
    if len(letters) % 8 in (1, 3, 6):
        raise Refused("InputError", "E2")
    data = base64.b32decode(letters.upper() + "=" * (-len(letters) % 8))
    if base64.b32encode(data).decode().lower().rstrip("=") != letters:
        raise Refused("InputError", "E2")
    return data


def invitation_of(code: str) -> dict[str, Any]:
    data = data_of(code)
    if len(data) < 4 or H("code", data[:-4])[:4] != data[-4:]:
        raise Refused("InputError", "E2")
    cursor = Cursor(data[:-4])
    try:
        url, key, ca = cursor.prefixed(300).decode("latin-1"), cursor.take(32), cursor.take(32)
        name, token = cursor.prefixed(64).decode("latin-1"), cursor.take(16)
        cursor.end()
    except Refused:
        raise Refused("InputError", "E2") from None
    if not re.fullmatch("[!-~]([ -~]*[!-~])?", name):
        raise Refused("ParameterError", "14 §2")
    shape = "(https?)://([a-z0-9.-]+)(:[1-9][0-9]{0,4})?(/[!-~]*)?"
    found = re.fullmatch(shape, url)
    if found is None or int((found[3] or ":1")[1:]) > 65535:
        raise Refused("ParameterError", "E2")
    if found[1] == "http" and not re.fullmatch(r"localhost|127(\.[0-9]{1,3}){3}", found[2]):
        raise Refused("ParameterError", "E2")
    service = digest_of(found[2], key)
    seed = H("ticket", service, token)
    return {"url": url, "name": name, "key": key, "ca": ca, "service": service, "seed": seed}


def do_code(code: str) -> Data:
    read = invitation_of(code)
    read["ticket"] = rfc8032.public(read.pop("seed"))
    return {k: v if isinstance(v, str) else v.hex() for k, v in read.items()}


def do_accept(code: str, seed: str) -> Data:
    """E3"""
    read, secret = invitation_of(code), bytes.fromhex(seed)
    key, name = rfc8032.public(secret), read["name"].encode()
    ticket = rfc8032.public(read["seed"])
    said = E(b"secagg/v1/sign-acceptance", read["service"], ticket, key)
    own = rfc8032.sign(secret, E(b"secagg/v1/sign-enrol", key, name))
    request = b"\1" + len(name).to_bytes(4, "big") + name + key + own
    signature = rfc8032.sign(read["seed"], said)
    whole = b"\1" + ticket + signature + len(request).to_bytes(4, "big") + request
    return {"acceptance": whole.hex()}


def signed_request(data: bytes, label: bytes, service: bytes) -> tuple[bytes, Data]:
    """E3, E7"""
    cursor = Cursor(data)
    if cursor.int(1) != 1:
        raise Refused("UnknownVersion", "E3")
    signer, signature, request = cursor.take(32), cursor.take(64), cursor.prefixed(165)
    cursor.end()
    read = active_checks.do_enrolment(request.hex())
    said = E(label, service, signer, bytes.fromhex(read["key"]))
    if not rfc8032.verify(signer, said, signature):
        raise Refused("InvalidSignature", "E3")
    return signer, read


def do_acceptance(name: str, key: str, acceptance: str) -> Data:
    service = digest_of(name, bytes.fromhex(key))
    label = b"secagg/v1/sign-acceptance"
    ticket, read = signed_request(bytes.fromhex(acceptance), label, service)
    return {"ticket": ticket.hex(), **read}


def do_renewal(name: str, key: str, renewal: str) -> Data:
    service = digest_of(name, bytes.fromhex(key))
    old, read = signed_request(bytes.fromhex(renewal), b"secagg/v1/sign-renewal", service)
    return {"old": old.hex(), **read}


def do_entry(entry: str) -> Data:
    """The row at the end of §2."""
    cursor = Cursor(bytes.fromhex(entry))
    if cursor.int(1) != 1:
        raise Refused("UnknownVersion", "§2")
    name = cursor.prefixed(64).decode("latin-1")
    if not re.fullmatch("[!-~]([ -~]*[!-~])?", name):
        raise Refused("ParameterError", "14 §2")
    role, state, ticket, expires = cursor.int(1), cursor.int(1), cursor.take(32), cursor.int(8)
    tasks = [cursor.prefixed(64).decode("latin-1") for _ in range(cursor.int(1))]
    there = cursor.int(1)
    key = cursor.take(32) if there else b""
    if there:
        cursor.take(64)
    earlier = [cursor.take(32) for _ in range(cursor.int(1))]
    cursor.end()
    keyless = there == 0 and state in (0, 3) and not earlier
    keyed = there == 1 and state in (1, 2, 3)
    ordered = tasks == sorted(set(tasks)) and len(tasks) <= 64 and len(earlier) <= 64
    of_role = bool(tasks) == (role in (1, 2))
    twice = len({*earlier, key}) != len(earlier) + 1
    if role not in ROLES or not (keyed or keyless) or not (ordered and of_role) or twice:
        raise Refused("WireError", "§2")
    said: Data = {"name": name, "role": role, "tasks": tasks, "ticket": ticket.hex()}
    said["state"] = ("invited", "waiting", "approved", "revoked")[state]
    said |= {"expires": expires, "key": key.hex()}
    return said | {"earlier": [one.hex() for one in earlier]}


ALONE: dict[str, Callable[..., Data]] = {
    name.removeprefix("do_"): function
    for name, function in list(globals().items())
    if name.startswith("do_")
}
