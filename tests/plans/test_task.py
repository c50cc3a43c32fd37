"""A task: what clients, servers and the collector pin, and what everything is bound to.

specs/01-wire.md §4.15, §4.16, specs/20-additive.md §3. Rows 2, 3, 7, 8, 22, 23, 35, 44; threats T6,
T8.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from secagg.crypto import sign
from secagg.errors import (
    BadTag,
    InvalidSignature,
    ParameterError,
    PolicyRefused,
    SecAggError,
    TooLarge,
    UnknownVersion,
    WireError,
)
from secagg.fields import Integer
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.plans.task import MAX_TASK, Task
from secagg.roster import Pin, Roster, SignedRoster
from secagg.suite import SUITE_2
from secagg.types import PartyId, Seed
from secagg.wire.frame import payload_digest
from tests.ensembles import keys_of


def made(servers: int = 2, *, clients: int = 4, direct: bool = False) -> Plan:
    return plan(
        clients=clients,
        fields={"votes": Integer(3, max=7)},
        protocol="additive",
        servers=servers,
        direct=direct,
    )


TASK = Task(made(), keys_of(2).committee)
ALONE = Task(
    plan(clients=10, fields={"votes": Integer(3, max=7)}), payload_digest=payload_digest(b"x")
)
BOTH = pytest.mark.parametrize("task", [TASK, ALONE], ids=["several", "one"])


def test_round_trip() -> None:
    """Row 23."""
    for servers, direct in ((2, False), (3, True), (16, False)):
        task = Task(
            made(servers, direct=direct), keys_of(servers, epoch=9).committee, payload_digest(b"x")
        )
        data = task.encode()
        assert len(data) <= MAX_TASK
        assert Task.decode(data) == task
        assert Task.decode(bytearray(data)).digest() == task.digest()
        assert Task.decode(data).encode() == data
    assert Task.decode(ALONE.encode()) == ALONE
    assert Task.decode(ALONE.encode()).encode() == ALONE.encode()


@BOTH
def test_every_length_but_the_right_one_is_refused(task: Task) -> None:
    """Rows 2, 3 and 22."""
    data = task.encode()
    for size in range(len(data)):
        with pytest.raises(SecAggError):
            Task.decode(data[:size])
    with pytest.raises(SecAggError):
        Task.decode(data + b"\0")
    with pytest.raises(TooLarge):
        Task.decode(bytes(MAX_TASK + 1))


@BOTH
def test_every_byte_counts(task: Task) -> None:
    """Threat T1: a flipped bit is refused, or gives another task with another digest."""
    data, digest = task.encode(), task.digest()
    accepted = 0
    for at in range(len(data)):
        flipped = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        try:
            other = Task.decode(flipped)
        except SecAggError:
            continue
        accepted += 1
        assert other.digest() != digest
        assert other.encode() == flipped
    assert accepted >= 32  # the payload digest, at least


@pytest.mark.parametrize("head", [b"\x02\x01", b"\x01\x03", b"\0\0"])
def test_versions(head: bytes) -> None:
    """Rows 7 and 8: the message names what this code speaks."""
    with pytest.raises(UnknownVersion, match="version 1"):
        Task.decode(head + TASK.encode()[2:])


def test_a_plan_and_a_committee_that_do_not_fit() -> None:
    with pytest.raises(ParameterError, match="2 servers"):
        Task(made(), keys_of(3).committee)
    one = plan(clients=10, fields={"votes": Integer(3, max=7)})
    with pytest.raises(ParameterError, match="secagg has one server, and a committee is of sev"):
        Task(one, keys_of(2).committee)
    with pytest.raises(ParameterError, match="members must be a Committee, not a NoneType"):
        Task(made())
    data = TASK.encode()
    three = keys_of(3).committee.encode()
    two = TASK.committee.encode()
    with pytest.raises(ParameterError):
        Task.decode(data.replace(two, three))


def test_members_of_an_unknown_kind_or_of_the_other_family_are_refused() -> None:
    """Row 6; specs/01-wire.md §4.15, §4.16. What nobody reads is not skipped."""
    several, one = TASK.encode(), ALONE.encode()
    at = len(several) - 32 - len(TASK.committee.encode()) - 1
    assert several[at] == 1 and one[-33] == 0
    for kind in (3, 255):
        for data, place in ((several, at), (one, len(one) - 33)):
            with pytest.raises(BadTag, match=f"kind {kind}; this code knows 0, nobody, 1"):
                Task.decode(data[:place] + bytes([kind]) + data[place + 1 :])
    with pytest.raises(ParameterError, match="must be a Committee"):
        Task.decode(several[:at] + b"\0" + several[-32:])
    with pytest.raises(ParameterError, match="one server"):
        Task.decode(one[:-33] + several[at:])


def test_a_task_that_protects_nobody_is_for_whoever_says_so() -> None:
    """specs/01-wire.md §4.7."""
    clear = Task(plan(clients=3, fields={"votes": Integer(3, 7)}, protocol="plainsum"))
    with pytest.raises(PolicyRefused, match="protects against nobody"):
        Task.decode(clear.encode())
    assert Task.decode(clear.encode(), allow_unprotected=True) == clear


def test_what_a_task_of_the_other_family_lacks_says_so() -> None:
    with pytest.raises(
        ParameterError, match="of secagg, which has one server.* join with the plan"
    ):
        _ = ALONE.committee
    with pytest.raises(ParameterError, match="has one server"):
        ALONE.batch(0)
    with pytest.raises(ParameterError, match=r"has batches: Task\.batch"):
        TASK.session(bytes(16))


def test_the_sessions_of_one_server_are_those_of_its_announcements() -> None:
    session = ALONE.session(b"n" * 16)
    assert session == ALONE.plan.session(b"n" * 16, payload_digest(b"x"))
    assert session.offer("secagg") != replace(ALONE, payload_digest=bytes(32)).session(
        b"n" * 16
    ).offer("secagg")


def test_the_digest_binds_everything() -> None:
    """Threats T6 and T8; row 35."""
    tasks = [
        TASK,
        replace(TASK, plan=made(clients=5)),
        replace(TASK, plan=made(direct=True)),
        replace(TASK, members=keys_of(2, epoch=1).committee),
        replace(TASK, members=keys_of(2, seed=b"others").committee),
        replace(TASK, payload_digest=payload_digest(b"other")),
    ]
    assert len({task.digest() for task in tasks}) == len(tasks)
    assert len({task.batch().offer("additive") for task in tasks}) == len(tasks)
    assert len({task.nonce() for task in tasks}) == len(tasks)


def test_nonces_and_sessions() -> None:
    """Row 44: what clients send is routed by the task, the rest by the batch."""
    nonces = {TASK.nonce(batch) for batch in (None, 0, 1, 2, (1 << 32) - 1)}
    assert len(nonces) == 5
    assert {len(nonce) for nonce in nonces} == {16}
    first, second = TASK.batch(), TASK.batch(7)
    assert (first.batch, second.batch) == (0, 7)
    assert first.nonce != second.nonce
    assert first.committee == TASK.committee
    assert first.offer("additive") == second.offer("additive")  # clients know no batch
    assert first.payload_digest == TASK.payload_digest == payload_digest(b"")
    with pytest.raises(OverflowError):
        TASK.nonce(1 << 32)
    for number in (-1, 1 << 32, True):
        with pytest.raises(ParameterError, match="number must be an integer from 0"):
            TASK.batch(number)


ADMIN = Seed(b"a" * 32)


def signed(size: int, epoch: int = 4, *, admin: Seed = ADMIN, excluded: int = 0) -> SignedRoster:
    seeds = [Seed(bytes([1 + number]) * 32) for number in range(size)]
    keys = (*map(sign.public_key, seeds[excluded:]), *[None] * excluded)
    server = sign.public_key(Seed(b"s" * 32))
    return SignedRoster.sign(Roster(epoch, 2_000_000_000, server, keys), admin)


@pytest.fixture
def active() -> Task:
    """Whose clients sign."""
    made = plan(clients=10, fields={"votes": Integer(3, max=7)}, adversary="active")
    return Task(made, signed(10), payload_digest(b"x"))


def test_a_task_with_a_roster(active: Task) -> None:
    """Rows 2, 3, 23; specs/01-wire.md §4.15: kind 2, the file whole."""
    data = active.encode()
    assert data == (
        b"\x01\x02" + len(active.plan.encode()).to_bytes(4) + active.plan.encode()
        + b"\x02" + signed(10).encode() + payload_digest(b"x")
    )  # fmt: skip
    assert Task.decode(data) == active and len(data) <= MAX_TASK
    assert active.pin == Pin(signed(10).admin, 4) and ALONE.pin is None and TASK.pin is None
    for size in range(0, len(data), 7):
        with pytest.raises(SecAggError):
            Task.decode(data[:size])
    with pytest.raises(SecAggError):
        Task.decode(data + b"\0")
    others = [signed(10, 5), signed(10, admin=Seed(b"o" * 32)), signed(10, excluded=1), None]
    tasks = [active, *(replace(active, members=other) for other in others)]
    assert len({task.digest() for task in tasks}) == 5


def test_the_suite_of_a_task_is_its_plans(active: Task) -> None:
    """Row 8: neither is read as the other."""
    for task, number in ((active, b"\x01"), (ALONE, b"\x02")):
        data = task.encode()
        with pytest.raises(WireError, match="a task of suite . about a plan of suite ."):
            Task.decode(data[:1] + number + data[2:])


def test_rosters_that_do_not_fit(active: Task) -> None:
    """Row 46: of another plan's size, too few who are left, of clients that do not sign."""
    with pytest.raises(ParameterError, match="clients of a plan of suite 1 sign nothing"):
        replace(active, plan=ALONE.plan)
    for size in (9, 11):
        with pytest.raises(ParameterError, match=f"roster of 10, .* has {size} places"):
            replace(active, members=signed(size))
    with pytest.raises(ParameterError, match="members that are not excluded"):
        replace(active, members=signed(10, excluded=9))
    with pytest.raises(ParameterError, match="must be a Committee"):
        replace(TASK, members=signed(10))
    with pytest.raises(ParameterError, match="committee is of several"):
        replace(active, members=keys_of(2).committee)
    forged = active.encode().replace(signed(10).signature, bytes(64))
    with pytest.raises(InvalidSignature):
        Task.decode(forged)


def test_the_sessions_of_a_roster(active: Task) -> None:
    """T6: of the task's epoch or a later one that its pin has let through, never an earlier one."""
    runs = replace(active.plan.promise, runs=True)  # whatever the protocol says of its machines
    active.plan.__dict__["promise"] = runs
    session = active.session(b"n" * 16)
    assert session.roster == signed(10).roster and session.suite == SUITE_2
    later = signed(10, 5, excluded=1).roster
    guests = frozenset(PartyId(party) for party in range(9))
    session = active.session(b"n" * 16, roster=later, invited=guests)
    assert (session.roster, session.invited) == (later, guests)
    with pytest.raises(ParameterError, match="epoch 4, .*of epoch 3"):
        active.session(b"n" * 16, roster=signed(10, 3).roster)
    without = replace(active, members=None)
    assert without.session(b"n" * 16, roster=later).roster == later
    with pytest.raises(ParameterError, match="needs a roster"):
        without.session(b"n" * 16)
