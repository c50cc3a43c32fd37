"""The server of specs/10-secagg.md §9 and 11-plainsum.md §4 once more: a model for verify.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import blocks
from blocks import Cursor, Refused
from model import (
    ADVERTISE,
    ANSWER,
    KEY_LIST,
    MASKED,
    REQUEST,
    SHARE_KEYS,
    SHARE_LIST,
    Common,
    Data,
    opened,
    send,
)
from model_rebuilding import rebuilt, through

WIRE = ("Truncated", "TrailingBytes", "TooLarge", "UnknownVersion", "BadTag", "WireError")
FAULTS = {layer: "malformed" for layer in WIRE} | {
    "InvalidKey": "invalid-key",
    "InvalidShare": "invalid-share",
}


QUIET = ("quit", "bad-input")
"""What a client says of itself is no breach."""


class Server:
    """10-secagg.md §9 and 11-plainsum.md §4."""

    def __init__(self, common: Common) -> None:
        self.common = common
        self.alive = set(range(common.n))
        self.phase = -1
        self.seen: dict[int, dict[int, bytes]] = {p: {} for p in range(common.n)}
        self.body: dict[int, dict[int, Any]] = {}  # tag -> sender -> what it said
        self.reason: str | None = None
        self.pairs: set[tuple[int, int]] = set()  # (dealer, holder), party ids
        self.undecodable: set[int] = set()
        self.waiting: Any = None  # secrets, or why there are none, until the jobs are run
        self.tags = (1,) if common.clear else (ADVERTISE, SHARE_KEYS, MASKED, ANSWER)

    @property
    def got(self) -> dict[int, Any]:
        return self.body.setdefault(self.tags[self.phase], {})

    def perform(self, operation: Data) -> Data:
        try:
            return getattr(self, "on_" + operation["operation"])(operation)
        except Refused as refusal:
            error = {"success": False, "error": refusal.layer, "rule": refusal.rule}
            return {**error, "events": [], "sends": []}

    def on_start(self, _: Data) -> Data:
        self.phase = 0
        return done()

    def on_lost(self, operation: Data) -> Data:
        self.alive.discard(operation["who"])
        return done(["dropped", operation["who"], "lost"])

    def on_receive(self, operation: Data) -> Data:
        sender, message = operation["sender"], bytes.fromhex(operation["message"])
        if sender not in self.alive or self.phase not in range(len(self.tags)):
            return done(["ignored", sender])
        try:
            again = self.take(sender, message)
        except Refused as refusal:
            self.alive.discard(sender)
            fault = FAULTS.get(refusal.layer, refusal.layer)
            event = ["dropped", sender, fault]
            if fault in QUIET:
                return done(event)
            return {"success": False, "rule": refusal.rule, "events": [event], "sends": []}
        return done(["ignored", sender]) if again else done()

    def take(self, sender: int, message: bytes) -> bool:
        abort = 2 if self.common.clear else 8
        tag, bound, cursor = opened(message, abort)
        if tag == abort:
            self.quits(bound, cursor)
        if tag in self.seen[sender]:
            if self.seen[sender][tag] != message:
                raise Refused("equivocation", "S2")
            return True
        if tag != self.tags[self.phase]:
            raise Refused("wrong-phase", "§1")
        if bound != (self.common.offer if self.phase == 0 else self.session):
            raise Refused("WireError", "§3")
        read = {1: self.upload if self.common.clear else self.keys, 3: self.shares}
        said = (read | {5: self.masked, 7: self.answer})[tag](sender, cursor)
        self.got[sender] = said
        self.seen[sender][tag] = message
        return False

    def quits(self, bound: bytes, cursor: Cursor) -> None:
        if bound != self.common.offer:
            raise Refused("WireError", "§3")
        code = cursor.int(1)
        cursor.end()
        if not 1 <= code <= len(blocks.REASONS):
            raise Refused("WireError", "§7")
        raise Refused("bad-input" if blocks.REASONS[code - 1] == "bad-input" else "quit", "§9")

    def upload(self, _: int, cursor: Cursor) -> Any:
        vector = blocks.unpack(cursor, self.common.segments)
        cursor.end()
        return vector

    def keys(self, _: int, cursor: Cursor) -> Any:
        keys = [cursor.take(32), cursor.take(32)]
        cursor.end()
        taken = [key for pair in self.got.values() for key in pair]
        for key in keys:
            if blocks.check_public(key, "S4") in taken:
                raise Refused("InvalidKey", "S4")
            taken.append(key)
        return keys

    def shares(self, sender: int, cursor: Cursor) -> Any:
        near = self.graph[self.ids.index(sender)]
        said = cursor.take(32), {v: cursor.take(104) for v in near}
        cursor.end()
        return said

    def masked(self, sender: int, cursor: Cursor) -> Any:
        cursor.rule = "S3"
        near = self.graph[self.ids.index(sender)]
        failed = {near[i] for i in cursor.bitmap(len(near))}
        vector = blocks.unpack(cursor, self.common.segments)
        cursor.end()
        if not failed <= self.u2:
            raise Refused("WireError", "S3")
        self.pairs |= {(self.ids[dealer], sender) for dealer in failed}
        return failed, vector

    def answer(self, sender: int, cursor: Cursor) -> Any:
        shares = {v: cursor.take(40) for v in self.dealers(self.ids.index(sender))}
        cursor.end()
        for share in shares.values():
            blocks.check_share(share)
        return shares

    def dealers(self, holder: int) -> list[int]:
        failed = self.body[MASKED][self.ids[holder]][0]
        return sorted(({holder, *self.graph[holder]} & self.u2) - failed)

    def on_close_phase(self, _: Data) -> Data:
        late = sorted(p for p in self.alive if p not in self.got)
        self.alive -= set(late)
        events: list[Any] = [["dropped", p, "late"] for p in late]
        close: tuple[Callable[[list[Any]], list[Data]], ...]
        close = (self.close_keys, self.close_shares, self.close_masked, self.close_answers)
        if self.common.clear:
            close = (self.close_uploads,)
        try:
            sends = close[self.phase](events)
        except Refused as refusal:
            return self.aborted(refusal, events)
        self.phase += 1
        return {"success": True, "events": events, "sends": sends}

    def close_uploads(self, events: list[Any]) -> list[Data]:
        enough(len(self.got), self.common.min_survivors, "S5")
        self.u3 = set(self.got)
        self.total = self.summed(self.got.values())
        events.append(["finished"])
        return []

    def close_keys(self, _: list[Any]) -> list[Data]:
        common, got = self.common, self.got
        enough(len(got), common.min_clients, "S5")
        self.ids = sorted(got)
        leaves = [blocks.leaf(common.offer, i, p, *got[p]) for i, p in enumerate(self.ids)]
        top = blocks.root(leaves)
        self.session = blocks.session_id(common.offer, common.n, self.ids, top)
        self.graph = blocks.graph(self.session, len(self.ids), common.k)
        head = blocks.bitmap(self.ids, common.n) + top
        sends = []
        for p in sorted(self.alive):
            near = self.graph[self.ids.index(p)]
            keys = b"".join(blocks.u32(v) + b"".join(got[self.ids[v]]) for v in near)
            body = head + blocks.u32(len(near)) + keys
            sends.append(send(p, common.message(KEY_LIST, self.session, body), commit=True))
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
        sends = []
        for i in sorted(self.u2):
            body = blocks.bitmap(self.u2, len(self.ids))
            for v in self.graph[i]:
                if v in self.u2:
                    body += self.got[self.ids[v]][1][i]
            message = self.common.message(SHARE_LIST, self.session, body)
            sends.append(send(self.ids[i], message, commit=True))
        return sends

    def holders_in_u2(self, index: int) -> int:
        return len({index, *self.graph[index]} & self.u2)

    def close_masked(self, _: list[Any]) -> list[Data]:
        self.u3 = {self.ids.index(p) for p in self.got}
        enough(len(self.u3), self.common.min_survivors, "S5")
        there = [i for i in sorted(self.u3) if self.ids[i] in self.alive]
        for dealer in self.wanted:
            number = sum(dealer in self.dealers(holder) for holder in there)
            enough(number, self.common.t, "S6")
        body = blocks.bitmap(self.u3, len(self.ids))
        request = self.common.message(REQUEST, self.session, body)
        return [send(self.ids[i], request, commit=True) for i in there]

    @property
    def wanted(self) -> list[int]:
        return [i for i in sorted(self.u2) if i in self.u3 or set(self.graph[i]) & self.u3]

    def aborted(self, refusal: Refused, events: list[Any]) -> Data:
        self.reason = refusal.layer
        self.phase = len(self.tags)
        sends = [send(p, self.common.abort(refusal.layer)) for p in sorted(self.alive)]
        outputs = {"success": False, "rule": refusal.rule, "sends": sends}
        return {**outputs, "events": [*events, *self.complaints(), ["aborted", refusal.layer]]}

    def complaints(self) -> list[Any]:
        """S9"""
        events: list[Any] = [["disputed", *pair] for pair in sorted(self.pairs)]
        counted = Counter(dealer for dealer, _ in self.pairs)
        named = self.undecodable | {d for d in counted if counted[d] > self.liars}
        return events + [["dropped", dealer, "invalid-share"] for dealer in sorted(named)]

    @property
    def liars(self) -> int:
        return max(1, self.common.plan.corrupted)

    def close_answers(self, _: list[Any]) -> list[Data]:
        """S6 and S7. What takes more than the t lowest is a job's work, unless it is hopeless."""
        wanted, t = [], self.common.t
        for dealer in self.wanted:
            shares = {
                1 + self.ids.index(p): said[dealer]
                for p, said in self.got.items()
                if dealer in said
            }
            enough(len(shares), t, "S6")
            wanted.append((dealer, shares, self.opens(dealer)))
        unclear = []
        for _, shares, opens in wanted:
            secret, wrong = through(shares, sorted(shares)[:t])
            if secret is None or not opens(secret) or wrong:
                unclear.append(shares)
        self.waiting = self.rebuilt(wanted)
        if unclear and len(unclear[0]) == t:
            self.recover()
        return []

    def rebuilt(self, wanted: list[Any]) -> Any:
        """(secrets, pairs, None), or (None, pairs, the first dealer without a secret)."""
        secrets, found = {}, []
        for dealer, secret, wrong in rebuilt(wanted, self.common.t, self.session):
            found += [(self.ids[dealer], self.ids[x - 1]) for x in wrong]
            if secret is None:
                return None, found, (dealer, dict(wanted_of(wanted))[dealer])
            secrets[dealer] = secret
        return secrets, found, None

    def recover(self) -> None:
        secrets, found, failed = self.waiting
        self.pairs |= set(found)
        if failed is not None:
            dealer, shares = failed
            if (len(shares) - self.common.t) // 2 >= self.liars:
                self.undecodable.add(self.ids[dealer])
            raise Refused("share-error", "S7")
        vectors = [vector for _, vector in self.body[MASKED].values()]
        self.total = self.unmasked(self.summed(vectors), secrets)

    def opens(self, dealer: int) -> Callable[[bytes], bool]:
        said, (_, s_pk) = self.body[SHARE_KEYS][self.ids[dealer]], self.body[1][self.ids[dealer]]
        if dealer in self.u3:
            return lambda b: blocks.commitment(b, self.session, dealer) == said[0]
        return lambda secret: blocks.public(secret) == s_pk

    def summed(self, vectors: Any) -> list[list[int]]:
        total = [[0] * length for _, length in self.common.segments]
        for vector in vectors:
            for g, (width, _) in enumerate(self.common.segments):
                total[g] = blocks.add(total[g], vector[g], 1, 2**width)
        return total

    def unmasked(self, total: list[list[int]], secrets: dict[int, bytes]) -> list[list[int]]:
        """§5.4."""
        for g, (width, length) in enumerate(self.common.segments):
            L = blocks.lane_of(width)
            for dealer, secret in secrets.items():
                keys = [(blocks.self_key(secret, self.session, dealer, g), 1)]
                if dealer not in self.u3:
                    keys = []
                    for v in sorted(set(self.graph[dealer]) & self.u3):
                        s_pk = self.body[ADVERTISE][self.ids[v]][1]
                        key = blocks.pair_key(secret, dealer, v, s_pk, self.session, g)
                        keys.append((key, blocks.sign(v, dealer)))
                for key, sign in keys:
                    total[g] = blocks.add(
                        total[g], blocks.stream(key, L, 0, length), -sign, 2**width
                    )
        return total

    def on_run_jobs(self, _: Data) -> Data:
        try:
            self.recover()
        except Refused as refusal:
            return self.aborted(refusal, [])
        return done(*self.complaints(), ["finished"])

    def on_result(self, _: Data) -> Data:
        if self.reason:
            below = self.reason == "below-threshold"
            raise Refused("BelowThreshold" if below else "Aborted", "S7")
        contributors = sorted(self.u3 if self.common.clear else (self.ids[i] for i in self.u3))
        dropped = sorted(set(range(self.common.n)) - set(contributors))
        return {**done(), "vector": self.total, "contributors": contributors, "dropped": dropped}

    def on_check_counts(self, _: Data) -> Data:
        self.common.plan.schema.check_counts(self.total, len(self.u3))
        return done()


def wanted_of(wanted: list[Any]) -> list[tuple[int, Any]]:
    return [(dealer, shares) for dealer, shares, _ in wanted]


def done(*events: Any) -> Data:
    return {"success": True, "events": list(events), "sends": []}


def enough(number: int, needed: int, rule: str) -> None:
    if number < needed:
        raise Refused("below-threshold", rule)
