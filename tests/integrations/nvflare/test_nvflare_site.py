"""A site and a server that does as it likes: one round, one sum of an input, and an end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secagg.errors import (
    PolicyRefused,
    SecAggError,
    Spent,
    StorageError,
    WireError,
)
from secagg.integrations.exchange import STEPS, ExchangedRound, Frames
from secagg.integrations.model import Entries
from secagg.integrations.nvflare.carry import Asked
from secagg.integrations.nvflare.policy import SitePolicy
from secagg.integrations.nvflare.site import Site, enter, site_of
from secagg.integrations.terms import Terms
from secagg.plans.plan import Plan
from secagg.rounds.offer import Contribution, Offer
from secagg.store.ledger import SqliteLedger
from secagg.types import AbortReason, PartyId
from secagg.wire.frame import ANNOUNCE, Announce, DigestOnly, Message, Over, payload_digest
from tests.integrations.nvflare.world import INPUT, KEYS, UNMASK

ABOUT = b"a job, a round, a model"
NAMES = ("a", "b", "c", "d")
A, B = b"A" * 16, b"B" * 16
Label = Callable[[str], str]


def plan_of(**more: Any) -> Plan:
    given = {"clip": 1.0, "bits": 16, "max_weight": 1, "dropout": 0.25, "corrupt": 0.0, **more}
    terms = Terms(resumes=False, **given)
    return terms.plan(len(NAMES), Entries({"w": np.zeros(5, np.float32)}), {})


def announced(nonce: bytes, plan: Plan | None = None) -> bytes:
    made = plan or plan_of()
    deadlines = (60_000,) * len(made.phases)
    digest = DigestOnly(payload_digest(ABOUT))
    return Announce(nonce, PartyId(0), deadlines, made.encode(), digest).encode()


def sites_of(folder: Path, **floors: Any) -> dict[str, Site]:
    return {name: Site(SitePolicy(state=folder / name, **floors)) for name in NAMES}


def giving(name: str) -> Callable[[Offer], Contribution]:
    update = {"w": np.full(5, NAMES.index(name) / 8, np.float32)}
    given = Contribution({"update": update}, payload=ABOUT, name=name.encode() + ABOUT)
    return lambda offer: given


class Round(ExchangedRound[str]):
    """label: what its server calls a step."""

    def __init__(self, sites: Mapping[str, Site], label: Label = lambda step: step) -> None:
        made = plan_of()
        super().__init__(made, ABOUT, dict.fromkeys(made.phase_names, 60.0))
        self.sites, self.label = sites, label

    def _carry(self, step: str, asked: Mapping[str, Frames], seconds: float) -> None:
        for name, frames in asked.items():
            self.answer(name, self.sites[name].hear(Asked(self.label(step), frames)))

    def to_the_input(self) -> None:
        self.agree(NAMES)
        for name, frames in self.asked_for_input().items():
            assert self.sites[name].hear(Asked(INPUT, frames)) == ()


def is_over(site: Site) -> bool:
    """Nothing of a round is in the site's memory."""
    return site._part is None or (site._part.rounds is None and not [*site._part.store.rows()])


# One round at a time

MESSAGE, OVER = Message(A, b"x").encode(), Over(A, AbortReason.LOST, 0, 0).encode()


@pytest.mark.parametrize(
    "frames",
    [
        (announced(A), announced(B)),
        (announced(A), announced(A)),
        (MESSAGE, announced(B)),
        (MESSAGE, announced(A)),
        (OVER, announced(B)),
        (announced(B), MESSAGE),
        (announced(B), OVER),
        (announced(B), announced(B), MESSAGE),
    ],
)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("first", [(), (announced(A),)])
def test_a_request_is_about_one_round(
    frames: Frames, step: str, first: Frames, folder: Path
) -> None:
    """Or the end of one would free an input for the other."""
    site = sites_of(folder)["a"]
    if first:
        assert site.hear(Asked(KEYS, first))
    with pytest.raises(WireError, match="a message is about one round"):
        site.hear(Asked(step, frames))
    assert is_over(site) or site._part.rounds.running == {A}


def test_an_announcement_ends_the_round_before(folder: Path) -> None:
    site = sites_of(folder)["a"]
    for nonce in (A, B):
        assert site.hear(Asked(KEYS, (announced(nonce),)))
        assert site._part.rounds.running == {nonce}
    with pytest.raises(Spent, match="does not know the round"):
        site.hear(Asked(KEYS, (MESSAGE,)))


@pytest.mark.parametrize("said", [(), (AbortReason.LOST,), (AbortReason.BELOW_THRESHOLD,)])
def test_an_input_is_in_one_sum_whatever_the_server_says_of_it(
    said: tuple[AbortReason, ...], disk: Path
) -> None:
    sites = sites_of(disk)
    first = Round(sites)
    first.to_the_input()
    assert sites["a"].give(giving("a"))
    for reason in said:
        sites["a"].hear(Asked(INPUT, (Over(sites["a"]._part.nonce, reason, 0, 0).encode(),)))
    Round(sites).to_the_input()
    with pytest.raises(Spent, match="said this before"):
        sites["a"].give(giving("a"))
    assert is_over(sites["a"])


