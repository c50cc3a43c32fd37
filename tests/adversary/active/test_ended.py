"""Rule S10, V9 (T21, row 49): what a machine of active mode holds when it has ended, and what
it shows of secrets while it runs: nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from secagg.errors import Aborted, PolicyRefused, RemoteProtocolError
from secagg.testing import Act, Network, Schedule
from secagg.types import SERVER, AbortReason, PartyId
from secagg_protocols.secagg import keys
from secagg_protocols.secagg.active.messages import Abort
from secagg_protocols.secagg.active.states import PHASES
from secagg_protocols.secagg.messages import Tag
from tests.active import SERVER_SEED, Cast, seed_of
from tests.adversary.active.liars import (
    DOWN,
    Lie,
    Script,
    altered,
    faults,
    flipped,
    lying,
    script,
)
from tests.adversary.active.members import answer, shares_of
from tests.adversary.test_lifetime import Seen, drained, found, lanes
from tests.adversary.test_secrets import _spellings
from tests.networks import LAYOUT, standing

NAMES = [phase.name for phase in PHASES]


class Of(Seen):
    """The same of active mode, whose states hold those of suite 1."""

    def look(self, network: Network) -> None:
        for client in network.clients.values():
            self.look_at(client)
        server: Any = network.server
        if server.contributors and not server.done:
            stage = server._stage
            held = stage._masked if hasattr(stage, "_masked") else stage.fixed
            self.sums |= lanes(held.total)

    def look_at(self, client: Any) -> None:
        for now in (standing(client), *_inner(standing(client))):
            own = getattr(now, "keys", now)
            self.keys |= {p.secret.expose() for n in "cs" if (p := getattr(own, n, None))}
            if hasattr(now, "b"):
                self.seeds.add(now.b.expose())
                where, segments = now.place, len(LAYOUT.segments)
                self.masks |= {*keys.self_keys(now.b, where.session, where.index, segments)}
            self.keys |= {seed.expose() for seed in getattr(now, "sealing", {}).values()}
            for pair in getattr(now, "held", {}).values():
                self.shares |= {bytes(pair.b_share), bytes(pair.s_share)}
        self.inputs |= lanes(client._vector or ())


def _inner(now: Any) -> Iterator[Any]:
    for name in ("dealt", "opened", "masked"):
        if hasattr(now, name):
            yield getattr(now, name)


def run_to(network: Network, phase: str) -> Of:
    seen = Of()
    network.start()
    seen.look(network)
    while network.server.phase != phase:
        network.step()
        seen.look(network)
    return seen


def test_a_client_holds_in_each_state_what_it_still_needs() -> None:
    """T24: the keys of the session are gone with the state that needs them."""
    s, seen = script(), Of()
    for received, (keeps, gone) in enumerate(
        [
            (("keys", "inputs"), ()),
            (("keys", "seeds", "inputs"), ()),
            (("shares",), ("keys", "seeds", "inputs", "masks")),
            (("shares",), ("keys", "seeds", "inputs", "masks")),
        ]
    ):
        client: Any = s.client(1, received)
        now = Of()
        now.look_at(client)
        for name in keeps:
            assert found(client, getattr(now, name)), (received, name)
        seen.keys |= now.keys
        seen.seeds |= now.seeds
        seen.inputs |= now.inputs
        seen.masks |= now.masks
        seen.shares |= now.shares
        for name in gone:
            assert not found(client, getattr(seen, name)), (received, name)
    client = s.client(1, 4)
    client.acknowledged()
    assert not found(client, seen.all)


ENDS: dict[str, Callable[[Any], None]] = {
    "it aborts": lambda client: client.abort(AbortReason.CANCELLED),
    "its link is lost": lambda client: client.lost(SERVER),
    "the server aborts": lambda client: client.receive(
        SERVER, Abort(AbortReason.CANCELLED).encode(client._terms.offer)
    ),
    "it refuses junk": lambda client: _refusing(client, b"junk"),
    "it refuses a message of another session": lambda client: _refusing(
        client, script().shows({0, 1, 2})
    ),
}


def _refusing(client: Any, data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        client.receive(SERVER, data)


@pytest.mark.parametrize("received", range(4))
@pytest.mark.parametrize("end", ENDS)
def test_a_client_that_ended_holds_nothing(end: str, received: int) -> None:
    """No key, seed, share or input. The seed of its identity is not the session's."""
    client, seen = script().client(1, received), Of()
    seen.look_at(client)
    ENDS[end](client)
    client.outgoing(), client.events()
    assert client.done and not found(client, seen.all)


@pytest.mark.parametrize("end", ["the server aborts", "it refuses junk"])
def test_a_client_that_ended_after_its_answer_holds_no_share(end: str) -> None:
    """Until then it keeps what it has said, to say it again."""
    s, seen = script(), Of()
    seen.look_at(s.client(1, 3))
    client = s.client(1, 4)
    assert found(client, seen.shares)
    ENDS[end](client)
    client.outgoing(), client.events()
    assert not found(client, seen.shares)


@pytest.mark.parametrize("received", range(4))
def test_what_a_client_refuses_with_holds_nothing(received: int) -> None:
    """Neither the error nor what it came from keeps a frame that knew a secret."""
    s, seen = script(), Of()
    client: Any = s.client(1, received)
    seen.look_at(client)
    data = flipped(s.sent(DOWN[received], to=s.cohort.ids[1]), -1)
    with pytest.raises(RemoteProtocolError) as caught:
        client.receive(SERVER, data)
    assert caught.value.__traceback__ and not found(caught.value.__cause__, seen.all)
    client.outgoing(), client.events()
    assert not found(client, seen.all)


