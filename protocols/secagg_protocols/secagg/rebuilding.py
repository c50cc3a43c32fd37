"""From answers to secrets, around the wrong ones among them (specs/10-secagg.md §9, S7)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from secagg import decoding
from secagg.crypto import labels
from secagg.crypto.agree import public_key
from secagg.decoding import Answers, Decoded
from secagg.errors import LocalProtocolError
from secagg.sansio import Job
from secagg.types import Seed, SessionId
from secagg_protocols.secagg import binding, keys

# A rebuilt seed must match its commitment and a rebuilt scalar the advertised key, so a wrong share
# can cost work and at worst the round, and never changes the sum.

# A chance at what counting cannot reach: with more than (m - t)/2 wrong among m, a set of t that
# happens to have none of them still gives the secret, and `Wanted.opens` knows it. Which sets are
# tried follows from the session and not from a generator, so a server that comes back tries the
# same ones.
SUBSETS = 256
"""Sets of t holders that are tried at random, when nothing else has worked."""
BUDGET = 1 << 32
"""Of a session. A unit of the search that costs most, with other wrong shares in each limb, took
10 to 12 ns of one core at m = 1000 (t = 501 to 601: 44 to 49 s in all), 13 ns at m = 119 and 16 ns
at m = 51 (t = m/2): up to about a minute."""
_UNITS_PER_JOB = 1 << 22


def _try_work(m: int) -> int:
    """Of one try by t of m shares, its weights to be computed: at most m^2 multiplications, and
    for each share what a small m is not spared."""
    return m * (m + 128)


def _nearest_work(m: int, t: int) -> int:
    """Of a search for the nearest polynomial, as much as wrong shares can make it cost: that of
    the m - t syndromes is in Python's integers; then five tries."""
    return 80 * (m - t) * (m - t + 100) + 5 * _try_work(m)


def opens(secret: Seed, session: SessionId, dealer: int, survived: bool, bound: bytes) -> bool:
    """Whether it is what its dealer is bound to: b by its commitment, s_sk by the public key."""
    if survived:
        return keys.commit(secret, session, dealer) == bound
    return public_key(secret) == bound


@dataclass(frozen=True, slots=True)
class Wanted:
    """One dealer's secret: what binds its dealer, and what its holders have answered.

    bound: the commitment to b of a survivor, the advertised s_pk of another.
    """

    session: SessionId
    dealer: int
    survived: bool
    bound: bytes
    threshold: int
    answers: Answers

    @property
    def slack(self) -> int:
        return len(self.answers) - self.threshold

    def opens(self, secret: Seed) -> bool:
        """Whether it is the one: nothing else in this module decides that."""
        return opens(secret, self.session, self.dealer, self.survived, self.bound)

    def subset(self, attempt: int) -> list[int]:
        """t of the points, drawn without replacement; its own key stream for each attempt."""
        key = labels.digest(labels.SUBSET, self.session, self.dealer, attempt)
        draws, points = binding.draws(key), list(self.answers.points)
        for i in range(self.threshold):
            j = i + binding.below(draws, len(points) - i)
            points[i], points[j] = points[j], points[i]
        return points[: self.threshold]


@dataclass(frozen=True, slots=True)
class Found:
    """What a job came to. secret: empty if it found none. wrong: the x whose share is off; empty
    where they are too many to be told from the right ones. work: in units of BUDGET."""

    secret: bytes = field(repr=False)
    wrong: tuple[int, ...]
    work: int


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """The search that counts. right: whether the t lowest give the secret, and others differ.

    doubted: x of holders whose shares of two other dealers are wrong. fresh: whether they or the
    points differ from those of the dealer before, so that weights must be computed. asked: the
    challenge of `decoding.around`.
    """

    wanted: Wanted
    right: bool
    doubted: frozenset[int]
    fresh: bool = True
    asked: bytes = field(default=b"", repr=False)

    def __call__(self) -> Found:
        """S7, steps 1 to 3: a secret that opens, and whose shares are off, or none."""
        m = len(self.wanted.answers)
        work = 2 * _try_work(m) if self.doubted and self.fresh else 0
        kept: Decoded | None = None
        for chosen in self._choices():
            found, cost = self._by(chosen)
            work += cost
            if found is not None and not self.wanted.opens(found.secret):
                continue
            if found is not None and _certain(found, self.wanted):
                return _found(found, self.wanted, work)
            kept = kept or found
        nearest = decoding.nearest(self.wanted.answers, self.wanted.threshold)
        if nearest is not None and self.wanted.opens(nearest.secret):
            kept = nearest
        return _found(kept, self.wanted, work + _nearest_work(m, self.wanted.threshold))

    def _by(self, chosen: Sequence[int]) -> tuple[Decoded | None, int]:
        """What `through` gives, and its work: most often nobody lies but who did before."""
        answers, work = self.wanted.answers, 0
        if self.doubted:
            work = (2 + len(self.doubted)) * len(answers)
            found = decoding.around(answers, chosen, sorted(self.doubted), self.asked)
            if found is not None:
                return found, work
        return decoding.through(answers, chosen), work + _try_work(len(answers))

    def _choices(self) -> Iterator[list[int]]:
        """Sets of t points, of step 1 where it gives the secret, and of step 2 where anybody is in
        doubt."""
        points, threshold = self.wanted.answers.points, self.wanted.threshold
        if self.right:
            yield list(points[:threshold])
        trusted = [x for x in points if x not in self.doubted]
        if self.doubted and len(trusted) >= threshold:
            yield trusted[:threshold]


