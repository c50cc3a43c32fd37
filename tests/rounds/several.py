"""A task of three servers, and what its parties need to be driven by hand."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from secagg.committee import Keys
from secagg.fields import Integer
from secagg.mask import add_streams
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.testing.network import counter_randomness
from secagg.types import COLLECTOR, PartyId, server_id

LENGTH = 5


@cache
def toy(clients: int, servers: int, direct: bool = False, dropout: float = 0.5) -> Plan:
    return plan(
        clients=clients,
        fields={"update": Integer(LENGTH, 1000)},
        corrupt=0,
        dropout=Fraction(min(int(dropout * clients), clients - 3), clients),  # a batch is of three
        protocol="additive",
        servers=servers,
        direct=direct,
    )


def vector(who: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array([(7 * who + 3 * i + 1) % 2001 - 1000 for i in range(LENGTH)])


KEYS = Keys(3, counter_randomness(b"several"))
TASK = Task(toy(3, 3), KEYS.committee)


class Servers:
    """Every server's machine of one batch, with all that they say to each other carried at once."""

    def __init__(self, task: Task = TASK, batch: int = 0) -> None:
        family = task.plan.info.family
        self.machines = family.machines(task.batch(batch), KEYS, expander=add_streams)
        del self.machines[COLLECTOR]
        self.said: dict[PartyId, list[tuple[PartyId, bytes]]] = {me: [] for me in self.machines}
        """By server: what it has said to clients and the collector, and to whom."""
        for machine in self.machines.values():
            machine.start()

    def hear(self, server: PartyId, sender: PartyId, data: bytes) -> list[bytes]:
        """What that server then says to the sender."""
        self.machines[server].receive(sender, data)
        self.carry()
        mine = [said for to, said in self.said[server] if to == sender]
        self.said[server] = [one for one in self.said[server] if one[0] != sender]
        return mine

    def close(self) -> None:
        self.machines[server_id(0)].close_phase()
        self.carry()

    def carry(self) -> None:
        moved = True
        while moved:
            moved = False
            for me, machine in self.machines.items():
                machine.events()
                for out in machine.outgoing():
                    if out.to in self.machines:
                        moved = True
                        self.machines[out.to].receive(me, out.data)
                    else:
                        self.said[me].append((out.to, out.data))
