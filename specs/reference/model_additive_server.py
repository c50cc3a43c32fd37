"""Leader and helpers of specs/20-additive.md §8, §9 once more: models for verify.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import additive_blocks as add
import blocks
import rfc8032
import rfc9180
from blocks import REASONS, Cursor, Refused
from model_additive import (
    ABORT,
    ABORTED,
    AGREE,
    AGREEMENT,
    COLLECT,
    DECIDED,
    DECISION,
    FAULTS,
    LOCK,
    LOCKED,
    OPEN,
    QUIET,
    RECEIPT,
    REPORT,
    SHARE,
    STATEMENT,
    TOTAL,
    UPLOAD,
    VERDICT,
    Client,
    Collector,
    Common,
    Data,
    Fault,
    Party,
    index_of,
    opened,
    read_reason,
)


class Member(Party):
    """What servers share. A report is a dictionary: state, batch, digest, message, share, .."""

    takes: dict[tuple[int, str], set[int]]

    def __init__(self, common: Common, name: str) -> None:
        super().__init__(common, name)
        self.index = index_of(name)
        self.opening, self.signing = add.keys_of(self.random(64))
        self.others = [f"server-{j}" for j in range(common.m) if j != self.index]
        self.rows = dict(common.setup.get("rows", {}).get(name, {}))
        self.fresh()

    def fresh(self) -> None:
        """As the rows say (§9)."""
        number = blocks.u32(self.common.number).hex()
        stage = bytes.fromhex(self.rows.get("62" + number, "00"))
        self.stage, self.total, self.ended = stage[0], stage[1:].hex(), ""
        if self.stage == ABORTED:
            self.ended, self.total = REASONS[stage[1] - 1], ""
        self.agreement = self.rows.get("61" + number, "")
        self.sum = self.read_sum(self.rows.get("73" + number))
        self.reports: dict[bytes, Data] = {}
        self.waits = self.done = False
        for key, value in self.rows.items():
            if key.startswith("72"):
                self.restore(bytes.fromhex(key[2:]), Cursor(bytes.fromhex(value)))
        if self.stage in (UPLOAD, AGREE) and self.summed != len(self.included):
            raise Refused("StorageError", "§9.6")
        self.done = self.stage == ABORTED

    def restore(self, id: bytes, cursor: Cursor) -> None:
        state, batch, digest = cursor.int(1), cursor.int(4), cursor.take(32)
        message = cursor.prefixed(len(cursor.data))
        cursor.end()
        report = {"state": state, "batch": batch, "digest": digest, "message": message}
        if state == 1 and self.stage not in (LOCK, ABORTED):
            report |= self.pending(*self.read_report(message.hex()))
        signed = [message[at : at + 64] for at in range(0, len(message), 64)]
        report["receipts"] = dict(enumerate(signed, start=1)) if state == 3 else {}
        self.reports[id] = report

    def pending(self, head: add.Head, shares: dict[int, bytes]) -> Data:
        sealed = shares[self.index]
        share = add.open_share(self.common.task, self.opening, head, sealed, self.index)
        return {
            "share": share,
            "shares": shares,
            "head": head,
            "receipts": {},
            "sender": None,
            "asker": None,
        }

    def read_sum(self, row: str | None) -> list[list[int]]:
        total = self.common.zeros()
        cursor = Cursor(bytes.fromhex(row or ""))
        self.summed = cursor.int(4) if row is not None else 0
        for (width, length), lane in zip(self.common.segments, total, strict=True):
            size = blocks.lane_of(width) // 8
            if row is not None:
                lane[:] = [int.from_bytes(cursor.take(size), "little") for _ in range(length)]
        cursor.end()
        return total

    # what becomes of reports

    def of_batch(self, state: int) -> dict[bytes, bytes]:
        mine = self.common.number
        return {
            id: r["digest"]
            for id, r in self.reports.items()
            if r["state"] == state and (state == 1 or r["batch"] == mine)
        }

    @property
    def included(self) -> dict[bytes, bytes]:
        return self.of_batch(3)

    def mark(self, id: bytes, state: int, **more: Any) -> None:
        report = self.reports.setdefault(id, {})
        report |= {"state": state, "batch": self.common.number, **more}
        if state != 1:
            report.setdefault("receipts", {})
            report["message"] = b""
            if state == 3 and self.relays:
                report["message"] = b"".join(r for _, r in sorted(report["receipts"].items()))
        row = bytes([state]) + blocks.u32(report["batch"]) + report["digest"]
        message = report["message"]
        self.writes["72" + id.hex()] = (row + blocks.u32(len(message)) + message).hex()

    @property
    def relays(self) -> bool:
        return self.index == 0 and not self.common.direct

    def forget(self) -> None:
        """Shares and sum, in memory and in the store."""
        self.sum = []
        for report in self.reports.values():
            report.pop("share", None)
        self.writes["73" + blocks.u32(self.common.number).hex()] = None

    def include(self, id: bytes) -> None:
        share = self.reports[id].pop("share")
        self.sum = add.combined(self.sum, share, 1, self.common.segments)
        self.mark(id, 3)
        row = b"".join(
            x.to_bytes(blocks.lane_of(width) // 8, "little")
            for (width, _), lane in zip(self.common.segments, self.sum, strict=True)
            for x in lane
        )
        row = blocks.u32(len(self.included)) + row
        self.writes["73" + blocks.u32(self.common.number).hex()] = row.hex()

    # messages

    def role(self, sender: str) -> str:
        if sender == "collector":
            return "collector"
        if not sender.startswith("server-"):
            return "client"
        if sender == self.name or index_of(sender) >= self.common.m:
            return ""
        return "leader" if sender == "server-0" else "helper"

    def on_start(self, _: Data) -> None:
        if self.stage == 0:
            self.enter(UPLOAD)
        else:
            self.resume()

    def on_restart(self, _: Data) -> None:
        self.fresh()
        self.on_start({})

    def resume(self) -> None:
        pass

    def on_receive(self, operation: Data) -> None:
        sender = str(operation["sender"])
        role = self.role(sender)
        tags = self.takes.get((self.stage, role))
        if tags is None:
            self.ignored(sender)
            if role == "client":
                self.known_again(sender, operation["message"])
            return
        try:
            self.hear(sender, role, tags, operation["message"])
        except Refused as refusal:
            self.blame(sender, "malformed", refusal.rule)
        except Fault as fault:
            self.blame(sender, fault.fault, fault.rule)

    def known_again(self, sender: str, message: str) -> None:
        """A3 in a stage that takes no reports; only the head is read."""
        try:
            tag, bound, cursor = opened(message)
            head = add.Head.read(cursor, self.common.m)
        except Refused:
            return
        known = self.reports.get(head.id, {}).get("digest") == head.digest
        if bound == self.common.id and tag in (REPORT, SHARE) and known:
            self.acknowledge(sender, head.id)

    def signed_receipt(self, id: bytes) -> bytes:
        digest = self.reports[id]["digest"]
        statement = add.receipt_statement(self.common.id, self.index, digest)
        return rfc8032.sign(self.signing, statement)

    def acknowledge(self, party: Any, id: bytes) -> None:
        """A3: its own receipt, and those that it has of helpers where it relays."""
        if self.reports[id]["state"] == 2:
            return
        self.receipt(party, id, self.index, self.signed_receipt(id))
        if self.relays:
            for j, signature in self.reports[id]["receipts"].items():
                self.receipt(party, id, j, signature)

    def receipt(self, party: Any, id: bytes, j: int, signature: bytes) -> None:
        self.send(
            str(party), self.common.message(RECEIPT, self.common.id, id, bytes([j]), signature)
        )

    def hear(self, sender: str, role: str, tags: set[int], message: str) -> None:
        tag, bound, cursor = opened(message)
        if not 1 <= tag <= ABORT:
            raise Refused("BadTag", "§6")
        if tag not in tags:
            raise Fault("wrong-phase", "§1")
        of_task = role == "client" or tag == SHARE
        if bound != (self.common.id if of_task else self.common.batch):
            raise Refused("WireError", "§3")
        if tag == ABORT:
            self.hear_abort(role, read_reason(cursor))
            return
        if tag == COLLECT:
            cursor.end()
            self.collect()
            return
        self.take(tag, sender, cursor, message)

    def hear_abort(self, role: str, reason: str) -> None:
        """A7: nobody's fault, where a helper has too few itself."""
        few = len(self.included) < self.common.minimum
        if role == "leader" and reason == "below-threshold" and few:
            self.abort(reason, "A7")
            return
        raise Fault("quit", "§8")

    def collect(self) -> None:
        self.waits = not self.total
        if self.total:
            self.send("collector", self.total)
        elif self.ended:
            self.send("collector", self.common.abort(self.common.batch, self.ended))
        else:
            count = blocks.u32(len(self.included))
            self.send("collector", self.common.message(OPEN, self.common.batch, count))

    def again(self, server: str) -> None:
        if self.ended:
            self.send(server, self.common.abort(self.common.batch, self.ended))

    def take(self, tag: int, sender: str, cursor: Cursor, message: str) -> None:
        raise NotImplementedError

    def read_report(self, message: str) -> tuple[add.Head, dict[int, bytes]]:
        """The head, and the sealed shares that are in it, by server."""
        tag, _, cursor = opened(message)
        head = add.Head.read(cursor, self.common.m)
        shares = {}
        for j in range(self.common.m) if tag == REPORT else [self.index]:
            shares[j] = cursor.take(48 + (32 if j else self.common.packed))
            if add.sha(shares[j]) != head.manifest[j]:
                raise Refused("WireError", "A2")
        cursor.end()
        if not head.is_signed(self.common.id):
            raise Fault("invalid-signature", "A2")
        return head, shares

    def read_ruling(self, cursor: Cursor, signed: bool) -> tuple[bytes, bytes, int, bytes]:
        """signed: whether an acceptance comes with a receipt."""
        id, digest, verdict = cursor.take(16), cursor.take(32), cursor.int(1)
        if verdict > 1:
            raise Refused("WireError", "§6")
        receipt = cursor.take(64) if signed and verdict == 0 else b""
        cursor.end()
        return id, digest, verdict, receipt

    def read_signed(self, cursor: Cursor, signatures: int) -> tuple[tuple[int, bytes], list[bytes]]:
        stated = cursor.int(4), cursor.take(32)
        signed = [cursor.take(64) for _ in range(signatures)]
        cursor.end()
        return stated, signed

    def signature(self, stated: tuple[int, bytes]) -> bytes:
        return rfc8032.sign(self.signing, add.statement(self.common.batch, *stated))

    def check(self, server: int, stated: tuple[int, bytes], signature: bytes, rule: str) -> None:
        key = self.common.task.committee.servers[server][1]
        if not rfc8032.verify(key, add.statement(self.common.batch, *stated), signature):
            raise Fault("invalid-signature", rule)

    # stages

    def enter(self, stage: int) -> None:
        self.stage = stage
        number = blocks.u32(self.common.number).hex()
        reason = f"{1 + REASONS.index(self.ended):02x}" if self.ended else ""
        self.writes["62" + number] = f"{stage:02x}" + (reason or self.total)
        if self.agreement:
            self.writes["61" + number] = self.agreement

    def lock(self, stated: tuple[int, bytes], signatures: list[bytes]) -> None:
        c = self.common
        count, digest = stated
        info = add.total_info(c.id, c.number, digest, count, self.index)
        key = c.task.committee.collector
        sealed = rfc9180.seal(key, info, blocks.pack(c.segments, self.sum), self.ephemeral(32))
        signed = add.total_statement(c.batch, self.index, count, digest, sealed)
        body = blocks.u32(count) + digest
        own = rfc8032.sign(self.signing, signed)
        self.total = c.message(TOTAL, c.batch, body, *signatures, sealed, own)
        self.agreement = c.message(AGREEMENT, c.batch, body, *signatures)
        self.forget()
        self.enter(LOCK)
        if self.waits:
            self.collect()

    def finish(self) -> None:
        self.done = True
        self.events.append(["finished"])

    def on_lost(self, operation: Data) -> None:
        who = str(operation["who"])
        if self.done or self.stage == LOCK:
            return
        if who.startswith("server-"):
            self.blame(who, "lost", "§8")
        else:
            self.lose(who)

    def blame(self, party: str, fault: str, rule: str) -> None:
        role = self.role(party)
        if role == "client":
            self.drop(party, fault, rule)
        elif role in ("collector", "") or self.stage == LOCK:
            self.ignored(party)
        else:
            self.events.append(["dropped", party, fault])
            self.abort(FAULTS[fault], rule)

    def abort(self, reason: str, rule: str) -> None:
        self.rule, self.done, self.ended = rule, True, reason
        self.forget()
        self.enter(ABORTED)
        for server in self.heard_by():
            self.send(server, self.common.abort(self.common.batch, reason))
        self.events.append(["aborted", reason])
        if self.waits:
            self.collect()

    def heard_by(self) -> list[str]:
        raise NotImplementedError

    def drop(self, party: str, fault: str, rule: str) -> None:
        raise NotImplementedError

    def lose(self, party: str) -> None:
        raise NotImplementedError


