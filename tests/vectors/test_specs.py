"""The documents in specs/ say what the code says: tables, citations, and lists of tests."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
import rfc5297
import transitions
import validation

from secagg.crypto import labels

ROOT = Path(__file__).parents[2]
SPECS = ROOT / "specs"
RULES = {
    "10-secagg": {f"C{i}" for i in range(12)} | {f"S{i}" for i in range(12)},
    "12-active": {f"V{i}" for i in range(1, 10)} | {f"R{i}" for i in range(1, 9)} | {"Q1"},
    "20-additive": {f"A{i}" for i in range(1, 16)},
    "52-books": {f"B{i}" for i in range(1, 14)},
    "51-admission": {f"G{i}" for i in range(1, 6)}
    | {f"E{i}" for i in range(1, 10)}
    | {"M1", "M2"}
    | {f"W{i}" for i in range(1, 9)}
    | {f"N{i}" for i in range(1, 8)},
}
_RULE = "[ABCEGMNQRSVW]\\d+"
ROWS = {*range(1, 119)}
INVARIANTS = {f"I{i}" for i in range(1, 8)} | {f"J{i}" for i in range(1, 7)}
THREATS = {*range(1, 13), *range(19, 25)}
"""That active mode answers for (specs/15-active-proof.md §7)."""
FOLDERS = {"p": "protocols/secagg_protocols/secagg", "r": "protocols/secagg_protocols/reports"}


@pytest.fixture(scope="module")
def code() -> dict[str, str]:
    folders = (ROOT / "secagg", ROOT / "protocols" / "secagg_protocols")
    paths = [path for folder in folders for path in folder.rglob("*.py")]
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths}


def exists(path: str, name: str) -> bool:
    file = ROOT / "tests" / path
    return file.exists() and re.search(rf"def {name}\(", file.read_text()) is not None


def test_transition_tables_are_those_of_the_code():
    """If this fails: python tests/vectors/transitions.py --write."""
    for document, tables in transitions.DOCUMENTS.items():
        spec = (SPECS / document).read_text()
        assert transitions.inserted(spec, tables) == spec
        assert spec.count("transitions: begin") == len(tables) == 2


def test_a_changed_table_would_be_noticed():
    for document, row, other in (
        ("10-secagg.md", "| `idle` | *start* | `want-keys` |", "| `idle` | *start* | `ended` |"),
        ("20-additive.md", "| `locked` | helper | locked |", "| `locked` | helper | statement |"),
    ):
        spec = (SPECS / document).read_text()
        changed = spec.replace(row, other)
        assert changed != spec
        assert transitions.inserted(changed, transitions.DOCUMENTS[document]) == spec


def test_every_section_that_code_cites_is_there(code):
    cited = re.compile(r"(?:specs/)?(\d\d-[a-z]+)\.md((?:,? (?:and )?§\d+(?:-§\d+)?)+)")
    seen = Counter()
    for path, text in code.items():
        for document, sections in cited.findall(re.sub(r"\s+#?\s*", " ", text)):
            headings = re.findall(r"^## §(\d+)", (SPECS / f"{document}.md").read_text(), re.M)
            for section in re.findall(r"§(\d+)", sections):
                assert section in headings, f"{path} cites {document}.md §{section}"
                seen[document] += 1
    assert {"01-wire", "02-quantization", "10-secagg", "20-additive"} <= seen.keys()


def test_every_rule_is_stated_once_and_cited_in_code(code):
    for document, rules in RULES.items():
        spec = (SPECS / f"{document}.md").read_text()
        stated = re.findall(rf"^(?:- |\d\. )?\*\*({_RULE})\.?\*\*", spec, re.M)
        assert Counter(stated) == dict.fromkeys(rules, 1)
    known = set().union(*RULES.values())
    cited = set()
    for text in code.values():
        for phrase in re.findall(rf"[Rr]ules? ((?:{_RULE}(?:, | and |-)?)+)", text):
            rules = re.findall(_RULE, phrase)
            assert set(rules) <= known
            cited |= set(rules)
    assert cited == known


def test_every_rule_is_named_by_a_test():
    """In its name, in its docstring or that of its file, or in a comment."""
    named = set()
    for _, source, tree in validation.parsed():
        texts = re.findall(r"#.*", source)
        texts += [ast.get_docstring(node) or "" for node in (tree, *validation.functions(tree))]
        named |= set(re.findall(rf"\b{_RULE}\b", " ".join(texts)))
        for rules in re.findall(r"def test_rules?((?:_[abcegmnqrsvw]\d+)+)_", source):
            named |= set(rules.upper().split("_"))
    assert not set().union(*RULES.values()) - named


def test_every_label_is_in_a_specification():
    """By its whole name where it is defined, or where all share a prefix by what comes after."""
    specs = "".join(path.read_text() for path in SPECS.glob("[0-9]*.md"))
    names = [v for v in vars(labels).values() if isinstance(v, bytes) and v > labels.PREFIX]
    own = [name.decode() for name in names if name.startswith(labels.PREFIX)]
    assert len(own) > 20 and len(own) == len(set(own))
    for name in own:
        assert f"`{name}`" in specs or f"`{name.removeprefix('secagg/v1/')}`" in specs, name


def test_invariants_have_their_tests():
    text = (SPECS / "invariants.md").read_text()
    listed = re.findall(r"^\| ([IJ]\d) \|.* \| (?:`([\w/]+\.py)` )?`(test_\w+)` \|$", text, re.M)
    assert {number for number, _, _ in listed} == INVARIANTS
    for number, place, name in listed:
        assert name.startswith(f"test_{number.lower()}_")
        assert exists(place or "properties/test_invariants.py", name), name


def test_validation_lists_tests_that_exist():
    """If this fails: python tests/vectors/validation.py --write."""
    rows = {row: (where, tests) for row, where, tests in validation.table(_validation())}
    assert rows.keys() == ROWS
    for row, (where, entries) in rows.items():
        assert entries or where.startswith(validation.EXCUSED), f"row {row} has no test"
        for entry in entries:
            path, names = re.fullmatch(r"`([\w/.]+)`(.*)", entry).groups()
            assert (ROOT / "tests" / path).exists(), path
            for name in filter(None, names.strip().split(", ")):
                assert exists(path, name), f"row {row}: {path} has no {name}"


def test_validation_lists_tests_that_say_so():
    """Each is of its row by its own words, and no test names a row that the table does not have."""
    named = {(path, name): rows for path, name, rows in validation.tests()}
    listed = set()
    for row, _, entries in validation.table(_validation()):
        listed.add(row)
        for entry in entries:
            path, names = re.fullmatch(r"`([\w/.]+)`(.*)", entry).groups()
            for name in names.strip().split(", "):
                assert row in named[path, name or None], f"row {row}: {path} {name} is not about it"
    assert set().union(*named.values()) <= listed


def test_validation_names_places_that_exist():
    """Files, and what is named behind one: a function, a class or a rule that it cites."""
    for row, (where, _) in {r: (w, t) for r, w, t in validation.table(_validation())}.items():
        place = r"`(?:([pr]):)?([\w/]+\.py)`((?: \w+(?:\.\w+)?,?)*)"
        for prefix, path, names in re.findall(place, where):
            source = (ROOT / FOLDERS.get(prefix, "secagg") / path).read_text()
            for name in {*re.findall(r"\w+", names)} - {"and"}:
                assert re.search(rf"\b{name}\b", source), f"row {row}: {path} has no {name}"


def threats(table: str) -> dict[int, list[tuple[str, str]]]:
    """By number, path and name of each test in the last column of §7's table."""
    found = {}
    for number, tests in re.findall(r"^\| T(\d+) \|.*\| ([^|]*) \|$", table, re.M):
        found[int(number)] = []
        for entry in tests.split("; "):
            path, names = re.fullmatch(r"`([\w/]+\.py)` (test_\w+(?:, test_\w+)*)", entry).groups()
            found[int(number)] += [(path, name) for name in names.split(", ")]
    return found


