"""Every decoder of peer bytes as one function: bytes in, the same bytes out, or a SecAggError."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from secagg import proved
from secagg.committee import Committee
from secagg.errors import BadTag, SecAggError
from secagg.fields import FixedPoint, Integer
from secagg.invitation import PUBLIC_PKI, Acceptance, Invitation, Renewal, Token
from secagg.plans.choose import plan
from secagg.plans.plan import MAX_ENCODED, Plan
from secagg.plans.task import Task
from secagg.plans.terms import Terms
from secagg.rights import ServiceRole
from secagg.roster import Enrolment, Roster, SignedRoster
from secagg.rounds.admission import Admission, State
from secagg.schema import Schema
from secagg.suite import SUITE_2
from secagg.types import AbortReason, PartyId, server_id
from secagg.wire.codec import Reader, Writer
from secagg.wire.frame import decode_frame
from secagg.wire.header import read_header
from secagg.wire.hello import (
    CallerHello,
    MemberHello,
    Service,
    decode_greeting,
    encode_greeting,
    roster_nonce,
)
from secagg.wire.pace import decode_pace
from secagg.wire.schema import read_fields, write_schema
from secagg_protocols.additive.params import decode_params as decode_additive_params
from secagg_protocols.plainsum import decode_params as decode_plainsum_params
from secagg_protocols.reports import messages as additive
from secagg_protocols.reports.book import Row
from secagg_protocols.reports.shape import ID_SIZE
from secagg_protocols.secagg import messages
from secagg_protocols.secagg.active import equivocation, statements
from secagg_protocols.secagg.active import messages as active
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.params import decode_params
from tests.active import COMPLETE as ACTIVE
from tests.active import SERVER_SEED, Cast, seed_of
from tests.ensembles import Setting, keys_of, params_of, told
from tests.networks import COMPLETE, LAYOUT, network_of

SIZE, DEGREE = COMPLETE.clients, COMPLETE.degree
FRAME_LIMIT = 1 << 16
ADDITIVE = Setting(params_of(3), LAYOUT)


def message(data: bytes) -> bytes:
    """A message of a COMPLETE round, read and written again as party 0 or the server would."""
    reader = Reader(data)
    number, bound = read_header(reader)
    if number not in messages.NAMES:
        raise BadTag(f"tag {number}")
    out = _body(Tag(number), reader, bound)
    reader.finish()
    return out


def _body(tag: Tag, reader: Reader, bound: bytes) -> bytes:
    if tag is Tag.ADVERTISE_KEYS:
        return messages.AdvertiseKeys.read(reader).encode(bound)
    if tag is Tag.KEY_LIST:
        return messages.KeyList.read(reader, SIZE, DEGREE).encode(bound, SIZE)
    if tag is Tag.SHARE_KEYS:
        return messages.ShareKeys.read(reader, DEGREE).encode(bound)
    if tag is Tag.SHARE_LIST:
        peers = frozenset(range(1, SIZE))
        return messages.ShareList.read(reader, SIZE, peers).encode(bound, SIZE)
    if tag is Tag.MASKED_INPUT:
        failed, packed = messages.read_masked_input(reader, DEGREE, LAYOUT)
        return messages.MaskedInput(failed, packed.unpack()).encode(bound, DEGREE, LAYOUT)
    if tag is Tag.UNMASK_REQUEST:
        return messages.UnmaskRequest.read(reader, SIZE).encode(bound, SIZE)
    if tag is Tag.UNMASK_ANSWER:
        return messages.UnmaskAnswer.read(reader, SIZE).encode(bound)
    return messages.Abort.read(reader).encode(bound)


def share_pair(data: bytes) -> bytes:
    return messages.SharePair.decode(data).encode()


def params(data: bytes) -> bytes:
    return decode_params(data).encode()


def plainsum_params(data: bytes) -> bytes:
    return decode_plainsum_params(data).encode()


def schema(data: bytes) -> bytes:
    max_weight, fields = read_fields(Reader(data))
    return write_schema(Writer(), Schema(fields, 10, max_weight)).finish()


def a_plan(data: bytes) -> bytes:
    return Plan.decode(data, limit=MAX_ENCODED, allow_unprotected=True).encode()


def frame(data: bytes) -> bytes:
    return decode_frame(data, limit=FRAME_LIMIT).encode()


def pace(data: bytes) -> bytes:
    return decode_pace(data).encode()


def valid_messages() -> dict[Tag, bytes]:
    """One honest message of every kind, to or from party 0."""
    network = network_of(COMPLETE)
    network.run()
    found = {Tag(m.data[2]): m.data for m in network.sent if 0 in (m.sender, m.to)}
    found[Tag.ABORT] = messages.Abort(messages.AbortReason.CANCELLED).encode(bytes(32))
    return found


def valid_plans() -> list[bytes]:
    fields = {"update": FixedPoint(5, clip=1.0, bits=8), "votes": Integer(3, max=7)}
    return [
        plan(clients=n, fields=fields, max_weight=w, protocol=name, corrupt=0).encode()
        for n, w, name in [(3, 1, "plainsum"), (8, 5, "secagg"), (10, 1, "secagg+")]
    ]


# Additive sums


def additive_message(data: bytes) -> bytes:
    """A message of an ADDITIVE batch, read and written again as server 1 or the collector would."""
    reader = Reader(data)
    number, bound = read_header(reader)
    if number not in additive.NAMES:
        raise BadTag(f"tag {number}")
    out = _additive_body(additive.Tag(number), reader, bound)
    reader.finish()
    return out


def _additive_body(tag: additive.Tag, reader: Reader, bound: bytes) -> bytes:
    shape, kinds = ADDITIVE.shape, additive.Tag
    if tag is kinds.REPORT:
        return additive.Report.read(reader, shape).encode(bound)
    if tag is kinds.REPORT_SHARE:
        return additive.Sealed.read(reader, shape, 1).encode(bound)
    if tag is kinds.RECEIPT:
        return additive.Receipt.read(reader).encode(bound)
    if tag is kinds.DECIDED:
        return additive.decided(bound, reader.fixed(ID_SIZE, "report id"))
    if tag in (kinds.VERDICT, kinds.DECISION):
        return additive.Ruling.read(reader, tag, shape).encode(tag, bound)
    if tag in (kinds.STATEMENT, kinds.AGREEMENT):
        signatures = 1 if tag is kinds.STATEMENT else ADDITIVE.params.servers
        return additive.Statement.read(reader, signatures).encode(tag, bound)
    if tag is kinds.TOTAL:
        return additive.Total.read(reader, shape).encode(bound)
    if tag is kinds.OPEN:
        return additive.open_batch(bound, additive.read_open(reader))
    if tag is kinds.ABORT:
        return additive.abort(bound, additive.read_abort(reader))
    return additive.bare(tag, bound)


def additive_params(data: bytes) -> bytes:
    return decode_additive_params(data).encode()


def committee(data: bytes) -> bytes:
    return Committee.decode(data).encode()


def task(data: bytes) -> bytes:
    return Task.decode(data).encode()


def terms(data: bytes) -> bytes:
    return Terms.decode(data).encode()


def stored_report(data: bytes) -> bytes:
    """The value of a row of a server's store."""
    return Row.decode(b"r" + bytes(ID_SIZE), data).encode()[1]


