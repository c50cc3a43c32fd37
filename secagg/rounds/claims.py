"""What a client says once: one wording of each answer, and one sum of each named input."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from secagg.crypto import labels
from secagg.effects import Claim, Write
from secagg.errors import PolicyRefused, Spent
from secagg.protocol import Session
from secagg.rounds.base import NAME, NAMES, ROUNDS, Outbox
from secagg.types import PartyId
from secagg.wire.codec import Reader, Writer
from secagg.wire.frame import NONCE_SIZE
from secagg.wire.header import TAG_AT

# Theory of operation.
#
# Two things end a client's privacy although every session keeps its rules. One is a second wording:
# rows that were put back to an earlier state let a machine answer the same question twice, with
# other shares under one key and nonce, another input under one mask, or another survivor set. The
# other is a second sum: whoever learns two sums that differ by one client learns that client's
# input. Neither shows inside one session, so both are claims (`secagg.effects.Claim`): a key that
# says what is being said once, a digest of what it is, written once, outside the rows.
#
# A message is known by the offer and nonce of its session, the party, and its step, which is its
# tag: a protocol's message has one tag and each is said once, so a repeat has the same digest and
# passes, and a machine that was set back cannot count its way around the claim.
#
# A name is known by the task it was given in. A name that the application chose is of no task: it
# stands for values, and the server chooses what a round is about. A name made from a payload is of
# the plan, because different questions may be asked about one payload. Each name has attempts: the
# claim of one says in which session it is used. The next one is allowed only when the server itself
# has said that the session had no sum with this input, and this client has not helped to open one.
# Whatever else ends a session, a lost link or a restart, leaves the input spent: it may be in a
# sum.


def message_claim(offer: bytes, nonce: bytes, party: PartyId, message: bytes) -> Claim:
    """That this is what the party says at this step of the session. Both 32 bytes."""
    step = message[TAG_AT]
    key = labels.digest(labels.CLAIM, offer, nonce, party, step)
    return Claim(key, labels.digest(labels.CLAIM, message))


def use_digest(offer: bytes, nonce: bytes, party: PartyId) -> bytes:
    """Where a named input is used: one party of one session. 32 bytes."""
    return labels.digest(labels.INPUT_USE, offer, nonce, party)


def name_of(given: str | bytes | None, session: Session, named_by_payload: bool) -> bytes | None:
    """The 32 bytes that an input is known by, or None where it has no name.

    named_by_payload: where none was given, the payload that it answers is its name.
    """
    if given is not None:
        raw = given.encode() if isinstance(given, str) else given
        return labels.digest(labels.INPUT, b"", raw)
    if named_by_payload:
        return labels.digest(labels.INPUT, session.plan_digest, session.payload_digest)
    return None


@dataclass
class _Use:
    """attempt: the next one, or the one that is open. holder: the nonce of its session."""

    attempt: int = 0
    holder: bytes = b""
    spent: bool = False

    def encode(self) -> bytes:
        return Writer().u32(self.attempt).u8(self.spent).prefixed(self.holder).finish()

    @classmethod
    def decode(cls, value: bytes) -> _Use:
        reader = Reader(value)
        attempt, spent = reader.u32("attempt"), reader.u8("spent")
        return cls(attempt, reader.prefixed(NONCE_SIZE, "holder"), bool(spent))


class Names:
    """Which named inputs are in a session, which are spent, and which may be tried again."""

    def __init__(self, outbox: Outbox | None) -> None:
        """outbox: takes the rows; None keeps none."""
        self._outbox = outbox
        self._uses: dict[bytes, _Use] = {}

    def restore(self, rows: Iterable[tuple[bytes, bytes]], running: Iterable[bytes]) -> None:
        """rows: keys are names. running: the sessions that go on; of any other nobody will hear."""
        going_on = set(running)
        for name, value in rows:
            use = self._uses[name] = _Use.decode(value)
            if use.holder and use.holder not in going_on:
                self._change(name, use, spent=True)

    def take(self, name: bytes, nonce: bytes, use_digest: bytes) -> Claim:
        """The claim to make before the input leaves in this session.

        Raises Spent where it may never, PolicyRefused where another session has it now.
        """
        use = self._uses.setdefault(name, _Use())
        if use.spent:
            raise Spent(
                "this input is in a sum already, or may be: the difference of two sums would show "
                "it. Another input needs another name"
            )
        if use.holder not in (b"", nonce):
            raise PolicyRefused("this input is in another round, which has not ended yet")
        self.give_back(nonce, but=name)
        self._change(name, use, holder=nonce)
        return _claim(name, use, use_digest)

    def give_back(self, nonce: bytes, but: bytes = b"") -> None:
        """Another input, or one without a name, takes the place of what was given to this session
        before a restart, and has not left: nothing else may be claimed or spent for it."""
        for name, use in self._held_by(nonce):
            if name != but:
                self._change(name, use)

    def held(self, nonce: bytes, use_digest: bytes) -> Claim | None:
        """That of an input which this session has already, to be made again after a restart: it may
        have died before the first time."""
        return next((_claim(name, use, use_digest) for name, use in self._held_by(nonce)), None)

    def release(self, nonce: bytes, *, left: bool, again: bool) -> None:
        """The session is over. left: its input has left, masked. again: it is in no sum."""
        for name, use in self._held_by(nonce):
            if again or not left:
                self._change(name, use, attempt=use.attempt + left)
            else:
                self._change(name, use, spent=True)

    def _held_by(self, nonce: bytes) -> list[tuple[bytes, _Use]]:
        return [(name, use) for name, use in self._uses.items() if use.holder == nonce]

    def _change(
        self,
        name: bytes,
        use: _Use,
        *,
        attempt: int | None = None,
        holder: bytes = b"",
        spent: bool = False,
    ) -> None:
        """Neither held nor spent unless it says so; the attempt stays where none is given."""
        use.attempt = use.attempt if attempt is None else attempt
        use.holder, use.spent = holder, spent
        if self._outbox is not None:
            self._outbox.write(NAMES, ROUNDS, [Write(NAME + name, use.encode())])


def _claim(name: bytes, use: _Use, use_digest: bytes) -> Claim:
    return Claim(labels.digest(labels.INPUT_USE, name, use.attempt), use_digest)
