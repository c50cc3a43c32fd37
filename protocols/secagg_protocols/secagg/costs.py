"""What a round of SecAgg or SecAgg+ takes, in seconds: counts of work times seconds of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from secagg.errors import ParameterError
from secagg.layout import Layout
from secagg.protocol import Params

# The counts are those of specs/10-secagg.md §10; the seconds are Rates, measured on the machine in
# question with the very functions that do the work. Nothing here is fitted to a round: a prediction
# that is far from its measurement means that the code does something which is not counted.
#
# Who drops is taken to drop after share-keys, the dearest moment: earlier, nobody has a mask with
# it and the server rebuilds nothing of it; later, its vector is in the sum and its own mask is all
# there is to remove. So a prediction is of the server's worst round of so many drops.

LIMBS = 5
"""Field elements of a shared secret (specs/10-secagg.md §6)."""


@dataclass(frozen=True, slots=True)
class Glue:
    """Seconds of one side, for each client, besides what Rates counts one by one.

    Parsing, encoding, look-ups, headers: by phase, once, and for each of the client's neighbours.
    """

    once: Mapping[str, float]
    each: Mapping[str, float]

    def of(self, phase: str, degree: int) -> float:
        return self.once.get(phase, 0.0) + degree * self.each.get(phase, 0.0)


@dataclass(frozen=True, slots=True)
class Rates:
    """Seconds of one unit of work each, on one thread unless it says otherwise.

    key_pair: a fresh X25519 key pair. agree: an agreement. derive: a key by HKDF. seal, unseal: a
    pair of shares. split_term: one of the products that evaluate a polynomial, 5 t for each
    holder of a secret. combine: rebuilding a secret, and combine_share for each share of it.
    weight_term: one of the products of a set of holders, t^2 for the weights that rebuild and
    3 t (m - t) for those that check m answers. member: of a set that a client reads; bound: of one
    that it hashes into the session id. encode: rounding an element and checking its range. pack,
    unpack, decode: an element. mask: a byte of key stream, added, by the lane's bits. hash: a byte
    of a message, to know it again. pair_job, mask_job: a mask key of a dropped client, and a byte
    of key stream by the lane's bits, as wall time with `threads` threads at work on jobs.
    """

    key_pair: float
    agree: float
    derive: float
    seal: float
    unseal: float
    split_term: float
    combine: float
    combine_share: float
    weight_term: float
    member: float
    bound: float
    encode: float
    mask: Mapping[int, float]
    pack: float
    unpack: float
    decode: float
    hash: float
    threads: int
    pair_job: float
    mask_job: Mapping[int, float]
    client: Glue
    server: Glue


@dataclass(frozen=True, slots=True)
class Prediction:
    """Seconds by phase: of a client that stays, and of the server with its jobs on threads."""

    client: Mapping[str, float]
    server: Mapping[str, float]

    @property
    def client_seconds(self) -> float:
        return sum(self.client.values())

    @property
    def server_seconds(self) -> float:
        return sum(self.server.values())


def predict(params: Params, layout: Layout, rates: Rates, *, dropped: int) -> Prediction:
    """A round of all clients, of whom `dropped` are lost after share-keys.

    Raises ParameterError for a protocol in which neighbours share no keys, such as the plain sum.
    """
    if not params.degree:
        raise ParameterError("this model counts by neighbours, and the parameters have none")
    return Prediction(
        _client(params, layout, rates), _server(params, layout, rates, params.clients - dropped)
    )


def _client(params: Params, layout: Layout, rates: Rates) -> dict[str, float]:
    """That neighbours drop after share-keys changes nothing: their masks are added all the same.

    Members of a set that are not neighbours, the strangers, cost little, but grow with n.
    """
    # Each of the three lists of the server is a bitmap over the cohort, so a client reads all of
    # U1, U2 and U3, on a sparse graph too; U1 goes into the session id besides.
    k, t, glue = params.degree, params.threshold, rates.client
    strangers = params.clients - 1 - k
    sealing = rates.agree + rates.derive + rates.seal
    # no agreement: that of both c keys was made to seal, and is kept (`standing.agreed`)
    opening = rates.derive + rates.unseal
    keys = rates.derive * len(layout.segments)
    return {
        "advertise-keys": 2 * rates.key_pair + glue.of("advertise-keys", k),
        "share-keys": k * sealing
        + rates.derive  # the commitment to its seed
        + 2 * LIMBS * t * (k + 1) * rates.split_term
        + strangers * (rates.member + rates.bound)
        + glue.of("share-keys", k),
        "masked-input": k * (opening + rates.agree)
        + (k + 1) * keys
        + layout.length * (rates.encode + rates.pack)
        + (k + 1) * _stream(layout, rates.mask)
        + strangers * rates.member
        + glue.of("masked-input", k),
        "unmask": strangers * rates.member + glue.of("unmask", k),
    }


def _server(params: Params, layout: Layout, rates: Rates, survivors: int) -> dict[str, float]:
    """survivors: who uploaded and answered; all others were lost after share-keys."""
    n, k, glue = params.clients, params.degree, rates.server
    adding = rates.unpack * layout.length + rates.hash * layout.packed_size
    return {
        "advertise-keys": n * glue.of("advertise-keys", k),
        "share-keys": n * glue.of("share-keys", k),
        "masked-input": survivors * adding + n * glue.of("masked-input", k),
        "unmask": _rebuilding(params, rates, survivors)
        + _removing(params, layout, rates, survivors)
        + layout.length * rates.decode
        + survivors * glue.of("unmask", k),
    }


def _rebuilding(params: Params, rates: Rates, survivors: int) -> float:
    """n secrets, each checked; the weights once where all dealers have the same holders."""
    n, t = params.clients, params.threshold
    # b of each survivor and s_sk of each other are n together. On the complete graph everybody
    # holds a share of everybody, so one set of points serves all dealers.
    sets, answers = (1, survivors) if params.degree == n - 1 else (n, params.degree * survivors / n)
    products = t * t + 3 * t * max(0, answers - t)
    # a rebuilt s_sk is checked by its public key, which costs what making a pair does; a rebuilt b
    # by its commitment, one derivation
    shares = n * (rates.combine + t * rates.combine_share) + sets * products * rates.weight_term
    return shares + (n - survivors) * rates.key_pair + survivors * rates.derive


def _removing(params: Params, layout: Layout, rates: Rates, survivors: int) -> float:
    """E = (n - D) + D k (1 - D/n) expansions, the second part of them agreed on first."""
    n, k, segments = params.clients, params.degree, len(layout.segments)
    each = survivors if k == n - 1 else k * survivors / n
    pairs = (n - survivors) * each
    # pair_job has the agreement and the key of one segment in it
    keys = pairs * (rates.pair_job + (segments - 1) * rates.derive)
    own = survivors * segments * rates.derive
    return keys + own + (survivors + pairs) * _stream(layout, rates.mask_job)


def _stream(layout: Layout, by_lane: Mapping[int, float]) -> float:
    """Seconds of one key's stream over the whole vector."""
    return sum(
        segment.length * segment.group.lane_bits // 8 * by_lane[segment.group.lane_bits]
        for segment in layout.segments
    )
