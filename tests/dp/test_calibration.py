"""The least noise for a claim (specs/40-privacy.md §5)."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import pytest

from secagg.dp import Block, Claim, Shape, accepts, calibration, kind, loss, noises
from secagg.dp.calibration import _index, _rounded_up, _scale
from secagg.errors import ParameterError
from secagg.noise import MAX_VARIANCE, MIN_VARIANCE, Kind, Noise
from tests.dp.test_release import inflated

UPDATE = Shape(1970, inflated(32767, 1970), rotated=True)
COUNTS = Shape(10, 1, rotated=False)


def blocks_of(shapes: list[Shape], found: tuple[Noise, ...], shares: int) -> list[Block]:
    return [s.block(noise.variance, shares) for s, noise in zip(shapes, found, strict=True)]


def before(variance: float) -> float:
    """The next number of 24 bits below."""
    mantissa, exponent = math.frexp(variance)
    return math.ldexp(math.ceil(mantissa * (1 << 24)) - 1, exponent - 24)


@pytest.mark.parametrize("shape", [UPDATE, COUNTS], ids=["vector", "counts"])
@pytest.mark.parametrize("epsilon", [1e-4, 1, 100])
def test_one_block_has_the_least_variance_of_24_bits(shape: Shape, epsilon: float) -> None:
    claim = Claim(epsilon, 1e-5, 10)
    [noise] = noises([shape], claim, 800)
    assert noise.variance == float(f"{noise.variance:.24g}")
    assert noise.variance * 2**24 / 2 ** math.floor(math.log2(noise.variance) + 1) % 1 == 0
    assert accepts([shape.block(noise.variance, 800)], claim)
    assert not accepts([shape.block(before(noise.variance), 800)], claim)
    assert noise.kind is kind(shape.rotated, noise.variance)


def test_what_was_asked_for_is_used_up() -> None:
    for shapes in ([UPDATE], [COUNTS], [UPDATE, COUNTS], [replace(UPDATE, length=7)] * 5):
        found = noises(shapes, Claim(2, 1e-4, 10), 800)
        assert loss(blocks_of(shapes, found, 800), 1e-4, 10).epsilon == pytest.approx(2, rel=1e-5)


def test_a_budget_is_split_as_was_asked() -> None:
    """By what strengths add up to: a part of a tenth has ten times the variance for the same
    sensitivity. A part is no more than its ratio to the others."""
    parts = [Fraction(1, 10), Fraction(3, 10), Fraction(6, 10)]
    shapes = [replace(UPDATE, part=part) for part in parts]
    found = noises(shapes, Claim(2, 1e-4, 10), 800)
    strengths = [UPDATE.squared / noise.variance for noise in found]
    assert [s / sum(strengths) for s in strengths] == pytest.approx([0.1, 0.3, 0.6], rel=1e-6)
    again = [replace(shape, part=shape.part * 77) for shape in shapes]
    assert noises(again, Claim(2, 1e-4, 10), 800) == found


def test_sensitivities_of_all_sizes_in_one_plan() -> None:
    shapes = [UPDATE, COUNTS, Shape(1, 2**40, rotated=False), replace(UPDATE, part=Fraction(1, 99))]
    claim = Claim(1, 1e-6, 1)
    found = noises(shapes, claim, 50)
    assert accepts(blocks_of(shapes, found, 50), claim)
    assert {noise.kind for noise in found} == {Kind.GAUSSIAN, Kind.SKELLAM}


@pytest.mark.parametrize(
    "rotated, variance, expected",
    [
        (True, 6.25, Kind.GAUSSIAN),
        (True, math.nextafter(6.25, 0), Kind.SKELLAM),
        (True, MAX_VARIANCE, Kind.GAUSSIAN),
        (False, MIN_VARIANCE, Kind.SKELLAM),
        (False, 2.0**24, Kind.SKELLAM),
        (False, math.nextafter(2.0**24, math.inf), Kind.GAUSSIAN),
    ],
)
def test_which_noise_a_share_is(rotated: bool, variance: float, expected: Kind) -> None:
    assert kind(rotated, variance) is expected


def test_many_rounds_and_little_noise_at_either_end() -> None:
    assert noises([COUNTS], Claim(1024, 0.5), 1 << 20) == (Noise(Kind.SKELLAM, MIN_VARIANCE),)
    claim = Claim(1e-6, 1e-15, 10**6)
    [noise] = noises([COUNTS], claim, 1000)
    assert noise.kind is Kind.GAUSSIAN and accepts([COUNTS.block(noise.variance, 1000)], claim)


def test_more_noise_than_there_is_is_refused_with_what_would_do() -> None:
    """Each of the two numbers is enough."""
    with pytest.raises(
        ParameterError, match=r"than the largest there is; (.*) would do$"
    ) as refused:
        noises([UPDATE], Claim(1e-6, 1e-15), 800)
    assert "epsilon=6.163e-06 or 27280 honest clients would do" in str(refused.value)
    noises([UPDATE], Claim(6.163e-6, 1e-15), 800)
    noises([UPDATE], Claim(1e-6, 1e-15), 27280)
    with pytest.raises(ParameterError, match="rounds=594 or 1347 honest clients would do"):
        noises([UPDATE], Claim(1e-6, 1e-5, 1000), 800)
    noises([UPDATE], Claim(1e-6, 1e-5, 594), 800)


@pytest.mark.parametrize("part", [Fraction(0), Fraction(-1), 0.5, 1])
def test_a_part_is_a_fraction_above_0(part: object) -> None:
    with pytest.raises(ParameterError, match="part must be a Fraction above 0"):
        Shape(1, 1, True, part)  # type: ignore[arg-type]


def test_shapes_are_checked_as_blocks_are() -> None:
    with pytest.raises(ParameterError, match="length must be"):
        Shape(0, 1, True)
    with pytest.raises(ParameterError, match="squared must be"):
        Shape(1, 0, True)
    with pytest.raises(ParameterError, match="rotated must be True or False"):
        Shape(1, 1, "no")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="there is no block"):
        noises([], Claim(1, 1e-5), 3)


@pytest.mark.parametrize("index", [-(7 << 31) - 5, -1, 0, 1, 12345, (60 << 31) - 1, 60 << 31])
def test_the_grid_of_scales(index: int) -> None:
    scale, following = scaled(index), scaled(index + 1)
    assert _index(scale) == index and following > scale
    assert _index((scale + following) / 2) == index


def scaled(index: int) -> Fraction:
    mantissa, exponent = _scale(index)
    assert mantissa.bit_length() == 32
    return mantissa * Fraction(2) ** exponent


@pytest.mark.parametrize(
    "number, rounded",
    [
        (Fraction(1), 1.0),
        (Fraction(2**24 - 1), 2.0**24 - 1),
        (Fraction(2**24 + 1), 2.0**24 + 2),
        (Fraction(2**25 - 1), 2.0**25),
        (Fraction(1, 3), math.ldexp(11184811, -25)),
        (Fraction(1, 2**20), 2.0**-20),
    ],
)
def test_variances_are_rounded_up_to_24_bits(number: Fraction, rounded: float) -> None:
    assert _rounded_up(number) == rounded >= number


def many(number: int, kinds: str) -> list[Shape]:
    """Of all sizes and parts."""
    return [
        Shape(
            10 + 7 * at,
            1 + 3**at % 10**9,
            kinds == "vectors" or (kinds == "both" and at % 2 == 0),
            Fraction(1 + at % 13, 7),
        )
        for at in range(number)
    ]


@pytest.mark.parametrize("kinds", ["vectors", "counts", "both"])
@pytest.mark.parametrize("epsilon", [0.01, 2, 100])
def test_many_fields_have_the_noise_that_all_scales_would_find(
    kinds: str, epsilon: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 §5.2: where a few stand for all at first; few looks at all of them do for vectors of one
    width and for counts, and hardly more than ever where nothing is alike."""
    shapes, claim = many(90, kinds), Claim(epsilon, 1e-6, 20)
    few = noises_and_looks(shapes, claim, monkeypatch)
    monkeypatch.setattr(calibration, "_FEW", 10**6)
    assert noises(shapes, claim, 40) == few[0] and few[1] <= 46


