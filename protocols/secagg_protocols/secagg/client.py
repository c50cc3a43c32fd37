"""The client machine of SecAgg and SecAgg+ (specs/10-secagg.md §8)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import NoReturn, TypeVar

from secagg.crypto.agree import KeyPair
from secagg.crypto.randomness import checked
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
from secagg.sansio import Aborted, Finished, Ignored, Mailbox, Outgoing, PhaseEntered
from secagg.types import SERVER, AbortReason, Buffer, PartyId, Randomness
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.secagg import messages
from secagg_protocols.secagg.dealing import (
    Cohort,
    Dealt,
    Opened,
    OwnKeys,
    deal,
    join,
    mask,
    open_shares,
)
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.params import SecAggParams
from secagg_protocols.secagg.states import CLIENT, ClientState, Input
from secagg_protocols.secagg.survivors import check_survivors, reveal_shares


@dataclass(slots=True)
class _Secrets:
    """What a client knows, in the order in which it learns it; forgotten as a whole."""

    own: OwnKeys | None = None
    cohort: Cohort | None = None
    dealt: Dealt | None = None
    opened: Opened | None = None
    vector: RingVector | None = field(default=None, repr=False)


_T = TypeVar("_T")


class SecAggClient(Mailbox):
    """One client in one session. The graph is a parameter: it sees a list of neighbours."""

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
        super().__init__()
        session.check_smallest_sum()  # rule C0
        self._session, self._params, self._me = session, params, me
        self._offer = session.offer(protocol)
        self._randomness, self._expander = checked(randomness), expander
        self._state = ClientState.IDLE
        self._secrets = _Secrets()
        self._input_given = False
        self._replies: dict[bytes, list[Outgoing]] = {}
        self._asked = b""

    def __repr__(self) -> str:
        return f"SecAggClient(party={self._me}, state={self._state.value[0]})"

    @property
    def phase(self) -> str:
        return self._state.phase

    @property
    def done(self) -> bool:
        return self._state in (ClientState.ANSWERED, ClientState.ENDED)

    @property
    def owes_input(self) -> bool:
        return self._state is ClientState.WANT_INPUT

    def start(self) -> None:
        if (self._state, Input.START) not in CLIENT:
            raise LocalProtocolError("start() is called once")
        own = OwnKeys(*(KeyPair.from_random(self._randomness(32)) for _ in range(2)))
        self._secrets.own = own
        self._move(Input.START)
        self._outgoing.append(Outgoing(SERVER, own.advertised.encode(self._offer)))

    def set_input(self, vector: RingVector, payload_digest: bytes, /) -> None:
        """Rule C2: another task payload than the announced one ends the session."""
        if self._input_given or self.done:
            raise LocalProtocolError("set_input() is called once, before the session ends")
        if payload_digest != self._session.payload_digest:
            self.abort(AbortReason.PEER_FAULT)
            raise InputError("the task payload is not the one this session was announced with")
        self._secrets.vector = self._session.layout.check(vector)
        self._input_given = True
        self._mask_when_ready()

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        if sender != SERVER or self._state is ClientState.ENDED:
            self._events.append(Ignored(sender, "nothing is expected of this party"))
            return
        digest = hashlib.sha256(message).digest()
        if digest in self._replies:  # rule C1: the same bytes again get the same reply
            self._outgoing += self._replies[digest]
            self._events.append(Ignored(sender, "duplicate; the reply is repeated"))
            return
        self._asked = digest
        broken = self._broken(Reader(message))
        if broken is not None:
            self._refuse(f"{self.phase or 'idle'}: {broken}", broken)

    def lost(self, party: PartyId, /) -> None:
        if party == SERVER and not self.done:
            self._end(AbortReason.LOST)

    def abort(self, why: AbortReason, /) -> None:
        if not self.done:
            self._outgoing.append(Outgoing(SERVER, messages.Abort(why).encode(self._offer)))
            self._end(why)

    def acknowledged(self) -> None:
        """Rule C1 still holds for what counts: repeats are known, and nothing is computed twice."""
        self._replies = {digest: [] for digest in self._replies}

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
        number, bound = read_header(reader)
        if number not in messages.NAMES:
            raise BadTag(f"tag {number} is unknown")
        tag = Tag(number)
        if (self._state, tag) not in CLIENT:
            raise RemoteProtocolError(f"{messages.NAMES[tag]} is not expected now")
        if tag is Tag.ABORT:
            self._on_abort(reader, bound)
        elif tag is Tag.KEY_LIST:
            self._on_key_list(reader, bound)
        elif bound != _known(self._secrets.cohort).session:
            raise RemoteProtocolError("the message is bound to another session")
        elif tag is Tag.SHARE_LIST:
            self._on_share_list(reader)
        else:
            self._on_unmask_request(reader)

    def _on_key_list(self, reader: Reader, bound: bytes) -> None:
        listed = messages.KeyList.read(reader, self._params.clients, self._params.degree)
        reader.finish()
        own = _known(self._secrets.own)
        cohort = join(listed, bound, self._offer, self._me, own, self._params)
        dealt, shared = deal(cohort, own, self._params.threshold, self._randomness)
        self._secrets.cohort, self._secrets.dealt = cohort, dealt
        self._move(Tag.KEY_LIST)
        self._reply(shared.encode(cohort.session))

    def _on_share_list(self, reader: Reader) -> None:
        known = self._secrets
        cohort = _known(known.cohort)
        listed = messages.ShareList.read(reader, cohort.size, frozenset(cohort.peers))
        reader.finish()
        known.opened = open_shares(
            listed, cohort, _known(known.dealt), _known(known.own), self._params
        )
        self._move(Tag.SHARE_LIST)
        self._replies[self._asked] = []  # until the input is there
        self._mask_when_ready()

    def _mask_when_ready(self) -> None:
        """Fires once: the input moves the state on, and is forgotten once it is masked."""
        known = self._secrets
        if (self._state, Input.INPUT) not in CLIENT or known.vector is None:
            return
        cohort, opened = _known(known.cohort), _known(known.opened)
        vector, known.vector = known.vector, None
        masked = mask(
            vector, cohort, _known(known.dealt), _known(known.own), opened, self._expander
        )
        positions = frozenset(i for i, v in enumerate(cohort.peers) if v in opened.failed)
        message = messages.MaskedInput(positions, masked)
        self._move(Input.INPUT)
        self._reply(message.encode(cohort.session, len(cohort.peers), self._session.layout))
        # only the shares it holds for others are still needed
        known.own = known.dealt = None
        known.cohort = replace(cohort, peers={})

    def _on_unmask_request(self, reader: Reader) -> None:
        """Rules C8 and C9. Once it has answered, a client holds no secret of the session."""
        cohort, opened = _known(self._secrets.cohort), _known(self._secrets.opened)
        request = messages.UnmaskRequest.read(reader, cohort.size)
        reader.finish()
        survivors = check_survivors(opened.view, request.survivors)
        answer = messages.UnmaskAnswer(reveal_shares(survivors, opened.held))
        self._secrets = _Secrets()
        self._move(Tag.UNMASK_REQUEST)
        self._reply(answer.encode(cohort.session))
        self._events.append(Finished())

    def _on_abort(self, reader: Reader, bound: bytes) -> None:
        abort = messages.Abort.read(reader)
        reader.finish()
        if bound != self._offer:
            raise RemoteProtocolError("the abort is bound to another offer")
        self._end(abort.reason)

    def _reply(self, data: bytes) -> None:
        """Answers the message handled last, now and whenever the same bytes come again.

        What carries the input or shares may leave only once a snapshot holds it.
        """
        revealing = self._state in (ClientState.WANT_SURVIVORS, ClientState.ANSWERED)
        self._replies[self._asked] = [Outgoing(SERVER, data, commit=revealing)]
        self._outgoing += self._replies[self._asked]

    def _move(self, cause: Input | Tag) -> None:
        before, self._state = self._state, CLIENT[self._state, cause]
        if self._state.phase != before.phase:
            self._events.append(PhaseEntered(self._state.phase))

    def _refuse(self, why: str, cause: SecAggError) -> NoReturn:
        """The server broke the protocol: this client says so once, and never anything more."""
        if not self.done:
            reason = messages.Abort(AbortReason.PEER_FAULT)
            self._outgoing.append(Outgoing(SERVER, reason.encode(self._offer)))
        self._end(AbortReason.PEER_FAULT, why)
        raise RemoteProtocolError(why) from cause

    def _end(self, reason: AbortReason, detail: str = "") -> None:
        self._state = ClientState.ENDED
        self._secrets = _Secrets()
        self._replies.clear()
        self._events.append(Aborted(reason, detail))


def _bare(error: SecAggError) -> SecAggError:
    """It, without the frames that it passed and whatever it came from."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _known(value: _T | None) -> _T:
    """What the transition table promises to be there in this state."""
    if value is None:
        raise LocalProtocolError("impossible: the table let a message through before its time")
    return value
