"""Whoever signs two messages of one kind in one session (specs/12-active.md §6, R8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from secagg.errors import InvalidSignature, LocalProtocolError, WireError
from secagg.types import PartyId
from secagg.wire.codec import Reader
from secagg_protocols.secagg.active import equivocation
from secagg_protocols.secagg.active.equivocation import Said
from secagg_protocols.secagg.active.messages import MaskedInput, ShareKeys, UnmaskAnswer
from secagg_protocols.secagg.active.stages import After, Joined, Mask, Unmask
from secagg_protocols.secagg.active.statements import Statement
from secagg_protocols.secagg.messages import Tag

# What was taken of a client is what it has signed, and the stages hold of it what its statement
# follows from, for they need it themselves: what it has dealt, the digest of its vector, those of
# its shares, each with the signature. So nothing is kept for this, not a byte of a client, and the
# first message is not read again: what is read is the second one, which its sender sends once.
#
# Keys are not among these: whoever was started again says others and is honest. Nor is agree: it is
# a signature and nothing else, so of another U3 the server cannot tell which it is about, and of
# its own there is one statement, however often it is signed.

_Signed: TypeAlias = tuple[Statement, bytes]
_Two: TypeAlias = tuple[_Signed, _Signed]


def contradicted(stage: Joined, sender: PartyId, tag: int, reader: Reader) -> bytes | None:
    """Evidence of kind 1, where the sender has signed both what was taken of it and what is read
    here, in this session, and they are two statements; else None.

    sender: of U1, and not dropped. reader: behind the header of the second message.
    """
    if tag not in _READERS:
        return None
    index = stage.cohort.index[sender]
    try:
        first, (statement, signature) = _READERS[tag](stage, index, reader)
        # what stands behind the signature nobody has signed, and it excuses nobody
        stage.check(index, statement, signature)
    except (WireError, InvalidSignature):
        return None
    return equivocation.of_two(Said(sender, *first), Said(sender, statement, signature))


def _shares(stage: Joined, index: int, reader: Reader) -> _Two:
    cohort, first = stage.cohort, stage.dealt[index]
    second = ShareKeys.read(reader, len(cohort.neighbours(index)))
    return (
        (cohort.shares(index, first), first.signature),
        (cohort.shares(index, second), second.signature),
    )


def _input(stage: Joined, index: int, reader: Reader) -> _Two:
    if not isinstance(stage, Mask | After):
        raise LocalProtocolError("impossible: an input was taken before there was a U2")
    deliveries, given = stage.said if isinstance(stage, Mask) else stage.fixed.said
    first, near = given[index], len(stage.cohort.neighbours(index))
    second, _ = MaskedInput.read(reader, near, stage.terms.layout)
    return (
        (deliveries.input(index, first.failed, first.vector), first.signature),
        (deliveries.input(index, second.failed, second.digest), second.signature),
    )


def _answer(stage: Joined, index: int, reader: Reader) -> _Two:
    if not isinstance(stage, Unmask):
        raise LocalProtocolError("impossible: an answer was taken, and no answers are")
    fixed, first = stage.fixed, stage.answered[index]
    second = UnmaskAnswer.read(reader, len(fixed.masked.dealers(index)))
    return (
        (fixed.answer(index, first.digests), first.signature),
        (fixed.answer(index, fixed.digests(index, second.shares)), second.signature),
    )


_READERS: Mapping[int, Callable[[Joined, int, Reader], _Two]] = {
    Tag.SHARE_KEYS: _shares,
    Tag.MASKED_INPUT: _input,
    Tag.UNMASK_ANSWER: _answer,
}
