"""Checks every vector against the specification alone: `python specs/reference/verify.py`.

With blocks.py, checks.py and the models a second implementation, written from specs/ and importing
neither package. Each scenario is acted out by models of client and server; whatever an operation
gives must be what the file says, byte for byte, and a refusal must come from the rule that the
scenario is about.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import checks
import model_active
import model_active_server
import model_additive
import model_additive_server
from blocks import Refused
from model import Client, Common
from model_server import Server

FOLDER = Path(__file__).parents[1] / "vectors" / "v1"
Data = dict[str, Any]


def verify_session(scenario: Data) -> list[str]:
    """The rules behind the refusals, in order."""
    setup = scenario["setup"]
    if setup["protocol"] == "additive":
        return verify_batch(scenario)
    if setup.get("suite") == 2:
        return verify_active(scenario)
    common = Common(setup)
    models: dict[Any, Any] = {
        int(p): Client(common, int(p), bytes.fromhex(c["randomness"]))
        for p, c in setup["clients"].items()
    }
    if setup["server"]:
        models["server"] = Server(common)
    return acted(scenario, models, common.segments, len(models) == common.n + 1)


def verify_active(scenario: Data) -> list[str]:
    """12-active.md"""
    setup = scenario["setup"]
    common = model_active.Common(setup)
    models: dict[Any, Any] = {
        int(p): model_active.ActiveClient(common, int(p), c) for p, c in setup["clients"].items()
    }
    if setup["server"]:
        seed = bytes.fromhex(setup["server"])
        models["server"] = model_active_server.ActiveServer(common, seed, setup["invited"])
    whole = len(models) == len(setup["invited"]) + 1
    return acted(scenario, models, common.segments, whole)


def acted(scenario: Data, models: dict[Any, Any], segments: Any, whole: bool) -> list[str]:
    """whole: everybody is there, so that a sum can be compared with the inputs."""
    rules = replayed(scenario, models)
    for party, model in models.items():
        if party != "server":
            check(model.tape == b"", "not all recorded randomness is used")
    if whole:
        check_sum(scenario, segments)
    return rules


def replayed(scenario: Data, models: dict[Any, Any]) -> list[str]:
    rules = []
    for operation in scenario["operations"]:
        outputs = models[operation["party"]].perform(operation)
        if not outputs["success"]:
            rules.append(outputs.pop("rule"))
        for empty in ("events", "sends", "writes", "records"):
            if not outputs.get(empty):
                outputs.pop(empty, None)
        same(operation, outputs)
    return rules


def verify_batch(scenario: Data) -> list[str]:
    """Of several servers. The total of a whole batch is the sum of the inputs that it included."""
    common = model_additive.Common(scenario["setup"])
    models = {
        name: model_additive_server.model_of(common, name) for name in scenario["setup"]["parties"]
    }
    rules = replayed(scenario, models)
    for name, model in models.items():
        unused = (model.random.data, model.ephemeral.data)
        check(unused == (b"", b""), f"not all recorded randomness of {name} is used")
    steps = scenario["operations"]
    results = [s["outputs"] for s in steps if s["operation"] == "result"]
    if len(models) == common.n + common.m + 1 and results[0]["success"]:
        inputs = {s["party"]: s["vector"] for s in steps if s["operation"] == "set_input"}
        made = {models[name].made.head.id: vector for name, vector in inputs.items()}
        included = [made[id] for id in models["server-0"].included]
        check(results[0]["reports"] == len(included), "the reports are not counted")
        for g, (width, _) in enumerate(common.segments):
            columns = zip(*(vector[g] for vector in included), strict=True)
            plain = [sum(column) % 2**width for column in columns]
            check(plain == results[0]["vector"][g], f"segment {g} is not the sum of the inputs")
    return rules


def check_sum(scenario: Data, segments: Any) -> None:
    """The result is the plain sum of the contributors' inputs."""
    steps = scenario["operations"]
    inputs = {s["party"]: s["vector"] for s in steps if s["operation"] == "set_input"}
    result = next(s["outputs"] for s in steps if s["operation"] == "result")
    for g, (width, _) in enumerate(segments if result["success"] else ()):
        lanes = [inputs[party][g] for party in result["contributors"]]
        plain = [sum(column) % 2**width for column in zip(*lanes, strict=True)]
        check(plain == result["vector"][g], f"segment {g} is not the sum of the inputs")


def same(operation: Data, outputs: Data) -> None:
    wanted = operation["outputs"]
    if outputs != wanted:
        keys = [k for k in {*outputs, *wanted} if outputs.get(k) != wanted.get(k)]
        detail = {k: (outputs.get(k), wanted.get(k)) for k in keys}
        raise AssertionError(f"{operation['operation']}: derived, recorded: {detail}")


def check(condition: bool, what: str) -> None:
    if not condition:
        raise AssertionError(what)


def verify_alone(scenario: Data) -> None:
    for operation in scenario["operations"]:
        inputs = {k: v for k, v in operation.items() if k not in ("operation", "outputs")}
        try:
            outputs = {"success": True, **checks.ALONE[operation["operation"]](**inputs)}
        except Refused as refusal:
            outputs = {"success": False, "error": refusal.layer}
        same(operation, outputs)


def verify(scenario: Data) -> None:
    """Raises AssertionError where a file and the specification differ."""
    if "setup" not in scenario:
        verify_alone(scenario)
        return
    rules = verify_session(scenario)
    check(bool(rules) == (scenario["expect"] != "accept"), "expect and refusals disagree")
    if rules:
        about = scenario["spec"].split()[-1]
        check(rules[0] == about, f"refused by {rules[0]}, and the scenario is about {about}")


def main(names: list[str]) -> int:
    """Of the files with these names, or of all."""
    paths = [FOLDER / f"{name}.json" for name in names] or sorted(FOLDER.glob("*.json"))
    failures = 0
    for path in paths:
        try:
            verify(json.loads(path.read_text()))
        except (AssertionError, Refused) as error:
            failures += 1
            print(f"{path.name}: {str(error)[:2000]}")
    print(f"{len(paths) - failures} of {len(paths)} vector files agree with the specification")
    return bool(failures) or not paths


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
