"""Clients and collector of specs/20-additive.md §7, §8 once more: models for verify.py."""

from __future__ import annotations

from typing import Any

import additive_blocks as add
import blocks
import rfc8032
import rfc9180
from blocks import REASONS, Cursor, Refused

Data = dict[str, Any]

REPORT, SHARE, RECEIPT, VERDICT, DECISION, DECIDED = range(1, 7)
STATEMENT, AGREEMENT, LOCKED, COLLECT, TOTAL, ABORT, OPEN = range(7, 14)
UPLOAD, AGREE, LOCK, ABORTED = range(1, 5)
FAULTS = {
    "malformed": "peer-fault",
    "wrong-phase": "peer-fault",
    "equivocation": "peer-fault",
    "rejected": "peer-fault",
    "invalid-signature": "integrity",
    "disagreement": "integrity",
    "lost": "lost",
    "late": "lost",
    "quit": "cancelled",
}
QUIET = ("lost", "late", "quit")
"""Faults that are no bad bytes."""


class Tape:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def __call__(self, size: int) -> bytes:
        drawn, self.data = self.data[:size], self.data[size:]
        if len(drawn) != size:
            raise AssertionError("the recorded randomness is too short")
        return drawn


class Common:
    """What every party knows."""

    def __init__(self, setup: Data) -> None:
        self.setup = setup
        self.task = add.task_of_several(bytes.fromhex(setup["task"]))
        self.n, self.m, self.minimum, self.direct = self.task.plan.params
        self.segments = self.task.plan.schema.segments
        self.number = setup["batch"]
        self.id, self.batch = self.task.id, self.task.batch_id(self.number)
        self.packed = len(blocks.pack(self.segments, self.zeros()))

    def zeros(self) -> list[list[int]]:
        return [[0] * length for _, length in self.segments]

    def tape(self, kind: str, party: str) -> Tape:
        return Tape(bytes.fromhex(self.setup[kind].get(party, "")))

    def message(self, tag: int, bound: bytes, *body: bytes) -> str:
        return (bytes([1, 1, tag]) + bound + b"".join(body)).hex()

    def abort(self, bound: bytes, reason: str) -> str:
        return self.message(ABORT, bound, bytes([1 + REASONS.index(reason)]))


def index_of(party: str) -> int:
    return int(party.removeprefix("server-"))


def opened(message: str) -> tuple[int, bytes, Cursor]:
    cursor = Cursor(bytes.fromhex(message), "§6")
    if (cursor.int(1), cursor.int(1)) != (1, 1):
        raise Refused("UnknownVersion", "§6")
    return cursor.int(1), cursor.take(32), cursor


def read_reason(cursor: Cursor) -> str:
    code = cursor.int(1)
    cursor.end()
    if not 1 <= code <= len(REASONS):
        raise Refused("WireError", "§6")
    return REASONS[code - 1]


class Party:
    """Collects what one operation gives."""

    def __init__(self, common: Common, name: str) -> None:
        self.common, self.name = common, name
        self.random = common.tape("randomness", name)
        self.ephemeral = common.tape("ephemeral", name)
        self.rows: dict[str, str] = {}
        self.clear()

    def clear(self) -> None:
        self.sends: list[Data] = []
        self.events: list[list[Any]] = []
        self.writes: dict[str, str | None] = {}  # None: the row is deleted
        self.rule = ""
        self.extra: Data = {}

    def perform(self, operation: Data) -> Data:
        self.clear()
        getattr(self, "on_" + operation["operation"])(operation)
        outputs: Data = {"success": not self.rule, "events": self.events, "sends": self.sends}
        outputs["writes"] = [[key, self.writes[key]] for key in sorted(self.writes)]
        kept = self.rows | self.writes
        self.rows = {key: value for key, value in kept.items() if value is not None}
        if self.rule:
            outputs["rule"] = self.rule
        return outputs | self.extra

    def send(self, to: str, message: str, commit: bool = True) -> None:
        self.sends.append({"to": to, "message": message} | ({"commit": True} if commit else {}))

    def ignored(self, sender: Any) -> None:
        self.events.append(["ignored", str(sender)])


