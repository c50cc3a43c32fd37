"""Clients of a service under test: real ones, many in a process, each with an address of its own.

    python -m bench.service_fleet '{"url": ..., "key": ..., "task": ..., "rounds": 1, ...}'

They are `secagg.service.attending.Caller`, as `secagg join --service` has them, with a ledger in
memory, and their sockets are bound to addresses of the loopback network, as a service counts
strangers by address. Orders come as lines of JSON on standard input: {"start": [members],
"over": seconds} and {"stop": [members]}; what happens leaves as lines of JSON on standard output.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from bench.common import Row
from bench.service_ground import HOST, Ground, Tasked, environment, seed
from bench.service_oracle import payload, slots
from secagg.drive import warm
from secagg.drive.participant import Participant
from secagg.effects import Effects, Peer
from secagg.errors import LinkTimeout, SecAggError
from secagg.plans.terms import Terms
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent, Contribution, Offer, Outcome
from secagg.service.attending import Caller
from secagg.service.site import Site
from secagg.store.memory import MemoryLedger
from secagg.transport.door import fastest_loop
from secagg.wire.frame import Message
from secagg.wire.pace import Ready

MASKED = 2
"""Messages of a client in a round before that with its input."""


def address(member: int) -> str:
    """Of the loopback network, that of no other."""
    return f"127.{1 + (member >> 16)}.{member >> 8 & 255}.{member & 255}"


class Seen:
    """A client's rounds (`secagg.rounds.base.Rounds`), watched; and left, where it is to drop."""

    def __init__(
        self, rounds: ClientRounds, greeted: Callable[[], None], drop: Callable[[], None] | None
    ) -> None:
        """drop: called when the input would leave, which it then does not."""
        self._rounds, self._greeted, self._drop = rounds, greeted, drop
        self._said = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rounds, name)

    def joined(self, peer: Peer, now: float) -> None:
        self._greeted()
        self._rounds.joined(peer, now)

    def take(self) -> Effects:
        taken = self._rounds.take()
        if self._drop is None:
            return taken
        kept = []
        for post in taken.posts:
            self._said += isinstance(post.frame, Message)
            if self._said <= MASKED:
                kept.append(post)
        if len(kept) == len(taken.posts):
            return taken
        self._drop()
        return replace(taken, posts=tuple(kept), claims=())


class Deaf:
    """Rounds of a client that says it is ready, and reads nothing from then on."""

    def __init__(self, rounds: Any, stop: Callable[[], None]) -> None:
        self._rounds, self._stop = rounds, stop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rounds, name)

    def take(self) -> Effects:
        taken: Effects = self._rounds.take()
        if any(isinstance(post.frame, Ready) for post in taken.posts):
            self._stop()
        return taken


_ME: ContextVar[_Client | None] = ContextVar("_ME", default=None)


@dataclass
class _Client:
    """opened: when its last connection was begun, in monotonic seconds; first: the first. link:
    that connection."""

    member: int
    job: Row
    tell: Callable[..., None]
    opened: float = 0.0
    first: float = 0.0
    link: Any = None
    _task: asyncio.Task[None] | None = None
    _vanished: bool = False

    async def run(self) -> None:
        _ME.set(self)
        self._task = asyncio.current_task()
        try:
            await self._attend()
        except asyncio.CancelledError:
            if not self._vanished:
                raise
        except SecAggError as error:
            self._tell("error", why=type(error).__name__, text=str(error)[:300])
        finally:
            self._tell("gone")

    async def _attend(self) -> None:
        job = self.job
        terms = Terms.decode(bytes.fromhex(job["terms"]))
        caller = Caller(self._site(terms), seed(self.member), told=self._told)
        drop = self._vanish if self.member in job["leaving"] else None

        def around(rounds: ClientRounds) -> Any:
            made = caller.around(Seen(rounds, self._greeted, drop))  # type: ignore[arg-type]
            return Deaf(made, self._stop_reading) if job["deaf"] else made

        participant = Participant(
            ClientRounds(Consent(terms=terms), returning=True),
            self._input,
            ledger=MemoryLedger(),
            most=job["rounds"],
            heard=self._heard,
            around=around,
        )
        await caller.stay(participant, job["rounds"], timeout=job["timeout"])

    def _site(self, terms: Terms) -> Site:
        job, none = self.job, Path("none")
        authority, name = Path(job["authority"]), f"member-{self.member}"
        key = bytes.fromhex(job["key"])
        return Site(job["url"], HOST, key, authority, name, job["task"], none, none, terms.digest())

    async def _input(self, offer: Offer) -> Contribution:
        job = self.job
        index = self.member - job["first"]
        own = payload(self.member, offer.nonce, job["payload"])
        return Contribution({"slot": slots(index, job["slots"]), "payload": own})

    def _vanish(self) -> None:
        """As a telephone in a tunnel: without a word, and for good."""
        self.link.abort()
        self._vanished = True
        if self._task is not None:
            self._task.cancel()

    def _stop_reading(self) -> None:
        self.link.pause_reading()
        self._tell("deaf")

    def _greeted(self) -> None:
        now = time.monotonic()
        self._tell("greeted", seconds=now - self.opened, since=now - self.first)

    def _told(self, text: str) -> None:
        if text.endswith(": trying again"):
            self._tell("refused", seconds=time.monotonic() - self.opened, text=text[:200])
        elif text.startswith("no place"):
            self._tell("later", text=text)

    def _heard(self, outcome: Outcome) -> None:
        reason = None if outcome.reason is None else outcome.reason.value
        ended: Row = {"reason": reason, "included": outcome.included, "why": outcome.why}
        self._tell("outcome", **ended, contributors=outcome.contributors)

    def _tell(self, kind: str, **what: Any) -> None:
        self.tell(kind=kind, member=self.member, at=time.monotonic(), **what)


