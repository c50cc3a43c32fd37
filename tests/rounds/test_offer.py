"""What a client consents to (secagg/rounds/offer.py)."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from secagg.errors import InputError, ParameterError, PolicyRefused, RemoteProtocolError
from secagg.fields import FixedPoint, Integer, Vector
from secagg.plans.choose import plan as make
from secagg.plans.differences import differences
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.privacy import Privacy, PrivacyTerms
from secagg.rounds.offer import MAX_DELTA, Consent, Contribution
from secagg.structure import Structure
from secagg.types import PartyId
from secagg.wire.frame import Announce, DigestOnly, payload_digest
from tests.rounds.several import TASK as SEVERAL
from tests.rounds.world import nonce, real, toy


def announce(plan: Plan, who: int = 0, **more: object) -> Announce:
    deadlines = (1500,) * len(plan.phase_names)
    frame = Announce(nonce(1), PartyId(who), deadlines, plan.encode(), b"task")
    return replace(frame, **more)  # type: ignore[arg-type]


def test_an_announcement_becomes_an_offer() -> None:
    plan = real(5)
    offer = Consent().judge(announce(plan, 4), 7)
    assert (offer.round, offer.party, offer.plan, offer.nonce) == (7, 4, plan, nonce(1))
    assert (offer.payload, offer.payload_digest) == (b"task", payload_digest(b"task"))
    assert offer.deadlines == dict.fromkeys(plan.phase_names, 1.5)
    absent = Consent().judge(announce(plan, payload=DigestOnly(b"d" * 32)), 1)
    assert (absent.payload, absent.payload_digest) == (None, b"d" * 32)


def test_the_pin() -> None:
    plan, other = toy(3), toy(4)
    for consent in (
        Consent(plan),
        Consent(plan_digest=plan.digest()),
        Consent(plan, plan.digest()),
    ):
        assert consent.judge(announce(plan), 1).plan == plan
        with pytest.raises(PolicyRefused, match="pinned is " + plan.digest().hex()):
            consent.judge(announce(other), 1)
    with pytest.raises(ParameterError, match="not of the same plan"):
        Consent(plan, other.digest())


U = FixedPoint(3, 1.0, 16)
FEW, MANY = ({f"{k}{i}": np.zeros(2) for i in range(3)} for k in "ab")
OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "clients": ({"clients": 11}, r"clients \(announced 11, pinned 10\)"),
    "corrupt": ({"corrupt": 0.2}, r"corrupt \(announced 1/5, pinned 1/10\)"),
    "dropout": ({"dropout": "1/3"}, r"dropout \(announced 1/3, pinned 1/5\)"),
    "adversary": ({"adversary": "active"}, r"adversary \(announced active, pinned semi-honest\)"),
    "roster": ({"roster": 20, "corrupt": 0.05}, r"roster \(announced 20, pinned None\)"),
    "min_clients": ({"min_clients": 10}, r"min_clients \(announced 10, pinned None\)"),
    "max_weight": ({"max_weight": 7}, r"max_weight \(announced 7, pinned 1\)"),
    "protocol": ({"clients": 100, "protocol": "secagg+"}, r"protocol \(announced secagg\+, pinned"),
    "servers": ({"servers": 2}, "protocol .announced additive, .*servers .announced 2, pinned 1"),
    "clip": (
        {"fields": {"u": FixedPoint(3, 2.0, 16)}},
        r"clip of field 'u' \(announced 2.0, ",
    ),
    "rounding": ({"fields": {"u": FixedPoint(3, 1.0, 16, "stochastic")}}, "rounding of field 'u'"),
    "privacy": (
        {"fields": {"u": Vector(3, 1.0, 16)}, "privacy": Privacy(1, 1e-5)},
        r"privacy \(announced noise, pinned none\), trust of the privacy",
    ),
    "kind": (
        {"fields": {"u": Integer(3, 5)}},
        r"field 'u' \(announced Integer, pinned Fix",
    ),
    "more": ({"fields": {"u": U, "v": U}}, r"field 'v' \(only announced\)"),
    "name": ({"fields": {"v": U}}, r"field 'v' \(only announced\)"),
    "clipped": ({"clipped": True}, r"field 'clipped' \(only announced\)"),
    "a model": ({"structure": Structure(("w",), ((3,),), (np.dtype("f4"),))}, "model's entries"),
    "name of the model": ({"like": FEW, "clip": 1.0, "fields": None}, "field 'update' .only annou"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_pin_says_in_what_the_announced_plan_differs(other: str) -> None:
    given = {"clients": 10, "fields": {"u": U}, "corrupt": 0.1, "dropout": 0.2}
    change, words = OTHERS[other]
    announced, pinned = make(**given | change), make(**given)
    with pytest.raises(PolicyRefused, match=f"they differ in .*{words}") as refused:
        Consent(pinned).judge(announce(announced), 1)
    assert len(str(refused.value)) < 700
    if announced.phases == pinned.phases:
        with pytest.raises(PolicyRefused, match="they differ in "):
            Consent(task=Task(pinned)).judge(announce(announced), 1)
    with pytest.raises(PolicyRefused, match="only the plan itself could tell"):
        Consent(plan_digest=pinned.digest()).judge(announce(announced), 1)


def test_a_pin_says_which_of_a_models_entries_differ_and_stays_short() -> None:
    few, many = (make(clients=10, like=model, clip=1.0) for model in (FEW, MANY))
    said = differences(few, many)
    assert said == "the model's entry 0, the model's entry 1, the model's entry 2"
    large = make(clients=10, fields={f"{i}" * 250: U for i in range(9)})
    assert len(differences(large, few)) < 500 and "more" in differences(large, few)


def test_the_order_of_fields_is_a_difference() -> None:
    one, other = (make(clients=10, fields=dict.fromkeys(names, U)) for names in ("ab", "ba"))
    assert differences(one, other) == "the order of the fields"


def test_a_pinned_task_is_one_of_its_plan_about_its_payload() -> None:
    """Row 35; specs/01-wire.md §4.16: no other plan, and no other payload by either mode."""
    task = Task(toy(3), payload_digest=payload_digest(b"task"))
    consent = Consent(task=task)
    for payload in (b"task", DigestOnly(payload_digest(b"task"))):
        assert consent.judge(announce(toy(3), payload=payload), 1).plan == toy(3)
    with pytest.raises(PolicyRefused, match="pinned is " + toy(3).digest().hex()):
        consent.judge(announce(toy(4)), 1)
    other = payload_digest(b"other")
    for payload in (b"other", DigestOnly(other)):
        with pytest.raises(PolicyRefused, match=f"payload {other.hex()}, and pinned is "):
            consent.judge(announce(toy(3), payload=payload), 1)
    for more in ({"plan": toy(3)}, {"plan_digest": toy(3).digest()}):
        with pytest.raises(ParameterError, match="a task has its plan"):
            Consent(task=task, **more)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="its clients report to them"):
        Consent(task=SEVERAL)
    with pytest.raises(ParameterError, match="task must be a Task, not a Plan"):
        Consent(task=toy(3))  # type: ignore[arg-type]


def test_a_plan_is_read_once_and_judged_by_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one client of a process agrees to is not agreed to for another, nor for other bytes."""
    plan, read = toy(5), Plan.decode
    decoded: list[bytes] = []

    def decode(data: bytes, **more: Any) -> Plan:
        decoded.append(data)
        return read(data, **more)

    monkeypatch.setattr(Plan, "decode", decode)
    willing, frame = Consent(unprotected=True), announce(plan)
    assert willing.judge(frame, 1).plan is willing.judge(frame, 2).plan
    assert decoded == [plan.encode()]
    for _ in range(2):
        with pytest.raises(PolicyRefused, match="protects against nobody"):
            Consent().judge(frame, 1)
    with pytest.raises(PolicyRefused, match="agreed to"):
        Consent(unprotected=True, protocols=["secagg"]).judge(frame, 1)
    assert willing.judge(announce(toy(6)), 3).plan == toy(6)


