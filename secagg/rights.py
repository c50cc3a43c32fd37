"""Who may do what at a service: the roles of specs/51-admission.md §3, as a table that denies.

What is not in the table is refused, and a role or an action that is added begins with nothing. The
table speaks of roles alone: whose task something is, `secagg.rounds.admissions` says.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from secagg.errors import PolicyRefused


class ServiceRole(enum.IntEnum):
    """What somebody is to a service; the wire carries the value (specs/01-wire.md §7). Those of
    `secagg.types.Role` that both have are the same, and its server is none of these."""

    CLIENT = 1
    COLLECTOR = 2
    ADMIN = 4
    OPERATOR = 5
    VIEWER = 6

    @property
    def word(self) -> str:
        """As people write it."""
        return self.name.lower()

    @property
    def of_tasks(self) -> bool:
        """It is one for tasks that are named, of which there is at least one; the others are for
        the service, and name none."""
        return self in (ServiceRole.CLIENT, ServiceRole.COLLECTOR)


class Action(enum.Enum):
    """What can be asked of a service. What needs no role is not here: to accept an invitation, with
    its token, and to ask whether the process lives."""

    CONFIGURE = "configure"
    INVITE = "invite"
    APPROVE = "approve"
    REVOKE = "revoke"
    APPOINT = "appoint"  # to another role, or to other tasks
    RENEW = "renew"  # one's own key
    OPEN = "open"  # a round, before its time
    PAUSE = "pause"
    CANCEL = "cancel"
    DRAIN = "drain"
    NAMES = "names"  # who is enrolled, who took part, and why somebody was dropped
    LINK = "link"  # over which rounds go
    PAYLOAD = "payload"
    STANDING = "standing"  # one's own
    RESULTS = "results"
    ACKNOWLEDGE = "acknowledge"  # that a result is safe
    END_EPOCH = "end-epoch"
    PAGE = "page"
    COUNTS = "counts"


_A = Action
RIGHTS: Mapping[ServiceRole, frozenset[Action]] = MappingProxyType(
    {
        # to approve or revoke somebody takes to see who there is
        ServiceRole.ADMIN: frozenset(
            {_A.CONFIGURE, _A.INVITE, _A.APPROVE, _A.REVOKE, _A.APPOINT, _A.RENEW, _A.NAMES}
        ),
        ServiceRole.OPERATOR: frozenset(
            {_A.OPEN, _A.PAUSE, _A.CANCEL, _A.DRAIN, _A.NAMES, _A.PAGE, _A.COUNTS, _A.RENEW}
        ),
        ServiceRole.CLIENT: frozenset({_A.LINK, _A.PAYLOAD, _A.STANDING, _A.RENEW}),
        ServiceRole.COLLECTOR: frozenset({_A.RESULTS, _A.ACKNOWLEDGE, _A.END_EPOCH, _A.RENEW}),
        ServiceRole.VIEWER: frozenset({_A.PAGE, _A.COUNTS, _A.RENEW}),
    }
)
"""Rule M1. An admin sees no results, and makes itself a collector only where the audit says so."""


def allowed(role: ServiceRole, action: Action) -> bool:
    """Whether the table has it."""
    return action in RIGHTS.get(role, frozenset())


def demand(role: ServiceRole, action: Action) -> None:
    """Raises PolicyRefused, which names both, unless the table has it."""
    if not allowed(role, action):
        who = [one.word for one in ServiceRole if allowed(one, action)]
        raise PolicyRefused(
            f"the role {role.word} is without the right {action.value!r}, which "
            f"{' or '.join(who) if who else 'nobody'} has"
        )
