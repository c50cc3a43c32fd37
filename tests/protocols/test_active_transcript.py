"""Transcripts of active mode, verified by who was not there (specs/12-active.md §7, rule Q1;
T23)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from secagg.errors import (
    CryptoError,
    InvalidSignature,
    ParameterError,
    RemoteProtocolError,
    SecAggError,
    Truncated,
    WireError,
)
from secagg.proved import Verified
from secagg.roster import Roster, SignedRoster
from secagg.testing import Act, Network, Schedule
from secagg_protocols.secagg.active.params import ActiveParams
from secagg_protocols.secagg.active.verifying import verify_transcript
from tests.active import ADMIN_SEED, COMMITTEE, REGULAR, Cast, opener_of

SMALL = Cast(ActiveParams(3, 2, 2, 3, 3, 3, 2), corrupted=0)
"""Three clients: of its transcript every byte is flipped."""
CASTS = {
    "three": SMALL,
    "four": Cast(ActiveParams(4, 3, 3, 4, 3, 4, 3), places=6),
    "complete": Cast(places=9),
    "regular": Cast(REGULAR),
    "committee": Cast(COMMITTEE),
}
REFUSED = (WireError, CryptoError, ParameterError, RemoteProtocolError)


def ran(cast: Cast, schedule: Schedule | None = None) -> Network:
    network = cast.network(schedule)
    network.run()
    return network


@cache
def transcript(name: str) -> bytes:
    return written(ran(CASTS[name]))


def written(network: Network) -> bytes:
    return b"".join(network.server.transcript())


def verified(data: bytes, cast: Cast, signed: SignedRoster | None = None) -> Verified:
    return verify_transcript(data, signed or cast.signed, opener_of(cast))


def records(data: bytes) -> list[bytes]:
    """Each with its length."""
    found, at = [], 1
    while at < len(data):
        size = 4 + int.from_bytes(data[at : at + 4])
        found.append(data[at : at + size])
        at += size
    return found


@pytest.mark.parametrize("name", CASTS)
def test_a_finished_session_is_what_its_transcript_says(name: str) -> None:
    cast = CASTS[name]
    network = ran(cast)
    found = verified(written(network), cast)
    everyone = frozenset(cast.parties)
    assert found.finished and found.members == found.sharers == found.survivors == everyone
    assert found.answered == everyone and found.agreed is not None
    assert len(found.agreed) == found.quorum <= found.signers
    assert found.survivors == network.server.result().contributors
    assert (found.epoch, found.places) == (cast.epoch, cast.roster.size)
    assert found.offer == cast.session.offer("secagg") and found.plan_digest


@pytest.mark.parametrize("name", ["complete", "regular", "committee"])
@pytest.mark.parametrize("phase", ["share-keys", "masked-input", "consistency", "unmask"])
def test_whoever_is_lost_is_in_the_sets_that_it_came_to(name: str, phase: str) -> None:
    cast = CASTS[name]
    lost = cast.parties[2]
    found = verified(written(ran(cast, Schedule({(phase, lost): Act.GONE}))), cast)
    assert lost in found.members
    sets = {"share-keys": found.sharers, "masked-input": found.survivors}
    sets |= {"consistency": found.answered, "unmask": found.answered}
    assert lost not in (sets[phase] or ())
    assert (lost in (found.survivors or ())) is (phase in ("consistency", "unmask"))


# Nothing that was changed is verified


def refused(data: bytes, cast: Cast, signed: SignedRoster | None = None) -> SecAggError:
    with pytest.raises(REFUSED) as caught:
        verified(data, cast, signed)
    return caught.value


def test_any_flipped_byte_of_a_finished_transcript_is_refused() -> None:
    data = transcript("three")
    assert verified(data, SMALL).finished
    kept = [at for at in range(len(data)) if not _refused_at(data, at, SMALL)]
    assert kept == []


@pytest.mark.parametrize("name", ["four", "complete", "regular", "committee"])
def test_any_of_many_flipped_bytes_of_a_larger_one_is_refused(name: str) -> None:
    data = transcript(name)
    step = len(data) // 200 | 1
    places = {*range(0, len(data), step), *range(len(data) - 8, len(data))}
    assert [at for at in sorted(places) if not _refused_at(data, at, CASTS[name])] == []


@pytest.mark.parametrize("number", range(2, 7))
def test_any_flipped_byte_of_an_unfinished_one_is_refused(number: int) -> None:
    """Where no head is signed yet, each statement is by itself."""
    data = b"\x01" + b"".join(records(transcript("four"))[:number])
    assert verified(data, CASTS["four"]).result is None
    start = len(data) - len(records(data)[-1])
    places = range(start, len(data), 7)
    assert [at for at in places if not _refused_at(data, at, CASTS["four"])] == []


def _refused_at(data: bytes, at: int, cast: Cast) -> bool:
    changed = bytearray(data)
    changed[at] ^= 1 << at % 8
    try:
        verified(bytes(changed), cast)
    except REFUSED:
        return True
    return False


def test_what_ends_within_a_record_is_none_and_behind_one_is_unfinished() -> None:
    """Rule Q1. With the first record alone nothing is signed."""
    cast, data = CASTS["four"], transcript("four")
    ends, at = {}, 1
    for number, record in enumerate(records(data), 1):
        at += len(record)
        ends[at] = number
    assert list(ends.values()) == [1, 2, 3, 4, 5, 6, 7]
    fields = ["members", "sharers", "survivors", "agreed", "answered", "result"]
    for end in range(len(data)):
        if ends.get(end, 1) == 1:
            assert isinstance(refused(data[:end], cast), Truncated), end
            continue
        found = verified(data[:end], cast)
        assert not found.finished
        there = [name for name in fields if getattr(found, name) is not None]
        assert there == fields[: ends[end] - 1]


@pytest.mark.parametrize("first", range(6))
def test_records_that_change_places_are_refused(first: int) -> None:
    whole = records(transcript("four"))
    for second in range(first + 1, 7):
        swapped = list(whole)
        swapped[first], swapped[second] = whole[second], whole[first]
        assert isinstance(refused(b"\x01" + b"".join(swapped), CASTS["four"]), WireError)


@pytest.mark.parametrize("number", range(7))
def test_a_record_twice_or_left_out_is_refused(number: int) -> None:
    whole = records(transcript("four"))
    twice = whole[: number + 1] + whole[number:]
    without = whole[:number] + whole[number + 1 :]
    assert isinstance(refused(b"\x01" + b"".join(twice), CASTS["four"]), WireError)
    if number < 6:
        assert isinstance(refused(b"\x01" + b"".join(without), CASTS["four"]), WireError)


@pytest.mark.parametrize("number", range(7))
def test_two_transcripts_cannot_be_spliced(number: int) -> None:
    """Threat 3: of two rounds by the same parties, no record of one is of the other."""
    one, other = CASTS["four"], replace(CASTS["four"], nonce=b"another round".ljust(16))
    whole, foreign = records(transcript("four")), records(written(ran(other)))
    spliced = [*whole[:number], foreign[number], *whole[number + 1 :]]
    assert isinstance(refused(b"\x01" + b"".join(spliced), one), InvalidSignature)
    if 0 < number:
        tail = [*whole[:number], *foreign[number:]]
        assert isinstance(refused(b"\x01" + b"".join(tail), one), InvalidSignature)


def test_what_follows_the_last_record_is_refused() -> None:
    data = transcript("four")
    for more in (b"\0", data, data[1:], records(data)[-1]):
        assert isinstance(refused(data + more, CASTS["four"]), WireError)


def test_another_roster_is_refused_and_says_so() -> None:
    """Threats 51, 53: of another epoch, with another server, without a member."""
    cast, data = CASTS["four"], transcript("four")
    roster = cast.roster
    party = cast.parties[0]
    keys = tuple(None if i == party else key for i, key in enumerate(roster.keys))
    for other in (
        replace(cast, epoch=4).roster,
        Roster(roster.epoch, roster.not_after, roster.keys[0] or b"", (None, *roster.keys[1:])),
        Roster(roster.epoch, roster.not_after, roster.server, keys),
        Roster(roster.epoch, roster.not_after + 1, roster.server, roster.keys),
    ):
        signed = SignedRoster.sign(other, ADMIN_SEED)
        error = refused(data, cast, signed)
        assert isinstance(error, RemoteProtocolError) and "roster" in str(error)
        # also where the transcript names that roster instead
        named = data.replace(roster.digest, other.digest)
        assert named != data and isinstance(refused(named, cast, signed), SecAggError)
