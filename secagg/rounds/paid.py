"""What a client's budget is told of one round, and when (specs/40-privacy.md §9.9-§9.12)."""

from __future__ import annotations

from secagg.crypto import labels
from secagg.effects import Charge, Step, Unpaid
from secagg.plans.disclosure import Disclosure
from secagg.rounds.base import Outbox
from secagg.types import PartyId

# Theory of operation.
#
# A budget counts what may be in a sum, so the truth that matters is how far an input has gone, and
# a part knows that (`Part.left`). Here it becomes entries: a charge before the first message, a
# word before the message that carries the input, and one of two endings. Entries are effects like
# claims. They are carried out before what they pay for leaves, and a charge that is refused holds
# back every message that needs it, of which each of the round's messages is one, whether it was
# said with the charge or while the budget was asked (`Outbox.withhold`).
#
# A charge has a key of its own life. Rows keep that: who goes on from them has paid. Who begins the
# same round anew, without them, or over a second link, would have the same data in one sum twice,
# which no two charges pay for: a unit then moves the sum by twice its norm. The budget refuses it.
#
# The end is told when nothing can change it any more. A refund, once the client has left without
# having said its input. A settlement, once the round is over and the answer of this client, under a
# claim that was not refused, was to that set: what a server says of a sum is not asked. A process
# that dies in between tells neither, and the worst case stays.
#
# Impossible: a refund after the input has left, for the budget has the word of that and keeps it,
# also from a client whose rows were put back.

LIFE_SIZE = 16


class Paid:
    """The charge of one part; of a client without a budget, nothing."""

    def __init__(self, outbox: Outbox, disclosure: Disclosure | None, corrupt: int) -> None:
        """disclosure: of one round of the plan, at its worst. corrupt: A, without their noise."""
        self._outbox, self._disclosure, self._corrupt = outbox, disclosure, corrupt
        self._name = self._key = b""
        self._charge = Charge(b"", Step.CHARGE)
        self._opened = 0
        self._said: set[Step] = set()
        self.why = ""
        """Of a refusal."""

    @property
    def counts(self) -> bool:
        """Whether there is a budget."""
        return self._disclosure is not None

    @property
    def needs(self) -> list[Charge]:
        """What every message of the round needs; nothing once it is refused: then this client only
        says that it leaves."""
        return [self._charge] if self._key else []

    def name(self, offer: bytes, nonce: bytes, party: PartyId, life: bytes) -> None:
        """What is charged. offer: of a report, its task's digest."""
        session = labels.digest(labels.CHARGE, offer, nonce)
        self._name = labels.digest(labels.CHARGE, offer, nonce, party, life)
        self._charge = Charge(self._name, Step.CHARGE, self._disclosure, session=session)

    def begin(self) -> None:
        """Before the first message, and again after a restart: the same life is charged once."""
        if self._disclosure is not None:
            self._key, self.why = self._name, ""
            self._said.clear()
            self._outbox.charge(self._charge)

    def renew(self) -> None:
        """Another driver goes on, and what the last one was answered may never have been heard
        here: what waits is dropped, and whoever posts begins anew."""
        if self._key:
            self._outbox.withhold(self._key)
        self._key, self.why = b"", ""

    def leaves(self) -> None:
        """The message that carries the input is about to leave."""
        self._tell(Step.LEAVE)

    def opens(self, survivors: int) -> None:
        """This client helps to open the sum of so many inputs."""
        self._opened = survivors

    def disowns(self) -> None:
        """That answer may not leave: another wording of it is claimed."""
        self._opened = 0

    def refused(self, refusal: Unpaid) -> bool:
        """Whether it was this charge, of which there is then none."""
        if not self._key or refusal.key != self._key:
            return False
        self._key, self.why = b"", refusal.why
        return True

    def ends(self, *, left: bool) -> None:
        """The client has left the round, or it is over. left: its input has left."""
        if not left:
            self._tell(Step.REFUND)

    def settles(self) -> None:
        """The round is over. Without effect unless this client has answered."""
        honest = self._opened - self._corrupt
        if self._opened and honest > 0:
            self._tell(Step.SETTLE, honest)

    def _tell(self, step: Step, honest: int = 0) -> None:
        if self._key and step not in self._said:
            self._said.add(step)
            self._outbox.charge(Charge(self._key, step, honest=honest))
