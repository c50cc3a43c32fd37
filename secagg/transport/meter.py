"""What a WebSocket's peer is sending, before the library below has it: frames, by their headers.

A library keeps the pieces of a message until it is whole, and tells of each as of an event. Both
cost memory that no limit on the size of a message bounds: a piece may be empty. So the headers
(RFC 6455 §5.2) are followed here as well, which takes neither the payload nor its mask.
"""

from __future__ import annotations

_FIN, _OPCODE, _CONTROL, _CONTINUATION = 0x80, 0x0F, 0x08, 0x00
_MASKED, _LENGTH = 0x80, 0x7F
_LONGER = {126: 2, 127: 8}  # bytes of the length that follow, by what stands in its place


class Meter:
    """Where frames begin and end, for bytes that come in any pieces.

    pieces: frames that are no whole message, such as fragments and pings. size: bytes in all. left:
    bytes that the frame under way lacks. every: from now on a whole message is a piece, too.
    """

    def __init__(self) -> None:
        self.pieces = self.size = self.left = 0
        self.every = False
        self._head = bytearray()
        self._begun = self._whole = self._payload = 0
        self._open = self._data = False

    @property
    def pending(self) -> int:
        """Bytes of messages that have begun, as announced, and were not taken. One that is not
        over yet is at least a byte longer."""
        return self._whole + self.message

    @property
    def message(self) -> int:
        """Those of the one that is not whole yet; 0 where there is none."""
        payload = self._payload if self._data else 0
        return self._begun + payload + (1 if self._open else 0)

    @property
    def got(self) -> int:
        """Those of them that have come."""
        missing = self.left if self._data else 0
        return max(0, self.pending - missing - (1 if self._open else 0))

    def taken(self) -> None:
        """Whole messages are no longer kept here."""
        self._whole = 0

    def feed(self, data: bytes) -> None:
        """Bytes behind the handshake, in their order."""
        self.size += len(data)
        at = 0
        while at < len(data):
            if self.left:
                step = min(self.left, len(data) - at)
                self.left -= step
            else:
                step = self._heading(data[at : at + _lacking(self._head)])
            at += step
            if not self.left and not self._head:
                self._ends()

    def _heading(self, data: bytes) -> int:
        self._head += data
        if not _lacking(self._head):
            self._begins(bytes(self._head))
            self._head.clear()
        return len(data)

    def _begins(self, head: bytes) -> None:
        code, last = head[0] & _OPCODE, bool(head[0] & _FIN)
        self._payload = int.from_bytes(head[2:]) if len(head) > 2 else head[1] & _LENGTH
        self.left = self._payload + (4 if head[1] & _MASKED else 0)
        self._data = not code & _CONTROL
        if self._data:
            self._open = not last
        if self.every or not self._data or code == _CONTINUATION or not last:
            self.pieces += 1

    def _ends(self) -> None:
        """Of a frame: what it brought belongs to a message."""
        if self._data:
            self._begun += self._payload
            self._data = False
            if not self._open:
                self._whole, self._begun = self._whole + self._begun, 0


def _lacking(head: bytes | bytearray) -> int:
    """Bytes until the payload's length is known."""
    return 2 + (_LONGER.get(head[1] & _LENGTH, 0) if len(head) > 1 else 0) - len(head)
