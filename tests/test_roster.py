"""A roster: members who are all different, in places that stay theirs, signed by somebody offline.

specs/14-roster.md. Rows 2, 3, 5, 9, 11, 12, 18, 23, 33, 34, 46, 51, 52; T5, T6.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from secagg.crypto import labels, sign
from secagg.errors import (
    InvalidKey,
    InvalidSignature,
    ParameterError,
    PolicyRefused,
    SecAggError,
    TooLarge,
    UnknownVersion,
)
from secagg.roster import MAX_MEMBERS, MAX_NAME, Enrolment, Pin, Roster, SignedRoster
from secagg.types import SERVER, PartyId, Seed

ADMIN, SERVER_SEED = Seed(b"a" * 32), Seed(b"s" * 32)
SEEDS = tuple(Seed(bytes([number]) * 32) for number in range(1, 8))
KEYS = tuple(map(sign.public_key, SEEDS))
END = 2_000_000_000
ROSTER = Roster(3, END, sign.public_key(SERVER_SEED), (*KEYS[:3], None, KEYS[3]))
SIGNED = SignedRoster.sign(ROSTER, ADMIN)
PIN = Pin(SIGNED.admin, 2)

IDENTITY = b"\x01" + bytes(31)
"""The neutral point: it verifies one signature over everything."""
WEAK = {
    "order 1": IDENTITY,
    "order 2": b"\xec" + b"\xff" * 30 + b"\x7f",
    "order 4": b"\x00" * 31 + b"\x80",
    "order 8": bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    "not canonical": b"\xee" + b"\xff" * 30 + b"\x7f",
    "no point": b"\x02" + bytes(31),
    "short": KEYS[6][:31],
    "long": KEYS[6] + b"\0",
    "empty": b"",
}


def test_the_encoding() -> None:
    """u8 1, u32 epoch, u64 not after, server, u32 N, N keys; zeros for whoever is excluded."""
    listed = KEYS[0] + KEYS[1] + KEYS[2] + bytes(32) + KEYS[3]
    head = b"\x01" + (3).to_bytes(4) + END.to_bytes(8) + sign.public_key(SERVER_SEED)
    expected = head + (5).to_bytes(4) + listed
    assert ROSTER.encode() == expected
    assert Roster.decode(expected) == ROSTER == Roster.decode(memoryview(expected))
    assert ROSTER.digest == labels.digest(b"secagg/v1/roster", expected)
    statement = labels.encode(b"secagg/v1/sign-roster", ROSTER.digest, 3)
    signature = sign.sign(ADMIN, statement)
    assert SIGNED.encode() == expected + sign.public_key(ADMIN) + signature
    assert SignedRoster.decode(SIGNED.encode()) == SIGNED


def test_who_is_in_it() -> None:
    """Row 12: an id that is none, or nobody's any more, has no key."""
    assert ROSTER.size == 5
    assert ROSTER.members == {0, 1, 2, 4}
    assert ROSTER.key_of(PartyId(4)) == KEYS[3]
    assert ROSTER.place_of(KEYS[3]) == 4
    with pytest.raises(ParameterError, match="member 3 is excluded in epoch 3"):
        ROSTER.key_of(PartyId(3))
    for party in (-1, 5, SERVER):
        with pytest.raises(ParameterError, match="not in the roster"):
            ROSTER.key_of(PartyId(party))
    for key in (KEYS[4], bytes(32), ROSTER.server):
        with pytest.raises(ParameterError, match="no member's"):
            ROSTER.place_of(key)


@pytest.mark.parametrize("kind", [Roster, SignedRoster])
def test_every_length_but_the_right_one_is_refused(kind: Any) -> None:
    """Rows 2 and 3."""
    data = (ROSTER if kind is Roster else SIGNED).encode()
    for size in range(len(data)):
        with pytest.raises(SecAggError):
            kind.decode(data[:size])
    with pytest.raises(SecAggError):
        kind.decode(data + b"\0")


def test_no_flipped_bit_is_accepted() -> None:
    """Rows 23, 34, 52: also not of the signature, or of the key that made it."""
    data = SIGNED.encode()
    for at in range(len(data)):
        for bit in (1, 0x80):
            changed = data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
            with pytest.raises(SecAggError):
                SignedRoster.decode(changed)


