"""A server that dies and one that goes on, and clients that are put down and taken up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from secagg import party
from secagg.effects import Peer, Write
from secagg.errors import (
    Aborted,
    BelowThreshold,
    IntegrityError,
    PolicyRefused,
    RemoteProtocolError,
    WireError,
)
from secagg.plans.task import Task
from secagg.rounds.base import END, LEFT, MACHINE, ROUND, ROUNDS
from secagg.rounds.base import NAMES as NAMES_OF_INPUTS
from secagg.rounds.client import ClientRounds
from secagg.rounds.clock import RoundReport
from secagg.rounds.farewell import KEPT, Farewell
from secagg.rounds.offer import Consent, Contribution
from secagg.rounds.opening import Opening
from secagg.rounds.quota import Limits
from secagg.rounds.round import End
from secagg.types import AbortReason, Fault, PartyId
from secagg.wire.codec import Writer
from secagg.wire.frame import Announce, Message, Over, decode_frame, payload_digest
from tests.rounds.world import (
    SERVER,
    SOON,
    Client,
    World,
    claim,
    commit,
    levels,
    nonce,
    plainly,
    real,
    total,
    toy,
)

NAMES = ["a", "b", "c", "d"]


def known(world: World, name: str, **more: object) -> Client:
    """A client whose link proves who it is, and who keeps its rows."""
    more = {"durable": True, **more}
    return world.client(name, identity=name.encode(), **more)  # type: ignore[arg-type]


def taken_up(client: Client, *, consent: Consent | None = None) -> None:
    """Its process dies, and another begins with its rows; the link is gone meanwhile."""
    world = client.world
    if client.here:
        client.here = False
        world.server.left(client.peer, world.now)
    client.rounds = ClientRounds(consent or Consent(unprotected=True), durable=True)
    client.rounds.restore(list(client.store.items()), world.now)
    world.settle()


def test_nobody_can_come_back_to_a_round_of_strangers() -> None:
    """It ends as lost, so that the application hears of every round that it opened."""
    world = World(durable=True)
    world.client("a", silent=True)
    world.client("b")
    opened = world.open(toy(2))
    assert world.store
    world.restart()
    end = world.end(opened)
    assert isinstance(end.error, Aborted) and end.error.reason is AbortReason.LOST
    assert list(world.store.values()) == [Farewell(Over(opened, AbortReason.LOST, 0, 0)).encode()]
    world.restart()
    assert len(world.ends) == 1, "an end is no round to take up"
    assert world.clients["b"].told[0].reason is AbortReason.LOST


def test_a_finished_round_leaves_its_end_only() -> None:
    world = World(durable=True)
    for name in NAMES:
        known(world, name)
    opened = world.open(real(4), b"task")
    assert levels(world.result(opened)) == total(NAMES)
    standings = {name.encode(): None for name in NAMES}
    assert list(world.store.values()) == [Farewell(Over(opened, None, 4, 0), standings).encode()]
    for client in world.clients.values():
        names_only = {key for key in client.store if not key.startswith(opened)}
        assert set(client.store) == names_only and len(names_only) == 1


def test_an_identity_takes_its_place_again_until_the_phase_closes() -> None:
    """Rows 74 and 75: over whichever link it comes."""
    world = World()
    back = known(world, "back", silent=True)
    for name in NAMES[:3]:
        known(world, name)
    opened = world.open(toy(4))
    back.leave()
    assert world.ends == [], "its seat waits for it"
    back.join()
    (offer,) = back.rounds.owed()
    back.rounds.contribute(offer, plainly("back", offer), world.now)
    world.settle()
    assert levels(world.result(opened)) == total(["back", *NAMES[:3]])
    assert world.result(opened).members[PartyId(0)] == b"back"
    gone = known(world, "gone", silent=True)
    second = world.open(toy(5))
    gone.leave()
    back.give = None
    world.wait(SOON)
    assert world.end(second).report.faults[PartyId(4)] is Fault.LATE


def test_who_was_away_hears_of_the_end_when_it_comes_back() -> None:
    """Row 74."""
    world = World()
    away = known(world, "away", silent=True)
    for name in NAMES[:3]:
        known(world, name)
    opened = world.open(toy(4))
    away.leave()
    world.wait(SOON)
    assert levels(world.result(opened)) == total(NAMES[:3]) and away.told == []
    away.join()
    assert [(o.reason, o.included, o.why) for o in away.told] == [(None, False, "late")]


def test_a_newer_link_of_an_identity_has_its_seat() -> None:
    """Row 75. The old one may be half open."""
    world = World()
    old = known(world, "a", silent=True)
    opened = world.open(toy(1, 0))
    newer = known(world, "newer", silent=True)
    world.server.left(newer.peer, world.now)
    again = Peer("a again", b"a")
    world.server.joined(again, world.now)
    assert [one.peer for one in world.server.here] == [again] and not world.ends
    world.server.left(old.peer, world.now)
    assert world.server.running == {opened}


@pytest.mark.parametrize("death", range(12))
@pytest.mark.parametrize("drops", [False, True], ids=["all", "drops"])
def test_a_server_that_dies_anywhere_gives_the_exact_sum_or_none(death: int, drops: bool) -> None:
    """Two survivor sets never: the clients' claims and C9 would refuse a second. With rows of its
    machine the round goes on; without any it is lost."""
    world = World(durable=True)
    for name in NAMES:
        known(world, name, silent=True)
    world.clients["d"].give = None
    task = Task(real(4), payload_digest=payload_digest(b"task"))
    opened = world.server.open(task, b"task", deadlines=SOON, now=world.now)
    for _ in range(death):
        world._step_server()
        for client in world.clients.values():
            client.step()
            for offer in client.rounds.owed():
                if client.peer.name != "d" or not drops:
                    client.rounds.contribute(offer, plainly(client.peer.name, offer), world.now)
    world.restart()
    for name in NAMES:
        client = world.clients[name]
        client.give = None if (name == "d" and drops) else client.give
        client.join()
        for offer in client.rounds.owed():
            if name != "d" or not drops:
                client.rounds.contribute(offer, plainly(name, offer), world.now)
    world.settle()
    for _ in range(6):
        world.wait(SOON)
    ended = [end for end in world.ends if end.nonce == opened]
    assert ended or death == 0, "before its row is stored nobody has heard of a round"
    for end in ended:
        assert end.result is not None or isinstance(end.error, Aborted)
    results = [end.result for end in ended if end.result is not None]
    assert len({result.contributors for result in results}) <= 1
    for result in results:
        summed = [NAMES[i] for i in sorted(result.contributors)]
        assert levels(result) == total(summed)


def test_a_client_is_put_down_and_taken_up_with_its_input_still_owed() -> None:
    world = World()
    for name in NAMES:
        known(world, name)
    put_down = known(world, "e", silent=True)
    opened = world.open(real(5, 0.2), b"task")
    taken_up(put_down)
    offers = put_down.rounds.owed()
    lost = not offers  # its protocol has no rows yet to go on from
    put_down.give = lambda offer: None
    put_down.join()
    for offer in offers:
        given = Contribution(plainly("e", offer).fields, payload=b"task")
        put_down.rounds.contribute(offer, given, world.now)
    world.settle()
    world.wait(4 * SOON)
    contributors = NAMES if lost else [*NAMES, "e"]
    result = world.result(opened)
    assert levels(result) in (total(NAMES), total(contributors))


def test_a_round_after_a_restart_has_a_number_of_its_own() -> None:
    """Two of three rounds are over; the one that runs is the third, and the next the fourth."""
    world = World()
    for name in NAMES:
        known(world, name)
    put_down = known(world, "e", silent=True)
    for _ in range(2):
        world.open(real(5, 0.2))
        world.wait(4 * SOON)
    world.open(real(5, 0.2))
    numbers = [offer.round for offer in put_down.rounds.owed()]
    taken_up(put_down)
    put_down.join()
    world.open(real(5, 0.2))
    numbers += [offer.round for offer in put_down.rounds.asked()]
    assert len({*numbers}) == len(numbers) and max(numbers) == numbers[-1] > 2, numbers


def test_a_client_without_rows_of_its_machine_is_lost() -> None:
    """plainsum does not resume: the input that has left may be in a sum."""
    world = World()
    left = known(world, "left")
    known(world, "other", silent=True)
    world.open(toy(2), b"task")
    taken_up(left)
    (outcome,) = left.told
    assert (outcome.reason, outcome.included, outcome.spent) == (AbortReason.LOST, None, True)
    owing = world.clients["other"]
    taken_up(owing)
    assert [(o.included, o.spent) for o in owing.told] == [(False, False)]


def test_rows_of_a_round_that_is_not_consented_to_any_more() -> None:
    world = World()
    client = known(world, "a", silent=True)
    for name in NAMES[1:]:
        known(world, name, silent=True)
    world.open(real(4))
    with pytest.raises(PolicyRefused):
        taken_up(client, consent=Consent(toy(3)))
    rows = {nonce(1) + ROUNDS + ROUND: bytes(4) + Over(nonce(1), None, 0, 0).encode()}
    with pytest.raises(WireError, match="its announcement"):
        ClientRounds(Consent(), durable=True).restore(rows.items(), 0.0)


def test_the_row_of_a_round() -> None:
    task = Task(real(4), payload_digest=payload_digest(b"task"))
    opening = Opening(nonce(1), task, b"task", dict.fromkeys(real(4).phase_names, 1.5), True)
    cohort = [b"a", None, b"c"]
    assert Opening.of_row(opening.row(cohort)) == (opening, cohort)
    bad = Over(nonce(1), None, 0, 0).encode()
    with pytest.raises(WireError, match="its announcement"):
        Opening.of_row(b"\0" + len(bad).to_bytes(4) + bad + bytes(4))
    assert MACHINE != ROUNDS and SERVER.identity is None


class Resuming(party.Server):
    """A toy server whose rows are what it was sent: enough to go on from."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._rows: list[Write] = []
        self._kept: list[tuple[PartyId, bytes]] = []
        self._restoring = False

    def start(self) -> None:
        super().start()
        self._rows.append(Write(b"started", b""))
        for sender, message in self._kept:
            super().receive(sender, message)

    def receive(self, sender: PartyId, message: Any, /) -> None:
        super().receive(sender, message)
        self._rows.append(Write(sender.to_bytes(4), bytes(message)))

    def writes(self) -> list[Write]:
        rows, self._rows = self._rows, []
        return rows

    def restore(self, rows: Iterable[tuple[bytes, bytes]], /) -> None:
        self._kept = [(PartyId(int.from_bytes(k)), v) for k, v in rows if len(k) == 4]


