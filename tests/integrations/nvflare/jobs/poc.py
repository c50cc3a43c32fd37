"""The job in POC mode, at sites with a policy of their own: poc.py MODEL DIES ROUND ROUNDS [KIND].

KIND: `secure`, or `plain` for a job without secure rounds. The model is copied to MODEL, if there
is one. NVFLARE_POC_WORKSPACE says where all of it is.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from job import made, recipe_of
from nvflare.recipe import PocEnv, poc_env

ROOT = Path(__file__).parent.parent.parent.parent.parent
FLOORS = {"min_clients": 3, "max_dropout": 0.25, "max_clip": 0.25}


def policy() -> str:
    """The one that the page shows, with floors that the job keeps."""
    shown = re.search(
        r"^```json\n(.*?)^```", (ROOT / "docs" / "nvflare.md").read_text(), re.M | re.S
    )
    assert shown is not None
    told = json.loads(shown[1])
    told["components"][0]["args"] = FLOORS
    return json.dumps(told)


def with_policy(start: Any) -> Any:
    def started(poc_workspace: str, **given: Any) -> Any:
        for site in Path(poc_workspace).glob("*/prod_00/site-*"):
            (site / "local" / "privacy.json").write_text(policy())
        return start(poc_workspace=poc_workspace, **given)

    return started


if __name__ == "__main__":
    model, dies, number, rounds, *kind = sys.argv[1:]
    poc_env._start_poc = with_policy(poc_env._start_poc)
    env = PocEnv(num_clients=4, extra={"login_timeout": 90})
    given = dies, number, int(rounds), "all"
    try:
        run = (recipe_of if kind == ["plain"] else made)(*given).execute(env)
        found = run.get_result(timeout=400)
        print("status", run.get_status(), flush=True)
        for path in Path(found).rglob("server.npy"):
            shutil.copy(path, model)
    finally:
        env.stop()
