"""The frozen vectors of specs/vectors/v1: regenerated, replayed, and checked independently.

Between them they cover threats B1 2, 3, 6, 7, 8, 10, 11, 13, 23; B2 24-31, 33, 37, 39, 47;
50, 51, 52, 53, 55, 56 (no wrong sum), 58, 59, 60, 65.
"""

from __future__ import annotations

import ast
import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import generate
import operations
import pytest
import verify
from active_stage import ActiveStage
from additive_stage import AdditiveStage

REFERENCE = Path(verify.__file__).parent
PATHS = sorted(generate.FOLDER.glob("*.json"))
FILES = {path.stem: json.loads(path.read_text()) for path in PATHS}
SESSIONS = [name for name, scenario in FILES.items() if "setup" in scenario]
VERIFIER = sorted(path.name for path in REFERENCE.glob("*.py"))
BATCHES = ["additive-n4-m3", "additive-direct-mixed"]
ACTIVE = ["active-complete", "active-regular", "active-committee"]
SOAK = "SECAGG_SOAK" in os.environ
ALONE = [] if SOAK else sorted(FILES)[::9]
"""What the verifier is given by itself, where nothing means all."""
KEYS = {"about", "spec", "expect", "operations"}


@pytest.fixture(scope="module")
def regenerated():
    return {f"{name}.json": generate.dumps(s) for name, s in generate.scenarios()}


def test_generator_gives_the_frozen_bytes(regenerated):
    assert set(regenerated) == {path.name for path in PATHS}
    for path in PATHS:
        assert path.read_text() == regenerated[path.name], path.name


def test_vectors_are_small():
    """Plans and their refusals are most of it, each whole: who checks another implementation by
    them needs no code of ours."""
    assert sum(path.stat().st_size for path in PATHS) < 6_250_000


def stage_of(setup):
    if setup.get("suite") == 2:
        return ActiveStage(setup)
    kind = AdditiveStage if setup["protocol"] == "additive" else operations.Stage
    return kind(setup)


@pytest.mark.parametrize("name", FILES)
def test_replay(name):
    """Rows 2, 3, 6-8, 24-31, 33, 50-53, 55, 56, 58, 59, 65: accepted or refused as recorded."""
    scenario = FILES[name]
    perform = operations.perform
    if "setup" in scenario:
        stage = stage_of(scenario["setup"])
        perform = stage.perform
    for step in scenario["operations"]:
        inputs = {k: v for k, v in step.items() if k != "outputs"}
        assert perform(inputs) == step["outputs"], step["operation"]
    if "setup" in scenario:
        tapes = [*stage.tapes.values(), *getattr(stage, "sealing", {}).values()]
        assert all(tape.drawn == len(tape.data) for tape in tapes)


@pytest.mark.parametrize("name", FILES)
def test_expectation_names_the_failing_layer(name):
    scenario = FILES[name]
    assert scenario.keys() - {"setup"} == KEYS
    failures = [s["outputs"] for s in scenario["operations"] if not s["outputs"]["success"]]
    if "setup" not in scenario:
        expected = " ".join(sorted({f["error"] for f in failures})) or "accept"
    elif not failures:
        expected = "accept"
    else:
        event = failures[0].get("events", [[""]])[-1]
        expected = failures[0].get("cause") or failures[0].get("error") or event[-1]
    assert scenario["expect"] == expected


@pytest.mark.parametrize("name", FILES)
def test_independent_verifier_agrees(name):
    verify.verify(FILES[name])


def test_verifier_runs_alone():
    """By itself, with nothing of this repository on its path but its own folder. What it says of
    each file the test before this one knows; here it takes all of them in a soak."""
    script = [sys.executable, "-I", "-c", _RUN_ISOLATED, str(REFERENCE), *ALONE]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    number = len(ALONE or PATHS)
    assert f"{number} of {number} vector files agree" in done.stdout


