"""Whether a transcript is what it says (specs/12-active.md §7, rule Q1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from secagg.crypto.sign import SIGNATURE_SIZE
from secagg.errors import RemoteProtocolError, UnknownVersion, WireError
from secagg.protocol import Opener
from secagg.proved import Verified
from secagg.roster import SignedRoster
from secagg.types import SERVER, Buffer, PartyId
from secagg.wire.codec import Reader
from secagg.wire.header import DIGEST_SIZE
from secagg_protocols.secagg.active import statements
from secagg_protocols.secagg.active.equivocation import Said
from secagg_protocols.secagg.active.frame import Frame, read_session
from secagg_protocols.secagg.active.messages import digest_of
from secagg_protocols.secagg.active.statements import Statement
from secagg_protocols.secagg.active.transcript import START, VERSION, Kind, following

# Theory of operation.
#
# Read once, from the front, and each record is checked before the next is looked at: so work is in
# proportion to what has been found good. How long a record must be follows from the sets before
# it, so there is one encoding of each, and nothing in it is skipped.
#
# Every byte is under a signature, or under the digest of something that is. The plan, the payload
# digest and the nonce are in the offer, which each client has signed its keys for; U1 and the keys
# are in the session id, which all else is signed for; and of a finished session all of it is once
# more in the head that the server has signed with its result. So a server cannot write afterwards
# another story of a session than the one its clients took part in, short of their keys.
#
# What cannot be seen here: whether the sum is that of the inputs, as no vector and no share is in
# a transcript; and whether the server has told somebody something else, as of that there would be
# another transcript, or a client that kept what it was told (`comparing`).


def verify_transcript(data: Buffer, signed: SignedRoster, opened: Opener) -> Verified:
    """Rule Q1: what it is of, and how far that session went.

    Raises WireError for bytes that are no transcript, InvalidSignature for a statement that its
    signer did not make, ParameterError, PolicyRefused or InvalidKey for its plan, and
    RemoteProtocolError for a rule that a session of it breaks, or another roster.
    """
    records = Records(data)
    return _found(records, signed, opened).verified(signed, records.head)


def statements_of(data: Buffer, signed: SignedRoster, opened: Opener) -> list[Said]:
    """Every statement of a transcript but those of keys. Raises as `verify_transcript`."""
    return _found(Records(data), signed, opened).said


def _found(records: Records, signed: SignedRoster, opened: Opener) -> _Found:
    reader = records.due(Kind.SESSION)
    protocol, session = read_session(reader, signed.roster, opened)
    reader.finish()
    reader = records.due(Kind.COHORT)
    frame = Frame.read_cohort(reader, protocol, session, signed.roster)
    reader.finish()
    found = _Found(frame)
    found.go_on(records)
    return found


def frame_of(data: Buffer) -> bytes:
    """What evidence of its session begins with: the bodies of the first two records."""
    records = Records(data)
    return records.due(Kind.SESSION).rest() + records.due(Kind.COHORT).rest()


class Records:
    """A transcript's records, one after the other. head: of the last that was read; before: of the
    one before it."""

    def __init__(self, data: Buffer) -> None:
        self._reader = Reader(data)
        if (version := self._reader.u8("version")) != VERSION:
            raise UnknownVersion(
                f"a transcript of version {version}, or none at all; this code speaks version "
                f"{VERSION}"
            )
        self.head = self.before = START

    def due(self, kind: Kind) -> Reader:
        """The body of the next one, which is of that kind."""
        size = self._reader.u32("length of a record")
        record = self._reader.fixed(size, f"record {kind.value}")
        self.before, self.head = self.head, following(self.head, record)
        reader = Reader(record)
        if (number := reader.u8("kind of a record")) != kind:
            raise WireError(f"a record of kind {number} stands where {kind.value} is due")
        return reader

    @property
    def over(self) -> bool:
        return not self._reader.remaining

    def finish(self) -> None:
        self._reader.finish()


# Each record rests on the one before, so that what is read of it is compared with what its signers
# knew then: an input is signed over the share list that its sender was given, and an agreement
# over both sets. Which checks are repeated of the machines is rule Q1; those that only somebody in
# the session could make, such as whether a pair opens, have left their result in it.
class _Found:
    """What the records behind the first two say, as far as there are any. Sets are of indices."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.sharers: frozenset[int] | None = None
        self.survivors: frozenset[int] | None = None
        self.agreed: frozenset[int] | None = None
        self.answered: frozenset[int] | None = None
        self.result: bytes | None = None
        self.said = [Said(SERVER, frame.cohort_statement(), frame.signature)]
        self._given: dict[int, bytes] = {}  # by holder: the digest of its share list
        self._reports: Counter[int] = Counter()  # by dealer: how many have no share of it
        self._reported: dict[int, frozenset[int]] = {}  # by holder, of which dealers

    def _member(self, index: int, statement: Statement, reader: Reader) -> None:
        """What stands next is the signature of the member at this index."""
        signature = reader.fixed(SIGNATURE_SIZE, "signature")
        self.frame.check(index, statement, signature)
        self.said.append(Said(self.frame.ids[index], statement, signature))

    def _server(self, statement: Statement, reader: Reader) -> None:
        signature = reader.fixed(SIGNATURE_SIZE, "signature")
        self.frame.says(statement, signature)
        self.said.append(Said(SERVER, statement, signature))

    def go_on(self, records: Records) -> None:
        """A session may end after each of them: whoever was left was too few, or one has died."""
        for kind, read in (
            (Kind.SHARERS, self._on_sharers),
            (Kind.SURVIVORS, self._on_survivors),
            (Kind.QUORUM, self._on_quorum),
            (Kind.ANSWERS, self._on_answers),
        ):
            if records.over:
                return
            reader = records.due(kind)
            read(reader)
            reader.finish()
        if not records.over:
            reader = records.due(Kind.RESULT)
            self._on_result(reader, records.before)
            reader.finish()
            records.finish()

    def _on_sharers(self, reader: Reader) -> None:
        frame = self.frame
        sharers = self.sharers = reader.bitmap(frame.size, "U2")
        _at_least(len(sharers), frame.params.min_survivors, "shared keys")
        for index in sorted(sharers):
            body = reader.fixed(DIGEST_SIZE, "digest of a body")
            said = statements.SHARES(frame.session, index, frame.leaves[index], body)
            self._member(index, said, reader)
        self._server(frame.sharers(sharers), reader)
        for index in sorted(sharers):
            self._given[index] = reader.fixed(DIGEST_SIZE, "digest of a share list")
            delivery = statements.DELIVERY(frame.session, index, self._given[index])
            self._server(delivery, reader)
        self._check_held(sharers, sharers)

    def _on_survivors(self, reader: Reader) -> None:
        frame, sharers = self.frame, _there(self.sharers)
        survivors = self.survivors = reader.bitmap(frame.size, "U3")
        _within(survivors, sharers, "U3", "U2")
        _at_least(len(survivors), frame.params.min_survivors, "sent a masked input")
        for index in sorted(survivors):
            self._on_input(index, reader)
        self._server(frame.survivors(sharers, survivors), reader)
        self._check_held(self._wanted(), survivors)

    def _on_input(self, index: int, reader: Reader) -> None:
        frame, sharers = self.frame, _there(self.sharers)
        number = frame.around(index)
        positions = reader.bitmap(number, "failed dealers")
        vector = reader.fixed(DIGEST_SIZE, "digest of a vector")
        sets = frame.digest(sharers), self._given[index], digest_of(positions, number)
        said = statements.INPUT(frame.session, index, *sets, vector)
        self._member(index, said, reader)
        failed = frozenset(frame.neighbour(index, position) for position in positions)
        _within(failed, sharers, "a failed dealer", "U2")
        self._reported[index] = failed
        self._reports.update(failed)

    def _on_quorum(self, reader: Reader) -> None:
        frame, survivors = self.frame, _there(self.survivors)
        signers, quorum = frame.signers
        places = reader.bitmap(len(signers), "signers")
        if len(places) != quorum:
            raise RemoteProtocolError(f"{len(places)} have signed, and {quorum} are due")
        agreed = self.agreed = frozenset(signers[place] for place in places)
        _within(agreed, survivors, "a signer", "U3")
        session, *sets = frame.survivors(_there(self.sharers), survivors).values
        for index in sorted(agreed):
            said = statements.AGREE(session, index, *sets)
            self._member(index, said, reader)

    def _on_answers(self, reader: Reader) -> None:
        frame, survivors = self.frame, _there(self.survivors)
        answered = self.answered = reader.bitmap(frame.size, "U5")
        _within(answered, survivors, "U5", "U3")
        for index in sorted(answered):
            shares = reader.fixed(DIGEST_SIZE, "digest of an answer")
            said = statements.ANSWER(frame.session, index, frame.digest(survivors), shares)
            self._member(index, said, reader)
        for index in survivors - answered:  # whose reports cost no share: it gave none
            self._reports.subtract(self._reported[index])
        self._check_held(self._wanted(), answered)

    def _on_result(self, reader: Reader, head: bytes) -> None:
        frame = self.frame
        self.result = reader.fixed(DIGEST_SIZE, "digest of the result")
        sets = frame.digest(_there(self.survivors)), frame.digest(_there(self.answered))
        said = statements.RESULT(frame.session, *sets, self.result, head)
        self._server(said, reader)

    def _wanted(self) -> list[int]:
        """Rule S7: whose secret the sum needs: of all of U3, and of those of U2 that some of U3
        have masked with."""
        frame, survivors = self.frame, _there(self.survivors)
        lost = _there(self.sharers) - survivors
        return [*survivors, *(i for i in lost if frame.holders_in(i, survivors))]

    def _check_held(self, dealers: Iterable[int], holders: frozenset[int]) -> None:
        """t holders for each, less those that said they have no share of it."""
        for dealer in dealers:
            held = self.frame.holders_in(dealer, holders) - self._reports[dealer]
            _at_least(held, self.frame.params.threshold, "hold a share of one of them")

    def verified(self, signed: SignedRoster, head: bytes) -> Verified:
        frame, named = self.frame, self._named
        signers, quorum = frame.signers
        return Verified(
            protocol=frame.protocol,
            admin=signed.admin,
            epoch=signed.roster.epoch,
            places=signed.roster.size,
            plan_digest=frame.about.plan_digest,
            payload_digest=frame.about.payload_digest,
            nonce=frame.about.nonce,
            offer=frame.offer,
            session=frame.session,
            degree=min(frame.degree, frame.size - 1),
            threshold=frame.params.threshold,
            signers=len(signers),
            quorum=quorum,
            members=frozenset(frame.ids),
            sharers=named(self.sharers),
            survivors=named(self.survivors),
            agreed=named(self.agreed),
            answered=named(self.answered),
            result=self.result,
            head=head,
        )

    def _named(self, indices: frozenset[int] | None) -> frozenset[PartyId] | None:
        return None if indices is None else self.frame.named(indices)


def _there(members: frozenset[int] | None) -> frozenset[int]:
    if members is None:
        raise WireError("impossible: a record was read before the one that it rests on")
    return members


def _at_least(number: int, needed: int, what: str) -> None:
    if number < needed:
        raise RemoteProtocolError(f"{number} {what}, and the plan asks for {needed}")


def _within(some: frozenset[int], members: frozenset[int], what: str, where: str) -> None:
    if not some <= members:
        raise RemoteProtocolError(f"{what} is not within {where}")
