"""Scenarios about a service (51-admission.md): its greeting, codes, requests and register."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from operations import Data, perform

from secagg.crypto import labels, sign
from secagg.invitation import PUBLIC_PKI, Invitation, Renewal, Token
from secagg.rights import ServiceRole
from secagg.roster import Enrolment
from secagg.rounds.admission import Admission, State
from secagg.types import Seed
from secagg.wire.hello import CallerHello, Service

Shake = Callable[[str, int], bytes]
Steps = list[tuple[str, Data]]
NAME, TASK = "sum.hospital.example", "mortality"


def scenarios(shake: Shake, scenario_of: Callable[..., Data]) -> Iterator[tuple[str, Data]]:
    made = Greetings(shake)
    yield "service-names", scenario_of("digests, callers", "01-wire.md §7", made.names())
    yield "service-greeting", scenario_of("who is let in", "51-admission.md §1", made.greetings())
    enrolling = Enrolling(shake, made)
    yield "service-codes", scenario_of("codes", "51-admission.md §2", enrolling.codes())
    steps = enrolling.requests()
    yield "service-enrolment", scenario_of("acceptances, renewals", "51-admission.md §2", steps)
    steps = enrolling.entries()
    yield "service-entries", scenario_of("rows of the register", "51-admission.md §2", steps)


class Greetings:
    """One service, one client and everything that is nearly theirs."""

    def __init__(self, shake: Shake) -> None:
        self.shake = shake
        self.secret, self.mine, self.other = (
            Seed(shake(f"service/{word}", 32)) for word in ("secret", "mine", "other")
        )
        self.service = Service(NAME, sign.public_key(self.secret))
        self.key = sign.public_key(self.mine)
        self.ours, self.theirs = shake("service/ours", 32), shake("service/theirs", 32)

    def hello(self, **other: Any) -> bytes:
        said: dict[str, Any] = {"service": self.service.digest, "key": self.key}
        said |= {"role": ServiceRole.CLIENT, "task": TASK, "challenge": self.theirs} | other
        return CallerHello(**said).encode()

    def names(self) -> Steps:
        key, weak = self.service.key, b"\1" + bytes(31)
        names = [NAME, "localhost", "127.0.0.1", "x" * 63, ".".join(["y" * 62] * 4) + "z"]
        bad = ["", "A", "a..b", "-a", "a-", "a_b", "x" * 64, ".".join(["y" * 63] * 4), "a:1"]
        steps: Steps = [("service", {"name": one, "key": key.hex()}) for one in names + bad]
        steps += [("service", {"name": NAME, "key": one.hex()}) for one in (weak, key[:31])]
        good = self.hello()
        frames = [good, self.hello(task="-" * 64), *(self.hello(role=one) for one in ServiceRole)]
        frames += [
            good[:-1], good + b"\0", b"\2" + good[1:], b"\1\x08" + good[2:], b"",
            good[:2] + bytes(16) + good[18:], good[:82] + b"\3" + good[83:],
            good[:82] + b"\0" + good[83:], good[:82] + b"\7" + good[83:],
            good[:87] + b"M" + good[88:], good[:83] + bytes(4) + good[87:],
            good[:83] + (65).to_bytes(4) + good[87:], good[:83] + b"\xff" * 4 + good[87:],
            good + bytes(100), good[:18] + bytes(16) + good[34:],
        ]  # fmt: skip
        at = {"name": NAME, "key": key.hex()}
        return steps + [("caller", {**at, "frame": one.hex()}) for one in frames]

    def statement(self, label: str, **other: Any) -> bytes:
        said: dict[str, Any] = {"service": self.service.digest, "key": self.key, "role": 1}
        said |= {"task": TASK.encode(), "theirs": self.theirs, "ours": self.ours} | other
        return labels.encode(b"secagg/v1/service-link-" + label.encode(), *said.values())

    def proof(self, label: str, seed: Seed, **other: Any) -> bytes:
        head = b"\1\5" + self.service.digest[:16]
        return head + sign.sign(seed, self.statement(label, **other))

    def greetings(self) -> Steps:
        known = [self.key.hex(), 1, TASK]
        one: Data = {"name": NAME, "seed": self.secret.expose().hex(), "enrolled": [known]}
        one |= {"challenge": self.ours.hex(), "caller": self.hello().hex()}
        good = self.proof("client", self.mine)
        elsewhere = Service("sum.elsewhere.example", self.service.key)
        stranger = {"key": sign.public_key(self.other)}
        other: list[tuple[Data, bytes]] = [
            ({}, good), ({}, good[:-1] + b"\0"), ({}, good[:-1]), ({}, good + b"\0"),
            ({}, self.proof("server", self.mine)), ({}, self.proof("client", self.other)),
            ({}, self.proof("client", self.mine, service=elsewhere.digest)),
            ({}, self.proof("client", self.mine, key=self.service.key)),
            ({}, self.proof("client", self.mine, role=2)),
            ({}, self.proof("client", self.mine, task=b"other")),
            ({}, self.proof("client", self.mine, ours=self.theirs, theirs=self.ours)),
            ({}, self.proof("client", self.mine, ours=bytes(32))),
            ({"enrolled": []}, good), ({"enrolled": [[known[0], 2, TASK]]}, good),
            ({"enrolled": [[known[0], 1, "other"]]}, good),
            ({"enrolled": [[stranger["key"].hex(), 1, TASK]]}, good),
            ({"caller": self.hello(**stranger).hex()},
             self.proof("client", self.other, **stranger)),
            ({"caller": self.hello(role=ServiceRole(2)).hex(), "enrolled": [[known[0], 2, TASK]]},
             self.proof("client", self.mine, role=2)),
            ({"caller": self.hello(service=elsewhere.digest).hex()}, good),
            ({"caller": self.hello(service=self.service.digest[:16] + bytes(16)).hex()}, good),
        ]  # fmt: skip
        steps: Steps = [("greet", {**one, **more, "proof": said.hex()}) for more, said in other]
        answer = perform({"operation": "greet", **one, "proof": good.hex()})
        call: Data = {"name": NAME, "key": self.service.key.hex(), "role": 1, "task": TASK}
        call |= {"seed": self.mine.expose().hex(), "challenge": self.theirs.hex()}
        call |= {"reply": answer["reply"]}
        for said in (
            bytes.fromhex(answer["proof"]), good, self.proof("server", self.mine),
            self.proof("server", self.secret, ours=bytes(32)),
            self.proof("server", self.secret, key=self.service.key),
            self.proof("server", self.secret, task=b"other"),
            self.proof("server", self.secret, service=elsewhere.digest),
            bytes.fromhex(answer["proof"])[:-1],
        ):  # fmt: skip
            steps.append(("call", {**call, "proof": said.hex()}))
        short = {**call, "reply": answer["reply"][:-2], "proof": answer["proof"]}
        strange = {**call, "reply": "0109" + answer["reply"][4:], "proof": answer["proof"]}
        return [*steps, ("call", short), ("call", strange)]


class Enrolling:
    """The same service invites the same client."""

    def __init__(self, shake: Shake, made: Greetings) -> None:
        self.made, token = made, Token(shake("service/token", 16))
        ca, url = shake("service/ca", 32), f"https://{NAME}:8443/sums"
        self.invited = Invitation(url, made.service.key, ca, "site-1", token)

    def codes(self) -> Steps:
        local = replace(self.invited, url="http://127.0.0.1", ca=PUBLIC_PKI, name="~" * 64)
        code = self.invited.encode()
        steps: Steps = [("code", {"code": one}) for one in (code, local.encode())]
        body = base64.b32decode(code[8:].upper() + "=" * (-len(code[8:]) % 8))[:-4]
        weak = body.replace(self.made.service.key, b"\1" + bytes(31))
        bad = [
            "", code.upper(), "secagg2-" + code[8:], code[:20] + "1" + code[21:], code[:-1],
            code[:-8], code[:70], code + "a" * 8, code + "=", code[:60] + "a" + code[61:],
            code[:60] + "b" + code[61:], "secagg1-", self.again(body + b"\0"),
            self.again(body.replace(b"https", b"httpx")),
            self.again(body.replace(b"8443", b"0443")),
            self.again(body.replace(b"https://s", b"http://su")), self.again(weak),
            self.again(body.replace(b"site-1", b" ite-1")), self.again(b"\xff" * 4 + body[4:]),
        ]  # fmt: skip
        steps += [("code", {"code": one}) for one in bad]
        seeds = (self.made.mine, self.made.other)
        return steps + [("accept", {"code": code, "seed": one.expose().hex()}) for one in seeds]

    def again(self, body: bytes) -> str:
        whole = body + labels.digest(b"secagg/v1/code", body)[:4]
        return "secagg1-" + base64.b32encode(whole).decode().rstrip("=").lower()

    def requests(self) -> Steps:
        made, at = self.made, {"name": NAME, "key": self.made.service.key.hex()}
        accepted = self.invited.accept(made.mine)
        elsewhere = Service("sum.elsewhere.example", made.service.key)
        stolen = replace(accepted, request=Enrolment.make("site-1", made.other))
        request = Enrolment.make("site-1", made.other)
        renewed = Renewal.make(made.service, made.mine, request)
        other = Renewal.make(elsewhere, made.mine, request)
        crossed = Renewal(accepted.ticket, accepted.request, accepted.signature)
        steps: Steps = []
        for kind, good, key, bad in (
            ("acceptance", accepted.encode(), made.key, (stolen.encode(), renewed.encode())),
            ("renewal", renewed.encode(), request.key, (other.encode(), crossed.encode())),
        ):
            own = good.rindex(key)
            all_bad = [
                *bad, good[:-1], good + b"\0", b"\2" + good[1:], b"", good[:97] + b"\xff" * 4,
                good[:own] + b"\1" + bytes(31) + good[own + 32 :],
                good.replace(b"site-1", b"site-2"), good[:1] + bytes(32) + good[33:],
            ]  # fmt: skip
            steps += [(kind, {**at, kind: one.hex()}) for one in (good, *all_bad)]
        return steps

    def entries(self) -> Steps:
        accepted, role = self.invited.accept(self.made.mine), ServiceRole.CLIENT
        invited = Admission("site-1", role, ("a", "b"), State.INVITED, accepted.ticket, 1 << 40)
        given = {"key": accepted.request.key, "signature": accepted.request.signature}
        waiting = replace(invited, state=State.WAITING, expires=0, **given)
        earlier = accepted.ticket, self.made.key[::-1]
        renewed = replace(waiting, state=State.APPROVED, earlier=earlier)
        viewer = replace(waiting, role=ServiceRole.VIEWER, tasks=())
        good = [invited, waiting, renewed, replace(renewed, state=State.REVOKED), viewer]
        good += [replace(invited, state=State.REVOKED), replace(renewed, expires=7)]
        bad = [
            replace(invited, state=State.WAITING), replace(waiting, state=State.INVITED),
            replace(viewer, tasks=("a",)), replace(waiting, tasks=()),
            replace(waiting, tasks=("b", "a")), replace(waiting, tasks=("a", "a")),
            replace(waiting, earlier=(waiting.key,)), replace(waiting, earlier=(bytes(32),) * 65),
            replace(waiting, tasks=tuple(f"t{i:02}" for i in range(65))),
        ]  # fmt: skip
        whole = waiting.encode()
        raw = [
            whole[:-1], whole + b"\0", b"\2" + whole[1:], whole[:11] + b"\3" + whole[12:],
            whole[:12] + b"\4" + whole[13:], whole[:5] + b" " + whole[6:], b"",
        ]  # fmt: skip
        every = [*(one.encode() for one in (*good, *bad)), *raw]
        return [("entry", {"entry": one.hex()}) for one in every]
