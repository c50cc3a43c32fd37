"""The rates that secagg_protocols.secagg.costs takes, on this machine: the library's own functions,
timed one by one.

At the sizes that are asked about where they matter. What is left to the machines, parsing and
look-ups, has no function to time: see bench.glue.
"""

from __future__ import annotations

import operator
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from bench.glue import Seconds, with_glue
from secagg import records, shamir
from secagg.crypto import labels
from secagg.crypto.agree import KeyPair, shared_secret
from secagg.crypto.fingerprint import Fingerprints
from secagg.errors import ParameterError
from secagg.fields import FixedPoint
from secagg.kernels import field
from secagg.kernels.pack import pack, unpack_add
from secagg.layout import Layout, Segment
from secagg.mask import add_streams
from secagg.plans.plan import Plan
from secagg.ring import Ring
from secagg.schema import Schema
from secagg.types import PartyId, Seed, SessionId
from secagg.wire.codec import Reader, Writer, encode_bitmap
from secagg.wire.vector import write_vector
from secagg_protocols.secagg import binding, keys
from secagg_protocols.secagg.costs import Glue, Rates
from secagg_protocols.secagg.jobs import (
    PEERS_PER_JOB,
    SignedKey,
    agree_jobs,
    mask_jobs,
)
from secagg_protocols.secagg.keys import Endpoint
from secagg_protocols.secagg.messages import PAIR_SIZE
from secagg_protocols.secagg.params import SecAggParams

STREAM = 1 << 28
"""Bytes of key stream in one go: far more than caches hold, and 30 ms of the best AES units."""

MEMBERS = 10_000
PAIRS = 1 << 11
REPEATS, AT_LEAST = 9, 0.02
"""Goes of which the best counts, and the CPU seconds that each of them fills with calls."""
CACHES = 1 << 26
"""Bytes that push everything out of the caches that one core does not share."""

_SESSION = SessionId(bytes(32))


def calibrate(plan: Plan, threads: int) -> Rates:
    """Takes some seconds. threads: for the server's jobs.

    Raises ParameterError for a protocol other than SecAgg and SecAgg+.
    """
    params, layout, schema = plan.params, plan.layout, plan.schema
    if not isinstance(params, SecAggParams):
        raise ParameterError(f"there is a model of SecAgg and SecAgg+, not of {plan.protocol}")
    lanes = {segment.group.lane_bits: segment for segment in layout.segments}
    data = os.urandom(layout.packed_size)  # zeros would all be one page of memory
    known = Fingerprints(os.urandom)
    bare = Rates(
        **_crypto(),
        **_sharing(params),
        **_sets(),
        **_vectors(schema),
        mask={bits: _masking(s, params.degree + 1) for bits, s in lanes.items()},
        hash=_cold(lambda: known.of(data)) / len(data),
        threads=threads,
        pair_job=_pair_job(params.degree, threads),
        mask_job={bits: _mask_job(s, threads) for bits, s in lanes.items()},
        client=Glue({}, {}),
        server=Glue({}, {}),
    )
    return with_glue(bare, Ring(layout.ring_bits), complete=params.complete)


Clock = Callable[[], float]


def _best(work: Callable[[], object], clock: Clock = time.thread_time) -> float:
    """Seconds of one call. The clock is this thread's, so that others at work on the machine
    count as little as they can."""
    work()
    calls = max(1, round(AT_LEAST / max(_go(work, 1, clock), 1e-9)))
    return min(_go(work, calls, clock) for _ in range(REPEATS)) / calls


def _go(work: Callable[[], object], calls: int, clock: Clock) -> float:
    started = clock()
    for _ in range(calls):
        work()
    return clock() - started


def _cold(work: Callable[[], object]) -> float:
    """The same when other work has been through the caches meanwhile, as at a server it has."""
    others = np.ones(CACHES, np.uint8)

    def evicted() -> float:
        others[::64] += 1
        return _go(work, 1, time.thread_time)

    return min(evicted() for _ in range(2 * REPEATS))


def _crypto() -> Seconds:
    """With the contexts that the protocol gives them."""
    mine, theirs = KeyPair.from_random(os.urandom(32)), KeyPair.from_random(os.urandom(32))
    here, there = Endpoint(1, mine.public), Endpoint(2, theirs.public)
    shared, data = shared_secret(mine.secret, theirs.public), bytes(PAIR_SIZE)
    context = (_SESSION, 1, mine.public, 2, theirs.public, 0)
    sealed = keys.seal_pair(shared, _SESSION, here, there, data)
    derive = _best(lambda: labels.derive(shared, labels.MASK, *context))
    seal = _best(lambda: keys.seal_pair(shared, _SESSION, here, there, data))
    unseal = _best(lambda: keys.unseal_pair(shared, _SESSION, here, there, sealed))
    return {
        "key_pair": _best(lambda: KeyPair.from_random(os.urandom(32))),
        "agree": _best(lambda: shared_secret(mine.secret, theirs.public)),
        "derive": derive,
        "seal": max(0.0, seal - derive),
        "unseal": max(0.0, unseal - derive),
    }


