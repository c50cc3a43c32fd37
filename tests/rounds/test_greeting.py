"""The first frames of a server's link: who may speak, and what is refused (specs/01-wire.md §7)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.crypto import hpke, labels, sign
from secagg.effects import Claim, Effects, Peer, Post, Refusal, Work
from secagg.errors import (
    BadTag,
    CryptoError,
    InvalidSignature,
    InvalidTag,
    RemoteProtocolError,
    SecAggError,
    TooLarge,
    UnknownVersion,
    WireError,
)
from secagg.plans.task import Task
from secagg.rounds.greeting import TIMEOUT, Greeted, Met, Script, callees, message_limit, server_of
from secagg.rounds.hellos import Greeter, as_client, as_collector
from secagg.types import SERVER, Role, Seed, server_id
from secagg.wire.frame import HEAD_SIZE, Message
from secagg.wire.hello import (
    CHALLENGE_SIZE,
    LARGEST,
    Hello,
    decode_answer,
    decode_challenge,
    decode_hello,
    decode_proof,
    encode_answer,
    encode_challenge,
    encode_proof,
)
from tests.rounds.several import KEYS, TASK
from tests.soak import examples

NONCE = TASK.nonce()
OTHER = Task(TASK.plan, replace(TASK.committee, epoch=1))
CHALLENGE = bytes(range(CHALLENGE_SIZE))
SERVERS = [server.public.signing for server in KEYS.servers]


def greeter(index: int, task: Task = TASK, keys: int | None = None, **options: Any) -> Greeter:
    secrets = KEYS.servers[index if keys is None else keys]
    return Greeter(task, index, secrets.signing, **options)


class Side:
    """One end: what it would say next, and how it ended."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.end: Met | SecAggError | None = None
        self.says = self.step(None)

    def step(self, heard: bytes | None) -> bytes:
        try:
            return next(self.script) if heard is None else self.script.send(heard)
        except StopIteration as over:
            self.end = met = over.value
            return bytes(met.say)
        except SecAggError as error:
            self.end = error
            return b""

    def hear(self, frame: bytes) -> bytes:
        if self.end is None:
            self.says = self.step(frame)
        return self.says


def greet(opens: Script, answers: Script) -> tuple[Any, Any]:
    """Both ends' outcomes: None for whoever waits in vain, as its link is closed."""
    ours, theirs = Side(opens), Side(answers)
    said = ours.says
    for number in range(6):
        hears = (theirs, ours)[number % 2]
        if hears.end is not None or not said:
            break
        said = hears.hear(said)
    return ours.end, theirs.end


def test_leader_and_helper_prove_who_they_are() -> None:
    called, answered = greet(greeter(0).call(1), greeter(1).answer())
    assert (called.role, called.identity) == (Role.SERVER, SERVERS[1])
    assert (answered.role, answered.identity) == (Role.SERVER, SERVERS[0])
    who = Peer("link", answered.identity, answered.role)
    assert server_of(TASK.committee, who) == SERVER


def test_a_client_proves_nothing() -> None:
    called, answered = greet(as_client(TASK), greeter(1).answer())
    assert answered == Met(Role.CLIENT) and called.role is Role.SERVER


@pytest.mark.parametrize("index", range(3))
def test_a_collector_proves_that_it_has_the_key(index: int) -> None:
    script = as_collector(TASK, KEYS.collector, server_id(index))
    _, answered = greet(script, greeter(index).answer())
    assert answered == Met(Role.COLLECTOR, TASK.committee.collector)


def test_who_has_no_collector_key_is_no_collector() -> None:
    """Row 79: the task is public, and the last word on an epoch is not anybody's."""
    other = Seed(bytes(range(32)))
    called, answered = greet(as_collector(TASK, other, SERVER), greeter(0).answer())
    assert type(called) is InvalidTag and answered is None
    assert "server 0 has sealed for another collector" in str(called)
    side = Side(greeter(0).answer())
    side.hear(Hello(TASK.digest(), Role.COLLECTOR, 0, bytes(CHALLENGE_SIZE)).encode(NONCE))
    side.hear(encode_answer(bytes(CHALLENGE_SIZE), NONCE))
    assert type(side.end) is RemoteProtocolError


