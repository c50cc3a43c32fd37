"""Several servers, their clients and a collector, put down and taken up: what rows are worth.

The same questions as of one server (`secagg.testing.restarts`), of other machines. A member forgets
what its peers have done, on purpose: they tell it again over the new link. So it is put down when
nobody has anything more to say, the links to it are made anew, and once all have told each other
what they owe it must be where it was. A collector may write no rows at all, as its servers answer
again; then another one that begins anew must come to the same sum.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from secagg.committee import Keys
from secagg.errors import Aborted, LocalProtocolError, StorageError
from secagg.mask import add_streams
from secagg.sansio import Outgoing, RingTotal
from secagg.testing.bench import SEED, Bench, demand, demand_raises
from secagg.testing.ends import ends_are_in_rows
from secagg.testing.network import Act, Network, Schedule, counter_randomness, server_keys
from secagg.testing.store import Rows, Store, refuses_rows
from secagg.types import COLLECTOR, SERVER, PartyId

_STATE = ("phase", "done", "quorum", "included", "pending")
"""What a member knows of its batch, whoever else has to tell it the rest."""


class FrailServers(Network):
    """A network in which the parties of `mortal` are put down after each call of theirs."""

    def __init__(
        self, bench: Bench, schedule: Schedule | None = None, mortal: Collection[PartyId] = ()
    ) -> None:
        self._bench, self._mortal = bench, mortal
        self._draws = {p: counter_randomness(SEED + p.to_bytes(4)) for p in bench.parties}
        servers = machines_of(bench)
        self.stores = {party: Store() for party in (*servers, *bench.parties)}
        self.restarts = 0
        self._said: dict[PartyId, set[tuple[PartyId, bytes]]] = {p: set() for p in self.stores}
        super().__init__(servers, {p: self._client(p) for p in bench.parties}, schedule)
        for party in bench.parties:
            self._give(party)
            self.drain(party)

    def call(self, party: PartyId, act: Callable[[], None]) -> None:
        """As ever; and then perhaps other machines stand in the place of these."""
        super().call(party, act)
        if not self._started:
            return
        for one in (party,) if party in self.clients else tuple(self.servers):
            if one in self._mortal and self._machine(one).phase:
                self._restart(one)

    def drain(self, party: PartyId) -> None:
        """What was said is noted, whoever it is for, and rows are stored before it leaves."""
        if party in self.clients:
            before = len(self._up[party])
            super().drain(party)
            self._note(party, self._up[party][before:])
        else:
            self.between, before = self._between, len(self._down)
            super().drain(party)
            for sender, message in self._down[before:]:
                self._note(sender, [message])
        for one in (party,) if party in self.clients else self.servers:
            self.stores[one].apply(self._machine(one).writes())

    def _between(self, sender: PartyId, message: Outgoing) -> tuple[bytes, ...]:
        self._note(sender, [message])
        return (message.data,)

    def _note(self, sender: PartyId, messages: list[Outgoing]) -> None:
        self._said[sender] |= {(message.to, message.data) for message in messages}

    def _machine(self, party: PartyId) -> Any:
        return self.clients[party] if party in self.clients else self.servers[party]

    def _client(self, party: PartyId) -> Any:
        return new_client(self._bench, party, self._draws[party])

    def _give(self, party: PartyId) -> None:
        with suppress(LocalProtocolError):  # where its report is made already, or it is over
            vector, digest = self._bench.inputs[party], self._bench.session.payload_digest
            self.clients[party].set_input(vector, digest)

    def _restart(self, party: PartyId) -> None:
        self.restarts += 1
        old, rows = self._machine(party), self.stores[party].rows
        new = self._client(party) if party in self.clients else machines_of(self._bench)[party]
        new.restore(list(rows.items())[::-1])
        new.start()
        if party in self.clients:
            self.clients[party] = new
            self._give(party)
        else:
            self.servers[party] = new
        self._listen(party, new, old.phase)
        if party not in self.clients:
            self._meet(party)
        self._compare(party, old, new)

    def _listen(self, party: PartyId, new: Any, phase: str) -> None:
        """What it says by itself has been said before. Of a client, it is under way already."""
        said = new.outgoing()
        known = {(message.to, message.data) for message in said} <= self._said[party]
        demand(known, f"party {party}: restored in {phase!r}, it says other bytes")
        for message in () if party in self.clients else said:
            if message.to in self.servers:
                self.servers[message.to].receive(party, message.data)
            else:
                self._down.append((party, message))

    def _meet(self, party: PartyId) -> None:
        """New links between it and the others, the leader being one of the two."""
        for other in self.servers:
            if other != party and (SERVER in (party, other) or COLLECTOR in (party, other)):
                for one, two in ((other, party), (party, other)):
                    if self.servers[one].phase:
                        self.servers[one].reconnected(two)
        self.drain(SERVER)

    def _compare(self, party: PartyId, old: Any, new: Any) -> None:
        for name in _STATE:
            if hasattr(old, name) and not (party == COLLECTOR and not self.stores[party].rows):
                was, now = getattr(old, name), getattr(new, name)
                demand(was == now, f"restored in {old.phase!r}: {name} was {was}, and is {now}")
        why = [one.ended and one.ended.reason for one in (old, new)]
        demand(why[0] == why[1], f"restored in {old.phase!r}: it ended with {why[0]}, not {why[1]}")


def machines_of(bench: Bench) -> dict[PartyId, Any]:
    """Other servers and another collector of the same session."""
    return dict(bench.info.family.machines(bench.session, _keys(bench), expander=add_streams))


def new_client(bench: Bench, party: PartyId, draw: Any) -> Any:
    """Another machine for this client, without an input. draw: its randomness."""
    return bench.info.family.client(bench.session, party, randomness=draw, expander=add_streams)


def _keys(bench: Bench) -> Keys:
    return server_keys(bench.params, SEED)


# The rules


def restarts_of_several_change_nothing(bench: Bench) -> None:
    """Clients, members and a collector, each alone and all together, with drops and without."""
    if not bench.resumes:
        return
    members = frozenset(machines_of(bench))
    cast = {
        "clients": frozenset(bench.parties),
        "the leader": frozenset({SERVER}),
        "members": members - {COLLECTOR},
        "the collector": frozenset({COLLECTOR}),
        "everybody": members | frozenset(bench.parties),
    }
    for number, schedule in enumerate(_schedules(bench)):
        reference = _outcome(bench, FrailServers(bench, schedule))
        for name in ("everybody",) if number else cast:
            network = FrailServers(bench, schedule, cast[name])
            outcome = _outcome(bench, network)
            demand(network.restarts > 0, f"restarts of {name}: there was none")
            demand(_alike(outcome, reference), f"restarts of {name}: the total changes")


def reports_have_one_wording(bench: Bench) -> None:
    """What a client of no rows says with its input is the same for ever, or is marked `commit`: it
    would be summed twice. It is in its rows, for a process that dies before it has left."""
    takes = bench.info.phases(bench.params, bench.session.suite)[0].takes_input
    if not takes or not bench.info.resumes(bench.session.suite):
        return
    said = []
    for attempt in range(2):
        client, store = _fresh(bench, PartyId(0), bytes([attempt])), Store()
        client.set_input(bench.inputs[PartyId(attempt)], bench.session.payload_digest)
        client.start()
        store.apply(client.writes())
        said.append({message.to: message for message in client.outgoing()})
        again = _fresh(bench, PartyId(0))
        again.restore(store.rows.items())
        again.start()
        kept = {message.to: message for message in again.outgoing()}
        demand(kept == said[-1], "what it had said with its input is not in its rows")
    for to in said[0].keys() & said[1].keys():
        one, two = said[0][to], said[1][to]
        demand(
            one.data == two.data or (one.commit and two.commit),
            "made twice, a client says two things, and neither is marked commit",
        )


def rows_of_several_are_their_own(bench: Bench) -> None:
    """Rows come first, and whole; where nothing resumes, there are none."""
    network = FrailServers(bench)
    network.start()
    network.repeat(PartyId(0))
    parties = [party for party in network.servers if party != COLLECTOR]
    for party in (*parties, PartyId(0)):
        rows = dict(network.stores[party].rows)
        if not bench.resumes:
            demand(not rows, f"party {party} writes rows, and does not resume")
            _takes_none(bench, party)
            continue
        demand(bool(rows), f"party {party} has a report, and there is no row of it")
        _damaged_are_refused(bench, party, rows)
    bench.run(network)
    if not network.stores[COLLECTOR].rows:
        _takes_none(bench, COLLECTOR)


def ends_of_several_outlive_their_process(bench: Bench) -> None:
    """Whoever had ended without success says so, and why, as soon as it is taken up."""
    if bench.resumes:
        ends_are_in_rows(bench, partial(FrailServers, bench), partial(_fresh, bench))


def _takes_none(bench: Bench, party: PartyId) -> None:
    refuses_rows(partial(_fresh, bench, party), {b"x": b""}, LocalProtocolError, "any row")


def _damaged_are_refused(bench: Bench, party: PartyId, rows: Rows) -> None:
    for key, value in rows.items():
        for bad in (b"", value[:-1], bytes([value[0] ^ 0xFF]) + value[1:]) if value else ():
            new = partial(_fresh, bench, party)
            refuses_rows(new, {**rows, key: bad}, StorageError, "a damaged row")
    started = _fresh(bench, party)
    started.start()
    demand_raises(LocalProtocolError, lambda: started.restore(rows.items()), "rows after start()")


def _fresh(bench: Bench, party: PartyId, seed: bytes = b"another process") -> Any:
    if party in bench.parties:
        return new_client(bench, party, counter_randomness(seed))
    return machines_of(bench)[party]


def _schedules(bench: Bench) -> Iterator[Schedule]:
    """Nobody drops; as many as may; and one more."""
    yield Schedule()
    first = bench.phases[0]
    spare = bench.spare(first)
    for number in (spare, spare + 1) if spare else ():
        yield Schedule({(first, party): Act.GONE for party in bench.parties[-number:]})


def _outcome(bench: Bench, network: Network) -> RingTotal | Aborted:
    try:
        return bench.run(network)
    except Aborted as error:
        return error


def _alike(outcome: RingTotal | Aborted, reference: RingTotal | Aborted) -> bool:
    """A leader that was put down numbers its clients anew: who they are is not asked."""
    if isinstance(outcome, Aborted) or isinstance(reference, Aborted):
        both = isinstance(outcome, Aborted) and isinstance(reference, Aborted)
        return both and outcome.reason is reference.reason  # type: ignore[union-attr]
    lanes = zip(outcome.vector, reference.vector, strict=True)
    return outcome.count == reference.count and all(np.array_equal(a, b) for a, b in lanes)


RULES: tuple[Callable[[Bench], None], ...] = (
    rows_of_several_are_their_own,
    reports_have_one_wording,
    restarts_of_several_change_nothing,
    ends_of_several_outlive_their_process,
)
