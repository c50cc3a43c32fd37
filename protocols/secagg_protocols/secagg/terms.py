"""What a session fixes for every party of it before the first message."""

from __future__ import annotations

from dataclasses import dataclass

from secagg.layout import Layout
from secagg.protocol import Session
from secagg_protocols.secagg.params import SecAggParams


@dataclass(frozen=True, slots=True)
class Terms:
    """Of the plan, and so the same for all; offer: what the first message binds."""

    protocol: str
    session: Session
    params: SecAggParams
    offer: bytes

    @classmethod
    def of(cls, protocol: str, session: Session, params: SecAggParams) -> Terms:
        """Rules C0 and S0: ParameterError for sums of too few inputs."""
        session.check_smallest_sum()
        return cls(protocol, session, params, session.offer(protocol))

    @property
    def layout(self) -> Layout:
        return self.session.layout
