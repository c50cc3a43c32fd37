"""The stages of a server, in the order of a session (specs/10-secagg.md §1, §9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from secagg.errors import LocalProtocolError, WireError
from secagg_protocols.rows import Taken
from secagg_protocols.secagg.messages import NAMES
from secagg_protocols.secagg.stages.advertise import Advertise
from secagg_protocols.secagg.stages.base import Stage
from secagg_protocols.secagg.stages.mask import Mask
from secagg_protocols.secagg.stages.recover import Recover, Total
from secagg_protocols.secagg.stages.share import Share
from secagg_protocols.secagg.stages.unmask import Unmask
from secagg_protocols.secagg.states import SERVER, ServerState
from secagg_protocols.secagg.terms import Terms


def _read_recover(terms: Terms, taken: Taken) -> Stage:
    """Made again, as it was made: jobs are pure, and those that were under way are done anew."""
    return Unmask.read(terms, taken).close((), _nobody)


def _nobody(*_: object) -> None:
    raise LocalProtocolError("impossible: nobody is dropped when the last stage closes")


# Which stage is next is in two places: what closes into what is made here, and what follows what is
# in the table of states.py, which the specification prints. They say the same of one chain, and the
# machine compares them at each step: a suite that adds a stage to one of them alone fails in its
# first session.
@dataclass(frozen=True)
class Course:
    """Which stages a session has at its server: what a suite adds to is this, and no stage.

    table, names: the transitions, and messages by tag (states.py, messages.py). after: by the state
    of a stage, what makes the next one. read: by state, what makes the stage of its rows. A state
    is whatever has `phase`, `code` (a byte that no other has) and a name in `value[0]`.
    """

    table: Mapping[Any, Any] = field(default_factory=lambda: SERVER)
    names: Mapping[int, str] = field(default_factory=lambda: NAMES)
    after: Mapping[Any, Callable[..., Stage]] = field(
        default_factory=lambda: {
            ServerState.IDLE: Advertise,
            ServerState.ADVERTISE_KEYS: Share,
            ServerState.SHARE_KEYS: Mask,
            ServerState.MASKED_INPUT: Unmask,
            ServerState.UNMASK: Recover,
        }
    )
    read: Mapping[Any, Callable[[Terms, Taken], Stage]] = field(
        default_factory=lambda: {
            ServerState.ADVERTISE_KEYS: Advertise.read,
            ServerState.SHARE_KEYS: Share.read,
            ServerState.MASKED_INPUT: Mask.read,
            ServerState.UNMASK: Unmask.read,
            ServerState.RECOVER: _read_recover,
            ServerState.FINISHED: Total.read,
        }
    )

    def state_of(self, code: int) -> Any:
        """Raises WireError for a code that no state has of which there are rows."""
        for state in (*self.read, ServerState.ABORTED):
            if state.code == code:
                return state
        raise WireError("an unknown state, or one without rows")


COURSE = Course()
"""Of suite 1: the four phases of specs/10-secagg.md §1."""

__all__ = ["COURSE", "Course", "Recover", "Stage", "Total"]
