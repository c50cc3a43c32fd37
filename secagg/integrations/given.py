"""A client of a framework's round: what it is asked, what leaves it, in which order, and what it
weighs."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from secagg.budget import Budget
from secagg.drive.outbound import charged
from secagg.errors import BudgetSpent, InputError, Spent, WireError
from secagg.plans.plan import Plan
from secagg.rounds.client import ClientRounds
from secagg.store.base import Ledger, Store
from secagg.wire.frame import MAX_SIZE, Announce, decode_frame

log = logging.getLogger("secagg.integrations")


def round_of(frames: Sequence[bytes]) -> tuple[bytes, bool]:
    """The nonce of the round that a message is about, and whether it is announced here.

    A message is about one round, of which an announcement is the first word: two would share what
    is known of inputs, and the end of one would free an input for the other. Raises WireError.
    """
    first, *others = (decode_frame(frame, limit=MAX_SIZE) for frame in frames or (b"",))
    if any(other.nonce != first.nonce or isinstance(other, Announce) for other in others):
        raise WireError(
            "a message is about one round, which is announced once, in front: the server's secagg "
            "is not the one that this client knows, or it tries to have an input in two sums"
        )
    return first.nonce, isinstance(first, Announce)


def perform(
    rounds: ClientRounds,
    store: Store,
    ledger: Ledger,
    spent: str,
    ends: bytes | None = None,
    budget: Budget | None = None,
) -> list[bytes]:
    """Rows, then charges, then claims, then frames, which are returned: they may leave.

    spent: what an error says where a claim is refused: what was said before, in other words, is
    then not said again. ends: the session, where whatever is said now is its last: it ends with
    that. budget: of rounds that count. Raises Spent with it, BudgetSpent, and StorageError.
    """
    frames: list[bytes] = []
    while (effects := rounds.take()).writes or effects.charges or effects.claims or effects.posts:
        store.commit(effects.writes)
        for refusal in charged(effects, budget).values():
            raise BudgetSpent(refusal.why)
        ending = ends if effects.posts else None
        if effects.claims or ending is not None:
            try:
                ledger.claim_all(effects.claims, ending)
            except Spent:
                raise Spent(spent) from None
        frames += [post.frame.encode() for post in effects.posts]
    return frames


def checked_weight(plan: Plan, weight: float, key: str) -> int:
    """The number of examples, as the plan takes it: more than its max_weight count as that many.
    key: what the framework calls it.

    A client that declined instead would be seen to, and the server chooses max_weight: in a round
    for each bit it would read that client's number, or whatever integer it has clients weigh by.
    The client's own log says what was cut. Raises InputError, without the number.
    """
    if not math.isfinite(weight) or weight != int(weight):
        raise InputError(f"the weight {key!r} is a whole number of examples")
    if weight < 0:
        raise InputError(f"the weight {key!r} is below 0")
    if int(weight) > plan.schema.max_weight:
        log.warning(
            "secagg: the weight %r is above the plan's max_weight=%d, and counts as that: a larger "
            "max_weight= at the server would count all of it",
            key,
            plan.schema.max_weight,
        )
    return min(int(weight), plan.schema.max_weight)
