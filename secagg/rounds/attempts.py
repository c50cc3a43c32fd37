"""How often somebody may try what takes no key, by address: to be enrolled (rule E9)."""

from __future__ import annotations

# Theory of operation.
#
# To accept an invitation needs no key that is known, so anybody can ask for it, and each who asks
# has a signature verified for it. That costs 60 microseconds and tells a guesser nothing, as a
# token has 128 bits; the limit is against a log that fills up. So each address has ten tries in a
# minute, whatever becomes of them.
#
# A try is counted when it is let through, not when it is refused, or whoever goes on trying would
# never be let through again. Times are kept, and not a rate: ten at once and then none for a minute
# is what the limit says, and there is nothing to be tuned.
#
# What is kept is bounded too. Addresses without a try in the last minute are forgotten; where still
# as many are known as there may be, a new address is refused until one is forgotten. That can keep
# an honest site out for minutes while thousands of addresses try; to let them all in instead would
# be no limit, and to be enrolled happens once in the life of a site.


class Attempts:
    """Of all addresses; time is an argument."""

    def __init__(self, most: int = 10, seconds: float = 60.0, addresses: int = 4096) -> None:
        """most: tries of one address within so many seconds. addresses: that are remembered."""
        self._most, self._seconds, self._addresses = most, seconds, addresses
        self._tried: dict[str, list[float]] = {}  # whose last try is oldest comes first

    def allowed(self, address: str, now: float) -> bool:
        """Whether this try may go on; it is counted then. now: monotonic seconds."""
        while self._tried:
            oldest = next(iter(self._tried))
            if self._tried[oldest][-1] > now - self._seconds:
                break
            del self._tried[oldest]
        if address not in self._tried and len(self._tried) >= self._addresses:
            return False
        recent = [at for at in self._tried.get(address, ()) if at > now - self._seconds]
        if len(recent) >= self._most:
            return False
        self._tried.pop(address, None)
        self._tried[address] = [*recent, now]
        return True
