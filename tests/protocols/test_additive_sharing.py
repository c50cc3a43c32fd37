"""One report and one total, computed a second time with nothing but hashlib, HMAC, AES and HPKE.

specs/20-additive.md §3 to §6: the labels, the encodings and what everything is bound to. The
second computation shares no line with the package, so that a label cannot change unnoticed.
"""

from __future__ import annotations

import hashlib
import hmac

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from nacl.signing import SigningKey, VerifyKey

from secagg.errors import InputError, WireError
from secagg.layout import Layout, Segment
from secagg.ring import Ring
from secagg.testing import counter_randomness
from secagg.types import Seed
from secagg_protocols.additive.sharing import read_packed, read_seed
from secagg_protocols.reports.making import make_report
from secagg_protocols.reports.messages import Report, Sealed, Tag
from tests.ensembles import HELPER, LEADER, Setting, other, params_of, told
from tests.networks import PAYLOAD, inputs_of

LAYOUT = Layout((Segment(Ring(8), 5), Segment(Ring(32), 3)))
SETTING = Setting(params_of(3), LAYOUT, epoch=7, batch=2)


def parts(*values: bytes | int) -> bytes:
    raw = [v.to_bytes(4) if isinstance(v, int) else v for v in values]
    return b"".join(len(r).to_bytes(4) + r for r in raw)


def digest(label: str, *values: bytes | int) -> bytes:
    return hashlib.sha256(parts(b"secagg/v1/" + label.encode(), *values)).digest()


def hkdf(secret: bytes, info: bytes) -> bytes:
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def committee() -> bytes:
    keys = SETTING.keys
    listed = b"".join(s.public.sealing + s.public.signing for s in keys.servers)
    return b"\x03" + listed + keys.committee.collector + (7).to_bytes(4)


TASK = digest(
    "offer", b"additive", 1, 1, SETTING.plan, PAYLOAD, digest("committee", committee()), 7
)
BATCH = digest("batch", TASK, 2)


def opened(secret: bytes, sealed: bytes, info: bytes) -> bytes:
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    return suite.decrypt(sealed, X25519PrivateKey.from_private_bytes(secret), info=info)


def stream(key: bytes, size: int) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    return encryptor.update(bytes(size))


def test_a_report() -> None:
    """Rows 6-8 from the other side: what is bound is exactly this."""
    vector = tuple(lane.copy() for lane in inputs_of(1, LAYOUT)[0])  # type: ignore[index]
    given = [lane.tolist() for lane in vector]
    draw, again = counter_randomness(b"client"), counter_randomness(b"client")
    data = make_report(SETTING.context, vector, draw).encode(SETTING.context.id)
    id, key = again(16), SigningKey(again(32))
    seeds, public = [again(32), again(32)], bytes(key.verify_key)

    assert data[:3] == bytes([1, 1, 1])
    assert data[3:35] == TASK
    assert data[35:51] == id
    assert data[51:83] == public
    manifest, signature, body = data[83:179], data[179:243], data[243:]
    front = digest("public-share", public, b"")
    signed = parts(b"secagg/v1/report-sign", TASK, id, front, manifest)
    assert key.sign(signed).signature == signature
    sizes = [48 + 17, 80, 80]
    sealed = [body[sum(sizes[:i]) :][:size] for i, size in enumerate(sizes)]
    assert b"".join(sealed) == body
    assert manifest == b"".join(hashlib.sha256(one).digest() for one in sealed)

    plain = []
    for index, one in enumerate(sealed):
        bound = (TASK, id, front, b"server", index)
        info = parts(b"secagg/v1/share-seal", b"additive", 1, 1, *bound)
        secret = SETTING.keys.servers[index].opening.expose()
        plain.append(opened(secret, one, info))
    assert plain[1:] == seeds

    total = [np.frombuffer(plain[0][:5], "<u1").copy(), np.frombuffer(plain[0][5:], "<u4").copy()]
    for index, seed in enumerate(seeds, start=1):
        for segment, lane in enumerate(total):
            info = parts(b"secagg/v1/share", TASK, id, index, segment)
            lane += np.frombuffer(stream(hkdf(seed, info), lane.nbytes), lane.dtype)
    assert [lane.tolist() for lane in total] == given


