"""Every limit once broken: a test must see it.

    python -m tests.mutants             # all, in a temporary copy of the tree
    python -m tests.mutants opening     # those in whose name that word occurs

A limit that no test misses is a comment. What is listed here is the limit, as it stands in the
code, and what would be there if it were forgotten; the tests are those that should fail then.
A text that is no longer found fails at once: who moves a limit moves its mutant.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.adversary.active.refusals import HERE, REFUSALS

ROOT = Path(__file__).parent.parent
PATIENCE = 5
"""Times as long as without the mutant, and half a minute: whoever waits longer waits for ever for
what no longer comes, and so has seen it."""
_IN = ("secagg", "protocols", "tests", "specs", "bench", "examples", "docs")
_AT = ("pyproject.toml", "README.md", "CHANGELOG.md", "Makefile")


@dataclass(frozen=True)
class Mutant:
    """name: the limit. path: from the root. text: once in that file. tests: as pytest takes them.

    text and instead are on one line or several, without what stands before them on the first.
    """

    name: str
    path: str
    text: str
    instead: str
    tests: tuple[str, ...]

    def in_place(self, root: Path) -> None:
        """Rewrites its file in that tree, in which it must be found once."""
        file = root / self.path
        source = file.read_text()
        if (times := source.count(self.text)) != 1:
            raise LookupError(f"{self.name}: {self.text!r} occurs {times} times in {self.path}")
        file.write_text(source.replace(self.text, self.instead))


def _of(path: str, tests: str, *mutants: tuple[str, str, str]) -> tuple[Mutant, ...]:
    return tuple(
        Mutant(*(name, path, text, new), tuple(tests.split())) for name, text, new in mutants
    )


PROOFS = (
    *_of(
        "protocols/secagg_protocols/secagg/active/verifying.py",
        "tests/protocols/test_active_transcript.py",
        ("transcript: nothing behind the last record", "            records.finish()\n", ""),
        (
            "transcript: a member's signature",
            "self.frame.check(index, statement, signature)",
            "pass",
        ),
        (
            "transcript: the order of records",
            'if (number := reader.u8("kind of a record")) != kind:',
            'if (number := reader.u8("kind of a record")) == 99:',
        ),
    ),
    *_of(
        "protocols/secagg_protocols/secagg/active/convicting.py",
        "tests/protocols/test_active_evidence.py",
        ("evidence: holders ascend", "if given.holder <= last:", "if False:"),
        (
            "evidence: a complaint of this dealer",
            "if dealt.dealer not in complaint.failed:",
            "if False:",
        ),
        (
            "evidence: the share that was dealt",
            "if digests[held.index(dealer)] == dealt.digests(holder).named(dealer in survivors):",
            "if False:",
        ),
        ("evidence: of another body", "if entry.body != dealt.said.digest:", "if False:"),
        (
            "evidence: what was dealt is delivered",
            "if dealt.matches(entry, given.holder):",
            "if False:",
        ),
        (
            "evidence: the announced secret",
            "if _opens(frame, dealt, survived, shares):",
            "if False:",
        ),
    ),
    *_of(
        "protocols/secagg_protocols/secagg/active/equivocation.py",
        "tests/protocols/test_active_evidence.py",
        ("evidence: two statements ascend", "if one.encoded >= other.encoded:", "if False:"),
        (
            "evidence: a statement of such a party",
            "if self.statement.form not in forms:",
            "if False:",
        ),
        ("evidence: one context", "if of_two(one, other) is None:", "if False:"),
    ),
)

TERMS = (
    *_of(
        "secagg/plans/terms.py",
        "tests/plans/test_terms.py",
        ("terms: bytes", "if len(data) > MAX_TERMS:", "if False:"),
        ("terms: the planner", "if self.planner != PLANNER:", "if False:"),
        (
            "terms: the planner of bytes",
            'if (planner := reader.u8("planner")) != PLANNER:',
            'if (planner := reader.u8("planner")) == 99:',
        ),
        (
            "terms: clients of a range",
            'integer("the most clients", self.most, 1, MAX_CLIENTS)',
            'integer("the most clients", self.most, 1, 1 << 20)',
        ),
        (
            "terms: the smallest population",
            'population=integer("population", self.population, most, MAX_ROSTER),',
            'population=integer("population", self.population, 1, MAX_ROSTER),',
        ),
        (
            "terms: the population of a plan",
            'integer("population", population, clients, self.population)',
            'integer("population", population, clients, MAX_ROSTER)',
        ),
        (
            "terms: clients of a plan",
            'clients = integer("clients", clients, self.least, self.most)',
            'clients = integer("clients", clients, 1, MAX_ROSTER)',
        ),
        ("terms: sizes", "if clients != self.size(clients):", "if False:"),
        ("terms: elements", "if elements > MAX_ELEMENTS:", "if False:"),
        ("terms: the name of the lane", "if CLIPPED in dict(whole.fields):", "if False:"),
        ("terms: every size is tried", "for n in self.sizes}", "for n in self.sizes[::5]}"),
        ("terms: whom a protocol protects from", "not in info.threat_models:", "is None:"),
        (
            "terms: min_clients",
            "asked is None or made.params.min_clients >= asked",
            "True",
        ),
        (
            "terms: min_clients at every size",
            "return refusal(replace(threat, min_clients=asked), self.protocol)",
            'return ""',
        ),
    ),
    *_of(
        "secagg/rounds/offer.py",
        "tests/rounds/test_consent_terms.py",
        ("terms: every byte of a plan", "if plan.encode() != derived.encode():", "if False:"),
        (
            "terms: nothing else is pinned",
            "if (self.plan, self.plan_digest, self.task) != (None, None, None):",
            "if False:",
        ),
    ),
    *_of(
        "secagg/plans/choose.py",
        "tests/plans/test_terms.py tests/plans/test_planner.py",
        (
            "terms: what is installed besides",
            "_chosen(threat, schema.layout, PLANNED)",
            "_chosen(threat, schema.layout, registry.available())",
        ),
    ),
)

PACE = (
    *_of(
        "secagg/rounds/course.py",
        "tests/rounds/test_pace.py tests/rounds/test_pace_schedules.py",
        ("pace: the least of a cohort", "if size < self.pace.least:", "if not size:"),
        (
            "pace: more enrolled than the terms count",
            "        if enrolled > most:",
            "        if False:",
        ),
        ("pace: failures in a row", "if self.failures >= MOST_FAILURES:", "if False:"),
        ("pace: after a failure", "now + min(LONGEST_WAIT, 2.0**times)", "now"),
        ("pace: spare", "[: self.pace.asked]", ""),
        (
            "pace: sent away is not asked",
            "if self._here[peer] <= now and",
            "if",
        ),
        (
            "pace: what terms have",
            "        pace.check(terms)\n        self.line",
            "        self.line",
        ),
        (
            "pace: other terms, of the next round",
            "        if self.running is not None:\n            self._next =",
            "        if False:\n            self._next =",
        ),
    ),
    *_of(
        "secagg/rounds/line.py",
        "tests/rounds/test_pace.py tests/rounds/test_pace_schedules.py",
        (
            "pace: who is silent loses the place",
            "if not silent or now >= self.until:",
            "if not silent:",
        ),
    ),
    *_of(
        "secagg/rounds/line.py",
        "tests/rounds/test_line.py",
        ("pace: three misses", "if one.misses >= STRIKES:", "if False:"),
        ("pace: the longest pause", "min(LONGEST_PAUSE, pause)", "pause"),
        ("pace: a miss is forgiven", "if one.passed >= FORGIVEN:", "if False:"),
        ("pace: misses of a row", "made.misses > MOST_MISSES or", ""),
    ),
    *_of(
        "secagg/rounds/pace.py",
        "tests/rounds/test_pace.py",
        ("pace: ready unasked", "if self._unasked[peer] > MOST_UNASKED:", "if False:"),
        ("pace: links prove who they are", "if peer.identity is None or", "if"),
    ),
    *_of(
        "secagg/rounds/asked.py",
        "tests/rounds/test_pace.py",
        ("pace: asked for ever", "if self._asked > MOST_ASKED:", "if False:"),
    ),
    *_of(
        "secagg/wire/pace.py",
        "tests/wire/test_pace_frames.py",
        ("pace: bytes of a frame", "if len(data) > MAX_FRAME:", "if False:"),
        ("pace: seconds to answer", "    if not seconds:", "    if False:"),
        ("pace: later is later", "    if not milliseconds:", "    if False:"),
        ("pace: reasons", "if not 1 <= code <= len(Why):", "if not code <= len(Why):"),
    ),
)

QUOTA = _of(
    "secagg/rounds/quota.py",
    "tests/rounds/test_quota.py tests/rounds/test_server.py",
    ("quota: frames a peer may send", "if self._frames > self._rounds * frames:", "if False:"),
    (
        "quota: one frame fewer",
        "self._frames > self._rounds * frames",
        "self._frames >= self._rounds * frames",
    ),
    ("quota: bytes a peer may send", "if self._bytes > self._rounds * volume:", "if False:"),
    (
        "quota: one byte fewer",
        "self._bytes > self._rounds * volume",
        "self._bytes >= self._rounds * volume",
    ),
    (
        "quota: both begin anew",
        "        self._frames = self._bytes = 0\n        self._rounds = max",
        "        self._rounds = max",
    ),
    ("quota: for each round", "self._rounds = max(1, rounds)", "self._rounds = 1"),
    ("quota: frames for a slow peer", "if len(self._waiting) > outbox:", "if False:"),
    (
        "quota: one of those fewer",
        "len(self._waiting) > outbox",
        "len(self._waiting) >= outbox",
    ),
    (
        "quota: bytes for a slow peer",
        "if self._backlog > backlog and not alone:",
        "if False:",
    ),
    ("quota: what has left", "            size -= self._waiting.popleft()", "            break"),
    (
        "quota: a task above what may wait",
        "if self._backlog > backlog and not alone:",
        "if self._backlog > backlog:",
    ),
    (
        "quota: one byte of those fewer",
        "if self._backlog > backlog and not alone:",
        "if self._backlog >= backlog and not alone:",
    ),
    ("quota: bytes of a round", "return 4 * self.frame if", "return 5 * self.frame if"),
    ("quota: the largest frame", 'integer("max_size", self.frame, 1, MAX_SIZE)', "pass"),
    ("quota: the most links", 'integer("max_links", self.links, 1, MAX_CLIENTS)', "pass"),
    ("quota: what is no limit", "integer(name, getattr(self, name), 1, MAX_SIZE)", "pass"),
    ("quota: what is no volume", 'integer("volume", self.volume, 1, MAX_SIZE)', "pass"),
)
ROUNDS_LINKS = _of(
    "secagg/rounds/present.py",
    "tests/rounds/test_server.py tests/rounds/test_selection.py",
    ("rounds: links", "len(self._links) >= self._limits.links", "False"),
    (
        "rounds: links, one too many",
        "len(self._links) >= self._limits.links",
        "len(self._links) > self._limits.links",
    ),
    ("rounds: links of an address", "self._addresses[peer.address] >= most", "False"),
    (
        "rounds: links of an address, one more",
        "self._addresses[peer.address] >= most",
        "self._addresses[peer.address] > most",
    ),
    ("rounds: who is a stranger", "if linked.strange(peer):", "if False:"),
    (
        "rounds: a stranger has proved nothing",
        "return peer.identity is None and not self.seats and not self.proven",
        "return not self.seats and not self.proven",
    ),
    (
        "rounds: nobody is a stranger while it is asked",
        "peer.identity is None and not self.seats and not self.proven",
        "peer.identity is None and not self.proven",
    ),
    (
        "rounds: nor after a sum",
        "peer.identity is None and not self.seats and not self.proven",
        "peer.identity is None and not self.seats",
    ),
    ("rounds: silences side by side", "elif begun >= self.silent:", "else:"),
    ("rounds: silence ends with a word", "            self.late = 0\n", "            pass\n"),
    (
        "rounds: silence makes one of it again",
        "self.fault, self.proven = fault, fault is None",
        "self.fault, self.proven = fault, True",
    ),
    (
        "rounds: who is of no use comes last",
        "self.missed = 0 if innocent else self.missed + 1",
        "self.missed = 0",
    ),
    ("rounds: links of an identity", "len(same) + 1 - self._limits.links_each", "0"),
)
ROUNDS = _of(
    "secagg/rounds/server.py",
    "tests/rounds/test_server.py tests/rounds/test_selection.py",
    (
        "rounds: repeats in the log",
        "self._repeats.refused(kind, log, Event.CLIENT_DROPPED, now, *said)",
        "log.warning(*said)",
    ),
    (
        "rounds: what is due from a client, of its rounds' plans",
        "return self._links.largest(peer, {n: one.largest for n, one in self._rounds.items()})",
        "return self._limits.frame",
    ),
    (
        "rounds: what is due from a client, until the next announcement",
        "linked.largest = max(linked.largest, running.largest)",
        "linked.largest = 0",
    ),
    (
        "rounds: what was due from a client, no longer",
        "linked.seats[opening.nonce], linked.largest = seat, 0",
        "linked.seats[opening.nonce] = seat",
    ),
    ("rounds: a result that was not kept", "            running.lose()", "            pass"),
    (
        "rounds: rounds in silence",
        "if (late := linked.late) >= self._limits.silence:",
        "if late := False:",
    ),
    (
        "rounds: rounds in silence, one more",
        "(late := linked.late) >= self._limits.silence",
        "(late := linked.late) > self._limits.silence",
    ),
    (
        "rounds: rounds at once of one client",
        "if any(len(self._links[peer].seats) >= self._limits.rounds for peer in seats.values()):",
        "if False:",
    ),
    (
        "rounds: rounds at once, one fewer",
        "len(self._links[peer].seats) >= self._limits.rounds",
        "len(self._links[peer].seats) + 1 >= self._limits.rounds",
    ),
    ("rounds: a late reader", "            self._slow[peer] = full", "            pass"),
    ("rounds: a plan above the limit", "if needed > self._limits.frame:", "if False:"),
    ("rounds: a plan at the limit", "needed > self._limits.frame", "needed >= self._limits.frame"),
    ("rounds: size of a frame", "limit=self._limits.frame)", "limit=1 << 60)"),
    (
        "rounds: who was let go",
        "            return  # let go, and still talking",
        "            pass",
    ),
)
ROUND = (
    *_of(
        "secagg/rounds/selection.py",
        "tests/rounds/test_server.py tests/rounds/test_selection.py",
        ("rounds: clients of a plan", "if len(peers) > plan.threat.clients:", "if False:"),
        ("rounds: nobody twice", "if len({*peers}) < len(peers):", "if False:"),
        ("rounds: nobody from elsewhere", "peer not in places", "False"),
    ),
    *_of(
        "secagg/rounds/round.py",
        "tests/rounds/test_server.py tests/rounds/test_restart.py tests/rounds/test_kills.py",
        ("round: its deadline", "now >= self.clock.due:", "False:"),
        ("round: none for work", "not self._working and now >= self.clock.due", "True"),
        (
            "round: strangers are not waited for",
            "if not rows or not any(self.cohort):",
            "if not rows:",
        ),
        ("round: one stranger", "            if identity is None:\n", "            if False:\n"),
    ),
    *_of(
        "secagg/rounds/farewell.py",
        "tests/rounds/test_restart.py",
        ("farewell: rounds whose standings are kept", "if len(self._kept) > KEPT:", "if False:"),
        ("farewell: one more", "len(self._kept) > KEPT", "len(self._kept) > KEPT + 1"),
    ),
    *_of(
        "secagg/rounds/selection.py",
        "tests/rounds/test_selection.py tests/rounds/test_server.py",
        (
            "selection: places by arrival",
            "return reliable[: plan.threat.clients]",
            "return reliable",
        ),
        ("selection: places by lot", "return drawn[: plan.threat.clients]", "return drawn"),
        (
            "selection: the silent come last",
            "key=lambda one: (one.missed, one.place)",
            "key=lambda one: one.place",
        ),
        (
            "selection: also by lot",
            "key=lambda one: (one.missed, randomness(_LOT))",
            "key=lambda one: randomness(_LOT)",
        ),
    ),
    *_of(
        "secagg/rounds/claims.py",
        "tests/rounds/test_claims.py tests/rounds/test_client_rounds.py",
        ("claims: an input that is spent", "        if use.spent:\n", "        if False:\n"),
        ("claims: an input elsewhere", 'if use.holder not in (b"", nonce):', "if False:"),
        (
            "claims: a round that is forgotten",
            "if use.holder and use.holder not in going_on:",
            "if False:",
        ),
        ("claims: the next attempt", "attempt=use.attempt + left", "attempt=use.attempt"),
        (
            "claims: an attempt that was none",
            "attempt=use.attempt + left",
            "attempt=use.attempt + 1",
        ),
        ("claims: what has left is spent", "if again or not left:", "if True:"),
    ),
    *_of(
        "secagg/rounds/part.py",
        "tests/rounds/test_restart.py tests/rounds/test_client_rounds.py "
        "tests/rounds/test_kills.py",
        (
            "part: no answer and another attempt",
            "frame.summed or self.answered or ",
            "frame.summed or ",
        ),
        (
            "part: a sum and another attempt",
            "not (frame.included or frame.summed or self.answered",
            "not (self.answered",
        ),
        (
            "part: a sum that was not kept and another attempt",
            "frame.included or frame.summed or",
            "frame.included or",
        ),
        (
            "part: rows and another attempt",
            "or self.answered or self._restored)",
            "or self.answered)",
        ),
        (
            "part: a claim that was not made before",
            "self._use = self._place.names.held(self.offer.nonce, self._use_digest())",
            "pass",
        ),
        (
            "part: rows that were put back",
            "self.left |= self._restored and reason is",
            "self.left |= False and reason is",
        ),
    ),
)
DOORS = (
    *_of(
        "secagg/rounds/doors.py",
        "tests/rounds/test_doors.py",
        (
            "doors: seconds to open",
            "self._limits.handshake if tls else self._limits.opening, now)",
            "self._limits.handshake if tls else math.inf, now)",
        ),
        (
            "doors: seconds of a handshake",
            "self._limits.handshake if tls else self._limits.opening, now)",
            "math.inf if tls else self._limits.opening, now)",
        ),
        (
            "doors: seconds of a header behind a handshake",
            'its request to come."""\n        self._waits(link, self._limits.opening, now)',
            'its request to come."""\n        self._waits(link, math.inf, now)',
        ),
        (
            "doors: seconds of a request",
            "self._waits(link, self._limits.request, now)",
            "self._waits(link, math.inf, now)",
        ),
        (
            "doors: seconds of the next header",
            'may make another request."""\n        self._waits(link, self._limits.opening, now)',
            'may make another request."""\n        self._waits(link, math.inf, now)',
        ),
        (
            "doors: places of those who are asked who they are",
            "            self._passes(link, math.inf, now)\n",
            "            pass\n",
        ),
        (
            "doors: whoever is known leaves its place",
            "            self._known += 1\n            del self._passing[link]",
            "            self._known += 1",
        ),
        (
            "doors: bytes of a stranger",
            "if door.known is False and pending > self._limits.stranger:",
            "if False:",
        ),
        (
            "doors: bytes of a stranger, one fewer",
            "pending > self._limits.stranger",
            "pending >= self._limits.stranger",
        ),
        (
            "doors: bytes of everybody",
            "if door.known is False and pending > self._limits.stranger:",
            "if pending > self._limits.stranger:",
        ),
        (
            "doors: links that are all known",
            "return self._known >= self._limits.links",
            "return False",
        ),
        (
            "doors: one of them fewer",
            "return self._known >= self._limits.links",
            "return self._known + 1 >= self._limits.links",
        ),
        (
            "doors: whoever is known and goes",
            "self._known -= door.known is True",
            "self._known -= 0",
        ),
        (
            "doors: a stranger that is let go",
            "and (link not in self._passing or door.known is False):",
            "and link not in self._passing:",
        ),
        (
            "doors: seconds to leave",
            "self._passes(link, self._limits.leaving, now)",
            "self._passes(link, math.inf, now)",
        ),
        ("doors: places", "if len(self._passing) > self._limits.passing:", "if False:"),
        (
            "doors: places, one fewer",
            "len(self._passing) > self._limits.passing",
            "len(self._passing) >= self._limits.passing",
        ),
        (
            "doors: whoever is through leaves its place",
            "            door.until = math.inf\n            del self._passing[link]",
            "            door.until = math.inf",
        ),
        (
            "doors: crumbs",
            "elif pieces > self._limits.fragments + size // PIECE",
            "elif False and pieces > size // PIECE",
        ),
        (
            "doors: crumbs, one fewer",
            "elif pieces > self._limits.fragments + size // PIECE",
            "elif pieces >= self._limits.fragments + size // PIECE",
        ),
        ("doors: a piece for each kilobyte", "fragments + size // PIECE", "fragments + 0 // PIECE"),
        ("doors: a piece for each second", " + int(now - door.since):", ":"),
        (
            "doors: bytes that are not whole",
            "if others and others + pending > self._most[large]:",
            "if False:",
        ),
        (
            "doors: bytes, one fewer",
            "others + pending > self._most[large]",
            "others + pending >= self._most[large]",
        ),
        (
            "doors: what is small",
            "large = self._doors[link], pending > SMALL",
            "large = self._doors[link], True",
        ),
        (
            "doors: what is small, one byte fewer",
            "large = self._doors[link], pending > SMALL",
            "large = self._doors[link], pending >= SMALL",
        ),
        (
            "doors: room for small ones",
            "return {True: limits.unfinished - quarter,",
            "return {True: limits.unfinished,",
        ),
        (
            "doors: whoever stands still makes room",
            "while (owing := self._owing()) and min(owing.values()) <= now:",
            "while False:",
        ),
        ("doors: credit ahead", "door.credit = min(earned, now + CREDIT)", "door.credit = earned"),
        ("doors: the slowest that is fast", "fresh / SLOWEST", "fresh / 1"),
        ("doors: the longest", "min(self.credit, self.begun + LONGEST)", "self.credit"),
        (
            "doors: room is given back",
            "        self._reserved[door.large] -= door.room\n        door.room = door.got = 0",
            "        door.room = door.got = 0",
        ),
        ("doors: without descriptors", "        if self._passing:\n", "        if False:\n"),
        (
            "doors: repeats in the log",
            "self._repeats.refused(why, log, Event.LINK_CUT, now, *said)",
            "log.warning(*said)",
        ),
        (
            "doors: bytes of what is due",
            "elif message > _allowed(door, message, most):",
            "elif False:",
        ),
        (
            "doors: bytes of what is due, one fewer",
            "elif message > _allowed(door, message, most):",
            "elif message >= _allowed(door, message, most):",
        ),
        (
            "doors: what was due when it began",
            "if not door.message or message < door.message:",
            "if True:",
        ),
        (
            "doors: what is due of the next message",
            "if not door.message or message < door.message:",
            "if not door.most:",
        ),
    ),
    *_of(
        "secagg/rounds/quota.py",
        "tests/rounds/test_doors.py",
        ("doors: whose place goes", "key=lambda one: held[strangers[one]])", "key=lambda one: 0)"),
        ("quota: links a process can hold", "links=min(self.links, room)", "links=self.links"),
        (
            "quota: an eighth for those that pass",
            "min(self.passing, descriptors // 8)",
            "self.passing",
        ),
        ("quota: descriptors to spare", "SPARE = 64", "SPARE = 0"),
    ),
    *_of(
        "secagg/repeats.py",
        "tests/test_repeats.py",
        ("repeats: lines of a window", "if seen.written >= self._most:", "if False:"),
        ("repeats: one line fewer", "seen.written >= self._most", "seen.written + 1 >= self._most"),
        ("repeats: the next window", "if now - seen.since >= self._window:", "if False:"),
    ),
)
CLIENT = _of(
    "secagg/rounds/client.py",
    "tests/rounds/test_client_rounds.py tests/rounds/test_restart.py",
    (
        "client: a nonce twice",
        "if frame.nonce in self._nonces or frame.nonce == NAMES:",
        "if False:",
    ),
    ("client: size of a frame", "limit=self._limits.frame)", "limit=1 << 60)"),
    ("client: rounds at once", "if len(self._parts) >= self._limits.rounds:", "if False:"),
    (
        "client: rounds at once, one more",
        "len(self._parts) >= self._limits.rounds",
        "len(self._parts) > self._limits.rounds",
    ),
    ("client: a server that is late", "            if now >= due:", "            if False:"),
    (
        "client: patience with work",
        "sum(offer.deadlines.values()) + self._patience",
        "sum(offer.deadlines.values())",
    ),
    ("client: nonces of a life", "if len(self._nonces) >= MOST_ROUNDS:", "if False:"),
    (
        "client: nonces of a life, one more",
        "len(self._nonces) >= MOST_ROUNDS",
        "len(self._nonces) > MOST_ROUNDS",
    ),
    ("client: a round given up", "if frame.nonce in self._given_up:", "if False:"),
)
OFFER = _of(
    "secagg/rounds/offer.py",
    "tests/rounds/test_offer.py tests/rounds/test_client_rounds.py",
    ("offer: its own number", "frame.party >= places or ", ""),
    (
        "offer: its own number, one too many",
        "frame.party >= places",
        "frame.party > places",
    ),
    ("offer: a deadline for each phase", " or len(frame.deadlines) != len(phases)", ""),
    ("offer: the fewest clients", "if plan.params.min_survivors < self.min_clients:", "if False:"),
    (
        "offer: the fewest clients, one more",
        "plan.params.min_survivors < self.min_clients",
        "plan.params.min_survivors <= self.min_clients",
    ),
    (
        "offer: its protocol",
        "if self.protocols is not None and plan.protocol not in self.protocols:",
        "if False:",
    ),
    ("offer: the plan that is pinned", "pinned is not None and plan.digest() != pinned", "False"),
    ("offer: an epsilon", "if terms.epsilon > most:", "if False:"),
    ("offer: an epsilon, the largest", "terms.epsilon > most", "terms.epsilon >= most"),
    ("offer: a delta", "terms.delta > delta and", "False and"),
    ("offer: a delta, the largest", "terms.delta > delta", "terms.delta >= delta"),
    ("offer: a delta where none is needed", " and not terms.responds", ""),
    ("offer: a unit", 'terms.unit == "example" and', "False and"),
)
DEADLINES = _of(
    "secagg/rounds/clock.py",
    "tests/rounds/test_clock.py tests/rounds/test_server.py",
    ("clock: deadlines", "if limit >= MAX_DEADLINE:", "if False:"),
    ("clock: deadlines, the largest", "if limit >= MAX_DEADLINE:", "if limit > MAX_DEADLINE:"),
)
MEMBER = (
    *_of(
        "secagg/rounds/clients.py",
        "tests/rounds",
        (
            "member: frames of a client, the number",
            "MAX_FRAMES, MAX_OUTBOX = 64, 64",
            "MAX_FRAMES, MAX_OUTBOX = 10**9, 64",
        ),
        (
            "member: frames for a client, the number",
            "MAX_FRAMES, MAX_OUTBOX = 64, 64",
            "MAX_FRAMES, MAX_OUTBOX = 64, 10**9",
        ),
        ("member: links of clients", "len(self._clients) >= self.limits.links", "False"),
        (
            "member: links of clients, one more",
            "len(self._clients) >= self.limits.links",
            "len(self._clients) > self.limits.links",
        ),
        ("member: who has had its time", "now - one.since >= LONGEST", "True"),
        ("member: who has had its time, exactly", "one.since >= LONGEST", "one.since > LONGEST"),
        ("member: nobody has a link for ever", "now - one.since >= LONGEST", "False"),
        ("member: who waits keeps its link", "and peer not in waits", ""),
        ("member: a look a second", "or now - self._looked < LOOK", ""),
        (
            "member: who has spoken may wait",
            "        self._idle.discard(peer)\n        self._spoken",
            "        self._spoken",
        ),
        ("member: words keep no link", "self._spoken = True", "pass"),
        ("member: frames for one report", "client.quota.received(size) is not None", "False"),
        ("member: frames for a slow peer", "client.quota.posted(frame.size) is None", "True"),
        (
            "member: who leaves is not heard",
            "client is None or client.leaving:\n            return False",
            "client is None:\n            return False",
        ),
    ),
    *_of(
        "secagg/rounds/member.py",
        "tests/rounds",
        ("member: a repeat takes no place", "and me in batches.ignored and", "and False and"),
        ("member: reports that wait", "max(2, MAX_WAITING // frame)", "1 << 30"),
        ("member: size of a frame", "limit=self._clients.limits.frame", "limit=1 << 60"),
        ("member: messages of a transaction", 'self._read[client, "frames"] >= MAX_GROUP', "False"),
        ("member: bytes of a transaction", 'self._read[client, "bytes"] >= MAX_WAITING', "False"),
        (
            "member: clients wait while a leader decides",
            "self._decides or self._links.behind",
            "self._links.behind",
        ),
        (
            "member: clients wait for a server",
            "self._decides or self._links.behind",
            "self._decides",
        ),
        (
            "member: patience with a server",
            "if now >= self._links.given_up(party, self._batches.entered):",
            "if False:",
        ),
    ),
    *_of(
        "secagg/drive/member.py",
        "tests/drive/test_member.py",
        ("member: links in all", "most=terms.links + RESERVE", "most=None"),
        ("member: links kept for servers", "most=terms.links + RESERVE", "most=terms.links"),
    ),
)
PARTS = (
    *_of(
        "secagg/rounds/links.py",
        "tests/rounds",
        ("links: bytes that wait for a server", "one.unread > MAX_BACKLOG", "False"),
        (
            "links: patience begins with a word",
            "max(entered, one.heard if one is not None else 0.0)",
            "entered",
        ),
    ),
    *_of(
        "secagg/rounds/places.py",
        "tests/rounds",
        (
            "places: reports held for the next batch",
            "if len(self.held) >= self._room:",
            "if False:",
        ),
        (
            "places: reports held, one more",
            "len(self.held) >= self._room",
            "len(self.held) > self._room",
        ),
    ),
    *_of(
        "secagg/rounds/collectors.py",
        "tests/rounds",
        ("collectors: one that reads late", "if self._unread.get(peer):", "if False:"),
    ),
    *_of(
        "secagg/rounds/upload.py",
        "tests/rounds",
        (
            "upload: patience with what has come",
            "(settled and not owing) or now >= self._since + self._patience",
            "settled and not owing",
        ),
        (
            "upload: the deadline",
            "if not late and (clients or not machine.quorum):",
            "if clients or not machine.quorum:",
        ),
    ),
    *_of(
        "secagg/rounds/lingering.py",
        "tests/rounds",
        ("lingering: its seconds", "if now >= self._since + self._terms.linger:", "if False:"),
        (
            "lingering: patience with helpers",
            "told or now >= self._since + self._terms.patience",
            "told",
        ),
    ),
    *_of(
        "secagg/rounds/report.py",
        "tests/rounds",
        ("report: its seconds", "(now >= self._until and not self._client.done)", "False"),
        ("report: size of a frame", "limit=self._limit)", "limit=1 << 60)"),
    ),
    *_of(
        "secagg/rounds/collect.py",
        "tests/rounds",
        ("collect: its seconds", "        elif now >= self._until:\n", "        elif False:\n"),
        ("collect: the longest pause", "min(2 * self._pause, LAST_POLL)", "2 * self._pause"),
        ("collect: seconds of goodbye", "if self._untold and now >= self._until:", "if False:"),
        ("collect: size of a frame", "limit=self._limit)", "limit=1 << 60)"),
    ),
)
BATCHES = _of(
    "secagg/rounds/batches.py",
    "tests/rounds",
    ("batches: messages of later batches", "len(self.waiting) < MAX_STASH", "True"),
    (
        "batches: a locked batch after another is collected",
        'if not begin and machine.phase in ("", *self._epoch.task.plan.phase_names):',
        "if not begin:",
    ),
    (
        "batches: who brought what was not kept",
        "                self.said.append(event)\n",
        "                pass\n",
    ),
    ("batches: bytes of these", "size <= MAX_STASH_BYTES", "True"),
    ("batches: faults of strangers", "len(self._faults) < MAX_FAULTS", "True"),
    ("batches: faults of servers", "or event.party >= FIRST_RESERVED:", "or False:"),
    (
        "batches: what is over writes no more",
        "            if machine.writes():\n",
        "            if False:\n",
    ),
)
HELLO = _of(
    "secagg/rounds/greeting.py",
    "tests/rounds",
    ("hello: its seconds", "while self._due <= now:", "while False:"),
    ("hello: its seconds, also of who speaks", "now + self._timeout", "1e9"),
    ("hello: links in all", "len(self._links) >= self._most and", "False and"),
    (
        "hello: links in all, one more",
        "len(self._links) >= self._most and",
        "len(self._links) > self._most and",
    ),
) + _of(
    "secagg/rounds/hellos.py",
    "tests/rounds",
    (
        "hello: the key of a collector",
        "if not hmac.compare_digest(opened, challenge):",
        "if False:",
    ),
)
REPORTING = _of(
    "secagg/rounds/greeting.py",
    "tests/rounds/test_greeting.py",
    ("reporting: the smallest limit", "_SMALLEST_LIMIT = 4096", "_SMALLEST_LIMIT = 0"),
)
EXECUTOR = _of(
    "secagg/drive/executor.py",
    "tests/drive/test_executor.py",
    ("executor: jobs under way", "len(self._running) < self._in_flight", "True"),
    (
        "executor: twice as many as workers",
        "_Window(jobs, 2 * _size(executor, insecure_executor), submit)",
        "_Window(jobs, 9 * _size(executor, insecure_executor), submit)",
    ),
)
WIRE = (
    *_of(
        "secagg/wire/hello.py",
        "tests/rounds/test_greeting.py",
        ("hello: its size", "if len(data) > most:", "if False:"),
        ("hello: its size, one byte fewer", "if len(data) > most:", "if len(data) >= most:"),
    ),
    *_of(
        "secagg/wire/frame.py",
        "tests/wire/test_frame.py",
        ("frame: its size", "if len(data) > limit:", "if False:"),
        ("frame: its size, one byte fewer", "if len(data) > limit:", "if len(data) >= limit:"),
        ("frame: a party that is none", "if party >= FIRST_RESERVED:", "if False:"),
        (
            "frame: the first reserved party",
            "if party >= FIRST_RESERVED:",
            "if party > FIRST_RESERVED:",
        ),
        ("frame: size of a nonce", "if len(nonce) != NONCE_SIZE:", "if False:"),
    ),
    *_of(
        "secagg/wire/codec.py",
        "tests/wire",
        ("codec: a count", "if number > limit:", "if False:"),
        ("codec: a count, one fewer", "if number > limit:", "if number >= limit:"),
        ("codec: what is left", "if len(taken) < size:", "if False:"),
        ("codec: bits behind a bitmap", "if number >> size:", "if False:"),
        ("codec: bytes behind the end", "        if self.remaining:\n", "        if False:\n"),
    ),
    *_of(
        "secagg/wire/schema.py",
        "tests/wire/test_schema.py",
        ("schema: fields", "reader.count(MAX_FIELDS,", "reader.count(1 << 31,"),
        ("schema: length of a name", "reader.prefixed(MAX_NAME,", "reader.prefixed(1 << 31,"),
    ),
    *_of(
        "secagg/wire/vector.py",
        "tests/wire/test_vector.py",
        ("vector: bits of its padding", "if padding and data[-1] >> (8 - padding):", "if False:"),
    ),
)
TRANSPORT = (
    *_of(
        "secagg/transport/opening.py",
        "tests/transport/test_opening.py",
        (
            "opening: the longest pause",
            "min(self.most, self.first * 2.0 ** min(failures - 1, 64))",
            "self.first * 2.0 ** min(failures - 1, 64)",
        ),
        ("opening: failures counted", "min(failures - 1, 64)", "(failures - 1)"),
    ),
    *_of(
        "secagg/drive/outbound.py",
        "tests/drive/test_outbound.py",
        ("outbound: who drops every link", "< backoff.most else 1", "< 0 else 1"),
        ("outbound: the last words of who is gone", "writing.exception() is not None", "False"),
        (
            "outbound: and no longer",
            "await asyncio.wait({reading}, timeout=FLUSH_TIMEOUT)",
            "await asyncio.wait({reading})",
        ),
        (
            "outbound: seconds of goodbye",
            "await asyncio.wait(tasks, timeout=timeout)",
            "await asyncio.wait(tasks)",
        ),
    ),
    *_of(
        "secagg/transport/memory.py",
        "tests/transport/test_memory.py",
        ("memory: messages under way", "len(self._items) < self._capacity", "True"),
    ),
    *_of(
        "secagg/transport/shaped.py",
        "tests/transport/test_shaped.py",
        ("shaped: the burst", "min(self._tokens, self._burst) - size", "self._tokens - size"),
    ),
    *_of(
        "secagg/transport/doorkeeper.py",
        "tests/transport/test_strangers.py tests/transport/test_door.py",
        (
            "doorkeeper: a rest without descriptors",
            "                    await asyncio.sleep(REST)\n",
            "",
        ),
        ("doorkeeper: how long", "REST = 0.5", "REST = 0.0"),
        (
            "doorkeeper: addresses of one network",
            "return str(ipaddress.IPv6Network((found, 64), strict=False))",
            "return str(found)",
        ),
        (
            "doorkeeper: who is left when it closes",
            "entrance.cut(_CLOSED)",
            "pass",
        ),
        ("doorkeeper: bytes read at once", "RECEIVED = 32 << 10", "RECEIVED = 1 << 18"),
        (
            "doorkeeper: it asks in time",
            "call_later(seconds, self._tick)",
            "call_later(1e6, self._tick)",
        ),
    ),
    *_of(
        "secagg/transport/protocols.py",
        "tests/transport/test_strangers.py tests/transport/test_door.py",
        ("protocols: full", "        if self._door.full:\n", "        if False:\n"),
        (
            "protocols: what follows a greeting",
            "            if not self._door.stranger:\n                self._look()\n",
            "            self._look()\n",
        ),
        ("protocols: bytes parsed at once", "CRUMB = 256", "CRUMB = 1 << 18"),
        ("protocols: one pong waits", "        if self.writable.is_set():\n", "        if True:\n"),
        (
            "protocols: it reads no further",
            "self._waits = not self._door.reads(self._meter)",
            "self._waits = not (self._door.reads(self._meter) or True)",
        ),
        (
            "protocols: a sender waits",
            "set_write_buffer_limits(high=0)",
            "set_write_buffer_limits(high=1 << 40)",
        ),
        (
            "protocols: bytes of a stranger that are parsed at once",
            "1 if self._door.stranger else CRUMB",
            "CRUMB",
        ),
        (
            "protocols: whole messages nobody takes",
            "self._meter.every = self.close_sent",
            "self._meter.every = False",
        ),
    ),
    *_of(
        "secagg/transport/meter.py",
        "tests/transport/test_meter.py",
        ("meter: pieces", "            self.pieces += 1\n", "            pass\n"),
        ("meter: a message that is not over", "payload + (1 if self._open else 0)", "payload"),
    ),
    *_of(
        "secagg/transport/websocket.py",
        "tests/transport/test_strangers.py tests/transport/test_websocket.py",
        (
            "websocket: a link through the door",
            "            entrance.greeted()\n",
            "            pass\n",
        ),
        (
            "websocket: a link that is let go",
            "                entrance.leaving()\n",
            "                pass\n",
        ),
    ),
    *_of(
        "secagg/transport/door.py",
        "tests/transport/test_strangers.py tests/transport/test_websocket.py",
        (
            "door: the other goodbye",
            "        await keeper.parted(CLOSE_TIMEOUT)\n",
            "",
        ),
        (
            "door: repeats of what strangers send",
            "        return left_out is not None\n",
            "        return True\n",
        ),
        ("door: size at the server", "ws_max_size=max_size,", "ws_max_size=1 << 30,"),
        (
            "door: who does not read when all ends",
            "call_later(CLOSE_TIMEOUT, _abort_connections, server)",
            "call_later(1e6, _abort_connections, server)",
        ),
        ("door: seconds between pings", "ws_ping_interval=ping,", "ws_ping_interval=None,"),
        ("door: seconds for an answer", "ws_ping_timeout=pong,", "ws_ping_timeout=None,"),
        (
            "door: no compression",
            "ws_per_message_deflate=False",
            "ws_per_message_deflate=True",
        ),
    ),
    *_of(
        "secagg/transport/door.py",
        "tests/transport/test_door.py",
        ("door: a request has its seconds", "        entrance.asked()\n", "        pass\n"),
        (
            "door: and the next one those of a header",
            "            entrance.answered()\n",
            "            pass\n",
        ),
        (
            "door: a request of two lengths",
            'if scope["type"] == "http" and lengths <=',
            "if False and lengths <=",
        ),
        ("door: plain text", "if not (tls or insecure):", "if False:"),
        ("door: a word about plain text", "if not (tls or address.is_loopback):", "if False:"),
    ),
    *_of(
        "secagg/transport/tls.py",
        "tests/transport/test_tls_files.py tests/transport/test_door.py",
        (
            "tls: the version",
            "context.minimum_version = ssl.TLSVersion.TLSv1_3",
            "context.minimum_version = ssl.TLSVersion.TLSv1_2",
        ),
        ("tls: no tickets", "    context.num_tickets = 0\n", ""),
        ("tls: clients are asked", "    context.verify_mode = ssl.CERT_REQUIRED\n", ""),
        ("tls: a key that others read", "if private and open_to_others(status):", "if False:"),
        ("tls: a key of another", "    if not fits:\n", "    if False:\n"),
        ("tls: bytes of a file", "if len(data) > _LARGEST:", "if False:"),
        ("tls: an expired certificate", "    if today > ends:\n", "    if False:\n"),
        ("tls: one of tomorrow", "    if today < begins:\n", "    if False:\n"),
    ),
    *_of(
        "secagg/transport/tunnel.py",
        "tests/transport/test_door.py",
        (
            "tunnel: bytes encrypted at once",
            "            self._tls.write(whole[at : at + SENT])\n            pieces",
            "            if not at:\n                self._tls.write(whole)\n            pieces",
        ),
        (
            "tunnel: it is not read while nobody reads from it",
            "            self._paused = True\n            self._below.pause_reading()\n",
            "            self._paused = True\n",
        ),
        (
            "tunnel: a sender waits",
            "            self._above.pause_writing()\n",
            "            pass\n",
        ),
        (
            "tunnel: it ends on demand",
            "self._entrance.has(lambda why: transport.abort())",
            "pass",
        ),
        (
            "tunnel: the seconds of a header",
            "self._entrance.secured(self._tls.getpeercert(binary_form=True))",
            "pass",
        ),
    ),
    *_of(
        "secagg/cli/serve.py",
        "tests/cli/test_service.py",
        ("serve: descriptors", "if limit is not None and needed > limit:", "if False:"),
        ("serve: descriptors, one fewer", "needed > limit:", "needed >= limit:"),
        ("serve: an interrupted round", "if not math.isnan(self.begun):", "if False:"),
    ),
    *_of(
        "secagg/drive/service.py",
        "tests/drive/test_arrival.py",
        ("service: seconds to say who it is", "most=most, timeout=timeout)", "most=most)"),
        (
            "service: a stranger's limits",
            "            link = Arriving(link, partial(self._greeted.known, peer))\n",
            "            pass\n",
        ),
    ),
    *_of(
        "secagg/drive/service.py",
        "tests/drive/test_aio.py",
        ("service: a result is kept first", "hold=self._holds or keep is not None,", "hold=False,"),
    ),
    *_of(
        "secagg/drive/service.py",
        "tests/cli/test_signed_commands.py",
        (
            "service: what cannot be filed stays",
            "if self._files is not None and self._files(report):",
            "if self._files is not None and [self._files(report)]:",
        ),
    ),
    *_of(
        "secagg/service/transcripts.py",
        "tests/cli/test_signed_commands.py",
        (
            "serve: another file of a transcript's name",
            "            elif not _same(path, data):\n",
            "            elif False:\n",
        ),
    ),
    *_of(
        "secagg/transport/websocket.py",
        "tests/transport/test_websocket.py",
        (
            "websocket: size at the client",
            "            max_size=max_size,\n            max_queue",
            "            max_size=None,\n            max_queue",
        ),
        ("websocket: size under another server", "if len(data) > self._max_size:", "if False:"),
        (
            "websocket: size, one byte fewer",
            "if len(data) > self._max_size:",
            "if len(data) >= self._max_size:",
        ),
        ("websocket: messages read ahead", "max_queue=QUEUE,", "max_queue=None,"),
        ("websocket: seconds to open", "open_timeout=timeout,", "open_timeout=None,"),
        (
            "websocket: seconds to close, client",
            "close_timeout=CLOSE_TIMEOUT,",
            "close_timeout=None,",
        ),
        (
            "websocket: seconds to close, server",
            "async with asyncio.timeout(CLOSE_TIMEOUT):",
            "async with asyncio.timeout(None):",
        ),
        ("websocket: no compression, client", "compression=None,", 'compression="deflate",'),
    ),
)
REPORTS = (
    *_of(
        "protocols/secagg_protocols/reports/helper.py",
        "tests/rounds/test_member_rounds.py",
        (
            "helper: a share that is not kept",
            "self._events.append(Unkept(",
            "self._events.append(Ignored(",
        ),
    ),
    *_of(
        "protocols/secagg_protocols/reports/leader.py",
        "tests/rounds/test_member_rounds.py",
        ("leader: places anew at a deadline", "self._senders.renew()", "pass"),
    ),
    *_of(
        "secagg/rounds/member.py",
        "tests/rounds/test_member_rounds.py",
        ("member: links that hold a place for nothing", "self._let_idle_go()", "pass"),
    ),
    *_of(
        "protocols/secagg_protocols/reports/helper.py",
        "tests/protocols/test_reports_places.py tests/adversary/test_additive_clients.py",
        (
            "helper: reports of a batch",
            "most = MOST * self._context.params.clients",
            "most = 1 << 60",
        ),
        (
            "helper: reports left to a batch that stays open",
            "self._book.surplus(MOST * self._context.params.clients)",
            "self._book.surplus(1 << 60)",
        ),
        (
            "helper: one report of a client",
            "self._reporters.setdefault(sender, id) != id",
            "False",
        ),
    ),
    *_of(
        "protocols/secagg_protocols/reports/deciding.py",
        "tests/adversary/test_additive_servers.py tests/protocols/test_reports_places.py",
        (
            "leader: verdicts on reports to come",
            "if ruling.id in early or len(early) < 2 * MOST * self._context.params.clients:",
            "if True:",
        ),
        ("leader: verdicts, one more", "len(early) < 2 * MOST *", "len(early) <= 2 * MOST *"),
    ),
    *_of(
        "protocols/secagg_protocols/additive/params.py",
        "tests/protocols/test_additive_params.py",
        ("additive: servers", "if not MIN_SERVERS <= self.servers <= MAX_SERVERS:", "if False:"),
        (
            "additive: the fewest servers",
            "if not MIN_SERVERS <= self.servers",
            "if not MIN_SERVERS - 1 <= self.servers",
        ),
        (
            "additive: the most servers",
            "self.servers <= MAX_SERVERS:",
            "self.servers <= MAX_SERVERS + 1:",
        ),
        (
            "additive: the smallest batch",
            "if not MIN_COHORT <= self.min_survivors",
            "if not MIN_COHORT - 1 <= self.min_survivors",
        ),
        (
            "additive: the most clients",
            "self.clients <= MAX_CLIENTS:",
            "self.clients <= MAX_CLIENTS + 1:",
        ),
    ),
)
FILES = (
    *_of(
        "secagg/npy.py",
        "tests/cli/test_npy.py",
        ("npy: its header", "if length > _MAX_HEADER:", "if False:"),
        ("npy: its dimensions", "if len(sizes) > _MAX_DIMENSIONS:", "if False:"),
    ),
    *_of(
        "secagg/cli/files.py",
        "tests/cli/test_files.py tests/cli/test_commands.py tests/cli/test_junk.py",
        (
            "files: the size that is read",
            "if max(size_of(source), len(data)) > limit:",
            "if False:",
        ),
        (
            "files: one byte fewer",
            "if max(size_of(source), len(data)) > limit:",
            "if max(size_of(source), len(data)) >= limit:",
        ),
    ),
    *_of(
        "secagg/cli/inspect.py",
        "tests/cli/test_commands.py",
        ("inspect: JSON", "if len(data) > _MAX_JSON:", "if False:"),
    ),
)

