"""Rows 27-31, 33, 35, 36, 44, 46, 47, 49: what a client refuses, and that it then reveals nothing.

The server is malicious here although the semi-honest mode does not promise to withstand one: each
of these checks is a client's own and costs it nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

from secagg.crypto.agree import KeyPair
from secagg.errors import InputError, ParameterError, RemoteProtocolError
from secagg.mask import add_streams
from secagg.sansio import Aborted, ClientMachine, Finished, Ignored
from secagg.testing import Act, Schedule, counter_randomness
from secagg.types import SERVER, AbortReason, PartyId
from secagg.wire.codec import Reader
from secagg.wire.header import HEADER_SIZE, read_header
from secagg_protocols.secagg import SECAGG, binding, messages
from secagg_protocols.secagg.messages import (
    Abort,
    AdvertiseKeys,
    KeyList,
    ShareList,
    Tag,
    UnmaskRequest,
)
from secagg_protocols.secagg.params import SecAggParams
from tests.networks import (
    COMPLETE,
    REGULAR,
    Script,
    body,
    inputs_of,
    network_of,
    secrets_of,
    sent_to,
    session_of,
    standing,
)

SCRIPT = Script(COMPLETE)
REGULAR_SCRIPT = Script(REGULAR)
EVERYONE = frozenset(range(6))


def session_id(data: bytes) -> bytes:
    return read_header(Reader(data))[1]


SESSION = session_id(SCRIPT.inbox[1])


def refuses(client: ClientMachine, data: bytes, why: str) -> None:
    """Ends, says so once without a share, and stays silent whatever comes next."""
    with pytest.raises(RemoteProtocolError, match=why):
        client.receive(SERVER, data)
    assert client.done
    assert [Tag(m.data[2]) for m in client.outgoing()] in ([Tag.ABORT], [])
    assert [e for e in client.events() if isinstance(e, Aborted)]
    for again in (*SCRIPT.inbox, data):
        client.receive(SERVER, again)
        assert not client.outgoing()


def request(members: Iterable[int]) -> bytes:
    return UnmaskRequest(frozenset(members)).encode(SESSION, 6)


def test_row_27_a_survivor_set_that_names_me_dead() -> None:
    refuses(SCRIPT.client(2), request(EVERYONE - {0}), "omits this client")


def _client_with_a_dead_neighbour() -> tuple[ClientMachine, bytes]:
    """Party 5 is not in U2."""
    schedule = Schedule({("share-keys", PartyId(5)): Act.GONE})
    network = network_of(COMPLETE, schedule=schedule).run_until("masked-input")
    client = network.clients[PartyId(0)]
    client.outgoing()
    return client, session_id(sent_to(network, 0, Tag.SHARE_LIST)[0])


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({1, 2, 3, 4}, "omits this client"),
        ({0, 1, 2, 3, 5}, "outside U2"),
        ({0, 1, 2}, "asks for 4"),
    ],
)
def test_row_28_survivor_sets_that_cannot_be(members: set[int], why: str) -> None:
    client, session = _client_with_a_dead_neighbour()
    refuses(client, UnmaskRequest(frozenset(members)).encode(session, 6), why)


def test_row_28_fewer_than_t_holders_survive() -> None:
    """The regular graph: enough survivors in all, too few among those who hold my shares."""
    client = REGULAR_SCRIPT.client(2)
    opened = standing(client).view
    near = sorted(opened.holders - {opened.index})[:1]
    far = sorted(frozenset(range(8)) - opened.holders)
    survivors = frozenset([opened.index, *near, *far])
    assert len(survivors) >= REGULAR.min_survivors
    data = UnmaskRequest(survivors).encode(session_id(REGULAR_SCRIPT.inbox[1]), 8)
    refuses(client, data, "holders survive")


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_row_29_too_few_survivors(size: int) -> None:
    refuses(SCRIPT.client(2), request(range(size)), "omits|asks for 4")


@pytest.mark.parametrize("second", [EVERYONE - {1}, EVERYONE - {5}, {0, 1, 2, 3}])
def test_row_30_a_second_survivor_set_is_refused_for_ever(second: frozenset[int]) -> None:
    client = SCRIPT.client(3)
    refuses(client, request(second), "not expected now")
    client.receive(SERVER, SCRIPT.inbox[2])
    assert not client.outgoing()


def test_rows_25_31_the_same_bytes_get_the_same_answer() -> None:
    client = SCRIPT.client(3)
    for _ in range(3):
        for place, data in enumerate(SCRIPT.inbox):
            client.receive(SERVER, data)
            assert [m.data for m in client.outgoing()] == [SCRIPT.outbox[place + 1]]
            assert isinstance(client.events()[-1], Ignored)


@pytest.mark.parametrize("received", [0, 1, 2])
def test_row_24_messages_of_a_later_phase(received: int) -> None:
    for later in range(received + 1, 3):
        refuses(SCRIPT.client(received), SCRIPT.inbox[later], "not expected now")


@pytest.mark.parametrize("place", [0, 1])
def test_row_26_other_bytes_for_an_answered_message(place: int) -> None:
    data = SCRIPT.inbox[place]
    other = data[:-1] + bytes([data[-1] ^ 1])
    refuses(SCRIPT.client(place + 1), other, "not expected now")


# Row 33: the list of keys


def _listed() -> KeyList:
    return KeyList.read(Reader(body(SCRIPT.inbox[0])), 6, 5)


def _key_list(listed: KeyList) -> bytes:
    """With the session id that follows from what is listed, as a careful liar would have it."""
    offer = session_of(COMPLETE).offer("secagg")
    ids = sorted(map(PartyId, listed.members))
    return listed.encode(binding.session_id(offer, 6, ids, listed.root), 6)


def _with_key(index: int, keys: AdvertiseKeys) -> bytes:
    listed = _listed()
    return _key_list(KeyList(listed.members, listed.root, {**listed.keys, index: keys}))


def _own() -> AdvertiseKeys:
    return AdvertiseKeys.read(Reader(body(SCRIPT.outbox[0])))


def test_row_33_the_honest_list_is_accepted() -> None:
    client = SCRIPT.client(0)
    client.receive(SERVER, _key_list(_listed()))
    assert [m.data for m in client.outgoing()] == [SCRIPT.outbox[1]]


def test_row_33_a_list_without_me() -> None:
    listed = _listed()
    members = listed.members - {0}
    keys = {i: listed.keys[i] for i in (1, 2, 3, 4)}
    refuses(SCRIPT.client(0), _key_list(KeyList(members, listed.root, keys)), "omits this client")


@pytest.mark.parametrize("size", [1, 2, 3])
def test_rows_33_46_too_small_a_list(size: int) -> None:
    listed = _listed()
    keys = {i: listed.keys[i] for i in range(1, size)}
    refuses(
        SCRIPT.client(0),
        _key_list(KeyList(frozenset(range(size)), listed.root, keys)),
        "this plan asks for 4",
    )


def test_row_33_one_key_for_two_clients() -> None:
    twice = _listed().keys[1]
    refuses(SCRIPT.client(0), _with_key(2, twice), "stands twice")
    mixed = AdvertiseKeys(_listed().keys[2].c_pk, twice.s_pk)
    refuses(SCRIPT.client(0), _with_key(2, mixed), "stands twice")


def test_rows_33_50_own_keys_reflected() -> None:
    """Rule C4."""
    own, peer = _own(), _listed().keys[3]
    for keys in (own, AdvertiseKeys(own.c_pk, peer.s_pk), AdvertiseKeys(peer.c_pk, own.c_pk)):
        refuses(SCRIPT.client(0), _with_key(3, keys), "stands twice")


def test_row_33_c_and_s_key_alike() -> None:
    key = _listed().keys[4].c_pk
    refuses(SCRIPT.client(0), _with_key(4, AdvertiseKeys(key, key)), "stands twice")


def test_row_33_a_session_id_that_does_not_follow() -> None:
    listed = _listed()
    refuses(SCRIPT.client(0), listed.encode(bytes(32), 6), "does not follow")
    other_root = KeyList(listed.members, bytes(32), listed.keys).encode(SESSION, 6)
    refuses(SCRIPT.client(0), other_root, "does not follow")


def test_row_47_other_neighbours_than_the_graph_has() -> None:
    """Rule C3. A server that picks the neighbourhood of its victim. Threats T9."""
    data = REGULAR_SCRIPT.inbox[0]
    listed = KeyList.read(Reader(body(data)), 8, 4)
    fresh = [KeyPair.from_random(counter_randomness(bytes([i]))(32)).public for i in range(16)]
    pairs = [AdvertiseKeys(fresh[2 * i], fresh[2 * i + 1]) for i in range(8)]
    session = session_id(data)
    chosen = sorted(listed.keys)
    others = sorted(set(range(1, 8)) - set(chosen))
    for wrong in (
        [*chosen[:-1], others[-1]],
        chosen[:-1],
        [0, *chosen[:3]],
        [],
    ):
        keys = {i: pairs[i] for i in sorted(wrong)}
        lie = KeyList(listed.members, listed.root, keys).encode(session, 8)
        refuses(REGULAR_SCRIPT.client(0), lie, "neighbours are not those")


def test_row_47_a_neighbour_too_many() -> None:
    data = REGULAR_SCRIPT.inbox[0]
    listed = KeyList.read(Reader(body(data)), 8, 4)
    extra = next(i for i in range(1, 8) if i not in listed.keys)
    keys = {**listed.keys, extra: _listed().keys[1]}
    lie = KeyList(listed.members, listed.root, dict(sorted(keys.items())))
    refuses(REGULAR_SCRIPT.client(0), lie.encode(session_id(data), 8), "limit is 4")


# U2


def _share_list(members: frozenset[int]) -> bytes:
    listed = ShareList.read(Reader(body(SCRIPT.inbox[1])), 6, EVERYONE - {0})
    sealed = tuple(s for i, s in enumerate(listed.sealed, start=1) if i in members)
    return ShareList(members, sealed).encode(SESSION, 6)


def test_row_33_u2_without_me() -> None:
    refuses(SCRIPT.client(1), _share_list(EVERYONE - {0}), "U2 omits")


@pytest.mark.parametrize("size", [1, 2, 3])
def test_row_47_u2_with_fewer_than_t_holders(size: int) -> None:
    """Rule C5: its secrets could not be rebuilt, or by fewer than it agreed to."""
    refuses(SCRIPT.client(1), _share_list(frozenset(range(size))), "holders are in U2")


@pytest.mark.parametrize("received", [1, 2])
def test_row_35_another_session_id_in_a_later_phase(received: int) -> None:
    data = SCRIPT.inbox[received]
    changed = data[:3] + bytes(32) + data[HEADER_SIZE:]
    refuses(SCRIPT.client(received), changed, "another session")


def test_row_36_another_task_than_announced() -> None:
    """Threats T7: the client sees bytes with another digest and never joins."""
    client = SCRIPT.client(0, with_input=False)
    with pytest.raises(InputError):
        client.set_input(inputs_of(6)[PartyId(0)], bytes(32))
    assert client.done
    assert [Tag(m.data[2]) for m in client.outgoing()] == [Tag.ABORT]


def test_row_36_clients_of_different_tasks_never_share_a_session() -> None:
    network = network_of(COMPLETE)
    stranger = network_of(COMPLETE, payload=bytes(32)).run_until("advertise-keys")
    network.start()
    network.server.receive(PartyId(0), stranger.queued(PartyId(0))[0])
    assert 0 not in network.server.alive


def test_row_44_a_session_cannot_be_had_twice() -> None:
    """The id follows from the keys, and the client's are fresh: an old list is not of its keys."""
    other = network_of(COMPLETE, seed=b"another session")
    other.run()
    assert session_id(sent_to(other, 0, Tag.SHARE_LIST)[0]) != SESSION