@dataclass(frozen=True, slots=True)
class SubsetJob:
    """Some of the SUBSETS random choices of t holders."""

    wanted: Wanted
    first: int
    count: int

    def __call__(self) -> Found:
        """S7, step 4: work is counted for the sets that were tried, up to the one that opened."""
        unit = _try_work(len(self.wanted.answers))
        for number in range(self.count):
            chosen = self.wanted.subset(self.first + number)
            secret = decoding.secret_of(self.wanted.answers, chosen)
            if secret is not None and self.wanted.opens(secret):
                found = decoding.through(self.wanted.answers, chosen)
                return _found(found, self.wanted, unit * (number + 1))
        return _found(None, self.wanted, unit * self.count)


def _certain(found: Decoded, wanted: Wanted) -> bool:
    """Whether no other polynomial with this secret is as near: the secret is one more point, so
    two of them differ in m - t + 2 shares at least."""
    return 2 * len(found.wrong) <= wanted.slack + 1


def _found(decoded: Decoded | None, wanted: Wanted, work: int) -> Found:
    """As a job's value: picklable, and without names of shares that nobody can be sure are
    wrong."""
    if decoded is None:
        return Found(b"", (), work)
    wrong = sorted(decoded.wrong) if _certain(decoded, wanted) else ()
    return Found(decoded.secret.expose(), tuple(wrong), work)


# Theory of operation.
#
# The common case costs one check a dealer: `decoding.read` looks at once whether all shares lie on
# one polynomial, and only where they do not is there a job. The search is bounded by BUDGET for the
# whole session, because whoever makes it long is a client, and it costs a client nothing.
#
# Each dealer that is left goes the way of S7. One job tries what counting and the holders' record
# suggest; if it finds nothing, further ones try sets at random, some at a time; if none of these
# opens the secret, or the work is spent, the session has no sum, and what was found until then is
# forgotten. Nobody can steer this to a wrong end: a candidate counts only if it opens, that is, if
# its dealer is bound to it by what it said before it was asked for a vector.
#
# One dealer after the other, because a holder that lied about two dealers is likely to lie about
# the next: its shares are left out of the first try, and that is most often all the search there
# is.
class Rebuilding:
    """Every wanted secret, in order of dealer. Honest answers are done with at once; for each of
    the others there is one job at a time, because what is found of one dealer helps with the next.

    secrets: those found, by dealer. wrong: (dealer's index, holder's index) pairs. failed: the
    dealer whose secret cannot be had, with no further job then. spent: because BUDGET is.
    """

    def __init__(self, wanted: Sequence[Wanted], session: SessionId) -> None:
        self.secrets: dict[int, Seed] = {}
        self.wrong: set[tuple[int, int]] = set()
        self.failed: Wanted | None = None
        self.spent = False
        self._off: Counter[int] = Counter()  # by x: of how many dealers its share was wrong
        self._left: deque[tuple[Wanted, bool]] = deque()
        self._work = 0
        self._ready: Job | None = None
        self._out: Job | None = None
        self._before: tuple[tuple[int, ...], frozenset[int]] | None = None
        self._asked = asked = decoding.challenge([one.answers for one in wanted], session)
        for one in wanted:
            secret, agreed = decoding.read(one.answers, one.threshold, asked)
            right = secret is not None and one.opens(secret)
            if secret is not None and right and agreed:
                self.secrets[one.dealer] = secret
            else:
                self._left.append((one, right))
        self._next()

    @property
    def done(self) -> bool:
        return self._ready is None and self._out is None

    def jobs(self) -> Sequence[Job]:
        if self._ready is None:
            return ()
        job, self._ready = self._ready, None
        self._out = job
        return (job,)

    # Work is what a job says that it was, in units and not in seconds: by a clock the load of a
    # machine would decide whether a round has a sum, and two runs of one session could differ.
    def finish(self, job: Job, value: Any) -> None:
        """Raises LocalProtocolError for a job that is not the open one. value: its `Found`."""
        if self._out is None or job is not self._out:
            raise LocalProtocolError("the job is not one of this machine's open jobs")
        self._out = None
        self._work += value.work
        if value.secret:
            self._solved(value)
        elif isinstance(job, SubsetJob):
            self._search(job.first + job.count)
        else:
            self._search(0)

    def _next(self) -> None:
        """The first dealer that is left, unless its secret is beyond reach."""
        if not self._left:
            return
        one, right = self._left[0]
        self.spent = self._work >= BUDGET
        # t shares of t: no share can be left out, so nothing can be tried
        if self.spent or one.slack == 0:
            self._fail()
            return
        # twice and not once: a share that is off once may be its dealer's doing
        doubted = frozenset(x for x in one.answers.points if self._off[x] >= 2)
        before, self._before = self._before, (one.answers.points, doubted)
        self._ready = DecodeJob(one, right, doubted, self._before != before, self._asked)

    def _solved(self, found: Found) -> None:
        """Its wrong shares count against their holders with the next dealer."""
        one, _ = self._left.popleft()
        self.secrets[one.dealer] = Seed(found.secret)
        self.wrong |= {(one.dealer, x - 1) for x in found.wrong}
        self._off.update(found.wrong)
        self._next()

    def _search(self, first: int) -> None:
        """The sets from `first` on, or the end: that none is left, or that BUDGET is spent."""
        self.spent = first < SUBSETS and self._work >= BUDGET
        if self.spent or first >= SUBSETS:
            self._fail()
            return
        one, _ = self._left[0]
        count = min(SUBSETS - first, max(1, _UNITS_PER_JOB // _try_work(len(one.answers))))
        self._ready = SubsetJob(one, first, count)

    def _fail(self) -> None:
        """What was found is of no use any more."""
        self.failed, _ = self._left[0]
        self._left.clear()
        self.secrets.clear()
