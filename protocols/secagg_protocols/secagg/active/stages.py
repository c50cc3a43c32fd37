"""The stages of a server in active mode, as those of suite 1 but for what is signed
(specs/12-active.md §6)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from secagg import shamir
from secagg.errors import Aborted, InvalidKey, InvalidShare, WireError
from secagg.layout import RingVector
from secagg.types import AbortReason, Fault, PartyId, Seed
from secagg.wire.codec import Reader, Writer
from secagg_protocols.secagg import stages as semi_honest
from secagg_protocols.secagg.active import messages, statements
from secagg_protocols.secagg.active.cohort import Deliveries, SignedCohort
from secagg_protocols.secagg.active.dealing import params_of, roster_of
from secagg_protocols.secagg.active.messages import (
    AGREE,
    Agree,
    MaskedInput,
    ShareKeys,
    SignedKeys,
    UnmaskAnswer,
    UnmaskRequest,
    answer_digest,
    share_digest,
)
from secagg_protocols.secagg.active.transcript import Kind
from secagg_protocols.secagg.cohort import at_least
from secagg_protocols.secagg.complaints import Complaints
from secagg_protocols.secagg.dealing import check_advertised
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.stages.base import Drop, Said, Stage
from secagg_protocols.secagg.stages.masked import Masked
from secagg_protocols.secagg.states import ServerState
from secagg_protocols.secagg.terms import Terms
from secagg_protocols.secagg.unmasking import (
    Recovery,
    Survival,
    check_recoverable,
    wanted,
)

# A stage takes a message whole or not at all, as in suite 1, and one more thing must be right of
# it: its signature, over all that stands in it and over what its sender was told before. So what is
# taken is at once what convicts: a client cannot say later that it had been told something else,
# and the server can show what it was told.
#
# A stage says what must be written down before it opens (`records`): what closing the one before
# has fixed, and the statements it rests on. The machine writes, and only then does the stage speak.

Record: TypeAlias = tuple[Kind, bytes]


class Recorded(Stage):
    """A stage of active mode: with what is to be written down before it opens."""

    def records(self) -> Iterator[Record]:
        yield from ()


class Advertise(Recorded):
    """Takes signed keys of whoever was asked; quorum is the plan's min_clients."""

    state, tag = ServerState.ADVERTISE_KEYS, Tag.ADVERTISE_KEYS

    def __init__(self, terms: Terms, signing: Seed) -> None:
        super().__init__(terms)
        self._signing = signing
        self._advertised: dict[PartyId, SignedKeys] = {}
        self._keys: set[bytes] = set()

    @property
    def quorum(self) -> bool:
        return len(self._advertised) >= self.terms.params.min_clients

    def take(self, sender: PartyId, reader: Reader) -> tuple[bytes, ...]:
        """Rules R1 and S4."""
        said = SignedKeys.read(reader)
        reader.finish()
        check_advertised([said])
        if not self._keys.isdisjoint(said.both):
            raise InvalidKey("another client has advertised this key")
        statement = statements.KEYS(self.terms.offer, sender, said.c_pk, said.s_pk)
        statement.check(roster_of(self.terms).key_of(sender), said.signature)
        self._keys.update(said.both)
        self._advertised[sender] = said
        return ()

    def close(self, alive: Collection[PartyId], drop: Drop) -> Stage:
        """Rule S5, U1: of the first n, where more have come than the plan is for."""
        params = self.terms.params
        at_least(len(self._advertised), params.min_clients, "clients advertised keys")
        return self.following(SignedCohort.joined(self.terms, self._advertised, self._signing))


class Joined(Recorded):
    """A stage of a session that has an id. Its messages come from members of U1."""

    def __init__(self, terms: Terms, cohort: SignedCohort) -> None:
        super().__init__(terms)
        self.cohort = cohort

    @property
    def binding(self) -> bytes:
        return self.cohort.session

    @property
    def members(self) -> frozenset[PartyId] | None:
        """U1."""
        return frozenset(self.cohort.ids)

    def named(self, indices: Collection[int]) -> frozenset[PartyId]:
        return frozenset(self.cohort.ids[index] for index in indices)

    def check(self, index: int, statement: statements.Statement, signature: bytes) -> None:
        """InvalidSignature unless the member at this index said it."""
        statement.check(self.cohort.key_of(index), signature)


