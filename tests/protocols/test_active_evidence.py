"""Evidence of active mode: it convicts who lied, and nobody else (specs/12-active.md §8;
T11, T23)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from secagg.errors import (
    CryptoError,
    InvalidSignature,
    ParameterError,
    RemoteProtocolError,
    SecAggError,
    WireError,
)
from secagg.proved import Charge, Verdict, told
from secagg.testing import Act, Carried, Network, Schedule
from secagg.types import SERVER, PartyId
from secagg.wire.codec import Reader, Writer
from secagg.wire.header import HEADER_SIZE
from secagg_protocols.secagg.active import evidence, statements
from secagg_protocols.secagg.active.comparing import equivocations
from secagg_protocols.secagg.active.convicting import verify_evidence
from secagg_protocols.secagg.active.equivocation import Said, of_two
from secagg_protocols.secagg.active.evidence import (
    of_complaints,
    of_delivery,
    of_secret,
    of_share,
)
from secagg_protocols.secagg.active.messages import (
    ShareKeys,
    ShareList,
    Survivors,
    UnmaskAnswer,
    share_digest,
)
from secagg_protocols.secagg.active.params import ActiveParams
from secagg_protocols.secagg.active.stages import WrongSecret, WrongShare
from secagg_protocols.secagg.active.verifying import frame_of
from tests.active import COMMITTEE, REGULAR, SERVER_SEED, Cast, opener_of, seed_of
from tests.convicts import (
    delivered,
    failing,
    proof_of_complaints,
    proof_of_wrong_secret,
    proof_of_wrong_share,
    run,
    swapped,
)

FOUR = Cast(ActiveParams(4, 3, 3, 4, 3, 4, 3), places=6)
CASTS = {"four": FOUR, "regular": Cast(REGULAR), "committee": Cast(COMMITTEE, places=12)}
REFUSED = (WireError, CryptoError, ParameterError, RemoteProtocolError)


def convicted(data: bytes, cast: Cast) -> Verdict:
    return verify_evidence(data, cast.signed, opener_of(cast))


@cache
def proof(name: str, charge: Charge) -> bytes:
    cast = CASTS[name]
    if charge is Charge.WRONG_SHARE:
        return proof_of_wrong_share(cast, of=_neighbour(cast))
    if charge is Charge.WRONG_SECRET:
        return proof_of_wrong_secret(cast)
    return proof_of_complaints(cast)


def _neighbour(cast: Cast) -> int:
    """A place among the parties of one that the first has a share of."""
    network = cast.network().run_until("share-keys")
    cohort = network.server._stage.cohort  # type: ignore[attr-defined]
    return int(cohort.neighbours(0)[0])


@pytest.mark.parametrize("name", CASTS)
@pytest.mark.parametrize("charge", [Charge.WRONG_SHARE, Charge.WRONG_SECRET, Charge.COMPLAINTS])
def test_what_the_server_makes_of_a_liar_convicts_it(name: str, charge: Charge) -> None:
    """Rules R5, R6, R7."""
    cast = CASTS[name]
    verdict = convicted(proof(name, charge), cast)
    assert (verdict.charge, verdict.party) == (charge, cast.parties[0])
    assert verdict.key == cast.roster.key_of(cast.parties[0]) and verdict.epoch == cast.epoch
    assert verdict.who == f"member {cast.parties[0]}" and verdict.what


def test_a_wrong_share_of_the_key_of_who_was_lost() -> None:
    """Rule R5: its s share, and not its b share."""
    cast = Cast(places=9)
    verdict = convicted(proof_of_wrong_share(cast, of=3, drop=True), cast)
    assert (verdict.charge, verdict.party) == (Charge.WRONG_SHARE, cast.parties[0])


def test_a_wrong_share_of_ones_own() -> None:
    """Rule R5: a dealer is one of its own holders, and was delivered nothing of itself."""
    cast = Cast(places=9)
    verdict = convicted(proof_of_wrong_share(cast, liar=1, of=1), cast)
    assert verdict.party == cast.parties[1] and "of itself" in verdict.what


def test_a_wrong_key_of_who_was_lost() -> None:
    """Rule R6, of s_sk."""
    cast = Cast(places=9)
    verdict = convicted(proof_of_wrong_secret(cast, liar=2, drop=True), cast)
    assert (verdict.charge, verdict.party) == (Charge.WRONG_SECRET, cast.parties[2])
    assert "advertised" in verdict.what


def test_a_client_that_is_told_two_things_has_the_proof() -> None:
    """Kind 1, threat 46: each of what a server signs, another one after the first."""
    cast = Cast(places=9)
    for phase, form in (
        ("advertise-keys", "cohort"),
        ("share-keys", "delivery"),
        ("masked-input", "survivors"),
    ):
        network = cast.network()
        network.run_until(phase)
        victim = cast.parties[1]
        network.step()
        client = network.clients[victim]
        before = client.statements()  # type: ignore[attr-defined]
        second = another(network, victim, phase)
        network.deliver(victim, second)
        assert victim in network.refusals
        (proof,) = client.evidence()  # type: ignore[attr-defined]
        verdict = convicted(proof, cast)
        assert (verdict.charge, verdict.party) == (Charge.TWO_STATEMENTS, SERVER)
        assert repr(form) in verdict.what and verdict.key == cast.roster.server
        assert len(client.statements()) > len(before)  # type: ignore[attr-defined]
        network.deliver(victim, second)
        assert client.evidence() == []  # type: ignore[attr-defined]


def another(network: Network, victim: PartyId, phase: str) -> bytes:
    """What a server says to its victim that has heard the other already, signed as it should be."""
    stage = network.server._stage  # type: ignore[attr-defined]
    cohort, said = stage.cohort, network.sent
    own = next(m for m in reversed(said) if m.to == victim and m.phase == phase)
    if phase == "share-keys":
        return delivered(network, own, swapped)
    if phase == "masked-input":
        fewer = frozenset(range(1, cohort.size))
        u2 = stage.fixed.sharers
        signature = cohort.survivors(u2, fewer).signed(SERVER_SEED)
        return Survivors(fewer, signature).encode(cohort.session, cohort.size)
    fewer = {p: k for p, k in zip(cohort.ids[:-1], cohort.keys[:-1], strict=True)}
    other = type(cohort).joined(cohort.terms, fewer, SERVER_SEED)
    return bytes(other.key_list(other.index[victim]))


def test_two_stories_told_to_two_clients_convict_side_by_side() -> None:
    """Threat 46: neither client sees it; their files do."""
    cast = Cast(places=9)
    one, other = (
        cast.network(),
        cast.network(Schedule({("masked-input", cast.parties[5]): Act.GONE})),
    )
    one.run()
    other.run()
    files = [
        told(network.clients[party].statements())  # type: ignore[attr-defined]
        for network, party in ((one, cast.parties[0]), (other, cast.parties[1]))
    ]
    records = [b"".join(n.server.transcript()) for n in (one, other)]  # type: ignore[attr-defined]
    opened = opener_of(cast)
    for alone in (*files, *records):
        assert equivocations([alone, alone], cast.signed, opened) == ()
    for pair in (files, [files[0], records[1]]):
        (proof,) = equivocations(pair, cast.signed, opened)
        assert convicted(proof, cast).party == SERVER
    # of the same randomness both networks' clients are one, put back: so they are convicted too
    proofs = [convicted(p, cast) for p in equivocations(records, cast.signed, opened)]
    assert {v.party for v in proofs} == {SERVER, *cast.parties[:5]}


def delivery_proof(cast: Cast) -> bytes:
    """A server that hands on something else, as its holder and the dealer can show it together."""
    victim = cast.parties[2]
    kept: list[bytes] = []

    def lie(network: Network, message: Carried) -> bytes:
        if message.to == victim:
            kept[:] = [delivered(network, message, swapped)]
            return kept[0]
        return message.data

    network = run(cast, lie, [SERVER], "share-keys")
    network.run_until("masked-input")
    stage = network.server._stage  # type: ignore[attr-defined]
    cohort, holder = stage.cohort, stage.cohort.index[victim]
    near = frozenset(cohort.neighbours(holder))
    listed = ShareList.read(Reader(kept[0][HEADER_SIZE:]), cohort.size, near)
    dealer = min(near)
    said = stage._deliveries.dealt[dealer]
    frame = frame_of(b"".join(network.server.transcript()))  # type: ignore[attr-defined]
    rest = listed.rest(cohort.size)
    return of_delivery(frame, dealer, said, holder, rest, listed.delivery)


def test_a_list_unlike_what_was_dealt_convicts_the_server() -> None:
    """Kind 5, threat 2."""
    for cast in CASTS.values():
        verdict = convicted(delivery_proof(cast), cast)
        assert (verdict.charge, verdict.party) == (Charge.DELIVERY, SERVER)


# What was changed convicts nobody


@pytest.mark.parametrize("charge", [*list(Charge)[1:]])
def test_any_flipped_byte_takes_the_verdict_away(charge: Charge) -> None:
    data = delivery_proof(FOUR) if charge is Charge.DELIVERY else proof("four", charge)
    step = len(data) // 1500 + 1
    for at in (*range(0, 60), *range(60, len(data), step)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        refused(bytes(changed), FOUR)
    for end in (*range(0, len(data), step * 9), len(data) - 1):
        refused(data[:end], FOUR)
    refused(data + b"\0", FOUR)


def test_any_flipped_byte_of_two_statements_takes_the_verdict_away() -> None:
    """And so does their order, one of them twice, and another signer."""
    one, other = (_survivors(number) for number in (3, 4))
    data = of_two(one, other) or b""
    assert convicted(data, FOUR).party == SERVER and of_two(other, one) == data
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        refused(bytes(changed), FOUR)
        refused(data[:at], FOUR)
    first, second = sorted((one.encoded, other.encoded))
    for pair in ((second, first), (first, first), (second, second)):
        refused(data[:7] + b"".join(pair), FOUR)


def _survivors(number: int, session: bytes = bytes(32)) -> Said:
    said = statements.SURVIVORS(session, bytes(32), bytes([number]) * 32, number)
    return Said(SERVER, said, said.signed(SERVER_SEED))


def refused(data: bytes, cast: Cast) -> SecAggError:
    with pytest.raises(REFUSED) as caught:
        convicted(data, cast)
    return caught.value


# Nobody honest is convicted: whoever lies has all keys but theirs, and all that they said


def test_two_statements_of_two_contexts_are_none() -> None:
    said = [_survivors(3), _survivors(4, b"another".ljust(32))]
    assert of_two(*said) is None
    refused(_forged(said), FOUR)


def test_two_keys_of_a_client_that_was_started_again_are_none() -> None:
    """Of all statements only these may be said twice."""
    party = FOUR.parties[0]
    said = []
    for number in (1, 2):
        key = bytes([number]) * 32
        keys = statements.KEYS(bytes(32), party, key, key)
        said.append(Said(party, keys, keys.signed(seed_of(party))))
    assert of_two(*said) is None
    refused(_forged(said, party), FOUR)


def test_a_statement_of_the_server_is_not_a_members() -> None:
    """Threat 7: under a label of its own, and with the signer's key."""
    said = [_survivors(3), _survivors(4)]
    refused(_forged(said, FOUR.parties[0]), FOUR)
    agree = [
        statements.AGREE(bytes(32), 0, bytes(32), bytes([n]) * 32, n).signed(SERVER_SEED)
        for n in (3, 4)
    ]
    forms = [statements.AGREE(bytes(32), 0, bytes(32), bytes([n]) * 32, n) for n in (3, 4)]
    made = [Said(SERVER, form, one) for form, one in zip(forms, agree, strict=True)]
    refused(_forged(made), FOUR)
    refused(_forged(made, FOUR.parties[0]), FOUR)


