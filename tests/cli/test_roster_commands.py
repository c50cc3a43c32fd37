"""secagg identity and secagg roster: from a new key to a roster that a client would take.

Rows 9, 33, 34, 51; T5, T6, T20, T21.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from secagg.cli import app
from secagg.errors import InvalidSignature, PolicyRefused
from secagg.plans.task import Task
from secagg.roster import Enrolment, Pin, SignedRoster
from secagg.store.identity import Identity
from tests.cli import contract

LAST = "2099-12-31"
UNIX = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="modes are Unix's")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def told(*arguments: object) -> dict[str, Any]:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert isinstance(data, dict)
    kind = f"{arguments[0]} {arguments[1]}"
    if kind in contract.KEPT["json"]:
        contract.check(kind, data)
    return data


def refusal(*arguments: object) -> str:
    result = call(*arguments, "--json")
    assert result.exit_code == 2, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == 1
    return str(json.loads(lines[0])["message"])


class Admin:
    """A folder, a server, and members on machines of their own."""

    def __init__(self, at: Path) -> None:
        self.at, self.folder = at, at / "admin"
        self.server = told("identity", "new", at / "server", "--name", "server")["public"]
        self.key = told("roster", "init", self.folder, "--server", self.server)["admin"]

    def enrol(self, *names: str) -> list[Path]:
        for name in names:
            told("identity", "new", self.at / name, "--name", name)
        return [self.at / f"{name}.enrol" for name in names]

    def add(self, *names: str) -> dict[str, Any]:
        return told("roster", "add", self.folder, *self.enrol(*names))

    def sign(self) -> SignedRoster:
        told("roster", "sign", self.folder, "--not-after", LAST)
        return SignedRoster.decode((self.folder / "roster").read_bytes())


@pytest.fixture
def admin(tmp_path: Path) -> Admin:
    return Admin(tmp_path)


def test_an_identity(tmp_path: Path) -> None:
    made = told("identity", "new", tmp_path / "graz", "--name", "Clinic 7, Graz")
    with Identity.open(tmp_path / "graz") as held:
        assert held.public.hex() == made["public"]
    request = Enrolment.decode((tmp_path / "graz.enrol").read_bytes())
    assert made["request"] == str(tmp_path / "graz.enrol")
    assert (request.name, request.key.hex()) == ("Clinic 7, Graz", made["public"])
    assert told("identity", "show", tmp_path / "graz")["public"] == made["public"]
    assert made["public"] in call("identity", "show", tmp_path / "graz").stdout
    assert told("identity", "new", tmp_path / "b", "--name", "b")["public"] != made["public"]


@UNIX
def test_what_is_secret_is_its_owners(admin: Admin) -> None:
    """T20, T21: from the first byte on, whatever the umask; what is printed is public."""
    before = os.umask(0)
    try:
        admin.add("a")
    finally:
        os.umask(before)
    assert admin.folder.stat().st_mode & 0o777 == 0o700
    for secret in (admin.at / "a", admin.folder / "admin.key", admin.folder / "members.json"):
        assert secret.stat().st_mode & 0o077 == 0, secret
    seed = (admin.at / "a").read_text().splitlines()[1]
    shown = call("identity", "show", admin.at / "a").output + json.dumps(admin.add("b"))
    assert seed[:8] not in shown
    (admin.at / "a").chmod(0o644)
    assert "open to other users (mode 0644)" in refusal("identity", "show", admin.at / "a")
    (admin.folder / "admin.key").chmod(0o640)
    assert "mode 0640" in refusal("roster", "sign", admin.folder, "--not-after", LAST)


def test_nothing_is_replaced(admin: Admin) -> None:
    """A key that is gone is a place that is lost, or a roster that nobody can follow."""
    admin.enrol("a")
    kept = (admin.at / "a").read_bytes()
    assert "exists" in refusal("identity", "new", admin.at / "a", "--name", "a")
    (admin.at / "a").unlink()
    assert "exists" in refusal("identity", "new", admin.at / "a", "--name", "a")  # its request
    assert not (admin.at / "a").exists() and kept
    again = refusal("roster", "init", admin.folder, "--server", admin.server)
    assert "its key is never replaced" in again


def test_from_requests_to_a_roster(admin: Admin) -> None:
    assert admin.add("a", "b") == {
        **{"folder": str(admin.folder), "added": [0, 1]},
        **{"epoch": 0, "places": 2, "members": 2},
    }
    first = admin.sign()
    assert first.roster.epoch == 1 and first.admin.hex() == admin.key
    assert first.roster.server.hex() == admin.server
    for place, name in enumerate("ab"):
        with Identity.open(admin.at / name) as held:
            assert first.roster.place_of(held.public) == place
    assert admin.add("c")["added"] == [2]
    told("roster", "exclude", admin.folder, "a")
    second = admin.sign()
    assert second.roster.epoch == 2
    assert second.roster.keys[:2] == (None, first.roster.keys[1])
    assert second.roster.members == {1, 2}
    verified = told("roster", "verify", admin.folder / "roster", "--admin", admin.key)
    assert verified["digest"] == second.roster.digest.hex() and verified["members"] == 2
    assert verified["not_after"] == second.roster.not_after > time.time()
    shown = told("roster", "show", admin.folder)
    assert [(one["place"], one["name"], one["excluded"]) for one in shown["list"]] == [
        *((0, "a", True), (1, "b", False), (2, "c", False)),
    ]
    public = call("roster", "show", admin.folder / "roster", "--json")
    assert json.loads(public.stdout) == verified
    assert "2099-12-31 23:59:59 UTC" in call("roster", "show", admin.folder / "roster").stdout
    assert "place 0 a excluded" in " ".join(call("roster", "show", admin.folder).stdout.split())


def test_inspect(admin: Admin) -> None:
    """What each file is, and of a secret the public key alone."""
    admin.add("a")
    admin.sign()
    with Identity.open(admin.at / "a") as held:
        public, seed = held.public.hex(), held.seed.expose().hex()
    for file, kind, found in (
        (admin.at / "a", "secret key of an identity", {"public": public}),
        (admin.folder / "admin.key", "secret key of an administrator", {"public": admin.key}),
        (admin.at / "a.enrol", "request to be enrolled", {"name": "a", "public": public}),
        (admin.folder / "roster", "signed roster", {"admin": admin.key, "epoch": 1, "members": 1}),
    ):
        result = call("inspect", file, "--json")
        assert result.exit_code == 0, result.output
        told_of = json.loads(result.stdout)
        assert told_of["kind"] == kind and told_of.items() >= found.items()
        assert seed[:8] not in result.output


def test_a_task_of_a_roster(admin: Admin, tmp_path: Path) -> None:
    """What a client pins: the plan is of the roster's size, and against a server that deviates."""
    admin.add(*(f"m{number}" for number in range(8)))
    signed, file = admin.sign(), tmp_path / "task"
    sizes = ("--clients", 6, "--length", 5, "--bits", 8, "--out", file)
    members = ("--members", admin.folder / "roster")
    result = call("task", *sizes, *members, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert (answer["admin_key"], answer["epoch"]) == (admin.key, 1)
    assert answer["server_keys"] == [admin.server]
    assert answer["roster_digest"] == signed.roster.digest.hex()
    task = Task.decode(file.read_bytes())
    assert task.members == signed and task.pin == Pin(signed.admin, 1)
    assert task.plan.threat.population == 8 and task.plan.threat.adversary == "active"
    again = (*sizes, "--force", *members)
    assert "roster of 9" in refusal("task", *again, "--roster", 9)
    assert "give one" in refusal("task", *again, "--server", "00" * 64)
    assert "--members" in refusal("task", *sizes, "--force", "--members", admin.at / "m1")


def test_places_are_never_used_again(admin: Admin) -> None:
    """Row 33: nor names, nor keys, also of who is excluded."""
    admin.add("a", "b")
    told("roster", "exclude", admin.folder, "0")
    again = refusal("roster", "add", admin.folder, admin.at / "a.enrol")
    assert "place 0 already, of a, who is excluded: it takes a new identity" in again
    told("identity", "new", admin.at / "a2", "--name", "a")
    assert "a has place 0" in refusal("roster", "add", admin.folder, admin.at / "a2.enrol")
    assert admin.add("c")["added"] == [2]
    assert "excluded already" in refusal("roster", "exclude", admin.folder, "a")
    assert admin.sign().roster.members == {1, 2}


def test_a_name_is_no_place(admin: Admin) -> None:
    """Row 9: who is convicted is named by its place, and whoever had that for a name would be
    excluded in its stead."""
    admin.add("a", "b")
    for name in ("0", "1", "007", "12345678"):
        told("identity", "new", admin.at / f"n{name}", "--name", name)
        refused = refusal("roster", "add", admin.folder, admin.at / f"n{name}.enrol")
        assert "is how a place is called" in refused
    admin.add("0b", "-1")
    told("roster", "exclude", admin.folder, "1")
    assert admin.sign().roster.members == {0, 2, 3}


def test_whom_nobody_enrols(admin: Admin) -> None:
    """Rows 9 and 51, T5."""
    a, b = admin.enrol("a", "b")
    told("roster", "add", admin.folder, a)
    assert "has place 0 already" in refusal("roster", "add", admin.folder, a)
    with Identity.open(admin.at / "a") as held:
        twin = admin.at / "twin"
        twin.write_bytes(Enrolment.make("another", held.seed).encode())
    assert "place 0 already, of a" in refusal("roster", "add", admin.folder, twin)
    assert "is the server's" in refusal("roster", "add", admin.folder, admin.at / "server.enrol")
    damaged = bytearray(b.read_bytes())
    damaged[-1] ^= 1
    for data in (bytes(damaged), b.read_bytes()[:-1], b"", bytes(1000)):
        twin.write_bytes(data)
        assert f"request {twin}" in refusal("roster", "add", admin.folder, twin)
    # one that is refused adds none
    refusal("roster", "add", admin.folder, b, twin)
    assert told("roster", "show", admin.folder)["places"] == 1


def test_rosters_that_are_none(admin: Admin) -> None:
    """Row 34: another's, an older one's, one that is over, one that was changed."""
    admin.add("a")
    signed, file = admin.sign(), admin.folder / "roster"
    assert "pinned is" in refusal("roster", "verify", file, "--admin", admin.server)
    low = ("--admin", admin.key, "--epoch", 2)
    assert "of epoch 1, and pinned is epoch 2" in refusal("roster", "verify", file, *low)
    data = bytearray(signed.encode())
    data[4] ^= 2
    file.write_bytes(bytes(data))
    assert "is not signed by" in refusal("roster", "verify", file, "--admin", admin.key)
    assert "is not signed by" in refusal("roster", "show", file)
    with pytest.raises(InvalidSignature):
        SignedRoster.decode(bytes(data))
    with pytest.raises(PolicyRefused):
        Pin(signed.admin).verify(signed, signed.roster.not_after + 1)


@pytest.mark.parametrize("day", ["", "2020-01-01", "tomorrow", "99999-01-01", "2099-02-30", "0"])
def test_days_that_are_none(admin: Admin, day: str) -> None:
    admin.add("a")
    assert "--not-after is" in refusal("roster", "sign", admin.folder, "--not-after", day)
    assert told("roster", "show", admin.folder)["epoch"] == 0


def test_an_empty_roster(admin: Admin) -> None:
    assert "1 to" in refusal("roster", "sign", admin.folder, "--not-after", LAST)


def test_the_epoch_is_counted_before_the_roster_is_there(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever dies in between skips an epoch: two rosters of one would look like a fraud."""
    admin.add("a")
    from secagg.cli import register

    whole = register.write_whole

    def dies(path: Path, *rest: Any, **options: Any) -> None:
        if path.name == "roster":
            raise OSError(28, "No space left on device", str(path))
        whole(path, *rest, **options)

    monkeypatch.setattr(register, "write_whole", dies)
    assert "No space" in refusal("roster", "sign", admin.folder, "--not-after", LAST)
    monkeypatch.undo()
    assert admin.sign().roster.epoch == 2


def test_a_folder_that_was_set_back(admin: Admin) -> None:
    """T6: its next roster would have the epoch, or the place, of one that is out already."""
    admin.add("a")
    members = admin.folder / "members.json"
    before = members.read_bytes()
    admin.sign()
    members.write_bytes(before)
    assert "was set back" in refusal("roster", "sign", admin.folder, "--not-after", LAST)
    admin.folder.joinpath("roster").unlink()
    admin.sign()
    admin.add("b")
    admin.sign()
    one = json.loads(members.read_text())
    del one["members"][1]
    members.write_text(json.dumps(one, indent=1) + "\n")
    assert "was set back" in refusal("roster", "sign", admin.folder, "--not-after", LAST)


def test_a_place_that_became_anothers(admin: Admin) -> None:
    """14-roster.md §1.2: also by hand, or who was excluded and is back."""
    admin.add("a", "b")
    told("roster", "exclude", admin.folder, "b")
    admin.sign()
    members = admin.folder / "members.json"
    good = json.loads(members.read_text())
    stranger = told("identity", "new", admin.at / "c", "--name", "c")["public"]
    for place, change in ((0, {"key": stranger}), (1, {"excluded": False})):
        edited = json.loads(json.dumps(good))
        edited["members"][place] |= change
        members.write_text(json.dumps(edited, indent=1) + "\n")
        assert "was set back" in refusal("roster", "sign", admin.folder, "--not-after", LAST)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"null", b'{"version": 1}', b"\xff", b"[" * 10**5]
)
def test_members_that_were_edited(admin: Admin, data: bytes) -> None:
    admin.add("a")
    members = admin.folder / "members.json"
    good = members.read_bytes()
    for bad in (data, good + b"\n", good.replace(b"false", b"true ")):
        members.write_bytes(bad)
        assert "is damaged, or was edited" in refusal("roster", "show", admin.folder)


def test_what_each_takes(admin: Admin) -> None:
    for words, why in (
        (("show", admin.folder, "--not-after", LAST), "is for sign"),
        (("sign", admin.folder, "--admin", admin.key), "is for verify"),
        (("add", admin.folder), "add takes requests"),
        (("exclude", admin.folder), "exclude takes names or places"),
        (("show", admin.folder, "x"), "show takes no names"),
        (("init", admin.at / "new"), "init needs --server"),
        (("sign", admin.folder), "sign needs --not-after"),
        (("verify", admin.folder / "none"), "verify needs --admin"),
        (("exclude", admin.folder, "nobody"), "nobody here has"),
        (("exclude", admin.folder, "0"), "nobody here has"),
        (("add", admin.at, "x"), "is no folder of an administrator"),
    ):
        assert why in refusal("roster", *words), words
    assert "--name is of a new" in refusal("identity", "show", admin.at / "server", "--name", "x")
    assert "has a --name" in refusal("identity", "new", admin.at / "x")
    assert "is the key of an administrator" in refusal(
        "identity", "show", admin.folder / "admin.key"
    )


def test_a_key_signs_as_one_thing(admin: Admin) -> None:
    """An identity in the place of the administrator's key signs no roster."""
    admin.add("a")
    (admin.folder / "admin.key").write_bytes((admin.at / "a").read_bytes())
    said = refusal("roster", "sign", admin.folder, "--not-after", LAST)
    assert "is the key of an identity" in said


def test_a_file_of_another_kind_is_said_to_be_one(admin: Admin) -> None:
    """And which would do: who gave it cannot guess from a version or an epoch."""
    admin.add("a")
    admin.sign()
    assert "secret key" in (said := refusal("roster", "add", admin.folder, admin.at / "a"))
    assert "a request is FILE.enrol" in said
    request = refusal("roster", "verify", admin.at / "a.enrol", "--admin", admin.key)
    assert "a signed roster is DIR/roster" in request
    mistyped = refusal("roster", "verify", admin.folder / "roster", "--admin", "f" * 64)
    assert "no key has these digits" in mistyped and "`secagg roster init` printed" in mistyped
    short = refusal("roster", "init", admin.at / "other", "--server", "abc")
    assert "as `secagg identity new` prints them" in short
