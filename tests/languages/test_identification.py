import csv
import lzma
import random
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from babel import Locale
from babel.dates import format_date
from babel.lists import format_list
from hypothesis import given, settings
from hypothesis import strategies as st

from xllms.languages import Language, get, group
from xllms.languages.identification import KNOWN, Verdict, _mostly_unknown, detect, identify
from xllms.languages.vocabulary import speakers, words

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
COUNTRIES = ("DE", "KE", "FR", "GR", "NO", "JP", "EG", "ES", "IN", "ZA", "MA", "TR", "PL", "BR", "US", "GB")


def territories(language: Language, count: int, seed: int) -> str:
    locale = Locale.parse(language.cldr)
    codes = random.Random(seed).sample(COUNTRIES, count)
    return str(format_list([locale.territories[code] for code in codes], locale=locale))


def full_date(language: Language, seed: int) -> str:
    random_day = random.Random(seed)
    day = date(random_day.randint(1950, 2030), random_day.randint(1, 12), random_day.randint(1, 28))
    return str(format_date(day, "full", locale=Locale.parse(language.cldr)))


@pytest.fixture(scope="module")
def with_cldr() -> list[Language]:
    languages = [language for language in group("hundred") if language.cldr]
    assert len(languages) == 98
    return languages


@pytest.fixture(scope="module")
def flores() -> dict[str, list[str]]:
    path = DATA / "flores200" / "dev510.tsv.xz"
    if not path.exists():
        pytest.skip("needs flores200/dev510.tsv.xz in ../shared/data")
    with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    header, *sentences = lines
    return {code: [line[column] for line in sentences] for column, code in enumerate(header) if column}


@pytest.mark.parametrize(
    ("text", "name", "status", "found"),
    [
        ("Ujerumani, Kenya na Ufaransa", "Swahili", "right", "swh_Latn"),
        ("Germany, Kenya, and France", "Swahili", "wrong", "eng_Latn"),
        ("Allemagne, Kenya et France", "Swahili", "wrong", "fra_Latn"),
        ("Monday, 12 February 2024", "Swahili", "wrong", "eng_Latn"),
        ("The capital of Kenya is Nairobi.", "Swahili", "wrong", "eng_Latn"),
        ("Kenya", "Swahili", "undecided", None),
        ("Germany and Japan", "Hindi", "wrong", "eng_Latn"),
        ("जर्मनी और जापान", "Hindi", "right", "hin_Deva"),
        ("Германия", "Greek", "wrong", None),
        ("ドイツ", "Japanese", "right", "jpn_Jpan"),
        ("日本", "Japanese", "undecided", None),
        ("ドイツ", "Chinese", "wrong", "jpn_Jpan"),
        ("德国和法国", "zh-Hans", "right", "zho_Hans"),
        ("德國和法國", "zh-Hans", "wrong", "zho_Hant"),
        ("德國和法國", "zh-Hant", "right", "zho_Hant"),
        ("中文", "zh-Hant", "undecided", None),
        ("독일", "Korean", "right", "kor_Hang"),
        ("เยอรมนี", "Thai", "right", "tha_Thai"),
        ("Δευτέρα", "Thai", "wrong", "ell_Grek"),
        ("12.03.2024", "Swahili", "undecided", None),
        ("", "Swahili", "empty", None),
        (" \n\t ", "Swahili", "empty", None),
    ],
)
def test_verdicts_on_short_answers(text: str, name: str, status: str, found: str | None) -> None:
    verdict = identify(text, get(name))
    assert verdict.status == status, verdict
    assert found is None or verdict.found == found
    assert verdict.reason


def test_close_relatives_are_not_accused_of_each_other() -> None:
    text = "Saya pergi ke pasar untuk membeli sayur-sayuran dan buah-buahan segar."
    assert identify(text, get("zsm_Latn")).status != "wrong"
    text = "Danas je lijep dan i idemo u grad sa svojim prijateljima."
    for code in ("bos_Latn", "hrv_Latn"):
        assert identify(text, get(code)).status != "wrong"


def test_right_answers_made_of_cldr_are_hardly_ever_called_wrong(with_cldr: list[Language]) -> None:
    verdicts: Counter[str] = Counter()
    for language in with_cldr:
        for seed in range(3):
            for text in (
                territories(language, 2, seed),
                territories(language, 3, seed),
                full_date(language, seed),
            ):
                verdicts[identify(text, language).status] += 1
    decided = verdicts["right"] + verdicts["wrong"]
    assert verdicts.total() == 98 * 9
    assert verdicts["wrong"] < 0.01 * decided
    assert decided > 0.9 * verdicts.total()


def test_english_lists_and_dates_are_caught_for_latin_languages(with_cldr: list[Language]) -> None:
    latin = [language for language in with_cldr if language.script == "Latn"]
    assert len(latin) > 50
    english = get("English")
    lists = Counter(identify(territories(english, 3, n), language).status for n, language in enumerate(latin))
    dates = Counter(identify(full_date(english, n), language).status for n, language in enumerate(latin))
    assert lists["wrong"] > 0.75 * len(latin), lists
    assert dates["wrong"] > 0.75 * len(latin), dates
    assert lists["right"] + dates["right"] == 0


def test_flores_sentences_are_hardly_ever_called_wrong(flores: dict[str, list[str]]) -> None:
    verdicts = Counter(
        identify(text, language).status for language in group("hundred") for text in flores[language.code][100:106]
    )
    assert verdicts.total() == 606
    assert verdicts["wrong"] < 0.01 * (verdicts["right"] + verdicts["wrong"])
    assert verdicts["right"] > 0.8 * verdicts.total()


def test_english_sentences_are_caught_for_every_language(flores: dict[str, list[str]]) -> None:
    verdicts = Counter(
        identify(text, language).status for language in group("hundred") for text in flores["eng_Latn"][50:53]
    )
    assert verdicts.total() == 303
    assert verdicts["wrong"] > 0.95 * verdicts.total()
    assert verdicts["right"] == 0


def test_detect_names_the_language_of_a_sentence(flores: dict[str, list[str]]) -> None:
    for code in (
        "eng_Latn",
        "fra_Latn",
        "swh_Latn",
        "hin_Deva",
        "tha_Thai",
        "jpn_Jpan",
        "zho_Hans",
        "zho_Hant",
    ):
        assert detect(flores[code][7]) == code
    assert detect("1234") is None


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_gets_a_verdict(text: str) -> None:
    for code in ("swh_Latn", "zho_Hans", "arb_Arab", "umb_Latn"):
        verdict = identify(text, get(code))
        assert isinstance(verdict, Verdict)
        assert (verdict.status == "empty") == (not text.strip())


def test_a_text_that_is_left_to_pycld2_early_has_too_few_words_of_any_language(
    with_cldr: list[Language], flores: dict[str, list[str]]
) -> None:
    draw, left_early = random.Random(2), 0
    for language in with_cldr:
        names = list(Locale.parse(language.cldr).territories.values())
        for sentence in flores[language.code][:4]:
            text = " ".join([*draw.sample(names, 4), *sentence.split()[: draw.randint(0, 12)]])
            if _mostly_unknown(text, language.script):
                left_early += 1
                index, found = speakers(language.script), words(text)
                letters = Counter(one for word in found for one in index.get(word, ()) for _ in word)
                assert max(letters.values(), default=0) < KNOWN * sum(map(len, found))
    assert left_early > 50


def test_control_characters_and_lone_surrogates_do_no_harm() -> None:
    assert identify("Ujerumani\x00 na\x07 Ufaransa\ud800", get("sw")).status == "right"