def _forged(said: list[Said], party: PartyId = SERVER) -> bytes:
    head = bytes([1, 1, party != SERVER]) + (0 if party == SERVER else party).to_bytes(4)
    return head + b"".join(sorted(one.encoded for one in said))


def _honest(cast: Cast) -> Network:
    network = cast.network()
    network.run_until("unmask")
    return network


def test_an_honest_share_convicts_no_holder() -> None:
    """By the liars: the true answer, and one that only a server would have signed."""
    network = _honest(FOUR)
    fixed = network.server._stage.fixed  # type: ignore[attr-defined]
    answer = next(m for m in network._up[FOUR.parties[1]])
    dealers = fixed.masked.dealers(1)
    said = UnmaskAnswer.read(Reader(answer.data[HEADER_SIZE:]), len(dealers))
    digests = tuple(
        share_digest(fixed.cohort.session, v, 1, b"b", share)
        for v, share in zip(dealers, said.shares, strict=True)
    )
    for dealer in dealers:
        data = of_share(fixed, WrongShare(dealer, 1, digests, said.signature))
        assert "dealt" in str(refused(data, FOUR))
        other = tuple(
            bytes(32) if v == dealer else d for v, d in zip(dealers, digests, strict=True)
        )
        assert isinstance(
            refused(of_share(fixed, WrongShare(dealer, 1, tuple(other), said.signature)), FOUR),
            InvalidSignature,
        )


