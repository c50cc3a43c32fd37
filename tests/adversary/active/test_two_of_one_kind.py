"""Rules S2, R8 (rows 25, 26; T10): whoever signs two messages of one kind is
dropped, and at that moment the server has what convicts it.

Each second message is signed as it should be, unless that is what it lacks.
"""

from __future__ import annotations

import pytest

from secagg.crypto.agree import KeyPair
from secagg.proved import Charge
from secagg.sansio import Dropped
from secagg.testing import Network
from secagg.types import SERVER, Fault, PartyId
from secagg.wire.header import HEADER_SIZE
from secagg_protocols.secagg.active import statements
from secagg_protocols.secagg.active.convicting import verify_evidence
from secagg_protocols.secagg.active.messages import (
    AGREE,
    SALT_SIZE,
    Agree,
    MaskedInput,
    SignedKeys,
    digest_of,
)
from secagg_protocols.secagg.messages import Tag
from tests.active import WITHOUT_FAULTS, Cast, opener_of, seed_of
from tests.adversary.active.liars import (
    OTHER,
    UP,
    Lie,
    Member,
    after_header,
    altered,
    faults,
    flipped,
    lying,
)
from tests.adversary.active.members import answer, resigned_with, shares_of, statement

PLACE = 1
CASTS = {**WITHOUT_FAULTS, "places": Cast(places=9)}


def resigned(at: int) -> Lie:
    """A bit of its body flipped, and signed."""
    return lambda m, data: resigned_with(m, flipped(data, at))


def other_report(m: Member, data: bytes) -> bytes:
    """That a dealer in U2 has failed, which it had not said, or the reverse."""
    near, index = m.cohort.neighbours(m.index), m.index
    said, _ = MaskedInput.read(after_header(data), len(near), m.cast.layout)
    failed = said.failed ^ {0}
    delivery, _ = m.stage._deliveries.signed[index]
    told = delivery, digest_of(failed, len(near)), said.digest
    u2 = m.cohort.digest(m.stage._deliveries.dealt)
    signature = statements.INPUT(m.cohort.session, index, u2, *told).signed(m.seed)
    again = MaskedInput(failed, said.salt, said.vector, signature)
    return again.encode(m.cohort.session, len(near))


def other_share(m: Member, data: bytes) -> bytes:
    first, *rest = shares_of(data)
    return answer(m, [flipped(first, 7), *rest])


TWO: dict[str, tuple[int, str, Lie]] = {
    "two shares: another commitment": (Tag.SHARE_KEYS, "shares", resigned(HEADER_SIZE)),
    "two shares: another sealed pair": (Tag.SHARE_KEYS, "shares", resigned(HEADER_SIZE + 40)),
    "two shares: another digest of its own": (Tag.SHARE_KEYS, "shares", resigned(-70)),
    "two shares: with a byte behind them that nobody has signed": (
        Tag.SHARE_KEYS,
        "shares",
        lambda m, data: resigned_with(m, flipped(data, HEADER_SIZE)) + bytes(1),
    ),
    "two inputs: another salt": (Tag.MASKED_INPUT, "input", resigned(HEADER_SIZE + 2)),
    "two inputs: another vector": (
        Tag.MASKED_INPUT,
        "input",
        resigned(HEADER_SIZE + 2 + SALT_SIZE + 8),
    ),
    "two inputs: another report": (Tag.MASKED_INPUT, "input", other_report),
    "two answers: another share": (Tag.UNMASK_ANSWER, "answer", other_share),
}
"""The message, what its statement is called, and what it says the second time."""


def said_before(m: Member, tag: int) -> bytes:
    sent = (c.data for c in m.network.sent if c.sender == m.party)
    return next(data for data in sent if data[2] == tag)