def of_threats(text: str) -> set[int]:
    """What a docstring says that it is about: T3, T10-T12."""
    found = set()
    for first, last in re.findall(r"\bT(\d+)(?:-T(\d+))?\b", text):
        found |= {*range(int(first), int(last or first) + 1)}
    return found


def test_promises_of_active_mode_have_their_tests():
    """Each is there, and is of its threat by its own docstring or that of its file."""
    listed = threats((SPECS / "15-active-proof.md").read_text())
    assert listed.keys() == THREATS
    for number, tests in listed.items():
        assert tests and len(set(tests)) == len(tests)
        for path, name in tests:
            assert exists(path, name), f"T{number}: {path} has no {name}"
            tree = ast.parse((ROOT / "tests" / path).read_text())
            texts = [ast.get_docstring(tree) or ""]
            texts += [
                ast.get_docstring(f) or "" for f in validation.functions(tree) if f.name == name
            ]
            assert number in of_threats(" ".join(texts)), (
                f"T{number}: {path} {name} is not about it"
            )


def test_a_promise_without_a_test_would_be_noticed():
    row = "| T1 | links | by construction: rules V2-V8 |"
    with pytest.raises(AttributeError):
        threats(row)
    assert threats("| T1 | a | `a/b.py` test_c, test_d |") == {
        1: [("a/b.py", n) for n in ("test_c", "test_d")]
    }
    assert of_threats("rows 3 (T1, T4-T6; T12)") == {1, 4, 5, 6, 12}


def test_rows_are_read_from_names_docstrings_and_comments():
    assert validation.cited("Rows 24-26, 39 and 41: refused") == {24, 25, 26, 39, 41}
    assert validation.cited("# threats 80") == {80}
    assert validation.cited("a row of 3 and thrown 4") == set()


def _validation() -> str:
    return validation.SPEC.read_text()


def test_the_reference_seals_as_rfc_5297_does():
    """Appendix A.1, and its inverse."""
    key = bytes(range(0xFF, 0xEF, -1)) + bytes(range(0xF0, 0x100))
    strings = [bytes(range(0x10, 0x28))]
    plain = bytes.fromhex("112233445566778899aabbccddee")
    sealed = rfc5297.seal(key, strings, plain)
    assert sealed.hex() == "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c"
    assert rfc5297.unseal(key, strings, sealed) == plain
    assert rfc5297.unseal(key, strings, sealed[:-1] + b"x") is None
