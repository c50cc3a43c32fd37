"""What a round is opened with, and its row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from secagg.errors import ParameterError, WireError
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.shown import short
from secagg.types import PartyId, Seed
from secagg.wire.codec import Reader, Writer
from secagg.wire.frame import Announce, DigestOnly, decode_frame

# Theory of operation.
#
# An opening is all that a round is before anybody has said anything: what is announced, how long
# each phase may take, whether its end waits for the one who opened it. It is a value, and its row
# is the round's own: a server that starts again reads it, makes the machine from it as the first
# one was made, and gives that the machine's rows. So whatever a round needs and cannot find out
# again is in here, and nothing else is: deadlines begin anew, and links come back by themselves.
#
# The announcement is kept in the very bytes that clients were given, so that a client which takes
# its seat again hears what it knows, and not what a later version would write. Places are by
# identity, since a link that has proved none never comes back, and its seat stays empty.
#
# The key of central noise is one of the things that cannot be found out again. Drawn anew after a
# restart it would be a second noise on the same sum, and whoever had both results would have a
# better one than was promised; so it is drawn when the round is opened and stored before anybody
# hears of the round. It is as secret as the sum, which the same store holds.

_MAX_IDENTITY = 1 << 16


@dataclass(frozen=True, slots=True)
class Opening:
    """What a round is opened with. payload: the task's, or its digest alone. limits: seconds by
    phase. hold: nobody is told of the end before `tell`. noise: of a plan with central noise, the
    key of it: kept with the round, so that its sum has one noise, whatever restarts between.

    Raises ParameterError for a task of several servers, and for another payload than the task's.
    """

    nonce: bytes
    task: Task
    payload: bytes | DigestOnly
    limits: Mapping[str, float]
    hold: bool = False
    noise: Seed | None = field(default=None, repr=False)

    __repr__ = short

    def __post_init__(self) -> None:
        self.task.check_rounds("has batches and no rounds: each of them is a member of its own")
        digest = self.announce(PartyId(0)).payload_digest
        if digest != self.task.payload_digest:
            raise ParameterError(
                f"this payload has the digest {digest.hex()}, and the task is about "
                f"{self.task.payload_digest.hex()}"
            )

    def announce(self, who: PartyId) -> Announce:
        milliseconds = tuple(-int(-s * 1000 // 1) for s in self.limits.values())
        return Announce(self.nonce, who, milliseconds, self.task.plan.encode(), self.payload)

    def row(self, cohort: Sequence[bytes | None]) -> bytes:
        """Of the round itself: how it was announced, whether it holds, and who sits where."""
        writer = Writer().u8(self.hold).prefixed(self.announce(PartyId(0)).encode())
        writer.prefixed(self.noise.expose() if self.noise else b"").u32(len(cohort))
        for identity in cohort:
            writer.prefixed(identity or b"")
        return writer.finish()

    @classmethod
    def of_row(cls, row: bytes) -> tuple[Opening, list[bytes | None]]:
        """The mirror of `row`, and the cohort. Raises WireError for a row of anything else."""
        reader = Reader(row)
        hold = bool(reader.u8("hold"))
        frame = decode_frame(reader.prefixed(len(row), "announcement"), limit=len(row))
        if not isinstance(frame, Announce):
            raise WireError("the row of a round holds its announcement")
        noise = reader.prefixed(Seed.SIZE, "noise")
        cohort = [reader.prefixed(_MAX_IDENTITY, "identity") for _ in range(reader.u32("cohort"))]
        reader.finish()
        plan = Plan.decode(frame.plan, allow_unprotected=True)
        limits = zip(plan.phase_names, (ms / 1000 for ms in frame.deadlines), strict=True)
        task = Task(plan, payload_digest=frame.payload_digest)
        key = Seed(noise) if noise else None
        opening = cls(frame.nonce, task, frame.payload, dict(limits), hold, key)
        return opening, [identity or None for identity in cohort]
