"""What the operations of suite 2 that need no session do to this code: see operations.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from secagg import verify
from secagg.layout import Layout, Segment
from secagg.protocol import Session
from secagg.proved import Charge
from secagg.ring import Ring
from secagg.roster import Enrolment, Pin, Roster, SignedRoster
from secagg.rounds.enrolled import Host, as_member
from secagg.rounds.greeting import Script
from secagg.suite import SUITE_2
from secagg.types import SERVER, PartyId, Randomness, Seed, SessionId
from secagg.wire.codec import Reader
from secagg_protocols.secagg import binding
from secagg_protocols.secagg.active.messages import Digests
from secagg_protocols.secagg.active.params import ActiveParams
from secagg_protocols.secagg.active.statements import FORMS
from secagg_protocols.secagg.active.transcript import Chain
from secagg_protocols.secagg.messages import SharePair

Data = dict[str, Any]
to_bytes = bytes.fromhex


def _raw(fields: list[Any]) -> list[Any]:
    return [one if isinstance(one, int) else to_bytes(one) for one in fields]


def _statement(seed: str, name: str, fields: list[Any]) -> Data:
    said = FORMS[name](*_raw(fields))
    return {"message": said.message.hex(), "signature": said.signed(Seed(to_bytes(seed))).hex()}


def _share_digests(session: str, dealer: int, holder: int, pair: list[str]) -> Data:
    made = Digests.of(to_bytes(session), SharePair(dealer, holder, *map(to_bytes, pair)))
    return {"digests": [made.b.hex(), made.s.hex()], "told": made.digest.hex()}


def _tree_path(leaves: list[str], index: int) -> Data:
    levels = binding.tree_levels(_raw(leaves))
    path = binding.tree_path(levels, index)
    return {"root": levels[-1][0].hex(), "path": [step.hex() for step in path]}


def _path_root(leaf: str, index: int, size: int, path: list[str]) -> Data:
    return {"root": binding.path_root(to_bytes(leaf), index, size, _raw(path)).hex()}


def _signing(session: str, size: int, params: list[int], corrupted: int) -> Data:
    number, quorum = ActiveParams(*params).quorum_of(size, corrupted)
    signers = binding.committee(SessionId(to_bytes(session)), size, number)
    return {"signers": list(signers), "quorum": quorum}


def _session(roster: str, plan_digest: str, payload_digest: str, nonce: str) -> Session:
    params, layout = ActiveParams(4, 3, 3, 3, 3, 4, 3), Layout((Segment(Ring(8), 1),))
    return Session(
        to_bytes(nonce),
        to_bytes(plan_digest),
        to_bytes(payload_digest),
        params,
        layout,
        suite=SUITE_2,
        roster=Roster.decode(to_bytes(roster)),
    )


def _active_offer(protocol: str, **values: str) -> Data:
    return {"offer": _session(**values).offer(protocol).hex()}


def _identity(roster: str, place: Any, seed: str) -> Data:
    session = _session(roster, "00" * 32, "00" * 32, "00" * 16)
    party = SERVER if place == "server" else PartyId(place)
    session.check_signing(party, Seed(to_bytes(seed)))
    return {}


def _roster(roster: str) -> Data:
    decoded = Roster.decode(to_bytes(roster))
    return {"digest": decoded.digest.hex(), "members": sorted(decoded.members)}


def _open_roster(file: str, admin: str, epoch: int, now: int) -> Data:
    roster = Pin(to_bytes(admin), epoch).open(to_bytes(file), now)
    return {"digest": roster.digest.hex(), "epoch": roster.epoch}


def _enrolment(request: str) -> Data:
    decoded = Enrolment.decode(to_bytes(request))
    return {"name": decoded.name, "key": decoded.key.hex()}


def _heads(transcript: str) -> Data:
    reader, chain, found = Reader(to_bytes(transcript)), Chain(), []
    reader.u8("version")
    while reader.remaining:
        record = reader.prefixed(1 << 20, "record")
        chain.add(record[0], record[1:])
        found.append([record[0], chain.head.hex()])
    if b"".join(chain.drain()).hex() != transcript:
        raise ValueError("a chain of these records is another")
    return {"heads": found}


def _verify_transcript(roster: str, transcript: str) -> Data:
    found = verify.verify_transcript(to_bytes(transcript), _by_somebody(roster))
    sets = (found.members, found.sharers, found.survivors, found.agreed, found.answered)
    number = 1 + sum(one is not None for one in sets) + found.finished
    outputs: Data = {"session": found.session.hex(), "records": number}
    if found.result is not None and found.survivors is not None:
        outputs["contributors"] = sorted(found.survivors)
        outputs["result"] = found.result.hex()
    return outputs


def _judge_evidence(roster: str, evidence: str) -> Data:
    verdict = verify.verify_evidence(to_bytes(evidence), _by_somebody(roster))
    convicted = "server" if verdict.party == SERVER else verdict.party
    return {"kind": 1 + list(Charge).index(verdict.charge), "convicted": convicted}


def _by_somebody(roster: str) -> SignedRoster:
    """What an administrator has to do with it, `open_roster` says."""
    return SignedRoster.sign(Roster.decode(to_bytes(roster)), Seed(b"administrator".ljust(32)))


def _equivocations(roster: str, files: list[str]) -> Data:
    found = verify.equivocations([to_bytes(one) for one in files], _by_somebody(roster))
    return {"evidence": [one.hex() for one in found]}


def _member_greets(roster: str, place: int, seed: str, randomness: str, heard: list[str]) -> Data:
    members = Roster.decode(to_bytes(roster))
    drawn = _drawn(randomness)
    return _greets(as_member(members, PartyId(place), Seed(to_bytes(seed)), drawn), heard)


def _server_greets(roster: str, seed: str, randomness: str, heard: list[str]) -> Data:
    host = Host(_by_somebody(roster), Seed(to_bytes(seed)), _drawn(randomness))
    return _greets(host.greet(), heard)


def _drawn(randomness: str) -> Randomness:
    """All that a side of a greeting draws: its challenge."""

    def draw(size: int) -> bytes:
        if 2 * size != len(randomness):
            raise ValueError(f"{size} bytes were drawn")
        return to_bytes(randomness)

    return draw


def _greets(script: Script, heard: list[str]) -> Data:
    """What it says to that, as far as it came, and the key that it has met in the end."""
    said = [next(script)]
    for number, frame in enumerate(heard, 1):
        try:
            said.append(script.send(to_bytes(frame)))
        except StopIteration as over:
            if number < len(heard):
                raise ValueError("a greeting that was over before") from None
            return _said([*said, over.value.say]) | {"met": over.value.identity.hex()}
    return _said(said)


def _said(frames: list[bytes]) -> Data:
    return {"said": [one.hex() for one in frames if one]}


OPERATIONS: dict[str, Callable[..., Data]] = {
    "statement": _statement,
    "share_digests": _share_digests,
    "tree_path": _tree_path,
    "path_root": _path_root,
    "signers": _signing,
    "active_offer": _active_offer,
    "identity": _identity,
    "roster": _roster,
    "open_roster": _open_roster,
    "enrolment": _enrolment,
    "heads": _heads,
    "verify_transcript": _verify_transcript,
    "judge_evidence": _judge_evidence,
    "equivocations": _equivocations,
    "member_greets": _member_greets,
    "server_greets": _server_greets,
}
