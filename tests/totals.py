"""What a round gives, without links: a plan of three clients, whose inputs are ones, run here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import secagg
from secagg.fields import Field
from secagg.party import Aggregate


def aggregate(fields: Mapping[str, Field], **more: Any) -> Aggregate:
    """more: of `secagg.plan`."""
    plan = secagg.plan(clients=3, corrupt=0, dropout=0, fields=fields, **more)
    ones = {name: np.ones(field.length, np.int64) for name, field in fields.items()}
    return secagg.simulate(plan, {client: ones for client in range(3)})
