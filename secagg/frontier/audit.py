"""Does the noise hide what it should? Canaries in one sum, and how well it tells that they are.

Every client of one sum holds a random direction of the full norm, its canary, and everything that
clients and the reader of a sum compute is computed: clipping, rotation, rounding, noise, the sum
modulo the ring, decoding. Then each canary's *rounded integers* are held against the sum: their
inner product, over their length and the root mean square of the sum's elements. A direction that is
not in the sum scores as a standard normal, whatever is in it; one that is scores higher by
1 / multiplier of the noise. So the mean over all canaries measures the multiplier, and a Gaussian
mechanism's epsilon is a function of that.

One-shot canaries are those of Andrew et al. (2023), who score along the direction that the client
meant. What was added are the rounded integers, and only along them one sees that rounding has made
them longer.

What it says: with `confidence`, the mechanism is no better than (lower, delta). The noise parts of
the scores are those of nearly orthogonal directions; that they are independent and normal is taken
for granted, as a sum of many elements is. What it cannot say: that the mechanism is good. It is a
test of this code, not a proof; the proofs are in specs/40-privacy.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from secagg.arguments import choice, integer
from secagg.bounded import round_vector
from secagg.dp import gaussian
from secagg.dp.calibration import Shape, kind, noises
from secagg.dp.release import Claim
from secagg.errors import ParameterError
from secagg.fields import Vector
from secagg.layout import RingVector
from secagg.noise import Noise
from secagg.plans import choose
from secagg.privacy import Privacy
from secagg.records import decode, encode
from secagg.schema import Schema
from secagg.shown import short
from secagg.types import Randomness

FIELD = "canary"
CONFIDENCE = 0.95
_ONE_SIDED = 1.6448536269514722
"""What a standard normal is below with that confidence."""
_FEWEST, _MOST = 50, 10_000

Int64s = npt.NDArray[np.int64]

FAULTS = ("none", "half-noise", "half-survivors", "duplicate", "forgotten-inflation")
"""Mistakes that a mechanism may have. Of noise: each share half as wide; shares of half the clients
missing. Of data: each canary held by two clients, and counted as one client's. Of accounting: noise
made for the norm before rounding."""


@dataclass(frozen=True, slots=True)
class Audit:
    """epsilon, delta: what was promised. point: the epsilon that the sum speaks for; lower: what
    the mechanism's is not below, with the confidence. score: the mean over the canaries, of which a
    canary that is not there has 0. inflation: of the norm, by rounding, in the mean."""

    epsilon: float
    delta: float
    point: float
    lower: float
    confidence: float
    score: float
    inflation: float
    canaries: int
    length: int
    bits: int
    fault: str

    __repr__ = short

    @property
    def flagged(self) -> bool:
        """Whether the promise is broken."""
        return self.lower > self.epsilon


def audit(
    epsilon: float = 2.0,
    delta: float = 1e-5,
    *,
    canaries: int = 400,
    length: int = 16_384,
    bits: int = 16,
    seed: int = 0,
    fault: str = "none",
) -> Audit:
    """One sum of so many canaries, by a plan for that epsilon and delta. Raises ParameterError.

    length: elements of a canary; of many more than there are canaries, so that these hardly meet.
    fault: one of FAULTS, which a good audit flags: that what it would find, it does find.
    """
    fault = choice("--fault", fault, FAULTS)
    canaries = integer("--canaries", canaries, _FEWEST, _MOST)
    seed = integer("--seed", seed, 0, (1 << 63) - 1)
    field = Vector(integer("--length", length, canaries, 1 << 24), 1.0, bits)
    schema = _schema(field, Privacy(epsilon, delta), canaries * (1 + (fault == "duplicate")), fault)
    truth = np.random.default_rng(seed)
    rotation, total, rounded = truth.bytes(32), schema.layout.zeros(), list[Int64s]()
    for number in range(canaries):
        x = truth.normal(size=length)
        x /= np.linalg.norm(x)
        keys = [truth.bytes(32) for _ in range(schema.clients // canaries)]
        reports = [report(schema, x, rotation, key) for key in keys]
        rounded.append(reports[0].rounded)
        for one in reports:
            bare = fault == "half-survivors" and number % 2 == 1
            _add(schema, total, one.bare(schema) if bare else one.vector)
    levels = decode(schema, schema.layout.reduce(total), schema.clients, rotation).levels[FIELD]
    score = float(np.mean(scores(rounded, levels)))
    strength = Decimal(max(0.0, score - _ONE_SIDED / math.sqrt(canaries))) ** 2
    lengths = [math.sqrt(float(one @ one)) for one in rounded]
    return Audit(
        epsilon=epsilon,
        delta=delta,
        point=_epsilon(delta, Decimal(max(0.0, score)) ** 2),
        lower=_epsilon(delta, strength),
        confidence=CONFIDENCE,
        score=score,
        inflation=float(np.mean(lengths)) / field.levels,
        canaries=canaries,
        length=length,
        bits=field.bits,
        fault=fault,
    )


@dataclass(frozen=True)
class Report:
    """vector: what a client gives to be masked. rounded: its integers before the noise."""

    vector: RingVector
    rounded: Int64s

    __repr__ = short

    def bare(self, schema: Schema) -> RingVector:
        """The vector as it would be of a client that adds no noise."""
        slot = schema.slots[0]
        vector = tuple(lane.copy() for lane in self.vector)
        bits = self.rounded.view(np.uint64) & np.uint64(schema.ring_of(slot).mask)
        vector[slot.segment][slot.start : slot.start + slot.length] = bits
        return vector


def report(schema: Schema, x: npt.NDArray[np.float64], rotation: bytes, key: bytes) -> Report:
    """One client's, of the one field. key: 32 bytes of which all that it draws is made: rounding
    is what it draws for first, and so can be done a second time."""
    field = dict(schema.given)[FIELD]
    if not isinstance(field, Vector):
        raise ParameterError("canaries are Vectors")
    vector = encode(schema, {FIELD: x}, 1, _stream(key), seed=rotation).vector
    return Report(vector, round_vector(x, field, rotation, _stream(key))[0])


def scores(rounded: Sequence[Int64s], levels: Int64s) -> list[float]:
    """Of each canary's integers along those of a sum."""
    total = levels.astype(np.float64)
    unit = total / math.sqrt(float(total @ total) / total.size)
    return [float(one @ unit) / math.sqrt(float(one @ one)) for one in rounded]


