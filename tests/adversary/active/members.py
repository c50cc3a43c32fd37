"""What a member of active mode signs, and messages of its that are signed as they should be."""

from __future__ import annotations

from collections.abc import Sequence

from secagg.wire.header import HEADER_SIZE, write_header
from secagg_protocols.secagg.active import statements
from secagg_protocols.secagg.active.messages import (
    AGREE,
    MaskedInput,
    ShareKeys,
    SignedKeys,
    answer_digest,
    digest_of,
    share_digest,
)
from secagg_protocols.secagg.active.statements import Statement
from secagg_protocols.secagg.messages import Tag
from tests.adversary.active.liars import Lie, Member, after_header


def statement(m: Member, data: bytes) -> Statement:
    """What an honest member signs with this message of its."""
    reader, tag = after_header(data), data[2]
    if tag == Tag.ADVERTISE_KEYS:
        said = SignedKeys.read(reader)
        return statements.KEYS(m.stage.binding, m.party, said.c_pk, said.s_pk)
    session, index = m.cohort.session, m.index
    near = len(m.cohort.neighbours(index))
    if tag == Tag.SHARE_KEYS:
        body = ShareKeys.read(reader, near).digest
        return statements.SHARES(session, index, m.cohort.leaves[index], body)
    if tag == Tag.MASKED_INPUT:
        given, _ = MaskedInput.read(reader, near, m.cast.layout)
        delivery, _ = m.stage._deliveries.signed[index]
        u2 = m.cohort.digest(m.stage._deliveries.dealt)
        failed = digest_of(given.failed, near)
        return statements.INPUT(session, index, u2, delivery, failed, given.digest)
    if tag == AGREE:
        return m.stage.fixed.agreement(index)  # type: ignore[no-any-return]
    return answered(m, shares_of(data))


def shares_of(data: bytes) -> list[bytes]:
    body = data[HEADER_SIZE:-64]
    return [body[at : at + 40] for at in range(0, len(body), 40)]


def answered(m: Member, shares: Sequence[bytes], dealers: Sequence[int] | None = None) -> Statement:
    """What signs these shares as an answer; of these dealers, of all whose it holds otherwise."""
    fixed = m.stage.fixed
    there = fixed.masked.dealers(m.index) if dealers is None else dealers
    digests = [
        share_digest(m.cohort.session, v, m.index, b"b" if v in fixed.survivors else b"s", share)
        for v, share in zip(there, shares, strict=False)
    ]
    u3 = m.cohort.digest(fixed.survivors)
    return statements.ANSWER(m.cohort.session, m.index, u3, answer_digest(digests))


def answer(m: Member, shares: Sequence[bytes]) -> bytes:
    """These shares, signed as they should be."""
    writer = write_header(Tag.UNMASK_ANSWER, m.cohort.session, m.cast.session.suite)
    writer.raw(b"".join(shares))
    return writer.raw(answered(m, shares).signed(m.seed)).finish()


def resigned_with(m: Member, data: bytes) -> bytes:
    """Another body, with the signature that it then needs."""
    return data[:-64] + statement(m, data).signed(m.seed)


def failing(*positions: int) -> Lie:
    """Reports the dealers at these places among its neighbours, and signs that."""

    def lie(m: Member, data: bytes) -> bytes:
        made = bytearray(data)
        for position in positions:
            made[HEADER_SIZE + position // 8] |= 1 << position % 8
        return resigned_with(m, bytes(made))

    return lie
