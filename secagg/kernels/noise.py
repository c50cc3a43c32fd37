"""Words of a stream to draws from a table, added into a lane (specs/41-noise.md §4).

A table holds 2^m columns, 1 <= m <= 16, of 128 bits each, low word first: threshold * 2^(m + 1) +
alias, with an alias below 2^m. A block of the stream is 128 bits too, low word first, and is the
number u: column c = u mod 2^m, sign bit m of it, and the rest compared with the column's threshold:

    |x| = c if floor(u / 2^(m + 1)) < threshold, else alias
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from secagg.kernels.jit import kernel
from secagg.layout import Lane

# Theory of operation.
#
# Noise must be exact, for what a float64 cannot tell apart an adversary can, and it must take the
# same time whatever is drawn: how long a rejection sampler takes tells how large its noise is, and
# so what it hides (Jin, McMurtry, Rubinstein and Ohrimenko 2022). Walker's alias method does both.
# Each column has the same probability, and at most two values share it; so a draw is one column,
# one comparison of 128 bits and one selection, whatever comes of it: no loop, no branch, no second
# look. A cumulative table, searched from a guide, was measured beside it: with thousands of entries
# it takes twice as long, since the branch that ends its search is anybody's guess, and for a draw
# in the tail, which is what must not be seen, a hundred times.
#
# A column is 16 bytes and lies within one line of the cache. Which line it is depends on the draw:
# whoever shares the cache could learn of it, as of any table, and what is promised is time alone.
#
# The threshold and the alias share a number because the comparison leaves m + 1 bits unused: the
# column and the sign. With the column's bits of u all set, u >= threshold * 2^(m + 1) + alias if
# and only if the rest of u reaches the threshold, whatever the sign, as an alias is below 2^m; so
# nothing has to be shifted.
#
# A wide distribution is a sum of narrow ones, digit by digit: one pass for each. Between passes a
# lane holds part of a draw; it is a sum modulo a power of two, whose order is of no matter.
#
# All is uint64. A draw is negative in two's complement, and whatever the lane, the sum is reduced
# by the ring's mask at once: it never depends on what a wider lane would have kept.


@kernel
def add_draws(
    out: Lane,
    words: npt.NDArray[np.uint64],
    table: npt.NDArray[np.uint64],
    factor: np.uint64,
    mask: np.uint64,
) -> None:
    """out[i] += factor * (draw of block i), and `mask` of the sum is kept.

    words: two for each element of out. table: 2^(m + 1) words.
    """
    one = np.uint64(1)
    column = np.uint64(table.size // 2) - one
    sign = column + one
    for i in range(out.size):
        low, high = words[2 * i], words[2 * i + 1]
        c = low & column
        bound, upper = table[c + c], table[c + c + one]
        tied = np.uint64(high == upper) & np.uint64(low | column < bound)
        inside = np.uint64(0) - (np.uint64(high < upper) | tied)  # all ones, or zero
        alias = bound & column
        x = alias ^ (alias ^ c) & inside
        negative = np.uint64(0) - np.uint64(low & sign != np.uint64(0))
        x = (x ^ negative) - negative
        out[i] = out.dtype.type(np.uint64(out[i]) + x * factor & mask)
