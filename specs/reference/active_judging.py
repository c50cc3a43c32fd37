"""Whether a transcript is verified, and whom evidence convicts (12-active.md §7, §8).

Part of the second implementation: it imports nothing of the packages.
"""

from __future__ import annotations

from typing import Any

import active_blocks as active
import blocks
import plans
import rfc8032
from blocks import Cursor, H, Refused

Data = dict[str, Any]
STRANGE, UNSIGNED = "RemoteProtocolError", "InvalidSignature"


def check(fine: Any, what: str, layer: str = STRANGE) -> None:
    """what: words that only this file knows, for whoever looks for a difference."""
    if not fine:
        raise Refused(layer, f"Q1: {what}")


def signed_by(key: bytes, signature: bytes, name: str, *fields: bytes | int) -> None:
    fine = rfc8032.verify(key, active.statement(name, *fields), signature)
    check(fine, name, UNSIGNED)


class Frame:
    """Records 1 and 2."""

    def __init__(self, roster: active.Roster) -> None:
        self.roster = roster

    def read_session(self, cursor: Cursor) -> None:
        plan = cursor.prefixed(2**19)
        payload, nonce, digest = cursor.take(32), cursor.take(16), cursor.take(32)
        check(digest == self.roster.digest, "another roster")
        parsed = plans.parse_plan(plan)
        check(plan[1] == 2 and len(parsed.params) == 7, "a plan of suite 1")
        check(parsed.roster == self.roster.size, "a plan for another roster")
        self.plan = parsed
        self.n, self.k, self.t, self.least, self.fewest, self.m, self.q = parsed.params
        self.offer = active.offer(
            parsed.protocol, H("plan", plan), payload, digest, self.roster.epoch, nonce
        )

    def read_cohort(self, cursor: Cursor) -> None:
        N = self.roster.size
        u1 = cursor.bitmap(N)
        self.ids, self.size = sorted(u1), len(u1)
        keys = [(cursor.take(32), cursor.take(32), cursor.take(64)) for _ in self.ids]
        cohort = cursor.take(64)
        check(u1 <= self.roster.members, "U1 is not of members")
        check(self.least <= self.size <= self.n, "the size of U1")
        self.keys = keys
        self.leaves = [blocks.leaf(self.offer, i, p, *keys[i]) for i, p in enumerate(self.ids)]
        top = blocks.root(self.leaves)
        self.session = blocks.session_id(self.offer, N, u1, top)
        self.graph = blocks.graph(self.session, self.size, self.k)
        self.signers, self.quorum = active.signers(
            self.session, self.size, self.n, self.m, self.q, self.plan.corrupted
        )
        for party, (c_pk, s_pk, signature) in zip(self.ids, keys, strict=True):
            signed_by(self.roster.keys[party], signature, "keys", self.offer, party, c_pk, s_pk)
        of_u1 = active.set_of(u1, N)
        self.server(cohort, "cohort", self.offer, self.session, self.size, of_u1, top)

    def server(self, signature: bytes, name: str, *fields: bytes | int) -> None:
        signed_by(self.roster.server, signature, name, *fields)

    def member(self, index: int, signature: bytes, name: str, *fields: bytes | int) -> None:
        key = self.roster.keys[self.ids[index]]
        signed_by(key, signature, name, self.session, index, *fields)

    def set_of(self, members: set[int]) -> bytes:
        return active.set_of(members, self.size)

    def enough(self, holders: set[int], dealer: int) -> bool:
        return len(({dealer, *self.graph[dealer]}) & holders) >= self.t