NOISE = _of(
    "secagg/sampler.py",
    "tests/test_sampler.py",
    (
        "noise: all that a floor takes is given to 0",
        "found[0] = (1 << 127) - sum(found[1:])",
        "pass",
    ),
    ("noise: the width of a convolution", "16 * (1 + tried**2)", "4 * (1 + tried**2)"),
    (
        "noise: the largest factor",
        "variance >= 16 * (1 + tried**2)",
        "variance >= 20 * (1 + tried**2)",
    ),
    ("noise: digits have blocks of their own", "2 * (j * MAX_DRAWS + start)", "2 * start"),
    ("noise: how far Skellam begins beyond", "76 + math.isqrt(224", "9 + math.isqrt(140"),
    ("noise: bits that guard Skellam", "_START = 1 << 192", "_START = 1"),
    ("noise: bits that guard the Gaussian", "_GUARDED = 256", "_GUARDED = 132"),
    ("noise: the squarings of an exponential", "halvings = 8 +", "halvings = 0 *"),
    ("noise: whoever has given enough waits to be filled", "queue.append(c)", "pass"),
    ("noise: 0 is one value", "total = 2 * sum(terms) - terms[0]", "total = 2 * sum(terms)"),
    (
        "noise: the draws of a key end",
        "start + out.size > MAX_DRAWS",
        "start + out.size > 4 * MAX_DRAWS",
    ),
    ("noise: Skellam ends", "if noise.exact > TABLE_VARIANCE:", "if False:"),
    ("noise: a lane is its ring's", "if out.dtype != ring.dtype:", "if False:"),
    ("noise: a key of each field", "labels.NOISE, number", "labels.NOISE, 0"),
) + _of(
    "secagg/kernels/noise.py",
    "tests/kernels/test_noise_kernel.py",
    ("noise: ties", " & np.uint64(low | column < bound)", ""),
    ("noise: what is not compared", "low | column < bound", "low < bound"),
    ("noise: the upper word", "(np.uint64(high < upper) | tied)", "tied"),
    ("noise: signs", "x = (x ^ negative) - negative", "x = x ^ negative"),
    ("noise: an alias is not the column", "alias ^ (alias ^ c) & inside", "c & inside"),
    ("noise: the ring", "x * factor & mask", "x * factor"),
)

