"""Rules V4 and V5, C1, C5, C6 (rows 24, 30, 36, 53, 54; T6): what was dealt, as a server says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from secagg.errors import InputError
from secagg.sansio import Aborted
from secagg.types import SERVER, Seed
from secagg.wire.codec import Reader
from secagg_protocols.secagg.active import statements
from secagg_protocols.secagg.active.messages import (
    Delivered,
    KeyList,
    MaskedInput,
    ShareKeys,
    ShareList,
)
from secagg_protocols.secagg.active.statements import Statement, Value
from secagg_protocols.secagg.messages import Tag
from tests.active import ADMIN_SEED, SERVER_SEED, seed_of
from tests.adversary.active.liars import (
    OTHER,
    Script,
    after_header,
    altered,
    before,
    flipped,
    keys_of,
    refuses,
    script,
)
from tests.networks import standing

ME = 1
Change = Callable[[Delivered], Delivered]


def listed(s: Script, sharers: set[int] | None = None, /, **changes: Value) -> ShareList:
    """The list of whoever is lied to. changes: of the statement about U2."""
    made = s.share_list(ME, sharers)
    there = s.everyone if sharers is None else sharers
    return replace(made, signature=u2(s, there, **changes))


def u2(
    s: Script, there: frozenset[int] | set[int], seed: Seed = SERVER_SEED, **changes: Value
) -> bytes:
    return altered(s.cohort.sharers(there), **changes).signed(seed)


def entries(s: Script, changes: dict[int, Change], **of_list: Value) -> bytes:
    """The list with some dealers' entries changed, by index; signed as it then is."""
    made = listed(s, **of_list)
    near = s.cohort.neighbours(ME)
    delivered = tuple(
        changes[v](one) if v in changes else one
        for v, one in zip(near, made.delivered, strict=True)
    )
    return s.delivered(ME, replace(made, delivered=delivered))


def dealer_says(s: Script, seed: Seed | None = None, **changes: Value) -> bytes:
    """The neighbour in front signs something else with what it deals."""

    def change(one: Delivered) -> Delivered:
        said = statements.SHARES(s.session, 0, s.cohort.leaves[0], one.body)
        signature = altered(said, **changes).signed(seed or seed_of(s.cohort.ids[0]))
        return replace(one, signature=signature)

    return entries(s, {0: change})


def dealer_signs(s: Script, said: Statement) -> bytes:
    signature = said.signed(seed_of(s.cohort.ids[0]))
    return entries(s, {0: lambda one: replace(one, signature=signature)})


def of_another_session(s: Script) -> ShareList:
    return before().share_list(ME)


def swapped(s: Script) -> bytes:
    first, second = listed(s).delivered[:2]
    return entries(s, {0: lambda _: second, 2: lambda _: first})


def bound(s: Script, to: bytes) -> bytes:
    return replace(
        listed(s), delivery=after_header(s.sent(Tag.SHARE_LIST, to=s.cohort.ids[ME])).rest()[-64:]
    ).encode(to, s.cohort.size)


def to_another(s: Script) -> bytes:
    return s.sent(Tag.SHARE_LIST, to=s.cohort.ids[3])


def another_dealer(s: Script, v: int) -> bytes:
    """One entry more, of somebody whom U2 has not."""
    made = listed(s, {0, 1, 2, 3})
    extra = listed(s).delivered[-1]
    return s.delivered(ME, replace(made, delivered=(*made.delivered, extra)))


@dataclass(frozen=True)
class Row:
    build: Callable[[Script], bytes]
    why: str
    received: int = 1


