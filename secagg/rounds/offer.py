"""What a round asks of a client, what the client answers, and how it ended for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from secagg.arguments import choice, instance, integer, kind_of, octets, real, settle
from secagg.errors import InputError, ParameterError, PolicyRefused, RemoteProtocolError
from secagg.plans.differences import differences
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.plans.terms import Terms
from secagg.privacy import UNITS, PrivacyTerms, Unit
from secagg.rounds.clock import RoundReport
from secagg.shown import short
from secagg.types import MAX_CLIENTS, AbortReason, PartyId
from secagg.wire.frame import DIGEST_SIZE, Announce, DigestOnly, payload_digest

# Theory of operation.
#
# What a server announces is not trusted with a single parameter. Its plan is decoded strictly and
# judged for its threat as a plan of one's own is, so one that cannot be made at home cannot be made
# by announcing it either; then it is held against what this client has consented to, which it did
# before it heard of anything. Only then there is an `Offer`, and machines are made of offers alone.
#
# Consent is a pin or floors. A pin is a digest, and two plans that differ in one number have two;
# a pinned task has that of what it is about too, which a plan has not. Where nobody knew how many
# would come, what is pinned is the rule: the plan that was announced says of how many it is, and
# this client makes it again of its own terms, and takes it if every byte is the same.
# It admits protocols without protection too, for whoever pins such a plan has read it. Floors are
# for clients that know no plan beforehand: they add to the rules of a plan, and loosen none but
# that one.
#
# A task may be announced by its digest only. Then its digest is computed over what the application
# really used, and compared in the machine (10-secagg.md C2): a server that announces one model and
# hands over another gets nothing masked. One that announces several has several sessions.

# A client that is taken up anew for each message reads its announcement again each time, and one of
# many rounds the same plan in each. It is public and a value, so a process that has checked these
# very bytes need not do it again; what is refused is not remembered.

_REMEMBERED = 8

MAX_DELTA = 1e-3
"""What a client agrees to that says an epsilon and no delta. delta is the chance that the promise
fails: near 1 a plan of any epsilon has next to no noise, and is true (decisions/030-consent.md)."""


@lru_cache(maxsize=_REMEMBERED)
def _decoded(encoded: bytes, unprotected: bool) -> Plan:
    return Plan.decode(encoded, allow_unprotected=unprotected)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a round asks of this client, before anything of it is revealed.

    round: counts from 1 on these rounds, and after a restart from those that still run. plan:
    decoded strictly and checked. payload: the task, or None where only its digest was announced.
    deadlines: seconds of each phase. nonce: 16 bytes that name the round. payload_size: bytes of a
    payload that is fetched, 0 where they are not announced.
    """

    round: int
    party: PartyId
    plan: Plan
    payload: bytes | None = field(repr=False)
    payload_digest: bytes
    deadlines: Mapping[str, float]
    nonce: bytes = b""
    payload_size: int = 0

    __repr__ = short

    @property
    def names_inputs(self) -> bool:
        """Whether an input without a name of its own has one here: that of the payload."""
        return self.payload_digest != payload_digest(b"")


