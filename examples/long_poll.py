"""A sum over HTTP, with the standard library alone: another driver of the same rounds.

Each request brings what a client has to say, and takes what waits for it. A client is whoever knows
its path, which nobody guesses; how many may come is for the application to say. Client 0 is late.
"""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from secrets import token_hex
from time import monotonic as now
from urllib.request import urlopen

import secagg
from secagg.effects import Effects, Peer
from secagg.plans.task import Task
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent
from secagg.rounds.server import ServerRounds
from secagg.wire.codec import Reader, Writer

TASK = Task(secagg.plan(clients=6, dropout="1/3", fields={"u": secagg.FixedPoint(3, 1.0, 16)}))
DEADLINES = {phase: 5 if phase == "masked-input" else 60 for phase in TASK.plan.phase_names}
ROUNDS, LOCK, WAITING = ServerRounds(), threading.Lock(), dict[Peer, Writer]()


def act() -> None:
    while (effects := ROUNDS.take()) != Effects(due=effects.due):
        for post in effects.posts:
            WAITING.setdefault(post.peer, Writer()).prefixed(post.frame.encode())
        for work in effects.work:
            ROUNDS.finished(work, work.job(), now())


def frames(data: bytes):
    reader = Reader(data)
    while reader.remaining:
        yield reader.prefixed(reader.remaining, "frame")


class Polled(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        peer, size = Peer(self.path), int(self.headers["Content-Length"])
        body = self.rfile.read(max(0, min(size, 1 << 20)))
        with LOCK:
            if not ROUNDS.ready(peer):
                ROUNDS.joined(peer, now())
            for frame in frames(body):
                ROUNDS.received(peer, frame, now())
            act()
            answer = WAITING.pop(peer, Writer()).finish()
            ROUNDS.flushed(peer, len(answer), now())
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *words: object) -> None: ...


def client(port: int, number: int) -> None:
    rounds, server = ClientRounds(Consent(task=TASK)), Peer("server")
    url = f"http://127.0.0.1:{port}/{token_hex(16)}"
    rounds.joined(server, now())
    while not (outcomes := rounds.outcomes()):
        for offer in rounds.owed() if number else []:  # client 0 never finds the time
            rounds.contribute(offer, secagg.Contribution({"u": [0.1 * number] * 3}), now())
        said = Writer()
        for post in rounds.take().posts:
            said.prefixed(post.frame.encode())
        for frame in frames(urlopen(url, said.finish()).read()):
            rounds.received(server, frame, now())
        time.sleep(0.02)
    print(f"client {number}: {outcomes[0].detail or 'in the sum'}\n", end="")  # whole, of threads


secagg.simulate(TASK.plan, {i: {"u": [0.0] * 3} for i in range(6)})  # compiles: nobody is late
http = ThreadingHTTPServer(("127.0.0.1", 0), Polled)
clients = [threading.Thread(target=client, args=(http.server_port, i)) for i in range(6)]
for one in (threading.Thread(target=http.serve_forever, daemon=True), *clients):
    one.start()
while len(ROUNDS.here) < len(clients):
    time.sleep(0.02)
with LOCK:
    ROUNDS.open(TASK, deadlines=DEADLINES, now=now())
while any(one.is_alive() for one in clients):
    with LOCK:
        ROUNDS.tick(now())
    time.sleep(0.02)
print(f"the mean of 1 to 5: {ROUNDS.ends()[0].get().mean['u'].round(3)}")
