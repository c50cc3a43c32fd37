"""What `secagg enrol` does with the answer of a service that lies, or is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from secagg.cli import app
from secagg.crypto import sign
from secagg.invitation import PUBLIC_PKI, Invitation, Token
from tests.service.place import TASK, TERMS, seed

CODE = Invitation(
    "https://localhost", sign.public_key(seed(7)), PUBLIC_PKI, "site-1", Token(bytes(16))
).encode()
TERMS_OF = {TASK: TERMS.encode().hex()}
ANSWERS: dict[str, tuple[Any, str]] = {
    "no object": ([1], "is no service"),
    "nothing": ({}, "how far"),
    "a state of another kind": ({"state": 1, "tasks": TERMS_OF}, "how far"),
    "no tasks": ({"state": "waiting", "tasks": {}}, "no terms"),
    "tasks of another kind": ({"state": "waiting", "tasks": [TASK]}, "no terms"),
    "terms of another kind": ({"state": "waiting", "tasks": {TASK: 5}}, "no terms"),
    "terms that are none": ({"state": "waiting", "tasks": {TASK: "00"}}, "terms"),
    "a name that leads elsewhere": (
        {"state": "waiting", "tasks": {"../../x": TERMS_OF[TASK]}},
        "no terms",
    ),
    "a name with a line": ({"state": "waiting", "tasks": {"x\n": TERMS_OF[TASK]}}, "no terms"),
    "a role that is none": ({"state": "waiting", "role": "king", "console": "x"}, "no role"),
    "no console": ({"state": "waiting", "role": "viewer"}, "no console"),
    "a console in plain text": (
        {"state": "waiting", "role": "viewer", "console": "http://evil.example:1"},
        "no console",
    ),
    "a console of two lines": (
        {"state": "waiting", "role": "viewer", "console": "https://x:1\nkey = 1"},
        "no console",
    ),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_an_answer_that_is_none_is_said_in_a_sentence(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of it is written."""
    answer, said = ANSWERS[what]
    monkeypatch.setattr("secagg.cli.enrol.ask", lambda *_: (200, json.dumps(answer).encode()))
    ended = CliRunner().invoke(app, ["enrol", CODE, "--out", str(tmp_path / "site")])
    assert ended.exit_code == 2 and said in ended.output, ended.output
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["site-1.key"]