def test_every_part_is_in_the_digest() -> None:
    others = [
        replace(ROSTER, epoch=4),
        replace(ROSTER, not_after=END + 1),
        replace(ROSTER, server=KEYS[5]),
        replace(ROSTER, keys=(*ROSTER.keys, KEYS[5])),
        replace(ROSTER, keys=(*ROSTER.keys, None)),
        replace(ROSTER, keys=ROSTER.keys[::-1]),
    ]
    assert len({ROSTER.digest, *(other.digest for other in others)}) == 7
    for other in others:
        with pytest.raises(InvalidSignature, match="not signed by the administrator"):
            SignedRoster(other, SIGNED.admin, SIGNED.signature)


def test_another_version() -> None:
    with pytest.raises(UnknownVersion, match="version 2.*speaks version 1"):
        Roster.decode(b"\x02" + ROSTER.encode()[1:])
    with pytest.raises(UnknownVersion):
        Enrolment.decode(b"\x00" + Enrolment.make("x", SEEDS[0]).encode()[1:])


def test_more_places_than_a_roster_has() -> None:
    """Rows 5 and 11: nothing is allocated for a number that is only said."""
    head = ROSTER.encode()[:45]
    for number in (MAX_MEMBERS + 1, (1 << 32) - 1):
        with pytest.raises(TooLarge, match=f"places: {number}"):
            Roster.decode(head + number.to_bytes(4) + b"".join(KEYS))
    for keys in ((), (None,) * (MAX_MEMBERS + 1)):
        with pytest.raises(ParameterError, match=f"1 to {MAX_MEMBERS} places, not {len(keys)}"):
            replace(ROSTER, keys=keys)
    assert replace(ROSTER, keys=(None,) * MAX_MEMBERS).members == frozenset()


@pytest.mark.parametrize("name", WEAK)
def test_weak_keys(name: str) -> None:
    """Row 51: of a member, of the server, of the administrator, and of who asks to be enrolled.
    Zeros are no key of order 4 but a place that is nobody's."""
    weak = WEAK[name]
    with pytest.raises(InvalidKey, match="the key of member 1"):
        replace(ROSTER, keys=(KEYS[0], weak))
    with pytest.raises(InvalidKey, match="the key of the server"):
        replace(ROSTER, server=weak)
    with pytest.raises(InvalidKey, match="the key of the administrator"):
        SignedRoster(ROSTER, weak, bytes(64))
    with pytest.raises(InvalidKey):
        Pin(weak)
    with pytest.raises(InvalidKey):
        Enrolment("x", weak, bytes(64))


def test_zeros_are_no_key() -> None:
    """As a value too: excluded is None, and has one encoding."""
    with pytest.raises(InvalidKey):
        replace(ROSTER, keys=(KEYS[0], bytes(32)))
    with pytest.raises(InvalidKey):
        replace(ROSTER, server=bytes(32))


def test_a_key_that_occurs_twice() -> None:
    """Rows 9 and 33: one member under two names, the server or the administrator as a member."""
    with pytest.raises(ParameterError, match="twice: member 2 has that of member 0"):
        replace(ROSTER, keys=(KEYS[0], None, KEYS[0]))
    with pytest.raises(ParameterError, match="twice: member 1 has that of the server"):
        replace(ROSTER, keys=(KEYS[0], ROSTER.server))
    for seed in (SERVER_SEED, SEEDS[0]):
        with pytest.raises(ParameterError, match="administrator's key is also"):
            SignedRoster.sign(ROSTER, seed)


@pytest.mark.parametrize(
    ("field", "value"),
    [("epoch", -1), ("epoch", 1 << 32), ("epoch", True), ("not_after", -1), ("not_after", 1 << 64)]
    + [("not_after", 1.5), ("keys", list(KEYS)), ("server", "text")],
)
def test_fields_that_are_none(field: str, value: Any) -> None:
    with pytest.raises(ParameterError, match="server" if field == "server" else field):
        replace(ROSTER, **{field: value})


def test_keys_are_looked_at_after_the_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    """T14: what nobody has signed costs one hash, whatever it lists."""
    asked: list[bytes] = []
    monkeypatch.setattr(sign, "check_public", asked.append)
    with pytest.raises(InvalidSignature):
        SignedRoster.decode(SIGNED.encode()[:-1] + b"\x55")
    assert asked == []
    other = SignedRoster.sign(ROSTER, Seed(b"o" * 32)).encode()
    asked.clear()
    with pytest.raises(PolicyRefused):
        PIN.open(other, 0)
    assert asked == []