class Transcript(Frame):
    """§7.2, record by record."""

    def read_sharers(self, cursor: Cursor) -> None:
        self.u2 = cursor.bitmap(self.size)
        dealt = {i: (cursor.take(32), cursor.take(64)) for i in sorted(self.u2)}
        sharers = cursor.take(64)
        told = {i: (cursor.take(32), cursor.take(64)) for i in sorted(self.u2)}
        check(len(self.u2) >= self.fewest, "the size of U2")
        check(all(self.enough(self.u2, i) for i in self.u2), "holders in U2")
        for i, (body, signature) in dealt.items():
            self.member(i, signature, "shares", self.leaves[i], body)
        self.of_u2 = self.set_of(self.u2)
        self.server(sharers, "sharers", self.session, self.of_u2, len(self.u2))
        for i, (digest, signature) in told.items():
            self.server(signature, "delivery", self.session, i, digest)
        self.told = {i: digest for i, (digest, _) in told.items()}

    def read_survivors(self, cursor: Cursor) -> None:
        self.u3 = cursor.bitmap(self.size)
        given = {}
        for i in sorted(self.u3):
            failed = cursor.bitmap(len(self.graph[i]))
            given[i] = (failed, cursor.take(32), cursor.take(64))
        survivors = cursor.take(64)
        check(self.u3 <= self.u2 and len(self.u3) >= self.fewest, "U3")
        self.failed = {}
        for i, (failed, vector, signature) in given.items():
            self.failed[i] = {self.graph[i][place] for place in failed}
            check(self.failed[i] <= self.u2, "a complaint of nobody")
            bits = H("set", blocks.bitmap(failed, len(self.graph[i])))
            self.member(i, signature, "input", self.of_u2, self.told[i], bits, vector)
        self.of_u3 = self.set_of(self.u3)
        self.said = (self.of_u2, self.of_u3, len(self.u3))
        self.server(survivors, "survivors", self.session, *self.said)
        check(self.recoverable(self.u3), "holders in U3")

    def recoverable(self, answering: set[int]) -> bool:
        wanted = [i for i in self.u2 if i in self.u3 or set(self.graph[i]) & self.u3]
        return all(
            self.enough({h for h in answering if i not in self.failed[h]}, i) for i in wanted
        )

    def read_quorum(self, cursor: Cursor) -> None:
        places = sorted(cursor.bitmap(len(self.signers)))
        signatures = [cursor.take(64) for _ in places]
        chosen = [self.signers[place] for place in places]
        check(len(chosen) == self.quorum and set(chosen) <= self.u3, "the quorum")
        for i, signature in zip(chosen, signatures, strict=True):
            self.member(i, signature, "agree", *self.said)

    def read_answers(self, cursor: Cursor) -> None:
        self.u5 = cursor.bitmap(self.size)
        answers = {i: (cursor.take(32), cursor.take(64)) for i in sorted(self.u5)}
        check(self.u5 <= self.u3, "U5")
        for i, (digest, signature) in answers.items():
            self.member(i, signature, "answer", self.of_u3, digest)
        check(self.recoverable(self.u5), "holders in U5")

    def read_result(self, cursor: Cursor, head: bytes) -> None:
        self.result, signature = cursor.take(32), cursor.take(64)
        fields = (self.session, self.of_u3, self.set_of(self.u5), self.result, head)
        self.server(signature, "result", *fields)


NAMES = ("session", "cohort", "sharers", "survivors", "quorum", "answers", "result")


def read_transcript(reading: Transcript, data: bytes) -> int:
    """How many records there are."""
    cursor, head, number = Cursor(data), active.FIRST_HEAD, 0
    if cursor.int(1) != 1:
        raise Refused("UnknownVersion", "Q1")
    while cursor.left or number < 2:
        check(number < 7, "a record too many", "TrailingBytes")
        said = cursor.prefixed(2**30)
        inside = Cursor(said)
        check(inside.int(1) == number + 1, "the order", "WireError")
        read = getattr(reading, "read_" + NAMES[number])
        read(inside, head) if number == 6 else read(inside)
        inside.end()
        head, number = active.chained(head, blocks.u32(len(said)) + said), number + 1
    return number


def do_verify_transcript(roster: str, transcript: str) -> Data:
    """roster: not the file, which `open_roster` is about."""
    reading = Transcript(active.parse_roster(bytes.fromhex(roster)))
    number = read_transcript(reading, bytes.fromhex(transcript))
    outputs: Data = {"session": reading.session.hex(), "records": number}
    if number == 7:
        contributors = sorted(reading.ids[i] for i in reading.u3)
        outputs |= {"contributors": contributors, "result": reading.result.hex()}
    return outputs


