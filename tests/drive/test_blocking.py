"""The blocking face: what a program without asyncio calls, and what its threads leave behind."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import secagg
from secagg.drive import rejoin
from secagg.drive.beside import Here
from secagg.drive.blocking import Serving
from secagg.drive.participant import Participant
from secagg.drive.service import Service
from secagg.effects import Peer
from secagg.errors import (
    BelowThreshold,
    InputError,
    LinkClosed,
    LinkTimeout,
    LocalProtocolError,
    ParameterError,
    PolicyRefused,
    RangeError,
    SecAggError,
    StorageError,
    TransportError,
)
from secagg.plans.plan import Plan
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent, Contribution, Offer, Outcome
from secagg.rounds.server import ServerRounds
from secagg.transport import memory
from secagg.transport.base import Link
from secagg.types import AbortReason
from secagg.wire.frame import Announce, Over, decode_frame

SOON = 20.0
"""Seconds that nothing here takes, unless it hangs."""
FIELDS = {"u": secagg.FixedPoint(3, 1.0, 16)}
GONE = "ws://127.0.0.1:1"
"""No test asks it: they end before, or open other links."""


def toy(clients: int) -> Plan:
    return secagg.plan(clients=clients, fields=FIELDS, corrupt=0, dropout=0.5, protocol="plainsum")


def give(offer: Offer) -> dict[str, Any]:
    return {"u": [0.5, -0.5, 7.0]}


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert {thread.name for thread in threading.enumerate() if thread not in before} == set()


@pytest.fixture
def apart() -> Iterator[Callable[..., Future[Any]]]:
    """Calls in threads of their own."""
    with ThreadPoolExecutor(8) as pool:
        yield pool.submit


def test_rounds_with_clients_that_block(apart: Callable[..., Future[Any]]) -> None:
    """By name, by function and as a Contribution; one declines, one leaves after the first round;
    a function is called where `join` was; and clipped counts come back."""
    asked: dict[int, int] = {}

    def second(offer: Offer) -> Contribution | None:
        asked[offer.round] = threading.get_ident()
        return None if offer.round == 2 else Contribution(give(offer))

    def blocked() -> tuple[int, tuple[Outcome, ...]]:
        return threading.get_ident(), secagg.join(server.url, second, plan=toy(3))

    with secagg.serve_in_thread(toy(3)) as server:
        once = apart(secagg.join, server.url, {"u": [0.25] * 3}, plan=toy(3), rounds=1)
        twice = apart(blocked)
        digest = toy(3).digest()
        also = apart(secagg.join, server.url, give, plan_digest=digest, rounds=2, name="of May")
        server.ready(timeout=SOON)
        assert server.connected == len(server.members) == 3
        total = server.run_round(deadlines=SOON)
        assert total.count == 3 and total.mean["u"][0] == pytest.approx(1.25 / 3, abs=1e-4)
        [first] = once.result(SOON)
        assert (first.included, first.spent, first.clipped) == (True, True, {"u": 0})
        kept: list[Any] = []
        with pytest.raises(BelowThreshold):  # one is gone, one declines, one has spent its input
            server.run_round(b"of June", deadlines=SOON, keep=kept.append)
        assert (
            kept == [] and server.report is not None and server.report.phases.keys() == {"upload"}
        )
        assert [one.why for one in also.result(SOON)] == ["", "spent"]
        assert server.port == int(server.url.rpartition(":")[2])
    thread, outcomes = twice.result(SOON)
    assert [(one.included, one.why) for one in outcomes] == [(True, ""), (False, "quit")]
    assert outcomes[0].clipped == {"u": 1} and asked == {1: thread, 2: thread}
    with pytest.raises(LocalProtocolError, match="is closed"):
        server.run_round(deadlines=SOON)
    with socket.create_server(("127.0.0.1", server.port)):
        pass  # free again


def test_what_fields_raises_is_raised_where_join_was_called(
    apart: Callable[..., Future[Any]],
) -> None:
    """An InputError leaves one round; a bug ends the client. The server hears of both."""

    def bug(offer: Offer) -> Any:
        raise ZeroDivisionError("a bug of the application")

    def unfit(offer: Offer) -> Any:
        return 3 if offer.round == 1 else give(offer)

    with secagg.serve_in_thread(toy(2)) as server:
        broken = apart(secagg.join, server.url, bug, plan=toy(2))
        late = apart(secagg.join, server.url, unfit, plan=toy(2), rounds=2)
        server.ready(timeout=SOON)
        with pytest.raises(BelowThreshold, match="2 bad-input"):
            server.run_round(deadlines=SOON)
        with pytest.raises(ZeroDivisionError, match="a bug of the application"):
            broken.result(SOON)
        total = server.run_round(deadlines=SOON)
        assert total.count == 1
        assert [one.included for one in late.result(SOON)] == [False, True]


def test_an_iterator_that_is_exhausted_is_an_error_and_no_silence(
    apart: Callable[..., Future[Any]],
) -> None:
    """What no future of asyncio takes, of `fields` and of `keep`."""
    inputs = iter([give])
    with secagg.serve_in_thread(toy(1)) as server:
        client = apart(secagg.join, server.url, lambda offer: next(inputs)(offer), plan=toy(1))
        server.ready(timeout=SOON)
        keeping = apart(server.run_round, deadlines=SOON, keep=lambda total: next(iter(())))
        with pytest.raises(RuntimeError, match="StopIteration was raised") as raised:
            keeping.result(SOON)
        assert isinstance(raised.value.__cause__, StopIteration)
        with pytest.raises(BelowThreshold, match="1 bad-input"):
            server.run_round(deadlines=SOON)
        with pytest.raises(RuntimeError, match="StopIteration was raised"):
            client.result(SOON)


def test_an_end_without_a_round_is_an_error(apart: Callable[..., Future[Any]]) -> None:
    with secagg.serve_in_thread(toy(1)) as server:
        waiting = apart(secagg.join, server.url, give, plan=toy(1))
        server.ready(timeout=SOON)
    with pytest.raises(TransportError, match="before it announced a round"):
        waiting.result(SOON)


def test_a_service_that_cannot_begin_says_so_before_the_block() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TransportError, match="cannot listen"):
            with secagg.serve_in_thread(toy(1), port=port):
                pytest.fail("the block was entered")
    with pytest.raises(PolicyRefused, match="TLS"):
        with secagg.serve_in_thread(toy(1), host="0.0.0.0"):
            pytest.fail("the block was entered")


@pytest.mark.parametrize("asks", [False, True], ids=["nobody asks", "somebody waits"])
def test_what_dies_in_the_thread_is_raised_in_the_caller(
    monkeypatch: pytest.MonkeyPatch, asks: bool
) -> None:
    def broken(self: ServerRounds) -> Any:
        raise StorageError("no room is left")

    with pytest.raises(StorageError, match="no room is left"):
        with secagg.serve_in_thread(toy(1)) as server:
            monkeypatch.setattr(ServerRounds, "take", broken)
            server._thread.tell(server._service._shell.wake)
            if asks:
                with pytest.raises(StorageError):
                    server.ready(timeout=SOON)
                with pytest.raises(StorageError):  # and whoever comes later
                    server.run_round(deadlines=SOON)


def test_what_the_block_raises_comes_first(apart: Callable[..., Future[Any]]) -> None:
    """A round that runs is cancelled, and whoever waits for it hears that."""
    asked, answered = threading.Event(), threading.Event()

    def slow(offer: Offer) -> dict[str, Any]:
        asked.set()
        answered.wait(SOON)
        return give(offer)

    with pytest.raises(ZeroDivisionError):
        with secagg.serve_in_thread(toy(1)) as server:
            client = apart(secagg.join, server.url, slow, plan=toy(1))
            server.ready(timeout=SOON)
            running = apart(server.run_round, deadlines=SOON)
            assert asked.wait(SOON)
            raise ZeroDivisionError
    answered.set()
    with pytest.raises(SecAggError):
        running.result(SOON)
    assert [one.reason for one in client.result(SOON)] == [AbortReason.CANCELLED]


def test_what_waits_for_this_thread_ends_with_its_round(
    apart: Callable[..., Future[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that opens and ends rounds while `fields` computes fills no queue with them."""
    asked, answered, queued = threading.Event(), threading.Event(), list[int]()
    submit, received, ended = Here.submit, ClientRounds.received, threading.Semaphore(0)

    def told(self: ClientRounds, peer: Peer, frame: bytes, now: float) -> None:
        received(self, peer, frame, now)
        if isinstance(decode_frame(frame, limit=len(frame)), Over):
            ended.release()

    def counted(self: Here, call: Any, offer: Offer) -> Future[Any]:
        queued.append(offer.round)
        return submit(self, call, offer)

    def slow(offer: Offer) -> dict[str, Any]:
        asked.set()
        answered.wait(SOON)
        return give(offer)

    monkeypatch.setattr(Here, "submit", counted)
    monkeypatch.setattr(ClientRounds, "received", told)
    with secagg.serve_in_thread(toy(1)) as server:
        client = apart(secagg.join, server.url, slow, plan=toy(1))
        server.ready(timeout=SOON)
        first = apart(server.run_round, deadlines=SOON)
        assert asked.wait(SOON)
        for _ in range(2):
            with pytest.raises(BelowThreshold):
                server.run_round(deadlines=0.01)
            assert ended.acquire(timeout=SOON), "the client has heard it too"
        answered.set()
        assert first.result(SOON).count == 1
        assert server.run_round(deadlines=SOON).count == 1
    assert queued == [1, 4]
    assert [one.included for one in client.result(SOON)] == [False, False, True, True]