def test_a_total() -> None:
    """What servers sign and seal: the batch, the set, the count and their own index."""
    log = told(SETTING)
    assert TASK == SETTING.context.id
    heads = sorted((d[35:51], d[51:83], d[83:179]) for d in log.of(Tag.REPORT_SHARE, LEADER))
    digests = {id: digest("report", id, key, b"", manifest) for id, key, manifest in heads}
    included = digest("reports", b"".join(id + one for id, one in digests.items()))
    for verdict in log.of(Tag.VERDICT, HELPER):
        receipt = parts(b"secagg/v1/receipt", TASK, 1, digests[verdict[35:51]])
        VerifyKey(SETTING.keys.servers[1].public.signing).verify(receipt, verdict[84:])
    for index, party in enumerate((LEADER, HELPER)):
        (data,) = log.of(Tag.TOTAL, party)
        assert data[:35] == bytes([1, 1, 11]) + BATCH
        assert data[35:71] == (4).to_bytes(4) + included
        agreed, sealed, signature = data[71:263], data[263:-64], data[-64:]
        hashed = hashlib.sha256(sealed).digest()
        signed = parts(b"secagg/v1/total", BATCH, index, 4, included, hashed)
        SigningKey(SETTING.keys.servers[index].signing.expose()).verify_key.verify(
            signed, signature
        )
        bound = (TASK, 2, included, 4, b"collector", index)
        info = parts(b"secagg/v1/total-seal", b"additive", 1, 1, *bound)
        assert len(opened(SETTING.keys.collector.expose(), sealed, info)) == LAYOUT.packed_size
        stated = parts(b"secagg/v1/statement", BATCH, 4, included)
        for number, server in enumerate(SETTING.keys.servers):
            VerifyKey(server.public.signing).verify(stated, agreed[64 * number :][:64])
    assert log.of(Tag.STATEMENT, HELPER)[0][71:] == agreed[64:128]


def test_the_task_binds_everything() -> None:
    """Threat T6: no two of these have one id."""
    settings = [
        SETTING,
        other(SETTING, epoch=8),
        other(SETTING, payload=bytes(32)),
        other(SETTING, plan=bytes(32)),
        other(SETTING, params=params_of(2)),
    ]
    ids = [one.context.id for one in settings]
    assert len(set(ids)) == len(ids)
    assert other(SETTING, batch=3).context.id == SETTING.context.id  # clients know no batch
    assert SETTING.context.batch(3) != SETTING.context.batch(2)


def test_shares_of_a_wrong_form_are_refused() -> None:
    """Rows 19-21: the leader's share by its length and padding, a helper's by its length."""
    for size in (0, 31, 33):
        with pytest.raises(WireError, match="seed"):
            read_seed(bytes(size))
    odd = Layout((Segment(Ring(3), 1),))
    for bad in (b"", b"\0\0", b"\x08"):
        with pytest.raises(WireError):
            read_packed(odd, bad)
    with pytest.raises(InputError):
        make_report(SETTING.context, odd.zeros() * 2, counter_randomness(b""))


def test_a_share_is_what_its_manifest_says() -> None:
    report = make_report(SETTING.context, LAYOUT.zeros(), counter_randomness(b"a"))
    assert [share.index for share in report.shares] == [0, 1, 2]
    first, second = report.shares[1:]
    with pytest.raises(WireError, match="server 1"):
        Sealed(first.head, 1, second.data)
    again = counter_randomness(b"a")
    id, secret = again(16), Seed(again(32))
    sealed = tuple(bytes(s.data) for s in report.shares)
    assert Report.of(SETTING.context.id, id, b"", sealed, secret) == report