_DP = "tests/dp"
ACCOUNTING = (
    *_of(
        "secagg/dp/mechanisms.py",
        _DP,
        ("accounting: what shares are unlike", "unlikeness(block) / 2 + _uneven", "_uneven"),
        ("accounting: of every coordinate", "block.length * each", "each"),
        ("accounting: both sides", "return 2 * eta / (1 - eta)", "return eta / (1 - eta)"),
        ("accounting: one share is its own sum", "(block.shares - 1)", "block.shares"),
        ("accounting: Skellam's steeper bound", "6 * absolute - squared", "6 * absolute"),
        ("accounting: Skellam's flatter bound", "3 * absolute / (2", "3 * absolute / (3"),
        ("accounting: the second of three", "2 * absolute / whole.sqrt()", "absolute / whole"),
        ("accounting: narrow shares", "self.noise.variance < NARROWEST:", "self.length < 0:"),
    ),
    *_of(
        "secagg/dp/release.py",
        _DP,
        ("accounting: a shift to either side", "epsilon - 2 * kappa", "epsilon - kappa"),
        ("accounting: the factor of delta", "<= delta * (-kappa).exp():", "<= delta:"),
        ("accounting: Skellam is not reduced", "all(block.gaussian for", "any(block.gaussian for"),
        ("accounting: the least epsilon", "not MIN_EPSILON <= self", "not 0 <= self"),
        ("accounting: the largest delta", "MIN_DELTA <= number < 1", "MIN_DELTA <= number <= 1"),
        ("accounting: the smallest delta", "MIN_DELTA <= number < 1", "0 <= number < 1"),
        ("accounting: rounds", '"rounds", rounds, 1, MAX_ROUNDS', '"rounds", rounds, 0, 1 << 32'),
        ("accounting: too little is refused", "if not accepts(blocks, claim):", "if False:"),
    ),
    *_of(
        "secagg/dp/rdp.py",
        _DP,
        ("accounting: the lower of two lines", "crossings[-1][0] <= order", "crossings[-1][0] < 0"),
        ("accounting: the price of an order", "below - own - own / less", "-own / less"),
        ("accounting: orders", "range(3, 38)", "range(3, 9)"),
    ),
    *_of(
        "secagg/dp/calibration.py",
        _DP,
        ("accounting: variances are rounded up", "-(-over // under)", "over // under"),
        ("accounting: the least variance", "max(MIN_VARIANCE, _round", "max(1.0, _round"),
        ("accounting: the least scale", "(middle + 1, high)", "(middle + (1 << 12), high)"),
        ("accounting: parts", "squared * whole / shape.part", "squared * whole"),
        ("accounting: the largest variance", "if not wanted.keeps(high):", "if False:"),
        ("accounting: kinds of vectors", "variance >= NARROWEST", "variance > NARROWEST"),
        ("accounting: kinds of counts", "variance > WIDEST_SKELLAM", "variance >= WIDEST_SKELLAM"),
    ),
    *_of(
        "secagg/dp/headroom.py",
        _DP,
        ("accounting: Skellam's heavier tail", "chance / 3", "chance / 30"),
        ("accounting: what rounding adds", "kind, length) + units", "kind, length)"),
        ("accounting: how wide a rotation is", "length.bit_length() - 1", "length.bit_length()"),
        ("accounting: every element", "(WRAP + 1) * length", "(WRAP + 1)"),
        ("accounting: units that are aligned", "return min(rotated, aligned)", "return rotated"),
    ),
    *_of(
        "secagg/dp/exact.py",
        _DP,
        ("accounting: terms of the tail", "32 + int((150", "4 + int((100"),
        ("accounting: the caller's digits", "with localcontext(CONTEXT):", "with localcontext():"),
    ),
)

