"""Files of TLS: each that cannot serve is refused by its name, before anybody is served with it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from secagg.errors import InputError, ParameterError
from secagg.transport.tls import TLS
from tests.authority import DAY, Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.made(tmp_path)


def test_what_is_loaded_speaks_1_3_alone_and_gives_no_tickets(authority: Authority) -> None:
    """Row 66."""
    files = authority.issued("127.0.0.1")
    context = files.load().context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.maximum_version in (ssl.TLSVersion.MAXIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_3)
    assert context.num_tickets == 0 and context.options & ssl.OP_NO_COMPRESSION
    assert context.verify_mode is ssl.CERT_NONE


def test_it_knows_until_when_it_is_good(authority: Authority) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + DAY
    assert authority.issued("127.0.0.1", until).load().expires == until.timestamp()


def _missing(files: TLS, authority: Authority) -> TLS:
    return TLS(files.certificate, authority.folder / "nothing.key")


def _no_name(files: TLS, authority: Authority) -> TLS:
    return TLS(Path("a\0b"), files.key)


def _a_folder(files: TLS, authority: Authority) -> TLS:
    return TLS(authority.folder, files.key)


def _the_other_way_round(files: TLS, authority: Authority) -> TLS:
    files.certificate.chmod(0o600)
    return TLS(files.key, files.certificate)


def _damaged(files: TLS, authority: Authority) -> TLS:
    files.certificate.write_bytes(files.certificate.read_bytes().replace(b"M", b"N"))
    return files


def _damaged_key(files: TLS, authority: Authority) -> TLS:
    files.key.write_bytes(files.key.read_bytes().replace(b"M", b"N"))
    return files


def _empty(files: TLS, authority: Authority) -> TLS:
    files.certificate.write_bytes(b"")
    return files


def _too_long(files: TLS, authority: Authority) -> TLS:
    files.certificate.write_bytes(files.certificate.read_bytes() + bytes(1 << 20))
    return files


def _of_another(files: TLS, authority: Authority) -> TLS:
    return TLS(files.certificate, authority.issued("127.0.0.1", name="another").key)


def _open_to_others(files: TLS, authority: Authority) -> TLS:
    files.key.chmod(0o640)
    return files


def _encrypted(files: TLS, authority: Authority) -> TLS:
    return authority.issued("127.0.0.1", secret="passphrase")


def _expired(files: TLS, authority: Authority) -> TLS:
    return authority.issued("127.0.0.1", datetime.now(UTC) - DAY)


def _not_yet(files: TLS, authority: Authority) -> TLS:
    return authority.issued("127.0.0.1", datetime.now(UTC) + 5 * DAY)


def _expired_on_its_way(files: TLS, authority: Authority) -> TLS:
    old = Authority.made(authority.folder / "old", datetime.now(UTC) - DAY)
    files.certificate.write_bytes(files.certificate.read_bytes() + old.path.read_bytes())
    return files


def _authority_expired(files: TLS, authority: Authority) -> TLS:
    old = Authority.made(authority.folder / "old", datetime.now(UTC) - DAY)
    return TLS(files.certificate, files.key, old.path)


def _authority_missing(files: TLS, authority: Authority) -> TLS:
    return TLS(files.certificate, files.key, authority.folder / "nobody.pem")


BAD: dict[str, tuple[Callable[[TLS, Authority], TLS], str]] = {
    "missing": (_missing, "nothing.key cannot be read: No such file"),
    "no name": (_no_name, "cannot be read: a file's name has no NUL"),
    "a folder": (_a_folder, "is not a regular file"),
    "the other way round": (_the_other_way_round, "one.key has no certificate in PEM"),
    "damaged": (_damaged, "one.pem has no certificate in PEM, or one that is damaged"),
    "damaged key": (_damaged_key, "one.key has no private key in PEM, or one that is damaged"),
    "empty": (_empty, "one.pem has no certificate in PEM"),
    "too long": (_too_long, "one.pem has more than 1048576 bytes"),
    "of another": (_of_another, "another.key is not the key of the first certificate in .*one.pem"),
    "open to others": (_open_to_others, r"one.key is open to other users \(mode 0640\): chmod"),
    "encrypted": (_encrypted, "one.key is encrypted"),
    "expired": (_expired, "one.pem: certificate 1 of it has expired on 20.* UTC: renew it"),
    "not yet valid": (_not_yet, "one.pem: certificate 1 of it is not valid before 20"),
    "on its way": (_expired_on_its_way, "one.pem: certificate 2 of it has expired"),
    "authority expired": (_authority_expired, "authority.pem: no authority of it is good now"),
    "authority missing": (_authority_missing, "nobody.pem cannot be read"),
}


@pytest.mark.parametrize(("made", "why"), BAD.values(), ids=BAD)
def test_row_66_files_that_cannot_serve(
    authority: Authority, made: Callable[[TLS, Authority], TLS], why: str
) -> None:
    """Each names its file, and nothing that is in it; and a server that runs goes on with what it
    has."""
    files = authority.issued("127.0.0.1")
    running = files.load()
    context = running.context
    running.files = made(files, authority)
    with pytest.raises(InputError, match=why) as refused:
        running.files.load()
    assert "PRIVATE" not in str(refused.value)
    with pytest.raises(InputError, match=why):
        running.reload()
    assert running.context is context


def test_what_openssl_refuses_is_in_its_words(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a key that its policy has too small."""
    files = authority.issued("127.0.0.1")

    def refused(*args: Any, **named: Any) -> None:
        error = ssl.SSLError(1, "ee key too small (_ssl.c:3900)")
        error.reason = "EE_KEY_TOO_SMALL"
        raise error

    for method in ("load_cert_chain", "load_verify_locations"):
        with monkeypatch.context() as patch:
            patch.setattr(ssl.SSLContext, method, refused)
            with pytest.raises(InputError, match="OpenSSL refuses .*: EE_KEY_TOO_SMALL"):
                TLS(files.certificate, files.key, authority.path).load()


def test_an_old_authority_beside_a_new_one_is_no_error(authority: Authority) -> None:
    """As both are there while clients change to the new one."""
    old = Authority.made(authority.folder / "old", datetime.now(UTC) - DAY)
    both = authority.folder / "both.pem"
    both.write_bytes(old.path.read_bytes() + authority.path.read_bytes())
    files = authority.issued("127.0.0.1")
    assert TLS(files.certificate, files.key, both).load().context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("name", ["certificate", "key", "client_ca"])
def test_a_file_is_a_path(name: str) -> None:
    given: dict[str, Any] = {"certificate": Path("a"), "key": Path("b"), name: "chain.pem"}
    with pytest.raises(ParameterError, match=f"{name} must be a Path, not a str"):
        TLS(**given)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="modes say nothing there")
def test_a_certificate_may_be_open_to_all(authority: Authority) -> None:
    files = authority.issued("127.0.0.1")
    files.certificate.chmod(0o644)
    assert files.load()
