"""What is refused, or not answered yet, holds back all that needs it, however news come in between.

A ledger and a budget take their time. Meanwhile links come and go and frames are heard, and what
the rounds then say is taken later than the charge or the claim that it needs (03 §3.3, 40 §9.9).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import TypeAlias

import pytest

import secagg
from secagg import rounds as package
from secagg.effects import Charge, Claim, Effects, Peer, Post, Refusal, Step, Unpaid
from secagg.errors import BudgetSpent, SecAggError
from secagg.plans.disclosure import Counting
from secagg.plans.plan import Plan
from secagg.rounds.base import Outbox
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent
from secagg.rounds.report import ReportRounds
from secagg.types import AbortReason, Role
from secagg.wire.frame import Message
from secagg.wire.header import TAG_AT
from tests.budget.budget_plans import DELTA
from tests.budget.test_budget_reports import INPUT, NOISY, PEERS
from tests.rounds.kills import Process, Scene, Town, contribution
from tests.rounds.world import SERVER, nonce
from tests.soak import SOAK

Send: TypeAlias = Callable[[Peer, bytes], None]


class Judge:
    """A budget and a ledger that say no to the n-th key that they are asked for, whenever they are;
    of one session there is one charge, and of one key one wording, as everywhere."""

    def __init__(self, no: int) -> None:
        self.known: dict[bytes, bool] = {}
        self._no, self._fixed = no, dict[bytes, bytes]()

    def paid(self, one: Charge) -> bool:
        if one.step is not Step.CHARGE:
            return self.known.get(one.key, False)
        return self._said(one.key, one.session, one.key)

    def claimed(self, one: Claim) -> bool:
        return self._said(one.key, one.key, one.digest)

    def _said(self, key: bytes, about: bytes, digest: bytes) -> bool:
        if key not in self.known:
            self.known[key] = len(self.known) != self._no
        if self.known[key]:
            return self._fixed.setdefault(about, digest) == digest
        return False


def test_these_are_all_that_charge_or_claim() -> None:
    """Any others belong in this family."""
    where = Path(str(package.__file__)).parent
    found = {
        path.name
        for path in where.glob("*.py")
        if re.search(r"outbox\.(charge|claim)\(", path.read_text())
    }
    assert found == {"paid.py", "part.py"}
    users = {p.name for p in where.glob("*.py") if re.search(r"\b(Paid|Part)\(", p.read_text())}
    assert users == {"report.py", "part.py", "client.py"}


# A client of one server


@cache
def plan(phases: int) -> Plan:
    fields = {"update": secagg.Integer(4, 1000, 2000)}
    one = phases == 1
    asked = secagg.Privacy(2.0, DELTA, 4, trust="local" if one else "distributed")
    threat = {"corrupt": 0} if one else {"corrupt": 0.25, "dropout": 0.25}
    protocol = "plainsum" if one else "secagg"
    return secagg.plan(clients=4, fields=fields, privacy=asked, protocol=protocol, **threat)


class Slow(Town):
    """A town whose client a hears, while its ledger and its budget are asked, that its link is gone
    and another is there, and all again that its server has ever said, also to its former lives."""

    def __init__(self, scene: Scene, no: int) -> None:
        self.judge, self.heard, self.left, self.bytes = Judge(no), list[bytes](), 0, 0
        self.refused: list[Refusal] = []
        self.needed: dict[int, frozenset[bytes]] = {}
        self._acting = ""
        super().__init__(scene)

    def _new_client(self, name: str) -> ClientRounds:
        if name == "a":
            self.refused, self.needed, self.bytes = [], {}, 0
        counting = Counting() if name == "a" else None
        return ClientRounds(Consent(unprotected=True), durable=self.scene.known, counting=counting)

    def _heard(self, name: str, raw: bytes) -> None:
        if name == "a":
            self.heard.append(raw)
        super()._heard(name, raw)

    def _do(self, process: Process, effects: Effects, send: Send) -> None:
        self._acting = process.name
        asked = {one.key for one in effects.charges} | {one.key for one in effects.claims}
        if process.name == "a":
            self.needed |= {tag_of(post): post.needs for post in effects.posts}
        if process.name == "a" and asked - {*self.judge.known}:
            self._meanwhile()
        super()._do(process, effects, send)

    def _meanwhile(self) -> None:
        rounds, linked = self.clients["a"], "a" in self._links
        if self.scene.known and linked:
            rounds.left(SERVER, self.now)
            rounds.joined(SERVER, self.now)
        for raw in self.heard if linked else ():
            try:
                rounds.received(SERVER, raw, self.now)
            except SecAggError as error:
                self.errors.append(error)
        for offer in rounds.owed():
            rounds.contribute(offer, contribution("a", offer), self.now)
        rounds.tick(self.now)

    def _charge(self, process: Process, one: Charge, refused: set[bytes]) -> None:
        if process.name == "a" and not self.judge.paid(one):
            self._says_no(Unpaid(one.key, "no"), refused)

    def _claim(self, process: Process, one: Claim, refused: set[bytes]) -> None:
        if process.name != "a":
            super()._claim(process, one, refused)
        elif not self.judge.claimed(one):
            self._says_no(one, refused)

    def _says_no(self, refusal: Refusal, refused: set[bytes]) -> None:
        refused.add(refusal.key)
        self.refused.append(refusal)
        self.clients["a"].refused(refusal, self.now)

    def _post(self, post: Post, refused: set[bytes], send: Send) -> None:
        if self._acting == "a" and not post.needs & refused:
            self._leaves(post)
        super()._post(post, refused, send)

    def _leaves(self, post: Post) -> None:
        """Nothing unpaid or unclaimed; and of a round that is refused only that a client leaves it,
        and again what came before the step whose wording is another."""
        self.left, self.bytes = self.left + 1, self.bytes + len(_message(post))
        no = {one.key for one in self.refused}
        assert all(self.judge.known.get(key) for key in post.needs) and not post.needs & no
        steps = [tag for tag, needs in self.needed.items() if needs & no]
        if steps and self.scene.plan.info.messages[tag_of(post)] != "abort":
            assert tag_of(post) < min(steps)
            assert not any(isinstance(one, Unpaid) for one in self.refused)


def _message(post: Post) -> bytes:
    assert isinstance(post.frame, Message)
    return post.frame.data


def tag_of(post: Post) -> int:
    return _message(post)[TAG_AT]


def lives(scene: Scene, no: int) -> Iterator[Slow]:
    """Undisturbed but for what is refused, and with a death at every moment, or every third."""
    whole = Slow(scene, no)
    yield whole.play()  # type: ignore[misc]
    for at in range(0, len(whole.moments), 1 if SOAK else 3):
        yield Slow(replace(scene, at=at), no).play()  # type: ignore[misc]


@pytest.mark.parametrize("back", [0, 1, 3])
@pytest.mark.parametrize("known", [True, False], ids=["rows", "links"])
@pytest.mark.parametrize("phases", [1, 4])
def test_a_client_says_nothing_that_is_refused(phases: int, known: bool, back: int) -> None:
    """03 §3.3; 40 §9.9."""
    if (back and not known) or (back == 1 and phases > 1 and not SOAK):
        return
    refusals, left = set[type](), 0
    scene = Scene(plan(phases), victim="a", known=known, back=back)
    for no in range(-1, 4 + phases):
        for town in lives(scene, no):
            for outcome in town.told["a"][-1:]:
                if outcome.reason is not AbortReason.PEER_FAULT:  # of which it ends at once
                    assert outcome.report.bytes_up == town.bytes
            refusals |= {type(one) for one in town.refused}
            left += town.left
    assert refusals == {Claim, Unpaid} and left


# A client of several servers


class Reported:
    """A report's driver, with any number of links. Its server answers nothing."""

    def __init__(self) -> None:
        self.rounds = ReportRounds(NOISY, INPUT, counting=Counting())
        self.judge = Judge(-1)
        self.left: list[Peer] = []
        self.rounds.attempt(60.0, 0.0)

    def news(self, peer: Peer) -> None:
        self.rounds.tick(1.0)
        self.rounds.joined(peer, 1.0)
        self.rounds.received(peer, Message(NOISY.nonce(), b"junk").encode(), 1.0)
        self.rounds.received(peer, b"none", 1.0)

    def turn(self, judge: Judge, meanwhile: list[Peer]) -> None:
        effects = self.rounds.take()
        for peer in meanwhile:
            self.rounds.left(peer, 1.0)
            self.rounds.joined(peer, 1.0)
            self.rounds.tick(1.0)
        no = {one.key: one for one in effects.charges if not judge.paid(one)}
        for post in effects.posts:
            if not post.needs & no.keys():
                assert post.needs and all(judge.known.get(key) for key in post.needs)
                self.left.append(post.peer)
        for key in no:
            self.rounds.refused(Unpaid(key, "no"), 1.0)


