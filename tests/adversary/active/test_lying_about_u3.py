"""Rules V7 and V8, C8, C9 (rows 27-32; T3, T4, T6): who survived, as a server says it, and who has
signed that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest

from secagg.errors import LocalProtocolError, PolicyRefused, RemoteProtocolError
from secagg.sansio import Aborted, Agreed, Finished, Ignored, Revealed
from secagg.types import SERVER, PartyId, Seed
from secagg.wire.codec import Writer
from secagg.wire.header import HEADER_SIZE, TAG_AT, write_header
from secagg_protocols.secagg.active import statements
from secagg_protocols.secagg.active.client import ActiveClient
from secagg_protocols.secagg.active.messages import SURVIVORS, Survivors, digest_of
from secagg_protocols.secagg.active.statements import Value
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.survivors import SurvivorSet, check_agreed
from tests.active import ADMIN_SEED, COMMITTEE, SERVER_SEED, Cast, seed_of
from tests.adversary.active.liars import (
    OTHER,
    Script,
    altered,
    before,
    flipped,
    refuses,
    reveals_nothing,
    script,
)
from tests.networks import standing

ME = 1


def near(s: Script) -> list[int]:
    return sorted(s.cohort.holders(ME) - {ME})


def far(s: Script) -> frozenset[int]:
    return s.everyone - s.cohort.holders(ME)


def bound(s: Script, to: bytes, tag: int) -> bytes:
    """The honest message, bound to something else."""
    data = s.sent(tag, to=s.cohort.ids[ME])
    return write_header(tag, to, s.cast.session.suite).raw(data[HEADER_SIZE:]).finish()


def under(s: Script, form: statements.Form, *values: Value) -> bytes:
    said = form(*values).signed(SERVER_SEED)
    return Survivors(s.everyone, said).encode(s.session, s.cohort.size)


@dataclass(frozen=True)
class Row:
    build: Callable[[Script], bytes]
    why: str
    received: int = 2
    cast: str = "complete"
    u2: frozenset[int] | None = None
    """What the client was told of it, where that is not all of U1."""


OF_FIVE = frozenset({0, 1, 2, 3, 4})
SURVIVED = {
    "U3 omits whoever it is shown to": Row(lambda s: s.shows({0, 2, 3, 4, 5}), "omits this"),
    "U3 has somebody outside of U2": Row(
        lambda s: s.shows(s.everyone, OF_FIVE), "outside U2", u2=OF_FIVE
    ),
    "U3 has somebody outside of U2 in place of somebody in it": Row(
        lambda s: s.shows({0, 1, 2, 3, 5}, OF_FIVE), "outside U2", u2=OF_FIVE
    ),
    "U3 has fewer than the plan's least": Row(lambda s: s.shows({0, 1, 2}), "asks for 4"),
    "U3 has nobody else": Row(lambda s: s.shows({ME}), "asks for 4"),
    "U3 has nobody": Row(lambda s: s.shows(()), "omits this"),
    "U3 has fewer than t holders of this client": Row(
        lambda s: s.shows({ME, *near(s)[:2], *far(s)}), "3 holders survive", cast="few"
    ),
    "U3 has an index behind the last": Row(
        lambda s: flipped(s.shows(s.everyone), HEADER_SIZE, 7), "a bit at or past"
    ),
    "U3 is signed for another session": Row(
        lambda s: s.shows(s.everyone, session=OTHER), "survivors"
    ),
    "U3 is signed with another U2": Row(lambda s: s.shows(s.everyone, OF_FIVE), "survivors"),
    "U3 is signed with the digest of another U2": Row(
        lambda s: s.shows(s.everyone, sharers=OTHER), "survivors"
    ),
    "U3 is signed with other members": Row(
        lambda s: s.shows(s.everyone, survivors=OTHER), "survivors"
    ),
    "U3 is signed with another number": Row(lambda s: s.shows(s.everyone, number=5), "survivors"),
    "U3 is signed by a member": Row(lambda s: s.shows(s.everyone, seed=seed_of(0)), "survivors"),
    "U3 is signed by the administrator": Row(
        lambda s: s.shows(s.everyone, seed=ADMIN_SEED), "survivors"
    ),
    "U3 is not signed": Row(
        lambda s: Survivors(s.everyone, bytes(64)).encode(s.session, 6), "survivors"
    ),
    "U3 is signed with a bit flipped": Row(lambda s: flipped(s.shows(s.everyone), -9), "survivors"),
    "the signature is of U2, which is the same set": Row(
        lambda s: under(s, statements.SHARERS, s.session, digest_of(s.everyone, s.cohort.size), 6),
        "survivors",
    ),
    "the signature is of another U3": Row(
        lambda s: (
            s.shows({0, 1, 2, 3})[:HEADER_SIZE]
            + s.shows(s.everyone)[HEADER_SIZE:-64]
            + s.shows({0, 1, 2, 3})[-64:]
        ),
        "survivors",
    ),
    "the survivors of the session before": Row(
        lambda s: before().sent(SURVIVORS, to=s.cohort.ids[ME]), "bound to another session"
    ),
    "the survivors of the session before, bound to this one": Row(
        lambda s: s.shows(s.everyone)[:-64] + before().shows(s.everyone)[-64:], "survivors"
    ),
    "survivors that are bound to the offer": Row(
        lambda s: bound(s, s.terms.offer, SURVIVORS), "bound to another session"
    ),
    "survivors that are cut short": Row(lambda s: s.shows(s.everyone)[:-1], "remain|bytes"),
    "survivors with a byte more": Row(lambda s: s.shows(s.everyone) + b"\0", "follow"),
    "two lists, of the alive and of the dropped": Row(
        lambda s: _two_lists(s, {0, 1, 2, 3}, {0}), "remain|bytes|follow|survivors"
    ),
    "a quorum in place of the survivors": Row(lambda s: s.request(range(4)), "not expected now"),
    "survivors before the masked input": Row(lambda s: s.shows(s.everyone), "not expected now", 1),
    "another U3 after the first": Row(lambda s: s.shows({0, 1, 2, 3}), "not expected now", 3),
    "another U3 that calls its neighbour dropped": Row(
        lambda s: s.shows(s.everyone - {0}), "not expected now", 3
    ),
    "another U3 after the answer": Row(lambda s: s.shows({0, 1, 2, 3}), "not expected now", 4),
    "U2 again in place of U3": Row(
        lambda s: flipped(s.sent(Tag.SHARE_LIST, to=s.cohort.ids[ME]), -1), "not expected now"
    ),
}


def _two_lists(s: Script, alive: set[int], dropped: set[int]) -> bytes:
    """Flower's message, as near as it can be said here: a victim in both."""
    data = s.shows(alive)
    more = Writer().bitmap(alive | dropped, 6).finish()
    return data[:HEADER_SIZE] + more + data[HEADER_SIZE:]


