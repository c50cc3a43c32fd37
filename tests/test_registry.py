"""Protocols by name, through entry points or the built-in table: design, "who owns what"."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from secagg import registry
from secagg.errors import ParameterError
from secagg_protocols import PROTOCOLS

Install = Callable[..., None]
PLAINSUM = "secagg_protocols.plainsum:PROTOCOL"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What is installed is read once a process; here it changes."""
    registry.load.cache_clear()
    registry._table.cache_clear()
    yield
    registry.load.cache_clear()
    registry._table.cache_clear()


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    def install(*points: tuple[str, str]) -> None:
        installed = EntryPoints(EntryPoint(n, v, registry.GROUP) for n, v in points)
        monkeypatch.setattr(registry, "entry_points", lambda group: installed.select(group=group))

    return install


def test_a_bare_clone_knows_the_built_in_protocols(install: Install) -> None:
    install()
    assert registry.available() == tuple(sorted(PROTOCOLS))
    assert registry.load("plainsum").name == "plainsum"


def test_the_same_entry_point_twice_is_one_protocol(install: Install) -> None:
    """An editable install beside a checkout lists everything twice."""
    install(*PROTOCOLS.items(), *PROTOCOLS.items())
    assert registry.available() == tuple(sorted(PROTOCOLS))
    assert registry.load("plainsum").name == "plainsum"


def test_an_installed_protocol_joins_the_built_in_ones(install: Install) -> None:
    install(("third-party", "somewhere:PROTOCOL"))
    assert "third-party" in registry.available()
    assert "secagg" in registry.available()


def test_a_name_cannot_be_taken_over_silently(install: Install) -> None:
    install(("secagg", "evil.package:PROTOCOL"))
    with pytest.raises(ParameterError) as error:
        registry.load("secagg")
    assert "evil.package:PROTOCOL" in str(error.value)
    assert PROTOCOLS["secagg"] in str(error.value)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ParameterError, match="secagg, secagg") as error:
        registry.load("secag")
    assert "plainsum" in str(error.value)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("no_such_package:PROTOCOL", "cannot be imported"),
        ("secagg_protocols.plainsum:NOTHING", "cannot be imported"),
        ("secagg_protocols.plainsum:parameters", "not a ProtocolInfo"),
        (PLAINSUM, "of that name"),
    ],
)
def test_an_entry_point_that_leads_nowhere(install: Install, value: str, complaint: str) -> None:
    install(("broken", value))
    with pytest.raises(ParameterError, match=complaint):
        registry.load("broken")


def test_without_the_protocols_package_nothing_is_available(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    monkeypatch.setattr(registry, "_BUILT_IN", "no_such_package")
    assert registry.available() == ()


def test_a_protocols_package_that_is_broken_is_not_hidden(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    monkeypatch.setattr(registry, "_BUILT_IN", "no_such_package.inner")
    with pytest.raises(ModuleNotFoundError):
        registry.available()


def test_registry_and_planner_do_not_load_numba() -> None:
    code = (
        "import sys, secagg.registry, secagg.plans.choose; secagg.registry.available(); "
        "sys.exit('numba' in sys.modules)"
    )
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=path, check=False).returncode == 0
