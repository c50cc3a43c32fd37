"""What a client computes between two messages: joining, dealing, opening, masking, answering."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from secagg import shamir
from secagg.crypto.agree import KeyPair, check_public
from secagg.errors import InvalidKey, InvalidShare, InvalidTag, RemoteProtocolError, WireError
from secagg.layout import Expander, RingVector
from secagg.types import PartyId, Randomness, Seed
from secagg.wire.codec import encode_bitmap
from secagg_protocols.secagg import binding, keys
from secagg_protocols.secagg.keys import Endpoint
from secagg_protocols.secagg.messages import (
    AdvertiseKeys,
    KeyList,
    SharePair,
    UnmaskAnswer,
    UnmaskRequest,
)
from secagg_protocols.secagg.params import SecAggParams
from secagg_protocols.secagg.standing import (
    Answered,
    Place,
    WantInput,
    WantKeys,
    WantShares,
    WantSurvivors,
    agreed,
)
from secagg_protocols.secagg.survivors import View, check_survivors, reveal_shares

# Each transition is a plain function from (state, message) to (next state, reply), all of them
# frozen values; the machine in client.py decides when it may run. Rules C3-C9 of specs/10-secagg.md
# §8.


def begin(randomness: Randomness) -> WantKeys:
    """Two fresh key pairs, c first (specs/10-secagg.md §4.3)."""
    c, s = (KeyPair.from_random(randomness(32)) for _ in range(2))
    return WantKeys(c, s)


# The server is believed in one thing only, the root of the key tree, which a client that holds no
# keys but its neighbours' cannot compute. All else it says follows from that and from U1, so a
# server that shows two clients different U1s has given them different sessions, and nothing that
# one seals opens at the other.
def join(
    now: WantKeys, listed: KeyList, bound: bytes, offer: bytes, me: PartyId, params: SecAggParams
) -> Place:
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
    # recomputed and not believed: whoever chose the neighbours could choose corrupt ones
    if tuple(listed.keys) != binding.neighbours(session, size, params.degree, index):
        raise RemoteProtocolError("the neighbours are not those of the session's graph")
    check_advertised([now.advertised, *listed.keys.values()])
    return Place(session, size, index)


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


@dataclass(frozen=True, slots=True)
class Dealt:
    """All that a client says and keeps when it deals: its next state; the commitment to b; by
    holder, its own place included, the pair of shares; by neighbour, ascending, the sealed pairs.
    """

    after: WantShares
    commitment: bytes
    pairs: Mapping[int, SharePair] = field(repr=False)
    sealed: tuple[bytes, ...]


def deal(
    now: WantKeys,
    place: Place,
    peers: Mapping[int, AdvertiseKeys],
    threshold: int,
    randomness: Randomness,
) -> Dealt:
    """Shares b and s_sk among the holders and seals each pair to its holder. peers: the neighbours'
    keys by ascending index."""
    # A dealer holds a share of its own secrets too: it is one of its t holders like any neighbour,
    # so the threshold counts over the closed neighbourhood, as in check_survivors.
    holders = sorted([*peers, place.index])
    b = Seed(randomness(Seed.SIZE))
    # the point of a share is never sent: it follows from who holds it, so x = 0, which would be the
    # secret itself, and two shares at one point cannot be written down
    points = [1 + holder for holder in holders]
    b_shares = shamir.split(b, threshold, points, randomness)
    s_shares = shamir.split(now.s.secret, threshold, points, randomness)
    pairs = {
        holder: SharePair(place.index, holder, b_share, s_share)
        for holder, b_share, s_share in zip(holders, b_shares, s_shares, strict=True)
    }
    sealing = agreed(now, peers)
    me = Endpoint(place.index, now.c.public)
    sealed = tuple(
        keys.seal_pair(sealing[v], place.session, me, Endpoint(v, peer.c_pk), pairs[v].encode())
        for v, peer in peers.items()
    )
    after = WantShares(now, place, peers, b, pairs[place.index], sealing)
    return Dealt(after, keys.commit(b, place.session, place.index), pairs, sealed)


def any_pair(pair: SharePair) -> bool:
    """Where nothing is known of a pair before it is opened."""
    return True


def open_shares(
    now: WantShares,
    sharers: frozenset[int],
    sealed: Sequence[bytes],
    params: SecAggParams,
    fits: Callable[[SharePair], bool] = any_pair,
) -> WantInput:
    """Rules C5 and C6: what does not open is missing, and named to the server, nobody else.

    sharers: U2. sealed: of the neighbours in it, ascending. fits: whether an opened pair is what
    its dealer is known to have dealt.

    Refuses to go on if fewer than t holders, itself included, are in U2, or if fewer than t
    dealers' pairs, its own included, are valid.
    """
    place = now.place
    if place.index not in sharers:
        raise RemoteProtocolError("U2 omits this client, whose shares were sent")
    present = [v for v in now.peers if v in sharers]
    # its own pair was never sealed: nobody else ever had it, so it is always there and always opens
    held = {place.index: now.own}
    for v, one in zip(present, sealed, strict=True):
        pair = _open(v, one, now)
        if pair is not None and fits(pair):
            held[v] = pair
    for number, what in ((len(present) + 1, "holders are in U2"), (len(held), "pairs are valid")):
        if number < params.threshold:
            raise RemoteProtocolError(f"{number} {what}, and the threshold is {params.threshold}")
    holders = frozenset([*present, place.index])
    u2 = encode_bitmap(sharers, place.size)
    view = View(place.index, holders, u2, params.threshold, params.min_survivors)
    s_keys = {v: now.peers[v].s_pk for v in present}
    return WantInput(place, tuple(now.peers), now.keys.s, now.b, s_keys, view, held)


def _open(dealer: int, sealed: bytes, now: WantShares) -> SharePair | None:
    """None for every failure alike: a wrong tag must not be told from a wrong plaintext."""
    place = now.place
    sender = Endpoint(dealer, now.peers[dealer].c_pk)
    me = Endpoint(place.index, now.keys.c.public)
    try:
        data = keys.unseal_pair(now.sealing[dealer], place.session, sender, me, sealed)
        pair = SharePair.decode(data)
        shamir.check_share(pair.b_share)
        shamir.check_share(pair.s_share)
    except (InvalidTag, WireError, InvalidShare):
        return None
    return pair if (pair.dealer, pair.holder) == (dealer, place.index) else None


def mask(now: WantInput, vector: RingVector, expander: Expander) -> WantSurvivors:
    """y = x + self mask ± pairwise masks with every neighbour in U2, in place (rule C7).

    Plus for the lower index of a pair, minus for the higher. Also with a dealer whose pair did
    not open: the server cannot know of that before it has the vector.
    """
    # The mask of a pair that did not open is added all the same (C7). To leave it out would need
    # the server to know before masking, one more message each way; as it is, the server learns of
    # the pair with the vector, and asks another holder.
    session, index = now.place.session, now.place.index
    by_owner = [keys.self_keys(now.b, session, index, len(vector))]
    signs = [1]
    me = Endpoint(index, now.s.public)
    for v, s_pk in now.s_keys.items():
        by_owner.append(keys.pair_keys(now.s.secret, me, Endpoint(v, s_pk), session, len(vector)))
        signs.append(keys.sign(index, v))
    # all keys of a segment at once: the expander goes over the lane only once
    for lane, of_segment in zip(vector, zip(*by_owner, strict=True), strict=True):
        expander(lane, b"".join(of_segment), bytes(sign > 0 for sign in signs))
    return WantSurvivors(now.place, now.view, now.held)


def answer(now: WantSurvivors, request: UnmaskRequest) -> tuple[Answered, UnmaskAnswer]:
    """Rules C8 and C9. Once it has answered, a client holds no secret of the session."""
    # the only call in the package that turns a server's list into a SurvivorSet
    survivors = check_survivors(now.view, request.survivors)
    return Answered(), UnmaskAnswer(reveal_shares(survivors, now.held))
