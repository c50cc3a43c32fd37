"""The package face: lazy, complete, and the same in a built wheel."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import secagg

ROOT = Path(__file__).parent.parent


def _python(code: str, *paths: Path, cwd: Path = ROOT) -> str:
    """What a fresh interpreter prints, with `paths` and its own packages only."""
    script = f"import sys; sys.path[:0] = {[str(p) for p in paths]!r}\n{code}"
    command = [sys.executable, "-I", "-c", script]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def test_every_name_resolves() -> None:
    assert sorted(secagg.__all__) == secagg.__all__
    for name in secagg.__all__:
        assert getattr(secagg, name) is not None
    assert set(secagg.__all__) <= set(dir(secagg))


def test_type_checkers_and_the_interpreter_see_the_same_names() -> None:
    tree = ast.parse((ROOT / "secagg" / "__init__.py").read_text())
    [branch] = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in branch.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: str(node.module) for node in imports for alias in node.names}
    assert seen == {name: f"secagg.{home}" for name, home in secagg._HOMES.items()}
    assert {*seen, "__version__"} == set(secagg.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nosuch"):
        secagg.nosuch  # type: ignore[attr-defined]  # noqa: B018


def test_no_name_is_also_a_module() -> None:
    """`secagg.plan` must not turn into a module once somebody imports `secagg.plan`."""
    modules = {path.stem for path in (ROOT / "secagg").iterdir()}
    assert not modules & set(secagg.__all__)


def test_the_version_is_the_one_that_is_packaged() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert secagg.__version__ == project["version"]


@pytest.mark.parametrize(
    "code",
    [
        "import secagg, secagg.schema, secagg.plans.choose",
        "import secagg; secagg.plan(clients=9, fields={'u': secagg.Integer(2, 3)}).explain()",
    ],
)
def test_planning_does_not_load_the_compiler(code: str) -> None:
    found = _python(f"{code}; print('numba' in sys.modules)", ROOT, ROOT / "protocols")
    assert found.strip() == "False"


def test_the_face_alone_loads_nothing() -> None:
    code = "import secagg; print(sorted(m for m in sys.modules if m.startswith('secagg')))"
    assert _python(code, ROOT).strip() == "['secagg']"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="the wheel is built with hatchling, offline")
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [built] = target.glob("*.whl")
    return built


def test_the_wheel_holds_both_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"secagg", "secagg_protocols"}
    assert {"secagg/py.typed", "secagg_protocols/py.typed"} <= set(names)
    files = (path for path in (ROOT / "secagg").rglob("*") if path.is_file())
    sources = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    assert sources <= set(names)
    assert {"secagg/service/page/index.html", "secagg/service/page/page.js"} <= sources


def test_the_wheel_works_by_itself(wheel: Path, tmp_path: Path) -> None:
    """Names, entry points and protocols; the checkout is not on the path."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = """
import json, secagg
from importlib.metadata import entry_points, version
from secagg import registry
print(json.dumps([
    secagg.__file__,
    [name for name in secagg.__all__ if not hasattr(secagg, name)],
    [registry.load(name).name for name in registry.available()],
    [point.value for point in entry_points(group="console_scripts", name="secagg")],
    version("secagg") == secagg.__version__,
]))"""
    where, missing, protocols, scripts, same = json.loads(_python(code, tmp_path, cwd=tmp_path))
    assert Path(where).is_relative_to(tmp_path)
    assert missing == []
    assert protocols == ["additive", "plainsum", "secagg", "secagg+"]
    assert scripts == ["secagg.cli:main"]
    assert same
