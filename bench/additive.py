"""Additive sums over several servers: what does a report cost them, against no secrecy at all?

A batch of n reports of d elements, 16 bits fixed point, in relay mode, really runs here: every
client is made, quantises, shares, seals and hears its receipt; the leader takes reports in groups
of `group`, the messages between the servers are carried, the set is signed and locked, and the
collector adds the totals. The clients' levels are drawn as integers, and their plain sum must be
the result, or the row is an error. Inputs and reports are made group by group.

Counted of a server, CPU seconds of one thread over the number of reports: parsing, hashing,
opening, expanding, adding; the rows that it stores and their commit; the verdicts and decisions;
and the end of the batch, signatures and sealed total included. Not counted, on either side:
sockets, frames, TLS, the drawing of inputs. Each turn of a server commits once, and only then its
answers leave: two commits a group, whatever its size. In `sqlite` a commit ends in one sync of the
file, which lies in the folder of temporary files ($TMPDIR): CPU seconds have SQLite's work in them,
and wall seconds the disk's too.

The reference is a server that hides nothing from itself: one vector a report, of the same layout,
under AES-256-GCM with a key that it has; SHA-256 of what came, decryption, check of the padding,
and the addition while unpacking. It runs on the same vectors, in buffers as fresh as those of the
reports, group by group in turn with them; it has no key agreement, no rows and no other servers.

upload  bytes that a client sends / its packed vector. The bar is upload_bar of the row, 1.01
        packed vectors and 100 bytes a server; upload_met says whether all that is sent fits.
server  CPU seconds of a report, the mean over the servers / the reference, in memory.

Both are of the largest batch with 3 servers and d = 100,000. Rows have the same figures as
upload_ratio and server_ratio; those of `sqlite` have no bar.
"""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.common import Missing, Ratio, Row, Selection, main, progress
from secagg import records
from secagg.cli.simulate import warm_up
from secagg.committee import Keys
from secagg.drive.pump import Said
from secagg.effects import MACHINE
from secagg.errors import IntegrityError, ParameterError
from secagg.fields import FixedPoint
from secagg.layout import Layout, RingVector
from secagg.mask import add_streams
from secagg.party import Aggregate, Client, Collector
from secagg.plans import choose
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.protocol import OneServer, SeveralServers
from secagg.sansio import MemberMachine, Outgoing
from secagg.sim.footprint import peak_rss
from secagg.sim.metered import Meter
from secagg.store.base import Store
from secagg.store.memory import MemoryStore
from secagg.store.space import Space
from secagg.store.sqlite import SqliteStore
from secagg.types import COLLECTOR, SERVER, PartyId, server_id
from secagg.wire.codec import Reader, Writer
from secagg.wire.vector import read_vector, write_vector

NAME = "additive"

BITS = 16
FIELD = "update"
CASE = {"d": 100_000, "servers": 3, "store": "memory"}
GRID = [
    {"n": 10_000, "d": 100_000, "servers": 3, "store": store, "group": 64}
    for store in ("memory", "sqlite")
] + [
    {"n": 256, "d": d, "servers": servers, "store": "memory", "group": 64}
    for d in (10_000, 100_000, 1_000_000)
    for servers in (2, 3, 5)
]
"""group: reports that are stored by one commit."""


def rows(selection: Selection) -> Iterator[Row]:
    """Each in a process of its own, so that peak_rss is that of its batch."""
    context = multiprocessing.get_context("spawn")
    for case in selection.cases(GRID):
        with ProcessPoolExecutor(1, mp_context=context) as process:
            yield case | process.submit(_row, case).result()


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    fitting = [row for row in rows if CASE.items() <= row.items()]
    if not fitting:
        absent = Missing("needs a row " + ",".join(f"{k}={v}" for k, v in CASE.items()))
        return {"upload": absent, "server": absent}
    largest = max(fitting, key=lambda row: row["n"])
    return {"upload": largest["upload_ratio"], "server": largest["server_ratio"]}


def _row(case: Row) -> Row:
    n, d, servers = case["n"], case["d"], case["servers"]
    fields = {FIELD: FixedPoint(d, 1.0, BITS)}
    plan = choose.plan(clients=n, fields=fields, protocol=NAME, servers=servers)
    keys = Keys(servers, os.urandom)
    warm_up(plan)
    with ExitStack() as stack, progress(f"n = {n}, d = {d:,}, m = {servers}") as tell:
        stores = _stores(case["store"], servers, stack)
        batch = _Batch(Task(plan, keys.committee), keys, stores)
        for first in range(0, n, case["group"]):
            batch.take(range(first, min(first + case["group"], n)))
            tell("reports", min(first + case["group"], n), n)
        return _figures(plan, batch, batch.collect(keys))


