"""Links of a service: who may speak, and what strangers hear (rules G1 to G4).

specs/01-wire.md §7.10 to §7.12. Threats 66, 78.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.crypto import labels, sign
from secagg.effects import Peer
from secagg.errors import (
    BadTag,
    InvalidKey,
    InvalidSignature,
    ParameterError,
    RemoteProtocolError,
    SecAggError,
    TooLarge,
    Truncated,
    UnknownVersion,
    WireError,
)
from secagg.rights import ServiceRole
from secagg.rounds.greeting import Greeted, Met, Script
from secagg.rounds.reception import Reception, as_caller
from secagg.testing import counter_randomness
from secagg.types import Role, Seed
from secagg.wire.hello import (
    LARGEST_CALLER,
    CallerHello,
    Service,
    check_task,
    decode_reply,
    encode_reply,
)
from tests.rounds.test_greeting_of_members import Talk
from tests.soak import examples

SECRET, MINE, OTHERS = (Seed(word.ljust(32)) for word in (b"service", b"mine", b"others"))
SERVICE = Service("sum.hospital.example", sign.public_key(SECRET))
ME, OTHER = sign.public_key(MINE), sign.public_key(OTHERS)
CLIENT, TASK = ServiceRole.CLIENT, "mortality"
CHALLENGE = bytes(range(32))


class Register:
    """Knows one entry, and what it was asked."""

    def __init__(self, *known: tuple[bytes, ServiceRole, str]) -> None:
        self.known = set(known or ((ME, CLIENT, TASK),))
        self.asked: list[tuple[bytes, ServiceRole, str]] = []

    def __call__(self, key: bytes, role: ServiceRole, task: str) -> str | None:
        self.asked.append((key, role, task))
        return None if (key, role, task) in self.known else "it is not enrolled"


def reception(register: Register | None = None, service: Service = SERVICE) -> Reception:
    return Reception(service, SECRET, register or Register())


def caller(
    seed: Seed = MINE,
    *,
    service: Service = SERVICE,
    role: ServiceRole = CLIENT,
    task: str = TASK,
) -> Script:
    return as_caller(service, role, task, seed)


def talk(
    theirs: Script | None = None,
    change: dict[int, bytes] | None = None,
    register: Register | None = None,
    host: Reception | None = None,
) -> Talk:
    return Talk(theirs or caller(), (host or reception(register)).greet(), change)


def test_rule_g1_each_proves_who_it_is() -> None:
    met = talk()
    assert met.server == Met(Role.CLIENT, ME, met.frames[3], TASK)
    assert met.member == Met(Role.SERVER, SERVICE.key)
    hello = CallerHello.decode(met.frames[0], SERVICE.nonce)
    digest = labels.digest(b"secagg/v1/service", b"sum.hospital.example", SERVICE.key)
    assert (hello.service, hello.key, hello.role, hello.task) == (digest, ME, CLIENT, TASK)
    said = hello.challenge, decode_reply(met.frames[1], SERVICE.nonce)
    for frame, key, label in (
        (met.frames[2], ME, b"secagg/v1/service-link-client"),
        (met.frames[3], SERVICE.key, b"secagg/v1/service-link-server"),
    ):
        statement = labels.encode(label, digest, ME, 1, TASK.encode(), *said)
        sign.verify(key, statement, frame[-64:])
    assert [len(frame) for frame in met.frames] == [119 + len(TASK), 50, 82, 82]


def test_rule_g1_a_proof_is_of_one_link() -> None:
    """A replay of either side's is none, and nor is what one side said, sent back to it."""
    before, register = talk(), Register()
    again = talk(change={0: before.frames[0], 2: before.frames[2]}, register=register)
    assert isinstance(again.server, InvalidSignature) and len(again.frames) == 3
    assert register.asked == []
    assert isinstance(talk(change={3: before.frames[3]}).member, InvalidSignature)
    reflecting = talk()
    assert isinstance(talk(change={3: reflecting.frames[2]}).member, InvalidSignature)
    mine = caller()
    next(mine)
    proof = mine.send(encode_reply(CHALLENGE, SERVICE.nonce))
    with pytest.raises(InvalidSignature, match="not the service"):
        mine.send(proof)  # of the very same challenges