class Convicted:
    """Evidence as it is at hand right after each message, with the fault."""

    def __init__(self, cast: Cast, lies: dict[tuple[int, int], Lie]) -> None:
        self.cast, self.network = cast, lying(cast, lies)
        self.proofs: list[bytes] = []
        server = self.network.server
        receive = server.receive

        def receiving(sender: PartyId, message: bytes) -> None:
            receive(sender, message)
            self.proofs += server.evidence()  # type: ignore[attr-defined]

        server.receive = receiving  # type: ignore[method-assign,assignment]


def check_convicted(made: Convicted, name: str) -> None:
    cast = made.cast
    liar = cast.parties[PLACE]
    (proof,) = made.proofs
    verdict = verify_evidence(proof, cast.signed, opener_of(cast))
    assert (verdict.charge, verdict.party) == (Charge.TWO_STATEMENTS, liar)
    assert repr(name) in verdict.what
    assert len(proof) <= 512, "statements and signatures, no bodies"


def run(made: Convicted) -> Network:
    made.cast.exact(made.network)
    return made.network


@pytest.mark.parametrize("kind", CASTS)
@pytest.mark.parametrize("name", TWO)
def test_two_of_one_kind_convict_their_signer(kind: str, name: str) -> None:
    tag, said, second = TWO[name]
    made = Convicted(CASTS[kind], {(PLACE, tag): lambda m, data: (data, _one(second, m, data))})
    network = run(made)
    assert faults(network) == {made.cast.parties[PLACE]: Fault.EQUIVOCATION}
    check_convicted(made, said)


def _one(lie: Lie, m: Member, data: bytes) -> bytes:
    said = lie(m, data)
    assert isinstance(said, bytes) and said != data
    return said


LATER = [
    (Tag.SHARE_KEYS, Tag.MASKED_INPUT),
    (Tag.SHARE_KEYS, AGREE),
    (Tag.SHARE_KEYS, Tag.UNMASK_ANSWER),
    (Tag.MASKED_INPUT, AGREE),
    (Tag.MASKED_INPUT, Tag.UNMASK_ANSWER),
]


@pytest.mark.parametrize(("tag", "when"), LATER)
def test_a_second_one_that_comes_in_a_later_phase_convicts_too(tag: int, when: int) -> None:
    second = {Tag.SHARE_KEYS: resigned(HEADER_SIZE), Tag.MASKED_INPUT: resalted}[Tag(tag)]
    lie: Lie = lambda m, data: (_one(second, m, said_before(m, tag)), data)  # noqa: E731
    made = Convicted(Cast(), {(PLACE, when): lie})
    run(made)
    check_convicted(made, "shares" if tag == Tag.SHARE_KEYS else "input")


def resalted(m: Member, data: bytes) -> bytes:
    """Of whatever stage there is meanwhile."""
    made = flipped(data, HEADER_SIZE + 2)
    near = len(m.cohort.neighbours(m.index))
    said, _ = MaskedInput.read(after_header(made), near, m.cast.layout)
    stage = m.stage
    deliveries = stage._deliveries if hasattr(stage, "_deliveries") else stage.fixed.deliveries
    signed = deliveries.input(m.index, said.failed, said.digest).signed(m.seed)
    return made[:-64] + signed


def keys_again(m: Member, data: bytes) -> bytes:
    """Others than before, as a client says that was started again."""
    pair = [KeyPair.from_random(bytes([9, which]) * 16).public for which in range(2)]
    said = statements.KEYS(m.stage.binding, m.party, *pair)
    return SignedKeys(*pair, said.signed(m.seed)).encode(m.stage.binding)


def other_survivors(m: Member, data: bytes) -> bytes:
    agreed = m.stage.fixed.agreement(m.index)
    smaller = altered(agreed, survivors=digest_of(range(5), 6), number=5)
    return Agree(smaller.signed(m.seed)).encode(m.cohort.session)


