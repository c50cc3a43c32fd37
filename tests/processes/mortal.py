"""What can happen to a server process at a chosen moment: its death, or a change of heart.

A moment is a commit of a certain row, or a message of a certain tag, counted from 1 since the
process began; {"die": "before" | "after", "row" | "message": name, "count": k} kills it there, by
SIGKILL. {"lie": name} makes its machine tell lies, see LIES.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

from secagg.effects import NAMESPACE_SIZE, OWNER_SIZE, Write
from secagg.sansio import Outgoing
from secagg.store.sqlite import SqliteStore
from secagg.transport import websocket
from secagg.types import PartyId, server_id
from secagg.wire.codec import Reader
from secagg.wire.frame import HEAD_SIZE, MESSAGE
from secagg.wire.header import HEADER_SIZE, read_header
from secagg_protocols.reports.helper import Helper
from secagg_protocols.reports.leader import Leader
from secagg_protocols.reports.messages import NAMES, Ruling, Tag, Verdict
from secagg_protocols.reports.shape import ID_SIZE, Shape

REPORT_STATES = {1: "pending", 2: "rejected", 3: "included"}
BATCH_STATES = {1: "upload", 2: "agree", 3: "locked", 4: "aborted"}


def arm(fault: dict[str, Any]) -> None:
    if "lie" in fault:
        LIES[fault["lie"]]()
        return
    moment = Moment(fault["die"], fault["count"])
    if "row" in fault:
        watch_commits(lambda writes: sum(row_name(w) == fault["row"] for w in writes), moment)
    else:
        watch_sends(lambda data: message_name(data) == fault["message"], moment)


class Moment:
    """Counts what happens, and ends the process when it is time."""

    def __init__(self, when: str, count: int) -> None:
        self.when, self.left = when, count

    def passes(self, number: int) -> bool:
        """Whether this is the one."""
        before, self.left = self.left, self.left - number
        return before > 0 >= self.left

    def strike(self, when: str) -> None:
        if when == self.when:
            os.kill(os.getpid(), signal.SIGKILL)


def row_name(write: Write) -> str:
    kind = write.key[NAMESPACE_SIZE + OWNER_SIZE :][:1]
    if kind == b"r" and write.value:
        return REPORT_STATES[write.value[0]]
    if kind == b"b" and write.value:
        return BATCH_STATES[write.value[0]]
    return kind.decode("latin-1")


def message_name(frame: bytes) -> str:
    if frame[1] != MESSAGE:
        return ""
    tag, _ = read_header(Reader(frame[HEAD_SIZE:]))
    return NAMES[tag]


def watch_commits(count: Callable[[Sequence[Write]], int], moment: Moment) -> None:
    honest = SqliteStore.commit

    def commit(self: SqliteStore, writes: Sequence[Write]) -> None:
        now = moment.passes(count(writes))
        if now:
            moment.strike("before")
        honest(self, writes)
        if now:
            moment.strike("after")

    SqliteStore.commit = commit  # type: ignore[method-assign]


def watch_sends(wanted: Callable[[bytes], bool], moment: Moment) -> None:
    for kind in (websocket._ClientLink, websocket._ServerLink):
        honest = kind.send

        async def send(self: Any, data: bytes, honest: Any = honest) -> None:
            now = wanted(data) and moment.passes(1)
            if now:
                moment.strike("before")
            await honest(self, data)
            if now:
                moment.strike("after")

        kind.send = send  # type: ignore[method-assign]


# Lies: each changes what one kind of machine says

Change = Callable[[Any, list[Outgoing]], list[Outgoing]]


def lying(machine: type[Any]) -> Callable[[Change], Callable[[], None]]:
    def decorate(change: Change) -> Callable[[], None]:
        def arm_it() -> None:
            honest = machine.outgoing
            machine.outgoing = lambda self: change(self, honest(self))

        return arm_it

    return decorate


def tag_of(message: Outgoing) -> Tag:
    return Tag(read_header(Reader(message.data))[0])


def flipped(message: Outgoing, at: int) -> Outgoing:
    data = bytearray(message.data)
    data[at] ^= 1
    return Outgoing(message.to, bytes(data), message.commit)


def others(drained: list[Outgoing], tag: Tag, to: PartyId | None = None) -> list[Outgoing]:
    return [m for m in drained if tag_of(m) is not tag or to not in (None, m.to)]


def of(drained: list[Outgoing], tag: Tag, to: PartyId | None = None) -> list[Outgoing]:
    return [m for m in drained if tag_of(m) is tag and to in (None, m.to)]


@lying(Leader)
def leader_repeats(self: Leader, drained: list[Outgoing]) -> list[Outgoing]:
    """Everything that it says to a server, twice."""
    return [m for m in drained for _ in range(2 if m.to > server_id(16) else 1)]


@lying(Helper)
def helper_repeats(self: Helper, drained: list[Outgoing]) -> list[Outgoing]:
    return [m for m in drained for _ in range(2)]


@lying(Leader)
def leader_alters(self: Leader, drained: list[Outgoing]) -> list[Outgoing]:
    """The shares that it relays to server 1."""
    altered = [flipped(m, -1) for m in of(drained, Tag.REPORT_SHARE, server_id(1))]
    return others(drained, Tag.REPORT_SHARE, server_id(1)) + altered


_held: list[Outgoing] = []


@lying(Leader)
def leader_swaps(self: Leader, drained: list[Outgoing]) -> list[Outgoing]:
    """The shares of two reports to server 1: each comes under the other's head."""
    _held.extend(of(drained, Tag.REPORT_SHARE, server_id(1)))
    rest = others(drained, Tag.REPORT_SHARE, server_id(1))
    if len(_held) < 2:
        return rest
    one, two = _held[:2]
    head = self._context.shape.head
    _held[:2] = []
    swapped = [
        Outgoing(one.to, a.data[:head] + b.data[head:], True) for a, b in ((one, two), (two, one))
    ]
    return rest + swapped


