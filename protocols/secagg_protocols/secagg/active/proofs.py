"""What others check of active mode; the machines' modules are imported when the first one does."""

from __future__ import annotations

from collections.abc import Sequence

from secagg.protocol import Opener, Proofs
from secagg.proved import Verdict, Verified
from secagg.roster import SignedRoster
from secagg.types import Buffer

# A plan is made, and a protocol listed, without any of this: what reads transcripts imports what
# masks, and with it the compiler.


def _transcript(data: Buffer, signed: SignedRoster, opened: Opener) -> Verified:
    from secagg_protocols.secagg.active.verifying import verify_transcript

    return verify_transcript(data, signed, opened)


def _evidence(data: Buffer, signed: SignedRoster, opened: Opener) -> Verdict:
    from secagg_protocols.secagg.active.convicting import verify_evidence

    return verify_evidence(data, signed, opened)


def _equivocations(
    files: Sequence[Buffer], signed: SignedRoster, opened: Opener
) -> tuple[bytes, ...]:
    from secagg_protocols.secagg.active.comparing import equivocations

    return equivocations(files, signed, opened)


PROOFS = Proofs(_transcript, _evidence, _equivocations)
"""One value, as secagg and secagg+ have one format."""
