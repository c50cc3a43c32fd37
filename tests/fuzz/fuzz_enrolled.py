"""Any bytes in place of a frame make either side of a member's greeting refuse by a SecAggError.

Or they are the one frame that its other side would have said there: nobody is met by another proof,
and what is heard as a hello or a greeting is one, and is answered.
"""

from __future__ import annotations

from functools import partial

from secagg.errors import SecAggError
from secagg.rounds.enrolled import Host, as_member
from secagg.rounds.greeting import Met, Script
from tests import decoders
from tests.active import SERVER_SEED, Cast, seed_of
from tests.fuzz.engine import main

CAST = Cast()
ME = CAST.parties[2]
HOST = Host(CAST.signed, SERVER_SEED, lambda size: b"h" * size)


def member() -> Script:
    return as_member(CAST.roster, ME, seed_of(ME), lambda size: b"m" * size)


def server() -> Script:
    return HOST.greet()


def after(script: Script, *heard: bytes) -> Script:
    next(script)
    for frame in heard:
        script.send(frame)
    return script


def hears(script: Script, frame: bytes) -> bytes | Met | None:
    """What it says, or whom it has met; None where it refuses."""
    try:
        return script.send(frame)
    except StopIteration as over:
        assert isinstance(over.value, Met)
        return over.value
    except SecAggError:
        return None


def _frames() -> list[bytes]:
    """An honest greeting, each in its place."""
    hello = next(member())
    greeting = after(server()).send(hello)
    proof = after(member()).send(greeting)
    met = hears(after(server(), hello), proof)
    assert isinstance(met, Met)
    return [hello, greeting, proof, met.say]


CORPUS = _frames()
HELLO, GREETING, PROOF, BACK = CORPUS


def target(data: bytes) -> None:
    for script, decode in (
        (after(server()), decoders.member_hello),
        (after(member()), decoders.greeting),
    ):
        if hears(script, data) is not None:
            assert decode(data) == data
    for ends, due in (
        (partial(after, server(), HELLO), PROOF),
        (partial(after, member(), GREETING), BACK),
    ):
        assert (hears(ends(), data) is not None) == (data == due)


if __name__ == "__main__":
    main(target, CORPUS)
