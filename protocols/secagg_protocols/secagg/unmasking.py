"""From the answers to the sum: rebuild, check, derive, remove (specs/10-secagg.md §9, rule S7).

A rebuilt seed must match its commitment and a rebuilt scalar the advertised key, so a wrong share
can end the round but never change the sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from secagg import shamir
from secagg.crypto.agree import public_key
from secagg.errors import InvalidShare, LocalProtocolError
from secagg.mask import MaskJob
from secagg.ring import Layout, RingVector
from secagg.sansio import Expander, Job
from secagg.types import Seed
from secagg_protocols.secagg import keys
from secagg_protocols.secagg.cohort import ServerCohort
from secagg_protocols.secagg.jobs import KEY_SIZE, AgreeJob, SignedKey, agree_jobs, mask_jobs
from secagg_protocols.secagg.keys import Endpoint


@dataclass(frozen=True)
class Survival:
    """The fixed sets, as indices, and what follows from them. commitments: to b, by index."""

    cohort: ServerCohort
    sharers: frozenset[int]
    survivors: frozenset[int]
    commitments: Mapping[int, bytes]

    @cached_property
    def wanted(self) -> list[int]:
        """The dealers one of whose secrets must be rebuilt: all of U3, and those of U2 that did
        not survive but whose masks a survivor added."""
        return sorted(i for i in self.sharers if i in self.survivors or self.peers(i))

    def peers(self, index: int) -> list[int]:
        """The survivors that added a mask shared with this client."""
        return [v for v in self.cohort.neighbours(index) if v in self.survivors]


def rebuild(survival: Survival, dealer: int, shares: Mapping[int, bytes], threshold: int) -> Seed:
    """b of a survivor, s_sk of another; InvalidShare, naming the dealer, if it is not the one."""
    cohort = survival.cohort
    secret = shamir.combine(shares, threshold)
    if dealer in survival.survivors:
        right = keys.commit(secret, cohort.session, dealer) == survival.commitments[dealer]
    else:
        right = public_key(secret) == cohort.keys[dealer].s_pk
    if not right:
        raise InvalidShare(
            f"the shares of client {cohort.ids[dealer]} give a secret it is not bound to"
        )
    return secret


class Unmasking:
    """Two waves of jobs: the pair keys of the dropped, then the masks, block by block.

    total: the server's accumulators, changed in place. secrets: what `rebuild` gave, by dealer.
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
        held = self._out.pop(id(job), None)
        if held is None:
            raise LocalProtocolError("the job is not one of this machine's open jobs")
        if isinstance(job, AgreeJob):
            self._add_pairs(job, value)
        elif isinstance(job, MaskJob):
            lane = self._total[held[1]]
            lane[job.first : job.first + job.count] += value
        self._advance()

    def _open(self, dealer: int, secret: Seed) -> None:
        cohort, segments = self._survival.cohort, len(self._signed)
        if dealer in self._survival.survivors:
            own = keys.self_keys(secret, cohort.session, dealer, segments)
            self._add(own, 1)
            return
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


def reduced(layout: Layout, total: RingVector) -> RingVector:
    """The accumulators modulo each segment's ring."""
    return tuple(
        lane & lane.dtype.type(segment.ring.mask)
        for lane, segment in zip(total, layout.segments, strict=True)
    )
