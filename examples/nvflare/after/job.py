"""Four sites learn to read digits, in NVFLARE's simulator: python job.py [WORKSPACE]."""

import sys

import numpy as np
from digits import accuracy, images, start
from nvflare.app_common.np.recipes.fedavg import NumpyFedAvgRecipe
from nvflare.recipe import SimEnv

from secagg.integrations.nvflare import secure

SITES = 4

if __name__ == "__main__":
    recipe = NumpyFedAvgRecipe(
        name="digits",
        model=start().tolist(),
        min_clients=SITES,
        num_rounds=5,
        train_script="client.py",
    )
    recipe.add_client_file("digits.py")
    secure(recipe, clip=2.0, max_weight=1000, dropout=0.25, metrics={"accuracy": 1.0})
    workspace = sys.argv[1] if sys.argv[1:] else "/tmp/nvflare/digits"
    run = recipe.execute(SimEnv(num_clients=SITES, workspace_root=workspace))
    model = np.load(f"{run.get_result()}/server/simulate_job/models/server.npy")
    right = [accuracy(model, *images(f"site-{i}", SITES)[2:]) for i in range(1, SITES + 1)]
    print(f"accuracy: {np.mean(right):.1%}")
