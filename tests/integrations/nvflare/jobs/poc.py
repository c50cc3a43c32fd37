"""The job in POC mode, at sites with a policy: poc.py FOLDER DIES ROUND ROUNDS [plain].

A site that dies is gone with all its processes; `plain` is for a job without secure rounds. What
the server has written of the job is in FOLDER/job then, and each site in FOLDER/sites/NAME.
"""

import json
import os
import re
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from job import made, recipe_of
from nvflare.apis.fl_exception import FLCommunicationError
from nvflare.fuel.flare_api.api_spec import NoConnection

SITES = 4
ROOT = Path(__file__).parent.parent.parent.parent.parent
FLOORS = {"min_clients": 3, "max_dropout": 0.25, "max_clip": 0.25}
OVER = "Server runner finished"


def policy() -> str:
    """The one that the page shows, with floors that the job keeps."""
    page = (ROOT / "docs" / "nvflare.md").read_text()
    shown = re.search(r"^```json\n(.*?)^```", page, re.M | re.S)
    assert shown is not None
    told = json.loads(shown[1])
    told["components"][0]["args"] = FLOORS
    return json.dumps(told)


def waited(ready: Any, seconds: float) -> Any:
    until = time.monotonic() + seconds
    while not (found := ready()):
        if time.monotonic() > until:
            raise SystemExit("it lasts too long")
        time.sleep(1)
    return found


def everybody(manager: Any) -> bool:
    """Whether all sites are there; a server that is still busy with itself lets nobody in."""
    try:
        session = manager._get_session()
    except (FLCommunicationError, NoConnection):
        return False
    try:
        return len(session.get_system_info().client_info) == SITES
    finally:
        session.close()


def kill_what_is_left(workspace: str) -> None:
    """What starts processes again, before those. A number may be another process's by now."""
    left = [*Path(workspace).rglob("daemon_pid.fl"), *Path(workspace).rglob("pid.fl")]
    for number in (one.read_text().strip() for one in left):
        with suppress(FileNotFoundError, ProcessLookupError):
            if workspace.encode() in Path(f"/proc/{number}/cmdline").read_bytes():
                os.kill(int(number), signal.SIGKILL)


if __name__ == "__main__":
    folder, dies, number, rounds, *kind = sys.argv[1:]
    os.environ["NVFLARE_POC_WORKSPACE"] = workspace = f"{folder}/poc"
    from nvflare.recipe import PocEnv, poc_env

    start = poc_env._start_poc

    def started(**given: Any) -> None:
        for site in Path(workspace).glob("*/prod_00/site-*"):
            (site / "local" / "privacy.json").write_text(policy())
        start(**given)

    poc_env._start_poc = started

    class Everybody(PocEnv):
        """A job begins with the sites that are there when it is submitted."""

        def _get_session_manager(self) -> Any:
            manager = super()._get_session_manager()
            waited(lambda: everybody(manager), 100)
            return manager

    env = Everybody(num_clients=SITES, extra={"login_timeout": 90})
    given = dies, number, int(rounds), "all"
    try:
        job = env.deploy((recipe_of if kind else made)(*given)._job)
        server = next(Path(workspace).glob("*/prod_00/server"))
        log = server / job / "log.txt"
        # NVFLARE has a job running as long as it has hope of a site that is lost: ten minutes
        waited(lambda: log.is_file() and OVER in log.read_text(), 200)
        shutil.copytree(server / job, f"{folder}/job", dirs_exist_ok=True)
        for site in server.parent.glob("site-*"):
            shutil.copytree(site / job, f"{folder}/sites/{site.name}", dirs_exist_ok=True)
    finally:
        env.stop()
        kill_what_is_left(workspace)
