"""What a client computes between two messages: joining, dealing, opening, masking.

Plain functions over frozen data; the machine in client.py decides when each may run.
Rules C3-C7 of specs/10-secagg.md §8.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from secagg import shamir
from secagg.crypto.agree import KeyPair, check_public, shared_secret
from secagg.errors import InvalidKey, InvalidShare, InvalidTag, RemoteProtocolError, WireError
from secagg.layout import Expander, RingVector
from secagg.types import PartyId, Randomness, Seed, SessionId
from secagg.wire.codec import encode_bitmap
from secagg_protocols.secagg import binding, keys
from secagg_protocols.secagg.keys import Endpoint
from secagg_protocols.secagg.messages import AdvertiseKeys, KeyList, ShareKeys, ShareList, SharePair
from secagg_protocols.secagg.params import SecAggParams
from secagg_protocols.secagg.survivors import View


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """The two key pairs of one session, from start() on."""

    c: KeyPair
    s: KeyPair

    @property
    def advertised(self) -> AdvertiseKeys:
        return AdvertiseKeys(self.c.public, self.s.public)


@dataclass(frozen=True, slots=True)
class Cohort:
    """Where one client stands in U1. peers: its neighbours' keys by ascending index."""

    session: SessionId
    size: int
    index: int
    peers: dict[int, AdvertiseKeys]

    @property
    def holders(self) -> list[int]:
        """Its neighbours and itself, ascending."""
        return sorted([*self.peers, self.index])


@dataclass(frozen=True, slots=True)
class Dealt:
    """One client's secrets once it has dealt its shares. sealing: X25519 of c keys, by peer."""

    b: Seed
    own: SharePair = field(repr=False)
    sealing: dict[int, Seed]


@dataclass(frozen=True, slots=True)
class Opened:
    """held: the pairs that opened, by dealer, its own included. failed: those that did not."""

    view: View
    held: dict[int, SharePair] = field(repr=False)
    failed: frozenset[int]


def join(
    listed: KeyList, bound: bytes, offer: bytes, me: PartyId, own: OwnKeys, params: SecAggParams
) -> Cohort:
    """Rule C3: session id, graph and neighbours are recomputed; nothing is believed."""
    if me not in listed.members:
        raise RemoteProtocolError("U1 omits this client, whose keys were advertised")
    size = len(listed.members)
    if size < params.min_clients:
        raise RemoteProtocolError(f"|U1| = {size}, and this plan asks for {params.min_clients}")
    ids = sorted(map(PartyId, listed.members))
    session = binding.session_id(offer, params.clients, ids, listed.root)
    if session != bound:
        raise RemoteProtocolError("the session id does not follow from U1 and the root")
    index = ids.index(me)
    if tuple(listed.keys) != binding.neighbours(session, size, params.degree, index):
        raise RemoteProtocolError("the neighbours are not those of the session's graph")
    check_advertised([own.advertised, *listed.keys.values()])
    return Cohort(session, size, index, dict(listed.keys))


def check_advertised(advertised: Iterable[AdvertiseKeys]) -> None:
    """Rules C4 and S4: every key is canonical, not of small order, and none stands twice.

    Distinctness is hygiene (a reflected key); what protects is both keys in every KDF input.
    """
    seen: set[bytes] = set()
    for keys_of_one in advertised:
        for key in keys_of_one.both:
            if check_public(key) in seen:
                raise InvalidKey("a public key stands twice")
            seen.add(key)


