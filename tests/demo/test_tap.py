"""What the tap copies, and that it changes nothing of what passes."""

from __future__ import annotations

from secagg.demo.tap import Tap
from secagg.transport import memory
from secagg.types import AbortReason, PartyId
from secagg.wire.frame import Announce, Message, Over

PHASES = ("advertise-keys", "share-keys", "masked-input", "unmask")


def announce(nonce: bytes, party: int) -> bytes:
    return Announce(nonce, PartyId(party), (1, 1, 1, 1), b"plan", b"task").encode()


def nonce(number: int) -> bytes:
    return bytes([number]) * 16


async def test_only_the_masked_inputs_of_the_last_round_are_kept() -> None:
    tap = Tap(PHASES)
    links = []
    for _ in range(2):
        inner, theirs = memory.pair()
        links.append((tap.on(inner), theirs))

    async def round(number: int, messages: int) -> None:
        for party, (ours, theirs) in enumerate(links):
            await ours.send(announce(nonce(number), party))
            assert await theirs.receive() == announce(nonce(number), party)
            for i in range(messages):
                data = Message(nonce(number), b"%d of %d" % (i, party)).encode()
                await theirs.send(data)
                assert await ours.receive() == data

    await round(1, 4)
    assert tap.uploads == {0: b"2 of 0", 1: b"2 of 1"}
    await round(2, 2)
    assert tap.uploads == {}


async def test_a_late_message_of_another_round_is_not_counted() -> None:
    tap = Tap(PHASES)
    inner, theirs = memory.pair()
    ours = tap.on(inner)
    await ours.send(announce(nonce(2), 5))
    late = [Message(nonce(1), b"late").encode(), Over(nonce(2), AbortReason.LOST, 0, 0).encode()]
    here = [Message(nonce(2), data).encode() for data in (b"keys", b"shares", b"vector")]
    for data in [*late, *here]:
        await theirs.send(data)
        await ours.receive()
    assert tap.uploads == {5: b"vector"}
