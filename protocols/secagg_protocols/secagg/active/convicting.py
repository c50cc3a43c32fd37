"""Whether evidence convicts, and whom (specs/12-active.md §8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from secagg import shamir
from secagg.errors import InvalidShare, RemoteProtocolError, UnknownVersion, WireError
from secagg.protocol import Opener
from secagg.proved import Charge, Verdict
from secagg.roster import SignedRoster
from secagg.types import SERVER, Buffer, PartyId
from secagg.wire.codec import Reader
from secagg.wire.header import DIGEST_SIZE
from secagg_protocols.secagg.active import equivocation, statements
from secagg_protocols.secagg.active.evidence import VERSION, Kind
from secagg_protocols.secagg.active.frame import Frame
from secagg_protocols.secagg.active.messages import (
    B,
    Delivered,
    Digests,
    S,
    ShareKeys,
    ShareList,
    answer_digest,
    digest_of,
    share_digest,
)
from secagg_protocols.secagg.rebuilding import opens
from secagg_protocols.secagg.survivors import dealers

# An honest party has signed what its machine says, once, and nothing else. So each kind rests on
# signatures of whom it accuses alone, or of more members than can be corrupt; what a server or the
# others have signed besides says only which session it was, and follows from the session id that
# the accused has signed. Whoever reads a kind here asks: could these bytes exist if the accused had
# run its machine, and everybody else had not?

_SIGNATURE = 64


def verify_evidence(data: Buffer, signed: SignedRoster, opened: Opener) -> Verdict:
    """Whom it convicts, of what. Nobody's word is needed but that of who signed the roster.

    Raises WireError for bytes that are no evidence, InvalidSignature for a statement that its
    signer did not make, ParameterError, PolicyRefused or InvalidKey for its plan, and
    RemoteProtocolError where all is as it should be, and convicts nobody.
    """
    reader = Reader(data)
    if (version := reader.u8("version")) != VERSION:
        raise UnknownVersion(
            f"evidence of version {version}, or none at all; this code speaks version {VERSION}"
        )
    number = reader.u8("kind")
    if number == Kind.TWO_STATEMENTS:
        return equivocation.read(reader, signed)
    if number not in _JUDGES:
        raise WireError(f"evidence of kind {number} is unknown")
    charge, judge = _JUDGES[number]
    frame = Frame.read(reader, signed.roster, opened)
    found = judge(frame, reader)
    key = signed.roster.server if found.party == SERVER else signed.roster.key_of(found.party)
    return Verdict(
        charge, found.party, key, found.what, signed.admin, signed.roster.epoch, frame.session
    )


@dataclass(frozen=True, slots=True)
class _Convicted:
    party: PartyId
    what: str


# Its own three signatures convict a holder. With `input` it has said which list it was given, which
# dealers it could not open, and by that which shares it holds; with `answer` what it gave, and for
# which U3. What the list says of a share's digests it has compared with the share. A server that
# makes up the rest can choose the list, the dealer and the body, and what it gets for that is a
# complaint: the holder compares with what it finds in the pair, whoever sealed it.
def _wrong_share(frame: Frame, reader: Reader) -> _Convicted:
    """Kind 2. An honest holder opens what it was dealt, compares it with the digests in its list,
    and answers with that, or has complained: nothing here hangs on what its dealer sealed."""
    dealt = _Dealt.read(frame, reader)
    given = _Given.read(frame, reader)
    complaint = _Complaint.read(frame, given, reader)
    survivors = reader.bitmap(frame.size, "U3")
    holder, dealer = given.holder, dealt.dealer
    held = dealers(
        (frame.holders(holder) & given.listed.sharers) - complaint.failed,
    )
    digests = [reader.fixed(DIGEST_SIZE, "digest of a share") for _ in held]
    sets = frame.digest(survivors), answer_digest(digests)
    said = statements.ANSWER(frame.session, holder, *sets)
    frame.check(holder, said, reader.fixed(_SIGNATURE, "signature"))
    reader.finish()
    if not (holder in survivors and survivors <= given.listed.sharers):
        raise RemoteProtocolError("the answer is to a U3 that nobody honest would answer")
    if dealer not in held:
        raise RemoteProtocolError("the holder had reported this dealer's pair, or has none of it")
    if dealer != holder:
        dealt.check_delivered(given)
    if digests[held.index(dealer)] == dealt.digests(holder).named(dealer in survivors):
        raise RemoteProtocolError("the share is the one that was dealt")
    whose = "itself" if dealer == holder else f"member {frame.ids[dealer]}"
    return _Convicted(
        frame.ids[holder],
        f"it answered with another share of {whose} than the one that it was dealt, took, and had "
        "no complaint of",
    )


# A dealer has signed the digests of all of its shares, and of each there is one that is known to
# have it. It is bound to b by a commitment in the same body, and to s_sk by the key in its leaf,
# which the session id is of: so whoever brings t such shares brings those that it dealt, and a
# polynomial of degree t - 1 is settled by them. The shares shown are of this one dealer's secret,
# which is not what masks anything of it: the one that does, it has announced.
def _wrong_secret(frame: Frame, reader: Reader) -> _Convicted:
    """Kind 3. What an honest dealer has digests of are the shares of what it is bound to."""
    dealt = _Dealt.read(frame, reader)
    which = reader.u8("which secret")
    if which > 1:
        raise WireError(f"secret {which} of a dealer, which has 0 and 1")
    survived, shares = not which, {}
    last = -1
    for _ in range(frame.params.threshold):
        holder = reader.u32("holder")
        if holder <= last or holder not in frame.holders(dealt.dealer):
            raise WireError("a holder is none of this dealer's, or does not ascend")
        last = holder
        shares[1 + holder] = share = reader.fixed(shamir.SHARE_SIZE, "share")
        kind = B if survived else S
        ends = frame.session, dealt.dealer, holder
        if share_digest(*ends, kind, share) != dealt.digests(holder).named(survived):
            raise RemoteProtocolError("a share is not the one that was dealt")
    reader.finish()
    if _opens(frame, dealt, survived, shares):
        raise RemoteProtocolError("the shares are those of the secret that its dealer announced")
    bound = "the seed that it has committed to" if survived else "the key that it has advertised"
    return _Convicted(
        frame.ids[dealt.dealer], f"the shares that it dealt, and signed, are not those of {bound}"
    )


def _opens(frame: Frame, dealt: _Dealt, survived: bool, shares: Mapping[int, bytes]) -> bool:
    try:
        secret = shamir.combine(shares, len(shares))
    except InvalidShare:  # dealt outside of the field
        return False
    bound = dealt.said.commitment if survived else frame.keys[dealt.dealer].s_pk
    return opens(secret, frame.session, dealt.dealer, survived, bound)


# One complaint proves nothing, as a holder may lie. More than there can be corrupt holders prove
# that one of them is honest, and that one could not use what its dealer had sealed, as it was
# delivered: as long as it is the holder whose key the dealer sealed to. It is, as a client answers
# an offer once, by a claim that outlives it: there is no second key of its for this round that a
# server could have shown the dealer (`commit`, specs/12-active.md §5).
def _complaints(frame: Frame, reader: Reader) -> _Convicted:
    """Kind 4. Of so many holders one is honest, and reports what it could not open."""
    dealt = _Dealt.read(frame, reader)
    last = -1
    for _ in range(frame.params.tolerated + 1):
        given = _Given.read(frame, reader)
        complaint = _Complaint.read(frame, given, reader)
        if given.holder <= last:
            raise WireError("the holders do not ascend")
        last = given.holder
        dealt.check_delivered(given)
        if dealt.dealer not in complaint.failed:
            raise RemoteProtocolError("a holder has no complaint of this dealer")
    reader.finish()
    number = frame.params.tolerated + 1
    return _Convicted(
        frame.ids[dealt.dealer],
        f"{number} of its holders could not use what it dealt them, as it was delivered, and no "
        f"more than {number - 1} of them can lie",
    )


# The server has signed the list, and in it says of which body each pair is. A dealer that shows it
# one body and a judge another has two digests, and only one of them is in the list; two bodies of
# one digest would be a collision of SHA-256. So an honest server, which copies, has nothing to
# fear from dealers and holders that work together.
def _delivery(frame: Frame, reader: Reader) -> _Convicted:
    """Kind 5. An honest server hands on what the body says that it has signed the digest of."""
    dealt = _Dealt.read(frame, reader)
    given = _Given.read(frame, reader)
    reader.finish()
    entry = given.entry(frame, dealt.dealer)
    if entry.body != dealt.said.digest:
        raise RemoteProtocolError("what was delivered is said to be of another body than this one")
    if dealt.matches(entry, given.holder):
        raise RemoteProtocolError("what was delivered is what was dealt")
    return _Convicted(
        SERVER,
        f"it delivered to member {frame.ids[given.holder]} something else than member "
        f"{frame.ids[dealt.dealer]} had dealt, and signed that it was that",
    )


_Judge = Callable[[Frame, Reader], _Convicted]
_JUDGES: Mapping[int, tuple[Charge, _Judge]] = {
    Kind.WRONG_SHARE: (Charge.WRONG_SHARE, _wrong_share),
    Kind.WRONG_SECRET: (Charge.WRONG_SECRET, _wrong_secret),
    Kind.COMPLAINTS: (Charge.COMPLAINTS, _complaints),
    Kind.DELIVERY: (Charge.DELIVERY, _delivery),
}


@dataclass(frozen=True, slots=True)
class _Dealt:
    """What a dealer has said that it deals, signed by it."""

    frame: Frame
    dealer: int
    said: ShareKeys

    @classmethod
    def read(cls, frame: Frame, reader: Reader) -> _Dealt:
        dealer = _index(frame, reader, "dealer")
        said = ShareKeys.read(reader, frame.around(dealer))
        leaf = frame.leaves[dealer]
        statement = statements.SHARES(frame.session, dealer, leaf, said.digest)
        frame.check(dealer, statement, said.signature)
        return cls(frame, dealer, said)

    def digests(self, holder: int) -> Digests:
        """Of the two shares of one of its holders."""
        if holder == self.dealer:
            return self.said.own
        return self.said.to(self.frame.position(self.dealer, holder)).digests

    def matches(self, entry: Delivered, holder: int) -> bool:
        """Whether the pair, and what is said of it, are as this body has them."""
        one = self.said.to(self.frame.position(self.dealer, holder))
        return (entry.sealed, entry.digests) == (one.sealed, one.digests.digest)

    def check_delivered(self, given: _Given) -> None:
        """Else the server could have changed it."""
        entry = given.entry(self.frame, self.dealer)
        if entry.body != self.said.digest or not self.matches(entry, given.holder):
            raise RemoteProtocolError("what was delivered to a holder is not what was dealt")


@dataclass(frozen=True, slots=True)
class _Given:
    """A holder's share list, signed by the server. digest: of it."""

    holder: int
    listed: ShareList
    digest: bytes

    @classmethod
    def read(cls, frame: Frame, reader: Reader) -> _Given:
        holder = _index(frame, reader, "holder")
        listed = ShareList.read_rest(reader, frame.size, frozenset(frame.neighbours(holder)))
        digest = listed.digest(frame.size)
        frame.says(frame.sharers(listed.sharers), listed.signature)
        said = statements.DELIVERY(frame.session, holder, digest)
        frame.says(said, reader.fixed(_SIGNATURE, "signature"))
        return cls(holder, listed, digest)

    def entry(self, frame: Frame, dealer: int) -> Delivered:
        """What this holder was given of that dealer."""
        near = [v for v in frame.neighbours(self.holder) if v in self.listed.sharers]
        if dealer not in near:
            raise RemoteProtocolError("the dealer has dealt this holder nothing")
        return self.listed.delivered[near.index(dealer)]


@dataclass(frozen=True, slots=True)
class _Complaint:
    """Which dealers a holder has reported, with its masked input on that very list."""

    failed: frozenset[int]

    @classmethod
    def read(cls, frame: Frame, given: _Given, reader: Reader) -> _Complaint:
        neighbours = frame.neighbours(given.holder)
        positions = reader.bitmap(len(neighbours), "failed dealers")
        vector = reader.fixed(DIGEST_SIZE, "digest of a vector")
        failed = digest_of(positions, len(neighbours))
        told = frame.digest(given.listed.sharers), given.digest, failed, vector
        said = statements.INPUT(frame.session, given.holder, *told)
        frame.check(given.holder, said, reader.fixed(_SIGNATURE, "signature"))
        return cls(frozenset(neighbours[position] for position in positions))


def _index(frame: Frame, reader: Reader, what: str) -> int:
    return reader.count(frame.size - 1, what)
