"""What does active mode cost? The same round in both modes, and what its signatures should cost.

n = 100, 1,000 and 10,000 of 10 % corrupt and 10 % dropped, 100,000 elements of 16 bits; nobody
drops. One process has all machines of a session and times their calls alone, in CPU of one thread;
what travels between them, inputs and the check of the sum are not counted, and every sum is
compared with plain integers. Each mode has the parameters that `plan` chooses for it.

Up to 1,000 clients all are measured. Of 10,000 fifty are, and the whole server: the others do all
the same work but for verifying signatures, which changes no byte that they say.

Bytes of a client that signs are compared with the plan's. Seconds with a prediction: what the same
calls took without verifying, and 2k + q + 4 verifications a client, 4n + q a server, at what one
takes here (q of them one agreement each; 4: of U1, U2, its list and U3).

Of each n: client, server: active CPU / semi-honest. up, down: bytes alike. verifications: measured
/ predicted CPU of the client.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np

from bench.common import Missing, Ratio, Row, Selection, best_of, main, pick, progress
from secagg.crypto import sign
from secagg.errors import IntegrityError
from secagg.fields import FixedPoint
from secagg.layout import RingVector
from secagg.mask import add_streams
from secagg.plans import choose
from secagg.plans.plan import Plan
from secagg.protocol import OneServer, Session
from secagg.roster import Roster
from secagg.types import SERVER, PartyId, Seed, system_randomness

NAME = "active"

SIZES = (100, 1000, 10_000)
GRID = [{"n": n, "d": 100_000} for n in SIZES]
WARM = {"n": 6, "d": 100}
BITS = 16
ALL, SAMPLE = 1000, 50
"""Up to so many clients all are measured, and of more so many."""
_MODES = ("semi-honest", "active")


def rows(selection: Selection) -> Iterator[Row]:
    _row(**WARM)  # what compiles or loads kernels is not counted
    for case in selection.cases(GRID):
        yield case | _row(**case)


def _row(n: int, d: int) -> Row:
    found: Row = {"measured_clients": n if n <= ALL else SAMPLE}
    for mode in _MODES:
        plan = choose.plan(
            clients=n,
            fields={"update": FixedPoint(d, 1.0, BITS)},
            corrupt=0.1,
            dropout=0.1,
            adversary=mode,  # type: ignore[arg-type]
        )
        name = mode.replace("-", "_")
        measured = _measured(plan, f"n = {n:,}, {mode}")
        found |= {f"{name}_{key}": value for key, value in measured.items()}
    verification = _verification_ms()
    k, q = found["active_degree"], found["active_quorum"]
    count = 2 * k + q + 4
    unverified = found["active_client_ms"] - found["active_client_verifying_ms"]
    return found | {
        "verification_ms": verification,
        "client_verifications": count,
        "predicted_client_ms": round(unverified + count * verification, 3),
        "exact": True,
    }


def _verification_ms() -> float:
    """One, of a message as long as those of a session are."""
    secret = Seed(bytes(32))
    public, message = sign.public_key(secret), bytes(250)
    signature = sign.sign(secret, message)
    timing = best_of(lambda: sign.verify(public, message, signature))
    return round(1000 * timing.cpu, 4)


def _measured(plan: Plan, what: str) -> Row:
    gc.collect()
    with progress(what) as tell:
        run = _Run(plan, tell)
        run.run()
    bytes_up, bytes_down = max(run.up.values()), max(run.down.values())
    signed = bool(plan.suite.signed)
    return {
        "protocol": plan.protocol,
        "degree": plan.degree,
        "threshold": plan.threshold,
        "quorum": getattr(plan.params, "quorum", 0),
        "signers": getattr(plan.params, "signers", 0),
        "client_ms": round(1000 * run.seconds["client"] / len(run.sample), 3),
        "client_verifying_ms": round(1000 * run.verifying["client"] / len(run.sample), 3),
        "server_ms": round(1000 * run.seconds["server"], 1),
        "server_verifying_ms": round(1000 * run.verifying["server"], 1) if signed else 0.0,
        "upload_bytes": bytes_up,
        "upload_as_planned": bytes_up == plan.upload_bytes,
        "download_bytes": bytes_down,
        "download_as_planned": bytes_down == plan.cost.download_bytes,
        "transcript_bytes": run.transcript,
    }


@dataclass
class _Run:
    """One session, every call of the measured timed. sample: the clients that are."""

    plan: Plan
    tell: Callable[[str, int, int], None]
    seconds: dict[str, float] = field(default_factory=lambda: {"client": 0.0, "server": 0.0})
    verifying: dict[str, float] = field(default_factory=lambda: {"client": 0.0, "server": 0.0})
    up: dict[PartyId, int] = field(default_factory=dict)
    down: dict[PartyId, int] = field(default_factory=dict)
    transcript: int = 0

    def __post_init__(self) -> None:
        n = self.plan.threat.clients
        self.parties = [PartyId(i) for i in range(n)]
        few = np.linspace(0, n - 1, SAMPLE).astype(int).tolist()
        self.sample = set(self.parties if n <= ALL else map(PartyId, few))
        self._seeds = {SERVER: Seed(os.urandom(32))}
        self._seeds |= {party: Seed(os.urandom(32)) for party in self.parties}
        self.session = self._session()
        self.expected = [np.zeros(s.length, np.uint64) for s in self.plan.layout.segments]
        family = self.plan.info.family
        if not isinstance(family, OneServer):
            raise IntegrityError("a benchmark of one server")
        signed = self.plan.suite.signed
        self.server: Any = family.server(
            self.session, expander=add_streams, signing=self._seeds[SERVER] if signed else None
        )
        self.clients: dict[PartyId, Any] = {
            party: family.client(
                self.session,
                party,
                randomness=system_randomness,
                expander=add_streams,
                signing=self._seeds[party] if signed else None,
            )
            for party in self.parties
        }

    def _session(self) -> Session:
        if not self.plan.suite.signed:
            return self.plan.session(os.urandom(16), bytes(32))
        keys = tuple(sign.public_key(self._seeds[party]) for party in self.parties)
        roster = Roster(1, 1 << 40, sign.public_key(self._seeds[SERVER]), keys)
        return self.plan.session(os.urandom(16), bytes(32), roster=roster)

    def run(self) -> None:
        self._timed(SERVER, self.server.start)
        for party, client in self.clients.items():
            self._timed(party, client.start)
        while not self.server.done:
            self._upload()
            for job in self._timed(SERVER, self.server.jobs):
                value = self._timed(SERVER, job)
                self._timed(SERVER, self.server.finish, job, value)
            if not self.server.done and self.server.need.name != "JOBS":
                self._timed(SERVER, self.server.close_phase)
            self._download()
        self._check(self.server.result().vector)

    def _upload(self) -> None:
        """A client's input is made when it is due, and only then."""
        for done, (party, client) in enumerate(self.clients.items()):
            if self.server.phase == "masked-input":
                self._timed(party, client.set_input, self._drawn(), bytes(32))
            for message in self._timed(party, client.outgoing):
                self.up[party] = self.up.get(party, 0) + len(message.data)
                self._timed(SERVER, self.server.receive, party, message.data)
            client.acknowledged()
            if not done % 50:
                self.tell(self.server.phase, done, len(self.clients))

    def _download(self) -> None:
        messages = self._timed(SERVER, self.server.outgoing)
        if self.plan.suite.signed:
            self.transcript += sum(map(len, self.server.transcript()))
        for message in messages:
            self.down[message.to] = self.down.get(message.to, 0) + len(message.data)
            if not self.clients[message.to].done:
                self._timed(message.to, self.clients[message.to].receive, SERVER, message.data)

    def _drawn(self) -> RingVector:
        drawn = []
        for number, segment in enumerate(self.plan.layout.segments):
            size = segment.length * segment.group.dtype.itemsize
            lane = np.frombuffer(os.urandom(size), segment.group.dtype)
            lane = segment.group.reduce(lane)
            self.expected[number] += lane
            drawn.append(lane)
        return tuple(drawn)

    def _check(self, vector: RingVector) -> None:
        """Sums of fewer than 2^32 numbers below 2^32: plain 64-bit integers hold them."""
        for segment, lane, plain in zip(
            self.plan.layout.segments, vector, self.expected, strict=True
        ):
            if not np.array_equal(lane, segment.group.reduce(plain.astype(segment.group.dtype))):
                raise IntegrityError("the sum is not that of the inputs, and no figure counts")

    def _timed(self, party: PartyId, work: Callable[..., Any], *given: Any) -> Any:
        whose = "server" if party == SERVER else "client"
        if whose == "client" and party not in self.sample:
            with patch.object(sign, "verify", _believed):
                return work(*given)
        with self._metered(whose):
            return work(*given)

    @contextmanager
    def _metered(self, whose: str) -> Iterator[None]:
        """Counts the call, and beside it what of it was verifying."""
        verify, spent = sign.verify, 0.0

        def counted(*given: Any) -> None:
            nonlocal spent
            started = time.thread_time()
            try:
                verify(*given)
            finally:
                spent += time.thread_time() - started

        with ExitStack() as stack:
            stack.enter_context(patch.object(sign, "verify", counted))
            started = time.thread_time()
            yield
            self.seconds[whose] += time.thread_time() - started
        self.verifying[whose] += spent


def _believed(public: bytes, message: bytes, signature: bytes) -> None:
    """What a client that is not measured does in the place of verifying."""


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    """Of each size its own, as they grow with it."""
    found: dict[str, Ratio] = {}
    for n in SIZES:
        row = pick(rows, n=n)
        found |= {f"{name}_{n}": _ratio(row, ours, theirs) for name, ours, theirs in _RATIOS}
    return found


_RATIOS = (
    ("client", "active_client_ms", "semi_honest_client_ms"),
    ("server", "active_server_ms", "semi_honest_server_ms"),
    ("up", "active_upload_bytes", "semi_honest_upload_bytes"),
    ("down", "active_download_bytes", "semi_honest_download_bytes"),
    ("verifications", "active_client_ms", "predicted_client_ms"),
)


def _ratio(row: Row | None, ours: str, theirs: str) -> Ratio:
    if row is None:
        return Missing("needs the row of its size")
    return float(row[ours] / row[theirs])


if __name__ == "__main__":
    main(NAME)
