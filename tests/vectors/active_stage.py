"""Machines of suite 2 from a file's `setup`, and what is observed of them: see operations.py."""

from __future__ import annotations

from typing import Any

from operations import Data, Stage, Tape, to_bytes

from secagg import mask
from secagg.crypto import labels
from secagg.errors import PolicyRefused
from secagg.layout import Layout, Segment
from secagg.plans.plan import Plan
from secagg.protocol import Session
from secagg.ring import Ring
from secagg.roster import Roster
from secagg.sansio import Agreed, Event
from secagg.suite import SUITE_2
from secagg.types import PartyId, Seed
from secagg.wire import frame
from secagg_protocols.secagg.active.client import ActiveClient, agreeable
from secagg_protocols.secagg.active.params import ActiveParams
from secagg_protocols.secagg.active.server import ActiveServer


def refusing(_: frozenset[PartyId]) -> None:
    raise PolicyRefused("nobody is to survive")


class ActiveStage(Stage):
    """The machines of one session."""

    faults = (*Stage.faults, "invalid-signature")

    def __init__(self, setup: Data) -> None:
        self.layout = Layout(tuple(Segment(Ring(w), length) for w, length in setup["segments"]))
        self._payload = to_bytes(setup["payload"])
        plan, params = to_bytes(setup["plan"]), ActiveParams(*setup["params"])
        if setup["judged"]:
            self.plan = Plan.decode(plan)
        session = Session(
            to_bytes(setup["nonce"]),
            labels.digest(labels.PLAN, plan),
            frame.payload_digest(self._payload),
            params,
            self.layout,
            corrupted=setup["corrupted"],
            suite=SUITE_2,
            roster=Roster.decode(to_bytes(setup["roster"])),
            invited=frozenset(map(PartyId, setup["invited"])),
            plan=plan,
        )
        name, clients = setup["protocol"], setup["clients"]
        self.tapes = {int(p): Tape(to_bytes(c["randomness"])) for p, c in clients.items()}
        self._machines: dict[Any, Any] = {
            int(p): ActiveClient(
                name,
                session,
                params,
                PartyId(int(p)),
                signing=Seed(to_bytes(c["seed"])),
                randomness=self.tapes[int(p)],
                expander=mask.add_streams,
                judge=refusing if c["refuses"] else agreeable,
            )
            for p, c in clients.items()
        }
        if setup["server"]:
            self._machines["server"] = ActiveServer(
                name,
                session,
                params,
                signing=Seed(to_bytes(setup["server"])),
                expander=mask.add_streams,
            )

    def machine(self, party: Any) -> Any:
        return self._machines[party]

    def perform(self, operation: Data) -> Data:
        outputs = super().perform(operation)
        if operation["party"] == "server":
            records = [record.hex() for record in self._machines["server"].transcript()]
            outputs |= {"records": records} if records else {}
        return outputs

    def _act(self, machine: Any, operation: Data) -> Data:
        match operation["operation"]:
            case "restore":
                machine.restore([(b"state", b"")])
            case "reconnected":
                machine.reconnected(PartyId(operation["who"]))
            case _:
                return super()._act(machine, operation)
        return {}

    def seen(self, event: Event) -> list[Any]:
        if isinstance(event, Agreed):
            return ["agreed", sorted(event.survivors)]
        return super().seen(event)
