"""Rules R1, R3-R5, S1-S4 (rows 2, 3, 7, 8, 20, 24-26, 32, 37, 38, 50, 55; T5, T6, T10): a member
that says what it should not is dropped with its fault, and the others' sum is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from secagg import shamir
from secagg.crypto.agree import KeyPair
from secagg.errors import WireError
from secagg.sansio import Dropped, Ignored, Outgoing
from secagg.testing import Act, Schedule
from secagg.types import SERVER, AbortReason, Fault, PartyId, Seed
from secagg.wire.codec import Reader, Writer
from secagg.wire.header import HEADER_SIZE, write_header
from secagg_protocols.secagg import messages as semi_honest
from secagg_protocols.secagg.active import statements
from secagg_protocols.secagg.active.messages import (
    AGREE,
    SALT_SIZE,
    Abort,
    Agree,
    SignedKeys,
    digest_of,
)
from secagg_protocols.secagg.active.statements import Statement, Value
from secagg_protocols.secagg.active.states import PHASES
from secagg_protocols.secagg.messages import Tag
from tests.active import ADMIN_SEED, COMMITTEE, SERVER_SEED, Cast, seed_of
from tests.adversary.active.liars import (
    OTHER,
    UP,
    Lie,
    Member,
    after_header,
    altered,
    before,
    costs_its_sender,
    faults,
    flipped,
    lying,
    script,
    signed,
)
from tests.adversary.active.members import answer, resigned_with, shares_of, statement
from tests.networks import standing

PLACE = 1
"""Of the liar, among those asked."""


def changed(**changes: Value) -> Lie:
    """Signed by its sender, with another value of one field."""
    return lambda m, data: data[:-64] + altered(statement(m, data), **changes).signed(m.seed)


def signed_by(seed: Seed) -> Lie:
    return lambda m, data: data[:-64] + statement(m, data).signed(seed)


def named(name: str) -> Lie:
    """The fields of one statement under the name of another."""

    def lie(m: Member, data: bytes) -> bytes:
        said = statement(m, data)
        return data[:-64] + replace(said, form=replace(said.form, name=name)).signed(m.seed)

    return lie


def bytes_of(change: Callable[[bytes], bytes | Sequence[bytes]]) -> Lie:
    return lambda m, data: change(data)


def rebound(to: Callable[[Member], bytes]) -> Lie:
    return lambda m, data: data[:3] + to(m) + data[HEADER_SIZE:]


@dataclass(frozen=True)
class Row:
    tag: int
    lie: Lie
    fault: Fault


WRONG = Fault.INVALID_SIGNATURE
NAMES = {
    Tag.ADVERTISE_KEYS: (statements.KEYS, "keys"),
    Tag.SHARE_KEYS: (statements.SHARES, "shares"),
    Tag.MASKED_INPUT: (statements.INPUT, "input"),
    AGREE: (statements.AGREE, "agree"),
    Tag.UNMASK_ANSWER: (statements.ANSWER, "answer"),
}


def _statements() -> dict[str, Row]:
    """Of each statement of a client: each field another, its name another, its key another."""
    rows = {}
    for tag, (form, name) in NAMES.items():
        for field, size in form.fields:
            value: Value = OTHER if size else 4
            rows[f"{name}: signed with another {field}"] = Row(
                tag, changed(**{field: value}), WRONG
            )
        rows[f"{name}: signed under another name"] = Row(tag, named("survivors"), WRONG)
        rows[f"{name}: signed by another member"] = Row(tag, signed_by(seed_of(4)), WRONG)
        rows[f"{name}: not signed"] = Row(tag, bytes_of(lambda data: data[:-64] + bytes(64)), WRONG)
    rows["keys: signed by the administrator"] = Row(
        Tag.ADVERTISE_KEYS, signed_by(ADMIN_SEED), WRONG
    )
    rows["agree: signed by the server"] = Row(AGREE, signed_by(SERVER_SEED), WRONG)
    return rows


def _bytes() -> dict[str, Row]:
    """Of each message: cut, longer, of another suite and version, bound to something else."""
    rows = {}
    for tag, (_, name) in NAMES.items():
        offered = tag == Tag.ADVERTISE_KEYS
        lies: dict[str, Lie] = {
            "cut short": bytes_of(lambda data: data[:-1]),
            "with a byte more": bytes_of(lambda data: data + b"\0"),
            "of suite 1": bytes_of(lambda data: b"\1\1" + data[2:]),
            "bound to another session": rebound(lambda m: OTHER),
            "bound to the session or the offer, which is the other": rebound(
                (lambda m: b"\1" * 32) if offered else (lambda m: m.stage.terms.offer)
            ),
        }
        for what, lie in lies.items():
            rows[f"{name}: {what}"] = Row(tag, lie, Fault.MALFORMED)
        rows[f"{name}: twice, and not the same"] = Row(
            tag, bytes_of(lambda data: (data, flipped(data, -1))), Fault.EQUIVOCATION
        )
    return rows


def keys(c_pk: bytes | None = None, s_pk: bytes | None = None) -> Lie:
    """Signed by its sender."""

    def lie(m: Member, data: bytes) -> bytes:
        said = SignedKeys.read(after_header(data))
        both = (c_pk or said.c_pk, s_pk or said.s_pk)
        return signed(script(), m.party, *both).encode(script().terms.offer)

    return lie


def of_its_neighbour(m: Member, data: bytes) -> bytes:
    """What the client in front of it has said, signed by this one."""
    said = SignedKeys.read(after_header(script().sent(Tag.ADVERTISE_KEYS, by=PartyId(0))))
    return signed(script(), m.party, said.c_pk, said.s_pk).encode(script().terms.offer)


def replayed(tag: int, by: int = PLACE) -> Lie:
    """What it, or another, has said in the session before, bound to this one."""
    return lambda m, data: data[:HEADER_SIZE] + before().sent(tag, by=PartyId(by))[HEADER_SIZE:]


def of_another(tag: int) -> Lie:
    """The message of the client in front of it, as it is."""
    return lambda m, data: next(
        c.data for c in m.network.sent if c.sender == m.cast.parties[0] and c.data[2] == tag
    )


def beside(tag: int, where: int) -> bytes:
    """A message of a kind that is not due, with a body of zeros."""
    return write_header(tag, OTHER, Cast().session.suite).raw(bytes(where)).finish()


def elsewhere(**changes: object) -> Lie:
    """What it would say in another session than the server's (T7)."""

    def lie(m: Member, data: bytes) -> bytes:
        client = replace(m.cast, **changes).client(m.party)  # type: ignore[arg-type]
        client.start()
        return client.outgoing()[0].data

    return lie


