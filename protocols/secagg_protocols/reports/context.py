"""What all parties of a batch know alike, and what each thing that they say is bound to
(specs/20-additive.md §3, §4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from secagg.committee import Committee
from secagg.crypto import labels, sign
from secagg.errors import InvalidSignature, ParameterError
from secagg.layout import Layout
from secagg.protocol import Params, Session
from secagg.suite import SUITE_1, Suite
from secagg.types import PartyId, server_id
from secagg.wire.header import VERSION
from secagg_protocols.reports.messages import Included, Receipt
from secagg_protocols.reports.scheme import Scheme
from secagg_protocols.reports.shape import Shape

# The machines of a batch are given this and a seat, and make every binding from it. The offer has
# plan, payload, committee and epoch in it, so with one id a report is of this task and these keys
# alone, and a batch's binding adds its number. What is bound to the task can be said again in each
# batch; what is bound to a batch is of no use in another: a decision, a statement, a total.
#
# Roles stand in what is sealed although the keys of a committee all differ: that is a check of the
# committee, and a binding should not rest on a check that is made elsewhere.

_SERVER, _COLLECTOR = b"server", b"collector"


@dataclass(frozen=True)
class Context:
    """name: of the protocol, ASCII; it is in every binding, so that a share of one scheme is never
    taken for one of another. id: of the task; it binds every report to all of this."""

    name: str
    params: Params
    layout: Layout
    committee: Committee
    id: bytes
    scheme: Scheme = field(repr=False)
    suite: Suite = SUITE_1

    @classmethod
    def of(cls, session: Session, name: str, scheme: Scheme) -> Context:
        """Raises ParameterError unless the session has the servers that its parameters count
        and a minimum batch that its corrupt clients cannot see through."""
        committee, servers = session.committee, session.params.servers
        if committee is None or len(committee.servers) != servers:
            raise ParameterError(
                f"{name} sums need the keys of their {servers} servers: "
                "give the session a committee of that many"
            )
        session.check_smallest_sum()  # specs/20-additive.md §2
        known = session.params, session.layout, committee, session.offer(name)
        return cls(name, *known, scheme, session.suite)

    @property
    def shape(self) -> Shape:
        return self.scheme.shape

    def batch(self, number: int) -> bytes:
        """32 bytes that bind what servers say of one batch."""
        return labels.digest(labels.BATCH, self.id, number)

    def is_signed(self, index: int, message: bytes, signature: bytes) -> bool:
        """Whether server `index` has signed these bytes."""
        # Said and not raised: whom a bad signature is held against depends on who has brought it,
        # who may have made it or only passed it on unchecked, and only the caller knows that (A4,
        # A9, A11).
        try:
            sign.verify(self.committee.servers[index].signing, message, signature)
        except InvalidSignature:
            return False
        return True

    def is_receipt(self, index: int, digest: bytes, signature: bytes) -> bool:
        """Whether server `index` has signed that it has stored its share of the report."""
        return self.is_signed(index, Receipt.to_sign(self.id, index, digest), signature)

    def share_info(self, id: bytes, front: bytes, index: int) -> bytes:
        """The HPKE info of a share: all of its context, as no associated data exists.

        front: digest of the report's key and public share.
        """
        bound = (self.id, id, front, _SERVER, index)
        return labels.encode(labels.SHARE_SEAL, *self._suite, *bound)

    def total_info(self, number: int, included: Included, index: int) -> bytes:
        """The HPKE info of a server's total."""
        bound = (self.id, number, included.digest, included.count, _COLLECTOR, index)
        return labels.encode(labels.TOTAL_SEAL, *self._suite, *bound)

    @property
    def _suite(self) -> tuple[bytes, int, int]:
        return self.name.encode("ascii"), VERSION, self.suite.number


@dataclass(frozen=True)
class Seat:
    """One party in one batch. number: the batch, from 0 in its epoch."""

    context: Context
    number: int
    me: PartyId

    @property
    def index(self) -> int:
        """Of a server, 0 the leader."""
        return server_id(0) - self.me

    @cached_property
    def batch(self) -> bytes:
        """32 bytes that bind what is said of this batch among servers and to the collector."""
        return self.context.batch(self.number)
