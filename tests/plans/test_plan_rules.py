"""What `secagg.plan()` promises of its parameters: specs/10-secagg.md §10."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secagg
from secagg import registry
from secagg.errors import ParameterError
from secagg.fields import FixedPoint, Integer
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.threat import Threat
from secagg_protocols.secagg import check as checking
from secagg_protocols.secagg import tails as tails_module
from secagg_protocols.secagg.params import MAX_DEGREE, SecAggParams, find_parameters
from secagg_protocols.secagg.tails import Tails
from tests.soak import examples

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "plan_parameters.json"
FIELDS = {"u": Integer(2, 9)}
THREATS = [("0.1", "0.2"), ("0.2", "0.2"), ("0.05", "0.1")]
SOAK = bool(os.environ.get("SECAGG_SOAK"))
PHASES = ("advertise-keys", "share-keys", "masked-input", "unmask")


def figures(made: Plan) -> dict[str, Any]:
    return {
        "feasible": True,
        "protocol": made.protocol,
        "degree": made.degree,
        "threshold": made.threshold,
        "min_clients": made.params.min_clients,
        "min_survivors": made.params.min_survivors,
        "corrupted": made.threat.corrupted,
        "dropped": made.threat.dropped,
    }


@pytest.mark.skipif(not VECTORS.exists(), reason="the table of plans is not beside this checkout")
def test_every_row_of_the_table_of_plans() -> None:
    rows = json.loads(VECTORS.read_text())["rows"]
    assert len(rows) >= 33
    for row in rows:
        wanted = row["input"]
        try:
            got = figures(plan(**wanted, fields=FIELDS))
        except ParameterError:
            threat = Threat(
                wanted["clients"], Fraction(wanted["corrupt"]), Fraction(wanted["dropout"])
            )
            got = {"feasible": False, "corrupted": threat.corrupted, "dropped": threat.dropped}
        assert got == row["expect"], wanted


# --- small cohorts -------------------------------------------------------------------------


@pytest.mark.parametrize(("corrupt", "dropout"), THREATS)
def test_whole_clients_are_rounded_up_and_cohorts_too_small_are_refused(
    corrupt: str, dropout: str
) -> None:
    """A tenth of nine clients is one colluder; no sum is of fewer than max(3, A + 2) inputs."""
    refused = []
    for n in range(3, 61):
        try:
            made = plan(clients=n, fields=FIELDS, corrupt=corrupt, dropout=dropout)
        except ParameterError:
            refused.append(n)
            continue
        a, d, p = made.threat.corrupted, made.threat.dropped, made.params
        assert (a, d) == (math.ceil(Fraction(corrupt) * n), math.ceil(Fraction(dropout) * n))
        assert max(3, a + 2) <= p.min_survivors <= p.min_clients <= n - d
        assert f"at least {p.min_survivors - a} of them honest" in made.guarantee
        assert (made.protocol == "secagg") == (made.degree == n - 1) == (n <= 50)
        if n <= 50:
            assert made.threshold == min(t for t in range(n) if 2 * t > n + a)
            assert p.min_survivors == p.min_clients == max(made.threshold, a + 2, 3)
        else:
            assert made.threshold > (made.degree + 1) / 2
            assert p.min_survivors == p.min_clients == n - d
    assert refused == ([3, 6] if (corrupt, dropout) == ("0.2", "0.2") else [3])


def remedies_of(error: ParameterError) -> list[dict[str, Any]]:
    """Every change that a refusal says would do: of one argument, or of several together."""
    found = re.findall(r"\(([^()]*) would do\)", str(error))
    changes = []
    for sentence in found:
        *first, one_of = sentence.split(" with ")
        changes += [_change([*first, last]) for last in re.split(r", | or ", one_of)]
    return changes


def _change(settings: list[str]) -> dict[str, Any]:
    parsed = dict(each.split("=") for each in settings)
    counts = ("clients", "min_clients", "liars")
    return {name: int(value) if name in counts else value for name, value in parsed.items()}


@settings(max_examples=examples(150), deadline=None)
@given(
    st.integers(3, 70),
    st.fractions(0, Fraction(7, 10), max_denominator=30),
    st.fractions(0, Fraction(7, 10), max_denominator=30),
    st.none() | st.integers(1, 70),
    st.sampled_from([1, 3]),
)
def test_a_refusal_names_what_would_do_and_that_does(
    n: int, corrupt: Fraction, dropout: Fraction, asked: int | None, servers: int
) -> None:
    """Nothing that was asked for is moved in silence: it is in the plan, or there is no plan."""
    wanted: dict[str, Any] = {
        "clients": n,
        "fields": FIELDS,
        "corrupt": corrupt,
        "dropout": dropout,
        "min_clients": None if asked is None else min(asked, n),
        "servers": servers,
    }
    try:
        made = plan(**wanted)
    except ParameterError as error:
        assert remedies_of(error) or asked is not None
        for change in remedies_of(error):
            plan(**{**wanted, **change})
        return
    assert made.params.min_clients == wanted["min_clients"] or asked is None
    assert made.threat.corrupted >= corrupt * n and made.threat.dropped >= dropout * n


@pytest.mark.parametrize(
    ("n", "corrupt", "dropout", "changes"),
    [
        (3, "0.1", "0.2", [{"dropout": "0"}, {"clients": 4}]),
        (6, "0.2", "0.2", [{"dropout": "1/6"}, {"corrupt": "1/6"}, {"clients": 7}]),
        (
            3,
            "0.4",
            "0.4",
            [{"dropout": "0", "corrupt": "1/3"}, {"dropout": "0", "clients": 4}],
        ),
    ],
)
def test_what_a_small_cohort_could_have(
    n: int, corrupt: str, dropout: str, changes: list[dict[str, Any]]
) -> None:
    with pytest.raises(ParameterError) as refused:
        plan(clients=n, fields=FIELDS, corrupt=corrupt, dropout=dropout)
    assert remedies_of(refused.value) == changes
    for change in changes:
        plan(**{"clients": n, "fields": FIELDS, "corrupt": corrupt, "dropout": dropout, **change})


def test_liars_beside_a_large_dropout_are_refused_with_what_would_do() -> None:
    wanted: dict[str, Any] = {"clients": 3, "fields": FIELDS, "corrupt": "0.4", "dropout": "0.4"}
    with pytest.raises(ParameterError) as refused:
        plan(**wanted, liars=1)
    changes = remedies_of(refused.value)
    assert changes == [{"dropout": "0", "clients": 9}]
    assert plan(**{**wanted, "liars": 1, **changes[0]}).threat.liars == 1


@pytest.mark.parametrize(
    ("wanted", "least"),
    [
        ({"clients": 5, "min_clients": 3}, 4),
        ({"clients": 100, "min_clients": 50, "protocol": "secagg"}, 56),
        ({"clients": 100, "min_clients": 79, "protocol": "secagg+"}, 80),
        ({"clients": 20, "min_clients": 3, "servers": 2}, 4),
    ],
)
def test_min_clients_is_kept_or_refused_with_the_number_that_would_do(
    wanted: dict[str, Any], least: int
) -> None:
    with pytest.raises(ParameterError) as refused:
        plan(fields=FIELDS, **wanted)
    assert {"min_clients": least} in remedies_of(refused.value)
    made = plan(fields=FIELDS, **{**wanted, "min_clients": least})
    assert made.params.min_clients == least
    named = {"protocol": made.protocol, "servers": made.threat.servers}
    with pytest.raises(ParameterError):
        plan(fields=FIELDS, **{**wanted, **named, "min_clients": least - 1})


@pytest.mark.parametrize(
    ("value", "meant"), [(20, "0.2"), ("12.5", "0.125"), (10.0, "0.1"), ("300", None), (-3, None)]
)
def test_per_cent_get_a_hint(value: Any, meant: str | None) -> None:
    for name in ("corrupt", "dropout"):
        with pytest.raises(ParameterError, match=name) as refused:
            plan(clients=20, fields=FIELDS, **{name: value})
        assert ("did you mean" in str(refused.value)) == (meant is not None)
        assert f"did you mean {meant}?" in str(refused.value) or meant is None


@pytest.mark.parametrize(
    "value", ["1e-999999999", "1e999999999", 10**10_000, "1" * 10_000], ids=range(4)
)
def test_a_number_that_would_take_hours_to_write_is_refused(value: Any) -> None:
    for call in (
        lambda: plan(clients=20, fields=FIELDS, corrupt=value),
        lambda: find_parameters(100, value, "0.1", "none"),
    ):
        with pytest.raises(ParameterError, match="corrupt"):
            call()


# --- drops ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "n, phase",
    [(n, phase) for n in ([9, 40, 200, 1000] if SOAK else [9, 40]) for phase in PHASES]
    + ([] if SOAK else [(200, "share-keys")]),
)
def test_the_planned_dropout_is_survived_in_every_phase(n: int, phase: str) -> None:
    """D bounds every client that is lost before its last answer, whatever the phase."""
    made = plan(clients=n, fields={"u": FixedPoint(50, 1.0, 16)})
    rng = np.random.default_rng(n)
    inputs = {i: {"u": rng.uniform(-1, 1, 50)} for i in range(n)}
    gone = round(0.2 * n)
    total = secagg.simulate(made, inputs, drop=secagg.drop_at(phase, rate=0.2))
    assert len(total.contributors) == (n if phase == "unmask" else n - gone)
    exact = sum(np.rint(inputs[i]["u"] * 32767).astype(int) for i in total.contributors)
    assert total.levels["u"].tolist() == exact.tolist()


def test_explain_says_what_is_withstood() -> None:
    words = plan(clients=1000, fields=FIELDS).explain()
    assert "Who may drop: 200 clients in all, whatever the phase" in words
    assert "every client that is lost before its last answer" in words
    late = plan(clients=1000, fields=FIELDS, min_clients=950).explain()
    assert "200 clients in all, whatever the phase, of them 50 before the round has started" in late
    assert "were asked for" not in words
    whole = plan(clients=50, fields=FIELDS).explain()
    assert "Who may drop: 22 clients in all" in whole
    assert "10 were asked for; here any 28 are enough." in whole


def test_explain_says_who_may_answer_wrongly() -> None:
    """What is promised here, test_wrong_shares plays."""
    assert "answer wrongly" not in plan(clients=50, fields=FIELDS).explain()
    words = plan(clients=50, fields=FIELDS, liars=6).explain()
    assert "Who may answer wrongly: 6 of the clients that stay, where no more than 10 drop" in words


# --- what a receiver accepts ---------------------------------------------------------------


def test_the_graph_is_that_of_the_name() -> None:
    """A plan's protocol says which graph it has, whoever made the plan."""
    whole, regular = (
        plan(clients=100, fields=FIELDS, protocol=name) for name in ("secagg", "secagg+")
    )
    for made, name, rule in ((whole, "secagg+", "k-regular"), (regular, "secagg", "complete")):
        with pytest.raises(ParameterError, match=rule):
            replace(made, protocol=name)
        forged = made.encode().replace(
            len(made.protocol).to_bytes(4) + made.protocol.encode(),
            len(name).to_bytes(4) + name.encode(),
        )
        with pytest.raises(ParameterError, match=rule):
            Plan.decode(forged)


