"""The loop, FedAvg as it averages, and of the others whether they have an aggregation of their
own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict


@dataclass
class Result:
    arrays: Any = None
    train_metrics_clientapp: dict[int, Any] = field(default_factory=dict)
    evaluate_metrics_clientapp: dict[int, Any] = field(default_factory=dict)


class Strategy:
    def start(
        self,
        grid: Any,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
    ) -> Result:
        self.summary()
        result, arrays = Result(), initial_arrays
        configs = train_config or ConfigRecord(), evaluate_config or ConfigRecord()
        for number in range(1, num_rounds + 1):
            messages = self.configure_train(number, arrays, configs[0], grid)
            replies = grid.send_and_receive(messages=messages, timeout=timeout)
            made, metrics = self.aggregate_train(number, replies)
            if made is not None:
                result.arrays = arrays = made
            if metrics is not None:
                result.train_metrics_clientapp[number] = metrics
            messages = self.configure_evaluate(number, arrays, configs[1], grid)
            replies = grid.send_and_receive(messages=messages, timeout=timeout)
            metrics = self.aggregate_evaluate(number, replies)
            if metrics is not None:
                result.evaluate_metrics_clientapp[number] = metrics
        return result

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Any
    ) -> Any:
        raise NotImplementedError

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        raise NotImplementedError

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Any
    ) -> Any:
        raise NotImplementedError

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> Any:
        raise NotImplementedError

    def summary(self) -> None:
        raise NotImplementedError


class FedAvg(Strategy):
    def __init__(
        self,
        fraction_train: float = 1.0,
        fraction_evaluate: float = 1.0,
        weighted_by_key: str = "num-examples",
        arrayrecord_key: str = "arrays",
        configrecord_key: str = "config",
    ) -> None:
        self.fraction_train, self.fraction_evaluate = fraction_train, fraction_evaluate
        self.weighted_by_key = weighted_by_key
        self.arrayrecord_key, self.configrecord_key = arrayrecord_key, configrecord_key

    def summary(self) -> None: ...

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Any
    ) -> Any:
        return self._messages(server_round, arrays, config, grid, "train", self.fraction_train)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Any
    ) -> Any:
        share = self.fraction_evaluate
        return self._messages(server_round, arrays, config, grid, "evaluate", share)

    def _messages(
        self, number: int, arrays: Any, config: Any, grid: Any, kind: str, share: float
    ) -> list[Message]:
        nodes = list(grid.get_node_ids())
        config["server-round"] = number
        record = RecordDict({self.arrayrecord_key: arrays, self.configrecord_key: config})
        return [
            Message(record, dst_node_id=node, message_type=kind)
            for node in nodes[: int(len(nodes) * share)]
        ]

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        contents = [reply.content for reply in replies if not reply.has_error()]
        if not contents:
            return None, None
        shares, means = self._shares(contents), {}
        for content, share in zip(contents, shares, strict=True):
            [record] = content.array_records.values()
            for name, value in record.items():
                part = value.numpy() * share
                means[name] = means[name] + part if name in means else part
        arrays = ArrayRecord({name: Array(np.asarray(mean)) for name, mean in means.items()})
        return arrays, self._metrics(contents, shares)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> Any:
        contents = [reply.content for reply in replies if not reply.has_error()]
        return self._metrics(contents, self._shares(contents)) if contents else None

    def _shares(self, contents: list[RecordDict]) -> list[float]:
        weights = [
            record[self.weighted_by_key] for c in contents for record in c.metric_records.values()
        ]
        return [weight / sum(weights) for weight in weights]

    def _metrics(self, contents: list[RecordDict], shares: list[float]) -> MetricRecord:
        means: dict[str, float] = {}
        for content, share in zip(contents, shares, strict=True):
            for record in content.metric_records.values():
                for name in record.keys() - {self.weighted_by_key}:
                    means[name] = means.get(name, 0.0) + record[name] * share
        return MetricRecord(means)


class FedProx(FedAvg): ...


class _Own(FedAvg):
    """The average, and then something of its own."""

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        return super().aggregate_train(server_round, replies)


class FedAvgM(_Own):
    aggregate_train = lambda self, n, replies: _Own.aggregate_train(self, n, replies)  # noqa: E731


class FedAdam(_Own):
    aggregate_train = lambda self, n, replies: _Own.aggregate_train(self, n, replies)  # noqa: E731


class FedAdagrad(_Own):
    aggregate_train = lambda self, n, replies: _Own.aggregate_train(self, n, replies)  # noqa: E731


class FedYogi(_Own):
    aggregate_train = lambda self, n, replies: _Own.aggregate_train(self, n, replies)  # noqa: E731


class Krum(FedAvg):
    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        raise NotImplementedError


class FedMedian(Krum):
    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        raise NotImplementedError


class Bulyan(FedMedian): ...


class FedTrimmedAvg(FedMedian): ...


class QFedAvg(FedMedian): ...