class Share(Joined):
    """Takes what each member of U1 deals; quorum is min_survivors."""

    state, tag = ServerState.SHARE_KEYS, Tag.SHARE_KEYS

    def __init__(self, terms: Terms, cohort: SignedCohort) -> None:
        super().__init__(terms, cohort)
        self._dealt: dict[int, ShareKeys] = {}

    @property
    def quorum(self) -> bool:
        return len(self._dealt) >= self.terms.params.min_survivors

    def records(self) -> Iterator[Record]:
        session, cohort = self.terms.session, self.cohort
        writer = Writer().prefixed(session.plan).raw(session.payload_digest)
        yield Kind.SESSION, writer.raw(session.nonce).raw(roster_of(self.terms).digest).finish()
        writer = Writer().bitmap(cohort.ids, cohort.clients)
        writer.raw(b"".join(keys.body for keys in cohort.keys))
        yield Kind.COHORT, writer.raw(cohort.signature).finish()

    def opening(self, parties: Collection[PartyId]) -> Said:
        for party in sorted(parties):
            yield party, self.cohort.key_list(self.cohort.index[party])

    def take(self, sender: PartyId, reader: Reader) -> tuple[bytes, ...]:
        """Rule R3: over the leaf that follows from this client's own keys."""
        index, cohort = self.cohort.index[sender], self.cohort
        said = ShareKeys.read(reader, len(cohort.neighbours(index)))
        reader.finish()
        leaf = cohort.leaves[index]
        self.check(
            index, statements.SHARES(cohort.session, index, leaf, said.digest), said.signature
        )
        self._dealt[index] = said
        return ()

    def close(self, alive: Collection[PartyId], drop: Drop) -> Stage:
        """Rule S5, U2: who shared and is still there, less those with too few holders in it."""
        ids, params = self.cohort.ids, self.terms.params
        there = [index for index in self._dealt if ids[index] in alive]
        sharers = self.cohort.core(there, params.threshold)
        for index in sorted(set(there) - sharers):
            drop(ids[index], Fault.TOO_FEW_HOLDERS)
        at_least(len(sharers), params.min_survivors, "clients shared keys")
        dealt = {i: self._dealt[i] for i in sorted(sharers)}
        return self.following(Deliveries(self.cohort, dealt))


@dataclass(frozen=True, slots=True)
class Given:
    """What was said with a vector that is in the sum: which dealers failed, as positions; the
    digest of the salted vector; the signature."""

    failed: frozenset[int]
    vector: bytes = field(repr=False)
    signature: bytes