OF_KEYS = {
    "keys: a c_pk of small order": Row(Tag.ADVERTISE_KEYS, keys(bytes(32)), Fault.INVALID_KEY),
    "keys: an s_pk of small order": Row(
        Tag.ADVERTISE_KEYS, keys(None, (1).to_bytes(32, "little")), Fault.INVALID_KEY
    ),
    "keys: a c_pk that is not canonical": Row(
        Tag.ADVERTISE_KEYS, keys(b"\xff" * 32), Fault.INVALID_KEY
    ),
    "keys: both are one": Row(
        Tag.ADVERTISE_KEYS,
        keys(*[KeyPair.from_random(b"one".ljust(32)).public] * 2),
        Fault.INVALID_KEY,
    ),
    "keys: those of another client": Row(Tag.ADVERTISE_KEYS, of_its_neighbour, Fault.INVALID_KEY),
    "keys: the message of another client": Row(
        Tag.ADVERTISE_KEYS, of_another(Tag.ADVERTISE_KEYS), Fault.INVALID_KEY
    ),
    "keys: of the session before": Row(
        Tag.ADVERTISE_KEYS,
        lambda m, data: before().sent(Tag.ADVERTISE_KEYS, by=m.party),
        Fault.MALFORMED,
    ),
    "keys: of the session before, bound to this one": Row(
        Tag.ADVERTISE_KEYS, replayed(Tag.ADVERTISE_KEYS), WRONG
    ),
    "keys: of a client that was given another payload": Row(
        Tag.ADVERTISE_KEYS, elsewhere(payload=OTHER), Fault.MALFORMED
    ),
    "keys: of a client that has another plan": Row(
        Tag.ADVERTISE_KEYS, elsewhere(plan=b"another"), Fault.MALFORMED
    ),
    "keys: of a client that has an earlier roster": Row(
        Tag.ADVERTISE_KEYS, elsewhere(epoch=2), Fault.MALFORMED
    ),
    "keys: of suite 1, unsigned": Row(
        Tag.ADVERTISE_KEYS,
        lambda m, data: semi_honest.AdvertiseKeys(data[35:67], data[67:99]).encode(data[3:35]),
        Fault.MALFORMED,
    ),
}