ORDERS = [list(some) for size in range(4) for some in permutations(PEERS, size)]


@pytest.mark.parametrize("later", ORDERS, ids=lambda some: "".join(str(p.name)[-1] for p in some))
@pytest.mark.parametrize("first", PEERS, ids=lambda peer: str(peer.name)[-1])
def test_a_report_that_is_refused_reaches_nobody(first: Peer, later: list[Peer]) -> None:
    """40 §9.9: over whichever links, before the answer or after it, until it is charged again."""
    one, no, yes = Reported(), Judge(0), Judge(-1)
    one.rounds.joined(first, 0.0)
    for meanwhile in (later, later, []):
        one.turn(no, meanwhile)
        assert one.left == []
        with pytest.raises(BudgetSpent):
            one.rounds.outcome()
    one.rounds.attempt(60.0, 2.0)
    one.turn(no, [])
    for peer in PEERS:
        one.rounds.left(peer, 2.0)
    for peer in later:
        one.rounds.joined(peer, 2.0)
    one.turn(yes, [])
    assert one.left == later


@pytest.mark.parametrize("later", ORDERS, ids=lambda some: "".join(str(p.name)[-1] for p in some))
def test_an_answer_that_nobody_heard_is_no_yes(later: list[Peer]) -> None:
    """40 §9.9: a driver that ends while the budget is asked may have been refused; the next one
    is told of the charge, and that the report leaves, before it has any of it to send."""
    one = Reported()
    one.rounds.joined(PEERS[0], 0.0)
    one.rounds.take()
    for peer in later:
        one.rounds.left(peer, 1.0)
        one.rounds.joined(peer, 1.0)
    for peer in PEERS:
        one.rounds.left(peer, 1.0)
    one.rounds.attempt(60.0, 2.0)
    assert one.rounds.take().posts == (), "what waited for the last one"
    for peer in later:
        one.rounds.joined(peer, 2.0)
    effects = one.rounds.take()
    steps = [charge.step for charge in effects.charges]
    assert steps == ([Step.CHARGE, Step.LEAVE] if later else [])
    assert [post.peer for post in effects.posts] == later


