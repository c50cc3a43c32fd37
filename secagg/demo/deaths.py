"""Who dies when: a schedule from the seed, within what the plan withstands."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import TypeAlias

import numpy as np

from secagg.plans.plan import Plan
from secagg.protocol import Params

Schedule: TypeAlias = Mapping[int, Mapping[int, str]]
"""round -> client -> the phase whose message it dies before."""

MOST = 3
"""Deaths in one round: each costs a new process before the next round, and so seconds."""


def schedule(plan: Plan, rounds: int, generator: np.random.Generator) -> Schedule:
    """1, 2, 3, 1, 2, ... deaths a round, or as many as the plan allows, of clients drawn anew.

    The phases take turns, so that a run of a few rounds has seen a death in each of them.
    """
    phases = plan.phase_names
    turn = count()
    most = min(MOST, withstood(plan.params))
    return {
        round: {
            int(client): phases[next(turn) % len(phases)]
            for client in generator.choice(
                plan.threat.clients, (round - 1) % most + 1 if most else 0, replace=False
            )
        }
        for round in range(1, rounds + 1)
    }


def withstood(params: Params) -> int:
    """The most deaths in one round, in whichever phases, that certainly leave it a sum.

    At least min_clients must advertise keys and min_survivors upload; and every secret needs t of
    its k + 1 holders to the end: of a client that died, and so is no holder itself, t of k.
    """
    before_upload = params.clients - max(params.min_clients, params.min_survivors)
    holders = params.degree + 1 - params.threshold
    return max(0, min(before_upload, holders))
