"""A member's link: who may speak, and what is refused (specs/01-wire.md §7.9; T5)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.crypto import labels, sign
from secagg.effects import Peer
from secagg.errors import (
    BadTag,
    InvalidSignature,
    RemoteProtocolError,
    SecAggError,
    Truncated,
    UnknownVersion,
)
from secagg.roster import SignedRoster
from secagg.rounds.enrolled import Host, as_member
from secagg.rounds.greeting import Met, Script
from secagg.types import PartyId, Role
from secagg.wire.hello import MemberHello, decode_greeting, encode_greeting, roster_nonce
from tests.rounds.enrolled import ADMIN, CAST, HOST, SIGNED, key_of, member, world_of
from tests.soak import examples

ROSTER, NONCE = CAST.roster, roster_nonce(CAST.roster.digest)
ME = PartyId(3)
CHALLENGE = bytes(range(32))


class Talk:
    """Member and server, frame by frame. change: what arrives in place of the frame of a number."""

    def __init__(self, theirs: Script, ours: Script, change: dict[int, bytes] | None = None):
        self.frames: list[bytes] = []
        self.member: Met | SecAggError | None = None
        self.server: Met | SecAggError | None = None
        self._change = change or {}
        next(ours)
        frame = next(theirs)
        while frame:
            heard = self._change.get(len(self.frames), frame)
            self.frames.append(frame)
            to_server = len(self.frames) % 2 == 1
            frame = self._step(ours if to_server else theirs, heard, to_server)

    def _step(self, script: Script, heard: bytes, server: bool) -> bytes:
        said, end = b"", None
        try:
            said = script.send(heard)
        except StopIteration as over:
            end, said = over.value, over.value.say
        except SecAggError as error:
            end = error
        if end is not None and server:
            self.server = end
        elif end is not None:
            self.member = end
        return said


def talk(change: dict[int, bytes] | None = None, host: Host = HOST, place: int = ME) -> Talk:
    theirs = as_member(ROSTER, PartyId(place), CAST.members[place])
    return Talk(theirs, host.greet(), change)


def test_each_proves_who_it_is() -> None:
    met = talk()
    assert met.server == Met(Role.CLIENT, key_of(ME), met.frames[3])
    assert met.member == Met(Role.SERVER, ROSTER.server)
    hello = MemberHello.decode(met.frames[0], NONCE)
    assert (hello.roster, hello.epoch, hello.place) == (ROSTER.digest, 0, ME)
    said = hello.challenge, decode_greeting(met.frames[1], NONCE)
    for frame, key, label in (
        (met.frames[2], key_of(ME), b"secagg/v1/sign-member-link"),
        (met.frames[3], ROSTER.server, b"secagg/v1/sign-server-link"),
    ):
        statement = labels.encode(label, ROSTER.digest, 0, int(ME), *said)
        sign.verify(key, statement, frame[-64:])
    assert [len(frame) for frame in met.frames] == [90, 50, 82, 82]


def test_a_proof_is_of_one_link_and_one_place() -> None:
    """Replayed, or of another member's key, it is none; and the server has signed nothing then."""
    before = talk()
    again = talk({2: before.frames[2]})
    assert isinstance(again.server, InvalidSignature) and len(again.frames) == 3
    stolen = MemberHello(ROSTER.digest, 0, PartyId(4), CHALLENGE).encode()
    assert isinstance(talk({0: stolen}).server, InvalidSignature)
    assert isinstance(talk({3: before.frames[3]}).member, InvalidSignature)


def test_another_roster_epoch_or_place_is_refused() -> None:
    for hello in (
        MemberHello(ROSTER.digest, 1, ME, CHALLENGE),
        MemberHello(ROSTER.digest, 0, PartyId(9), CHALLENGE),
        MemberHello(ROSTER.digest[:16] + bytes(16), 0, ME, CHALLENGE),
        MemberHello(bytes(32), 0, ME, CHALLENGE),
    ):
        assert isinstance(talk({0: hello.encode()}).server, RemoteProtocolError)
    keys = (*ROSTER.keys[:3], None, *ROSTER.keys[4:])
    excluding = SignedRoster.sign(replace(ROSTER, keys=keys, epoch=1), ADMIN)
    hello = MemberHello(excluding.roster.digest, 1, ME, CHALLENGE).encode()
    met = talk({0: hello}, host=Host(excluding, CAST.server))
    assert isinstance(met.server, RemoteProtocolError) and "excluded" in str(met.server)


def test_a_server_that_is_another_is_told_from_the_rosters() -> None:
    """It has the roster, which is public, and not the key."""
    host = Host(SIGNED, CAST.server)
    object.__setattr__(host, "signing", CAST.members[0])
    met = talk(host=host)
    assert isinstance(met.member, InvalidSignature) and "not the server" in str(met.member)


@pytest.mark.parametrize("number", range(4))
def test_other_frames_are_refused(number: int) -> None:
    whole = talk().frames[number]
    for bad, kind in (
        (b"\2" + whole[1:], UnknownVersion),
        (whole[:1] + b"\x63" + whole[2:], BadTag),
        (whole[:-1], Truncated),
        (b"", Truncated),
        (whole[:2] + bytes(16) + whole[18:], RemoteProtocolError),
    ):
        met = talk({number: bad})
        assert isinstance(met.member if number % 2 else met.server, kind)


@settings(max_examples=examples(100))
@given(st.integers(0, 3), st.integers(0, 89), st.integers(0, 7))
def test_a_flipped_bit_is_refused(number: int, at: int, bit: int) -> None:
    """Both challenges are signed, so a bit of either shows at one side at least."""
    whole = bytearray(talk().frames[number])
    whole[at % len(whole)] ^= 1 << bit
    met = talk({number: bytes(whole)})
    assert isinstance(met.server, SecAggError) or isinstance(met.member, SecAggError)


def test_a_hello_is_what_it_encodes() -> None:
    hello = MemberHello(ROSTER.digest, 7, ME, CHALLENGE)
    assert MemberHello.decode(hello.encode(), NONCE) == hello
    assert decode_greeting(encode_greeting(CHALLENGE, NONCE), NONCE) == CHALLENGE
    other = replace(hello, roster=bytes(32)).encode()
    with pytest.raises(RemoteProtocolError):  # its head is of this roster, and its body is not
        MemberHello.decode(other[:2] + NONCE + other[18:], NONCE)


def test_of_two_links_of_a_member_the_newer_one_stays() -> None:
    world = world_of(1, 2, 4, 5, 7)
    old = member(world, 8)
    new = Peer("8 again", key_of(8))
    world.server.joined(new, world.now)
    world.settle()
    assert old.peer in world.let_go and new not in world.let_go
