"""The stages of a server, in the order of a session (specs/10-secagg.md §1, §9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from secagg.errors import LocalProtocolError
from secagg_protocols.rows import Taken
from secagg_protocols.secagg.stages.advertise import Advertise
from secagg_protocols.secagg.stages.base import Stage
from secagg_protocols.secagg.stages.mask import Mask
from secagg_protocols.secagg.stages.recover import Recover, Total
from secagg_protocols.secagg.stages.share import Share
from secagg_protocols.secagg.stages.unmask import Unmask
from secagg_protocols.secagg.states import ServerState
from secagg_protocols.secagg.terms import Terms


def _read_recover(terms: Terms, taken: Taken) -> Stage:
    """Made again, as it was made: jobs are pure, and those that were under way are done anew."""
    return Unmask.read(terms, taken).close((), _nobody)


def _nobody(*_: object) -> None:
    raise LocalProtocolError("impossible: nobody is dropped when the last stage closes")


# Which stage is next is in two places: what closes into what is made here, and what follows what is
# in the table of states.py, which the specification prints. They say the same of one chain, and the
# machine compares them at each step: a chain that has a stage in one of them alone fails in its
# first session.
AFTER: Mapping[ServerState, Callable[..., Stage]] = {
    ServerState.IDLE: Advertise,
    ServerState.ADVERTISE_KEYS: Share,
    ServerState.SHARE_KEYS: Mask,
    ServerState.MASKED_INPUT: Unmask,
    ServerState.UNMASK: Recover,
}
"""By the state of a stage, what makes the next one: the four phases of specs/10-secagg.md §1."""

READ: Mapping[ServerState, Callable[[Terms, Taken], Stage]] = {
    ServerState.ADVERTISE_KEYS: Advertise.read,
    ServerState.SHARE_KEYS: Share.read,
    ServerState.MASKED_INPUT: Mask.read,
    ServerState.UNMASK: Unmask.read,
    ServerState.RECOVER: _read_recover,
    ServerState.FINISHED: Total.read,
}
"""By state, what makes the stage of its rows."""

__all__ = ["AFTER", "READ", "Recover", "Stage", "Total"]
