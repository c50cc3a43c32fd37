"""What a client is where clients sign: a place in a roster, a policy, a memory of earlier sums."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from secagg.crypto import sign
from secagg.earlier import Earlier, Memory, change_bound
from secagg.effects import Note
from secagg.errors import PolicyRefused, RemoteProtocolError
from secagg.plans.plan import Plan
from secagg.policy import Policy
from secagg.roster import Roster
from secagg.rounds.enrolled import as_member
from secagg.rounds.greeting import Script
from secagg.rounds.offer import Offer
from secagg.shown import short
from secagg.types import PartyId, Randomness, Seed, system_randomness

# Theory of operation.
#
# In a round of suite 2 the server is believed nothing. Who the others are says the roster, which
# the administrator has signed whom this client pins; what a plan must promise at least says the
# policy; with whom the input may be summed the memory, which is in the client's ledger. All three
# are there before the first link, and whoever has none of them is in no such round.
#
# The memory is asked three times, and told three times (specs/14-roster.md §6). Before the input is
# given, whether too many earlier rounds are unknown; before a survivor set is signed, whether it is
# too close to one of another round; and whether there is room. Told, by notes that are durable
# before what they speak of leaves, are that the masked input leaves, what is signed, and that a
# quorum has signed the same. Whoever dies in between knows more than was said, and never less.
#
# A roster ends. Time here is monotonic, so whoever makes a membership has looked at the clock on
# the wall, and says until when it is one. That it is the newest roster, and the pinned
# administrator's, was found before there was a membership (`secagg.policy.admit`).


@dataclass(frozen=True)
class Membership:
    """roster: as `secagg.policy.admit` has let it through. admin: who signed it. signing: the seed
    of this member's key. memory: of the same ledger. until: monotonic seconds when the roster ends.

    Raises ParameterError for whoever is not in the roster.
    """

    roster: Roster
    admin: bytes
    signing: Seed = field(repr=False)
    policy: Policy
    memory: Memory = field(repr=False)
    until: float

    __repr__ = short

    def __post_init__(self) -> None:
        self.place  # noqa: B018

    @cached_property
    def place(self) -> PartyId:
        """This client, in every round."""
        return self.roster.place_of(sign.public_key(self.signing))

    def greet(self, randomness: Randomness = system_randomness) -> Script:
        """Of a link that this client has opened to its server."""
        return as_member(self.roster, self.place, self.signing, randomness)

    def check(self, offer: Offer, now: float) -> None:
        """Before anything is said in that round. Raises PolicyRefused for a plan that the policy
        does not take and for a roster that is over, RemoteProtocolError for another's place."""
        self.policy.check(offer.plan)
        if now > self.until:
            raise PolicyRefused(
                f"the roster of epoch {self.roster.epoch} is over since this client has it: get "
                "the next one from the administrator, and start again with it"
            )
        if offer.plan.suite.signed and offer.party != self.place:
            raise RemoteProtocolError(
                f"the server announced party {offer.party}, and this client's place in the roster "
                f"is {self.place}"
            )

    def earlier(self, offer: bytes, plan: Plan) -> Earlier:
        """What judges the survivors of the round of that offer."""
        return self.memory.earlier(offer, _bound(plan))

    def left(self, offer: bytes, plan: Plan) -> Note:
        """The masked input of that round is about to leave. Raises as `Memory.left`."""
        return self.memory.left(offer, _bound(plan))


def _bound(plan: Plan) -> int:
    return change_bound(plan.promise.numbers["group"], plan.threat.corrupted)


def check_membership(member: Membership | None, offer: Offer, now: float) -> None:
    """As `Membership.check`; PolicyRefused for whoever is none, in a round whose clients sign."""
    if member is not None:
        member.check(offer, now)
    elif offer.plan.suite.signed:
        raise PolicyRefused(
            "the announced plan is against a server that lies, and this client has nothing to sign "
            "with: give it an identity, the signed roster, the administrator's key and a ledger"
        )
