"""The server of specs/12-active.md §6 and §7 once more: a model for verify.py."""

from __future__ import annotations

from collections import Counter
from typing import Any

import active_blocks as active
import blocks
from active_blocks import check, set_of, signed
from blocks import Cursor, H, Refused
from model import (
    ABORT,
    ADVERTISE,
    ANSWER,
    KEY_LIST,
    MASKED,
    REQUEST,
    SHARE_KEYS,
    SHARE_LIST,
    Data,
    opened,
    send,
)
from model_active import AGREE, LAST, SURVIVORS
from model_server import Server, done, enough

INVALID = "invalid-signature"


class ActiveServer(Server):
    """What 12-active.md says in another way than 10-secagg.md §9, which Server is."""

    common: Any

    def __init__(self, common: Any, seed: bytes, invited: list[int]) -> None:
        super().__init__(common)
        self.seed, self.invited = seed, invited
        self.alive = set(invited) & common.roster.members
        self.seen = {p: {} for p in invited}
        self.tags = (ADVERTISE, SHARE_KEYS, MASKED, AGREE, ANSWER)
        self.head = active.FIRST_HEAD
        self.records = ["01"]  # §7.1
        self.told: dict[int, Data] = {}

    def perform(self, operation: Data) -> Data:
        outputs = super().perform(operation)
        written, self.records = self.records, []
        return outputs | ({"records": written} if written else {})

    def keep(self, kind: int, *parts: bytes) -> None:
        """§7"""
        made = active.record(kind, *parts)
        self.head = active.chained(self.head, made)
        self.records.append(made.hex())

    def sign(self, name: str, *fields: bytes | int) -> bytes:
        return signed(self.seed, name, *fields)

    def checked(
        self, sender: int, signature: bytes, rule: str, name: str, *fields: bytes | int
    ) -> bytes:
        key = self.common.roster.keys[sender]
        check(key, signature, rule, INVALID, name, *fields)
        return signature

    def take(self, sender: int, message: bytes) -> bool:
        tag, bound, cursor = opened(message, LAST, suite=2)
        if tag == ABORT:
            self.quits(bound, cursor)
        if tag in self.seen[sender]:
            if self.seen[sender][tag] != message:
                raise Refused("equivocation", "S2")
            return True
        if tag != self.tags[self.phase]:
            raise Refused("wrong-phase", "§1")
        if bound != (self.common.offer if self.phase == 0 else self.session):
            raise Refused("WireError", "§3")
        self.signed_part = message[35:-64]
        read = {ADVERTISE: self.keys, SHARE_KEYS: self.shares, MASKED: self.masked}
        said = (read | {AGREE: self.agree, ANSWER: self.answer})[tag](sender, cursor)
        self.got[sender] = said
        self.seen[sender][tag] = message
        return False

    def keys(self, sender: int, cursor: Cursor) -> Any:
        keys, signature = [cursor.take(32), cursor.take(32)], cursor.take(64)
        cursor.end()
        taken = [key for said in self.got.values() for key in said[:2]]
        for key in keys:
            if blocks.check_public(key, "S4") in taken:
                raise Refused("InvalidKey", "S4")
            taken.append(key)
        self.checked(sender, signature, "R1", "keys", self.common.offer, sender, *keys)
        return [*keys, signature]

    def shares(self, sender: int, cursor: Cursor) -> Any:
        index = self.ids.index(sender)
        said: Data = {"commitment": cursor.take(32), "sealed": {}, "digests": {}}
        for v in self.graph[index]:
            said["sealed"][v] = cursor.take(104)
            said["digests"][v] = (cursor.take(32), cursor.take(32))
        said["digests"][index] = (cursor.take(32), cursor.take(32))
        said["signature"] = cursor.take(64)
        cursor.end()
        said["body"] = H("body", self.signed_part)
        fields = (self.session, index, self.leaves[index], said["body"])
        self.checked(sender, said["signature"], "R3", "shares", *fields)
        return said

    def masked(self, sender: int, cursor: Cursor) -> Any:
        cursor.rule = "S3"
        index = self.ids.index(sender)
        near = self.graph[index]
        failed = {near[i] for i in cursor.bitmap(len(near))}
        salt, at = cursor.take(16), cursor.at
        vector = blocks.unpack(cursor, self.common.segments)
        packed = cursor.data[at : cursor.at]
        signature = cursor.take(64)
        cursor.end()
        if not failed <= self.u2:
            raise Refused("WireError", "S3")
        bits = blocks.bitmap((near.index(v) for v in failed), len(near))
        digest = H("masked", salt, packed)
        fields = (self.of_u2, self.delivered[index], H("set", bits), digest)
        self.checked(sender, signature, "R3", "input", self.session, index, *fields)
        self.pairs |= {(self.ids[dealer], sender) for dealer in failed}
        return failed, vector, bits + digest + signature

    def agree(self, sender: int, cursor: Cursor) -> Any:
        index, signature = self.ids.index(sender), cursor.take(64)
        cursor.end()
        if index not in self.signers:
            raise Refused("WireError", "R4")
        return self.checked(sender, signature, "R4", "agree", self.session, index, *self.said)

    def answer(self, sender: int, cursor: Cursor) -> Any:
        index = self.ids.index(sender)
        shares = {v: cursor.take(40) for v in self.dealers(index)}
        signature = cursor.take(64)
        cursor.end()
        digests, wrong = b"", False
        for dealer, share in shares.items():
            blocks.check_share(share)
            letter = 0 if dealer in self.u3 else 1
            one = active.share_digest(self.session, dealer, index, b"bs"[letter:][:1], share)
            dealt = self.body[SHARE_KEYS][self.ids[dealer]]["digests"][index]
            digests, wrong = digests + one, wrong or one != dealt[letter]
        digest = H("answer", digests)
        self.checked(sender, signature, "R5", "answer", self.session, index, self.of_u3, digest)
        if wrong:
            raise Refused("InvalidShare", "R5")
        self.answered = getattr(self, "answered", {}) | {index: digest + signature}
        return shares

    # the ends of phases

    def on_close_phase(self, _: Data) -> Data:
        late = sorted(p for p in self.alive & self.awaited if p not in self.got)
        self.alive -= set(late)
        events: list[Any] = [["dropped", p, "late"] for p in late]
        close = (
            self.close_keys,
            self.close_shares,
            self.close_masked,
            self.close_agreed,
            self.close_answers,
        )
        try:
            sends = close[self.phase](events)
        except Refused as refusal:
            return self.aborted(refusal, events)
        self.phase += 1
        for one in sends:
            self.told.setdefault(one["to"], {})[self.phase] = one
        return {"success": True, "events": events, "sends": sends}

    @property
    def awaited(self) -> set[int]:
        """R4: in `consistency` those who may sign."""
        if self.phase != 3:
            return self.alive
        return {self.ids[i] for i in set(self.signers) & self.u3}

    def on_reconnected(self, operation: Data) -> Data:
        """R2"""
        who = operation["who"]
        owes = self.phase < len(self.tags) and who in self.alive
        owes = owes and (who not in self.awaited or who not in self.got)
        again = (3, 4) if self.phase == 4 else (self.phase,)
        sends = [self.told.get(who, {}).get(phase) for phase in again] if owes else []
        return {**done(), "sends": [one for one in sends if one]}

    def on_restore(self, _: Data) -> Data:
        raise Refused("LocalProtocolError", "V9")

    def close_keys(self, _: list[Any]) -> list[Data]:
        common, got = self.common, self.got
        enough(len(got), common.min_clients, "S5")
        self.ids = sorted(got)
        N, m = common.roster.size, len(self.ids)
        self.leaves = [blocks.leaf(common.offer, i, p, *got[p]) for i, p in enumerate(self.ids)]
        top = blocks.root(self.leaves)
        self.session = blocks.session_id(common.offer, N, self.ids, top)
        self.graph = blocks.graph(self.session, m, common.k)
        bits = blocks.bitmap(self.ids, N)
        cohort = self.sign("cohort", common.offer, self.session, m, H("set", bits), top)
        plan = blocks.u32(len(common.plan)) + common.plan
        self.keep(1, plan, common.payload, common.nonce, common.roster.digest)
        self.keep(2, bits, *(part for p in self.ids for part in got[p]), cohort)
        sends = []
        for p in sorted(self.alive):
            me = self.ids.index(p)
            near = self.graph[me]
            body = bits + blocks.u32(len(near))
            body += b"".join(blocks.u32(v) + b"".join(got[self.ids[v]]) for v in near)
            if not common.complete:
                body += b"".join(active.path(self.leaves, me))
            message = common.message(KEY_LIST, self.session, body, cohort)
            sends.append(send(p, message, commit=True))
        return sends

    def close_shares(self, events: list[Any]) -> list[Data]:
        there = {i for i, p in enumerate(self.ids) if p in self.got and p in self.alive}
        self.u2 = set(there)
        while weak := {i for i in self.u2 if self.holders_in_u2(i) < self.common.t}:
            self.u2 -= weak
        pruned = [self.ids[i] for i in sorted(there - self.u2)]
        self.alive -= set(pruned)
        events += [["dropped", p, "too-few-holders"] for p in pruned]
        enough(len(self.u2), self.common.min_survivors, "S5")
        m, got = len(self.ids), self.got
        self.of_u2, bits = set_of(self.u2, m), blocks.bitmap(self.u2, m)
        sharers = self.sign("sharers", self.session, self.of_u2, len(self.u2))
        self.delivered, sends, signatures = {}, [], {}
        for i in sorted(self.u2):
            rest = bits
            for v in self.graph[i]:
                if v in self.u2:
                    said = got[self.ids[v]]
                    rest += said["sealed"][i] + H("digests", *said["digests"][i])
                    rest += said["body"] + said["signature"]
            rest += sharers
            self.delivered[i] = H("delivery", rest)
            signatures[i] = self.sign("delivery", self.session, i, self.delivered[i])
            message = self.common.message(SHARE_LIST, self.session, rest, signatures[i])
            sends.append(send(self.ids[i], message, commit=True))
        dealt = b"".join(
            got[self.ids[i]]["body"] + got[self.ids[i]]["signature"] for i in sorted(self.u2)
        )
        told = b"".join(self.delivered[i] + signatures[i] for i in sorted(self.u2))
        self.keep(3, bits, dealt, sharers, told)
        return sends

    def close_masked(self, _: list[Any]) -> list[Data]:
        self.u3 = {self.ids.index(p) for p in self.got}
        enough(len(self.u3), self.common.min_survivors, "S5")
        self.recoverable()
        m = len(self.ids)
        bits, self.of_u3 = blocks.bitmap(self.u3, m), set_of(self.u3, m)
        self.said = (self.of_u2, self.of_u3, len(self.u3))
        self.signers, self.q = self.common.signers(self.session, m)
        signature = self.sign("survivors", self.session, *self.said)
        self.keep(4, bits, *(self.got[self.ids[i]][2] for i in sorted(self.u3)), signature)
        message = self.common.message(SURVIVORS, self.session, bits, signature)
        return [send(self.ids[i], message, commit=True) for i in self.there]

    @property
    def there(self) -> list[int]:
        return [i for i in sorted(self.u3) if self.ids[i] in self.alive]

    def recoverable(self) -> None:
        """S6"""
        for dealer in self.wanted:
            number = sum(dealer in self.dealers(holder) for holder in self.there)
            enough(number, self.common.t, "S6")

    def close_agreed(self, _: list[Any]) -> list[Data]:
        got = {self.ids.index(p): signature for p, signature in self.got.items()}
        enough(len(got), self.q, "R4")
        self.recoverable()
        shown = sorted(got)[: self.q]
        bits = blocks.bitmap((self.signers.index(i) for i in shown), len(self.signers))
        self.keep(5, bits, *(got[i] for i in shown))
        signatures = b"".join(got[i] for i in shown)
        message = self.common.message(REQUEST, self.session, bits, signatures)
        return [send(self.ids[i], message, commit=True) for i in self.there]

    def close_answers(self, events: list[Any]) -> list[Data]:
        """S6, R6."""
        t, given = self.common.t, {}
        for dealer in self.wanted:
            given[dealer] = {
                1 + self.ids.index(p): said[dealer]
                for p, said in self.got.items()
                if dealer in said
            }
            enough(len(given[dealer]), t, "S6")
        m = len(self.ids)
        self.u5 = set(self.answered)
        parts = [self.answered[i] for i in sorted(self.u5)]
        self.keep(6, blocks.bitmap(self.u5, m), *parts)
        self.waiting = {dealer: self.secret(dealer, given[dealer], events) for dealer in given}
        return []

    def secret(self, dealer: int, shares: dict[int, bytes], events: list[Any]) -> bytes:
        """R6"""
        try:
            secret = blocks.combine(shares, self.common.t)
        except Refused:
            secret = b""
        if not secret or not self.opens(dealer)(secret):
            self.alive.discard(self.ids[dealer])
            events.append(["dropped", self.ids[dealer], "invalid-share"])
            raise Refused("share-error", "R6")
        return secret

    def opens(self, dealer: int) -> Any:
        party = self.ids[dealer]
        if dealer in self.u3:
            said = self.body[SHARE_KEYS][party]["commitment"]
            return lambda b: blocks.commitment(b, self.session, dealer) == said
        return lambda secret: blocks.public(secret) == self.body[ADVERTISE][party][1]

    def on_run_jobs(self, _: Data) -> Data:
        if self.reason:
            return done()
        vectors = [said[1] for said in self.body[MASKED].values()]
        self.total = self.unmasked(self.summed(vectors), self.waiting)
        result = H("result", active.lanes(self.common.segments, self.total))
        of_u5 = set_of(self.u5, len(self.ids))
        fields = (self.of_u3, of_u5, result, self.head)
        self.keep(7, result, self.sign("result", self.session, *fields))
        return done(*self.complaints(), ["finished"])

    @property
    def liars(self) -> int:
        """R7"""
        t, k = self.common.t, self.common.k
        return max(1, min(2 * t - k - 2, t - 2))

    def complaints(self) -> list[Any]:
        events: list[Any] = [["disputed", *pair] for pair in sorted(self.pairs)]
        counted = Counter(dealer for dealer, _ in self.pairs)
        named = sorted(dealer for dealer in counted if counted[dealer] > self.liars)
        return events + [["dropped", dealer, "invalid-share"] for dealer in named]

    def on_result(self, _: Data) -> Data:
        if self.reason:
            below = self.reason == "below-threshold"
            raise Refused("BelowThreshold" if below else "Aborted", "S7")
        contributors = sorted(self.ids[i] for i in self.u3)
        dropped = sorted(set(self.invited) - set(contributors))
        return {**done(), "vector": self.total, "contributors": contributors, "dropped": dropped}

    def on_check_counts(self, operation: Data) -> Data:
        self.on_result(operation)
        self.common.schema.check_counts(self.total, len(self.u3))
        return done()