UNSEEN: dict[str, tuple[int, Lie]] = {
    "two keys: of a client that was started again": (Tag.ADVERTISE_KEYS, keys_again),
    "two agreements: the server cannot tell of what": (AGREE, other_survivors),
    "two shares: the second is not signed": (
        Tag.SHARE_KEYS,
        lambda m, data: flipped(data, HEADER_SIZE),
    ),
    "two shares: signed by another member": (
        Tag.SHARE_KEYS,
        lambda m, data: _by_another(m, flipped(data, HEADER_SIZE)),
    ),
    "two shares: of another session": (
        Tag.SHARE_KEYS,
        lambda m, data: data[:-64] + altered(statement(m, data), session=OTHER).signed(m.seed),
    ),
    "two shares: the second is cut": (Tag.SHARE_KEYS, lambda m, data: data[:-1]),
    "two shares: with a byte more": (Tag.SHARE_KEYS, lambda m, data: data + b"\0"),
    "two shares: of nothing but a header": (Tag.SHARE_KEYS, lambda m, data: data[:HEADER_SIZE]),
    "two inputs: the second is not signed": (
        Tag.MASKED_INPUT,
        lambda m, data: flipped(data, HEADER_SIZE + 2),
    ),
    "two inputs: a report of nobody": (
        Tag.MASKED_INPUT,
        lambda m, data: flipped(data, HEADER_SIZE, 6),
    ),
    "two inputs: with a byte more": (Tag.MASKED_INPUT, lambda m, data: data + b"\0"),
    "two answers: the second is not signed": (
        Tag.UNMASK_ANSWER,
        lambda m, data: flipped(data, HEADER_SIZE + 7),
    ),
    "two answers: of a dealer fewer": (
        Tag.UNMASK_ANSWER,
        lambda m, data: answer(m, shares_of(data)[:-1]),
    ),
}
"""Second messages that anybody could have sent, or that prove nothing."""


def _by_another(m: Member, data: bytes) -> bytes:
    return data[:-64] + statement(m, data).signed(seed_of(m.party + 1))


@pytest.mark.parametrize("name", UNSEEN)
def test_what_its_sender_has_not_signed_twice_convicts_nobody(name: str) -> None:
    """The link is what says whose it is, and others can write on it; so the fault is as ever."""
    tag, second = UNSEEN[name]
    made = Convicted(Cast(), {(PLACE, tag): lambda m, data: (data, _one(second, m, data))})
    network = run(made)
    assert faults(network) == {made.cast.parties[PLACE]: Fault.EQUIVOCATION}
    assert not made.proofs


@pytest.mark.parametrize("tag", UP)
def test_the_same_bytes_again_convict_nobody(tag: int) -> None:
    made = Convicted(Cast(), {(PLACE, tag): lambda m, data: (data, data, data)})
    network = run(made)
    assert not faults(network) and not made.proofs


def test_a_third_one_is_not_heard() -> None:
    second = resigned(HEADER_SIZE)
    lie: Lie = lambda m, data: (data, *[_one(second, m, data)] * 3)  # noqa: E731
    made = Convicted(Cast(), {(PLACE, Tag.SHARE_KEYS): lie})
    network = run(made)
    check_convicted(made, "shares")
    dropped = [e for who, e in network.events if who == SERVER and isinstance(e, Dropped)]
    assert len(dropped) == 1


def test_two_liars_are_each_convicted() -> None:
    """Of a roster that has places that were not asked: an index is no place."""
    cast = Cast(places=9)
    lies: dict[tuple[int, int], Lie] = {
        (0, Tag.SHARE_KEYS): lambda m, data: (data, _one(resigned(HEADER_SIZE), m, data)),
        (3, Tag.MASKED_INPUT): lambda m, data: (data, _one(resigned(HEADER_SIZE + 2), m, data)),
    }
    made = Convicted(cast, lies)
    run(made)
    found = [verify_evidence(proof, cast.signed, opener_of(cast)).party for proof in made.proofs]
    assert found == [cast.parties[0], cast.parties[3]]
