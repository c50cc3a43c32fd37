"""GF(p) for the Mersenne prime p = 2^61 - 1, in uint64 arithmetic without 128-bit products.

Every element in and out is canonical, below p. Not constant time: only an attacker on the same
machine could measure it. See specs/10-secagg.md §6.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from secagg.kernels.jit import kernel

# Theory of operation.
#
# Seeds and keys are shared over a field large enough that a wrong share is no accident and small
# enough that an element fits a register. A seed of 32 bytes is cut into limbs of at most 56 bits,
# each a polynomial of its own over GF(2^61 - 1). One field of more than 256 bits would do as well,
# and pay for it with arithmetic on big integers: a thousand times slower, as measured.
#
# 2^61 = 1 modulo p, so reducing is folding: the bits from 61 on are added to those below. numba has
# no product of 128 bits, so `multiply` splits both factors at 2^31 and keeps every partial sum
# below 2^64: that is what 61 bits leave room for. Sums of two canonical elements stay below 2^62,
# so one folding and one comparison make them canonical again.
#
# Every value between two calls is canonical, so that equality is equality of bits, which the
# decoder of wrong shares relies on, and the Writer too: an element has one encoding.
#
# Interpolation is split in two, because the points are the same for all secrets of a session and
# the shares are not: `barycentric` costs O(t^2) once for a set of points, `lagrange` O(t) for each
# place at which to evaluate, and `combine` t multiplications for each limb of each secret. One
# inversion is some 120 multiplications, so all the inverses of a set are made from one
# (Montgomery's trick).
#
# `syndromes` is the check matrix of the Reed-Solomon code that shares are words of: all its rows
# are zero iff the shares lie on a polynomial of that degree, whichever limb they are of. Decoding
# beyond that is rare, and Python: secagg.decoding.
#
# Impossible, and not looked for: two equal points and the point 0 (secagg.shamir refuses both: a
# holder at 0 would be handed the secret), and shares at or above p (the decoders of messages refuse
# them, §6).

Elements = npt.NDArray[np.uint64]

P = np.uint64((1 << 61) - 1)
_ONE = np.uint64(1)
_BITS = np.uint64(61)
_SPLIT = np.uint64(31)
_LOW = np.uint64((1 << 31) - 1)
_MIDDLE = np.uint64(30)
_MIDDLE_LOW = np.uint64((1 << 30) - 1)


@kernel
def multiply(a: np.uint64, b: np.uint64) -> np.uint64:
    """a b mod p.

    With a = a1 2^31 + a0, b = b1 2^31 + b0 and a1 b0 + a0 b1 = m1 2^30 + m0 (no sum reaches
    2^64), a b = a1 b1 2^62 + m1 2^61 + m0 2^31 + a0 b0, and 2^61 = 1 modulo p.
    """
    a1, a0 = a >> _SPLIT, a & _LOW
    b1, b0 = b >> _SPLIT, b & _LOW
    middle = a1 * b0 + a0 * b1
    total = (
        ((a1 * b1) << _ONE) + (middle >> _MIDDLE) + ((middle & _MIDDLE_LOW) << _SPLIT) + a0 * b0
    )  # below 2^61 + 2^32 + 2^61 + 2^62 < 2^64
    return reduce(total)


@kernel
def reduce(a: np.uint64) -> np.uint64:
    """a mod p, for any a below 2^64: one folding leaves at most p + 7."""
    folded = (a & P) + (a >> _BITS)
    if folded >= P:
        folded -= P
    return folded


@kernel
def inverse(a: np.uint64) -> np.uint64:
    """a^(p - 2) mod p; 0 for 0."""
    result = _ONE
    exponent = P - np.uint64(2)
    # Fermat, not Euclid: as fast for one inverse, and its steps are the same whatever `a` is
    while exponent:
        if exponent & _ONE:
            result = multiply(result, a)
        a = multiply(a, a)
        exponent >>= _ONE
    return result


@kernel
def evaluate(out: Elements, coefficients: Elements, points: Elements) -> None:
    """out[i, l] = sum over j of coefficients[j, l] points[i]^j.

    Shapes (n, limbs), (t, limbs) and (n,). The limbs are the inner loop of Horner's rule: they
    do not depend on one another, so the processor overlaps their multiplications.
    """
    degree = coefficients.shape[0] - 1
    for i in range(points.size):
        for limb in range(out.shape[1]):
            out[i, limb] = coefficients[degree, limb]
        for power in range(degree - 1, -1, -1):
            for limb in range(out.shape[1]):
                product = multiply(out[i, limb], points[i])
                out[i, limb] = reduce(product + coefficients[power, limb])


@kernel
def barycentric(out: Elements, points: Elements, scratch: Elements) -> None:
    """out[i] = 1 / product over j != i of (points[i] - points[j]); distinct points.

    All three of one length. One inversion for all: of the product of the products.
    """
    for i in range(points.size):
        scratch[i] = _ONE
        for j in range(points.size):
            if j != i:
                scratch[i] = multiply(scratch[i], reduce(points[i] + (P - points[j])))
    running = _ONE
    for i in range(points.size):
        out[i] = running
        running = multiply(running, scratch[i])
    # distinct points, so no factor is 0 and the product has an inverse; walking back, each step
    # takes its own factor off what is inverted
    running = inverse(running)
    for i in range(points.size - 1, -1, -1):
        out[i] = multiply(out[i], running)
        running = multiply(running, scratch[i])


@kernel
def lagrange(out: Elements, points: Elements, weights: Elements, at: Elements) -> None:
    """out[a, i] = weights[i] times the product over j != i of (at[a] - points[j]).

    weights: of `barycentric`. Row a then gives f(at[a]) as a sum of f(points[i]), for every f of
    degree < points.size. Shapes (a, t), (t,), (t,) and (a,).
    """
    # products of all but one, without dividing by it: those before it times those after it, so
    # that evaluating at one of the points itself is no special case
    for a in range(at.size):
        before = _ONE
        for i in range(points.size):
            out[a, i] = multiply(before, weights[i])
            before = multiply(before, reduce(at[a] + (P - points[i])))
        after = _ONE
        for i in range(points.size - 1, -1, -1):
            out[a, i] = multiply(out[a, i], after)
            after = multiply(after, reduce(at[a] + (P - points[i])))


@kernel
def syndromes(out: Elements, shares: Elements, points: Elements, weights: Elements) -> None:
    """out[k, l] = sum over i of weights[i] points[i]^k shares[i, l].

    weights: of `barycentric`. All are 0 iff each limb is a polynomial of degree < m - k for every
    row k. Shapes (rows, limbs), (m, limbs), (m,) and (m,).
    """
    for k in range(out.shape[0]):
        for limb in range(out.shape[1]):
            out[k, limb] = np.uint64(0)
    for i in range(points.size):
        factor = weights[i]
        for k in range(out.shape[0]):
            for limb in range(out.shape[1]):
                out[k, limb] = reduce(out[k, limb] + multiply(factor, shares[i, limb]))
            factor = multiply(factor, points[i])


@kernel
def combine(out: Elements, shares: Elements, weights: Elements) -> None:
    """out[l] = sum over i of weights[i] shares[i, l]. Shapes (limbs,), (t, limbs) and (t,)."""
    for limb in range(out.size):
        out[limb] = np.uint64(0)
    for i in range(weights.size):
        for limb in range(out.size):
            out[limb] = reduce(out[limb] + multiply(weights[i], shares[i, limb]))