def _schema(field: Vector, asked: Privacy, clients: int, fault: str) -> Schema:
    """Of a plan; a fault of the noise is one that no plan's reader would let pass."""
    schema = choose.plan(
        clients=clients, corrupt=0, dropout=0, servers=2, fields={FIELD: field}, privacy=asked
    ).schema
    terms = schema.privacy
    if terms is None:
        raise ParameterError("a plan with privacy= has terms")
    match fault:
        case "half-noise":
            variance = terms.noises[0].variance / 4
            made: tuple[Noise, ...] = (Noise(kind(True, variance), variance),)
        case "forgotten-inflation":
            shape = Shape(field.length, field.levels**2, True)
            made = noises([shape], Claim(asked.epsilon, asked.delta), clients)
        case _:
            return schema
    return Schema.of({FIELD: field}, clients, privacy=replace(terms, noises=made))


def _add(schema: Schema, total: RingVector, vector: RingVector) -> None:
    for segment, lane, other in zip(schema.layout.segments, total, vector, strict=True):
        segment.group.add(lane, other)


def _epsilon(delta: float, strength: Decimal) -> float:
    return float(gaussian.epsilon(Decimal(delta), strength)) if strength else 0.0


def _stream(key: bytes) -> Randomness:
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    return lambda size: stream.update(bytes(size))
