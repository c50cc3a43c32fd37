"""What a budget's rows add up to, and what may still be charged (specs/40-privacy.md §9).

Pure: entries come in their order, from the file or from a decision made here, and there is no
clock. Theory of operation: a charge goes from charged to left to settled, or from charged to
refunded, and never back; each of these is a row. What counts of it is its worst case until it is
settled, and nothing once it is refunded. Each step said again is no step: its key is of one life of
one client in one session. Another key of the same session is refused while the first one stands:
the same data twice in one sum is not two releases of it, but one that moves twice as far.

The filter by which charges count is chosen with the first one, before anything has been released,
and stays while any charge stands.

What is refunded counts for nothing and is forgotten, so that all of this is as large as what
counts, and not as its history. A row of sums says it whole, and is where a file is opened (§9.16).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from secagg.budget.entries import (
    Charged,
    Chosen,
    Entry,
    Left,
    Opened,
    Refunded,
    Row,
    Settled,
    Standing,
    State,
    Summed,
)
from secagg.dp.filters import NOTHING, Way, Weight, chosen, divergences, fits, used, weigh
from secagg.dp.several import Release, composed
from secagg.effects import Charge, Step
from secagg.errors import BudgetSpent, StorageError, WireError
from secagg.plans.disclosure import Disclosure, releases
from secagg.shown import at_most, short


@dataclass(frozen=True, slots=True)
class PlanSpending:
    """Rounds of one plan that were charged: how many stand, and of them those that are settled."""

    plan: bytes
    trust: str
    charged: int
    settled: int

    __repr__ = short


@dataclass(frozen=True, slots=True)
class Spending:
    """What a budget has come to.

    epsilon, delta, unit, against: of the budget itself. spent: the epsilon of all charges together
    at its delta; accounting: by which bound, None of none. used: which part of the budget that is,
    by the filter that decides, from 0 to 1. rows, head: of the file, and the last row's hash.
    charged, refunded: how many charges stand, and how many do not. plans: those that stand.
    """

    epsilon: float
    delta: float
    unit: str
    against: str
    spent: float
    accounting: str | None
    used: float
    charged: int
    refunded: int
    plans: tuple[PlanSpending, ...]
    rows: int
    head: bytes

    __repr__ = short

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = dataclasses.asdict(self) | {"head": self.head.hex()}
        found["plans"] = [
            dataclasses.asdict(plan) | {"plan": plan.plan.hex()} for plan in self.plans
        ]
        return found


class Accounts:
    """The state of a budget after so many rows."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self._way: Way | None = None
        self._charges: dict[bytes, Standing] = {}
        self._counted: Counter[Disclosure] = Counter()
        self._sessions: set[bytes] = set()  # of charges that stand
        self._settled: Counter[bytes] = Counter()  # by plan
        self._refunded = 0
        self._weights: dict[Release, Weight | None] = {}
        self._since = 0  # rows since the last sums, or from the first on

    @classmethod
    def resumed(cls, summed: Summed) -> Accounts:
        """Those of which these are the sums. Raises WireError for sums that nothing has."""
        found = cls(summed.opened)
        found._way, found._refunded = summed.way, summed.refunded
        for one in summed.standing:
            found._charges[one.key] = one
            found._sessions.add(one.session)
            found._counted[one.disclosure] += 1
            found._settled[one.disclosure.plan] += one.state is State.SETTLED
        if len(found._sessions) < len(found._charges):
            raise WireError("summed: one session twice")
        return found

    # Rows

    def take(self, entry: Entry) -> None:
        """The next row. Raises WireError for one that nothing here would have written."""
        self._since += 1
        match entry:
            case Chosen(way) if not self._standing:
                self._way, self._weights = way, {}
            case Charged(key, session, disclosure) if self._may_begin(key, session):
                self._charges[key] = Standing(key, session, disclosure, State.CHARGED)
                self._sessions.add(session)
                self._counted[disclosure] += 1
            case Left(key) if self._state(key) is State.CHARGED:
                self._charges[key] = replace(self._charges[key], state=State.LEFT)
            case Settled(key, honest) if self._state(key) is State.LEFT:
                before = self._charges[key]
                after = before.disclosure.with_honest(honest)
                self._discount(before.disclosure)
                self._counted[after] += 1
                self._settled[after.plan] += 1
                self._charges[key] = replace(before, disclosure=after, state=State.SETTLED)
            case Refunded(key) if self._state(key) is State.CHARGED:
                back = self._charges.pop(key)
                self._discount(back.disclosure)
                self._sessions.discard(back.session)
                self._refunded += 1
            case Summed() if entry == self.sums():
                self._since = 0
            case Summed():
                raise WireError("summed: the rows before it come to something else")
            case _:
                raise WireError(f"{type(entry).__name__.lower()}: no row of that kind belongs here")

    def sums(self) -> Summed | None:
        """All of it, as a row; None before there is anything."""
        if self._way is None:
            return None
        standing = tuple(self._charges[key] for key in sorted(self._charges))
        return Summed(self.opened, self._way, self._refunded, standing)

    def due(self) -> Summed | None:
        """The sums, where so many rows came since the last that opening would read too many: as
        many as charges stand, so that sums are no large part of a file (§9.16)."""
        return self.sums() if self._since >= max(EVERY, len(self._charges)) else None

    # Decisions

    def entries(self, charge: Charge) -> list[Entry]:
        """The rows that a step of a charge takes; none for what is known already.

        Raises BudgetSpent where it is not to be, for a reason that `why` says.
        """
        key, state = charge.key, self._state(charge.key)
        match charge.step:
            case Step.CHARGE:
                return self._charging(charge) if state is None else []
            case Step.LEAVE:
                if state in _GONE:
                    return []
                if state is not State.CHARGED:
                    raise BudgetSpent("this round was never charged to this budget, or is refunded")
                return [Left(key)]
            case Step.SETTLE:
                if state is not State.LEFT:
                    return []
                disclosure = self._charges[key].disclosure
                same = disclosure.with_honest(charge.honest) == disclosure
                return [] if same else [Settled(key, charge.honest)]
            case Step.REFUND:
                return [Refunded(key)] if state is State.CHARGED else []

    def told(self, charge: Charge) -> list[Entry]:
        """The rows of a release that an operator has made, whether or not there is room for it
        (§9.17). Raises BudgetSpent where the filter that is chosen cannot count it."""
        disclosure: Disclosure = charge.disclosure
        way, entries = self._way if self._standing else None, list[Entry]()
        if way is None:
            way = divergences(self.opened.claim, disclosure.blocks)
            entries.append(Chosen(way))
        if weigh(way, disclosure.blocks) is None:
            raise BudgetSpent(
                "this budget counts another kind of noise, by what was charged to it first: what "
                "is told by this plan takes a file of its own"
            )
        return [*entries, Charged(charge.key, charge.key, disclosure), Left(charge.key)]

    def _charging(self, charge: Charge) -> list[Entry]:
        """Rules §9.5-§9.7: with the first charge, the filter."""
        session = charge.session or charge.key
        if session in self._sessions:
            raise BudgetSpent(
                "these data are in this round already, or may be, over another link or from before "
                "a restart: in one sum twice they would be told with half the noise. The next "
                "round may be joined"
            )
        disclosure: Disclosure = charge.disclosure
        claim, entries = self.opened.claim, list[Entry]()
        way = self._way if self._standing else None
        if way is None:
            way = chosen(claim, disclosure.blocks, disclosure.rounds)
            entries.append(Chosen(way))
        one, total = weigh(way, disclosure.blocks), self._total(way)
        if one is None:
            raise BudgetSpent(
                f"{self._said()}; it counts Gaussian noise alone, as its first plan took all of "
                "it, and this plan has other noise: a budget of a larger epsilon counts both"
            )
        if not fits(way, claim, total.plus(one)):
            part = used(way, claim, one)
            raise BudgetSpent(
                f"{self._said()}, and a round of this plan takes {part:.2%} of the budget: a plan "
                "with more noise would do"
            )
        return [*entries, Charged(charge.key, session, disclosure)]

    def _said(self) -> str:
        """What is spent and what is left."""
        found = self.spending(0, b"")
        return (
            f"spent is an epsilon of {at_most(found.spent, 4)} of {found.epsilon:g} at delta "
            f"{found.delta:g}, by {found.charged} rounds; {max(0.0, 1 - found.used):.2%} is left"
        )

    # Figures

    def charged(self, plan: bytes) -> int:
        """How many charges stand of rounds of the plan of that digest."""
        return sum(times for disclosure, times in self._counted.items() if disclosure.plan == plan)

    def spending(self, rows: int, head: bytes) -> Spending:
        claim, counting = self.opened.claim, self.opened.counting
        found = composed(releases(self._counted), claim.delta)
        part = 0.0
        if self._way is not None and self._standing:
            part = used(self._way, claim, self._total(self._way))
        return Spending(
            epsilon=claim.epsilon,
            delta=claim.delta,
            unit=counting.unit,
            against=counting.against,
            spent=0.0 if found is None else found.epsilon,
            accounting=None if found is None else found.accounting.value,
            used=part,
            charged=self._counted.total(),
            refunded=self._refunded,
            plans=tuple(self._plans()),
            rows=rows,
            head=head,
        )

    def _plans(self) -> list[PlanSpending]:
        trusts: Mapping[bytes, str] = {told.plan: told.trust for told in self._counted}
        return [
            PlanSpending(plan, trust, self.charged(plan), self._settled[plan])
            for plan, trust in sorted(trusts.items())
        ]

    @property
    def _standing(self) -> bool:
        """Whether anything was released, or may be."""
        return bool(self._counted)

    def _may_begin(self, key: bytes, session: bytes) -> bool:
        fresh = self._way is not None and self._state(key) is None
        return fresh and session not in self._sessions

    def _discount(self, disclosure: Disclosure) -> None:
        self._counted[disclosure] -= 1
        if not self._counted[disclosure]:
            del self._counted[disclosure]

    def _state(self, key: bytes) -> State | None:
        found = self._charges.get(key)
        return None if found is None else found.state

    def _total(self, way: Way) -> Weight:
        """Of all that stands; summed anew, so that nothing is lost in differences."""
        total = NOTHING
        for release, times in releases(self._counted).items():
            if release not in self._weights:
                self._weights[release] = weigh(way, release)
            weight = self._weights[release]
            if weight is None:
                raise WireError("a charge of noise that the filter does not count")
            total = total.plus(weight, times)
        return total


def taken(accounts: Accounts | None, row: Row) -> Accounts:
    """With the row, which of none is the first, or one of sums. Raises StorageError, which names
    it."""
    try:
        entry = row.entry
        if accounts is None and isinstance(entry, Opened):
            return Accounts(entry)
        if accounts is None and isinstance(entry, Summed) and row.number:
            return Accounts.resumed(entry)
        if accounts is None:
            raise WireError("the first row does not open a budget")
        accounts.take(entry)
        return accounts
    except WireError as wrong:
        raise StorageError(f"row {row.number} was edited: {wrong}") from None


_GONE = (State.LEFT, State.SETTLED)
"""The masked input has left, or is about to."""
EVERY = 1024
"""Rows between two rows of sums, at least: what opening reads, some 20 ms."""
