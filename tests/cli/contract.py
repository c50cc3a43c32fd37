"""What scripts rely on: every command, its options, and the keys of its JSON, as they are today.

`python -m tests.cli.contract` writes what is new into contract.json, and takes nothing away.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import typer

import secagg
from secagg import cli
from tests import proven

FILE = Path(__file__).parent / "contract.json"
KEPT: dict[str, Any] = json.loads(FILE.read_text())
ROOT = Path(__file__).parents[2]
LENGTH = 4
SIZES = ("--clients", "4", "--length", str(LENGTH))
SMALL = (*SIZES, "--bits", "8")
PRIVATE = (*SIZES, "--epsilon", "2", "--delta", "0.01", "--norm", "1")
_NAMED = ("--name", "localhost", "--address", "127.0.0.1:0")
_TASK = '[tasks.sum]\nplan = "sum.task"\nclients = { min = 4 }\n'
OWN = frozenset(
    {"phases", "faults", "error_bounds", "mechanism", "sigma_total", "name", "machine", "ratios"}
)
"""Keys below which names are data: of phases, of fields, of whatever was measured."""


def commands() -> dict[str, dict[str, str]]:
    """By command, each option or argument with its type and what it is without."""
    app: Any = typer.main.get_command(cli.app)
    return {name: dict(_parameters(name, app.get_command(None, name))) for name in cli.COMMANDS}


def _parameters(name: str, command: Any) -> Iterator[tuple[str, str]]:
    """Names from typer, which makes them; types and defaults from what is typed here."""
    function = cli.function_of(name)
    hints, given = get_type_hints(function), inspect.signature(function).parameters
    for one in command.params:
        if one.name in given:
            kind, default = hints[one.name], given[one.name].default
            kind = kind.__name__ if isinstance(kind, type) else str(kind).replace("pathlib.", "")
            without = "required" if default is inspect.Parameter.empty else f"default {default}"
            yield one.opts[0], f"{kind}, {without}"


def keys(answer: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Dotted; those of an object in a list after []."""
    for name, value in answer.items():
        if name.isdigit():
            return
        yield before + name
        if name in OWN:
            continue
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Mapping):
                yield from keys(inner, f"{before}{name}{'[]' if value is not inner else ''}.")