def deal(
    cohort: Cohort, own: OwnKeys, threshold: int, randomness: Randomness
) -> tuple[Dealt, ShareKeys]:
    """Shares b and s_sk among the holders and seals each pair to its holder."""
    b = Seed(randomness(Seed.SIZE))
    points = [1 + holder for holder in cohort.holders]
    b_shares = shamir.split(b, threshold, points, randomness)
    s_shares = shamir.split(own.s.secret, threshold, points, randomness)
    pairs = {
        holder: SharePair(cohort.index, holder, b_share, s_share)
        for holder, b_share, s_share in zip(cohort.holders, b_shares, s_shares, strict=True)
    }
    sealing = {v: shared_secret(own.c.secret, peer.c_pk) for v, peer in cohort.peers.items()}
    me = Endpoint(cohort.index, own.c.public)
    sealed = tuple(
        keys.seal_pair(sealing[v], cohort.session, me, Endpoint(v, peer.c_pk), pairs[v].encode())
        for v, peer in cohort.peers.items()
    )
    commitment = keys.commit(b, cohort.session, cohort.index)
    return Dealt(b, pairs[cohort.index], sealing), ShareKeys(commitment, sealed)


def open_shares(
    listed: ShareList, cohort: Cohort, dealt: Dealt, own: OwnKeys, params: SecAggParams
) -> Opened:
    """Rules C5 and C6: what does not open is missing, and named to the server, nobody else.

    Refuses to go on if fewer than t holders, itself included, are in U2, or if fewer than t
    dealers' pairs, its own included, are valid.
    """
    if cohort.index not in listed.sharers:
        raise RemoteProtocolError("U2 omits this client, whose shares were sent")
    present = [v for v in cohort.peers if v in listed.sharers]
    held = {cohort.index: dealt.own}
    for v, sealed in zip(present, listed.sealed, strict=True):
        pair = _open(v, sealed, cohort, dealt, own)
        if pair is not None:
            held[v] = pair
    for number, what in ((len(present) + 1, "holders are in U2"), (len(held), "pairs are valid")):
        if number < params.threshold:
            raise RemoteProtocolError(f"{number} {what}, and the threshold is {params.threshold}")
    holders = frozenset([*present, cohort.index])
    sharers = encode_bitmap(listed.sharers, cohort.size)
    view = View(cohort.index, holders, sharers, params.threshold, params.min_survivors)
    return Opened(view, held, frozenset(present) - held.keys())


def _open(
    dealer: int, sealed: bytes, cohort: Cohort, dealt: Dealt, own: OwnKeys
) -> SharePair | None:
    """None for every failure alike: a wrong tag must not be told from a wrong plaintext."""
    sender = Endpoint(dealer, cohort.peers[dealer].c_pk)
    me = Endpoint(cohort.index, own.c.public)
    try:
        data = keys.unseal_pair(dealt.sealing[dealer], cohort.session, sender, me, sealed)
        pair = SharePair.decode(data)
        shamir.check_share(pair.b_share)
        shamir.check_share(pair.s_share)
    except (InvalidTag, WireError, InvalidShare):
        return None
    return pair if (pair.dealer, pair.holder) == (dealer, cohort.index) else None


def mask(
    vector: RingVector,
    cohort: Cohort,
    dealt: Dealt,
    own: OwnKeys,
    opened: Opened,
    expander: Expander,
) -> RingVector:
    """y = x + self mask ± pairwise masks with every neighbour in U2, in place (rule C7).

    Plus for the lower index of a pair, minus for the higher. Also with a dealer whose pair did
    not open: the server cannot know of that before it has the vector.
    """
    by_owner = [keys.self_keys(dealt.b, cohort.session, cohort.index, len(vector))]
    signs = [1]
    me = Endpoint(cohort.index, own.s.public)
    for v in sorted(opened.view.holders - {cohort.index}):
        peer = Endpoint(v, cohort.peers[v].s_pk)
        by_owner.append(keys.pair_keys(own.s.secret, me, peer, cohort.session, len(vector)))
        signs.append(keys.sign(cohort.index, v))
    # all keys of a segment at once: the expander goes over the lane only once
    for lane, of_segment in zip(vector, zip(*by_owner, strict=True), strict=True):
        expander(lane, b"".join(of_segment), bytes(sign > 0 for sign in signs))
    return vector
