"""An epoch driven by hand: its servers, clients and a collector, on a clock that is a number.

What a driver would do with effects happens here at once and in the order that it must have. Peers
are as a greeting leaves them, so no test says hello.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from secagg.effects import Effects, Peer
from secagg.party import Aggregate
from secagg.plans.task import Task
from secagg.rounds.batches import Epoch
from secagg.rounds.collect import CollectRounds
from secagg.rounds.greeting import callees
from secagg.rounds.lingering import Terms
from secagg.rounds.member import MemberRounds
from secagg.rounds.report import ReportRounds
from secagg.types import Role, server_id
from secagg.wire.frame import Message, Over
from tests.rounds.several import KEYS, toy, vector
from tests.rounds.world import commit

KEY = KEYS.committee.collector


def met(server: int, at: int) -> Peer:
    """As server `at` knows another."""
    return Peer(f"server {server} at {at}", KEYS.committee.servers[server].signing, Role.SERVER)


def client(who: object) -> Peer:
    return Peer(f"client {who}")


def collector(who: object = "") -> Peer:
    return Peer(f"collector {who}", KEY, Role.COLLECTOR)


Wire = tuple[int, Peer]


@dataclass
class World:
    """Three servers. far: what hears the frames that a server posts to a peer; a peer without an
    entry has its frames kept in `heard`. unread: peers whose frames never leave."""

    clients: int = 3
    direct: bool = False
    batches: int = 1
    dropout: float = 0.5
    terms: Terms = field(default_factory=Terms)
    epoch: Callable[..., Epoch] = Epoch
    now: float = 0.0

    def __post_init__(self) -> None:
        self.task = Task(toy(self.clients, 3, self.direct, self.dropout), KEYS.committee)
        self.stores: list[dict[bytes, bytes]] = [{}, {}, {}]
        self.far: dict[Wire, Callable[[bytes], None]] = {}
        self.heard: dict[Wire, list[bytes]] = {}
        self.let_go: list[Wire] = []
        self.unread: set[Peer] = set()
        self.away: set[int] = set()
        self.work: list[tuple[int, Any]] = []
        self.commits: list[int] = []
        self.servers: list[MemberRounds] = [self.made(index) for index in range(3)]

    def made(self, index: int, terms: Terms | None = None, **options: Any) -> MemberRounds:
        epoch = self.epoch(self.task, index, KEYS.servers[index], self.batches)
        made = MemberRounds(epoch, terms or self.terms, self.now, **options)
        made.restore(list(self.stores[index].items()), self.now)
        return made

    def restart(self, index: int, terms: Terms | None = None) -> None:
        """From its rows; every link of it is gone."""
        for wire in [wire for wire in self.far if wire[0] == index]:
            del self.far[wire]
        for other in range(3):
            if other != index and (other, met(index, other)) in self.far:
                del self.far[other, met(index, other)]
                self.servers[other].left(met(index, other), self.now)
        self.servers[index] = self.made(index, terms)
        self.away.discard(index)

    # Links

    def link(self, a: int = 0, b: int | None = None) -> World:
        """Leader and helper, or leader and every helper."""
        for j in (1, 2) if b is None else (b,):
            self.far[a, met(j, a)] = self._to(j, met(a, j))
            self.far[j, met(a, j)] = self._to(a, met(j, a))
            self.servers[a].joined(met(j, a), self.now)
            self.servers[j].joined(met(a, j), self.now)
        return self.settle()

    def cut(self, a: int, b: int) -> None:
        for one, other in ((a, b), (b, a)):
            self.far.pop((one, met(other, one)), None)
            self.servers[one].left(met(other, one), self.now)
        self.settle()

    def _to(self, index: int, peer: Peer) -> Callable[[bytes], None]:
        return lambda frame: self.servers[index].received(peer, frame, self.now)

    def join(self, index: int, peer: Peer) -> None:
        self.servers[index].joined(peer, self.now)
        self.settle()

    def say(self, index: int, peer: Peer, frame: bytes) -> list[bytes]:
        """What that server then says to the peer."""
        before = len(self.heard.setdefault((index, peer), []))
        self.servers[index].received(peer, frame, self.now)
        self.settle()
        return self.heard[index, peer][before:]

    # Time and effects

    def at(self, now: float) -> World:
        self.now = now
        for server in self.servers:
            server.tick(now)
        return self.settle()

    def settle(self) -> World:
        moved = True
        while moved:
            moved = False
            for index in range(3):
                if index not in self.away:
                    moved |= self.act(index, self.servers[index].take())
        return self

    def act(self, index: int, effects: Effects) -> bool:
        commit(self.stores[index], effects.writes)
        if effects.writes:
            self.commits.append(index)
        server = self.servers[index]
        for post in effects.posts:
            frame = post.frame.encode()
            if post.peer in self.unread:
                continue
            server.flushed(post.peer, len(frame), self.now)
            far = self.far.get((index, post.peer))
            if far is not None:
                far(frame)
            elif post.peer.role is not Role.SERVER:
                self.heard.setdefault((index, post.peer), []).append(frame)
        for peer in effects.let_go:
            self.let_go.append((index, peer))
            server.left(peer, self.now)
        self.work += [(index, work) for work in effects.work]
        return bool(effects.posts or effects.let_go)

    # Reports and sums

    def report(self, who: int) -> dict[int, bytes]:
        """The frames of a report, by server."""
        report = ReportRounds(self.task, {"update": vector(who)})
        frames = {}
        for peer, party in callees(self.task).items():
            report.joined(peer, 0.0)
            for post in report.take().posts:
                frames[server_id(0) - party] = post.frame.encode()
        return frames

    def send(self, who: int, frames: dict[int, bytes] | None = None) -> dict[int, list[bytes]]:
        """A client comes, reports and stays; the answers, by server."""
        answers = {}
        for index, frame in (frames or self.report(who)).items():
            peer = client(who)
            if peer not in self.servers[index]._clients:
                self.join(index, peer)
            answers[index] = self.say(index, peer, frame)
        return answers

    def send_all(self, whose: Iterable[int]) -> World:
        for who in whose:
            self.send(who)
        return self

    def collect(self, batch: int = 0, who: object = "", thank: bool = True) -> Aggregate:
        """Raises what the collector does, whose patience is over at once."""
        one = CollectRounds(self.task, KEYS.collector, batch=batch, seconds=1.0, now=self.now)
        names = {peer: server_id(0) - party for peer, party in callees(self.task).items()}
        for peer, index in names.items():
            mine = collector(who)
            self.far[index, mine] = lambda frame, peer=peer: one.received(peer, frame, self.now)  # type: ignore[misc]
            self.servers[index].joined(mine, self.now)
            one.joined(peer, self.now)
        self._carry(one, names, collector(who))
        if not one.done:
            one.tick(self.now + 1.0)
        total = one.aggregate()
        if thank:
            one.thank(total, self.now)
            self._carry(one, names, collector(who))
            assert one.parted
        for index in names.values():
            del self.far[index, collector(who)]
            self.servers[index].left(collector(who), self.now)
        return total

    def _carry(self, one: CollectRounds, names: dict[Peer, int], mine: Peer) -> None:
        for post in one.take().posts:
            index = names[post.peer]
            if index not in self.away:
                self.servers[index].received(mine, post.frame.encode(), self.now)
        self.settle()

    def check(self, total: Aggregate, whose: Sequence[int]) -> None:
        assert total.count == len(whose)
        assert total.levels["update"].tolist() == sum(vector(who) for who in whose).tolist()

    def message(self, data: bytes, batch: int | None = None) -> bytes:
        return Message(self.task.nonce(batch), data).encode()

    def thanks(self, batch: int = 0) -> bytes:
        return Over(self.task.nonce(batch), None, 3, 0).encode()

    def with_terms(self, **changed: Any) -> Terms:
        return replace(self.terms, **changed)
