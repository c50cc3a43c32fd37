"""Codes of invitations, and what accepts one (specs/51-admission.md, rules E2 and E3)."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.crypto import labels, sign
from secagg.errors import (
    InputError,
    InvalidKey,
    InvalidSignature,
    ParameterError,
    SecAggError,
    TrailingBytes,
    Truncated,
    UnknownVersion,
)
from secagg.invitation import PREFIX, PUBLIC_PKI, Acceptance, Invitation, Renewal, Token
from secagg.roster import Enrolment
from secagg.types import Seed
from secagg.wire.hello import Service
from tests.soak import examples

SECRET, MINE, OTHER = (Seed(word.ljust(32)) for word in (b"service", b"mine", b"other"))
KEY = sign.public_key(SECRET)
URL = "https://sum.hospital.example:8443/sums"
INVITED = Invitation(URL, KEY, bytes(range(32)), "site-1", Token(bytes(range(16))))
CODE = INVITED.encode()
SERVICE = INVITED.service


def test_rule_e2_a_code_is_what_it_says() -> None:
    for url in ("https://a", URL, "http://localhost:80", "http://127.0.0.1", "https://a.b/"):
        for name in ("a", "~" * 64):
            made = replace(INVITED, url=url, name=name, ca=PUBLIC_PKI)
            assert Invitation.decode(made.encode()) == made
    assert SERVICE == Service("sum.hospital.example", KEY)
    assert CODE.startswith("secagg1-") and CODE.islower() and " " not in CODE


def test_rule_e2_a_code_is_secret() -> None:
    token = INVITED.token.expose()
    for shown in (repr(INVITED), repr(INVITED.token), repr(INVITED.accept(MINE))):
        assert token.hex() not in shown and "\\x01" not in shown and CODE[-20:] not in shown
    for bad in (CODE[:-1], CODE + "1", CODE[:60], "x" + CODE, CODE[:70] + "a" + CODE[71:]):
        with pytest.raises(SecAggError) as error:
            Invitation.decode(bad)
        assert CODE[100:110] not in str(error.value)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("", "begins with secagg1-"),
        (CODE.upper(), "begins with secagg1-"),
        (" " + CODE, "begins with secagg1-"),
        ("secagg2-" + CODE[8:], "another version"),
        (CODE[:20] + "1" + CODE[21:], "character 21"),
        (CODE[:20] + "\n" + CODE[20:], "character 21"),
        (CODE + "\n", f"character {len(CODE) + 1}"),
        (CODE + "=", f"character {len(CODE) + 1}"),
        (PREFIX, "missing"),
        (CODE[:-8], "the end of the code is missing"),
        (CODE[:40], "the end of the code is missing"),
        (CODE + "a" * 8, "more behind"),
    ],
)
def test_rule_e2_what_is_wrong_with_a_code(bad: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Invitation.decode(bad)


@settings(max_examples=examples(200))
@given(st.integers(len(PREFIX), len(CODE) - 1), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_rule_e2_a_slip_is_seen(at: int, letter: str) -> None:
    """One letter for another, left out or twice, or two exchanged."""
    other = CODE[:at] + letter + CODE[at + 1 :]
    swapped = CODE[:at] + CODE[at + 1 : at + 2] + CODE[at] + CODE[at + 2 :]
    for bad in {other, CODE[:at] + CODE[at + 1 :], CODE[:at] + letter + CODE[at:], swapped} - {
        CODE
    }:
        with pytest.raises(InputError):
            Invitation.decode(bad)


def test_rule_e2_a_code_is_written_in_one_way() -> None:
    """Row 23: bits behind the last byte are zero, or a code would have many forms."""
    letters, spare = "abcdefghijklmnopqrstuvwxyz234567", 0
    for size in range(1, 6):
        code = replace(INVITED, name="x" * size).encode()
        whole = code[len(PREFIX) :].upper()
        data = base64.b32decode(whole + "=" * (-len(whole) % 8))
        for letter in set(letters) - {code[-1]}:
            other = whole[:-1] + letter.upper()
            spare += base64.b32decode(other + "=" * (-len(other) % 8)) == data
            with pytest.raises(InputError):
                Invitation.decode(code[:-1] + letter)
    assert spare > 10


def test_rule_e2_urls() -> None:
    for bad in ("", "sum.example", "ftp://a", "https://", "https://A", "https://a@b", "https://a:0",
                "https://a:65536", "https://a:99999", "https://a b", "https://a?q", "https://a#f",
                "http://sum.example", "http://10.0.0.1", "https://-a", "https://a\n", "https://[::1]",
                "http://127.0.0.1.example", "https://a/" + "x" * 300):  # fmt: skip
        with pytest.raises(ParameterError):
            replace(INVITED, url=bad)
    with pytest.raises(InvalidKey):
        replace(INVITED, key=b"\1" + bytes(31))
    for change in ({"name": " a"}, {"ca": bytes(31)}, {"token": b"x" * 16}, {"url": None}):
        with pytest.raises(ParameterError):
            replace(INVITED, **change)  # type: ignore[arg-type]


def test_rule_e3_the_token_signs_the_key_and_stays_at_home() -> None:
    said = INVITED.accept(MINE)
    assert Acceptance.decode(said.encode()) == said and INVITED.token.expose() not in said.encode()
    seed = labels.digest(b"secagg/v1/ticket", SERVICE.digest, INVITED.token.expose())
    assert said.ticket == sign.public_key(Seed(seed)) and said.request.key == sign.public_key(MINE)
    statement = labels.encode(
        b"secagg/v1/sign-acceptance", SERVICE.digest, said.ticket, said.request.key
    )
    sign.verify(said.ticket, statement, said.signature)
    said.check(SERVICE)
    for other in (
        replace(said, request=Enrolment.make("site-1", OTHER)),
        replace(said, ticket=sign.public_key(OTHER)),
        replace(said, signature=bytes(64)),
        replace(INVITED, url="https://elsewhere.example").accept(MINE),
    ):
        with pytest.raises(InvalidSignature):
            other.check(SERVICE)


def test_rule_e7_the_old_key_signs_the_new() -> None:
    said = Renewal.make(SERVICE, MINE, Enrolment.make("site-1", OTHER))
    assert Renewal.decode(said.encode()) == said
    said.check(SERVICE)
    accepted = INVITED.accept(OTHER)
    for other in (
        replace(said, request=Enrolment.make("site-1", SECRET)),
        replace(said, old=sign.public_key(OTHER)),
        Renewal.make(Service("a", KEY), MINE, said.request),
        Renewal(accepted.ticket, accepted.request, accepted.signature),  # signed for another use
    ):
        with pytest.raises(InvalidSignature):
            other.check(SERVICE)


@pytest.mark.parametrize("kind", [Acceptance, Renewal])
def test_bytes_that_are_none(kind: type[Acceptance | Renewal]) -> None:
    good = INVITED.accept(MINE).encode()
    weak = b"\1" + bytes(31)
    key = good.index(sign.public_key(MINE))
    for bad, error in (
        (b"", Truncated),
        (good[:-1], Truncated),
        (good + b"\0", TrailingBytes),
        (b"\2" + good[1:], UnknownVersion),
        (good[:key] + weak + good[key + 32 :], InvalidKey),  # threat 51
        (good[:-1] + bytes([good[-1] ^ 1]), InvalidSignature),
        (good.replace(b"site-1", b"site-2"), InvalidSignature),
    ):
        with pytest.raises(error):
            kind.decode(bad)
