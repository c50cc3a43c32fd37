"""Any bytes from a client make a server take, ignore or drop that client; it never raises.

Nobody else is touched, nothing is said, and no phase ends by it.
"""

from __future__ import annotations

import copy
from typing import Any

from secagg.sansio import Dropped
from secagg.types import PartyId
from tests.fuzz.engine import main, twin
from tests.networks import COMPLETE, PHASES, Script, network_of

SERVERS: list[Any] = [network_of(COMPLETE).run_until(phase).server for phase in PHASES]
SERVERS.append(network_of(COMPLETE).server)
CORPUS = Script(COMPLETE, party=1).outbox + Script().inbox


def fresh(server: Any) -> Any:
    """A copy of what one message can change; the cohort and the graph are shared."""
    one = twin(server)
    for name in ("_alive", "_waiting", "_advertised", "_public_keys", "_dealt", "_failed"):
        setattr(one, name, copy.copy(getattr(server, name)))
    for name in ("_seen", "_answers"):
        setattr(one, name, copy.deepcopy(getattr(server, name)))
    one._sum = tuple(lane.copy() for lane in server._sum)
    one._outgoing, one._events = [], []
    return one


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
