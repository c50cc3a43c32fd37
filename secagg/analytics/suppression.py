"""Which of the counts in a table are withheld (specs/30-analytics.md §6).

A reader knows this rule, and the sum of all counts: from a number that is withheld, more may be
inferred than from one that was never asked for. So what is withheld beside the small counts follows
from where those stand and not from how large their neighbours are, but for cases in which no size
says anything. What that gives is one promise: whichever count is withheld, every value from 0 to
`least` - 1 is possible for it, given all that is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


def withheld(
    counts: Sequence[int], least: int, small: Collection[int] | None = None
) -> frozenset[int]:
    """The places of `counts` to withhold from a reader who has their sum.

    counts: not negative. least: a count below it is small. small: the places, where those that
    must not be shown are others than that. All places where the sum itself is small.

    §6.3-§6.5: small ones alone, where their sum says nothing about any, which takes three;
    else every small one with its neighbour; and if all those are together fewer than `least`, one
    more pair, the smallest.
    """
    if small is None:
        small = [place for place, count in enumerate(counts) if count < least]
    if sum(counts) < least:
        return frozenset(range(len(counts)))
    together = sum(counts[place] for place in small)
    if least <= together <= (len(small) - 1) * (least - 1):
        return frozenset(small)  # each may be 0, or least - 1, and the others make up the sum
    hidden = frozenset[int]().union(*(neighbours(place, len(counts)) for place in small))
    if hidden and sum(counts[place] for place in hidden) < least:
        hidden |= _smallest_pair(counts, hidden)
    return hidden


def neighbours(place: int, length: int) -> frozenset[int]:
    """Those withheld with `place`: pairs in order, and of an odd number the last with the pair
    before it. Where all in this set are withheld, so are the neighbours of each."""
    if length % 2 and place == length - 1:
        return frozenset(range(max(0, length - 3), length))
    return frozenset({place, place ^ 1})


def _smallest_pair(counts: Sequence[int], hidden: frozenset[int]) -> frozenset[int]:
    """Its size decides, and says nothing: had a hidden pair held more, none would be added."""
    more = (neighbours(place, len(counts)) for place in range(len(counts)) if place not in hidden)
    return min(more, key=lambda pair: sum(counts[place] for place in pair - hidden))
