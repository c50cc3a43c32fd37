"""A sum over gRPC, needs grpcio and no generated code: a stream of frames each way is a link."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from queue import SimpleQueue
from secrets import token_bytes
from time import monotonic as now

import grpc

import secagg
from secagg.drive.aio import message_limit
from secagg.effects import Effects, Peer
from secagg.plans.task import Task
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent
from secagg.rounds.server import ServerRounds

CLIENTS = 5
TASK = Task(secagg.plan(clients=CLIENTS, dropout="1/5", fields={"u": secagg.Integer(3, 10)}))
LIMITS = [("grpc.max_receive_message_length", message_limit(TASK.plan))]
ROUNDS, LOCK, WAITING = ServerRounds(), threading.Lock(), dict[Peer, SimpleQueue]()


def told(call, *news) -> None:
    with LOCK:  # handlers run in threads
        call(*news, now())
        while (effects := ROUNDS.take()) != Effects(due=effects.due):
            for post in effects.posts:
                WAITING[post.peer].put(post.frame.encode())
            for peer in effects.let_go:
                WAITING[peer].put(None)
            for work in effects.work:
                ROUNDS.finished(work, work.job(), now())


def talk(requests, context):
    proved = context.auth_context().get("x509_pem_cert")
    peer = Peer(token_bytes(16), sha256(proved[0]).digest() if proved else None)  # of TLS
    waiting = WAITING[peer] = SimpleQueue()
    told(ROUNDS.joined, peer)
    context.add_callback(lambda: (told(ROUNDS.left, peer), WAITING.pop(peer).put(None)))
    threading.Thread(target=listen, args=(peer, requests), daemon=True).start()
    while (frame := waiting.get()) is not None:
        yield frame
        told(ROUNDS.flushed, peer, len(frame))


def listen(peer: Peer, requests) -> None:
    with suppress(grpc.RpcError):  # the call is over
        for frame in requests:
            told(ROUNDS.received, peer, frame)


def client(port: int, number: int) -> None:
    rounds, server, said = ClientRounds(Consent(task=TASK)), Peer("server"), SimpleQueue()
    with grpc.insecure_channel(f"127.0.0.1:{port}", LIMITS) as channel:  # or secure_channel
        heard = channel.stream_stream("/secagg.Rounds/Talk")(iter(said.get, None))
        rounds.joined(server, now())
        while not (outcomes := rounds.outcomes()):
            rounds.received(server, next(heard), now())
            for offer in rounds.owed():
                rounds.contribute(offer, secagg.Contribution({"u": [number] * 3}), now())
            for post in rounds.take().posts:
                said.put(post.frame.encode())
        said.put(None)
    print(f"client {number}: {outcomes[0].detail or 'in the sum'}\n", end="")  # whole, of threads


methods = {"Talk": grpc.stream_stream_rpc_method_handler(talk)}
# a worker for each stream: how many one client may open is for the application to say
service = grpc.server(ThreadPoolExecutor(2 * CLIENTS), options=LIMITS)
service.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("secagg.Rounds", methods)])
port = service.add_insecure_port("127.0.0.1:0")  # elsewhere add_secure_port
service.start()
with ThreadPoolExecutor(CLIENTS) as pool:
    pool.map(client, [port] * CLIENTS, range(CLIENTS))
    while len(ROUNDS.here) < CLIENTS:
        time.sleep(0.01)
    told(lambda at: ROUNDS.open(TASK, deadlines=60, now=at))
    while ROUNDS.running:
        told(ROUNDS.tick)
        time.sleep(0.01)
print(f"the sum of 0 to 4: {ROUNDS.ends()[0].get().sum['u']}")
service.stop(0)