def test_a_client_s_posts_take_their_charge_along() -> None:
    """40 §9.9: also those that wait for the driver of the next link."""
    outbox, peer = Outbox(), Peer("server", None, Role.SERVER)
    charge = Charge(bytes([1]) * 32, Step.CHARGE)
    claim = Claim(bytes([2]) * 32, bytes(32))
    frame = Message(nonce(1), b"")
    for _ in range(2):
        outbox.charge(Charge(charge.key, Step.LEAVE))
        outbox.post(peer, frame, [charge])
        outbox.post(peer, frame, [charge, claim])
        taken = outbox.take()
        assert [one.step for one in taken.charges] == [Step.CHARGE, Step.LEAVE]
        assert len(taken.posts) == 2


def test_what_is_withheld_stays_so_until_it_is_charged_again() -> None:
    outbox, peer = Outbox(), Peer("server", None, Role.SERVER)
    charge, other = (Charge(bytes([n]) * 32, Step.CHARGE) for n in (1, 2))
    mine, theirs = (Claim(bytes([n]) * 32, bytes(32)) for n in (3, 4))
    frame = Message(nonce(1), b"")

    def say() -> None:
        outbox.charge(Charge(charge.key, Step.LEAVE))
        for claim, paid in ((mine, charge), (theirs, other)):
            outbox.claim(claim)
            outbox.post(peer, frame, [claim, paid])

    say()
    outbox.withhold(charge.key)
    taken = outbox.take()
    assert taken.charges == (other,) and taken.claims == (theirs,), "nothing is claimed for nothing"
    assert [post.needs for post in taken.posts] == [{theirs.key, other.key}]
    say()
    assert [post.needs for post in outbox.take().posts] == [{theirs.key, other.key}]
    outbox.charge(charge)
    say()
    assert len(outbox.take().posts) == 2
    outbox.withhold(mine.key)
    outbox.charge(charge)
    say()
    assert len(outbox.take().posts) == 1, "a claim that is refused is refused for ever"