# §8


FORMS = {
    "keys": ("offer #id", "c_pk s_pk"),
    "cohort": ("offer", "session #size set root"),
    "shares": ("session #index", "leaf body"),
    "sharers": ("session", "u2 #size"),
    "delivery": ("session #index", "rest"),
    "input": ("session #index", "u2 rest failed masked"),
    "survivors": ("session", "u2 u3 #size"),
    "agree": ("session #index", "u2 u3 #size"),
    "answer": ("session #index", "u3 digests"),
    "result": ("session", "u3 u5 result head"),
}
OF_SERVER = ("cohort", "sharers", "delivery", "survivors", "result")


class Statement:
    def __init__(self, cursor: Cursor) -> None:
        start = cursor.at
        self.name = cursor.prefixed(16).decode("latin-1")
        check(self.name in FORMS, "an unknown name", "WireError")
        context, rest = (words.split() for words in FORMS[self.name])
        values = [cursor.int(4) if word[0] == "#" else cursor.take(32) for word in context + rest]
        self.context, self.values = values[: len(context)], values
        self.signature = cursor.take(64)
        self.data = cursor.data[start : cursor.at]

    def checked(self, key: bytes) -> None:
        signed_by(key, self.signature, self.name, *self.values)


def two_statements(cursor: Cursor, roster: active.Roster) -> Any:
    of_server, place = cursor.int(1), cursor.int(4)
    check(of_server in (0, 1) and (of_server or not place), "a signer", "WireError")
    signer = place if of_server else "server"
    check(signer == "server" or place in roster.members, "no member", "WireError")
    key = roster.keys[place] if of_server else roster.server
    one, two = Statement(cursor), Statement(cursor)
    names = [name for name in FORMS if (name in OF_SERVER) == (signer == "server")]
    fine = one.name in names and two.name in names and one.data < two.data
    check(fine, "no two statements", "WireError")
    fine = one.name == two.name and one.context == two.context and one.name != "keys"
    check(fine and one.values != two.values, "no two statements of a context")
    for said in (one, two):
        said.checked(key)
    return signer


