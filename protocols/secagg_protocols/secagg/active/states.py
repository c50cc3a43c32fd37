"""The transition tables of active mode, as data: those of suite 1 with a step more
(specs/12-active.md §1)."""

from __future__ import annotations

from typing import Any

from secagg.protocol import Phase
from secagg_protocols.secagg.active.messages import AGREE, SURVIVORS
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.states import (
    CLIENT as SEMI_HONEST_CLIENT,
)
from secagg_protocols.secagg.states import (
    PHASES as SEMI_HONEST_PHASES,
)
from secagg_protocols.secagg.states import (
    SERVER as SEMI_HONEST_SERVER,
)
from secagg_protocols.secagg.states import (
    ClientState,
    Input,
    ServerState,
)

# Between the masked input and the answer stands the agreement: nobody opens a share for a survivor
# set before a quorum has signed it. So the one entry of suite 1 that leads past it is taken out,
# and those that lead through it are put in.
PHASES = (*SEMI_HONEST_PHASES[:3], Phase("consistency", AGREE), *SEMI_HONEST_PHASES[3:])

CLIENT: dict[tuple[ClientState, Any], ClientState] = {
    **SEMI_HONEST_CLIENT,
    (ClientState.WANT_SURVIVORS, SURVIVORS): ClientState.WANT_QUORUM,
    (ClientState.WANT_QUORUM, Tag.UNMASK_REQUEST): ClientState.ANSWERED,
    (ClientState.WANT_QUORUM, Tag.ABORT): ClientState.ENDED,
}
del CLIENT[ClientState.WANT_SURVIVORS, Tag.UNMASK_REQUEST]

SERVER: dict[tuple[ServerState, Any], ServerState] = {
    **SEMI_HONEST_SERVER,
    (ServerState.MASKED_INPUT, Input.CLOSE): ServerState.CONSISTENCY,
    (ServerState.CONSISTENCY, AGREE): ServerState.CONSISTENCY,
    (ServerState.CONSISTENCY, Tag.ABORT): ServerState.CONSISTENCY,
    (ServerState.CONSISTENCY, Input.CLOSE): ServerState.UNMASK,
}
