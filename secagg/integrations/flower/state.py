"""A node's rows between its messages: sealed, in the state that Flower carries.

There is one slot, for the session that runs. It is bound to run, node and round by the name that
the ledger knows the session by, so that state which Flower carries on into another run, or another
node, opens nowhere.
"""

from __future__ import annotations

from flwr.app import ConfigRecord, Context

from secagg.errors import Spent
from secagg.store.base import Ledger

SLOT = "secagg"
SIZE = 32
"""Bytes of a session's name."""


def session_of(context: Context, nonce: bytes) -> bytes:
    """32 bytes: the round's nonce, the run, and the node."""
    return nonce + b"".join((n % (1 << 64)).to_bytes(8) for n in (context.run_id, context.node_id))


def take(context: Context, session: bytes) -> bytes:
    """The sealed rows of the session. Raises Spent where Flower has brought none, or another's:
    this node is then lost to the round."""
    slot = context.state.get(SLOT)
    if not isinstance(slot, ConfigRecord) or slot.get("session") != session:
        raise Spent(
            "this node does not know the round: its SuperNode was started again since, or the "
            "round was over for it; it takes part in the next one"
        )
    blob = slot.get("blob")
    return blob if isinstance(blob, bytes) else b""


def keep(context: Context, session: bytes, blob: bytes) -> None:
    """Until the next message of the session."""
    context.state[SLOT] = ConfigRecord({"session": session, "blob": blob})


def forget(context: Context) -> None:
    """Of a session that has ended in the ledger already."""
    if SLOT in context.state:
        del context.state[SLOT]


def clear(context: Context, ledger: Ledger) -> None:
    """Whatever session there was is over, and nobody can open its rows any more."""
    slot = context.state.get(SLOT)
    session = slot.get("session") if isinstance(slot, ConfigRecord) else None
    forget(context)
    if isinstance(session, bytes) and len(session) == SIZE:
        ledger.end(session)
