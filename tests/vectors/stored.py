"""Sealed rows and claims: what operations on them do to this code, and the scenarios."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from secagg.crypto import labels
from secagg.effects import Write
from secagg.protocol import Session
from secagg.rounds.base import Outbox
from secagg.rounds.claims import Names, message_claim, name_of, use_digest
from secagg.store import sealed
from secagg.types import PartyId, Seed

Data = dict[str, Any]
Steps = list[tuple[str, Data]]
Shake = Callable[[str, int], bytes]

to_bytes = bytes.fromhex


def _seal_rows(key: str, session: str, rows: list[list[str]]) -> Data:
    given = [(to_bytes(name), to_bytes(value)) for name, value in rows]
    return {"blob": sealed.seal(given, Seed(to_bytes(key)), to_bytes(session)).hex()}


def _open_rows(key: str, session: str, blob: str) -> Data:
    rows = sealed.open(to_bytes(blob), Seed(to_bytes(key)), to_bytes(session))
    return {"rows": [[name.hex(), value.hex()] for name, value in rows]}


def _claim_answer(offer: str, nonce: str, party: int, message: str) -> Data:
    claim = message_claim(to_bytes(offer), to_bytes(nonce), PartyId(party), to_bytes(message))
    return {"key": claim.key.hex(), "digest": claim.digest.hex()}


def _claim_input(name: str, attempt: int, offer: str, nonce: str, party: int) -> Data:
    """Attempt after attempt, each of a session that said that it had no sum."""
    names = Names(Outbox())
    use = use_digest(to_bytes(offer), to_bytes(nonce), PartyId(party))
    for number in range(attempt):
        names.take(to_bytes(name), number.to_bytes(16), use)
        names.release(number.to_bytes(16), left=True, again=True)
    claim = names.take(to_bytes(name), to_bytes(nonce), use)
    return {"key": claim.key.hex(), "digest": claim.digest.hex()}


def _name_input(given: str | None, plan_digest: str, payload: str) -> Data:
    digest = labels.digest(labels.PAYLOAD, to_bytes(payload))
    session: Any = Session(bytes(16), to_bytes(plan_digest), digest, *[None] * 2)
    name = name_of(given, session, bool(payload))
    return {"name": None if name is None else name.hex()}


ALONE: dict[str, Callable[..., Data]] = {
    "seal_rows": _seal_rows,
    "open_rows": _open_rows,
    "claim_answer": _claim_answer,
    "claim_input": _claim_input,
    "name_input": _name_input,
}


def scenarios(
    shake: Shake, scenario_of: Callable[[str, str, Steps], Data]
) -> Iterator[tuple[str, Data]]:
    yield "storage-sealed", scenario_of("sealed rows", "03-storage.md §2", _blobs(shake))
    yield "storage-claims", scenario_of("claims", "03-storage.md §3", _claims(shake))


def _blobs(shake: Shake) -> Steps:
    key, session = shake("ledger", 32), shake("nonce", 16)
    space = shake("space", 16)
    rows = [
        Write(space + b"\x01reply", b""),
        Write(space + b"\x01", shake("state", 100)),
        Write(bytes(17), b"\xff"),
    ]
    plain = [[row.key.hex(), (row.value or b"").hex()] for row in rows]
    ends = {"key": key.hex(), "session": session.hex()}
    sealings = [("seal_rows", {**ends, "rows": some}) for some in ([], plain[:1], plain)]
    blobs = [to_bytes(_seal_rows(**inputs)["blob"]) for _, inputs in sealings]
    whole = blobs[-1]
    flipped = [
        whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in (1, 17, len(whole) - 1)
    ]
    one = (17).to_bytes(4) + bytes(17) + (1).to_bytes(4) + b"v"
    short = (16).to_bytes(4) + bytes(16) + bytes(4)
    strange = [
        (2).to_bytes(4) + one + one,
        (1).to_bytes(4) + short,
        (1).to_bytes(4) + one + b"\0",
        (2).to_bytes(4) + one,
    ]
    made = [bytes([1]) + _raw(key, session, text) for text in strange]
    refused = [b"", whole[:20], b"\x02" + whole[1:], whole[:-1], whole + b"\0", *flipped, *made]
    opened = [("open_rows", {**ends, "blob": blob.hex()}) for blob in (*blobs, *refused)]
    others = [
        ("open_rows", {**ends, "blob": whole.hex(), "session": session[:-1].hex()}),
        ("open_rows", {**ends, "blob": whole.hex(), "key": bytes(32).hex()}),
        ("seal_rows", {**ends, "rows": [plain[0], plain[0]]}),
        ("seal_rows", {**ends, "rows": [[space.hex(), ""]]}),
    ]
    return [*sealings, *opened, *others]


def _raw(key: bytes, session: bytes, plain: bytes) -> bytes:
    """Sealed rightly, whatever it is."""
    cipher = sealed._cipher(Seed(key))
    return cipher.encrypt(plain, [sealed._context(session)])


def _claims(shake: Shake) -> Steps:
    offer, nonce = shake("offer", 32).hex(), shake("nonce", 16).hex()
    place: Data = {"offer": offer, "nonce": nonce, "party": 7}
    messages = [bytes([1, 1, tag]) + shake("message", 40) for tag in (3, 5, 7)]
    steps: Steps = [("claim_answer", {**place, "message": one.hex()}) for one in messages]
    steps.append(("claim_answer", {**place, "party": 8, "message": messages[0].hex()}))
    digest = shake("plan", 32).hex()
    names: list[tuple[str | None, str]] = [
        ("week 12", ""),
        ("Größe", "00"),
        (None, "00"),
        (None, ""),
    ]
    for given, payload in names:
        asked = {"given": given, "plan_digest": digest, "payload": payload}
        steps.append(("name_input", asked))
        if (name := _name_input(**asked)["name"]) is not None:
            steps += [("claim_input", {**place, "name": name, "attempt": n}) for n in (0, 2)]
    return steps
