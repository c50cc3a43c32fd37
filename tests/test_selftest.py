"""Row 61: where a known answer is wrong, nothing is started."""

import pytest
import rfc8032

from secagg import selftest
from secagg.errors import CryptoError
from secagg.fields import FixedPoint
from secagg.party import Client, Server
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.types import PartyId


@pytest.fixture(autouse=True)
def _fresh() -> None:
    selftest.passed.cache_clear()


@pytest.fixture
def a_plan() -> Plan:
    return plan(clients=5, fields={"x": FixedPoint(2, 1.0, 8)}, protocol="secagg")


def test_every_answer_is_right_here() -> None:
    assert {name: right() for name, right in selftest.CHECKS.items()} == dict.fromkeys(
        selftest.CHECKS, True
    )


@pytest.mark.parametrize("name", selftest.CHECKS)
def test_row_61_a_wrong_answer_refuses_the_start(
    name: str, a_plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(selftest.CHECKS, name, lambda: False)
    task = {"nonce": bytes(16), "payload_digest": bytes(32)}
    with pytest.raises(CryptoError, match=f"self-test: {name}"):
        Client(a_plan, PartyId(0), **task)
    with pytest.raises(CryptoError, match=f"self-test: {name}"):
        Server(a_plan, **task)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("X25519", "public_key"),
        ("the mask stream", "add_stream"),
    ],
)
def test_row_61_the_checks_notice(name: str, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, broken, lambda *args, **kwargs: None)
    assert not selftest.CHECKS[name]()


@pytest.mark.parametrize(
    ("name", "module", "function", "wrong"),
    [
        ("HPKE", "hpke", "seal", lambda public, plain, info: bytes(plain)),
        ("HPKE", "hpke", "seal", lambda public, plain, info: selftest._SEALED),
        ("Ed25519", "sign", "sign", lambda secret, message: bytes(64)),
        ("Ed25519", "sign", "verify", lambda public, message, signature: None),
        ("the check of Ed25519 keys", "sign", "check_public", lambda key: key),
    ],
)
def test_row_61_sealing_and_signing_are_checked(
    name: str, module: str, function: str, wrong: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getattr(selftest, module), function, wrong)
    with pytest.raises(CryptoError, match=f"self-test: {name}"):
        selftest.passed()


@pytest.mark.parametrize("name", ["_SEALED", "_SIGNATURE"])
def test_row_61_a_refusal_is_a_wrong_answer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What must open or verify and does not raises inside the check."""
    right = getattr(selftest, name)
    monkeypatch.setattr(selftest, name, right[:-1] + bytes([right[-1] ^ 1]))
    with pytest.raises(CryptoError, match="self-test"):
        selftest.passed()


def test_row_61_the_bad_key_is_bad_for_one_reason_only() -> None:
    """It is canonical and on the curve, and 2 L times it is the identity while L times is not."""
    point = rfc8032.decode(selftest._BAD_KEY)
    assert point is not None
    assert rfc8032.encode(point) == selftest._BAD_KEY
    assert not rfc8032.is_key(selftest._BAD_KEY)
    assert rfc8032.encode(rfc8032.multiply(2 * rfc8032.L, point)) == (1).to_bytes(32, "little")


def test_row_61_the_check_of_sharing_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    right = selftest.shamir.combine
    monkeypatch.setattr(selftest.shamir, "combine", lambda shares, t: right(shares, t - 1))
    monkeypatch.setattr(selftest.shamir, "split", lambda *args: [bytes(40)] * 3)
    assert not selftest.CHECKS["Shamir's sharing"]()
