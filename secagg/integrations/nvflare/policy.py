"""What a site agrees to, and where it keeps what it must not forget."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from secagg import registry
from secagg.arguments import ratio
from secagg.errors import PolicyRefused
from secagg.integrations.floors import Floors
from secagg.plans.plan import Plan
from secagg.shown import short

FOLDER = "secagg"
"""In the site's workspace: where its ledger is, for good."""


@dataclass(frozen=True)
class SitePolicy(Floors):
    """Floors below which a site takes no part, whatever a job announces: see `Floors`.

    state: the folder of the ledger; the filter says which.
    """

    __repr__ = short

    def with_(self, other: SitePolicy) -> SitePolicy:
        """The stricter of both in each respect. What is equal stays in this one's words, so floors
        that add nothing change nothing."""
        dropouts = [d for d in (self.max_dropout, other.max_dropout) if d is not None]
        clips = [c for c in (self.max_clip, other.max_clip) if c is not None]
        return SitePolicy(
            min_clients=max(self.min_clients, other.min_clients),
            max_dropout=min(dropouts, key=partial(ratio, "max_dropout"), default=None),
            protocols=_both(self.protocols, other.protocols),
            max_clip=min(clips, default=None),
            state=self.state,
        )

    def judge(self, plan: Plan) -> None:
        """Also refuses active mode, in which a site has a key of its own in a roster."""
        if plan.suite.signed:
            raise PolicyRefused(
                "the plan is of active mode, in which a site signs with a key in a roster: this "
                "adapter has none. Such rounds run beside it, with `secagg serve` and `secagg join "
                "--identity`"
            )
        super().judge(plan)

    @property
    def _remedy(self) -> str:
        return "make its folder one that the site's own processes may write"


def _both(one: Collection[str] | None, other: Collection[str] | None) -> frozenset[str] | None:
    """The protocols that two floors admit: a floor that names none admits all that protect, and
    what the other one names cannot loosen that."""
    named = [frozenset(names) for names in (one, other) if names is not None]
    if len(named) == 1:
        return frozenset(name for name in named[0] if registry.load(name).threat_models)
    return frozenset.intersection(*named) if named else None