@dataclass(frozen=True, slots=True)
class Contribution:
    """A client's answer to an offer.

    fields: name -> array, as the plan's fields have it. weight: up to the plan's max_weight; 0 of a
    client without examples, which may decline instead. payload: the task as this client fetched
    it, where the offer brought only its digest: the digest is computed over what was really used.
    name: what the application calls this input. An input is summed at most once under its name, so
    that no two sums differ by it: whoever gives the same values again gives the same name. Without
    one it is named after a payload that is not empty, as the answer to it; else it has no name, and
    nothing compares it with the inputs of other rounds. Raises InputError for a payload that is not
    bytes, and for a name that is neither bytes nor text that UTF-8 can write.
    """

    fields: Mapping[str, Any] = field(repr=False)
    weight: int = field(default=1, repr=False)
    payload: bytes | None = field(default=None, repr=False)
    name: str | bytes | None = None

    __repr__ = short

    def __post_init__(self) -> None:
        if self.payload is not None and not isinstance(
            self.payload, bytes | bytearray | memoryview
        ):
            raise InputError(f"a payload is bytes, not {kind_of(self.payload)}")
        try:
            if isinstance(self.name, str):
                self.name.encode()
            elif not isinstance(self.name, bytes | None):
                raise InputError(f"a name is text or bytes, not {kind_of(self.name)}")
        except UnicodeEncodeError:
            raise InputError("a name is text that UTF-8 can write") from None

    def digest(self, offer: Offer) -> bytes:
        """Of the payload that this input answers; InputError where the caller must have it."""
        if offer.payload is not None:
            return offer.payload_digest
        if self.payload is None:
            raise InputError(
                "only the task's digest was announced: give the Contribution its payload"
            )
        return payload_digest(self.payload)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a round ended for this client.

    reason: None when the server has its sum. contributors, dropped: as the server says, 0 where it
    said nothing. detail: why this client left, where it did, or was left out. clipped: by field,
    how many elements of this client's input lay beyond the plan's clip; it stays on this side, but
    for its sum in a plan with the lane `clipped`. included: whether this input is in the sum, as
    the server says; None where it said nothing and the input has left. why: the fault for which it
    is not, or "spent"; empty where none is known. spent: no further attempt with this input is
    allowed: it is in a sum, or may be. statements: where clients sign, what the server has signed
    to this one (`secagg.proved.told`).
    """

    round: int
    party: PartyId
    reason: AbortReason | None
    contributors: int
    dropped: int
    report: RoundReport
    detail: str = ""
    clipped: Mapping[str, int] = field(default_factory=dict)
    included: bool | None = False
    why: str = ""
    spent: bool = False
    statements: tuple[bytes, ...] = field(default=(), repr=False)

    __repr__ = short


@dataclass(frozen=True, slots=True)
class Consent:
    """What a client agrees to take part in, before it has heard of it.

    plan, plan_digest: exactly this plan. task: exactly its plan, about its payload. terms: exactly
    the plan that follows from them for the announced number of clients, and of those they were
    chosen from. Of plan, task and terms one is given. Without any of them: floors that any
    announced plan must keep, besides its own rules. min_clients: the fewest clients whose sum may
    be revealed. protocols: by name, None for all. unprotected: also a protocol without a threat
    model. max_epsilon: the sums have noise, and what they tell the server of any one's data over
    all of the plan's rounds is no more than that, whatever plan is pinned. max_delta: the largest
    delta with it, by default MAX_DELTA; randomised response needs none for its epsilon, and is not
    asked. unit: of what the epsilon is: all that a client holds, which is the default, or
    `example`, also of each example by itself (decisions/030-consent.md).
    Raises ParameterError for a plan and a digest of another, for a task of several servers, for
    protocols that are one text, and for max_delta or unit without max_epsilon; PolicyRefused for a
    pinned plan that tells more: before anybody is asked.
    """

    plan: Plan | None = None
    plan_digest: bytes | None = None
    min_clients: int = 0
    protocols: Collection[str] | None = None
    unprotected: bool = False
    task: Task | None = None
    max_epsilon: float | None = None
    max_delta: float | None = None
    unit: Unit | None = None
    terms: Terms | None = None

    __repr__ = short

    def __post_init__(self) -> None:
        if self.plan is not None:
            instance("plan", self.plan, Plan)
        if self.plan_digest is not None:
            octets("plan_digest", self.plan_digest, DIGEST_SIZE)
        integer("min_clients", self.min_clients, 0, MAX_CLIENTS)
        self._check_told()
        if isinstance(self.protocols, str | bytes):  # in which every part of a name would be found
            raise ParameterError("protocols are several names, as in protocols=['secagg+']")
        if self.plan is not None and self.plan_digest not in (None, self.plan.digest()):
            raise ParameterError("plan and plan_digest are not of the same plan: give one of them")
        if self.task is not None:
            self._check_task(self.task)
        if self.terms is not None:
            self._check_terms(self.terms)
        if (own := self._own) is not None:
            self.check_privacy(own.privacy)

    @property
    def _own(self) -> Plan | None:
        """The pinned plan, where there is more of it than its digest."""
        return self.plan if self.task is None else self.task.plan

    @property
    def pinned(self) -> bytes | None:
        """The digest of the one plan, or of the terms of those, that will do, or None."""
        if self.terms is not None:
            return self.terms.digest()
        plan = self._own
        return self.plan_digest if plan is None else plan.digest()

    def judge(self, frame: Announce, number: int) -> Offer:
        """The announcement as an offer: its plan against the pin or the floors, then itself.

        Raises PolicyRefused for a plan that is not agreed to, ParameterError and WireError for one
        that is none, RemoteProtocolError for a place or deadlines that do not fit it.
        """
        pinned = self.pinned
        plan = _decoded(frame.plan, pinned is not None or self.unprotected)
        if self.terms is not None:
            self._check_derived(plan, self.terms)
        elif pinned is not None and plan.digest() != pinned:
            raise PolicyRefused(
                f"the server announced the plan {plan.digest().hex()}, and pinned is "
                f"{pinned.hex()}: {self._differences(plan)}; ask its operator which plan is meant"
            )
        if self.task is not None and frame.payload_digest != self.task.payload_digest:
            raise PolicyRefused(
                f"the server announced the payload {frame.payload_digest.hex()}, and pinned is "
                f"{self.task.payload_digest.hex()}: ask its operator which task is meant"
            )
        self._check_floors(plan)
        phases, places = plan.phase_names, plan.threat.clients
        if plan.suite.signed:
            places, whom = plan.threat.population, "places"
        else:
            whom = "clients"
        if frame.party >= places or len(frame.deadlines) != len(phases):
            raise RemoteProtocolError(
                f"the plan has {places} {whom} and {len(phases)} phases; announced "
                f"were party {frame.party} and {len(frame.deadlines)} deadlines"
            )
        return Offer(
            round=number,
            party=frame.party,
            plan=plan,
            payload=None if isinstance(frame.payload, DigestOnly) else frame.payload,
            payload_digest=frame.payload_digest,
            deadlines={p: ms / 1000 for p, ms in zip(phases, frame.deadlines, strict=True)},
            nonce=frame.nonce,
            payload_size=frame.payload.size if isinstance(frame.payload, DigestOnly) else 0,
        )

    def _differences(self, plan: Plan) -> str:
        pinned = self._own
        if pinned is None:
            return "in what they differ, only the plan itself could tell, which is not pinned here"
        return f"they differ in {differences(plan, pinned)}"

    def _check_derived(self, plan: Plan, terms: Terms) -> None:
        """specs/50-service.md §1.7. PolicyRefused, where no such plan follows or another one."""
        clients, population = plan.threat.clients, plan.threat.population
        try:
            derived = terms.plan(clients, population)
        except ParameterError as error:
            raise PolicyRefused(
                f"the server announced a plan of {clients} clients, chosen from {population}, and "
                f"by the pinned terms there is none: {error}"
            ) from None
        if plan.encode() != derived.encode():
            raise PolicyRefused(
                f"the server announced the plan {plan.digest().hex()}, and by the pinned terms the "
                f"one of {clients} clients, chosen from {population}, is {derived.digest().hex()}: "
                f"they differ in {differences(plan, derived)}; ask its operator which terms are "
                "meant"
            )

    def _check_terms(self, terms: Terms) -> None:
        instance("terms", terms, Terms)
        if (self.plan, self.plan_digest, self.task) != (None, None, None):
            raise ParameterError(
                "every plan of a round follows from its terms: give the terms, or a plan, its "
                "digest or a task"
            )
        self.check_privacy(None)

    def _check_task(self, task: Task) -> None:
        instance("task", task, Task)
        if self.plan is not None or self.plan_digest is not None:
            raise ParameterError("a task has its plan: give the task, or a plan or its digest")
        task.check_rounds("is announced by nobody: its clients report to them")

    def _check_floors(self, plan: Plan) -> None:
        """Raises PolicyRefused. The fewest clients are min_survivors, of the smallest sum that can
        be revealed, and not those with whom a round may begin."""
        if self.protocols is not None and plan.protocol not in self.protocols:
            raise PolicyRefused(
                f"the server announced {plan.protocol}, and agreed to is only "
                f"{', '.join(sorted(self.protocols)) or 'none'}"
            )
        if plan.params.min_survivors < self.min_clients:
            raise PolicyRefused(
                f"the announced plan reveals sums of {plan.params.min_survivors} clients, and "
                f"agreed to are no fewer than {self.min_clients}: a round of more clients would "
                f"do, or min_clients={plan.params.min_survivors} here"
            )
        self.check_privacy(plan.privacy)

    def check_privacy(self, terms: PrivacyTerms | None) -> None:
        """PolicyRefused for sums that tell the server more of any one's data than is agreed to;
        without max_epsilon that is whatever they tell. A plan's own epsilon is true, or it could
        not be decoded; of central noise it is none against the server."""
        most = self.max_epsilon
        if most is None:
            return
        if terms is None:
            raise PolicyRefused(
                f"the plan has no noise, and agreed to is an epsilon of {most:g} at most: the "
                f"server's privacy=secagg.Privacy(epsilon={most:g}, ...) would do"
            )
        if terms.trust == "central":
            raise PolicyRefused(
                "the plan has the server add the noise, which sees the sum without, and agreed to "
                f"is an epsilon of {most:g} at most: trust='distributed' would do"
            )
        if terms.unit == "example" and self.unit != "example":
            raise PolicyRefused(
                f"the plan's epsilon is of one example, of which a client may have "
                f"{terms.examples}, and agreed to is one of all that a client holds: the server's "
                "unit='client' would do, or here unit='example', which agrees to either"
            )
        if terms.epsilon > most:
            raise PolicyRefused(
                f"the plan allows an epsilon of {terms.epsilon:g} over its {terms.rounds} rounds, "
                f"and agreed to is {most:g} at most"
            )
        delta = MAX_DELTA if self.max_delta is None else self.max_delta
        if terms.delta > delta and not terms.responds:
            raise PolicyRefused(
                f"the plan allows a delta of {terms.delta!r}, the chance that its epsilon does not "
                f"hold, and agreed to is {delta!r} at most: the server's delta={delta!r} would do, "
                f"or here max_delta={terms.delta!r}"
            )

    def _check_told(self) -> None:
        """ParameterError."""
        if self.max_epsilon is None:
            if self.max_delta is not None or self.unit is not None:
                raise ParameterError(
                    "max_delta and unit say more of a promise: give max_epsilon with them"
                )
            return
        if not real("max_epsilon", self.max_epsilon) > 0:
            raise ParameterError("max_epsilon must be above 0")
        if self.max_delta is not None and not 0 < real("max_delta", self.max_delta) < 1:
            raise ParameterError("max_delta must be above 0 and below 1")
        if self.unit is not None:
            settle(self, unit=choice("unit", self.unit, UNITS))