def signs(index: int, /, **changes: Value) -> Callable[[Script], bytes]:
    """One of a quorum signs something else."""
    return lambda s: s.request(range(4), {index: altered(s.agreement(index), **changes)})


def of_sets(
    members: frozenset[int] | None = None, sharers: frozenset[int] | None = None
) -> Callable[[Script], bytes]:
    """All of a quorum sign other sets than this client was shown."""
    return lambda s: s.request(range(4), {i: s.agreement(i, members, sharers) for i in range(4)})


def with_signatures(s: Script, order: Callable[[list[bytes]], list[bytes]], may: int = 4) -> bytes:
    """The honest request with other signatures behind its bitmap."""
    data = s.request(range(may))
    start = HEADER_SIZE + (len(s.cohort.signers[0]) + 7) // 8
    listed = [data[at : at + 64] for at in range(start, len(data), 64)]
    return data[:start] + b"".join(order(listed))


def repeated(listed: list[bytes]) -> list[bytes]:
    return [listed[0], listed[0], *listed[2:]]


SAME = "has not signed the survivor set"
QUORUM = {
    "a signer fewer than the quorum": Row(lambda s: s.request(range(3)), "3 signers", 3),
    "a signer more than the quorum": Row(lambda s: s.request(range(5)), "5 signers", 3),
    "no signer": Row(lambda s: s.request(()), "0 signers", 3),
    "one signer twice": Row(lambda s: with_signatures(s, repeated), SAME, 3),
    "one signer's signature for all": Row(
        lambda s: with_signatures(s, lambda listed: [listed[0]] * 4), SAME, 3
    ),
    "signatures in another order": Row(
        lambda s: with_signatures(s, lambda listed: listed[::-1]), SAME, 3
    ),
    "a signature fewer than signers": Row(
        lambda s: with_signatures(s, lambda listed: listed[:-1]), "remain|bytes", 3
    ),
    "a signature more than signers": Row(
        lambda s: with_signatures(s, lambda listed: [*listed, listed[0]]), "follow", 3
    ),
    "a signer behind the last": Row(
        lambda s: flipped(s.request(range(3)), HEADER_SIZE, 6), "a bit at or past", 3
    ),
    "a signer outside of U3": Row(
        lambda s: s.request({0, 1, 2, 5}, {i: s.agreement(i, OF_FIVE) for i in (0, 1, 2, 5)}),
        "who has agreed is not in",
        3,
        "lost",
    ),
    "a signature for another session": Row(signs(2, session=OTHER), SAME, 3),
    "a signature with another's index": Row(signs(2, index=3), SAME, 3),
    "a signature over another U2": Row(signs(2, sharers=OTHER), SAME, 3),
    "a signature over another U3": Row(signs(2, survivors=OTHER), SAME, 3),
    "a signature over another number": Row(signs(2, number=5), SAME, 3),
    "a signature by another member": Row(
        lambda s: s.request(range(4), seeds={2: seed_of(5)}), SAME, 3
    ),
    "a signature by the server": Row(
        lambda s: s.request(range(4), seeds={2: SERVER_SEED}), SAME, 3
    ),
    "all signatures by the server": Row(
        lambda s: s.request(range(4), seeds=dict.fromkeys(range(4), SERVER_SEED)), SAME, 3
    ),
    "a signature under the name of the server's statement": Row(
        lambda s: s.request(
            range(4), {0: replace(s.agreement(0), form=replace(statements.AGREE, name="answer"))}
        ),
        SAME,
        3,
    ),
    "a signature with a bit flipped": Row(lambda s: flipped(s.request(range(4)), -1), SAME, 3),
    "signatures of zeros": Row(
        lambda s: with_signatures(s, lambda listed: [bytes(64)] * 4), SAME, 3
    ),
    "a quorum over a smaller U3": Row(of_sets(frozenset({0, 1, 2, 3})), SAME, 3),
    "a quorum over another U2 and the same U3": Row(of_sets(OF_FIVE, OF_FIVE), SAME, 3, "lost"),
    "a quorum of the session before": Row(
        lambda s: before().sent(Tag.UNMASK_REQUEST, to=s.cohort.ids[ME]), "bound to another", 3
    ),
    "a quorum of the session before, bound to this one": Row(
        lambda s: with_signatures(s, lambda _: quorum_before()), SAME, 3
    ),
    "one signature of the session before among the others": Row(
        lambda s: with_signatures(s, lambda listed: [*listed[:3], quorum_before()[3]]), SAME, 3
    ),
    "a request that is bound to the offer": Row(
        lambda s: bound(s, s.terms.offer, Tag.UNMASK_REQUEST), "bound to another", 3
    ),
    "a request that is cut short": Row(lambda s: s.request(range(4))[:-1], "remain|bytes", 3),
    "a request with a byte more": Row(lambda s: s.request(range(4)) + b"\0", "follow", 3),
    "a request of suite 1": Row(lambda s: b"\1\1" + s.request(range(4))[2:], "suite 1", 3),
    "another quorum after the answer": Row(
        lambda s: s.request({1, 2, 3, 4}), "not expected now", 4
    ),
    "a quorum of the committee of another session": Row(
        lambda s: _other_committee(s), SAME, 3, "committee"
    ),
    "a quorum of whoever is in no committee": Row(lambda s: _no_committee(s), SAME, 3, "committee"),
    "a committee's quorum with one fewer": Row(
        lambda s: s.request(s.cohort.signers[0][:2]), "2 signers", 3, "committee"
    ),
}


