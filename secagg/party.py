"""Float records in, an Aggregate out, around machines that know ring vectors only.

Client and Server delegate the sans-IO calls to the protocol's machine, so a driver cannot tell
them from it. The count lane is checked here, for every protocol.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg import records, selftest
from secagg.arguments import instance, integer
from secagg.committee import Committee
from secagg.crypto.randomness import checked
from secagg.delegate import Delegate, ServerDelegate
from secagg.errors import BelowThreshold, ParameterError
from secagg.layout import Expander, Fresh
from secagg.mask import add_streams
from secagg.plans.label import PrivacyLabel, intervals, label_of
from secagg.plans.plan import Plan
from secagg.protocol import OneServer, Session, SeveralServers
from secagg.roster import Roster
from secagg.sansio import (
    ClientMachine,
    Disputed,
    Dropped,
    Event,
    Judge,
    RingTotal,
    ServerMachine,
)
from secagg.shown import short
from secagg.types import (
    FIRST_RESERVED,
    Fault,
    PartyId,
    Randomness,
    Seed,
    system_randomness,
)


@dataclass(frozen=True)
class Report:
    """What happened besides the sum.

    error_bounds: of each field's mean, by rounding, against clipped inputs and beside the noise.
    clipped: by field, how many elements of all contributors were clipped; None wherever no one
    party knows, so outside simulations. A plan with the lane `clipped` has their total in the
    aggregate's sums. disputed: (dealer, holder) of every share that was unusable: one of the two
    lied, nobody knows who, and neither is among the faults for it. privacy: of a plan with it, what
    the sum promises to each unit. intervals: by field with noise, the half-width of the interval
    around an element of the sum in which it was without noise in 95 of 100 cases.
    """

    protocol: str
    faults: Mapping[PartyId, Fault]
    error_bounds: Mapping[str, float]
    clipped: Mapping[str, int] | None = None
    disputed: frozenset[tuple[PartyId, PartyId]] = frozenset()
    privacy: PrivacyLabel | None = None
    intervals: Mapping[str, float] = field(default_factory=dict)

    __repr__ = short


@dataclass(frozen=True)
class Aggregate:
    """The sum over exactly `contributors`.

    sum, mean: by field; of the weighted inputs and divided by `weight`, float64, for a
    fixed-point field; int64 and float64, unweighted, for an integer field. levels: the exact
    signed integer sums that these were computed from, int64. contributors, dropped: empty where
    nobody is told who they are; `count` is how many contributed. members: of those contributors
    whose link proved it, the identity. structure: the plan's, for `as_like`.
    """

    sum: Mapping[str, npt.NDArray[Any]] = field(repr=False)
    mean: Mapping[str, npt.NDArray[np.float64]] = field(repr=False)
    levels: Mapping[str, npt.NDArray[np.int64]] = field(repr=False)
    weight: int = field(repr=False)
    contributors: frozenset[PartyId]
    dropped: frozenset[PartyId]
    report: Report
    reports: int | None = None
    members: Mapping[PartyId, bytes] = field(default_factory=dict)
    structure: tuple[bytes, ...] = field(default=(), repr=False)

    __repr__ = short

    @property
    def count(self) -> int:
        """How many inputs are in the sum, also where nobody knows whose they are."""
        return len(self.contributors) if self.reports is None else self.reports

    @property
    def privacy(self) -> PrivacyLabel | None:
        """What the sum promises to each unit, to be stored with whatever is made of it."""
        return self.report.privacy

    @property
    def interval(self) -> Mapping[str, float]:
        """By field with noise, how far an element of the sum is from the sum without, in 95 of 100
        cases: of the noise of all contributors. Of a mean, divided by their number."""
        return self.report.intervals

    def as_like(self, model: Any) -> Any:
        """What came out, as arrays of the shapes and types of a model that the plan is like.

        model: as `plan(like=)` takes it: a mapping of names to arrays or tensors, a list of them,
        or a pandas frame. Its entries that the plan has come back, in a dict, a list or a frame,
        and no others: what was left out is not there, and None in a list. So a mean of weights is
        `{**model, **total.as_like(model)}`, and one of differences can be added to what it is of.

        Floats are means: computed in float64 and rounded once, to the nearest number of the entry's
        own type. Integers are sums. A tensor comes back as a tensor of its own kind, on the device
        of the model's; everything else as an array of numpy's. All are fresh.

        Raises InputError for a plan without entries and for another model, with the entry that
        differs; RangeError for a value that is beyond an entry's type.
        """
        from secagg.like import restored

        return restored(self.sum, self.mean, self.structure, model)


class Client(Delegate):
    """One client of one round. A ClientMachine but for `set_input`, which takes named fields.

    nonce: 16 bytes, from the announcement. payload_digest: of the task payload as announced.
    committee: the servers of a plan that has several. Of a plan whose clients sign, me is a place
    in the roster, signing the seed of its key there, and judge what this client says of a survivor
    set before it signs it; whoever makes the machine has verified the roster (`secagg.roster.Pin`).
    Raises ParameterError where these do not fit the plan, PolicyRefused for a plan that is for
    reading only, and CryptoError where a known answer of the primitives is wrong in this process.
    """

    machine: ClientMachine

    def __init__(
        self,
        plan: Plan,
        me: PartyId,
        *,
        nonce: bytes,
        payload_digest: bytes,
        committee: Committee | None = None,
        randomness: Randomness = system_randomness,
        expander: Expander = add_streams,
        roster: Roster | None = None,
        signing: Seed | None = None,
        judge: Judge | None = None,
    ) -> None:
        instance("plan", plan, Plan)
        selftest.passed()
        me = PartyId(integer("me", me, 0, FIRST_RESERVED - 1))
        self.plan = plan
        self.clipped: Mapping[str, int] = {}
        """Elements beyond clip in the input given, by field. It stays on this side, but for its
        sum in a plan with the lane `clipped`."""
        self._randomness = randomness
        self._seed = plan.rotation(nonce, payload_digest)
        session = plan.session(nonce, payload_digest, committee, roster=roster)
        made = plan.info.family.client(
            session, me, randomness=randomness, expander=expander, signing=signing, judge=judge
        )
        super().__init__(made)

    @property
    def owes_input(self) -> bool:
        return self.machine.owes_input

    def statements(self) -> list[bytes]:
        """Of active mode: what the server has signed to this client, to be compared with what it
        signed to others (specs/12-active.md §8). Else there is none."""
        return self.machine.statements()

    def evidence(self) -> list[bytes]:
        """Of active mode: what convicts the server of having signed two things. Drained."""
        return self.machine.evidence()

    def set_input(
        self, values: Mapping[str, Any], *, payload_digest: bytes, weight: int = 1
    ) -> None:
        """values: every field of the plan, by name. payload_digest: of the bytes this client saw.

        Raises InputError or RangeError, naming field and index, before anything is masked.
        """
        encoded = self._encoded(values, weight)
        self.machine.set_input(Fresh(encoded.vector), payload_digest)
        self.clipped = encoded.clipped

    def _encoded(self, values: Mapping[str, Any], weight: int) -> records.Encoded:
        """Once for an input: with privacy it has its noise, and what is sent again is the same."""
        plan = self.plan
        return records.encode(
            plan.schema, values, weight, self._randomness, plan.structure, self._seed
        )


class Summed(ServerDelegate):
    """What comes out of a machine that has a sum, as named fields: for servers and collectors."""

    def __init__(
        self, plan: Plan, machine: ServerMachine, seed: bytes, noise: Seed | None = None
    ) -> None:
        """seed: of the rotation. noise: the key of the noise that is added here, with central
        trust."""
        super().__init__(machine)
        self.plan, self._seed, self._noise = plan, seed, noise
        self._told: list[Dropped | Disputed] = []

    def aggregate(self) -> Aggregate:
        """Once done. Raises Aborted, or IntegrityError where the count lane disagrees."""
        total = self.result()
        self.events()
        return aggregated(self.plan, total, self._told, self._seed, self._noise)

    def result(self) -> RingTotal:
        """The ring's sum; like `aggregate`, withheld where the count lane disagrees."""
        try:
            total = self.machine.result()
        except BelowThreshold as ended:
            self.events()
            raise with_faults(ended, self._told) from None
        records.check_counts(self.plan.schema, total.vector, total.count)
        return total

    def events(self) -> list[Event]:
        events = super().events()
        self._told += [event for event in events if isinstance(event, Dropped | Disputed)]
        return events


