"""Any bytes in place of a total end the collection, or are ignored, and never give a sum.

The totals of the other servers are there already, so that one forged one would be enough.
"""

from __future__ import annotations

from typing import Any

from secagg.errors import Aborted
from secagg.types import server_id
from secagg_protocols.reports.messages import Tag
from tests import decoders
from tests.decoders import ADDITIVE
from tests.ensembles import told
from tests.fuzz.engine import main, twin

LOG = told(ADDITIVE)
TOTALS = [LOG.of(Tag.TOTAL, server_id(index))[0] for index in range(3)]
CORPUS = [*TOTALS, *decoders.valid_additive_messages().values()]


def waiting() -> Any:
    """A collector that lacks one total."""
    collector: Any = ADDITIVE.collector()
    collector.start()
    for index in (0, 2):
        collector.receive(server_id(index), TOTALS[index])
    assert not collector.done
    return collector


KEPT = waiting()


def target(data: bytes) -> None:
    collector = twin(KEPT)
    collector._sum = tuple(lane.copy() for lane in KEPT._sum)
    collector._missing = set(KEPT._missing)
    collector._outgoing, collector._events = [], []
    collector.receive(server_id(1), data)
    assert collector.done
    if data == TOTALS[1]:
        assert collector.result().reports == 4
        return
    try:
        collector.result()
    except Aborted as error:
        assert "server 1" in str(error)
        return
    raise AssertionError("forged")


if __name__ == "__main__":
    main(target, CORPUS)
