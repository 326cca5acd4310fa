"""Trains with `model.fit`, evaluates with `model.evaluate`."""

from __future__ import annotations

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from .task import BATCH_SIZE, EPOCHS, build, rows

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train from the received weights."""
    inputs, target, _, _ = rows(str(context.node_config["data"]))
    model = build()
    model.set_weights(message.content.array_records["arrays"].to_numpy_ndarrays())
    history = model.fit(inputs, target, epochs=EPOCHS, batch_size=BATCH_SIZE, verbose=0)
    metrics = MetricRecord({"loss": history.history["loss"][-1], "num-examples": len(target)})
    content = RecordDict({"arrays": ArrayRecord(model.get_weights()), "metrics": metrics})
    return Message(content, reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Evaluate the received weights."""
    _, _, inputs, target = rows(str(context.node_config["data"]))
    model = build()
    model.set_weights(message.content.array_records["arrays"].to_numpy_ndarrays())
    loss = float(model.evaluate(inputs, target, verbose=0))
    content = RecordDict({"metrics": MetricRecord({"loss": loss, "num-examples": len(target)})})
    return Message(content, reply_to=message)
