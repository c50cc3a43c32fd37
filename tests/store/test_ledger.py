"""Claims and keys: one wording for ever, whoever races, dies, or fills the disk (03 §4)."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.effects import Claim
from secagg.errors import ParameterError, Spent, StorageError
from secagg.store import ledger as ledgers
from secagg.store import tables
from secagg.store.base import MAX_NOTE, Ledger
from secagg.store.database import checksum, pragma
from secagg.store.ledger import SqliteLedger
from secagg.store.memory import MemoryLedger
from tests.store import faults

KEY, ONE, OTHER = bytes(32), b"1" * 32, b"2" * 32
SESSION = b"session"


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger()
    else:
        with SqliteLedger.open(tmp_path / "ledger.db") as made:
            yield made


def test_a_claim_has_one_digest(ledger: Ledger) -> None:
    """03 §4.1."""
    for _ in range(2):
        ledger.claim(KEY, ONE)
        with pytest.raises(Spent, match="another wording") as refused:
            ledger.claim(KEY, OTHER)
        assert ONE.hex() not in str(refused.value) and KEY.hex() not in str(refused.value)
    ledger.claim(OTHER, OTHER)
    ledger.claim(KEY, ONE)


def test_a_note_is_the_last_one(ledger: Ledger) -> None:
    """03 §4.7: what is there is given to who changes it, and stays where that raises."""
    assert ledger.noted(KEY) is None
    seen: list[bytes | None] = []

    def change(known: bytes | None) -> bytes:
        seen.append(known)
        if known == b"two":
            raise ParameterError("no")
        return b"one" if known is None else b"two"

    assert [ledger.note(KEY, change), ledger.note(KEY, change)] == [b"one", b"two"]
    with pytest.raises(ParameterError, match="no"):
        ledger.note(KEY, change)
    assert seen == [None, b"one", b"two"] and ledger.noted(KEY) == b"two"
    ledger.claim(KEY, ONE)
    assert ledger.claimed(KEY) == ONE and ledger.noted(OTHER) is None
    ledger.note(KEY, lambda known: b"")
    assert ledger.noted(KEY) == b""


def test_notes_that_are_none(ledger: Ledger) -> None:
    for key in (b"", KEY[:31], KEY + b"1"):
        with pytest.raises(ParameterError, match="a key of 32 bytes"):
            ledger.note(key, lambda known: b"")
        with pytest.raises(ParameterError, match="a key of 32 bytes"):
            ledger.noted(key)
    ledger.note(KEY, lambda known: bytes(MAX_NOTE))
    with pytest.raises(ParameterError, match=f"at most {MAX_NOTE} bytes"):
        ledger.note(KEY, lambda known: bytes(MAX_NOTE + 1))
    assert ledger.noted(KEY) == bytes(MAX_NOTE)


def test_notes_of_several(tmp_path: Path) -> None:
    """One step for all who share the ledger: nothing that one of them noted is lost."""
    path = tmp_path / "ledger.db"
    SqliteLedger.open(path).close()

    def count(known: bytes | None) -> bytes:
        return (1 + int.from_bytes(known or b"")).to_bytes(4)

    def work() -> None:
        with SqliteLedger.open(path) as own:
            for _ in range(10):
                own.note(KEY, count)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with SqliteLedger.open(path) as own:
        assert own.noted(KEY) == (40).to_bytes(4)
        assert own.verify() == 1
        own.close()
        with pytest.raises(StorageError, match="closed"):
            own.note(KEY, count)


def test_what_one_message_needs_is_claimed_in_order_up_to_what_is_refused(ledger: Ledger) -> None:
    """03 §4.1: the last is not claimed; of the first, the same is fine afterwards."""
    first, second, third = (Claim(bytes([i]) * 32, ONE) for i in range(3))
    ledger.claim(second.key, OTHER)
    with pytest.raises(Spent, match="another wording"):
        ledger.claim_all([first, second, third])
    ledger.claim(third.key, OTHER)
    ledger.claim_all([first, Claim(second.key, OTHER)])
    for claim in (first, second, third):
        with pytest.raises(Spent):
            ledger.claim(claim.key, KEY)


def test_a_session_ends_with_the_last_claims_or_not_at_all(ledger: Ledger) -> None:
    """03 §4.3: its key is there as long as what it said last may still have to be said."""
    key, last = ledger.key(SESSION), Claim(KEY, ONE)
    ledger.claim(OTHER, ONE)
    with pytest.raises(Spent, match="another wording"):
        ledger.claim_all([last, Claim(OTHER, OTHER)], SESSION)
    assert ledger.key(SESSION) == key
    with pytest.raises(ParameterError):
        ledger.claim_all([], b"")
    ledger.claim_all([last], SESSION)
    with pytest.raises(Spent, match="session has ended"):
        ledger.key(SESSION)
    with pytest.raises(Spent, match="another wording"):
        ledger.claim(KEY, OTHER)


def test_a_key_that_is_found_waits_for_nobody_and_writes_nothing(tmp_path: Path) -> None:
    """03 §4.2: another process in the middle of its own call does not matter."""
    path = tmp_path / "ledger.db"
    with SqliteLedger.open(path) as ledger, SqliteLedger.open(path, patience=0.1) as other:
        key = ledger.key(SESSION)
        before = path.read_bytes()
        with ledger._turn("a claim"):
            assert other.key(SESSION) == key
        assert other.key(SESSION) == key
        assert before != path.read_bytes()  # of the turn alone
        before = path.read_bytes()
        assert other.key(SESSION) == key and path.read_bytes() == before


@pytest.mark.parametrize("read", ["key", "claimed"])
def test_what_another_process_commits_between_is_no_damage(tmp_path: Path, read: str) -> None:
    """Into the bucket that is read, before each statement that reads it."""
    path = tmp_path / "ledger"
    kind, name = (tables.SESSION, SESSION) if read == "key" else (tables.CLAIM, OTHER)
    fresh = (i.to_bytes(len(name)) for i in range(1 << 20))
    beside = (n for n in fresh if tables.bucket_of(kind + n) == tables.bucket_of(kind + name))
    with SqliteLedger.open(path) as mine, SqliteLedger.open(path) as other:
        mine.key(SESSION)
        mine.claim(OTHER, ONE)

        def commit(statement: str) -> None:
            other.key(next(beside)) if read == "key" else other.claim(next(beside), ONE)
            seen.append(statement)

        seen: list[str] = []
        mine._database.set_trace_callback(commit)
        assert getattr(mine, read)(name) is not None
        mine._database.set_trace_callback(None)
        assert seen and mine.verify() == 2 + len(seen)


def test_a_key_is_made_once_and_dies_with_its_session(ledger: Ledger) -> None:
    """03 §4.2, 4.3."""
    key = ledger.key(SESSION)
    assert key == ledger.key(SESSION) != ledger.key(b"another")
    assert len(key.expose()) == 32 and len(set(key.expose())) > 8
    for _ in range(2):
        ledger.end(SESSION)
        with pytest.raises(Spent, match="session has ended"):
            ledger.key(SESSION)
    assert ledger.key(b"another") == ledger.key(b"another")


def test_a_session_may_end_before_it_begins(ledger: Ledger) -> None:
    """03 §4.3: nobody begins it later."""
    ledger.end(SESSION)
    with pytest.raises(Spent):
        ledger.key(SESSION)


@pytest.mark.parametrize(
    "use",
    [
        lambda ledger: ledger.claim(KEY[:-1], ONE),
        lambda ledger: ledger.claim(KEY, ONE + b"1"),
        lambda ledger: ledger.key(b""),
        lambda ledger: ledger.key(bytes(65)),
        lambda ledger: ledger.end(b""),
    ],
)
def test_other_sizes_are_refused_and_the_ledger_goes_on(
    ledger: Ledger, use: Callable[[Ledger], object]
) -> None:
    with pytest.raises(ParameterError, match="bytes, not"):
        use(ledger)
    ledger.claim(KEY, ONE)


CALLS = st.lists(
    st.tuples(st.sampled_from(["claim", "key", "end", "reopen"]), st.integers(0, 3), st.booleans()),
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(calls=CALLS)
def test_the_file_is_the_dictionary(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[str, int, bool]]
) -> None:
    """Every order of calls, with reopenings; keys are drawn alike."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    memory = MemoryLedger(Counting())
    ledger, randomness = None, Counting()
    for call, which, flag in calls:
        if ledger is None or call == "reopen":
            if ledger is not None:
                ledger.close()
            ledger = SqliteLedger.open(path, randomness=randomness)
        name = bytes([which]) * 32
        if call == "claim":
            both = [_outcome(one.claim, name, bytes([flag]) * 32) for one in (memory, ledger)]
        elif call == "key":
            both = [_outcome(one.key, name) for one in (memory, ledger)]
        else:
            both = [_outcome(one.end, name) if call == "end" else None for one in (memory, ledger)]
        assert both[0] == both[1]
    if ledger is not None:
        ledger.close()


