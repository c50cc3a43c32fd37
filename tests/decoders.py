"""Every decoder of peer bytes as one function: bytes in, the same bytes out, or a SecAggError."""

from __future__ import annotations

from secagg.errors import BadTag
from secagg.planner import MAX_ENCODED, Plan, plan
from secagg.wire.codec import Reader, Writer
from secagg.wire.frame import decode_frame
from secagg.wire.header import read_header
from secagg.wire.schema import read_schema, write_schema
from secagg_protocols.plainsum import decode_params as decode_plainsum_params
from secagg_protocols.secagg import messages
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.params import decode_params
from tests.rounds import COMPLETE, LAYOUT, network_of

SIZE, DEGREE = COMPLETE.clients, COMPLETE.degree
FRAME_LIMIT = 1 << 16


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
    reader = Reader(data)
    read = read_schema(reader, 10)
    reader.finish()
    return write_schema(Writer(), read).finish()


def a_plan(data: bytes) -> bytes:
    return Plan.decode(data, limit=MAX_ENCODED, allow_unprotected=True).encode()


def frame(data: bytes) -> bytes:
    return decode_frame(data, limit=FRAME_LIMIT).encode()


def valid_messages() -> dict[Tag, bytes]:
    """One honest message of every kind, to or from party 0."""
    network = network_of(COMPLETE)
    network.run()
    found = {Tag(m.data[2]): m.data for m in network.sent if 0 in (m.sender, m.to)}
    found[Tag.ABORT] = messages.Abort(messages.AbortReason.CANCELLED).encode(bytes(32))
    return found


def valid_plans() -> list[bytes]:
    from secagg.fields import FixedPoint, Integer

    fields = {"update": FixedPoint(5, clip=1.0, bits=8), "votes": Integer(3, max=7)}
    return [
        plan(clients=n, fields=fields, max_weight=w, protocol=name, corrupt=0).encode()
        for n, w, name in [(3, 1, "plainsum"), (8, 5, "secagg"), (10, 1, "secagg+")]
    ]