@lying(Leader)
def leader_omits(self: Leader, drained: list[Outgoing]) -> list[Outgoing]:
    """One report is included by itself and server 2, and kept from server 1, as if that had it."""
    if not _held:
        _held.extend(of(drained, Tag.DECISION, server_id(1))[:1])
    if not _held:
        return drained
    kept = read_ruling(_held[0])
    self._helpers[1].undone.pop(kept.id, None)
    return [
        m
        for m in drained
        if m.to != server_id(1) or tag_of(m) is not Tag.DECISION or read_ruling(m).id != kept.id
    ]


@lying(Helper)
def helper_omits(self: Helper, drained: list[Outgoing]) -> list[Outgoing]:
    """Its first verdict is never given."""
    if not _held:
        _held.extend(of(drained, Tag.VERDICT)[:1])
    if not _held:
        return drained
    kept = read_ruling(_held[0]).id
    return [m for m in drained if tag_of(m) is not Tag.VERDICT or read_ruling(m).id != kept]


@lying(Helper)
def helper_rejects(self: Helper, drained: list[Outgoing]) -> list[Outgoing]:
    """It claims that the first report does not open."""
    if not _held:
        _held.extend(of(drained, Tag.VERDICT)[:1])
    if not _held:
        return drained
    kept = read_ruling(_held[0])
    return [
        Outgoing(
            m.to,
            Ruling(kept.id, kept.digest, Verdict.REJECTED).encode(Tag.VERDICT, bound(m)),
            True,
        )
        if tag_of(m) is Tag.VERDICT and read_ruling(m).id == kept.id
        else m
        for m in drained
    ]


@lying(Helper)
def helper_skips(self: Helper, drained: list[Outgoing]) -> list[Outgoing]:
    """Says that it has done what was decided on the first report, and forgets the report."""
    if not _held and of(drained, Tag.DECIDED):
        _held.extend(of(drained, Tag.DECIDED)[:1])
        done = _held[0].data[HEADER_SIZE : HEADER_SIZE + ID_SIZE]
        self._book.included.pop(done, None)
    return drained


@lying(Helper)
def helper_signs_another(self: Helper, drained: list[Outgoing]) -> list[Outgoing]:
    """Its statement has another count."""
    return [flipped(m, HEADER_SIZE + 3) if tag_of(m) is Tag.STATEMENT else m for m in drained]


@lying(Helper)
def helper_forges(self: Helper, drained: list[Outgoing]) -> list[Outgoing]:
    """Its signature is none."""
    return [flipped(m, -1) if tag_of(m) is Tag.STATEMENT else m for m in drained]


@lying(Helper)
def helper_alters_its_total(self: Helper, drained: list[Outgoing]) -> list[Outgoing]:
    """After it was signed."""
    return [flipped(m, -65) if tag_of(m) is Tag.TOTAL else m for m in drained]


@lying(Helper)
def helper_adds_to_the_count(self: Helper, drained: list[Outgoing]) -> list[Outgoing]:
    """Adds one to the whole of its sum before that is sealed: also to the elements that count."""
    if of(drained, Tag.STATEMENT) and not _held:
        _held.extend(of(drained, Tag.STATEMENT))
        for lane in self._tally.total:
            lane += lane.dtype.type(1)
    return drained


def read_ruling(message: Outgoing) -> Ruling:
    reader = Reader(message.data)
    read_header(reader)
    return Ruling.read(reader, tag_of(message), Shape((), 0))


def bound(message: Outgoing) -> bytes:
    return read_header(Reader(message.data))[1]


LIES: dict[str, Callable[[], None]] = {
    name: value for name, value in globals().items() if name.startswith(("leader_", "helper_"))
}