class Leader(Member):
    takes = {
        (UPLOAD, "client"): {REPORT, SHARE, ABORT},
        (UPLOAD, "helper"): {VERDICT, DECIDED, ABORT},
        (AGREE, "helper"): {VERDICT, DECIDED, STATEMENT, ABORT},
        (LOCK, "helper"): {LOCKED},
        **{(stage, "collector"): {COLLECT} for stage in (UPLOAD, AGREE, LOCK, ABORTED)},
    }

    def fresh(self) -> None:
        super().fresh()
        self.alive = set(range(self.common.n))
        mine = {id for state in (1, 2, 3) for id in self.of_batch(state)}
        self.reporters: dict[int, bytes] = dict(enumerate(sorted(mine)))
        self.early: dict[int, dict[bytes, Any]] = {j: {} for j in range(1, self.common.m)}
        again = [(id, d, 0) for id, d in self.of_batch(3).items()]
        if self.relays:
            again += [(id, d, 1) for id, d in self.of_batch(2).items()]
        self.undone = {j: {r[0]: r for r in again} for j in range(1, self.common.m)}
        self.stated: tuple[int, bytes] | None = None
        self.signatures: dict[int, bytes] = {}
        self.unlocked = set(range(1, self.common.m))
        if self.stage == AGREE:
            self.stated = add.set_of(self.included)

    def heard_by(self) -> list[str]:
        return self.others

    def abort(self, reason: str, rule: str) -> None:
        waits = {p for p, id in self.reporters.items() if id in self.of_batch(1)}
        waits |= {int(self.reports[id].get("asker") or -1) for id in self.of_batch(1)}
        super().abort(reason, rule)
        for party in sorted(self.alive - waits):
            self.send(str(party), self.common.abort(self.common.id, reason))

    def drop(self, party: str, fault: str, rule: str) -> None:
        if int(party) not in self.alive:
            self.ignored(party)
            return
        self.alive.discard(int(party))
        self.events.append(["dropped", party, fault])
        if fault not in QUIET:
            self.rule = rule

    def forget_asker(self, party: Any) -> None:
        """A3: its number may be another client's."""
        for r in self.reports.values():
            if r.get("asker") == str(party):
                r["asker"] = None

    def lose(self, party: str) -> None:
        self.forget_asker(party)
        if int(party) in self.alive and int(party) not in self.reporters:
            self.drop(party, "lost", "")

    def on_reconnected(self, operation: Data) -> None:
        party = operation["who"]
        self.forget_asker(party)
        if self.role(party) != "helper":
            return
        j = index_of(party)
        self.again(party)
        if self.stage == LOCK:
            self.send(party, self.agreement)
        if self.stage not in (UPLOAD, AGREE):
            return
        for id, r in self.reports.items():
            if r["state"] == 1 and j not in r["receipts"] and j in r["shares"]:
                self.send(party, self.relayed(id, j))
        for ruling in self.undone[j].values():
            self.send_ruling(j, ruling)
        self.state_to(j)

    def relayed(self, id: bytes, j: int) -> str:
        r = self.reports[id]
        return self.common.message(SHARE, self.common.id, r["head"].encoded, r["shares"][j])

    def take(self, tag: int, sender: str, cursor: Cursor, message: str) -> None:
        if tag in (REPORT, SHARE):
            self.take_report(tag, int(sender), message)
        elif tag == VERDICT:
            self.take_verdict(index_of(sender), self.read_ruling(cursor, True))
        elif tag == DECIDED:
            id = cursor.take(16)
            cursor.end()
            if self.undone[index_of(sender)].pop(id, None):
                self.state_to(index_of(sender))
        elif tag == STATEMENT:
            self.take_statement(index_of(sender), *self.read_signed(cursor, 1))
        else:
            cursor.end()
            self.unlocked.discard(index_of(sender))
            if not self.unlocked and not self.done:
                self.finish()

    def take_report(self, tag: int, sender: int, message: str) -> None:
        if (tag == REPORT) is bool(self.common.direct):
            raise Refused("WireError", "§1")
        head, shares = self.read_report(message)
        id = head.id
        self.forget_asker(sender)
        known = self.reports.get(id)
        if known:
            if known["digest"] != head.digest:
                self.drop(str(sender), "equivocation", "A3")
                return
            self.ignored(sender)
            known["asker"] = str(sender)
            self.acknowledge(sender, id)
        elif sender in self.reporters:
            self.drop(str(sender), "equivocation", "A3")
        elif sender not in self.alive:
            self.ignored(sender)
        else:
            self.reporters[sender] = id
            self.judge(sender, head, shares, message)

    def judge(self, sender: int, head: add.Head, shares: dict[int, bytes], message: str) -> None:
        id, digest = head.id, head.digest
        pending = self.pending(head, shares) | {"sender": str(sender)}
        if pending["share"] is None:
            self.reject(id, digest, str(sender), [])
        else:
            self.mark(id, 1, digest=digest, message=bytes.fromhex(message), **pending)
            self.acknowledge(sender, id)
            for j in sorted(shares.keys() - {0}):
                self.send(f"server-{j}", self.relayed(id, j))
        for j, early in self.early.items():
            if id in early:
                self.take_verdict(j, early.pop(id))

    def take_verdict(self, j: int, ruling: tuple[bytes, bytes, int, bytes]) -> None:
        id, digest, verdict, receipt = ruling
        r = self.reports.get(id)
        if r is None:
            if self.common.direct and len(self.early[j]) < 2 * self.common.n:
                self.early[j][id] = ruling
        elif r["state"] == 1:
            self.take_verdict_on(j, r, ruling)
        elif r["batch"] == self.common.number:
            self.decide(j, (id, r["digest"], 0) if r["state"] == 3 else (id, digest, 1))
        else:
            self.send_ruling(j, (id, digest, 1))

    def take_verdict_on(self, j: int, r: Data, ruling: tuple[bytes, bytes, int, bytes]) -> None:
        id, digest, verdict, receipt = ruling
        everybody = list(range(1, self.common.m))
        holders = everybody if self.relays else list(r["receipts"])
        if digest != r["digest"]:
            if self.relays:
                raise Fault("disagreement", "A4")
            self.reject(id, r["digest"], r["sender"], holders)
            self.decide(j, (id, digest, 1))
            return
        if verdict == 1:
            self.reject(id, r["digest"], r["sender"], holders)
            return
        key = self.common.task.committee.servers[j][1]
        if not rfc8032.verify(key, add.receipt_statement(self.common.id, j, digest), receipt):
            raise Fault("invalid-signature", "A4")
        if self.relays and j not in r["receipts"]:
            for party in sorted({p for p in (r["sender"], r["asker"]) if p is not None}, key=int):
                self.receipt(party, id, j, receipt)
        r["receipts"][j] = receipt
        full = len(self.included) >= self.common.n
        if len(r["receipts"]) == self.common.m - 1 and not full and self.stage == UPLOAD:
            self.include(id)
            for k in everybody:
                self.decide(k, (id, r["digest"], 0))

    def reject(self, id: bytes, digest: bytes, sender: str | None, told: list[int]) -> None:
        self.mark(id, 2, digest=digest)
        for j in told:
            self.decide(j, (id, digest, 1))
        if sender is not None:
            self.drop(sender, "rejected", "A4")

    def decide(self, j: int, ruling: tuple[bytes, bytes, int]) -> None:
        self.undone[j][ruling[0]] = ruling
        self.send_ruling(j, ruling)

    def send_ruling(self, j: int, ruling: tuple[bytes, bytes, int]) -> None:
        id, digest, verdict = ruling
        c = self.common
        self.send(f"server-{j}", c.message(DECISION, c.batch, id, digest, bytes([verdict])))

    def on_close_phase(self, _: Data) -> None:
        if self.stage == UPLOAD:
            for party in sorted(self.alive - self.reporters.keys()):
                self.drop(str(party), "late", "")
            if len(self.included) < self.common.minimum:
                self.abort("below-threshold", "A7")
                return
            self.enter(AGREE)
            self.stated = add.set_of(self.included)
            for j in range(1, self.common.m):
                self.state_to(j)
        elif self.stage == AGREE:
            missing = min(set(range(1, self.common.m)) - self.signatures.keys())
            self.blame(f"server-{missing}", "late", "§8")
        else:
            self.finish()

    def state_to(self, j: int) -> None:
        if self.stage == AGREE and j not in self.signatures and not self.undone[j] and self.stated:
            c, (count, digest) = self.common, self.stated
            body = (blocks.u32(count), digest, self.signature(self.stated))
            self.send(f"server-{j}", c.message(STATEMENT, c.batch, *body))

    def take_statement(self, j: int, stated: tuple[int, bytes], signed: list[bytes]) -> None:
        if stated != self.stated:
            raise Fault("disagreement", "A9")
        self.check(j, stated, signed[0], "A9")
        self.signatures[j] = signed[0]
        if len(self.signatures) == self.common.m - 1:
            own = self.signature(stated)
            self.lock(stated, [own, *(self.signatures[k] for k in sorted(self.signatures))])
            for k in range(1, self.common.m):
                self.send(f"server-{k}", self.agreement)