def quorum_before() -> list[bytes]:
    there = before()
    return [there.agreement(i).signed(seed_of(there.cohort.ids[i])) for i in range(4)]


def _other_committee(s: Script) -> bytes:
    """Honest signatures of this very U3, by whoever would sign in another session."""
    there = Script(Cast(COMMITTEE, nonce=b"before".ljust(16))).cohort.signers[0]
    mine, quorum = s.cohort.signers
    assert there != mine
    who = sorted({*there} - {*mine}) + sorted({*there} & {*mine})
    return _signed_by(s, who[:quorum])


def _no_committee(s: Script) -> bytes:
    mine, quorum = s.cohort.signers
    return _signed_by(s, sorted(s.everyone - {*mine})[:quorum])


def _signed_by(s: Script, who: list[int]) -> bytes:
    places = s.cohort.signers[0][: len(who)]
    seeds = {place: seed_of(s.cohort.ids[i]) for place, i in zip(places, who, strict=True)}
    said = {place: s.agreement(i) for place, i in zip(places, who, strict=True)}
    return s.request(places, said, seeds)


ROWS = SURVIVED | QUORUM


@cache
def made(name: str) -> Script:
    """few: a sparse graph of which more may be lost than the threshold stands."""
    if name == "few":
        params = replace(script("regular").cast.params, min_survivors=7)
        return Script(Cast(params))
    return script("complete" if name == "lost" else name)


