"""Links of one server whose clients sign: a member proves its place, and the server who it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from secagg.crypto import labels, sign
from secagg.crypto.randomness import checked
from secagg.errors import InvalidSignature, ParameterError, RemoteProtocolError
from secagg.roster import Roster, SignedRoster
from secagg.rounds.greeting import Met, Script
from secagg.shown import short
from secagg.types import PartyId, Randomness, Role, Seed, system_randomness
from secagg.wire.hello import (
    CHALLENGE_SIZE,
    MemberHello,
    decode_greeting,
    decode_proof,
    encode_greeting,
    encode_proof,
    roster_nonce,
)

# Theory of operation.
#
# Where clients sign, whoever is in a round is in it by a key of the roster, so a server need not
# believe a link anything: it asks for a signature first. Four frames: the member says which place
# of which roster is its own, the server sends a challenge, the member signs both challenges, and
# the server signs the same under another name. Only then the rounds hear of the link, and its
# identity is the member's key (`secagg.rounds.greeting.Greeted`).
#
# The member's proof is for the server: whoever could sit on a member's seat without its key could
# not speak in its name, but could keep it silent. The server's proof is for the member, which would
# find out by itself from the first statement that is not signed: it costs one signature to know it
# before anything is said. What each signs has both challenges, so neither can have the other sign
# what it likes, and the names keep these apart from the statements of a session.
#
# Nobody is a candidate by default: a link that has not greeted never comes as far as the rounds,
# and of those that have, a session asks only whom its roster has (`Host.place`).


@dataclass(frozen=True)
class Host:
    """The server of a roster. signed: the roster, whose administrator its clients pin. signing: the
    seed of the server's key in it.

    Raises ParameterError for another key.
    """

    signed: SignedRoster
    signing: Seed = field(repr=False)
    randomness: Randomness = field(default=system_randomness, repr=False)

    __repr__ = short

    def __post_init__(self) -> None:
        if sign.public_key(self.signing) != self.roster.server:
            raise ParameterError(
                f"this is not the identity of the server in epoch {self.roster.epoch} of the "
                "roster: give the one whose key the administrator has put there"
            )

    @property
    def roster(self) -> Roster:
        return self.signed.roster

    @cached_property
    def _places(self) -> dict[bytes, PartyId]:
        return {self.roster.key_of(place): place for place in self.roster.members}

    def place(self, identity: bytes | None) -> PartyId | None:
        """Of a link that has proved this key; None of anybody else, and of who proved nothing."""
        return None if identity is None else self._places.get(identity)

    def greet(self, say: bytes = b"") -> Script:
        """Whoever has opened the link. say: the last frame of what was said on it before."""
        roster, nonce = self.roster, roster_nonce(self.roster.digest)
        theirs = MemberHello.decode((yield say), nonce)
        if (theirs.roster, theirs.epoch) != (roster.digest, roster.epoch):
            raise RemoteProtocolError("the hello is of another roster")
        try:
            key = roster.key_of(theirs.place)
        except ParameterError as nobody:
            raise RemoteProtocolError(str(nobody)) from None
        ours = checked(self.randomness)(CHALLENGE_SIZE)
        proof = decode_proof((yield encode_greeting(ours, nonce)), nonce)
        said = theirs.challenge, ours
        sign.verify(key, _statement(labels.SIGN_MEMBER_LINK, roster, theirs.place, said), proof)
        own = _statement(labels.SIGN_SERVER_LINK, roster, theirs.place, said)
        return Met(Role.CLIENT, key, encode_proof(sign.sign(self.signing, own), nonce))


def as_member(
    roster: Roster, place: PartyId, signing: Seed, randomness: Randomness = system_randomness
) -> Script:
    """A member, over a link that it has opened. signing: the seed of the key at that place."""
    nonce, ours = roster_nonce(roster.digest), checked(randomness)(CHALLENGE_SIZE)
    hello = MemberHello(roster.digest, roster.epoch, place, ours)
    said = ours, decode_greeting((yield hello.encode()), nonce)
    own = _statement(labels.SIGN_MEMBER_LINK, roster, place, said)
    proof = decode_proof((yield encode_proof(sign.sign(signing, own), nonce)), nonce)
    try:
        sign.verify(roster.server, _statement(labels.SIGN_SERVER_LINK, roster, place, said), proof)
    except InvalidSignature:
        raise InvalidSignature(
            f"what is called is not the server of the roster of epoch {roster.epoch}: check the "
            "URL, and that the roster is the one in force"
        ) from None
    return Met(Role.SERVER, roster.server)


def _statement(name: bytes, roster: Roster, place: PartyId, said: tuple[bytes, bytes]) -> bytes:
    """said: the challenges, the member's first."""
    return labels.encode(name, roster.digest, roster.epoch, place, *said)
