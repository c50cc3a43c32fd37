"""A task: what clients, servers and the collector pin, and what everything is bound to.

specs/20-additive.md §3. Rows 2, 3, 7, 8, 22, 23, 35, 44; threats T6, T8.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from secagg.errors import ParameterError, SecAggError, TooLarge, UnknownVersion
from secagg.fields import Integer
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.plans.task import MAX_TASK, Task
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


def test_every_length_but_the_right_one_is_refused() -> None:
    """Rows 2, 3 and 22."""
    data = TASK.encode()
    for size in range(len(data)):
        with pytest.raises(SecAggError):
            Task.decode(data[:size])
    with pytest.raises(SecAggError):
        Task.decode(data + b"\0")
    with pytest.raises(TooLarge):
        Task.decode(bytes(MAX_TASK + 1))


def test_every_byte_counts() -> None:
    """Threat T1: a flipped bit is refused, or gives another task with another digest."""
    data, digest = TASK.encode(), TASK.digest()
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
    assert accepted > 32  # the payload digest, at least


@pytest.mark.parametrize("head", [b"\x02\x01", b"\x01\x02", b"\0\0"])
def test_versions(head: bytes) -> None:
    """Rows 7 and 8: the message names what this code speaks."""
    with pytest.raises(UnknownVersion, match="version 1"):
        Task.decode(head + TASK.encode()[2:])


def test_a_plan_and_a_committee_that_do_not_fit() -> None:
    with pytest.raises(ParameterError, match="2 servers"):
        Task(made(), keys_of(3).committee)
    one = plan(clients=10, fields={"votes": Integer(3, max=7)})
    with pytest.raises(ParameterError, match="one server"):
        Task(one, keys_of(2).committee)
    data = TASK.encode()
    three = keys_of(3).committee.encode()
    two = TASK.committee.encode()
    with pytest.raises(ParameterError):
        Task.decode(data.replace(two, three))


def test_the_digest_binds_everything() -> None:
    """Threats T6 and T8; row 35."""
    tasks = [
        TASK,
        replace(TASK, plan=made(clients=5)),
        replace(TASK, plan=made(direct=True)),
        replace(TASK, committee=keys_of(2, epoch=1).committee),
        replace(TASK, committee=keys_of(2, seed=b"others").committee),
        replace(TASK, payload_digest=payload_digest(b"other")),
    ]
    assert len({task.digest() for task in tasks}) == len(tasks)
    assert len({task.session().offer("additive") for task in tasks}) == len(tasks)
    assert len({task.nonce() for task in tasks}) == len(tasks)


def test_nonces_and_sessions() -> None:
    """Row 44: what clients send is routed by the task, the rest by the batch."""
    nonces = {TASK.nonce(batch) for batch in (None, 0, 1, 2, (1 << 32) - 1)}
    assert len(nonces) == 5
    assert {len(nonce) for nonce in nonces} == {16}
    first, second = TASK.session(), TASK.session(7)
    assert (first.batch, second.batch) == (0, 7)
    assert first.nonce != second.nonce
    assert first.committee == TASK.committee
    assert first.offer("additive") == second.offer("additive")  # clients know no batch
    assert first.payload_digest == TASK.payload_digest == payload_digest(b"")
    with pytest.raises(OverflowError):
        TASK.nonce(1 << 32)