@pytest.mark.parametrize("received", [0, 1, 2])
def test_row_49_an_abort_mid_phase(received: int) -> None:
    """The client ends and wipes; what it has not said it never says."""
    client = SCRIPT.client(received)
    offer = session_of(COMPLETE).offer("secagg")
    client.receive(SERVER, Abort(AbortReason.CANCELLED).encode(offer))
    assert client.done
    assert client.events() == [Aborted(AbortReason.CANCELLED)]
    assert not set(secrets_of(client))
    for data in SCRIPT.inbox:
        client.receive(SERVER, data)
    assert not client.outgoing()


def test_row_49_early_success() -> None:
    """There is no message for it: an unmask request before its time ends the session."""
    refuses(SCRIPT.client(1), request(EVERYONE), "not expected now")


def test_row_49_an_abort_bound_to_another_offer() -> None:
    refuses(SCRIPT.client(1), Abort(AbortReason.CANCELLED).encode(bytes(32)), "another offer")


def test_an_answered_client_holds_no_secret() -> None:
    client = SCRIPT.client(2)
    client.receive(SERVER, SCRIPT.inbox[2])
    assert isinstance(client.events()[-1], Finished)
    assert not set(secrets_of(client))


@pytest.mark.parametrize(
    ("n", "k", "t", "m", "s"),
    [
        (1, 1, 1, 1, 1),
        (6, 5, 0, 4, 4),
        (6, 5, 7, 6, 6),
        (6, 6, 4, 4, 4),
        (6, 5, 4, 3, 4),
        (6, 5, 4, 4, 3),
        (8, 3, 2, 6, 5),
        (8, 4, 3, 4, 4),
        (6, 5, 4, 7, 4),
    ],
)
def test_row_46_parameters_no_session_can_have(n: int, k: int, t: int, m: int, s: int) -> None:
    with pytest.raises(ParameterError):
        SecAggParams(n, k, t, m, s)