class Counting:
    def __init__(self) -> None:
        self.drawn = 0

    def __call__(self, size: int) -> bytes:
        self.drawn += 1
        return bytes([self.drawn]) * size


def _outcome(call: Callable[..., object], *arguments: bytes) -> object:
    try:
        return call(*arguments)
    except Spent:
        return Spent


# Processes

CHILD = """
import sys
from secagg.errors import Spent, StorageError
from secagg.store.ledger import SqliteLedger
path = sys.argv[1]
def name(number):
    return number.to_bytes(32)
"""


def _child(code: str, path: Path, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD + code, str(path), *options.pop("args", ())]  # type: ignore[misc]
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, cwd=root, **options
    )  # type: ignore[call-overload, no-any-return]


RACING = """
me = name(int(sys.argv[2]))
with SqliteLedger.open(path) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(60):
        try:
            ledger.claim(name(number), me)
            print(number)
        except Spent:
            pass
    print("key", ledger.key(b"session").expose().hex())
"""


def test_of_two_processes_that_claim_the_same_exactly_one_wins(tmp_path: Path) -> None:
    """Row 94, 03 §4.1: whoever comes second is told, and both have the same key of a session."""
    path = tmp_path / "ledger.db"
    children = [_child(RACING, path, args=[str(number)]) for number in (1, 2)]
    for child in children:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
    said = []
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    for child in children:
        said.append(child.communicate()[0].splitlines())
        assert child.returncode == 0
    keys = {one.pop() for one in said}
    assert len(keys) == 1
    won = [{int(line) for line in one} for one in said]
    assert won[0] | won[1] == set(range(60)) and not won[0] & won[1]
    with SqliteLedger.open(path) as ledger:
        for winner, numbers in enumerate(won, start=1):
            for number in numbers:
                ledger.claim(number.to_bytes(32), winner.to_bytes(32))
                with pytest.raises(Spent):
                    ledger.claim(number.to_bytes(32), (3 - winner).to_bytes(32))


