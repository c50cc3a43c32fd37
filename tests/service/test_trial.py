"""An authority for a trial: its certificates are taken by a strict client, and by nobody else."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from secagg.errors import InputError
from secagg.service import trial
from secagg.service.trial import Authority

NOW = datetime.now(UTC)
NAME = "sum.hospital.example"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new(NAME, NOW)


def handshake(folder: Path, chain: bytes, key: bytes, trusted: bytes, name: str) -> str:
    """How a client that trusts `trusted` fares, which calls on the host of that name."""
    (folder / "chain.pem").write_bytes(chain)
    (folder / "key.pem").write_bytes(key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    client = ssl.create_default_context(cadata=trusted.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()

    def answer() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=name):
            return "met"
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        ours.close()
        thread.join()


def test_a_client_that_trusts_the_authority_meets_the_server(
    authority: Authority, tmp_path: Path
) -> None:
    chain, key = authority.issue(NAME, NOW)
    assert handshake(tmp_path, chain, key, authority.certificate, NAME) == "met"


def test_66_nobody_else_does(authority: Authority, tmp_path: Path) -> None:
    chain, key = authority.issue(NAME, NOW)
    other = Authority.new(NAME, NOW)
    assert "self-signed" in handshake(tmp_path, chain, key, other.certificate, NAME)
    elsewhere = handshake(tmp_path, chain, key, authority.certificate, "elsewhere.example")
    assert "elsewhere.example" in elsewhere


@pytest.mark.parametrize("days", [-trial.SERVER_DAYS - 1, 2])
def test_66_nor_before_or_after_its_time(days: int, authority: Authority, tmp_path: Path) -> None:
    chain, key = authority.issue(NAME, NOW + timedelta(days=days))
    found = handshake(tmp_path, chain, key, authority.certificate, NAME)
    assert "expired" in found or "not yet valid" in found


def test_its_end_and_fingerprint_can_be_read(authority: Authority) -> None:
    chain, _ = authority.issue(NAME, NOW)
    end = trial.expires(chain)
    assert timedelta(days=396) < end - NOW <= timedelta(days=397)
    der = ssl.PEM_cert_to_DER_cert(authority.certificate.decode())
    import hashlib

    assert trial.fingerprint(authority.certificate) == hashlib.sha256(der).digest()


def test_damage_is_an_input_error_and_shows_no_key(authority: Authority) -> None:
    for damaged in (
        Authority(b"x", authority.key),
        Authority(authority.certificate, b"-----BEGIN x-----"),
    ):
        with pytest.raises(InputError) as raised:
            damaged.issue(NAME, NOW)
        assert "PRIVATE" not in str(raised.value)
    for function in (trial.expires, trial.fingerprint):
        with pytest.raises(InputError):
            function(b"no PEM")


def test_its_key_is_not_shown(authority: Authority) -> None:
    assert "PRIVATE" not in repr(authority)
