"""Values, intervals and paired tests of sums over items, held against plain loops, closed forms and their coverage."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xllms.metrics.item_statistics import (
    ItemStatistics,
    PairedTest,
    accuracy,
    balanced_accuracy,
    by_item,
    counted,
    interval,
    mean_of,
    paired,
    rate,
    value,
)

answers = st.lists(st.booleans(), min_size=1, max_size=40)


@given(answers)
def test_accuracy_is_the_share_that_is_right(correct: list[bool]) -> None:
    assert value(accuracy(correct)) == pytest.approx(sum(correct) / len(correct))
    assert by_item(accuracy(correct)).tolist() == correct


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_mean_of_values(values: list[float]) -> None:
    assert value(mean_of(values)) == pytest.approx(math.fsum(values) / len(values), abs=1e-6)


def test_undecided_items_count_in_neither() -> None:
    wrong, decided = [True, False, False, True], [True, True, False, False]
    assert value(rate(wrong, decided)) == 0.5
    low, high = interval(rate(wrong, decided))
    assert (low, high) == interval(accuracy([True, False]))
    nothing = rate([False, False], [False, False])
    assert math.isnan(value(nothing))
    assert all(math.isnan(bound) for bound in interval(nothing))
    assert paired(nothing, nothing).p == 1


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), min_size=1, max_size=40))
def test_balanced_accuracy_is_the_mean_recall(items: list[tuple[bool, str]]) -> None:
    gold = [label for _, label in items]
    recalls = [np.mean([right for right, label in items if label == one]) for one in set(gold)]
    stats = balanced_accuracy([right for right, _ in items], gold)
    assert value(stats) == pytest.approx(np.mean(recalls))
    low, high = interval(stats)
    assert 0 <= low <= value(stats) + 1e-12
    assert value(stats) - 1e-12 <= high <= 1


def test_always_the_same_answer_is_balanced_at_one_half() -> None:
    gold = ["no"] * 90 + ["yes"] * 10
    correct = [label == "no" for label in gold]
    assert value(accuracy(correct)) == 0.9
    assert value(balanced_accuracy(correct, gold)) == 0.5


def test_no_items_are_no_score() -> None:
    for maker in (lambda: accuracy([]), lambda: mean_of([]), lambda: rate([], []), lambda: balanced_accuracy([], [])):
        with pytest.raises(ValueError):
            maker()


def test_wilsons_interval() -> None:
    """Ten of ten, and the worked example of Newcombe (1998): 81 of 263 is 0.2553 to 0.3662."""
    low, high = interval(accuracy([True] * 10))
    assert (round(low, 4), high) == (0.7225, 1.0)
    low, high = interval(accuracy([False] * 10))
    assert (low, round(high, 4)) == (0.0, 0.2775)
    low, high = interval(accuracy([True] * 81 + [False] * 182))
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert interval(balanced_accuracy([True] * 7 + [False] * 3, ["only"] * 10)) == pytest.approx(
        interval(accuracy([True] * 7 + [False] * 3))
    )


def test_all_right_in_every_class_is_not_certainty() -> None:
    low, high = interval(balanced_accuracy([True] * 20, ["a", "b"] * 10))
    assert high == 1
    assert 0.75 < low < 0.85  # two shares are surer than one of ten, which is 0.72


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_intervals_of_shares_cover(share: float) -> None:
    draw = np.random.default_rng(0)
    found = [interval(accuracy(draw.random(60) < share)) for _ in range(400)]
    assert np.mean([low <= share <= high for low, high in found]) > 0.92


def test_intervals_of_balanced_accuracy_cover() -> None:
    draw = np.random.default_rng(1)
    gold = ["a"] * 20 + ["b"] * 60
    chances = np.array([0.9] * 20 + [0.6] * 60)
    found = [interval(balanced_accuracy(draw.random(80) < chances, gold)) for _ in range(400)]
    assert 0.92 < np.mean([low <= 0.75 <= high for low, high in found]) < 0.98


def test_bootstrap_intervals_cover() -> None:
    draw = np.random.default_rng(2)
    found = [interval(mean_of(draw.gamma(2.0, 10.0, 80)), seed=seed) for seed in range(300)]
    assert 0.91 < np.mean([low <= 20 <= high for low, high in found]) < 0.98
    widths = [high - low for low, high in found]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 10 * math.sqrt(2 / 80), rel=0.05)


def test_one_item_has_no_bootstrap() -> None:
    assert all(math.isnan(bound) for bound in interval(mean_of([35.0])))
    assert interval(accuracy([True]))[0] < 0.3


def test_a_ratio_of_sums_is_resampled_by_whole_items() -> None:
    """The bootstrap of an arbitrary score equals a loop over the same kind of draws, within their noise."""
    draw = np.random.default_rng(3)
    rows = draw.integers(1, 50, (200, 2)).astype(float)
    stats = ItemStatistics(rows, lambda sums: sums[..., 0] / sums[..., 1])
    samples = [rows[draw.integers(200, size=200)].sum(axis=0) for _ in range(4000)]
    expected = np.percentile([one / other for one, other in samples], [2.5, 97.5])
    assert interval(stats, draws=4000) == pytest.approx(tuple(expected), abs=0.012)
    assert interval(stats, seed=5) == interval(stats, seed=5) != interval(stats, seed=6)


def test_many_items_are_resampled_in_blocks() -> None:
    values = np.random.default_rng(4).normal(10, 3, 50_000)
    low, high = interval(mean_of(values), draws=200)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 3 / math.sqrt(50_000), rel=0.25)


def test_p_is_that_of_all_swaps() -> None:
    """Of the 2^4 ways to swap, only none and all reach a difference of 1, 2, 3 and 4: p = 1/8."""
    a, b = mean_of([0, 0, 0, 0]), mean_of([1, 2, 3, 4])
    assert paired(a, b, draws=8000).p == pytest.approx(1 / 8, abs=0.02)
    ratio = lambda sums: sums[..., 0] / sums[..., 1]  # noqa: E731
    one, other = np.array([[3.0, 4], [1, 9], [2, 2], [5, 7]]), np.array([[4.0, 5], [2, 9], [3, 3], [1, 7]])
    swaps = [np.array(bits)[:, None] for bits in itertools.product([0, 1], repeat=4)]
    differences = [ratio(np.where(s, one, other).sum(0)) - ratio(np.where(s, other, one).sum(0)) for s in swaps]
    observed = ratio(other.sum(0)) - ratio(one.sum(0))
    exact = np.mean(np.abs(differences) >= abs(observed) - 1e-12)
    found = paired(ItemStatistics(one, ratio), ItemStatistics(other, ratio), draws=8000)
    assert found.difference == pytest.approx(observed)
    assert found.p == pytest.approx(exact, abs=0.02)


def test_a_clear_difference_and_its_mirror() -> None:
    draw = np.random.default_rng(5)
    before = draw.random(300) < 0.5
    after = before | (draw.random(300) < 0.3)
    better, worse = paired(accuracy(before), accuracy(after)), paired(accuracy(after), accuracy(before))
    assert better.p == 1 / 5001  # no draw reaches it, five times as many neither, and p is never 0
    assert 0 < better.low < better.difference < better.high
    assert worse.p == better.p
    assert (worse.difference, worse.low, worse.high) == pytest.approx((-better.difference, -better.high, -better.low))


def test_no_difference_is_found_one_time_in_twenty() -> None:
    draw = np.random.default_rng(6)
    tests = [paired(accuracy(draw.random(100) < 0.6), accuracy(draw.random(100) < 0.6), 400) for _ in range(300)]
    assert 0.01 < np.mean([one.p < 0.05 for one in tests]) < 0.09
    assert np.mean([one.low <= 0 <= one.high for one in tests]) > 0.91


def test_the_same_answers_leave_little_open() -> None:
    """No disagreement among 10 items can hide 28 points, among 1,000 items 0.4."""
    ten, thousand = accuracy([True] * 10), accuracy([True, False] * 500)
    few, many = paired(ten, ten), paired(thousand, thousand)
    assert (few.difference, few.p) == (0, 1)
    assert (round(few.low, 2), round(few.high, 2)) == (-0.28, 0.28)
    assert many == PairedTest(0.0, pytest.approx(-0.0038, abs=1e-4), pytest.approx(0.0038, abs=1e-4), 1.0)
    apart = paired(accuracy([False] * 10), accuracy([True] * 10))
    assert (apart.difference, apart.high) == (1, 1)
    assert 0.7 < apart.low < 0.75


@pytest.mark.parametrize("top", [1.0, 100.0])
def test_items_that_are_alike_are_not_certainty(top: float) -> None:
    """A mean of ten best scores has the interval of ten right answers: the bootstrap's would be [1, 1]."""
    for best in (True, False):
        shares = interval(accuracy([best] * 10))
        found = interval(mean_of([top * best] * 10), top=top)
        assert found == pytest.approx((shares[0] * top, shares[1] * top))
    low, high = interval(mean_of([top / 2] * 5), top=top)  # five ties
    assert 0.25 * top < low < 0.35 * top
    assert top - high == pytest.approx(low)
    few, many = (paired(mean_of([top] * n), mean_of([top] * n), top=top) for n in (10, 1000))
    assert (few.low, few.high) == pytest.approx((-0.2775 * top, 0.2775 * top), abs=1e-4 * top)
    assert 0 < many.high < 0.004 * top