def valid_additive_messages() -> dict[additive.Tag, bytes]:
    """One honest message of every kind, to or from server 1 where there are several."""
    log = told(ADDITIVE)
    found = {additive.Tag(m.data[2]): m.data for _, m in log.said}
    helpers = [m.data for _, m in log.said if m.to == server_id(1)]
    found[additive.Tag.REPORT_SHARE] = next(d for d in helpers if d[2] == 2)
    found[additive.Tag.REPORT] = ADDITIVE.report(0)[0].data
    receipt = additive.Receipt(bytes(16), 1, bytes(64))
    found[additive.Tag.RECEIPT] = receipt.encode(ADDITIVE.context.id)
    found[additive.Tag.ABORT] = additive.abort(bytes(32), AbortReason.CANCELLED)
    return found


def valid_tasks() -> list[bytes]:
    made = [
        plan(clients=n, fields={"votes": Integer(3, max=7)}, protocol="additive", servers=m)
        for n, m in ((4, 2), (30, 5))
    ]
    alone = Task(plan(clients=5, fields={"votes": Integer(3, max=7)}, dropout=0))
    return [
        alone.encode(),
        *(Task(one, keys_of(one.params.servers).committee).encode() for one in made),
    ]


def valid_terms() -> list[bytes]:
    votes = {"votes": Integer(3, max=7)}
    real = {"update": FixedPoint(5, clip=1.0, bits=8), **votes}
    return [
        Terms.of(votes, (7, 12), population=14, corrupt="1/20").encode(),
        Terms.of(real, (5, 5), max_weight=3, clipped=True, protocol="secagg").encode(),
        Terms.of(votes, (8, 9), adversary="active", dropout="1/10", min_clients=7).encode(),
    ]


