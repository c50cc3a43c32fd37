"""One secure round at the server, carried by a Grid: a shell over `secagg.rounds.ServerRounds`."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flwr.app import Message, RecordDict

from secagg.effects import Effects, Peer
from secagg.errors import Aborted, PolicyRefused, WireError
from secagg.integrations.flower import carry
from secagg.party import Aggregate
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.rounds.quota import Limits
from secagg.rounds.round import End
from secagg.rounds.selection import Candidate
from secagg.rounds.server import ServerRounds
from secagg.wire.frame import MAX_SIZE, payload_digest

# A grid answers as a whole: what is asked goes to all nodes at once, and what has come back by the
# timeout comes back at once. So an exchange is a phase, and who has not answered when it ends has
# lost its link: without an identity it cannot come back to this round. The deadlines that are
# announced are those timeouts. The rounds' own clock is turned on to one only where a node has
# answered, and with something that is no answer.

_PLAIN = (
    "it answered outside the secure round: its app needs ClientApp(mods=[secagg_mod]), "
    "from secagg.integrations.flower"
)
_SHOWN = 3
"""How many different refusals an error lists."""


@dataclass(frozen=True, slots=True)
class Asking:
    """kind: of the messages, as the nodes' own functions are registered by. number: the server's
    round. weighted_by: the metric that is a node's weight. deadlines: seconds by phase."""

    kind: str
    number: int
    weighted_by: str
    deadlines: Mapping[str, float]


class GridRound:
    """From the announcement to the sum: `agree`, `requests`, `finish`, in this order.

    payload: what the round is about, as `model.payload` makes it.
    """

    def __init__(self, grid: Any, made: Plan, payload: bytes, asking: Asking) -> None:
        self._grid, self._plan, self._payload, self._asking = grid, made, payload, asking
        limits = Limits(frame=MAX_SIZE, backlog=MAX_SIZE)
        self._rounds = ServerRounds(limits, select=_everybody)
        self._peers: dict[int, Peer] = {}
        self._waiting: defaultdict[Peer, list[bytes]] = defaultdict(list)
        self._end: End | None = None
        self._due = self._skew = 0.0
        self._refusals: dict[int, str] = {}
        names = [phase.takes_input for phase in made.phases]
        self._input = names.index(True)

    def agree(self, nodes: Sequence[int]) -> None:
        """Everything before the input. Raises Aborted where too few are left, and PolicyRefused
        where no node takes part at all."""
        self._peers = {node: Peer(str(node)) for node in nodes}
        for peer in self._peers.values():
            self._rounds.joined(peer, self._now())
        self._rounds.open(
            Task(self._plan, payload_digest=payload_digest(self._payload)),
            self._payload,
            deadlines=self._asking.deadlines,
            now=self._now(),
            inline=False,
        )
        self._act()
        for phase in self._plan.phase_names[: self._input]:
            self._exchange(phase, carry.KEYS)
        self._check_anybody()
        self._check()

    def requests(self, originals: Iterable[Message]) -> list[Message]:
        """The application's own messages, to those that are still there, with what the round asks
        of each."""
        phase = self._plan.phase_names[self._input]
        return [
            self._message(node, phase, carry.INPUT, dict(original.content.items()))
            for original in originals
            if self._waiting[self._peer(node := original.metadata.dst_node_id)]
        ]

    def finish(self, replies: Iterable[Message]) -> Aggregate:
        """The sum of those whose masked inputs are among the replies. Raises Aborted, and
        IntegrityError, where there is none; and as `agree`, where this is the first exchange."""
        self._hear([*self._peers], replies)
        if self._input == 0:
            self._check_anybody()
        for phase in self._plan.phase_names[self._input + 1 :]:
            self._exchange(phase, carry.UNMASK)
        self._check()
        if self._end is None:
            raise WireError("the nodes have answered every exchange, and the round has not ended")
        return self._end.get()

    @property
    def refusals(self) -> Mapping[int, str]:
        """Why nodes took no part, as they say or as their answers show, by node."""
        return self._refusals

    @property
    def waits(self) -> float:
        """Seconds for the answers to `requests`."""
        return self._asking.deadlines[self._plan.phase_names[self._input]]

    # Inside

    def _exchange(self, phase: str, step: str) -> None:
        if self._end is not None:
            return
        asked = [node for node, peer in self._peers.items() if self._waiting[peer]]
        messages = [self._message(node, phase, step, {}) for node in asked]
        seconds = self._asking.deadlines[phase]
        self._hear(asked, self._grid.send_and_receive(messages, timeout=seconds))

    def _message(self, node: int, phase: str, step: str, content: dict[str, Any]) -> Message:
        asking = self._asking
        frames = tuple(self._waiting.pop(self._peers[node]))
        asked = carry.Asked(step, asking.number, asking.weighted_by, frames)
        return Message(
            RecordDict(content | carry.asking(asked)),
            dst_node_id=node,
            message_type=asking.kind,
            ttl=asking.deadlines[phase],
            group_id=str(asking.number),
        )

    def _hear(self, asked: Sequence[int], replies: Iterable[Message]) -> None:
        """The answers of an exchange, which is over."""
        silent = set(asked)
        for reply in replies:
            node = reply.metadata.src_node_id
            if node in silent and (frames := self._frames(node, reply)):
                silent.discard(node)
                for frame in frames:
                    self._rounds.received(self._peer(node), frame, self._now())
        for node in silent & self._peers.keys():
            self._rounds.left(self._peers.pop(node), self._now())
        self._act()
        if self._end is None and not any(self._waiting.values()):
            self._skew += max(0.0, self._due - self._now())
            self._rounds.tick(self._now())
            self._act()

    def _frames(self, node: int, reply: Message) -> tuple[bytes, ...]:
        """None for a node that has refused, or is no part of this; why is kept."""
        if reply.has_error():
            self._refusals[node] = str(reply.error.reason)
            return ()
        try:
            return carry.frames_of(reply.content)
        except WireError as error:
            plain = carry.ABOUT not in reply.content
            self._refusals[node] = _PLAIN if plain else str(error)
            return ()

    def _act(self) -> None:
        """All that the rounds want done, until nothing moves. A round's end is its last word."""
        while (effects := self._rounds.take()) != Effects(due=effects.due):
            for post in effects.posts:
                self._waiting[post.peer].append(post.frame.encode())
            for peer in effects.let_go:
                self._rounds.left(peer, self._now())
            for work in effects.work:
                self._rounds.finished(work, work.job(), self._now())
        self._due = effects.due
        for end in self._rounds.ends():
            self._end = end

    def _check_anybody(self) -> None:
        """After the first exchange: what all refuse, they refuse in the next round too."""
        if not self._peers and self._refusals:
            raise PolicyRefused(f"no node takes part in the secure round: {self._refused()}")

    def _check(self) -> None:
        if self._end is None or not isinstance(ended := self._end.error, Aborted):
            return
        why = f"; nodes say: {self._refused()}" if self._refusals else ""
        raise Aborted(ended.reason, ended.detail + why) from None

    def _refused(self) -> str:
        """The reasons, the most frequent first."""
        counted = Counter(self._refusals.values()).most_common()
        said = "; ".join(f"{number} x {why}" for why, number in counted[:_SHOWN])
        return said + (f"; and {len(counted) - _SHOWN} other reasons" if counted[_SHOWN:] else "")

    def _peer(self, node: int) -> Peer:
        return self._peers.get(node, Peer(str(node)))

    def _now(self) -> float:
        return time.monotonic() + self._skew


def _everybody(plan: Plan, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """Flower's own strategy has chosen them already."""
    return candidates
