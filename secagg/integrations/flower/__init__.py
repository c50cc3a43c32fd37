"""Secure aggregation in Flower's Message API: two lines of an app change.

    strategy = SecAgg(FedAvg(), clip=0.5, max_weight=10_000)        # the ServerApp
    app = ClientApp(mods=[secagg_mod])                              # the ClientApp

The server learns the weighted mean of what the nodes trained, and of the metrics that are named;
no weight, metric or model of a node. docs/flower.md has the whole of it.
"""

from __future__ import annotations

import importlib.util

from secagg.errors import MissingExtra

if importlib.util.find_spec("flwr") is None:
    raise MissingExtra("secagg.integrations.flower needs flwr: pip install 'secagg[flower]'")

from secagg.integrations.flower.migrate import from_flower
from secagg.integrations.flower.mod import node_mod, secagg_mod
from secagg.integrations.flower.policy import NodePolicy
from secagg.integrations.flower.strategy import SecAgg
from secagg.integrations.terms import LearntClip

__all__ = ["LearntClip", "NodePolicy", "SecAgg", "from_flower", "node_mod", "secagg_mod"]
