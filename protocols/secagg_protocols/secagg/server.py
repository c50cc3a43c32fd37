"""The server machine of SecAgg and SecAgg+ (specs/10-secagg.md §9).

It never raises for a client's fault: it drops the client, with its Fault. What was added to the
sum is never subtracted; the memory is O(d + n k).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from secagg import errors, shamir
from secagg.crypto.fingerprint import Fingerprints
from secagg.crypto.randomness import checked
from secagg.errors import BadTag, InvalidKey, InvalidShare, LocalProtocolError
from secagg.layout import Expander
from secagg.protocol import Session
from secagg.sansio import (
    Aborted,
    Dropped,
    Finished,
    Ignored,
    Job,
    Need,
    Outgoing,
    PhasedMailbox,
    PhaseEntered,
    QuorumReached,
    RingTotal,
)
from secagg.types import AbortReason, Buffer, Fault, PartyId, Randomness, system_randomness
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.secagg import messages
from secagg_protocols.secagg.cohort import ServerCohort, at_least, share_lists
from secagg_protocols.secagg.complaints import Complaints
from secagg_protocols.secagg.dealing import check_advertised
from secagg_protocols.secagg.messages import AdvertiseKeys, ShareKeys, Tag
from secagg_protocols.secagg.params import SecAggParams
from secagg_protocols.secagg.states import EXPECTED, SERVER, Input, ServerState
from secagg_protocols.secagg.unmasking import Recovery, Survival, check_recoverable, wanted


class SecAggServer(PhasedMailbox):
    """The server of one session. U1, U2, U3 are fixed by close_phase() and never change again.

    randomness: of the key by which it knows a message again; nothing that leaves depends on it.
    """

    def __init__(
        self,
        protocol: str,
        session: Session,
        params: SecAggParams,
        *,
        expander: Expander,
        randomness: Randomness = system_randomness,
    ) -> None:
        super().__init__()
        session.check_smallest_sum()  # rule S0
        self._session, self._params, self._expander = session, params, expander
        self._offer = session.offer(protocol)
        self._state = ServerState.IDLE
        self._ended: errors.Aborted | None = None
        self._quorum_told = False
        self._alive = set(map(PartyId, range(params.clients)))
        self._waiting: set[PartyId] = set()
        self._fingerprints = Fingerprints(checked(randomness))
        self._seen: dict[PartyId, dict[Tag, bytes]] = defaultdict(dict)
        self._advertised: dict[PartyId, AdvertiseKeys] = {}
        self._public_keys: set[bytes] = set()
        self._cohort: ServerCohort | None = None
        self._dealt: dict[int, ShareKeys] = {}
        self._commitments: dict[int, bytes] = {}
        self._sharers: frozenset[int] = frozenset()  # U2
        self._failed: dict[int, frozenset[int]] = {}  # by holder: the dealers it could not open
        self._sum = session.layout.zeros()
        self._survival: Survival | None = None  # holds U3
        self._answers: dict[int, dict[int, bytes]] = defaultdict(dict)  # dealer -> x -> share
        self._complaints = Complaints(session.corrupted)
        self._recovery: Recovery | None = None
        self._total: RingTotal | None = None

    def __repr__(self) -> str:
        return f"SecAggServer(state={self._state.value[0]}, alive={len(self._alive)})"

    @property
    def phase(self) -> str:
        return self._state.phase

    @property
    def done(self) -> bool:
        return self._state in (ServerState.FINISHED, ServerState.ABORTED)

    @property
    def alive(self) -> frozenset[PartyId]:
        return frozenset(self._alive)

    @property
    def contributors(self) -> frozenset[PartyId]:
        return frozenset(self._joined.ids[index] for index in self._failed)

    @property
    def need(self) -> Need:
        return Need.JOBS if self._state is ServerState.RECOVER else super().need

    @property
    def waiting_for(self) -> frozenset[PartyId]:
        return frozenset(self._waiting)

    @property
    def quorum(self) -> bool:
        """Enough messages of this phase are in; in `unmask`, enough shares of every secret."""
        if self._state is ServerState.UNMASK:
            wanted = self._survived.wanted
            return all(len(self._answers[i]) >= self._params.threshold for i in wanted)
        counts = {
            ServerState.ADVERTISE_KEYS: (len(self._advertised), self._params.min_clients),
            ServerState.SHARE_KEYS: (len(self._dealt), self._params.min_survivors),
            ServerState.MASKED_INPUT: (len(self._failed), self._params.min_survivors),
        }
        got, needed = counts.get(self._state, (0, 1))
        return got >= needed

    def start(self) -> None:
        if (self._state, Input.START) not in SERVER:
            raise LocalProtocolError("start() is called once")
        self._move(Input.START)

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        if sender not in self._alive or self._state not in EXPECTED:  # rule S1
            self._events.append(Ignored(sender, "nothing is expected of this party"))
            return
        try:
            self._handle(sender, message)
        except InvalidKey as error:
            self._drop(sender, Fault.INVALID_KEY, str(error))
        except InvalidShare as error:
            self._drop(sender, Fault.INVALID_SHARE, str(error))
        except errors.WireError as error:
            self._drop(sender, Fault.MALFORMED, str(error))
        self._tell_quorum()

    def lost(self, party: PartyId, /) -> None:
        if party in self._alive and not self.done:
            self._drop(party, Fault.LOST)

    def abort(self, why: AbortReason, /) -> None:
        if not self.done:
            self._abort(errors.Aborted(why, f"in {self.phase or 'idle'}"))

    def close_phase(self) -> None:
        """Drops who is late, fixes the phase's set, and sends what reveals it; or aborts."""
        close = {
            ServerState.ADVERTISE_KEYS: self._close_advertise_keys,
            ServerState.SHARE_KEYS: self._close_share_keys,
            ServerState.MASKED_INPUT: self._close_masked_input,
            ServerState.UNMASK: self._close_unmask,
        }.get(self._state)
        if close is None:
            raise LocalProtocolError("no phase is open")
        for party in sorted(self.waiting_for):
            self._drop(party, Fault.LATE)
        try:
            close()
        except errors.Aborted as reason:
            self._abort(reason)

    def jobs(self) -> Sequence[Job]:
        return self._recovery.jobs() if self._recovery is not None else ()

    def finish(self, job: Job, value: Any, /) -> None:
        if self._recovery is None:
            raise LocalProtocolError("no job is open")
        self._recovery.finish(job, value)
        try:
            self._settle(self._recovery)
        except errors.Aborted as reason:
            self._abort(reason)

    def result(self) -> RingTotal:
        if self._ended is not None:
            raise self._ended.again()
        if self._total is None:
            raise LocalProtocolError("the session is still running")
        return self._total

    # One message

    def _handle(self, sender: PartyId, message: Buffer) -> None:
        reader = Reader(message)
        number, bound = read_header(reader)
        if number not in messages.NAMES:
            raise BadTag(f"tag {number} is unknown")
        tag = Tag(number)
        if tag in self._seen[sender]:
            self._again(sender, self._seen[sender][tag] == self._fingerprints.of(message))
        elif (self._state, tag) not in SERVER:
            self._drop(sender, Fault.WRONG_PHASE, f"{messages.NAMES[tag]} in {self.phase}")
        elif bound != self._binding(tag):
            raise errors.WireError("the message is bound to another session")
        elif tag is Tag.ABORT:
            reason = messages.Abort.read(reader).reason
            reader.finish()
            self._drop(sender, reason.fault, reason.value)
        else:
            self._take(sender, tag, reader)
            self._seen[sender][tag] = self._fingerprints.of(message)
            self._waiting.discard(sender)

    def _again(self, sender: PartyId, same: bool) -> None:
        """Rule S2. A vector that was added stays in the sum whatever its sender does next."""
        if same:
            self._events.append(Ignored(sender, "duplicate"))
        else:
            self._drop(sender, Fault.EQUIVOCATION, "two different messages of one kind")

    def _take(self, sender: PartyId, tag: Tag, reader: Reader) -> None:
        if tag is Tag.ADVERTISE_KEYS:
            self._take_keys(sender, reader)
            return
        index = self._joined.index[sender]
        if tag is Tag.SHARE_KEYS:
            dealt = ShareKeys.read(reader, len(self._joined.neighbours(index)))
            reader.finish()
            self._dealt[index] = dealt
        elif tag is Tag.MASKED_INPUT:
            self._take_vector(index, reader)
        else:
            self._take_answer(index, reader)

    def _take_keys(self, sender: PartyId, reader: Reader) -> None:
        """Rule S4: canonical, not of small order, and unique over the cohort."""
        advertised = AdvertiseKeys.read(reader)
        reader.finish()
        check_advertised([advertised])
        if not self._public_keys.isdisjoint(advertised.both):
            raise InvalidKey("another client has advertised this key")
        self._public_keys.update(advertised.both)
        self._advertised[sender] = advertised

    def _take_vector(self, index: int, reader: Reader) -> None:
        """Rule S3: whole and valid before it is added; from then on its sender is in U3."""
        neighbours = self._joined.neighbours(index)
        positions, vector = messages.read_masked_input(
            reader, len(neighbours), self._session.layout
        )
        reader.finish()
        failed = frozenset(neighbours[position] for position in positions)
        if not failed <= self._sharers:
            raise errors.WireError("a failed dealer is not in U2")
        vector.add_to(self._sum)
        self._failed[index] = failed
        for dealer in failed:  # rule S9
            self._complaints.add(self._joined.ids[dealer], self._joined.ids[index])

    def _take_answer(self, index: int, reader: Reader) -> None:
        dealers = self._dealers(index)
        answer = messages.UnmaskAnswer.read(reader, len(dealers))
        reader.finish()
        shamir.check_shares(b"".join(answer.shares))
        for dealer, share in zip(dealers, answer.shares, strict=True):
            self._answers[dealer][1 + index] = share

    def _dealers(self, holder: int) -> list[int]:
        """Whose shares this client holds, ascending."""
        return sorted(self._joined.holders(holder) & self._sharers - self._failed[holder])

    # Closing a phase

    def _close_advertise_keys(self) -> None:
        """Rule S5, U1. Whoever advertised and was lost since still counts: its keys were real."""
        at_least(len(self._advertised), self._params.min_clients, "clients advertised keys")
        params = self._params
        self._cohort = ServerCohort.of(self._offer, params.clients, params.degree, self._advertised)
        self._move(Input.CLOSE)
        for party in sorted(self._alive):
            self._send(party, self._cohort.key_list(self._cohort.index[party]))

    def _close_share_keys(self) -> None:
        """Rule S5, U2: who shared and is still there, less those with too few holders in it."""
        cohort = self._joined
        alive = [index for index in self._dealt if cohort.ids[index] in self._alive]
        self._sharers = cohort.core(alive, self._params.threshold)
        for index in sorted(set(alive) - self._sharers):
            self._drop(cohort.ids[index], Fault.TOO_FEW_HOLDERS)
        at_least(len(self._sharers), self._params.min_survivors, "clients shared keys")
        self._commitments = {i: self._dealt[i].commitment for i in self._sharers}
        self._move(Input.CLOSE)
        for holder, listed in share_lists(cohort, self._sharers, self._dealt):
            self._send(cohort.ids[holder], listed)
        self._dealt.clear()

    def _close_masked_input(self) -> None:
        """Rule S5, U3: exactly the vectors that were added."""
        cohort, survivors = self._joined, frozenset(self._failed)
        at_least(len(survivors), self._params.min_survivors, "clients sent a masked input")
        self._survival = Survival(cohort, self._sharers, survivors, self._commitments)
        answering = [i for i in sorted(survivors) if cohort.ids[i] in self._alive]
        held = {holder: self._dealers(holder) for holder in answering}
        check_recoverable(self._survival, held, self._params.threshold)  # rule S6
        self._move(Input.CLOSE)
        request = messages.UnmaskRequest(survivors).encode(cohort.session, cohort.size)
        for index in answering:
            self._send(cohort.ids[index], request)

    def _close_unmask(self) -> None:
        """Rule S7: no secret that fails its check is used, and there is no sum without it."""
        survived, threshold = self._survived, self._params.threshold
        for dealer in survived.wanted:
            what = f"shares came of client {self._joined.ids[dealer]}"
            at_least(len(self._answers[dealer]), threshold, what)
        secrets = wanted(survived, self._answers, threshold)
        self._recovery = Recovery(
            survived, secrets, self._session.layout, self._sum, self._expander
        )
        self._answers.clear()
        self._move(Input.CLOSE)
        self._settle(self._recovery)

    def _settle(self, recovery: Recovery) -> None:
        """Once no job is left: the sum, or that a secret of it cannot be had."""
        recovery.check(self._joined.ids, self._complaints)
        if recovery.done:
            self._finish()

    def _finish(self) -> None:
        dropped = frozenset(map(PartyId, range(self._params.clients))) - self.contributors
        vector = self._session.layout.reduce(self._sum)
        self._total = RingTotal(vector, self.contributors, dropped)
        self._report_complaints()
        self._forget()
        self._move(Input.RECOVERED)
        self._events.append(Finished())

    def _report_complaints(self) -> None:
        """Rule S9. A dealer that has left meanwhile is named all the same."""
        if self._recovery is not None:
            for dealer, holder in self._recovery.rebuilding.wrong:
                self._complaints.add(self._joined.ids[dealer], self._joined.ids[holder])
        self._events += self._complaints.disputed()
        for dealer, why in self._complaints.at_fault():
            self._drop(PartyId(dealer), Fault.INVALID_SHARE, why)

    def _forget(self) -> None:
        """Rule S10: what only served to get at the sum: shares, seeds, keys and masked vectors."""
        self._recovery, self._sum = None, ()
        self._dealt.clear()
        self._answers.clear()

    # Bookkeeping

    @property
    def _joined(self) -> ServerCohort:
        if self._cohort is None:
            raise LocalProtocolError("impossible: U1 is fixed before this state")
        return self._cohort

    @property
    def _survived(self) -> Survival:
        if self._survival is None:
            raise LocalProtocolError("impossible: U3 is fixed before this state")
        return self._survival

    def _binding(self, tag: Tag) -> bytes:
        return self._offer if tag in (Tag.ADVERTISE_KEYS, Tag.ABORT) else self._joined.session

    def _send(self, party: PartyId, data: bytes) -> None:
        """Rule S8: all that a server says after `start` reveals U1, U2 or U3: durable first."""
        self._outgoing.append(Outgoing(party, data, commit=True))

    def _move(self, cause: Input) -> None:
        before, self._state = self._state, SERVER[self._state, cause]
        self._quorum_told = False
        # whoever missed an earlier phase is no longer alive
        self._waiting = set(self._alive) if self._state in EXPECTED else set()
        if self._state.phase != before.phase:
            self._events.append(PhaseEntered(self._state.phase))

    def _tell_quorum(self) -> None:
        if not self._quorum_told and self._state in EXPECTED and self.quorum:
            self._quorum_told = True
            self._events.append(QuorumReached(self.phase))

    def _drop(self, party: PartyId, fault: Fault, detail: str = "") -> None:
        self._alive.discard(party)
        self._waiting.discard(party)
        self._events.append(Dropped(party, fault, detail))

    def _abort(self, reason: errors.Aborted) -> None:
        message = messages.Abort(reason.reason).encode(self._offer)
        self._outgoing += [Outgoing(party, message) for party in sorted(self._alive)]
        self._report_complaints()
        self._forget()
        self._ended, self._state = reason.again(), ServerState.ABORTED
        self._waiting.clear()
        self._events.append(Aborted(reason.reason, str(reason)))
