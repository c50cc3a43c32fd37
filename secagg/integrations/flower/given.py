"""A node's input: what its app answers, as the fields of the plan. Nothing else of it goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Context, Message

from secagg.arguments import kind_of
from secagg.errors import InputError, PolicyRefused
from secagg.integrations.floors import OURS
from secagg.integrations.flower import carry
from secagg.integrations.flower.model import About, Model, payload
from secagg.integrations.given import checked_weight
from secagg.integrations.model import within_numbers
from secagg.integrations.terms import METRIC, UPDATE
from secagg.plans.plan import Plan
from secagg.rounds.offer import Contribution, Offer
from secagg.shown import short
from secagg.wire.frame import payload_digest

log = logging.getLogger("flwr.secagg")


@dataclass(frozen=True, slots=True)
class Question:
    """A message that asks for an input, as it came."""

    message: Message
    context: Context
    asked: carry.Asked

    __repr__ = short


def contribution(
    question: Question, offer: Offer, call_next: Callable[[Message, Context], Message]
) -> Contribution | None:
    """What the app makes of the message; None where it had no examples.

    Raises PolicyRefused for another model than was announced, before anything is computed, and for
    a second mod of ours; InputError for an answer that is none.
    """
    message, context = question.message, question.context
    message.content = carry.without(message.content)
    model = _model(message)
    kind = message.metadata.message_type
    asked = question.asked
    what = About(context.run_id, kind, asked.round, asked.weighted_by, asked.run_config)
    about = payload(model, message.content, what)
    # of its metadata an app may read the group, which is the round's number for all nodes
    grouped = message.metadata.group_id == str(asked.round)
    if payload_digest(about) != offer.payload_digest or not grouped:
        raise PolicyRefused(
            "the server announced another model, configuration or weight than the message brings: "
            "nothing may change them on their way, so mods that do come after secagg_mod"
        )
    answered = _answered(message, context, call_next)
    weight = _weight(offer.plan, answered, asked.weighted_by)
    if weight == 0:
        return None
    fields = _fields(offer.plan, model, answered)
    # of no plan: one sum about one question, however often and among whomever it is asked
    name = context.node_id.to_bytes(8) + about
    return Contribution(fields, weight=weight, payload=about, name=name)


def _model(message: Message) -> Model:
    records = list(message.content.array_records.values())
    if len(records) != 1:
        raise InputError(f"the message has {len(records)} ArrayRecords, and a model is one")
    return Model.of(records[0])


def _answered(
    message: Message, context: Context, call_next: Callable[[Message, Context], Message]
) -> Message:
    """Flower would tell the server the text of an exception, in which there may be anything."""
    try:
        reply = call_next(message, context)
    except Exception:
        log.exception("secagg: the app raised; the server hears only that there is no input")
        raise InputError("the app raised an exception, which is in the log above") from None
    if not isinstance(reply, Message):
        raise InputError(f"the app returned {kind_of(reply)}, and is to return a Message")
    if reply.has_error():
        if str(reply.error.reason).startswith(OURS):
            raise PolicyRefused(
                "secagg_mod, or node_mod(...), is twice among the mods of this ClientApp: leave one"
            )
        raise InputError(f"the app, or a mod after secagg_mod, has refused: {reply.error.reason}")
    status = reply.content.config_records.get("fitres.status")
    if status is not None and status.get("code") != 0:
        raise InputError("the app's fit has a status that is not OK")
    return reply


def _fields(plan: Plan, model: Model, reply: Message) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, _ in plan.schema.given:
        if name == UPDATE:
            fields[name] = model.difference(_trained(reply))
        elif name.startswith(METRIC):
            metric = float(_metric(reply, name.removeprefix(METRIC)))
            fields[name] = within_numbers(np.array([metric]))
        else:
            raise PolicyRefused(f"the plan has a field {name!r}, which no ServerApp asks for")
    return fields


def _trained(reply: Message) -> Any:
    records = list(reply.content.array_records.values())
    if len(records) != 1:
        raise InputError(f"the app's reply has {len(records)} ArrayRecords, and a model is one")
    return records[0]


def _metrics(reply: Message, name: str) -> list[Any]:
    content = reply.content
    records: list[Any] = [*content.metric_records.values()]
    records += content.config_records.values()  # where the older API has them
    return [record[name] for record in records if name in record]


def _metric(reply: Message, name: str) -> float | int:
    found = _metrics(reply, name)
    if len(found) != 1 or not isinstance(found[0], int | float):
        raise InputError(
            f"the app's reply has {len(found)} metrics {name!r}, and the server sums one number of "
            "that name: return it in the MetricRecord, or take it out of SecAgg(metrics=...)"
        )
    if isinstance(found[0], float):
        return float(found[0])
    if not -(1 << 63) <= found[0] < 1 << 63:
        raise InputError(f"the metric {name!r} is an integer of more than 64 bits")
    return int(found[0])


def _weight(plan: Plan, reply: Message, key: str) -> int:
    """1 of a plan without weights, in which all nodes that have examples count alike."""
    if not plan.schema.weighted:
        return int(_metrics(reply, key) != [0])
    return checked_weight(plan, _metric(reply, key), key)