_RUN_ISOLATED = """
import sys
sys.path.insert(0, sys.argv.pop(1))
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("secagg", "secagg_protocols", "numpy"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import verify
sys.exit(verify.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", VERIFIER)
def test_verifier_imports_neither_package(name):
    tree = ast.parse((REFERENCE / name).read_text())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    roots = {module.split(".")[0] for module in imported}
    own = {name.removesuffix(".py") for name in VERIFIER} | {"cryptography", "nacl"}
    assert roots <= own | set(sys.stdlib_module_names)
    assert "importlib" not in roots and "__import__" not in (REFERENCE / name).read_text()


@pytest.mark.parametrize(
    "name", [*(n for n in SESSIONS if n.startswith("round-n5")), *BATCHES, *ACTIVE]
)
def test_verifier_notices_a_changed_byte(name):
    """Whatever byte of whatever message changes, the verifier does not agree. A soak tries every
    message; else the last of each kind."""
    kinds = {}
    for at, step in enumerate(FILES[name]["operations"]):
        for number, sent in enumerate(step["outputs"].get("sends", [])):
            kinds[(at, number) if SOAK else sent["message"][:6]] = at, number
    assert len(kinds) >= 4
    for at, number in kinds.values():
        scenario = copy.deepcopy(FILES[name])
        message = scenario["operations"][at]["outputs"]["sends"][number]
        middle = len(message["message"]) // 2
        digit = f"{int(message['message'][middle], 16) ^ 1:x}"
        message["message"] = message["message"][:middle] + digit + message["message"][middle + 1 :]
        with pytest.raises(AssertionError):
            verify.verify(scenario)


@pytest.mark.parametrize("name", BATCHES)
def test_verifier_notices_a_changed_row(name):
    """Whatever a server stores is derived too. A soak tries every row; else the last of each kind,
    by the first byte of its key, the state it begins with and what the server did."""
    kinds = {}
    for at, step in enumerate(FILES[name]["operations"]):
        for number, (key, value) in enumerate(step["outputs"].get("writes", [])):
            kind = step["operation"], key[:2], value and value[:2]
            kinds[(at, number) if SOAK else kind] = at, number
    assert len(kinds) >= 4
    for at, number in kinds.values():
        scenario = copy.deepcopy(FILES[name])
        row = scenario["operations"][at]["outputs"]["writes"][number]
        row[1] = row[1][:-1] + f"{int(row[1][-1], 16) ^ 1:x}" if row[1] else "00"
        with pytest.raises(AssertionError):
            verify.verify(scenario)


@pytest.mark.parametrize("name", ACTIVE)
def test_verifier_notices_a_changed_record(name):
    """Rule R2: what a server writes down is derived too, the version first and each record once."""
    places = [
        (at, number)
        for at, step in enumerate(FILES[name]["operations"])
        for number, _ in enumerate(step["outputs"].get("records", []))
    ]
    assert len(places) == 8
    for at, number in places:
        scenario = copy.deepcopy(FILES[name])
        records = scenario["operations"][at]["outputs"]["records"]
        records[number] = records[number][:-1] + f"{int(records[number][-1], 16) ^ 1:x}"
        with pytest.raises(AssertionError):
            verify.verify(scenario)


def test_every_rule_of_active_mode_has_a_scenario():
    """Rules C1 to C6, C8, V1 to V9; S2, S4 to S6, R1 to R7: a refusal of each, or what it makes of
    a session."""
    about = {FILES[name]["spec"].split()[-1] for name in FILES if name.startswith("active-")}
    assert about >= {f"V{i}" for i in range(1, 10)} | {f"R{i}" for i in range(1, 8)}
    assert about >= {"C1", "C2", "C3", "C4", "C5", "C6", "C8", "S2", "S4", "S5", "S6"}


@pytest.mark.parametrize("name", ["round-n8-k4-t3", *BATCHES, *ACTIVE])
def test_verifier_notices_a_wrong_sum(name):
    scenario = copy.deepcopy(FILES[name])
    result = next(s for s in scenario["operations"] if s["operation"] == "result")
    result["outputs"]["vector"][0][0] ^= 1
    with pytest.raises(AssertionError):
        verify.verify(scenario)
