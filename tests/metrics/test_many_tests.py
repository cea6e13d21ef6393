"""Adjusted p-values, held against worked examples, the closure of Bonferroni's test, the step-up rule and scipy."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xllms.metrics.many_tests import benjamini_hochberg, holm

# Benjamini and Hochberg (1995), section 3.1: fifteen hypotheses about a heart drug.
HEART = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
HEART += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
p_values = st.lists(st.floats(0, 1) | st.sampled_from([0.01, 0.02, 0.05]), min_size=1, max_size=8)


def test_the_heart_drug() -> None:
    """Four differences by the false discovery rate, three by the family-wise rate."""
    assert sum(p <= 0.05 for p in benjamini_hochberg(HEART)) == 4
    assert sum(p <= 0.05 for p in holm(HEART)) == 3
    assert benjamini_hochberg(HEART)[3] == pytest.approx(0.0095 * 15 / 4)
    assert holm(HEART)[2] == pytest.approx(0.0019 * 13)


def test_four_values() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert holm([]) == benjamini_hochberg([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
@settings(deadline=None)
def test_holm_is_the_closure_of_bonferronis_test(values: list[float]) -> None:
    """A hypothesis falls if every set of hypotheses that holds it does."""
    places = range(len(values))
    families = [s for size in places for s in itertools.combinations(places, size + 1)]
    expected = [max(min(1.0, len(s) * min(values[i] for i in s)) for s in families if at in s) for at in places]
    assert holm(values) == pytest.approx(expected)


@given(p_values, st.floats(0.001, 0.5))
def test_findings_are_those_of_the_step_up_rule(values: list[float], level: float) -> None:
    ordered = sorted(values)
    # A level that lies on an adjusted value itself is decided by rounding.
    found = benjamini_hochberg(values)
    if any(abs(one - level) < 1e-9 for one in found):
        return
    last = max((rank for rank, p in enumerate(ordered, 1) if p <= rank * level / len(values)), default=0)
    assert sum(one <= level for one in found) == last


@given(p_values)
@settings(deadline=None)
def test_false_discovery_is_scipys(values: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert benjamini_hochberg(values) == pytest.approx(stats.false_discovery_control(values).tolist())


@given(p_values, st.randoms())
def test_order_does_not_matter_and_power_does(values: list[float], draw: random.Random) -> None:
    order = list(range(len(values)))
    draw.shuffle(order)
    for adjust in (holm, benjamini_hochberg):
        assert [adjust(values)[at] for at in order] == pytest.approx(adjust([values[at] for at in order]))
        assert all(0 <= p <= one <= 1 for p, one in zip(values, adjust(values), strict=True))
    assert all(b <= h + 1e-12 for b, h in zip(benjamini_hochberg(values), holm(values), strict=True))


def test_a_hundred_languages_without_a_difference() -> None:
    draw = random.Random(0)
    families = [[draw.random() for _ in range(100)] for _ in range(400)]
    assert sum(min(family) <= 0.05 for family in families) > 390  # uncorrected: nearly always some "difference"
    assert 0.02 < sum(min(holm(family)) <= 0.05 for family in families) / 400 < 0.09
    assert 0.02 < sum(min(benjamini_hochberg(family)) <= 0.05 for family in families) / 400 < 0.09


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_what_is_no_p_value_is_refused(wrong: float) -> None:
    for adjust in (holm, benjamini_hochberg):
        with pytest.raises(ValueError, match="0 to 1"):
            adjust([0.5, wrong])