def test_the_floors() -> None:
    with pytest.raises(PolicyRefused, match="protects against nobody"):
        Consent().judge(announce(toy(3)), 1)
    assert Consent(unprotected=True).judge(announce(toy(3)), 1).plan == toy(3)
    plan = real(6)
    least = plan.params.min_survivors
    assert Consent(min_clients=least).judge(announce(plan), 1).plan == plan
    with pytest.raises(PolicyRefused, match=f"than {least + 1}: .* min_clients={least} here"):
        Consent(min_clients=least + 1).judge(announce(plan), 1)
    assert Consent(protocols=["secagg"]).judge(announce(plan), 1).plan == plan
    with pytest.raises(PolicyRefused, match=r"announced secagg, .* only ring, secagg\+"):
        Consent(protocols=["secagg+", "ring"]).judge(announce(plan), 1)
    with pytest.raises(ParameterError, match="several names"):
        Consent(protocols="secagg+")  # of which "secagg" is a part


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (None, "has no noise, .* an epsilon of 2 at most: the server's privacy="),
        (Privacy(2.5, 1e-5), "an epsilon of 2.5 over its 1 rounds, and agreed to is 2 at most"),
        (Privacy(1, 1e-5, trust="central"), "has the server add the noise"),
    ],
)
def test_what_a_sum_may_tell_is_a_floor_too(asked: Privacy | None, words: str) -> None:
    """Before a key leaves, also of a plan whose digest is pinned."""
    fields = {"u": FixedPoint(3, 1.0, 16) if asked is None else Vector(3, 1.0, 16)}
    plan = make(clients=20, fields=fields, privacy=asked)  # type: ignore[arg-type]
    assert Consent().judge(announce(plan), 1).plan == plan
    for consent in (Consent(max_epsilon=2), Consent(plan_digest=plan.digest(), max_epsilon=2)):
        with pytest.raises(PolicyRefused, match=words):
            consent.judge(announce(plan), 1)
    with pytest.raises(PolicyRefused, match=words):
        Consent(plan, max_epsilon=2)  # of one's own plan it is known before anybody is asked


