"""The transition tables, as data. A missing entry is the error."""

from __future__ import annotations

import enum

from secagg.protocol import Params, Phase
from secagg.suite import Suite
from secagg_protocols.reports.messages import Tag

# Theory of operation.
#
# Client. It says one thing and waits for receipts: of the leader, or of every server in direct
# mode.
#
#     IDLE --start--> WANT_INPUT --input--> WANT_RECEIPTS --the last receipt--> STORED
#
# Server. A batch is collected, agreed on and released. The leader closes the first stage; a helper
# leaves it when the leader's statement is its own. Nothing is released before LOCKED is stored.
# From UPLOAD and AGREE a batch can end by an abort, and a locked one cannot.
#
#     IDLE --start--> UPLOAD --close, or the leader's statement--> AGREE
#          --every server's signature--> LOCKED
#
# A report passes: received --(opened; a verification goes here)--> accepted --> included, or from
# the first two to rejected. The tables list who may say what, repeats of an earlier stage included.
# A machine whose set is locked decides nothing about reports any more: those that are pending
# belong to the next batch, and to the machine of that. A helper repeats what it said of its set, to
# a leader that has forgotten the lock.


def phases(params: Params, suite: Suite) -> tuple[Phase, ...]:
    """Of a client; a server's stages have names of their own."""
    tag = Tag.REPORT_SHARE if params.direct else Tag.REPORT
    return (Phase("upload", tag, takes_input=True),)


class ClientState(enum.Enum):
    """A client's states, as in the table above: (name, phase)."""

    IDLE = ("idle", "")
    WANT_INPUT = ("want-input", "upload")
    WANT_RECEIPTS = ("want-receipts", "upload")
    STORED = ("stored", "stored")
    ENDED = ("ended", "ended")

    @property
    def phase(self) -> str:
        return self.value[1]


class Stage(enum.Enum):
    """The number is its code in the store."""

    IDLE = ("", 0)
    UPLOAD = ("upload", 1)
    AGREE = ("agree", 2)
    LOCKED = ("collect", 3)
    ABORTED = ("aborted", 4)

    @property
    def phase(self) -> str:
        return self.value[0]

    @property
    def code(self) -> int:
        return self.value[1]

    @classmethod
    def from_code(cls, code: int) -> Stage | None:
        return next((stage for stage in cls if stage.code == code), None)


class Role(enum.Enum):
    """Whom a message comes from."""

    CLIENT = "client"
    LEADER = "leader"
    HELPER = "helper"
    COLLECTOR = "collector"


LEADER: dict[tuple[Stage, Role], frozenset[Tag]] = {
    (Stage.UPLOAD, Role.CLIENT): frozenset({Tag.REPORT, Tag.REPORT_SHARE, Tag.ABORT}),
    (Stage.UPLOAD, Role.HELPER): frozenset({Tag.VERDICT, Tag.DECIDED, Tag.ABORT}),
    (Stage.AGREE, Role.HELPER): frozenset({Tag.VERDICT, Tag.DECIDED, Tag.STATEMENT, Tag.ABORT}),
    (Stage.LOCKED, Role.HELPER): frozenset({Tag.LOCKED}),
    (Stage.UPLOAD, Role.COLLECTOR): frozenset({Tag.COLLECT}),
    (Stage.AGREE, Role.COLLECTOR): frozenset({Tag.COLLECT}),
    (Stage.LOCKED, Role.COLLECTOR): frozenset({Tag.COLLECT}),
    (Stage.ABORTED, Role.COLLECTOR): frozenset({Tag.COLLECT}),
}

_FROM_LEADER = frozenset({Tag.REPORT_SHARE, Tag.DECISION, Tag.STATEMENT})

HELPER: dict[tuple[Stage, Role], frozenset[Tag]] = {
    (Stage.UPLOAD, Role.CLIENT): frozenset({Tag.REPORT_SHARE, Tag.ABORT}),
    (Stage.UPLOAD, Role.LEADER): _FROM_LEADER | {Tag.AGREEMENT, Tag.ABORT},
    (Stage.AGREE, Role.LEADER): _FROM_LEADER | {Tag.AGREEMENT, Tag.ABORT},
    (Stage.LOCKED, Role.LEADER): frozenset({Tag.DECISION, Tag.STATEMENT, Tag.AGREEMENT}),
    (Stage.UPLOAD, Role.COLLECTOR): frozenset({Tag.COLLECT}),
    (Stage.AGREE, Role.COLLECTOR): frozenset({Tag.COLLECT}),
    (Stage.LOCKED, Role.COLLECTOR): frozenset({Tag.COLLECT}),
    (Stage.ABORTED, Role.COLLECTOR): frozenset({Tag.COLLECT}),
}