def test_a_challenge_is_of_one_server_and_of_no_total() -> None:
    """What is opened names task and server: a collector is nobody's oracle."""
    called, _ = greet(as_collector(TASK, KEYS.collector, server_id(1)), greeter(0).answer())
    assert type(called) is InvalidTag and "servers in the task's order" in str(called)
    sealed = hpke.seal(TASK.committee.collector, CHALLENGE, labels.encode(labels.TOTAL_SEAL))
    side = Side(as_collector(TASK, KEYS.collector, SERVER))
    side.hear(encode_challenge(sealed, NONCE))
    assert type(side.end) is InvalidTag


def test_what_a_collector_opens_is_what_the_document_says() -> None:
    side = Side(greeter(1, randomness=lambda size: CHALLENGE[:size]).answer())
    sealed = decode_challenge(
        side.hear(Hello(TASK.digest(), Role.COLLECTOR, 0, bytes(32)).encode(NONCE)), NONCE
    )
    info = labels.encode(labels.COLLECTOR_LINK, TASK.digest(), 1)
    assert hpke.OpeningKey(KEYS.collector).open(sealed, info) == CHALLENGE
    side.hear(encode_answer(CHALLENGE, NONCE))
    assert side.end == Met(Role.COLLECTOR, TASK.committee.collector)


@pytest.mark.parametrize(
    ("opens", "answers", "error"),
    [
        (greeter(0, keys=2), greeter(1), InvalidSignature),  # not the leader's key
        (greeter(2), greeter(1), RemoteProtocolError),  # helpers do not call on each other
        (greeter(1), greeter(0), RemoteProtocolError),  # nor on the leader
        (greeter(0), greeter(0), RemoteProtocolError),  # nor does the leader on itself
        (greeter(0, OTHER), greeter(1), RemoteProtocolError),  # of another epoch
    ],
)
def test_the_answering_side_refuses(
    opens: Greeter, answers: Greeter, error: type[SecAggError]
) -> None:
    """Row 78: a failure ends the link; the other side learns no more than that."""
    called, answered = greet(opens.call(1), answers.answer())
    assert type(answered) is error and called is None


@pytest.mark.parametrize(
    ("answers", "error"),
    [(greeter(2), RemoteProtocolError), (greeter(1, keys=2), InvalidSignature)],
)
def test_the_calling_side_refuses(answers: Greeter, error: type[SecAggError]) -> None:
    called, _ = greet(greeter(0).call(1), answers.answer())
    assert type(called) is error


def test_the_digest_of_the_task_is_judged_too() -> None:
    """The nonce is half of a digest; the whole one is in the hello."""
    side = Side(greeter(1).answer())
    side.hear(Hello(OTHER.digest(), Role.CLIENT, 0, bytes(CHALLENGE_SIZE)).encode(NONCE))
    assert type(side.end) is RemoteProtocolError


def test_a_proof_is_of_one_link_only() -> None:
    """Both challenges are signed, and who signs for whom: neither replayed nor reflected."""
    side = Side(greeter(1).answer())
    side.hear(Hello(TASK.digest(), Role.SERVER, 0, CHALLENGE).encode(NONCE))
    signed = labels.encode(labels.LINK, TASK.digest(), 0, 1, CHALLENGE, CHALLENGE)
    side.hear(encode_proof(sign.sign(KEYS.servers[0].signing, signed), NONCE))
    assert type(side.end) is InvalidSignature


def test_what_is_signed_is_what_the_document_says() -> None:
    side = Side(greeter(1).answer())
    answer = decode_hello(
        side.hear(Hello(TASK.digest(), Role.SERVER, 0, CHALLENGE).encode(NONCE)), NONCE
    )
    assert (answer.role, answer.index) == (Role.SERVER, 1)
    said = (CHALLENGE, answer.challenge)
    to_sign = labels.encode(labels.LINK, TASK.digest(), 0, 1, *said)
    final = side.hear(encode_proof(sign.sign(KEYS.servers[0].signing, to_sign), NONCE))
    sign.verify(
        TASK.committee.servers[1].signing,
        labels.encode(labels.LINK, TASK.digest(), 1, 0, *said),
        decode_proof(final, NONCE),
    )
    assert isinstance(side.end, Met)


