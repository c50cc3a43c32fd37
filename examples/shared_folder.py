"""A sum over a folder: clients and server share a disk, and nothing else.

A folder for each client and direction, with one writer each. A frame is written beside them and
renamed, so whoever lists a folder sees whole frames only; their names are numbers, which keep their
order. Who may write to a folder is for the file system to say: it is what tells clients apart.
The threads stand for programs: between them is only the folder.
"""

import itertools
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from time import monotonic as now

import secagg
from secagg.effects import Effects, Peer
from secagg.plans.task import Task
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent
from secagg.rounds.server import ServerRounds

CLIENTS, TURN, NUMBERS = 5, 0.01, itertools.count()  # TURN: seconds between two looks
TASK = Task(secagg.plan(clients=CLIENTS, dropout="1/5", fields={"u": secagg.Integer(3, 10)}))


def put(folder: Path, frame: bytes) -> None:
    spare = folder / "unfinished"
    spare.write_bytes(frame)
    spare.rename(folder / f"{next(NUMBERS):012}")


def taken(folder: Path) -> Iterator[bytes]:
    """Frames that have come, each once."""
    for path in sorted(folder.glob("[0-9]" * 12)):
        yield path.read_bytes()
        path.unlink()


def serve(root: Path) -> secagg.Aggregate:
    """Opens one round, once enough clients have a folder."""
    rounds, opened = ServerRounds(), False
    while not (ends := rounds.ends()):
        for folder in (root / "up").glob("*"):
            if not rounds.ready(peer := Peer(folder.name)):
                rounds.joined(peer, now())
            for frame in taken(folder):
                rounds.received(peer, frame, now())
        if not opened and len(rounds.here) == CLIENTS:
            rounds.open(TASK, deadlines=60, now=now())
            opened = True
        rounds.tick(now())
        while (effects := rounds.take()) != Effects(due=effects.due):
            for post in effects.posts:
                put(root / "down" / str(post.peer.name), post.frame.encode())
                rounds.flushed(post.peer, post.frame.size, now())
            for work in effects.work:
                rounds.finished(work, work.job(), now())
        time.sleep(TURN)
    return ends[0].get()


def client(root: Path, number: int) -> None:
    rounds, server = ClientRounds(Consent(task=TASK)), Peer("server")
    heard, said = root / f"down/{number}", root / f"up/{number}"
    for folder in (heard, said):
        folder.mkdir(parents=True)
    rounds.joined(server, now())
    while not (outcomes := rounds.outcomes()):
        for frame in taken(heard):
            rounds.received(server, frame, now())
        for offer in rounds.owed():
            rounds.contribute(offer, secagg.Contribution({"u": [number] * 3}), now())
        for post in rounds.take().posts:
            put(said, post.frame.encode())
        rounds.tick(now())
        time.sleep(TURN)
    print(f"client {number}: {outcomes[0].detail or 'in the sum'}\n", end="")  # whole, of threads


with tempfile.TemporaryDirectory() as made:
    clients = [threading.Thread(target=client, args=(Path(made), i)) for i in range(CLIENTS)]
    for one in clients:
        one.start()
    total = serve(Path(made))
    for one in clients:
        one.join()
print(f"the sum of 0 to 4, of {total.count} clients: {total.sum['u']}")