def _stores(kind: str, servers: int, stack: ExitStack) -> list[Store]:
    if kind == "memory":
        return [stack.enter_context(MemoryStore()) for _ in range(servers)]
    if kind != "sqlite":
        raise ParameterError(f"store is memory or sqlite, not {kind!r}")
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    return [
        stack.enter_context(SqliteStore.open(folder / f"{i}.db", owner=bytes([i])))
        for i in range(servers)
    ]


class _Server:
    """One server as its driver runs it: what came, one commit, and only then the answers."""

    def __init__(
        self, me: PartyId, machine: MemberMachine, store: Store, meter: Meter, name: str
    ) -> None:
        self.machine, self.commits, self.waits = machine, 0, True
        self._me = me
        self._rows, self._meter, self._name = Space(store, bytes(16), MACHINE), meter, name

    def start(self) -> list[Said]:
        with self._meter.running(lambda: self._name):
            self.machine.start()
            return self._answers()

    def turn(self, messages: Sequence[tuple[PartyId, bytes]]) -> list[Said]:
        with self._meter.running(lambda: self._name):
            for sender, data in messages:
                self.machine.receive(sender, data)
            return self._answers()

    def close(self) -> list[Said]:
        with self._meter.running(lambda: self._name):
            self.machine.close_phase()
            return self._answers()

    def _answers(self) -> list[Said]:
        writes = self.machine.writes()
        if writes:
            self._rows.commit(writes)
            self.commits += 1
        self.machine.events()
        self.waits = bool(self.machine.waiting_for)  # drivers ask between turns
        return [(self._me, message) for message in self.machine.outgoing()]


class _Batch:
    """The parties of one batch, their meters, and the sum in the clear."""

    def __init__(self, task: Task, keys: Keys, stores: Sequence[Store]) -> None:
        self.meter = Meter()
        self.upload = 0
        self._task, self._plan = task, task.plan
        self._levels: npt.NDArray[np.int64] = np.zeros(_field(self._plan).length, np.int64)
        self._reference = _Reference(self._plan.layout)
        match self._plan.info.family:
            case SeveralServers(member=member):
                pass
            case OneServer():
                raise ParameterError(f"{self._plan.protocol} has one server")
        self.servers = {
            server_id(i): _Server(
                server_id(i),
                member(task.batch(), i, secrets, expander=add_streams),
                stores[i],
                self.meter,
                f"server {i}",
            )
            for i, secrets in enumerate(keys.servers)
        }
        for server in self.servers.values():
            self._carry(server.start())

    def take(self, members: range) -> None:
        """A group of clients, to their receipts; then the reference on the same vectors."""
        clients, plain = {}, []
        reports: list[tuple[PartyId, bytes]] = []
        for me in map(PartyId, members):
            clients[me], vector, sent = self._report(me)
            reports += [(me, message.data) for message in sent]
            self.upload = max(self.upload, sum(len(message.data) for message in sent))
            plain.append(self._reference.seal(vector))
        for sender, receipt in self._carry(self.servers[SERVER].turn(reports)):
            with self.meter.running(lambda: "client"):
                clients[receipt.to].receive(sender, receipt.data)
        if not all(client.done for client in clients.values()):
            raise IntegrityError("a client has no receipt: no figure counts")
        with self.meter.running(lambda: "reference"):
            self._reference.add(plain)

    def collect(self, keys: Keys) -> Aggregate:
        """Closes the batch, and raises IntegrityError unless it is the sum of the integers."""
        leader = self.servers[SERVER]
        if leader.waits:
            raise IntegrityError("the leader waits although everybody has reported")
        self._carry(leader.close())
        with self.meter.running(lambda: "collector"):
            collector = Collector(
                self._plan,
                payload_digest=self._task.payload_digest,
                committee=keys.committee,
                secret=keys.collector,
            )
            collector.start()
            asked = [(COLLECTOR, message) for message in collector.outgoing()]
        totals = self._carry(asked)
        with self.meter.running(lambda: "collector"):
            for sender, total in totals:
                collector.receive(sender, total.data)
            result = collector.aggregate()
        self._check(result, collector.result().vector)
        return result

    def _report(self, me: PartyId) -> tuple[Client, RingVector, list[Outgoing]]:
        field = _field(self._plan)
        levels = np.random.default_rng(me).integers(
            -field.levels, field.levels, field.length, endpoint=True
        )
        values = levels * field.step
        self._levels += levels
        with self.meter.running(lambda: "client"):
            client = Client(
                self._plan,
                me,
                nonce=self._task.nonce(),
                payload_digest=self._task.payload_digest,
                committee=self._task.committee,
            )
            client.start()
            # as Client.set_input; the reference needs the vector
            vector = records.encode(self._plan.schema, {FIELD: values}, 1, os.urandom).vector
            client.machine.set_input(vector, self._task.payload_digest)
            return client, vector, client.outgoing()

    def _carry(self, said: list[Said]) -> list[Said]:
        """Until the servers are quiet: what they say to clients and to the collector."""
        outside = [one for one in said if one[1].to not in self.servers]
        while any(message.to in self.servers for _, message in said):
            arrived: dict[PartyId, list[tuple[PartyId, bytes]]] = {p: [] for p in self.servers}
            for sender, message in said:
                if message.to in self.servers:
                    arrived[message.to].append((sender, message.data))
            turns = (self.servers[p].turn(messages) for p, messages in arrived.items() if messages)
            said = [one for turn in turns for one in turn]
            outside += [one for one in said if one[1].to not in self.servers]
        return outside

    def _check(self, result: Aggregate, vector: RingVector) -> None:
        n = self._plan.threat.clients
        exact = np.array_equal(result.levels[FIELD], self._levels)
        if result.count != n or not exact or not self._reference.equals(vector):
            raise IntegrityError(
                f"{result.count} of {n} reports: their sum is not that of the integers: "
                "no figure counts"
            )


