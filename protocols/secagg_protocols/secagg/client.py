"""The client machine of SecAgg and SecAgg+ (specs/10-secagg.md §8)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NoReturn, TypeVar

from secagg.crypto.randomness import checked
from secagg.effects import Write
from secagg.errors import (
    BadTag,
    CryptoError,
    InputError,
    InvalidKey,
    LocalProtocolError,
    RemoteProtocolError,
    SecAggError,
    WireError,
)
from secagg.layout import Expander, RingVector
from secagg.protocol import Session
from secagg.sansio import Aborted, Finished, Ignored, Mailbox, Outgoing, PhaseEntered, Revealed
from secagg.types import SERVER, AbortReason, Buffer, PartyId, Randomness
from secagg.wire.codec import Reader, Writer
from secagg.wire.header import DIGEST_SIZE, read_header
from secagg_protocols.rows import Rows, Taken
from secagg_protocols.secagg import dealing, messages
from secagg_protocols.secagg.course import COURSE, Course
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.params import SecAggParams
from secagg_protocols.secagg.standing import (
    Answered,
    Ended,
    Idle,
    Standing,
    WantInput,
    WantKeys,
    WantShares,
    WantSurvivors,
    read_standing,
    write_standing,
)
from secagg_protocols.secagg.states import ClientState, Input
from secagg_protocols.secagg.terms import Terms

# Theory of operation.
#
# The machine is a value and what surrounds it. The value (standing.py) says all that the client
# knows of the session: the table in states.py says which message it can meet, a function in
# dealing.py makes of the two the next value and a reply, and the old value is gone. So secrets end
# where the protocol no longer needs them, without anybody remembering to wipe them: c with the
# share list, b and s with the input, the held shares with the answer. A message that the table does
# not list is refused, and a refusal ends the session: there is no state in which a client waits for
# a server that has broken the protocol once.
#
# What surrounds the value is little. The input is a field, not a state, because the driver gives it
# whenever it has it, before the machine can use it or long after; the state WANT_INPUT is left at
# once where it is there already. The memo knows each server message that was handled, by its
# digest, and what was said to it: it stands before the table, so that a repeat is answered by the
# same bytes and anything else meets a state that has moved on. That is how C1 holds without a case
# of its own.
#
# Three answers have one wording for ever and are marked `commit`: dealt shares, the masked input,
# the shares of an unmask answer. Each of them could be made twice by a client that is put back to
# an earlier row: other shares under the same AES-GCM keys, two inputs under one mask, both shares
# of one dealer. Rows cannot prevent that, as they are what is put back; so the driver claims the
# digest of such an answer elsewhere before it leaves. The keys, said first, need no claim: until a
# key list comes nothing hangs on them, and a server that hears two pairs of one client drops it.
#
# The rows are two: the state, with the digests of the memo, and the last reply. The reply is a row
# of its own because it can be as long as the model, is written once, and goes when the driver says
# that it has arrived. A client that is made from rows says its last reply again when it is started;
# of what it said before, it knows only that it did, and is silent: the server cannot have gone on
# without it. The input is in no row: whoever restores a client that has not masked yet gives it
# again.

_STATE, _REPLY = b"state", b"reply"
_FIRST = bytes(DIGEST_SIZE)
"""In the memo, what nobody asked for: the keys. No message has this digest."""
_MOST = 4
"""Entries of the memo: the keys and three answers; and those that a suite adds."""

_T = TypeVar("_T")


class SecAggClient(Mailbox):
    """One client in one session. The graph is a parameter: it sees a list of neighbours.

    protocol: the name under which it is registered; it is bound by the offer. me: below the plan's
    number of clients. randomness: of keys, seeds and polynomials, in the order of §4.3. expander:
    what makes masks of keys. course: what it answers. Raises ParameterError for sums of too few
    inputs (rule C0).
    """

    def __init__(
        self,
        protocol: str,
        session: Session,
        params: SecAggParams,
        me: PartyId,
        *,
        randomness: Randomness,
        expander: Expander,
        course: Course = COURSE,
    ) -> None:
        super().__init__()
        self._course = course
        self._terms, self._me = Terms.of(protocol, session, params, expander), me
        self._randomness = checked(randomness)
        self._now: Standing = Idle()
        self._vector: RingVector | None = None
        self._memo: dict[bytes, Outgoing | None] = {}  # by digest, in the order of the session
        self._asked = _FIRST
        self._rows = Rows(session, protocol, me)

    def __repr__(self) -> str:
        return f"SecAggClient(party={self._me}, state={self._state.value[0]})"

    @property
    def _state(self) -> ClientState:
        return self._now.state

    @property
    def phase(self) -> str:
        """Of the message that it sent last; empty before start()."""
        return self._state.phase

    @property
    def done(self) -> bool:
        """Whether it says nothing new any more; only a repeat of its answer, if it gave one."""
        return self._state in (ClientState.ANSWERED, ClientState.ENDED)

    @property
    def owes_input(self) -> bool:
        """Whether set_input() alone takes it further."""
        return self._state is ClientState.WANT_INPUT

    def start(self) -> None:
        """Says the keys; restored, what was said last and has not been acknowledged.

        Raises LocalProtocolError the second time.
        """
        if self._rows.resumed:
            self._rows.started()
            self._go_on()
            return
        if (self._state, Input.START) not in self._course.table:
            raise LocalProtocolError("start() is called once")
        now = dealing.begin(self._randomness)
        self._move(Input.START, now)
        self._reply(now.advertised.encode(self._terms.offer))

    def set_input(self, vector: RingVector, payload_digest: bytes, /) -> None:
        """Rule C2: another task payload than the announced one ends the session, by InputError."""
        taken = self._vector is not None or isinstance(self._now, WantSurvivors)
        if taken or self.done:
            raise LocalProtocolError("set_input() is called once, before the session ends")
        if payload_digest != self._terms.session.payload_digest:
            self.abort(AbortReason.PEER_FAULT)
            raise InputError("the task payload is not the one this session was announced with")
        self._vector = self._terms.layout.check(vector)
        self._mask_when_ready()

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        """Raises RemoteProtocolError where the server broke the protocol, and has then ended."""
        if sender != SERVER or self._state is ClientState.ENDED:
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
            self._outgoing.append(Outgoing(SERVER, messages.Abort(why).encode(self._terms.offer)))
            self._end(why)

    def acknowledged(self) -> None:
        """Rule C1 still holds for what counts: repeats are known, and nothing is computed twice."""
        self._memo = dict.fromkeys(self._memo)
        self._rows.mark(_REPLY)

    def writes(self) -> list[Write]:
        """Rule C10: its state and its last reply, as far as they have changed."""
        return self._rows.writes(self._row)

    def restore(self, rows: Iterable[tuple[bytes, bytes]], /) -> None:
        """Rule C10: goes on from these. The input is not in them: it is given again, unless it was
        masked. Raises StorageError for rows of another session, version or party."""
        if self._state is not ClientState.IDLE or self._vector is not None:
            raise LocalProtocolError("restore() comes before set_input(), start() and abort()")
        self._rows.take(rows, self._take_up)

    # One message

    def _broken(self, reader: Reader) -> SecAggError | None:
        """How the server broke the protocol, if it did. The frames that knew secrets end here:
        an error that passed them would keep them for whoever keeps it (rule S10)."""
        try:
            self._handle(reader)
        except (WireError, InvalidKey, RemoteProtocolError) as error:
            return _bare(error)
        except CryptoError as error:  # our own source of randomness: nobody else's fault
            self.abort(AbortReason.CANCELLED)
            raise _bare(error)  # noqa: B904
        return None

    def _handle(self, reader: Reader) -> None:
        tag, bound = read_header(reader)
        if tag not in self._course.names:
            raise BadTag(f"tag {tag} is unknown")
        if (self._state, tag) not in self._course.table:
            raise RemoteProtocolError(f"{self._course.names[tag]} is not expected now")
        if tag == Tag.ABORT:
            self._on_abort(reader, bound)
        elif tag == Tag.KEY_LIST:
            self._on_key_list(_in(WantKeys, self._now), reader, bound)
        elif tag == Tag.SHARE_LIST:
            self._on_share_list(_in(WantShares, self._now), reader, bound)
        elif tag in self._course.more:
            after, reply = self._course.more[tag](self._now, reader, bound)
            self._move(tag, after)
            self._reply(reply)
        else:
            self._on_unmask_request(_in(WantSurvivors, self._now), reader, bound)

    def _on_key_list(self, now: WantKeys, reader: Reader, bound: bytes) -> None:
        """The session id is not known before this message: join() computes it and compares."""
        offer, params = self._terms.offer, self._terms.params
        listed = messages.KeyList.read(reader, params.clients, params.degree)
        reader.finish()
        place = dealing.join(now, listed, bound, offer, self._me, params)
        dealt, shared = dealing.deal(now, place, listed, params.threshold, self._randomness)
        self._move(Tag.KEY_LIST, dealt)
        self._reply(shared.encode(place.session))

    def _on_share_list(self, now: WantShares, reader: Reader, bound: bytes) -> None:
        _check_bound(bound, now.place.session)
        listed = messages.ShareList.read(reader, now.place.size, frozenset(now.peers))
        reader.finish()
        self._move(Tag.SHARE_LIST, dealing.open_shares(now, listed, self._terms.params))
        self._memo[self._asked] = None  # until the input is there
        self._mask_when_ready()

    def _mask_when_ready(self) -> None:
        """Fires once: the input moves the state on, and is forgotten once it is masked."""
        if (self._state, Input.INPUT) not in self._course.table or self._vector is None:
            return
        now = _in(WantInput, self._now)
        vector, self._vector = self._vector, None
        masked, message = dealing.mask(now, vector, self._terms.expander)
        self._move(Input.INPUT, masked)
        neighbours, layout = len(now.neighbours), self._terms.layout
        self._reply(message.encode(now.place.session, neighbours, layout))

    def _on_unmask_request(self, now: WantSurvivors, reader: Reader, bound: bytes) -> None:
        """Rules C8 and C9. Once it has answered, a client holds no secret of the session."""
        _check_bound(bound, now.place.session)
        request = messages.UnmaskRequest.read(reader, now.place.size)
        reader.finish()
        answered, answer = dealing.answer(now, request)
        self._move(Tag.UNMASK_REQUEST, answered)
        self._reply(answer.encode(now.place.session))
        self._events += [Revealed(len(request.survivors)), Finished()]

    def _on_abort(self, reader: Reader, bound: bytes) -> None:
        abort = messages.Abort.read(reader)
        reader.finish()
        if bound != self._terms.offer:
            raise RemoteProtocolError("the abort is bound to another offer")
        self._end(abort.reason)

    # What surrounds the value

    @property
    def _last(self) -> Outgoing | None:
        """The last reply, unless it is acknowledged."""
        return next((said for said in reversed(self._memo.values()) if said is not None), None)

    def _reply(self, data: bytes) -> None:
        """Answers the message handled last, now and whenever the same bytes come again.

        Rule C11: all but the keys have one wording for ever, and are claimed before they leave.
        """
        said = Outgoing(SERVER, data, commit=self._asked != _FIRST)
        self._memo[self._asked] = said
        self._rows.mark(_REPLY)
        self._say(said)

    def _say(self, said: Outgoing | None) -> None:
        self._outgoing += [said] if said is not None else []

    def _move(self, cause: Input | int, after: Standing) -> None:
        before = self._state
        if self._course.table[before, cause] is not after.state:
            raise LocalProtocolError(f"impossible: {cause} leads to {after.state.value[0]}")
        self._now = after
        self._rows.mark(_STATE)
        if after.state.phase != before.phase:
            self._events.append(PhaseEntered(after.state.phase))

    def _refuse(self, why: str, cause: SecAggError) -> NoReturn:
        """The server broke the protocol: this client says so once, and never anything more."""
        if not self.done:
            reason = messages.Abort(AbortReason.PEER_FAULT)
            self._outgoing.append(Outgoing(SERVER, reason.encode(self._terms.offer)))
        self._end(AbortReason.PEER_FAULT, why)
        raise RemoteProtocolError(why) from cause

    def _end(self, reason: AbortReason, detail: str = "") -> None:
        """From any state: the table lists only the ends that a message causes."""
        event = Aborted(reason, detail)
        self._now, self._vector = Ended(event), None
        self._memo.clear()
        self._rows.started()
        self._rows.mark(_STATE, _REPLY)
        self._events.append(event)

    # Rows

    def _row(self, key: bytes) -> bytes | None:
        last = self._last
        if key == _STATE:
            memo = b"".join(self._memo)
            return write_standing(Writer().prefixed(memo), self._now, self._course.stored).finish()
        if last is None:
            return None
        place = [said is last for said in self._memo.values()].index(True)
        return Writer().u8(place).prefixed(last.data).finish()

    def _take_up(self, taken: Taken) -> None:
        reader = Reader(taken.pop(_STATE))
        most = _MOST + len(self._course.more)
        memo = reader.prefixed(most * DIGEST_SIZE, "digests")
        now = read_standing(reader, self._terms.params, self._course.stored)
        reader.finish()
        digests = [memo[at : at + DIGEST_SIZE] for at in range(0, len(memo), DIGEST_SIZE)]
        if len(memo) % DIGEST_SIZE or len({*digests}) != len(digests):
            raise WireError("a digest of a message is cut off, or stands twice")
        replies = [_reply(digests, Reader(taken.pop(_REPLY)))] if _REPLY in taken else []
        taken.finish()  # nothing is refused from here on (specs/10-secagg.md §12.1)
        self._now, self._memo = now, dict.fromkeys(digests) | dict(replies)
        self._asked = digests[-1] if digests else _FIRST
        self._why = now.why if isinstance(now, Ended) else None

    def _go_on(self) -> None:
        """A restored client that is over says how it ended, to its driver."""
        if isinstance(self._now, Ended):
            self._events.append(self._now.why)
            return
        self._events.append(PhaseEntered(self.phase))
        self._say(self._last)
        if isinstance(self._now, Answered):
            self._events.append(Finished())


def _reply(digests: list[bytes], reader: Reader) -> tuple[bytes, Outgoing]:
    place = reader.u8("place")
    if place >= len(digests):
        raise WireError("a reply to no message")
    data = reader.prefixed(reader.remaining, "reply")
    reader.finish()
    return digests[place], Outgoing(SERVER, data, commit=digests[place] != _FIRST)


def _check_bound(bound: bytes, session: bytes) -> None:
    if bound != session:
        raise RemoteProtocolError("the message is bound to another session")


def _bare(error: SecAggError) -> SecAggError:
    """It, without the frames that it passed and whatever it came from."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _in(kind: type[_T], now: Standing) -> _T:
    """What the transition table promises to be there in this state."""
    if not isinstance(now, kind):
        raise LocalProtocolError("impossible: the table let a message through before its time")
    return now
