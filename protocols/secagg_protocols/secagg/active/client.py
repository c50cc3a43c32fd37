"""The client machine of active mode (specs/12-active.md §5)."""

from __future__ import annotations

from secagg.crypto.randomness import checked
from secagg.errors import LocalProtocolError, RemoteProtocolError
from secagg.layout import Expander, RingVector
from secagg.protocol import Session
from secagg.sansio import Agreed, Finished, Judge, OneProcess, Outgoing, Revealed
from secagg.suite import SUITE_2
from secagg.types import SERVER, Buffer, PartyId, Randomness, Seed
from secagg.wire.codec import Reader
from secagg_protocols.secagg import dealing as semi_honest
from secagg_protocols.secagg.active import dealing, messages
from secagg_protocols.secagg.active.dealing import params_of, roster_of, signers_of
from secagg_protocols.secagg.active.heard import Heard
from secagg_protocols.secagg.active.messages import SURVIVORS, SignedKeys
from secagg_protocols.secagg.active.params import ActiveParams
from secagg_protocols.secagg.active.standing import (
    WantInput,
    WantQuorum,
    WantShares,
    WantSurvivors,
)
from secagg_protocols.secagg.active.states import CLIENT
from secagg_protocols.secagg.answering import AnsweringClient, check_bound, in_state
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.standing import Ended, Idle, WantKeys
from secagg_protocols.secagg.states import Input
from secagg_protocols.secagg.terms import Terms

# Theory of operation.
#
# As in suite 1 the machine is a value and what surrounds it (answering.py), with a step more: it is
# shown U3, signs it, and opens its shares only when a quorum of the clients has signed the same.
# Two rules carry the proof, and each is useless without the other. The quorum: two of them share an
# honest client, and it signs once, so there is one (U2, U3) of a session. The threshold: also where
# the server shows one client a U2 of its own, whose members it then calls dropped, nobody's two
# secrets have enough holders that are lied to (specs/15-active-proof.md).
#
# It trusts its roster. Whatever the server passes on of others is signed by them, and whatever it
# says itself is signed by it, so what it says to two clients that cannot both be true convicts it.
#
# It has no rows (rule V9). A client that comes back from rows may have been put back to them, and
# then it signs or answers a second time: here a client that died is a dropout, and everything it
# says has one wording for ever, its keys too, so that one offer is answered once.


def agreeable(survivors: frozenset[PartyId]) -> None:
    """The judge that has nothing to compare with: a first session, or a test."""


