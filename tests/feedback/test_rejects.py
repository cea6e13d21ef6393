"""What answers made to be rejected look like; on CLDR's own facts."""

import random

import pytest

from tests.feedback.test_ranking import FACTS, record
from xllms.feedback.rejects import code_mixed, construct, other_question, truncated, untranslated
from xllms.languages import get
from xllms.records import Instruction

KINDS = ("wrong_language", "code_mixed", "untranslated", "truncated", "other_question")
EVERY = [one for fact in FACTS for one in fact.values()]
GERMAN = [one for one in EVERY if one.language == "deu_Latn"]


def test_code_mixed_holds_words_of_both_answers() -> None:
    seen = 0
    for fact in FACTS:
        for code, one in fact.items():
            made = code_mixed(one, fact, get(code), random.Random(0))
            if made is None:
                continue
            seen += 1
            other = fact[made.language or ""].output
            assert made.text not in (one.output, other)
            assert made.text[:1] == one.output.strip()[:1] or made.text.split()[0] in other
            assert set(made.text.split()) & set(other.split()) or any(c in other for c in made.text)
            assert made.reason == f"code-mixed: {get(made.language or '').name} words in the answer"
    assert seen > 20


def test_code_mixed_splices_the_middle_third() -> None:
    fact = {
        "deu_Latn": record("Sonntag, der 7. Januar 2024 ist es"),
        "eng_Latn": record("it is Sunday the 7th of January", "eng_Latn"),
    }
    made = code_mixed(fact["deu_Latn"], fact, get("de"), random.Random(0))
    assert made is not None
    assert made.text == "Sonntag, der Sunday the 2024 ist es"
    thai = {"tha_Thai": record("ประเทศเยอรมนี", "tha_Thai"), "eng_Latn": record("Germany", "eng_Latn")}
    mixed = code_mixed(thai["tha_Thai"], thai, get("th"), random.Random(0))
    assert mixed is not None
    assert mixed.text.split()[1] in "Germany"
    assert "".join(mixed.text.split()[::2]) in "ประเทศเยอรมนี" or mixed.text.startswith("ประ")


def test_untranslated_is_the_english_answer_where_it_differs() -> None:
    seen = 0
    for fact in FACTS:
        for one in fact.values():
            made = untranslated(one, fact)
            english = fact.get("eng_Latn")
            same = english is None or english.output.casefold() == one.output.casefold()
            assert (made is None) == (one.language == "eng_Latn" or same)
            if made is not None and english is not None:
                seen += 1
                assert made.text == english.output
    assert seen > 10


def test_truncated_stops_inside_the_answer() -> None:
    assert len(EVERY) > 30
    seen = 0
    for one in EVERY:
        made = truncated(one, random.Random(one.id))
        if made is None:
            assert len(one.output) < 12  # a few letters with their marks
            continue
        seen += 1
        assert one.output.startswith(made.text)
        assert 0 < len(made.text) < len(one.output)
        if " " not in one.output:
            assert not one.output[len(made.text) : len(made.text) + 1].isspace()
    assert seen > 20
    assert truncated(record("Uri"), random.Random(0)) is None


def test_the_other_question_is_of_the_same_kind_and_language() -> None:
    assert len(GERMAN) > 5
    seen = 0
    for one in GERMAN:
        made = other_question(one, GERMAN, random.Random(0))
        if made is None:
            continue
        seen += 1
        of_that_text = [other for other in GERMAN if other.output == made.text]
        assert of_that_text and all(other.parallel_id != one.parallel_id for other in of_that_text)
        if any(o.kind == one.kind and o.output.casefold() != one.output.casefold() for o in GERMAN):
            assert one.kind in {other.kind for other in of_that_text}
    assert seen > 5
    assert other_question(GERMAN[0], GERMAN[:1], random.Random(0)) is None


@pytest.mark.parametrize("fact", FACTS[:12], ids=lambda fact: next(iter(fact.values())).parallel_id)
def test_one_more_kind_moves_none_of_the_others(fact: dict[str, Instruction]) -> None:
    for code, one in fact.items():
        same_language = [other for other in EVERY if other.language == code]
        alone = construct(("wrong_language",), one, fact, same_language, random.Random(5))
        every = construct(KINDS, one, fact, same_language, random.Random(5))
        assert every[: len(alone)] == alone
        assert construct(KINDS, one, fact, same_language, random.Random(5)) == every
        texts = [made.text for made in every]
        assert len(set(texts)) == len(texts)
        assert one.output not in texts
        assert all(made.reason and made.text for made in every)
    assert construct((), one, fact, same_language, random.Random(5)) == []
