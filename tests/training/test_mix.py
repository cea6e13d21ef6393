"""The language mix: shares by the rule, every example as often as its language's share says, order by seed alone."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xllms.recipe import LanguageMix
from xllms.training.mix import draw_order, format_mix, plan_mix

COUNTS = {"eng_Latn": 1000, "swh_Latn": 100, "amh_Ethi": 10}
LANGUAGES = [code for code, count in COUNTS.items() for _ in range(count)]


def draws(mix: LanguageMix, epochs: float = 1.0) -> dict[str, int]:
    return {share.language: share.draws for share in plan_mix(LANGUAGES, [7] * len(LANGUAGES), mix, epochs)}


def test_natural_draws_every_example_once_per_epoch() -> None:
    assert draws(LanguageMix()) == COUNTS
    assert draws(LanguageMix(), 2.5) == {"eng_Latn": 2500, "swh_Latn": 250, "amh_Ethi": 25}


def test_temperature_lifts_small_languages_and_keeps_the_total() -> None:
    found = draws(LanguageMix(kind="temperature", alpha=0.5))
    root = {code: count**0.5 for code, count in COUNTS.items()}
    for code in COUNTS:
        assert found[code] == pytest.approx(1110 * root[code] / sum(root.values()), abs=1)
    assert sum(found.values()) == 1110
    assert set(draws(LanguageMix(kind="temperature", alpha=0)).values()) == {370}
    assert draws(LanguageMix(kind="temperature", alpha=1)) == COUNTS


def test_unimax_is_uniform_up_to_its_cap() -> None:
    assert draws(LanguageMix(kind="unimax", cap=4)) == {"amh_Ethi": 40, "swh_Latn": 400, "eng_Latn": 670}
    assert draws(LanguageMix(kind="unimax", cap=1)) == COUNTS
    assert max(draws(LanguageMix(kind="unimax", cap=100)).values()) == 370


@given(
    st.lists(st.sampled_from(["eng_Latn", "swh_Latn", "amh_Ethi"]), min_size=1, max_size=60),
    st.sampled_from(["natural", "temperature", "unimax"]),
    st.floats(0.3, 3),
    st.integers(0, 5),
)
def test_each_example_is_drawn_as_often_as_its_language_says(
    languages: list[str], kind: str, epochs: float, seed: int
) -> None:
    shares = plan_mix(languages, [1] * len(languages), LanguageMix.model_validate({"kind": kind}), epochs)
    order = draw_order(languages, shares, seed)
    assert len(order) == sum(share.draws for share in shares)
    times = Counter(order)
    for share in shares:
        own = [times[i] for i, language in enumerate(languages) if language == share.language]
        assert sum(own) == share.draws
        assert max(own) - min(own) <= 1
    assert order == draw_order(languages, shares, seed)


def test_no_part_of_the_run_leans_to_a_language_and_seeds_differ() -> None:
    shares = plan_mix(LANGUAGES, [1] * len(LANGUAGES), LanguageMix(), 1)
    order = draw_order(LANGUAGES, shares, 0)
    quarters = [Counter(LANGUAGES[i] for i in order[at : at + 277]) for at in range(0, 1110, 277)][:4]
    for quarter in quarters:
        assert 23 <= quarter["swh_Latn"] <= 27
    assert order != draw_order(LANGUAGES, shares, 1)


def test_the_plan_shows_examples_tokens_share_and_epochs() -> None:
    text = format_mix(plan_mix(LANGUAGES, [7] * len(LANGUAGES), LanguageMix(kind="unimax", cap=4), 1))
    (amharic,) = [line for line in text.splitlines() if "amh_Ethi" in line]
    assert amharic.split() == ["Amharic", "(amh_Ethi)", "10", "70", "3.60%", "4.00"]
