"""The transition tables, as data. A missing entry is the error."""

from __future__ import annotations

import enum

from secagg.protocol import Phase
from secagg_protocols.secagg.messages import Tag

# Theory of operation.
#
# Client. It answers the first key list, share list and unmask request, in this order, and nothing
# twice: the same bytes again get the same reply from a memo that stands before the table, and other
# bytes are a fault, because the state has moved on. Its input is a field, not a state; WANT_INPUT
# is left at once where the input is there already. Every state after IDLE can end by an abort from
# the server, any by its own refusal, and those before ANSWERED by a lost link; an ended session
# says nothing more. An abort after ANSWERED is the server's news that the round failed: the input
# is spent all the same.
#
#     IDLE --start--> WANT_KEYS --key-list--> WANT_SHARES --share-list--> WANT_INPUT
#          --input--> WANT_SURVIVORS --unmask-request--> ANSWERED
#
# Server. A phase takes one kind of message from each client it waits for; closing it fixes a set
# (U1, U2, U3, U5) that never changes again, and sends what reveals it. RECOVER has no messages: it
# waits for jobs. From every state but the last two the session can end by an abort.
#
#     IDLE --start--> ADVERTISE_KEYS --close--> SHARE_KEYS --close--> MASKED_INPUT --close--> UNMASK
#          --close--> RECOVER --jobs done--> FINISHED

# One tuple for both graphs: SecAgg and SecAgg+ differ in who is whose neighbour, and in no message
# and no order. In Bonawitz et al. 2017 these are rounds 0, 1, 2 and 4; round 3, the consistency
# check, belongs to the active model alone.
PHASES = (
    Phase("advertise-keys", Tag.ADVERTISE_KEYS),
    Phase("share-keys", Tag.SHARE_KEYS),
    Phase("masked-input", Tag.MASKED_INPUT, takes_input=True),
    Phase("unmask", Tag.UNMASK_ANSWER),
)


class ClientState(enum.Enum):
    """Named by what it waits for; the value is the phase whose message it sent last."""

    IDLE = ("idle", "")
    WANT_KEYS = ("want-keys", "advertise-keys")
    WANT_SHARES = ("want-shares", "share-keys")
    WANT_INPUT = ("want-input", "masked-input")
    WANT_SURVIVORS = ("want-survivors", "masked-input")
    WANT_QUORUM = ("want-quorum", "consistency")  # of active mode alone
    ANSWERED = ("answered", "unmask")
    ENDED = ("ended", "ended")

    @property
    def phase(self) -> str:
        return self.value[1]


class Input(enum.Enum):
    """What happens to a machine other than a message."""

    START = "start"
    INPUT = "input"
    CLOSE = "close"
    RECOVERED = "recovered"


# ENDED has no entries, and ANSWERED only the abort: whoever is there has no secret left and nothing
# to decide. There is no way back from any state: a second key list or survivor set is a fault of
# the server and not a new attempt, or it could ask for b and for s_sk of one dealer, one after the
# other.
CLIENT = {
    (ClientState.IDLE, Input.START): ClientState.WANT_KEYS,
    (ClientState.WANT_KEYS, Tag.KEY_LIST): ClientState.WANT_SHARES,
    (ClientState.WANT_SHARES, Tag.SHARE_LIST): ClientState.WANT_INPUT,
    (ClientState.WANT_INPUT, Input.INPUT): ClientState.WANT_SURVIVORS,
    (ClientState.WANT_SURVIVORS, Tag.UNMASK_REQUEST): ClientState.ANSWERED,
    (ClientState.WANT_KEYS, Tag.ABORT): ClientState.ENDED,
    (ClientState.WANT_SHARES, Tag.ABORT): ClientState.ENDED,
    (ClientState.WANT_INPUT, Tag.ABORT): ClientState.ENDED,
    (ClientState.WANT_SURVIVORS, Tag.ABORT): ClientState.ENDED,
    (ClientState.ANSWERED, Tag.ABORT): ClientState.ENDED,
}


class ServerState(enum.Enum):
    """The server's states, as in the table below: (name, phase)."""

    IDLE = ("idle", "")
    ADVERTISE_KEYS = ("advertise-keys", "advertise-keys")
    SHARE_KEYS = ("share-keys", "share-keys")
    MASKED_INPUT = ("masked-input", "masked-input")
    CONSISTENCY = ("consistency", "consistency")  # of active mode alone, and so in no row
    UNMASK = ("unmask", "unmask")
    RECOVER = ("recover", "unmask")
    FINISHED = ("finished", "finished")
    ABORTED = ("aborted", "aborted")

    @property
    def phase(self) -> str:
        return self.value[1]

    @property
    def code(self) -> int:
        """In a row (specs/10-secagg.md §12): the place among those that have one, from 0."""
        with_rows: list[ServerState] = [s for s in ServerState if s is not ServerState.CONSISTENCY]
        return with_rows.index(self)


# An abort of a client leaves the state as it is: it drops its sender, and whether too many are gone
# is looked at when the phase closes. RECOVER takes no messages, abort included: the answers are
# there, and nobody can take one back.
SERVER = {
    (ServerState.IDLE, Input.START): ServerState.ADVERTISE_KEYS,
    (ServerState.ADVERTISE_KEYS, Tag.ADVERTISE_KEYS): ServerState.ADVERTISE_KEYS,
    (ServerState.ADVERTISE_KEYS, Input.CLOSE): ServerState.SHARE_KEYS,
    (ServerState.SHARE_KEYS, Tag.SHARE_KEYS): ServerState.SHARE_KEYS,
    (ServerState.SHARE_KEYS, Input.CLOSE): ServerState.MASKED_INPUT,
    (ServerState.MASKED_INPUT, Tag.MASKED_INPUT): ServerState.MASKED_INPUT,
    (ServerState.MASKED_INPUT, Input.CLOSE): ServerState.UNMASK,
    (ServerState.UNMASK, Tag.UNMASK_ANSWER): ServerState.UNMASK,
    (ServerState.UNMASK, Input.CLOSE): ServerState.RECOVER,
    (ServerState.RECOVER, Input.RECOVERED): ServerState.FINISHED,
    (ServerState.ADVERTISE_KEYS, Tag.ABORT): ServerState.ADVERTISE_KEYS,
    (ServerState.SHARE_KEYS, Tag.ABORT): ServerState.SHARE_KEYS,
    (ServerState.MASKED_INPUT, Tag.ABORT): ServerState.MASKED_INPUT,
    (ServerState.UNMASK, Tag.ABORT): ServerState.UNMASK,
}