class Mask(Joined):
    """Takes each member of U2's vector: closing it fixes U3."""

    state, tag = ServerState.MASKED_INPUT, Tag.MASKED_INPUT

    def __init__(self, terms: Terms, deliveries: Deliveries) -> None:
        super().__init__(terms, deliveries.cohort)
        self._deliveries = deliveries
        sharers = frozenset(deliveries.dealt)
        self._masked = Masked(self.cohort, sharers, terms.layout.zeros())
        self._given: dict[int, Given] = {}
        self._sharers = self.cohort.digest(sharers)

    @property
    def quorum(self) -> bool:
        return len(self._given) >= self.terms.params.min_survivors

    @property
    def members(self) -> frozenset[PartyId] | None:
        """U2."""
        return self.named(self._masked.sharers)

    @property
    def contributors(self) -> frozenset[PartyId]:
        return self.named(self._masked.failed)

    @property
    def complaints(self) -> Complaints:
        return self._masked.complain(complaints_of(self.terms))

    def records(self) -> Iterator[Record]:
        dealt, cohort = self._deliveries.dealt, self.cohort
        writer = Writer().bitmap(dealt, cohort.size)
        writer.raw(b"".join(dealt[i].digest + dealt[i].signature for i in sorted(dealt)))
        writer.raw(self._deliveries.signature)
        signed = self._deliveries.signed.values()
        yield Kind.SHARERS, writer.raw(b"".join(a + b for a, b in signed)).finish()

    def opening(self, parties: Collection[PartyId]) -> Said:
        holders = [self.cohort.index[party] for party in parties]
        for holder, listed in self._deliveries.messages(holders):
            yield self.cohort.ids[holder], listed

    def take(self, sender: PartyId, reader: Reader) -> tuple[bytes, ...]:
        """Rules S3 and R3: whole, valid and signed before it is added."""
        index, cohort = self.cohort.index[sender], self.cohort
        neighbours = cohort.neighbours(index)
        said, vector = MaskedInput.read(reader, len(neighbours), self.terms.layout)
        reader.finish()
        failed = frozenset(neighbours[position] for position in said.failed)
        if not failed <= self._masked.sharers:
            raise WireError("a failed dealer is not in U2")
        digest = said.digest
        delivery, _ = self._deliveries.signed[index]
        told = self._sharers, delivery, messages.digest_of(said.failed, len(neighbours)), digest
        self.check(index, statements.INPUT(cohort.session, index, *told), said.signature)
        # nothing may fail between these lines, as in suite 1
        vector.add_to(self._masked.total)
        self._masked.failed[index] = failed
        self._given[index] = Given(said.failed, digest, said.signature)
        return ()

    def close(self, alive: Collection[PartyId], drop: Drop) -> Stage:
        """Rule S5, U3: exactly the vectors that were added, where the answers could suffice."""
        params, survivors = self.terms.params, frozenset(self._masked.failed)
        at_least(len(survivors), params.min_survivors, "clients sent a masked input")
        commitments = {i: one.commitment for i, one in self._deliveries.dealt.items()}
        survival = Survival(self.cohort, self._masked.sharers, survivors, commitments)
        answering = [i for i in sorted(survivors) if self.cohort.ids[i] in alive]
        held = {holder: self._masked.dealers(holder) for holder in answering}
        check_recoverable(survival, held, params.threshold)
        fixed = Fixed(self.cohort, self._deliveries, survival, self._masked, self._given)
        return self.following(fixed)


@dataclass(frozen=True)
class Fixed:
    """What is so once U3 is: the sets, what was dealt, the vectors and what was said of them."""

    cohort: SignedCohort
    deliveries: Deliveries
    survival: Survival
    masked: Masked
    given: Mapping[int, Given] = field(repr=False)

    @property
    def sharers(self) -> frozenset[int]:
        return self.survival.sharers

    @property
    def survivors(self) -> frozenset[int]:
        return self.survival.survivors

    @property
    def total(self) -> RingVector:
        return self.masked.total

    @cached_property
    def _statement(self) -> statements.Statement:
        return self.cohort.survivors(self.sharers, self.survivors)

    @cached_property
    def signature(self) -> bytes:
        """The server's, of U2 and U3."""
        return self._statement.signed(self.cohort.signing)

    @cached_property
    def shown(self) -> bytes:
        """U3 as everybody in it is told."""
        shown = messages.Survivors(self.survivors, self.signature)
        return shown.encode(self.cohort.session, self.cohort.size)

    def agreement(self, index: int) -> statements.Statement:
        """What the signer at this index says of both sets."""
        session, *rest = self._statement.values
        return statements.AGREE(session, index, *rest)


class After(Joined):
    """A stage after U3 is fixed."""

    def __init__(self, terms: Terms, fixed: Fixed) -> None:
        super().__init__(terms, fixed.cohort)
        self.fixed = fixed

    @property
    def members(self) -> frozenset[PartyId] | None:
        """U3."""
        return self.contributors

    @property
    def contributors(self) -> frozenset[PartyId]:
        return self.named(self.fixed.survivors)

    @property
    def complaints(self) -> Complaints:
        return self.fixed.masked.complain(complaints_of(self.terms))


