"""The shipped clients with one rule taken out: what each variant of the game leaves out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import pytest

from secagg.effects import Write
from secagg.store.memory import MemoryLedger
from secagg_protocols.secagg import binding, survivors
from secagg_protocols.secagg.active import client, dealing, params
from secagg_protocols.secagg.active.client import ActiveClient
from secagg_protocols.secagg.active.standing import Seat, WantSurvivors
from secagg_protocols.secagg.terms import Terms
from specs.models.game import Rules
from tests import active

Patch = pytest.MonkeyPatch


def lower_quorum(patch: Patch, rules: Rules) -> None:
    """The quorum of the plan, less one: what goes with a t that is one less."""
    majority = params.majority
    patch.setattr(params, "majority", lambda size, bad: majority(size, bad) - rules.short)


def no_quorum(patch: Patch, rules: Rules) -> None:
    """V8: no signature that is shown is looked at."""
    patch.setattr(
        dealing,
        "check_agreed",
        lambda view, members, _: survivors.check_agreed(view, members, lambda _: None),
    )


def local_quorum(patch: Patch, rules: Rules) -> None:
    """V8: a majority of one's own holders, of whom nobody here is corrupt."""
    assert not rules.corrupt

    def holders(seat: Seat, terms: Terms) -> tuple[tuple[int, ...], int]:
        near = binding.neighbours(seat.place.session, seat.size, terms.params.degree, seat.index)
        return tuple(sorted((*near, seat.index))), params.majority(len(near) + 1, 0)

    patch.setattr(dealing, "signers_of", holders)
    patch.setattr(client, "signers_of", holders)


class Kept(ActiveClient):
    """V9: what it held when it had masked is a row, which it takes up."""

    kept: ClassVar[dict[bytes, WantSurvivors]] = {}
    _key = b""

    def _move(self, cause: Any, after: Any) -> None:
        super()._move(cause, after)
        if isinstance(after, WantSurvivors):
            self._key = len(self.kept).to_bytes(4)
            self.kept[self._key] = after

    def writes(self) -> list[Write]:
        return [Write(b"state", self._key)]

    def restore(self, rows: Iterable[tuple[bytes, bytes]], /) -> None:
        ((_, self._key),) = rows
        self._now = self.kept[self._key]


def restored(patch: Patch, rules: Rules) -> None:
    patch.setattr(active, "ActiveClient", Kept)


def unclaimed(patch: Patch, rules: Rules) -> None:
    """V6, and that what has one wording is claimed: the ledger has forgotten it too."""
    patch.setattr(MemoryLedger, "claim", lambda self, key, digest: None)


def forgotten(patch: Patch, rules: Rules) -> None:
    """V9, of a client that is put back whole: its rows, and its ledger too."""
    restored(patch, rules)
    unclaimed(patch, rules)


TAKEN_OUT: dict[str, Callable[[Patch, Rules], None]] = {
    "short": lower_quorum,
    "consistency": no_quorum,
    "local": local_quorum,
    "forgets": forgotten,
    "claims": unclaimed,
}
"""By the field of `Rules` that leaves it out. The threshold is a number of the session."""


def weakened(rules: Rules) -> list[str]:
    """The fields in which these are less than all rules."""
    whole = Rules(rules.clients, rules.corrupt, rules.threshold)
    return [name for name in TAKEN_OUT if getattr(rules, name) != getattr(whole, name)]


def take_out(patch: Patch, rules: Rules) -> None:
    for name in weakened(rules):
        TAKEN_OUT[name](patch, rules)
