"""Any bytes make a client answer, ignore or raise RemoteProtocolError, in every state.

After that error it has ended, has said at most that it aborts, and says nothing ever again.
"""

from __future__ import annotations

from typing import Any

from secagg.errors import RemoteProtocolError
from secagg.types import SERVER
from secagg_protocols.secagg.messages import Tag
from tests import decoders
from tests.fuzz.engine import main, twin
from tests.networks import Script

SCRIPT = Script()
STATES: list[Any] = [SCRIPT.client(received) for received in range(4)]
STATES.append(SCRIPT.client(2, with_input=False))
CORPUS = [*SCRIPT.inbox, *decoders.valid_messages().values()]


def fresh(client: Any) -> Any:
    """The machine again as it was: what a message can change is copied, secrets are shared."""
    one = twin(client)
    if one._vector is not None:
        one._vector = tuple(lane.copy() for lane in one._vector)
    one._memo = dict(client._memo)
    one._outgoing, one._events = [], []
    return one


def target(data: bytes) -> None:
    for state in STATES:
        client = fresh(state)
        try:
            client.receive(SERVER, data)
        except RemoteProtocolError:
            assert client.done
            assert {m.data[2] for m in client.outgoing()} <= {Tag.ABORT}
            client.receive(SERVER, data)
            assert not client.outgoing()
        else:
            assert len(client.outgoing()) <= 1


if __name__ == "__main__":
    main(target, CORPUS)
