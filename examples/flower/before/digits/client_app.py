"""A node: it trains on its own images, and says how good the model is on others of its own."""

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from digits.task import accuracy, images, trained

app = ClientApp()


def mine(context: Context):
    return images(
        int(context.node_config["partition-id"]), int(context.node_config["num-partitions"])
    )


@app.train()
def train(message: Message, context: Context) -> Message:
    seen, _ = mine(context)
    model = {name: array.numpy() for name, array in message.content["arrays"].items()}
    model, loss = trained(model, seen)
    arrays = ArrayRecord({name: Array(array) for name, array in model.items()})
    metrics = MetricRecord({"num-examples": len(seen["y"]), "train_loss": loss})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    _, asked = mine(context)
    model = {name: array.numpy() for name, array in message.content["arrays"].items()}
    right = accuracy(model, asked)
    metrics = MetricRecord({"num-examples": len(asked["y"]), "accuracy": right})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
