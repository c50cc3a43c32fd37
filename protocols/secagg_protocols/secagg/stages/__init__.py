"""The stages of a server, in the order of a session (specs/10-secagg.md §1, §9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from secagg.errors import LocalProtocolError, WireError
from secagg_protocols.rows import Taken
from secagg_protocols.secagg.stages.advertise import Advertise
from secagg_protocols.secagg.stages.base import Stage
from secagg_protocols.secagg.stages.mask import Mask
from secagg_protocols.secagg.stages.recover import Recover, Total
from secagg_protocols.secagg.stages.share import Share
from secagg_protocols.secagg.stages.unmask import Unmask
from secagg_protocols.secagg.states import ServerState
from secagg_protocols.secagg.terms import Terms

FIRST = Advertise


def _read_recover(terms: Terms, taken: Taken) -> Recover:
    """Made again, as it was made: jobs are pure, and those that were under way are done anew."""
    return Unmask.read(terms, taken).close((), _nobody)


def _nobody(*_: object) -> None:
    raise LocalProtocolError("impossible: nobody is dropped when the last stage closes")


_READ: Mapping[ServerState, Callable[[Terms, Taken], Stage]] = {
    ServerState.ADVERTISE_KEYS: Advertise.read,
    ServerState.SHARE_KEYS: Share.read,
    ServerState.MASKED_INPUT: Mask.read,
    ServerState.UNMASK: Unmask.read,
    ServerState.RECOVER: _read_recover,
    ServerState.FINISHED: Total.read,
}


def read_stage(state: ServerState, terms: Terms, taken: Taken) -> Stage:
    """The stage of its rows. Raises WireError, CryptoError or StorageError for others."""
    if state not in _READ:
        raise WireError("there are no rows of this state")
    return _READ[state](terms, taken)


__all__ = ["FIRST", "Recover", "Stage", "Total", "read_stage"]