NOT_SIGNED = "not signed by it, over the keys shown of it"
REFUSED = {
    "U2 omits whoever it is shown to": Row(
        lambda s: s.delivered(ME, listed(s, {0, 2, 3, 4, 5})), "omits this client"
    ),
    "U2 has fewer than t holders of this client": Row(
        lambda s: s.delivered(ME, listed(s, {0, 1, 2})), "3 holders are in U2"
    ),
    "U2 has nobody else": Row(lambda s: s.delivered(ME, listed(s, {ME})), "1 holders are in U2"),
    "U2 has an index behind the last": Row(
        lambda s: flipped(s.delivered(ME, listed(s)), 35, 7), "a bit at or past"
    ),
    "U2 is signed for another session": Row(
        lambda s: s.delivered(ME, listed(s, session=OTHER)), "sharers"
    ),
    "U2 is signed with other members": Row(
        lambda s: s.delivered(ME, listed(s, sharers=OTHER)), "sharers"
    ),
    "U2 is signed with another number": Row(
        lambda s: s.delivered(ME, listed(s, number=5)), "sharers"
    ),
    "U2 is signed by a member": Row(
        lambda s: s.delivered(ME, replace(listed(s), signature=u2(s, s.everyone, seed_of(0)))),
        "sharers",
    ),
    "U2 is signed by the administrator": Row(
        lambda s: s.delivered(ME, replace(listed(s), signature=u2(s, s.everyone, ADMIN_SEED))),
        "sharers",
    ),
    "U2 is the one of the session before": Row(
        lambda s: s.delivered(ME, replace(listed(s), signature=before().share_list(ME).signature)),
        "sharers",
    ),
    "U2 is not signed": Row(
        lambda s: s.delivered(ME, replace(listed(s), signature=bytes(64))), "sharers"
    ),
    "the list is signed for another session": Row(
        lambda s: s.delivered(ME, listed(s), session=OTHER), "delivery"
    ),
    "the list is signed for another holder": Row(
        lambda s: s.delivered(ME, listed(s), holder=0), "delivery"
    ),
    "another list is signed": Row(lambda s: s.delivered(ME, listed(s), list=OTHER), "delivery"),
    "the list is signed by a member": Row(
        lambda s: s.delivered(ME, listed(s), seed=seed_of(0)), "delivery"
    ),
    "the list is not signed": Row(
        lambda s: replace(listed(s), delivery=bytes(64)).encode(s.session, s.cohort.size),
        "delivery",
    ),
    "the list of another holder": Row(to_another, "delivery"),
    "shares are signed by their dealer for another session": Row(
        lambda s: dealer_says(s, session=OTHER), NOT_SIGNED
    ),
    "shares are signed by their dealer with another index": Row(
        lambda s: dealer_says(s, index=2), NOT_SIGNED
    ),
    "shares are signed by their dealer over another leaf": Row(
        lambda s: dealer_says(s, leaf=OTHER), NOT_SIGNED
    ),
    "shares are signed by their dealer over another body": Row(
        lambda s: dealer_says(s, body=OTHER), NOT_SIGNED
    ),
    "shares are signed by another member": Row(
        lambda s: dealer_says(s, seed=seed_of(2)), NOT_SIGNED
    ),
    "shares are signed by the server": Row(lambda s: dealer_says(s, seed=SERVER_SEED), NOT_SIGNED),
    "shares are signed under the name of another statement": Row(
        lambda s: dealer_signs(
            s, statements.INPUT(s.session, 0, s.cohort.leaves[0], s.dealt[0].digest, OTHER, OTHER)
        ),
        NOT_SIGNED,
    ),
    "a body is another than the dealer signed": Row(
        lambda s: entries(s, {0: lambda one: replace(one, body=OTHER)}), NOT_SIGNED
    ),
    "the signature of a dealer has a bit flipped": Row(
        lambda s: entries(s, {0: lambda one: replace(one, signature=flipped(one.signature, 9))}),
        NOT_SIGNED,
    ),
    "the signature of the last dealer has a bit flipped": Row(
        lambda s: entries(s, {5: lambda one: replace(one, signature=flipped(one.signature, 9))}),
        NOT_SIGNED,
    ),
    "what two dealers dealt is exchanged": Row(swapped, NOT_SIGNED),
    "what a dealer dealt in the session before": Row(
        lambda s: entries(s, {0: lambda _: before().share_list(ME).delivered[0]}), NOT_SIGNED
    ),
    "all that was dealt in the session before": Row(
        lambda s: s.delivered(ME, replace(before().share_list(ME), signature=u2(s, s.everyone))),
        NOT_SIGNED,
    ),
    "an entry of a dealer that U2 has not": Row(lambda s: another_dealer(s, 5), "follow"),
    "an entry of a dealer of U2 is missing": Row(
        lambda s: s.delivered(ME, replace(listed(s), delivered=listed(s).delivered[:-1])),
        "remain|bytes",
    ),
    "a share list that is bound to the offer": Row(
        lambda s: bound(s, s.terms.offer), "bound to another session"
    ),
    "a share list that is bound to the session before": Row(
        lambda s: bound(s, before().session), "bound to another session"
    ),
    "the share list of the session before": Row(
        lambda s: before().sent(Tag.SHARE_LIST, to=s.cohort.ids[ME]), "bound to another session"
    ),
    "a share list that is cut short": Row(
        lambda s: s.delivered(ME, listed(s))[:-1], "remain|bytes"
    ),
    "a share list with a byte more": Row(lambda s: s.delivered(ME, listed(s)) + b"\0", "follow"),
    "another key list": Row(
        lambda s: flipped(s.sent(Tag.KEY_LIST, to=s.cohort.ids[ME]), -1), "not expected now"
    ),
    "a survivor set before the share list": Row(lambda s: s.shows(s.everyone), "not expected now"),
    "an unmask request before the share list": Row(
        lambda s: s.request(range(4)), "not expected now"
    ),
    "another U2 to one that has masked": Row(
        lambda s: s.delivered(ME, listed(s, {0, 1, 2, 3})), "not expected now", 2
    ),
    "fewer than t pairs are what the list says": Row(
        lambda s: entries(s, dict.fromkeys((0, 2, 3), misdigested)), "3 pairs are valid"
    ),
    "nothing in the list opens": Row(
        lambda s: entries(s, dict.fromkeys((0, 2, 3, 4, 5), torn)), "1 pairs are valid"
    ),
}


