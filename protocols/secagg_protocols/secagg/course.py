"""What a client answers in a session: what a suite adds to is this, and no machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from secagg.wire.codec import Reader
from secagg_protocols.secagg.messages import NAMES
from secagg_protocols.secagg.standing import STORED, Standing
from secagg_protocols.secagg.states import CLIENT

# A later suite has messages of its own, such as a consistency round. They come in as data: the
# machine asks the table of the session's suite, and refuses what is not in it. So no suite can
# loosen another one by a branch in the machine.

Answer: TypeAlias = Callable[[Standing, Reader, bytes], tuple[Standing, bytes]]
"""(state, reader behind the header, what the message is bound to) -> the next state, and the reply.
Raises WireError or RemoteProtocolError where the server broke the protocol."""


@dataclass(frozen=True)
class Course:
    """table, names: the transitions, and messages by tag (states.py, messages.py). more: by tag,
    how a message beyond those of suite 1 is answered. stored: the states that have rows, in the
    order of their codes. A client's state is whatever has `phase` and a name in `value[0]`.
    """

    table: Mapping[Any, Any] = field(default_factory=lambda: CLIENT)
    names: Mapping[int, str] = field(default_factory=lambda: NAMES)
    more: Mapping[int, Answer] = field(default_factory=dict)
    stored: tuple[Any, ...] = STORED


COURSE = Course()
"""Of suite 1."""
