"""What active mode refuses has an id each, and what is tried against it has a name each."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import mutants
from tests.adversary.active import (
    test_ended,
    test_liars_and_losses,
    test_lying_about_u1,
    test_lying_about_u2,
    test_lying_about_u3,
    test_lying_dealers,
    test_lying_members,
    test_splits,
    test_two_of_one_kind,
)
from tests.adversary.active.refusals import HERE, REFUSALS
from tests.mutants import ACTIVE, ROOT

WHOLE = ("client", "dealing", "messages", "statements", "server", "stages/agree", "stages/base")
WHOLE += ("contradiction", "stages/join", "stages/mask", "stages/open")
FILES = [f"{HERE}active/{name}.py" for name in WHOLE] + [f"{HERE}survivors.py"]
CALLS = ("finish", "at_least", "agreed", "verify", "says")
TABLES = (
    test_lying_about_u1.ROWS,
    test_lying_about_u2.REFUSED,
    test_lying_about_u2.REPORTED,
    test_lying_about_u3.ROWS,
    test_lying_members.ROWS,
    test_lying_dealers.ONE,
    test_lying_dealers.TWO,
    test_lying_dealers.SECRETS,
    test_lying_dealers.UNSEEN,
    test_splits.HALVES,
    test_liars_and_losses.LIES,
    test_ended.ENDS,
    test_two_of_one_kind.TWO,
    test_two_of_one_kind.UNSEEN,
)


def test_there_are_more_than_150_named_misbehaviours() -> None:
    names = [name for table in TABLES for name in table]
    assert len({*names}) == len(names) > 300


def refusals(tree: ast.Module) -> Iterator[tuple[int, int]]:
    """First and last line of each: what is raised, with what decides it; and each call of a check.
    What is impossible is none."""
    within = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and "impossible: " not in ast.unparse(node):
            above = within[node]
            if isinstance(above, ast.ExceptHandler):
                above = within[above]
            assert isinstance(above, ast.If | ast.Try), ast.unparse(above)
            yield above.lineno, node.end_lineno or 0
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            called = node.value.func
            name = called.attr if isinstance(called, ast.Attribute) else ast.unparse(called)
            if "check" in name or name in CALLS:
                yield node.lineno, node.end_lineno or 0


def taken_out(path: str, source: str) -> Iterator[tuple[int, int]]:
    """First and last line of the text of each mutant in a file."""
    for mutant in ACTIVE:
        if mutant.path == path:
            before = source[: source.index(mutant.text)].count("\n") + 1
            yield before, before + mutant.text.rstrip("\n").count("\n")


@pytest.mark.parametrize("path", FILES)
def test_every_refusal_has_an_id(path: str) -> None:
    source = (ROOT / path).read_text()
    known = [*taken_out(path, source)]
    for first, last in refusals(ast.parse(source)):
        if not any(a <= last and first <= b for a, b in known):
            pytest.fail(f"{path}:{first}: what is refused here has no id in refusals.py")


def test_a_refusal_without_an_id_would_be_noticed() -> None:
    source = "def f(x):\n    if x < 0:\n        raise ValueError\n    check(x)\n    y = check(x)\n"
    assert [*refusals(ast.parse(source))] == [(4, 4), (2, 3)]


def test_ids_are_of_rules() -> None:
    """A rule of a client or server, a row of bad bytes, or of what all signatures rest on."""
    for _, _, rows in REFUSALS:
        for name, text, instead in rows:
            assert text != instead
            assert (
                name[0] in "CRSV"
                and name[1].isdigit()
                or name.split("-")[0]
                in (
                    "B1",
                    "signatures",
                    "statement",
                )
            )


SAMPLE = ("V8-agree-signature", "V7-judge")


def test_a_sample_of_them_is_seen_to_be_gone(tmp_path: Path) -> None:
    """All of them in the soak suite, and in `python -m tests.mutants active`."""
    runner = mutants.Runner(mutants.copy_of_the_tree(tmp_path))
    for name in SAMPLE:
        mutant = next(one for one in ACTIVE if one.name == f"active: {name}")
        runner.take_for_green(mutant.tests, 5.0)  # they are among the tests of this very run
        assert not runner.lives(mutant)
