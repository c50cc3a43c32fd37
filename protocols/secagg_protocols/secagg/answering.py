"""What surrounds a client's value in every suite: its memo, its input, its ends."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn, TypeVar

from secagg.errors import (
    BadTag,
    CryptoError,
    InputError,
    InvalidKey,
    InvalidSignature,
    LocalProtocolError,
    PolicyRefused,
    RemoteProtocolError,
    SecAggError,
    WireError,
)
from secagg.layout import RingVector
from secagg.sansio import Aborted, Ignored, Mailbox, Outgoing, PhaseEntered
from secagg.suite import Suite
from secagg.types import SERVER, AbortReason, Buffer, PartyId
from secagg.wire.codec import Reader
from secagg.wire.header import DIGEST_SIZE, read_header
from secagg_protocols.secagg import messages
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.standing import Ended
from secagg_protocols.secagg.states import Input
from secagg_protocols.secagg.terms import Terms

# Theory of operation.
#
# The machine is a value and what surrounds it. The value says all that the client knows of the
# session: a table says which message it can meet, a function makes of the two the next value and a
# reply, and the old value is gone. So secrets end where the protocol no longer needs them, without
# anybody remembering to wipe them. A message that the table does not list is refused, and a refusal
# ends the session: there is no state in which a client waits for a server that has broken the
# protocol once.
#
# What surrounds the value is here, and the same in every suite. The input is a field, not a state,
# because the driver gives it whenever it has it, before the machine can use it or long after. The
# memo knows each server message that was handled, by its digest, and what was said to it: it stands
# before the table, so that a repeat is answered by the same bytes and anything else meets a state
# that has moved on. That is how C1 holds without a case of its own.
#
# What a suite adds is its table, its messages, and what becomes of those that the table lets
# through.

FIRST = bytes(DIGEST_SIZE)
"""In the memo, what nobody asked for: the keys. No message has this digest."""

_T = TypeVar("_T")


class AnsweringClient(Mailbox):
    """One client in one session: what it says to a server, and once.

    suite, table, names: of its messages and states. abort_message: with its header. commits: the
    least that has one wording for ever; everything, or all but the keys.
    """

    suite: ClassVar[Suite]
    table: ClassVar[Mapping[Any, Any]]
    names: ClassVar[Mapping[int, str]]
    abort_message: ClassVar[type[messages.Abort]] = messages.Abort
    commits_keys: ClassVar[bool] = False

    def __init__(self, terms: Terms, me: PartyId, idle: Any) -> None:
        super().__init__()
        self._terms, self._me = terms, me
        self._now: Any = idle
        self._vector: RingVector | None = None
        self._memo: dict[bytes, Outgoing | None] = {}  # by digest, in the order of the session
        self._asked = FIRST

    def __repr__(self) -> str:
        return f"{type(self).__name__}(party={self._me}, state={self._state.value[0]})"

    @property
    def _state(self) -> Any:
        return self._now.state

    @property
    def phase(self) -> str:
        """Of the message that it sent last; empty before start()."""
        phase: str = self._state.phase
        return phase

    @property
    def done(self) -> bool:
        """Whether it says nothing new any more; only a repeat of its answer, if it gave one."""
        return self.phase == "ended" or self._state.value[0] == "answered"

    @property
    def owes_input(self) -> bool:
        """Whether set_input() alone takes it further."""
        return (self._state, Input.INPUT) in self.table

    def set_input(self, vector: RingVector, payload_digest: bytes, /) -> None:
        """Rule C2: another task payload than the announced one ends the session, by InputError."""
        if self._vector is not None or self.done or self._masked:
            raise LocalProtocolError("set_input() is called once, before the session ends")
        if payload_digest != self._terms.session.payload_digest:
            self.abort(AbortReason.PEER_FAULT)
            raise InputError("the task payload is not the one this session was announced with")
        self._vector = self._terms.layout.check(vector)
        self._mask_when_ready()

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        """Raises RemoteProtocolError where the server broke the protocol, and has then ended."""
        if sender != SERVER or isinstance(self._now, Ended):
            self._events.append(Ignored(sender, "nothing is expected of this party"))
            return
        digest = hashlib.sha256(message).digest()
        if digest in self._memo:  # rule C1: the same bytes again get the same reply
            self._say(self._memo[digest])
            self._events.append(Ignored(sender, "duplicate; the reply is repeated"))
            return
        self._asked = digest
        broken = self._broken(Reader(message))
        if broken is not None:
            self._refuse(f"{self.phase or 'idle'}: {broken}", broken)

    def lost(self, party: PartyId, /) -> None:
        """The link to the server is gone for good. Another client's is nothing to this one."""
        if party == SERVER and not self.done:
            self._end(AbortReason.LOST)

    def reconnected(self, party: PartyId, /) -> None:
        """A new link to the server: what has not been acknowledged may not have arrived."""
        if party == SERVER:
            self._say(self._last)

    def abort(self, why: AbortReason, /) -> None:
        """Tells the server, and ends; an ended client stays as it is."""
        if not self.done:
            self._say_abort(why)
            self._end(why)

    def acknowledged(self) -> None:
        """Rule C1 still holds for what counts: repeats are known, and nothing is computed twice."""
        self._memo = dict.fromkeys(self._memo)

    # One message

    def _broken(self, reader: Reader) -> SecAggError | None:
        """How the server broke the protocol, if it did. The frames that knew secrets end here:
        an error that passed them would keep them for whoever keeps it (rule S10)."""
        try:
            self._handle(reader)
        except (WireError, InvalidKey, InvalidSignature, RemoteProtocolError) as error:
            return _bare(error)
        except PolicyRefused as error:  # this client's own: what the server said may be true
            self.abort(AbortReason.CANCELLED)
            raise _bare(error)  # noqa: B904
        except CryptoError as error:  # our own source of randomness: nobody else's fault
            self.abort(AbortReason.CANCELLED)
            raise _bare(error)  # noqa: B904
        return None

    def _handle(self, reader: Reader) -> None:
        tag, bound = read_header(reader, self.suite)
        if tag not in self.names:
            raise BadTag(f"tag {tag} is unknown")
        if (self._state, tag) not in self.table:
            raise RemoteProtocolError(f"{self.names[tag]} is not expected now")
        if tag == Tag.ABORT:
            self._on_abort(reader, bound)
        else:
            self._on_message(tag, reader, bound)

    @abstractmethod
    def _on_message(self, tag: int, reader: Reader, bound: bytes) -> None:
        """One that the table lets through, behind its header."""

    @abstractmethod
    def _mask_when_ready(self) -> None:
        """Where both share list and input are there: the input moves the state on, once."""

    @property
    @abstractmethod
    def _masked(self) -> bool:
        """Whether its input has left already."""

    def _on_abort(self, reader: Reader, bound: bytes) -> None:
        abort = messages.Abort.read(reader)
        reader.finish()
        if bound != self._terms.offer:
            raise RemoteProtocolError("the abort is bound to another offer")
        self._end(abort.reason)

    # What surrounds the value

    def _changed(self, *keys: bytes) -> None:
        """Rows that are not any more as they were; a suite without rows forgets them."""

    @property
    def _last(self) -> Outgoing | None:
        """The last reply, unless it is acknowledged."""
        return next((said for said in reversed(self._memo.values()) if said is not None), None)

    def _reply(self, data: bytes) -> None:
        """Answers the message handled last, now and whenever the same bytes come again.

        Rule C11: what has one wording for ever is claimed before it leaves.
        """
        said = Outgoing(SERVER, data, commit=self.commits_keys or self._asked != FIRST)
        self._memo[self._asked] = said
        self._changed(REPLY)
        self._say(said)

    def _silent(self) -> None:
        """The message handled last is known, and has no answer yet."""
        self._memo[self._asked] = None

    def _say(self, said: Outgoing | None) -> None:
        self._outgoing += [said] if said is not None else []

    def _say_abort(self, why: AbortReason) -> None:
        message = self.abort_message(why).encode(self._terms.offer)
        self._outgoing.append(Outgoing(SERVER, message))

    def _move(self, cause: Input | int, after: Any) -> None:
        before = self._state
        if self.table[before, cause] is not after.state:
            raise LocalProtocolError(f"impossible: {cause} leads to {after.state.value[0]}")
        self._now = after
        self._changed(STATE)
        if after.state.phase != before.phase:
            self._events.append(PhaseEntered(after.state.phase))

    def _refuse(self, why: str, cause: SecAggError) -> NoReturn:
        """The server broke the protocol: this client says so once, and never anything more."""
        if not self.done:
            self._say_abort(AbortReason.PEER_FAULT)
        self._end(AbortReason.PEER_FAULT, why)
        raise RemoteProtocolError(why) from cause

    def _end(self, reason: AbortReason, detail: str = "") -> None:
        """From any state: the table lists only the ends that a message causes."""
        event = Aborted(reason, detail)
        self._now, self._vector = self._ended(event), None
        self._memo.clear()
        self._changed(STATE, REPLY)
        self._events.append(event)

    def _ended(self, event: Aborted) -> Any:
        return Ended(event)


STATE, REPLY = b"state", b"reply"


def check_bound(bound: bytes, session: bytes) -> None:
    """RemoteProtocolError for a message of another session."""
    if bound != session:
        raise RemoteProtocolError("the message is bound to another session")


def in_state(kind: type[_T], now: Any) -> _T:
    """What the transition table promises to be there in this state."""
    if not isinstance(now, kind):
        raise LocalProtocolError("impossible: the table let a message through before its time")
    return now


def _bare(error: SecAggError) -> SecAggError:
    """It, without the frames that it passed and whatever it came from."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
