"""The contract between rounds and whoever drives them, and what all rounds share."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias

from secagg.effects import MACHINE as MACHINE
from secagg.effects import NAMESPACE_SIZE as NAMESPACE_SIZE
from secagg.effects import ROUNDS as ROUNDS
from secagg.effects import (
    Charge,
    Claim,
    Effects,
    Encodable,
    Note,
    Peer,
    Post,
    Refusal,
    Step,
    Work,
    Write,
)

# Theory of operation.
#
# A machine is one party in one session and knows neither who is there nor what time it is. A driver
# has links, a clock, a store and threads, and should decide nothing, because a second driver would
# then have to decide it again. What lies between is rounds: it turns news of links and of time into
# calls of machines, and what machines say into effects.
#
# Every call takes the time, in monotonic seconds, as an argument, and none waits, so that a test
# plays an hour in a millisecond. A call changes the state of the rounds at once and leaves what
# follows from it in an outbox; `take` empties that. A driver may take after each call, or let
# several calls come together, as it does while a transaction is under way: the rows of all of them
# are then committed at once, which is what makes a store affordable. What must not happen is that
# anything leaves whose rows or claims are not safe yet, and the order in `secagg.effects` sees to
# that: a driver that died between two steps has stored more than it said, never the reverse.
#
# Nothing that a peer sends raises here. A peer that breaks the framing, floods, or does not read is
# let go of, which is an effect like any other, and its rounds go on without it. The one exception
# is a client's rounds, whose only peer is the server: what that does wrong its application must
# hear of. An exception out of a server's rounds is therefore a bug, and the round it showed in is
# over.
#
# A link may end and a new one of the same identity begin; who has none is, after its link, gone for
# good, because anybody could say to be it. Restored rounds know nobody, and wait for identities.

ROUND, LEFT, OPENED, END, NAME, LIFE = b"r", b"l", b"o", b"e", b"n", b"c"
"""What a row of the rounds themselves is about: how its own key begins."""
NAMES = b"\xff" * NAMESPACE_SIZE
"""The namespace of a client's named inputs, which ends with no round: no nonce may be it."""
PACE = b"\xfe" * NAMESPACE_SIZE
"""That of who is asked when, of all tasks, which ends with no round either."""
CLOSED = b"closed"
"""The row that ends an epoch of several servers."""


