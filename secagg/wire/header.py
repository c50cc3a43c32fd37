"""The head of every protocol message: version, suite, tag, and what it is bound to.

    version u8 | suite u8 | tag u8 | binding 32 bytes          (specs/01-wire.md §3)

The binding is the offer until a session id exists, and the session id from then on. There is no
sender: the sender is whom the transport authenticated.
"""

from __future__ import annotations

from secagg.errors import UnknownVersion
from secagg.suite import SUITE_1, Suite
from secagg.wire.codec import Reader, Writer

VERSION = 1

DIGEST_SIZE = 32
HEADER_SIZE = 3 + DIGEST_SIZE
TAG_AT = 2
"""Where a message of any length says which of its protocol's messages it is."""


def write_header(tag: int, binding: bytes, suite: Suite = SUITE_1) -> Writer:
    """A writer behind the 35 bytes of a header. binding: 32 bytes (specs/01-wire.md §3). suite: the
    session's."""
    return Writer().u8(VERSION).u8(suite.number).u8(tag).raw(binding)


def read_header(reader: Reader, suite: Suite = SUITE_1) -> tuple[int, bytes]:
    """The tag and the binding; raises UnknownVersion, naming what a session of `suite` speaks."""
    version, number = reader.u8("version"), reader.u8("suite")
    if (version, number) != (VERSION, suite.number):
        raise UnknownVersion(
            f"version {version}, suite {number}: this code speaks version {VERSION}, suite "
            f"{suite.number}"
        )
    return reader.u8("tag"), reader.fixed(DIGEST_SIZE, "binding")
