"""A sum over MPI: rank 0 serves, every other rank is a client.

    mpiexec -n 6 python mpi_sum.py

Frames are bytes and are sent as such: mpi4py's lower-case calls would pickle them. A rank is who
MPI says it is, and everybody trusts whoever started the job. Nobody drops: MPI ends a job of which
one process dies. Needs mpi4py and an MPI.
"""

import time
from collections.abc import Iterator
from time import monotonic as now

from mpi4py import MPI

import secagg
from secagg.effects import Effects, Peer
from secagg.plans.task import Task
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent
from secagg.rounds.server import ServerRounds

WORLD = MPI.COMM_WORLD
CLIENTS = WORLD.size - 1
TASK = Task(secagg.plan(clients=CLIENTS, dropout=0, fields={"u": secagg.Integer(3, 1000)}))
TURN = 0.005  # seconds between two looks at what has come


def heard() -> Iterator[tuple[int, bytes]]:
    """Frames that have come, and from which rank."""
    status = MPI.Status()
    while (message := WORLD.Improbe(status=status)) is not None:
        frame = bytearray(status.Get_count(MPI.BYTE))
        message.Recv([frame, MPI.BYTE])
        yield status.Get_source(), bytes(frame)


def send(effects: Effects, leaving: list[MPI.Request]) -> None:
    """Nobody waits for a rank that does not listen. leaving: keeps what is on its way."""
    for post in effects.posts:
        rank = int.from_bytes(post.peer.identity or b"")
        leaving.append(WORLD.Isend([post.frame.encode(), MPI.BYTE], dest=rank))
    leaving[:] = [request for request in leaving if not request.Test()]


def peer(rank: int) -> Peer:
    return Peer(f"rank {rank}", rank.to_bytes(4))


def serve() -> secagg.Aggregate:
    rounds, leaving = ServerRounds(), list[MPI.Request]()
    for rank in range(1, WORLD.size):
        rounds.joined(peer(rank), now())
    rounds.open(TASK, deadlines=60, now=now())
    while rounds.running or leaving:
        for rank, frame in heard():
            rounds.received(peer(rank), frame, now())
        rounds.tick(now())
        while (effects := rounds.take()) != Effects(due=effects.due):
            send(effects, leaving)
            for work in effects.work:
                rounds.finished(work, work.job(), now())
        send(effects, leaving)
        time.sleep(TURN)
    return rounds.ends()[0].get()


def client() -> None:
    rounds, leaving = ClientRounds(Consent(task=TASK)), list[MPI.Request]()
    rounds.joined(peer(0), now())
    while not (outcomes := rounds.outcomes()):
        for rank, frame in heard():
            rounds.received(peer(rank), frame, now())
        for offer in rounds.owed():
            rounds.contribute(offer, secagg.Contribution({"u": [WORLD.rank] * 3}), now())
        send(rounds.take(), leaving)
        time.sleep(TURN)
    if not outcomes[0].included:
        raise SystemExit(f"rank {WORLD.rank} is not in the sum: {outcomes[0].detail}")


if WORLD.rank:
    client()
else:
    total = serve()
    print(f"the sum of 1 to {CLIENTS}, of {total.count} clients: {total.sum['u']}")
