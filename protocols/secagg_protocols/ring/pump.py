"""All parties of a ring in one process."""

from __future__ import annotations

from collections.abc import Sequence

from secagg.sansio import Outgoing
from secagg.types import PartyId
from secagg_protocols.ring.machine import RingParty


def run(parties: Sequence[RingParty]) -> list[tuple[PartyId, Outgoing]]:
    """Starts all parties of one process, in their order, and carries messages until all is quiet.

    The inputs are set. Returns what was sent, with its sender: what the colluders of
    secagg_protocols.ring.attack work on.
    """
    for party in parties:
        party.start()
    sent: list[tuple[PartyId, Outgoing]] = []
    carried = 0
    while True:
        sent += [(PartyId(i), m) for i, party in enumerate(parties) for m in party.outgoing()]
        if carried == len(sent):
            return sent
        sender, message = sent[carried]
        carried += 1
        parties[message.to].receive(sender, message.data)
