"""The server: it averages what the nodes learn."""

from flwr.app import Array, ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from digits.task import start
from secagg.integrations.flower import SecAgg

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    strategy = SecAgg(FedAvg(), clip=0.5, max_weight=1000, evaluate_metrics={"accuracy": 1.0})
    arrays = ArrayRecord({name: Array(array) for name, array in start().items()})
    result = strategy.start(grid, arrays, num_rounds=int(context.run_config["rounds"]))
    for number, metrics in result.evaluate_metrics_clientapp.items():
        print(f"round {number}: {metrics['accuracy']:.1%} of the digits are read")
