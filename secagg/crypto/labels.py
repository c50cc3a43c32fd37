"""Every domain-separation string, and the one encoding of hash and KDF inputs.

The version of the specification is in every label: stale peers fail closed.
See specs/10-secagg.md §2.
"""

from __future__ import annotations

import hashlib
import hmac

from secagg.types import Buffer, Seed

PREFIX = b"secagg/v1/"

PLAN = PREFIX + b"plan"
TENSOR = PREFIX + b"tensor"
PAYLOAD = PREFIX + b"payload"
OFFER = PREFIX + b"offer"
SESSION = PREFIX + b"session"
SET = PREFIX + b"set"
GRAPH = PREFIX + b"graph"
SEAL = PREFIX + b"seal"
MASK = PREFIX + b"mask"
SELF = PREFIX + b"self"
COMMIT_B = PREFIX + b"commit-b"
SUBSET = PREFIX + b"subset"
COMMITTEE = PREFIX + b"committee"
TASK = PREFIX + b"task"
TERMS = PREFIX + b"terms"
SHARE = PREFIX + b"share"
SHARE_SEAL = PREFIX + b"share-seal"
PUBLIC_SHARE = PREFIX + b"public-share"
REPORT = PREFIX + b"report"
REPORT_SIGN = PREFIX + b"report-sign"
RECEIPT = PREFIX + b"receipt"
BATCH = PREFIX + b"batch"
REPORTS = PREFIX + b"reports"
STATEMENT = PREFIX + b"statement"
TOTAL = PREFIX + b"total"
TOTAL_SEAL = PREFIX + b"total-seal"
LINK = PREFIX + b"link"
COLLECTOR_LINK = PREFIX + b"collector-link"
CLAIM = PREFIX + b"claim"
INPUT = PREFIX + b"input"
INPUT_USE = PREFIX + b"input-use"
ROWS = PREFIX + b"rows"
ROTATION = PREFIX + b"rotation"
NOISE = PREFIX + b"noise"
CHARGE = PREFIX + b"charge"
BUDGET = PREFIX + b"budget"
BUDGET_ROW = PREFIX + b"budget-row"
AUDIT = PREFIX + b"audit"
KEPT = PREFIX + b"kept-result"
ROSTER = PREFIX + b"roster"
SIGN_ROSTER = PREFIX + b"sign-roster"
SIGN_ENROL = PREFIX + b"sign-enrol"
SIGN_MEMBER_LINK = PREFIX + b"sign-member-link"
SIGN_SERVER_LINK = PREFIX + b"sign-server-link"
NEWEST = PREFIX + b"newest"
TAKEN_PART = PREFIX + b"taken-part"
SIGN = PREFIX + b"sign-"
SIGNERS = PREFIX + b"signers"
SHARE_DIGEST = PREFIX + b"share-digest"
DIGESTS = PREFIX + b"digests"
BODY = PREFIX + b"body"
DELIVERY = PREFIX + b"delivery"
MASKED = PREFIX + b"masked"
ANSWER = PREFIX + b"answer"
RESULT = PREFIX + b"result"
TRANSCRIPT = PREFIX + b"transcript"
WRITTEN = PREFIX + b"written"
SERVICE = PREFIX + b"service"
SERVICE_LINK_CLIENT = PREFIX + b"service-link-client"
SERVICE_LINK_SERVER = PREFIX + b"service-link-server"
CODE = PREFIX + b"code"
TICKET = PREFIX + b"ticket"
SIGN_ACCEPTANCE = PREFIX + b"sign-acceptance"
SIGN_RENEWAL = PREFIX + b"sign-renewal"
ADMISSIONS = PREFIX + b"admissions"
EPOCHS = PREFIX + b"epochs"

_LONG = 1 << 14
_INTEGER = (4).to_bytes(4)
_NO_SALT = bytes(32)

LEAF = b"\x00"
NODE = b"\x01"


def encode(*parts: Buffer | int) -> bytes:
    """Each part behind its u32 big-endian length; an integer is first written as a u32."""
    encoded: list[Buffer] = []
    for part in parts:  # plain: a server derives a million keys with it
        if isinstance(part, int):
            encoded.append(_INTEGER + part.to_bytes(4))
        else:
            encoded += len(part).to_bytes(4), part
    return b"".join(encoded)


def digest(label: bytes, *parts: Buffer | int) -> bytes:
    """H(label, parts...): SHA-256 over the encoding of all of them. 32 bytes."""
    last = parts[-1] if parts else b""
    if isinstance(last, int) or len(last) < _LONG:
        return hashlib.sha256(encode(label, *parts)).digest()
    state = hashlib.sha256(encode(label, *parts[:-1]) + len(last).to_bytes(4))
    state.update(last)  # a masked vector, as long as the model: not copied
    return state.digest()


def tree_digest(prefix: bytes, *parts: Buffer | int) -> bytes:
    """A leaf or a node of the key tree: the prefix byte, unprefixed, then the encoding."""
    return hashlib.sha256(prefix + encode(*parts)).digest()


def derive(secret: Seed, label: bytes, *context: Buffer | int) -> Seed:
    """HKDF-SHA256, empty salt, info = the encoding of label and context (RFC 5869). 32 bytes."""
    return derive_in(secret, encode(label, *context))


def derive_in(secret: Seed, info: bytes) -> Seed:
    """`derive` in a context that is encoded already, because something else is bound to it too."""
    return Seed(_expanded(_extracted(secret), info))


def derive_each(
    secret: Seed, number: int, label: bytes, *context: Buffer | int
) -> tuple[bytes, ...]:
    """`derive` of `number` secrets, 0 and up being the last part of their contexts; extracted
    once. 32 bytes each."""
    key, info = _extracted(secret), encode(label, *context)
    return tuple(_expanded(key, info + encode(each)) for each in range(number))


def expand(secret: Seed, label: bytes, *context: Buffer | int) -> bytes:
    """HKDF-Expand alone, from a secret that is uniform already. 32 bytes."""
    return _expanded(secret.expose(), encode(label, *context))


# RFC 5869 for outputs of one block: an object of a library for each of a client's hundred keys
# takes three times as long as the two HMACs, which are OpenSSL's either way.


def _extracted(secret: Seed) -> bytes:
    return hmac.digest(_NO_SALT, secret.expose(), "sha256")


def _expanded(key: bytes, info: bytes) -> bytes:
    return hmac.digest(key, info + b"\x01", "sha256")
