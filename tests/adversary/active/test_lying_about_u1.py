"""Rules V2 and V3, C1, C3, C4 (rows 33, 34, 36, 44, 46, 47, 50; T5, T7, T9): who is there, as a
server says it.

Every list here is signed by the server with its own key, and by whoever is corrupt with it, over
what it says; so each row is refused by the one check that it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property

import pytest

from secagg.crypto.agree import KeyPair
from secagg.roster import Roster
from secagg.suite import SUITE_1
from secagg.types import AbortReason, PartyId, Seed
from secagg.wire.header import write_header
from secagg_protocols.secagg import messages as semi_honest
from secagg_protocols.secagg.active import statements
from secagg_protocols.secagg.active.cohort import SignedCohort
from secagg_protocols.secagg.active.messages import Abort, KeyList, SignedKeys, digest_of
from secagg_protocols.secagg.active.statements import Value
from secagg_protocols.secagg.messages import Tag
from tests.active import ADMIN_SEED, REGULAR, SERVER_SEED, Cast, seed_of
from tests.adversary.active.liars import (
    OTHER,
    Script,
    flipped,
    keys_of,
    refuses,
    script,
    signed,
)

ME = 1
"""The index of whoever is lied to."""
LOW_ORDER = bytes(32)
NOT_CANONICAL = b"\xff" * 32


def world(s: Script, keys: Mapping[int, SignedKeys], without: tuple[int, ...] = ()) -> SignedCohort:
    """The session that follows from U1 of these keys besides the honest ones, but for `without`."""
    there = dict(zip(s.cohort.ids, s.cohort.keys, strict=True))
    there |= {PartyId(party): one for party, one in keys.items()}
    there = {party: one for party, one in there.items() if party not in without}
    return SignedCohort.joined(s.terms, there, SERVER_SEED)


def shown(s: Script, keys: Mapping[int, SignedKeys], without: tuple[int, ...] = ()) -> bytes:
    cohort = world(s, keys, without)
    return cohort.key_list(cohort.index[s.cohort.ids[ME]])


def other_cast(cast: Cast, **changes: object) -> Script:
    """Another session of the same clients, who then have other keys."""
    return Script(replace(cast, **changes))  # type: ignore[arg-type]


def replayed(**changes: object) -> Callable[[Script], bytes]:
    """Keys that the neighbour in front has said in that other session."""

    def build(s: Script) -> bytes:
        other = other_cast(s.cast, **changes)
        return shown(s, {s.cohort.ids[0]: other.cohort.keys[0]})

    return build


def said(
    s: Script,
    change: Callable[[KeyList], KeyList] = lambda listed: listed,
    *,
    bound: bytes | None = None,
    seed: Seed = SERVER_SEED,
    form: statements.Form = statements.COHORT,
    me: int = ME,
    **changes: Value,
) -> bytes:
    """The honest list with a change, and a statement of the honest session with others."""
    cohort = s.cohort
    values = {
        "offer": s.terms.offer,
        "session": s.session,
        "size": cohort.size,
        "members": digest_of(cohort.ids, cohort.clients),
        "root": cohort.root,
    }
    signature = form(*(values | changes).values()).signed(seed)
    listed = change(replace(s.key_list(me), signature=signature))
    return listed.encode(bound or s.session, cohort.clients)


def listing(change: Callable[[dict[int, SignedKeys]], object]) -> Callable[[Script], bytes]:
    """Which neighbours are listed, and how."""

    def build(s: Script) -> bytes:
        def changed(listed: KeyList) -> KeyList:
            keys = dict(listed.keys)
            change(keys)
            return replace(listed, keys=keys)

        return said(s, changed)

    return build


def path(change: Callable[[list[bytes]], object], me: int = ME) -> Callable[[Script], bytes]:
    def build(s: Script) -> bytes:
        def changed(listed: KeyList) -> KeyList:
            steps = list(listed.path)
            change(steps)
            return replace(listed, path=tuple(steps))

        return said(s, changed, me=me)

    return build


def in_order(s: Script, order: Callable[[list[bytes]], list[bytes]]) -> bytes:
    """The entries of the list as they stand, in another order."""
    listed = s.key_list(ME)
    entries = order([i.to_bytes(4) + one.body for i, one in listed.keys.items()])
    writer = write_header(Tag.KEY_LIST, s.session, s.cast.session.suite)
    writer.bitmap(listed.members, s.cohort.clients).u32(len(entries))
    return writer.raw(b"".join(entries)).raw(listed.signature).finish()


def first(s: Script, key: bytes, *, as_c: bool = True) -> bytes:
    """The neighbour in front has a key of that kind, and signs it."""
    party = s.cohort.ids[0]
    kept = s.cohort.keys[0]
    both = (key, kept.s_pk) if as_c else (kept.c_pk, key)
    return shown(s, {party: signed(s, party, *both)})


def mine(s: Script) -> SignedKeys:
    return s.cohort.keys[ME]


def others(s: Script) -> list[PartyId]:
    return [party for i, party in enumerate(s.cohort.ids) if i != ME]


def other_leaf(s: Script) -> dict[int, SignedKeys]:
    """Whoever is lied to has other keys than it said; signed with a key that it has lost."""
    return {s.cohort.ids[ME]: keys_of(s, s.cohort.ids[ME])}


def exchanged(keys: SignedKeys) -> SignedKeys:
    return SignedKeys(keys.s_pk, keys.c_pk, keys.signature)


def beyond(s: Script) -> bytes:
    """A bit of U1 behind the last place of the roster."""
    data = said(s)
    at = 35 + (s.cohort.clients - 1) // 8
    return data[:at] + bytes([data[at] | 0x80]) + data[at + 1 :]


def other_suite(s: Script) -> bytes:
    keys = {i: semi_honest.AdvertiseKeys(k.c_pk, k.s_pk) for i, k in s.key_list(ME).keys.items()}
    listed = semi_honest.KeyList(frozenset(s.cohort.ids), s.cohort.root, keys)
    assert SUITE_1 is not s.cast.session.suite
    return listed.encode(s.session, s.cohort.clients)


def alone_in_the_tree(steps: list[bytes]) -> None:
    """Of ten leaves the ninth moves up alone, twice."""
    at = next(i for i, step in enumerate(steps) if step == bytes(32))
    steps[at] = OTHER


@dataclass(frozen=True)
class Row:
    build: Callable[[Script], bytes]
    why: str
    cast: str = "complete"
    me: int = ME


IN_U1 = {
    "U1 omits whoever it is shown to": Row(
        lambda s: world(s, {}, (s.cohort.ids[ME],)).key_list(0), "omits this client"
    ),
    "U1 has fewer members than the plan's least": Row(
        lambda s: shown(s, {}, s.cohort.ids[3:]), "asks for 4 to 6"
    ),
    "U1 of two, a victim and the server's friend": Row(
        lambda s: shown(s, {}, s.cohort.ids[2:]), "asks for 4 to 6"
    ),
    "U1 has more members than the plan's most, of a complete graph": Row(
        lambda s: shown(s, {0: keys_of(s, 0)}), "asks for 4 to 6", "roster"
    ),
    "U1 has a place that the roster does not have": Row(beyond, "a bit at or past"),
    "U1 has a place that it has another's keys for": Row(
        lambda s: shown(s, {0: keys_of(s, 3)}, (s.cohort.ids[5],)), "not signed by it", "roster"
    ),
    "a member that was not there is played by the server": Row(
        lambda s: shown(s, {0: keys_of(s, 0, seed=SERVER_SEED)}, (s.cohort.ids[5],)),
        "keys of client 0 are not signed",
        "roster",
    ),
    "the last neighbour is played by the server": Row(
        lambda s: shown(s, {5: keys_of(s, 5, seed=SERVER_SEED)}), "keys of client 5 are not signed"
    ),
    "U1 has a member that was excluded": Row(
        lambda s: far_and_excluded(s), "somebody who is not in the roster", "excluding"
    ),
    "all others are played by the server": Row(
        lambda s: shown(
            s, {p: keys_of(s, p, seed=SERVER_SEED) for i, p in enumerate(s.cohort.ids) if i != ME}
        ),
        "not signed by it",
    ),
    "a neighbour's keys are replaced, its signature is kept": Row(
        lambda s: shown(
            s, {0: replace(s.cohort.keys[0], c_pk=KeyPair.from_random(bytes(32)).public)}
        ),
        "not signed by it",
    ),
    "a neighbour's two keys are exchanged": Row(
        lambda s: shown(
            s,
            {
                0: SignedKeys(
                    s.cohort.keys[0].s_pk, s.cohort.keys[0].c_pk, s.cohort.keys[0].signature
                )
            },
        ),
        "not signed by it",
    ),
    "a neighbour's keys are said for another offer": Row(
        lambda s: shown(s, {0: keys_of(s, 0, offer=OTHER)}), "not signed by it"
    ),
    "a neighbour's keys are said for another place": Row(
        lambda s: shown(s, {0: keys_of(s, 0, id=2)}), "not signed by it"
    ),
    "a neighbour's keys are signed over another c_pk": Row(
        lambda s: shown(s, {0: keys_of(s, 0, c_pk=OTHER)}), "not signed by it"
    ),
    "a neighbour's keys are signed over another s_pk": Row(
        lambda s: shown(s, {0: keys_of(s, 0, s_pk=OTHER)}), "not signed by it"
    ),
    "a neighbour's keys are signed by another member": Row(
        lambda s: shown(s, {0: keys_of(s, 0, seed=seed_of(2))}), "not signed by it"
    ),
    "a neighbour's keys are signed by the administrator": Row(
        lambda s: shown(s, {0: keys_of(s, 0, seed=ADMIN_SEED)}), "not signed by it"
    ),
    "a neighbour's keys are of the round before": Row(
        replayed(nonce=b"n" * 16), "not signed by it"
    ),
    "a neighbour's keys are of another payload's round": Row(
        replayed(payload=OTHER), "not signed by it"
    ),
    "a neighbour's keys are of an earlier epoch": Row(replayed(epoch=2), "not signed by it"),
    "a neighbour's keys are of another plan": Row(replayed(plan=b"another"), "not signed by it"),
    "a neighbour has this client's own keys, and signs them": Row(
        lambda s: shown(s, {0: signed(s, 0, mine(s).c_pk, mine(s).s_pk)}), "stands twice"
    ),
    "a neighbour has this client's c_pk for its s_pk": Row(
        lambda s: first(s, mine(s).c_pk, as_c=False), "stands twice"
    ),
    "two neighbours have one key": Row(lambda s: first(s, s.cohort.keys[2].c_pk), "stands twice"),
    "a neighbour's two keys are one": Row(
        lambda s: first(s, s.cohort.keys[0].s_pk), "stands twice"
    ),
    "a neighbour's c_pk is of small order": Row(lambda s: first(s, LOW_ORDER), "small order|low"),
    "a neighbour's s_pk is of small order": Row(
        lambda s: first(s, LOW_ORDER, as_c=False), "small order|low"
    ),
    "a neighbour's c_pk is not canonical": Row(lambda s: first(s, NOT_CANONICAL), "canonical"),
    "a neighbour of U1 is not listed": Row(listing(lambda keys: keys.pop(2)), "does not hold all"),
    "whoever it is shown to is listed in place of a neighbour": Row(
        listing(lambda keys: keys.update({ME: keys.pop(2)})), "does not hold all"
    ),
    "a neighbour has an index behind the last": Row(
        listing(lambda keys: keys.update({9: keys.pop(5)})), "not below"
    ),
    "a neighbour is listed twice": Row(
        lambda s: in_order(s, lambda entries: [*entries[:4], entries[3]]), "ascending"
    ),
    "neighbours are listed in another order": Row(
        lambda s: in_order(s, lambda entries: entries[::-1]), "ascending"
    ),
    "two neighbours' keys are exchanged": Row(
        listing(lambda keys: keys.update({0: keys[2], 2: keys[0]})), "session id"
    ),
    "nobody is listed": Row(listing(lambda keys: keys.clear()), "does not hold all"),
}
OF_A_SPARSE_GRAPH = {
    "U1 has more members than the plan's most, of a sparse graph": Row(
        lambda s: shown(s, {0: keys_of(s, 0)}), "asks for 9 to 10", "wide"
    ),
    "a step of the path is another": Row(
        path(lambda steps: steps.__setitem__(1, OTHER)), "session id", "regular"
    ),
    "a step of the path is missing": Row(
        path(lambda steps: steps.pop()), "Truncated|bytes|remain", "regular"
    ),
    "a path has a step more": Row(path(lambda steps: steps.append(OTHER)), "follow", "regular"),
    "the path is of another leaf": Row(
        lambda s: said(s, lambda listed: replace(listed, path=s.key_list(4).path)),
        "session id",
        "regular",
    ),
    "a path has something where its node moves up alone": Row(
        path(alone_in_the_tree, 8), "moves up alone", "regular", 8
    ),
    "a path has its sibling where a node has one": Row(
        path(lambda steps: steps.__setitem__(0, bytes(32))), "session id", "regular"
    ),
    "the root is of a tree with another leaf of this client": Row(
        lambda s: shown(s, {s.cohort.ids[ME]: keys_of(s, s.cohort.ids[ME])}),
        "session id",
        "regular",
    ),
    "a neighbour is another than the graph's, with its own keys": Row(
        lambda s: elsewhere(s), "not those of the session's graph", "regular"
    ),
    "a neighbour of the graph is left out": Row(
        listing(lambda keys: keys.pop(min(keys))),
        "not those of the session's graph",
        "regular",
    ),
    "a neighbour more than the graph's": Row(lambda s: more(s), "limit is 4", "regular"),
    "a neighbour of a sparse graph is played by the server": Row(
        lambda s: played(s), "not signed by it", "regular"
    ),
    "a neighbour of a sparse graph has an index behind the last": Row(
        listing(lambda keys: keys.update({99: keys.pop(max(keys))})), "not below", "regular"
    ),
}
IN_THE_STATEMENT = {
    "the root is of a tree with other keys of this client": Row(
        lambda s: shown(s, other_leaf(s)), "session id"
    ),
    "the session id is another": Row(lambda s: said(s, bound=OTHER), "session id"),
    "the key list is bound to the offer": Row(lambda s: said(s, bound=s.terms.offer), "session id"),
    "U1 is signed for another offer": Row(lambda s: said(s, offer=OTHER), "cohort"),
    "U1 is signed for another session": Row(lambda s: said(s, session=OTHER), "cohort"),
    "U1 is signed with another size": Row(lambda s: said(s, size=5), "cohort"),
    "U1 is signed with other members": Row(lambda s: said(s, members=OTHER), "cohort"),
    "U1 is signed with another root": Row(lambda s: said(s, root=OTHER), "cohort"),
    "U1 is signed by a member": Row(lambda s: said(s, seed=seed_of(0)), "cohort"),
    "U1 is signed by the administrator": Row(lambda s: said(s, seed=ADMIN_SEED), "cohort"),
    "U1 is signed under another name": Row(
        lambda s: said(s, form=replace(statements.COHORT, name="sharers")), "cohort"
    ),
    "U1 is signed with a bit flipped": Row(lambda s: flipped(said(s), -1), "cohort"),
    "U1 is not signed": Row(
        lambda s: said(s, lambda listed: replace(listed, signature=bytes(64))), "cohort"
    ),
}
IN_THE_BYTES = {
    "a key list that is cut short": Row(lambda s: said(s)[:-1], "remain|bytes"),
    "a key list with a byte more": Row(lambda s: said(s) + b"\0", "follow"),
    "a key list of the semi-honest suite": Row(other_suite, "suite 1"),
    "a key list of another version": Row(lambda s: b"\2" + said(s)[1:], "version 2"),
    "a message of an unknown kind": Row(lambda s: flipped(said(s), 2, 6), "is unknown"),
    "an abort that is bound to another offer": Row(
        lambda s: Abort(AbortReason.CANCELLED).encode(OTHER), "bound to another offer"
    ),
    "an abort for a reason that nobody knows": Row(
        lambda s: Abort(AbortReason.CANCELLED).encode(s.terms.offer)[:-1] + b"\xff", "reason"
    ),
    "a share list before the key list": Row(
        lambda s: s.sent(Tag.SHARE_LIST, to=s.cohort.ids[ME]), "not expected now"
    ),
    "a survivor set before the key list": Row(lambda s: s.shows(s.everyone), "not expected now"),
    "an unmask request before the key list": Row(lambda s: s.request(range(4)), "not expected now"),
    "another client's key list": Row(
        lambda s: s.sent(Tag.KEY_LIST, to=s.cohort.ids[3]), "does not hold all"
    ),
}
ROWS = IN_U1 | OF_A_SPARSE_GRAPH | IN_THE_STATEMENT | IN_THE_BYTES


def elsewhere(s: Script) -> bytes:
    """The victim's neighbour is exchanged for a client that is none, all of it signed."""
    near = s.cohort.neighbours(ME)
    far = next(i for i in range(s.cohort.size) if i not in (*near, ME))

    def changed(listed: KeyList) -> KeyList:
        keys = {i: one for i, one in listed.keys.items() if i != near[0]}
        keys[far] = s.cohort.keys[far]
        return replace(listed, keys=keys)

    return said(s, changed)


