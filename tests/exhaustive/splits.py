"""Everything that a malicious server can show its clients, each of them something else.

A phase is one message to each client. What a client says does not hang on when another one hears,
and what a message is made of was said in earlier phases: so to go through the phases in step, with
every choice of what each client is shown, or that it is shown no more, is to go through all orders.

What is left out, and why nothing is lost by it:
- corrupt clients deal well, and pairs are delivered whole or not at all: what does not open takes
  shares from its holders' answers, and the server has those of the corrupt ones anyway;
- a run that is refused is not gone on with: its client has ended, and has said no more than if the
  message had been withheld, which is a choice too;
- which keys a corrupt client shows to whom counts only by who is shown the same: variants are
  numbered in the order in which clients meet them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations, product

from secagg.types import PartyId
from secagg_protocols.secagg.active.cohort import SignedCohort
from secagg_protocols.secagg.active.messages import ShareKeys
from tests.exhaustive.knowledge import Knowledge, Opened, Parties, Said
from tests.exhaustive.liar import Lair, Run, body_of, signature_of, subsets

NOBODY: Parties = frozenset()


@dataclass(frozen=True, slots=True)
class Shown:
    """What one client is shown, as far as it goes. members, variant: its U1; sharers: its U2;
    survivors: its U3; asked: whether it is asked for its shares."""

    members: Parties = NOBODY
    variant: int = 0
    sharers: Parties | None = None
    survivors: Parties | None = None
    asked: bool = False

    @property
    def session(self) -> tuple[Parties, int]:
        return self.members, self.variant

    @property
    def agreed(self) -> tuple[object, ...] | None:
        """What its agreement is about."""
        return None if self.survivors is None else (*self.session, self.sharers, self.survivors)


Leaf = Mapping[PartyId, Shown]


@dataclass
class Splits:
    """variants: how many sets of keys the corrupt have. thorough: whether every choice of signers
    is tried, or the best one only."""

    lair: Lair
    variants: int = 1
    thorough: bool = True
    leaves: int = 0
    _judged: dict[object, Opened] = field(default_factory=dict, repr=False)

    def __hash__(self) -> int:
        return id(self)

    # One client: the runs of messages it can be told, and whether it goes along with them

    def run(self, party: PartyId, shown: Shown) -> Run:
        """Without the request. Whoever of U2 has dealt in another session only is shown with what
        it dealt there; `_dealt_elsewhere` makes those runs."""
        cohort = self.lair.cohort(*shown.session)
        run: Run = (self.lair.key_list(cohort, party),)
        if shown.sharers is not None:
            run += (self._share_list(party, cohort, shown.sharers, NOBODY),)
        if shown.survivors is not None and shown.sharers is not None:
            run += (self.lair.survivors(cohort, shown.sharers, shown.survivors),)
        return run

    @cache  # noqa: B019
    def joins(self, party: PartyId, members: Parties, variant: int) -> bool:
        return self.lair.hears(party, self.run(party, Shown(members, variant))) is not None

    @cache  # noqa: B019
    def masks(self, party: PartyId, shown: Shown, absent: Parties = NOBODY) -> bool:
        """absent: who of U2 has not dealt in this session."""
        assert shown.sharers is not None
        if not self.joins(party, *shown.session):
            return False
        cohort = self.lair.cohort(*shown.session)
        first = self.lair.key_list(cohort, party)
        listed = self._share_list(party, cohort, shown.sharers, absent)
        return self.lair.hears(party, (first, listed)) is not None

    @cache  # noqa: B019
    def agrees(self, party: PartyId, shown: Shown) -> bool:
        return self.lair.hears(party, self.run(party, shown)) is not None

    @cache  # noqa: B019
    def answer(self, party: PartyId, shown: Shown, signed: Parties) -> bytes | None:
        """What it answers to any request, where of the honest these have signed the same."""
        run = self.run(party, shown)
        requests = self.requests(party, shown, signed)
        # a set: all of them are tried, whatever the first is answered by
        said = {self.lair.hears(party, (*run, one)) for one in requests} - {None}
        assert len(said) <= 1, "two answers to one survivor set"
        return said.pop() if said else None

    def requests(self, party: PartyId, shown: Shown, signed: Parties) -> Iterator[bytes]:
        """With every choice of q signers, and of one less: valid signatures where there are any,
        else what that client has signed of other sets, else those that a corrupt one makes."""
        assert shown.sharers is not None and shown.survivors is not None
        cohort = self.lair.cohort(*shown.session)
        corrupted = self.lair.cast.corrupted
        _, quorum = self.lair.params.quorum_of(len(shown.members), corrupted)
        sizes = (quorum, quorum - 1) if self.thorough else (quorum,)
        for number in sizes:
            for chosen in self._chosen(shown, signed, number):
                yield self.lair.request(
                    cohort, {one: self._signature(cohort, one, shown, signed) for one in chosen}
                )

    def _chosen(self, shown: Shown, signed: Parties, number: int) -> Iterator[tuple[PartyId, ...]]:
        """Signers; where not thorough, those first whose signatures there are."""
        assert shown.survivors is not None
        if self.thorough:
            yield from combinations(sorted(shown.members), number)
            return
        valid = sorted((signed | self.lair.corrupt) & shown.members)
        others = sorted(shown.members - frozenset(valid), key=lambda p: p in shown.survivors)
        yield tuple((valid + others[::-1])[:number])

    def _signature(
        self, cohort: SignedCohort, one: PartyId, shown: Shown, signed: Parties
    ) -> bytes:
        assert shown.sharers is not None and shown.survivors is not None
        if one in self.lair.corrupt:
            return self.lair.agrees(cohort, one, shown.sharers, shown.survivors)
        if one in signed:
            said = self.lair.hears(one, self.run(one, shown))
            return signature_of(said)
        for other in self._other_sets(one, shown) if self.thorough else ():
            return signature_of(self.lair.hears(one, self.run(one, other)))
        return bytes(64)

    @cache  # noqa: B019
    def _other_sets(self, party: PartyId, shown: Shown) -> list[Shown]:
        """What else of this session this client may have signed."""
        return [one for one in self._signable(party, *shown.session) if one.agreed != shown.agreed]

    @cache  # noqa: B019
    def _signable(self, party: PartyId, members: Parties, variant: int) -> list[Shown]:
        return [
            shown
            for sharers in subsets(members)
            if party in sharers and self.masks(party, Shown(members, variant, sharers))
            for survivors in subsets(members)
            if self.agrees(party, shown := Shown(members, variant, sharers, survivors))
        ]

    def _share_list(
        self, party: PartyId, cohort: SignedCohort, sharers: Parties, absent: Parties
    ) -> bytes:
        members = frozenset(cohort.ids)
        variant = (
            next(v for v in range(self.variants) if self.lair.cohort(members, v) == cohort)
            if members & self.lair.corrupt
            else 0
        )
        dealt = {
            one: self._dealt_elsewhere(one, members, variant)
            if one in absent
            else self._dealt(one, members, variant)
            for one in sharers
        }
        return self.lair.share_list(cohort, party, dealt)

    @cache  # noqa: B019
    def _dealt(self, party: PartyId, members: Parties, variant: int) -> ShareKeys:
        cohort = self.lair.cohort(members, variant)
        own = variant if party in self.lair.corrupt else 0
        said = self.lair.hears(party, (self.lair.key_list(cohort, party),), own)
        return ShareKeys.read(body_of(said), cohort.size - 1)

    def _dealt_elsewhere(self, party: PartyId, members: Parties, variant: int) -> ShareKeys:
        """What it said in another session of as many, or else what nobody has signed."""
        for other in subsets(self.lair.everybody, len(members)):
            for number in range(self.variants):
                elsewhere = (other, number if other & self.lair.corrupt else 0)
                if len(other) != len(members) or party not in other:
                    continue
                if elsewhere != (members, variant) and self.joins(party, *elsewhere):
                    return self._dealt(party, *elsewhere)
        dealt = self._dealt(party, members, variant)
        return ShareKeys(dealt.body[:-1] + bytes([dealt.body[-1] ^ 1]), dealt.signature)

    def repeated(self, party: PartyId) -> int:
        """With one message more, in each run that this client has gone along with: how many such
        runs there are. The same again is answered as it was, wherever it comes, and changes nothing
        after it; any other is refused unless it is what comes next."""
        before, tried = self.lair.accepted(party), 0
        messages = {run[-1] for run in before if run}
        for run, said in before.items():
            for place, again in enumerate(run, 1):
                longer = (*run[:place], again, *run[place:])
                assert self.lair.hears(party, longer) == said
                tried += 1
            for other in messages - set(run):
                if (*run, other) not in before:
                    assert self.lair.hears(party, (*run, other)) is None, "a second one is taken"
                    tried += 1
        return tried

    # All clients

    def sessions(self, least: int = 1) -> list[tuple[Parties, int]]:
        """Every U1, with every set of keys of its corrupt members."""
        return [
            (members, variant)
            for members in subsets(self.lair.everybody, least)
            for variant in range(self.variants if members & self.lair.corrupt else 1)
        ]

    def assignments(
        self, sessions: list[tuple[Parties, int]]
    ) -> Iterator[dict[PartyId, tuple[Parties, int] | None]]:
        """Which U1 each honest client is shown, if any."""
        honest = sorted(self.lair.honest)
        choices = [[None, *(s for s in sessions if self.joins(p, *s))] for p in honest]
        for chosen in product(*choices):
            if _in_order(chosen):
                yield dict(zip(honest, chosen, strict=True))

    def each(self, sessions: list[tuple[Parties, int]]) -> Iterator[Leaf]:
        """Every leaf: how far each client has been taken, and with which sets."""
        for assigned in self.assignments(sessions):
            options = [self._options(party, assigned) for party in assigned]
            for chosen in product(*options):
                leaf = dict(zip(assigned, chosen, strict=True))
                if all(self._answered(party, leaf) for party in leaf if leaf[party].asked):
                    yield leaf

    def _options(
        self, party: PartyId, assigned: Mapping[PartyId, tuple[Parties, int] | None]
    ) -> list[Shown]:
        session = assigned[party]
        if session is None:
            return [Shown()]
        there = frozenset(one for one, other in assigned.items() if other == session)
        return [*self._views(party, session, there)]

    @cache  # noqa: B019
    def _views(
        self, party: PartyId, session: tuple[Parties, int], there: Parties
    ) -> tuple[Shown, ...]:
        """there: which honest clients have dealt in this session."""
        members = session[0]
        views = [Shown(*session)]
        for sharers in subsets(members):
            absent = (sharers & self.lair.honest) - there
            shown = Shown(*session, sharers)
            if not self.masks(party, shown, absent):
                continue
            views.append(shown)
            for survivors in subsets(members):
                after = Shown(*session, sharers, survivors)
                if self.agrees(party, after):
                    views += [after, Shown(*session, sharers, survivors, True)]
        return tuple(views)

    def _answered(self, party: PartyId, leaf: Leaf) -> bool:
        shown = leaf[party]
        signed = frozenset(one for one, other in leaf.items() if other.agreed == shown.agreed)
        return self.answer(party, shown, signed) is not None

    def by_quorum(
        self, members: Parties, shared: Iterable[Parties] | None = None
    ) -> Iterator[Leaf]:
        """Every leaf in which all join one U1 and nothing is withheld that could be had.

        What is withheld opens nothing: with more vectors and shares whatever could be computed
        still can. And 2q > n + A, so one pair (U2, U3) at most has q signers: those who sign it are
        asked, and of all others it only matters which U2 they mask for. shared: which U2 are
        tried for those who are asked; all where it is not said.
        """
        session = (members, 0)
        there = members & self.lair.honest
        masked = {party: self._plain_views(party, session) for party in sorted(there)}
        for sharers in subsets(members) if shared is None else shared:
            for survivors in subsets(sharers):
                shown = Shown(*session, sharers, survivors)
                signers = [p for p in sorted(there & survivors) if self._goes_along(p, shown)]
                for group in subsets(signers, 1):
                    asked = Shown(*session, sharers, survivors, True)
                    if not all(self.answer(p, shown, group) is not None for p in group):
                        continue
                    rest = [[asked] if p in group else masked[p] for p in sorted(there)]
                    for chosen in product(*rest):
                        yield dict(zip(sorted(there), chosen, strict=True))

    def _plain_views(self, party: PartyId, session: tuple[Parties, int]) -> list[Shown]:
        shown = (Shown(*session, sharers) for sharers in subsets(session[0]) if party in sharers)
        return [one for one in shown if self.masks(party, one)]

    def _goes_along(self, party: PartyId, shown: Shown) -> bool:
        before = Shown(*shown.session, shown.sharers)
        return self.masks(party, before) and self.agrees(party, shown)

    def victim(self, members: Parties) -> Iterator[Leaf]:
        """Leaves in which the first client has a U2 of its own, and each of the others, who have
        the same, a U3 of its own: enough for one that is opened, and not all there are."""
        session, (first, *others) = (members, 0), sorted(members & self.lair.honest)
        own = self._plain_views(first, session)
        views = [
            [
                shown
                for survivors in subsets(members)
                if party in survivors
                and self._goes_along(party, shown := Shown(*session, members, survivors))
            ]
            for party in others
        ]
        for alone, *chosen in product(own, *views):
            leaf = {first: alone, **dict(zip(others, chosen, strict=True))}
            asked = {p: replace(one, asked=one.survivors is not None) for p, one in leaf.items()}
            yield {
                p: one if not one.asked or self._answered(p, asked) else leaf[p]
                for p, one in asked.items()
            }

    def judged(self, leaf: Leaf) -> Opened:
        """What can be opened after it."""
        self.leaves += 1
        known = self.knowledge(leaf)
        key = tuple(known.said.items())  # not the leaf: an agreement alone opens nothing
        if key not in self._judged:
            self._judged[key] = known.opened()
        return self._judged[key]

    def knowledge(self, leaf: Leaf) -> Knowledge:
        said = {
            party: Said(one.session, one.sharers, one.survivors if one.asked else None)
            for party, one in leaf.items()
        }
        cohorts = {one.session: one.members for one in leaf.values()}
        return Knowledge(self.lair.corrupt, self.lair.params.threshold, said, cohorts)


def _in_order(chosen: tuple[tuple[Parties, int] | None, ...]) -> bool:
    """Whether variants of each U1 are met as 0, 1, 2, ..: others are these with other numbers."""
    met: dict[Parties, int] = {}
    for session in chosen:
        if session is None:
            continue
        members, variant = session
        if variant > met.setdefault(members, 0):
            return False
        met[members] = max(met[members], variant + 1)
    return True