def test_a_round_is_taken_up_with_its_deadline_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after two of four uploads: those are in the sum, and the others come back."""
    monkeypatch.setattr(party, "Server", Resuming)
    world = World(durable=True)
    for name in NAMES:
        known(world, name, silent=name in "cd")
    opened = world.open(toy(4), b"task")
    world.wait(SOON - 1)
    world.restart()
    assert world.server.running == {opened} and world.due == world.now + SOON
    c = world.clients["c"]
    c.join()
    (offer,) = c.rounds.owed()
    c.rounds.contribute(offer, plainly("c", offer), world.now)
    world.settle()
    assert world.ends == []
    world.wait(SOON)
    result = world.result(opened)
    assert levels(result) == total(["a", "b", "c"])
    assert result.members == {PartyId(i): name.encode() for i, name in enumerate("abc")}
    assert world.end(opened).get() is result
    for name, included in zip(NAMES, (True, True, True, False), strict=True):
        client = world.clients[name]
        if not client.here:
            client.join()
        assert client.told[-1].included is included


def test_an_end_without_a_result_raises_its_reason() -> None:
    report = RoundReport({}, 0.0, 0.0)
    with pytest.raises(BelowThreshold):
        End(nonce(1), None, BelowThreshold(), report).get()
    with pytest.raises(Aborted, match="lost"):
        End(nonce(1), None, None, report).get()


def test_what_is_said_to_nobody_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a link that was pushed out while its round still knew its seat."""
    world = World(limits=Limits(links=1))
    first = known(world, "a", silent=True)
    opened = world.open(toy(2), hold=True)
    world.server.cancel(opened, world.now)
    first.leave()
    world.server.tell(opened, world.now)
    stranger = world.client("b", silent=True)
    assert world.server.here[0].peer == stranger.peer


