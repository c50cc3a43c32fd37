"""A client whose every message is handled by a new process: a framework carries its rows, sealed.

    python carried_client.py LEDGER PLAN_DIGEST VALUES < call > answer

call and answer are JSON, bytes in hexadecimal: `task`; `frame`, what the server says; `frames`,
what the client says; `blob`, what the framework brings again next time. It reads nothing of a blob,
but it may bring an old one and ask something else. What was said is claimed in the ledger, which
stays here, so that no second wording leaves.
"""

from __future__ import annotations

import json
import sys
import time

from secagg.effects import Peer, Write
from secagg.errors import Spent
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent, Contribution, Outcome
from secagg.store import sealed
from secagg.store.base import Ledger, Store
from secagg.store.ledger import SqliteLedger
from secagg.store.memory import MemoryStore
from secagg.types import Role

SERVER = Peer("server", None, Role.SERVER)
NONCE = slice(2, 18)
"""Of a frame: the round that it is about, which is also what the ledger calls the session."""


def handle(
    ledger: Ledger, consent: Consent, blob: bytes, frame: bytes, given: Contribution
) -> tuple[bytes, list[bytes], list[Outcome]]:
    """The next blob, empty once the round is over; what to send; and how the round ended.

    Raises Spent for a round that is over already.
    """
    session, now = frame[NONCE], time.monotonic()
    key = ledger.key(session)
    rounds, store = ClientRounds(consent, durable=True, carried=True), MemoryStore()
    store.commit([Write(*row) for row in sealed.open(blob, key, session)] if blob else [])
    rounds.restore(store.rows(), now)
    rounds.joined(SERVER, now)
    perform(rounds, store, ledger)
    rounds.received(SERVER, frame, now)
    for offer in rounds.owed():
        rounds.contribute(offer, given, now)
    frames = perform(rounds, store, ledger)
    if outcomes := rounds.outcomes():
        ledger.end(session)
        return b"", frames, outcomes
    return sealed.seal(store.rows(), key, session), frames, []


def perform(rounds: ClientRounds, store: Store, ledger: Ledger) -> list[bytes]:
    """Rows, then claims, then frames: in the order that leaves nothing untrue (secagg.effects)."""
    frames: list[bytes] = []
    while (effects := rounds.take()).writes or effects.posts:
        store.commit(effects.writes)
        refused = set()
        for claim in effects.claims:
            try:
                ledger.claim(claim.key, claim.digest)
            except Spent as spent:
                print(f"no answer leaves: {spent}", file=sys.stderr)
                refused.add(claim.key)
                rounds.refused(claim, time.monotonic())
        frames += [post.frame.encode() for post in effects.posts if not post.needs & refused]
    return frames


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    path, digest, values = sys.argv[1:]
    call = {name: bytes.fromhex(value) for name, value in json.load(sys.stdin).items()}
    given = Contribution({"update": [int(v) for v in values.split(",")]}, payload=call["task"])
    consent = Consent(plan_digest=bytes.fromhex(digest))
    try:
        with SqliteLedger.open(path) as ledger:
            blob, frames, ends = handle(ledger, consent, call["blob"], call["frame"], given)
    except Spent as spent:
        print(json.dumps({"blob": "", "frames": [], "why": str(spent)}))
        return
    answer = {"blob": blob.hex(), "frames": [frame.hex() for frame in frames]}
    for end in ends:
        answer |= {"included": end.included, "why": end.why}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