# Active mode


def active_message(data: bytes) -> bytes:
    """A message of an ACTIVE session, read and written again as party 0 or the server would."""
    reader = Reader(data)
    number, bound = read_header(reader, SUITE_2)
    if number not in active.NAMES:
        raise BadTag(f"tag {number}")
    out = _active_body(number, reader, bound)
    reader.finish()
    return out


def _active_body(tag: int, reader: Reader, bound: bytes) -> bytes:
    size, degree = ACTIVE.clients, ACTIVE.degree
    if tag == Tag.ADVERTISE_KEYS:
        return active.SignedKeys.read(reader).encode(bound)
    if tag == Tag.KEY_LIST:
        return active.KeyList.read(reader, size, degree, True).encode(bound, size)
    if tag == Tag.SHARE_KEYS:
        return active.ShareKeys.read(reader, degree).encode(bound)
    if tag == Tag.SHARE_LIST:
        return active.ShareList.read(reader, size, frozenset(range(1, size))).encode(bound, size)
    if tag == Tag.MASKED_INPUT:
        said, _ = active.MaskedInput.read(reader, degree, LAYOUT)
        return said.encode(bound, degree)
    if tag == active.SURVIVORS:
        return active.Survivors.read(reader, size).encode(bound, size)
    if tag == active.AGREE:
        return active.Agree.read(reader).encode(bound)
    if tag == Tag.UNMASK_REQUEST:
        return active.UnmaskRequest.read(reader, size, ACTIVE.quorum).encode(bound, size)
    if tag == Tag.UNMASK_ANSWER:
        return active.UnmaskAnswer.read(reader, size).encode(bound)
    return active.Abort.read(reader).encode(bound)


def valid_active_messages() -> dict[int, bytes]:
    """One honest message of every kind, to or from party 0."""
    network = Cast(ACTIVE).network()
    network.run()
    found = {m.data[2]: m.data for m in network.sent if 0 in (m.sender, m.to)}
    found[Tag.ABORT] = active.Abort(AbortReason.CANCELLED).encode(bytes(32))
    return found


def statement(data: bytes) -> bytes:
    reader = Reader(data)
    said = statements.Statement.read(reader)
    reader.finish()
    return said.write(Writer()).finish()


def valid_statements() -> list[bytes]:
    """One of each form."""
    return [
        form(*(bytes([number]) * size if size else number for number, (_, size) in _numbered(form)))
        .write(Writer())
        .finish()
        for form in statements.FORMS.values()
    ]


def _numbered(form: statements.Form) -> list[tuple[int, tuple[str, int]]]:
    return list(enumerate(form.fields))


def roster(data: bytes) -> bytes:
    return Roster.decode(data).encode()


def signed_roster(data: bytes) -> bytes:
    return SignedRoster.decode(data).encode()


def enrolment(data: bytes) -> bytes:
    return Enrolment.decode(data).encode()


