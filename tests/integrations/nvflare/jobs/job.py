"""A job of four sites in the simulator, one of which dies: job.py WORKSPACE DIES ROUND ROUNDS."""

import sys
from pathlib import Path

import walk
from nvflare.app_common.np.recipes.fedavg import NumpyFedAvgRecipe
from nvflare.recipe import SimEnv

from secagg.integrations.nvflare import secure

HERE = Path(__file__).parent


def recipe_of(dies: str, number: str, rounds: int, more: str = "") -> NumpyFedAvgRecipe:
    recipe = NumpyFedAvgRecipe(
        name="walk",
        model=walk.start().tolist(),
        min_clients=4,
        num_rounds=rounds,
        train_script=str(HERE / "client.py"),
        train_args=f"{dies} {number} {more}".strip(),
    )
    recipe.add_client_file(str(HERE / "walk.py"))
    return recipe


def made(dies: str, number: str, rounds: int, more: str = "") -> NumpyFedAvgRecipe:
    given = {"dropout": 0.25, "metrics": {"accuracy": 1.0}, "timeouts": {"masked-input": 20.0}}
    return secure(recipe_of(dies, number, rounds, more), clip=0.25, max_weight=1 << 16, **given)


if __name__ == "__main__":
    workspace, dies, number, rounds = sys.argv[1:]
    made(dies, number, int(rounds)).execute(SimEnv(num_clients=4, workspace_root=workspace))
