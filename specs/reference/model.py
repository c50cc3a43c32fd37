"""The client of specs/10-secagg.md §8 once more: a model for verify.py."""

from __future__ import annotations

from typing import Any

import blocks
import plans
from blocks import Cursor, Refused

Data = dict[str, Any]

ADVERTISE, KEY_LIST, SHARE_KEYS, SHARE_LIST, MASKED, REQUEST, ANSWER, ABORT = range(1, 9)
PEER = "peer-fault"


class Common:
    """What both sides of a session know before it starts."""

    def __init__(self, setup: Data) -> None:
        self.plan = plans.parse_plan(bytes.fromhex(setup["plan"]), pinned=True)
        self.payload = blocks.H("payload", bytes.fromhex(setup["payload"]))
        self.offer = blocks.offer(self.plan.protocol, self.plan.digest, self.payload)
        self.segments = self.plan.schema.segments
        self.clear = self.plan.protocol == "plainsum"
        if self.clear:
            self.n, self.min_survivors = self.plan.params
        else:
            self.n, self.k, self.t, self.min_clients, self.min_survivors = self.plan.params

    def message(self, tag: int, bound: bytes, *body: bytes) -> bytes:
        return bytes([1, 1, tag]) + bound + b"".join(body)

    def abort(self, reason: str) -> bytes:
        tag = 2 if self.clear else ABORT
        return self.message(tag, self.offer, bytes([1 + blocks.REASONS.index(reason)]))


def opened(message: bytes, tags: int, suite: int = 1) -> tuple[int, bytes, Cursor]:
    """Tag, binding, and a cursor over the body."""
    cursor = Cursor(message)
    if (cursor.int(1), cursor.int(1)) != (1, suite):
        raise Refused("UnknownVersion")
    tag, bound = cursor.int(1), cursor.take(32)
    if not 1 <= tag <= tags:
        raise Refused("BadTag")
    return tag, bound, cursor


