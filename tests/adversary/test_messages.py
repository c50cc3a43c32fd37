"""Rows 1-23: what is not a message is refused, by decoder and by machine, and costs its sender.

Rows 14-16 have no counterpart: the codec has no varints, no nesting and no compression.
"""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest

from secagg.errors import (
    BadTag,
    LocalProtocolError,
    RemoteProtocolError,
    SecAggError,
    TooLarge,
    TrailingBytes,
    Truncated,
    UnknownVersion,
    WireError,
)
from secagg.sansio import Dropped
from secagg.testing import Network
from secagg.types import SERVER, Fault, PartyId
from secagg.wire.codec import Reader
from secagg.wire.header import HEADER_SIZE
from secagg_protocols.secagg.messages import NAMES, KeyList, Tag
from tests import decoders
from tests.networks import (
    COMPLETE,
    LAYOUT,
    PHASES,
    Script,
    assert_exact,
    body,
    faults,
    flip,
    network_of,
    rebuilt,
    replacing,
)

VALID = decoders.valid_messages()
KINDS = pytest.mark.parametrize("tag", list(Tag), ids=NAMES.get)
UPLOADS = {
    Tag.ADVERTISE_KEYS: "advertise-keys",
    Tag.SHARE_KEYS: "share-keys",
    Tag.MASKED_INPUT: "masked-input",
    Tag.UNMASK_ANSWER: "unmask",
}
UPLOAD_KINDS = pytest.mark.parametrize("tag", UPLOADS, ids=lambda tag: NAMES[tag])
DOWNLOADS = [Tag.KEY_LIST, Tag.SHARE_LIST, Tag.UNMASK_REQUEST]
SCRIPT = Script()


def fault_of(waiting: Network, data: bytes) -> Fault | None:
    """Of party 1, at a server in the state of this network's."""
    one = rebuilt(waiting)
    one.receive(PartyId(1), data)
    dropped = [e for e in one.events() if isinstance(e, Dropped)]
    assert {e.party for e in dropped} <= {1}
    assert (1 in one.alive) == (not dropped)
    return dropped[0].fault if dropped else None


def waiting_for(tag: Tag) -> tuple[Network, bytes]:
    """A network whose server waits for this kind of message, and party 1's."""
    network = network_of(COMPLETE).run_until(UPLOADS[tag])
    return network, network.queued(PartyId(1))[0]


@KINDS
def test_rows_1_2_truncated_at_every_byte(tag: Tag) -> None:
    for size in range(len(VALID[tag])):
        with pytest.raises(Truncated):
            decoders.message(VALID[tag][:size])


@KINDS
def test_row_3_one_trailing_byte(tag: Tag) -> None:
    for byte in (b"\0", b"\xff"):
        with pytest.raises(TrailingBytes):
            decoders.message(VALID[tag] + byte)


@KINDS
def test_row_23_what_is_read_is_what_was_written(tag: Tag) -> None:
    assert decoders.message(VALID[tag]) == VALID[tag]


@UPLOAD_KINDS
def test_rows_1_2_3_at_the_server(tag: Tag) -> None:
    network, honest = waiting_for(tag)
    assert fault_of(network, honest) is None
    for size in range(len(honest)):
        assert fault_of(network, honest[:size]) is Fault.MALFORMED
    assert fault_of(network, honest + b"\0") is Fault.MALFORMED


@UPLOAD_KINDS
def test_rows_6_7_8_every_bit_of_a_header_at_the_server(tag: Tag) -> None:
    network, honest = waiting_for(tag)
    for bit in range(8 * HEADER_SIZE):
        changed = flip(honest, bit)
        fault = fault_of(network, changed)
        in_tag = bit // 8 == 2
        known = changed[2] in NAMES
        allowed = {Fault.WRONG_PHASE, Fault.EQUIVOCATION, Fault.MALFORMED}
        assert fault in (allowed if in_tag and known else {Fault.MALFORMED}), bit


@pytest.mark.parametrize("received", range(3))
def test_rows_1_2_3_at_a_client(received: int) -> None:
    honest = SCRIPT.inbox[received]
    broken = [honest[:size] for size in range(0, len(honest), 7)] + [honest + b"\0"]
    for data in broken:
        client = SCRIPT.client(received)
        with pytest.raises(RemoteProtocolError):
            client.receive(SERVER, data)
        assert client.done
        (last,) = client.outgoing()
        assert Tag(last.data[2]) is Tag.ABORT


@pytest.mark.parametrize("received", range(3))
def test_rows_6_7_8_every_bit_of_a_header_at_a_client(received: int) -> None:
    for bit in range(0, 8 * HEADER_SIZE, 5):
        client = SCRIPT.client(received)
        with pytest.raises(RemoteProtocolError):
            client.receive(SERVER, flip(SCRIPT.inbox[received], bit))
        assert client.done


def test_row_7_versions_spoken_are_named() -> None:
    for at in (0, 1):
        data = bytearray(VALID[Tag.ABORT])
        data[at] = 9
        with pytest.raises(UnknownVersion, match="version 1, suite 1"):
            decoders.message(bytes(data))


def test_row_6_unknown_type() -> None:
    for number in (0, 9, 255):
        with pytest.raises(BadTag):
            decoders.message(b"\1\1" + bytes([number]) + bytes(32))


def _key_list(indices: list[int], count: int | None = None) -> bytes:
    good = VALID[Tag.KEY_LIST]
    at = HEADER_SIZE + 1 + 32
    entry = body(good)[1 + 32 + 4 + 4 :][:64]
    entries = b"".join(i.to_bytes(4) + entry for i in indices)
    return good[:at] + (len(indices) if count is None else count).to_bytes(4) + entries


