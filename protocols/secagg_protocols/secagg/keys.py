"""The key schedule: no raw secret ever keys AES (specs/10-secagg.md §4)."""

from __future__ import annotations

from dataclasses import dataclass

from secagg.crypto import labels
from secagg.crypto.agree import shared_secret
from secagg.crypto.seal import seal, unseal
from secagg.types import Seed, SessionId

# Every derived key names its session, its parties and its purpose. `segments` is the number of ring
# widths; each segment has a mask key of its own.


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One client within a session: its index in U1 and a public key of it."""

    index: int
    public: bytes


# The commitment is a PRF of b under its own label, not a hash: b is uniform 32 bytes, so it hides b
# and binds to it, and it shares no output with the masks. It is what lets the server decode around
# wrong shares (S7); the papers commit to no b. s_sk needs no commitment, since its public key is
# one.
def commit(b: Seed, session: SessionId, index: int) -> bytes:
    """The commitment to the self-mask seed: HKDF-Expand(b, ("commit-b", session, u))."""
    return labels.expand(b, labels.COMMIT_B, session, index)


def self_keys(b: Seed, session: SessionId, index: int, segments: int) -> tuple[bytes, ...]:
    """A self-mask key of 32 bytes a segment, from the seed b (specs/10-secagg.md §4)."""
    return labels.derive_each(b, segments, labels.SELF, session, index)


def pair_keys(
    secret: Seed, own: Endpoint, peer: Endpoint, session: SessionId, segments: int
) -> tuple[bytes, ...]:
    """The mask keys two clients share; both compute the same, the lower index standing first."""
    # Both public keys are in the derivation besides the shared secret, as RFC 7748 §6.1 has it:
    # X25519 alone does not say between whom it was made.
    shared = shared_secret(secret, peer.public)
    low, high = sorted((own, peer), key=lambda end: end.index)
    context = (session, low.index, low.public, high.index, high.public)
    return labels.derive_each(shared, segments, labels.MASK, *context)


def sign(own: int, peer: int) -> int:
    """The lower index adds the pair's mask, the higher subtracts it."""
    return 1 if own < peer else -1


def seal_pair(
    shared: Seed, session: SessionId, dealer: Endpoint, holder: Endpoint, plaintext: bytes
) -> bytes:
    """shared: X25519 of both c keys. One key per direction, one message per key."""
    key, context = _sealing(shared, session, dealer, holder)
    return seal(key, plaintext, context)


def unseal_pair(
    shared: Seed, session: SessionId, dealer: Endpoint, holder: Endpoint, sealed: bytes
) -> bytes:
    """Raises InvalidTag."""
    key, context = _sealing(shared, session, dealer, holder)
    return unseal(key, sealed, context)


def _sealing(
    shared: Seed, session: SessionId, dealer: Endpoint, holder: Endpoint
) -> tuple[Seed, bytes]:
    """The key of one direction, and the context that it seals under, which it is derived from
    too."""
    # The nonce of GCM may be zero because a key seals one message: it is derived for one session
    # and one direction. That is also why dealt shares have one wording (C11): a second wording
    # under this key would reveal the difference of both and the key of the tag.
    context = labels.encode(
        labels.SEAL, session, dealer.index, holder.index, dealer.public, holder.public
    )
    return labels.derive_in(shared, context), context