def test_rule_g1_a_service_cannot_be_met_with_its_own_words() -> None:
    """Two greetings crossed: who has the service's proof on one link greets with it on another."""
    first, second = reception().greet(), reception(Register((SERVICE.key, CLIENT, TASK))).greet()
    mine = caller()
    hello = next(mine)
    next(first), next(second)  # noqa: B018
    proof = mine.send(first.send(hello))
    with pytest.raises(StopIteration) as over:
        first.send(proof)
    stolen = replace(CallerHello.decode(hello, SERVICE.nonce), key=SERVICE.key)
    second.send(stolen.encode())
    with pytest.raises(InvalidSignature):
        second.send(over.value.value.say)


def test_rule_g1_a_relay_to_another_service() -> None:
    """Who is called by a client passes its words on to another service that knows it too."""
    other_key = sign.public_key(OTHERS)
    for elsewhere in (Service("other.example", SERVICE.key), Service(SERVICE.name, other_key)):
        met = talk(caller(service=elsewhere))
        assert isinstance(met.server, RemoteProtocolError) and len(met.frames) == 1
        theirs = caller(service=elsewhere)
        hello = CallerHello.decode(next(theirs), elsewhere.nonce)
        ours = reception().greet()
        next(ours)
        reply = ours.send(replace(hello, service=SERVICE.digest).encode())
        challenge = decode_reply(reply, SERVICE.nonce)
        proof = theirs.send(encode_reply(challenge, elsewhere.nonce))
        with pytest.raises(InvalidSignature):
            ours.send(proof[:2] + SERVICE.nonce + proof[18:])


@pytest.mark.parametrize(
    "change",
    [
        {"key": OTHER},
        {"role": ServiceRole.COLLECTOR},
        {"task": "mortality-2"},
        {"challenge": CHALLENGE},
    ],
    ids=lambda change: next(iter(change)),
)
def test_rule_g1_what_is_signed_is_who_comes(change: dict[str, object]) -> None:
    """Everything would be let in, had it been proved; so nothing of a hello can be exchanged."""
    theirs, ours = caller(), Reception(SERVICE, SECRET, lambda *_: None).greet()
    next(ours)
    hello = CallerHello.decode(next(theirs), SERVICE.nonce)
    proof = theirs.send(ours.send(replace(hello, **change).encode()))  # type: ignore[arg-type]
    with pytest.raises(InvalidSignature):
        ours.send(proof)


def test_a_digest_that_shares_the_nonce_is_of_another_service() -> None:
    hello = CallerHello(SERVICE.digest[:16] + bytes(16), ME, CLIENT, TASK, CHALLENGE)
    met = talk(change={0: hello.encode()})
    assert isinstance(met.server, RemoteProtocolError) and len(met.frames) == 1


def test_rules_g2_g3_a_stranger_cannot_ask_who_is_enrolled() -> None:
    """Row 78: another's key, unknown or known, in any role, for any task: the same frames of the
    same sizes, and the register is never asked."""
    told = set()
    known = (ME, OTHER, sign.public_key(Seed(b"nobody".ljust(32))))
    for key, role, task in itertools.product(known, ServiceRole, (TASK, "unknown-1")):
        register = Register()
        host = Reception(SERVICE, SECRET, register, counter_randomness(b"same"))
        hello = CallerHello(SERVICE.digest, key, role, task, CHALLENGE).encode()
        met = talk(change={0: hello, 2: talk().frames[2]}, host=host)
        told.add((met.frames[1], type(met.server)))
        assert len(met.frames) == 3 and register.asked == []
    assert len(told) == 1


def test_rules_g3_g4_who_has_proved_its_key_and_may_not_come() -> None:
    """It hears a challenge and the end, as a stranger does; the error is for the log."""
    for theirs in (
        caller(OTHERS),
        caller(role=ServiceRole.COLLECTOR),
        caller(role=ServiceRole.ADMIN),
        caller(task="another"),
    ):
        register = Register()
        met = talk(theirs, register=register)
        assert isinstance(met.server, RemoteProtocolError) and len(met.frames) == 3
        assert str(met.server) == "it is not enrolled" and len(register.asked) == 1


def test_rule_m2_links_are_of_clients() -> None:
    """Whatever the register says of another role."""
    for role in {*ServiceRole} - {CLIENT}:
        met = talk(caller(role=role), register=Register((ME, role, TASK)))
        assert isinstance(met.server, RemoteProtocolError) and len(met.frames) == 3
        assert role.word in str(met.server)