def test_a_stranger_is_not_waited_for_after_a_restart() -> None:
    """It cannot come back: those who can do not wait for it until the deadline."""
    world = World(durable=True)
    for name in NAMES[:3]:
        known(world, name)
    world.client("stranger", silent=True)
    opened = world.open(real(4), b"task")
    world.restart()
    assert world.server.running == {opened}
    for name in NAMES[:3]:
        world.clients[name].join()
    assert levels(world.result(opened)) == total(NAMES[:3]) and world.now == 1000.0


def test_an_input_in_a_sum_that_its_client_did_not_help_to_open_is_spent() -> None:
    """Its link dies after its input has left: it is in the sum, and has not answered."""
    world = World()
    for name in NAMES[1:]:
        known(world, name, silent=True)
    a = known(world, "a")
    opened = world.open(real(4), b"task")
    assert a.rounds.owed() == []
    a.leave()
    for name in NAMES[1:]:
        world.clients[name].give = lambda offer, name=name: plainly(name, offer)  # type: ignore[misc]
        for offer in world.clients[name].rounds.owed():
            world.clients[name].answer(offer)
    world.settle()
    world.wait(3 * SOON)
    assert levels(world.result(opened)) == total(NAMES)
    a.join()
    assert [(o.included, o.spent, o.why) for o in a.told] == [(True, True, "")]
    world.open(real(4), b"task")
    world.wait(4 * SOON)
    assert a.told[-1].round == 2 and a.told[-1].why == "spent"


