"""Many languages' scores as a few numbers."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xllms.metrics.across_languages import Spread, compare, democratization, interval, mean, spread

scores = st.lists(st.floats(0, 100), min_size=1, max_size=30)


def test_mean_of_nothing_is_an_error() -> None:
    assert mean([1, 2, 6]) == 3
    with pytest.raises(ValueError, match="no values"):
        mean([])


def test_democratization() -> None:
    assert democratization([50, 50, 50]) == 1
    assert democratization([100, 50, 0]) == 0.5
    assert democratization([1, 2, 3]) == democratization([10, 20, 30])
    assert democratization([0, 0, 0]) is None
    assert democratization([]) is None


@given(scores.filter(lambda values: max(values) > 1e-6))
def test_democratization_is_a_share(values: list[float]) -> None:
    value = democratization(values)
    assert value is not None
    assert 1 / len(values) - 1e-9 <= value <= 1 + 1e-9


def test_spread() -> None:
    assert spread([2, 4, 4, 4, 5, 5, 7, 9]) == Spread(deviation=2, worst=2, best=9)
    assert spread([0.1, 0.3], higher_is_better=False) == Spread(pytest.approx(0.1), worst=0.3, best=0.1)
    assert spread([50]) == Spread(0, 50, 50)
    assert democratization([0, *[50] * 4, 50]) == pytest.approx(5 / 6)  # looks fair
    assert spread([0, *[50] * 4, 50]).worst == 0
    with pytest.raises(ValueError, match="no values"):
        spread([])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_few_languages_have_no_interval(count: int) -> None:
    """The bootstrap of one language is [d, d], of four little more than [least, greatest]: neither is an interval."""
    assert interval([5.0, 7.0, 6.0, 5.5][:count]) is None
    found = compare([1.0] * count, [5.0, 7.0, 6.0, 5.5][:count])
    assert (found.low, found.high) == (None, None)
    assert (found.wins, found.difference > 0) == (count, True)


@given(st.lists(st.floats(0, 100), min_size=5, max_size=30), st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_an_interval_is_around_the_mean_and_repeatable(values: list[float], seed: int) -> None:
    ends = interval(values, seed)
    assert ends is not None
    low, high = ends
    assert min(values) - 1e-9 <= low <= mean(values) + 1e-9
    assert mean(values) - 1e-9 <= high <= max(values) + 1e-9
    assert interval(values, seed) == (low, high)


def test_an_interval_covers_the_true_mean_nineteen_times_in_twenty() -> None:
    draw = random.Random(0)
    runs = [ends for seed in range(60) if (ends := interval([draw.gauss(5, 2) for _ in range(40)], seed))]
    assert len(runs) == 60
    assert 0.85 <= sum(low <= 5 <= high for low, high in runs) / len(runs) <= 0.99
    assert all(0.8 < high - low < 2 for low, high in runs)  # 2 * 1.96 * 2 / sqrt(40) = 1.24


def test_a_clear_difference() -> None:
    draw = random.Random(1)
    before = [draw.uniform(10, 50) for _ in range(60)]
    after = [score + draw.gauss(5, 3) for score in before]
    better, worse = compare(before, after), compare(after, before)
    assert better.difference == pytest.approx(mean(after) - mean(before)) == pytest.approx(-worse.difference)
    assert better.p == worse.p < 0.001
    assert better.low is not None and better.high is not None and worse.low is not None and worse.high is not None
    assert 0 < better.low < better.difference < better.high
    assert worse.low < worse.difference < worse.high < 0
    assert better.wins == worse.losses > 50
    assert better.wins + better.ties + better.losses == 60


def test_no_difference() -> None:
    draw = random.Random(2)
    before = [draw.uniform(10, 50) for _ in range(60)]
    found = [compare(before, [score + draw.gauss(0, 3) for score in before], seed=seed) for seed in range(10)]
    assert sum(one.p > 0.05 for one in found) >= 8
    assert sum(one.low < 0 < one.high for one in found if one.low is not None and one.high is not None) >= 8
    same = compare(before, before)
    assert (same.difference, same.p, same.wins, same.ties, same.losses) == (0, 1, 0, 60, 0)


def test_the_p_value_is_that_of_all_sign_flips() -> None:
    """Of the 2^4 sign flips of 1, 2, 3, 4, only all plus and all minus reach the observed mean: p = 1/8."""
    assert compare([0, 0, 0, 0], [1, 2, 3, 4]).p == pytest.approx(1 / 8, abs=0.025)


def test_lower_may_be_better() -> None:
    loss = compare([2.0, 3.0, 1.0], [1.0, 2.0, 1.0], higher_is_better=False)
    assert loss.difference < 0
    assert (loss.wins, loss.ties, loss.losses) == (2, 1, 0)


def test_two_models_need_the_same_languages() -> None:
    with pytest.raises(ValueError):
        compare([1, 2], [1])
