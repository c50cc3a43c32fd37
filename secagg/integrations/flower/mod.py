"""The node's side: a mod around the app's own functions, a shell over `secagg.rounds.ClientRounds`.

Every message may reach another process, so each goes from the rows that the last one left, and what
a node says is claimed in its ledger before it leaves.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from flwr.app import Context, Error, Message

from secagg.arguments import instance
from secagg.effects import Peer, Write
from secagg.errors import InputError, PolicyRefused, SecAggError
from secagg.integrations.exchange import INPUT
from secagg.integrations.flower import carry, state
from secagg.integrations.flower.given import Question, contribution
from secagg.integrations.flower.policy import NodePolicy
from secagg.integrations.given import perform, round_of
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Offer
from secagg.rounds.quota import Limits
from secagg.store import sealed
from secagg.store.base import Ledger
from secagg.store.memory import MemoryStore
from secagg.types import AbortReason, Role
from secagg.wire.frame import MAX_SIZE

# Theory of operation.
#
# A call takes up the rows, hears the frames of its message, acts, computes the input if that is
# asked for, acts again, and seals the rows for the next call. Acting is what `secagg.effects` says:
# rows, then claims, then frames. The rows are in memory until they are sealed into the context, and
# Flower stores that after the reply has left; so nothing here rests on the context. A node whose
# context was lost is a dropout, and one whose context was put back finds its claims in the ledger
# and says nothing: that file is on a disk of its own, and synced before a frame leaves.
#
# The ledger also makes the key of the rows, and destroys it when this node has answered for the
# last time: rows that Flower keeps, or carries into another run, open nowhere then. The server's
# last word is not waited for, because no input is given twice, whatever it says.
#
# A node's context comes from its SuperNode, and the part of it that is the run's, `run_config`,
# from the SuperLink: a node is told another one as easily as another model. So the digest of what
# the ServerApp has is said with every message, is compared with what this node has, and is part of
# what the round is about.
#
# What leaves is frames, or a refusal in words. The words are about what the server announced, or
# this node's ledger; what concerns an input, or the app's own exception, stays in the node's log.

log = logging.getLogger("flwr.secagg")

Call: TypeAlias = Callable[[Message, Context], Message]
Mod: TypeAlias = Callable[[Message, Context, Call], Message]

REFUSED = 6
"""Flower's code for a mod whose precondition does not hold."""
SECURED = ("train", "evaluate")
PARAMETERS = "get_parameters"
"""The older API's: a node's own model, whenever the server likes."""
_SERVER = Peer("server", None, Role.SERVER)
_PLAIN = (
    "this node answers in secure rounds only: put SecAgg(strategy, ...), from "
    "secagg.integrations.flower, around the ServerApp's strategy{}"
)
_EVALUATION = ", with evaluate_metrics={name: clip} for what evaluation returns"

_INITIAL = (
    "a node's own model leaves it in secure rounds only: give the ServerApp's strategy "
    "initial_parameters"
)
_SPENT = (
    "this node has said this before, in other words: its state was put back, or a round of this "
    "run is asked for a second time, about the same model and configuration; where that is meant, "
    "change train_config, as by ConfigRecord({'trial': 2})"
)


def node_mod(policy: NodePolicy | None = None) -> Mod:
    """The mod of a ClientApp, `ClientApp(mods=[node_mod(NodePolicy(...))])`; `secagg_mod` is that
    of the default policy. The node's own configuration adds to either.

    It takes part in secure rounds, and lets no message of training or evaluation be answered
    outside of one, nor one that asks for the node's model; queries are the application's own. Mods
    that change what is trained, as those of differential privacy do, come after it.
    """
    own = NodePolicy() if policy is None else instance("policy", policy, NodePolicy)

    def mod(message: Message, context: Context, call_next: Call) -> Message:
        kind = message.metadata.message_type.partition(".")[0]
        if kind not in (*SECURED, PARAMETERS):
            return call_next(message, context)
        try:
            if kind == PARAMETERS:
                raise PolicyRefused(_INITIAL)
            asked = carry.read(message.content)
            if asked is None:
                raise PolicyRefused(_PLAIN.format(_EVALUATION if kind != "train" else ""))
            policy = own.within(context.node_config)
            policy.agree(asked.weighted_by, asked.run_config, context.run_config)
            with policy.ledger() as ledger:
                frames = _Call(message, context, call_next, policy, ledger).answer(asked)
        except SecAggError as refused:
            log.warning("secagg: no part in the round: %s", refused)
            return Message(Error(REFUSED, own.told(refused)), reply_to=message)
        return Message(carry.answer(frames), reply_to=message)

    return mod


@dataclass
class _Call:
    """One message: from rows to rows."""

    message: Message
    context: Context
    call_next: Call
    policy: NodePolicy
    ledger: Ledger
    store: MemoryStore = field(default_factory=MemoryStore)

    def answer(self, asked: carry.Asked) -> list[bytes]:
        """The frames to send. Raises a SecAggError, without anything of an input in it, where
        nothing may leave."""
        nonce, announced = round_of(asked.frames)
        session = state.session_of(self.context, nonce)
        limits = Limits(frame=MAX_SIZE)
        rounds = ClientRounds(self.policy.consent, limits=limits, durable=True, carried=True)
        key = None
        if announced:
            state.clear(self.context, self.ledger)
        else:
            blob = state.take(self.context, session)
            key = self.ledger.key(session)
            self.store.commit([Write(*row) for row in sealed.open(blob, key, session)])
        rounds.restore(self.store.rows(), time.monotonic())
        rounds.joined(_SERVER, time.monotonic())
        self._act(rounds, session)
        for frame in asked.frames:
            rounds.received(_SERVER, frame, time.monotonic())
        for offer in rounds.asked():
            self.policy.judge(offer.plan)
        frames = self._act(rounds, session)
        if asked.step == INPUT:
            for offer in rounds.owed():
                self._give(rounds, offer, asked)
            frames += self._act(rounds, session)
        last = bool(frames) and _silent(rounds)
        if last or not rounds.running:
            for outcome in rounds.outcomes():
                log.warning("secagg: the round is over for this node: %s", outcome.detail)
            if last:  # with what it says the session has ended
                state.forget(self.context)
            else:
                state.clear(self.context, self.ledger)
            return frames
        key = key or self.ledger.key(session)
        state.keep(self.context, session, sealed.seal(self.store.rows(), key, session))
        return frames

    def _give(self, rounds: ClientRounds, offer: Offer, asked: carry.Asked) -> None:
        """The input, or the word that there is none; why stays here."""
        question = Question(self.message, self.context, asked)
        try:
            given = contribution(question, offer, self.call_next)
            if given is None:
                log.info("secagg: this node has no examples, and is not in this sum")
                rounds.decline(offer, time.monotonic())
                return
            rounds.contribute(offer, given, time.monotonic())
        except InputError as bad:
            log.error("secagg: this node's input cannot be in the sum: %s", bad)
            rounds.decline(offer, time.monotonic(), AbortReason.BAD_INPUT)
            return
        for name, number in rounds.clipped(offer).items():
            if number:
                log.info("secagg: %d elements of %s are beyond the clip", number, name)

    def _act(self, rounds: ClientRounds, session: bytes) -> list[bytes]:
        """The session ends with the last word, which is what this node has said, and not what the
        server calls the exchange."""
        ends = session if _silent(rounds) else None
        return perform(rounds, self.store, self.ledger, _SPENT, ends)


def _silent(rounds: ClientRounds) -> bool:
    """Whether no secret is left in what runs."""
    return bool(rounds.running) and not rounds.speaking


secagg_mod = node_mod()
