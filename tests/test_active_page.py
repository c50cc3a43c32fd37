"""What docs/active.md says and shows, followed and compared."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from secagg.cli import app
from secagg.drive import pump
from secagg.earlier import Earlier, change_bound
from secagg.errors import Aborted, PolicyRefused
from secagg.fields import FixedPoint
from secagg.mask import add_streams
from secagg.party import Client
from secagg.plans.choose import plan
from secagg.plans.task import Task
from secagg.policy import Policy
from secagg.proved import told
from secagg.roster import SignedRoster
from secagg.store.identity import Identity
from secagg.types import SERVER, PartyId
from tests.processes.shell import follow

PAGE = (Path(__file__).parent.parent / "docs" / "active.md").read_text()
[COMMANDS] = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

CHANGE = (
    "change: the survivors differ from those of an earlier round of this roster by 1 members, and "
    "this client's policy demands none or 3: the difference of the two sums would be that of a few"
)
THREE = COMMANDS[COMMANDS.index("secagg serve") : COMMANDS.index("wait\n")]
THREE = THREE.replace("0 1 2 3", "0 1 2").replace("monday", "tuesday").replace("300", "5")
THREE = f"rm server.port mean.npy\n{THREE}wait\n"
"""A round of three of the four, after that of all: each of them refuses, and says why."""


@pytest.mark.skipif(sys.platform == "win32", reason="the commands are written for a POSIX shell")
def test_ten_commands_lead_to_an_active_round(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an empty folder, by nothing but these lines."""
    used = set(re.findall(r"secagg (\w[\w-]*)", COMMANDS))
    said = follow(COMMANDS, tmp_path, tmp_path_factory.mktemp("bin"), used)
    mean = np.load(tmp_path / "mean.npy", allow_pickle=False)
    assert mean.shape == (8,) and abs(mean - 0.375).max() < 1e-4
    assert len(list((tmp_path / "told").iterdir())) == 4
    for secret in ("server.id", "client-0.id", "admin/admin.key", "admin/members.json"):
        assert (tmp_path / secret).stat().st_mode & 0o077 == 0
    [shown] = re.findall(r"^```text\n(the transcript .*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert cut(shown) in cut(said)
    _check_evidence(tmp_path, monkeypatch)
    refused = follow(THREE, tmp_path, tmp_path_factory.mktemp("bin"), used, warned=True)
    assert plain(PAGE).count(CHANGE) == 1 and CHANGE in " ".join(refused.split())


def _check_evidence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same parties, and a server that splits them: what two of its clients were told."""
    monkeypatch.chdir(folder)
    [(words, shown)] = re.findall(
        r"^```text\n\$ secagg (verify-evidence [^\n]*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
    )
    command = words.split()
    for place, statements in enumerate(told_by("split")):
        Path(f"told-{place}").write_bytes(statements)
    done = CliRunner().invoke(
        app, [*command[:-1], SignedRoster.decode(Path("admin/roster").read_bytes()).admin.hex()]
    )
    assert done.exit_code == 0 and cut(shown) in cut(done.output), done.output
    for place, statements in enumerate(told_by("swap")):
        Path(f"told-{place}").write_bytes(statements)
    done = CliRunner().invoke(
        app, ["verify-evidence", *(f"told-{i}" for i in range(4)), "--roster", "admin/roster"]
    )
    assert done.exit_code == 1 and "convicted nobody" in cut(done.output), done.output


def told_by(lie: str) -> list[bytes]:
    """To each client, by a server that lies so; of the identities in this folder."""
    task = Task.decode(Path("sum.task").read_bytes())
    members, plan = task.members, task.plan
    assert isinstance(members, SignedRoster)
    about: dict[str, Any] = {"nonce": bytes(16), "payload_digest": task.payload_digest}
    with Identity.open("server.id") as own:
        session = task.session(about["nonce"])
        server = plan.info.lies()[lie](session, expander=add_streams, signing=own.seed)
    clients: dict[PartyId, Any] = {}
    for i in range(4):
        with Identity.open(f"client-{i}.id") as own:
            me = members.roster.place_of(own.public)
            clients[me] = Client(plan, me, roster=members.roster, signing=own.seed, **about)
        clients[me].set_input({"update": np.zeros(8)}, payload_digest=task.payload_digest)
    with pytest.raises(Aborted):
        pump.run({SERVER: server}, clients)
    return [told(client.machine.statements()) for client in clients.values()]


def cut(text: str) -> str:
    """Without digests, and where lines end."""
    return " ".join(re.sub(r"\b[0-9a-f]{8}(?:[0-9a-f]{56}\b|\.\.)", "..", text).split())


def test_they_are_ten() -> None:
    lines = re.findall(r"^\w*=?\$?\(?(?:for .* do )?(secagg \w+|python)", COMMANDS, re.MULTILINE)
    assert len(lines) == 10, lines


def test_the_policy_that_is_shown_has_every_field() -> None:
    """And those that are said to be there without a file are."""
    [shown] = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    table = tomllib.loads(shown)
    assert list(table) == list(Policy.__dataclass_fields__)
    policy, plain = Policy.of(table), Policy()
    for name in ("suites", "change", "unknown", "forget"):
        assert getattr(policy, name) == getattr(plain, name)


def test_the_refusals_that_are_quoted_are_those_of_its_four_clients() -> None:
    four = plan(
        clients=4,
        fields={"update": FixedPoint(8, 1.0, 16)},
        corrupt="0.2",
        dropout="0.2",
        adversary="active",
    )
    group = four.promise.numbers["group"]
    assert f"group is {group} and one may be corrupt" in plain(PAGE)
    least = change_bound(group, four.threat.corrupted)
    three = frozenset(map(PartyId, range(3)))
    refusals: list[Callable[[], object]] = [
        lambda: Policy(roster=1000).check(four),
        lambda: Earlier(((0b1111, least),), 0, least).judge(three),
        lambda: Earlier((), 1, least).check_unknown(),
    ]
    for refused in refusals:
        with pytest.raises(PolicyRefused) as found:
            refused()
        assert str(found.value) in plain(PAGE)


def plain(page: str) -> str:
    """Without what begins a quoted line, and where lines end."""
    return " ".join(page.replace("\n> ", "\n").split())


SCREENS = re.findall(
    r"^```text\n\$ (secagg demo [^\n]*)\n\.\.\.\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize(("command", "shown"), SCREENS, ids=["split", "swap"])
def test_a_server_that_cheats_is_caught_as_it_is_shown(command: str, shown: str) -> None:
    done = CliRunner().invoke(app, command.split()[1:])
    assert done.exit_code == 0, done.output
    assert " ".join(shown.split()) in " ".join(done.output.split())
