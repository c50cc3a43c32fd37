"""A server and its clients over WebSockets, in one process so that one command shows it.

The two functions are what two programs would have: nothing passes between them but the plan, which
both know beforehand, and a URL. Two rounds of weighted means; the last client has nothing in the
second, and the others' mean is theirs all the same. Needs the package's extra `server`.
"""

import asyncio

import numpy as np

import secagg
from secagg.drive.aio import Offer, Outcome, message_limit

CLIENTS, LENGTH = 6, 1000
PLAN = secagg.plan(
    clients=CLIENTS,
    fields={"update": secagg.FixedPoint(LENGTH, clip=1.0, bits=16)},
    dropout="1/6",
    max_weight=CLIENTS,
)
RNG = np.random.default_rng(7)
UPDATES = RNG.uniform(-1, 1, (CLIENTS, LENGTH))
WEIGHTS = np.arange(1, CLIENTS + 1)  # of how many samples each has


async def client(url: str, number: int) -> tuple[Outcome, ...]:
    """One that knows its own vector and nobody else's."""

    def given(offer: Offer) -> secagg.Contribution | None:
        if offer.round == 2 and number == CLIENTS - 1:
            return None  # it has nothing this time: out of the sum, and the round goes on
        return secagg.Contribution({"update": UPDATES[number]}, weight=int(WEIGHTS[number]))

    async with secagg.connect(url) as link:
        return await secagg.participate(link, given, plan=PLAN)  # until the server closes


async def main() -> None:
    async with secagg.serve(max_size=message_limit(PLAN)) as service:
        url = f"ws://127.0.0.1:{service.port}"
        clients = [asyncio.create_task(client(url, number)) for number in range(CLIENTS)]
        await service.ready(CLIENTS, timeout=60)
        for present in (CLIENTS, CLIENTS - 1):
            total = await service.run_round(PLAN, deadlines=60)
            truth = np.average(UPDATES[:present], axis=0, weights=WEIGHTS[:present])
            error = abs(total.mean["update"] - truth).max()
            print(f"{total.count} clients, weight {total.weight}, error {error:.1e}")
            if total.count != present or not error <= PLAN.max_error:
                raise SystemExit("not the mean of those in the sum")
    for outcomes in await asyncio.gather(*clients):
        print([outcome.included for outcome in outcomes])


if __name__ == "__main__":
    asyncio.run(main())
