"""Scenarios about a service (51-admission.md): its greeting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from operations import Data, perform

from secagg.crypto import labels, sign
from secagg.rights import ServiceRole
from secagg.types import Seed
from secagg.wire.hello import CallerHello, Service

Shake = Callable[[str, int], bytes]
Steps = list[tuple[str, Data]]
NAME, TASK = "sum.hospital.example", "mortality"


def scenarios(shake: Shake, scenario_of: Callable[..., Data]) -> Iterator[tuple[str, Data]]:
    made = Greetings(shake)
    yield "service-names", scenario_of("digests, callers", "01-wire.md §7", made.names())
    yield "service-greeting", scenario_of("who is let in", "51-admission.md §1", made.greetings())


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
