"""Every error that leaves this package.

::

    SecAggError
    ├── ParameterError            a plan or parameter that cannot be safe, feasible or exact
    │   └── HeadroomError         the sum could wrap around its ring, or leave float64
    ├── InputError                a caller's input of the wrong kind, shape or dtype
    │   └── RangeError            NaN, Inf, or a value or weight outside its declared range
    ├── WireError                 bytes that are not a message
    │   ├── Truncated
    │   ├── TrailingBytes
    │   ├── TooLarge
    │   ├── UnknownVersion
    │   └── BadTag                an unknown kind of message
    ├── CryptoError
    │   ├── InvalidTag            a sealed message that does not open
    │   ├── InvalidKey
    │   ├── InvalidSignature
    │   └── InvalidShare
    ├── ProtocolError
    │   ├── LocalProtocolError    the caller used a machine wrongly
    │   └── RemoteProtocolError   the peer broke the protocol; the session is over
    ├── IntegrityError            the count lane says that a mask is missing or extra
    ├── Aborted                   the session ended without a result
    │   └── BelowThreshold
    ├── PolicyRefused             our own policy forbids it
    │   └── BudgetSpent           a round would tell more than a client's budget allows
    ├── Spent                     an input or an answer that was given already, in other words
    ├── MissingExtra              a package is not installed that this needs
    ├── StorageError              a store that is damaged, in use, full or of another task
    └── TransportError
        ├── LinkClosed
        └── LinkTimeout

Messages name sizes, phases and ids, never contents: an error may be logged anywhere. Every one
survives pickle and copy unchanged, as a worker's error must on its way out of a pool.
"""

from __future__ import annotations

from typing import Any

from secagg.types import AbortReason


class Portable(Exception):
    """Survives pickle and copy whatever arguments its class's __init__ takes.

    An exception is otherwise made again by `cls(*args)`, whose args are those of the text: a class
    with arguments of its own then fails inside the pool that reads it, and the pool hangs.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args), self.__dict__ or None


def _again(kind: type[Portable], args: tuple[Any, ...]) -> Portable:
    """Without __init__: attributes and notes follow as the state."""
    return kind.__new__(kind, *args)


class SecAggError(Portable):
    """The root of the tree."""


class ParameterError(SecAggError):
    """A plan or parameter that cannot be safe, feasible or exact; the message states the rule."""


class HeadroomError(ParameterError):
    """The largest possible sum does not fit a ring of 64 bits, or float64 once it is read back; the
    message holds the proof."""


class InputError(SecAggError):
    """A caller's input of the wrong kind, shape or dtype."""


class RangeError(InputError):
    """A value or weight outside its declared range, NaN and Inf included."""


class WireError(SecAggError):
    """Bytes that are not a message."""


class Truncated(WireError):
    """The message ends before its grammar does."""


class TrailingBytes(WireError):
    """The message goes on after its grammar ended."""


class TooLarge(WireError):
    """A length or count above the limit that the plan allows."""


class UnknownVersion(WireError):
    """A version or suite this code does not speak; the message names those it does."""


class BadTag(WireError):
    """An unknown kind of message."""


class CryptoError(SecAggError):
    """A cryptographic operation refused its input."""


class InvalidTag(CryptoError):
    """A sealed message that does not open; no further detail on purpose."""


class InvalidKey(CryptoError):
    """A public key of the wrong length, non-canonical, or of small order."""


class InvalidSignature(CryptoError):
    """A signature that its key did not make over these bytes."""


class InvalidShare(CryptoError):
    """A share outside its field or an inconsistent set of shares."""


class ProtocolError(SecAggError):
    """Not raised itself: either the caller or the peer is at fault."""


class LocalProtocolError(ProtocolError):
    """The caller used a machine in a state that does not allow it."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol; this session is over and has revealed nothing more."""


class IntegrityError(SecAggError):
    """The count lane disagrees with the set of contributors; the sum is withheld."""


class Aborted(SecAggError):
    """The session ended without a result."""

    def __init__(self, reason: AbortReason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail

    def again(self) -> Aborted:
        """The same error, not raised yet: one that was keeps every frame it passed alive, and in
        them whatever they held."""
        return aborted(self.reason, self.detail)


class BelowThreshold(Aborted):
    """Too few clients were left; no share and no partial sum was revealed."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(AbortReason.BELOW_THRESHOLD, detail)


def aborted(reason: AbortReason, detail: str = "") -> Aborted:
    """The error of that reason, in its own class where it has one."""
    if reason is AbortReason.BELOW_THRESHOLD:
        return BelowThreshold(detail)
    return Aborted(reason, detail)


class PolicyRefused(SecAggError):
    """Our own policy forbids it; the message names the rule and the way out."""


class BudgetSpent(PolicyRefused):
    """A round would tell more of this client's data than its budget allows. No key has left; the
    message says what is spent, what is left, and what the round would take."""


class Spent(SecAggError):
    """An input or an answer that may have no second wording: one is claimed already, or its session
    has ended. Nothing has left; the message says what is spent and what to do."""


class StorageError(SecAggError):
    """A store that is damaged, in use, full or of another task; the message names the file."""


class MissingExtra(SecAggError):
    """A package is not installed that only this needs; the message has the line that installs it.

    No link was tried: trying again does not help, as it does after a TransportError.
    """


class TransportError(SecAggError):
    """The network failed; says nothing about the peer's honesty."""


class LinkClosed(TransportError):
    """The connection is gone. orderly: the far end has closed it, and was not merely lost.
    too_large: this end has closed it, over a message above its limit; another link will not help.
    """

    orderly = False
    too_large = False


class LinkTimeout(TransportError):
    """The peer did not answer in time."""