def test_a_round_beyond_those_that_are_wanted_is_declined(
    apart: Callable[..., Future[Any]],
) -> None:
    """At once, so that nobody waits for its deadline, and without asking for an input."""
    asked, answered, rounds = threading.Event(), threading.Event(), list[int]()

    def slow(offer: Offer) -> dict[str, Any]:
        rounds.append(offer.round)
        asked.set()
        answered.wait(SOON)
        return give(offer)

    with secagg.serve_in_thread(toy(1)) as server:
        client = apart(secagg.join, server.url, slow, plan=toy(1), rounds=1)
        server.ready(timeout=SOON)
        first = apart(server.run_round, deadlines=SOON)
        assert asked.wait(SOON)
        with pytest.raises(BelowThreshold, match="1 quit"):
            server.run_round(deadlines=SOON)
        answered.set()
        assert first.result(SOON).count == 1
        assert [(one.round, one.included) for one in client.result(SOON)] == [(2, False), (1, True)]
    assert rounds == [1]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="POSIX")
@pytest.mark.parametrize("waiting", ["for a round", "in fields", "for clients"])
def test_ctrl_c_ends_it_in_order(
    waiting: str, apart: Callable[..., Future[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As KeyboardInterrupt, after the server was told."""
    main = threading.main_thread()
    assert threading.current_thread() is main
    had = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt() -> None:
        signal.pthread_kill(main.ident or 0, signal.SIGINT)

    def slow(offer: Offer) -> Any:
        interrupt()
        threading.Event().wait(SOON)

    async def nobody(*_: object) -> None:
        interrupt()
        await asyncio.Event().wait()

    def ring(server: Serving) -> None:
        server.ready(1, timeout=SOON)
        if waiting == "for a round":
            interrupt()
        else:
            with pytest.raises(BelowThreshold):
                server.run_round(deadlines=SOON)

    try:
        with secagg.serve_in_thread(toy(1)) as server:
            if waiting == "for clients":
                monkeypatch.setattr(Service, "ready", nobody)
                with pytest.raises(KeyboardInterrupt):
                    server.ready(timeout=SOON)
            else:
                rung = apart(ring, server)
                with pytest.raises(KeyboardInterrupt):
                    secagg.join(server.url, slow, plan=toy(1))
                rung.result(SOON)
    finally:
        signal.signal(signal.SIGINT, had)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"url": "http://127.0.0.1"}, ParameterError, "ws://HOST:PORT"),
        ({"url": "ws://example.org"}, PolicyRefused, "TLS"),
        ({"fields": [1.0]}, InputError, "by name"),
        ({"fields": {"u": [1.0]}}, InputError, "u"),
        ({"fields": {"u": [float("nan")] * 3}}, RangeError, "NaN"),
        ({"weight": -1}, ParameterError, "weight"),
        ({"name": 3}, InputError, "a name is text"),
        ({"rounds": 0}, ParameterError, "rounds"),
        ({"timeout": 0}, ParameterError, "timeout"),
        ({"patience": -1}, ParameterError, "patience"),
        ({"max_size": 0}, ParameterError, "max_size"),
        ({"plan": "a plan"}, ParameterError, "plan"),
        ({"plan_digest": bytes(32)}, ParameterError, "not of the same plan"),
    ],
)
def test_wrong_use_meets_no_server(
    given: dict[str, Any], error: type[Exception], says: str
) -> None:
    right: dict[str, Any] = {"url": GONE, "fields": {"u": [0.0] * 3}, "plan": toy(2)}
    with pytest.raises(error, match=says):
        secagg.join(**(right | given))


def test_a_coroutine_function_is_for_participate() -> None:
    async def later(offer: Offer) -> Any: ...

    with pytest.raises(ParameterError, match="secagg.participate"):
        secagg.join(GONE, later, plan=toy(2))


def test_nobody_comes() -> None:
    with secagg.serve_in_thread(toy(2)) as server:
        with pytest.raises(LinkTimeout, match="0 of 2 clients"):
            server.ready(timeout=0)


class Torn:
    """A link whose far end never says goodbye."""

    def __init__(self, link: Link) -> None:
        self.send, self.close, self._link = link.send, link.close, link

    async def receive(self) -> bytes:
        try:
            return await self._link.receive()
        except LinkClosed as closed:
            closed.orderly = False
            raise


@pytest.mark.usefixtures("patience")
async def test_a_server_that_is_lost_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a link that lasted longer than the timeout; and the rounds before are kept."""
    opened: list[float] = []
    told: list[str] = []

    @asynccontextmanager
    async def connect(url: str, *, max_size: int) -> AsyncIterator[Link]:
        opened.append(time.monotonic())
        if len(opened) not in (3, 6):
            raise TransportError("nobody answers")
        ours, theirs = memory.pair()
        serving = asyncio.create_task(one_round(ours, len(opened)))
        yield Torn(theirs)
        await serving

    async def one_round(link: Link, number: int) -> None:
        nonce = bytes([number]) * 16
        await link.send(Announce(nonce, 0, (1000,), toy(1).encode(), b"").encode())
        await link.receive()
        await link.send(Over(nonce, None, 1, 0).encode())
        await asyncio.sleep(100.0)
        await link.close()

    monkeypatch.setattr(rejoin, "connect", connect)

    async def inputs(offer: Offer) -> Contribution:
        return Contribution(give(offer))

    participant = Participant(ClientRounds(Consent(toy(1))), inputs)
    outcomes = await rejoin.stay(GONE, participant, timeout=10.0, told=told.append)
    assert [one.round for one in outcomes] == [1, 2]
    assert len(opened) > 8 and opened[3] - opened[2] >= 100.0
    # a pause is at least half of what it may be, and the sum of all before is as long
    assert 3.0 <= opened[-1] - opened[5] - 100.0 <= 10.0
    assert [line.split(":")[0] for line in told] == [
        "nobody answers",
        f"connected to {GONE}".split(":")[0],
        "the server is lost",
        f"connected to {GONE}".split(":")[0],
        "the server is lost",
    ]


def test_the_command_and_the_function_come_back_in_one_way() -> None:
    """One loop of attempts: what one of them learns, the other has."""
    root = Path(secagg.__file__).parent
    for user in ("cli/join.py", "drive/blocking.py"):
        assert "stay(" in (root / user).read_text() and "Backoff" not in (root / user).read_text()
