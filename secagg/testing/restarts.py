"""Machines that are put down and taken up again, after every call: what rows are worth.

A protocol that resumes says of each party: what `writes()` gave, whoever goes on from it says the
same bytes, or nothing. So a session in which machines are made anew after every call, each from the
rows of the one before, ends like the session in which none is. A protocol that does not resume says
so, writes nothing and takes nothing up.

Four questions are asked here, and `check_protocol` asks them of every protocol: does a session with
restarts come to the same sum; are two machines of the same rows told apart by what must be said in
one way only; is what a machine has not written refused, whole; and has one that had ended ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from secagg.errors import Aborted, LocalProtocolError, StorageError
from secagg.mask import add_streams
from secagg.protocol import OneServer, SeveralServers
from secagg.sansio import ClientMachine, Machine, Need, Outgoing, ServerMachine
from secagg.shown import short
from secagg.testing.bench import SEED, Bench, demand, demand_raises, same
from secagg.testing.ends import ends_are_in_rows
from secagg.testing.network import Act, Carried, Network, Schedule, counter_randomness
from secagg.testing.store import Rows, Store, refuses_rows
from secagg.types import SERVER, PartyId

When = Callable[[PartyId, int], bool]
"""Whether this party is put down after its call of this number, from 0."""


@dataclass(frozen=True)
class Moment:
    """A client that is about to answer. rows: as they were before the message came."""

    party: PartyId
    phase: str
    rows: Rows = field(repr=False)
    message: bytes = field(repr=False)
    answers: tuple[Outgoing, ...]

    __repr__ = short


class Frail(Network):
    """A network whose machines are put down after the calls that `when` picks.

    Every call is a commit: what a machine says leaves once its rows are stored. A machine that is
    made anew says again what it likes of what was said before, and nothing else.
    """

    def __init__(self, bench: Bench, schedule: Schedule | None = None, when: When | None = None):
        self._bench, self._when = bench, when or (lambda party, call: False)
        self._draws = {p: counter_randomness(SEED + p.to_bytes(4)) for p in bench.parties}
        self.stores = {party: Store() for party in (SERVER, *bench.parties)}
        self.moments: list[Moment] = []
        self.restarts = 0
        self._amid = False
        self._calls = dict.fromkeys(self.stores, 0)
        self._said: dict[PartyId, set[tuple[PartyId, bytes]]] = {p: set() for p in self.stores}
        super().__init__(
            {SERVER: new_server(bench)}, {p: self._client(p) for p in bench.parties}, schedule
        )
        for party in bench.parties:
            self._give(self.clients[party], party)
            self.drain(party)

    def call(self, party: PartyId, act: Callable[[], None]) -> None:
        """As ever, and then perhaps another machine stands in the place of this one."""
        super().call(party, act)
        number, self._calls[party] = self._calls[party], self._calls[party] + 1
        if self._started and self._when(party, number) and not self._again(party):
            self._restart(party)

    def drain(self, party: PartyId) -> None:
        self.stores[party].apply(self._machine(party).writes())
        before = len(self._sent(party))
        super().drain(party)
        sent = self._sent(party)
        self._said[party] |= {(m.to, m.data) for m in sent[before:]}
        # a repeat of what is still under way is not sent beside it: each would be repeated in turn
        kept = [*{(m.to, m.data): m for m in reversed(sent)}.values()][::-1]
        if party == SERVER:
            self._down = [(party, message) for message in kept]
        else:
            self._up[party] = kept

    def ask(self, message: Carried) -> None:
        """Notes what a client knew before it heard this, and what it said to it."""
        rows, before = dict(self.stores[message.to].rows), len(self._sent(message.to))
        client = self.clients[message.to]
        self.call(message.to, lambda: client.receive(SERVER, message.data))
        answers = tuple(self._sent(message.to)[before:])
        self.moments.append(Moment(message.to, message.phase, rows, message.data, answers))

    def _again(self, party: PartyId) -> bool:
        """Whether it is amid its jobs for the second time: they begin anew with each restart."""
        amid = party == SERVER and self.server.need is Need.JOBS
        again, self._amid = amid and self._amid, self._amid or amid
        return again

    def _advance(self) -> None:
        """Jobs of a server that is no more are nobody's."""
        if self.server.need is not Need.JOBS:
            super()._advance()
            return
        server = self.server
        for job in server.jobs():
            if self.server is server:
                self.call(SERVER, partial(server.finish, job, job()))

    def _uploads(self, phase: str) -> tuple[list[Carried], list[Carried]]:
        """Who leaves after its message has said the last of what it had to say, repeats included:
        a server that was put down asks again, and is answered again."""
        arriving, after = super()._uploads(phase)
        leaving = {p for (at, p), act in self.schedule.acts.items() if at == phase}
        last = {message.sender: message for message in arriving}
        kept = [m for m in arriving if m.sender not in leaving or m is last[m.sender]]
        return kept, after

    def _machine(self, party: PartyId) -> Machine:
        return self.server if party == SERVER else self.clients[party]

    def _sent(self, party: PartyId) -> list[Outgoing]:
        return [m for _, m in self._down] if party == SERVER else self._up[party]

    def _client(self, party: PartyId) -> ClientMachine:
        return self._bench.client(party, self._draws[party])

    def _give(self, client: ClientMachine, party: PartyId) -> None:
        with suppress(LocalProtocolError):  # where it has masked it already, or is over
            client.set_input(self._bench.inputs[party], self._bench.session.payload_digest)

    def _restart(self, party: PartyId) -> None:
        old, rows = self._machine(party), self.stores[party].rows
        if party == SERVER:
            new: Any = new_server(self._bench)
            self.servers[SERVER] = new
        else:
            new = self.clients[party] = self._client(party)
        self.restarts += 1
        new.restore(list(rows.items())[::-1])
        compare(old, new)
        new.start()
        if party != SERVER:
            self._give(new, party)
        known = set(self._said[party])
        self.drain(party)
        new_words = self._said[party] - known
        demand(not new_words, f"party {party}: restored in {new.phase!r}, it says other bytes")