_BITS = "tests/dp/test_responses.py"
RESPONSES = (
    *_of(
        "secagg/sampler.py",
        _BITS,
        ("responses: the probability", "exact * (1 << 128)", "exact * (1 << 127)"),
    ),
    *_of(
        "secagg/noise.py",
        _BITS,
        ("responses: at most a fair coin", "MIN_FLIP <= flip < 0.5", "MIN_FLIP <= flip < 0.6"),
        ("responses: what 128 bits decide", "not MIN_FLIP <= flip", "not 0 < flip"),
    ),
    *_of(
        "secagg/dp/release.py",
        _BITS,
        ("responses: rounds add up", "if rounds * told <= epsilon", "if told <= epsilon"),
    ),
    *_of(
        "secagg/dp/mechanisms.py",
        _BITS,
        ("responses: divergences", "Line(told * told / 2", "Line(told * told / 4"),
        ("responses: one bit", "(self.length, self.shares) != (1, 1)", "self.length < 1"),
    ),
    *_of(
        "secagg/dp/filters.py",
        _BITS,
        (
            "responses: the room for them",
            "total.size <= Decimal(claim.epsilon)",
            "total.size <= 2 * Decimal(claim.epsilon)",
        ),
    ),
    *_of(
        "secagg/dp/responses.py",
        _BITS,
        ("responses: rounded up", "if Decimal(flip) >= exact", "if Decimal(flip) >= 0"),
        ("responses: fields without room", "if flip >= 0.5:", "if flip > 0.6:"),
        ("responses: every number of ones", "{*range(0, counted, max(1, spare)), counted}", "{0}"),
        ("responses: the protected one is no other", "honest - 1, MOST", "honest, MOST"),
        ("responses: delta is shared", "(1 - _CARE) / number", "(1 - _CARE)"),
        (
            "responses: the least of a group",
            "least.setdefault(group[flip], flip)",
            "least[group[flip]] = flip",
        ),
        (
            "responses: numbers tried together",
            "min(_EVERY, _TRIED // len(kinds))",
            "_EVERY",
        ),
        (
            "responses: ones are told as ones",
            "_binomial(ones, flip)[::-1]",
            "_binomial(ones, flip)",
        ),
        (
            "responses: no difference",
            "np.cumsum(side[:0:-1])[::-1]",
            "side.sum() - np.cumsum(side)[:-1]",
        ),
    ),
    *_of(
        "secagg/kinds.py",
        "tests/plans/test_answers.py",
        ("responses: of bits", "(field.length, field.max) != (1, 1):", "field.length < 1:"),
        (
            "responses: of all fields",
            "if not all(isinstance(noise, Response) for",
            "if not any(isinstance(noise, Response) for",
        ),
    ),
    *_of(
        "secagg/privacy.py",
        "tests/plans/test_answers.py",
        ("responses: local trust", 'if trust != "local":', "if not trust:"),
        ("responses: of clients", 'if unit != "client":', "if not unit:"),
    ),
    *_of(
        "secagg/noisy.py",
        "tests/plans/test_answers.py",
        ("responses: a bit is 0 or 1", "if part[0] > 1:", "if False:"),
        ("responses: debiased", "(levels - contributors * flip)", "(levels - flip)"),
    ),
    *_of(
        "secagg/plans/label.py",
        "tests/plans/test_answers.py",
        ("responses: corrupt ones", "threat.corrupted if counted", "0 if counted"),
        ("responses: few of them", "_WHOLE = 0.75", "_WHOLE = 0.25"),
    ),
)

