"""A server of active mode that keeps all that it hears, and what it makes of that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace

from secagg import shamir
from secagg.errors import RemoteProtocolError
from secagg.mask import add_streams
from secagg.types import SERVER, Seed
from secagg.wire.header import HEADER_SIZE, TAG_AT
from secagg_protocols.secagg import keys
from secagg_protocols.secagg.active.client import ActiveClient
from secagg_protocols.secagg.active.messages import MaskedInput, UnmaskRequest
from secagg_protocols.secagg.keys import Endpoint
from secagg_protocols.secagg.messages import Tag
from tests.active import SERVER_SEED, Cast
from tests.adversary.active.liars import Script, after_header

Lanes = list[list[int]]


class Thief:
    """A server that keeps all that it hears: it lies to whom it wants, and adds up what it gets.

    Its clients are the shipped machines, which have dealt and wait for their share lists.
    """

    def __init__(self, cast: Cast) -> None:
        self.script = Script(cast)
        self.cohort = self.script.cohort
        self.clients = {i: self.script.client(i, 1) for i in range(self.cohort.size)}
        self.u2: dict[int, frozenset[int]] = {}
        self.masked: dict[int, bytes] = {}
        self.agreed: dict[tuple[int, frozenset[int]], bytes] = {}
        self.shares: dict[tuple[int, str], dict[int, bytes]] = defaultdict(dict)

    @property
    def everyone(self) -> frozenset[int]:
        return self.script.everyone

    def tell(self, client: ActiveClient, data: bytes) -> bytes | None:
        """What it says to that, or None where it refuses."""
        try:
            client.receive(SERVER, data)
        except RemoteProtocolError:
            assert [m.data[TAG_AT] for m in client.outgoing()] in ([Tag.ABORT], [])
            return None
        return next((m.data for m in client.outgoing()), None)

    def lists(self, index: int, u2: Collection[int]) -> bool:
        """Shows U2: whether its vector comes."""
        there = frozenset(u2)
        said = self.cohort.sharers(there).signed(SERVER_SEED)
        listed = replace(self.script.share_list(index, there), signature=said)
        masked = self.tell(self.clients[index], self.script.delivered(index, listed))
        if masked is not None:
            self.u2[index], self.masked[index] = there, masked
        return masked is not None

    def shows(self, index: int, u3: Collection[int], client: ActiveClient | None = None) -> bool:
        """Shows U3: whether it is signed. client: another machine of the same member."""
        there = frozenset(u3)
        said = self.script.shows(there, self.u2.get(index, self.everyone))
        agreed = self.tell(client or self.clients[index], said)
        if agreed is not None:
            self.agreed[index, there] = agreed[HEADER_SIZE:]
        return agreed is not None

    def signers(self, u3: Collection[int]) -> list[int]:
        return sorted(i for i, there in self.agreed if there == frozenset(u3))

    def asks(
        self,
        index: int,
        u3: Collection[int],
        signers: Collection[int] | None = None,
        client: ActiveClient | None = None,
    ) -> bool:
        """Shows it a quorum, of those who have signed this U3 where it is not said of whom: whether
        it answers. Of signers that have not, it shows what they have signed."""
        _, quorum = self.cohort.signers
        there = (self.signers(u3) if signers is None else sorted(signers))[:quorum]
        own = {i: signature for (i, _), signature in self.agreed.items()}
        signatures = tuple(self.agreed.get((i, frozenset(u3)), own.get(i, b"")) for i in there)
        request = UnmaskRequest(frozenset(there), signatures)
        data = request.encode(self.script.session, self.cohort.size)
        answer = self.tell(client or self.clients[index], data)
        if answer is None:
            return False
        dealers = sorted(self.cohort.holders(index) & self.u2.get(index, self.everyone))
        body = answer[HEADER_SIZE:-64]
        for place, dealer in enumerate(dealers):
            kind = "b" if dealer in u3 else "s"
            self.shares[dealer, kind][1 + index] = body[40 * place : 40 * place + 40]
        return True

    # What it makes of that

    def secret(self, dealer: int, kind: str) -> Seed | None:
        threshold, shares = self.script.cast.params.threshold, self.shares[dealer, kind]
        return shamir.combine(shares, threshold) if len(shares) >= threshold else None

    def both(self) -> list[int]:
        """Of whom it has both secrets."""
        return [i for i in self.everyone if self.secret(i, "b") and self.secret(i, "s")]

    def input_of(self, victim: int) -> Lanes | None:
        """With its b and, for each neighbour it has masked with, either's s_sk."""
        b = self.secret(victim, "b")
        if b is None or victim not in self.masked:
            return None
        near = self.cohort.neighbours(victim)
        layout = self.script.cast.layout
        _, packed = MaskedInput.read(after_header(self.masked[victim]), len(near), layout)
        lanes, session = layout.zeros(), self.script.session
        packed.add_to(lanes)
        made = [(keys.self_keys(b, session, victim, len(lanes)), -1)]
        for v in (v for v in near if v in self.u2[victim]):
            secret = self.secret(v, "s")
            if secret is None:
                return None
            ends = [Endpoint(i, self.cohort.keys[i].s_pk) for i in (v, victim)]
            made.append((keys.pair_keys(secret, *ends, session, len(lanes)), -keys.sign(victim, v)))
        for segment, lane in enumerate(lanes):
            for each, sign in made:
                add_streams(lane, each[segment], bytes([sign > 0]))
        return [lane.tolist() for lane in layout.reduce(lanes)]

    def stolen(self) -> dict[int, Lanes]:
        """Inputs of single clients that it has, which are the true ones."""
        found = {i: self.input_of(i) for i in self.everyone}
        true = {i: self.script.cast.inputs[party] for i, party in enumerate(self.cohort.ids)}
        got = {i: one for i, one in found.items() if one is not None}
        for i, one in got.items():
            assert one == [lane.tolist() for lane in true[i]]
        return got