def resalted(m: Member, data: bytes) -> bytes:
    """Its own vector with another salt, signed: a second wording of its input."""
    at = HEADER_SIZE + 1
    made = data[:at] + bytes(SALT_SIZE) + data[at + SALT_SIZE :]
    return resigned_with(m, made)


OF_INPUTS = {
    "shares: those of another client": Row(Tag.SHARE_KEYS, of_another(Tag.SHARE_KEYS), WRONG),
    "shares: of the session before": Row(Tag.SHARE_KEYS, replayed(Tag.SHARE_KEYS), WRONG),
    "shares: a commitment with a bit flipped": Row(
        Tag.SHARE_KEYS, bytes_of(lambda data: flipped(data, HEADER_SIZE)), WRONG
    ),
    "shares: a sealed pair with a bit flipped": Row(
        Tag.SHARE_KEYS, bytes_of(lambda data: flipped(data, HEADER_SIZE + 40)), WRONG
    ),
    "shares: a digest with a bit flipped": Row(
        Tag.SHARE_KEYS, bytes_of(lambda data: flipped(data, -70)), WRONG
    ),
    "shares: of a neighbour fewer": Row(
        Tag.SHARE_KEYS, bytes_of(lambda data: data[:67] + data[235:]), Fault.MALFORMED
    ),
    "input: that of another client": Row(Tag.MASKED_INPUT, of_another(Tag.MASKED_INPUT), WRONG),
    "input: of the session before": Row(Tag.MASKED_INPUT, replayed(Tag.MASKED_INPUT), WRONG),
    "input: another vector": Row(
        Tag.MASKED_INPUT, bytes_of(lambda data: flipped(data, -70)), WRONG
    ),
    "input: another salt": Row(
        Tag.MASKED_INPUT, bytes_of(lambda data: flipped(data, HEADER_SIZE + 1)), WRONG
    ),
    "input: a report that is not signed": Row(
        Tag.MASKED_INPUT, bytes_of(lambda data: flipped(data, HEADER_SIZE)), WRONG
    ),
    "input: a report of nobody": Row(
        Tag.MASKED_INPUT, bytes_of(lambda data: flipped(data, HEADER_SIZE, 6)), Fault.MALFORMED
    ),
    "input: bits behind the last element": Row(
        Tag.MASKED_INPUT,
        bytes_of(lambda data: flipped(data, HEADER_SIZE + 1 + SALT_SIZE + 4, 7)),
        Fault.MALFORMED,
    ),
    "input: again with another salt": Row(
        Tag.MASKED_INPUT,
        lambda m, data: (data, resalted(m, data)),
        Fault.EQUIVOCATION,
    ),
    "agree: that of another client": Row(AGREE, of_another(AGREE), WRONG),
    "agree: of the session before": Row(AGREE, replayed(AGREE), WRONG),
    "agree: a smaller U3": Row(
        AGREE,
        lambda m, data: Agree(
            altered(
                m.stage.fixed.agreement(m.index),
                survivors=digest_of(range(5), 6),
                number=5,
            ).signed(m.seed)
        ).encode(m.cohort.session),
        WRONG,
    ),
}


def swapped(m: Member, data: bytes) -> bytes:
    shares = shares_of(data)
    return answer(m, [shares[1], shares[0], *shares[2:]])


def one_more(m: Member, data: bytes) -> bytes:
    shares = shares_of(data)
    return answer(m, [*shares, shares[0]])


def share(change: Callable[[bytes], bytes]) -> Lie:
    """Another share of the dealer in front, signed."""
    return lambda m, data: answer(m, [change(shares_of(data)[0]), *shares_of(data)[1:]])


def of_another_holder(m: Member, data: bytes) -> bytes:
    return answer(m, shares_of(script().sent(Tag.UNMASK_ANSWER, by=PartyId(0))))


