"""What the operations about a service do to this code: see operations.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from secagg.crypto import sign
from secagg.invitation import Acceptance, Invitation, Renewal
from secagg.rights import ServiceRole
from secagg.rounds.admission import Admission
from secagg.rounds.greeting import Script
from secagg.rounds.reception import Reception, as_caller
from secagg.types import Seed
from secagg.wire.hello import CallerHello, Service

Data = dict[str, Any]
to_bytes = bytes.fromhex


def _service(name: str, key: str) -> Data:
    return {"digest": Service(name, to_bytes(key)).digest.hex()}


def _caller(name: str, key: str, frame: str) -> Data:
    hello = CallerHello.decode(to_bytes(frame), Service(name, to_bytes(key)).nonce)
    said = {"service": hello.service.hex(), "key": hello.key.hex(), "role": int(hello.role)}
    return said | {"task": hello.task, "challenge": hello.challenge.hex()}


def _greet(
    name: str, seed: str, challenge: str, enrolled: list[list[Any]], caller: str, proof: str
) -> Data:
    secret = Seed(to_bytes(seed))

    def judge(key: bytes, role: ServiceRole, task: str) -> str | None:
        return None if [key.hex(), int(role), task] in enrolled else "not enrolled"

    service = Service(name, sign.public_key(secret))
    reception = Reception(service, secret, judge, lambda size: to_bytes(challenge))
    said, say = _heard(reception.greet(), caller, proof)
    return {"reply": said[1].hex(), "proof": say.hex()}


def _call(
    name: str, key: str, seed: str, role: int, task: str, challenge: str, reply: str, proof: str
) -> Data:
    service, secret = Service(name, to_bytes(key)), Seed(to_bytes(seed))
    random = to_bytes(challenge)
    script = as_caller(service, ServiceRole(role), task, secret, lambda size: random)
    said, _ = _heard(script, reply, proof)
    return {"caller": said[0].hex(), "proof": said[1].hex()}


def _heard(script: Script, *frames: str) -> tuple[list[bytes], bytes]:
    """What it says before each frame, and last of all."""
    said = [next(script)]
    try:
        for frame in frames:
            said.append(script.send(to_bytes(frame)))
    except StopIteration as over:
        return said, over.value.say
    raise ValueError("the greeting is not over")


def _code(code: str) -> Data:
    read = Invitation.decode(code)
    said = {"url": read.url, "name": read.name, "key": read.key.hex(), "ca": read.ca.hex()}
    ticket = sign.public_key(read.token.ticket(read.service)).hex()
    return said | {"service": read.service.digest.hex(), "ticket": ticket}


def _accept(code: str, seed: str) -> Data:
    return {"acceptance": Invitation.decode(code).accept(Seed(to_bytes(seed))).encode().hex()}


def _acceptance(name: str, key: str, acceptance: str) -> Data:
    read = Acceptance.decode(to_bytes(acceptance))
    read.check(Service(name, to_bytes(key)))
    return {"ticket": read.ticket.hex(), "name": read.request.name, "key": read.request.key.hex()}


def _renewal(name: str, key: str, renewal: str) -> Data:
    read = Renewal.decode(to_bytes(renewal))
    read.check(Service(name, to_bytes(key)))
    return {"old": read.old.hex(), "name": read.request.name, "key": read.request.key.hex()}


def _entry(entry: str) -> Data:
    read = Admission.decode(to_bytes(entry))
    said: Data = {"name": read.name, "role": int(read.role), "tasks": list(read.tasks)}
    said |= {"state": read.state.value, "ticket": read.ticket.hex(), "expires": read.expires}
    return said | {"key": read.key.hex(), "earlier": [key.hex() for key in read.earlier]}


OPERATIONS: dict[str, Callable[..., Data]] = {
    "service": _service,
    "caller": _caller,
    "greet": _greet,
    "call": _call,
    "code": _code,
    "accept": _accept,
    "acceptance": _acceptance,
    "renewal": _renewal,
    "entry": _entry,
}
