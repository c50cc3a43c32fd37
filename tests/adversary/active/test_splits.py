"""Rules V7-V9, R2 (rows 26, 27, 30, 32, 36, 43, 63; T3, T4, T17): a server that tells its clients
different things, and what it gets for it, in bytes.

Each attack is run against the shipped machines as they are, and once more with the one rule taken
out that stops it: then it gives the input of one client, so it is an attack.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest

from secagg import shamir
from secagg.errors import LocalProtocolError, RemoteProtocolError
from secagg.mask import add_streams
from secagg.sansio import RingTotal
from secagg.suite import SUITE_2
from secagg.types import SERVER, PartyId, Seed
from secagg.wire.header import HEADER_SIZE, TAG_AT
from secagg_protocols.secagg import SECAGG, binding, keys
from secagg_protocols.secagg import dealing as semi_honest
from secagg_protocols.secagg.active import statements
from secagg_protocols.secagg.active.client import ActiveClient
from secagg_protocols.secagg.active.messages import AGREE, MaskedInput, UnmaskRequest
from secagg_protocols.secagg.active.params import ActiveParams
from secagg_protocols.secagg.active.statements import Statement
from secagg_protocols.secagg.active.transcript import Kind
from secagg_protocols.secagg.keys import Endpoint
from secagg_protocols.secagg.messages import Tag
from tests.active import COMPLETE, SERVER_SEED, Cast
from tests.adversary.active.liars import DOWN, UP, Script, after_header, refuses, script

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


# The victim has a U2 of its own: what the quorum alone does not stop


def own_u2(cast: Cast, told: Collection[int], victim: int = 0) -> Thief:
    """The victim masks with few, all but itself of whom are then called dropped; the others, who
    have the true U2, sign that, and open what is missing."""
    thief = Thief(cast)
    thief.lists(victim, told)
    others = thief.everyone - {victim}
    u3 = thief.everyone - (frozenset(told) - {victim})
    for index in others:
        assert thief.lists(index, thief.everyone)
    for index in others & u3:
        thief.shows(index, u3)
    for index in others & u3:
        thief.asks(index, u3)
    return thief


FIVE = ActiveParams(5, 4, 3, 3, 3, 5, 3)
"""Nobody is corrupt: t = q = floor(5/2) + 1."""
BELOW = replace(FIVE, threshold=2)


@pytest.mark.parametrize("told", [{0, 1}, {0, 1, 2}, {0, 1, 2, 3}, {0, 1, 2, 3, 4}])
def test_a_u2_of_its_own_costs_a_victim_nothing(told: set[int]) -> None:
    """C5 and 2t > k + 1 + a: where it has t holders in its U2, too few are left to sign that all
    but it have dropped."""
    thief = own_u2(Cast(FIVE, corrupted=0), told)
    assert not thief.stolen() and not thief.both()


def test_with_a_threshold_of_half_a_u2_of_its_own_costs_its_input() -> None:
    """n = 5, q = 3, t = 2: the quorum alone gives a sum of one."""
    thief = own_u2(Cast(BELOW, corrupted=0), {0, 1})
    assert thief.stolen().keys() == {0}


def test_without_its_holders_counted_a_u2_of_its_own_costs_its_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """C5 taken out of a client, at the right threshold."""
    opens = semi_honest.open_shares

    def uncounted(now: Any, sharers: Any, sealed: Any, params: Any, fits: Any) -> Any:
        return opens(now, sharers, sealed, replace(params, threshold=1), fits)

    monkeypatch.setattr(semi_honest, "open_shares", uncounted)
    thief = own_u2(Cast(FIVE, corrupted=0), {0, 1})
    assert thief.stolen().keys() == {0}


# Every client has a U3 of its own: what the threshold alone does not stop

RING = ActiveParams(10, 4, 3, 9, 8, 10, 6)
"""Nobody is corrupt, and 2t > k + 1."""
FLOW = {
    0: (1, -1),
    1: (2,),
    2: (1,),
    3: (1, 2),
    4: (2,),
    -1: (-2,),
    -2: (-1,),
    -3: (-1, -2),
    -4: (-2,),
}
"""By place in the ring, from the victim's on: whom each is told to be dropped. Each keeps t of its
holders, and each neighbour of the victim is dropped for t of its own."""


def max_flow(quorum_of: Callable[[Thief, int, frozenset[int]], Collection[int]]) -> Thief:
    thief = Thief(Cast(RING, corrupted=0))
    order, place = binding.permutation(thief.script.session, 10)
    at = {index: (place[index] - place[0]) % 10 for index in thief.everyone}
    ring = {p % 10: tuple(w % 10 for w in dropped) for p, dropped in FLOW.items()}
    u3 = {
        i: frozenset(j for j in thief.everyone if at[j] not in ring.get(at[i], ()))
        for i in thief.everyone
    }
    for index in thief.everyone:
        assert thief.lists(index, thief.everyone)
    for index in thief.everyone:
        assert thief.shows(index, u3[index]), "each is a survivor set that a client can be shown"
    for index in thief.everyone:
        thief.asks(index, u3[index], quorum_of(thief, index, u3[index]))
    return thief


def anybody(thief: Thief, index: int, u3: frozenset[int]) -> Collection[int]:
    return sorted(u3)[:6]


def test_without_a_quorum_the_threshold_alone_costs_an_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """V8 taken out of all clients: whatever was signed counts."""
    check = Statement.check

    def unchecked(self: Statement, public: bytes, signature: bytes) -> None:
        if self.form is not statements.AGREE:
            check(self, public, signature)

    monkeypatch.setattr(Statement, "check", unchecked)
    thief = max_flow(anybody)
    assert thief.stolen().keys() == {0} and not thief.both()


def test_a_u3_for_each_client_opens_nothing() -> None:
    """Rule V8: nobody has q signatures of its own."""
    thief = max_flow(anybody)
    assert not thief.shares and not thief.stolen()


# Some are told one thing and some another


def split(cast: Cast, told: Mapping[int, Collection[int]], second: bool = False) -> Thief:
    """told: by client, the U3 that it is shown, or where `second` the U2."""
    thief = Thief(cast)
    for index in thief.everyone:
        assert thief.lists(index, told[index] if second else thief.everyone)
    for index in thief.everyone:
        thief.shows(index, told[index])
    for index in thief.everyone:
        if len(thief.signers(told[index])) >= thief.cohort.signers[1]:
            thief.asks(index, told[index])
        else:  # whatever it can find
            thief.asks(index, told[index], [*thief.signers(told[index]), *range(6)][:4])
    return thief


A, B = frozenset({0, 1, 2, 3}), frozenset({2, 3, 4, 5})
HALVES = {
    "U3, in halves": ({0: A, 1: A, 2: A, 3: B, 4: B, 5: B}, False),
    "U3, to each another": ({i: frozenset(range(6)) - {(i + 1) % 6} for i in range(6)}, False),
    "U2, in halves": ({0: A, 1: A, 2: A, 3: B, 4: B, 5: B}, True),
}


@pytest.mark.parametrize("name", HALVES)
def test_no_half_is_a_quorum(name: str) -> None:
    """T4: nothing at all is opened."""
    told, second = HALVES[name]
    thief = split(Cast(), told, second)
    assert not thief.shares


def test_a_quorum_beside_which_others_are_told_something_else() -> None:
    """Four sign one U3, by which two have dropped; what those two are told opens nothing."""
    told = {i: A for i in A} | {4: B, 5: B}
    thief = split(Cast(), told)
    assert not thief.both() and not thief.stolen()
    assert {i for i in thief.everyone if thief.secret(i, "s")} == {4, 5}
    assert {i for i in thief.everyone if thief.secret(i, "b")} == {*A}


def test_two_sessions_of_one_offer_are_two() -> None:
    """U1 by client: each answers one, and what is said in one is void in the other (T6, row 44)."""
    cast = Cast(places=9)
    first = Script(cast)
    second = Script(cast.but(range(2, 8)))
    both = first.terms.offer == second.terms.offer
    assert both and first.session != second.session
    shared = sorted({*first.cohort.ids} & {*second.cohort.ids})
    client = first.client(first.cohort.index[shared[0]], 1)
    refuses(client, second.sent(Tag.SHARE_LIST, to=shared[0]), "bound to another session")
    client = first.client(first.cohort.index[shared[0]], 1)
    refuses(client, second.sent(Tag.KEY_LIST, to=shared[0]), "not expected now")


# Two machines of one member


def cloned(corrupted: int, clones: Collection[int]) -> Thief:
    """Both machines of each clone have drawn the same, and each is shown a U3 of its own."""
    thief = Thief(Cast(COMPLETE, corrupted=corrupted))
    seconds = {i: thief.script.client(i, 2) for i in clones}
    for index in thief.everyone:
        assert thief.lists(index, thief.everyone)
    honest = sorted(thief.everyone - {*clones})
    half = len(honest) // 2
    told = {i: thief.everyone - {honest[-1]} for i in honest[:half]}
    told |= {i: thief.everyone for i in honest[half:]}
    for index in thief.everyone:
        assert thief.shows(index, told.get(index, thief.everyone))
    for index, client in seconds.items():
        assert thief.shows(index, thief.everyone - {honest[-1]}, client)
    for index in honest:
        thief.asks(index, told[index])
    for index, client in seconds.items():
        thief.asks(index, thief.everyone)
        thief.asks(index, thief.everyone - {honest[-1]}, client=client)
    return thief


def test_a_clone_is_one_that_is_corrupt() -> None:
    """Row 43, T17: it signs twice, and so does not help more than a corrupt one would."""
    thief = cloned(1, [0])
    assert not thief.both() and not thief.stolen()


def test_more_clones_than_may_be_corrupt_cost_both_secrets() -> None:
    """What is not promised: clones beyond A. Two, where A is 1, sign two survivor sets, and of
    whoever is in one of them only both secrets are opened."""
    assert cloned(1, [0, 1]).both()


def test_a_second_machine_of_a_member_is_not_the_first() -> None:
    """Row 43: it has drawn other keys, so the server hears two, and what is said to the first is
    not said to it."""
    s = script()
    second = s.cast.client(s.cohort.ids[1], randomness=_other())
    second.start()
    second.outgoing(), second.events()
    refuses(second, s.sent(Tag.KEY_LIST, to=s.cohort.ids[1]), "session id")


def _other() -> Callable[[int], bytes]:
    from secagg.testing import counter_randomness

    return counter_randomness(b"another machine")


def test_rule_v9_nothing_of_a_session_is_taken_up_again() -> None:
    """No rows at any point of it, none that are taken, and no suite that would ask for them."""
    s = script()
    assert not SECAGG.resumes(SUITE_2)
    for received in range(5):
        client = s.client(1, received)
        assert client.writes() == []
        with pytest.raises(LocalProtocolError):
            client.restore([(b"state", b"want-quorum")])


def test_rule_v1_a_machine_starts_once() -> None:
    """Else it would say two keys for one offer."""
    s = script()
    for received in range(5):
        with pytest.raises(LocalProtocolError, match="called once"):
            s.client(1, received).start()


def test_rule_v9_all_that_a_client_says_has_one_wording_for_ever() -> None:
    """Its keys too: an offer that was answered once is not answered with others, so what is
    claimed before it leaves is everything."""
    s = script()
    client = s.cast.client(s.cohort.ids[1])
    client.set_input(s.cast.inputs[s.cohort.ids[1]], s.cast.payload)
    client.start()
    said = client.outgoing()
    for tag in DOWN:
        client.receive(SERVER, s.sent(tag, to=s.cohort.ids[1]))
        said += client.outgoing()
    assert [message.data[TAG_AT] for message in said] == [*UP]
    assert all(message.commit for message in said)


def test_rule_v1_no_machine_works_in_a_fork() -> None:
    """Row 63: none of its methods, whichever is called first."""
    s = script()
    client, server = s.client(1, 1, with_input=False), s.cast.server()
    server.start()
    calls: list[Callable[[], object]] = [
        s.cast.client(s.cohort.ids[1]).start,
        lambda: client.set_input(s.cast.inputs[s.cohort.ids[1]], s.cast.payload),
        lambda: client.receive(SERVER, s.sent(Tag.SHARE_LIST, to=s.cohort.ids[1])),
        client.outgoing,
        s.cast.server().start,
        lambda: server.receive(s.cohort.ids[1], b""),
        server.close_phase,
        server.outgoing,
    ]
    child = os.fork()
    if not child:
        refused = 0
        for place, call in enumerate(calls):
            try:
                call()
            except LocalProtocolError:
                refused |= 1 << place
            except Exception:  # noqa: BLE001 - whatever else it is, it was not refused
                pass
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0xFF


# What a server says of itself


def test_rule_r2_it_says_one_thing_of_each_set() -> None:
    """One statement of each name and context, in whatever it says and says again."""
    cast = Cast()
    network = cast.network()
    said: dict[tuple[int, PartyId], set[bytes]] = defaultdict(set)
    network.start()
    while not network.over:
        network.step()
        for party in cast.parties:
            network.server.reconnected(party)
        for message in network.server.outgoing():
            said[message.data[TAG_AT], message.to].add(message.data)
    assert all(len(each) == 1 for each in said.values())
    assert {tag for tag, _ in said} >= {Tag.KEY_LIST, Tag.SHARE_LIST, 9, Tag.UNMASK_REQUEST}
    of_u3 = {data for (tag, _), each in said.items() if tag == 9 for data in each}
    assert len(of_u3) == 1
    assert isinstance(network.result(), RingTotal)
    with pytest.raises(LocalProtocolError):
        network.server.close_phase()


def test_rule_r2_what_reveals_a_set_is_written_down_before() -> None:
    """When a phase has been closed its record is there, before anything that was said is taken."""
    network = Cast().network()
    server: Any = network.server
    network.start()
    expected = [
        [Kind.SESSION, Kind.COHORT],
        [Kind.SHARERS],
        [Kind.SURVIVORS],
        [Kind.QUORUM],
        [Kind.ANSWERS],
    ]
    server.transcript()
    closed = server.close_phase

    def close() -> None:
        closed()
        assert [piece[4] for piece in server.transcript()] == expected.pop(0)

    server.close_phase = close
    while expected:
        network.step()


def test_rule_r2_a_server_that_is_put_back_says_nothing() -> None:
    server = Cast().server()
    assert server.writes() == []
    with pytest.raises(LocalProtocolError):
        server.restore([(b"state", b"")])


def test_an_honest_server_gets_the_sum_in_the_same_way() -> None:
    """That the thief's arithmetic is right, and that it has no input where nobody lies."""
    thief = split(Cast(), dict.fromkeys(range(6), range(6)))
    assert all(thief.secret(i, "b") for i in thief.everyone)
    assert not thief.stolen() and not thief.both() and AGREE