def test_a_receiver_compares_whole_numbers_before_it_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the numbers of a plan that a peer made, judging it takes no time."""

    def never(*_: object) -> None:
        raise AssertionError("it sums")

    for name in ("connected", "corrupt_neighbours", "surviving_neighbours"):
        monkeypatch.setattr(Tails, name, never)
    n = 1 << 20
    threat = Threat(n, Fraction(0), Fraction(0))
    k = MAX_DEGREE + 2
    wrong = checking.check_regular(threat, SecAggParams(n, k, k // 2 + 1, n, n))
    assert wrong is not None and f"more than the {MAX_DEGREE}" in wrong
    assert checking.check_complete(threat, SecAggParams(n, n - 1, n // 2 + 1, n, n)) is None
    with pytest.raises(AssertionError, match="it sums"):
        checking.check_regular(threat, SecAggParams(n, MAX_DEGREE, k // 2 + 1, n, n))


@settings(max_examples=examples(300), deadline=None)
@given(
    st.integers(4, 120),
    st.data(),
    st.sampled_from([(40.0, 20.0), (3.0, 2.0), (11.5, 4.25)]),
)
def test_verdicts_are_those_of_exact_rationals(
    n: int, data: st.DataObject, bounds: tuple[float, float]
) -> None:
    """Floating point decides only far from a bound: with all in doubt, the same is found."""
    k = 2 * data.draw(st.integers(1, max(1, (n - 2) // 2)))
    size = data.draw(st.integers(min(k + 1, n), n))
    a, d = data.draw(st.integers(0, size // 2)), data.draw(st.integers(0, n // 2))
    if k >= n - 1:
        return
    tails = Tails(n, a, d, *bounds)

    def verdicts() -> tuple[bool, int, int]:
        return tails.connected(k), tails.corrupt_neighbours(k, size), tails.surviving_neighbours(k)

    fast = verdicts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tails_module, "_DOUBT", 1e9)
        assert verdicts() == fast


@pytest.mark.parametrize("n", [0, 1, 255, 256, 1000, 123_456, 1 << 20])
def test_the_table_of_factorials_is_as_exact_as_it_says(n: int) -> None:
    """ln n! against integers: a hundredth of the doubt that a verdict allows."""
    exact = math.lgamma(n + 1) if n > 1000 else math.log(math.factorial(n))
    table = tails_module._log_factorials(1 << 20)
    assert abs(table[n] - exact) < 6e-9 + 4e-16 * exact


def test_a_tail_nearest_to_its_bound_is_judged_exactly() -> None:
    """n = 330, D = 99, k = 126: the chance of fewer than 65 is 2.3e-5 above its bound."""
    tails = Tails(330, 33, 99)
    assert tails.surviving_neighbours(126) == 64
    law = tails_module.Law(330, 231, 126, 330)
    bound = Fraction(1, 330 * 2**20)
    assert not law.within(64, law.low, bound)
    assert law.within(64, law.low, bound * Fraction(100_003, 100_000))


def test_the_sum_in_the_clear_keeps_min_clients_too() -> None:
    for asked in (1, 5, 10):
        made = plan(clients=10, fields=FIELDS, protocol="plainsum", min_clients=asked)
        assert made.params.min_clients == asked


def test_every_protocol_says_what_would_do_in_the_same_words() -> None:
    """remedies_of() reads them all: a refusal in other words would not be tried above."""
    assert registry.load("additive").parameters(Threat(3, Fraction(0), Fraction(1, 5), servers=2))
    for name, servers in (("secagg", 1), ("additive", 2)):
        with pytest.raises(ParameterError) as refused:
            plan(clients=3, fields=FIELDS, protocol=name, servers=servers)
        assert remedies_of(refused.value)[-1] == {"clients": 4}


def test_a_roster_of_as_many_says_that_more_clients_need_more() -> None:
    wanted: dict[str, Any] = {"clients": 3, "fields": FIELDS, "corrupt": "0.1", "dropout": "0.2"}
    with pytest.raises(ParameterError, match="clients=4 would do.*clients need a roster of as"):
        plan(**wanted, roster=3)
    plan(**{**wanted, "clients": 4}, roster=4)
    with pytest.raises(ParameterError) as refused:
        plan(**wanted)
    assert "roster" not in str(refused.value)


@pytest.mark.parametrize("n", [5, 20, 50, 51, 100])
def test_the_other_family_that_is_named_is_what_would_be_chosen(n: int) -> None:
    """With the bytes that its plan has."""
    threat: dict[str, Any] = {"clients": n, "fields": FIELDS, "corrupt": "0.05", "dropout": "0.1"}
    for mine, others in ((2, 1), (1, 2)):
        made, other = (plan(**threat, servers=servers) for servers in (mine, others))
        up, down = other.cost.upload_bytes, other.cost.download_bytes
        said = made.explain()
        assert f"it would be {other.protocol}: " in said
        assert f"{up:,} bytes up instead of {made.cost.upload_bytes:,} bytes" in said
        assert f"{down:,} bytes down instead of {made.cost.download_bytes:,} bytes" in said


def test_no_number_for_people_has_an_exponent() -> None:
    for n, length in ((93, 1), (500, 10_000_000)):
        made = plan(clients=n, fields={"u": FixedPoint(length, 1.0, 16)}, corrupt="0.01")
        assert not re.search(r"[0-9]e[+][0-9]+ (s|%)", made.explain()), n


@pytest.mark.parametrize(
    ("servers", "first"),
    [(1, "secagg: "), (2, "additive: 2 clients less"), (3, "additive: 2 clients less")],
)
def test_a_refusal_begins_with_the_family_that_was_asked_about(servers: int, first: str) -> None:
    """Of the others there is nothing to say but that they have another number of servers."""
    field = FixedPoint(1, 1.0, 16)
    with pytest.raises(ParameterError, match=f"no protocol withstands this: {first}"):
        plan(clients=2, fields={"u": field}, servers=servers)