_JOINT = "tests/plans/test_joint.py"
JOINT = (
    *_of(
        "secagg/noisy.py",
        _JOINT,
        ("joint: units of a norm", "reals /= field.norm", "reals /= 1"),
        ("joint: what no float64 holds", "if not np.isfinite(reals).all():", "if False:"),
        ("joint: back in its own units", "[part * field.norm for", "[part * 1 for"),
    ),
    *_of(
        "secagg/fields.py",
        _JOINT,
        ("joint: one rounding", "if len(bits) > 1:", "if len(bits) > 9:"),
        (
            "joint: a norm of 1",
            "for field in fields), 1.0, bits",
            "for field in fields), 2.0, bits",
        ),
    ),
    *_of(
        "secagg/schema.py",
        _JOINT,
        ("joint: the head-room of all", "whole = self.whole(field)\n", "whole = field\n"),
        ("joint: the error of all", "self.whole(field).max_error", "field.max_error"),
        ("joint: one noise", "len(vectors) + 1", "len(vectors) + 2"),
    ),
    *_of(
        "secagg/plans/privacy.py",
        _JOINT,
        ("joint: of several", "if len(vectors) < 2:", "if False:"),
        (
            "joint: the part of all",
            "sum((each[name] for name in group)",
            "sum((each[name] for name in group[:1])",
        ),
        (
            "joint: one block",
            "joined(vectors) if len(members) > 1",
            "vectors[0] if len(members) > 1",
        ),
    ),
)

_ADAPTIVE = "tests/plans/test_adaptive.py"
ADAPTIVE = (
    *_of(
        "secagg/adaptive.py",
        _ADAPTIVE,
        ("adaptive: rounds of the promise", "if self.done == self._terms.rounds:", "if False:"),
        ("adaptive: towards the quantile", "self.quantile - self.fraction", "self.fraction"),
        ("adaptive: a fraction is none below 0", "max(0.0, (1 + said) / 2)", "(1 + said) / 2"),
        ("adaptive: nor above 1", "return min(1.0, max(", "return min(2.0, max("),
        ("adaptive: of clients", 'if self._terms.unit != "client":', "if False:"),
        ("adaptive: a field of its own", "get(NAME) != self.BIT:", "get(NAME) is None:"),
        ("adaptive: of one vector", "if len(self._vectors) != 1 and", "if False and"),
        ("adaptive: a rate", "if not 0 < self.rate <= 4:", "if not 0 < self.rate:"),
        ("adaptive: a quantile", "if not 0 < self.quantile < 1:", "if self.quantile < 0:"),
        ("adaptive: the largest norm", "norm=min(MAX_NORM, max(", "norm=min(1e308, max("),
        ("adaptive: the smallest norm", "max(MIN_NORM, field", "max(1e-308, field"),
        ("adaptive: said once", "if NAME in values:", "if False:"),
    ),
    *_of(
        "secagg/cut.py",
        _ADAPTIVE,
        ("adaptive: joint vectors", "reals / field.norm if schema", "reals if schema"),
    ),
)

PRIVACY = (
    *_of(
        "secagg/kernels/rotate.py",
        "tests/kernels/test_rotate_kernels.py",
        ("privacy: what no int64 holds", "if not abs(below) <= _TWO_32:", "if False:"),
        ("privacy: squares that would wrap", "if abs(rounded) > root:", "if False:"),
        ("privacy: the exact norm", "if total > limit:", "if False:"),
        ("privacy: a norm at its limit", "if total > limit:", "if total >= limit:"),
        ("privacy: what was spent before", "total = np.int64(spent)", "total = np.int64(0)"),
        ("privacy: sums of 1024", "_FAN = 1024", "_FAN = 512"),
    ),
    *_of(
        "secagg/rotate.py",
        "tests/test_rotate.py",
        ("privacy: signs of their own", "SECOND = 1 << 27", "SECOND = 0"),
        ("privacy: signs below a byte", "if first >= 8:", "if True:"),
        (
            "privacy: all of the last",
            "values[values.size - wide :]\n        multiply",
            "values[wide:]\n        multiply",
        ),
    ),
    *_of(
        "secagg/bounded.py",
        "tests/test_bounded.py",
        ("privacy: tries", "TRIES = 100", "TRIES = 10**4"),
        ("privacy: a hundred tries", "for _ in range(TRIES):", "for _ in range(1):"),
        ("privacy: in the end towards zero", "np.trunc(reals)", "np.floor(reals)"),
        ("privacy: not a number", "if not finite.all():", "if False:"),
        ("privacy: clipped to the norm", "field.levels / norm)", "field.levels / field.norm)"),
        (
            "privacy: squares that no float holds",
            "math.ldexp(1.0, -exponent))), exponent",
            "1.0)), 0",
        ),
        (
            "privacy: a try has a key of its own",
            "randomness(KEY_SIZE), limit",
            "bytes(KEY_SIZE), limit",
        ),
        ("privacy: what chunks add up to", "part, spent, root", "part, 0, root"),
        (
            "privacy: a chunk's own stream",
            "add_stream(part, key, 1, start)",
            "add_stream(part, key, 1, 0)",
        ),
    ),
    *_of(
        "secagg/fields.py",
        "tests/test_bounded.py tests/plans/test_privacy.py",
        ("privacy: the largest norm", "(length + math.isqrt(4 * length)) // 4", "length"),
        ("privacy: the length of a vector", "length, 1, MAX_VECTOR)", "length, 1, 1 << 31)"),
        (
            "privacy: norms whose squares are floats",
            "if not MIN_NORM <= self.norm <= MAX_NORM:",
            "if False:",
        ),
        (
            "privacy: bits of a vector",
            "MAX_VECTOR_BITS = (1 << 30) - 1, 30",
            "MAX_VECTOR_BITS = (1 << 30) - 1, 32",
        ),
        ("privacy: the least sensitivity", "least, most = 1,", "least, most = 0,"),
        (
            "privacy: a sensitivity beyond inputs",
            "> most * (1 + Fraction(1, 1 << 50))",
            "> most * (1 << 50)",
        ),
    ),
    *_of(
        "secagg/noisy.py",
        "tests/test_noisy.py",
        ("privacy: a unit beyond its sensitivity", "if squared > limit]", "if False]"),
        ("privacy: squares that int64 holds", "EXACT = 1 << 20", "EXACT = 1 << 40"),
    ),
    *_of(
        "secagg/kinds.py",
        "tests/plans/test_privacy.py",
        (
            "privacy: no weights",
            '    if max_weight > 1:\n        raise ParameterError(\n            "a plan with',
            '    if False:\n        raise ParameterError(\n            "a plan with',
        ),
        (
            "privacy: fields that bound no norm",
            "if isinstance(field, FixedPoint):\n            raise",
            "if False:\n            raise",
        ),
        (
            "privacy: a sensitivity",
            "isinstance(field, Integer) and field.sensitivity is None:",
            "False:",
        ),
        ("privacy: noise for all", "if len(privacy.noises) != len(groups):", "if False:"),
        ("privacy: elements of a key of noise", "if field.length > MAX_VECTOR:", "if False:"),
        ("privacy: the kind of noise", "if noise.kind is not right:", "if False:"),
        (
            "privacy: vectors without privacy",
            "if isinstance(field, Vector):\n            raise",
            "if False:\n            raise",
        ),
        (
            "privacy: a sensitivity without it",
            "isinstance(field, Integer) and field.sensitivity is not None:",
            "False:",
        ),
    ),
    *_of(
        "secagg/schema.py",
        "tests/plans/test_privacy.py",
        (
            "privacy: a count of what is clipped",
            "            if privacy is not None:\n                raise",
            "            if False:\n                raise",
        ),
    ),
    *_of(
        "secagg/plans/privacy.py",
        "tests/plans/test_privacy.py",
        ("privacy: semi-honest", 'if threat.adversary == "active":', "if False:"),
        ("privacy: honest shares", "if terms.honest > most:", "if False:"),
        ("privacy: honest shares, one more", "terms.honest > most", "terms.honest > most + 1"),
        (
            "privacy: those who are corrupt",
            "params.min_survivors - threat.corrupted",
            "params.min_survivors",
        ),
        ("privacy: a server that sees inputs", "if not info.threat_models:", "if False:"),
        ("privacy: somebody honest", "    if honest < 1:", "    if False:"),
        (
            "privacy: central is of one server",
            'if terms.trust == "central":\n        _refuse',
            "if False:\n        _refuse",
        ),
        (
            "privacy: what is claimed",
            "require(blocks(schema, terms.honest),",
            "_ = (blocks(schema, terms.honest),",
        ),
    ),
    *_of(
        "secagg/privacy.py",
        "tests/plans/test_privacy.py",
        ("privacy: delta", "if not 0 < delta < 1:", "if False:"),
        ("privacy: epsilon", "if not epsilon > 0:", "if False:"),
        ("privacy: rounds", '"rounds", rounds, 1, MAX_ROUNDS', '"rounds", rounds, 0, 1 << 32'),
        ("privacy: honest is somebody", '"honest", self.honest, 1,', '"honest", self.honest, 0,'),
        (
            "privacy: one unit of a client",
            'if self.unit == "client" and self.examples != 1:',
            "if False:",
        ),
        ("privacy: a part of nothing", "if not all(parts.values()):", "if False:"),
    ),
    *_of(
        "secagg/wire/schema.py",
        "tests/plans/test_privacy.py",
        (
            "privacy: codes of trust and unit",
            "if not (1 <= trust <= len(TRUSTS) and 1 <= unit <= len(UNITS)):",
            "if False:",
        ),
        ("privacy: code 0", "1 <= trust <= len", "0 <= trust <= len"),
        ("privacy: kinds of noise", "if kind not in list(Kind):", "if False:"),
    ),
    *_of(
        "secagg/records.py",
        "tests/test_noisy.py",
        ("privacy: examples of a client", "if len(array) > most:", "if False:"),
        (
            "privacy: the same examples in all fields",
            "if len({number for number, _ in rows.values()}) > 1:",
            "if False:",
        ),
        (
            "privacy: a row for each",
            "array.ndim == 0 or array.size != len(array) * field.length",
            "array.ndim == 0",
        ),
        ("privacy: a share of noise", "    if schema.shared_noise:\n", "    if False:\n"),
    ),
    *_of(
        "secagg/analytics/promise.py",
        "tests/analytics/test_noisy_tables.py",
        ("statistics: all rows of a client", 'rows if privacy.unit == "client" else 1', "1"),
        ("statistics: a promise", "label.epsilon_release) > privacy.epsilon", "0) > 9e9"),
    ),
    *_of(
        "secagg/analytics/measures.py",
        "tests/analytics/test_noisy_tables.py",
        ("statistics: all that a row adds", "(1 if self.alone else self.width)", "1"),
    ),
)

