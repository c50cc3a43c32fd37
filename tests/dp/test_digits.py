"""Numbers to 60 digits, and the Gaussian mechanism by them (specs/40-privacy.md §4.2, §4.3)."""

from __future__ import annotations

from decimal import Decimal, getcontext, localcontext

import pytest

from secagg.dp import gaussian
from secagg.dp.exact import CONTEXT, tail

# mpmath 1.3 at 90 digits: erfc(x / sqrt(2)) / 2
TAILS = {
    "0.001": "0.499601057786088937415409677555673058731496752185221700810061428855",
    "1": "0.158655253931457051414767454367962077522087033273395609012605549757",
    "5.9": "0.00000000181750786309943237136193466009386691913432236047345830652138660221",
    "11.99": "2.00452583737242808826849540141757563884603551513866222296795899771e-33",
    "12": "1.77648211207767899769617100184555709239266643417895318503866117335e-33",
    "12.01": "1.5742252694411098173504947683754026539363626132398041314367049919e-33",
    "40": "3.65589354091502970374898580268828366505394461997737262498775729568e-350",
    "1e6": "9.4405270346321143543191404792310457014235687529927058668130077681e-217147240959",
    "-3": "0.998650101968369905473348185232405022622170631841619350635778014644",
}
EPSILONS = {  # dp-accounting 0.6.0, get_epsilon_gaussian: strength, delta, epsilon
    (1.0, 1e-5): 4.377178095681224,
    (0.01, 1e-5): 0.34066936468436297,
    (1e-6, 1e-8): 0.003924011098957864,
    (4.0, 0.5): 1.0542645598909133,
}


@pytest.mark.parametrize("x", TAILS)
def test_the_normal_tail_has_60_digits(x: str) -> None:
    with localcontext(CONTEXT):
        assert abs(tail(Decimal(x)) / Decimal(TAILS[x]) - 1) < Decimal("1e-60")


def test_both_methods_of_the_tail_agree_where_they_meet() -> None:
    with localcontext(CONTEXT):
        below, above = tail(Decimal(12) - Decimal("1e-70")), tail(Decimal(12))
        assert 0 < (below - above) / above < Decimal("1e-66")


def test_the_callers_own_context_has_no_say() -> None:
    expected = tail(Decimal(2))
    with localcontext() as narrow:
        narrow.prec = 5
        assert tail(Decimal(2)) == expected
        assert getcontext().prec == 5


@pytest.mark.parametrize("strength, delta", EPSILONS)
def test_epsilons_of_the_gaussian_mechanism(strength: float, delta: float) -> None:
    found = gaussian.epsilon(Decimal(delta), Decimal(strength))
    assert float(found) == pytest.approx(EPSILONS[strength, delta], rel=1e-9)
    assert gaussian.delta(found, Decimal(strength)) <= Decimal(delta), "from above"
    less = found * (1 - Decimal("1e-18"))
    assert gaussian.delta(less, Decimal(strength)) > Decimal(delta), "and no further"


def test_where_a_delta_needs_no_epsilon_it_is_0() -> None:
    assert gaussian.epsilon(Decimal("0.4"), Decimal("0.001")) == 0


def test_extremes_end_and_are_right() -> None:
    """From hardly any noise to hardly any signal; a divergence of Renyi's kind bounds each."""
    for strength in ("1e-30", "1e-12", "1e6", "1e15"):
        for delta in ("1e-19", "0.999"):
            found = gaussian.epsilon(Decimal(delta), Decimal(strength))
            mu2, log = Decimal(strength), Decimal(delta).ln()
            assert 0 <= found <= mu2 / 2 + (-2 * log * mu2).sqrt() * (1 + Decimal("1e-20"))