def test_honest_shares_convict_no_dealer() -> None:
    """By t holders that show what they hold; and by ones that show something else."""
    network = _honest(FOUR)
    fixed = network.server._stage.fixed  # type: ignore[attr-defined]
    party = FOUR.parties[0]
    shares = {}
    for h, p in enumerate(FOUR.parties):
        answer = next(m for m in network._up[p])
        said = UnmaskAnswer.read(Reader(answer.data[HEADER_SIZE:]), 4)
        shares[1 + h] = said.shares[0]
    few = dict(list(shares.items())[:3])
    assert "announced" in str(refused(of_secret(fixed, WrongSecret(party, 0, few)), FOUR))
    few[1] = bytes(40)
    assert "dealt" in str(refused(of_secret(fixed, WrongSecret(party, 0, few)), FOUR))


def test_fewer_complaints_than_can_lie_convict_no_dealer() -> None:
    """Rule R7: a liar complains of an honest dealer, and one alone does not suffice, said twice."""
    cast = FOUR
    liar, dealer = cast.parties[1], cast.parties[0]

    def lie(network: Network, message: Carried) -> bytes:
        stage = network.server._stage  # type: ignore[attr-defined]
        return failing(stage, message, 0)

    network = run(cast, lie, [liar], "masked-input")
    network.run_until("consistency")
    fixed = network.server._stage.fixed  # type: ignore[attr-defined]
    assert fixed.given[1].failed == {0}
    data = of_complaints(fixed.deliveries, fixed.given, dealer)
    refused(data, cast)
    one = data[_length_without(fixed, data) :]
    assert one and "ascend" in str(refused(data + one, cast))
    writer = Writer().raw(data)  # and one who has no complaint
    evidence._delivery(writer, fixed.deliveries, 2)
    evidence._complaints(writer, fixed.cohort, 2, fixed.given[2])
    assert "no complaint" in str(refused(writer.finish(), cast))


