"""For apps of Flower's older API: a fit_workflow in the place of SecAggPlusWorkflow.

    workflow = DefaultWorkflow(fit_workflow=SecAggWorkflow(clip=0.5, max_weight=10_000))
    workflow(grid, LegacyContext(context, config=..., strategy=FedAvg(fraction_evaluate=0.0)))

The ClientApp has `secagg_mod` in the place of `secaggplus_mod`, and its nodes answer no evaluation
in the clear, so the strategy asks for none.
"""

from __future__ import annotations

from typing import Any

from flwr.app import Message
from flwr.common import Code, FitRes, Status
from flwr.compat.common.recorddict_compat import (
    arrayrecord_to_parameters,
    fitins_to_recorddict,
    parameters_to_arrayrecord,
)
from flwr.server import LegacyContext
from flwr.server.strategy import (
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedProx,
    FedYogi,
)
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key

from secagg.errors import ParameterError
from secagg.integrations.flower.secured import SecuredRounds, raise_minima
from secagg.integrations.flower.strategies import MESSAGES, OLDER, is_of, is_private, refuse_class
from secagg.integrations.terms import metrics_of

AVERAGING = (FedAvg, FedAvgM, FedAdagrad, FedAdam, FedYogi, FedProx)
"""Whose aggregate_fit takes nothing from results but their weighted average."""
MINIMA = ("min_available_clients", "min_fit_clients")
"""Of a strategy of the older API, which begins with two nodes unless told otherwise."""
WEIGHT = "num_examples"


class SecAggWorkflow:
    """One round of training, as a workflow of `DefaultWorkflow`.

    It takes the numbers of `SecAgg`; `from_flower` makes them of those of SecAggPlusWorkflow, as in
    `SecAggWorkflow(**from_flower(num_shares=5, ...))`. A smallest round follows from corrupt and
    dropout, and the strategy's minima of clients are raised to it.
    """

    def __init__(self, **numbers: Any) -> None:
        """Raises ParameterError, also for evaluate_metrics: this is no evaluation."""
        if "evaluate_metrics" in numbers:
            raise ParameterError(
                "a fit_workflow does not evaluate: use SecAgg with flwr.serverapp, which does"
            )
        self._secured = SecuredRounds(**numbers)

    def __call__(self, grid: Any, context: Any) -> None:
        """Raises ParameterError for a context, or its strategy, that this does not work with."""
        if not isinstance(context, LegacyContext):
            raise ParameterError("a workflow takes a LegacyContext, with the strategy")
        _refuse_per_client(context.strategy)
        self._secured.bind(context.run_config)
        raise_minima(context.strategy, MINIMA, self._secured.terms.fewest())
        number = int(str(context.state.config_records[MAIN_CONFIGS_RECORD][Key.CURRENT_ROUND]))
        if number == 1:
            self._secured.starts()
        given = context.strategy.configure_fit(
            server_round=number,
            parameters=arrayrecord_to_parameters(
                context.state.array_records[MAIN_PARAMS_RECORD], keep_input=True
            ),
            client_manager=context.client_manager,
        )
        messages = [
            Message(
                fitins_to_recorddict(instructions, True),
                dst_node_id=_node(proxy),
                message_type="train",
                group_id=str(number),
            )
            for proxy, instructions in given
        ]
        requests = self._secured.begin(number, messages, grid, WEIGHT, train=True)
        replies = grid.send_and_receive(requests, timeout=self._secured.waits)
        ended = self._secured.finish(replies)
        if ended is None:
            return
        begun, total = ended
        mean = arrayrecord_to_parameters(begun.moved(total), keep_input=True)
        result = FitRes(Status(Code.OK, ""), mean, total.weight, dict(metrics_of(total)))
        made, metrics = context.strategy.aggregate_fit(number, [(given[0][0], result)], [])
        if made is not None:
            context.state.array_records[MAIN_PARAMS_RECORD] = parameters_to_arrayrecord(made, True)
            context.history.add_metrics_distributed_fit(server_round=number, metrics=metrics)


def _node(proxy: Any) -> int:
    return int(proxy.node_id)


def _refuse_per_client(strategy: Any) -> None:
    refuse_class(strategy, "LegacyContext(..., strategy={}())")
    kind = type(strategy)
    if not is_of(kind, OLDER):
        message_api = f", and SecAgg goes around those of {MESSAGES}, without a workflow"
        raise ParameterError(
            f"the strategy of a workflow is one of {OLDER}, as its FedAvg, and not this "
            f"{kind.__name__}{message_api if is_of(kind, MESSAGES) else ''}"
        )
    if is_private(kind):
        raise ParameterError(
            f"{kind.__name__} goes into no secure round: LocalDpMod(...) after secagg_mod adds "
            "each node's own noise"
        )
    if getattr(kind, "aggregate_fit", None) not in {k.aggregate_fit for k in AVERAGING}:
        raise ParameterError(
            f"{kind.__name__} looks at the result of each client, and a secure round has only "
            f"their weighted average: use {', '.join(k.__name__ for k in AVERAGING)}"
        )
