"""Sentences are found as a reader finds them, and put together again they are the text."""

import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import shared_data
from xllms.engines.sentences import join_sentences, split_sentences
from xllms.languages import Language, all_languages, get

pieces = st.sampled_from([*"ab A1.!?。！؟।။«»“”\"'()…; \n\t\r\f\u2028\u3000\x1c\x1f", "Dr. ", "e.g. ", "U.S. "])
texts = st.one_of(st.text(), st.lists(pieces).map("".join))


@given(texts, st.sampled_from(all_languages()))
def test_joined_they_are_the_text_again(text: str, language: Language) -> None:
    parts = split_sentences(text, language)
    assert "".join(sentence + after for sentence, after in parts) == text
    assert all(sentence == sentence.strip() and not after.strip() for sentence, after in parts)
    assert all(sentence for sentence, _ in parts[1:])


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("English", "Dr. Smith of the U.S. Army paid $3.50 to J. R. Tolkien, e.g. on Monday.|Then he left!"),
        ("English", '"Really?" he asked.|"Yes."|She (and he, etc.) laughed...|See No. 5.|No.|He and I.|They did.'),
        ("English", "1. Mix the flour with 12 eggs.|Bake it at example.com for 2.5 hours.|Done"),
        ("German", "Am 3. Oktober war es so.|Gut."),
        ("Greek", "Τι είναι;|Ναι."),
        ("Chinese (Simplified)", "你好。|“你是谁？”|他说：再见！"),
        ("Japanese", "そうです！？|「なに。」|はい"),
        ("Hindi", "यह है।|वह है।"),
        ("Arabic", "كيف حالك؟|بخير."),
        ("Urdu", "یہ ہے۔|وہ ہے۔"),
        ("Amharic", "ሰላም።|እንዴት ነህ፧|ደህና"),
        ("Burmese", "က၊ ခ။|ဂ"),
        ("Armenian", "Այո։|Ոչ։"),
        ("Tibetan", "བོད།|ཡིག"),
    ],
)
def test_a_sentence_ends_where_a_reader_says(language: str, text: str) -> None:
    spaced = "" if language.startswith(("Chinese", "Japanese")) else " "
    parts = split_sentences(text.replace("|", spaced), get(language))
    assert [sentence for sentence, _ in parts] == text.split("|")


def test_line_breaks_end_sentences_and_are_kept() -> None:
    parts = split_sentences("One\n\n  - two\r\nthree. Four \n", get("English"))
    assert parts == [("One", "\n\n  "), ("- two", "\r\n"), ("three.", " "), ("Four", " \n")]


def test_sentences_are_joined_as_the_other_language_writes() -> None:
    english, chinese = get("English"), get("Chinese (Simplified)")
    assert join_sentences([("好。", " "), ("走！", "\n\n"), ("再见。", "\n")], chinese) == "好。走！\n\n再见。\n"
    assert join_sentences([("", "  "), ("Good.", ""), ("Go!", "\n"), ("Bye.", "")], english) == "  Good. Go!\nBye."


def test_flores_rows_are_mostly_one_sentence_in_every_script() -> None:
    """A row is one sentence of an English text, now and then two in translation: a rule gone wild would show."""
    with lzma.open(shared_data("flores200", "dev510.tsv.xz"), "rt", encoding="utf-8") as file:
        header, *rows = (line.rstrip("\n").split("\t") for line in file)
    checked = 0
    for column, code in enumerate(header):
        if code not in {language.code for language in all_languages()}:
            continue
        counts = [len(split_sentences(row[column], get(code))) for row in rows[:100]]
        assert sum(counts) <= 135, code
        checked += 1
    assert checked > 150