class Rounds(Protocol):
    """What every driver drives. now: monotonic seconds, never less than before."""

    def restore(self, rows: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """First, once: all that the store has. Where it raises nothing is taken and nothing goes
        on: the rounds of other rows may be there already, so its driver makes new ones."""

    def joined(self, peer: Peer, now: float) -> None:
        """A link leads to the peer."""

    def left(self, peer: Peer, now: float) -> None:
        """It is gone. Also said of a peer that these rounds have let go."""

    def received(self, peer: Peer, frame: bytes, now: float) -> None:
        """One whole frame, of any bytes. Rounds of a server let go whoever sends what is none; a
        client's raise, as they say."""

    def flushed(self, peer: Peer, size: int, now: float) -> None:
        """So many bytes of what was posted to the peer have left."""

    def finished(self, work: Work, value: Any, now: float) -> None:
        """A job has returned."""

    def failed(self, work: Work, error: Exception, now: float) -> None:
        """A job could not be done: it raised, or its executor has lost it."""

    def refused(self, refusal: Refusal, now: float) -> None:
        """The ledger knows another digest by this claim's key, or the budget refuses the charge of
        this key. Posts that name it were not sent, and those that wait here do not leave either."""

    def tick(self, now: float) -> None:
        """The time that `due` named has come; harmless at any other."""

    def ready(self, peer: Peer) -> bool:
        """Whether another frame of this peer may be read now; else after a later call."""

    def take(self) -> Effects:
        """All that is to be done, once: after each call, or after a group of them."""


class Outbox:
    """Effects on their way out, in the order in which they were decided.

    A ledger and a budget take their time, and meanwhile links come and frames are heard. What is
    said then waits here for the answer to what was taken before. So a driver need not remember what
    was refused: whatever needs it never comes out of here (specs/03-storage.md §3.3,
    specs/40-privacy.md §9.9).
    """

    def __init__(self) -> None:
        self._writes: dict[bytes, Write] = {}  # the last of each key, in the order of these
        self._claims: list[Claim] = []
        self._posts: list[Post] = []
        self._let_go: dict[Peer, None] = {}
        self._work: list[Work] = []
        self._charges: list[Charge] = []
        self._notes: list[Note] = []
        self._withheld: set[bytes] = set()
        self._asked: list[frozenset[bytes]] = []
        """Needs of the posts that were taken last, whose answers are not all known yet."""

    def write(self, namespace: bytes, owner: bytes, writes: Iterable[Write]) -> None:
        """Rows as their owner names them, under the namespace of its round. Of a row that is
        written again before it was taken, as a sum is with each input, only the last is kept."""
        for one in writes:
            self._put(Write(namespace + owner + one.key, one.value))

    def forget(self, namespace: bytes) -> None:
        """Every row of the namespace goes, also those written a moment ago."""
        self._put(Write(namespace, None))

    def charge(self, charge: Charge) -> None:
        if charge.step is Step.CHARGE:
            self._withheld.discard(charge.key)
        self._charges.append(charge)

    def claim(self, claim: Claim) -> None:
        self._claims.append(claim)

    def note(self, note: Note) -> None:
        """Also where what it speaks of is withheld: who notes too much refuses too much."""
        self._notes.append(note)

    def post(self, peer: Peer, frame: Encodable, needs: Iterable[Claim | Charge] = ()) -> None:
        """Unless it needs what is withheld. A charge that it needs goes out with it, once more if
        need be, as whoever takes the post may be another driver than the one that was answered."""
        needed = tuple(needs)
        keys = frozenset(one.key for one in needed)
        if keys & self._withheld:
            return
        asked = {one.key for one in self._charges if one.step is Step.CHARGE}
        again = [one for one in needed if isinstance(one, Charge) and one.key not in asked]
        self._charges[:0] = again
        self._posts.append(Post(peer, frame, keys))

    def withhold(self, key: bytes) -> None:
        """A charge or claim is refused, or its answer is not known: what waits for it, with the
        claims of that, is dropped, and so is all that will be posted with this need, until the key
        is charged again. A claim has one digest for ever, and its key stays withheld."""
        self._withheld.add(key)
        kept, held = [], set[bytes]()
        for post in self._posts:
            if key in post.needs:
                held |= post.needs
            else:
                kept.append(post)
        self._posts = kept
        self._claims = [one for one in self._claims if one.key not in held]
        # a round may have ended since: what it answered has not left, and settles nothing (§9.11)
        unsaid = {key}.union(*(needs for needs in self._asked if key in needs))
        self._charges = [
            one
            for one in self._charges
            if one.key != key and not (one.step is Step.SETTLE and one.key in unsaid)
        ]

    def let_go(self, peer: Peer) -> None:
        self._let_go[peer] = None

    def work(self, work: Work) -> None:
        self._work.append(work)

    def take(self, due: float = math.inf) -> Effects:
        """Everything, and an empty outbox. due: when the rounds want to be asked again.

        But for what settles a charge, beside claims: only when these are made it is known whether
        the answer, which it rests on, may leave (specs/40-privacy.md §9.11). Until then the charge
        counts at its worst.
        """
        settles = [one for one in self._charges if one.step is Step.SETTLE and self._claims]
        self._asked = [post.needs for post in self._posts]
        taken = Effects(
            tuple(self._writes.values()),
            tuple(self._claims),
            tuple(self._posts),
            tuple(self._let_go),
            tuple(self._work),
            due,
            tuple(one for one in self._charges if one not in settles),
            tuple(self._notes),
        )
        self._writes, self._claims, self._posts, self._work = {}, [], [], []
        self._let_go, self._charges, self._notes = {}, settles, []
        return taken

    def _put(self, write: Write) -> None:
        """Behind all others, as what it is about may have been forgotten meanwhile."""
        self._writes.pop(write.key, None)
        self._writes[write.key] = write


Rows: TypeAlias = dict[bytes, bytes]
"""Value by key."""


class Counted(Outbox):
    """Tells of each frame that will wait for a peer."""

    def __init__(self, count: Callable[[Peer, Encodable], None]) -> None:
        super().__init__()
        self._counter = count

    def post(self, peer: Peer, frame: Encodable, needs: Iterable[Claim | Charge] = ()) -> None:
        self._counter(peer, frame)
        super().post(peer, frame, needs)


def sorted_out(rows: Iterable[tuple[bytes, bytes]]) -> dict[tuple[bytes, bytes], Rows]:
    """Rows by namespace and owner, under the owner's own keys."""
    found: defaultdict[tuple[bytes, bytes], Rows] = defaultdict(dict)
    at = NAMESPACE_SIZE
    for key, value in rows:
        found[key[:at], key[at : at + 1]][key[at + 1 :]] = value
    return dict(found)
