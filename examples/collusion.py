"""Who must collude to learn one salary: two colleagues in a ring, or all of three servers?

Five people sum their salaries twice. In the ring sum each passes a partial sum to the next, and the
two neighbours of a person need only subtract. With additive shares each person gives every server
one share, and any two of the three servers hold numbers that fit every salary equally well.

    python examples/collusion.py
"""

from __future__ import annotations

import os
from itertools import combinations

import numpy as np

from secagg.committee import Keys
from secagg.drive import pump
from secagg.layout import Layout, RingVector, Segment
from secagg.mask import add_streams
from secagg.protocol import Session
from secagg.ring import Ring
from secagg.types import PartyId
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.additive import PROTOCOL as ADDITIVE
from secagg_protocols.additive.params import AdditiveParams
from secagg_protocols.additive.sharing import (
    SeedShare,
    context_of,
    read_packed,
    read_seed,
    shape_of,
)
from secagg_protocols.reports.messages import Report
from secagg_protocols.ring import RingParams, RingParty, collude, run

SALARIES = {"Ada": 4_210, "Ben": 3_875, "Cleo": 6_340, "Dan": 5_125, "Eve": 2_990}
NAMES = list(SALARIES)
VICTIM = NAMES.index("Cleo")
CANDIDATES = (1_500, SALARIES["Cleo"], 25_000)
SERVERS = 3

RING = Ring(20)  # salaries are whole numbers, and everything is modulo 2^20
LAYOUT = Layout((Segment(RING, 1),))
INPUTS = {PartyId(i): (np.array([x], RING.dtype),) for i, x in enumerate(SALARIES.values())}
PAYLOAD = bytes(32)  # the digest of what everybody was asked; here nothing


def number(vector: RingVector) -> int:
    return int(vector[0][0]) & RING.mask


def ring_sum() -> tuple[int, int]:
    """The sum, and the victim's salary as its neighbours find it from two messages."""
    session = Session(os.urandom(16), bytes(32), PAYLOAD, RingParams(len(INPUTS)), LAYOUT)
    parties = [RingParty(session, party) for party in INPUTS]
    for party, vector in zip(parties, INPUTS.values(), strict=True):
        party.set_input(vector, PAYLOAD)
    sent = {(sender, message.to): message.data for sender, message in run(parties)}
    before = sent[PartyId(VICTIM - 1), PartyId(VICTIM)]
    after = sent[PartyId(VICTIM), PartyId(VICTIM + 1)]
    return number(parties[0].result().vector), number(collude(session, before, after))


def additive_sum() -> tuple[int, list[int]]:
    """The sum, and the share of the victim's salary that each server holds."""
    keys = Keys(SERVERS, os.urandom)
    params = AdditiveParams(len(INPUTS), SERVERS, min_survivors=len(INPUTS))
    session = Session(os.urandom(16), bytes(32), PAYLOAD, params, LAYOUT, keys.committee)
    servers = ADDITIVE.family.machines(session, keys, expander=add_streams)
    pump.start(servers)
    sent = {}
    for party, vector in INPUTS.items():
        client = ADDITIVE.family.client(session, party, randomness=os.urandom, expander=add_streams)
        client.start()
        client.set_input(vector, PAYLOAD)
        (message,) = client.outgoing()
        sent[party] = message.data
        pump.deliver(servers, party, message)
    while not pump.over(servers):
        pump.settle(servers)
        pump.advance(servers)
    total = pump.total(servers, INPUTS)
    return number(total.vector), opened(session, keys, sent[PartyId(VICTIM)])


def opened(session: Session, keys: Keys, message: bytes) -> list[int]:
    """Each server opens its own share of the report, and only that one."""
    context, reader = context_of(session, add_streams), Reader(message)
    read_header(reader)
    report = Report.read(reader, shape_of(LAYOUT, SERVERS))
    shares = []
    for index, (sealed, secrets) in enumerate(zip(report.shares, keys.servers, strict=True)):
        info = context.share_info(report.head.id, report.head.front, index)
        plaintext = secrets.opening_key().open(sealed.data, info)
        share = LAYOUT.zeros()
        if index == 0:
            read_packed(LAYOUT, plaintext).add_to(share)
        else:
            seed_keys = context.scheme.stream_keys(read_seed(plaintext), report.head.id, index)
            SeedShare(seed_keys, add_streams).add_to(share)
        shares.append(number(share))
    return shares


def main() -> None:
    name, left, right = NAMES[VICTIM], NAMES[VICTIM - 1], NAMES[VICTIM + 1]
    earns = SALARIES[name]
    print(f"The sum of five salaries is {sum(SALARIES.values()):,}; {name} earns {earns:,}.\n")
    total, found = ring_sum()
    print("RING SUM")
    print(f"  sum: {total:,}")
    print(f"  {left} and {right}, beside {name}, subtract two messages: {name} earns {found:,}.\n")

    total, shares = additive_sum()
    print(f"ADDITIVE SHARES, {SERVERS} servers")
    print(f"  sum: {total:,}")
    print(f"  {left} and {right} see no message of {name}'s, so they subtract nothing.")
    print(f"  Two servers together hold two shares of {name}'s salary. The third share that would")
    print("  make it any given number exists, always, and they have no way to tell which it is:\n")
    print(f"    {'servers':<9}{'hold':<22}" + "".join(f"{f'if {c:,}':>12}" for c in CANDIDATES))
    for pair in combinations(range(SERVERS), SERVERS - 1):
        held = [shares[i] for i in pair]
        needed = [(c - sum(held)) & RING.mask for c in CANDIDATES]
        columns = "".join(f"{share:>12,}" for share in needed)
        print(
            f"    {' and '.join(map(str, pair)):<9}{', '.join(f'{s:,}' for s in held):<22}{columns}"
        )
    every_third = (np.arange(RING.modulus) - sum(held)) & RING.mask
    print(
        f"\n  Of {RING.modulus:,} salaries, {len(np.unique(every_third)):,} have a third share of"
    )
    print(
        "  their own, all as likely as far as AES can be told from chance. The middle one is true."
    )


if __name__ == "__main__":
    main()
