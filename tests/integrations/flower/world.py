"""A grid and its nodes in one process: every message is copied on its way, as a link does, and
kept; a node answers from nothing but its context and its disk."""

from __future__ import annotations

import copy
import importlib.util
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict

from secagg.integrations.flower import secagg_mod

FRAMEWORK = importlib.util.find_spec("flwr.supercore") is not None
"""Whether these tests run with the framework itself, and not with what is recorded of it."""
RUN = 7
Fate = Callable[[int, int], bool]
"""(exchange of the round, from 0, place of the node) -> whether the node is silent in it."""


def identify() -> None:
    """Messages are made by somebody; the real framework asks a task who that is."""
    if not FRAMEWORK:
        return
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN, 1, 1


def model(values: Mapping[str, Any]) -> ArrayRecord:
    return ArrayRecord({name: Array(np.asarray(value)) for name, value in values.items()})


def arrays(record: ArrayRecord) -> dict[str, np.ndarray[Any, Any]]:
    return {name: record[name].numpy() for name in record.keys()}


def copied(message: Message) -> Message:
    return copy.deepcopy(message)


class Node:
    """A SuperNode: what Flower keeps for it, and its own folder."""

    def __init__(
        self, number: int, folder: Path | str, config: Mapping[str, Any], app: Any
    ) -> None:
        self.number, self.app = number, app
        config = {"secagg-state": str(folder), **config}
        self.context = Context(RUN, number, config, RecordDict(), {})

    def answer(self, message: Message) -> Message:
        return self.app(message, self.context)  # type: ignore[no-any-return]


class LocalGrid:
    """What a ServerApp sends goes to the nodes at once; those whose fate it is say nothing."""

    def __init__(
        self,
        nodes: Iterable[Node],
        fate: Fate = lambda exchange, place: False,
        exchanges: int = 4,
    ) -> None:
        """exchanges: of one round; those of plain Flower have one."""
        self.nodes = {node.number: node for node in nodes}
        self.fate, self.exchanges = fate, exchanges
        self.exchange = 0
        self.log: list[Message] = []
        """Every message and every reply, as it travelled."""

    def get_node_ids(self) -> list[int]:
        return list(self.nodes)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        messages, replies = list(messages), []
        if not messages:
            return []
        places = {node: place for place, node in enumerate(sorted(self.nodes))}
        for message in messages:
            node = message.metadata.dst_node_id
            self.log.append(copied(message))
            if self.fate(self.exchange % self.exchanges, places[node]):
                continue
            reply = self.nodes[node].answer(copied(message))
            self.log.append(copied(reply))
            replies.append(reply)
        self.exchange += 1
        return replies


def modded(*mods: Any, train: Any, evaluate: Any = None) -> Any:
    """An app as ClientApp makes it: mods around functions by type of message."""

    def app(message: Message, context: Context) -> Message:
        call = train if message.metadata.message_type == "train" else evaluate
        for mod in reversed(mods):
            call = _around(mod, call)
        return call(message, context)  # type: ignore[no-any-return]

    return app


def _around(mod: Any, call: Any) -> Any:
    return lambda message, context: mod(message, context, call)


Step = Callable[[int, dict[str, np.ndarray[Any, Any]]], dict[str, np.ndarray[Any, Any]]]


def trainer(step: Step, weight: Callable[[int], int], **metrics: Callable[[int], float]) -> Any:
    """step: (node, model) -> the trained model."""

    def train(message: Message, context: Context) -> Message:
        node = context.node_id
        [received] = message.content.array_records.values()
        told = {"num-examples": weight(node), **{n: f(node) for n, f in metrics.items()}}
        return Message(
            RecordDict(
                {
                    "arrays": model(step(node, arrays(received))),
                    "metrics": MetricRecord(told),
                    "notes": ConfigRecord({"who": f"hospital {node}"}),
                }
            ),
            reply_to=message,
        )

    return train


def leaves(message: Message) -> Iterator[bytes]:
    """Every value of a message as bytes: numbers as Flower's own encoding has them, and as text."""
    if message.has_error():
        yield str(message.error.reason).encode()
        return
    for record in message.content.values():
        for name in record.keys():
            value = record[name]
            yield name.encode()
            for one in value if isinstance(value, list) else [value]:
                yield from _leaf(one)


def _leaf(value: Any) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, str):
        yield value.encode()
    elif isinstance(value, int | float):
        yield repr(value).encode()
        yield struct.pack("<d", value)
    else:
        yield value.data


def nodes(
    count: int, folder: Path | str, app: Any, config: Mapping[str, Any] | None = None
) -> list[Node]:
    identify()
    return [Node(1000 + i, folder, config or {}, app) for i in range(count)]


def secured(train: Any, evaluate: Any = None, mod: Any = secagg_mod) -> Any:
    return modded(mod, train=train, evaluate=evaluate)
