"""`secagg service roster`: what goes to the administrator of a roster, and what comes back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from secagg.cli.console import ask, take_roster
from secagg.cli.files import read_at_most
from secagg.cli.founding import make_folder
from secagg.cli.output import notice
from secagg.cli.targets import check_target, write_whole
from secagg.errors import ParameterError
from secagg.roster import MAX_ROSTER_FILE

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Names that are names of files everywhere."""


def carried(
    what: str, file: Path | None, out: Path | None, tasks: list[str], config: Path
) -> dict[str, object]:
    """what: export, with the folder `out`; or import, with the signed roster in `file`. Raises
    ParameterError, and as `secagg.cli.console.ask`."""
    if what == "export":
        if out is None or len(tasks) > 1:
            raise ParameterError("export takes --out DIR, and one --task where there are several")
        return _exported(out, tasks[0] if tasks else "", config)
    if what != "import":
        raise ParameterError("roster what? `roster export --out DIR`, or `roster import ROSTER`")
    if file is None or out is not None or tasks:
        raise ParameterError("import takes the signed roster after it, and no --out or --task")
    answer: dict[str, Any] = take_roster(config, read_at_most(file, MAX_ROSTER_FILE, "ROSTER"))
    for task in answer["after_the_round_of"]:
        notice(f"a round of {task} runs: the roster is in force when it is over")
    return answer


def _exported(out: Path, task: str, config: Path) -> dict[str, object]:
    """A file for each request, and whom to exclude."""
    found: dict[str, Any] = ask(config, {"do": "wanted", "name": task})
    make_folder(out)
    files = []
    for name, request in found.pop("requests").items():
        data = bytes.fromhex(request)
        plain = name if _PLAIN.fullmatch(name) else data[-96:-64].hex()[:16]  # of its key
        path = out / f"{plain}.enrol"
        check_target(path, "--out")
        write_whole(path, data, force=True)
        files.append(str(path))
    return {**found, "requests": files}