_CLAIMED = "tests/store/test_ledger.py"
LEDGER = _of(
    "secagg/store/tables.py",
    _CLAIMED,
    (
        "ledger: rows that are missing",
        "raise sqlite3.DatabaseError(_MISSING)\n    return d",
        "pass\n    return d",
    ),
    ("ledger: buckets of one call", "or heads[0][1] != _sum_of_buckets(database)", ""),
    ("ledger: a bucket that is missing", "!= list(range(BUCKETS)):", "is None:"),
    ("ledger: a row of another bucket", "if bucket != bucket_of(name):", "if False:"),
    ("ledger: all of one that was moved", "    if moved:\n", "    if False:\n"),
)

_SPENT = "tests/budget/test_budget_accounts.py"
_KEPT = "tests/budget/test_budget_file.py"
_SUMS = "tests/budget/test_budget_sums.py"
_CHARGED = "tests/budget/test_budget_rounds.py tests/budget/test_budget_reports.py"
BUDGET = (
    *_of(
        "secagg/dp/filters.py",
        "tests/dp/test_filters.py",
        ("budget: log-ratios add up", "left < 0 or total.kappa > slack", "left < 0"),
        ("budget: a shift to either side", "Decimal(claim.epsilon) - 2 * slack", "Decimal(3)"),
        ("budget: Gaussian noise alone", "if any(not block.gaussian", "if any(False"),
        (
            "budget: slack of its own",
            "yield Way(0, smoothing, _rounded_up",
            "yield Way(2, 0, float",
        ),
        ("budget: room for all rounds", "range(1, rounds + 1), True", "range(1, 2), True"),
    ),
    *_of(
        "secagg/plans/disclosure.py",
        _SPENT,
        ("budget: all examples of a client", "terms.examples**2 if", "terms.examples if"),
        ("budget: one example exchanged", "_EXCHANGED = 2", "_EXCHANGED = 1"),
        ("budget: a plan without noise", "if terms is None:", "if False:"),
        ("budget: a server that adds noise", 'self.against == "server":', "False:"),
        ("budget: a cost that has a number", "if any(factor *", "if any(0 *"),
        ("budget: one party's noise", 'self.trust != "distributed" or', "False or"),
        ("budget: no fewer than the worst", "or honest <= self.honest", "or honest < 0"),
    ),
    *_of(
        "secagg/budget/accounts.py",
        _SPENT,
        ("budget: what fits", "if not fits(", "if False and not fits("),
        ("budget: with what is spent", "total.plus(one)):", "one):"),
        ("budget: chosen before anything", "Chosen(way) if not self._standing", "Chosen(way)"),
        ("budget: left is not given back", "if state is State.CHARGED else []", "if state else []"),
        ("budget: settled after it has left", "if state is not State.LEFT:", "if state is None:"),
        ("budget: charged before it leaves", "if state is not State.CHARGED:", "if False:"),
        ("budget: charged once", "if state is None else []", "if True else []"),
        ("budget: in one sum once", "if session in self._sessions:", "if False:"),
    ),
    *_of(
        "secagg/budget/file.py",
        _KEPT,
        ("budget: a row that follows", "if stored != row.hash or", "if"),
        ("budget: a row that is missing", "if number != expected:", "if False:"),
        ("budget: a row that was exchanged", "next(rows, None) != (", "next(rows, None) == ("),
        ("budget: open to others", "files.demand_private(path)", "pass"),
        ("budget: a log without its file", "if log_of(path).exists():", "if False:"),
    ),
    *_of(
        "secagg/budget/book.py",
        _KEPT,
        ("budget: older than its anchor", "claimed(self._name(end)) is not", "claimed(b'') is not"),
        ("budget: other rows than its anchor's", "ledger.claim_all(claims)", "pass"),
        ("budget: its numbers are for good", "if wanted != claim or", "if"),
        ("budget: before a fork", "if self._process != os.getpid():", "if False:"),
        ("budget: after a failure", "if self._ended is not None:", "if False:"),
    ),
    *_of(
        "secagg/budget/accounts.py",
        "tests/budget/test_budget_told.py",
        ("budget: records by one filter", "if weigh(way, disclosure.blocks) is None:", "if False:"),
    ),
    *_of(
        "secagg/budget/book.py",
        "tests/budget/test_budget_told.py",
        ("budget: records less the corrupt", "(inputs - plan.threat", "(inputs - 0 * plan.threat"),
    ),
    *_of(
        "secagg/budget/accounts.py",
        _SUMS,
        ("budget: sums of what came before", "case Summed() if entry == s", "case Summed() if s"),
        ("budget: a session twice in sums", "if len(found._sessions) < len(", "if 0 > len("),
        ("budget: sums when they are due", "if self._since >= max(", "if 0 >= max("),
    ),
    *_of(
        "secagg/budget/book.py",
        _SUMS,
        ("budget: the first row beside sums", "if opening and taken(", "if False and taken("),
    ),
    *_of(
        "secagg/budget/file.py",
        _SUMS,
        ("budget: the hash before sums", "return number, before[0]", "return number, ORIGIN"),
        ("budget: a head that is missing", ".rowcount != 1:", ".rowcount == 7:"),
    ),
    *_of(
        "secagg/rounds/paid.py",
        _CHARGED,
        (
            "budget: every message needs it",
            "[self._charge] if self._key",
            "[] if self._key",
        ),
        ("budget: the word that it leaves", "self._tell(Step.LEAVE)", "pass"),
        ("budget: what has left", "if not left:", "if True:"),
        ("budget: less the corrupt", "self._opened - self._corrupt", "self._opened"),
        ("budget: an answer of its own", "if self._opened and honest > 0", "if True"),
        ("budget: an answer of another", "self._opened = 0\n\n    def r", "pass\n\n    def r"),
        ("budget: a life of its own", "party, life)\n", "party, b'')\n"),
    ),
    *_of(
        "secagg/drive/outbound.py",
        _CHARGED,
        (
            "budget: claims of what stays",
            "if any(claim.key in needs for needs in held)",
            "if False",
        ),
        ("budget: rounds without a budget", "if budget is None:", "if False:"),
        ("budget: refused once", "if charge.key in refused:", "if False:"),
    ),
)

ROSTER = _of(
    "secagg/roster.py",
    "tests/test_roster.py tests/test_session.py",
    ("roster: places", "if not 1 <= self.size <= MAX_MEMBERS:", "if False:"),
    (
        "roster: places on the wire",
        'count(MAX_MEMBERS, "places")',
        'count((1 << 32) - 1, "places")',
    ),
    ("roster: the server's key", '_check_key("the server", self.server)', "pass"),
    ("roster: members' keys", "_check_key(whose, octets(", "octets(whose, octets("),
    ("roster: the server is no member", 'seen = {self.server: "the server"}', "seen = {}"),
    ("roster: a key that occurs twice", ")) != whose:", ")) is None:"),
    ("roster: the administrator is no server", "if self.admin == self.roster.server or", "if"),
    ("roster: the administrator is no member", "or self.admin in self.roster.keys:", "or False:"),
    ("roster: the administrator's key", '_check_key("the administrator", self.admin)', "pass"),
    (
        "roster: the signature",
        "_verify(self.admin, self.roster.digest, self.roster.epoch, self.signature)",
        "pass",
    ),
    (
        "roster: the signature before the keys",
        "_verify(admin, labels.digest(labels.ROSTER, _encoded(*fields)), epoch, signature)",
        "pass",
    ),
    (
        "roster: the administrator before the signature",
        "self.check_admin(bytes(data",
        "bytes(bytes(data",
    ),
    ("roster: the pinned administrator", "self.check_admin(signed.admin)", "pass"),
    ("roster: epochs below the pin", "if roster.epoch < self.epoch:", "if False:"),
    ("roster: one epoch more", "if roster.epoch < self.epoch:", "if roster.epoch <= self.epoch:"),
    ("roster: its end", "if not now <= roster.not_after:", "if False:"),
    (
        "roster: a clock that says nothing",
        "if not now <= roster.not_after",
        "if now > roster.not_after",
    ),
    (
        "roster: who asks has the key",
        "sign.verify(self.key, _enrol",
        "str.format(str(), self.key, _enrol",
    ),
    ("roster: names", "if not _NAME.fullmatch(name):", "if False:"),
    ("roster: names end", "_NAME.fullmatch(name)", "_NAME.match(name)"),
    (
        "roster: a version",
        'if (version := reader.u8("version")) != VERSION:',
        'if (version := reader.u8("version")) < 0:',
    ),
    ("roster: the plan's size", "if self.size != places:", "if False:"),
    ("roster: members for a round", "if len(self.members) < least:", "if False:"),
    (
        "roster: who is excluded",
        "        if key is None:\n            raise",
        "        if False:\n            raise",
    ),
    ("roster: who is in it", "if not 0 <= party < self.size:", "if False:"),
)
SESSION = _of(
    "secagg/protocol.py",
    "tests/test_session.py",
    (
        "session: a suite and its roster",
        "if self.suite.signed != (self.roster is not None):",
        "if False:",
    ),
    (
        "session: guests are members",
        "if self.roster is None or not self.invited <= self.roster.members:",
        "if False:",
    ),
    ("session: guests of a round", "if not least <= len(self.invited) <= most:", "if False:"),
    (
        "session: a key where nobody signs",
        "            if signing is not None:",
        "            if False:",
    ),
    ("session: no key", "        if signing is None:", "        if False:"),
    ("session: another's key", "if sign.public_key(signing) != expected:", "if False:"),
    ("session: the nonce is bound", "*([self.nonce] if self.suite.signed else [])", ""),
)

