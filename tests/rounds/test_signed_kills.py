"""A round of four that sign, whose server or one of whose clients dies at everything it does.

Nothing resumes in suite 2: a dead server's session is lost, a dead client is a dropout, and what
each had to write down before it spoke is there (specs/12-active.md V9, R2, 14-roster.md §6.1).
"""

from __future__ import annotations

from collections import Counter

import pytest

from secagg.earlier import Stage
from secagg.effects import Write
from secagg.errors import Aborted
from secagg.fields import Integer
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.rounds.base import ROUNDS
from secagg.rounds.server import ServerRounds
from secagg.types import AbortReason
from tests.rounds.kills import Scene, Town, deaths
from tests.rounds.world import LENGTH, levels, total
from tests.soak import SOAK

EVERY = 1 if SOAK else 3
"""Moments from one death to the next."""

NEEDS = {2: 2, 4: 3, 9: 4, 6: 5}
"""By tag of what a server says: how many records of the transcript are safe before."""
NOTED = {5: Stage.LEFT, 10: Stage.AGREED, 7: Stage.CONFIRMED}
"""By tag of what a client says: how far the round is noted to have come before."""


def made() -> Plan:
    fields = {"update": Integer(LENGTH, 1000)}
    return plan(clients=4, fields=fields, corrupt=0, dropout=0.25, adversary="active")


def records(transcript: bytes) -> int:
    found, at = 0, 1
    while at < len(transcript):
        at += 4 + int.from_bytes(transcript[at : at + 4])
        found += 1
    assert at == max(1, len(transcript)), "it ends with a record"
    return found


def check_said(town: Town) -> None:
    """One wording of everything, one question about survivors, and all of it written before."""
    at = f"killed {town.killed} ({town.scene.at})"
    assert not town.errors, f"{at}: a client refuses its server"
    assert all(len(wordings) == 1 for wordings in town.said.values()), at
    asked = {message for (*_, tag), said in town.said.items() if tag == 6 for message in said}
    assert len(asked) <= 1, f"{at}: two quorums"
    for end in town.ends[:1]:
        heard = [NEEDS[tag] for sender, _, tag in town.said if sender == "server" and tag in NEEDS]
        assert records(end.report.transcript) >= max(heard, default=0), at
    for name in town.scene.names:
        said = [NOTED[tag] for sender, _, tag in town.said if sender == name and tag in NOTED]
        stages = [one.stage for one in town.memory(name)._slots.values()]
        assert max(stages, default=Stage.KEPT) >= max(said, default=Stage.KEPT), f"{at}: {name}"
        masked = any(sender == name and tag == 5 for sender, _, tag in town.said)
        for outcome in town.told[name]:
            assert outcome.spent or not masked, f"{at}: {name} could give its input again"


def ends(town: Town) -> str:
    kinds = ["sum" if end.error is None else str(end.error) for end in town.ends]
    return kinds[0].split(":")[0] if kinds else "unheard"


@pytest.mark.parametrize("gone", [None, ("d", "masked-input")])
def test_a_server_that_dies_has_lost_its_session(gone: tuple[str, str] | None) -> None:
    found: Counter[str] = Counter()
    for town in deaths(Scene(made(), gone, victim="server"), EVERY):
        check_said(town)
        (first, *rest) = [*town.ends, None]
        if first is None:
            found["unheard"] += 1
            continue
        if first.error is None:
            found["sum"] += 1
            names = [town.scene.names[party] for party in first.result.contributors]
            assert levels(first.result) == total(names)
            assert records(first.report.transcript) == 7
        else:
            assert isinstance(first.error, Aborted) and first.error.reason is AbortReason.LOST
            found["lost"] += 1
        for again in filter(None, rest):  # its application had the first one
            assert isinstance(again.error, Aborted) and again.error.reason is AbortReason.LOST
            assert again.report.transcript == first.report.transcript
        assert not town.server.running
    assert found["unheard"] == 1 and found["lost"] > 10 // EVERY and found["sum"] >= 2


@pytest.mark.parametrize("late", [False, True])
def test_what_a_server_has_written_down_outlives_it(late: bool) -> None:
    """Wherever it dies, also between the end of the round that it takes up and the file of what
    was written: its application has a transcript that reaches as far as anything that was said, and
    has all evidence; and then no row of it is left."""
    whole = 0
    for town in deaths(Scene(made(), victim="server", late=late), EVERY):
        at = f"killed {town.killed} ({town.scene.at})"
        heard = [NEEDS[tag] for sender, _, tag in town.said if sender == "server" and tag in NEEDS]
        filed = [records(report.transcript) for report in town.files.values()]
        assert max(filed, default=0) >= max(heard, default=0), at
        assert len(filed) == 1 or not heard, at
        assert not town.unfiled(), at
        whole += filed == [7]
    assert whole > 2


def test_a_server_whose_application_files_nothing_keeps_nothing() -> None:
    """What was there when it began to be so goes too."""
    town = Town(Scene(made(), victim="server")).play()
    (moment,) = [i for i, name in enumerate(town.moments) if name == "before file"][:1]
    dying = Town(Scene(made(), victim="server", at=moment)).play()
    assert dying.killed == "before file" and dying.files

    rounds = ServerRounds(durable=True)
    place, transcript = next(iter(dying.files.items()))
    piece = Write(place + ROUNDS + b"t" + bytes(4), transcript.transcript)
    rounds.restore([(piece.key, piece.value or b"")], 0.0)
    assert rounds.take().writes == (Write(place, None),)
    assert not rounds.filing.left()


@pytest.mark.parametrize("victim", ["a", "d"])
def test_a_client_that_dies_is_a_dropout(victim: str) -> None:
    """Wherever it dies the sum is exact, with its input or without; and what it had noted before
    it spoke is what its next life knows."""
    without = 0
    for town in deaths(Scene(made(), victim=victim), EVERY):
        check_said(town)
        (end,) = town.ends
        assert end.result is not None, f"killed {town.killed}: {end.error}"
        names = [town.scene.names[party] for party in end.result.contributors]
        assert levels(end.result) == total(names) and len(names) >= 3
        without += victim not in names
        for outcome in town.told[victim]:
            assert outcome.included is not True or victim in names
    assert without > 5 // EVERY