def test_randomness_that_is_short_is_no_challenge() -> None:
    side = Side(greeter(0, randomness=lambda size: b"").call(1))
    assert isinstance(side.end, CryptoError)


# Links


class Inner:
    """Rounds that write down what they are told, and want what they are given."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.wants = Effects()
        self.reads = True

    def restore(self, rows: Iterable[tuple[bytes, bytes]], now: float) -> None:
        self.told.append(("restore", list(rows)))

    def joined(self, peer: Peer, now: float) -> None:
        self.told.append(("joined", peer))

    def left(self, peer: Peer, now: float) -> None:
        self.told.append(("left", peer))

    def received(self, peer: Peer, frame: bytes, now: float) -> None:
        self.told.append(("received", peer, frame))

    def flushed(self, peer: Peer, size: int, now: float) -> None:
        self.told.append(("flushed", peer, size))

    def finished(self, work: Work, value: Any, now: float) -> None:
        self.told.append(("finished", work, value))

    def failed(self, work: Work, error: Exception, now: float) -> None:
        self.told.append(("failed", work, error))

    def refused(self, refusal: Refusal, now: float) -> None:
        self.told.append(("refused", refusal))

    def tick(self, now: float) -> None:
        self.told.append(("tick", now))

    def ready(self, peer: Peer) -> bool:
        return self.reads

    def take(self) -> Effects:
        taken, self.wants = self.wants, Effects()
        return taken


def at_server(most: int | None = None) -> tuple[Greeted, Inner]:
    inner = Inner()
    return Greeted(inner, lambda _: greeter(0).answer(), most=most), inner


def link(number: int) -> Peer:
    return Peer(f"link {number}")


CLIENT_HELLO = Hello(TASK.digest(), Role.CLIENT, 0, bytes(CHALLENGE_SIZE)).encode(NONCE)
COLLECTOR_HELLO = Hello(TASK.digest(), Role.COLLECTOR, 0, bytes(CHALLENGE_SIZE)).encode(NONCE)


def test_rounds_hear_of_a_peer_that_has_greeted_and_of_no_other() -> None:
    rounds, inner = at_server()
    rounds.joined(link(1), 0.0)
    assert inner.told == [] and rounds.ready(link(1))
    rounds.received(link(1), CLIENT_HELLO, 1.0)
    rounds.received(link(1), b"report", 2.0)
    inner.wants = Effects(posts=(Post(link(1), Message(NONCE, b"receipt")),), let_go=(link(1),))
    inner.reads = False
    assert not rounds.ready(link(1))
    effects = rounds.take()
    assert [post.peer for post in effects.posts] == [link(1)]
    assert effects.let_go == (link(1),)
    rounds.flushed(link(1), 5, 2.0)
    rounds.left(link(1), 3.0)
    assert [told[0] for told in inner.told] == ["joined", "received", "flushed", "left"]
    inner.wants = Effects(posts=(Post(link(1), Message(NONCE, b"receipt")),), let_go=(link(1),))
    assert (rounds.take().posts, rounds.take().let_go) == ((), ())
    rounds.received(link(1), b"after its end", 3.0)
    rounds.flushed(link(1), 5, 3.0)
    rounds.left(link(1), 3.0)
    assert len(inner.told) == 4 and not rounds.ready(link(1))


def test_a_collector_is_met_under_its_key_and_what_it_was_asked_is_not_counted() -> None:
    rounds, inner = at_server()
    rounds.joined(link(1), 0.0)
    rounds.received(link(1), COLLECTOR_HELLO, 0.0)
    (post,) = rounds.take().posts
    frame = post.frame.encode()
    assert post.frame.size == len(frame) == 98
    script = as_collector(TASK, KEYS.collector, SERVER)
    next(script)
    with pytest.raises(StopIteration) as over:
        script.send(frame)
    rounds.received(link(1), over.value.value.say, 0.0)
    met = replace(link(1), identity=TASK.committee.collector, role=Role.COLLECTOR)
    assert inner.told == [("joined", met)]
    rounds.flushed(link(1), 90, 0.0)
    assert inner.told == [("joined", met)]
    rounds.flushed(link(1), 18, 0.0)
    assert inner.told[1:] == [("flushed", met, 10)]
    inner.wants = Effects(posts=(Post(met, Message(NONCE, b"total")),), let_go=(met,))
    effects = rounds.take()
    assert ([post.peer for post in effects.posts], effects.let_go) == ([link(1)], (link(1),))


@pytest.mark.parametrize("says", [b"", COLLECTOR_HELLO])
def test_a_handshake_has_a_deadline(says: bytes) -> None:
    """Row 68: an idle link is closed, also one that has begun to speak."""
    rounds, inner = at_server()
    rounds.joined(link(1), 5.0)
    if says:
        rounds.received(link(1), says, 5.0 + TIMEOUT - 1)
    assert rounds.take().due == 5.0 + TIMEOUT
    rounds.tick(5.0 + TIMEOUT - 0.01)
    assert rounds.take().let_go == ()
    rounds.tick(5.0 + TIMEOUT)
    effects = rounds.take()
    assert (effects.let_go, effects.due) == ((link(1),), math.inf)
    assert {told[0] for told in inner.told} == {"tick"}


def test_who_has_greeted_has_no_deadline_here() -> None:
    rounds, _ = at_server()
    rounds.joined(link(1), 0.0)
    rounds.received(link(1), CLIENT_HELLO, 0.0)
    assert rounds.take().due == math.inf
    rounds.tick(10 * TIMEOUT)
    assert rounds.take().let_go == ()


def test_what_is_no_hello_ends_its_link(caplog: pytest.LogCaptureFixture) -> None:
    """Row 78, and no other link."""
    rounds, inner = at_server()
    for number in range(2):
        rounds.joined(link(number), 0.0)
    rounds.received(link(0), Message(NONCE, b"collect me").encode(), 0.0)
    assert rounds.take().let_go == (link(0),)
    assert "link 0 was refused" in caplog.text
    rounds.received(link(1), CLIENT_HELLO, 0.0)
    assert inner.told == [("joined", link(1))]


@pytest.mark.parametrize("flood", ["no hello", "silence", "newer", "all known"])
def test_a_flood_of_links_is_a_few_lines(flood: str, caplog: pytest.LogCaptureFixture) -> None:
    """Row 69: repeats are counted, whatever it is that strangers repeat, and the first have an
    address."""
    rounds, _ = at_server(most=1 if flood in ("newer", "all known") else None)
    if flood == "all known":
        rounds.joined(link(0), 0.0)
        rounds.received(link(0), CLIENT_HELLO, 0.0)
    for number in range(1, 1000):
        peer = replace(link(number), address="192.0.2.9")
        rounds.joined(peer, 0.0)
        if flood == "no hello":
            rounds.received(peer, b"\1", 0.0)
    rounds.tick(TIMEOUT)
    assert len(rounds.take().let_go) >= 998
    assert 5 < len(caplog.records) < 25 and "link 5 at 192.0.2.9 was" in caplog.text
    rounds.close()
    assert "more lines like this were left out: link-" in caplog.text


def test_links_are_bounded_and_who_is_nobody_for_longest_goes_first() -> None:
    """Row 79: strangers are pushed out by newer ones, and nobody who has greeted ever is."""
    rounds, inner = at_server(most=2)
    for number in range(3):
        rounds.joined(link(number), 0.0)
    assert rounds.take().let_go == (link(0),)
    rounds.received(link(2), CLIENT_HELLO, 0.0)
    rounds.joined(link(3), 0.0)
    assert rounds.take().let_go == (link(1),)
    rounds.received(link(3), CLIENT_HELLO, 0.0)
    rounds.joined(link(4), 0.0)
    assert rounds.take().let_go == (link(4),)
    assert not rounds.ready(link(4))
    rounds.left(link(2), 0.0)
    rounds.joined(link(5), 0.0)
    assert rounds.take().let_go == ()


def test_a_caller_greets_first_and_its_rounds_speak_after_it() -> None:
    inner = Inner()
    rounds = Greeted(inner, lambda peer: greeter(0).call(1))
    called = list(callees(TASK))[1]
    rounds.joined(called, 0.0)
    theirs = Side(greeter(1).answer())
    for _ in range(2):
        (post,) = rounds.take().posts
        rounds.received(called, theirs.hear(post.frame.encode()), 0.0)
    met = replace(called, identity=SERVERS[1])
    assert inner.told == [("joined", met)] and isinstance(theirs.end, Met)
    client = Greeted(Inner(), lambda peer: as_client(TASK))
    client.joined(called, 0.0)
    (post,) = client.take().posts
    assert post.frame.encode() == CLIENT_HELLO


def test_the_rest_is_passed_on() -> None:
    rounds, inner = at_server()
    work, claim, error = Work(lambda: None, 1), Claim(b"", b""), ValueError()
    rounds.restore([(b"k", b"v")], 0.0)
    rounds.finished(work, 7, 0.0)
    rounds.failed(work, error, 0.0)
    rounds.refused(claim, 0.0)
    inner.wants = Effects(work=(work,), claims=(claim,), due=3.0)
    assert inner.told == [
        ("restore", [(b"k", b"v")]),
        ("finished", work, 7),
        ("failed", work, error),
        ("refused", claim),
    ]
    assert rounds.take() == Effects(work=(work,), claims=(claim,), due=3.0)


# Bytes


HELLO = Hello(TASK.digest(), Role.SERVER, 2, CHALLENGE).encode(NONCE)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (HELLO[:-1], WireError),
        (HELLO + b"\0", TooLarge),
        (b"\x02" + HELLO[1:], UnknownVersion),
        (HELLO[:1] + b"\x02" + HELLO[2:], BadTag),
        (HELLO[:2] + bytes(16) + HELLO[18:], RemoteProtocolError),
        (HELLO[:50] + b"\x04" + HELLO[51:], WireError),
        (HELLO[:50] + b"\x01" + HELLO[51:], WireError),
        (bytes(LARGEST + 1), TooLarge),
    ],
)
def test_bytes_that_are_no_hello(data: bytes, error: type[SecAggError]) -> None:
    with pytest.raises(error):
        decode_hello(data, NONCE)


@given(st.binary(max_size=LARGEST) | st.builds(lambda t: HELLO[:18] + t, st.binary(max_size=70)))
@settings(max_examples=examples(200), deadline=None)
def test_a_hello_has_one_encoding(data: bytes) -> None:
    try:
        hello = decode_hello(data, NONCE)
    except (WireError, RemoteProtocolError):
        return
    assert hello.encode(NONCE) == data


def test_what_a_collector_says_and_hears_has_one_encoding() -> None:
    challenge, answer = encode_challenge(bytes(80), NONCE), encode_answer(CHALLENGE, NONCE)
    assert decode_challenge(challenge, NONCE) == bytes(80)
    assert decode_answer(answer, NONCE) == CHALLENGE
    for decode, frame in ((decode_challenge, challenge), (decode_answer, answer)):
        for wrong in (frame[:-1], b"\x02" + frame[1:], frame[:1] + b"\x04" + frame[2:]):
            with pytest.raises(WireError):
                decode(wrong, NONCE)
        with pytest.raises(WireError):
            decode(frame + b"\0", NONCE)
        with pytest.raises(RemoteProtocolError):
            decode(frame, bytes(16))
    with pytest.raises(TooLarge):
        decode_challenge(bytes(LARGEST + 49), NONCE)


def test_a_hello_is_as_large_as_the_document_says() -> None:
    assert len(HELLO) == LARGEST == 84
    assert decode_hello(HELLO, NONCE) == Hello(TASK.digest(), Role.SERVER, 2, CHALLENGE)


def test_what_servers_say_fits_whatever_the_plan() -> None:
    """A plan of a few elements has small reports, and its servers' words are as long as ever."""
    largest = TASK.plan.cost.largest_message
    assert largest < 4096 and message_limit(TASK) == HEAD_SIZE + 4096