def test_the_row_of_an_end() -> None:
    """Where each identity stood; of an identity alone, for a stranger cannot come back."""
    over = Over(nonce(1), None, 2, 1)
    standings = {b"a": None, b"b": Fault.LATE}
    assert Farewell.decode(Farewell(over, standings).encode()) == Farewell(over, standings)
    bad = Writer().prefixed(Message(nonce(1), b"").encode()).u32(0).finish()
    with pytest.raises(WireError, match="the last word"):
        Farewell.decode(bad)
    world = World(durable=True)
    known(world, "a")
    world.client("stranger")
    opened = world.open(toy(2, 0))
    (row,) = (value for key, value in world.store.items() if key.startswith(opened))
    assert Farewell.decode(row).standings == {b"a": None}


def test_standings_of_the_newest_rounds_are_kept() -> None:
    """An older one leaves its end alone, and who comes back is not flooded."""
    world = World(durable=True)
    known(world, "a")
    opened = [world.open(toy(1, 0)) for _ in range(KEPT + 1)]
    rows = [Farewell.decode(world.store[one + ROUNDS + END]) for one in opened]
    assert [len(row.standings) for row in rows] == [0, *[1] * KEPT]
    world.posted.clear()
    world.restart()
    world.clients["a"].join()
    said = [decode_frame(raw, limit=len(raw)) for _, raw in world.posted]
    assert sorted(frame.nonce for frame in said) == sorted(opened[1:])


def test_who_comes_back_is_not_flooded_with_what_it_may_know() -> None:
    """With half of what may wait for it, so that what goes on has room: it would be let go else."""
    world = World(limits=Limits(outbox=4))
    back = known(world, "back")
    opened = [world.open(toy(1, 0)) for _ in range(6)]
    back.leave()
    world.server.joined(Peer("another link", b"back"), world.now)
    effects = world.server.take()
    assert [post.frame.nonce for post in effects.posts] == opened[-2:]  # type: ignore[attr-defined]
    assert effects.let_go == ()