def test_a_lying_server_can_give_two_sessions_one_id() -> None:
    """specs/00 P3 is no promise against it: the root of the key tree is the server's free choice.

    What one session has sealed does not open in the other all the same: its keys are others.
    """
    forged = bytes(32)
    offer = session_of(COMPLETE).offer("secagg")
    session = binding.session_id(offer, 6, [PartyId(i) for i in range(6)], forged)
    answers = []
    for seed in (b"one session", b"another session"):
        draw = counter_randomness(seed)
        client = SECAGG.family.client(
            session_of(COMPLETE), PartyId(0), randomness=draw, expander=add_streams
        )
        client.start()
        pairs = [(KeyPair.from_random(draw(32)), KeyPair.from_random(draw(32))) for _ in range(5)]
        keys = {i: AdvertiseKeys(c.public, s.public) for i, (c, s) in enumerate(pairs, start=1)}
        client.receive(SERVER, KeyList(EVERYONE, forged, keys).encode(session, 6))
        answers.append([m.data for m in client.outgoing()])
    (own, shares), (other_own, other_shares) = answers
    assert Tag(shares[2]) is Tag(other_shares[2]) is Tag.SHARE_KEYS
    assert session_id(shares) == session_id(other_shares) == session
    assert own != other_own and shares != other_shares


