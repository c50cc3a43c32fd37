"""The client of specs/12-active.md §5 once more: a model for verify.py."""

from __future__ import annotations

from typing import Any

import active_blocks as active
import blocks
import plans
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
    Client,
    Data,
    opened,
    send,
)

SURVIVORS, AGREE = 9, 10
LAST = 10
INVALID = "InvalidSignature"


class Common:
    """What both sides of a session know before it starts."""

    clear = False

    def __init__(self, setup: Data) -> None:
        self.protocol, self.plan = setup["protocol"], bytes.fromhex(setup["plan"])
        self.schema = None
        if setup["judged"]:
            self.schema = self.judged(setup)
        self.payload = H("payload", bytes.fromhex(setup["payload"]))
        self.nonce = bytes.fromhex(setup["nonce"])
        self.roster = active.parse_roster(bytes.fromhex(setup["roster"]))
        self.segments = [tuple(segment) for segment in setup["segments"]]
        self.n, self.k, self.t, self.min_clients, self.min_survivors = setup["params"][:5]
        self.m, self.q = setup["params"][5:]
        self.corrupted = setup["corrupted"]
        self.offer = active.offer(
            self.protocol,
            H("plan", self.plan),
            self.payload,
            self.roster.digest,
            self.roster.epoch,
            self.nonce,
        )

    def judged(self, setup: Data) -> Any:
        """That the plan is one, and of these numbers."""
        parsed = plans.parse_plan(self.plan)
        said = [parsed.protocol, parsed.params, [list(s) for s in parsed.schema.segments]]
        if said != [self.protocol, setup["params"], setup["segments"]]:
            raise Refused("ParameterError", "01 §4")
        if parsed.corrupted != setup["corrupted"]:
            raise Refused("ParameterError", "13 P2")
        return parsed.schema

    @property
    def complete(self) -> bool:
        return bool(self.k == self.n - 1)

    def message(self, tag: int, bound: bytes, *body: bytes) -> bytes:
        return bytes([1, 2, tag]) + bound + b"".join(body)

    def abort(self, reason: str) -> bytes:
        return self.message(ABORT, self.offer, bytes([1 + blocks.REASONS.index(reason)]))

    def signers(self, session: bytes, size: int) -> tuple[list[int], int]:
        return active.signers(session, size, self.n, self.m, self.q, self.corrupted)


