"""The client machine of SecAgg and SecAgg+ (specs/10-secagg.md §8)."""

from __future__ import annotations

from collections.abc import Iterable

from secagg.crypto.randomness import checked
from secagg.effects import Write
from secagg.errors import LocalProtocolError, WireError
from secagg.layout import Expander
from secagg.protocol import Session
from secagg.sansio import Finished, Outgoing, PhaseEntered, Revealed
from secagg.suite import SUITE_1
from secagg.types import SERVER, PartyId, Randomness
from secagg.wire.codec import Reader, Writer
from secagg.wire.header import DIGEST_SIZE
from secagg_protocols.rows import Rows, Taken
from secagg_protocols.secagg import dealing, messages
from secagg_protocols.secagg.answering import (
    FIRST,
    REPLY,
    STATE,
    AnsweringClient,
    check_bound,
    in_state,
)
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.params import SecAggParams
from secagg_protocols.secagg.standing import (
    Answered,
    Ended,
    Idle,
    WantInput,
    WantKeys,
    WantShares,
    WantSurvivors,
    read_standing,
    write_standing,
)
from secagg_protocols.secagg.states import CLIENT, ClientState, Input
from secagg_protocols.secagg.terms import Terms

# Theory of operation.
#
# The value (standing.py) says all that the client knows of the session: the table in states.py says
# which message it can meet, a function in dealing.py makes of the two the next value and a reply.
# So c ends with the share list, b and s with the input, the held shares with the answer.
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

_MOST = 4
"""Entries of the memo: the keys and three answers."""


class SecAggClient(AnsweringClient):
    """One client in one session. The graph is a parameter: it sees a list of neighbours.

    protocol: the name under which it is registered; it is bound by the offer. me: below the plan's
    number of clients. randomness: of keys, seeds and polynomials, in the order of §4.3. expander:
    what makes masks of keys. Raises ParameterError for sums of too few inputs (rule C0).
    """

    suite, table, names = SUITE_1, CLIENT, messages.NAMES

    def __init__(
        self,
        protocol: str,
        session: Session,
        params: SecAggParams,
        me: PartyId,
        *,
        randomness: Randomness,
        expander: Expander,
    ) -> None:
        super().__init__(Terms.of(protocol, session, params, expander), me, Idle())
        self._randomness = checked(randomness)
        self._rows = Rows(session, protocol, me)

    def start(self) -> None:
        """Says the keys; restored, what was said last and has not been acknowledged.

        Raises LocalProtocolError the second time.
        """
        if self._rows.resumed:
            self._rows.started()
            self._go_on()
            return
        if (self._state, Input.START) not in self.table:
            raise LocalProtocolError("start() is called once")
        now = dealing.begin(self._randomness)
        self._move(Input.START, now)
        self._reply(now.advertised.encode(self._terms.offer))

    def acknowledged(self) -> None:
        super().acknowledged()
        self._rows.mark(REPLY)

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

    @property
    def _masked(self) -> bool:
        return isinstance(self._now, WantSurvivors)

    def _on_message(self, tag: int, reader: Reader, bound: bytes) -> None:
        if tag == Tag.KEY_LIST:
            self._on_key_list(in_state(WantKeys, self._now), reader, bound)
        elif tag == Tag.SHARE_LIST:
            self._on_share_list(in_state(WantShares, self._now), reader, bound)
        else:
            self._on_unmask_request(in_state(WantSurvivors, self._now), reader, bound)

    def _on_key_list(self, now: WantKeys, reader: Reader, bound: bytes) -> None:
        """The session id is not known before this message: join() computes it and compares."""
        offer, params = self._terms.offer, self._terms.params
        listed = messages.KeyList.read(reader, params.clients, params.degree)
        reader.finish()
        place = dealing.join(now, listed, bound, offer, self._me, params)
        dealt = dealing.deal(now, place, dict(listed.keys), params.threshold, self._randomness)
        self._move(Tag.KEY_LIST, dealt.after)
        self._reply(messages.ShareKeys(dealt.commitment, dealt.sealed).encode(place.session))

    def _on_share_list(self, now: WantShares, reader: Reader, bound: bytes) -> None:
        check_bound(bound, now.place.session)
        listed = messages.ShareList.read(reader, now.place.size, frozenset(now.peers))
        reader.finish()
        opened = dealing.open_shares(now, listed.sharers, listed.sealed, self._terms.params)
        self._move(Tag.SHARE_LIST, opened)
        self._silent()  # until the input is there
        self._mask_when_ready()

    def _mask_when_ready(self) -> None:
        """Fires once: the input moves the state on, and is forgotten once it is masked."""
        if (self._state, Input.INPUT) not in self.table or self._vector is None:
            return
        now = in_state(WantInput, self._now)
        vector, self._vector = self._vector, None
        self._move(Input.INPUT, dealing.mask(now, vector, self._terms.expander))
        message = messages.MaskedInput(now.failed, vector)
        neighbours, layout = len(now.neighbours), self._terms.layout
        self._reply(message.encode(now.place.session, neighbours, layout))

    def _on_unmask_request(self, now: WantSurvivors, reader: Reader, bound: bytes) -> None:
        """Rules C8 and C9. Once it has answered, a client holds no secret of the session."""
        check_bound(bound, now.place.session)
        request = messages.UnmaskRequest.read(reader, now.place.size)
        reader.finish()
        answered, answer = dealing.answer(now, request)
        self._move(Tag.UNMASK_REQUEST, answered)
        self._reply(answer.encode(now.place.session))
        self._events += [Revealed(len(request.survivors)), Finished()]

    # Rows

    def _changed(self, *keys: bytes) -> None:
        """A client that ends before it is started is one that has begun: it takes no rows up."""
        if isinstance(self._now, Ended):
            self._rows.started()
        self._rows.mark(*keys)

    def _row(self, key: bytes) -> bytes | None:
        last = self._last
        if key == STATE:
            memo = b"".join(self._memo)
            return write_standing(Writer().prefixed(memo), self._now).finish()
        if last is None:
            return None
        place = [said is last for said in self._memo.values()].index(True)
        return Writer().u8(place).prefixed(last.data).finish()

    def _take_up(self, taken: Taken) -> None:
        reader = Reader(taken.pop(STATE))
        memo = reader.prefixed(_MOST * DIGEST_SIZE, "digests")
        now = read_standing(reader, self._terms.params)
        reader.finish()
        digests = [memo[at : at + DIGEST_SIZE] for at in range(0, len(memo), DIGEST_SIZE)]
        if len(memo) % DIGEST_SIZE or len({*digests}) != len(digests):
            raise WireError("a digest of a message is cut off, or stands twice")
        replies = [_reply(digests, Reader(taken.pop(REPLY)))] if REPLY in taken else []
        taken.finish()  # nothing is refused from here on (specs/10-secagg.md §12.1)
        self._now, self._memo = now, dict.fromkeys(digests) | dict(replies)
        self._asked = digests[-1] if digests else FIRST
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
    return digests[place], Outgoing(SERVER, data, commit=digests[place] != FIRST)