def _length_without(fixed: Any, data: bytes) -> int:
    """Where the complaint begins: what is before is frame and body."""
    return len(of_complaints(fixed.deliveries, {}, fixed.cohort.ids[0]))


def test_an_honest_delivery_convicts_no_server() -> None:
    """By a dealer that signs another body for the judge, and holders that show what they have."""
    network = FOUR.network()
    network.run_until("masked-input")
    stage = network.server._stage  # type: ignore[attr-defined]
    frame = frame_of(b"".join(network.server.transcript()))  # type: ignore[attr-defined]
    cohort, deliveries = stage.cohort, stage._deliveries
    _, signature = deliveries.signed[1]
    rest = deliveries.to(1).rest(cohort.size)
    said = deliveries.dealt[0]
    data = of_delivery(frame, 0, said, 1, rest, signature)
    assert "what was dealt" in str(refused(data, FOUR))
    body = bytearray(said.body)
    body[40] ^= 1
    lied = ShareKeys(bytes(body))
    again = statements.SHARES(cohort.session, 0, cohort.leaves[0], lied.digest)
    signed = replace(lied, signature=again.signed(seed_of(FOUR.parties[0])))
    data = of_delivery(frame, 0, signed, 1, rest, signature)
    assert "another body" in str(refused(data, FOUR))


def test_no_evidence_shows_a_share_of_anybody_but_a_lying_dealer() -> None:
    """Threat 27: neither of others, nor of the secret that is not in question."""
    for charge in (Charge.WRONG_SHARE, Charge.COMPLAINTS):
        data = proof("four", charge)
        network = _honest(FOUR)
        for p in FOUR.parties:
            answer = next(m for m in network._up[p])
            for share in UnmaskAnswer.read(Reader(answer.data[HEADER_SIZE:]), 4).shares:
                assert share not in data
