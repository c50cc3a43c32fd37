"""A service of a task against a server that lies, over TLS (rules N1 to N7).

specs/51-admission.md §6. Threats 23, 24, 51.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from secagg.cli import app
from secagg.errors import ParameterError, PolicyRefused, TransportError
from secagg.party import Aggregate
from secagg.proved import Charge, Verdict
from secagg.roster import Enrolment, Roster, SignedRoster
from secagg.rounds import course
from secagg.rounds.clock import RoundReport
from secagg.rounds.offer import Contribution, Offer
from secagg.rounds.round import End
from secagg.service import audit, members
from secagg.service.desk import find_token
from secagg.service.placing import Placing
from secagg.service.results import unpacked
from secagg.service.serving import COPY, Serving, opened
from secagg.service.site import Site
from secagg.store.identity import Identity
from secagg.store.memory import MemoryLedger
from secagg.types import AbortReason, PartyId, Seed
from secagg.verify import verify_transcript
from tests.processes.fleet import Commands
from tests.service.place import LENGTH, TASK, enrol, name
from tests.service.signing import ADMIN, ADMIN_KEY, DAY, LEAST, Signing, named, signed
from tests.service.test_coming_back import free_port
from tests.service.test_serving import ask

ALL = range(1, LEAST + 1)


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing.made(tmp_path)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Commands]:
    with closing(Commands(tmp_path)) as commands:
        yield commands


async def bring(serving: Serving, roster: SignedRoster) -> tuple[int, Any]:
    """To the console."""
    port, token = find_token(serving.config.state)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        sent = {"authorization": f"Bearer {token}"}
        answer = await client.post("/v1/rosters", content=roster.encode(), headers=sent)
    return answer.status_code, answer.json()


async def register(serving: Serving, do: str, of: str) -> Any:
    status, said = await ask(serving, "POST", "/v1/register", {"do": do, "name": of})
    assert status == 200, said
    return said


async def founded(serving: Serving) -> SignedRoster:
    """All are enrolled, and the first roster is in force."""
    for number in ALL:
        await enrol(serving, number)
    roster = signed(serving, 1, ALL)
    assert (await bring(serving, roster))[0] == 200
    return roster


async def test_a_round_whose_clients_sign_is_exact_and_has_its_transcript(signing: Signing) -> None:
    """And another in the next life of the service, which has the roster in force again."""
    async with opened(signing.config()) as serving:
        roster = await founded(serving)
        sites = {number: signing.site(serving, number) for number in ALL}
        ends = await asyncio.gather(*(signing.attend(sites[n], n) for n in ALL))
        assert all(one.included and one.statements for (one,) in ends)
        (result,) = serving.books.results.all()
        found = unpacked(serving.arrays_of(result.nonce))
        assert found["sum.update"].tolist() == [sum(ALL)] * LENGTH
        assert (await ask(serving, "GET", "/readyz"))[0] == 200
        status = (await ask(serving, "GET", "/v1/status"))[1]["tasks"][TASK]["roster"]
        assert (status["epoch"], status["members"], status["places"]) == (1, LEAST, LEAST)
        assert (status["waiting"], status["to_exclude"]) == (0, 0)
        assert sites[1].identity.with_name(f"{TASK}.roster").read_bytes() == roster.encode()
    state = serving.config.state
    (path,) = (state / members.TRANSCRIPTS).iterdir()
    (copy,) = (state / members.ROSTERS).iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    kept = SignedRoster.decode(copy.read_bytes())
    verified = verify_transcript(path.read_bytes(), kept)
    assert verified.finished and verified.survivors == frozenset(map(PartyId, range(LEAST)))
    assert verified.nonce == result.nonce and kept == roster
    deeds = [line.deed.value for line in audit.read((state / COPY).read_text())]
    assert deeds[-4:] == ["roster", "opened", "ended", "stopped"]
    async with opened(signing.config()) as serving:
        assert serving.members.posted(TASK) == roster.encode()
        assert (await bring(serving, roster))[0] == 200, "the newest again"
        assert serving.books.audit.number == 1 + len(deeds)


async def test_rule_n3_without_a_roster_nobody_has_a_link(signing: Signing) -> None:
    async with opened(signing.config()) as serving:
        await enrol(serving, 1)
        status, said = await ask(serving, "GET", "/readyz")
        assert status == 503 and "roster: mortality has none yet" in said["reasons"][0]
        with pytest.raises(TransportError, match="has no roster of mortality in force"):
            await Placing(signing.site(serving, 1), ADMIN_KEY).begin(0.01)
        said = await register(serving, "approve", name(1))
        assert "waits for the next epoch" in said["roster"]
        assert (await ask(serving, "GET", "/v1/status"))[1]["tasks"][TASK]["roster"] == {
            **{"epoch": None, "members": 0, "places": 0, "ends": None},
            **{"waiting": 1, "to_exclude": 0},
        }
        await bring(serving, signed(serving, 1, [1], ends=DAY))
        status, said = await ask(serving, "GET", "/readyz")
        assert status == 503 and "roster: mortality: epoch 1 ends" in said["reasons"][0]


async def test_rule_n2_a_roster_that_is_refused_changes_nothing(signing: Signing) -> None:
    """Each by a sentence, and an older one as one of another administrator."""
    async with opened(signing.config()) as serving:
        await founded(serving)
        head, posted = serving.books.audit.head, serving.members.posted(TASK)
        large = [*ALL, *range(50, 58)]
        for roster, code, words in (
            (signed(serving, 2, ALL, by=Seed(b"x" * 32)), 403, "roster_authority of this service"),
            (signed(serving, 0, ALL), 403, "the newest here is of epoch 1"),
            (signed(serving, 2, ALL, ends=-1), 403, "the roster of epoch 2 ended"),
            (signed(serving, 2, [*ALL, 9]), 403, "place 4: its key is not enrolled"),
        ):
            status, said = await bring(serving, roster)
            assert (status, words in said["error"]) == (code, True), said
        for number in large[LEAST:]:
            await enrol(serving, number)
        status, said = await bring(serving, signed(serving, 2, large))
        assert status == 400 and "`secagg task --roster` makes terms for more" in said["error"]
        assert serving.members.posted(TASK) == posted
        head_now = serving.books.audit.head
        assert head_now != head and serving.books.epochs.newest[ADMIN_KEY].signed.roster.epoch == 1


async def test_rules_n3_n5_who_waits_goes_on_under_the_next_roster(
    signing: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three are too few; the fourth is approved, waits for the next epoch, and is in the round.
    Who is revoked is out at once, and the export says whom to add and to exclude."""
    monkeypatch.setattr(course, "RETRY", 0.1)
    async with opened(signing.config()) as serving:
        for number in (9, *ALL):
            await enrol(serving, number)
        assert (await bring(serving, signed(serving, 1, [9, 1, 2, 3])))[0] == 200
        said = await register(serving, "revoke", name(9))
        assert said["roster"] == "is asked no more; exclude it, and sign the next epoch"
        with monkeypatch.context() as patched:  # to be looked at costs no signature of each
            patched.setattr("secagg.crypto.sign.verify", None)
            _, said = await ask(serving, "GET", "/v1/status")
        seen = said["tasks"][TASK]
        assert (seen["roster"]["waiting"], seen["roster"]["to_exclude"]) == (1, 1)
        wanted = await register(serving, "wanted", TASK)
        assert list(wanted["requests"]) == [name(4)] and wanted["exclude"] == [name(9)]
        assert Enrolment.decode(bytes.fromhex(wanted["requests"][name(4)])).name == name(4)
        sites = {number: signing.site(serving, number) for number in ALL}
        with pytest.raises(ParameterError, match="no member's in epoch 1"):
            await signing.attend(sites[4], 4)
        three = [asyncio.create_task(signing.attend(sites[n], n)) for n in (1, 2, 3)]
        async with asyncio.timeout(30):
            while serving.rounds.paced.tasks[TASK].candidates < 3:
                await asyncio.sleep(0.01)
            assert (await bring(serving, signed(serving, 2, [None, 1, 2, 3, 4])))[0] == 200
            ends = await asyncio.gather(*three, signing.attend(sites[4], 4))
        assert all(one.included for (one,) in ends)
        assert {one.party for (one,) in ends} == {1, 2, 3, 4}
        (result,) = serving.books.results.all()
        assert result.contributors == LEAST
        wanted = await register(serving, "wanted", "")
        assert wanted["requests"] == {} and wanted["exclude"] == [] and wanted["epoch"] == 2


