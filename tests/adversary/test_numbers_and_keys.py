"""Rows 50 at a client, 59, 60, 62, 63: keys, the count lane, streams, and randomness."""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from secagg.crypto.agree import KeyPair, check_public, shared_secret
from secagg.drive import pump
from secagg.errors import (
    CryptoError,
    IntegrityError,
    InvalidKey,
    ParameterError,
    RemoteProtocolError,
)
from secagg.fields import FixedPoint
from secagg.layout import Lane
from secagg.mask import KEY_SIZE, MAX_BLOCKS, add_stream, add_streams
from secagg.party import Client, Server
from secagg.plans.choose import plan
from secagg.sansio import ClientMachine
from secagg.testing import counter_randomness
from secagg.types import SERVER, PartyId, Seed, system_randomness
from secagg.wire.codec import Reader
from secagg_protocols.secagg import SECAGG, keys
from secagg_protocols.secagg.messages import AdvertiseKeys, KeyList, Tag
from tests.networks import (
    COMPLETE,
    PAYLOAD,
    Script,
    body,
    flip,
    inputs_of,
    network_of,
    sent_by,
    session_of,
)

P = 2**255 - 19
LOW_ORDER = [
    0,
    1,
    P - 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
]
"""u-coordinates of order 1, 2, 4 and 8 on the curve and its twist, as libsodium lists them."""

ENCODINGS = sorted(
    {
        u.to_bytes(32, "little")
        for base in LOW_ORDER
        for value in (base, base + P, base + 2**255, base + P + 2**255)
        for u in [value]
        if u < 1 << 256
    }
)


@pytest.mark.parametrize("key", ENCODINGS, ids=lambda key: key[:4].hex())
def test_row_50_every_encoding_of_a_point_of_small_order(key: bytes) -> None:
    secret = KeyPair.from_random(bytes(range(32))).secret
    with pytest.raises(InvalidKey):
        check_public(key)
    with pytest.raises(InvalidKey):
        shared_secret(secret, key)


@pytest.mark.parametrize("key", ENCODINGS, ids=lambda key: key[:4].hex())
def test_row_50_a_client_refuses_them_in_a_list(key: bytes) -> None:
    script = Script(COMPLETE)
    data = script.inbox[0]
    listed = KeyList.read(Reader(body(data)), 6, 5)
    for bad in (
        AdvertiseKeys(key, listed.keys[2].s_pk),
        AdvertiseKeys(listed.keys[2].c_pk, key),
    ):
        lie = KeyList(listed.members, listed.root, {**listed.keys, 2: bad})
        client = script.client(0)
        with pytest.raises(RemoteProtocolError):
            client.receive(SERVER, lie.encode(data[3:35], 6))
        assert client.done


# Row 59: the count lane


def _parties(expander: Any = add_streams) -> tuple[Server, dict[PartyId, Client]]:
    made = plan(clients=6, fields={"x": FixedPoint(4, clip=1.0, bits=8)}, corrupt=0)
    common: dict[str, Any] = {"nonce": bytes(16), "payload_digest": bytes(32)}
    server = Server(made, **common, expander=expander)
    clients = {}
    for i in map(PartyId, range(6)):
        draw = counter_randomness(bytes([i]))
        clients[i] = Client(made, i, **common, randomness=draw)
        clients[i].set_input({"x": np.full(4, 0.25)}, payload_digest=bytes(32))
    return server, clients


def _forgetful(skip: int) -> Any:
    """An expander that leaves out one mask."""
    calls = {"number": 0}

    def expand(accumulator: Lane, keys: bytes, signs: bytes, /, *, first: int = 0) -> None:
        for i in range(len(signs)):
            calls["number"] += 1
            if calls["number"] != skip:
                key = keys[KEY_SIZE * i : KEY_SIZE * (i + 1)]
                add_streams(accumulator, key, signs[i : i + 1], first=first)

    return expand


@pytest.mark.parametrize("skip", range(1, 7))
def test_row_59_a_mask_that_is_not_removed_withholds_the_sum(skip: int) -> None:
    server, clients = _parties(_forgetful(skip))
    with pytest.raises(IntegrityError, match="count lane"):
        pump.run({SERVER: server}, clients)
    with pytest.raises(IntegrityError):
        server.aggregate()
    with pytest.raises(IntegrityError):
        server.result()


def test_row_59_a_pairwise_mask_too_many() -> None:
    server, clients = _parties()
    genuine: Any = clients[PartyId(2)].machine
    genuine._terms = replace(genuine._terms, expander=_forgetful(3))
    with pytest.raises(IntegrityError):
        pump.run({SERVER: server}, clients)


def test_row_59_nothing_is_withheld_otherwise() -> None:
    server, clients = _parties(_forgetful(99))
    pump.run({SERVER: server}, clients)
    aggregate = server.aggregate()
    assert len(aggregate.contributors) == 6
    assert abs(aggregate.mean["x"] - 0.25).max() <= aggregate.report.error_bounds["x"]


def test_rows_58_59_a_lie_about_a_mask_key_is_noticed() -> None:
    """A wire that changes a client's s key: what it adds, nobody can remove."""
    server, clients = _parties()
    server.start()
    for party, client in clients.items():
        client.start()
        (message,) = client.outgoing()
        data = flip(message.data, 8 * (35 + 32)) if party == 1 else message.data
        server.receive(party, data)
    server.close_phase()
    for message in server.outgoing():
        clients[message.to].receive(SERVER, message.data)
    while not server.done:
        for party, client in clients.items():
            for message in client.outgoing():
                server.receive(party, message.data)
        jobs = server.jobs()
        for job in jobs:
            server.finish(job, job())
        if not jobs and not server.done:
            server.close_phase()
        for message in server.outgoing():
            clients[message.to].receive(SERVER, message.data)
    with pytest.raises(IntegrityError):
        server.aggregate()


