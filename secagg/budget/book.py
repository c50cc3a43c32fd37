"""`Budget`: a client's ledger of what its data have told, in one file (specs/40-privacy.md §9)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from secagg import arguments
from secagg.budget import file
from secagg.budget.accounts import Accounts, Spending, taken
from secagg.budget.entries import (
    ID_SIZE,
    KEY_SIZE,
    ORIGIN,
    Entry,
    Opened,
    Row,
    anchor_key,
    encode,
    linked,
)
from secagg.crypto.randomness import checked
from secagg.dp.release import Claim
from secagg.effects import Charge, Step
from secagg.effects import Claim as Anchor
from secagg.errors import ParameterError, Spent, StorageError
from secagg.plans.disclosure import Against, Counting, Disclosure
from secagg.plans.plan import Plan
from secagg.privacy import Unit
from secagg.store.base import Ledger
from secagg.store.database import reported
from secagg.store.ledger import PATIENCE
from secagg.types import MAX_CLIENTS, Randomness, system_randomness


class Budget:
    """What the data of one person, or one client, may tell in all, and what they have told.

    Every round of a plan with privacy is charged here before a key leaves, at its worst: the fewest
    honest clients that the plan allows. One that would pass `epsilon` at `delta` is refused with
    BudgetSpent. A round that ends before the masked input has left is given back; one whose sum
    this client has helped to open is settled to the clients that are in it. Hand it to
    `secagg.participate` or `secagg.join`. Several processes may share a file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        epsilon: float | None = None,
        delta: float | None = None,
        unit: Unit | None = None,
        against: Against | None = None,
        anchor: Ledger | None = None,
        patience: float = PATIENCE,
        randomness: Randomness = system_randomness,
    ) -> None:
        """The budget at `path`, made with mode 0600 if there is none; its folder must exist.

        epsilon, delta: of everything that is charged, for good; a file that is there may be opened
        without. unit: whose data is counted, `client` unless it is made with `example`. against:
        whom it counts what is told to, `server` or `readers` (`secagg.plans.disclosure.Counting`).
        anchor: a ledger that knows the last row, so that an older copy of the file is refused.
        patience: seconds that a call waits for other processes.

        Raises ParameterError for numbers that are not the file's, or none without a file, and
        StorageError for a file that is edited, damaged, older than its anchor, of another version,
        or open to other users, and where the disk or the folder refuses.
        """
        self._path = _path(path)
        if anchor is not None and not callable(getattr(anchor, "claim", None)):
            raise ParameterError(f"anchor must be a ledger, not {arguments.kind_of(anchor)}")
        self._guard, self._process = threading.Lock(), os.getpid()
        self._ended: str | None = None
        self._anchor, self._anchored = anchor, 0
        self._randomness = checked(randomness)
        self._last: Row | None = None
        self._accounts: Accounts | None = None
        patience = arguments.seconds("patience", patience)
        with reported(self._path, "it cannot be opened"):
            if epsilon is not None and delta is not None and not self._path.exists():
                claim = Claim(epsilon, delta)
                counting = _counted(Counting(), unit, against)
                opened = Opened(self._randomness(ID_SIZE), claim, counting)
                file.create(self._path, encode(opened, _clock()))
            self._database = file.connect(self._path, patience)
        try:
            self._take_up(epsilon, delta, unit, against)
        except (ParameterError, StorageError):
            self._database.close()
            raise

    # Figures

    @property
    def counting(self) -> Counting:
        """Whose data it counts, and told to whom: how rounds ask what a plan tells."""
        return self._opened.counting

    @property
    def claim(self) -> Claim:
        """Its epsilon and delta."""
        return self._opened.claim

    def spending(self) -> Spending:
        """What is spent by now, other processes included."""
        with self._turn("it was not read") as accounts:
            last = self._known
            return accounts.spending(last.number + 1, last.hash)

    def charged(self, plan: Plan) -> int:
        """How many rounds of this plan are charged, refunded ones not counted."""
        with self._turn("it was not read") as accounts:
            return accounts.charged(arguments.instance("plan", plan, Plan).digest())

    # Steps of a charge

    def charge(self, key: bytes, disclosure: Disclosure, session: bytes = b"") -> None:
        """Before a key leaves. key: 32 bytes, of one client in one session; the same one again is
        charged once. disclosure: `counting.disclosure` of its plan. session: 32 bytes of what has
        one sum, in which these data may be once; the key where it is empty. Raises BudgetSpent."""
        self.enter(Charge(key, Step.CHARGE, disclosure, session=session))

    def leave(self, key: bytes) -> None:
        """Before the masked input leaves: the charge is never given back from here on. Raises
        BudgetSpent where there is none."""
        self.enter(Charge(key, Step.LEAVE))

    def settle(self, key: bytes, honest: int) -> None:
        """This client has helped to open a sum with so many honest shares of noise. Without effect
        where the worst case had as many, and unless the masked input has left."""
        self.enter(Charge(key, Step.SETTLE, honest=honest))

    def refund(self, key: bytes) -> None:
        """The masked input has not left, and will not. Without effect where it has."""
        self.enter(Charge(key, Step.REFUND))

    def enter(self, charge: Charge) -> None:
        """One step of a charge, as rounds ask for it (`secagg.effects.Charge`).

        When it returns, it is durable, and anchored. Raises BudgetSpent, which changes nothing, and
        StorageError: then nothing may leave, and this object refuses everything but `close`.
        """
        arguments.octets("key", charge.key, 32)
        arguments.octets("session", charge.session or charge.key, 32)
        with self._turn("the charge was not stored") as accounts:
            self._enter(accounts, accounts.entries(charge))

    # An operator's

    def record(self, plan: Plan, contributors: int) -> Spending:
        """What a server is about to tell: a sum of so many inputs of this plan, in a file of its
        own, whether or not there is room. What all sums that are in it have told, together.

        It refuses nothing, and promises nothing: what a client agrees to, its own budget says. Call
        it before the sum is told (`keep=` of `run_round` is the place), as it is durable when this
        returns. Raises PolicyRefused for a plan that tells without bound against the observer of
        this budget, BudgetSpent where it counts another kind of noise, and StorageError.
        """
        disclosure = self.counting.disclosure(arguments.instance("plan", plan, Plan))
        inputs = arguments.integer("contributors", contributors, 1, MAX_CLIENTS)
        disclosure = disclosure.with_honest(inputs - plan.threat.corrupted)
        charge = Charge(self._randomness(KEY_SIZE), Step.CHARGE, disclosure)
        with self._turn("what is told was not stored") as accounts:
            self._enter(accounts, accounts.told(charge))
            last = self._known
            return accounts.spending(last.number + 1, last.hash)

    def close(self) -> None:
        """Idempotent. Whatever else is asked of a closed budget is refused with StorageError."""
        with self._guard:
            self._ended = "it is closed"
            with reported(self._path, "it cannot be closed"):
                self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Budget {self._path.name}>"

    # Inside

    @property
    def _opened(self) -> Opened:
        if self._accounts is None:  # impossible: __init__ takes the first row, or raises
            raise StorageError(f"{self._path} is not open")
        return self._accounts.opened

    @property
    def _known(self) -> Row:
        if self._last is None:  # impossible, for the same reason
            raise StorageError(f"{self._path} is not open")
        return self._last

    def _take_up(
        self,
        epsilon: float | None,
        delta: float | None,
        unit: Unit | None,
        against: Against | None,
    ) -> None:
        with self._turn("it cannot be opened"):
            claim, counting = self.claim, self.counting
            wanted = Claim(
                claim.epsilon if epsilon is None else epsilon,
                claim.delta if delta is None else delta,
            )
            if wanted != claim or counting != _counted(counting, unit, against):
                raise ParameterError(
                    f"{self._path} is a budget of epsilon {claim.epsilon:g} at delta "
                    f"{claim.delta:g} for each {counting.unit} against {counting.against}, for "
                    "good: another one needs a file of its own, and adds to this one"
                )

    def _read(self) -> Accounts:
        """All rows that are new. Raises StorageError with the row that is wrong."""
        opening = self._last is None
        start = file.newest_sums(self._database) if opening else (0, ORIGIN)
        for row in file.following(self._database, self._last, start):
            self._accounts = taken(self._accounts, row)
            self._last = row
        if self._accounts is None:
            raise StorageError("row 0 is missing: what was spent is not known")
        if opening and taken(None, file.first(self._database)).opened != self._accounts.opened:
            raise StorageError("row 0 was edited: it opens another budget than the sums are of")
        return self._accounts

    def _enter(self, accounts: Accounts, entries: list[Entry]) -> None:
        for entry in entries:
            self._add(accounts, entry)
        if (sums := accounts.due()) is not None:
            self._add(accounts, sums)

    def _add(self, accounts: Accounts, entry: Entry) -> None:
        before = self._known
        row = linked(before.hash, before.number + 1, encode(entry, _clock()))
        file.insert(self._database, row)
        accounts.take(entry)
        self._last = row

    def _check_newest(self) -> None:
        """Rule §9.15. Within the transaction: a row that is anchored was stored before, so nobody
        can have anchored one that is not here."""
        end = self._known.number + 1
        if self._anchor is not None and self._anchor.claimed(self._name(end)) is not None:
            raise StorageError(
                f"it ends with row {end - 1}, and its anchor knows row {end}: it is an older copy, "
                "or was cut short; put back the newest, as an older one forgets what was spent"
            )

    def _fasten(self) -> None:
        """Rule §9.15: every row that its anchor does not know is claimed there, in order."""
        if (ledger := self._anchor) is None:
            return
        end = self._known.number + 1
        first = self._anchored or self._first_unknown(ledger, end)
        query = "SELECT number, hash FROM rows WHERE number >= ? AND number < ? ORDER BY number"
        found = self._database.execute(query, (first, end)).fetchall()
        claims = [Anchor(self._name(number), hash_) for number, hash_ in found]
        try:
            ledger.claim_all(claims)
        except Spent:
            raise StorageError(
                f"a row from {first} on is not the one that its anchor knows: it was edited, or an "
                "older copy went on; `secagg budget verify --anchor` says which"
            ) from None
        self._anchored = end

    def _first_unknown(self, ledger: Ledger, end: int) -> int:
        """From the last row that the anchor knows on; all, where it knows none."""
        known = (n for n in range(end - 1, -1, -1) if ledger.claimed(self._name(n)) is not None)
        return next(known, 0)

    def _name(self, number: int) -> bytes:
        return anchor_key(self._opened.id, number)

    @contextmanager
    def _turn(self, what: str) -> Iterator[Accounts]:
        """A transaction that reads what is new, and writes and syncs; then the anchor. One caller
        at a time, and none after a failure."""
        with self._guard:
            if self._process != os.getpid():
                raise StorageError(
                    f"{self._path} was opened before a fork: open it in each process"
                )
            if self._ended is not None:
                raise StorageError(f"{self._path}: refused: {self._ended}")
            try:
                with reported(self._path, what):
                    with self._database:
                        self._database.execute("BEGIN IMMEDIATE")
                        accounts = self._read()
                        self._check_newest()
                        yield accounts
                        file.touch(self._database)
                    self._fasten()
            except StorageError as failed:
                self._ended = f"{what} before; close it, mend the cause and open it again"
                if str(self._path) in str(failed):
                    raise
                raise StorageError(f"{self._path}: {failed}") from failed.__cause__


def _path(given: str | os.PathLike[str]) -> Path:
    try:
        return Path(given).resolve()
    except (TypeError, ValueError):  # another kind of thing; a NUL
        raise ParameterError(f"path must name a file, not {arguments.kind_of(given)}") from None


def _counted(known: Counting, unit: Unit | None, against: Against | None) -> Counting:
    """With what is given of it. Raises ParameterError."""
    return Counting(
        known.unit if unit is None else unit, known.against if against is None else against
    )


def _clock() -> int:
    """For people who read the rows: no rule depends on it."""
    return int(time.time())
