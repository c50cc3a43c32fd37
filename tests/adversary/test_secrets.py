"""Threats T21: no secret byte appears in a repr, an event or an exception of a run."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import pytest

from secagg.errors import Aborted, SecAggError
from secagg.mask import MaskJob
from secagg.testing import Act, Network, Schedule
from secagg.types import PartyId, Seed
from secagg_protocols.secagg.jobs import AgreeJob
from secagg_protocols.secagg.messages import Tag, UnmaskAnswer
from secagg_protocols.secagg.rebuilding import Found
from tests.networks import COMPLETE, PHASES, flip, network_of, replacing, secrets_of


def _spellings(secret: bytes) -> list[str]:
    """As a repr could show them: an escaped middle piece, hex, and integers."""
    piece = secret[4:20]
    return [
        repr(piece)[2:-1],
        piece.hex(),
        ", ".join(map(str, piece)),
        str(int.from_bytes(secret)),
        str(int.from_bytes(secret, "little")),
    ]


def _secrets(network: Network) -> Iterator[bytes]:
    for client in network.clients.values():
        yield from (secret for secret in secrets_of(client) if len(secret) >= 24)


def _shown(network: Network) -> Iterator[object]:
    yield network.server
    yield from (m for m in network.sent)
    yield from network.events
    yield from network.refusals.values()
    for client in network.clients.values():
        yield client
        for name in ("_now", "_terms", "_memo"):
            yield getattr(client, name)


@pytest.mark.parametrize("lies", [False, True])
def test_nothing_secret_is_shown_during_a_run(lies: bool) -> None:
    schedule = Schedule({("masked-input", PartyId(4)): Act.GONE})
    network = network_of(COMPLETE, schedule=schedule)
    if lies:
        network.wire = replacing(0, Tag.UNMASK_ANSWER, lambda d: flip(d, 8 * 40))
    secrets: set[bytes] = set()
    texts: list[str] = []
    network.start()
    while not network.server.done:
        secrets |= set(_secrets(network))
        texts += [repr(thing) for thing in _shown(network)]
        with contextlib.suppress(Aborted):
            network.step()
        for job in network.server.jobs():
            value = job()
            texts += [repr(job), repr(value) if isinstance(value, Found) else ""]
            secrets |= set(_carried(job))
            network.server.finish(job, value)
    try:
        network.server.result()
    except Aborted as error:
        texts += [str(error), repr(error)]
        assert lies
    assert len(secrets) > 60
    everything = "\n".join(texts)
    assert len(everything) > 10_000
    for secret in secrets:
        for spelling in _spellings(secret):
            assert spelling not in everything


def _carried(job: Any) -> Iterator[bytes]:
    """The scalar, the first mask key, or the first share, and the secret that it leads to."""
    match job:
        case AgreeJob():
            yield job.secret
        case MaskJob():
            yield job.keys[:32]
        case _:
            yield job.wanted.answers.data[:40]
            if found := job().secret:
                yield found


def test_the_search_finds_a_leak() -> None:
    secret = bytes(range(7, 39))
    leaks = [repr(secret), secret.hex(), str(list(secret)), str(int.from_bytes(secret))]
    for leak in leaks:
        assert any(spelling in leak for spelling in _spellings(secret))


def test_seeds_are_redacted_and_stay_where_they_are() -> None:
    seed = Seed(bytes(range(32)))
    assert repr(seed) == str(seed) == f"{seed}" == "Seed(<redacted>)"
    for escape in (lambda: copy.deepcopy(seed), lambda: copy.copy(seed), lambda: hash(seed)):
        with pytest.raises(TypeError):
            escape()
    assert seed == Seed(bytes(range(32))) != Seed(bytes(32))


def test_messages_hide_shares() -> None:
    assert "\\x07" not in repr(UnmaskAnswer((bytes([7]) * 40,)))


@pytest.mark.parametrize("phase", PHASES)
def test_errors_name_sizes_and_never_contents(phase: str) -> None:
    network = network_of(COMPLETE).run_until(phase)
    canary = b"CANARYcanaryCANARY" * 20
    network.server.receive(PartyId(0), network.queued(PartyId(0))[0][:35] + canary)
    details = [str(e) for e in network.server.events()]
    for party in (1, 2):
        try:
            network.clients[PartyId(party)].receive(PartyId(0xFFFF_FFFF), canary)
        except SecAggError as error:
            details.append(str(error))
    assert not any("canary" in text.lower() for text in details)
