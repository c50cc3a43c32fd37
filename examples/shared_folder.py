"""A sum over a folder: clients and server share a disk, and nothing else.

A folder for each client and direction, with one writer each, which the file system sees to. Frames
are renamed when they are whole, to numbers that keep their order. The threads stand for programs.
"""

import itertools
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import monotonic as now
from time import sleep

import secagg
from secagg.effects import Effects, Peer
from secagg.plans.task import Task
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent
from secagg.rounds.server import ServerRounds

CLIENTS, NUMBERS, CAREFUL = 5, itertools.count(), os.O_NOFOLLOW | os.O_NONBLOCK
TASK = Task(secagg.plan(clients=CLIENTS, dropout="1/5", fields={"u": secagg.Integer(3, 10)}))


def put(folder: Path, frame: bytes) -> None:
    (folder / "unfinished").write_bytes(frame)
    (folder / "unfinished").rename(folder / f"{next(NUMBERS):012}")


def taken(folder: Path) -> Iterator[bytes]:
    """Frames that have come, each once; OSError for a link or folder. A pipe holds up nobody."""
    for path in sorted(folder.glob("[0-9]" * 12)):
        with open(
            path, "rb", opener=lambda p, f: os.open(p, f | os.O_NOFOLLOW | os.O_NONBLOCK)
        ) as file:
            yield file.read(1 << 20) or b""
        path.unlink()


def serve(root: Path) -> secagg.Aggregate:
    """Opens one round, once enough clients have a folder."""
    rounds, opened = ServerRounds(), False
    while not (ends := rounds.ends()):
        for folder in (root / "up").glob("*"):
            if not rounds.ready(peer := Peer(folder.name)):
                rounds.joined(peer, now())
            with suppress(OSError):  # of one who puts there what is no frame; its time runs out
                for frame in taken(folder):
                    rounds.received(peer, frame, now())
        if not opened and len(rounds.here) == CLIENTS:
            rounds.open(TASK, deadlines=60, now=now())
            opened = True
        rounds.tick(now())
        while (effects := rounds.take()) != Effects(due=effects.due):
            for post in effects.posts:
                with suppress(OSError):  # of one who took its folder away
                    put(root / "down" / str(post.peer.name), post.frame.encode())
                rounds.flushed(post.peer, post.frame.size, now())
            for work in effects.work:
                rounds.finished(work, work.job(), now())
        sleep(0.01)
    return ends[0].get()


def client(root: Path, number: int) -> None:
    rounds, server = ClientRounds(Consent(task=TASK)), Peer("server")
    heard, said = root / f"down/{number}", root / f"up/{number}"
    heard.mkdir(parents=True)
    said.mkdir(parents=True)
    rounds.joined(server, now())
    while not (outcomes := rounds.outcomes()):
        for frame in taken(heard):
            rounds.received(server, frame, now())
        for offer in rounds.owed():
            rounds.contribute(offer, secagg.Contribution({"u": [number] * 3}), now())
        for post in rounds.take().posts:
            put(said, post.frame.encode())
        rounds.tick(now())
        sleep(0.01)
    print(f"client {number}: {outcomes[0].detail or 'in the sum'}\n", end="")  # whole, of threads


with tempfile.TemporaryDirectory() as made, ThreadPoolExecutor(CLIENTS) as programs:
    programs.map(client, [Path(made)] * CLIENTS, range(CLIENTS))
    total = serve(Path(made))
print(f"the sum of 0 to 4, of {total.count} clients: {total.sum['u']}")