async def test_rule_n6_a_site_takes_no_lying_and_no_older_roster(
    signing: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another administrator, below what its file says, below what it took, and below what only
    its ledger knows."""
    async with opened(signing.config()) as serving:
        site = signing.site(serving, 1)
        old, new = signed(serving, 3, [1]), signed(serving, 4, [1])
        other, twin = signed(serving, 9, [1], by=Seed(b"x" * 32)), signed(serving, 4, [1], ends=9)
    handed: list[bytes] = []
    monkeypatch.setattr(Placing, "_asked", lambda self: (200, handed[-1]))

    async def take(roster: SignedRoster, ledger: MemoryLedger, epoch: int = 0) -> None:
        handed.append(roster.encode())
        placing = Placing(replace(site, epoch=epoch), ADMIN_KEY)
        await placing.begin(1.0)
        with Identity.open(site.identity) as identity:
            placing.member(identity, ledger)

    ledger = MemoryLedger()
    with pytest.raises(PolicyRefused, match="is not whom you pinned"):
        await take(other, ledger)
    with pytest.raises(PolicyRefused, match="of epoch 3, and pinned is epoch 4 or a later one"):
        await take(old, ledger, epoch=4)
    await take(new, ledger)
    with pytest.raises(PolicyRefused, match="of epoch 3, and pinned is epoch 4 or a later one"):
        await take(old, MemoryLedger())
    with pytest.raises(PolicyRefused, match="epoch 4"):
        await take(twin, ledger)
    site.identity.with_name(f"{TASK}.roster").unlink()
    with pytest.raises(PolicyRefused, match="epoch 3"):
        await take(old, ledger)


async def test_rule_n7_after_a_restart_the_round_is_lost_and_its_inputs_are_spent(
    signing: Signing, tmp_path: Path, start: Commands
) -> None:
    """With SIGKILL, when three masked inputs had left; the fourth was never given."""
    port = free_port()
    async with opened(signing.config(port)) as serving:
        roster = await founded(serving)
        sites = {number: signing.site(serving, number) for number in ALL}
    config = signing.place.folder / "service.toml"
    text = config.read_text().replace("0.0.0.0:443", f"127.0.0.1:{port}")
    table = f"[tasks.{TASK}]\nplan = '{TASK}.task'\nclients = {{ min = {LEAST} }}\n"
    config.write_text(f"{text}\n{table}roster_authority = '{ADMIN_KEY.hex()}'\n")
    server = start("serve", "--config", config)
    asked, forever = asyncio.Semaphore(0), asyncio.Event()

    async def inputs(offer: Offer, number: int) -> Contribution:
        asked.release()
        if number > 3:
            await forever.wait()
        return named(number)

    async def one(number: int) -> Any:
        (outcome,) = await signing.attend(sites[number], number, lambda o: inputs(o, number))
        return outcome

    async with asyncio.timeout(60):
        attending = [asyncio.create_task(one(number)) for number in ALL]
        for _ in ALL:
            await asked.acquire()
        await asyncio.sleep(0.5)  # until the three inputs have come
        server.signal(signal.SIGKILL)
        assert await asyncio.to_thread(server.wait) == -signal.SIGKILL
        outcomes = await asyncio.gather(*attending)
    assert {one.reason for one in outcomes} == {AbortReason.LOST}
    assert [one.spent for one in outcomes] == [True, True, True, False]
    async with opened(signing.config(port)) as serving:
        assert serving.books.results.all() == []
        (path,) = (serving.config.state / members.TRANSCRIPTS).iterdir()
        found = verify_transcript(path.read_bytes(), roster)
        assert not found.finished and found.sharers is not None
        again = (signing.attend(sites[n], n, unknown=1) for n in ALL)
        ends = await asyncio.gather(*again)
    assert [one.why for (one,) in ends[:3]] == ["spent"] * 3
    last = audit.read((serving.config.state / COPY).read_text())
    (ended,) = [line for line in last if line.what.get("outcome") == "lost"]
    assert ended.what["task"] == TASK


async def test_who_has_lied_is_named_and_the_evidence_is_kept(
    signing: Signing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In the audit and the log by its name; evidence that convicts nobody under this roster is kept
    all the same, and names nobody."""
    async with opened(signing.config()) as serving:
        await founded(serving)
        key = serving.books.admissions.entries[name(2)].key
        verdict = Verdict(Charge.TWO_STATEMENTS, PartyId(1), key, "what", ADMIN_KEY, 1, bytes(32))
        monkeypatch.setattr(members, "verify_evidence", lambda *_: verdict)
        transcript = b"\1" + bytes(80)
        report = RoundReport({}, 0.0, 0.0, transcript=transcript, evidence=(b"one",))
        with caplog.at_level(logging.WARNING):
            none: Aggregate | None = None
            serving._ended(TASK, End(bytes(16), none, None, report))
            await serving.write([])
        line = serving.books.audit.number
        assert "member 1 has lied in a round of mortality: what" in caplog.text
        kept = sorted(p.name for p in (serving.config.state / members.TRANSCRIPTS).iterdir())
        assert [one.rpartition(".")[2] for one in kept] == ["evidence", "transcript"]
    lines = audit.read((serving.config.state / COPY).read_text())
    said = lines[line - 1]
    assert (said.deed.value, said.what["name"]) == ("convicted", name(2))
    assert json.loads(said.text)["who"] == "service"


async def test_rule_n6_a_site_is_enrolled_with_the_key_of_who_signs_its_roster(
    signing: Signing, tmp_path: Path
) -> None:
    """From somebody who is not the service; the same command with it goes on."""
    config = signing.place.folder / "service.toml"
    text = config.read_text().replace("0.0.0.0:443", "127.0.0.1:0")
    table = f"[tasks.{TASK}]\nplan = '{TASK}.task'\nclients = {{ min = {LEAST} }}\n"
    config.write_text(f"{text}\n{table}roster_authority = '{ADMIN_KEY.hex()}'\n")

    def call(*words: object) -> Any:
        done = CliRunner().invoke(app, [*map(str, words), "--json"])
        return done.exit_code, json.loads(done.stdout)

    async with opened(signing.config()) as serving:
        of = ("--config", config)
        invite = "service", "invite", name(1), "--task", TASK, *of
        _, invited = await asyncio.to_thread(call, *invite)
        enrol = "enrol", invited["code"], "--out", tmp_path / "site"
        code, said = await asyncio.to_thread(call, *enrol)
        assert code == 2 and "give --admin PUBLIC" in said["message"]
        code, said = await asyncio.to_thread(call, *enrol, "--admin", ADMIN_KEY.hex())
        assert code == 0 and said["state"] == "waiting"
        _, said = await asyncio.to_thread(call, "service", "approve", name(1), *of)
        assert "waits for the next epoch" in said["roster"]
        export = "service", "roster", "export", "--out", tmp_path / "requests", *of
        code, said = await asyncio.to_thread(call, *export)
        (request,) = said["requests"]
        own = tmp_path / "site" / f"{name(1)}.enrol"
        assert code == 0 and Path(request).read_bytes() == own.read_bytes()
        assert said["roster_authority"] == ADMIN_KEY.hex() and said["exclude"] == []
        key = Enrolment.decode(own.read_bytes()).key
        roster = Roster(1, 1 << 40, serving.service.key, (key,))
        file = tmp_path / "roster"
        file.write_bytes(SignedRoster.sign(roster, ADMIN).encode())
        code, said = await asyncio.to_thread(call, "service", "roster", "import", file, *of)
        assert code == 0 and (said["epoch"], said["members"]) == (1, 1)
        site = Site.read(tmp_path / "site" / f"{name(1)}.toml")
        assert site.admin == ADMIN_KEY
        for words, why in (
            (("roster", "sign"), "roster what"),
            (("roster", "export"), "--out DIR"),
            (("roster", "import"), "takes the signed roster"),
            (("roster", "import", file, "--task", TASK), "no --out or --task"),
            (("approve", name(1), file), "only `roster import` takes a file"),
            (("list", "--out", tmp_path), "is for roster"),
        ):
            code, said = await asyncio.to_thread(call, "service", *words, *of)
            assert code == 2 and why in said["message"], said
