"""What a newcomer costs: counted in steps of the interpreter, with few links and with ten times as
many. Whatever looks at every link takes ten times the steps."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.effects import Peer
from secagg.rounds.base import Outbox
from secagg.rounds.clients import LOOK, Clients
from secagg.rounds.crowd import Crowd
from secagg.rounds.doors import LONGEST
from secagg.rounds.greeting import Greeted
from secagg.rounds.places import Places
from secagg.rounds.quota import Limits, most_crowding
from secagg.rounds.server import ServerRounds
from tests.rounds.world import World, toy

FEW, MANY, NEW = 60, 600, 20


def steps(call: Callable[[], object]) -> int:
    """Instructions of this package that are run by it."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if "secagg" not in frame.f_code.co_filename:
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def everybody(count: int, prefix: str = "old", **more: Any) -> list[Peer]:
    """By hundreds of one address, as behind a proxy."""
    return [Peer(f"{prefix} {i}", address=f"{i // 100}", **more) for i in range(count)]


def alone(links: int) -> Callable[[], object]:
    """At its limit: strangers, each of which pushes another one out."""
    server = ServerRounds(Limits(links=links))
    for peer in everybody(links):
        server.joined(peer, 0.0)
    newcomers = everybody(NEW, "new")

    def come() -> None:
        for peer in newcomers:
            server.joined(peer, 1.0)
            server.take()

    return come


def turned_away(links: int) -> Callable[[], object]:
    """At its limit, with nobody to make room, and one address at its own."""
    server = ServerRounds(Limits(links=links, links_address=links // 2))
    for i in range(links):
        server.joined(Peer(f"{i}", b"%d" % i, address=f"{i % 2}"), 0.0)

    def come() -> None:
        for peer in everybody(NEW, "new"):
            server.joined(peer, 1.0)
            server.joined(Peer("nowhere"), 1.0)
            assert len(server.take().let_go) in (1, 2)

    return come


def proved(links: int) -> Callable[[], object]:
    """Identities: new ones, and some that were there."""
    server = ServerRounds(Limits(links=2 * links))
    for i in range(links):
        server.joined(Peer(f"{i}", b"%d" % i), 0.0)

    def come() -> None:
        for i in range(NEW):
            server.joined(Peer(f"again {i}", b"%d" % i), 1.0)
            server.joined(Peer(f"new {i}", b"new %d" % i), 1.0)
            server.take()
            assert server.connected == links + i + 1

    return come


def returned(links: int) -> Callable[[], object]:
    """To a round of many, of which each newcomer is none."""
    world = World(limits=Limits(links=2 * links))
    for i in range(links):
        world.server.joined(Peer(f"{i}", b"%d" % i), world.now)
    world.open(toy(links))

    def come() -> None:
        for i in range(NEW):
            world.server.joined(Peer(f"new {i}", b"new %d" % i), world.now)

    return come


def of_several(links: int) -> Callable[[], object]:
    """Each pushes out one that waits for nothing, found by one look."""
    outbox = Outbox()
    clients = Clients(Limits(links=links), outbox, "")
    for peer in everybody(links):
        assert clients.admit(peer, 0.0, list) is None
    first = clients.admit(Peer("first"), LONGEST, list)
    assert first is not None
    clients.forget(first)

    def come() -> None:
        for peer in everybody(NEW, "new"):
            gone = clients.admit(peer, LONGEST + LOOK, list)
            assert gone is not None
            clients.forget(gone)

    return come


def nobody_yet(links: int) -> Callable[[], object]:
    """Links that have not greeted: each newcomer pushes one out, and time goes by."""
    greeted = Greeted(ServerRounds(), silent, most=links)
    for peer in everybody(links):
        greeted.joined(peer, 0.0)

    def come() -> None:
        for peer in everybody(NEW, "new"):
            greeted.joined(peer, 1.0)
            greeted.tick(1.0)
            assert len(greeted.take().let_go) == 1

    greeted.take()
    return come


def silent(_: Peer) -> Any:
    yield b""


def waiting(links: int) -> Callable[[], object]:
    """Reports that wait for the next batch, whose clients leave."""
    places = Places(1, counts=True, room=links)
    peers = everybody(links)
    for peer in peers:
        assert places.hold(peer, b"")

    def leave() -> None:
        for peer in peers[-NEW:]:
            places.left(peer)
        assert len(places.gone) == NEW

    return leave


@pytest.mark.parametrize(
    "made", [alone, turned_away, proved, returned, of_several, nobody_yet, waiting]
)
def test_a_newcomer_costs_no_more_where_there_are_many(
    made: Callable[[int], Callable[[], object]],
) -> None:
    few, many = steps(made(FEW)), steps(made(MANY))
    assert 0 < many < 2 * few


@given(st.lists(st.tuples(st.integers(0, 11), st.booleans()), max_size=80))
def test_who_makes_room_is_who_would_be_found_by_looking(moves: list[tuple[int, bool]]) -> None:
    """Peers come and go in any order, and come again with the place that they had."""
    peers = [Peer(f"{i}", address="abc"[i % 3] if i % 4 else None) for i in range(12)]
    crowd, here = Crowd(), set[int]()
    for i, comes in moves:
        if comes:
            crowd.add(peers[i], i)
            here.add(i)
        else:
            crowd.discard(peers[i])
            here.discard(i)
        strangers = {peers[i]: peers[i].address for i in sorted(here)}
        assert crowd.first == (most_crowding(strangers) if strangers else None)
        assert len(crowd) == len(here)


def test_what_is_forgotten_is_not_kept() -> None:
    """One that comes and goes for ever costs no more room than one that came once."""
    crowd = Crowd()
    crowd.add(Peer("stays"), 0)
    for _ in range(1000):
        crowd.add(Peer("goes"), 1)
        crowd.discard(Peer("goes"))
    kept = [len(heap._heap) for heap in (crowd._ranks, *crowd._addresses.values())]
    assert max(kept) < 20