# Row 60


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_row_60_seeds_of_another_length(size: int) -> None:
    lane = np.zeros(4, np.uint32)
    with pytest.raises(InvalidKey):
        add_stream(lane, bytes(size), 1)
    assert not lane.any()
    with pytest.raises(ValueError, match="32 bytes"):
        Seed(bytes(size))


def test_row_60_the_counter_has_a_limit() -> None:
    lane = np.zeros(4, np.uint32)
    with pytest.raises(ParameterError, match="blocks"):
        add_stream(lane, bytes(32), 1, first=MAX_BLOCKS * 4 - 3)
    assert not lane.any()


def test_row_60_no_two_lanes_share_a_label() -> None:
    """Segments, purposes, pairs: every mask key of a session is different."""
    session, seed = bytes(32), Seed(bytes(range(32)))
    ends = [keys.Endpoint(i, KeyPair.from_random(bytes([i + 1]) * 32).public) for i in range(4)]
    found = [*keys.self_keys(seed, session, 0, 3), *keys.self_keys(seed, session, 1, 3)]  # type: ignore[arg-type]
    for peer in ends[1:]:
        found += keys.pair_keys(seed, ends[0], peer, session, 3)  # type: ignore[arg-type]
    assert len(set(found)) == len(found) == 15


# Row 62


def _client(randomness: Any) -> ClientMachine:
    client = SECAGG.family.client(
        session_of(COMPLETE), PartyId(0), randomness=randomness, expander=add_streams
    )
    client.set_input(inputs_of(6)[PartyId(0)], PAYLOAD)
    return client


def _failing(after: int, how: str) -> Any:
    good = counter_randomness((0).to_bytes(4))
    calls = {"number": 0}

    def draw(size: int) -> bytes:
        calls["number"] += 1
        if calls["number"] <= after:
            return good(size)
        if how == "short":
            return good(size)[:-1]
        if how == "empty":
            return b""
        raise OSError("no entropy") if how == "raises" else NotImplementedError

    return draw


@pytest.mark.parametrize("how", ["short", "empty", "raises", "missing"])
@pytest.mark.parametrize("after", range(6))
def test_row_62_randomness_that_fails_ends_the_session(after: int, how: str) -> None:
    """Two calls for the key pairs, one for b, one for each sharing; there is no fallback."""
    client = _client(_failing(after, how))
    data = Script(COMPLETE).inbox[0]
    if after < 2:
        with pytest.raises(CryptoError, match="randomness"):
            client.start()
        assert not client.outgoing()
        return
    client.start()
    client.outgoing()
    if after >= 5:
        client.receive(SERVER, data)
        return
    with pytest.raises(CryptoError, match="randomness"):
        client.receive(SERVER, data)
    assert client.done
    assert [Tag(m.data[2]) for m in client.outgoing()] == [Tag.ABORT]


# Row 63


def test_row_63_a_forked_child_masks_differently() -> None:
    """Both start a client that was made before the fork: no randomness is kept in between."""
    client = _client(system_randomness)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        client.start()
        os.write(writing, client.outgoing()[0].data)
        os._exit(0)
    os.waitpid(child, 0)
    client.start()
    ours, theirs = client.outgoing()[0].data, os.read(reading, 4096)
    os.close(reading), os.close(writing)
    assert len(ours) == len(theirs) > 64
    assert not {ours[35:67], ours[67:]} & {theirs[35:67], theirs[67:]}


def test_row_63_a_child_forked_with_keys_deals_its_own_secrets() -> None:
    """After start() the keys are shared; the self mask is not, and it covers the whole vector."""
    network = network_of(COMPLETE)
    network.start()
    client = network.clients[PartyId(0)]
    client._randomness = system_randomness  # type: ignore[attr-defined]
    reading, writing = os.pipe()
    script = Script(COMPLETE)
    child = os.fork()
    if child == 0:  # pragma: no cover
        client.receive(SERVER, script.inbox[0])
        os.write(writing, client.outgoing()[-1].data)
        os._exit(0)
    os.waitpid(child, 0)
    client.receive(SERVER, script.inbox[0])
    ours, theirs = client.outgoing()[-1].data, os.read(reading, 65536)
    os.close(reading), os.close(writing)
    assert len(ours) == len(theirs)
    assert ours[35:67] != theirs[35:67]  # the commitments to b


def test_row_63_a_client_cannot_be_cloned_in_any_state() -> None:
    """Not before the start either: what it would draw then is not yet drawn, and its nonce is."""
    script = Script(COMPLETE)
    for client in (_client(system_randomness), *(script.client(heard) for heard in range(4))):
        for clone in (copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="never copied or pickled"):
                clone(client)


def test_masked_inputs_never_repeat() -> None:
    """One input, two rounds: no byte string of the first masked vector appears in the second."""
    first, second = network_of(COMPLETE, seed=b"1"), network_of(COMPLETE, seed=b"2")
    first.run(), second.run()
    for party in range(6):
        one, two = (body(sent_by(n, party, Tag.MASKED_INPUT)[0])[1:] for n in (first, second))
        assert one != two