class ActiveClient(Client):
    """12-active.md §5. Every method gives (sends, events) or raises Refused."""

    common: Any

    def __init__(self, common: Any, party: int, given: Data) -> None:
        super().__init__(common, party, bytes.fromhex(given["randomness"]))
        self.seed, self.refuses = bytes.fromhex(given["seed"]), given["refuses"]

    def sign(self, name: str, *fields: bytes | int) -> bytes:
        return signed(self.seed, name, *fields)

    def said_by(self, index: int, signature: bytes, rule: str, name: str, *fields: Any) -> None:
        """Another client's statement, which the server vouches for."""
        key = self.common.roster.keys[self.ids[index]]
        check(key, signature, rule, "RemoteProtocolError", name, *fields)

    def served(self, signature: bytes, rule: str, name: str, *fields: bytes | int) -> None:
        check(self.common.roster.server, signature, rule, INVALID, name, *fields)

    def refused(self, refusal: Refused) -> Data:
        if refusal.layer == "LocalProtocolError":  # its driver's error: nothing has happened
            return {"success": False, "error": refusal.layer, "rule": refusal.rule}
        outputs = super().refused(refusal)
        if refusal.layer == "PolicyRefused":
            del outputs["cause"]
            outputs |= {"error": refusal.layer, "events": [["aborted", "cancelled"]]}
            outputs["sends"] = [send("server", self.common.abort("cancelled"))]
        return outputs

    def perform(self, operation: Data) -> Data:
        outputs = super().perform(operation)
        if outputs["success"] and any(e[0] == "aborted" for e in outputs["events"]):
            outputs |= {"success": False, "rule": "§4"}
        return outputs

    def on_restore(self, _: Data) -> Any:
        raise Refused("LocalProtocolError", "V9")

    def on_set_input(self, operation: Data) -> Any:
        if self.vector is not None or SURVIVORS in (self.expected, *self.handled):
            raise Refused("LocalProtocolError", "V6")
        return super().on_set_input(operation)

    def on_start(self, _: Data) -> Any:
        self.c, self.s = blocks.clamp(self.draw(32)), blocks.clamp(self.draw(32))
        self.own = (blocks.public(self.c), blocks.public(self.s))
        self.signature = self.sign("keys", self.common.offer, self.party, *self.own)
        self.expected = KEY_LIST
        body = (*self.own, self.signature)
        message = self.common.message(ADVERTISE, self.common.offer, *body)
        return [send("server", message, commit=True)], []

    def on_receive(self, operation: Data) -> Any:
        message = bytes.fromhex(operation["message"])
        if self.ended:
            return [], [["ignored", "server"]]
        if message in self.replies:
            return self.replies[message], [["ignored", "server"]]
        tag, bound, cursor = opened(message, LAST, suite=2)
        if tag == ABORT and bound == self.common.offer:
            reason = blocks.REASONS[cursor.int(1) - 1]
            cursor.end()
            self.ended = True
            return [], [["aborted", reason]]
        if tag != self.expected:
            raise Refused("RemoteProtocolError", "C1" if tag in self.handled else "§1")
        if tag != KEY_LIST and bound != self.session:
            raise Refused("RemoteProtocolError", "§3")
        self.asked, self.rest, self.events = message, message[35:-64], []
        read = {KEY_LIST: self.key_list, SHARE_LIST: self.share_list}
        sends = (read | {SURVIVORS: self.survivors, REQUEST: self.request})[tag](cursor, bound)
        self.handled.append(tag)
        self.replies.setdefault(message, sends)
        return sends, self.events

    # advertise-keys

    def key_list(self, cursor: Cursor, bound: bytes) -> list[Data]:
        common = self.common
        u1 = cursor.bitmap(common.roster.size)
        listed = {}
        indices = []
        for _ in range(cursor.count(common.k)):
            indices.append(cursor.int(4))
            listed[indices[-1]] = (cursor.take(32), cursor.take(32), cursor.take(64))
        if sorted(set(indices)) != indices:
            raise Refused("WireError")
        steps = []
        if not common.complete:
            steps = [cursor.take(32) for _ in range(active.depth(len(u1)))]
        cohort = cursor.take(64)
        cursor.end()
        if self.party not in u1:
            raise Refused("RemoteProtocolError", "C3")
        if not u1 <= common.roster.members or not common.min_clients <= len(u1) <= common.n:
            raise Refused("RemoteProtocolError", "V2")
        self.ids = sorted(u1)
        self.size, self.me = len(u1), self.ids.index(self.party)
        if any(index >= self.size or index == self.me for index in indices):
            raise Refused("RemoteProtocolError", "C3")
        top = self.root(listed, steps)
        self.session = blocks.session_id(common.offer, common.roster.size, u1, top)
        if self.session != bound:
            raise Refused("RemoteProtocolError", "C3")
        of_u1 = set_of(u1, common.roster.size)
        said = (common.offer, self.session, self.size, of_u1, top)
        self.served(cohort, "V2", "cohort", *said)
        self.near = blocks.graph(self.session, self.size, common.k)[self.me]
        if indices != self.near:
            raise Refused("RemoteProtocolError", "C3")
        self.signed_by(listed)
        keys = [key for c_pk, s_pk, _ in listed.values() for key in (c_pk, s_pk)]
        keys += self.own
        if len({blocks.check_public(key, "C4") for key in keys}) != len(keys):
            raise Refused("InvalidKey", "C4")
        self.c_of = {i: c_pk for i, (c_pk, _, _) in listed.items()}
        self.s_of = {i: s_pk for i, (_, s_pk, _) in listed.items()}
        self.expected = SHARE_LIST
        return [send("server", self.deal(), commit=True)]

    def signed_by(self, listed: Data) -> None:
        """V3"""
        for index, (c_pk, s_pk, signature) in listed.items():
            fields = (self.common.offer, self.ids[index], c_pk, s_pk)
            self.said_by(index, signature, "V3", "keys", *fields)

    def root(self, listed: Data, steps: list[bytes]) -> bytes:
        """§2.4, V3. Fills the leaves that it computes."""
        everyone = listed | {self.me: (*self.own, self.signature)}
        self.leaves = {
            i: blocks.leaf(self.common.offer, i, self.ids[i], *everyone[i]) for i in everyone
        }
        if not self.common.complete:
            return active.climbed(self.leaves[self.me], self.me, self.size, steps)
        if len(everyone) != self.size:
            raise Refused("RemoteProtocolError", "C3")
        return blocks.root([self.leaves[i] for i in range(self.size)])

    def deal(self) -> bytes:
        self.b = self.draw(32)
        holders = sorted([*self.near, self.me])
        points = [1 + holder for holder in holders]
        b_shares = blocks.split(self.b, self.common.t, points, self.draw)
        s_shares = blocks.split(self.s, self.common.t, points, self.draw)
        pairs = dict(zip(holders, zip(b_shares, s_shares, strict=True), strict=True))
        self.held = {self.me: pairs[self.me]}
        body = blocks.commitment(self.b, self.session, self.me)
        for v in self.near:
            plain = blocks.u32(self.me) + blocks.u32(v) + b"".join(pairs[v])
            body += blocks.seal(self.c, self.me, v, self.c_of[v], self.session, plain)
            body += b"".join(active.digests_of(self.session, self.me, v, pairs[v]))
        body += b"".join(active.digests_of(self.session, self.me, self.me, pairs[self.me]))
        fields = (self.session, self.me, self.leaves[self.me], H("body", body))
        signature = self.sign("shares", *fields)
        return self.common.message(SHARE_KEYS, self.session, body, signature)  # type: ignore[no-any-return]

    # share-keys

    def share_list(self, cursor: Cursor, _: bytes) -> list[Data]:
        self.u2 = cursor.bitmap(self.size)
        dealers = [v for v in self.near if v in self.u2]
        entries = {
            v: (cursor.take(104), cursor.take(32), cursor.take(32), cursor.take(64))
            for v in dealers
        }
        sharers, delivery = cursor.take(64), cursor.take(64)
        cursor.end()
        self.of_u2 = set_of(self.u2, self.size)
        self.delivered = H("delivery", self.rest)
        self.served(sharers, "V4", "sharers", self.session, self.of_u2, len(self.u2))
        self.served(delivery, "V4", "delivery", self.session, self.me, self.delivered)
        for v, (_, _, body, signature) in entries.items():
            fields = (self.session, v, self.leaves[v], body)
            self.said_by(v, signature, "V4", "shares", *fields)
        if self.me not in self.u2 or len(dealers) + 1 < self.common.t:
            raise Refused("RemoteProtocolError", "C5")
        for v, (sealed, told, _, _) in entries.items():
            pair = self.open(v, sealed)
            if pair and H("digests", *active.digests_of(self.session, v, self.me, pair)) == told:
                self.held[v] = pair
        if len(self.held) < self.common.t:
            raise Refused("RemoteProtocolError", "C6")
        self.failed = {self.near.index(v) for v in dealers if v not in self.held}
        self.expected = None
        return self.mask()

    def mask(self) -> list[Data]:
        if self.vector is None or self.failed is None:
            return []
        packed = self.masked(self.vector)
        self.vector, self.expected = None, SURVIVORS
        failed, salt = blocks.bitmap(self.failed, len(self.near)), self.draw(16)
        fields = (self.of_u2, self.delivered, H("set", failed), H("masked", salt, packed))
        signature = self.sign("input", self.session, self.me, *fields)
        message = self.common.message(MASKED, self.session, failed, salt, packed, signature)
        self.replies[self.asked] = [send("server", message, commit=True)]
        return self.replies[self.asked]

    # consistency

    def survivors(self, cursor: Cursor, _: bytes) -> list[Data]:
        u3, signature = cursor.bitmap(self.size), cursor.take(64)
        cursor.end()
        of_u3 = set_of(u3, self.size)
        self.said = (self.of_u2, of_u3, len(u3))
        self.served(signature, "V7", "survivors", self.session, *self.said)
        holders = {self.me, *self.near} & u3
        enough = len(u3) >= self.common.min_survivors and len(holders) >= self.common.t
        if self.me not in u3 or not u3 <= self.u2 or not enough:
            raise Refused("RemoteProtocolError", "C8")
        if self.refuses:
            raise Refused("PolicyRefused", "V7")
        self.u3, self.of_u3, self.expected = u3, of_u3, REQUEST
        self.signers, self.q = self.common.signers(self.session, self.size)
        self.events = [["agreed", sorted(self.ids[i] for i in u3)]]
        if self.me not in self.signers:
            return []
        signature = self.sign("agree", self.session, self.me, *self.said)
        message = self.common.message(AGREE, self.session, signature)
        return [send("server", message, commit=True)]

    # unmask

    def request(self, cursor: Cursor, _: bytes) -> list[Data]:
        places = sorted(cursor.bitmap(len(self.signers)))
        if len(places) != self.q:
            raise Refused("WireError", "V8")
        signatures = [cursor.take(64) for _ in places]
        cursor.end()
        chosen = [self.signers[place] for place in places]
        if not set(chosen) <= self.u3:
            raise Refused("RemoteProtocolError", "V8")
        for v, signature in zip(chosen, signatures, strict=True):
            self.said_by(v, signature, "V8", "agree", self.session, v, *self.said)
        shares, digests = b"", b""
        for v in sorted(self.held):
            letter = 0 if v in self.u3 else 1
            shares += self.held[v][letter]
            digests += active.digests_of(self.session, v, self.me, self.held[v])[letter]
        answer = self.sign("answer", self.session, self.me, self.of_u3, H("answer", digests))
        self.expected, self.answered = None, True
        self.events = [["finished"]]
        message = self.common.message(ANSWER, self.session, shares, answer)
        return [send("server", message, commit=True)]