def test_sessions_of_an_honest_server_have_ids_of_their_own() -> None:
    """specs/00 P3: its root is over the keys that it was sent, which are new for every session."""
    ids = set()
    for seed in (b"one session", b"another session"):
        network = network_of(COMPLETE, seed=seed).run_until("masked-input")
        ids.add(session_id(sent_to(network, 0, Tag.SHARE_LIST)[0]))
    assert len(ids) == 2


def test_tags_are_all_named() -> None:
    assert set(messages.NAMES) == {int(tag) for tag in Tag}


def _kinds(script: Script, view: frozenset[int]) -> dict[int, str] | None:
    """What this client gives away when it is shown this survivor set; None if it refuses."""
    client = script.client(2)
    held = dict(standing(client).held)
    data = UnmaskRequest(view).encode(session_id(script.inbox[1]), script.params.clients)
    try:
        client.receive(SERVER, data)
    except RemoteProtocolError:
        return None
    shares = messages.UnmaskAnswer.read(Reader(body(client.outgoing()[-1].data)), len(held)).shares
    return {
        dealer: {pair.b_share: "b", pair.s_share: "s"}[share]
        for (dealer, pair), share in zip(sorted(held.items()), shares, strict=True)
    }


@pytest.mark.parametrize(("threshold", "breaks"), [(2, True), (3, False)])
def test_every_split_of_five_clients(threshold: int, breaks: bool) -> None:
    """Threats T3, exhaustively: a server that shows every client a survivor set of its own.

    Each client answers once, so the best it can do for one dealer is to collect b shares from
    some and s shares from the others. 2t > n is what makes both together impossible: at t = 2
    the same search finds the attack.
    """
    params = SecAggParams(5, 4, threshold, 3, 3)
    views = [frozenset(i for i in range(5) if bits >> i & 1) for bits in range(32)]
    possible: dict[int, list[set[str]]] = {dealer: [] for dealer in range(5)}
    for party in range(5):
        script = Script(params, party)
        answers = [kinds for view in views if (kinds := _kinds(script, view)) is not None]
        assert len(answers) == sum(party in v and len(v) >= params.min_survivors for v in views)
        for dealer in range(5):
            possible[dealer].append({kinds[dealer] for kinds in answers})
    for kinds in possible.values():
        splits = itertools.product(*kinds)
        found = any(s.count("b") >= threshold and s.count("s") >= threshold for s in splits)
        assert found == breaks
