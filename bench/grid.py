"""The grid of bench/plugin.py, which says what is counted. It needs flwr, and nothing of it is a
benchmark."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.client import Client
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import Code, FitIns, FitRes, Status, ndarrays_to_parameters
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.compat.common.recorddict_compat import parameters_to_arrayrecord
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.server import LegacyContext, SimpleClientManager
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import FedAvg as LegacyFedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity

from bench.common import quiet
from bench.plugin import SEED, TRAINING, Case, Played
from secagg.integrations.flower import SecAgg, secagg_mod

RUN = 1
WEIGHT = 1000
"""Of a node for Flower's SecAgg+, and the largest that it allows: its own default."""

Account: TypeAlias = tuple[str | int, int]
Model: TypeAlias = npt.NDArray[Any]


def play(side: str, case: Case, silent: Mapping[int, int]) -> Played:
    """One round of a side; silent: by place, the exchange from which a node is silent."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN, SUPERLINK_NODE_ID, 1
    with quiet("flwr", logging.CRITICAL), tempfile.TemporaryDirectory() as folder:
        meter = Meter()
        grid = Grid(meter, case, silent, TRAINING[side], Path(folder))
        run = {"secagg": _secagg, "flower": _flower, "plain": _plain}[side]
        begin = run(grid, case)
        why, model = "", None
        with meter.charge("server"):
            try:
                model = begin()
            except Exception as raised:  # noqa: BLE001 - it is how the round ended
                why = f"{type(raised).__name__}: {raised}"
    if model is None:
        why = "; ".join(filter(None, [why or "the server gave the round up", *grid.errors[:1]]))
    return Played(model, why, frozenset(grid.heard), meter.cpu, meter.wall, grid.up, grid.down)


class Meter:
    """Charges seconds to exactly one account at a time: (who, stage)."""

    def __init__(self) -> None:
        self.cpu: dict[Account, float] = defaultdict(float)
        self.wall: dict[Account, float] = defaultdict(float)
        self.stage = 0
        self._who: str | int | None = None
        self._since = time.process_time(), time.perf_counter()

    @contextmanager
    def charge(self, who: str | int) -> Iterator[None]:
        """To this account inside `with`, and again to the one before from then on."""
        before = self._who
        self.switch(who)
        try:
            yield
        finally:
            self.switch(before)

    def switch(self, who: str | int | None) -> None:
        now = time.process_time(), time.perf_counter()
        if self._who is not None:
            self.cpu[self._who, self.stage] += now[0] - self._since[0]
            self.wall[self._who, self.stage] += now[1] - self._since[1]
        self._who, self._since = who, now

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """What is no part of a round, such as training."""
        before = self._who
        self.switch(None)
        try:
            yield
        finally:
            self.switch(before)


class Grid:
    """What a ServerApp sends goes to the nodes at once, in a copy; an app that raises is answered
    for as Flower's runtime does it."""

    def __init__(
        self, meter: Meter, case: Case, silent: Mapping[int, int], training: int, folder: Path
    ) -> None:
        self.meter, self._silent, self._training = meter, silent, training
        # as large as real ones, which are random and of 64 bits: their size is part of messages
        drawn = np.random.default_rng([SEED, case.n]).integers(2**62, 2**63, case.n, np.int64)
        self.places = {int(node): place for place, node in enumerate(drawn)}
        self._contexts = {
            node: Context(RUN, node, {"secagg-state": str(folder / str(place))}, RecordDict(), {})
            for node, place in self.places.items()
        }
        self.app: Callable[[Message, Context], Message]
        self._exchange = 0
        self.heard: set[int] = set()
        self.errors: list[str] = []
        self.up: dict[int, int] = defaultdict(int)
        self.down: dict[int, int] = defaultdict(int)

    def get_node_ids(self) -> list[int]:
        return list(self.places)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """A missing answer is how a timeout looks to a ServerApp."""
        messages, replies = list(messages), []
        if not messages:
            return []
        self._turn(self._exchange)
        for message in messages:
            place = self.places[message.metadata.dst_node_id]
            if self._exchange >= self._silent.get(place, self._exchange + 1):
                continue
            request, size = self._carried(message)
            self.down[place] += size
            reply, size = self._carried(self._answer(place, request))
            self.up[place] += size
            replies.append(reply)
            if self._exchange == self._training and not reply.has_error():
                self.heard.add(place)
        self._exchange += 1
        return replies

    def _turn(self, stage: int) -> None:
        """What the server does after an exchange is of that stage, and so is all before the
        first."""
        self.meter.switch("server")
        self.meter.stage = stage

    def _answer(self, place: int, request: Message) -> Message:
        with self.meter.charge(place):
            try:
                return self.app(request, self._contexts[request.metadata.dst_node_id])
            except Exception as raised:  # noqa: BLE001 - as Flower's runtime does
                said = f"a node's app raised {type(raised).__name__}: {raised}"
                self.errors.append(said)
                return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, said), reply_to=request)

    def _carried(self, message: Message) -> tuple[Message, int]:
        """What arrives, and the size on the way."""
        with self.meter.charge("transport"):
            # as long as the hash that a real link sets here
            message.metadata.__dict__["_message_id"] = os.urandom(32).hex()
            data = message_to_proto(message).SerializeToString()
            return message_from_proto(ProtoMessage.FromString(data)), len(data)


