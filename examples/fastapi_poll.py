"""A sum inside a FastAPI application (needs fastapi, httpx): a request waits for its answer.

All calls come from the application's loop: no lock. Who loses an answer on its way is a dropout.
"""

import asyncio
from collections import defaultdict
from contextlib import suppress
from secrets import token_hex
from time import monotonic as now

import httpx
from fastapi import FastAPI, HTTPException, Request, Response

import secagg
from secagg.drive.aio import message_limit
from secagg.effects import Effects, Peer
from secagg.plans.task import Task
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent
from secagg.rounds.server import ServerRounds

CLIENTS, WAIT, TURN = 5, 20.0, 0.01  # WAIT: seconds that a request waits for an answer
TASK = Task(secagg.plan(clients=CLIENTS, dropout="1/5", fields={"u": secagg.Integer(3, 10)}))
ROUNDS, SAID = ServerRounds(), defaultdict(asyncio.Queue)
app = FastAPI()


@app.post("/clients")
async def arrive() -> str:
    ROUNDS.joined(Peer(name := token_hex(16)), now())  # whoever knows it speaks for this client
    return name


@app.post("/clients/{name}")
async def poll(name: str, request: Request) -> Response:
    peer = Peer(name)
    if not ROUNDS.ready(peer):
        raise HTTPException(404)
    if int(request.headers["content-length"]) > message_limit(TASK.plan):
        raise HTTPException(413)
    if frame := await request.body():
        ROUNDS.received(peer, frame, now())
    with suppress(TimeoutError):
        answer = await asyncio.wait_for(SAID[peer].get(), WAIT)
        ROUNDS.flushed(peer, len(answer), now())
        return Response(answer)
    return Response()


@app.post("/rounds")  # the operator's, one at a time: behind what guards your other routes
async def run() -> list[int]:
    nonce = ROUNDS.open(TASK, deadlines=60, now=now())
    while (effects := ROUNDS.take()) != Effects(due=effects.due) or nonce in ROUNDS.running:
        for post in effects.posts:
            SAID[post.peer].put_nowait(post.frame.encode())
        for work in effects.work:
            ROUNDS.finished(work, await asyncio.to_thread(work.job), now())
        await asyncio.sleep(0 if effects.work else TURN)
        ROUNDS.tick(now())
    return [int(value) for value in ROUNDS.ends()[0].get().sum["u"]]


async def client(http: httpx.AsyncClient, number: int) -> None:
    rounds, server, said = ClientRounds(Consent(task=TASK)), Peer("server"), list[bytes]()
    rounds.joined(server, now())
    way = f"/clients/{(await http.post('/clients')).json()}"
    while not (outcomes := rounds.outcomes()):
        heard = await http.post(way, content=said.pop(0) if said else b"", timeout=2 * WAIT)
        if heard.raise_for_status().content:
            rounds.received(server, heard.content, now())
        for offer in rounds.owed():
            rounds.contribute(offer, secagg.Contribution({"u": [number] * 3}), now())
        said += [post.frame.encode() for post in rounds.take().posts]
    print(f"client {number}: {outcomes[0].detail or 'in the sum'}")


async def main() -> None:
    web = httpx.ASGITransport(app)  # `uvicorn fastapi_poll:app` has the server alone
    async with httpx.AsyncClient(transport=web, base_url="http://sums") as http:
        clients = asyncio.gather(*(client(http, number) for number in range(CLIENTS)))
        while len(ROUNDS.here) < CLIENTS:
            await asyncio.sleep(TURN)
        print(f"the sum of 0 to 4: {(await http.post('/rounds', timeout=60)).json()}")
        await clients


if __name__ == "__main__":
    asyncio.run(main())
