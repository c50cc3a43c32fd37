"""Wrong shares told from right ones by counting (specs/10-secagg.md §9, S7)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import decoding
from secagg.decoding import Answers
from secagg.errors import ParameterError
from secagg.shamir import LIMBS, P, split
from secagg.types import Seed

SECRET = Seed(bytes(range(7, 39)))
CHALLENGE = b"asked" * 6 + b"!!"


def dealt(m: int, threshold: int, secret: Seed = SECRET) -> dict[int, bytes]:
    points = range(1, m + 1)
    return dict(zip(points, split(secret, threshold, points, os.urandom), strict=True))


def off(share: bytes, *limbs: int, by: int = 1) -> bytes:
    """The share with some limbs moved."""
    values = [int.from_bytes(share[8 * i : 8 * i + 8]) for i in range(LIMBS)]
    for limb in limbs:
        values[limb] = (values[limb] + by) % P
    return b"".join(value.to_bytes(8) for value in values)


def spoilt(shares: dict[int, bytes], wrong: Collection[int], *limbs: int) -> Answers:
    limbs = limbs or tuple(range(LIMBS))
    by = int.from_bytes(os.urandom(7)) + 1
    return Answers.of(
        {x: off(s, *limbs, by=by + x) if x in wrong else s for x, s in shares.items()}
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_up_to_half_the_slack_in_any_place_is_found(data: st.DataObject) -> None:
    threshold = data.draw(st.integers(1, 9))
    m = data.draw(st.integers(threshold, threshold + 9))
    radius = (m - threshold) // 2
    wrong = data.draw(st.sets(st.integers(1, m), max_size=radius))
    limbs = data.draw(st.sets(st.integers(0, 4), min_size=1))
    found = decoding.nearest(spoilt(dealt(m, threshold), wrong, *limbs), threshold)
    assert found is not None
    assert (found.secret, found.wrong) == (SECRET, wrong)


def test_every_limb_may_have_wrong_shares_of_its_own() -> None:
    """Five pairs of holders, each off in one limb: ten of twelve shares are wrong, two a limb."""
    shares = dealt(14, 10)
    for limb in range(LIMBS):
        for x in (2 * limb + 1, 2 * limb + 2):
            shares[x] = off(shares[x], limb)
    found = decoding.nearest(Answers.of(shares), 10)
    assert found is not None
    assert (found.secret, found.wrong) == (SECRET, set(range(1, 11)))


def test_one_more_than_half_the_slack_is_never_taken_for_right() -> None:
    """It may still be nearest to some polynomial, of another secret: whoever asks must check."""
    for wrong in itertools.combinations(range(1, 8), 3):
        found = decoding.nearest(spoilt(dealt(7, 3), wrong), 3)
        assert found is None or found.secret != SECRET


def test_an_odd_slack_is_halved_downwards() -> None:
    """Of m = t + 1 none may be wrong, although the one syndrome looks like holder 3 alone."""
    points = np.array([1, 2, 3, 4], np.uint64)
    assert decoding._errors([3], points) is None
    assert decoding._errors([3, 15], points) is None  # 5 is no holder
    assert decoding._errors([3, 9], points) == {3}


def test_two_dealings_glued_together_are_the_one_with_more() -> None:
    one, other = dealt(9, 3), dealt(9, 3, Seed(bytes(32)))
    mixed = {x: (one if x <= 6 else other)[x] for x in one}
    found = decoding.nearest(Answers.of(mixed), 3)
    assert found is not None
    assert (found.secret, found.wrong) == (SECRET, {7, 8, 9})


@pytest.mark.parametrize("threshold", [0, 6])
def test_thresholds_outside_the_shares(threshold: int) -> None:
    with pytest.raises(ParameterError, match="outside 1 to 5"):
        decoding.nearest(Answers.of(dealt(5, 3)), threshold)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_all_agree_with_the_lowest_or_one_is_wrong(data: st.DataObject) -> None:
    threshold = data.draw(st.integers(1, 9))
    m = data.draw(st.integers(threshold, threshold + 9))
    shares = dealt(m, threshold)
    assert decoding.read(Answers.of(shares), threshold, CHALLENGE) == (SECRET, True)
    if m > threshold:
        x, limb = data.draw(st.integers(1, m)), data.draw(st.integers(0, 4))
        secret, agreed = decoding.read(spoilt(shares, {x}, limb), threshold, CHALLENGE)
        assert not agreed
        assert (secret == SECRET) == (x > threshold)


def test_the_challenge_follows_from_every_answer() -> None:
    """Whoever could know it before answering could choose wrong shares that pass."""
    asked = [Answers.of(dealt(5, 3)), Answers.of(dealt(4, 3))]
    first = decoding.challenge(asked, b"session")
    assert first == decoding.challenge(asked, b"session")
    changed = Answers(asked[1].points, off(asked[1].data[:40], 4) + asked[1].data[40:])
    others = [
        decoding.challenge([asked[0], changed], b"session"),
        decoding.challenge(asked, b"another"),
        decoding.challenge(asked[::-1], b"session"),
    ]
    assert len({first, *others}) == 4


def test_through_names_whoever_is_off_the_chosen() -> None:
    answers = spoilt(dealt(8, 3), {2, 7}, 3)
    for chosen in itertools.combinations([1, 3, 4, 5, 6, 8], 3):
        found = decoding.through(answers, chosen)
        assert found is not None
        assert (found.secret, found.wrong) == (SECRET, {2, 7})
        assert decoding.secret_of(answers, chosen) == SECRET
    misled = decoding.through(answers, (1, 2, 3))
    assert misled is None or misled.secret != SECRET


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_around_is_through_unless_another_is_off(data: st.DataObject) -> None:
    threshold = data.draw(st.integers(1, 6))
    m = data.draw(st.integers(threshold, threshold + 6))
    wrong = data.draw(st.sets(st.integers(1, m)))
    apart = data.draw(st.sets(st.integers(1, m)))
    chosen = data.draw(st.permutations(range(1, m + 1)))[:threshold]
    answers = spoilt(dealt(m, threshold), wrong, 1)
    full = decoding.through(answers, chosen)
    found = decoding.around(answers, chosen, sorted(apart), CHALLENGE)
    assert found == (full if full is not None and full.wrong <= apart else None)


def test_limbs_out_of_range_are_no_secret() -> None:
    high = {x: (P - 1).to_bytes(8) * LIMBS for x in (1, 2, 3, 4)}  # the constant P - 1
    answers = Answers.of(high)
    assert decoding.through(answers, (1, 2)) is None
    assert decoding.secret_of(answers, (1, 2)) is None
    assert decoding.nearest(answers, 2) is None
    assert decoding.read(answers, 2, CHALLENGE) == (None, True)


def test_shares_are_in_no_repr() -> None:
    assert "data" not in repr(Answers.of(dealt(3, 2)))
