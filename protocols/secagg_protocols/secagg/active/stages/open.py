"""Who has revealed its shares, and what they give: closing it fixes U5."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from secagg import shamir
from secagg.errors import Aborted, InvalidShare
from secagg.types import AbortReason, PartyId
from secagg.wire.codec import Reader, Writer
from secagg_protocols.secagg import stages as semi_honest
from secagg_protocols.secagg.active.messages import UnmaskAnswer, UnmaskRequest, answer_digest
from secagg_protocols.secagg.active.stages.base import After, Fixed, Record, complaints_of
from secagg_protocols.secagg.active.transcript import Kind
from secagg_protocols.secagg.cohort import at_least
from secagg_protocols.secagg.complaints import Complaints
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.stages.base import Drop, Said, Stage
from secagg_protocols.secagg.states import ServerState
from secagg_protocols.secagg.terms import Terms
from secagg_protocols.secagg.unmasking import (
    Recovery,
    wanted,
)


class WrongShare(InvalidShare):
    """A share that is not what was dealt, from a holder that had no complaint of it."""

    def __init__(
        self, dealer: int, holder: int, digests: tuple[bytes, ...], signature: bytes
    ) -> None:
        super().__init__("a share is not what its dealer dealt, and the holder had no complaint")
        self.dealer, self.holder = dealer, holder
        self.digests, self.signature = digests, signature


class WrongSecret(Aborted):
    """Shares that are all as they were dealt, of a secret that is not what was announced."""

    def __init__(self, party: PartyId, dealer: int, shares: Mapping[int, bytes]) -> None:
        super().__init__(
            AbortReason.SHARE_ERROR, f"client {party} dealt shares of another secret than its own"
        )
        self.party, self.dealer, self.shares = party, dealer, shares


@dataclass(frozen=True, slots=True)
class Answered:
    """A holder's answer as it signed it: the digests of its shares, by dealer in order."""

    digests: tuple[bytes, ...]
    signature: bytes


class Unmask(After):
    """Takes the shares of each member of U3 that is there: closing it fixes U5."""

    state, tag = ServerState.UNMASK, Tag.UNMASK_ANSWER

    def __init__(self, terms: Terms, fixed: Fixed, request: UnmaskRequest) -> None:
        super().__init__(terms, fixed)
        self._request = request
        self._answers: dict[int, dict[int, bytes]] = defaultdict(dict)  # dealer -> x -> share
        self._answered: dict[int, Answered] = {}

    @property
    def answered(self) -> Mapping[int, Answered]:
        """What each has signed, so far, by index."""
        return self._answered

    @property
    def quorum(self) -> bool:
        """Enough shares of every secret that is needed."""
        threshold = self.terms.params.threshold
        return all(len(self._answers[i]) >= threshold for i in self.fixed.survival.wanted)

    def records(self) -> Iterator[Record]:
        signers, _ = self.cohort.signers
        writer = Writer().bitmap(self._request.signers, len(signers))
        yield Kind.QUORUM, writer.raw(b"".join(self._request.signatures)).finish()

    def opening(self, parties: Collection[PartyId]) -> Said:
        signers, _ = self.cohort.signers
        message = self._request.encode(self.cohort.session, len(signers))
        yield from ((party, message) for party in sorted(parties))

    def again(self, party: PartyId) -> Said:
        """Whoever is no signer was not waited for, and may not have heard of U3."""
        yield party, self.fixed.shown
        yield from self.opening([party])

    def take(self, sender: PartyId, reader: Reader) -> tuple[bytes, ...]:
        """Rule R5: whole, signed, and each share what its dealer has signed that it dealt."""
        index, fixed = self.cohort.index[sender], self.fixed
        dealers = fixed.masked.dealers(index)
        said = UnmaskAnswer.read(reader, len(dealers))
        reader.finish()
        digests = fixed.digests(index, said.shares)
        self.check(index, fixed.answer(index, digests), said.signature)
        self._check_digests(index, dealers, digests, said.signature)
        shamir.check_shares(b"".join(said.shares))
        for dealer, share in zip(dealers, said.shares, strict=True):
            self._answers[dealer][1 + index] = share
        self._answered[index] = Answered(tuple(digests), said.signature)
        return ()

    def _check_digests(
        self, holder: int, dealers: list[int], digests: list[bytes], signature: bytes
    ) -> None:
        """InvalidShare with its proof: it took these shares without a complaint."""
        for dealer, digest in zip(dealers, digests, strict=True):
            dealt = self.fixed.deliveries.digests(dealer, holder)
            if digest != dealt.named(dealer in self.fixed.survivors):
                raise WrongShare(dealer, holder, tuple(digests), signature)

    def close(self, alive: Collection[PartyId], drop: Drop) -> Stage:
        """Rule R6: of each secret the t shares of smallest x, and nothing is decoded around."""
        survival, threshold = self.fixed.survival, self.terms.params.threshold
        for dealer in survival.wanted:
            what = f"shares came of client {self.cohort.ids[dealer]}"
            at_least(len(self._answers[dealer]), threshold, what)
        few = {d: dict(sorted(self._answers[d].items())[:threshold]) for d in survival.wanted}
        secrets = wanted(survival, few, threshold)
        layout, expander = self.terms.layout, self.terms.expander
        recovery = Recovery(survival, secrets, layout, self.fixed.total, expander)
        return self.following(self.fixed, recovery, dict(self._answered), few)


class Recover(semi_honest.Recover):
    """As in suite 1; where a secret is not what its dealer is bound to, that dealer lied."""

    def __init__(
        self,
        terms: Terms,
        fixed: Fixed,
        recovery: Recovery,
        answered: Mapping[int, Answered],
        shares: Mapping[int, Mapping[int, bytes]],
    ) -> None:
        super().__init__(terms, fixed.masked, recovery)
        self.fixed, self._answered, self._shares = fixed, answered, shares

    @property
    def answered(self) -> frozenset[int]:
        """U5."""
        return frozenset(self._answered)

    @property
    def complaints(self) -> Complaints:
        return self.fixed.masked.complain(complaints_of(self.terms))

    def records(self) -> Iterator[Record]:
        writer = Writer().bitmap(self._answered, self.fixed.cohort.size)
        for index in sorted(self._answered):
            said = self._answered[index]
            writer.raw(answer_digest(said.digests)).raw(said.signature)
        yield Kind.ANSWERS, writer.finish()

    def total(self) -> semi_honest.Total | None:
        """Raises Aborted, as WrongSecret, where a dealer's secret cannot be had."""
        failed = self._recovery.rebuilding.failed
        if failed is not None:
            shares = self._shares[failed.dealer]
            raise WrongSecret(self.cohort.ids[failed.dealer], failed.dealer, shares)
        return super().total()
