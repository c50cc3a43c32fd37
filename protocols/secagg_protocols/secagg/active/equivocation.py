"""Two statements of one signer, name and context (specs/12-active.md §8, kind 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from secagg.crypto.sign import SIGNATURE_SIZE
from secagg.errors import RemoteProtocolError, WireError
from secagg.proved import TOLD, Charge, Verdict
from secagg.roster import Roster, SignedRoster
from secagg.shown import short
from secagg.types import SERVER, Buffer, PartyId
from secagg.wire.codec import Reader, Writer
from secagg_protocols.secagg.active.evidence import VERSION, Kind
from secagg_protocols.secagg.active.statements import OF_CLIENTS, OF_SERVERS, Statement, Value

# It needs no plan, no frame and no session: an honest machine has signed one statement of each name
# in each context, so a second one is the whole proof, whatever else was said. That is why machines
# are never copied, put back or run twice (rules V1, V9): a machine that was would be convicted.
#
# The two stand in one order, so that one pair is one evidence. Ed25519 as it is checked here has no
# second signature of a statement that others could make of a first; and were there one, statements
# are compared, not signatures.

MAX_SAID = 1 << 16
"""Statements in a file of them: a client was told four in a session."""


@dataclass(frozen=True, slots=True)
class Said:
    """A statement with its signature. party: whose; SERVER, or a place in the roster."""

    party: PartyId
    statement: Statement
    signature: bytes = field(repr=False)

    __repr__ = short

    @classmethod
    def read(cls, party: PartyId, reader: Reader) -> Said:
        return cls(party, Statement.read(reader), reader.fixed(SIGNATURE_SIZE, "signature"))

    @property
    def encoded(self) -> bytes:
        """The statement, then its signature; of whom, is said elsewhere."""
        return self.statement.write(Writer()).raw(self.signature).finish()

    @property
    def slot(self) -> Slot:
        """Where an honest signer says one thing."""
        return self.party, self.statement.form.name, self.statement.context

    def check(self, roster: Roster) -> None:
        """Raises InvalidSignature, or WireError for a statement that is not such a party's."""
        forms = OF_SERVERS if self.party == SERVER else OF_CLIENTS
        if self.statement.form not in forms:
            raise WireError(f"{self.statement.form.name!r} is not what such a party says")
        key = roster.server if self.party == SERVER else roster.key_of(self.party)
        self.statement.check(key, self.signature)


Slot: TypeAlias = tuple[PartyId, str, tuple[Value, ...]]


def of_two(one: Said, other: Said) -> bytes | None:
    """The evidence, if they are two of one slot that an honest signer has said one thing in."""
    if one.slot != other.slot or not one.statement.form.once or one.statement == other.statement:
        return None
    writer = Writer().u8(VERSION).u8(Kind.TWO_STATEMENTS)
    writer.u8(one.party != SERVER).u32(0 if one.party == SERVER else one.party)
    return writer.raw(b"".join(sorted((one.encoded, other.encoded)))).finish()


def read(reader: Reader, signed: SignedRoster) -> Verdict:
    """What stands behind version and kind. Raises as `convicting.verify_evidence`."""
    roster, party = signed.roster, _read_party(reader, signed.roster)
    one, other = Said.read(party, reader), Said.read(party, reader)
    reader.finish()
    if one.encoded >= other.encoded:
        raise WireError("two statements are not in ascending order")
    one.check(roster)
    other.check(roster)
    if of_two(one, other) is None:
        raise RemoteProtocolError(
            "the two statements are not of one context, or may be said twice, or are the same"
        )
    key = roster.server if party == SERVER else roster.key_of(party)
    form = one.statement.form
    differ = [
        name.lstrip("#")
        for (name, _), a, b in zip(
            form.fields, one.statement.values, other.statement.values, strict=True
        )
        if a != b
    ]
    what = (
        f"it signed two {form.name!r} statements in one {_WHERE[form.fields[0][0]]}, which differ "
        f"in: {', '.join(differ)}"
    )
    about = one.statement.values[0]
    if isinstance(about, int):
        raise WireError("impossible: each statement begins with the session or the offer")
    return Verdict(Charge.TWO_STATEMENTS, party, key, what, signed.admin, roster.epoch, about)


_WHERE = {"offer": "round", "session": "session"}


def _read_party(reader: Reader, roster: Roster) -> PartyId:
    kind, place = reader.u8("signer"), reader.u32("place of the signer")
    if kind == 0 and place == 0:
        return SERVER
    if kind != 1 or PartyId(place) not in roster.members:
        raise WireError("a signer is neither the server nor a member of the roster")
    return PartyId(place)


def split(data: Buffer, roster: Roster) -> tuple[Said, ...]:
    """Of such a file; each is what the server has signed."""
    reader = Reader(data)
    if reader.fixed(len(TOLD), "version and kind") != TOLD:
        raise WireError("this is no file of what a client was told")
    found: list[Said] = []
    while reader.remaining:
        if len(found) == MAX_SAID:
            raise WireError(f"more than {MAX_SAID} statements")
        said = Said.read(SERVER, reader)
        if found and said.encoded <= found[-1].encoded:
            raise WireError("statements are not in ascending order")
        said.check(roster)
        found.append(said)
    return tuple(found)


def among(said: Sequence[Said]) -> tuple[bytes, ...]:
    """One evidence for each slot in which two of them differ."""
    first: dict[Slot, Said] = {}
    found: dict[Slot, bytes] = {}
    for one in said:
        proof = of_two(first.setdefault(one.slot, one), one)
        if proof is not None:
            found.setdefault(one.slot, proof)
    return tuple(found.values())