def test_the_pinned_administrator() -> None:
    """Row 34: both keys are shown, and anybody's roster is well signed by himself."""
    assert PIN.verify(SIGNED, END) == ROSTER == PIN.open(SIGNED.encode(), END)
    other = SignedRoster.sign(ROSTER, Seed(b"o" * 32))
    for refused in (lambda: PIN.verify(other, 0), lambda: PIN.open(other.encode(), 0)):
        with pytest.raises(PolicyRefused) as error:
            refused()
        assert other.admin.hex() in str(error.value) and PIN.admin.hex() in str(error.value)
    for data in (b"", bytes(96), SIGNED.admin):
        with pytest.raises(SecAggError):
            PIN.open(data, 0)


def test_epochs_below_the_pin() -> None:
    """T6: a roster of before is replayed."""
    assert Pin(SIGNED.admin, 3).verify(SIGNED, 0) == ROSTER
    with pytest.raises(PolicyRefused, match="of epoch 3, and pinned is epoch 4"):
        Pin(SIGNED.admin, 4).verify(SIGNED, 0)
    assert Pin(SIGNED.admin).verify(SIGNED, 0) == ROSTER


@pytest.mark.parametrize("now", [END + 0.001, END + 1, 1e300, float("inf"), float("nan")])
def test_a_roster_that_is_over(now: float) -> None:
    """Also by a clock that says nothing."""
    with pytest.raises(PolicyRefused, match="epoch 3 ended 2033-05-18 03:33:20 UTC"):
        PIN.verify(SIGNED, now)


def test_requests_to_be_enrolled() -> None:
    made = Enrolment.make("Clinic 7, Graz", SEEDS[0])
    signed = labels.encode(b"secagg/v1/sign-enrol", KEYS[0], b"Clinic 7, Graz")
    name = (14).to_bytes(4) + b"Clinic 7, Graz"
    assert made.encode() == b"\x01" + name + KEYS[0] + sign.sign(SEEDS[0], signed)
    assert Enrolment.decode(made.encode()) == made
    for size in range(len(made.encode())):
        with pytest.raises(SecAggError):
            Enrolment.decode(made.encode()[:size])
    with pytest.raises(SecAggError):
        Enrolment.decode(made.encode() + b"\0")


def test_possession_is_proved() -> None:
    """T5: nobody enrolls another's key, nor his own request under another name."""
    made = Enrolment.make("one", SEEDS[0])
    for change in ({"name": "two"}, {"key": KEYS[1]}, {"signature": bytes(64)}):
        with pytest.raises(InvalidSignature, match="owner of its key"):
            replace(made, **change)  # type: ignore[arg-type]
    # nor is a signature over another statement one over this
    for message in (labels.encode(labels.SIGN_ROSTER, KEYS[0], b"one"), b"", KEYS[0]):
        with pytest.raises(InvalidSignature):
            replace(made, signature=sign.sign(SEEDS[0], message))


@pytest.mark.parametrize(
    "name",
    ["", " x", "x ", "x\n", "x\0", "\x1b[2J", "ä", "\u202ex", "x" * (MAX_NAME + 1), "\x7f", "x\ty"],
)
def test_names_that_are_none(name: str) -> None:
    """Row 18: what draws on a terminal, or looks like another name."""
    with pytest.raises(ParameterError, match="1 to 64 printable"):
        Enrolment.make(name, SEEDS[0])
    written = b"\x01" + len(name.encode()).to_bytes(4) + name.encode() + KEYS[0] + bytes(64)
    with pytest.raises(SecAggError):
        Enrolment.decode(written)


def test_names_as_long_as_they_may_be() -> None:
    for name in ("x", "x y", "~" * MAX_NAME):
        assert Enrolment.decode(Enrolment.make(name, SEEDS[0]).encode()).name == name


def test_a_roster_and_a_plan() -> None:
    """Row 46: A is counted among all places, and whoever is excluded takes no part."""
    ROSTER.check_size(5, 4)
    with pytest.raises(ParameterError, match="roster of 6, .* 5 places"):
        ROSTER.check_size(6, 4)
    with pytest.raises(ParameterError, match="begins with 5 clients, .* 4 members"):
        ROSTER.check_size(5, 5)