def other_kind(m: Member, data: bytes) -> bytes:
    """s of the dealer in front where b is asked for: it was dealt both."""
    held = standing(script().client(PLACE, 3)).held
    return answer(m, [held[0].s_share, *shares_of(data)[1:]])


INVALID = Fault.INVALID_SHARE
OF_ANSWERS = {
    "answer: that of another client": Row(Tag.UNMASK_ANSWER, of_another(Tag.UNMASK_ANSWER), WRONG),
    "answer: of the session before": Row(Tag.UNMASK_ANSWER, replayed(Tag.UNMASK_ANSWER), WRONG),
    "answer: another share, not signed": Row(
        Tag.UNMASK_ANSWER, bytes_of(lambda data: flipped(data, HEADER_SIZE + 7)), WRONG
    ),
    "answer: another share, signed": Row(
        Tag.UNMASK_ANSWER, share(lambda one: flipped(one, 7)), INVALID
    ),
    "answer: another share of the last dealer alone": Row(
        Tag.UNMASK_ANSWER,
        lambda m, data: answer(m, [*shares_of(data)[:-1], flipped(shares_of(data)[-1], 7)]),
        INVALID,
    ),
    "answer: a share that is no element of the field": Row(
        Tag.UNMASK_ANSWER, share(lambda one: b"\xff" * 40), INVALID
    ),
    "answer: a share of p, which is zero": Row(
        Tag.UNMASK_ANSWER, share(lambda one: shamir.P.to_bytes(8) + one[8:]), INVALID
    ),
    "answer: a share of zeros": Row(Tag.UNMASK_ANSWER, share(lambda one: bytes(40)), INVALID),
    "answer: two dealers' shares exchanged": Row(Tag.UNMASK_ANSWER, swapped, INVALID),
    "answer: the shares at another's x": Row(Tag.UNMASK_ANSWER, of_another_holder, INVALID),
    "answer: the other share of its dealer": Row(Tag.UNMASK_ANSWER, other_kind, INVALID),
    "answer: of a dealer fewer": Row(
        Tag.UNMASK_ANSWER, lambda m, data: answer(m, shares_of(data)[:-1]), Fault.MALFORMED
    ),
    "answer: of a dealer more": Row(Tag.UNMASK_ANSWER, one_more, Fault.MALFORMED),
    "answer: none": Row(Tag.UNMASK_ANSWER, lambda m, data: answer(m, []), Fault.MALFORMED),
}


OUT_OF_TIME = {
    "an input in place of the keys": Row(
        Tag.ADVERTISE_KEYS, lambda m, data: beside(Tag.MASKED_INPUT, 90), Fault.WRONG_PHASE
    ),
    "an agreement in place of the shares": Row(
        Tag.SHARE_KEYS, lambda m, data: beside(AGREE, 64), Fault.WRONG_PHASE
    ),
    "an answer in place of the input": Row(
        Tag.MASKED_INPUT, lambda m, data: beside(Tag.UNMASK_ANSWER, 64), Fault.WRONG_PHASE
    ),
    "an answer in place of the agreement": Row(
        AGREE, lambda m, data: beside(Tag.UNMASK_ANSWER, 64), Fault.WRONG_PHASE
    ),
    "the server's key list, sent back": Row(
        Tag.SHARE_KEYS, lambda m, data: beside(Tag.KEY_LIST, 90), Fault.WRONG_PHASE
    ),
    "the server's survivors, sent back": Row(
        AGREE, lambda m, data: beside(9, 65), Fault.WRONG_PHASE
    ),
    "the server's request, sent back": Row(
        Tag.UNMASK_ANSWER, lambda m, data: beside(Tag.UNMASK_REQUEST, 65), Fault.WRONG_PHASE
    ),
    "a message of a kind that nobody knows": Row(
        Tag.SHARE_KEYS, lambda m, data: beside(77, 9), Fault.MALFORMED
    ),
    "nothing": Row(Tag.MASKED_INPUT, lambda m, data: b"", Fault.MALFORMED),
    "it quits before its input": Row(
        Tag.MASKED_INPUT,
        lambda m, data: Abort(AbortReason.CANCELLED).encode(m.stage.terms.offer),
        AbortReason.CANCELLED.fault,
    ),
}
ROWS = _statements() | _bytes() | OF_KEYS | OF_INPUTS | OF_ANSWERS | OUT_OF_TIME