@pytest.mark.parametrize(
    "indices",
    [[1, 1], [2, 1], [0, 0, 0], [1, 2, 3, 3], [5, 4, 3, 2, 1]],
    ids=str,
)
def test_rows_9_13_items_ascend_strictly(indices: list[int]) -> None:
    with pytest.raises(WireError):
        decoders.message(_key_list(indices))


def test_row_11_a_list_over_its_maximum() -> None:
    with pytest.raises(TooLarge):
        decoders.message(_key_list([0, 1, 2, 3, 4, 5]))


@pytest.mark.parametrize(
    "indices", [[], [1], [1, 2, 3, 4], [1, 2, 3, 4, 9], [0, 1, 2, 3, 4]], ids=str
)
def test_rows_10_12_a_list_of_other_neighbours_ends_the_session(indices: list[int]) -> None:
    client = SCRIPT.client(0)
    with pytest.raises(RemoteProtocolError):
        client.receive(SERVER, _key_list(indices))


@pytest.mark.parametrize("count", [6, 1 << 20, (1 << 32) - 1])
def test_rows_4_5_a_count_of_2_to_32_allocates_nothing(count: int) -> None:
    data = _key_list([1, 2], count)
    tracemalloc.start()
    with pytest.raises(WireError):
        KeyList.read(Reader(data[HEADER_SIZE:]), 6, 5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 16


@pytest.mark.parametrize("length", [1 << 16, 1 << 31, (1 << 32) - 1])
def test_row_5_length_prefixes_of_plans_and_frames(length: int) -> None:
    a_plan = decoders.valid_plans()[1]
    cases = [
        lambda: decoders.a_plan(a_plan[:2] + length.to_bytes(4) + a_plan[6:]),
        lambda: decoders.schema(bytes(3) + b"\1" + length.to_bytes(4) + b"x" * 40),
        lambda: decoders.frame(b"\1\1" + bytes(16 + 4) + b"\0" + length.to_bytes(4) + b"x" * 40),
    ]
    for case in cases:
        tracemalloc.start()
        with pytest.raises(SecAggError):
            case()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20


def test_row_12_bits_past_the_last_client() -> None:
    for tag in (Tag.KEY_LIST, Tag.SHARE_LIST, Tag.UNMASK_REQUEST):
        for bit in (6, 7):  # six clients
            data = bytearray(VALID[tag])
            data[HEADER_SIZE] |= 1 << bit
            with pytest.raises(WireError, match="at or past 6"):
                decoders.message(bytes(data))


def test_row_17_other_formats() -> None:
    npy, archive = io.BytesIO(), io.BytesIO()
    np.save(npy, np.arange(4))
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("x", "y" * 100)
    bodies = [
        npy.getvalue(),
        archive.getvalue(),
        json.dumps({"version": 1}).encode(),
        b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
    ]
    for phase in PHASES:
        network = network_of(COMPLETE).run_until(phase)
        for data in bodies:
            assert fault_of(network, data) is Fault.MALFORMED


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\0b", b"\xc0\xaf", "\u202eevil".encode(), b""])
def test_row_18_names_are_printable_ascii(name: bytes) -> None:
    data = (1).to_bytes(4) + (1).to_bytes(4) + len(name).to_bytes(4) + name
    with pytest.raises(SecAggError) as error:
        decoders.schema(data + b"\2" + (1).to_bytes(4) + (5).to_bytes(8))
    assert str(error.value).isascii()
    assert str(error.value).isprintable()


def test_row_19_vectors_of_another_length() -> None:
    network, honest = waiting_for(Tag.MASKED_INPUT)
    for size in (LAYOUT.packed_size - 4, LAYOUT.packed_size + 4, 0):
        data = honest[: HEADER_SIZE + 1] + bytes(size)
        assert fault_of(network, data) is Fault.MALFORMED


def test_row_20_padding_is_the_only_room_above_the_modulus() -> None:
    """7 elements of 5 bits: 35 bits in 5 bytes; each of the 5 bits left over must be 0."""
    network, honest = waiting_for(Tag.MASKED_INPUT)
    last = HEADER_SIZE + 1 + 4
    for bit in range(8):
        data = bytearray(honest)
        data[last] |= 1 << bit
        expected = Fault.MALFORMED if bit >= 3 else None
        if bytes(data) != honest:
            assert fault_of(network, bytes(data)) is expected


@UPLOAD_KINDS
def test_malformed_clients_do_not_stop_the_round(tag: Tag) -> None:
    """Threats T10: the rest is summed exactly."""
    network = network_of(COMPLETE, wire=replacing(3, tag, lambda data: data[:-1]))
    total = assert_exact(network)
    assert faults(network) == {3: Fault.MALFORMED}
    assert (3 in total.contributors) == (tag is Tag.UNMASK_ANSWER)


def test_row_24_machines_that_have_not_started() -> None:
    """A message before start() is nobody's turn: the server ignores it, a client ends."""
    network = network_of(COMPLETE)
    network.server.receive(PartyId(0), VALID[Tag.ADVERTISE_KEYS])
    assert not network.server.waiting_for
    with pytest.raises(RemoteProtocolError):
        network.clients[PartyId(0)].receive(SERVER, VALID[Tag.KEY_LIST])
    with pytest.raises(LocalProtocolError):
        network.clients[PartyId(0)].start()


def test_row_22_frames_above_the_quota() -> None:
    """Refused by their length alone, before a byte of them is read."""
    for size in (decoders.FRAME_LIMIT + 1, 4 * decoders.FRAME_LIMIT):
        with pytest.raises(TooLarge):
            decoders.frame(bytes(size))