class Client(Party):
    """§7"""

    def __init__(self, common: Common, name: str) -> None:
        super().__init__(common, name)
        self.missing = list(range(common.m))
        self.started = self.ended = False
        self.vector: list[list[int]] | None = None
        self.made: add.Made | None = None
        self.kept: dict[str, str] = {}

    @property
    def unheard(self) -> list[str]:
        if self.common.direct:
            return [f"server-{j}" for j in self.missing]
        return ["server-0"] if self.missing else []

    def on_start(self, _: Data) -> None:
        self.started = True
        self.upload()

    def on_set_input(self, operation: Data) -> None:
        payload = operation.get("payload", self.common.setup["payload"])
        if blocks.H("payload", bytes.fromhex(payload)) != self.common.task.payload:
            self.refuse("InputError")
            return
        self.vector = operation["vector"]
        self.upload()

    def upload(self) -> None:
        if not self.started or self.vector is None or self.made:
            return
        c = self.common
        made = add.make_report(c.task, self.vector, self.random, self.ephemeral)
        self.made = made
        if c.direct:
            for j, sealed in enumerate(made.sealed):
                self.kept[f"server-{j}"] = c.message(SHARE, c.id, made.head.encoded, sealed)
        else:
            self.kept["server-0"] = c.message(REPORT, c.id, made.head.encoded, *made.sealed)
        for server, message in self.kept.items():
            self.send(server, message)

    def on_reconnected(self, operation: Data) -> None:
        if operation["who"] in self.kept and not self.ended:
            self.send(operation["who"], self.kept[operation["who"]])

    def on_receive(self, operation: Data) -> None:
        sender = operation["sender"]
        if self.ended or sender not in self.unheard:
            self.ignored(sender)
            return
        try:
            self.hear(sender, operation["message"])
        except Refused as refusal:
            self.refuse("RemoteProtocolError", refusal.layer)

    def hear(self, sender: str, message: str) -> None:
        tag, bound, cursor = opened(message)
        if bound != self.common.id or tag not in (RECEIPT, ABORT):
            raise Refused("", "§7")
        if tag == ABORT:
            self.events.append(["aborted", read_reason(cursor)])
            self.ended, self.rule = True, "§7"
            return
        id, j, signature = cursor.take(16), cursor.int(1), cursor.take(64)
        cursor.end()
        bearer = f"server-{j}" if self.common.direct else "server-0"
        if self.made is None:
            raise Refused("", "§7")
        if id != self.made.head.id:
            self.ignored(sender)
            return
        if j >= self.common.m or sender != bearer:
            raise Refused("", "§7")
        signed = add.receipt_statement(self.common.id, j, self.made.head.digest)
        if not rfc8032.verify(self.common.task.committee.servers[j][1], signed, signature):
            raise Refused("", "§7")
        if j in self.missing:
            self.missing.remove(j)
        if self.common.direct:
            self.kept.pop(sender, None)
        if not self.missing:
            self.kept = {}
            self.ended = True
            self.events.append(["finished"])

    def refuse(self, error: str, cause: str = "") -> None:
        for server in self.unheard:
            self.send(server, self.common.abort(self.common.id, "peer-fault"), commit=False)
        self.ended, self.rule = True, "§7"
        self.events.append(["aborted", "peer-fault"])
        self.extra = {"error": error} | ({"cause": cause} if cause else {})


class Fault(Exception):
    def __init__(self, fault: str, rule: str) -> None:
        super().__init__(fault, rule)
        self.fault, self.rule = fault, rule


