"""Rounds whose clients sign, over sockets: identities from files, links that are proved, a sum."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import secagg
from secagg.crypto import sign
from secagg.drive.blocking import Serving
from secagg.drive.enrolled import Member
from secagg.drive.participant import Participant
from secagg.errors import (
    BelowThreshold,
    InputError,
    ParameterError,
    PolicyRefused,
    StorageError,
    TransportError,
)
from secagg.fields import Integer
from secagg.plans.plan import Plan
from secagg.policy import Policy
from secagg.roster import Pin, Roster, SignedRoster
from secagg.rounds.client import ClientRounds
from secagg.rounds.clock import RoundReport
from secagg.rounds.offer import Consent, Outcome
from secagg.store.identity import HEAD, Identity
from secagg.store.ledger import SqliteLedger
from secagg.types import PartyId, Seed

LENGTH, SOON = 3, 30.0
ADMIN = Seed(b"admin".ljust(32))
SEEDS = [Seed(bytes([9, place]).ljust(32)) for place in range(5)]
SERVER = Seed(b"server".ljust(32))


def signed(epoch: int = 1, server: Seed = SERVER, not_after: int = 1 << 40) -> SignedRoster:
    keys = tuple(sign.public_key(seed) for seed in SEEDS)
    return SignedRoster.sign(Roster(epoch, not_after, sign.public_key(server), keys), ADMIN)


PIN = Pin(sign.public_key(ADMIN))


def plan(clients: int = 4) -> Plan:
    return secagg.plan(
        clients=clients,
        fields={"x": Integer(LENGTH, 1000)},
        adversary="active",
        corrupt=0,
        dropout=0.25,
        roster=5,
    )


@contextmanager
def identity(folder: Path, seed: Seed) -> Iterator[Identity]:
    path = folder / sign.public_key(seed).hex()[:16]
    if not path.exists():
        path.touch(0o600)
        path.write_bytes(HEAD + seed.expose().hex().encode() + b"\n")
    with Identity.open(path) as found:
        yield found


@contextmanager
def serving(folder: Path, roster: SignedRoster | None = None, **more: Any) -> Iterator[Serving]:
    roster = roster or signed()
    with (
        identity(folder, SERVER) as own,
        secagg.serve_in_thread(plan(), roster=roster, identity=own, **more) as served,
    ):
        yield served


def join(
    folder: Path,
    url: str,
    place: int,
    *,
    roster: SignedRoster | None = None,
    pin: Pin = PIN,
    policy: Policy | None = None,
    name: str | None = "mine",
    rounds: int = 1,
) -> tuple[Outcome, ...]:
    with ExitStack() as files:
        own = files.enter_context(identity(folder, SEEDS[place]))
        ledger = files.enter_context(SqliteLedger.open(folder / f"{place}.ledger"))
        member = Member(own, roster or signed(), pin, policy or Policy())
        values = {"x": [place, 10 * place, -place]}
        more: dict[str, Any] = {"ledger": ledger, "member": member, "rounds": rounds}
        return secagg.join(url, values, name=name, timeout=5, **more)


def all_join(
    pool: ThreadPoolExecutor, folder: Path, url: str, places: Sequence[int], **more: Any
) -> list[Future[tuple[Outcome, ...]]]:
    return [pool.submit(join, folder, url, place, **more) for place in places]


def nobody_is_left(server: Serving) -> None:
    until = time.monotonic() + SOON
    while server.connected and time.monotonic() < until:
        time.sleep(0.01)
    assert not server.connected


def test_a_round_between_processes_that_prove_who_they_are(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool, serving(tmp_path) as server:
        joined = all_join(pool, tmp_path, server.url, (0, 2, 3, 4))
        server.ready(timeout=SOON)
        total = server.run_round(deadlines=SOON)
        report = server.report
    assert total.sum["x"].tolist() == [9, 90, -9] and total.contributors == {0, 2, 3, 4}
    assert total.members == {p: sign.public_key(SEEDS[p]) for p in (0, 2, 3, 4)}
    assert report is not None and report.transcript[:1] == b"\x01" and not report.evidence
    assert [*report.phases] == [*plan().phase_names]
    for one in joined:
        (outcome,) = one.result()
        assert outcome.included and outcome.contributors == 4


def test_a_member_comes_in_one_life_after_the_other(tmp_path: Path) -> None:
    """The ledger knows what was said in the first: a name is spent, and a newcomer among the
    survivors makes two sums that differ by one."""
    places = (0, 1, 2, 3)
    with ThreadPoolExecutor() as pool, serving(tmp_path) as server:
        for name, sums in (("one", True), ("one", False), ("two", True)):
            joined = all_join(pool, tmp_path, server.url, places, name=name)
            server.ready(timeout=SOON)
            if sums:
                assert server.run_round(deadlines=SOON).sum["x"].tolist() == [6, 60, -6]
            else:
                with pytest.raises(BelowThreshold):
                    server.run_round(deadlines=SOON)
            whys = [one.result()[0].why for one in joined]
            assert whys == [("" if sums else "spent")] * 4
            nobody_is_left(server)
        joined = all_join(pool, tmp_path, server.url, (1, 2, 3, 4), name="three")
        server.ready(timeout=SOON)
        with pytest.raises(BelowThreshold):
            server.run_round(deadlines=SOON)
        whys = [one.result()[0].why for one in joined]
    assert whys[:3] == ["policy"] * 3 and "policy" not in whys[3]


def test_whoever_is_not_of_the_roster_has_no_link(tmp_path: Path) -> None:
    """A client that signs nothing, one of another epoch, one with another's seed; and the server
    is not the one of the roster either."""
    with serving(tmp_path) as server:
        with pytest.raises(TransportError):
            secagg.join(server.url, {"x": [1, 2, 3]}, name="x", timeout=2)
        with pytest.raises(TransportError):
            join(tmp_path, server.url, 0, roster=signed(epoch=2))
        assert server.connected == 0


def test_a_client_says_nothing_before_all_of_its_own_is_there(tmp_path: Path) -> None:
    gone = "ws://127.0.0.1:1"
    with identity(tmp_path, SEEDS[0]) as own:
        member = Member(own, signed(), PIN)
        with pytest.raises(ParameterError, match="ledger"):
            secagg.join(gone, {"x": [1, 2, 3]}, member=member)
    with pytest.raises(PolicyRefused, match="pinned is"):
        join(tmp_path, gone, 0, pin=Pin(sign.public_key(SERVER)))
    with pytest.raises(PolicyRefused, match="ended"):
        join(tmp_path, gone, 0, roster=signed(not_after=1))
    with pytest.raises(PolicyRefused, match="pinned is epoch 2"):
        join(tmp_path, gone, 0, pin=Pin(PIN.admin, 2))
    with pytest.raises(TransportError):
        join(tmp_path, gone, 0, roster=signed(epoch=5))
    with pytest.raises(PolicyRefused, match="epoch 5 was seen"):
        join(tmp_path, gone, 0)
    with identity(tmp_path, SEEDS[1]), pytest.raises(StorageError, match="in use"):
        join(tmp_path, gone, 1)


def test_two_lives_at_once_are_one_too_many(tmp_path: Path) -> None:
    """The lock of the identity, and then the newer link of one key."""
    with ThreadPoolExecutor() as pool, serving(tmp_path) as server:
        first = pool.submit(join, tmp_path, server.url, 0)
        server.ready(1, timeout=SOON)
        with pytest.raises(StorageError, match="in use"):
            join(tmp_path, server.url, 0)
        assert server.connected == 1
        assert not first.done()
    first.exception()


def test_an_input_has_a_name(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool, serving(tmp_path) as server:
        joined = all_join(pool, tmp_path, server.url, (0, 1, 2, 3), name=None)
        server.ready(timeout=SOON)
        with pytest.raises(BelowThreshold):
            server.run_round(deadlines=SOON)
        # one whose round had ended before it was asked for its input has none to be refused
        refused = [error for one in joined if (error := one.exception()) is not None]
        assert refused and all(isinstance(error, InputError) for error in refused)


def test_a_server_of_members_has_both_roster_and_identity(tmp_path: Path) -> None:
    with identity(tmp_path, SEEDS[0]) as wrong:
        with pytest.raises(ParameterError, match="not the identity of the server"):
            with secagg.serve_in_thread(plan(), roster=signed(), identity=wrong):
                pass
        with pytest.raises(ParameterError, match="needs both"):
            with secagg.serve_in_thread(plan(), identity=wrong):
                pass
    with secagg.serve_in_thread(plan()) as without:
        with pytest.raises(ParameterError, match="has no roster"):
            without.run_round(deadlines=SOON)


def test_an_identity_takes_part_once_at_a_time(tmp_path: Path) -> None:
    """Row 45, T17: of two participations in one process each would know of its own rounds alone,
    and sign survivors that differ by one (specs/14-roster.md §4.1)."""
    with (
        identity(tmp_path, SEEDS[0]) as own,
        SqliteLedger.open(tmp_path / "0.ledger") as ledger,
        serving(tmp_path) as server,
        ThreadPoolExecutor() as pool,
    ):
        member = Member(own, signed(), PIN)
        with member.enter(ledger):
            more: dict[str, Any] = {"name": "mine", "ledger": ledger, "member": member}
            for where in (server.url, "ws://127.0.0.1:1"):
                with pytest.raises(StorageError, match="once at a time"):
                    secagg.join(where, {"x": [0] * LENGTH}, timeout=5, **more)
        first = pool.submit(secagg.join, server.url, {"x": [1] * LENGTH}, rounds=1, **more)
        server.ready(1, timeout=SOON)
        with pytest.raises(StorageError, match="once at a time"):
            secagg.join(server.url, {"x": [0] * LENGTH}, timeout=5, **more)
        joined = all_join(pool, tmp_path, server.url, (2, 3, 4))
        server.ready(timeout=SOON)
        assert server.run_round(deadlines=SOON).sum["x"].tolist() == [10, 91, -8]
        assert all(one.result()[0].included for one in (first, *joined))
        with member.enter(ledger) as again:
            assert len(again.memory) == 1


async def test_an_outcome_is_told_when_it_is_there() -> None:
    """What a server has signed is kept before the next round begins, not when the last is over."""
    heard: list[Outcome] = []
    rounds = ClientRounds(Consent())
    participant = Participant(rounds, lambda offer: None, heard=heard.append)
    report = RoundReport({}, 0.0, 0.0)
    one = Outcome(1, PartyId(0), None, 4, 0, report, statements=(b"signed",))
    rounds._outcomes.append(one)
    participant._news()
    assert heard == [one]
    participant._news()
    assert heard == participant.outcomes == [one]
