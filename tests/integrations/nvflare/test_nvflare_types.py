"""What is recorded of NVFLARE is as NVFLARE has it: names, arguments, values, and calls."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.integrations.nvflare.conftest import RECORDED
from tests.integrations.nvflare.world import FRAMEWORK

if not FRAMEWORK:
    pytest.skip("NVFLARE is not installed", allow_module_level=True)

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.shareable import Shareable
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.decomposers.numpy_decomposers import NumpyArrayDecomposer
from nvflare.app_common.workflows.fedavg import FedAvg
from nvflare.fuel.utils import fobs

from secagg.integrations.nvflare.given import Received

FILES = [path for path in sorted(RECORDED.rglob("*.py")) if path.name != "__init__.py"]


def recorded(path: Path) -> ModuleType:
    """Beside the framework's own."""
    spec = importlib.util.spec_from_file_location(f"recorded_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def own(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        if getattr(value, "__module__", "") == module.__name__ and name[0] != "_":
            yield name, value


def arguments(value: Any) -> set[str]:
    """With those of the classes above, where it hands on what it does not know."""
    found: set[str] = set()
    for one in value.__mro__ if inspect.isclass(value) else [value]:
        call = vars(one).get("__init__") if inspect.isclass(one) else one
        if inspect.isfunction(call):
            found |= set(inspect.signature(call).parameters)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_recorded_name_is_in_the_framework(path: Path) -> None:
    real = importlib.import_module(".".join(path.relative_to(RECORDED).with_suffix("").parts))
    names = list(own(recorded(path)))
    assert names
    for name, value in names:
        theirs = getattr(real, name)
        if inspect.isfunction(value):
            assert arguments(value) <= arguments(theirs), name
            continue
        assert arguments(value) - {"args", "kwargs"} <= arguments(theirs), name
        for member, ours in vars(value).items():
            if isinstance(ours, str) and member.isupper():
                assert getattr(theirs, member) == ours, f"{name}.{member}"
            elif isinstance(ours, Enum):
                assert theirs[member].value == ours.value, f"{name}.{member}"
            elif inspect.isfunction(ours) and member[0] != "_":
                assert arguments(ours) <= arguments(getattr(theirs, member)), f"{name}.{member}"


def test_fedavg_keeps_its_arguments_where_a_recipe_is_read() -> None:
    from secagg.integrations.nvflare.recipe import _KEPT, _argument

    made = FedAvg(num_clients=4, persistor_id="mine", fedprox_mu=0.5, memory_gc_rounds=3)
    assert {name: _argument(made, name) for name in _KEPT} == {
        "num_clients": 4,
        "num_rounds": 5,
        "start_round": 0,
        "persistor_id": "mine",
        "model": None,
        "save_filename": "FL_global_model.pt",
        "stop_cond": None,
        "patience": None,
        "task_name": "train",
        "memory_gc_rounds": 3,
        "fedprox_mu": 0.5,
        "aggregator": None,
        "aggregation_weights": {},
        "exclude_vars": None,
        "enable_tensor_disk_offload": False,
    }


def test_fedavg_calls_what_a_round_is_made_of_in_this_order() -> None:
    """Which `world.played` does as well."""
    source = inspect.getsource(FedAvg.run)
    calls = ("sample_clients(", "reset_stats(", "self.send_model(", "_get_aggregated_result(")
    places = [source.index(call) for call in calls]
    assert places == sorted(places)
    assert "accept_model(" in inspect.getsource(FedAvg._aggregate_one_result)
    assert "aggregate_model(" in inspect.getsource(FedAvg._get_aggregated_result)


def test_what_a_round_is_about_survives_the_frameworks_own_encoding() -> None:
    """The order of a model's entries too, and of dicts in what is said of it: both are bound."""
    fobs.register(NumpyArrayDecomposer)
    params = {name: np.full(3, place, np.float32) for place, name in enumerate(("w10", "w2", "w1"))}
    task = DXO(DataKind.WEIGHTS, data=params, meta={"rates": {"b": 1, "a": 2}}).to_shareable()
    task.set_header(AppConstants.CURRENT_ROUND, 1)
    carried = Shareable()
    carried.update(fobs.loads(fobs.dumps(dict(task))))
    assert list(from_shareable(carried).data) == list(params)
    abouts = {Received.of(one, "id", "job", "train").about for one in (task, carried)}
    assert len(abouts) == 1


@pytest.mark.parametrize("asked", [False, True], ids=["by event", "by filter"])
def test_nvflares_own_communicators_send_no_task_of_a_site(asked: bool, tmp_path: Path) -> None:
    """They go on with what they were given, whatever a filter returns; the filter raises, and where
    it is not asked, the event after it has emptied what is sent."""
    from nvflare.apis.client import Client
    from nvflare.apis.controller_spec import Task
    from nvflare.apis.fl_constant import FLContextKey, ProcessType
    from nvflare.apis.fl_context import FLContextManager
    from nvflare.apis.impl.task_controller import TaskController
    from nvflare.apis.impl.wf_comm_client import WFCommClient
    from nvflare.private.privacy_manager import Scope

    from secagg.integrations.nvflare import SecAggFilter

    scope, component, sent = Scope(), SecAggFilter(), []
    scope.add_task_data_filter(SecAggFilter(), "inout" if asked else "in")

    class Engine:
        all_clients = [Client("site-2", "token")]

        def get_workspace(self) -> Any:
            return SimpleNamespace(get_root_dir=lambda: str(tmp_path))

        def validate_targets(self, names: Any) -> Any:
            return names, []

        def register_aux_message_handler(self, *_: Any) -> None: ...

        def fire_event(self, event: str, fl_ctx: Any) -> None:
            component.handle_event(event, fl_ctx)

        def send_aux_request(self, request: Any, **_: Any) -> Any:
            sent.append(dict(request))
            return {}

    private = {FLContextKey.SCOPE_OBJECT: scope, FLContextKey.PROCESS_TYPE: ProcessType.CLIENT_JOB}
    manager = FLContextManager(Engine(), "site-1", "job", {}, private)
    for kind in (TaskController, WFCommClient):
        with manager.new_context() as fl_ctx:
            component.handle_event("_start_run", fl_ctx)
            task = Task("swarm_learn", Shareable({"w": [0.123456]}), timeout=5)
            kind().broadcast_and_wait(task, fl_ctx, targets=["site-2"])
    assert len(sent) == (0 if asked else 2) and "0.123456" not in repr(sent)
