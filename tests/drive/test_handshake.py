"""The first frames of a server's link: who may speak, and what is refused (specs/01-wire.md §7)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.crypto import labels, sign
from secagg.drive.handshake import Greeter, anonymous
from secagg.errors import (
    BadTag,
    InvalidSignature,
    LinkClosed,
    LinkTimeout,
    RemoteProtocolError,
    SecAggError,
    TooLarge,
    UnknownVersion,
    WireError,
)
from secagg.plans.task import Task
from secagg.transport import memory
from secagg.transport.base import Link
from secagg.types import SERVER, PartyId, Role
from secagg.wire.codec import Writer
from secagg.wire.frame import VERSION
from secagg.wire.hello import CHALLENGE_SIZE, LARGEST, PROOF, Hello, decode_hello, decode_proof
from tests.drive.members import Fleet

FLEET = Fleet(3, 3)
TASK, NONCE = FLEET.task, FLEET.task.nonce()
OTHER = Task(TASK.plan, replace(TASK.committee, epoch=1))
CHALLENGE = bytes(range(CHALLENGE_SIZE))


def greeter(index: int, task: Task = TASK, keys: int | None = None, **options: float) -> Greeter:
    secrets = FLEET.keys.servers[index if keys is None else keys]
    return Greeter(task, index, secrets.signing, **options)  # type: ignore[arg-type]


async def greet(opens: Greeter, answers: Greeter, called: int = 1) -> list[object]:
    """Both ends' outcomes; whoever is refused finds the link closed."""
    ours, theirs = memory.pair()

    async def closing(link: Link, greeting: Awaitable[object]) -> object:
        try:
            return await greeting
        except SecAggError:
            await link.close()
            raise

    both = closing(ours, opens.open(ours, called)), closing(theirs, answers.accept(theirs))
    async with asyncio.timeout(10):
        return await asyncio.gather(*both, return_exceptions=True)


async def test_leader_and_helper_prove_who_they_are() -> None:
    assert await greet(greeter(0), greeter(1)) == [None, (Role.SERVER, SERVER)]


@pytest.mark.parametrize("role", [Role.CLIENT, Role.COLLECTOR])
async def test_clients_and_the_collector_prove_nothing(role: Role) -> None:
    ours, theirs = memory.pair()
    await ours.send(anonymous(TASK, role))
    assert await greeter(1).accept(theirs) == (role, PartyId(0))


@pytest.mark.parametrize(
    ("opens", "answers", "error"),
    [
        (greeter(0, keys=2), greeter(1), InvalidSignature),  # not the leader's key
        (greeter(2), greeter(1), RemoteProtocolError),  # helpers do not call on each other
        (greeter(1), greeter(0), RemoteProtocolError),  # nor on the leader
        (greeter(0), greeter(0), RemoteProtocolError),  # nor does the leader on itself
        (greeter(0, OTHER), greeter(1), RemoteProtocolError),  # of another epoch
    ],
)
async def test_the_answering_side_refuses(
    opens: Greeter, answers: Greeter, error: type[SecAggError]
) -> None:
    """Row 78: a failure ends the link; the other side learns no more than that."""
    opened, accepted = await greet(opens, answers)
    assert type(accepted) is error
    assert isinstance(opened, LinkClosed)


@pytest.mark.parametrize(
    ("answers", "error"),
    [(greeter(2), RemoteProtocolError), (greeter(1, keys=2), InvalidSignature)],
)
async def test_the_calling_side_refuses(answers: Greeter, error: type[SecAggError]) -> None:
    opened, _ = await greet(greeter(0), answers)
    assert type(opened) is error


async def test_a_proof_is_of_one_link_only() -> None:
    """Both challenges are signed, and who signs for whom: neither replayed nor reflected."""
    ours, theirs = memory.pair()
    accepting = asyncio.create_task(greeter(1).accept(theirs))
    await ours.send(Hello(TASK.digest(), Role.SERVER, 0, CHALLENGE).encode(NONCE))
    await ours.receive()
    signed = labels.encode(labels.LINK, TASK.digest(), 0, 1, CHALLENGE, CHALLENGE)
    old = sign.sign(FLEET.keys.servers[0].signing, signed)
    await ours.send(Writer().u8(VERSION).u8(PROOF).raw(NONCE).raw(old).finish())
    with pytest.raises(InvalidSignature):
        await accepting


async def test_what_is_signed_is_what_the_document_says() -> None:
    ours, theirs = memory.pair()
    accepting = asyncio.create_task(greeter(1).accept(theirs))
    await ours.send(Hello(TASK.digest(), Role.SERVER, 0, CHALLENGE).encode(NONCE))
    answer = decode_hello(await ours.receive(), NONCE)
    assert (answer.role, answer.index) == (Role.SERVER, 1)
    said = (CHALLENGE, answer.challenge)
    proof = sign.sign(
        FLEET.keys.servers[0].signing, labels.encode(labels.LINK, TASK.digest(), 0, 1, *said)
    )
    await ours.send(Writer().u8(VERSION).u8(PROOF).raw(NONCE).raw(proof).finish())
    sign.verify(
        TASK.committee.servers[1].signing,
        labels.encode(labels.LINK, TASK.digest(), 1, 0, *said),
        decode_proof(await ours.receive(), NONCE),
    )
    assert await accepting == (Role.SERVER, SERVER)


@pytest.mark.parametrize("says", [b"", anonymous(TASK, Role.CLIENT)[:-1]])
async def test_a_handshake_has_a_deadline(says: bytes) -> None:
    """Row 68: an idle link is closed."""
    ours, theirs = memory.pair()
    await ours.send(Hello(TASK.digest(), Role.SERVER, 0, CHALLENGE).encode(NONCE))
    with pytest.raises(LinkTimeout):
        await greeter(1, timeout=0.05).accept(theirs)


HELLO = Hello(TASK.digest(), Role.SERVER, 2, CHALLENGE).encode(NONCE)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (HELLO[:-1], WireError),
        (HELLO + b"\0", TooLarge),
        (b"\x02" + HELLO[1:], UnknownVersion),
        (HELLO[:1] + b"\x02" + HELLO[2:], BadTag),
        (HELLO[:2] + bytes(16) + HELLO[18:], RemoteProtocolError),
        (HELLO[:50] + b"\x04" + HELLO[51:], WireError),
        (HELLO[:50] + b"\x01" + HELLO[51:], WireError),
        (bytes(LARGEST + 1), TooLarge),
    ],
)
def test_bytes_that_are_no_hello(data: bytes, error: type[SecAggError]) -> None:
    with pytest.raises(error):
        decode_hello(data, NONCE)


@given(st.binary(max_size=LARGEST) | st.builds(lambda t: HELLO[:18] + t, st.binary(max_size=70)))
@settings(max_examples=200, deadline=None)
def test_a_hello_has_one_encoding(data: bytes) -> None:
    try:
        hello = decode_hello(data, NONCE)
    except (WireError, RemoteProtocolError):
        return
    assert hello.encode(NONCE) == data


def test_a_hello_is_as_large_as_the_document_says() -> None:
    assert len(HELLO) == LARGEST == 84
    assert decode_hello(HELLO, NONCE) == Hello(TASK.digest(), Role.SERVER, 2, CHALLENGE)
