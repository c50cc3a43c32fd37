"""What the server can open, opened: from the bytes of answers to a sum, with nothing assumed.

It does what `knowledge` says that can be done, so a leaf that counts as opened is no slip of that
count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

import numpy as np

from secagg import shamir
from secagg.crypto.agree import public_key
from secagg.layout import RingVector
from secagg.mask import add_streams
from secagg.types import SERVER, PartyId, Seed
from secagg_protocols.secagg import dealing, keys
from secagg_protocols.secagg.active.cohort import SignedCohort
from secagg_protocols.secagg.active.messages import MaskedInput, UnmaskAnswer
from secagg_protocols.secagg.keys import Endpoint
from tests.exhaustive.knowledge import Parties
from tests.exhaustive.liar import LAYOUT, body_of
from tests.exhaustive.splits import Leaf, Splits

Shares = dict[tuple[PartyId, str], dict[int, bytes]]


class Opening:
    """One leaf, and the secrets of honest clients that its shares give."""

    def __init__(self, splits: Splits, leaf: Leaf) -> None:
        self._splits, self._leaf, self._lair = splits, leaf, splits.lair
        shares: Shares = defaultdict(dict)
        for party, shown in leaf.items():
            if shown.members:
                self._from_corrupt(party, shares)
            if shown.asked:
                self._from_answer(party, shares)
        threshold = self._lair.params.threshold
        self.secrets = {
            named: shamir.combine(of, threshold)
            for named, of in shares.items()
            if len(of) >= threshold
        }
        for (party, kind), secret in self.secrets.items():
            self._check(party, kind, secret)

    def sum(self, parties: Collection[PartyId]) -> RingVector:
        """What these clients' vectors come to without the masks that the server can remove."""
        total = LAYOUT.zeros()
        for party in parties:
            for lane, masked in zip(total, self._unmasked(party), strict=True):
                lane += masked
        groups = [segment.group for segment in LAYOUT.segments]
        return tuple(lane & group.mask for lane, group in zip(total, groups, strict=True))

    def _cohort(self, party: PartyId) -> SignedCohort:
        return self._lair.cohort(*self._leaf[party].session)

    def _corrupt(self, party: PartyId, peer: PartyId) -> Any:
        """The state of a corrupt client that has dealt in this client's session."""
        cohort, variant = self._cohort(party), self._leaf[party].variant
        machine = self._lair.machine(peer, variant)
        machine.receive(SERVER, self._lair.key_list(cohort, peer))
        return machine._now

    def _from_corrupt(self, dealer: PartyId, shares: Shares) -> None:
        """Both shares of whoever dealt to a corrupt client."""
        cohort, shown = self._cohort(dealer), self._leaf[dealer]
        index = cohort.index[dealer]
        for peer in self._lair.corrupt & shown.members:
            holder = cohort.index[peer]
            dealt = self._splits._dealt(dealer, *shown.session).to(cohort.position(index, holder))
            pair = dealing._open(index, dealt.sealed, self._corrupt(dealer, peer).dealt)
            assert pair is not None
            shares[dealer, "b"][1 + holder] = pair.b_share
            shares[dealer, "s"][1 + holder] = pair.s_share

    def _from_answer(self, holder: PartyId, shares: Shares) -> None:
        """The real machine's answer, to the request that it takes."""
        shown, cohort = self._leaf[holder], self._cohort(holder)
        signed = frozenset(p for p, other in self._leaf.items() if other.agreed == shown.agreed)
        said = self._splits.answer(holder, shown, signed)
        assert shown.sharers is not None and shown.survivors is not None
        dealers = sorted(shown.sharers)
        answer = UnmaskAnswer.read(body_of(said), len(dealers))
        for dealer, share in zip(dealers, answer.shares, strict=True):
            kind = "b" if dealer in shown.survivors else "s"
            shares[dealer, kind][1 + cohort.index[holder]] = share

    def _check(self, party: PartyId, kind: str, secret: Seed) -> None:
        if party in self._lair.corrupt:
            return
        cohort, shown = self._cohort(party), self._leaf[party]
        if kind == "b":
            commitment = self._splits._dealt(party, *shown.session).commitment
            assert keys.commit(secret, cohort.session, cohort.index[party]) == commitment
        else:
            assert public_key(secret) == cohort.keys[cohort.index[party]].s_pk

    def _unmasked(self, party: PartyId) -> RingVector:
        shown, cohort = self._leaf[party], self._cohort(party)
        assert shown.sharers is not None
        index, size = cohort.index[party], cohort.size
        said = self._lair.hears(party, self._splits.run(party, shown)[:2])
        _, packed = MaskedInput.read(body_of(said), size - 1, LAYOUT)
        lanes = tuple(np.array(lane) for lane in packed.unpack())
        segments = len(LAYOUT.segments)
        own = self.secrets[party, "b"]
        self._remove(lanes, keys.self_keys(own, cohort.session, index, segments), 1)
        for peer in shown.sharers - {party}:
            pair = self._pair_keys(party, peer, cohort, segments)
            if pair is not None:
                self._remove(lanes, pair, keys.sign(index, cohort.index[peer]))
        return lanes

    def _pair_keys(
        self, party: PartyId, peer: PartyId, cohort: SignedCohort, segments: int
    ) -> tuple[bytes, ...] | None:
        mine, other = (
            Endpoint(cohort.index[one], cohort.keys[cohort.index[one]].s_pk)
            for one in (party, peer)
        )
        if peer in self._lair.corrupt:
            secret = self._corrupt(party, peer).dealt.keys.s.secret
            return keys.pair_keys(secret, other, mine, cohort.session, segments)
        if (party, "s") in self.secrets:
            secret = self.secrets[party, "s"]
            return keys.pair_keys(secret, mine, other, cohort.session, segments)
        if (peer, "s") in self.secrets:
            secret = self.secrets[peer, "s"]
            return keys.pair_keys(secret, other, mine, cohort.session, segments)
        return None  # it cancels, or this is no sum

    def _remove(self, lanes: RingVector, by_segment: tuple[bytes, ...], sign: int) -> None:
        for lane, key in zip(lanes, by_segment, strict=True):
            add_streams(lane, key, bytes([sign < 0]))


def opens(splits: Splits, leaf: Leaf) -> list[Parties]:
    """Opens every sum that `knowledge` says there is, and returns of whom they are."""
    opened = splits.knowledge(leaf).opened()
    if not opened.sums:
        return []
    opening = Opening(splits, leaf)
    for one in opened.sums:
        plain = LAYOUT.zeros()
        for party in one:
            for lane, value in zip(plain, splits.lair.inputs[party], strict=True):
                lane += value
        found = opening.sum(one.keys())
        assert all((a == b).all() for a, b in zip(found, plain, strict=True))
    return [frozenset(one) for one in opened.sums]
