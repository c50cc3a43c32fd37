"""Who has said two things, among what several have kept (specs/12-active.md §8)."""

from __future__ import annotations

from collections.abc import Sequence

from secagg.protocol import Opener
from secagg.proved import TOLD
from secagg.roster import SignedRoster
from secagg.types import Buffer
from secagg_protocols.secagg.active import equivocation
from secagg_protocols.secagg.active.equivocation import Said
from secagg_protocols.secagg.active.verifying import statements_of

# A server that tells two groups of clients different things tells each of them one thing: nobody
# alone sees it, and nobody is helped by what it sees, for the quorum has kept their shares closed.
# Side by side it shows, and it takes two files to convict.
#
# A transcript goes on with the length of its first record, of which the first byte is 0 as long as
# a plan has fewer than 16 million bytes; evidence, and what a client was told, with their kind.


def equivocations(
    files: Sequence[Buffer], signed: SignedRoster, opened: Opener
) -> tuple[bytes, ...]:
    """Evidence of kind 1, one for each context in which somebody has made two statements.

    files: transcripts, and what servers have told clients, as `secagg.proved.told` has it; each is
    verified by itself. Raises as `verify_transcript`.
    """
    said: list[Said] = []
    for data in files:
        if data[: len(TOLD)] == TOLD:
            said += equivocation.split(data, signed.roster)
        else:
            said += statements_of(data, signed, opened)
    return equivocation.among(said)