IDENTITY = _of(
    "secagg/store/identity.py",
    "tests/store/test_identity.py",
    ("identity: one at a time", "files.lock(descriptor)", "pass"),
    (
        "identity: not in a fork",
        "if self._process != os.getpid():\n            raise",
        "if False:\n            raise",
    ),
    ("identity: not once it is closed", "if self._descriptor < 0:", "if False:"),
    (
        "identity: takes part once at a time",
        "if not self._turn.acquire(blocking=False):",
        "if self._turn.acquire(blocking=False) is None:",
    ),
    ("identity: nobody else reads it", "if files.open_to_others(status):", "if False:"),
    ("identity: a regular file", "if not stat.S_ISREG(status.st_mode):", "if False:"),
    (
        "identity: given back where it is none",
        "            os.close(descriptor)\n            raise",
        "            raise",
    ),
    ("identity: digits that follow", "os.read(descriptor, SIZE + 1)", "os.read(descriptor, SIZE)"),
)
TASK = _of(
    "secagg/plans/task.py",
    "tests/plans/test_task.py",
    ("task: its suite is its plan's", "if plan.suite != suite:", "if False:"),
    ("task: a roster of those who sign", "if not self.plan.suite.signed:", "if False:"),
    ("task: a roster of the plan's size", "roster.check_size(", "str.format(str(), "),
    ("task: no earlier epoch", "if roster.epoch < own.epoch:", "if False:"),
    ("task: its epoch is pinned", "return Pin(admin, roster.epoch)", "return Pin(admin)"),
)
POLICY = _of(
    "secagg/policy.py",
    "tests/test_policy.py",
    ("policy: suites", "if plan.suite.number not in self.suites:", "if False:"),
    ("policy: signed plans of its own", "(SUITE_2.number,)", "(1, SUITE_2.number)"),
    ("policy: roster", '_at_least("roster"', 'str.format("roster"'),
    ("policy: clients", '_at_least("clients"', 'str.format("clients"'),
    ("policy: corrupt", '_at_least("corrupt"', 'str.format("corrupt"'),
    ("policy: threshold", '_at_least("threshold"', 'str.format("threshold"'),
    ("policy: group", '_at_least("group"', 'str.format("group"'),
    ("policy: holders", "holders = plan.params.degree + 1", "holders = plan.params.degree"),
    ("policy: at least", "if found < floor:", "if found <= floor:"),
    ("policy: ring bits", "if plan.ring_bits > self.ring_bits:", "if False:"),
    ("policy: keys that it has not", "if name not in known:", "if False:"),
    ("policy: the pin", "roster = pin.verify(signed, now)", "roster = signed.roster"),
    ("policy: epochs below the newest", "if roster.epoch < epoch:", "if False:"),
    ("policy: the newest again", "if roster.epoch < epoch:", "if roster.epoch <= epoch:"),
    (
        "policy: two rosters of an epoch",
        "if roster.epoch == epoch and roster.digest != digest:",
        "if False:",
    ),
    ("policy: what is known", "if known is not None:", "if False:"),
    (
        "policy: damage",
        "if version != VERSION or len(digest) != DIGEST_SIZE:",
        "if False:",
    ),
    ("policy: of each administrator", "labels.NEWEST, signed.admin", "labels.NEWEST, b''"),
)
EARLIER = _of(
    "secagg/earlier.py",
    "tests/test_earlier.py",
    ("earlier: unknown rounds", "if self.unknown > self.most:", "if False:"),
    ("earlier: unknown rounds that are allowed", "self.unknown > self.most:", "self.unknown:"),
    (
        "earlier: unknown at the end too",
        "        self.check_unknown()\n        now =",
        "        now =",
    ),
    ("earlier: survivors apart", "if 0 < apart < (least :=", "if 0 > apart > (least :="),
    ("earlier: the same survivors", "if 0 < apart < (least :=", "if apart < (least :="),
    ("earlier: the bound itself", "0 < apart < (least :=", "0 < apart <= (least :="),
    ("earlier: the bound of either round", "max(bound, self.least)", "self.least"),
    ("earlier: the bound of this round", "max(bound, self.least)", "bound"),
    ("earlier: those who may be corrupt", "return group + corrupted", "return group"),
    ("earlier: other rounds", "if o.offer != offer and o.stage", "if o.stage"),
    (
        "earlier: what was signed",
        "if one.stage is not Stage.LEFT}",
        "if one.stage is Stage.CONFIRMED}",
    ),
    (
        "earlier: a signature is no sum",
        "sum(one.stage is not Stage.CONFIRMED",
        "sum(one.stage is Stage.LEFT",
    ),
    (
        "earlier: one set of survivors",
        "if taken.stage is not Stage.LEFT and taken.survivors != number:",
        "if False:",
    ),
    (
        "earlier: confirmed is signed",
        "if self._slots[slot].stage is Stage.LEFT:\n            raise",
        "if False:\n            raise",
    ),
    ("earlier: confirmed stays", "if taken.stage is Stage.LEFT:", "if True:"),
    ("earlier: room", "if len(self._slots) < MOST:", "if True:"),
    ("earlier: forgets if it may", "if not self._policy.forget:", "if False:"),
    (
        "earlier: only what is said twice",
        "if one.stage is Stage.CONFIRMED and (one.survivors, one.least) in seen:",
        "if True:",
    ),
    (
        "earlier: what is unknown goes last",
        "return self._slots[slot].stage is not Stage.CONFIRMED, ",
        "return False, ",
    ),
    (
        "earlier: what is known to be there",
        "if known not in (note.before, note.value):",
        "if False:",
    ),
    ("earlier: one encoding", "if version != VERSION or made.encode() != value:", "if False:"),
    (
        "earlier: whose",
        "labels.digest(labels.TAKEN_PART, admin, member)",
        "labels.digest(labels.TAKEN_PART, admin)",
    ),
)
SERVICE = (
    *_of(
        "secagg/rounds/reception.py",
        "tests/rounds/test_reception.py",
        (
            "reception: the whole digest",
            "if theirs.service != self.service.digest:",
            "if False:",
        ),
        (
            "reception: the caller's proof",
            "sign.verify(theirs.key, _statement(labels.SERVICE_LINK_CLIENT",
            "labels.encode(theirs.key, _statement(labels.SERVICE_LINK_CLIENT",
        ),
        (
            "reception: who may not come",
            "if (why := self.judge(theirs.key, theirs.role, theirs.task)) is not None:",
            "if (why := self.judge(theirs.key, theirs.role, theirs.task)) == 1:",
        ),
        (
            "reception: the role that is looked up",
            "self.judge(theirs.key, theirs.role,",
            "self.judge(theirs.key, ServiceRole.CLIENT,",
        ),
        (
            "reception: links are of clients",
            "if (role := _LINKED.get(met.role)) is None:",
            "if (role := _LINKED.get(met.role, Role.CLIENT)) is None:",
        ),
        (
            "reception: the service's own identity",
            "if sign.public_key(self.signing) != self.service.key:",
            "if False:",
        ),
        (
            "reception: the service's proof",
            "sign.verify(service.key, said, answer)",
            "labels.encode(service.key, said, answer)",
        ),
        (
            "reception: what the service signs is no client's",
            "return theirs, _statement(labels.SERVICE_LINK_SERVER",
            "return theirs, _statement(labels.SERVICE_LINK_CLIENT",
        ),
        (
            "reception: signed for a service",
            "said = hello.service, hello.key,",
            "said = hello.key,",
        ),
        (
            "reception: signed for a key",
            "said = hello.service, hello.key,",
            "said = hello.service,",
        ),
        ("reception: signed in a role", "int(hello.role), hello.task", "hello.task"),
        (
            "reception: signed for a task",
            'int(hello.role), hello.task.encode("ascii")',
            "int(hello.role)",
        ),
        (
            "reception: the caller's challenge",
            "*said, hello.challenge, reply)",
            "*said, reply)",
        ),
        (
            "reception: the service's challenge",
            "*said, hello.challenge, reply)",
            "*said, hello.challenge)",
        ),
    ),
    *_of(
        "secagg/wire/hello.py",
        "tests/rounds/test_reception.py",
        ("caller: roles", "if role not in set(ServiceRole):", "if False:"),
        ("caller: names of tasks", "if not _TASK.fullmatch(task):", "if False:"),
        (
            "caller: nothing larger",
            "_body(data, CALLER, nonce, LARGEST_CALLER)",
            "_body(data, CALLER, nonce, 1 << 31)",
        ),
        ("service: the length of its name", "len(self.name) > MAX_HOST or ", ""),
        ("service: weak keys", "        sign.check_public(self.key)\n", ""),
        ("service: names end", "_HOST.fullmatch(self.name)", "_HOST.match(self.name)"),
    ),
    *_of(
        "secagg/invitation.py",
        "tests/test_invitation.py",
        ("code: its sum", "if _sum(body) != own:", "if False:"),
        ("code: one way to write a letter", "if _letters(data) != letters or len", "if len"),
        ("code: TLS, but on this machine", 'if found[1] == "http" and', "if False and"),
        ("code: ports", "int(found[3] or 1) >> 16", "False"),
        (
            "acceptance: of this key",
            "labels.SIGN_ACCEPTANCE, service.digest, self.ticket, self.request.key",
            "labels.SIGN_ACCEPTANCE, service.digest, self.ticket",
        ),
        ("acceptance: by the ticket", "sign.verify(self.ticket,", "labels.encode(self.ticket,"),
        ("renewal: by the old key", "sign.verify(self.old,", "labels.encode(self.old,"),
        (
            "ticket: of this service",
            "labels.TICKET, service.digest, self.expose()",
            "labels.TICKET, self.expose()",
        ),
    ),
    *_of(
        "secagg/rounds/admissions.py",
        "tests/rounds/test_admissions.py",
        ("admissions: as many as it takes", "len(self.entries) >= MOST:", "False:"),
        ("admissions: one more", "len(self.entries) >= MOST:", "len(self.entries) > MOST:"),
        ("admissions: a name is one's", "known.state is not State.INVITED:", "False:"),
        ("admissions: who may invite", "demand(by.role, Action.INVITE)", "pass"),
        ("admissions: who may approve", "demand(by.role, Action.APPROVE)", "pass"),
        ("admissions: who may revoke", "demand(by.role, Action.REVOKE)", "pass"),
        ("admissions: who may appoint", "demand(by.role, Action.APPOINT)", "pass"),
        (
            "admissions: the ticket has signed",
            "said.check(self.service)\n        except InvalidSignature:\n            raise",
            "pass\n        except InvalidSignature:\n            raise",
        ),
        ("admissions: the invited name", "if said.request.name != entry.name:", "if False:"),
        ("admissions: seven days", "if now >= entry.expires:", "if False:"),
        (
            "admissions: seven days to the second",
            "if now >= entry.expires:",
            "if now > entry.expires:",
        ),
        ("admissions: used once", "if said.request.key in entry.keys:", "if True:"),
        ("admissions: who waits", "if entry.state is not State.WAITING:", "if False:"),
        ("admissions: keys are one's", "if request.key in self._keys:", "if False:"),
        ("admissions: not the service's key", "if request.key == self.service.key:", "if False:"),
        ("admissions: renewals", "if len(entry.earlier) >= MAX_RENEWALS:", "if False:"),
        (
            "admissions: renewed by the key in force",
            "if said.old != entry.key or self._amiss",
            "if self._amiss",
        ),
        ("admissions: an earlier key", "if key != entry.key:", "if False:"),
        (
            "admissions: who is not approved",
            "if entry.state is not State.APPROVED:",
            "if entry.state is State.REVOKED:",
        ),
        ("admissions: revoked", "if entry.state is not State.APPROVED:", "if False:"),
        ("admissions: an end", "if entry.expires and now >= entry.expires:", "if False:"),
        (
            "admissions: another role",
            "        if role != entry.role:\n",
            "        if False:\n",
        ),
        (
            "admissions: what the role may not",
            "        if not allowed(entry.role, action):\n",
            "        if False:\n",
        ),
        (
            "admissions: another task",
            "if entry.role.of_tasks and task not in",
            "if False and task not in",
        ),
        ("admissions: tasks of a role", "bool(named) is not role.of_tasks or", "False or"),
        ("admissions: so many tasks", "or len(named) > MAX_TASKS:", "or False:"),
        ("admissions: rows of two", "or keys & entry.keys:", "or False:"),
    ),
    *_of(
        "secagg/rounds/attempts.py",
        "tests/rounds/test_attempts.py",
        ("attempts: of an address", "if len(recent) >= self._most:", "if False:"),
        ("attempts: addresses", "len(self._tried) >= self._addresses:", "False:"),
        ("attempts: their time", "if at > now - self._seconds]", "]"),
    ),
    *_of(
        "secagg/rights.py",
        "tests/test_rights.py",
        ("rights: what is not there", "RIGHTS.get(role, frozenset())", "RIGHTS.get(role, Action)"),
        ("rights: refused", "if not allowed(role, action):", "if False:"),
        (
            "rights: links are of clients",
            "frozenset({_A.RESULTS,",
            "frozenset({_A.LINK, _A.RESULTS,",
        ),
    ),
)
ENROLLED = (
    *_of(
        "secagg/rounds/enrolled.py",
        "tests/rounds/test_greeting_of_members.py tests/rounds/test_signed.py",
        (
            "enrolled: the same roster and epoch",
            "if (theirs.roster, theirs.epoch) != (roster.digest, roster.epoch):",
            "if False:",
        ),
        (
            "enrolled: the member's proof",
            "sign.verify(key, _statement(labels.SIGN_MEMBER_LINK",
            "labels.encode(key, _statement(labels.SIGN_MEMBER_LINK",
        ),
        (
            "enrolled: the server's proof",
            "sign.verify(roster.server, _statement(labels.SIGN_SERVER_LINK",
            "labels.encode(roster.server, _statement(labels.SIGN_SERVER_LINK",
        ),
        (
            "enrolled: the server's own identity",
            "if sign.public_key(self.signing) != self.roster.server:",
            "if False:",
        ),
    ),
    *_of(
        "protocols/secagg_protocols/secagg/active/judging.py",
        "tests/plans/test_active_edges.py",
        (
            "active plans: P2, min_clients is n - D at most",
            "    if params.min_clients > s:\n",
            "    if params.min_clients > s + 1:\n",
        ),
        (
            "active plans: P2, A + 2",
            "    if params.min_survivors < smallest_sum(threat.corrupted):\n",
            "    if params.min_survivors < smallest_sum(threat.corrupted) - 1:\n",
        ),
        (
            "active plans: P2, min_clients as asked for",
            "    if threat.min_clients not in (None, params.min_clients):\n",
            "    if False:\n",
        ),
        (
            "active plans: P4, 2t > n + A",
            '_threshold(params, threat.clients, threat.corrupted, "2t > n + A")',
            '_threshold(params, threat.clients - 1, threat.corrupted, "2t > n + A")',
        ),
        (
            "active plans: P4, min_survivors and liars",
            '        or too_few(threat, params.min_survivors, "min_survivors")\n',
            "",
        ),
        (
            "active plans: P5, min_clients and min_survivors",
            "if params.min_survivors != s or params.min_clients != s:",
            "if params.min_survivors != params.min_clients:",
        ),
        (
            "active plans: P5, neighbours",
            "if params.degree > MAX_DEGREE:",
            "if params.degree > MAX_DEGREE + 2:",
        ),
        (
            "active plans: P5, neighbours, one fewer",
            "if params.degree > MAX_DEGREE:",
            "if params.degree >= MAX_DEGREE:",
        ),
        (
            "active plans: P5, 2t > k + 1 + a",
            '_threshold(params, k + 1, a, "2t > k + 1 + a")',
            '_threshold(params, k - 1, a, "2t > k + 1 + a")',
        ),
        ("active plans: P5, t >= a + 2", "    if t < a + 2:\n", "    if t < a + 1:\n"),
        (
            "active plans: P5, t that everybody's neighbours reach",
            "    if t > most:\n",
            "    if t > most + 1:\n",
        ),
        (
            "active plans: P6, the quorum of all",
            "        if params.quorum != quorum:\n",
            "        if params.quorum < quorum:\n",
        ),
        (
            "active plans: P6, up to 1000 all sign",
            "    if Bounds(threat).everybody_signs():\n",
            "    if False:\n",
        ),
        (
            "active plans: P6, signers",
            "    if params.signers > MAX_SIGNERS:\n",
            "    if params.signers > MAX_SIGNERS + 1:\n",
        ),
        (
            "active plans: P6, signers, one fewer",
            "    if params.signers > MAX_SIGNERS:\n",
            "    if params.signers >= MAX_SIGNERS:\n",
        ),
        (
            "active plans: P6, a committee begins with n - D",
            "    if params.min_clients != s:\n",
            "    if False:\n",
        ),
        (
            "active plans: P6, 2q > m + a'",
            "    if q < majority(m, corrupt):\n",
            "    if q < majority(m, corrupt) - 1:\n",
        ),
        (
            "active plans: P6, q that a committee reaches",
            "    if q > most:\n",
            "    if q > most + 1:\n",
        ),
    ),
    *_of(
        "protocols/secagg_protocols/secagg/active/finding.py",
        "tests/plans/test_active_edges.py",
        ("active plans: MAX_SIGNERS", "MAX_SIGNERS = 1 << 14\n", "MAX_SIGNERS = 1 << 15\n"),
        (
            "active plans: P4, P6, as many as are left",
            "    if needed + threat.liars <= s:\n",
            "    if needed + threat.liars <= s + 1:\n",
        ),
    ),
    *_of(
        "protocols/secagg_protocols/secagg/active/params.py",
        "tests/plans/test_active_edges.py",
        ("active plans: ALL_SIGN", "ALL_SIGN = 1000\n", "ALL_SIGN = 999\n"),
        ("active plans: ALL_SIGN, one more", "ALL_SIGN = 1000\n", "ALL_SIGN = 1001\n"),
    ),
    *_of(
        "secagg/rounds/filing.py",
        "tests/rounds/test_signed_kills.py",
        (
            "filing: rows wait for the file",
            "self._first = {_TOLD, _FILED} if files else {_TOLD}",
            "self._first = {_TOLD}",
        ),
        (
            "filing: the file waits for its round's rows",
            "self._first = {_TOLD, _FILED} if files else {_TOLD}",
            "self._first = {_FILED} if files else {_TOLD}",
        ),
        (
            "filing: what was left",
            "            if written.restore(rows[place]):\n",
            "            if 0:\n",
        ),
        (
            "filing: rows that wait for nobody go",
            "                self._forget(place)\n",
            "                pass\n",
        ),
    ),
    *_of(
        "secagg/rounds/hosting.py",
        "tests/rounds/test_signed.py",
        (
            "hosting: candidates are of the roster",
            "members = [one for one in here if host.place(one.identity) is not None]",
            "members = [*here]",
        ),
        (
            "hosting: a round of too few",
            "if len(places) < plan.params.min_clients:",
            "if False:",
        ),
        (
            "hosting: no roster",
            "    if host is None:\n        raise",
            "    if False:\n        raise",
        ),
        (
            "hosting: the task's administrator",
            "pin.admin != host.signed.admin or ",
            "",
        ),
        ("hosting: the task's epoch", " or pin.epoch > host.roster.epoch", ""),
    ),
    *_of(
        "secagg/rounds/round.py",
        "tests/rounds/test_signed.py tests/rounds/test_signed_kills.py",
        (
            "round: a member that left",
            "if self._signed or self._identity(seat) is None:",
            "if self._identity(seat) is None:",
        ),
        (
            "round: what is written down is committed",
            "self._outbox.write(written_in(nonce), ROUNDS, fresh)",
            "pass",
        ),
    ),
    *_of(
        "secagg/rounds/membership.py",
        "tests/rounds/test_signed.py",
        ("membership: floors", "self.policy.check(offer.plan)", "pass"),
        ("membership: the end of a roster", "if now > self.until:", "if False:"),
        (
            "membership: one's own place",
            "if offer.plan.suite.signed and offer.party != self.place:",
            "if False:",
        ),
    ),
    *_of(
        "secagg/rounds/part.py",
        "tests/rounds/test_signed.py tests/rounds/test_signed_kills.py",
        ("part: a name where clients sign", "        if name is None:\n", "        if False:\n"),
        (
            "part: one attempt",
            "again &= self.why != SPENT and self._member is None",
            "again &= self.why != SPENT",
        ),
        (
            "part: unknown rounds before the input",
            "self._member.earlier(self._offer_digest(), self.offer.plan).check_unknown()",
            "pass",
        ),
        (
            "part: survivors are judged",
            "self._member.earlier(offer, self.offer.plan).judge(survivors)",
            "pass",
        ),
        (
            "part: an input that leaves is noted",
            "if self._member is not None and self._carries_input(out):",
            "if False:",
        ),
        (
            "part: an input that was used elsewhere",
            "if self._member is not None and claim == self._use:",
            "if False:",
        ),
    ),
)
LIMITS = (
    *_of(
        "secagg/service/settings.py",
        "tests/service/test_reloading.py",
        ("limits: links", "links=bounds.links,", "links=10_000,"),
        ("limits: links of an identity", "links_each=bounds.links_each,", "links_each=2,"),
        ("limits: frames", "frames=bounds.frames * _phases(terms),", "frames=64,"),
        ("limits: unsent", "backlog=bounds.unsent,", ""),
        ("limits: strangers", "passing=bounds.strangers,", ""),
        ("limits: tls", "handshake=bounds.tls,", ""),
        ("limits: header", "opening=bounds.header,", ""),
        ("limits: hello", "hello=bounds.hello,", ""),
        ("limits: a stranger's message", "stranger=bounds.stranger_message,", ""),
        ("limits: unfinished", "unfinished=bounds.unfinished,", ""),
        ("limits: fragments", "fragments=bounds.fragments,", ""),
        ("limits: ping", "ping=bounds.ping,", ""),
        ("limits: pong", "pong=bounds.pong,", ""),
    ),
    *_of(
        "secagg/service/gate.py",
        "tests/service/test_limits.py",
        (
            "limits: what is due from a member",
            "Arriving(link, known, partial(self._largest, peer))",
            "Arriving(link, known)",
        ),
    ),
    *_of(
        "secagg/transport/protocols.py",
        "tests/service/test_limits.py",
        ("limits: whoever finds no room may come again", "Refused.FULL: 1013, ", ""),
        ("limits: what is too large is said to be", "Refused.TOO_LARGE: 1009", ""),
        ("limits: all links are taken", "        if self._door.full:\n", "        if False:\n"),
    ),
)
REGISTER = _of(
    "secagg/cli/register.py",
    "tests/cli/test_roster_commands.py",
    ("register: a key again", "if entry.key == request.key:", "if False:"),
    ("register: a name again", "if entry.name == request.name:", "if False:"),
    ("register: the server is no member", "if request.key == self.server:", "if False:"),
    ("register: excluded once", "if self.entries[place].excluded:", "if False:"),
    ("register: the excluded have no key", "None if one.excluded else one.key", "one.key"),
    ("register: one encoding", "if made is None or made.encode() != data:", "if made is None:"),
    (
        "register: the epoch is counted first",
        "    write(folder, register)\n    write_whole(path",
        "    write_whole(path",
    ),
    ("register: epochs go up", "if before.epoch >= after.epoch or", "if"),
    ("register: members stay", "or not kept:", "or False:"),
)

