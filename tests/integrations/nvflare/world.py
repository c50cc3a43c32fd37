"""A job in one process: a server's engine, sites with engines and workspaces of their own, and the
calls that FedAvg makes in a round. Every message is copied on its way, and kept."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.filter import FilterChainType, FilterContextKey
from nvflare.apis.fl_constant import FilterKey, FLContextKey, ProcessType, ReturnCode
from nvflare.apis.shareable import ReservedHeaderKey, Shareable, make_reply
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.utils.fl_model_utils import FLModelUtils
from nvflare.app_common.workflows.fedavg import FedAvg

from secagg.errors import PolicyRefused
from secagg.integrations.exchange import INPUT, KEYS, UNMASK
from secagg.integrations.nvflare import SecAggFedAvg, SecAggFilter, carry

FRAMEWORK = importlib.util.find_spec("nvflare.private") is not None
"""Whether these tests run with the framework itself, and not with what is recorded of it."""
KEY = "numpy_key"
TRAIN = "train"
Arrays = dict[str, Any]
Step = Callable[[str, Arrays], Shareable]
Fate = Callable[[str, str], bool]
"""(site, step) -> whether the site is silent there."""
STEPS = (KEYS, INPUT, TRAIN, UNMASK)
CHAINS = (FilterChainType.TASK_DATA_CHAIN, FilterChainType.TASK_RESULT_CHAIN)


class Context:
    """Where a component is: site or server, job, engine."""

    def __init__(self, engine: Any, name: str, folder: Path, job: str) -> None:
        self.engine, self.name, self.folder, self.job = engine, name, folder, job
        self.props: dict[str, Any] = {}

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None: ...

    def get_engine(self) -> Any:
        return self.engine

    def get_identity_name(self, default: str = "") -> str:
        return self.name

    def get_process_type(self, default: Any = None) -> str:
        return ProcessType.SERVER_JOB if self.name == "server" else ProcessType.CLIENT_JOB

    def get_job_id(self) -> str:
        return self.job

    def get_prop(self, key: str, default: Any = None) -> Any:
        return self.props.get(key, default)

    def get_workspace(self) -> Any:
        return SimpleNamespace(get_root_dir=lambda: str(self.folder))

    def get_run_abort_signal(self) -> Any:
        return SimpleNamespace(triggered=False)


class Cell:
    """The engine of one site: its filters, and its handlers of requests.

    filters: of the job, which hear events, and which NVFLARE finds by the name of a task. own: of
    the site's privacy.json, which come first for every task, and hear nothing. components: of the
    same file, which hear.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        step: Step,
        filters: Iterable[Any],
        job: str,
        own: Iterable[Any] = (),
        components: Iterable[Any] = (),
    ) -> None:
        self.name, self.step, self.filters, self.own = name, step, list(filters), list(own)
        self.handlers: dict[str, Any] = {}
        self.context = Context(self, name, folder / name, job)
        self.context.props[FLContextKey.SCOPE_OBJECT] = SimpleNamespace(
            task_data_filters={FilterKey.IN: self.own}, task_result_filters={FilterKey.OUT: []}
        )
        self.listeners = [*self.filters, *components]
        self.raised: Exception | None = None
        self.fire(EventType.START_RUN)

    def fire(self, event: str) -> None:
        """As NVFLARE does: what a handler raises is logged, and it goes on."""
        for one in self.listeners:
            try:
                one.handle_event(event, self.context)
            except Exception as error:  # noqa: BLE001 - as NVFLARE does
                self.raised = error

    def register_aux_message_handler(self, topic: str, handler: Any) -> None:
        assert topic not in self.handlers
        self.handlers[topic] = handler

    def hear(self, topic: str, request: Shareable) -> Shareable:
        if topic not in self.handlers:
            return make_reply(ReturnCode.TOPIC_UNKNOWN)
        return self.handlers[topic](topic=topic, request=request, fl_ctx=self.context)

    def do(self, name: str, id: str, task: Shareable) -> Shareable:
        """As NVFLARE's runner does it: filters, the training, filters."""
        props = self.context.props
        props[FLContextKey.TASK_NAME], props[FLContextKey.TASK_ID] = name, id
        try:
            task = self._filtered(FilterChainType.TASK_DATA_CHAIN, FilterKey.IN, name, task)
        except PolicyRefused:
            return make_reply(ReturnCode.TASK_DATA_FILTER_ERROR)
        self._fired(EventType.AFTER_TASK_DATA_FILTER, FLContextKey.TASK_DATA, task)
        result = self.step(self.name, from_shareable(copy.deepcopy(task)).data)
        try:
            result = self._filtered(FilterChainType.TASK_RESULT_CHAIN, FilterKey.OUT, name, result)
        except PolicyRefused:
            return make_reply(ReturnCode.TASK_RESULT_FILTER_ERROR)
        self._fired(EventType.AFTER_TASK_RESULT_FILTER, FLContextKey.TASK_RESULT, result)
        return result

    def send(self, name: str, task: Shareable, *, asked: bool) -> Shareable | None:
        """A task of the site's own, as NVFLARE's communicator at a site sends it: whatever filters
        return, the task that it was given; asked: whether they are configured to be asked."""
        try:
            self.context.props[FLContextKey.FILTER_DIRECTION] = FilterKey.OUT
            if asked:
                self._filtered(FilterChainType.TASK_DATA_CHAIN, FilterKey.OUT, name, task)
        except PolicyRefused:
            return None
        self._fired(EventType.AFTER_TASK_DATA_FILTER, FLContextKey.TASK_DATA, task)
        return task

    def _filtered(self, chain: str, direction: str, name: str, message: Shareable) -> Shareable:
        self.context.props[FLContextKey.FILTER_DIRECTION] = direction
        for one in [*self.own, *(self.filters if name == TRAIN else ())]:
            if getattr(one, FilterContextKey.CHAIN_TYPE, chain) == chain:
                message = one.process(message, self.context)
        return message

    def _fired(self, event: str, key: str, message: Shareable) -> None:
        self.context.props[key] = message
        self.fire(event)
        self.context.props[key] = None