@pytest.mark.parametrize("name", ROWS)
def test_a_lie_costs_its_sender_and_never_the_round(name: str) -> None:
    row = ROWS[name]
    costs_its_sender(Cast(), PLACE, row.tag, row.lie, row.fault)


def test_an_agreement_of_whoever_is_no_signer() -> None:
    """Rule R4: it has nothing to say there, however well it is signed."""
    cast = Cast(COMMITTEE)
    network = cast.network().run_until("consistency")
    member = Member(network, cast, cast.parties[0])
    may, _ = member.cohort.signers
    index = min({*range(10)} - {*may})
    liar = cast.parties[index]
    said = member.stage.fixed.agreement(index).signed(seed_of(liar))
    network.hand_over(liar, Outgoing(SERVER, Agree(said).encode(member.cohort.session)))
    assert cast.exact(network).contributors == frozenset(cast.parties)
    assert faults(network) == {liar: Fault.MALFORMED}


def test_whoever_was_not_asked_is_not_heard() -> None:
    """Rules R1 and S1: a member of the roster, with keys that are signed as they should be."""
    cast = Cast(places=9)
    network = cast.network()
    network.start()
    offer = network.server._terms.offer  # type: ignore[attr-defined]
    for stranger in (0, 8 + 1, 1 << 31):
        pair = [KeyPair.from_random(bytes([9, which]) * 16).public for which in range(2)]
        values = offer, stranger, *pair
        said = SignedKeys(*pair, statements.KEYS(*values).signed(seed_of(stranger)))
        network.hand_over(PartyId(stranger), Outgoing(SERVER, said.encode(offer)))
        assert isinstance(network.events[-1][1], Ignored)
    assert cast.exact(network).contributors == frozenset(cast.parties)
    assert not faults(network)


@pytest.mark.parametrize("phase", range(1, 5))
def test_whoever_was_dropped_is_not_heard_again(phase: int) -> None:
    """Rule S1: its right message does not make good what it has said."""
    lie = bytes_of(lambda data: (b"junk", data))
    network = costs_its_sender(Cast(), PLACE, UP[phase], lie, Fault.MALFORMED)
    assert any(isinstance(event, Ignored) for _, event in network.events)


@pytest.mark.parametrize("tag", UP[:-1])
def test_what_comes_after_its_phase_is_not_heard(tag: int) -> None:
    """Rows 37, 38: late, and then for ever."""
    cast = Cast()
    phase = dict(zip(UP, PHASES, strict=True))[tag]
    total = cast.exact(
        network := cast.network(Schedule({(phase.name, cast.parties[PLACE]): Act.LATE}))
    )
    assert faults(network) == {cast.parties[PLACE]: Fault.LATE}
    assert (cast.parties[PLACE] in total.contributors) is (tag == AGREE)


def test_an_abort_that_another_forges_is_nothing_to_the_victim() -> None:
    """Row 48: an abort is of whoever the transport says; bound to another offer it is junk."""
    cast = Cast()
    forged = lambda m, data: Abort(AbortReason.CANCELLED).encode(OTHER)  # noqa: E731
    costs_its_sender(cast, PLACE, Tag.SHARE_KEYS, forged, Fault.MALFORMED)


def test_a_member_that_lies_in_every_phase_is_reported_once() -> None:
    cast = Cast()
    network = lying(cast, {(PLACE, tag): bytes_of(lambda data: data + b"!") for tag in UP})
    cast.exact(network)
    reported = [e for who, e in network.events if who == SERVER and isinstance(e, Dropped)]
    assert len(reported) == 1


def test_the_lies_here_are_lies() -> None:
    """That each helper says the honest message where nothing is changed."""
    for tag in UP:
        network = lying(Cast(), {(PLACE, tag): changed()})
        assert Cast().exact(network).contributors == frozenset(Cast().parties)
        assert not faults(network)


def test_a_statement_of_a_name_that_nobody_knows_is_none() -> None:
    said = statements.AGREE(OTHER, 1, OTHER, OTHER, 4)
    data = said.write(Writer()).finish()
    assert Statement.read(Reader(data)) == said
    with pytest.raises(WireError, match="unknown name"):
        Statement.read(Reader(data.replace(b"agree", b"AGREE")))