def test_rule_g3_the_log_says_why_and_the_link_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Behind the rounds that greet: one let go, nothing posted after the reply."""
    said = []
    for seed, forged in ((OTHERS, False), (MINE, True)):
        greeted = Greeted(None, lambda _: reception().greet())  # type: ignore[arg-type]
        peer, mine = Peer("link", address="192.0.2.1"), caller(seed)
        greeted.joined(peer, 0.0)
        greeted.received(peer, next(mine), 0.0)
        [reply] = [post for post in _drained(greeted)[0]]
        proof = mine.send(reply)
        greeted.received(peer, proof[:-64] + bytes(64) if forged else proof, 0.0)
        said.append(_drained(greeted))
    assert said[0] == said[1] == ([], [peer])
    assert "it is not enrolled" in caplog.text and "signature" in caplog.text


class Inner:
    """Rounds that note who is there."""

    def __init__(self) -> None:
        self.here: list[Peer] = []

    def joined(self, peer: Peer, now: float) -> None:
        self.here.append(peer)

    def left(self, peer: Peer, now: float) -> None:
        self.here.remove(peer)


def test_rule_g5_links_end_when_nobody_would_be_met_on_them_any_more() -> None:
    """In the same turn: the driver that drains it drops the link, and the rounds have lost it."""
    known = {(key, CLIENT, task) for key in (ME, OTHER) for task in (TASK, "other")}
    inner = Inner()
    greeted = Greeted(inner, lambda _: reception(Register(*known)).greet())  # type: ignore[arg-type]
    for seed, task in ((MINE, TASK), (MINE, "other"), (OTHERS, TASK)):
        peer, mine = Peer(f"{seed == MINE} {task}"), caller(seed, task=task)
        greeted.joined(peer, 0.0)
        greeted.received(peer, next(mine), 0.0)
        greeted.received(peer, mine.send(_drained(greeted)[0][0]), 0.0)
        _drained(greeted)
    stranger = Peer("stranger")
    greeted.joined(stranger, 0.0)
    assert [(peer.identity, peer.task) for peer in inner.here] == [
        (ME, TASK), (ME, "other"), (OTHER, TASK)
    ]  # fmt: skip
    greeted.dismiss(lambda peer: (peer.identity, peer.task) == (ME, TASK), 1.0)
    assert _drained(greeted) == ([], [Peer(f"True {TASK}")]) and len(inner.here) == 2
    greeted.dismiss(lambda peer: peer.identity == ME, 1.0)
    assert _drained(greeted) == ([], [Peer("True other")])
    greeted.dismiss(lambda peer: peer.identity == ME, 1.0)
    assert _drained(greeted) == ([], []) and [peer.identity for peer in inner.here] == [OTHER]
    assert greeted.ready(stranger)


def _drained(greeted: Greeted) -> tuple[list[bytes], list[Peer]]:
    posts, gone = greeted._posts, greeted._let_go
    greeted._posts, greeted._let_go = [], []
    return [post.frame.encode() for post in posts], gone


def test_a_key_that_anybody_can_sign_for_is_none() -> None:
    """Threat 51, where an entry had one."""
    weak = (1).to_bytes(32, "little")
    hello = CallerHello(SERVICE.digest, weak, CLIENT, TASK, CHALLENGE).encode()
    forged = weak + bytes(32)  # R = the neutral element, S = 0: right for it under every message
    register = Register((weak, CLIENT, TASK))
    proof = talk().frames[2][:-64] + forged
    assert isinstance(talk(change={0: hello, 2: proof}, register=register).server, InvalidSignature)
    with pytest.raises(InvalidKey):
        Service("a", weak)


def test_a_service_that_is_another_is_told_from_the_right_one() -> None:
    host = reception()
    object.__setattr__(host, "signing", OTHERS)
    met = talk(host=host)
    assert isinstance(met.member, InvalidSignature) and "not the service" in str(met.member)
    with pytest.raises(ParameterError, match="not the identity"):
        Reception(SERVICE, OTHERS, Register())
    assert "secret" not in repr(host) and SECRET.expose().hex() not in repr(host)


@pytest.mark.parametrize("number", range(4))
def test_other_frames_are_refused(number: int) -> None:
    whole = talk().frames[number]
    for bad, kind in (
        (b"\2" + whole[1:], UnknownVersion),
        (whole[:1] + b"\x63" + whole[2:], BadTag),
        (whole[:-1], Truncated),
        (b"", Truncated),
        (bytes(LARGEST_CALLER + 1), TooLarge),
        (whole[:2] + bytes(16) + whole[18:], RemoteProtocolError),
    ):
        met = talk(change={number: bad})
        assert isinstance(met.member if number % 2 else met.server, kind)


def test_callers_that_are_none() -> None:
    good = CallerHello(SERVICE.digest, ME, CLIENT, TASK, CHALLENGE).encode()
    role, name = 2 + 16 + 32 + 32, 2 + 16 + 32 + 32 + 1 + 4
    for number in {*range(256)} - {1, 2, 4, 5, 6}:
        with pytest.raises(WireError, match="role"):
            CallerHello.decode(good[:role] + bytes([number]) + good[role + 1 :], SERVICE.nonce)
    for byte in {*range(256)} - {*b"abcdefghijklmnopqrstuvwxyz0123456789-"}:
        with pytest.raises(WireError, match="name of a task"):
            CallerHello.decode(good[:name] + bytes([byte]) + good[name + 1 :], SERVICE.nonce)
    for length in (0, 65, 2**32 - 1):
        with pytest.raises(WireError):
            said = good[: name - 4] + length.to_bytes(4) + good[name:]
            CallerHello.decode(said, SERVICE.nonce)


@settings(max_examples=examples(100))
@given(st.integers(0, 3), st.integers(0, 182), st.integers(0, 7))
def test_a_flipped_bit_is_refused(number: int, at: int, bit: int) -> None:
    """Everything is signed by both, so a bit shows at one side at least."""
    whole = bytearray(talk().frames[number])
    whole[at % len(whole)] ^= 1 << bit
    met = talk(change={number: bytes(whole)})
    assert isinstance(met.server, SecAggError) or isinstance(met.member, SecAggError)


def test_a_hello_is_what_it_encodes() -> None:
    for role, task in itertools.product(ServiceRole, ("a", "-" * 64)):
        hello = CallerHello(SERVICE.digest, ME, role, task, CHALLENGE)
        assert CallerHello.decode(hello.encode(), SERVICE.nonce) == hello
    assert len(hello.encode()) == LARGEST_CALLER == 183


def test_names_of_services_and_tasks() -> None:
    for good in ("localhost", "127.0.0.1", "a.b-c.d", "x" * 63, ".".join(["x" * 63] * 3) + ".ab"):
        assert Service(good, SERVICE.key).name == good
    for bad in ("", "A.example", "a..b", ".a", "a.", "-a", "a-", "a_b", "a b", "ä", "a\n", "[::1]",
                "x" * 64, "x" * 254, "a/b", "a:1", ".".join(["x" * 63] * 4)):  # fmt: skip
        with pytest.raises(ParameterError):
            Service(bad, SERVICE.key)
    assert check_task("a-1") == "a-1"
    for bad in ("", "A", "a b", "a\n", "ä", "x" * 65, "a/b"):
        with pytest.raises(ParameterError):
            check_task(bad)
    assert Service("a.b", SERVICE.key).digest != Service("a.c", SERVICE.key).digest


def others(due: bytes) -> list[bytes]:
    """Frames of every other kind, known or not, of this service: with the body that is due, with
    none, and with one that is longer."""
    kinds = [due[:1] + bytes([kind]) for kind in range(256) if kind != due[1]]
    return [kind + rest for kind in kinds for rest in (due[2:], due[2:18], due[2:] + bytes(64))]


def test_78_rule_g3_no_frame_of_any_kind_takes_the_place_of_a_greeting() -> None:
    """In the place of the hello, and of the proof: the link ends, nobody is met, nothing is signed
    and nobody looked up."""
    frames = talk().frames
    for place in (0, 2):
        for frame in others(frames[place]):
            register = Register()
            met = talk(change={place: frame}, register=register)
            assert isinstance(met.server, WireError), (place, frame[1])
            assert len(met.frames) == place + 1 and register.asked == []


def test_78_before_a_greeting_no_frame_reaches_the_rounds() -> None:
    """What comes behind one that ended the link is heard by nobody either."""
    inner = Inner()
    hello = talk().frames[0]
    for number, frame in enumerate(others(hello)):
        greeted = Greeted(inner, lambda _: reception().greet())  # type: ignore[arg-type]
        peer = Peer(f"link {number}")
        greeted.joined(peer, 0.0)
        greeted.received(peer, frame, 0.0)
        greeted.received(peer, hello, 0.0)  # `Inner` receives nothing: it would raise
        assert inner.here == [] and not greeted.ready(peer)
