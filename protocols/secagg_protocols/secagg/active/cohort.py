"""What the server of active mode knows of U1 once it is fixed, and what it says of it, signed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from secagg.types import PartyId, Seed
from secagg.wire.codec import Writer
from secagg_protocols.secagg import binding
from secagg_protocols.secagg.active import statements
from secagg_protocols.secagg.active.dealing import params_of, roster_of
from secagg_protocols.secagg.active.messages import (
    Delivered,
    Digests,
    KeyList,
    ShareKeys,
    ShareList,
    SignedKeys,
    digest_of,
)
from secagg_protocols.secagg.active.statements import Statement
from secagg_protocols.secagg.cohort import ServerCohort
from secagg_protocols.secagg.terms import Terms


# The server has it as clients said it, and whoever verifies a transcript as the server wrote it
# down: from here on both compute the same, so there is one text of what follows from U1.
@dataclass(frozen=True)
class KeyedCohort(ServerCohort):
    """U1 in order of index, with the signatures of its keys. `clients` is N, of how many bits the
    bitmap of U1 is."""

    keys: tuple[SignedKeys, ...]

    @cached_property
    def leaves(self) -> tuple[bytes, ...]:
        return tuple(
            binding.leaf(self.offer, index, party, keys, keys.signature)
            for index, (party, keys) in enumerate(zip(self.ids, self.keys, strict=True))
        )

    @cached_property
    def _levels(self) -> list[list[bytes]]:
        return binding.tree_levels(self.leaves)

    @cached_property
    def root(self) -> bytes:
        return self._levels[-1][0]

    def digest(self, indices: Collection[int]) -> bytes:
        return digest_of(indices, self.size)

    def position(self, dealer: int, holder: int) -> int:
        """The place of a holder among its dealer's neighbours, which are ascending."""
        return bisect_left(self.neighbours(dealer), holder)

    def cohort_statement(self) -> Statement:
        """What the server says of U1."""
        members = digest_of(self.ids, self.clients)
        return statements.COHORT(self.offer, self.session, self.size, members, self.root)

    def shares(self, index: int, said: ShareKeys) -> Statement:
        """What the dealer at this index says of what it deals."""
        return statements.SHARES(self.session, index, self.leaves[index], said.digest)

    def sharers(self, sharers: Collection[int]) -> Statement:
        return statements.SHARERS(self.session, self.digest(sharers), len(sharers))

    def survivors(self, sharers: Collection[int], survivors: Collection[int]) -> Statement:
        sets = self.digest(sharers), self.digest(survivors)
        return statements.SURVIVORS(self.session, *sets, len(survivors))


@dataclass(frozen=True)
class SignedCohort(KeyedCohort):
    """As the server has it. signing: the server's key."""

    signing: Seed
    terms: Terms

    @classmethod
    def joined(
        cls, terms: Terms, advertised: Mapping[PartyId, SignedKeys], signing: Seed
    ) -> SignedCohort:
        ids = tuple(sorted(advertised))
        keys = tuple(advertised[party] for party in ids)
        size, degree = roster_of(terms).size, terms.params.degree
        return cls(terms.offer, size, degree, ids, keys, signing, terms)

    @cached_property
    def signers(self) -> tuple[tuple[int, ...], int]:
        """Who may sign, ascending, and how many have to (specs/12-active.md §2.5)."""
        corrupted = self.terms.session.corrupted
        number, quorum = params_of(self.terms).quorum_of(self.size, corrupted)
        return binding.committee(self.session, self.size, number), quorum

    # What the server says of its sets: each is signed once, as Ed25519 draws nothing and the sets
    # never change (rule R2).

    @cached_property
    def signature(self) -> bytes:
        return self.cohort_statement().signed(self.signing)

    @property
    def encoded(self) -> bytes:
        """U1 as it is in transcripts and in evidence: with its keys, and the statement of it."""
        writer = Writer().bitmap(self.ids, self.clients)
        return writer.raw(b"".join(k.body for k in self.keys)).raw(self.signature).finish()

    def key_list(self, index: int) -> bytes:
        keys = {v: self.keys[v] for v in self.neighbours(index)}
        complete = params_of(self.terms).complete
        path = () if complete else binding.tree_path(self._levels, index)
        listed = KeyList(frozenset(self.ids), keys, path, self.signature)
        return listed.encode(self.session, self.clients)

    def key_of(self, index: int) -> bytes:
        """The signing key of a member of U1."""
        return roster_of(self.terms).key_of(self.ids[index])


def write_session(terms: Terms) -> bytes:
    """What a session is of, as it is in transcripts and in evidence."""
    session = terms.session
    writer = Writer().prefixed(session.plan).raw(session.payload_digest)
    return writer.raw(session.nonce).raw(roster_of(terms).digest).finish()


@dataclass(frozen=True)
class Deliveries:
    """The share lists of a session. dealt: of every member of U2. They are made anew for whoever is
    told again, as together they are n k entries; what is signed of them is kept."""

    cohort: SignedCohort
    dealt: Mapping[int, ShareKeys] = field(repr=False)

    @cached_property
    def signature(self) -> bytes:
        """Of U2."""
        return self.cohort.sharers(self.dealt).signed(self.cohort.signing)

    def input(self, index: int, failed: Collection[int], vector: bytes) -> Statement:
        """What the holder at this index says with its vector. failed: dealers, as positions among
        its neighbours. vector: the digest of it, salted."""
        told = self._sharers, self.signed[index][0]
        digest = digest_of(failed, len(self.cohort.neighbours(index)))
        return statements.INPUT(self.cohort.session, index, *told, digest, vector)

    @cached_property
    def _sharers(self) -> bytes:
        """The digest of U2."""
        return self.cohort.digest(self.dealt)

    @cached_property
    def _bodies(self) -> dict[int, bytes]:
        return {dealer: said.digest for dealer, said in self.dealt.items()}

    @cached_property
    def signed(self) -> dict[int, tuple[bytes, bytes]]:
        """Of each holder's list, by ascending index: its digest, and the statement's signature."""
        return {holder: self._signed(holder) for holder in sorted(self.dealt)}

    def to(self, holder: int) -> ShareList:
        """What this member of U2 is given, without the signature about it."""
        near = [v for v in self.cohort.neighbours(holder) if v in self.dealt]
        entries = tuple(self.entry(dealer, holder) for dealer in near)
        return ShareList(frozenset(self.dealt), entries, self.signature)

    def entry(self, dealer: int, holder: int) -> Delivered:
        said = self.dealt[dealer]
        one = said.to(self.cohort.position(dealer, holder))
        return Delivered(one.sealed, one.digests.digest, self._bodies[dealer], said.signature)

    def digests(self, dealer: int, holder: int) -> Digests:
        """What a dealer has said that this holder's shares are."""
        said = self.dealt[dealer]
        return (
            said.own if dealer == holder else said.to(self.cohort.position(dealer, holder)).digests
        )

    def messages(self, holders: Collection[int]) -> Iterator[tuple[int, bytes]]:
        for holder in sorted(holders):
            _, said = self.signed[holder]
            listed = replace(self.to(holder), delivery=said)
            yield holder, listed.encode(self.cohort.session, self.cohort.size)

    def _signed(self, holder: int) -> tuple[bytes, bytes]:
        digest = self.to(holder).digest(self.cohort.size)
        said = statements.DELIVERY(self.cohort.session, holder, digest)
        return digest, said.signed(self.cohort.signing)