# What is refused


@pytest.mark.parametrize(
    "floors",
    [{"min_clients": 4}, {"max_clip": 0.1}, {"max_dropout": 0.1}, {"protocols": ["secagg+"]}],
)
def test_a_refused_round_is_over(floors: dict[str, Any], folder: Path) -> None:
    """Whatever is repeated, in which step, no key leaves; and why is said again."""
    site = sites_of(folder, **floors)["a"]
    said = set()
    for _ in range(3):
        with pytest.raises(PolicyRefused) as refused:
            site.hear(Asked(KEYS, (announced(A),)))
        said.add(str(refused.value))
    assert len(said) == 1
    for asked in (Asked(INPUT, (announced(A),)), Asked(KEYS, (MESSAGE,)), Asked(UNMASK, (OVER,))):
        with pytest.raises((Spent, PolicyRefused)):
            site.hear(asked)
    with pytest.raises(Spent):
        site.give(giving("a"))
    assert is_over(site)


def test_after_another_announcement_it_is_judged_again(folder: Path) -> None:
    site = sites_of(folder, max_clip=1.0)["a"]
    wide = announced(A, plan_of(clip=2.0))
    for _ in range(2):
        with pytest.raises(PolicyRefused, match=r"clip=1\.0 would do"):
            site.hear(Asked(KEYS, (wide,)))
        assert site.hear(Asked(KEYS, (announced(bytes([*B[1:], _])),)))


@pytest.mark.parametrize("floors", [{"min_clients": 4}, {"max_clip": 0.1}])
def test_floors_that_come_later_end_a_round_that_was_not_held_to_them(
    floors: dict[str, Any], folder: Path
) -> None:
    """The filters of a site begin one after the other, and a request may come in between."""

    class Engine: ...

    engine = Engine()
    assert enter(engine, lambda: SitePolicy(state=folder))
    site = site_of(engine)
    assert site.hear(Asked(KEYS, (announced(A),)))
    assert not enter(engine, lambda: SitePolicy(state=folder, **floors))
    assert site_of(engine) is site and is_over(site)
    with pytest.raises(PolicyRefused):
        site.hear(Asked(KEYS, (announced(B),)))


@pytest.mark.parametrize("bad", [b"", b"\x09" + MESSAGE[1:], Message(A, b"").encode(), MESSAGE])
def test_a_broken_request_ends_the_round(bad: bytes, folder: Path) -> None:
    site = sites_of(folder)["a"]
    site.hear(Asked(KEYS, (announced(A),)))
    heard: list[Any] = []
    for _ in range(2):
        try:
            heard.append(site.hear(Asked(KEYS, (MESSAGE, bad))))
        except SecAggError as refused:
            heard.append(str(refused))
    assert heard[0] == heard[1]
    with pytest.raises((Spent, WireError)):
        site.give(giving("a"))


def test_a_disk_that_refuses_once_ends_the_round(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not claimed then is not said later, when there is room again."""

    def full(*_: Any) -> None:
        raise StorageError("No space left on device")

    class Filled(Round):
        def _carry(self, step: str, asked: Mapping[str, Frames], seconds: float) -> None:
            if asked["a"][0][1] == ANNOUNCE:  # keys are public, and said without a claim
                return super()._carry(step, asked, seconds)
            with monkeypatch.context() as patched, pytest.raises(StorageError):
                patched.setattr(SqliteLedger, "claim_all", full)
                sites["a"].hear(Asked(step, asked["a"]))
            with pytest.raises(StorageError):
                sites["a"].hear(Asked(step, asked["a"]))
            assert is_over(sites["a"])
            raise KeyboardInterrupt

    sites = sites_of(disk)
    with pytest.raises(KeyboardInterrupt):
        Filled(sites).agree(NAMES)


# The last word


@pytest.mark.parametrize("called", STEPS)
def test_the_last_word_is_the_last_whatever_the_server_calls_it(called: str, folder: Path) -> None:
    sites = sites_of(folder)
    made = Round(sites, lambda step: called if step == UNMASK else step)
    made.to_the_input()
    for name, site in sites.items():
        made.answer(name, site.give(giving(name)))
    assert not any(is_over(site) for site in sites.values())
    assert made.finish().count == 4
    assert all(is_over(site) for site in sites.values())


def test_a_site_that_has_declined_keeps_nothing(folder: Path) -> None:
    sites = sites_of(folder)
    Round(sites).to_the_input()
    assert sites["a"].give(lambda offer: None) and is_over(sites["a"])
