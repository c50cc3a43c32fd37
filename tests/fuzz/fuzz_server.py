"""Any bytes from a client make a server take, ignore or drop that client; it never raises.

Nobody else is touched, nothing is said, and no phase ends by it.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import Any

from secagg.sansio import Dropped
from secagg.types import PartyId
from secagg_protocols.rows import Rows
from secagg_protocols.secagg.repeats import Repeats
from secagg_protocols.secagg.stages import Stage
from secagg_protocols.secagg.stages.masked import Masked
from tests.fuzz.engine import main, twin
from tests.networks import COMPLETE, PHASES, Script, network_of

SERVERS: list[Any] = [network_of(COMPLETE).run_until(phase).server for phase in PHASES]
SERVERS.append(network_of(COMPLETE).server)
CORPUS = Script(COMPLETE, party=1).outbox + Script().inbox


def fresh(server: Any) -> Any:
    """A copy of what one message can change; the cohort and the graph are shared."""
    one = twin(server)
    for name, value in vars(server).items():
        setattr(one, name, copied(value))
    one._outgoing, one._events = [], []
    return one


def copied(value: Any) -> Any:
    match value:
        case dict():
            return type(value)(
                *([value.default_factory] if isinstance(value, defaultdict) else []),
                {key: copied(one) for key, one in value.items()},
            )
        case set():
            return set(value)
        case Masked():
            total = tuple(lane.copy() for lane in value.total)
            return dataclasses.replace(value, total=total, failed=dict(value.failed))
        case Stage() | Repeats() | Rows():
            one = twin(value)
            vars(one).update({name: copied(part) for name, part in vars(value).items()})
            return one
    return value


def target(data: bytes) -> None:
    for state in SERVERS:
        server = fresh(state)
        server.receive(PartyId(1), data)
        dropped = {e.party for e in server.events() if isinstance(e, Dropped)}
        assert dropped <= {1}
        assert server.alive == state.alive - dropped
        assert state.waiting_for - server.waiting_for <= {1}
        assert server.phase == state.phase
        assert not server.outgoing()


if __name__ == "__main__":
    main(target, CORPUS)