class Server(Summed):
    """The server of one round: a ServerMachine with `aggregate()`.

    machine: in place of the protocol's own, such as one with meters. noise: of a plan with central
    noise, the key of it, 32 secret bytes of this session alone; a server that may be asked for a
    sum again after a restart keeps it, as two noises on one sum could be averaged. roster, signing,
    invited: of a plan whose clients sign, the seed of the server's key in the roster, and whom of
    it the session asks. Raises ParameterError where these do not fit the plan, and for a plan of
    several servers; unless a machine is given.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        nonce: bytes,
        payload_digest: bytes,
        expander: Expander = add_streams,
        machine: ServerMachine | None = None,
        noise: Seed | None = None,
        roster: Roster | None = None,
        signing: Seed | None = None,
        invited: frozenset[PartyId] | None = None,
    ) -> None:
        instance("plan", plan, Plan)
        selftest.passed()
        if noise is None and plan.schema.central_noise:
            noise = Seed(checked(system_randomness)(Seed.SIZE))
        if machine is None:
            session = plan.session(nonce, payload_digest, roster=roster, invited=invited)
            machine = _one_server(plan, session, expander, signing)
        super().__init__(plan, machine, plan.rotation(nonce, payload_digest), noise)


class Collector(Summed):
    """Who adds the totals of several servers: a CollectorMachine with `aggregate()`.

    committee: the servers. batch: which of its sums. secret: of the committee's collector key.
    Raises ParameterError for a plan of one server, and for another key.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        payload_digest: bytes,
        committee: Committee,
        secret: Seed,
        batch: int = 0,
    ) -> None:
        instance("plan", plan, Plan)
        selftest.passed()
        match plan.info.family:
            case SeveralServers(collector=collector):
                session = plan.session(b"", payload_digest, committee, batch)
                seed = plan.rotation(b"", payload_digest)
                super().__init__(plan, collector(session, secret), seed)
            case OneServer():
                raise ParameterError(f"{plan.protocol} has one server, and no collector")