def more(s: Script) -> bytes:
    near = s.cohort.neighbours(ME)
    far = next(i for i in range(s.cohort.size) if i not in (*near, ME))
    return said(s, lambda listed: replace(listed, keys={**listed.keys, far: s.cohort.keys[far]}))


def played(s: Script) -> bytes:
    """A client cannot see that its neighbour's keys are not in the tree: here it sees that they
    are not the neighbour's."""
    near = s.cohort.neighbours(ME)[0]
    fake = keys_of(s, s.cohort.ids[near], seed=SERVER_SEED)
    return said(s, lambda listed: replace(listed, keys={**listed.keys, near: fake}))


def far_and_excluded(s: Script) -> bytes:
    """Whoever was the first of the roster is there again, and is no neighbour of the victim, who
    therefore is not shown its keys."""
    me = s.cohort.ids[ME]
    for left in others(s):
        cohort = world(s, {0: keys_of(s, 0)}, (left,))
        if 0 not in cohort.neighbours(cohort.index[me]):
            return cohort.key_list(cohort.index[me])
    raise AssertionError("it is a neighbour in every graph")


@dataclass(frozen=True)
class Excluding(Cast):
    """The first two places of its roster are empty."""

    @cached_property
    def roster(self) -> Roster:
        made = super().roster
        return replace(made, keys=(None, None, *made.keys[2:]))


@cache
def made(name: str) -> Script:
    """wide: in whose roster are two more than the plan is for."""
    if name == "excluding":
        return Script(Excluding(REGULAR, places=12))
    return Script(Cast(REGULAR, places=12)) if name == "wide" else script(name)


@pytest.mark.parametrize("name", ROWS)
def test_a_client_refuses_what_is_said_of_u1(name: str) -> None:
    row = ROWS[name]
    told = made(row.cast)
    refuses(told.client(row.me, 0), row.build(told), row.why)