def test_an_epsilon_that_is_agreed_to() -> None:
    for trust in ("distributed", "local"):
        fields = {"u": Vector(3, 1.0, 16)}
        plan = make(clients=20, fields=fields, privacy=Privacy(2, 1e-5, trust=trust))  # type: ignore[arg-type]
        assert Consent(max_epsilon=2).judge(announce(plan), 1).plan == plan
    for wrong in (0, -1, float("nan"), "2", True):
        with pytest.raises(ParameterError, match="max_epsilon"):
            Consent(max_epsilon=wrong)  # type: ignore[arg-type]
    for wrong in (0, -1, 1, 2, float("nan"), "1e-5", True):
        with pytest.raises(ParameterError, match="max_delta"):
            Consent(max_epsilon=1, max_delta=wrong)  # type: ignore[arg-type]
    for alone in ({"max_delta": 1e-5}, {"unit": "example"}):
        with pytest.raises(ParameterError, match="give max_epsilon with them"):
            Consent(**alone)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="unit must be one of client, example"):
        Consent(max_epsilon=1, unit="round")  # type: ignore[arg-type]


STRONG = Privacy(2, MAX_DELTA, rounds=3)
WEAKER: dict[str, tuple[Privacy, str, dict[str, Any] | None]] = {
    "epsilon": (Privacy(2.5, MAX_DELTA, rounds=3), "epsilon of 2.5", {"max_epsilon": 2.5}),
    "delta": (
        Privacy(2, 0.0011, rounds=3),
        r"a delta of 0.0011, .* 0.001 at most: .* or here max_delta=0.0011",
        {"max_delta": 0.0011},
    ),
    "delta near 1": (
        Privacy(2.0**-20, 1 - 2.0**-52),
        "a delta of 0.9999999999999998",
        {"max_delta": 1 - 2.0**-52},
    ),
    "unit": (
        Privacy(2, MAX_DELTA, unit="example", examples=1, rounds=3),
        "of which a client may have 1, .* or here unit='example'",
        {"unit": "example"},
    ),
    "examples": (
        Privacy(0.5, 1e-9, unit="example", examples=1000),
        "of which a client may have 1000",
        {"unit": "example"},
    ),
    "trust": (Privacy(2, MAX_DELTA, trust="central"), "trust='distributed' would do", None),
}
"""What a plan may say less of than STRONG, with what agrees to it."""