def _secagg(grid: Grid, case: Case) -> Callable[[], Model | None]:
    strategy = SecAgg(_fedavg(case), clip=case.clip, bits=case.bits, max_weight=case.max_weight)
    return _started(grid, case, strategy, [secagg_mod])


def _plain(grid: Grid, case: Case) -> Callable[[], Model | None]:
    return _started(grid, case, _fedavg(case), [])


def _fedavg(case: Case) -> FedAvg:
    return FedAvg(fraction_evaluate=0.0, min_train_nodes=case.n, min_available_nodes=case.n)


def _started(grid: Grid, case: Case, strategy: Any, mods: list[Any]) -> Callable[[], Model | None]:
    grid.app = ClientApp(mods=mods)

    @grid.app.train()
    def train(message: Message, context: Context) -> Message:
        with grid.meter.uncounted():
            arrays = ArrayRecord({"w": Array(case.values(grid.places[context.node_id]))})
        metrics = MetricRecord({"num-examples": case.max_weight})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    start = ArrayRecord({"w": Array(np.zeros(case.d, np.float32))})

    def begin() -> Model | None:
        arrays = strategy.start(grid, start, num_rounds=1).arrays
        if not arrays:
            return None
        with grid.meter.uncounted():
            made: Model = arrays["w"].numpy()
        return made

    return begin


class Trained(Client):  # type: ignore[misc]
    """A client whose training takes no time of anybody's."""

    def __init__(self, grid: Grid, case: Case, place: int) -> None:
        self._grid, self._case, self._place = grid, case, place

    def fit(self, ins: FitIns) -> FitRes:
        with self._grid.meter.uncounted():
            update = ndarrays_to_parameters([self._case.values(self._place)])
        return FitRes(Status(Code.OK, ""), update, WEIGHT, {})


class Observed(LegacyFedAvg):  # type: ignore[misc]
    """Knows whether the workflow has come to a mean."""

    came = False

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
        self.came = True
        return super().aggregate_fit(server_round, results, failures)


def _flower(grid: Grid, case: Case) -> Callable[[], Model | None]:
    grid.app = ClientApp(
        lambda context: Trained(grid, case, grid.places[context.node_id]), [secaggplus_mod]
    )
    strategy = Observed(min_fit_clients=case.n, min_available_clients=case.n)
    workflow = SecAggPlusWorkflow(
        case.k + 1,
        case.t,
        max_weight=WEIGHT,
        clipping_range=case.clip,
        quantization_range=1 << case.bits,
    )
    context = _legacy(strategy, grid, case)

    def begin() -> Model | None:
        workflow(grid, context)
        if not strategy.came:
            return None
        with grid.meter.uncounted():
            arrays = context.state.array_records[MAIN_PARAMS_RECORD]
            made: Model = arrays.to_numpy_ndarrays()[0]
        return made

    return begin


def _legacy(strategy: LegacyFedAvg, grid: Grid, case: Case) -> LegacyContext:
    """As `DefaultWorkflow` has it when the first round begins."""
    manager = SimpleClientManager()
    for node in grid.places:
        manager.register(GridClientProxy(node, grid, RUN))
    context = LegacyContext(
        Context(RUN, SUPERLINK_NODE_ID, {}, RecordDict(), {}),
        strategy=strategy,
        client_manager=manager,
    )
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: 1})
    model = ndarrays_to_parameters([np.zeros(case.d, np.float32)])
    context.state.array_records[MAIN_PARAMS_RECORD] = parameters_to_arrayrecord(model, True)
    return context