def misdigested(one: Delivered) -> Delivered:
    return replace(one, digests=OTHER)


def torn(one: Delivered) -> Delivered:
    return replace(one, sealed=flipped(one.sealed, 50))


@pytest.mark.parametrize("name", REFUSED)
def test_a_client_refuses_what_is_said_of_u2(name: str) -> None:
    row, s = REFUSED[name], script()
    refuses(s.client(ME, row.received), row.build(s), row.why)


def sealed_for(s: Script, holder: int, dealer: int = 0) -> Change:
    """What a dealer has sealed for another holder, or another dealer for this one."""
    one = s.deliveries.entry(dealer, holder)
    return lambda own: replace(own, sealed=one.sealed)


REPORTED = {
    "a pair whose shares have other digests than the list says": lambda s: misdigested,
    "a pair that has a bit flipped": lambda s: torn,
    "a pair that was sealed for another holder": lambda s: sealed_for(s, 3),
    "a pair that another dealer has sealed": lambda s: sealed_for(s, ME, 2),
    "a pair of the session before": lambda s: (
        lambda one: replace(one, sealed=before().share_list(ME).delivered[0].sealed)
    ),
    "a pair of zeros": lambda s: lambda one: replace(one, sealed=bytes(len(one.sealed))),
    "digests of what another holder was dealt": lambda s: (
        lambda one: replace(one, digests=s.deliveries.entry(0, 3).digests)
    ),
}


@pytest.mark.parametrize("name", REPORTED)
def test_a_pair_that_is_not_what_was_said_is_missing_and_reported(name: str) -> None:
    """Rule V5: the client goes on, holds nothing of that dealer, and says so with its input."""
    s = script()
    client = s.client(ME, 1)
    client.receive(SERVER, entries(s, {0: REPORTED[name](s)}))
    said, _ = MaskedInput.read(
        after_header(client.outgoing()[0].data), s.cohort.size - 1, s.terms.layout
    )
    assert said.failed == {0} and not client.done
    assert standing(client).masked.held.keys() == {1, 2, 3, 4, 5}


def test_keys_that_a_neighbour_has_said_before_do_not_get_its_shares() -> None:
    """Rule V4, of a sparse graph: a client that was started again has signed two pairs of keys for
    one offer. The one that is not in the tree is shown to a victim, who cannot see it in the list
    of keys, and sees it once its neighbour has signed its leaf."""
    s = script("regular")
    near = s.cohort.neighbours(ME)[0]
    party = s.cohort.ids[near]
    keys = keys_of(s, party)
    made = s.key_list(ME)
    data = replace(made, keys={**made.keys, near: keys}).encode(s.session, s.cohort.clients)
    client = s.client(ME, 0)
    client.receive(SERVER, data)  # all of it signed, and the path leads to the root
    dealt = ShareKeys.read(after_header(client.outgoing()[0].data), len(made.keys))
    assert dealt.to(0).sealed != s.dealt[ME].to(0).sealed  # sealed to the other keys
    refuses(client, s.sent(Tag.SHARE_LIST, to=s.cohort.ids[ME]), NOT_SIGNED)


def test_the_same_list_again_gets_the_same_input() -> None:
    """Rows 25, 31, and rule V6: it leaves masked once, in one wording."""
    s = script()
    client, data = s.client(ME, 1), s.sent(Tag.SHARE_LIST, to=s.cohort.ids[ME])
    client.receive(SERVER, data)
    first = client.outgoing()
    client.receive(SERVER, data)
    assert client.outgoing() == first and first[0].commit


def test_another_payload_is_not_masked() -> None:
    """Rule C2, rows 35 and 36; T7."""
    s = script()
    client = s.client(ME, 2, with_input=False)
    with pytest.raises(InputError):
        client.set_input(s.cast.inputs[s.cohort.ids[ME]], OTHER)
    assert client.done and [m.data[2] for m in client.outgoing()] == [Tag.ABORT]
    assert any(isinstance(event, Aborted) for event in client.events())


def test_what_is_listed_is_read_whole() -> None:
    """That the tables above say what they say: the honest list goes through."""
    s = script()
    data = s.sent(Tag.SHARE_LIST, to=s.cohort.ids[ME])
    assert s.delivered(ME, listed(s)) == data == entries(s, {})
    near = frozenset(s.cohort.neighbours(ME))
    assert ShareList.read(Reader(data[35:]), s.cohort.size, near).delivered
    made = KeyList.read(Reader(s.sent(Tag.KEY_LIST, to=s.cohort.ids[ME])[35:]), 6, 5, True)
    assert made == s.key_list(ME)