def at(s: Script, row: Row, seed: Seed = SERVER_SEED) -> ActiveClient:
    """lost: the client was shown a U3 from which the last is missing, and has signed it."""
    if row.u2 is not None:
        client = s.client(ME, 1)
        listed = replace(s.share_list(ME, row.u2), signature=s.cohort.sharers(row.u2).signed(seed))
        client.receive(SERVER, s.delivered(ME, listed))
    elif row.cast == "lost":
        client = s.client(ME, 2)
        client.receive(SERVER, s.shows(OF_FIVE))
    else:
        return s.client(ME, row.received)
    client.outgoing(), client.events()
    return client


@pytest.mark.parametrize("name", ROWS)
def test_a_client_refuses_what_is_said_of_u3(name: str) -> None:
    row = ROWS[name]
    s = made(row.cast)
    refuses(at(s, row), row.build(s), row.why)


def test_rows_25_31_the_same_bytes_get_the_same_answer_and_no_other_does() -> None:
    s = script()
    client = s.client(ME, 4)
    for tag, reply in zip((SURVIVORS, Tag.UNMASK_REQUEST), (10, Tag.UNMASK_ANSWER), strict=True):
        client.receive(SERVER, s.sent(tag, to=s.cohort.ids[ME]))
        assert [m.data for m in client.outgoing()] == [s.sent(reply, by=s.cohort.ids[ME])]
        assert isinstance(client.events()[-1], Ignored)


