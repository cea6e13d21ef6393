"""Language confusion of real sentences in two hundred languages, and of the odd answers that models give."""

import csv
import lzma
import time
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import shared_data

from xllms.languages import Language, get
from xllms.languages.confusion import (
    MOST_LINES,
    can_be_told,
    confusion,
    latin_words,
    line_pass_rate,
    word_pass_rate,
)
from xllms.languages.registry import all_languages

FRENCH = "Les Pays-Bas sont au bord de la mer et ont beaucoup de ports."
ENGLISH = "The Netherlands are by the sea and they have many harbours."
ARABIC = "تقع هولندا على البحر ولديها الكثير من الموانئ الكبيرة."


def sentences(count: int) -> dict[Language, list[str]]:
    """Parallel FLORES sentences by language."""
    with lzma.open(shared_data("flores200", "dev510.tsv.xz"), "rt", encoding="utf-8") as file:
        head, *rows = islice(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), count + 1)
    codes = {language.code for language in all_languages()}
    return {get(code): [row[at] for row in rows] for at, code in enumerate(head) if code in codes}


def test_sentences_pass_in_their_own_language_and_english_does_in_no_other() -> None:
    parallel = sentences(12)
    assert len(parallel) == 205
    own: Counter[bool | None] = Counter()
    english: Counter[bool | None] = Counter()
    for language, texts in parallel.items():
        passed = Counter(confusion(text, language).lines_pass for text in texts)
        if can_be_told(language):
            assert passed[False] <= 2, f"{language.name}: {passed}"
            own += passed
        else:
            assert not passed[True], f"{language.name} can be told after all"
        if language.code != "eng_Latn":
            foreign = Counter(confusion(text, language).lines_pass for text in parallel[get("en")])
            assert foreign[True] == 0
            assert foreign[False] >= 10, f"{language.name}: {foreign}"
            english += foreign
    assert own[True] >= 0.9 * own.total()
    assert own[False] <= 0.005 * own.total()
    assert english[False] >= 0.99 * english.total()


def test_an_answer_passes_only_if_every_line_does() -> None:
    both = confusion(f"{FRENCH}\n\n{ENGLISH}\n{FRENCH}", get("fr"))
    assert (both.right, both.wrong, both.lines_pass) == (2, 1, False)
    assert both.line_accuracy == pytest.approx(2 / 3)
    assert confusion(FRENCH, get("fr")).lines_pass


def test_an_english_line_ahead_is_found_though_it_has_few_words_that_only_english_has() -> None:
    for ahead in ("Here's a science fiction story in Italian:", "Sure! Here are four articles on cryptocurrency:"):
        assert confusion(f"{ahead}\n{FRENCH}", get("fr")).wrong == 1


@pytest.mark.parametrize("text", ["", " \n\t\n", "1. 2. 3. 4. 5. 6. 7.", "Oui.\nNon.", "😀 😀 😀 😀 😀 😀"])
def test_what_cannot_be_judged_neither_passes_nor_fails(text: str) -> None:
    found = confusion(text, get("fr"))
    assert (found.lines_pass, found.words_pass, found.line_accuracy) == (None, None, None)


def test_a_list_of_names_is_no_confusion() -> None:
    names = "Albert Einstein, Niels Bohr, Marie Curie, Max Planck, Werner Heisenberg"
    for code in ("fr", "de", "id", "tr"):
        assert not confusion(names, get(code)).wrong, code


def test_program_code_is_not_read_and_json_is() -> None:
    code = "```python\nfor this in what: print(the)\nwhile they: because()\n```"
    assert confusion(f"{FRENCH}\n{code}\n{FRENCH}", get("fr")).lines_pass
    assert confusion(f'```json\n{{"summary": "{ENGLISH}"}}\n```', get("fr")).lines_pass is False
    assert confusion(f"```python\npass\n```\n{ENGLISH}", get("fr")).lines_pass is False
    assert confusion(f"```one line```\n{ENGLISH}", get("fr")).lines_pass is False


def test_both_forms_of_chinese_are_chinese_and_japanese_is_not() -> None:
    traditional = "有效的溝通技巧對個人和職業成功至關重要，這會產生巨大影響。"
    assert confusion(traditional, get("zho_Hans")).lines_pass
    assert confusion("これは日本語で書かれた文です。中国語ではありません。", get("zho_Hans")).lines_pass is False


def test_latin_words_of_another_script_are_counted_and_names_are_not() -> None:
    assert latin_words("使用 machine learning 的data和 NASA iPhone Wikipedia km") == ["machine", "learning", "data"]
    assert latin_words("см. https://the.example/path open_file notes.txt me@mail.example `code`") == []
    assert confusion(ARABIC, get("ar")).words_pass
    assert confusion(f"{ARABIC} (machine learning)", get("ar")).words_pass is False
    assert confusion(FRENCH, get("fr")).foreign is None


def test_ten_thousand_lines_take_seconds_and_are_read_to_the_end() -> None:
    lines = [f"{FRENCH} {number}" for number in range(9_000)] + [f"{ENGLISH} {number}" for number in range(1_000)]
    started = time.process_time()
    found = confusion("\n".join(lines), get("fr"))
    assert time.process_time() - started < 10
    assert found.right + found.wrong + found.undecided <= MOST_LINES
    assert 0.08 < found.wrong / MOST_LINES < 0.12


@pytest.mark.parametrize(
    "text", ["a" * 5_000_000, "@" * 2_000_000, "<a" * 1_000_000, "`a" * 1_000_000, "aa@" * 500_000]
)
def test_a_line_of_megabytes_takes_no_longer(text: str) -> None:
    started = time.process_time()
    for code in ("fr", "ja"):
        confusion(text, get(code))
        line_pass_rate(text, get(code))
        word_pass_rate(text, get(code))
    assert time.process_time() - started < 5


@given(st.text(), st.sampled_from(("fr", "ar", "ja", "th", "bem", "en")))
def test_any_text_has_an_account(text: str, code: str) -> None:
    found = confusion(text, get(code))
    assert min(found.right, found.wrong, found.undecided) >= 0
    assert (found.foreign is None) == (get(code).script == "Latn")
    assert found.line_accuracy is None or 0 <= found.line_accuracy <= 1
    assert 0 <= line_pass_rate(text, get(code)) <= 1
    assert 0 <= word_pass_rate(text, get(code)) <= 1
