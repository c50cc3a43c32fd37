"""The file of somebody who looks after a service or takes its results."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from secagg.crypto import sign
from secagg.errors import InputError, ParameterError
from secagg.rights import ServiceRole
from secagg.service import config
from secagg.service.person import Person, parse
from secagg.service.settings import read_terms
from secagg.service.site import Site
from secagg.types import Seed

KEY = sign.public_key(Seed(bytes(range(32))))
HERE = Path("/etc/secagg")


def person(folder: Path = HERE, authority: bool = True) -> Person:
    return Person(
        "https://sum.hospital.example:8443",
        "sum.hospital.example",
        KEY,
        folder / "ca.pem" if authority else None,
        'ann "1" \\',
        ServiceRole.OPERATOR,
        folder / "ann.key",
    )


@pytest.mark.parametrize("authority", [True, False])
def test_what_is_written_is_read(authority: bool, tmp_path: Path) -> None:
    made = person(tmp_path, authority)
    (tmp_path / "ann.toml").write_text(made.text(tmp_path))
    assert Person.read(tmp_path / "ann.toml") == made


@pytest.mark.parametrize("where", ["http://127.0.0.1:8443", "http://[::1]:9", "http://localhost:9"])
def test_plain_text_is_for_loopback(where: str) -> None:
    text = person().text(HERE).replace("https://sum.hospital.example:8443", where)
    assert parse(text.encode(), HERE).console == where


REFUSED = {
    "plain": ("https://", "http://", "must be https://HOST:PORT, or http://127.0.0.1:PORT"),
    "a path": (":8443", ":8443/v1", "must be https://HOST:PORT"),
    "a password": ("https://", "https://a:b@", "must be https://HOST:PORT"),
    "port 0": (":8443", ":0", "must be https://HOST:PORT"),
    "no port": (":8443", ":x", "must be https://HOST:PORT"),
    "another scheme": ("https://", "ftp://", "must be https://HOST:PORT"),
    "a small key": (KEY.hex(), "00" * 32, "no key that anybody signs with"),
    "a client": ('"operator"', '"client"', "must be one of collector, admin, operator, viewer"),
    "no role": ('role = "operator"', "", "[person] role is missing"),
    "no identity": ('identity = "ann.key"', "", "[person] identity is missing"),
    "no console": ('console = "https://sum.hospital.example:8443"', "", "console is missing"),
    "unknown": ("[person]", "[person]\ntasks = 1", "[person] tasks is unknown"),
    "a client's": ("[person]", "[client]", "this file is a client's"),
    "no TOML": ("[person]", "[person", "is no TOML"),
    "nested": ("[person]", "x = " + "[" * 100_000, "is no TOML"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused(case: str) -> None:
    old, new, words = REFUSED[case]
    text = person().text(HERE)
    assert old in text
    with pytest.raises(ParameterError) as error:
        parse(text.replace(old, new, 1).encode(), HERE)
    assert words in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the file of --service"):
        Person.read(tmp_path / "none")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
@pytest.mark.parametrize("read", [Person.read, Site.read, config.read, read_terms])
def test_a_pipe_keeps_nobody_waiting(read: Callable[[Path], object], tmp_path: Path) -> None:
    """Of all files that people name for a service."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(InputError, match="is not a regular file"):
            read(path)