def test_whoever_is_called_dropped_does_not_sign_and_the_others_do() -> None:
    """Flower's second attack: a server lies about who dropped, and says so to all. It then has the
    keys of that client's pairwise masks and never its self mask: its vector stays masked, and the
    sum is that of the others."""
    s = script()
    told = s.shows(OF_FIVE)
    refuses(s.client(5, 2), told, "omits this client")
    for index in OF_FIVE:
        client = s.client(index, 2)
        client.receive(SERVER, told)
        assert [m.data[TAG_AT] for m in client.outgoing()] == [10]
        client.receive(SERVER, s.request(range(4), {i: s.agreement(i, OF_FIVE) for i in range(4)}))
        (answer,) = client.outgoing()
        shares = answer.data[HEADER_SIZE:-64]
        dealt = s.deliveries.digests(5, index)
        kind = s.dealt[5].own if index == 5 else dealt
        assert kind.s in _digests(s, index, shares) and kind.b not in _digests(s, index, shares)


def _digests(s: Script, holder: int, shares: bytes) -> set[bytes]:
    from secagg_protocols.secagg.active.messages import share_digest

    ones = [shares[at : at + 40] for at in range(0, len(shares), 40)]
    return {
        share_digest(s.session, dealer, holder, kind, one)
        for dealer, one in enumerate(ones)
        for kind in (b"b", b"s")
    }


def test_a_policy_that_refuses_ends_the_session_unsigned() -> None:
    """Rule V7: what this client's judge does not allow it neither signs nor answers, whoever else
    has (T19, row 45)."""
    s = script()
    asked = []

    def judge(survivors: frozenset[PartyId]) -> None:
        asked.append(survivors)
        raise PolicyRefused("a sum that differs by one")

    client = s.client(ME, 2, judge=judge)
    data = s.sent(SURVIVORS, to=s.cohort.ids[ME])
    with pytest.raises(PolicyRefused):
        client.receive(SERVER, data)
    assert asked == [frozenset(s.cohort.ids)]
    reveals_nothing(client, data)
    client.receive(SERVER, s.request(range(4)))
    assert not client.outgoing() and asked == [frozenset(s.cohort.ids)]


def test_a_policy_is_asked_about_nothing_that_is_refused_already() -> None:
    """Else a liar could fill its memory with survivor sets that were never signed."""
    s, asked = script(), []
    client = s.client(ME, 2, judge=asked.append)
    refuses(client, s.shows({0, 1, 2}), "asks for 4")
    assert not asked


def test_whoever_is_no_signer_signs_nothing_and_answers_a_quorum() -> None:
    s = script("committee")
    may, quorum = s.cohort.signers
    index = min(s.everyone - {*may})
    client = s.client(index, 2)
    client.receive(SERVER, s.sent(SURVIVORS, to=s.cohort.ids[index]))
    assert not client.outgoing()
    assert [e.survivors for e in client.events() if isinstance(e, Agreed)] == [
        frozenset(s.cohort.ids)
    ]
    client.receive(SERVER, s.request(may[:quorum]))
    assert [m.data[TAG_AT] for m in client.outgoing()] == [Tag.UNMASK_ANSWER]
    assert [type(e) for e in client.events()][-2:] == [Revealed, Finished]


def test_any_quorum_that_signed_is_answered_once() -> None:
    """That the tables above refuse for their reasons: another quorum of the same U3 is as good."""
    s = script()
    client = s.client(ME, 3)
    client.receive(SERVER, s.request({0, 2, 4, 5}))
    assert [m.data[TAG_AT] for m in client.outgoing()] == [Tag.UNMASK_ANSWER]
    with pytest.raises(Exception, match="not expected now"):
        client.receive(SERVER, s.request({0, 1, 2, 3}))
    assert not client.outgoing()
    assert not [e for e in client.events() if isinstance(e, Aborted) and e.reason is None]


def test_a_set_that_c8_refuses_is_none_whoever_has_signed_it() -> None:
    """C8, C9: at the one door to the shares, whatever was looked at before."""
    masked = standing(script().client(ME, 3)).masked
    signed: list[frozenset[int]] = []
    with pytest.raises(RemoteProtocolError, match="asks for 4"):
        check_agreed(masked.view, frozenset({0, 1, 2}), signed.append)
    assert not signed
    with pytest.raises(LocalProtocolError, match="made by what checks it"):
        SurvivorSet(frozenset(range(6)), None)