def test_two_processes_make_one_ledger(tmp_path: Path) -> None:
    """Neither puts its own in place of the other's, with a claim in it."""
    code = """
for number in range(40):
    sys.stdin.readline()
    with SqliteLedger.open(f"{path}-{number}") as ledger:
        try:
            ledger.claim(name(0), name(int(sys.argv[2])))
            print("won", flush=True)
        except Spent:
            print("spent", flush=True)
"""
    children = [_child(code, tmp_path / "ledger.db", args=[str(number)]) for number in (1, 2)]
    for _ in range(40):
        for child in children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        said = [child.stdout.readline() for child in children if child.stdout is not None]
        assert sorted(said) == ["spent\n", "won\n"]
    for child in children:
        child.communicate()


def test_two_objects_and_threads_of_one_process(tmp_path: Path) -> None:
    """SQLite's locks belong to the process: no object may take away those of another."""
    ledgers = [SqliteLedger.open(tmp_path / "ledger.db") for _ in range(2)]
    won: list[set[int]] = [set(), set(), set(), set()]

    def work(worker: int) -> None:
        for number in range(30):
            if (
                _outcome(ledgers[worker % 2].claim, bytes([number]) * 32, bytes([worker]) * 32)
                is None
            ):
                won[worker].add(number)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(n for one in won for n in one) == list(range(30))
    for ledger in ledgers:
        ledger.close()


