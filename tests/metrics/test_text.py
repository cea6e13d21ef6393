"""Scores of answers, held against sacrebleu's own and against what readers of several scripts call equal."""

import unicodedata

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from xllms.languages import all_languages
from xllms.metrics.text import chrf, exact_match

AUTONYMS = [language.autonym for language in all_languages()]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.lists(st.tuples(texts, texts.filter(str.strip)), min_size=1, max_size=5))
def test_chrf_is_sacrebleus(pairs: list[tuple[str, str]]) -> None:
    outputs, references = [one for one, _ in pairs], [other for _, other in pairs]
    assert chrf(outputs, references) == sacrebleu.corpus_chrf(outputs, [references], word_order=2).score


def test_chrf_of_real_names() -> None:
    assert len(AUTONYMS) > 200
    shifted = AUTONYMS[1:] + AUTONYMS[:1]
    assert chrf(AUTONYMS, AUTONYMS) == pytest.approx(100)
    assert 0 < chrf(shifted, AUTONYMS) < 40
    assert chrf(shifted, AUTONYMS) == sacrebleu.corpus_chrf(shifted, [AUTONYMS], word_order=2).score
    assert chrf([""], ["Norwe"]) == 0


def test_chrf_needs_pairs() -> None:
    for outputs, references in (([], []), (["a"], []), (["a"], ["a", "b"])):
        with pytest.raises(ValueError, match="as many outputs as references"):
            chrf(outputs, references)


@pytest.mark.parametrize(
    ("output", "reference"),
    [
        ("norwe", "Norwe"),
        (" Norwe.\n", "Norwe"),
        ("„Norwegen“", "„norwegen“"),
        ('"Norway"', "Norway"),
        ("«Норвегия».", "Норвегия"),
        ("STRASSE", "Straße"),
        ("नॉर्वे।", "नॉर्वे"),
        ("挪威。", "挪威"),
        ("Ｎｏｒｗａｙ", "Norway"),
        ("ノルウェー", "ﾉﾙｳｪｰ"),
        ("ناروے۔", "ناروے"),
        ("Tiếng  Việt", unicodedata.normalize("NFD", "Tiếng Việt")),
        ("한국어", unicodedata.normalize("NFD", "한국어")),
        ("Νορβηγία:", "νορβηγία"),
    ],
)
def test_equal_but_for_what_does_not_count(output: str, reference: str) -> None:
    assert exact_match(output, reference)
    assert exact_match(reference, output)


@pytest.mark.parametrize(
    ("output", "reference"),
    [
        ("Norwa", "Norwe"),
        ("", "Norwe"),
        ("Norwe na Uswidi", "Norwe"),
        ("挪威", "挪威語"),
        ("1,234", "1.234"),
        ("काम", "कम"),
        ("3 Mei", "13 Mei"),
    ],
)
def test_not_equal(output: str, reference: str) -> None:
    assert not exact_match(output, reference)


@given(st.sampled_from(AUTONYMS), st.sampled_from(AUTONYMS))
def test_names_of_languages_match_themselves_in_any_form(one: str, other: str) -> None:
    assert exact_match(f" {unicodedata.normalize('NFD', one)}. ", one)
    assert exact_match(one, other) == (one.casefold() == other.casefold())