class Helper(Member):
    _from_leader = {SHARE, DECISION, STATEMENT}
    takes = {
        (UPLOAD, "client"): {SHARE, ABORT},
        (UPLOAD, "leader"): _from_leader | {AGREEMENT, ABORT},
        (AGREE, "leader"): _from_leader | {AGREEMENT, ABORT},
        (LOCK, "leader"): {DECISION, STATEMENT, AGREEMENT},
        **{(stage, "collector"): {COLLECT} for stage in (UPLOAD, AGREE, LOCK, ABORTED)},
    }

    def fresh(self) -> None:
        super().fresh()
        self.reporters: dict[str, bytes] = {}

    def resume(self) -> None:
        if self.stage == LOCK:
            self.finish()

    def heard_by(self) -> list[str]:
        return ["server-0"]

    def drop(self, party: str, fault: str, rule: str) -> None:
        self.events.append(["dropped", party, fault])
        if fault not in QUIET:
            self.rule = rule

    def lose(self, party: str) -> None:
        self.ignored(party)

    def on_close_phase(self, _: Data) -> None:
        if self.stage == AGREE:
            self.ignored("server-0")
        else:
            self.blame("server-0", "late", "§8")

    def on_lost(self, operation: Data) -> None:
        if operation["who"] != "server-0" or self.stage != AGREE:
            super().on_lost(operation)

    def on_reconnected(self, operation: Data) -> None:
        if operation["who"] != "server-0":
            return
        self.again("server-0")
        if self.common.direct:
            for state in (1, 2):
                for id in self.of_batch(state):
                    self.rule_on(id)

    def rule_on(self, id: bytes) -> None:
        c, digest = self.common, self.reports[id]["digest"]
        verdict = b"\1"
        if id in self.of_batch(1) or id in self.included:
            verdict = b"\0" + self.signed_receipt(id)
        self.send("server-0", c.message(VERDICT, c.batch, id, digest, verdict))

    def take(self, tag: int, sender: str, cursor: Cursor, message: str) -> None:
        if tag == SHARE:
            self.take_share(sender, message)
        elif tag == DECISION:
            self.take_decision(*self.read_ruling(cursor, False)[:3])
        elif tag == STATEMENT:
            self.take_statement(*self.read_signed(cursor, 1))
        else:
            self.take_agreement(*self.read_signed(cursor, self.common.m))

    def take_share(self, sender: str, message: str) -> None:
        if (sender == "server-0") is bool(self.common.direct):
            raise Refused("WireError", "§1")
        head, shares = self.read_report(message)
        id, digest = head.id, head.digest
        known = self.reports.get(id)
        if not known and sum(len(self.of_batch(s)) for s in (1, 2, 3)) >= 2 * self.common.n:
            self.ignored(sender)
            return
        if known and known["digest"] != digest:
            raise Fault("equivocation", "A3")
        if not known:
            if sender != "server-0" and self.reporters.setdefault(sender, id) != id:
                self.drop(sender, "equivocation", "A3")
                return
            pending = self.pending(head, shares)
            accepted = pending["share"] is not None
            state, kept = (1, bytes.fromhex(message)) if accepted else (2, b"")
            self.mark(id, state, digest=digest, message=kept, **pending)
        self.rule_on(id)
        if sender != "server-0":
            self.acknowledge(sender, id)

    def take_decision(self, id: bytes, digest: bytes, verdict: int) -> None:
        r = self.reports.get(id)
        if r is not None and r["digest"] != digest:
            raise Fault("disagreement", "A6")
        if verdict == 1:
            if id in self.included:
                raise Fault("equivocation", "A6")
            if id in self.of_batch(1):
                self.mark(id, 2)
        elif id not in self.included:
            if r is None or r["state"] != 1:
                raise Fault("disagreement", "A6")
            if self.stage != UPLOAD or len(self.included) >= self.common.n:
                raise Fault("disagreement", "A6")
            self.include(id)
        self.send("server-0", self.common.message(DECIDED, self.common.batch, id))

    def take_statement(self, stated: tuple[int, bytes], signed: list[bytes]) -> None:
        own = add.set_of(self.included)
        if stated != own:
            raise Fault("disagreement", "A8")
        self.check(0, own, signed[0], "A8")
        if own[0] < self.common.minimum:
            self.abort("below-threshold", "A8")
            return
        if self.stage == UPLOAD:
            self.enter(AGREE)
        body = (blocks.u32(own[0]), own[1], self.signature(own))
        self.send("server-0", self.common.message(STATEMENT, self.common.batch, *body))

    def take_agreement(self, stated: tuple[int, bytes], signed: list[bytes]) -> None:
        own = add.set_of(self.included)
        if stated != own:
            raise Fault("disagreement", "A9")
        for j, signature in enumerate(signed):
            self.check(j, own, signature, "A9")
        if self.stage != LOCK:
            self.lock(own, signed)
            self.finish()
        self.send("server-0", self.common.message(LOCKED, self.common.batch))


ROLES: dict[str, Callable[[Common, str], Party]] = {"server-0": Leader, "collector": Collector}


def model_of(common: Common, name: str) -> Party:
    if name in ROLES:
        return ROLES[name](common, name)
    return (Helper if name.startswith("server-") else Client)(common, name)