def aggregated(
    plan: Plan,
    total: RingTotal,
    events: Iterable[Event],
    seed: bytes,
    noise: Seed | None = None,
) -> Aggregate:
    """A total as named fields. events: of whoever had it, in order; drops and disputes count. seed:
    of the session's rotation. noise: the key of what is added here, with central trust.

    Raises IntegrityError where the count lane disagrees.
    """
    records.check_counts(plan.schema, total.vector, total.count)
    vector = total.vector
    if noise is not None:
        vector = records.with_noise(plan.schema, vector, noise)
    decoded = records.decode(plan.schema, vector, total.count, seed)
    told = list(events)
    return Aggregate(
        sum=decoded.sum,
        mean=decoded.mean,
        levels=decoded.levels,
        weight=decoded.weight,
        contributors=total.contributors,
        dropped=total.dropped,
        report=Report(
            plan.protocol,
            _faults(told),
            plan.schema.errors,
            disputed=frozenset((e.dealer, e.holder) for e in told if isinstance(e, Disputed)),
            privacy=label_of(plan.threat, plan.schema, total.count),
            intervals=intervals(plan.schema, total.count),
        ),
        reports=total.reports,
        structure=plan.structure,
    )


def _faults(events: Iterable[Event]) -> dict[PartyId, Fault]:
    return {e.party: e.fault for e in events if isinstance(e, Dropped)}


def with_faults(ended: BelowThreshold, events: Iterable[Event]) -> BelowThreshold:
    """What became of the others: how many for which fault, as they or their links said."""
    numbers = Counter(fault.value for fault in _faults(events).values())
    if not numbers:
        return ended
    dropped = ", ".join(f"{number} {fault}" for fault, number in sorted(numbers.items()))
    why = f"{ended.detail}; dropped: {dropped}"
    if Fault.BAD_INPUT.value in numbers:
        why += " (a client's own input does not fit the plan, or could not be made: its log says)"
    return BelowThreshold(why)


def _one_server(
    plan: Plan, session: Session, expander: Expander, signing: Seed | None
) -> ServerMachine:
    match plan.info.family:
        case OneServer(server=server):
            return server(session, expander=expander, signing=signing)
        case SeveralServers():
            raise ParameterError(
                f"{plan.protocol} has {plan.params.servers} servers, none of which has the sum: "
                "each is a member, and a Collector adds their totals"
            )
