"""One secure round at a server whose framework asks and is answered, exchange by exchange: a shell
over `secagg.rounds.ServerRounds`."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from secagg.effects import Effects, Peer
from secagg.errors import Aborted, PolicyRefused, WireError
from secagg.party import Aggregate
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.rounds.quota import Limits
from secagg.rounds.round import End
from secagg.rounds.selection import Candidate
from secagg.rounds.server import ServerRounds
from secagg.shown import short, told
from secagg.types import Fault
from secagg.wire.frame import MAX_SIZE, payload_digest

# Theory of operation.
#
# An exchange is a phase: what is asked goes to all nodes at once, and what has come back by the
# timeout is what there is. Who has not answered then has lost its link: without an identity it
# cannot come back to this round. The deadlines that are announced are those timeouts. The rounds'
# own clock is turned on to one only where a node has answered, and with something that is no
# answer.
#
# The framework carries the input's exchange itself, for that is its own training message with the
# frames added; so a round is `agree`, then the framework's turn, then `answer` for each of its
# replies, and `finish`. Whom a round takes the framework has decided before.

KEYS, INPUT, UNMASK = "keys", "input", "unmask"
"""What is asked: the exchanges before there is an input, the one that takes it, the last."""
STEPS = (KEYS, INPUT, UNMASK)
_SHOWN = 3
"""How many different refusals an error lists."""
_NEARLY = 0.95
"""Of an exchange's seconds, after which its time was what ended it: a framework's own clock, which
begins with each message, may be ahead."""
_MORE = {
    Fault.BAD_INPUT: ": its input does not fit the plan, or could not be made: its own log says",
    Fault.QUIT: ": it said so itself, as one without examples does",
}

Node = TypeVar("Node", int, str)
"""How the framework names a client."""
Frames = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Absence:
    """Why a node is not in a round, in one line; and whether it has refused, or is lost."""

    why: str
    refused: bool

    __repr__ = short


@dataclass
class _Clock:
    """due: when the rounds are to be asked next. skew: how far their clock was turned on. phase,
    began: of the exchange that runs."""

    due: float = 0.0
    skew: float = 0.0
    phase: str = ""
    began: float = 0.0

    def begins(self, phase: str) -> None:
        self.phase, self.began = phase, time.monotonic()


class ExchangedRound(ABC, Generic[Node]):
    """From the announcement to the sum: `agree`, `asked_for_input`, `answer`, `finish`.

    payload: what the round is about, which each node computes from what it received. deadlines:
    seconds by phase.
    """

    def __init__(self, made: Plan, payload: bytes, deadlines: Mapping[str, float]) -> None:
        self._plan, self._payload, self._deadlines = made, payload, deadlines
        limits = Limits(frame=MAX_SIZE, backlog=MAX_SIZE)
        self._rounds = ServerRounds(limits, select=_everybody)
        self._peers: dict[Node, Peer] = {}
        self._waiting: defaultdict[Peer, list[bytes]] = defaultdict(list)
        self._silent: set[Node] = set()
        self._end: End | None = None
        self._clock = _Clock()
        self._absent: dict[Node, Absence] = {}
        self._input = [phase.takes_input for phase in made.phases].index(True)

    @abstractmethod
    def _carry(self, step: str, asked: Mapping[Node, Frames], seconds: float) -> None:
        """Sends to each node what is asked of it, and calls `answer` for what comes back by
        then."""

    def agree(self, nodes: Sequence[Node]) -> None:
        """Everything before the input. Raises Aborted where too few are left, and PolicyRefused
        where no node takes part at all."""
        self._peers = {node: Peer(str(node)) for node in nodes}
        for peer in self._peers.values():
            self._rounds.joined(peer, self._now())
        self._rounds.open(
            Task(self._plan, payload_digest=payload_digest(self._payload)),
            self._payload,
            deadlines=self._deadlines,
            now=self._now(),
            inline=False,
        )
        self._act()
        for phase in self._plan.phase_names[: self._input]:
            self._exchange(phase, KEYS)
        self._check_anybody()
        self._check()

    def asked_for_input(self) -> dict[Node, Frames]:
        """What the input's exchange asks of each node that is still there. Whoever of the round has
        not answered it by `finish` is lost."""
        self._silent = set(self._peers)
        self._clock.begins(self._plan.phase_names[self._input])
        return self._take_waiting()

    def answer(self, node: Node, frames: Iterable[bytes]) -> None:
        """Of a node that was asked: its first answer counts, and one without frames is none."""
        if node not in self._silent or not (frames := tuple(frames)):
            return
        self._silent.discard(node)
        for frame in frames:
            self._rounds.received(self._peer(node), frame, self._now())

    def refuse(self, node: Node, why: str) -> None:
        """The node takes no part, as it says or as its answer shows: in words of its own, which
        the log and errors of a server have in one line."""
        self._absent[node] = Absence(told(why), refused=True)

    def lose(self, node: Node, why: str) -> None:
        """The node has not answered, as the framework says: whether it would, nobody knows."""
        self._absent[node] = Absence(told(why), refused=False)

    def finish(self) -> Aggregate:
        """The sum of those whose masked inputs were answers. Raises Aborted, and IntegrityError,
        where there is none; and as `agree`, where this is the first exchange."""
        self._close()
        if self._input == 0:
            self._check_anybody()
        for phase in self._plan.phase_names[self._input + 1 :]:
            self._exchange(phase, UNMASK)
        self._check()
        if self._end is None:
            raise WireError("the nodes have answered every exchange, and the round has not ended")
        return self._end.get()

    def missing(self) -> dict[str, str]:
        """Why each that was asked and is not in the sum is not, by its name in text: as it says or
        as its answers show, that the time was over, or for which fault it was dropped. Empty before
        there is a sum.
        """
        if self._end is None or (total := self._end.result) is None:
            return {}
        report, found = self._end.report, {}
        known = {str(node): absence.why for node, absence in self._absent.items()}
        for party in sorted(total.dropped):
            name, fault = str(report.peers[party].name), report.faults.get(party)
            why = "lost" if fault is None else fault.value + _MORE.get(fault, "")
            found[name] = known.get(name, why)
        return found

    @property
    def waits(self) -> float:
        """Seconds for the answers with inputs."""
        return self._deadlines[self._plan.phase_names[self._input]]

    # Inside

    def _exchange(self, phase: str, step: str) -> None:
        if self._end is not None:
            return
        asked = self._take_waiting()
        self._silent = set(asked)
        self._clock.begins(phase)
        self._carry(step, asked, self._deadlines[phase])
        self._close()

    def _take_waiting(self) -> dict[Node, Frames]:
        waiting = {node: self._waiting.pop(peer, []) for node, peer in self._peers.items()}
        return {node: tuple(frames) for node, frames in waiting.items() if frames}

    def _close(self) -> None:
        """The exchange is over, and its time may be what has ended it."""
        phase = self._clock.phase
        seconds = self._deadlines.get(phase, 0.0)
        if time.monotonic() - self._clock.began >= _NEARLY * seconds:
            why = f"the {seconds:g} s of the exchange {phase!r} were over (timeouts=)"
            for node in self._silent & self._peers.keys():
                if node not in self._absent or not self._absent[node].refused:
                    self._absent[node] = Absence(why, refused=False)
        for node in self._silent & self._peers.keys():
            self._rounds.left(self._peers.pop(node), self._now())
        self._silent = set()
        self._act()
        if self._end is None and not any(self._waiting.values()):
            self._clock.skew += max(0.0, self._clock.due - self._now())
            self._rounds.tick(self._now())
            self._act()

    def _act(self) -> None:
        """All that the rounds want done, until nothing moves. A round's end is its last word."""
        while (effects := self._rounds.take()) != Effects(due=effects.due):
            for post in effects.posts:
                self._waiting[post.peer].append(post.frame.encode())
            for peer in effects.let_go:
                self._rounds.left(peer, self._now())
            for work in effects.work:
                self._rounds.finished(work, work.job(), self._now())
        self._clock.due = effects.due
        for end in self._rounds.ends():
            self._end = end

    def _check_anybody(self) -> None:
        """After the first exchange: what all refuse, they refuse in the next round too. Not where
        some were only lost: one that refuses would end a run by waiting for an outage."""
        refused = sum(absence.refused for absence in self._absent.values())
        if not self._peers and refused == self._plan.threat.clients:
            raise PolicyRefused(f"no node takes part in the secure round: {self._refused()}")

    def _check(self) -> None:
        if self._end is None or not isinstance(ended := self._end.error, Aborted):
            return
        why = f"; nodes say: {self._refused()}" if self._absent else ""
        raise Aborted(ended.reason, ended.detail + why) from None

    def _refused(self) -> str:
        """The reasons, the most frequent first."""
        counted = Counter((absence.why for absence in self._absent.values())).most_common()
        said = "; ".join(f"{number} x {why}" for why, number in counted[:_SHOWN])
        return said + (f"; and {len(counted) - _SHOWN} other reasons" if counted[_SHOWN:] else "")

    def _peer(self, node: Node) -> Peer:
        return self._peers.get(node, Peer(str(node)))

    def _now(self) -> float:
        return time.monotonic() + self._clock.skew


def _everybody(plan: Plan, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """The framework has chosen them already."""
    return candidates
