"""One secure round at the server, carried by a Grid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flwr.app import Error, Message, RecordDict

from secagg.errors import WireError
from secagg.integrations.exchange import INPUT, ExchangedRound, Frames
from secagg.integrations.floors import OURS
from secagg.integrations.flower import carry
from secagg.party import Aggregate
from secagg.plans.plan import Plan
from secagg.shown import short

_PLAIN = (
    "it answered outside the secure round: its app needs ClientApp(mods=[secagg_mod]), "
    "from secagg.integrations.flower"
)
_RAISED = (
    "it answered outside the secure round, with an exception{}, which is in its own log: probably "
    "its app lacks ClientApp(mods=[secagg_mod]), from secagg.integrations.flower, whose messages "
    "have no model at first; or a mod in front of secagg_mod has raised"
)
_MOD = "a mod in front of secagg_mod has refused: others come after it ({})"
RAISED, MOD = 2, 6
"""Flower's codes for an exception of the app, and for a mod that refuses, as ours does too."""
_LONGEST = 200
LOST = (3, 4, 5, 8)
"""And for a message, a reply or a node that is not there, and an app that has crashed."""
_EXCEPTION = re.compile(r"<class '([\w.()]+)'>:")
"""How Flower begins what it says of an exception. Its text, which may be long and have anything in
it, follows."""


@dataclass(frozen=True, slots=True)
class Asking:
    """kind: of the messages, as the nodes' own functions are registered by. number: the server's
    round. weighted_by: the metric that is a node's weight. run_config: a digest, or empty.
    deadlines: seconds by phase."""

    kind: str
    number: int
    weighted_by: str
    run_config: bytes
    deadlines: Mapping[str, float]

    __repr__ = short


class GridRound(ExchangedRound[int]):
    """From the announcement to the sum: `agree`, `requests`, `total`, in this order.

    payload: what the round is about, as `model.payload` makes it.
    """

    def __init__(self, grid: Any, made: Plan, payload: bytes, asking: Asking) -> None:
        super().__init__(made, payload, asking.deadlines)
        self._grid, self._asking = grid, asking

    def requests(self, originals: Iterable[Message]) -> list[Message]:
        """The application's own messages, to those that are still there, with what the round asks
        of each."""
        asked = self.asked_for_input()
        return [
            self._message(node, INPUT, asked[node], self.waits, dict(original.content.items()))
            for original in originals
            if (node := original.metadata.dst_node_id) in asked
        ]

    def total(self, replies: Iterable[Message]) -> Aggregate:
        """The sum of those whose masked inputs are among the replies; raises as `finish` does."""
        self._hear(replies)
        return self.finish()

    def _carry(self, step: str, asked: Mapping[int, Frames], seconds: float) -> None:
        messages = [self._message(n, step, frames, seconds, {}) for n, frames in asked.items()]
        self._hear(self._grid.send_and_receive(messages, timeout=seconds))

    def _message(
        self, node: int, step: str, frames: Frames, seconds: float, content: dict[str, Any]
    ) -> Message:
        asking = self._asking
        asked = carry.Asked(step, asking.number, asking.weighted_by, asking.run_config, frames)
        return Message(
            RecordDict(content | carry.asking(asked)),
            dst_node_id=node,
            message_type=asking.kind,
            ttl=seconds,
            group_id=str(asking.number),
        )

    def _hear(self, replies: Iterable[Message]) -> None:
        for reply in replies:
            node = reply.metadata.src_node_id
            self.answer(node, self._frames(node, reply))

    def _frames(self, node: int, reply: Message) -> Sequence[bytes]:
        """None for a node that has refused, or is no part of this; why is kept."""
        if reply.has_error():
            lost = reply.error.code in LOST and not str(reply.error.reason).startswith(OURS)
            (self.lose if lost else self.refuse)(node, _why(reply.error))
            return ()
        try:
            return carry.frames_of(reply.content)
        except WireError as error:
            plain = carry.ABOUT not in reply.content
            self.refuse(node, _PLAIN if plain else str(error))
            return ()


def _why(error: Error) -> str:
    """In the words of our mod; what else answers in its place, does so because it is missing, or
    stands in front of it."""
    reason = str(error.reason)
    if reason.startswith(OURS):
        return reason
    raised = _EXCEPTION.match(reason)
    if error.code == RAISED:
        return _RAISED.format(f" ({raised[1]})" if raised else "")
    said = raised[1] if raised else _shortened(reason.partition("\n")[0])
    return _MOD.format(said) if error.code == MOD else said


def _shortened(text: str) -> str:
    """Flower's own texts may be long: cut between two words, where there are two."""
    cut = text[:_LONGEST]
    return text if cut == text else f"{cut.rpartition(' ')[0] or cut} .."