def compare(old: Any, new: Any) -> None:
    """A restored machine is where the old one was, as a driver can see it."""
    for name in ("phase", "done", "waiting_for", "alive", "contributors", "quorum", "owes_input"):
        if hasattr(old, name):
            was, now = getattr(old, name), getattr(new, name)
            demand(was == now, f"restored in {old.phase!r}: {name} was {was}, and is {now}")
    why = [one.ended and one.ended.reason for one in (old, new)]
    demand(why[0] == why[1], f"restored in {old.phase!r}: it ended with {why[0]}, and now {why[1]}")


def new_server(bench: Bench) -> ServerMachine:
    """Another server of the same session. LocalProtocolError for a protocol of several."""
    match bench.info.family:
        case OneServer(server=server):
            signing = bench.players.server if bench.players else None
            return server(bench.session, expander=add_streams, signing=signing)
        case SeveralServers():
            raise LocalProtocolError("a protocol of several servers has none of its own")


# The rules


def restarts_change_nothing(bench: Bench) -> None:
    """Put down after every call, alone and all together, with drops in each phase and without."""
    if not bench.resumes:
        return
    for number, schedule in enumerate(_schedules(bench)):
        reference = _outcome(bench, Frail(bench, schedule))
        for who in (_everybody,) if number else (_clients, _server, _everybody):
            network = Frail(bench, schedule, who)
            outcome = _outcome(bench, network)
            why = f"restarts of {who.__name__.strip('_')}"
            demand(network.restarts > 0, f"{why}: there was none")
            if isinstance(reference, Aborted) or isinstance(outcome, Aborted):
                demand(str(outcome) == str(reference), f"{why}: {outcome}, and not {reference}")
            else:
                demand(same(outcome, reference), f"{why}: the total changes")


def answers_have_one_wording(bench: Bench) -> None:
    """The rows of a client, restored twice: two answers to one question, or to two, are the same
    bytes or are marked `commit`, so that one of them never leaves."""
    if not bench.resumes:
        return
    told = _heard_by(bench, Schedule())
    others = [moment for schedule in _schedules(bench) for moment in _heard_by(bench, schedule)]
    for moment in told:
        twins = [moment, *(o for o in others if _asked_otherwise(moment, o))]
        first = _answers(bench, moment, moment.message, 0)
        for number, twin in enumerate(twins):
            second = _answers(bench, moment, twin.message, 1 + number)
            for one, two in _pairs(first, second):
                both = one.commit and two.commit
                demand(
                    one.data == two.data or both,
                    f"{moment.phase}: restored twice, a client says two things, and neither is "
                    "marked commit",
                )


def answers_outlive_their_process(bench: Bench) -> None:
    """A client that dies when its rows are stored, and nothing of its answer has left, says it once
    it is taken up: rows without it would make a dropout of it."""
    if not bench.resumes:
        return
    for moment in _heard_by(bench, Schedule()):
        store = Store(dict(moment.rows))
        client, _ = _taken_up(bench, moment, 0)
        client.receive(SERVER, moment.message)
        store.apply(client.writes())
        answers = {(message.to, message.data) for message in client.outgoing()}
        _, again = _taken_up(bench, replace(moment, rows=store.rows), 1)
        demand(answers <= again, f"{moment.phase}: what it had answered is not in its rows")


