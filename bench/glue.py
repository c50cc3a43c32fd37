"""What the machines spend besides what secagg_protocols.secagg.costs counts one by one: parsing and
look-ups.

Small rounds of the real machines, of one element and threshold 1, so that little else is in them,
with few and with many neighbours. What remains of them after everything that is counted alone is
the glue, once and for each neighbour. No round that is predicted is ever looked at.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace

from secagg.layout import Layout, Segment
from secagg.mask import add_streams
from secagg.protocol import Session
from secagg.ring import Ring
from secagg.types import SERVER, PartyId
from secagg_protocols.secagg import states
from secagg_protocols.secagg.client import SecAggClient
from secagg_protocols.secagg.costs import Glue, Rates, predict
from secagg_protocols.secagg.params import SecAggParams
from secagg_protocols.secagg.server import SecAggServer

COMPLETE = 24, 192
"""Neighbours in the two rounds, few and many. The many are so many that what the server holds of
them is more than its fastest caches are."""
REGULAR, CLIENTS = (24, 96), 200
"""Of a k-regular graph, with CLIENTS in both."""
ROUNDS = 3
PHASES = tuple(phase.name for phase in states.PHASES)

Seconds = dict[str, float]


def with_glue(bare: Rates, ring: Ring, *, complete: bool) -> Rates:
    """The same rates, which have none yet, with that of a complete or of a k-regular graph."""
    k, m = COMPLETE if complete else REGULAR
    few, many = (_residue(_small(degree, complete), bare, ring) for degree in (k, m))
    glue = []
    for one, other in zip(few, many, strict=True):
        each = {phase: max(0.0, other[phase] - one[phase]) / (m - k) for phase in PHASES}
        once = {phase: max(0.0, one[phase] - k * each[phase]) for phase in PHASES}
        glue.append(Glue(once, each))
    return replace(bare, client=glue[0], server=glue[1])


def _small(degree: int, complete: bool) -> SecAggParams:
    clients = degree + 1 if complete else CLIENTS
    return SecAggParams(clients, degree, 1, clients, clients)


def _residue(params: SecAggParams, bare: Rates, ring: Ring) -> tuple[Seconds, Seconds]:
    """Seconds for each client, at the client and at the server, that the rates do not count."""
    layout = Layout((Segment(ring, 1),))
    bits = ring.lane_bits
    bare = replace(bare, mask={bits: bare.mask[bits]}, mask_job={bits: bare.mask_job[bits]})
    counted = predict(params, layout, bare, dropped=0)
    rounds = [_small_round(params, layout) for _ in range(ROUNDS)]
    client, server = ({p: min(r[i][p] for r in rounds) for p in PHASES} for i in range(2))
    return (
        {p: client[p] - counted.client[p] for p in PHASES},
        {p: (server[p] - counted.server[p]) / params.clients for p in PHASES},
    )


def _small_round(params: SecAggParams, layout: Layout) -> tuple[Seconds, Seconds]:
    """Seconds by phase: of a client on average, and of the server."""
    session = Session(bytes(16), bytes(32), bytes(32), params, layout)
    server = SecAggServer("secagg", session, params, expander=add_streams)
    clients = {
        me: SecAggClient("secagg", session, params, me, randomness=os.urandom, expander=add_streams)
        for me in map(PartyId, range(params.clients))
    }
    for client in clients.values():
        client.set_input(layout.zeros(), session.payload_digest)
    server.start()
    inbox: Mapping[PartyId, bytes] = {}
    client_seconds, server_seconds = {}, {}
    for phase in PHASES:
        started = time.thread_time()
        for me, client in clients.items():
            if me in inbox:
                client.receive(SERVER, inbox[me])
            else:
                client.start()
        sent = [(me, out.data) for me, client in clients.items() for out in client.outgoing()]
        between = time.thread_time()
        for me, data in sent:
            server.receive(me, data)
        server.close_phase()
        inbox = {out.to: out.data for out in server.outgoing()}
        _finish(server)
        client_seconds[phase] = (between - started) / params.clients
        server_seconds[phase] = time.thread_time() - between
    server.result()
    return client_seconds, server_seconds


def _finish(server: SecAggServer) -> None:
    while jobs := server.jobs():
        for job in jobs:
            server.finish(job, job())
