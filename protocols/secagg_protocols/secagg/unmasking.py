"""From the answers to the sum: rebuild, derive, remove (specs/10-secagg.md §9, rule S7)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from secagg.decoding import Answers
from secagg.errors import Aborted, LocalProtocolError
from secagg.layout import Expander, Layout, RingVector
from secagg.mask import MaskJob
from secagg.sansio import Job
from secagg.types import AbortReason, PartyId, Seed
from secagg_protocols.secagg import keys
from secagg_protocols.secagg.cohort import ServerCohort, at_least
from secagg_protocols.secagg.complaints import Complaints
from secagg_protocols.secagg.jobs import KEY_SIZE, AgreeJob, SignedKey, agree_jobs, mask_jobs
from secagg_protocols.secagg.keys import Endpoint
from secagg_protocols.secagg.rebuilding import Rebuilding, Wanted


@dataclass(frozen=True)
class Survival:
    """The fixed sets, as indices, and what follows from them. commitments: to b, by index."""

    cohort: ServerCohort
    sharers: frozenset[int]
    survivors: frozenset[int]
    commitments: Mapping[int, bytes]

    # Who is in U2 and not in U3 has a secret to rebuild only if a survivor added a mask with it. In
    # a sparse graph all of its neighbours may be gone as well; its keys are then of no use, and
    # asking for t shares of them could only fail the round.
    @cached_property
    def wanted(self) -> list[int]:
        """The dealers one of whose secrets must be rebuilt: all of U3, and those of U2 that did
        not survive but whose masks a survivor added."""
        return sorted(i for i in self.sharers if i in self.survivors or self.peers(i))

    def peers(self, index: int) -> list[int]:
        """The survivors that added a mask shared with this client."""
        return [v for v in self.cohort.neighbours(index) if v in self.survivors]


def check_recoverable(
    survival: Survival, held: Mapping[int, Sequence[int]], threshold: int
) -> None:
    """Rule S6: nothing is asked for where the answers could not suffice.

    held: by holder that will be asked, the dealers of which it has a share.
    """
    shares = Counter(dealer for dealers in held.values() for dealer in dealers)
    for dealer in survival.wanted:
        what = f"holders are left for client {survival.cohort.ids[dealer]}"
        at_least(shares[dealer], threshold, what)


def wanted(
    survival: Survival, answers: Mapping[int, Mapping[int, bytes]], threshold: int
) -> list[Wanted]:
    """b of every survivor, s_sk of every other that is needed. answers: by dealer, then by x."""
    cohort, found = survival.cohort, []
    for dealer in survival.wanted:
        survived = dealer in survival.survivors
        bound = survival.commitments[dealer] if survived else cohort.keys[dealer].s_pk
        shares = Answers.of(answers[dealer])
        found.append(Wanted(cohort.session, dealer, survived, bound, threshold, shares))
    return found


# Secrets are all there before the first mask is removed. To begin with the masks of dealers that
# are found early would save no work, and a session that then fails would have had partly unmasked
# sums in memory for nothing.
class Recovery:
    """All that is left to do once the answers are in: secrets first, then masks; both are jobs.

    total: the server's accumulators, changed in place.
    """

    def __init__(
        self,
        survival: Survival,
        secrets: Sequence[Wanted],
        layout: Layout,
        total: RingVector,
        expander: Expander,
    ) -> None:
        self.rebuilding = Rebuilding(secrets, survival.cohort.session)
        self._unmasking: Unmasking | None = None
        self._made = partial(Unmasking, survival, layout=layout, total=total, expander=expander)
        self._advance()

    @property
    def done(self) -> bool:
        return self._unmasking is not None and self._unmasking.done

    def jobs(self) -> Sequence[Job]:
        """Those not handed out before."""
        return (self._unmasking or self.rebuilding).jobs()

    def finish(self, job: Job, value: Any) -> None:
        (self._unmasking or self.rebuilding).finish(job, value)
        self._advance()

    def check(self, ids: Sequence[PartyId]) -> None:
        """Aborted where a secret cannot be had: no set of t holders that was tried gives it."""
        failed = self.rebuilding.failed
        if failed is None:
            return
        dealer, of, most = ids[failed.dealer], len(failed.answers), failed.slack // 2
        why = f"more than {most} of the {of} shares of client {dealer} are wrong"
        if self.rebuilding.spent:
            why = f"the work that a session may cost is spent, before client {dealer}"
        raise Aborted(AbortReason.SHARE_ERROR, why)

    def complain(self, ids: Sequence[PartyId], complaints: Complaints) -> None:
        """Rule S9, of the shares that are wrong, and of a secret that none of them give."""
        rebuilding = self.rebuilding
        for dealer, holder in rebuilding.wrong:
            complaints.add(ids[dealer], ids[holder])
        failed = rebuilding.failed
        if failed is not None and not rebuilding.spent:
            complaints.undecodable(ids[failed.dealer], failed.slack // 2, len(failed.answers))

    def _advance(self) -> None:
        """The first moment at which every secret is there, and the last at which they are kept."""
        rebuilding = self.rebuilding
        if self._unmasking is None and rebuilding.done and rebuilding.failed is None:
            self._unmasking = self._made(secrets=rebuilding.secrets)
            rebuilding.secrets = {}


class Unmasking:
    """Two waves of jobs: the pair keys of the dropped, then the masks, block by block.

    total: the server's accumulators, changed in place. secrets: of Rebuilding, by dealer.
    """

    def __init__(
        self,
        survival: Survival,
        secrets: Mapping[int, Seed],
        layout: Layout,
        total: RingVector,
        expander: Expander,
    ) -> None:
        self._survival, self._layout, self._total = survival, layout, total
        self._expander = expander
        self._signed: list[list[SignedKey]] = [[] for _ in layout.segments]
        self._out: dict[int, tuple[Job, int]] = {}
        self._ready: list[tuple[Job, int]] = []
        self._masking = False
        for dealer, secret in secrets.items():
            self._open(dealer, secret)
        self._advance()

    @property
    def done(self) -> bool:
        return self._masking and not self._ready and not self._out

    def jobs(self) -> Sequence[Job]:
        """Those not handed out before."""
        ready, self._ready = self._ready, []
        self._out |= {id(job): (job, segment) for job, segment in ready}
        return [job for job, _ in ready]

    def finish(self, job: Job, value: Any) -> None:
        """value: what the job returned, in any order among the others."""
        held = self._out.pop(id(job), None)
        if held is None:
            raise LocalProtocolError("the job is not one of this machine's open jobs")
        if isinstance(job, AgreeJob):
            self._add_pairs(job, value)
        elif isinstance(job, MaskJob):
            lane = self._total[held[1]]
            # A wrap of the lane is arithmetic modulo 2^L, and 2^w divides that; nothing is reduced
            # until the end. Adding is all that finish() does with a mask: jobs run elsewhere, and
            # their results are added in whatever order they come, as addition has none.
            lane[job.first : job.first + job.count] += value
        self._advance()

    def _open(self, dealer: int, secret: Seed) -> None:
        """What follows from one dealer's secret: its self masks, or the work of agreeing on its
        pair keys."""
        cohort, segments = self._survival.cohort, len(self._signed)
        if dealer in self._survival.survivors:
            own = keys.self_keys(secret, cohort.session, dealer, segments)
            self._add(own, 1)
            return
        # of one that dropped out: the pair keys with every survivor are to be agreed again
        end = Endpoint(dealer, cohort.keys[dealer].s_pk)
        peers = tuple(Endpoint(v, cohort.keys[v].s_pk) for v in self._survival.peers(dealer))
        self._ready += [
            (job, 0) for job in agree_jobs(cohort.session, end, secret, peers, segments)
        ]

    def _add_pairs(self, job: AgreeJob, value: bytes) -> None:
        """The sign is the survivor's: it is in the sum as its owner put it there."""
        stride = job.segments * KEY_SIZE
        for i, peer in enumerate(job.peers):
            block = value[i * stride : (i + 1) * stride]
            pair = [block[at : at + KEY_SIZE] for at in range(0, stride, KEY_SIZE)]
            self._add(pair, keys.sign(peer.index, job.dropped.index))

    def _add(self, by_segment: Sequence[bytes], sign: int) -> None:
        for signed, key in zip(self._signed, by_segment, strict=True):
            signed.append(SignedKey(key, sign))

    def _advance(self) -> None:
        """Once no agreement is left, the masks."""
        if not self._masking and not self._ready and not self._out:
            self._masking = True
            self._ready = [
                (job, segment)
                for segment, job in mask_jobs(self._layout, self._signed, self._expander)
            ]
