"""Every mutant of a limit is killed by the tests that it names: see mutants.py."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests import mutants
from tests.mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_the_limit_stands_where_it_is_listed(mutant: Mutant, tmp_path: Path) -> None:
    (tmp_path / mutant.path).parent.mkdir(parents=True)
    before = shutil.copy2(mutants.ROOT / mutant.path, tmp_path / mutant.path).read_text()
    mutant.in_place(tmp_path)
    changed = (tmp_path / mutant.path).read_text()
    assert changed != before
    compile(changed, mutant.path, "exec")
    for name in mutant.tests:
        assert (mutants.ROOT / name).exists()


def test_names_are_unique() -> None:
    assert len({one.name for one in MUTANTS}) == len(MUTANTS)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> mutants.Runner:
    return mutants.Runner(mutants.copy_of_the_tree(tmp_path_factory.mktemp("tree")))


@pytest.mark.soak
@pytest.mark.skipif("SECAGG_SOAK" not in os.environ, reason="`make soak` runs it")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_somebody_sees_that_it_is_gone(mutant: Mutant, runner: mutants.Runner) -> None:
    assert not runner.lives(mutant)


def test_the_runner_tells_killed_from_living(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # most of the time of seven runs
    (tmp_path / "limit.py").write_text("LIMIT = 3\nUNSEEN = 4\n")
    test = "from limit import LIMIT\n\ndef test_it() -> None:\n    assert LIMIT == 3\n"
    (tmp_path / "test_limit.py").write_text(test)
    runner = mutants.Runner(tmp_path)
    killed = Mutant("a", "limit.py", "LIMIT = 3", "LIMIT = 4", ("test_limit.py",))
    assert runner.lives(killed) == ""
    living = Mutant("b", "limit.py", "UNSEEN = 4", "UNSEEN = 5", ("test_limit.py",))
    assert "has seen it" in runner.lives(living)
    unfair = Mutant("c", "limit.py", "LIMIT = 3", "LIMIT = = 3", ("test_limit.py",))
    with pytest.raises(RuntimeError, match="before any test"):
        runner.lives(unfair)
    gone = Mutant("d", "limit.py", "LIMIT = 9", "", ("test_limit.py",))
    with pytest.raises(LookupError, match="occurs 0 times"):
        runner.lives(gone)
    (tmp_path / "test_broken.py").write_text("def test_it() -> None:\n    assert False\n")
    broken = Mutant("e", "limit.py", "LIMIT = 3", "", ("test_broken.py",))
    with pytest.raises(RuntimeError, match="before any change"):
        runner.lives(broken)
    assert (tmp_path / "limit.py").read_text() == "LIMIT = 3\nUNSEEN = 4\n"
