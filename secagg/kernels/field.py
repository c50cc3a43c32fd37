"""GF(p) for the Mersenne prime p = 2^61 - 1, in uint64 arithmetic without 128-bit products.

Every element in and out is canonical, below p. Not constant time: only an attacker on the same
machine could measure it. See specs/10-secagg.md §6.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from secagg.kernels.jit import kernel

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
def lagrange_at_zero(out: Elements, points: Elements) -> None:
    """out[i] = product over j != i of points[j] / (points[j] - points[i]); distinct points."""
    for i in range(points.size):
        above, below = _ONE, _ONE
        for j in range(points.size):
            if j != i:
                above = multiply(above, points[j])
                below = multiply(below, reduce(points[j] + (P - points[i])))
        out[i] = multiply(above, inverse(below))


@kernel
def combine(out: Elements, shares: Elements, weights: Elements) -> None:
    """out[l] = sum over i of weights[i] shares[i, l]. Shapes (limbs,), (t, limbs) and (t,)."""
    for limb in range(out.size):
        out[limb] = np.uint64(0)
    for i in range(weights.size):
        for limb in range(out.size):
            out[limb] = reduce(out[limb] + multiply(weights[i], shares[i, limb]))
