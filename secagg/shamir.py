"""t-of-n secret sharing of 32 bytes over GF(2^61 - 1) (specs/10-secagg.md §6).

A secret is five limbs: limb j < 4 is bytes [7j, 7j + 7) and limb 4 bytes [28, 32), each read
little-endian. Limb j of the holder at x is f_j(x), where f_j is a polynomial of degree t - 1 with
the limb as f_j(0) and uniform other coefficients, 0 included. A share is its five limbs as u64
big-endian, each below p: 40 bytes. The x is assigned by the protocol and never travels.

Sharing hides, it does not authenticate: a wrong share gives a wrong secret, and the caller checks
what it rebuilt against what the dealer published.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from secagg.errors import CryptoError, InvalidShare, ParameterError
from secagg.kernels import field
from secagg.types import Buffer, Randomness, Seed

P = (1 << 61) - 1
LIMBS = 5
LIMB_BYTES = (7, 7, 7, 7, 4)
SHARE_SIZE = 8 * LIMBS
_SHARE = f">{LIMBS}Q"
_BEYOND = "a limb of a share is not below 2^61 - 1"


def split(
    secret: Seed, threshold: int, holders: Sequence[int], randomness: Randomness
) -> list[bytes]:
    """One share of SHARE_SIZE bytes per holder, in their order; any `threshold` rebuild the secret.

    holders: distinct x with 1 <= x < p. threshold: 1 to len(holders). ParameterError otherwise.

    Draws one call of 40 (threshold - 1) bytes: for each limb, for each power from 1 up, 8 bytes
    big-endian reduced to their low 61 bits. A result of p is refused and redrawn by a call of
    8 bytes, in the same order, so that test vectors can fix every coefficient.
    """
    _check_holders(threshold, holders)
    coefficients = np.empty((threshold, LIMBS), np.uint64)
    coefficients[0] = _limbs(secret)
    coefficients[1:] = _uniform((LIMBS, threshold - 1), randomness).T
    shares = np.empty((len(holders), LIMBS), np.uint64)
    field.evaluate(shares, coefficients, np.array(holders, np.uint64))
    encoded = shares.astype(">u8").tobytes()
    return [encoded[i : i + SHARE_SIZE] for i in range(0, len(encoded), SHARE_SIZE)]


def check_share(data: Buffer) -> None:
    """InvalidShare unless the data is 40 bytes of five canonical limbs."""
    _check_size(data)
    if max(struct.unpack(_SHARE, data)) >= P:
        raise InvalidShare(_BEYOND)


def check_shares(data: Buffer) -> None:
    """The same of many shares, one after the other; the empty sequence passes."""
    if len(data) % SHARE_SIZE:
        raise InvalidShare(f"shares are {SHARE_SIZE} bytes each, not {len(data)} in all")
    _limbs_of(data)


def combine(shares: Mapping[int, bytes], threshold: int) -> Seed:
    """The secret, from the `threshold` shares of smallest x; shares maps x to share.

    Raises InvalidShare for too few shares, an x outside 1..p-1, a share that check_share refuses,
    or a rebuilt limb out of its range: then some share is wrong, or the dealer's polynomials are.
    """
    if threshold < 1:
        raise ParameterError(f"a threshold is at least 1, not {threshold}")
    if len(shares) < threshold:
        raise InvalidShare(f"{threshold} shares are needed, {len(shares)} given")
    if any(not _is_point(x) for x in shares):
        raise InvalidShare("a holder's x is outside 1 to 2^61 - 2")
    chosen = tuple(sorted(shares)[:threshold])
    limbs = np.empty(LIMBS, np.uint64)
    field.combine(limbs, _parse([shares[x] for x in chosen]), weights(chosen))
    return seed_of(limbs)


def _check_holders(threshold: int, holders: Sequence[int]) -> None:
    if not 1 <= threshold <= len(holders):
        raise ParameterError(f"a threshold of {threshold} is outside 1 to {len(holders)} holders")
    if len(set(holders)) != len(holders) or any(not _is_point(x) for x in holders):
        raise ParameterError("the holders' x must be distinct integers from 1 to 2^61 - 2")


def _is_point(x: int) -> bool:
    """x = 0 would be handed the secret itself; x and x + p are the same holder."""
    return isinstance(x, int) and not isinstance(x, bool) and 1 <= x < P


def _parse(shares: Sequence[Buffer]) -> npt.NDArray[np.uint64]:
    for share in shares:
        _check_size(share)
    return _limbs_of(b"".join(shares))


def _check_size(share: Buffer) -> None:
    if len(share) != SHARE_SIZE:
        raise InvalidShare(f"a share is {SHARE_SIZE} bytes long, not {len(share)}")


def _limbs_of(data: Buffer) -> npt.NDArray[np.uint64]:
    elements = np.frombuffer(data, ">u8").astype(np.uint64)
    if (elements >= P).any():
        raise InvalidShare(_BEYOND)
    return elements.reshape(-1, LIMBS)


def _uniform(shape: tuple[int, int], randomness: Randomness) -> npt.NDArray[np.uint64]:
    """Elements of GF(p), uniform: rejection, never reduction modulo p."""
    raw = _draw(8 * shape[0] * shape[1], randomness)
    elements = np.frombuffer(raw, ">u8").astype(np.uint64) & np.uint64(P)
    for i in np.flatnonzero(elements == P):
        while elements[i] == P:
            elements[i] = int.from_bytes(_draw(8, randomness)) & P
    return elements.reshape(shape)


def _draw(size: int, randomness: Randomness) -> bytes:
    raw = randomness(size)
    if len(raw) != size:
        raise CryptoError(f"the source of randomness gave {len(raw)} of {size} bytes")
    return raw


def _limbs(secret: Seed) -> list[int]:
    data = secret.expose()
    return [
        int.from_bytes(data[7 * j : 7 * j + size], "little") for j, size in enumerate(LIMB_BYTES)
    ]


def seed_of(limbs: npt.NDArray[np.uint64]) -> Seed:
    """The secret of LIMBS limbs; InvalidShare where one is out of its range."""
    if any(int(limb) >> 8 * size for limb, size in zip(limbs, LIMB_BYTES, strict=True)):
        raise InvalidShare("the shares rebuild no secret: a limb is out of its range")
    parts = (
        int(limb).to_bytes(size, "little") for limb, size in zip(limbs, LIMB_BYTES, strict=True)
    )
    return Seed(b"".join(parts))


@lru_cache(maxsize=64)
def weights(points: tuple[int, ...]) -> npt.NDArray[np.uint64]:
    """f(0) = the sum of these times f(points), for every f of degree < len(points); read-only.

    Holder sets repeat across dealers, and the weights cost t^2 multiplications. Public.
    """
    at_zero, xs = np.empty(len(points), np.uint64), np.array(points, np.uint64)
    field.lagrange(at_zero.reshape(1, -1), xs, barycentric(xs), np.zeros(1, np.uint64))
    at_zero.setflags(write=False)
    return at_zero


def barycentric(points: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The inverse of each point's product of differences to the others."""
    found = np.empty_like(points)
    field.barycentric(found, points, np.empty_like(points))
    return found