def test_what_a_policy_refuses_with_holds_nothing() -> None:
    s, seen = script(), Of()

    def judge(survivors: frozenset[PartyId]) -> None:
        raise PolicyRefused("no")

    client: Any = s.client(1, 2, judge=judge)
    seen.look_at(client)
    with pytest.raises(PolicyRefused) as caught:
        client.receive(SERVER, s.sent(9, to=s.cohort.ids[1]))
    client.outgoing(), client.events()
    assert not found(client, seen.all) and not found(caught.value.__cause__ or (), seen.all)


@pytest.mark.parametrize("phase", NAMES)
def test_a_server_that_aborts_holds_nothing(phase: str) -> None:
    network = Cast().network()
    seen = run_to(network, phase)
    for party in network.clients:
        if party < 4:
            network.repeat(party)
    seen.look(network)
    network.server.abort(AbortReason.CANCELLED)
    drained(network)
    assert not found(network.server, seen.all)


def test_a_server_that_finished_holds_the_sum_alone() -> None:
    network = Cast().network(Schedule({("masked-input", PartyId(4)): Act.GONE}))
    seen = run_to(network, "unmask")
    total = network.run()
    drained(network)
    assert found(network.server, lanes(total.vector)) == lanes(total.vector)
    assert not found(network.server, seen.all - lanes(total.vector))


@pytest.mark.parametrize("liars", [1, 3])
def test_what_is_written_down_of_a_session_holds_nothing(liars: int) -> None:
    """T23: no vector, share, seed or salt is in a transcript, nor in the proof of a wrong share,
    but for the digests that show it."""
    wrong: Lie = lambda m, data: answer(m, [flipped(one, 7) for one in shares_of(data)])  # noqa: E731
    network = lying(Cast(), {(place, Tag.UNMASK_ANSWER): wrong for place in range(liars)})
    seen = run_to(network, "unmask")
    try:
        network.run()
    except Aborted:
        assert liars == 3
    server: Any = network.server
    written, proofs = b"".join(server.transcript()), server.evidence()
    assert len(proofs) == liars and len(faults(network)) == liars
    for secret in seen.all:
        assert secret not in written and not any(secret in proof for proof in proofs)


@pytest.mark.parametrize("lies", [False, True])
def test_nothing_secret_is_shown_during_a_run(lies: bool) -> None:
    """T21: in no repr, event or error."""
    wrong: Lie = lambda m, data: answer(m, [flipped(one, 7) for one in shares_of(data)])  # noqa: E731
    schedule = Schedule({("masked-input", PartyId(4)): Act.GONE})
    network = lying(Cast(), {(0, Tag.UNMASK_ANSWER): wrong} if lies else {}, schedule)
    seen, texts = Of(), [""]
    network.start()
    while not network.over:
        seen.look(network)
        texts += [repr(one) for one in _shown(network)]
        network.step()
    texts += [repr(one) for one in _shown(network)]
    own = {SERVER_SEED.expose(), *(seed_of(place).expose() for place in range(6))}
    secrets = {one for one in seen.all | own if len(one) >= 24}
    everything = "\n".join(texts)
    assert len(secrets) > 60 and len(everything) > 10_000
    for secret in secrets:
        assert not any(spelling in everything for spelling in _spellings(secret))


def _shown(network: Network) -> Iterator[object]:
    server: Any = network.server
    yield from (server, server._stage, *network.sent, *network.events)
    yield from network.refusals.values()
    for client in network.clients.values():
        yield client
        for name in ("_now", "_terms", "_memo", "_heard", "_signing"):
            yield getattr(client, name)
    for name in ("cohort", "fixed", "_deliveries", "_masked", "_given", "_request", "_answered"):
        yield getattr(server._stage, name, None)


def test_what_refuses_says_no_bytes() -> None:
    """Whatever byte of a message is another, it is refused (T1, T6); and the text of that has no
    piece of what was refused, nor of a key or signature in it."""
    s = script()
    for received, tag in enumerate(DOWN):
        data = s.sent(tag, to=s.cohort.ids[1])
        for at in range(0, len(data), max(1, len(data) // 23)):
            client = s.client(1, received)
            lie = flipped(data, at, 3)
            with pytest.raises(RemoteProtocolError) as caught:
                client.receive(SERVER, lie)
            texts = f"{caught.value} {caught.value.__cause__} {client.events()}"
            pieces = [lie[i : i + 8] for i in range(0, len(lie) - 8, 8) if any(lie[i : i + 8])]
            assert not any(one.hex() in texts or repr(one)[2:-1] in texts for one in pieces)


def test_an_identity_that_leaks_later_opens_no_earlier_session() -> None:
    """T24: with the seeds of all members and of the server, and all that was ever sent, there is
    nothing that a share was sealed under: those keys were of the session, and are gone."""
    s: Script = script()
    assert altered and all(seed_of(place).expose() for place in range(6))
    for index in range(6):
        client: Any = s.client(index, 1)
        held = Of()
        held.look_at(client)
        derived = {seed_of(p).expose() for p in range(6)} | {SERVER_SEED.expose()}
        assert not held.keys & derived and not held.seeds & derived