@pytest.mark.parametrize("epsilon", [0.01, 2, 100])
def test_many_fields_of_one_width_take_few_looks(
    epsilon: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    alike = [replace(UPDATE, length=10 + at, part=Fraction(1 + at % 3)) for at in range(90)]
    assert noises_and_looks(alike, Claim(epsilon, 1e-6, 20), monkeypatch)[1] <= 18, "of forty"


def noises_and_looks(
    shapes: list[Shape], claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> tuple[tuple[Noise, ...], int]:
    tried = []

    def accepted(blocks: list[Block], claim: Claim) -> bool:
        tried.append(len(blocks))
        return accepts(blocks, claim)

    with monkeypatch.context() as counting:
        counting.setattr(calibration, "accepts", accepted)
        found = noises(shapes, claim, 40)
    return found, tried.count(len(shapes))


@pytest.mark.parametrize("guess", [0, 1, 500, 76_000, 77_000, 77_777, 77_778, 10**6, 10**9])
def test_around_any_guess(guess: int, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = calibration._Wanted([COUNTS], Claim(1.0, 1e-5), 1)
    monkeypatch.setattr(wanted, "keeps", lambda index: index >= 77_777)
    low, high = wanted.around(guess, 0, 10**9)
    assert 0 <= low <= 77_777 <= high <= 10**9
    assert wanted.least(low, high) == 77_777