class _Reference:
    """One server in the clear, which opens what it adds. AES-256-GCM, one key, nonces counted."""

    def __init__(self, layout: Layout) -> None:
        self._layout, self._sum = layout, layout.zeros()
        self._aead = AESGCM(os.urandom(32))
        self._sealed = 0

    def seal(self, vector: RingVector) -> tuple[bytes, bytes]:
        """Nonce and ciphertext: a client's, which is not measured."""
        self._sealed += 1
        nonce = self._sealed.to_bytes(12)
        packed = write_vector(Writer(), self._layout, vector).finish()
        return nonce, self._aead.encrypt(nonce, packed, None)

    def add(self, reports: Sequence[tuple[bytes, bytes]]) -> None:
        for nonce, sealed in reports:
            hashlib.sha256(sealed).digest()
            packed = self._aead.decrypt(nonce, sealed, None)
            read_vector(Reader(packed), self._layout).add_to(self._sum)

    def equals(self, vector: RingVector) -> bool:
        """vector: reduced modulo its rings."""
        return all(
            np.array_equal(segment.group.reduce(mine), theirs)
            for mine, segment, theirs in zip(self._sum, self._layout.segments, vector, strict=True)
        )


def _field(plan: Plan) -> FixedPoint:
    ((_, field),) = plan.schema.fields
    if not isinstance(field, FixedPoint):
        raise ParameterError("this benchmark is of one fixed-point field")
    return field


def _figures(plan: Plan, batch: _Batch, result: Aggregate) -> Row:
    """ms: CPU milliseconds of a report, but collector_ms: of the batch."""
    n, m = plan.threat.clients, plan.threat.servers
    cpu, wall = batch.meter.cpu, batch.meter.wall
    each = [1000 * cpu[f"server {i}"] / n for i in range(m)]
    server, waited = sum(each) / m, sum(wall[f"server {i}"] for i in range(m)) * 1000 / n / m
    reference = 1000 * cpu["reference"] / n
    packed = plan.layout.packed_size
    bar = math.floor(1.01 * packed) + 100 * m
    return {
        "ring_bits": plan.ring_bits,
        "reports": result.count,
        "exact": True,
        "packed_bytes": packed,
        "upload_bytes": batch.upload,
        "upload_bar": bar,
        "upload_met": batch.upload <= bar,
        "upload_ratio": batch.upload / packed,
        "client_ms": round(1000 * cpu["client"] / n, 4),
        "servers_ms": [round(ms, 4) for ms in each],
        "server_ms": round(server, 4),
        "server_wall_ms": round(waited, 4),
        "reference_ms": round(reference, 4),
        "server_ratio": round(server / reference, 4),
        "server_wall_ratio": round(waited / (1000 * wall["reference"] / n), 4),
        "collector_ms": round(1000 * cpu["collector"], 3),
        "commits": [server.commits for server in batch.servers.values()],
        "peak_rss": peak_rss(),
    }


if __name__ == "__main__":
    main(NAME)