class Client:
    """10-secagg.md §8. Every method gives (sends, events) or raises Refused."""

    def __init__(self, common: Common, party: int, random: bytes) -> None:
        self.common, self.party, self.tape = common, party, random
        self.expected: int | None = None  # the tag it waits for
        self.handled: list[int] = []
        self.replies: dict[bytes, list[Data]] = {}
        self.vector: list[list[int]] | None = None
        self.failed: set[int] | None = None  # known once the share list is
        self.ended = self.answered = False

    def draw(self, size: int) -> bytes:
        drawn, self.tape = self.tape[:size], self.tape[size:]
        if len(drawn) != size:
            raise AssertionError("the recorded randomness is too short")
        return drawn

    def perform(self, operation: Data) -> Data:
        try:
            sends, events = getattr(self, "on_" + operation["operation"])(operation)
        except Refused as refusal:
            return self.refused(refusal)
        return {"success": True, "events": events, "sends": sends}

    def refused(self, refusal: Refused) -> Data:
        sends = [] if self.answered or self.ended else [send("server", self.common.abort(PEER))]
        self.ended = True
        outputs: Data = {"success": False, "error": "RemoteProtocolError", "rule": refusal.rule}
        if refusal.layer == "InputError":
            outputs["error"] = "InputError"
        elif refusal.layer != "RemoteProtocolError":
            outputs["cause"] = refusal.layer
        return {**outputs, "events": [["aborted", PEER]], "sends": sends}

    def on_start(self, _: Data) -> Any:
        if self.common.clear:
            return [], []
        self.c, self.s = blocks.clamp(self.draw(32)), blocks.clamp(self.draw(32))
        self.expected = KEY_LIST
        keys = blocks.public(self.c) + blocks.public(self.s)
        return [send("server", self.common.message(ADVERTISE, self.common.offer, keys))], []

    def on_set_input(self, operation: Data) -> Any:
        payload = operation.get("payload")
        if payload is not None and blocks.H("payload", bytes.fromhex(payload)) != (
            self.common.payload
        ):
            raise Refused("InputError", "C2")
        self.vector = operation["vector"]
        if self.common.clear:
            self.ended = True
            body = blocks.pack(self.common.segments, operation["vector"])
            message = self.common.message(1, self.common.offer, body)
            return [send("server", message, commit=True)], [["finished"]]
        return self.mask(), []

    def on_receive(self, operation: Data) -> Any:
        message = bytes.fromhex(operation["message"])
        if self.ended:
            return [], [["ignored", "server"]]
        if message in self.replies:
            return self.replies[message], [["ignored", "server"]]
        tag, bound, cursor = opened(message, 8)
        if tag != self.expected:
            raise Refused("RemoteProtocolError", "C1" if tag in self.handled else "§1")
        if tag != KEY_LIST and bound != self.session:
            raise Refused("RemoteProtocolError", "§3")
        self.asked = message
        sends = {KEY_LIST: self.key_list, SHARE_LIST: self.share_list, REQUEST: self.request}[tag](
            cursor, bound
        )
        self.handled.append(tag)
        self.replies.setdefault(message, sends)
        return sends, [["finished"]] if tag == REQUEST else []

    def key_list(self, cursor: Cursor, bound: bytes) -> list[Data]:
        common = self.common
        u1, top = cursor.bitmap(common.n), cursor.take(32)
        listed = []
        for _ in range(cursor.count(common.k)):
            listed.append((cursor.int(4), cursor.take(32), cursor.take(32)))
        cursor.end()
        indices = [index for index, _, _ in listed]
        if sorted(set(indices)) != indices:
            # strictly ascending is grammar, being another's neighbours is not
            raise Refused("WireError")
        self.session = blocks.session_id(common.offer, common.n, u1, top)
        if self.party not in u1 or len(u1) < common.min_clients or self.session != bound:
            raise Refused("RemoteProtocolError", "C3")
        self.size, self.me = len(u1), sorted(u1).index(self.party)
        self.near = blocks.graph(self.session, self.size, common.k)[self.me]
        if indices != self.near:
            raise Refused("RemoteProtocolError", "C3")
        keys = [key for _, c_pk, s_pk in listed for key in (c_pk, s_pk)]
        keys += [blocks.public(self.c), blocks.public(self.s)]
        if len({blocks.check_public(key, "C4") for key in keys}) != len(keys):
            raise Refused("InvalidKey", "C4")
        self.c_of = {i: c_pk for i, c_pk, _ in listed}
        self.s_of = {i: s_pk for i, _, s_pk in listed}
        self.expected = SHARE_LIST
        return [send("server", self.deal(), commit=True)]

    def deal(self) -> bytes:
        self.b = self.draw(32)
        holders = sorted([*self.near, self.me])
        points = [1 + holder for holder in holders]
        b_shares = blocks.split(self.b, self.common.t, points, self.draw)
        s_shares = blocks.split(self.s, self.common.t, points, self.draw)
        self.held = {}
        sealed = b""
        for v, of_b, of_s in zip(holders, b_shares, s_shares, strict=True):
            if v == self.me:
                self.held[v] = (of_b, of_s)
                continue
            plain = blocks.u32(self.me) + blocks.u32(v) + of_b + of_s
            sealed += blocks.seal(self.c, self.me, v, self.c_of[v], self.session, plain)
        commitment = blocks.commitment(self.b, self.session, self.me)
        return self.common.message(SHARE_KEYS, self.session, commitment, sealed)

    def share_list(self, cursor: Cursor, _: bytes) -> list[Data]:
        self.u2 = cursor.bitmap(self.size)
        dealers = [v for v in self.near if v in self.u2]
        sealed = {v: cursor.take(104) for v in dealers}
        cursor.end()
        if self.me not in self.u2 or len(dealers) + 1 < self.common.t:
            raise Refused("RemoteProtocolError", "C5")
        for v in dealers:
            pair = self.open(v, sealed[v])
            if pair:
                self.held[v] = pair
        if len(self.held) < self.common.t:
            raise Refused("RemoteProtocolError", "C6")
        self.failed = {self.near.index(v) for v in dealers if v not in self.held}
        self.expected = None
        return self.mask()

    def open(self, dealer: int, sealed: bytes) -> tuple[bytes, bytes] | None:
        try:
            key = self.c_of[dealer]
            plain = blocks.unseal(self.c, dealer, self.me, key, self.session, sealed)
            pair = plain[8:48], plain[48:88]
            for share in pair:
                blocks.check_share(share)
        except Refused:
            return None
        return pair if plain[:8] == blocks.u32(dealer) + blocks.u32(self.me) else None

    def mask(self) -> list[Data]:
        """Once both the share list and the input are there."""
        if self.vector is None or self.failed is None:
            return []
        failed = blocks.bitmap(self.failed, len(self.near))
        packed = self.masked(self.vector)
        self.vector, self.expected = None, REQUEST
        message = self.common.message(MASKED, self.session, failed, packed)
        # whichever came last, the input or the share list: this is the reply to the latter
        self.replies[self.asked] = [send("server", message, commit=True)]
        return self.replies[self.asked]

    def masked(self, vector: list[list[int]]) -> bytes:
        """§5.3"""
        masked = []
        for g, ((width, length), lane) in enumerate(zip(self.common.segments, vector, strict=True)):
            L = blocks.lane_of(width)
            total = list(lane)
            own = blocks.self_key(self.b, self.session, self.me, g)
            keys = [(own, 1)]
            for v in self.near:
                if v in self.u2:
                    key = blocks.pair_key(self.s, self.me, v, self.s_of[v], self.session, g)
                    keys.append((key, blocks.sign(self.me, v)))
            for key, sign in keys:
                total = blocks.add(total, blocks.stream(key, L, 0, length), sign, 2**width)
            masked.append(total)
        return blocks.pack(self.common.segments, masked)

    def request(self, cursor: Cursor, _: bytes) -> list[Data]:
        u3 = cursor.bitmap(self.size)
        cursor.end()
        holders = {self.me, *self.near} & u3
        enough = len(u3) >= self.common.min_survivors and len(holders) >= self.common.t
        if self.me not in u3 or not u3 <= self.u2 or not enough:
            raise Refused("RemoteProtocolError", "C8")
        shares = [self.held[v][0 if v in u3 else 1] for v in sorted(self.held)]
        self.expected, self.answered = None, True
        return [send("server", self.common.message(ANSWER, self.session, *shares), commit=True)]


def send(to: Any, message: bytes, commit: bool = False) -> Data:
    return {"to": to, "message": message.hex()} | ({"commit": True} if commit else {})
