"""Whoever collects at a server: who has asked for which batch, and of which the sum is safe."""

from __future__ import annotations

from collections.abc import Iterable

from secagg.effects import Encodable, Peer


# Theory of operation.
#
# A collector asks for a batch, and the machine of that batch answers, at once or when it locks. It
# says so to "the collector", whoever that is, so the answer goes to every link that has asked and
# was not answered. Who asks while its last answer is still leaving is not heard: a total is as long
# as the model, and a collector that does not read must not pile up one for each of its questions.
#
# Its last word is that the sum is safe. It comes over a link whose far end has the collector's key,
# and it counts only for a batch whose total this server has given away since it was started: nobody
# can have the sum of another. It is returned in the same bytes either way, or the collector would
# ask for ever. When it was said of every locked batch, an epoch may be closed.
#
# Of a link it is known which batches it has asked for, and how many bytes of answers have not left
# it. Both go with the link: who comes again over another one asks again. What outlives links is the
# set of batches whose sums are safe, and that does not outlive the process: one that was started
# again has given no total to anybody, so it returns the last word and does not count it. The epoch
# then stays open, and its rows are kept, for a collector that may need them after all.
#
# Who may ask at all is not decided here: whether a link's far end has the collector's key was seen
# by the greeting, before these rounds heard of it.
class Collectors:
    """Links of collectors, by what they have asked."""

    def __init__(self) -> None:
        self.fetched: set[int] = set()
        """Batches of which a collector has said that it has the sum."""
        self._asking: dict[int, set[Peer]] = {}
        self._unread: dict[Peer, int] = {}

    def joined(self, peer: Peer) -> None:
        self._unread[peer] = 0

    def left(self, peer: Peer) -> None:
        self._unread.pop(peer, None)
        for asking in self._asking.values():
            asking.discard(peer)

    def asks(self, peer: Peer, batch: int) -> bool:
        """Whether it may; not while its answer is leaving."""
        if self._unread.get(peer):
            return False
        self._asking.setdefault(batch, set()).add(peer)
        return True

    def answer(self, batch: int) -> list[Peer]:
        """To whom an answer of that batch goes."""
        return sorted(self._asking.pop(batch, ()), key=lambda peer: str(peer.name))

    def posted(self, peer: Peer, frame: Encodable) -> None:
        self._unread[peer] = self._unread.get(peer, 0) + frame.size

    def flushed(self, peer: Peer, size: int) -> None:
        if peer in self._unread:
            self._unread[peer] -= min(size, self._unread[peer])

    def has_all(self, locked: Iterable[int]) -> bool:
        return self.fetched.issuperset(locked)