class Evidence(Frame):
    """What kinds 2 to 5 are made of."""

    def index(self, cursor: Cursor) -> int:
        index = cursor.int(4)
        check(index < self.size, "an index", "TooLarge")
        return index

    def body(self, cursor: Cursor) -> None:
        self.dealer = self.index(cursor)
        start, near = cursor.at, self.graph[self.dealer]
        self.commitment = cursor.take(32)
        self.sealed, self.digests = {}, {}
        for v in near:
            self.sealed[v] = cursor.take(104)
            self.digests[v] = (cursor.take(32), cursor.take(32))
        self.digests[self.dealer] = (cursor.take(32), cursor.take(32))
        self.dealt = H("body", cursor.data[start : cursor.at])
        self.member(self.dealer, cursor.take(64), "shares", self.leaves[self.dealer], self.dealt)

    def delivery(self, cursor: Cursor) -> tuple[int, bytes, set[int], dict[int, Any]]:
        """Holder, digest of its rest, U2, entries."""
        holder = self.index(cursor)
        start, u2 = cursor.at, cursor.bitmap(self.size)
        entries = {}
        for v in self.graph[holder]:
            if v in u2:
                entries[v] = (cursor.take(104), cursor.take(32), cursor.take(32))
                cursor.take(64)
        sharers = cursor.take(64)
        rest = H("delivery", cursor.data[start : cursor.at])
        self.server(sharers, "sharers", self.session, self.set_of(u2), len(u2))
        self.server(cursor.take(64), "delivery", self.session, holder, rest)
        return holder, rest, u2, entries

    def fits(self, entry: Any, holder: int) -> bool:
        """Whether an entry is the body's."""
        if entry is None or holder not in self.sealed:
            return False
        digest = H("digests", *self.digests[holder])
        return bool(entry == (self.sealed[holder], digest, self.dealt))

    def complaints(self, cursor: Cursor, holder: int, rest: bytes, u2: set[int]) -> set[int]:
        near = self.graph[holder]
        failed, masked = cursor.bitmap(len(near)), cursor.take(32)
        bits = H("set", blocks.bitmap(failed, len(near)))
        fields = (self.set_of(u2), rest, bits, masked)
        self.member(holder, cursor.take(64), "input", *fields)
        return {near[place] for place in failed}

    def wrong_share(self, cursor: Cursor) -> Any:
        self.body(cursor)
        holder, rest, u2, entries = self.delivery(cursor)
        if holder != self.dealer:
            check(self.fits(entries.get(self.dealer), holder), "not what was dealt")
        failed = self.complaints(cursor, holder, rest, u2)
        u3 = cursor.bitmap(self.size)
        held = sorted(({holder, *self.graph[holder]} & u2) - failed)
        given = {dealer: cursor.take(32) for dealer in held}
        digests = H("answer", b"".join(given.values()))
        self.member(holder, cursor.take(64), "answer", self.set_of(u3), digests)
        check(u3 <= u2 and holder in u3, "U3")
        check(self.dealer in given, "no share of the dealer")
        dealt = self.digests[holder][0 if self.dealer in u3 else 1]
        check(given[self.dealer] != dealt, "the right share")
        return self.ids[holder]

    def wrong_secret(self, cursor: Cursor) -> Any:
        self.body(cursor)
        letter = cursor.int(1)
        check(letter in (0, 1), "which secret", "WireError")
        shares: dict[int, bytes] = {}
        for _ in range(self.t):
            holder, share = cursor.int(4), cursor.take(40)
            check(not shares or holder + 1 > max(shares), "ascending", "WireError")
            check(holder in self.digests, "no holder", "WireError")
            ends = (self.session, self.dealer, holder, b"bs"[letter : letter + 1])
            digest = active.share_digest(*ends, share)
            check(digest == self.digests[holder][letter], "not what was dealt")
            shares[1 + holder] = share
        try:
            secret = blocks.combine(shares, self.t)
        except Refused:
            return self.ids[self.dealer]
        if letter:
            right = blocks.public(secret) == self.keys[self.dealer][1]
        else:
            right = blocks.commitment(secret, self.session, self.dealer) == self.commitment
        check(not right, "the right secret")
        return self.ids[self.dealer]

    def many_complaints(self, cursor: Cursor) -> Any:
        self.body(cursor)
        before = -1
        for _ in range(max(1, min(2 * self.t - self.k - 2, self.t - 2)) + 1):
            holder, rest, u2, entries = self.delivery(cursor)
            check(holder > before, "ascending", "WireError")
            before = holder
            check(self.fits(entries.get(self.dealer), holder), "not what was dealt")
            failed = self.complaints(cursor, holder, rest, u2)
            check(self.dealer in failed, "no complaint")
        return self.ids[self.dealer]

    def other_delivery(self, cursor: Cursor) -> Any:
        self.body(cursor)
        holder, _, _, entries = self.delivery(cursor)
        entry = entries.get(self.dealer)
        check(entry is not None and entry[2] == self.dealt, "another body")
        check(not self.fits(entry, holder), "what was dealt")
        return "server"


KINDS = {2: "wrong_share", 3: "wrong_secret", 4: "many_complaints", 5: "other_delivery"}


def do_judge_evidence(roster: str, evidence: str) -> Data:
    """Who is convicted: a place, or `server`."""
    members, cursor = active.parse_roster(bytes.fromhex(roster)), Cursor(bytes.fromhex(evidence))
    if cursor.int(1) != 1:
        raise Refused("UnknownVersion", "§8")
    kind = cursor.int(1)
    if kind == 1:
        convicted = two_statements(cursor, members)
    else:
        check(kind in KINDS, "an unknown kind", "WireError")
        frame = Evidence(members)
        frame.read_session(cursor)
        frame.read_cohort(cursor)
        convicted = getattr(frame, KINDS[kind])(cursor)
    cursor.end()
    return {"kind": kind, "convicted": convicted}


ALONE = {"verify_transcript": do_verify_transcript, "judge_evidence": do_judge_evidence}
