"""secagg budget: what is spent, what was changed, and what cannot be seen."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import secagg
from secagg import cli
from secagg.budget import Budget
from secagg.store.ledger import SqliteLedger
from tests.budget import budget_plans as plans
from tests.budget.budget_plans import DELTA, key
from tests.cli import contract
from tests.processes.fleet import Commands


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["budget", *map(str, arguments)])


def answer(*arguments: object, code: int = 0) -> dict[str, Any]:
    result = call(*arguments, "--json")
    assert result.exit_code == code, result.output
    data: dict[str, Any] = json.loads(result.stdout)
    if not code and data["plans"]:
        contract.check("budget", data)
    return data


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Two plans, one round given back, with an anchor."""
    path = tmp_path / "spent.db"
    with (
        SqliteLedger.open(tmp_path / "ledger.db") as anchor,
        Budget(path, epsilon=8.0, delta=DELTA, anchor=anchor) as budget,
    ):
        for number, plan in enumerate([plans.vector(), plans.vector(), plans.counts()]):
            budget.charge(key(number), budget.counting.disclosure(plan))
        budget.refund(key(1))
        budget.leave(key(0))
        budget.settle(key(0), 18)
    return path


def test_what_is_spent(kept: Path) -> None:
    shown = answer("show", kept)
    assert (shown["rows"], shown["charged"], shown["refunded"]) == (8, 2, 1)
    assert (shown["epsilon"], shown["delta"], shown["anchored"]) == (8.0, DELTA, None)
    assert 0 < shown["spent"] < 2 and shown["accounting"] == "mixed-rdp"
    assert shown["left"] == pytest.approx(1 - shown["used"])
    assert [(p["charged"], p["settled"]) for p in shown["plans"]] == [(1, 0), (1, 1)]
    text = call("show", kept)
    assert text.exit_code == 0 and "epsilon 8 at delta 0.0001" in text.stdout
    assert "2 charged, 1 given back" in text.stdout and "1 rounds, 1 settled" in text.stdout
    assert text.stderr == ""


def test_whether_it_is_whole(kept: Path) -> None:
    found = answer("verify", kept, "--anchor", kept.with_name("ledger.db"))
    assert (found["anchored"], found["note"]) == (8, "")
    said = call("verify", kept, "--anchor", kept.with_name("ledger.db"))
    assert "as written" in said.stdout and "knows 8 rows" in said.stdout and said.stderr == ""
    unseen = call("verify", kept)
    assert unseen.exit_code == 0 and "cannot be seen without one" in unseen.stderr
    assert "not given" in unseen.stdout
    other = kept.with_name("other.db")
    SqliteLedger.open(other).close()
    assert "knows nothing of it" in answer("verify", kept, "--anchor", other)["note"]


def test_what_was_changed_is_named(kept: Path) -> None:
    """An edited row, and rows that are missing at the end: exit code 2."""
    database = sqlite3.connect(kept)
    with database:
        database.execute("DELETE FROM rows WHERE number >= 6")
    assert answer("verify", kept)["rows"] == 6
    lost = answer("verify", kept, "--anchor", kept.with_name("ledger.db"), code=2)
    assert "its anchor knows row 6" in lost["message"] and lost["error"] == "StorageError"
    with database:
        database.execute("UPDATE rows SET content = zeroblob(9) WHERE number = 3")
    database.close()
    for action in ("show", "verify"):
        assert "row 3 was edited" in answer(action, kept, code=2)["message"]


def test_what_is_no_budget(kept: Path, tmp_path: Path) -> None:
    assert "there is no budget" in answer("show", tmp_path / "none.db", code=2)["message"]
    missing = answer("verify", kept, "--anchor", tmp_path / "none.db", code=2)
    assert "there is no such ledger" in missing["message"] and not (tmp_path / "none.db").exists()
    assert call("spend", kept).exit_code == 2
    assert answer("show", kept.with_name("ledger.db"), code=2)["error"] == "StorageError"


def test_a_new_one(tmp_path: Path) -> None:
    """Made once, with its anchor; what it is of is for good."""
    path, anchor = tmp_path / "new.db", tmp_path / "ledger.db"
    made = answer("new", path, "--epsilon", "2", "--delta", "1e-5", "--anchor", anchor)
    assert (made["epsilon"], made["delta"], made["rows"], made["anchored"]) == (2.0, 1e-5, 1, 1)
    again = answer("new", path, "--epsilon", "3", "--delta", "1e-5", code=2)
    assert "is there already" in again["message"]
    for given, said in (
        (("new", tmp_path / "other.db", "--epsilon", "2"), "an --epsilon and a --delta"),
        (("new", tmp_path / "other.db", "--epsilon", "0", "--delta", "1e-5"), "epsilon must be"),
        (("new", tmp_path / "no" / "a.db", "--epsilon", "2", "--delta", "1e-5"), "not a folder"),
        (("show", path, "--epsilon", "2"), "are of a new budget"),
    ):
        assert said in answer(*given, code=2)["message"]
    assert not (tmp_path / "other.db").exists()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Commands]:
    commands = Commands(tmp_path)
    yield commands
    commands.close()


