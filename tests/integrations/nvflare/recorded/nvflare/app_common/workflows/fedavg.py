"""FedAvg: its arguments, and the calls of a round."""

from __future__ import annotations

from typing import Any


class FedAvg:
    def __init__(
        self,
        *args: Any,
        model: Any = None,
        save_filename: str | None = "FL_global_model.pt",
        aggregator: Any = None,
        stop_cond: str | None = None,
        patience: int | None = None,
        task_name: str = "train",
        exclude_vars: str | None = None,
        aggregation_weights: dict[str, float] | None = None,
        enable_tensor_disk_offload: bool = False,
        fedprox_mu: float | None = None,
        num_clients: int = 3,
        num_rounds: int = 5,
        start_round: int = 0,
        memory_gc_rounds: int = 0,
        persistor_id: str = "persistor",
        ignore_result_error: bool | None = None,
    ) -> None:
        self.model, self.save_filename, self.aggregator = model, save_filename, aggregator
        self.stop_cond, self.patience, self.task_name = stop_cond, patience, task_name
        self.exclude_vars, self.aggregation_weights = exclude_vars, aggregation_weights or {}
        self.enable_tensor_disk_offload = enable_tensor_disk_offload
        self.fedprox_mu, self.num_clients, self.num_rounds = fedprox_mu, num_clients, num_rounds
        self.start_round, self.memory_gc_rounds = start_round, memory_gc_rounds
        self._persistor_id, self._ignore_result_error = persistor_id, ignore_result_error
        self.engine: Any = None
        self.fl_ctx: Any = None

    def start_controller(self, fl_ctx: Any) -> None:
        self.fl_ctx, self.engine = fl_ctx, fl_ctx.get_engine()

    def handle_event(self, event_type: str, fl_ctx: Any) -> None: ...

    def sample_clients(self, num_clients: int | None = None) -> list[str]:
        return [one.name for one in self.engine.get_clients()][:num_clients]

    def send_model(
        self,
        task_name: str = "train",
        data: Any = None,
        targets: Any = None,
        min_responses: int | None = None,
        timeout: int = 0,
        callback: Any = None,
    ) -> None: ...
