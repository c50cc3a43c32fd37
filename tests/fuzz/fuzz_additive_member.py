"""Any bytes from any party leave a server of additive sums with a sum that is still right.

It never raises; only what a leader has decided enters the sum; nothing is released without the
signatures of all; and after a client's bytes everybody else's reports are as they were.
"""

from __future__ import annotations

import copy
import dataclasses
from functools import cache
from typing import Any

from secagg.sansio import Dropped
from secagg.types import COLLECTOR, PartyId
from secagg_protocols.reports.messages import Tag
from tests import decoders
from tests.ensembles import HELPER, LEADER, TINY, Setting, between, params_of
from tests.fuzz.engine import main, twin

SETTINGS = [Setting(params_of(3), TINY), Setting(params_of(3, direct=True), TINY)]
CLIENT = PartyId(3)
CORPUS = [
    *decoders.valid_additive_messages().values(),
    *(message.data for setting in SETTINGS for message in setting.report(3)),
]


@cache
def reports(setting: Setting) -> list[Any]:
    return [setting.report(party) for party in range(3)]


def members(setting: Setting, close: bool) -> tuple[Any, Any]:
    """A leader and a helper that have summed three reports, collecting still, or agreeing."""
    stops = between(HELPER, LEADER, Tag.STATEMENT, lambda data: ())
    network = setting.reported(dict(enumerate(reports(setting))), between=stops)
    if close:
        network.call(LEADER, network.server.close_phase)
    leader, helper = network.servers[LEADER], network.servers[HELPER]
    for machine in (leader, helper):
        machine.outgoing(), machine.events()
    return leader, helper


def rebound(data: bytes, setting: Setting, *, batch: bool) -> bytes:
    """The same bytes, bound as they should be: else hardly any would be looked at."""
    binding = setting.context.batch(0) if batch else setting.context.id
    return data[:3] + binding + data[35:]


STATES = [
    (setting, machine, me)
    for setting in SETTINGS
    for close in (False, True)
    for machine, me in zip(members(setting, close), (LEADER, HELPER), strict=True)
]


def fresh(machine: Any) -> Any:
    """The machine again as it was: what a message can change is copied, secrets are shared."""
    one = twin(machine)
    one._outgoing, one._events = [], []
    one._progress, one._tally = twin(machine._progress), twin(machine._tally)
    one._progress._changed = {}
    one._seals = twin(machine._seals)  # one that is over forgets its key
    one._tally.total = tuple(lane.copy() for lane in machine._tally.total)
    one._book = copy.copy(machine._book)
    for name in ("included", "rejected", "spent", "refused", "left", "_receipts", "_changed"):
        setattr(one._book, name, dict(getattr(machine._book, name)))
    one._book.pending = {
        id: dataclasses.replace(pending, accepted=dict(pending.accepted), parts={})
        for id, pending in machine._book.pending.items()
    }
    if hasattr(machine, "_reporters"):
        one._reporters = dict(machine._reporters)
    if hasattr(machine, "_senders"):
        one._senders = copy.deepcopy(machine._senders)
        one._helpers = copy.deepcopy(machine._helpers)
    return one


def target(data: bytes) -> None:
    for setting, kept, me in STATES:
        machine, peer = fresh(kept), HELPER if me == LEADER else LEADER
        machine.receive(CLIENT, data)
        machine.receive(CLIENT, rebound(data, setting, batch=False))
        for sender in (COLLECTOR, me, peer):
            for batch in (True, False):
                machine.receive(sender, rebound(data, setting, batch=batch))
        drops = {e.party for e in machine.events() if isinstance(e, Dropped)}
        assert drops <= {CLIENT, peer}
        assert machine._book.included == kept._book.included
        assert _sum(machine) == (b"" if machine.done else _sum(kept))
        assert Tag.TOTAL not in {Tag(m.data[2]) for m in machine.outgoing()}
        assert not machine._progress.total


def _sum(machine: Any) -> bytes:
    return b"".join(lane.tobytes() for lane in machine._tally.total)


if __name__ == "__main__":
    main(target, CORPUS)
