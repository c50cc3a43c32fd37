"""What SIGKILL leaves of a service: every round is exact or lost, whoever is killed and whenever.

Rows of `memory`: a server, or a client, of four dies at every moment that there is, before and
after each transaction, claim and frame, by a clock that is a number (tests/rounds/kills.py).
`moments`: a service over TLS as a process, four clients as processes; it dies at each moment from
its start to its first sum, before and after each transaction and frame, each time in a new town.
`random`: the same, and six clients of which four are wanted; whoever the lot falls on is killed
after a random time and started again, two in three times the service, else a client, which has its
ledger on disk.
`ready`: a service with so many stored rounds, as a command from the outset, until it listens.

The oracle is bench.service_oracle's: of each result in the store it is added up in Python's
integers whose inputs it has. Then every client's word is held against it: who heard that it is in a
sum is in a result that is kept, who heard that it is not is in none. A row that is there is a row
in which that was so.

ready: seconds with a thousand rounds / the bar.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.common import Missing, Ratio, Row, Selection, main, pick, progress
from bench.service_ground import HOST, STATE, Ground, Tasked, ground, until
from bench.service_mortal import Cast
from bench.service_oracle import check
from secagg.effects import Write
from secagg.errors import IntegrityError, SecAggError
from secagg.rounds.base import END, ROUNDS
from secagg.rounds.farewell import Farewell
from secagg.service.audit import Deed
from secagg.service.books import OWNER, Books
from secagg.service.results import NAMESPACE, Result, arrays_key
from secagg.service.serving import IDENTITY, STORE
from secagg.store.identity import Identity
from secagg.store.sqlite import SqliteStore
from secagg.wire.frame import NONCE_SIZE, Over
from secagg.wire.hello import Service

NAME: str = "service-crash"

READY = 2.0
"""Seconds: the bar."""
STORED = 1000
CLIENTS, D = 4, 64
GRID: list[Row] = [
    *({"run": "memory", "victim": victim} for victim in ("server", "client")),
    {"run": "moments", "victim": "server", "most": 200},
    {"run": "random", "victim": "any", "kills": 300},
    {"run": "ready", "stored": STORED, "d": 1000},
]
LONGEST = 120.0
"""Seconds that nothing takes unless it hangs."""
STRAIGHT = 'deadlines = { default = "5s" }'


def rows(selection: Selection) -> Iterator[Row]:
    runs: dict[str, Callable[..., Row]] = {
        "memory": _in_memory,
        "moments": _at_moments,
        "random": _at_random,
        "ready": _ready,
    }
    for case in selection.cases(GRID):
        given = {name: value for name, value in case.items() if name != "run"}
        yield case | runs[str(case["run"])](**given)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    full = pick(rows, run="ready", stored=STORED)
    absent = Missing(f"needs the row run=ready,stored={STORED}")
    return {"ready": absent if full is None else full["seconds"] / READY}


def _in_memory(victim: str) -> Row:
    from tests.rounds.kills import Scene, deaths
    from tests.rounds.test_kills import BEFORE, PLUS, SECAGG, end_of

    ends: Counter[str] = Counter()
    for plan in (SECAGG, PLUS):
        for gone in (None, BEFORE):
            who = "server" if victim == "server" else "a"
            ends.update(map(end_of, deaths(Scene(plan, gone, victim=who))))
    return {"moments": sum(ends.values()), "ends": dict(ends)}


def _at_moments(victim: str, most: int) -> Row:
    """Each in a town of its own, where nobody has missed anything yet."""
    counts, deaths = Counter[str](), 0
    with progress("moments") as tell:
        for at in range(1, most + 1):
            died, words = _at_moment(at)
            counts.update(words["told"])
            if not died:
                break
            deaths += 1
            tell("deaths", at, most)
    return {"died": deaths, "all": deaths < most, "exact": True, "told": dict(counts)}


def _at_moment(at: int) -> tuple[bool, Row]:
    """Whether the service came so far before a round was over, and what is so when all is over."""
    task = Tasked("crash", range(CLIENTS), CLIENTS, D, CLIENTS, dropout=0.25, more=(STRAIGHT,))
    with ground(task) as place, TemporaryDirectory() as folder:
        cast = Cast(place, task, Path(folder))
        try:
            process, end = cast.serve(at), time.monotonic() + LONGEST
            until(lambda: cast.listens or not process.is_alive(), LONGEST, "a service")
            for member in task.members:
                cast.attend(member)
            while process.is_alive() and not _has_sum(cast) and time.monotonic() < end:
                process.join(0.02)
            died = process.exitcode is not None
            return died, _settled(cast)
        finally:
            cast.close()


def _has_sum(cast: Cast) -> bool:
    try:
        return bool(cast.ground.ask(do="results")["results"])
    except SecAggError:
        return False


def _at_random(victim: str, kills: int) -> Row:
    lot = np.random.default_rng(1)
    members = range(CLIENTS + 2)
    task = Tasked("crash", members, CLIENTS, D, CLIENTS, dropout=0.25, more=(STRAIGHT,))
    with ground(task) as place, TemporaryDirectory() as folder, progress("random") as tell:
        cast, killed = Cast(place, task, Path(folder)), Counter[str]()
        try:
            for member in task.members:
                cast.attend(member)
            cast.serve()
            for number in range(kills):
                until(lambda: cast.listens, LONGEST, "a service that was killed")
                _in_a_round(cast, patience=float(lot.choice([0.0, 2.0, 2.0])))
                time.sleep(lot.uniform(0.0, 0.3))
                if lot.random() < 2 / 3:
                    _killed(cast.server)
                    killed["server"] += 1
                    cast.serve()
                else:
                    member = int(lot.choice(members))
                    _killed(cast.clients[member])
                    killed["client"] += 1
                    cast.attend(member)
                tell("kills", number + 1, kills)
            return {"killed": dict(killed), **_settled(cast)}
        finally:
            cast.close()


def _killed(process: object) -> None:
    process.kill()  # type: ignore[attr-defined]
    process.join()  # type: ignore[attr-defined]


def _in_a_round(cast: Cast, patience: float) -> None:
    """Until a round runs, or so many seconds are over."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        _unpaused(cast)
        try:
            if cast.ground.ask()["tasks"]["crash"]["running"]:
                return
        except SecAggError:
            """It does not listen yet."""
        time.sleep(0.02)


