"""What makes a recipe's FedAvg a secure one: its controller is replaced, and a filter is added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from nvflare.app_common.workflows.fedavg import FedAvg

from secagg.arguments import kind_of
from secagg.errors import ParameterError
from secagg.integrations.nvflare.masked import SecAggFilter
from secagg.integrations.nvflare.workflow import SecAggFedAvg, check_has_place
from secagg.integrations.terms import LearntClip
from secagg.plans.choose import Exact

_KEPT = (
    "num_clients",
    "num_rounds",
    "start_round",
    "persistor_id",
    "model",
    "save_filename",
    "stop_cond",
    "patience",
    "task_name",
    "memory_gc_rounds",
    "fedprox_mu",
    "aggregator",
    "aggregation_weights",
    "exclude_vars",
    "enable_tensor_disk_offload",
)
"""Arguments of FedAvg that its controller keeps as attributes."""

Recipe = TypeVar("Recipe")


def secure(
    recipe: Recipe,
    *,
    clip: float | LearntClip,
    max_weight: int,
    bits: int = 16,
    metrics: Mapping[str, float] | None = None,
    corrupt: Exact = 0.1,
    dropout: Exact = 0.2,
    protocol: str | None = None,
    timeouts: Mapping[str, float] | float | None = None,
    privacy: None = None,
) -> Recipe:
    """The recipe of FedAvg, in secure rounds; it is changed, and returned.

    Call it when the recipe is complete, before it runs or is exported. Arguments are those of
    `SecAggFedAvg`; privacy is none of them, and says where it is. Every site's app gets a
    SecAggFilter; a site adds floors of its own in its privacy.json. The job goes on while as many
    sites are alive as a sum needs, and so the recipe's min_clients is how many are sampled. Raises
    ParameterError for another recipe.
    """
    check_has_place({"privacy": privacy})
    if isinstance(recipe, type):
        raise ParameterError(f"secure() goes around a recipe, not {kind_of(recipe)}")
    job: Any = getattr(recipe, "_job", None)
    if job is None:
        raise ParameterError(f"secure() goes around a recipe of FedAvg, not {kind_of(recipe)}")
    app = getattr(job, "_deploy_map", {}).get("server")
    flows = app.app_config.workflows if app is not None else []
    if any(isinstance(flow.controller, SecAggFedAvg) for flow in flows):
        raise ParameterError(
            "this recipe is already secure: its workflow is SecAggFedAvg, and secure() goes around "
            "a recipe once"
        )
    plain = [flow for flow in flows if type(flow.controller) is FedAvg]
    if len(plain) != 1:
        found = ", ".join(type(flow.controller).__name__ for flow in flows) or "none"
        raise ParameterError(
            f"secure() goes around a recipe of FedAvg, and this one's workflows are {found}: other "
            "workflows look at the results of single sites"
        )
    [flow] = plain
    given = {name: _argument(flow.controller, name) for name in _KEPT}
    flow.controller = made = SecAggFedAvg(
        **given,
        clip=clip,
        max_weight=max_weight,
        bits=bits,
        metrics=metrics,
        corrupt=corrupt,
        dropout=dropout,
        protocol=protocol,
        timeouts=timeouts,
    )
    job.job.min_clients = made.survivors
    job.set_app_packages(["secagg"])  # it is installed at each site, and no part of the job
    # by name, as NVFLARE has no filters of all tasks: the results of others the filter stops itself
    recipe.add_client_input_filter(SecAggFilter(), tasks=[made.task_name])  # type: ignore[attr-defined]
    recipe.add_client_output_filter(SecAggFilter(), tasks=[made.task_name])  # type: ignore[attr-defined]
    return recipe


def _argument(controller: FedAvg, name: str) -> Any:
    held = vars(controller)
    return held[name] if name in held else held["_" + name]