class Runs:
    """Every command once, as a process, in every form whose answer has keys of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found: dict[str, set[str]] = {}
        np.save(folder / "vector.npy", np.linspace(-1, 1, LENGTH))

    def all(self) -> dict[str, list[str]]:
        self._short()
        self._one_server()
        self._several_servers()
        return {name: sorted(found) for name, found in self.found.items()}

    def _short(self) -> None:
        self.run("plan", *SMALL, "--out", self.at("plan"))
        self.run("plan", *SMALL, "--servers", "2", "--dropout", "0.25", "--out", self.at("plan2"))
        self.run("simulate", *SMALL)
        self.take("plan --epsilon", self.start("plan", *PRIVATE))
        self.take("simulate --epsilon", self.start("simulate", *PRIVATE))
        self.run("protocols")
        self.run("demo", "--rounds", "1", "--clients", "7", "--corrupt", "0")
        self.run("bench", "pack", "--rows", "width=17,d=10")
        self._budget()
        self._roster()
        self._proofs()
        self._service()
        few = ("--trust", "none,local", "--epsilon", "8", "--seeds", "1", "--jobs", "1")
        self.run("frontier", *few, "--out", self.at("frontier"))
        self.run("audit", "--length", "1024")
        some, terms = ("--clients", "4..6", *SMALL[2:]), self.at("terms")
        self.take("task, of a range", self.start("task", *some, "--out", terms))
        self.inspect("terms of a task", terms)
        self.inspect("plan", self.at("plan"))
        self.inspect("array", self.at("vector.npy"))
        self.inspect("test vector", str(ROOT / "specs" / "vectors" / "v1" / "keys.json"))
        refused = self.start("plan", "--clients", "1", "--length", "1")
        self.take("any that is refused", refused, code=2)

    def _budget(self) -> None:
        fields = {"v": secagg.Vector(LENGTH, norm=1.0, bits=8)}
        asked = secagg.Privacy(2.0, 1e-3)
        plan = secagg.plan(clients=4, corrupt=0, fields=fields, privacy=asked)
        with secagg.Budget(self.at("spent"), epsilon=2.0, delta=1e-3) as budget:
            budget.charge(bytes(32), budget.counting.disclosure(plan))
        self.run("budget", "show", self.at("spent"))

    def _roster(self) -> None:
        def told(*words: str) -> dict[str, Any]:
            return self.take(" ".join(words[:2]), self.start(*words))

        admin, signed = self.at("admin"), self.at("admin/roster")
        keys = {name: told("identity", "new", self.at(name), "--name", name) for name in "sab"}
        told("identity", "show", self.at("a"))
        pinned = told("roster", "init", admin, "--server", keys["s"]["public"])["admin"]
        told("roster", "add", admin, *(keys[name]["request"] for name in "ab"))
        told("roster", "exclude", admin, "b")
        told("roster", "sign", admin, "--not-after", "2099-12-31")
        told("roster", "verify", signed, "--admin", pinned)
        told("roster", "show", admin)

    def _proofs(self) -> None:
        made = proven.files(self.folder / "proofs")
        signed = ("--roster", str(made["roster"]))
        for what in ("transcript", "evidence"):
            self.run(f"verify-{what}", str(made[what]), *signed)
        none = self.start("verify-evidence", str(made["told"]), *signed)
        self.take("verify-evidence, of nobody", none, code=1)

    def _service(self) -> None:
        folder = self.at("service")
        self.take("service init", self.start("service", "init", folder, *_NAMED, "--trial-ca"))
        check = self.start("service", "check", f"{folder}/service.toml")
        self.take("service check", check, code=2)  # it has no task yet
        self._served(Path(folder))

    def _served(self, folder: Path) -> None:
        """A service of one task, and a round of it."""
        few = ("--clients", "4..5", "--length", str(LENGTH), "--bits", "8", "--corrupt", "0")
        made = self.start("task", *few, "--out", str(folder / "sum.task"))
        self.take("task, of a range", made)
        config = folder / "service.toml"
        config.write_text(config.read_text() + _TASK)
        of = ("--config", str(config))
        server = self.start("serve", "--config", str(config))
        while (asking := self.start("service", "status", *of)).wait() and server.poll() is None:
            asking.communicate()
        self.take("service status", asking)
        joined = [self._site(number, *of) for number in range(4)]
        for one in joined:
            self.take("join --service", one)
        self.take("service list", self.start("service", "list", *of))
        for errand in ("open", "pause", "resume", "cancel"):
            self.take(f"service {errand}", self.start("service", errand, "sum", *of))
        self._person(*of)
        self.take("service revoke", self.start("service", "revoke", "site-0", *of))
        self.take("results list", self.start("results", "list", *of))
        got = self.start("results", "get", "last", "--out", self.at("sum.npz"), *of)
        self.take("results get", got)
        self.take("top", self.start("top", *of))
        self.take("results rm", self.start("results", "rm", "last", *of))
        self.take("service drain", self.start("service", "drain", *of))
        server.terminate()
        self.take("serve --config", server)

    def _person(self, *of: str) -> None:
        made = self.start("service", "invite", "ann", "--role", "viewer", *of)
        code, folder = self.take("service invite", made)["code"], self.at("ann")
        self.take("enrol, of a person", self.start("enrol", str(code), "--out", folder))
        self.take("service approve", self.start("service", "approve", "ann", *of))
        self.take("login", self.start("login", "--service", f"{folder}/ann.toml"))
        self.take("service login", self.start("service", "login", *of))
        appointed = self.start("service", "appoint", "ann", "--role", "operator", *of)
        self.take("service appoint", appointed)

    def _site(self, number: int, *of: str) -> subprocess.Popen[str]:
        name, folder = f"site-{number}", self.at(f"site-{number}")
        made = self.start("service", "invite", name, "--task", "sum", *of)
        code = self.take("service invite", made)
        self.take("enrol", self.start("enrol", str(code["code"]), "--out", folder))
        self.take("service approve", self.start("service", "approve", name, *of))
        file = f"{folder}/{name}.toml"
        return self.start("join", "--service", file, "--input", self.at("vector.npy"))

    def _one_server(self) -> None:
        port = self.at("port")
        given = (*SMALL, "--dropout", "0.25", "--rounds", "2", "--out", self.at("mean.npy"))
        server = self.start("serve", *given, "--port-file", port, "--wait", "20")
        where, vector = self.url(port), self.at("vector.npy")
        joined = [self.start("join", where, "--input", vector) for _ in range(4)]
        self.take("serve", server)
        for one in joined:
            self.take("join", one)
        self.take("task, one server", self.start("task", *SMALL, "--out", self.at("task1")))

    def _several_servers(self) -> None:
        public = [self.run("keys", "--out", self.at(f"{i}.key"))["public"] for i in range(2)]
        key = self.at("c.key")
        collector = self.run("keys", "--out", key, "--collector")["public"]
        named = [word for one in public for word in ("--server", one)]
        task, vector = self.at("task"), self.at("vector.npy")
        rest = ("--collector", collector, "--epoch", "1", "--plan", self.at("plan2"))
        self.run("task", *named, *rest, "--out", task)
        self.inspect("task", task)
        self.inspect("secret key of a collector", key)
        helper = self._member(1, "helper", task)
        where = self.url(self.at("1.port"))
        leader = self._member(0, "leader", task, "--peer", where)
        urls = self.url(self.at("0.port")), where
        for one in [self.start("join", urls[0], "--input", vector, "--task", task) for _ in "1234"]:
            self.take("join --task", one)
        out = ("--out", self.at("mean.npy"), "--sum", self.at("sum.npy"))
        self.run("collect", *urls, "--task", task, "--key", key, *out)
        for process in (leader, helper):
            self.take("serve --role", process)

    def _member(self, index: int, role: str, task: str, *more: str) -> subprocess.Popen[str]:
        files = {
            "--task": task,
            "--key": self.at(f"{index}.key"),
            "--store": self.at(f"{index}.db"),
        }
        given = [word for pair in files.items() for word in pair]
        port = ("--port-file", self.at(f"{index}.port"))
        return self.start("serve", "--role", role, *given, *port, *more, "--linger", "30")

    def at(self, name: str) -> str:
        return str(self.folder / name)

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "secagg.cli", *words, "--json"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload,no-any-return]

    def take(self, name: str, process: subprocess.Popen[str], code: int = 0) -> dict[str, Any]:
        out, err = process.communicate(timeout=120)
        if process.returncode != code:
            raise AssertionError(f"{name}: {err}")
        answer: dict[str, Any] = json.loads(out)
        self.found.setdefault(name, set()).update(keys(answer))
        return answer

    def run(self, name: str, *words: str) -> dict[str, Any]:
        return self.take(name, self.start(name, *words))

    def inspect(self, kind: str, file: str) -> None:
        self.take(f"inspect, {kind}", self.start("inspect", file))

    def url(self, port: str) -> str:
        end = time.monotonic() + 60
        while not Path(port).exists():
            if time.monotonic() > end:
                raise AssertionError("the service did not start")
            time.sleep(0.02)
        return f"ws://127.0.0.1:{int(Path(port).read_text())}"


def check(name: str, answer: Mapping[str, Any]) -> None:
    """For the tests that run a command anyway: its answer has all that was promised."""
    gone = set(KEPT["json"][name]) - set(keys(answer))
    assert not gone, f"{name} --json has lost {sorted(gone)}"


def found() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return {"commands": commands(), "json": Runs(Path(folder)).all()}


def missing(kept: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Of what was promised: commands, options, and keys that are gone, and what has changed."""
    for part, names in kept.items():
        for name, promised in names.items():
            here = now[part].get(name, {})
            gone: Iterable[str] = set(promised) - set(here)
            yield from (f"{name}: {one}" for one in sorted(gone))
            if isinstance(promised, Mapping) and isinstance(here, Mapping):
                same = (one for one in promised if one in here and here[one] != promised[one])
                yield from (f"{name}: {one} is now {here[one]}" for one in same)


def merged(kept: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What was promised as it was, and what came besides."""
    return {
        part: {
            name: {**names, **kept.get(part, {}).get(name, {})}
            if isinstance(names, Mapping)
            else sorted({*names, *kept.get(part, {}).get(name, ())})
            for name, names in {**kept.get(part, {}), **now[part]}.items()
        }
        for part in now
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(merged(KEPT, found()), indent=1) + "\n")
