"""ROUGE in English is rouge-score's; in every other script it is neither 0 nor blind."""

import csv
import itertools
import json
import lzma
import time
import unicodedata
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import shared_data
from xllms.errors import InputError
from xllms.languages import Language, get
from xllms.metrics import rouge as module
from xllms.metrics.item_statistics import value
from xllms.metrics.rouge import common_subsequence, rouge, tokens

NAMES = ["rouge1", "rouge2", "rougeL"]
ENGLISH = get("eng_Latn")


@cache
def declaration() -> dict[Language, list[str]]:
    """Articles of the Universal Declaration of Human Rights in the languages of FLORES-101."""
    articles: dict[str, list[str]] = {}
    with lzma.open(shared_data("udhr", "udhr_articles.tsv.xz"), "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if len(row["text"]) > 20:
                articles.setdefault(row["code"], []).append(row["text"])
    with shared_data("languages102.tsv").open(encoding="utf-8") as file:
        codes = {row["flores101"]: row["flores200"] for row in csv.DictReader(file, delimiter="\t")}
    mapping = json.loads(shared_data("udhr", "flores101_to_udhr.json").read_text(encoding="utf-8"))
    return {get(codes[code]): articles[name] for code, name in mapping.items()}


def scores(outputs: list[str], references: list[str], language: Language) -> list[float]:
    return [value(stats) for stats in rouge(outputs, references, language).values()]


def english_pairs() -> list[tuple[str, str]]:
    """A model's better and worse answer to a prompt, and neighbouring articles of the declaration."""
    rows = json.loads(shared_data("llamafactory_demo", "dpo_en_demo.json").read_text(encoding="utf-8"))[:80]
    answers = [(row["chosen"]["value"][:600], row["rejected"]["value"][:600]) for row in rows]
    articles = declaration()[ENGLISH]
    return [*answers, *itertools.pairwise(articles), ("", "a"), ("...", "..."), ("I'm", "i 'm")]


@pytest.mark.parametrize("stem", [False, True])
def test_english_is_rouge_scores(stem: bool) -> None:
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    scorer = rouge_scorer.RougeScorer(NAMES, use_stemmer=stem)
    pairs = english_pairs()
    assert len(pairs) > 100
    ours = rouge([one for one, _ in pairs], [other for _, other in pairs], ENGLISH, stem=stem)
    theirs = [scorer.score(other, one) for one, other in pairs]
    assert list(ours) == NAMES
    for name in NAMES:
        assert ours[name].rows[:, 0] / 100 == pytest.approx([one[name].fmeasure for one in theirs], abs=1e-12)
        assert 5 < value(ours[name]) < 60


@given(st.text(max_size=60), st.text(max_size=60))
@settings(deadline=None)
def test_any_text_taken_for_english_is_rouge_scores(output: str, reference: str) -> None:
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    theirs = rouge_scorer.RougeScorer(NAMES).score(reference, output)
    ours = rouge([output], [reference], ENGLISH)
    assert [value(ours[name]) / 100 for name in NAMES] == pytest.approx([theirs[name].fmeasure for name in NAMES])


def test_the_same_article_is_100_and_another_far_less_in_every_language() -> None:
    assert len(declaration()) > 90
    for language, articles in declaration().items():
        assert scores(articles, articles, language) == pytest.approx([100, 100, 100]), language.code
        one, two, longest = scores(articles[1:] + articles[:1], articles, language)
        assert 0 < one < 42, language.code
        assert 0 < two < 20, language.code
        assert 0 < longest < 27, language.code


def test_half_an_article_is_half_right_in_every_language() -> None:
    """A half has precision 1 and recall 1/2, so F1 is 2/3; the word that is cut in two takes a little of it."""
    for language, articles in declaration().items():
        one, two, longest = scores([text[: len(text) // 2] for text in articles], articles, language)
        assert 60 <= one < 68, language.code
        assert 55 < two < 68, language.code
        assert 60 <= longest < 68, language.code


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("hin_Deva", "हिन्दी में लिखा।", "हिन्दी में लिखा"),
        ("amh_Ethi", "አማርኛ፣ ቋንቋ።", "አማርኛ ቋንቋ"),
        ("tam_Taml", "தமிழ் மொழி", "தமிழ் மொழி"),
        ("tha_Thai", "ภาษาไทย เพราะ 12 ครั้ง", "ภา ษา ไท ย เพ รา ะ 12 ค รั้ ง"),
        ("lao_Laoo", "ພາສາລາວ ນ້ຳ", "ພາ ສາ ລາ ວ ນ້ຳ"),
        ("khm_Khmr", "ខ្មែរ\u200bកម្ពុជា", "ខ្មែ រ ក ម្ពុ ជា"),
        ("mya_Mymr", "မြန်မာနိုင်ငံ၏ အင်္ဂလိပ်", "မြန် မာ နိုင် ငံ အင်္ဂ လိပ်"),
        ("bod_Tibt", "བོད་སྐད་ཡིན།", "བོད སྐད ཡིན"),
        ("jpn_Jpan", "東京のビルで。", "東 京 の ビ ル で"),
        ("kor_Hang", "한국어 문장이다.", "한국어 문장이다"),
        ("pes_Arab", "می\u200cخواهم، نه", "میخواهم نه"),
        ("deu_Latn", "Er sagt: „Straße“, COVID-19", "er sagt straße covid 19"),
        ("deu_Latn", "Zwei\u200bWörter, ein\u00adziges", "zwei wörter einziges"),
        ("yor_Latn", unicodedata.normalize("NFD", "Èdè Yorùbá"), "èdè yorùbá"),
        ("eng_Latn", "It's 5 o'clock", "it s 5 o clock"),
    ],
)
def test_tokens(code: str, text: str, expected: str) -> None:
    assert tokens(text, get(code)) == expected.split()


def test_no_letter_is_lost() -> None:
    for language, articles in declaration().items():
        if language != ENGLISH:
            text = unicodedata.normalize("NFC", " ".join(articles)).lower()
            kept = [letter for letter in text if unicodedata.category(letter)[0] in "LMN"]
            assert "".join(tokens(text, language)) == "".join(kept), language.code


def test_a_segmenter_may_be_handed_over() -> None:
    def pairs_of_letters(text: str) -> list[str]:
        assert "。" not in text
        return [text[at : at + 2] for at in range(0, len(text), 2)]

    chinese = get("zho_Hans")
    assert tokens("今天天气好。", chinese, segment=pairs_of_letters) == ["今天", "天气", "好"]
    stats = rouge(["今天"], ["今天"], chinese, segment=pairs_of_letters)["rouge1"]
    assert "pairs_of_letters" in stats.signature
    assert rouge(["今天"], ["今天"], chinese)["rouge1"].signature == "tok:letters|stem:no"


words = st.lists(st.sampled_from("abcde"), max_size=30)


@given(words, words)
def test_the_longest_common_subsequence_is_that_of_the_table(one: list[str], other: list[str]) -> None:
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, left in enumerate(one):
        for j, right in enumerate(other):
            table[i + 1][j + 1] = table[i][j] + 1 if left == right else max(table[i][j + 1], table[i + 1][j])
    assert common_subsequence(one, other) == table[-1][-1] == common_subsequence(other, one)


def test_nothing_written_is_0_and_nothing_given_an_error() -> None:
    thai = get("tha_Thai")
    assert scores([""], ["ภาษาไทย"], thai) == scores(["ภาษา"], [""], thai) == [0, 0, 0]
    for outputs, references in (([], []), (["a"], ["a", "b"])):
        with pytest.raises(ValueError, match="one at least"):
            rouge(outputs, references, thai)


def test_stems_without_nltk_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nltk.stem.porter", None)
    module._stemmer.cache_clear()
    with pytest.raises(InputError, match="pip install nltk"):
        tokens("never seen before: xyzzying", ENGLISH, stem=True)


def test_long_texts_take_no_time() -> None:
    """Ten thousand tokens against as many: a table would have 10^8 cells."""
    text = " ".join(declaration()[get("fra_Latn")] * 6)
    assert len(tokens(text, get("fra_Latn"))) > 8_000
    before = time.process_time()
    assert scores([text], [text], get("fra_Latn")) == pytest.approx([100, 100, 100])
    assert time.process_time() - before < 3