def test_a_round_that_a_client_has_given_up_is_announced_to_it_again() -> None:
    """Its link proves who it is, and it keeps no rows: it is a dropout, and the link stays."""
    world = World()
    back = world.client("back", identity=b"back", silent=True)
    for name in NAMES[:3]:
        known(world, name)
    opened = world.open(toy(4))
    back.leave()
    assert [(o.reason, o.included) for o in back.told] == [(AbortReason.LOST, False)]
    back.join()
    assert back.errors == [] and back.here and back.rounds.owed() == []
    world.wait(SOON)
    assert levels(world.result(opened)) == total(NAMES[:3])
    assert world.end(opened).report.faults[PartyId(0)] is Fault.LATE


def test_a_sum_that_a_server_has_is_in_no_other_whatever_rows_say() -> None:
    """A client whose rows were put back hears that its input is in the sum."""
    rounds = ClientRounds(Consent(unprotected=True))
    rounds.joined(SERVER, 0.0)
    task = Task(toy(1, 0), payload_digest=payload_digest(b"task"))
    announced = Opening(nonce(1), task, b"task", {"upload": 1.0}).announce(PartyId(0))
    rounds.received(SERVER, announced.encode(), 0.0)
    rounds.received(SERVER, Over(nonce(1), None, 1, 0).encode(), 0.0)
    (outcome,) = rounds.outcomes()
    assert outcome.included and outcome.spent


def deaf_to_the_last(client: Client) -> Callable[[Peer, bytes, float], None]:
    """It masks and does not answer, as what asks it to is lost; what would hear it."""
    hear = client.rounds.received
    heard: list[bytes] = []

    def counting(peer: Peer, frame: bytes, now: float) -> None:
        said = decode_frame(frame, limit=1 << 20)
        if isinstance(said, Message):
            heard.append(frame)
            if len(heard) == 3:
                return
        hear(peer, frame, now)

    client.rounds.received = counting  # type: ignore[method-assign]
    return hear


def broken(self: party.Server) -> party.Aggregate:
    raise IntegrityError("a mask is missing")


ENDS = {"check": AbortReason.INTEGRITY, "too few": AbortReason.BELOW_THRESHOLD}


