"""Links of a service: whoever comes proves a key, in a role and for a task, and the service its own
(specs/01-wire.md §7, specs/51-admission.md §1)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace

from secagg.crypto import labels, sign
from secagg.crypto.randomness import checked
from secagg.errors import InvalidSignature, ParameterError, RemoteProtocolError
from secagg.rights import ServiceRole
from secagg.rounds.enrolled import Host
from secagg.rounds.greeting import Met, Script, Unwelcome
from secagg.shown import short
from secagg.types import Randomness, Role, Seed, system_randomness
from secagg.wire.hello import (
    CHALLENGE_SIZE,
    CallerHello,
    Service,
    check_task,
    decode_proof,
    decode_reply,
    encode_proof,
    encode_reply,
)

# Theory of operation.
#
# A service has many tasks, and who takes part in which is an entry of its register, and no place in
# a roster that all can read. So who comes says a key, a role and a task, proves the key, and is
# then looked up. Four frames: the caller says who it is, the service sends a challenge, the caller
# signs both challenges, and the service signs the same under another name.
#
# Whether a key is enrolled is nobody's business, and strangers could ask for any. So the register
# is not asked before the key is proved: what a stranger hears until then, and when, is the same for
# every key, and what it hears afterwards is the end of the link, whatever was wrong. It learns of
# its own key that it may not come, which its owner knows, and of others' nothing. Why somebody was
# refused stands in the error, which goes to the service's log and no further (rule G3).
#
# The service signs nothing for strangers (rule G4): it would otherwise tell whoever asks which
# machine behind a name has the key, and spend a signature for each who asks. What each signs has
# both challenges, the service with its key, and the caller's key, role and task. So nothing that
# was signed is of use on another link, to another service, in another role, for another task, or
# back to whom it came from. What is impossible here: that the two come out of one greeting with
# other words than these, or that one of them is met who has not signed. What remains is a relay, as
# the proof is not bound to the channel (specs/01-wire.md §7 says what it can do).
#
# For a task whose clients sign, four more frames follow on the same link: those of a server of a
# roster (`secagg.rounds.enrolled`), by the same keys. The caller's hello has no roster in it, and
# two sides that hold different ones would find out in a round, at the cost of a seat. So both say
# which they hold, and only who has proved a place in the one that is in force is met (rule N4).

_LINKED = {ServiceRole.CLIENT: Role.CLIENT}
"""As rounds know who has a link; the other roles come by other ways (rule M2)."""
NO_TASK = "-"
"""In the place of a task where somebody comes for a session; no task is called so."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A greeting without a link is over. key: which was proved. say: the last frame of it."""

    key: bytes
    role: ServiceRole
    say: bytes

    __repr__ = short


@dataclass(frozen=True)
class Reception:
    """A service's side of every greeting. signing: the seed of the service's key. judge: why
    somebody who has proved its key may not come, as text for the log, or None if it may
    (`secagg.rounds.admissions.Admissions.why_not`). host: the server of the roster in force, of a
    task whose clients sign.

    Raises ParameterError for another key than the service's.
    """

    service: Service
    signing: Seed = field(repr=False)
    judge: Callable[[bytes, ServiceRole, str], str | None] = field(repr=False)
    randomness: Randomness = field(default=system_randomness, repr=False)
    host: Callable[[str], Host | None] = field(default=lambda task: None, repr=False)

    __repr__ = short

    def __post_init__(self) -> None:
        if sign.public_key(self.signing) != self.service.key:
            raise ParameterError(
                f"this is not the identity of the service {self.service.name}: give the one whose "
                "key its clients know"
            )

    def greet(self) -> Script:
        """Whoever has opened the link."""
        met, statement = yield from self._proved()
        if (role := _LINKED.get(met.role)) is None:
            raise Unwelcome(f"there are no links for the role {met.role.word}")
        own, task = self._signed(statement), met.task
        if (host := self.host(task)) is None:
            return Met(role, met.key, own, task)
        placed = yield from host.greet(own)
        if placed.identity != met.key:
            raise RemoteProtocolError("the place that it has proved is another key's")
        if self.host(task) is not host:
            raise RemoteProtocolError("another roster has come into force meanwhile")
        return replace(placed, task=task)

    def visit(self) -> Generator[bytes, bytes, Visit]:
        """Whoever comes without a link, for a session (rule W1)."""
        met, statement = yield from self._proved()
        if met.task != NO_TASK:
            raise Unwelcome("a session is of no task, and it has said one")
        return Visit(met.key, met.role, self._signed(statement))

    def _proved(self) -> Generator[bytes, bytes, tuple[CallerHello, bytes]]:
        """Who it is, and what the service is to sign: nothing before all is judged (rule G4)."""
        nonce = self.service.nonce
        theirs = CallerHello.decode((yield b""), nonce)
        if theirs.service != self.service.digest:
            raise RemoteProtocolError("the hello is of another service")
        ours = checked(self.randomness)(CHALLENGE_SIZE)
        proof = decode_proof((yield encode_reply(ours, nonce)), nonce)
        sign.verify(theirs.key, _statement(labels.SERVICE_LINK_CLIENT, theirs, ours), proof)
        # rule G2: nobody but the owner of a key learns, or has it looked up, whether it may come
        if (why := self.judge(theirs.key, theirs.role, theirs.task)) is not None:
            raise Unwelcome(why)
        return theirs, _statement(labels.SERVICE_LINK_SERVER, theirs, ours)

    def _signed(self, statement: bytes) -> bytes:
        return encode_proof(sign.sign(self.signing, statement), self.service.nonce)


def as_caller(
    service: Service,
    role: ServiceRole,
    task: str,
    signing: Seed,
    randomness: Randomness = system_randomness,
) -> Script:
    """Who comes to a service, over a link that it has opened. signing: the seed of its key."""
    key, ours = sign.public_key(signing), checked(randomness)(CHALLENGE_SIZE)
    hello = CallerHello(service.digest, key, role, check_task(task), ours)
    theirs = decode_reply((yield hello.encode()), service.nonce)
    own = _statement(labels.SERVICE_LINK_CLIENT, hello, theirs)
    proof = encode_proof(sign.sign(signing, own), service.nonce)
    answer = decode_proof((yield proof), service.nonce)
    try:
        said = _statement(labels.SERVICE_LINK_SERVER, hello, theirs)
        sign.verify(service.key, said, answer)
    except InvalidSignature:
        raise InvalidSignature(
            f"what is called is not the service {service.name} that the invitation was of: check "
            "the URL, and ask who invited you whether the service has another key now"
        ) from None
    return Met(Role.SERVER, service.key)


def _statement(name: bytes, hello: CallerHello, reply: bytes) -> bytes:
    """Rule G1. reply: the service's challenge."""
    said = hello.service, hello.key, int(hello.role), hello.task.encode("ascii")
    return labels.encode(name, *said, hello.challenge, reply)
