"""Any bytes make a client of several servers ignore them, take a receipt, or end its session.

It is stored with the true receipts of all servers, and by no others: whatever comes in their place.
"""

from __future__ import annotations

from typing import Any

from secagg.errors import RemoteProtocolError
from secagg.types import PartyId, server_id
from secagg_protocols.reports.messages import Tag
from secagg_protocols.reports.states import ClientState
from tests import decoders
from tests.ensembles import LEADER, TINY, Setting, head_of, params_of, receipt_of
from tests.fuzz.engine import main, twin
from tests.networks import inputs_of

SETTINGS = [Setting(params_of(3), TINY), Setting(params_of(3, direct=True), TINY)]


def waiting(setting: Setting) -> tuple[Any, list[bytes]]:
    """A client that has said its report and waits, and the receipts that are due."""
    client = setting.client(0, inputs_of(4, TINY)[PartyId(0)])
    client.start()
    head = head_of(setting, client.outgoing()[0].data)
    return client, [receipt_of(setting, head, index) for index in range(3)]


STATES = [(setting, *waiting(setting)) for setting in SETTINGS]
RECEIPTS = [receipt for _, _, receipts in STATES for receipt in receipts]
CORPUS = [*RECEIPTS, *decoders.valid_additive_messages().values()]


def fresh(kept: Any, index: int) -> Any:
    """The client again, with every receipt but that of one server."""
    one = twin(kept)
    one._kept = twin(kept._kept)
    one._kept.missing, one._kept.messages = {index}, dict(kept._kept.messages)
    one._kept._changed = {}
    one._outgoing, one._events = [], []
    return one


def target(data: bytes) -> None:
    for setting, kept, receipts in STATES:
        for index in range(3):
            client = fresh(kept, index)
            bearer = server_id(index) if setting.params.direct else LEADER
            try:
                client.receive(bearer, data)
            except RemoteProtocolError:
                assert client._state is ClientState.ENDED
                assert {m.data[2] for m in client.outgoing()} == {Tag.ABORT}
            assert (client._state is ClientState.STORED) == (data == receipts[index])


if __name__ == "__main__":
    main(target, CORPUS)