def test_join_charges_it(start: Commands, tmp_path: Path) -> None:
    """Three have room, and one is told what it has: exit code 2, and nothing is spent."""
    plan = plans.made({"v": secagg.Vector(4, norm=1.0, bits=8)}, 2.0, 1, clients=4, corrupt=0)
    np.save(tmp_path / "x.npy", np.full(4, 0.25))
    joining = []
    with secagg.serve_in_thread(plan) as server:
        for number, epsilon in enumerate([0.5, 2, 2, 2]):
            path = tmp_path / f"{number}.db"
            answer("new", path, "--epsilon", epsilon, "--delta", DELTA)
            words = ("join", server.url, "--input", tmp_path / "x.npy", "--budget", path)
            words += ("--ledger", tmp_path / f"{number}.ledger", "--name", "x", "--json")
            joining.append(start(*words))
        server.ready(timeout=120)
        assert server.run_round(deadlines=60).count == 3
    for number, one in enumerate(joining):
        said, err = one.answer(0 if number else 2)
        path = tmp_path / f"{number}.db"
        shown = answer("show", path, "--anchor", tmp_path / f"{number}.ledger")
        if number:
            assert said["included"], err
            assert (shown["charged"], shown["note"]) == (1, "") and shown["rows"] > 2
        else:
            assert said["error"] == "BudgetSpent"
            assert "100.00% is left" in said["message"] and shown["charged"] == 0


def test_join_without_such_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(4))
    words = ("join", "ws://127.0.0.1:9", "--input", tmp_path / "x.npy", "--budget", tmp_path / "no")
    result = CliRunner().invoke(cli.app, [*map(str, words)])
    assert result.exit_code == 2 and "there is no budget" in result.stderr


def test_serve_records_what_its_sums_tell(start: Commands, tmp_path: Path) -> None:
    """40 §9.17: before anybody hears of them, over two runs, beyond its epsilon too."""
    path, port = tmp_path / "told.db", tmp_path / "port"
    assert answer("new", path, "--epsilon", "2.5", "--delta", "0.01")["against"] == "server"
    np.save(tmp_path / "x.npy", np.full(4, 0.25))
    private = ("--epsilon", "2", "--delta", "0.01", "--norm", "1", "--corrupt", "0")
    sizes = ("--clients", "4", "--length", "4", "--bits", "16")
    given = (*sizes, *private, "--budget", path, "--json")
    spent = []
    for run in range(2):
        server = start("serve", *given, "--port-file", port, "--wait", "60")
        until = time.monotonic() + 60
        while not port.exists() and time.monotonic() < until:
            time.sleep(0.02)
        url = f"ws://127.0.0.1:{int(port.read_text())}"
        joined = [start("join", url, "--input", tmp_path / "x.npy", "--json") for _ in range(4)]
        told, err = server.answer(0)
        for one in joined:
            one.answer(0)
        assert told["privacy"]["rounds_spent"] == run + 1
        assert told["budget"]["charged"] == run + 1
        spent.append(told["budget"]["spent"])
        port.unlink()
    assert spent[0] == pytest.approx(told["privacy"]["epsilon_server"]) and spent[1] > 2.5
    assert "2 rounds of this plan were told, and its noise is for 1" in told["privacy"]["warnings"]
    assert "its budget is 2.5: nothing is refused here" in err
    shown = answer("verify", path)
    assert shown["charged"] == 2 and shown["spent"] == spent[1]


def test_serve_with_a_budget_that_cannot_count_it(tmp_path: Path) -> None:
    """Before anything is linked; and central noise is counted against readers."""
    path = tmp_path / "told.db"
    answer("new", path, "--epsilon", "2", "--delta", "0.01")
    sizes = ("serve", "--clients", "4", "--length", "4", "--bits", "16", "--corrupt", "0")
    sizes += ("--host", "0.0.0.0")
    private = ("--epsilon", "2", "--delta", "0.01", "--norm", "1")
    readers = tmp_path / "readers.db"
    made = answer("new", readers, "--epsilon", "2", "--delta", "0.01", "--against", "readers")
    assert (made["against"], made["unit"]) == ("readers", "client")
    for words, said in (
        (("--budget", path), "this plan has none: its sums are exact"),
        ((*private, "--budget", tmp_path / "no.db"), "there is no budget"),
        ((*private, "--trust", "central", "--budget", path), "has the server add the noise"),
        ((*private, "--trust", "central", "--budget", readers), "only loopback"),
        ((*private, "--budget", path), "only loopback"),
    ):
        result = CliRunner().invoke(cli.app, [*map(str, (*sizes, *words))])
        assert result.exit_code == 2 and said in result.stderr, (words, result.stderr)
    rest = ("--role", "leader", "--budget", path)
    result = CliRunner().invoke(cli.app, ["serve", *map(str, rest)])
    assert result.exit_code == 2 and "is of a server alone" in result.stderr
    assert (
        "--against are of a new budget"
        in answer("show", path, "--unit", "client", code=2)["message"]
    )