class Collector(Party):
    """A11"""

    def __init__(self, common: Common, name: str) -> None:
        super().__init__(common, name)
        self.opening = blocks.clamp(self.random(32))
        self.missing = [f"server-{j}" for j in range(common.m)]
        self.sum, self.count = common.zeros(), 0
        self.stated: tuple[int, bytes] | None = None
        self.open: dict[str, int] = {}
        self.phase = self.done = False
        self.ended = ""

    def on_start(self, _: Data) -> None:
        self.phase = True
        for server in self.missing:
            self.ask(server)

    def on_reconnected(self, operation: Data) -> None:
        if self.phase and not self.done and operation["who"] in self.missing:
            self.ask(operation["who"])

    def ask(self, server: str) -> None:
        self.send(server, self.common.message(COLLECT, self.common.batch), commit=False)

    def on_receive(self, operation: Data) -> None:
        sender = str(operation["sender"])
        if self.done or not self.phase or sender not in self.missing:
            self.ignored(sender)
            return
        try:
            self.hear(sender, operation["message"])
        except Refused as refusal:
            fault = "rejected" if refusal.layer == "InvalidTag" else "malformed"
            self.blame(sender, fault, "A11" if fault == "rejected" else refusal.rule)
        except Fault as fault:
            self.blame(sender, fault.fault, fault.rule)

    def hear(self, sender: str, message: str) -> None:
        c, j = self.common, index_of(sender)
        tag, bound, cursor = opened(message)
        if bound != c.batch:
            raise Refused("WireError", "§3")
        if tag == ABORT:
            if read_reason(cursor) == "below-threshold" and self.stated is None:
                self.abort("below-threshold", "A11")
                self.ended = "BelowThreshold"
                return
            raise Fault("quit", "A11")
        if tag == OPEN:
            self.open[sender] = cursor.int(4)
            cursor.end()
            self.ignored(sender)
            return
        if tag != TOTAL:
            raise Refused("BadTag", "§6")
        stated = cursor.int(4), cursor.take(32)
        agreed = [cursor.take(64) for _ in range(c.m)]
        sealed, signature = cursor.take(c.packed + 48), cursor.take(64)
        cursor.end()
        signed = add.total_statement(c.batch, j, *stated, sealed)
        if not rfc8032.verify(c.task.committee.servers[j][1], signed, signature):
            raise Fault("invalid-signature", "A11")
        for (_, key), one in zip(c.task.committee.servers, agreed, strict=True):
            if not rfc8032.verify(key, add.statement(c.batch, *stated), one):
                raise Fault("invalid-signature", "A11")
        if self.stated not in (None, stated):
            self.abort("integrity", "A11")
            return
        count, digest = self.stated = stated
        info = add.total_info(c.id, c.number, digest, count, j)
        plain = rfc9180.unseal(self.opening, info, sealed)
        packed = Cursor(plain, "A11")
        self.sum = add.combined(self.sum, blocks.unpack(packed, c.segments), 1, c.segments)
        self.missing.remove(sender)
        self.open.pop(sender, None)
        if not self.missing:
            self.complete(count)

    def complete(self, count: int) -> None:
        if not self.common.minimum <= count <= self.common.n:
            self.abort("below-threshold", "A11")
            self.ended = "BelowThreshold"
            return
        self.done, self.count = True, count
        self.events.append(["finished"])

    def on_lost(self, operation: Data) -> None:
        if operation["who"] in self.missing and self.phase and not self.done:
            self.blame(operation["who"], "lost", "A11")

    def on_close_phase(self, _: Data) -> None:
        """A12: a batch that is open is nobody's fault."""
        if not self.open:
            self.blame(self.missing[0], "late", "A11")
            return
        first = min(self.open, key=index_of)
        few = self.open[first] < self.common.minimum
        self.abort("below-threshold" if few else "lost", "A12")
        self.ended = "BelowThreshold" if few else "Aborted"

    def blame(self, party: str, fault: str, rule: str) -> None:
        self.events.append(["dropped", party, fault])
        self.abort(FAULTS[fault], rule)

    def abort(self, reason: str, rule: str) -> None:
        self.done, self.ended, self.rule = True, "Aborted", rule
        self.events.append(["aborted", reason])

    def on_result(self, _: Data) -> None:
        if self.ended:
            self.rule, self.extra = "A11", {"error": self.ended}
            return
        self.extra = {"vector": self.reduced(), "reports": self.count}

    def on_check_counts(self, _: Data) -> None:
        self.common.task.plan.schema.check_counts(self.reduced(), self.count)

    def reduced(self) -> list[list[int]]:
        segments = self.common.segments
        return [
            [x % 2**width for x in lane]
            for (width, _), lane in zip(segments, self.sum, strict=True)
        ]