def _sharing(params: SecAggParams) -> Seconds:
    """At the plan's own threshold: an inversion per holder is a large part of few weights."""
    t, points, secret = params.threshold, list(range(1, params.degree + 2)), Seed(bytes(32))
    shares = dict(zip(points, shamir.split(secret, t, points, os.urandom), strict=True))
    weights, scratch = np.empty(t, np.uint64), np.empty(t, np.uint64)
    chosen = np.array(points[:t], np.uint64)
    single = _best(lambda: shamir.combine({1: bytes(shamir.SHARE_SIZE)}, 1))
    rebuilt = _best(lambda: shamir.combine(shares, t))  # its weights are remembered
    split = _best(lambda: shamir.split(secret, t, points, os.urandom))
    return {
        "split_term": split / (shamir.LIMBS * t * len(points)),
        "combine": single,
        "combine_share": max(0.0, rebuilt - single) / t,
        "weight_term": _best(lambda: field.barycentric(weights, chosen, scratch)) / t**2,
    }


def _sets() -> Seconds:
    members, offer, root = frozenset(range(MEMBERS)), bytes(32), bytes(32)
    bitmap = encode_bitmap(members, MEMBERS)

    def bind() -> None:
        ids = sorted(map(PartyId, members))
        binding.session_id(offer, MEMBERS, ids, root)

    return {
        "member": _best(lambda: Reader(bitmap).bitmap(MEMBERS, "members")) / MEMBERS,
        "bound": _best(bind) / MEMBERS,
    }


def _vectors(schema: Schema) -> Seconds:
    """Per element, at the plan's own length: fresh memory is a large part of a long vector."""
    layout = schema.layout
    values = {name: _values(f) for name, f in schema.fields}
    vector = records.encode(schema, values, 1, os.urandom).vector
    widths = [segment.group.width for segment in layout.segments]
    messages = [pack(lane, w) for lane, w in zip(vector, widths, strict=True)]
    total = layout.zeros()

    def encode() -> None:
        layout.check(records.encode(schema, values, 1, os.urandom).vector)

    def pack_all() -> None:
        write_vector(Writer(), layout, vector).finish()

    def unpack_all() -> None:
        for data, width, lane in zip(messages, widths, total, strict=True):
            unpack_add(data, width, lane)

    seconds = {
        "encode": _best(encode),
        "pack": _best(pack_all),
        "unpack": _cold(unpack_all),
        "decode": _best(lambda: records.decode(schema, vector, 1)),
    }
    return {name: whole / layout.length for name, whole in seconds.items()}


def _values(given: Any) -> Any:
    if not isinstance(given, FixedPoint):
        return np.zeros(given.length, np.int64)
    return np.random.default_rng(0).uniform(-given.clip, given.clip, given.length)


def _masking(segment: Segment, streams: int) -> float:
    """A client's way: all keys in one call."""
    lane = np.zeros(segment.length, segment.group.dtype)
    number = min(streams, max(2, STREAM // lane.nbytes))
    many, signs = os.urandom(32 * number), bytes(number)
    return _best(lambda: add_streams(lane, many, signs)) / (number * lane.nbytes)


def _mask_job(segment: Segment, threads: int) -> float:
    """The server's way, and enough keys to give every thread the same to do."""
    size = segment.length * segment.group.lane_bits // 8
    number = max(8, STREAM // size)
    signed = [[SignedKey(os.urandom(32), 1) for _ in range(number)]]
    jobs = [job for _, job in mask_jobs(Layout((segment,)), signed, add_streams)]
    return _best(lambda: _run(jobs, threads), clock=time.perf_counter) / (number * size)


def _pair_job(degree: int, threads: int) -> float:
    own = KeyPair.from_random(os.urandom(32))
    number = min(degree, PEERS_PER_JOB)
    publics = [KeyPair.from_random(os.urandom(32)).public for _ in range(number)]
    peers = [Endpoint(i, public) for i, public in enumerate(publics)]
    dropped, times = Endpoint(number, own.public), max(1, PAIRS // number)
    jobs = [
        job
        for _ in range(times)
        for job in agree_jobs(_SESSION, dropped, own.secret, peers, segments=1)
    ]
    return _best(lambda: _run(jobs, threads), clock=time.perf_counter) / (times * number)


def _run(jobs: list[Any], threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(operator.call, jobs):
            pass