class World:
    """The engine of the server, over these cells."""

    def __init__(self, cells: Iterable[Cell], fate: Fate = lambda site, step: False) -> None:
        self.cells = {cell.name: cell for cell in cells}
        self.fate = fate
        self.log: list[Any] = []
        """Every message and every reply, as it travelled."""
        self.tasks = 0

    def get_clients(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in self.cells]

    def new_context(self) -> Context:
        return Context(self, "server", Path(), "job")

    def send_aux_request(
        self,
        targets: list[str],
        topic: str,
        request: Shareable,
        timeout: float,
        fl_ctx: Any,
        optional: bool = False,
        secure: bool = False,
    ) -> dict[str, Shareable]:
        [name] = targets
        if self.fate(name, request[carry.KEY]["step"]):
            return {name: make_reply(ReturnCode.COMMUNICATION_ERROR)}
        self.log.append(copy.deepcopy(request))
        reply = self.cells[name].hear(topic, copy.deepcopy(request))
        self.log.append(copy.deepcopy(reply))
        return {name: reply}

    def broadcast(self, task_name: str, data: FLModel, targets: Iterable[str], done: Any) -> None:
        """The task and its results, as FedAvg's controller sends and receives them."""
        task = FLModelUtils.to_shareable(data)
        self.tasks += 1
        for header in (ReservedHeaderKey.TASK_ID, ReservedHeaderKey.MSG_ROOT_ID):
            task.set_header(header, f"task {self.tasks}")
        self.log.append(copy.deepcopy(task))
        for name in targets:
            if self.fate(name, TRAIN):
                continue
            result = self.cells[name].do(task_name, f"task {self.tasks}", copy.deepcopy(task))
            self.log.append(copy.deepcopy(result))
            if result.get_return_code() == ReturnCode.OK:
                dxo = from_shareable(copy.deepcopy(result))
                about = {**dxo.meta, "client_name": name}
                done(FLModel(params_type="FULL", params=dxo.data, meta=about))


def cells(
    count: int, folder: Path, step: Step, make: Callable[[], Iterable[Any]], job: str = "job"
) -> list[Cell]:
    names = [f"site-{i}" for i in range(1, count + 1)]
    return [Cell(name, folder, step, make(), job) for name in names]


def filters(**floors: Any) -> list[Any]:
    """Of data and of results: NVFLARE makes one of each."""
    made = [SecAggFilter(**floors), SecAggFilter(**floors)]
    for one, chain in zip(made, CHAINS, strict=True):
        one.set_prop(FilterContextKey.CHAIN_TYPE, chain)
    return made


def controller(world: World, monkeypatch: Any, **given: Any) -> SecAggFedAvg:
    """At a server whose tasks go to the world's cells."""
    given = {"clip": 0.5, "max_weight": 1 << 16, "dropout": 0.25, **given}
    made = SecAggFedAvg(num_clients=len(world.cells), **given)
    made.engine, made.fl_ctx = world, world.new_context()
    made.aggregator = made._secured
    monkeypatch.setattr(made, "sample_clients", lambda number=None: list(world.cells))

    def send(
        self: Any, task: str, data: Any, targets: Any, least: Any, wait: int, done: Any
    ) -> None:
        world.broadcast(task, data, targets, done)

    monkeypatch.setattr(FedAvg, "send_model", send)
    return made


def played(made: SecAggFedAvg, start: Arrays, rounds: int = 1) -> FLModel:
    """The calls of FedAvg.run, as they follow each other there."""
    model = FLModel(params_type=ParamsType.FULL, params=start)
    for number in range(rounds):
        model.current_round = number
        targets = made.sample_clients(made.num_clients)
        made.aggregator.reset_stats()
        made.send_model(
            task_name=made.task_name,
            targets=targets,
            data=model,
            callback=made.aggregator.accept_model,
        )
        update = made.aggregator.aggregate_model()
        if update.params_type == ParamsType.FULL:
            model.params = update.params
        model.metrics, model.meta = update.metrics, update.meta
    return model


def result(params: Arrays, *, diff: bool = False, **meta: Any) -> Shareable:
    kind = DataKind.WEIGHT_DIFF if diff else DataKind.WEIGHTS
    return DXO(kind, data=params, meta=meta).to_shareable()


def number_of(site: str) -> int:
    return int(site.rpartition("-")[2])


def moves(site: str, model: Arrays) -> Shareable:
    """Each site moves the model by a step of its own, and weighs its number."""
    params = {name: np.asarray(a + number_of(site) / 16, a.dtype) for name, a in model.items()}
    told = {"accuracy": number_of(site) / 8, "secret": 0.57721566}
    return result(
        params,
        **{
            MetaKey.NUM_STEPS_CURRENT_ROUND: 48_611 + number_of(site),
            MetaKey.INITIAL_METRICS: told,
            "who": "hospital",
        },
    )


def expected(sites: Iterable[int]) -> float:
    """How far the mean of these has moved."""
    weights = [48_611 + i for i in sites]
    return float(np.average([i / 16 for i in sites], weights=weights))


def leaves(value: Any) -> Iterable[bytes]:
    """Every value in a message, as bytes."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield str(key).encode()
            yield from leaves(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from leaves(one)
    elif isinstance(value, bytes):
        yield value
    elif isinstance(value, np.ndarray):
        yield value.tobytes()
    else:
        yield repr(value).encode()