@pytest.mark.parametrize("number", WEAKER)
def test_nothing_that_weakens_a_promise_passes_unsaid(number: str) -> None:
    """40 §7.9: of everything in a plan's section, each by itself; pinned or not."""
    asked, words, agreed = WEAKER[number]
    fields = {"u": Vector(3, 1.0, 16)}
    strong, plan = (make(clients=20, fields=fields, privacy=p) for p in (STRONG, asked))
    consent = Consent(max_epsilon=2)
    assert consent.judge(announce(strong), 1).plan == strong
    with pytest.raises(PolicyRefused, match=words):
        consent.judge(announce(plan), 1)
    with pytest.raises(PolicyRefused, match=words):
        replace(consent, plan=plan)
    if agreed is not None:
        assert replace(consent, **agreed).judge(announce(plan), 1).plan == plan
        assert replace(consent, **agreed).judge(announce(strong), 1).plan == strong


def test_every_number_of_a_promise_is_agreed_to() -> None:
    """A new one in the section is one that a client may have to agree to: it is in WEAKER, or it
    is said here why not."""
    counted_in_epsilon = {"rounds", "honest", "noises"}
    said = {name for name in WEAKER if " " not in name}
    assert {one.name for one in dataclasses.fields(PrivacyTerms)} == said | counted_in_epsilon


def test_no_delta_is_asked_of_responses() -> None:
    """40 §10.2: their epsilon holds without."""
    bit = {"b": Integer(1, max=1, sensitivity=1)}
    asked = Privacy(1, 0.5, trust="local", mechanism="response")
    plan = make(clients=20, fields=bit, privacy=asked)
    assert Consent(max_epsilon=1, max_delta=1e-9).judge(announce(plan), 1).plan == plan


@pytest.mark.parametrize(("who", "deadlines"), [(3, (1,)), (0, ()), (0, (1, 1))])
def test_what_does_not_fit_its_plan(who: int, deadlines: tuple[int, ...]) -> None:
    """Row 12."""
    with pytest.raises(RemoteProtocolError, match="3 clients and 1 phases"):
        Consent(unprotected=True).judge(announce(toy(3), who, deadlines=deadlines), 1)


def test_the_payload_that_an_input_answers() -> None:
    consent = Consent(unprotected=True)
    inline = consent.judge(announce(toy(3)), 1)
    absent = consent.judge(announce(toy(3), payload=DigestOnly(payload_digest(b"task"))), 1)
    values = {"update": np.zeros(4)}
    assert Contribution(values, payload=b"whatever").digest(inline) == inline.payload_digest
    assert Contribution(values, payload=b"other").digest(absent) == payload_digest(b"other")
    with pytest.raises(InputError, match="only the task's digest"):
        Contribution(values).digest(absent)


@pytest.mark.parametrize("name", [5, ["x"], 1.5, "\ud800"])
def test_a_name_is_text_or_bytes(name: Any) -> None:
    """A number would be the name that its bytes are."""
    with pytest.raises(InputError, match="a name is text"):
        Contribution({}, name=name)
    for payload in ("task", 5):
        with pytest.raises(InputError, match="a payload is bytes"):
            Contribution({}, payload=payload)  # type: ignore[arg-type]