class ActiveClient(AnsweringClient):
    """One client in one session of active mode.

    protocol: the name under which it is registered. me: its place in the session's roster, whose
    key there is that of `signing`. randomness: as in suite 1, then of the salt. expander: what
    makes masks of keys. judge: what this client's policy says of a survivor set.

    Raises ParameterError for sums of too few inputs, and for another key than the roster's.
    """

    suite, table, names = SUITE_2, CLIENT, messages.NAMES
    abort_message = messages.Abort
    commits_keys = True

    def __init__(
        self,
        protocol: str,
        session: Session,
        params: ActiveParams,
        me: PartyId,
        *,
        signing: Seed,
        randomness: Randomness,
        expander: Expander,
        judge: Judge = agreeable,
    ) -> None:
        super().__init__(Terms.of(protocol, session, params, expander), me, Idle())
        session.check_signing(me, signing)
        self._randomness, self._signing, self._judge = checked(randomness), signing, judge
        self._process = OneProcess("this client")
        self._heard = Heard(self._terms, me)

    def start(self) -> None:
        """Says its keys. Raises LocalProtocolError the second time."""
        self._process.check()
        if (self._state, Input.START) not in self.table:
            raise LocalProtocolError("start() is called once")
        now = semi_honest.begin(self._randomness)
        keys = dealing.advertise(now, self._terms, self._me, self._signing)
        self._move(Input.START, now)
        self._heard.keys = keys
        self._reply(keys.encode(self._terms.offer))

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        """Raises RemoteProtocolError where the server broke the protocol, PolicyRefused where this
        client's own policy refuses the survivor set; and has then ended."""
        self._process.check()
        try:
            super().receive(sender, message)
        except RemoteProtocolError:
            self._heard.overhear(message)
            raise
        if sender == SERVER and isinstance(self._now, Ended):
            self._heard.overhear(message)

    def statements(self) -> list[bytes]:
        """All that the server has signed to this client, also what was refused: each statement with
        its signature, nothing of it secret (specs/12-active.md §8). Compared with what others were
        told, they show a server that says different things."""
        return self._heard.statements()

    def evidence(self) -> list[bytes]:
        """What convicts the server, each whole in itself: that it told this client two things where
        an honest one says one. Drained."""
        return self._heard.evidence()

    def set_input(self, vector: RingVector, payload_digest: bytes, /) -> None:
        """Rule C2, as in suite 1."""
        self._process.check()
        super().set_input(vector, payload_digest)

    def outgoing(self) -> list[Outgoing]:
        self._process.check()
        return super().outgoing()

    @property
    def _masked(self) -> bool:
        return isinstance(self._now, WantSurvivors | WantQuorum)

    # One message

    def _on_message(self, tag: int, reader: Reader, bound: bytes) -> None:
        if tag == Tag.KEY_LIST:
            self._on_key_list(in_state(WantKeys, self._now), reader, bound)
        elif tag == Tag.SHARE_LIST:
            self._on_share_list(in_state(WantShares, self._now), reader, bound)
        elif tag == SURVIVORS:
            self._on_survivors(in_state(WantSurvivors, self._now), reader, bound)
        else:
            self._on_unmask_request(in_state(WantQuorum, self._now), reader, bound)

    def _on_key_list(self, now: WantKeys, reader: Reader, bound: bytes) -> None:
        params, size = params_of(self._terms), roster_of(self._terms).size
        listed = messages.KeyList.read(reader, size, params.degree, params.complete)
        reader.finish()
        own = in_state(SignedKeys, self._heard.keys)
        seat, leaves = dealing.join(
            now, own, listed, bound, self._terms, self._me, self._heard.says
        )
        peers, draw = dict(listed.keys), self._randomness
        self._heard.seated(seat.place, frozenset(peers))
        dealt, said = dealing.deal(now, seat, leaves, peers, params.threshold, draw, self._signing)
        self._move(Tag.KEY_LIST, dealt)
        self._reply(said.encode(seat.session))

    def _on_share_list(self, now: WantShares, reader: Reader, bound: bytes) -> None:
        check_bound(bound, now.seat.session)
        listed = messages.ShareList.read(reader, now.seat.size, frozenset(now.dealt.peers))
        reader.finish()
        opened = dealing.open_shares(now, listed, self._terms, self._heard.says)
        self._heard.sharers = opened.sharers
        self._move(Tag.SHARE_LIST, opened)
        self._silent()  # until the input is there
        self._mask_when_ready()

    def _mask_when_ready(self) -> None:
        """Rule V6: once, and what is masked is forgotten."""
        if not self.owes_input or self._vector is None:
            return
        now = in_state(WantInput, self._now)
        vector, self._vector = self._vector, None
        masked, said = dealing.mask(now, vector, self._terms, self._randomness, self._signing)
        self._move(Input.INPUT, masked)
        self._reply(said.encode(now.seat.session, len(now.opened.neighbours)))

    def _on_survivors(self, now: WantSurvivors, reader: Reader, bound: bytes) -> None:
        """Rule V7: looked at, judged, and then signed, if it is a signer."""
        check_bound(bound, now.seat.session)
        shown = messages.Survivors.read(reader, now.seat.size)
        reader.finish()
        looked = dealing.look_at(now, shown, self._heard.says)
        survivors = frozenset(now.seat.ids[index] for index in shown.members)
        self._judge(survivors)
        self._move(SURVIVORS, looked)
        self._events.append(Agreed(survivors))
        signers, _ = signers_of(now.seat, self._terms)
        if now.seat.index not in signers:
            self._silent()
            return
        said = dealing.agreement(looked, now.seat.index).signed(self._signing)
        self._reply(messages.Agree(said).encode(now.seat.session))

    def _on_unmask_request(self, now: WantQuorum, reader: Reader, bound: bytes) -> None:
        """Rule V8. Once it has answered, a client holds no secret of the session."""
        check_bound(bound, now.seat.session)
        answered, said = dealing.answer(now, reader, self._terms, self._signing)
        self._move(Tag.UNMASK_REQUEST, answered)
        self._reply(said.encode(now.seat.session))
        self._events += [Revealed(len(now.survivors)), Finished()]
