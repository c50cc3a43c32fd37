"""What a session fixes for every party of it before the first message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from secagg.layout import Expander, Layout
from secagg.protocol import Session
from secagg.types import PartyId
from secagg_protocols.secagg.params import SecAggParams


@dataclass(frozen=True, slots=True)
class Terms:
    """Of the plan, and so the same for all. offer: what the first message binds. expander: how
    this process makes masks of keys; its result is the same everywhere. parties: who may be in it.
    """

    protocol: str
    session: Session
    params: SecAggParams
    offer: bytes
    expander: Expander
    parties: frozenset[PartyId]
    after: Mapping[Any, Callable[..., Any]] = field(default_factory=dict, repr=False)
    """At a server: by the state of a stage, what makes the next of what closing it has fixed."""

    @classmethod
    def of(cls, protocol: str, session: Session, params: SecAggParams, expander: Expander) -> Terms:
        """Rules C0 and S0: ParameterError for sums of too few inputs."""
        session.check_smallest_sum()
        offer = session.offer(protocol)
        parties = session.invited or (session.roster.members if session.roster else None)
        if parties is None:
            parties = frozenset(map(PartyId, range(params.clients)))
        return cls(protocol, session, params, offer, expander, parties)

    @property
    def layout(self) -> Layout:
        return self.session.layout
