"""Secure aggregation in NVFLARE's FedAvg: one line of a job changes.

    recipe = secure(FedAvgRecipe(...), clip=0.5, max_weight=10_000)

The server learns the weighted mean of what the sites trained, and of the metrics that are named; no
weight, metric or model of a site. docs/nvflare.md has the whole of it.
"""

from __future__ import annotations

import importlib.util

from secagg.errors import MissingExtra

if importlib.util.find_spec("nvflare") is None:
    raise MissingExtra("secagg.integrations.nvflare needs nvflare: pip install 'secagg[nvflare]'")

from secagg.integrations.nvflare.masked import SecAggFilter
from secagg.integrations.nvflare.recipe import secure
from secagg.integrations.nvflare.workflow import SecAggFedAvg
from secagg.integrations.terms import LearntClip

__all__ = ["LearntClip", "SecAggFedAvg", "SecAggFilter", "secure"]