def member_hello(data: bytes) -> bytes:
    """A frame of kind 8."""
    return MemberHello.decode(data, _NONCE).encode()


def greeting(data: bytes) -> bytes:
    """A frame of kind 9."""
    return encode_greeting(decode_greeting(data, _NONCE), _NONCE)


def told_file(data: bytes) -> bytes:
    """What a client was told."""
    return proved.told(said.encoded for said in equivocation.split(data, _CAST.roster))


_CAST = Cast()
_NONCE = roster_nonce(_CAST.roster.digest)


def valid_member_hellos() -> list[bytes]:
    digest = _CAST.roster.digest
    ends = ((3, 0, bytes(32)), (0, 7, digest))
    return [MemberHello(digest, epoch, PartyId(p), said).encode() for epoch, p, said in ends]


def valid_greetings() -> list[bytes]:
    return [encode_greeting(bytes([number]) * 32, _NONCE) for number in (0, 255)]


def valid_told() -> list[bytes]:
    """Of a client in an honest session, of all that a server says, and of nobody."""
    network = _CAST.network()
    network.run()
    client: Any = network.clients[_CAST.parties[1]]
    result = statements.RESULT(*(bytes([number]) * 32 for number in range(5)))
    said = result.write(Writer()).raw(result.signed(SERVER_SEED)).finish()
    return [
        proved.told(client.statements()),
        proved.told([*client.statements(), said]),
        proved.TOLD,
    ]


def valid_rosters() -> list[bytes]:
    """One of six, and one in which a member is excluded."""
    whole = Cast().roster
    fewer = Roster(4, 1 << 33, whole.server, (*whole.keys[:2], None, *whole.keys[3:]))
    return [whole.encode(), fewer.encode()]


def valid_signed_rosters() -> list[bytes]:
    return [Cast().signed.encode(), Cast(places=9).signed.encode()]


def valid_enrolments() -> list[bytes]:
    return [Enrolment.make(name, seed_of(3)).encode() for name in ("a", "clinic 3, ward b")]


# A service

SERVICE = Service("sum.hospital.example", Cast().roster.server)


def caller(data: bytes) -> bytes:
    return CallerHello.decode(data, SERVICE.nonce).encode()


def valid_callers() -> list[bytes]:
    said = ((ServiceRole.CLIENT, "mortality"), (ServiceRole.VIEWER, "-" * 64))
    key, challenge = Cast().roster.keys[0] or b"", bytes(range(32))
    return [CallerHello(SERVICE.digest, key, role, task, challenge).encode() for role, task in said]


INVITED = Invitation(
    "https://sum.hospital.example:8443", SERVICE.key, PUBLIC_PKI, "site-1", Token(bytes(16))
)


def invitation(data: bytes) -> bytes:
    """Whatever of a code, its acceptance, a renewal or a row of the register the bytes are."""
    for reader in (_code, _acceptance, _renewal):
        try:
            return reader(data)
        except SecAggError:
            continue
    return Admission.decode(data).encode()


def _code(data: bytes) -> bytes:
    return Invitation.decode(data.decode("latin-1")).encode().encode("latin-1")


def _acceptance(data: bytes) -> bytes:
    return Acceptance.decode(data).encode()


def _renewal(data: bytes) -> bytes:
    return Renewal.decode(data).encode()


def valid_invitations() -> list[bytes]:
    accepted = INVITED.accept(seed_of(3))
    entry = Admission("site-1", ServiceRole.CLIENT, ("a", "b"), State.INVITED, SERVICE.key, 9)
    request = accepted.request
    waiting = replace(
        entry, state=State.WAITING, expires=0, key=request.key, signature=request.signature
    )
    entries = entry, waiting, replace(waiting, state=State.REVOKED, earlier=(SERVICE.key,))
    return [
        INVITED.encode().encode(),
        accepted.encode(),
        Renewal.make(SERVICE, seed_of(4), request).encode(),
        *(one.encode() for one in entries),
    ]