@pytest.mark.parametrize("how", ["not kept", "cancelled", "check", "too few"])
def test_an_input_in_a_sum_that_was_opened_is_in_no_other(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has masked and not answered: its name would be free after a round without a result. But
    there was a sum, and the application may have it elsewhere than where it should be; or clients
    were opening it, and what they said may come when the round is over."""
    world = World()
    for name in NAMES:
        world.client(name, lambda offer, n=name: Contribution(plainly(n, offer).fields, name=n))
    deaf = [world.clients[name] for name in ("cd" if how == "too few" else "d")]
    hear = [deaf_to_the_last(client) for client in deaf]
    if how == "check":
        monkeypatch.setattr(party.Server, "aggregate", broken)
    opened = world.open(real(4), hold=True)
    if how == "cancelled":
        world.server.cancel(opened, world.now)
    world.wait(4 * SOON)
    assert how != "not kept" or world.end(opened).get().count == 4
    world.server.tell(opened, world.now, kept=False)
    world.settle()
    for client in world.clients.values():
        (told,) = client.told
        assert (told.included, told.spent, told.contributors) == (False, True, 4)
        assert told.reason is (ENDS.get(how) or AbortReason.CANCELLED)
    late = 0 if how == "cancelled" else len(deaf)  # who ends a round is not excused by its sum
    assert sum(one.missed for one in world.server.here) == late
    monkeypatch.undo()
    for client, heard in zip(deaf, hear, strict=True):
        client.rounds.received = heard  # type: ignore[method-assign]
    for name in NAMES[:3]:
        world.clients[name].give = lambda offer, n=name: plainly(n, offer)
    assert world.result(world.open(real(4))).count == 3
    assert deaf[-1].told[-1].why == "spent"


@pytest.mark.parametrize("when", ["runs", "ended", "too few", "no rows"])
def test_a_server_that_was_restarted_knows_whose_sum_was_being_opened(when: str) -> None:
    """Also where the round had ended and nobody was told: its machine has forgotten its sets, and
    one that does not resume has no rows at all."""
    world = World(durable=True)
    for name in NAMES:
        known(world, name, give=lambda o, n=name: Contribution(plainly(n, o).fields, name=n))
    deaf = [world.clients[name] for name in ("cd" if when == "too few" else "d")]
    for client in deaf:
        deaf_to_the_last(client)
    opened = world.open(real(4), hold=True)
    if when == "ended":
        world.server.cancel(opened, world.now)
        world.settle()
    if when == "too few":
        world.wait(SOON)
    if when == "no rows":
        for key in [key for key in world.store if key.startswith(opened + MACHINE)]:
            del world.store[key]
    assert len(world.ends) == (when in ("ended", "too few"))
    world.restart()
    world.server.cancel(opened, world.now)
    world.settle()
    assert sorted(world.ends[-1].summed) == [0, 1, 2, 3]
    for client in deaf:
        client.join()
    world.server.tell(opened, world.now)
    world.settle()
    for client in deaf:
        (told,) = client.told
        assert (told.included, told.spent, told.contributors) == (False, True, 4)
    assert {key[16:18] for key in world.store} == {ROUNDS + END}


def test_a_bug_in_the_call_that_opens_a_sum_spends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine has said by then leaves: clients are asked, and may answer."""
    world = World()
    for name in NAMES:
        world.client(name)
    close = party.Server.close_phase

    def breaking(self: party.Server) -> None:
        close(self)
        if self.phase == "unmask":
            raise ZeroDivisionError("a bug")

    monkeypatch.setattr(party.Server, "close_phase", breaking)
    with pytest.raises(ZeroDivisionError):
        world.open(real(4))
    world.settle()
    assert sorted(world.ends[-1].summed) == [0, 1, 2, 3]


@pytest.mark.parametrize("when", ["it is kept", "the round runs without it", "after a restart"])
def test_who_comes_back_before_a_round_is_told_hears_how_it_ended(when: str) -> None:
    """It has no seat any more: the round had ended, or had dropped it. It would wait until its own
    patience ends, and call an input lost that is in the sum, or in none."""
    world = World(durable=True)
    for name in NAMES:
        known(world, name)
    away = world.clients["d"]
    runs = when == "the round runs without it"
    if runs:
        away.give = None
        deaf_to_the_last(world.clients["c"])
    opened = world.open(real(4), hold=True)
    if runs:
        world.wait(SOON)
    assert not world.ends == runs
    if when == "after a restart":
        world.restart()
    else:
        away.leave()
    away.join()
    if runs:
        world.wait(SOON)
    world.server.tell(opened, world.now)
    world.settle()
    (told,) = away.told
    reason = AbortReason.BELOW_THRESHOLD if runs else None
    assert (told.reason, told.included, told.spent) == (reason, not runs, not runs)
    assert not any(one.seats for one in world.server._links.values())


def test_who_was_in_no_sum_may_try_again_after_a_cancelled_round() -> None:
    world = World()
    for name in NAMES:
        world.client(name, lambda offer, n=name: Contribution(plainly(n, offer).fields, name=n))
    late = world.clients["d"]
    late.give = None
    opened = world.open(real(4), hold=True)
    world.wait(4 * SOON)
    assert world.end(opened).get().count == 3
    world.server.tell(opened, world.now, kept=False)
    world.settle()
    assert not late.told[-1].spent and all(world.clients[n].told[-1].spent for n in "abc")


def named(world: World) -> None:
    for name in NAMES:
        give = lambda offer, n=name: Contribution(plainly(n, offer).fields, name="of May")  # noqa: E731
        known(world, name, give=give)


def back(world: World, client: Client, rows: dict[bytes, bytes]) -> None:
    """Its process is gone; another one has these rows, and a new link."""
    if client.here:
        client.leave()
    client.store.clear()
    client.store.update(rows)
    client.rounds = ClientRounds(Consent(unprotected=True), durable=True)
    client.rounds.restore(list(rows.items()), world.now)
    client.peer = Peer(client.peer.name + "'", client.peer.identity)
    client.join()


def test_an_input_that_leaves_after_a_restart_is_claimed_before_it_does() -> None:
    """specs/03-storage.md §4.2: its client may have died after the rows that say so, and before the
    claims. What no ledger has heard of, rows put back would give a second time."""
    world = World(durable=True)
    named(world)
    client, step, dead = world.clients["a"], world.clients["a"].step, list[bool]()

    def dying() -> bool:
        effects = client.rounds.take()
        if dead or not any(write.key[17:] == LEFT for write in effects.writes):
            commit(client.store, effects.writes)
            for one in effects.claims:
                claim(client.ledger, one)
            for post in effects.posts if not dead else ():
                world.server.received(client.peer, post.frame.encode(), world.now)
            for offer in client.rounds.asked():
                client.answer(offer)
            return bool(effects.posts or effects.writes)
        commit(client.store, effects.writes)
        dead.append(True)
        return False

    client.step = dying  # type: ignore[method-assign]
    opened = world.open(real(4), deadlines=100.0)
    assert dead
    client.step = step  # type: ignore[method-assign]
    back(world, client, dict(client.store))
    world.wait(500)
    assert world.result(opened).count == 4
    used = world.clients["b"].ledger.keys() & world.clients["c"].ledger.keys()
    assert used and used <= client.ledger.keys(), "one name has one claim, whoever gives it"


def test_an_input_of_a_client_that_was_put_back_is_spent_by_whatever_end() -> None:
    """specs/03-storage.md §4.4: it may have answered, and have forgotten that."""
    world = World(durable=True)
    named(world)
    client, seen = world.clients["a"], list[dict[bytes, bytes]]()
    step = client.step

    def watching() -> bool:
        seen.append(dict(client.store))
        return step()

    client.step = watching  # type: ignore[method-assign]
    opened = world.open(real(4), hold=True)
    assert world.end(opened).get().count == 4
    forgetful = next(rows for rows in reversed(seen) if _unanswered(rows, world))
    back(world, client, forgetful)
    cancelled = Over(opened, AbortReason.CANCELLED, 0, 0)
    client.rounds.received(SERVER, cancelled.encode(), world.now)
    world.settle()
    assert client.told[-1].reason is AbortReason.CANCELLED and client.told[-1].spent


def _unanswered(rows: dict[bytes, bytes], world: World) -> bool:
    rounds = ClientRounds(Consent(unprotected=True), durable=True)
    rounds.restore(list(rows.items()), world.now)
    return any(not part.answered for part in rounds._parts.values())


def test_an_input_without_a_name_spends_none_that_was_given_before_a_restart() -> None:
    world = World(durable=True)
    for name in NAMES:
        known(world, name)
    client, late = world.clients["d"], world.clients["c"]
    client.give = lambda offer: Contribution(plainly("d", offer).fields, name="of May")
    hear, heard = late.rounds.received, list[bytes]()

    def later(peer: Peer, frame: bytes, now: float) -> None:
        if isinstance(decode_frame(frame, limit=1 << 20), Message):
            heard.append(frame)
        else:
            hear(peer, frame, now)

    late.rounds.received = later  # type: ignore[method-assign]
    world.open(real(4))
    client.give = lambda offer: Contribution(plainly("d", offer).fields, payload=b"")
    taken_up(client)
    client.join()
    late.rounds.received = hear  # type: ignore[method-assign]
    for frame in heard:
        hear(SERVER, frame, world.now)
    world.settle()
    client.give = lambda offer: Contribution(plainly("d", offer).fields, name="of May")
    world.open(real(4))
    assert [(told.included, told.why) for told in client.told] == [(True, ""), (True, "")]


def test_no_round_ends_what_is_known_of_names() -> None:
    """Whoever chooses a nonce could aim at a name, and the end of a round deletes its namespace."""
    world = World(durable=True)
    named(world)
    assert world.result(world.open(real(4))).count == 4
    store = world.clients["a"].store
    assert {key[:16] for key in store} == {NAMES_OF_INPUTS}
    evil = Announce(NAMES_OF_INPUTS, PartyId(0), (1000,) * 4, real(4).encode(), b"")
    with pytest.raises(RemoteProtocolError, match="one round nonce twice"):
        world.clients["a"].rounds.received(SERVER, evil.encode(), world.now)
