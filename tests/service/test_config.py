"""The configuration of a service: what is read, and everything for which it is refused."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from secagg.errors import InputError, ParameterError
from secagg.service.config import LARGEST, Asked, Bounds, Config, Reading, parse, read

WHOLE = """
[service]
name = "sum.hospital.example"
state = "/var/lib/secagg"
[listen]
address = "0.0.0.0:443"
certificate = "tls/chain.pem"
key = "tls/key.pem"
[admin]
address = "127.0.0.1:8443"
[tasks.mortality]
plan = "mortality.task"
clients = { min = 5, target = 8, spare = 0.25 }
every = "1d"
deadlines = { default = "60s", masked-input = "10m" }
[retention]
results = "30d"
audit = "400d"
"""
SHORT = """
[service]
name = "localhost"
state = "state"
[listen]
address = "[::1]:0"
[tasks.a]
plan = "a.task"
clients = { min = 3 }
"""
HERE = Path("/etc/secagg")


def said(text: str) -> Reading:
    return parse(text.encode(), HERE)


def config(text: str) -> Config:
    return said(text).get()


def test_everything_has_a_type_and_paths_are_of_the_file_s_folder() -> None:
    found = config(WHOLE)
    assert (found.name, found.state) == ("sum.hospital.example", Path("/var/lib/secagg"))
    assert (found.listen.host, found.listen.port) == ("0.0.0.0", 443)
    assert found.listen.certificate == HERE / "tls/chain.pem"
    assert found.admin == ("127.0.0.1", 8443)
    (task,) = found.tasks
    assert (task.name, task.plan, task.every) == ("mortality", HERE / "mortality.task", 86400.0)
    assert task.clients == Asked(5, 8, 0.25)
    assert task.deadlines == {"default": 60.0, "masked-input": 600.0}
    assert (found.retention.results, found.retention.audit) == (30 * 86400.0, 400 * 86400.0)


def test_what_is_left_out_has_its_default() -> None:
    found = config(SHORT)
    assert (found.listen.host, found.listen.port) == ("::1", 0)
    assert found.tasks[0].clients == Asked(3, 3)
    assert found.tasks[0].deadlines == {"default": 60.0}
    assert found.limits == Bounds()
    assert found.admin == ("127.0.0.1", 8443)


def test_each_limit_can_be_said_in_the_unit_of_its_kind() -> None:
    values = {"tls": '"3s"', "header": '"4s"', "hello": '"1m"', "ping": '"9s"', "pong": '"8s"'}
    values |= {"stranger_message": '"8 KiB"', "unfinished": '"1 GiB"', "unsent": "4096"}
    values |= {"disk_reserve": '"2 GiB"', "wal": '"1MiB"'}
    counted = [one.name for one in fields(Bounds) if one.name not in values]
    lines = [f"{key} = {one}" for key, one in values.items()] + [f"{key} = 7" for key in counted]
    found = config(SHORT + "[limits]\n" + "\n".join(lines)).limits
    assert (found.tls, found.hello, found.stranger_message) == (3.0, 60.0, 8 << 10)
    assert (found.unfinished, found.unsent, found.wal) == (1 << 30, 4096, 1 << 20)
    assert {getattr(found, key) for key in counted} == {7}
    assert len(counted) == 8


REFUSED = {
    # a line that is added to WHOLE or replaces one of it, and what is said of it
    "unknown table": ("[listne]\naddress = 1", "[listne] is unknown"),
    "unknown key": ("[limits]\nlinsk = 5", "[limits] linsk is unknown: [limits] has disk_reserve"),
    "table as a value": ("limits = 5", "[limits] must be a table, not an int"),
    "no name": (('name = "sum.hospital.example"', ""), "[service] name is missing"),
    "address as a name": (('"sum.hospital.example"', '"10.0.0.1"'), "must be a host's name"),
    "capitals": (('"sum.hospital.example"', '"Sum.example"'), "must be a host's name"),
    "empty name": (('"sum.hospital.example"', '""'), "must be a line of text"),
    "no state": (('state = "/var/lib/secagg"', ""), "[service] state is missing"),
    "no port": (('"0.0.0.0:443"', '"0.0.0.0"'), "[listen] address must be HOST:PORT"),
    "bare IPv6": (('"0.0.0.0:443"', '"::1:443"'), "[listen] address must be HOST:PORT"),
    "large port": (
        ('"0.0.0.0:443"', '"0.0.0.0:65536"'),
        "its port must be an integer from 0 to 65535",
    ),
    "key alone": (('certificate = "tls/chain.pem"', ""), "certificate and key come together"),
    "both": (
        ('key = "tls/key.pem"', 'key = "tls/key.pem"\ninsecure_plaintext = true'),
        "insecure_plaintext is for a service without a certificate",
    ),
    "plaintext in words": (
        ('key = "tls/key.pem"', 'key = "tls/key.pem"\ninsecure_plaintext = "no"'),
        "must be true or false",
    ),
    "no plan": (('plan = "mortality.task"', ""), "[tasks.mortality] plan is missing"),
    "no clients": (
        ("clients = { min = 5, target = 8, spare = 0.25 }", ""),
        "[tasks.mortality.clients] min is missing",
    ),
    "one client": (
        ("min = 5", "min = 1"),
        "[tasks.mortality.clients] min must be an integer from 2 to",
    ),
    "target below min": (("target = 8", "target = 4"), "target is 4, below min, 5"),
    "spare": (("spare = 0.25", "spare = 1.5"), "spare must be from 0 to 1"),
    "unit": (('every = "1d"', 'every = "1 day"'), 'must be a time as "30s"'),
    "number": (('every = "1d"', "every = 86400"), 'must be a time as "30s"'),
    "never": (('every = "1d"', 'every = "0s"'), "must be above zero"),
    "for ever": (('audit = "400d"', 'audit = "4000d"'), "at most 3650d"),
    "deadline": (('default = "60s"', 'default = "-1s"'), "[tasks.mortality.deadlines] default"),
    "task's name": (("[tasks.mortality]", "[tasks.Mortality]"), "a task's name is 1 to 64"),
    "no TOML": ("[service", "; text is in quotes, and each table"),
    "twice": ("[service]", "the configuration is no TOML: at line"),
    "nested": ("x = " + "[" * 100_000, "the configuration is no TOML: it is nested too deeply"),
    "client_ca alone": (
        ('certificate = "tls/chain.pem"\nkey = "tls/key.pem"', 'client_ca = "ca.pem"'),
        "client_ca judges clients of TLS",
    ),
    "limit as a word": ("[limits]\nlinks = true", "[limits] links must be"),
    "limit of none": ("[limits]\nlinks = 0", "[limits] links must be"),
    "size": ('[limits]\nwal = "1 MB"', 'must be a size as "64 KiB"'),
}


def changed(change: str | tuple[str, str]) -> str:
    """With a line more, at its end or, where it is of no table, before the first; or replaced."""
    if isinstance(change, tuple):
        assert change[0] in WHOLE
        return WHOLE.replace(*change)
    return f"{WHOLE}\n{change}\n" if "[" in change else f"{change}\n{WHOLE}"


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused(case: str) -> None:
    change, words = REFUSED[case]
    reading = said(changed(change))
    assert any(words in one for one in reading.refused), reading.refused
    with pytest.raises(ParameterError):
        reading.get()


def test_all_that_is_refused_is_said_at_once() -> None:
    text = WHOLE.replace('"1d"', '"x"').replace("min = 5", "min = 0").replace(":443", ":no")
    assert len(said(text).refused) == 3


def test_what_is_no_toml_is_not_repeated() -> None:
    """A password that was put into the file by mistake is in no log."""
    reading = said('[service]\nname = "hunter2')
    assert reading.config is None
    assert "hunter2" not in repr(reading.refused)
    assert "byte 10 is not UTF-8" in parse(b"[service]\n\xff", HERE).refused[0]


def test_values_are_not_repeated() -> None:
    text = WHOLE.replace('"1d"', '"hunter2"').replace("[retention]", "[retention]\nx = 'hunter2'")
    assert "hunter2" not in repr(said(text).refused)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "none.toml")
    with pytest.raises(InputError, match="NUL"):
        read(tmp_path / "a\0b")
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (LARGEST + 1))
    with pytest.raises(InputError, match=f"more than {LARGEST}"):
        read(large)
    large.write_bytes(b"#" * LARGEST)
    assert read(large).refused


def test_a_file_s_folder_is_what_its_paths_are_of(tmp_path: Path) -> None:
    (tmp_path / "service.toml").write_text(SHORT)
    assert read(tmp_path / "service.toml").get().state == tmp_path / "state"
