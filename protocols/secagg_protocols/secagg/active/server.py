"""The server machine of active mode (specs/12-active.md §6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import ClassVar

from secagg import errors
from secagg.crypto import labels
from secagg.errors import LocalProtocolError, ParameterError
from secagg.layout import Expander
from secagg.protocol import Session
from secagg.sansio import OneProcess, Outgoing
from secagg.suite import SUITE_2
from secagg.types import SERVER as ME
from secagg.types import Buffer, Fault, PartyId, Randomness, Seed, system_randomness
from secagg.wire.codec import Reader, Writer
from secagg_protocols.rows import write_lanes
from secagg_protocols.secagg import stages as semi_honest
from secagg_protocols.secagg.active import evidence, messages, stages, statements
from secagg_protocols.secagg.active.contradiction import contradicted
from secagg_protocols.secagg.active.params import ActiveParams
from secagg_protocols.secagg.active.stages import (
    Joined,
    Recorded,
    Recover,
    Unmask,
    WrongSecret,
    WrongShare,
)
from secagg_protocols.secagg.active.states import SERVER
from secagg_protocols.secagg.active.transcript import Chain, Kind
from secagg_protocols.secagg.staged import StagedServer
from secagg_protocols.secagg.stages import Stage
from secagg_protocols.secagg.states import ServerState
from secagg_protocols.secagg.terms import Terms

# Theory of operation.
#
# As in suite 1 a session is a chain of stages, with one more between masked input and unmask. The
# machine adds two things to what any server does. It writes down what each stage has fixed before
# the next one speaks (`transcript`): its driver stores these records before it sends what was
# drained with them, so that a server that was made to say two things has written both. And of what
# convicts somebody it makes evidence (`evidence`), which anybody can check who has the roster.
#
# It has no rows: a server that died has lost its session, and clients do not answer it a second
# time.


class ActiveServer(StagedServer):
    """The server of one session of active mode.

    protocol: the name under which it is registered. signing: the seed of the server's key in the
    session's roster. expander: what makes masks of keys. randomness: of the key by which it knows a
    message again. Raises ParameterError for sums of too few inputs, and for another key.
    """

    suite, table, names = SUITE_2, SERVER, messages.NAMES
    abort_message = messages.Abort
    chain: ClassVar[Mapping[ServerState, Callable[..., Stage]]] = stages.AFTER

    def __init__(
        self,
        protocol: str,
        session: Session,
        params: ActiveParams,
        *,
        signing: Seed,
        expander: Expander,
        randomness: Randomness = system_randomness,
    ) -> None:
        terms = Terms.of(protocol, session, params, expander)
        session.check_signing(ME, signing)
        _check(terms)
        after: dict[ServerState, Callable[..., Stage]] = {
            ServerState.IDLE: partial(stages.Advertise, signing=signing),
            **self.chain,
        }
        super().__init__(replace(terms, after=after), randomness)
        self._signing = signing
        self._written = Chain()
        self._evidence: list[bytes] = []
        self._process = OneProcess("this server")

    def transcript(self) -> list[bytes]:
        """The pieces that are new, in order: to be stored before what was drained with them is
        sent. Joined, they are the transcript (specs/12-active.md §7)."""
        return self._written.drain()

    def evidence(self) -> list[bytes]:
        """What convicts somebody, each whole in itself (specs/12-active.md §8)."""
        drained, self._evidence = self._evidence, []
        return drained

    def start(self) -> None:
        self._process.check()
        super().start()

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        self._process.check()
        super().receive(sender, message)

    def close_phase(self) -> None:
        self._process.check()
        super().close_phase()

    def outgoing(self) -> list[Outgoing]:
        self._process.check()
        return super().outgoing()

    # What this suite adds

    def _differs(self, stage: Stage, sender: PartyId, tag: int, reader: Reader) -> None:
        """Rule R8: where it has signed both, it can be shown to have."""
        if isinstance(stage, Joined):
            proof = contradicted(stage, sender, tag, reader)
            self._evidence += [proof] if proof is not None else []

    def _wrong(self, sender: PartyId, error: errors.InvalidShare) -> None:
        if isinstance(error, WrongShare) and isinstance(self._stage, Unmask):
            self._evidence.append(evidence.of_share(self._stage.fixed, error))
        super()._wrong(sender, error)

    def _closed(self, stage: Stage, following: Stage) -> None:
        """Rule R2: written before anybody hears of it."""
        if isinstance(following, Recorded | Recover):
            for kind, body in following.records():
                self._written.add(kind, body)

    def _concluded(self, stage: semi_honest.Recover, total: semi_honest.Total) -> None:
        """The last record: with it the server has signed what it publishes."""
        if not isinstance(stage, Recover):
            raise LocalProtocolError("impossible: another suite's stage")
        fixed = stage.fixed
        lanes = write_lanes(Writer(), total.result.vector).finish()
        result = labels.digest(labels.RESULT, lanes)
        sets = fixed.cohort.digest(fixed.survivors), fixed.cohort.digest(stage.answered)
        said = statements.RESULT(fixed.cohort.session, *sets, result, self._written.head)
        self._written.add(Kind.RESULT, result + said.signed(self._signing))

    def _report_complaints(self) -> None:
        """With more complaints than can be lies comes the proof of them."""
        stage = self._stage
        if isinstance(stage, stages.Mask | stages.After | Recover):
            # with so many of them, closing U3 mostly is what fails
            known = stage if isinstance(stage, stages.Mask) else stage.fixed
            for party, _ in stage.complaints.at_fault():
                self._evidence.append(evidence.of_complaints(*known.said, party))
        super()._report_complaints()

    def _abort(self, reason: errors.Aborted) -> None:
        """Rule R6: a dealer whose shares are of another secret is named, with the proof."""
        if isinstance(reason, WrongSecret) and isinstance(self._stage, Recover):
            self._evidence.append(evidence.of_secret(self._stage.fixed, reason))
            self._drop(reason.party, Fault.INVALID_SHARE, reason.detail)
        super()._abort(reason)


def _check(terms: Terms) -> None:
    """Raises ParameterError where more are asked than the plan is for: it is the server's business
    whom it asks, and clients refuse a U1 of more."""
    most = terms.params.clients
    if len(terms.parties) > most:
        raise ParameterError(
            f"the plan is for {most} clients, and the roster has {len(terms.parties)} members: "
            "say whom of them the session has invited"
        )
    session = terms.session
    if labels.digest(labels.PLAN, session.plan) != session.plan_digest:
        raise ParameterError("the session has not its plan, which its transcript begins with")