ACTIVE = tuple(
    mutant
    for place, tests, rows in REFUSALS
    for mutant in _of(HERE + place, tests, *((f"active: {name}", *texts) for name, *texts in rows))
)

MUTANTS = (
    *ACTIVE,
    *ROSTER,
    *SESSION,
    *IDENTITY,
    *TASK,
    *TERMS,
    *PACE,
    *POLICY,
    *EARLIER,
    *ENROLLED,
    *SERVICE,
    *LIMITS,
    *REGISTER,
    *QUOTA, *PROOFS, *ROUNDS_LINKS, *ROUNDS, *ROUND, *DOORS, *CLIENT, *OFFER, *DEADLINES,
    *MEMBER, *PARTS, *BATCHES, *HELLO, *REPORTING, *EXECUTOR,
    *WIRE, *TRANSPORT, *REPORTS, *FILES, *NOISE, *ACCOUNTING, *RESPONSES, *JOINT, *ADAPTIVE,
    *PRIVACY, *LEDGER, *BUDGET,
)  # fmt: skip


def copy_of_the_tree(folder: Path) -> Path:
    """With the caches of compiled kernels, which know a source by its time."""
    for name in filter(lambda name: (ROOT / name).exists(), _IN):
        shutil.copytree(ROOT / name, folder / name, symlinks=True)
    for name in _AT:
        shutil.copy2(ROOT / name, folder / name)
    return folder


class Runner:
    """Mutants in one copy of the tree, one after the other; it is then as it was."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seconds: dict[tuple[str, ...], float] = {}

    def lives(self, mutant: Mutant) -> str:
        """Why nothing has seen it, or "" where a test fails.

        Raises LookupError for a text that is not there, RuntimeError where its tests do not run,
        or fail by themselves.
        """
        file = self._root / mutant.path
        kept = file.read_text()
        limit = 30.0 + PATIENCE * self._without(mutant)
        try:
            mutant.in_place(self._root)
            code = self._run(mutant.tests, limit)
        finally:
            file.write_text(kept)
        if code not in (0, 1):
            raise RuntimeError(f"{mutant.name}: pytest ends with {code} before any test has failed")
        return "" if code else f"{mutant.name}: nothing in {' '.join(mutant.tests)} has seen it"

    def take_for_green(self, tests: tuple[str, ...], seconds: float) -> None:
        """These tests pass without a mutant, as somebody has seen who need not see it again."""
        self._seconds[tests] = seconds

    def _without(self, mutant: Mutant) -> float:
        if mutant.tests not in self._seconds:
            begun = time.monotonic()
            if code := self._run(mutant.tests, 1800.0):
                raise RuntimeError(f"{mutant.name}: pytest ends with {code} before any change")
            self._seconds[mutant.tests] = time.monotonic() - begun
        return self._seconds[mutant.tests]

    def _run(self, tests: Sequence[str], limit: float) -> int:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        env.pop("SECAGG_SOAK", None)
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        try:
            done = subprocess.run(command, cwd=self._root, env=env, timeout=limit, **quiet)
        except subprocess.TimeoutExpired:
            return 1
        return done.returncode


def survivors(mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, str]]:
    """Each, and why it lives or ""; in a copy of the tree, which is gone in the end."""
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(copy_of_the_tree(Path(folder)))
        for mutant in mutants:
            yield mutant, runner.lives(mutant)


def main(words: Sequence[str]) -> int:
    chosen = [one for one in MUTANTS if all(word in one.name for word in words)]
    left = 0
    for mutant, why in survivors(chosen):
        left += bool(why)
        print(f"{'LIVES' if why else 'killed'}  {mutant.name}", flush=True)
    print(f"{left} of {len(chosen)} live")
    return 1 if left or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