def rows_are_their_own(bench: Bench) -> None:
    """Rows come first, whole, and from the same session; where nothing resumes, there are none."""
    network = Frail(bench)
    network.start()
    for party in (SERVER, PartyId(0)):
        rows, new = dict(network.stores[party].rows), partial(_fresh, bench, party)
        if not bench.resumes:
            demand(not rows, f"party {party} writes rows, and does not resume")
            refuses_rows(new, {b"x": b""}, LocalProtocolError, "any row")
            continue
        demand(bool(rows), f"party {party} has started, and there is no row of it")
        _refused(bench, party, rows)


def ends_outlive_their_process(bench: Bench) -> None:
    """Whoever had ended without success says so, and why, as soon as it is taken up."""
    if bench.resumes:
        ends_are_in_rows(bench, partial(Frail, bench), partial(_fresh, bench))


def _refused(bench: Bench, party: PartyId, rows: Rows) -> None:
    for key, value in rows.items():
        for bad in (b"", value[:-1], bytes([value[0] ^ 0xFF]) + value[1:]):
            refuses_rows(
                partial(_fresh, bench, party), {**rows, key: bad}, StorageError, "a damaged row"
            )
    started = _fresh(bench, party)
    started.start()
    demand_raises(LocalProtocolError, lambda: started.restore(rows.items()), "rows after start()")
    elsewhere = replace(bench, session=replace(bench.session, nonce=bytes([1]) * 16))
    other = partial(_fresh, elsewhere, party)
    refuses_rows(other, rows, StorageError, "another session's rows")


def _fresh(bench: Bench, party: PartyId) -> Machine:
    if party == SERVER:
        return new_server(bench)
    return bench.client(party, counter_randomness(b"another process"))


def _schedules(bench: Bench) -> Iterator[Schedule]:
    """Nobody drops; of each phase as many as may; and one more than that in the last."""
    yield Schedule()
    for phase in bench.phases:
        for act in (Act.GONE, Act.LEAVES):
            gone = bench.parties[-bench.spare(phase) :] if bench.spare(phase) else []
            yield Schedule({(phase, party): act for party in gone})
    last = bench.phases[-1]
    yield Schedule({(last, party): Act.GONE for party in bench.parties})


def _outcome(bench: Bench, network: Network) -> Any:
    try:
        return bench.run(network)
    except Aborted as error:
        return error


def _everybody(party: PartyId, call: int) -> bool:
    return True


def _clients(party: PartyId, call: int) -> bool:
    return party != SERVER


def _server(party: PartyId, call: int) -> bool:
    return party == SERVER


def _heard_by(bench: Bench, schedule: Schedule) -> list[Moment]:
    """What client 0 was asked in a session, and what it knew then."""

    def wire(message: Carried) -> tuple[bytes, ...]:
        if message.sender == SERVER and message.to == 0:
            network.ask(message)
            return ()
        return (message.data,)

    network = Frail(bench, schedule)
    network.wire = wire
    _outcome(bench, network)
    return network.moments


def _asked_otherwise(moment: Moment, other: Moment) -> bool:
    """The same client, from the same rows, hears something else."""
    return moment.rows == other.rows and moment.message != other.message


def _answers(bench: Bench, moment: Moment, message: bytes, attempt: int) -> list[Outgoing]:
    """Of a process of its own, which has randomness of its own, and of its last attempts other
    inputs."""
    client, again = _taken_up(bench, moment, attempt)
    client.receive(SERVER, message)
    client.events()
    return [m for m in client.outgoing() if (m.to, m.data) not in again]


def _taken_up(
    bench: Bench, moment: Moment, attempt: int
) -> tuple[ClientMachine, set[tuple[PartyId, bytes]]]:
    """From the rows of that moment, in a process of its own; and what it then says by itself."""
    client = bench.client(moment.party, counter_randomness(bytes([attempt])))
    client.restore(moment.rows.items())
    client.start()
    again = {(message.to, message.data) for message in client.outgoing()}
    with suppress(LocalProtocolError):
        giver = bench.parties[attempt % len(bench.parties)]
        client.set_input(bench.inputs[giver], bench.session.payload_digest)
    return client, again


def _pairs(first: list[Outgoing], second: list[Outgoing]) -> Iterator[tuple[Outgoing, Outgoing]]:
    """Answers of one kind to one party."""
    for one in first:
        for two in second:
            if (one.to, one.data[2]) == (two.to, two.data[2]):
                yield one, two


RULES: tuple[Callable[[Bench], None], ...] = (
    rows_are_their_own,
    restarts_change_nothing,
    answers_have_one_wording,
    answers_outlive_their_process,
    ends_outlive_their_process,
)
