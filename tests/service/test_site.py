"""The file of a client of a service."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from secagg.crypto import sign
from secagg.errors import InputError, ParameterError
from secagg.service.site import LARGEST, Site, parse
from secagg.types import Seed

KEY = sign.public_key(Seed(bytes(range(32))))
HERE = Path("/etc/site")


def site(folder: Path = HERE, authority: bool = True) -> Site:
    return Site(
        "https://sum.hospital.example:8443",
        "sum.hospital.example",
        KEY,
        folder / "ca.pem" if authority else None,
        'site "1" \\',
        "mortality",
        folder / "site-1.key",
        folder / "site-1.ledger",
        bytes(32),
    )


@pytest.mark.parametrize("epoch", [0, 7])
def test_whose_roster_it_pins_is_written_and_read(epoch: int, tmp_path: Path) -> None:
    """Rule N6."""
    files = {"policy": tmp_path / "policy.toml", "told": tmp_path / "told"}
    made = replace(site(tmp_path), admin=KEY, epoch=epoch, **files)
    (tmp_path / "site-1.toml").write_text(made.text(tmp_path))
    assert Site.read(tmp_path / "site-1.toml") == made
    text = made.text(tmp_path)
    for line, words in (("epoch = ", "must be an integer"), ("admin = ", "[roster] admin")):
        bad = "\n".join(f"{line}true" if x.startswith(line) else x for x in text.splitlines())
        with pytest.raises(ParameterError) as raised:
            parse(bad.encode(), tmp_path)
        assert words in str(raised.value)
    with pytest.raises(ParameterError, match=r"\[roster\] admin is missing"):
        parse(text.replace(f'admin = "{KEY.hex()}"\n', "").encode(), tmp_path)


@pytest.mark.parametrize("authority", [True, False])
def test_what_is_written_is_read(authority: bool, tmp_path: Path) -> None:
    made = site(tmp_path, authority)
    (tmp_path / "site-1.toml").write_text(made.text(tmp_path))
    assert Site.read(tmp_path / "site-1.toml") == made


REFUSED = {
    "plain": ("https://", "http://", "must be https://HOST"),
    "a path": (":8443", ":8443/v1/link", "must be https://HOST"),
    "a password": ("https://", "https://a:b@", "must be https://HOST"),
    "port 0": (":8443", ":0", "must be https://HOST"),
    "no port": (":8443", ":x", "must be https://HOST"),
    "a small key": (KEY.hex(), "00" * 32, "no key that anybody signs with"),
    "half a key": (KEY.hex(), KEY.hex()[2:], "64 hexadecimal digits"),
    "capitals": (KEY.hex(), KEY.hex().upper(), "64 hexadecimal digits"),
    "terms": ("00" * 32, "zz" * 32, "[client] terms must be 64 hexadecimal digits"),
    "task": ('"mortality"', '"Mortality"', "[client] task: a task's name"),
    "unknown": ("[client]", "[client]\nidentty = 1", "[client] identty is unknown"),
    "no identity": ('identity = "site-1.key"', "", "[client] identity is missing"),
    "no ledger": ('ledger = "site-1.ledger"', "", "[client] ledger is missing"),
    "no TOML": ("[client]", "[client", "no TOML: `secagg enrol` wrote that as DIR/NAME.toml"),
    "nested": ("[client]", "x = " + "[" * 100_000, "no TOML: `secagg enrol` wrote"),
    "a person's": ("[client]", "[person]", "this is the file of somebody who asks a service"),
    "a service's": ("[client]", "[listen]", "this is a service's configuration, and no site's"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused(case: str) -> None:
    old, new, words = REFUSED[case]
    text = site().text(HERE)
    assert old in text
    with pytest.raises(ParameterError) as raised:
        parse(text.replace(old, new).encode(), HERE)
    assert words in str(raised.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        Site.read(tmp_path / "none")
    with pytest.raises(InputError, match="but a folder: name the file in it"):
        Site.read(tmp_path)
    (tmp_path / "large").write_bytes(b"#" * (LARGEST + 1))
    with pytest.raises(InputError, match="more than"):
        Site.read(tmp_path / "large")