def _from_addresses(loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
    """Connections leave from the address of whose they are."""
    connect = loop.create_connection

    async def create_connection(made: Any, host: Any = None, port: Any = None, **more: Any) -> Any:
        if (me := _ME.get()) is None or host is None:
            return await connect(made, host, port, **more)
        me.opened = time.monotonic()
        me.first, more = me.first or me.opened, more | {"local_addr": (address(me.member), 0)}
        me.link, protocol = await connect(made, "127.0.0.1", port, **more)
        return me.link, protocol

    loop.create_connection = create_connection  # type: ignore[method-assign]
    return loop


async def _orders(job: Row) -> None:
    """Until standard input ends."""
    loop, running = asyncio.get_running_loop(), dict[int, asyncio.Task[None]]()
    lines = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print(json.dumps({"kind": "here"}), flush=True)

    def tell(**what: Any) -> None:
        print(json.dumps(what), flush=True)

    async def one(member: int, delay: float) -> None:
        await asyncio.sleep(delay)
        await _Client(member, job, tell).run()

    while order := await lines.readline():
        said = json.loads(order)
        members = said.get("start", [])
        for i, member in enumerate(members):
            wait = said.get("over", 0.0) * i / len(members)
            running[member] = asyncio.create_task(one(member, wait))
        stopped = [running.pop(member) for member in said.get("stop", []) if member in running]
        for task in stopped:
            task.cancel()
        await asyncio.gather(*stopped, return_exceptions=True)
    for task in running.values():
        task.cancel()
    await asyncio.gather(*running.values(), return_exceptions=True)


class Event(NamedTuple):
    """kind: here, greeted, refused, later, outcome, error, gone. at: monotonic seconds, which all
    processes of a machine share."""

    kind: str
    member: int
    at: float
    more: Row


class Fleet:
    """Clients of one task in child processes. events: what they told, in the order of reading."""

    def __init__(self, job: Row, processes: int) -> None:
        self.events: deque[Event] = deque()
        self._news = threading.Condition()
        command = [sys.executable, "-m", "bench.service_fleet"]
        self._children = [
            subprocess.Popen(
                [*command, json.dumps(job)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment(),
                text=True,
            )
            for _ in range(processes)
        ]
        self._readers = [
            threading.Thread(target=self._read, args=(child,), daemon=True)
            for child in self._children
        ]
        for reader in self._readers:
            reader.start()
        self.wait(60.0, lambda: self.count("here") == processes, "the fleet's processes")

    def start(self, members: Sequence[int], over: float = 0.0) -> None:
        """over: seconds in which they come, evenly."""
        self._say("start", members, over=over)

    def stop(self, members: Sequence[int]) -> None:
        """Their links end, in order."""
        self._say("stop", members)

    def of(self, kind: str) -> list[Event]:
        with self._news:
            return [one for one in self.events if one.kind == kind]

    def count(self, kind: str) -> int:
        return len(self.of(kind))

    def wait(self, seconds: float, done: Callable[[], bool], what: str) -> None:
        """Raises LinkTimeout."""
        end = time.monotonic() + seconds
        while not done():
            with self._news:
                self._news.wait(0.25)
            if time.monotonic() > end:
                last = [event for event in self.events if event.kind == "error"][-3:]
                raise LinkTimeout(f"{what}: not within {seconds:g} seconds {last}")

    def cpu(self) -> float:
        """Seconds of all its processes."""
        return sum(map(_cpu, (child.pid for child in self._children)))

    def close(self) -> None:
        for child in self._children:
            if child.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    child.stdin.close()
        for child in self._children:
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        for child, reader in zip(self._children, self._readers, strict=True):
            reader.join()
            if child.stdout is not None:
                child.stdout.close()

    def _say(self, what: str, members: Sequence[int], **more: Any) -> None:
        """A member is always of the same process."""
        number = len(self._children)
        for i, child in enumerate(self._children):
            own = [member for member in members if member % number == i]
            if own and child.stdin is not None:
                child.stdin.write(json.dumps({what: own, **more}) + "\n")
                child.stdin.flush()

    def _read(self, child: subprocess.Popen[str]) -> None:
        if child.stdout is None:
            return
        for line in child.stdout:
            said = json.loads(line)
            event = Event(said.pop("kind"), said.pop("member", -1), said.pop("at", 0.0), said)
            with self._news:
                self.events.append(event)
                self._news.notify_all()


def _cpu(process: int) -> float:
    words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / 100


@contextmanager
def fleet(
    ground: Ground,
    task: Tasked,
    *,
    rounds: int = 1,
    processes: int = 2,
    port: int = 0,
    leaving: Sequence[int] = (),
    deaf: bool = False,
    timeout: float = 60.0,
) -> Iterator[Fleet]:
    """rounds: after which each of them has enough. leaving: members that are gone after they have
    shared their keys. deaf: they read nothing more once they have said that they are
    ready. port: of what stands before the service. timeout: seconds for which it may
    be away."""
    job = ground.site(task, port) | {"rounds": rounds, "leaving": list(leaving)}
    made = Fleet(job | {"deaf": deaf, "timeout": timeout}, processes)
    try:
        yield made
    finally:
        made.close()


def main(job: Row) -> None:
    logging.disable(logging.WARNING)
    warm.up()
    loop = (fastest_loop() or asyncio.new_event_loop)()
    with asyncio.Runner(loop_factory=lambda: _from_addresses(loop)) as runner:
        runner.run(_orders(job))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
