"""What is recorded of Flower is as Flower has it: names, arguments, and who overrides what."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from types import ModuleType
from typing import Any

import pytest

from tests.integrations.flower.conftest import RECORDED
from tests.integrations.flower.world import FRAMEWORK

if not FRAMEWORK:
    pytest.skip("Flower is not installed", allow_module_level=True)

import flwr.app
from flwr.serverapp import strategy


def recorded(name: str) -> ModuleType:
    """Beside the framework's own, from which its strategies then import."""
    path = RECORDED / "flwr" / name
    spec = importlib.util.spec_from_file_location(f"recorded_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


APP, STRATEGY = recorded("app.py"), recorded("serverapp/strategy.py")
PAIRS = ((APP, flwr.app), (STRATEGY, strategy))


def shown(module: ModuleType) -> dict[str, Any]:
    """Its own public classes."""
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and name[0] != "_"
    }


def arguments(value: Any) -> dict[str, Any]:
    return {
        one.name: one.default
        for one in inspect.signature(value).parameters.values()
        if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    }


def members(kind: type) -> dict[str, Any]:
    own = {**dict.fromkeys(getattr(kind, "__annotations__", {})), **vars(kind)}
    return {name: value for name, value in own.items() if name[0] != "_" and name != "kinds"}


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=["app", "strategy"])
def test_every_recorded_name_is_in_the_framework(ours: ModuleType, theirs: ModuleType) -> None:
    for name, kind in shown(ours).items():
        real = getattr(theirs, name)
        there = {*dir(real), *getattr(real, "__annotations__", {}), *arguments(real)}
        assert set(members(kind)) <= there, name
        for member, value in members(kind).items():
            if inspect.isfunction(value) and value.__name__ != "<lambda>":
                assert set(arguments(value)) <= set(arguments(getattr(real, member))), member
    assert len(shown(ours)) > 5


def test_messages_are_made_alike() -> None:
    assert set(arguments(APP.Message)) - {"self"} <= set(arguments(flwr.app.Message)) | {"content"}
    assert list(arguments(APP.Error)) == list(arguments(flwr.app.Error))
    assert list(arguments(APP.Context)) == list(arguments(flwr.app.Context))[:5]


def test_strategies_are_made_with_the_recorded_arguments() -> None:
    assert arguments(STRATEGY.FedAvg).items() <= arguments(strategy.FedAvg).items()
    assert set(arguments(STRATEGY.FedAvg.start)) < set(arguments(strategy.FedAvg.start))


@pytest.mark.parametrize("name", sorted(set(shown(STRATEGY)) - {"Strategy", "Result", "FedAvg"}))
def test_strategies_override_what_they_are_recorded_to(name: str) -> None:
    """SecAgg goes by whose aggregate_train a strategy has."""
    ours, real = getattr(STRATEGY, name), getattr(strategy, name)
    for call in ("aggregate_train", "aggregate_evaluate"):
        own = getattr(ours, call) is not getattr(STRATEGY.FedAvg, call)
        assert own == (getattr(real, call) is not getattr(strategy.FedAvg, call)), call
