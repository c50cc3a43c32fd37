"""Transcripts and evidence of rounds in which clients sign: whoever has the roster can check them.

Offline, and without trusting who gave them (specs/12-active.md §7, §8).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from secagg import registry
from secagg.arguments import instance, octets
from secagg.errors import ParameterError, WireError
from secagg.plans.plan import Plan
from secagg.protocol import Opener, Proofs, Session
from secagg.proved import TOLD, Verdict, Verified
from secagg.roster import SignedRoster
from secagg.types import Buffer

# A plan names its protocol, and a protocol cannot read plans: so here a plan is read for whichever
# protocol asks, and nothing is known of transcripts. Two statements, of which evidence may consist,
# have no plan: each protocol that has evidence is asked, and the first takes it that knows it.

MAX_TRANSCRIPT = 1 << 28
"""Bytes that a command reads: of 10,000 clients in a complete graph a transcript has 17 million."""

_LENGTH = b"\0"
"""A transcript's second byte: the first of a length, and that is 0; no other file's."""

_T = TypeVar("_T")


def verify_transcript(data: Buffer, signed: SignedRoster) -> Verified:
    """What a transcript is of, and how far its session went; that all of it was signed by whom it
    names. That the sum is that of the inputs nobody can tell who does not have the shares.

    Raises WireError, CryptoError, ParameterError, PolicyRefused or RemoteProtocolError for one that
    is not what it says, or is of another roster than this one.
    """
    data = octets("a transcript", data)
    if data[:1] == TOLD[:1] and data[1:2] not in (b"", _LENGTH):  # a single byte is one cut off
        raise WireError(
            "this is evidence, or what a client was told, and no transcript: `secagg "
            "verify-evidence` reads it"
        )
    return _first(lambda proofs, opened: proofs.transcript(data, signed, opened), signed)


def verify_evidence(data: Buffer, signed: SignedRoster) -> Verdict:
    """Whom evidence convicts, and of what. Raises as `verify_transcript`, also where all is as it
    should be, and convicts nobody."""
    data = octets("evidence", data)
    return _first(lambda proofs, opened: proofs.evidence(data, signed, opened), signed)


def equivocations(files: Sequence[Buffer], signed: SignedRoster) -> tuple[bytes, ...]:
    """Evidence against whoever said two things, among transcripts and what clients were told
    (`secagg.proved.told`). Each file is verified by itself; raises as `verify_transcript`."""
    given = [octets("a transcript, or statements", data) for data in files]
    return _first(lambda proofs, opened: proofs.equivocations(given, signed, opened), signed)


def judged(files: Sequence[Buffer], signed: SignedRoster) -> tuple[tuple[Verdict, bytes], ...]:
    """Each verdict with its evidence: of files that are evidence, and of what is found when the
    others, transcripts and what clients were told, are compared. Raises as `verify_transcript`."""
    given = [octets("evidence, a transcript, or statements", data) for data in files]
    proofs = [data for data in given if _is_evidence(data)]
    others = [data for data in given if not _is_evidence(data)]
    proofs += equivocations(others, signed) if others else ()
    return tuple((verify_evidence(proof, signed), proof) for proof in proofs)


def _is_evidence(data: bytes) -> bool:
    """TOLD has its own second byte."""
    return data[1:2] not in (_LENGTH, TOLD[1:])


def _first(ask: Callable[[Proofs, Opener], _T], signed: SignedRoster) -> _T:
    """The first answer. Whoever says that it does not know the grammar leaves it to the next."""
    instance("signed", signed, SignedRoster)
    unknown: WireError | None = None
    for proofs in _kinds():
        try:
            return ask(proofs, _opener(signed))
        except WireError as error:
            unknown = unknown or error
    raise unknown or ParameterError("no protocol is installed that has transcripts or evidence")


def _kinds() -> list[Proofs]:
    """Those of all protocols, each once."""
    found: list[Proofs] = []
    for name in registry.available():
        with suppress(ParameterError):  # one that cannot be loaded has none, and hides no others
            proofs = registry.load(name).proofs
            if proofs is not None and proofs not in found:
                found.append(proofs)
    return found


def _opener(signed: SignedRoster) -> Opener:
    def opened(encoded: bytes, payload_digest: bytes, nonce: bytes) -> tuple[str, Session]:
        """Raises WireError, ParameterError or PolicyRefused: it is a stranger's plan."""
        plan = Plan.decode(encoded)
        if not plan.suite.signed:
            raise ParameterError("the plan is of a suite in which nobody signs")
        return plan.protocol, plan.session(nonce, payload_digest, roster=signed.roster)

    return opened
