"""Servers of a multi-server sum in one loop, over links in memory, with what can go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from secagg.committee import Keys
from secagg.drive.collecting import collect_over
from secagg.drive.member import BatchReport, MemberService
from secagg.drive.reporting import Reporter, ReportOutcome
from secagg.errors import LinkClosed
from secagg.party import Aggregate
from secagg.plans.task import Task
from secagg.rounds.greeting import Met, Script
from secagg.rounds.hellos import as_client
from secagg.store.base import Store
from secagg.store.memory import MemoryStore
from secagg.testing.network import counter_randomness
from secagg.transport import memory
from secagg.transport.base import Link
from secagg.transport.opening import Backoff, Opener
from secagg.types import SERVER, PartyId, Role, server_id
from tests.rounds.several import toy, vector

SOON = 20.0
"""Seconds that no test waits for: a deadline that only ends a test that hangs."""
QUICK = Backoff(0.002, 0.02)


def check(total: Aggregate, whose: Sequence[int]) -> None:
    """The sum over exactly these, in plain integers."""
    assert total.count == len(whose)
    expected = [sum(column) for column in zip(*(vector(w).tolist() for w in whose), strict=True)]
    assert total.levels["update"].tolist() == expected


class Flaky:
    """A link that is gone, at both ends, instead of carrying message `life` of either direction."""

    def __init__(self, link: Link, life: Callable[[], bool]) -> None:
        self._link, self._alive = link, life

    async def send(self, data: bytes) -> None:
        if not self._alive():
            await self._link.close()
            raise LinkClosed("cut")
        await self._link.send(data)

    async def receive(self) -> bytes:
        data = await self._link.receive()
        if not self._alive():
            await self._link.close()
            raise LinkClosed("cut")
        return data

    async def close(self) -> None:
        await self._link.close()


async def greet(link: Link, script: Script) -> Met:
    """Whom this end has met, over a link that no rounds drive. Raises what the script does."""
    try:
        said = next(script)
        while True:
            if said:
                await link.send(said)
            said = script.send(await link.receive())
    except StopIteration as over:
        met: Met = over.value
    if met.say:
        await link.send(met.say)
    return met


Wrap = Callable[[Link], Link]


@dataclass
class Fleet:
    """m services, each of which can be thrown away and made again from its store.

    wrap: around every link that the leader opens to a helper. options: of MemberService.
    """

    clients: int
    servers: int = 2
    direct: bool = False
    batches: int = 1
    dropout: float = 0.5
    stores: list[Store] = field(default_factory=list)
    wrap: Wrap = lambda link: link
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = Keys(self.servers, counter_randomness(b"fleet"))
        agreed = toy(self.clients, self.servers, self.direct, self.dropout)
        self.task = Task(agreed, self.keys.committee)
        self.stores = self.stores or [MemoryStore() for _ in range(self.servers)]
        self.services: dict[int, MemberService] = {}
        self.running: dict[int, asyncio.Task[list[BatchReport]]] = {}
        self.serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Fleet:
        for index in range(self.servers):
            self.start(index)
        return self

    async def __aexit__(self, *_: object) -> None:
        for service in self.services.values():
            service.stop()
        async with asyncio.timeout(SOON):
            await asyncio.gather(*self.running.values(), return_exceptions=True)
            await asyncio.gather(*self.serving)

    def start(self, index: int, **options: Any) -> MemberService:
        peers = {j: self.opener(j, self.wrap) for j in range(1, self.servers)}
        made = MemberService(
            self.task,
            index,
            self.keys.servers[index],
            self.stores[index],
            peers={} if index else peers,
            batches=self.batches,
            backoff=QUICK,
            **{"deadline": SOON, "patience": SOON, **self.options, **options},
        )
        self.services[index] = made
        self.running[index] = asyncio.create_task(made.run())
        return made

    async def crash(self, index: int) -> None:
        """As if the process were gone: no farewell, and nothing that was not stored survives."""
        self.running[index].cancel()
        await asyncio.wait({self.running[index]})
        self.services[index].stop()  # which is for one that had not begun to run
        await self.services[index]._shell.close(0)

    def opener(self, index: int, wrap: Wrap = lambda link: link) -> Opener:
        async def open_link() -> Link:
            ours, theirs = memory.pair()
            serving = asyncio.create_task(self.services[index].on_link(theirs))
            self.serving.add(serving)
            serving.add_done_callback(self.serving.discard)
            return wrap(ours)

        return open_link

    def openers(self, role: Role, wrap: Wrap = lambda link: link) -> dict[PartyId, Opener]:
        reached = self.servers if role is Role.COLLECTOR or self.direct else 1
        return {server_id(j): self.opener(j, wrap) for j in range(reached)}

    async def client_link(self, server: PartyId = SERVER) -> Link:
        """For a client that speaks for itself, after its hello."""
        link = await self.opener(SERVER - server)()
        await greet(link, as_client(self.task))
        return link

    def reporter(self, who: int) -> Reporter:
        return Reporter(self.task, {"update": vector(who)})

    async def report(self, who: int, wrap: Wrap = lambda link: link) -> ReportOutcome:
        links = self.openers(Role.CLIENT, wrap)
        return await self.reporter(who).deliver(links, timeout=SOON, backoff=QUICK)

    async def report_all(self, whose: Sequence[int]) -> None:
        outcomes = await asyncio.gather(*map(self.report, whose))
        assert all(outcome.stored for outcome in outcomes)

    async def collect(
        self, batch: int = 0, wrap: Wrap = lambda link: link, timeout: float = SOON
    ) -> Aggregate:
        return await collect_over(
            self.task,
            self.keys.collector,
            self.openers(Role.COLLECTOR, wrap),
            batch=batch,
            timeout=timeout,
            backoff=QUICK,
        )

    async def ready(self) -> None:
        """The leader has a link to every helper."""
        helpers = {server_id(j) for j in range(1, self.servers)}
        async with asyncio.timeout(SOON):
            while not helpers <= self.services[0]._rounds.linked:
                await asyncio.sleep(0)

    async def ends(self) -> list[list[BatchReport]]:
        async with asyncio.timeout(SOON):
            return await asyncio.gather(*self.running.values())


class Cut:
    """One count over all links: whatever is carried as message `number` is lost with its link."""

    def __init__(self, number: int) -> None:
        self.number, self.carried = number, 0

    def __call__(self) -> bool:
        self.carried += 1
        return self.carried != self.number