def test_items_that_are_alike_say_nothing_of_a_score_without_bounds() -> None:
    for top in (None, 1.0):  # a value outside of its bounds has none
        assert all(math.isnan(end) for end in interval(mean_of([0.1 + 35] * 10), top=top))
        same = paired(mean_of([0.0] * 10), mean_of([0.1 + 35] * 10), top=top)
        assert math.isnan(same.low) and math.isnan(same.high)
    assert interval(mean_of([1.0, 2.0] * 20)) == interval(mean_of([1.0, 2.0] * 20), top=9.0)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=4), st.integers(2, 30), st.integers(0, 3), st.sampled_from([1, 100])
)
@settings(max_examples=60, deadline=None)
def test_no_interval_of_a_bounded_mean_is_a_point(values: list[float], items: int, seed: int, top: int) -> None:
    scores = (values * items)[:items]
    stats = mean_of([top * one for one in scores])
    low, high = interval(stats, draws=50, seed=seed, top=top)
    assert 0 <= low < high <= top


def test_what_counts_is_counted() -> None:
    assert counted(accuracy([True, False, True])) == 3
    assert counted(rate([True] * 4, [True, False, True, False])) == 2
    assert counted(rate([True], [False])) == 0
    assert counted(mean_of([0.0, 3.0])) == 2
    assert counted(balanced_accuracy([True] * 3, ["a", "a", "b"])) == 3
    points = mean_of([1.0, 0.0, 0.5])
    assert counted(ItemStatistics(points.rows * np.array([[1.0], [0.0], [1.0]]), points.score)) == 2
    # A variance is of all items though none has one alone.
    rows = np.array([[one, one**2, 1.0] for one in (1.0, 2.0, 4.0)])

    def variance(sums: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        n = sums[..., 2]
        return np.where(n > 1, sums[..., 1] / n - (sums[..., 0] / n) ** 2, np.nan)

    assert counted(ItemStatistics(rows, variance)) == 3


def test_other_items_or_metrics_are_refused() -> None:
    with pytest.raises(ValueError, match="not the same items"):
        paired(accuracy([True]), accuracy([True, False]))
    with pytest.raises(ValueError, match="not the same items or metric"):
        paired(mean_of([1.0], signature="tok:13a"), mean_of([1.0], signature="tok:zh"))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_a_paired_test_is_sound(pairs: list[tuple[bool, bool]], seed: int) -> None:
    found = paired(accuracy([a for a, _ in pairs]), accuracy([b for _, b in pairs]), draws=99, seed=seed)
    assert 1 / 100 <= found.p <= 1
    assert -1 <= found.low <= found.high <= 1
    assert found.low - 1e-9 <= found.difference <= found.high + 1e-9 or len(pairs) < 30


def test_a_hundred_languages_of_three_models_take_seconds() -> None:
    """On one core 4 s for chrF++'s 24 columns; the limit leaves room for a busy machine."""
    draw = np.random.default_rng(7)
    score = lambda sums: sums[..., 0::2].sum(-1) / sums[..., 1::2].sum(-1)  # noqa: E731
    before = time.process_time()
    for _ in range(10):
        models = [ItemStatistics(draw.integers(1, 90, (1000, 24)).astype(float), score) for _ in range(3)]
        for model in models:
            interval(model)
        for a, b in itertools.combinations(models, 2):
            paired(a, b)
    assert 10 * (time.process_time() - before) < 30


def test_a_rate_is_not_taken_for_other_because_fewer_items_count() -> None:
    # One wrong answer of five that can be told, and none of twenty.
    few = rate([1] + [0] * 19, [1] * 5 + [0] * 15)
    all_ = rate([0] * 20, [1] * 20)
    found = paired(few, all_)
    assert found.difference == pytest.approx(-0.2)
    assert found.p > 0.3
    # Where no item counts in both, nothing is known.
    assert paired(rate([1, 0], [1, 0]), rate([0, 0], [0, 1])).p == 1.0
    # A difference in items that count in both is still found.
    wrong = rate([1] * 20 + [0] * 5, [1] * 20 + [0] * 5)
    assert paired(wrong, rate([0] * 25, [1] * 25)).p < 0.01