class Consistency(After):
    """Shows U3, and takes each signer's agreement: closing it fixes U4."""

    state, tag = ServerState.CONSISTENCY, AGREE

    def __init__(self, terms: Terms, fixed: Fixed) -> None:
        super().__init__(terms, fixed)
        self._agreed: dict[int, bytes] = {}

    def awaited(self, alive: frozenset[PartyId]) -> frozenset[PartyId]:
        """Rule R4: who may sign, and whose word it is about."""
        signers, _ = self.cohort.signers
        return alive & self.named(self.fixed.survivors & frozenset(signers))

    @property
    def quorum(self) -> bool:
        _, quorum = self.cohort.signers
        return len(self._agreed) >= quorum

    def records(self) -> Iterator[Record]:
        fixed, cohort = self.fixed, self.cohort
        writer = Writer().bitmap(fixed.survivors, cohort.size)
        for index in sorted(fixed.survivors):
            given = fixed.given[index]
            writer.bitmap(given.failed, len(cohort.neighbours(index)))
            writer.raw(given.vector).raw(given.signature)
        yield Kind.SURVIVORS, writer.raw(self.fixed.signature).finish()

    def opening(self, parties: Collection[PartyId]) -> Said:
        """To all of U3, signers or not."""
        yield from ((party, self.fixed.shown) for party in sorted(parties))

    def take(self, sender: PartyId, reader: Reader) -> tuple[bytes, ...]:
        """Of a signer. Whoever is none has nothing to say here."""
        index = self.cohort.index[sender]
        said = Agree.read(reader)
        reader.finish()
        signers, _ = self.cohort.signers
        if index not in signers:
            raise WireError("this client is no signer of the session")
        self.check(index, self.fixed.agreement(index), said.signature)
        self._agreed[index] = said.signature
        return ()

    def close(self, alive: Collection[PartyId], drop: Drop) -> Stage:
        """Rule R4: the q of lowest index."""
        signers, quorum = self.cohort.signers
        at_least(len(self._agreed), quorum, "signers agreed on the survivors")
        chosen = sorted(self._agreed)[:quorum]
        places = frozenset(signers.index(index) for index in chosen)
        request = UnmaskRequest(places, tuple(self._agreed[index] for index in chosen))
        return self.following(self.fixed, request)


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
        index, cohort, fixed = self.cohort.index[sender], self.cohort, self.fixed
        dealers = fixed.masked.dealers(index)
        said = UnmaskAnswer.read(reader, len(dealers))
        reader.finish()
        digests = [
            share_digest(cohort.session, dealer, index, self._kind(dealer), share)
            for dealer, share in zip(dealers, said.shares, strict=True)
        ]
        survivors = cohort.digest(fixed.survivors)
        told = survivors, answer_digest(digests)
        self.check(index, statements.ANSWER(cohort.session, index, *told), said.signature)
        self._check_digests(index, dealers, digests, said.signature)
        shamir.check_shares(b"".join(said.shares))
        for dealer, share in zip(dealers, said.shares, strict=True):
            self._answers[dealer][1 + index] = share
        self._answered[index] = Answered(tuple(digests), said.signature)
        return ()

    def _kind(self, dealer: int) -> bytes:
        return messages.B if dealer in self.fixed.survivors else messages.S

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


class WrongShare(InvalidShare):
    """A share that is not what was dealt, from a holder that had no complaint of it."""

    def __init__(
        self, dealer: int, holder: int, digests: tuple[bytes, ...], signature: bytes
    ) -> None:
        super().__init__("a share is not what its dealer dealt, and the holder had no complaint")
        self.dealer, self.holder = dealer, holder
        self.digests, self.signature = digests, signature


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


class WrongSecret(Aborted):
    """Shares that are all as they were dealt, of a secret that is not what was announced."""

    def __init__(self, party: PartyId, dealer: int, shares: Mapping[int, bytes]) -> None:
        super().__init__(
            AbortReason.SHARE_ERROR, f"client {party} dealt shares of another secret than its own"
        )
        self.party, self.dealer, self.shares = party, dealer, dict(shares)


def complaints_of(terms: Terms) -> Complaints:
    """Rule R7: more complaints than holders of one secret can be corrupt are not all lies."""
    return Complaints(params_of(terms).tolerated)


AFTER: Mapping[ServerState, Callable[..., Stage]] = {
    ServerState.ADVERTISE_KEYS: Share,
    ServerState.SHARE_KEYS: Mask,
    ServerState.MASKED_INPUT: Consistency,
    ServerState.CONSISTENCY: Unmask,
    ServerState.UNMASK: Recover,
}
"""By the state of a stage, what makes the next one; the first takes the server's key besides."""