def _unpaused(cast: Cast) -> None:
    try:
        if cast.ground.ask()["tasks"]["crash"]["held"] is not None:
            cast.ground.ask(do="resume", name="crash")
    except SecAggError:
        """It has died, or does not listen yet."""


def _settled(cast: Cast) -> Row:
    """Nobody dies any more, one more round ends in a sum, and all is held against each other."""
    _killed(cast.server)
    before = len(stored(cast.ground, cast.task))
    cast.serve()
    until(lambda: cast.listens, LONGEST, "a service that was killed")

    def done() -> bool:
        _unpaused(cast)
        listed = cast.ground.ask(do="results")
        return len(listed["results"]) > before

    until(done, LONGEST, "a round when nobody dies any more")
    time.sleep(1.0)
    cast.close()
    return compared(stored(cast.ground, cast.task), cast.told())


def stored(place: Ground, task: Tasked) -> dict[str, list[int]]:
    """By nonce of each result in the store, who is in it: exact, or IntegrityError."""
    with Identity.open(place.folder / STATE / IDENTITY) as identity:
        service = Service(HOST, identity.public)
    found: dict[str, list[int]] = {}
    with (
        SqliteStore.open(place.folder / STATE / STORE, owner=service.digest) as store,
        TemporaryDirectory() as folder,
    ):
        books = Books(service)
        books.restore(store.rows())
        rows = dict(store.rows())
        for one in books.results.all():
            path = Path(folder) / f"x-{one.nonce.hex()[:8]}.npz"
            path.write_bytes(rows[arrays_key(one.nonce)])
            found[one.nonce.hex()] = check(task, path)
            if len(found[one.nonce.hex()]) != one.contributors:
                raise IntegrityError("a result is of another number of clients than is said of it")
    return found


def compared(results: Mapping[str, list[int]], told: Sequence[tuple[int, Row]]) -> Row:
    """Counts; IntegrityError where a client heard what is not so."""
    counts: Counter[str] = Counter()
    for member, word in told:
        nonce, included = word["nonce"], word["included"]
        summed = member in results.get(nonce, ())
        if included and not summed:
            raise IntegrityError(f"member {member} is in no kept sum of {nonce}, and heard it is")
        if included is False and summed:
            raise IntegrityError(f"member {member} is in the sum of {nonce}, and heard it is not")
        if word["reason"] is None and nonce not in results:
            raise IntegrityError(f"member {member} heard of a sum of {nonce}, and none is kept")
        counts[" ".join(filter(None, (word["reason"] or "sum", word["why"])))] += 1
    return {"sums": len(results), "exact": True, "words": len(told), "told": dict(counts)}


def _ready(stored: int, d: int) -> Row:
    task = Tasked("crash", range(CLIENTS), CLIENTS, d, CLIENTS, dropout=0.25)
    with ground(task) as place:
        _filled(place, task, stored)
        size = place.store.stat().st_size
        seconds = []
        for _ in range(3):
            begun = time.monotonic()
            server = place.start()
            seconds.append(time.monotonic() - begun)
            server.kill()
        return {"seconds": min(seconds), "slowest": max(seconds), "bytes": size}


def _filled(place: Ground, task: Tasked, number: int) -> None:
    """As so many rounds leave it: results, ends, and lines of the audit."""
    with Identity.open(place.folder / STATE / IDENTITY) as identity:
        service = Service(HOST, identity.public)
    with SqliteStore.open(place.folder / STATE / STORE, owner=service.digest) as store:
        books = Books(service)
        books.restore(store.rows())
        data = np.zeros(task.d, np.int64).tobytes()
        for i in range(number):
            nonce = (i + 1).to_bytes(NONCE_SIZE)
            said = {"slot": 0.0, "payload": 0.0}
            one = Result(task.name, nonce, i, CLIENTS, 0, said, "", len(data))
            about = Write(NAMESPACE + ROUNDS + b"a" + nonce, one.encode())
            end = Farewell(Over(nonce, None, CLIENTS, 0)).encode()
            line = books.note(Deed.ENDED, OWNER, i, task=task.name, round=nonce.hex()[:8])
            writes = [about, Write(arrays_key(nonce), data), Write(nonce + ROUNDS + END, end), line]
            store.commit(writes)


if __name__ == "__main__":
    main(NAME)