def test_a_ledger_that_is_busy_for_too_long(tmp_path: Path) -> None:
    """A process that is stopped in the middle of a call: nothing is claimed, and nothing lost."""
    path = tmp_path / "ledger.db"
    with SqliteLedger.open(path) as first, SqliteLedger.open(path, patience=0.01) as second:
        first._database.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match=r"ledger\.db: the claim was not stored.*locked"):
            second.claim(KEY, ONE)
        first._database.execute("ROLLBACK")
        first.claim(KEY, OTHER)
        with pytest.raises(StorageError, match="refused"):
            second.claim(KEY, ONE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_ledger_is_not_carried_across_a_fork(tmp_path: Path) -> None:
    """Row 63: the child would hold the parent's locks, or believe so."""
    with SqliteLedger.open(tmp_path / "ledger.db") as ledger:
        child = os.fork()
        if not child:
            try:
                ledger.claim(KEY, ONE)
            except StorageError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        ledger.claim(KEY, OTHER)


# Rows 90, 95, 96: dying and failing at every system call

CLAIMING = (
    CHILD
    + """
print("opening", flush=True)
ledger = None
try:
    ledger = SqliteLedger.open(path)
    for number in range(2):
        ledger.claim(name(number), name(number))
        print("claimed", flush=True)
    ledger.key(b"session")
    print("key", flush=True)
    ledger.end(b"session")
    print("ended", flush=True)
    ledger.claim(name(0), name(0))  # known already, and synced all the same
    print("known", flush=True)
except StorageError:
    print("stopped", flush=True)
    try:
        ledger and ledger.claim(name(9), name(9))
        print("accepted " * (ledger is not None))
    except StorageError:
        pass
"""
)
SAID = ["opening", "claimed", "claimed", "key", "ended", "known"]


def _nothing_acknowledged_is_lost(path: Path, said: list[str]) -> None:
    assert "accepted" not in said
    with SqliteLedger.open(path) as ledger:
        for number in range(said.count("claimed")):
            with pytest.raises(Spent):
                ledger.claim(number.to_bytes(32), OTHER)
        if "ended" in said:
            with pytest.raises(Spent):
                ledger.key(SESSION)
        ledger.claim((9).to_bytes(32), OTHER)  # nothing that was refused was claimed


@faults.needs_strace
def test_killed_at_every_call_of_the_system_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """Row 90: SIGKILL before each write, sync, truncation and rename, from the file's making on."""
    traced = faults.whole(CLAIMING, tmp_path / "whole.db")
    assert traced.said == SAID
    seen = set()
    for name in faults.WATCHED:
        for nth, path in faults.in_folders(tmp_path, name, traced.places(name)):
            died = faults.run(CLAIMING, path, "-e", f"inject={name}:signal=KILL:when={nth}")
            assert died.code == -signal.SIGKILL and died.said == SAID[: len(died.said)]
            _nothing_acknowledged_is_lost(path, died.said)
            seen.add(len(died.said))
    assert seen >= set(range(1, len(SAID))), "every stage died once"


@faults.needs_strace
@pytest.mark.parametrize(
    ("error", "names"),
    [
        ("ENOSPC", ["pwrite64"]),
        ("EROFS", ["pwrite64"]),
        ("EIO", ["fdatasync", "fsync", "ftruncate"]),
    ],
)
def test_a_disk_that_is_full_or_fails_stops_the_ledger(
    tmp_path: Path, error: str, names: list[str]
) -> None:
    """Rows 95 and 96: at one write or sync; the next would succeed, and is not asked.

    SQLite passes over an error of syncing the folder, for the name of its journal. That name was
    made when the ledger was, and stays.
    """
    traced = faults.whole(CLAIMING, tmp_path / "whole.db")
    for name in names:
        numbers = traced.places(name, beside=tmp_path)
        for nth, path in faults.in_folders(tmp_path, name, numbers):
            said = faults.run(CLAIMING, path, "-e", f"inject={name}:error={error}:when={nth}").said
            assert said[-1] == "stopped" and said[:-1] == SAID[: len(said) - 1]
            _nothing_acknowledged_is_lost(path, said)


@faults.needs_strace
def test_a_ledger_whose_folder_may_not_be_written_any_more(tmp_path: Path) -> None:
    """Row 101: permission is lost between two calls; root would pass over a mode."""
    faults.whole(CLAIMING, tmp_path / "whole.db")
    path = tmp_path / "ledger.db"
    SqliteLedger.open(path).close()
    for nth in (2, 4):
        journal = f"{path}-journal"
        fault = ("-P", journal, "-e", f"inject=openat:error=EACCES:when={nth}+")
        said = faults.run(CLAIMING, path, *fault).said
        assert said[-1] == "stopped" and 0 < len(said) < len(SAID)
        _nothing_acknowledged_is_lost(path, said)


@faults.needs_strace
def test_what_is_acknowledged_was_synced(tmp_path: Path) -> None:
    """Row 96: after the last write or truncation of each call comes a sync of that file, also where
    the claim is known already: it may be somebody's who died before the sync."""
    dirty: set[str] = set()
    syncs = 0
    for call in faults.whole(CLAIMING, tmp_path / "ledger.db").calls:
        name, _, rest = call.partition("(")
        file = rest.partition("<")[2].partition(">")[0]
        if name in ("pwrite64", "ftruncate"):
            dirty.add(file)
        elif name in ("fsync", "fdatasync"):
            dirty.discard(file)
            syncs += 1
        elif name == "write" and any(f'"{word}' in rest for word in SAID):
            assert not {f for f in dirty if not f.endswith("-new")}, call
            assert syncs or "opening" in rest
            syncs = 0


def test_no_room_and_no_permission(tmp_path: Path) -> None:
    """Row 101: folders that are missing or refuse, and a file that is open to others."""
    (tmp_path / "file").touch()
    folders = [tmp_path / "missing", tmp_path / "file"]
    if Path("/proc/self").is_dir():  # read-only even for root
        folders.append(Path("/proc/self"))
    for folder in folders:
        with pytest.raises(StorageError, match=r"ledger\.db: it cannot be opened"):
            SqliteLedger.open(folder / "ledger.db")
    path = tmp_path / "ledger.db"
    SqliteLedger.open(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(StorageError, match="chmod"):
        SqliteLedger.open(path)


# Damage, copies, and what is left of a key


def _filled(path: Path) -> Path:
    with SqliteLedger.open(path) as ledger:
        for number in range(200):
            ledger.claim(number.to_bytes(32), number.to_bytes(32))
        for number in range(20):
            ledger.key(b"%d" % number)
    return path


def _damaged(path: Path, change: Callable[[bytearray], None]) -> str:
    """In place: a copy would be refused for being one. Every claim and key is asked for: none is
    forgotten, whatever is refused, and when."""
    before = path.read_bytes()
    data = bytearray(before)
    change(data)
    path.write_bytes(data)
    try:
        with SqliteLedger.open(path) as ledger:
            for number in range(200):
                with pytest.raises(Spent):
                    ledger.claim(number.to_bytes(32), OTHER)
            for number in range(20):
                ledger.key(b"%d" % number)
            assert ledger.verify() == 220
        return "whole"
    except StorageError:
        return "refused"
    finally:
        path.write_bytes(before)


def test_flipped_bytes_and_cut_files_are_refused(tmp_path: Path) -> None:
    """Row 97: no claim is forgotten in silence, and an empty file is not a new ledger."""
    path = _filled(tmp_path / "ledger.db")
    size = path.stat().st_size

    def flip(position: int) -> Callable[[bytearray], None]:
        def change(data: bytearray) -> None:
            data[position] ^= 0x41

        return change

    def cut(length: int) -> Callable[[bytearray], None]:
        return lambda data: data.__delitem__(slice(length, None))

    flipped = [_damaged(path, flip(p)) for p in [*range(0, 100, 3), *range(100, size, size // 90)]]
    assert flipped.count("refused") > len(flipped) // 2
    lengths = [0, 1, 15, 16, 99, 100, *range(512, size, size // 20)]
    assert {_damaged(path, cut(length)) for length in lengths} == {"refused"}
    assert _damaged(path, lambda data: None) == "whole"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("PRAGMA application_id = 7", "no ledger"),
        ("PRAGMA user_version = 1", "version 1.*until its sessions have ended"),
        ("CREATE TABLE more (x)", "damaged"),
        ("DELETE FROM head", "damaged"),
        ("UPDATE head SET total = zeroblob(16)", "damaged"),
        ("UPDATE buckets SET total = zeroblob(16)", "damaged"),
        ("UPDATE buckets SET total = 'text'", "other types"),
        ("DELETE FROM buckets WHERE number = 7", "a bucket is missing"),
    ],
)
def test_what_was_changed_behind_its_back(tmp_path: Path, statement: str, message: str) -> None:
    """Rows 97 and 102."""
    path = tmp_path / "ledger.db"
    with SqliteLedger.open(path) as ledger:
        ledger.claim(KEY, ONE)
        ledger.key(SESSION)
    _change(path, statement)
    with pytest.raises(StorageError, match=message):
        SqliteLedger.open(path)


def _change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM rows", "rows are missing"),
        ("UPDATE rows SET value = zeroblob(32)", "checksum"),
        ("UPDATE rows SET value = 'text'", "other types"),
        ("UPDATE rows SET bucket = 5000", "missing|another bucket"),
        ("UPDATE buckets SET total = zeroblob(16)", "rows are missing"),
        ("DELETE FROM buckets", "a bucket is missing"),
    ],
)
def test_what_was_changed_is_seen_by_whoever_asks_for_it(
    tmp_path: Path, statement: str, message: str
) -> None:
    """Rows 97 and 102: also while it is open; nothing is answered from what is not whole."""
    asks: tuple[Callable[[SqliteLedger], object], ...] = (
        lambda ledger: ledger.claim(KEY, OTHER),
        lambda ledger: ledger.claimed(KEY),
        lambda ledger: ledger.key(SESSION),
        lambda ledger: ledger.end(SESSION),
        lambda ledger: ledger.verify(),
    )
    for ask in asks:
        path = tmp_path / "ledger.db"
        path.unlink(missing_ok=True)
        with SqliteLedger.open(path) as ledger:
            ledger.claim(KEY, ONE)
            ledger.key(SESSION)
            _change(path, statement)
            with pytest.raises(StorageError, match=message):
                ask(ledger)
            with pytest.raises(StorageError, match="refused"):
                ledger.claim(OTHER, ONE)


def test_what_is_damaged_elsewhere_is_for_verify_to_see(tmp_path: Path) -> None:
    """Row 97: rows have no part in answers about others, so that opening need not read them all;
    all of them are read where somebody asks for it, or a ledger is moved."""
    path = _filled(tmp_path / "ledger.db")
    name = tables.CLAIM + (7).to_bytes(32)
    before = path.read_bytes()
    _change(path, f"DELETE FROM rows WHERE name = x'{name.hex()}'")
    with SqliteLedger.open(path) as ledger:
        elsewhere = [n for n in range(200) if tables.bucket_of(_row(n)) != tables.bucket_of(name)]
        for number in elsewhere:
            ledger.claim(number.to_bytes(32), number.to_bytes(32))
        with pytest.raises(StorageError, match="rows are missing"):
            ledger.verify()
    with pytest.raises(StorageError, match="rows are missing"):
        SqliteLedger.open(path, moved=True)
    path.write_bytes(before)
    with SqliteLedger.open(path, moved=True) as ledger:
        assert ledger.verify() == 220


def _row(number: int) -> bytes:
    return tables.CLAIM + number.to_bytes(32)


def test_opening_and_claiming_read_a_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they take does not grow with what is kept: in checksums, and in steps of SQLite's, as
    time is the machine's."""
    sums = [0]

    def counted(key: bytes, value: bytes) -> bytes:
        sums[0] += 1
        return checksum(key, value)

    path = tmp_path / "ledger.db"
    steps = []
    for start, end in ((0, 200), (200, 40_000)):
        with SqliteLedger.open(path) as ledger:
            ledger.claim_all([Claim(n.to_bytes(32), ONE) for n in range(start, end)])
        with monkeypatch.context() as counting:
            counting.setattr(tables, "checksum", counted)
            sums[0] = 0
            with SqliteLedger.open(path) as ledger:
                steps.append(_steps(ledger, lambda led: led.claim(KEY, ONE)))
        assert sums[0] < tables.BUCKETS + 4 * 40_000 / tables.BUCKETS
    assert steps[1] < 1.5 * steps[0] + 40_000 / tables.BUCKETS * 30, steps


def _steps(ledger: SqliteLedger, call: Callable[[SqliteLedger], object]) -> int:
    """Of SQLite's machine."""
    seen = [0]

    def step() -> None:
        seen[0] += 1

    ledger._database.set_progress_handler(step, 1)
    call(ledger)
    ledger._database.set_progress_handler(None, 1)
    return seen[0]


def test_a_copy_is_refused_and_a_ledger_that_was_moved_is_not(tmp_path: Path) -> None:
    """Row 98: a file that was restored from a backup lacks claims. Its number gives it away."""
    path, backup = tmp_path / "ledger.db", tmp_path / "backup"
    SqliteLedger.open(path).close()
    shutil.copy(path, backup)
    with SqliteLedger.open(path) as ledger:
        ledger.claim(KEY, ONE)
    path.rename(tmp_path / "kept")  # so that its number is not given to the copy
    shutil.copy(backup, path)
    with pytest.raises(StorageError, match=r"is a copy, or was moved.*moved=True"):
        SqliteLedger.open(path)
    with SqliteLedger.open(path, moved=True) as ledger:
        ledger.claim(KEY, OTHER)
    SqliteLedger.open(path).close()  # at home from then on


def test_a_journal_without_its_ledger(tmp_path: Path) -> None:
    """Row 97: an empty ledger in its place would forget."""
    (tmp_path / "ledger.db-journal").write_bytes(b"torn")
    with pytest.raises(StorageError, match="is missing, but its journal"):
        SqliteLedger.open(tmp_path / "ledger.db")


def test_a_creation_that_was_cut_short(tmp_path: Path) -> None:
    """Row 90."""
    for name in ("ledger.db-new", "ledger.db-new-journal"):
        (tmp_path / name).write_bytes(b"half")
    with SqliteLedger.open(tmp_path / "ledger.db") as ledger:
        ledger.claim(KEY, ONE)
    names = {path.name for path in tmp_path.iterdir()}
    assert names <= {"ledger.db", "ledger.db-lock", "ledger.db-journal"}


def test_of_a_destroyed_key_no_byte_is_left(tmp_path: Path) -> None:
    """03 §4.3: in no file of the ledger, while it is open and after."""
    with SqliteLedger.open(tmp_path / "ledger.db") as ledger:
        keys = [ledger.key(b"%d" % number).expose() for number in range(100)]
        assert keys[50][:8] in (tmp_path / "ledger.db").read_bytes()
        for number in range(0, 100, 2):
            ledger.end(b"%d" % number)
        left = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert [key[:8] in left for key in keys] == [False, True] * 50


def test_nothing_secret_is_shown(ledger: Ledger) -> None:
    key = ledger.key(SESSION)
    assert key.expose().hex() not in repr((ledger, vars(ledger), key))


@pytest.mark.parametrize("use", [lambda led: led.claim(KEY, ONE), lambda led: led.key(SESSION)])
def test_a_closed_ledger_refuses(tmp_path: Path, use: Callable[[Ledger], object]) -> None:
    ledger = SqliteLedger.open(tmp_path / "ledger.db")
    ledger.close()
    ledger.close()
    with pytest.raises(StorageError, match="closed"):
        use(ledger)


def test_the_settings_that_durability_rests_on(tmp_path: Path) -> None:
    with SqliteLedger.open(tmp_path / "ledger.db") as ledger:
        found = {
            name: pragma(ledger._database, name)
            for name in ("journal_mode", "synchronous", "secure_delete")
        }
    assert found == {"journal_mode": "truncate", "synchronous": 2, "secure_delete": 1}
    assert ledgers.PATIENCE > 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no file that is open")
@pytest.mark.parametrize("replaced", [True, False])
def test_a_ledger_that_is_gone_claims_nothing(replaced: bool, tmp_path: Path) -> None:
    """Row 97: what is written in a file without a name is found by no other life."""
    path, other = tmp_path / "ledger", tmp_path / "other"
    SqliteLedger.open(other).close()
    with SqliteLedger.open(path) as held:
        held.claim(KEY, ONE)
        if replaced:
            os.replace(other, path)
        else:
            path.unlink()
        with pytest.raises(StorageError, match="was removed, or replaced"):
            held.claim(OTHER, ONE)
        with pytest.raises(StorageError):
            held.note(OTHER, lambda known: b"x")
        assert held.failed
