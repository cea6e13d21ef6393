"""The real Apertium: ways between languages, order, line breaks, and what it says when it is not there."""

import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import shared_data
from xllms.engines.apertium import INSTALL, ApertiumTranslator
from xllms.engines.protocol import EngineError
from xllms.languages import get
from xllms.recipe.engines import ApertiumSettings

ENGLISH, SPANISH = get("English"), get("Spanish")
needs_apertium = pytest.mark.skipif(shutil.which("apertium") is None, reason=f"Apertium is absent: {INSTALL}")


@pytest.fixture(scope="module")
def apertium() -> ApertiumTranslator:
    return ApertiumTranslator(ApertiumSettings())


@needs_apertium
@pytest.mark.parametrize(
    ("target", "route"),
    [
        ("Spanish", ("eng-spa",)),
        ("Catalan", ("eng-cat",)),
        ("Galician", ("en-gl",)),
        ("Esperanto", ("en-eo",)),
        ("Croatian", ("eng-hbs_HR",)),
        ("Bosnian", ("eng-hbs_BS",)),
        ("Portuguese", ("eng-spa", "es-pt")),
        ("Italian", ("eng-spa", "spa-ita")),
        ("French", ("eng-spa", "es-fr")),
        ("Asturian", ("eng-spa", "spa-ast")),
        ("Occitan", ("eng-spa", "es-oc")),
        ("Swahili", ()),
        ("Serbian", ()),  # the mode writes Latin letters, the registry's Serbian is Cyrillic
        ("English", ()),
    ],
)
def test_the_way_is_direct_or_through_spanish(
    apertium: ApertiumTranslator, target: str, route: tuple[str, ...]
) -> None:
    assert apertium.route(ENGLISH, get(target)) == route
    assert apertium.supports(ENGLISH, get(target)) == bool(route)


@needs_apertium
def test_a_text_is_said_in_the_other_language(apertium: ApertiumTranslator) -> None:
    assert apertium.translate(["The house is red."], ENGLISH, SPANISH) == ["La casa es roja."]
    assert apertium.translate(["The house is red."], ENGLISH, get("Portuguese")) == ["A casa é vermelha."]
    assert apertium.translate(["La domo estas ruĝa."], get("Esperanto"), ENGLISH) == ["The house is red."]


@needs_apertium
def test_words_stay_in_their_line_and_lines_in_their_text(apertium: ApertiumTranslator) -> None:
    """Without a wall between lines, `the` and `big house` change places over the break."""
    texts = ["the\nbig house\r\n\n  - I see a red [house]\t\n", "", " \n", "hello world", "a\x00b\u2028big house"]
    got = apertium.translate(texts, ENGLISH, SPANISH)
    assert got[0].split("\n")[1:] == ["Casa grande\r", "", "  - I ve un rojo [casa]\t", ""]
    assert got[1:4] == ["", " \n", "hola Mundo"]
    assert got[4].split("\u2028")[1] == "Casa grande"


@needs_apertium
@settings(max_examples=12, deadline=None)
@given(st.lists(st.text(), max_size=30))
def test_whatever_goes_in_comes_out_in_as_many_texts_and_lines(texts: list[str]) -> None:
    got = ApertiumTranslator(ApertiumSettings()).translate(texts, ENGLISH, SPANISH)
    assert [text.count("\n") for text in got] == [text.count("\n") for text in texts]


@needs_apertium
def test_real_instructions_with_code_keep_their_lines(apertium: ApertiumTranslator) -> None:
    """More lines than one process is given: the pieces come together in order."""
    rows = json.loads(shared_data("llamafactory_demo", "alpaca_en_demo.json").read_text(encoding="utf-8"))
    texts = [row["instruction"] for row in rows] + [row["output"] for row in rows[:150]]
    before = apertium.usage.requests
    got = apertium.translate(texts, ENGLISH, get("Croatian"))
    assert len(rows) > 900 and apertium.usage.requests - before == len(texts)
    for text, translation in zip(texts, got, strict=True):
        assert [bool(line.strip()) for line in text.split("\n")] == [bool(s.strip()) for s in translation.split("\n")]
    changed = sum(text != translation for text, translation in zip(texts, got, strict=True))
    assert changed > 0.95 * len(texts)
    # Numbers are carried over, so they show that each translation stands at its place.
    same = [re.findall(r"\d", text) == re.findall(r"\d", said) for text, said in zip(texts, got, strict=True)]
    assert sum(same) > 0.97 * len(texts)


@needs_apertium
def test_no_way_is_an_error_that_names_both(apertium: ApertiumTranslator) -> None:
    with pytest.raises(EngineError, match="no way from English to Swahili"):
        apertium.translate(["Hello"], ENGLISH, get("Swahili"))


def test_a_missing_command_says_how_to_install_it() -> None:
    with pytest.raises(EngineError, match="no-such-apertium: no such command; install Apertium: `apt-get install"):
        ApertiumTranslator(ApertiumSettings(command="no-such-apertium")).supports(ENGLISH, SPANISH)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("echo only one line", "2 lines went in and 1 came out"),
        ("echo 'Error: damaged dictionary' >&2; exit 1", "failed with status 1: Error: damaged dictionary"),
    ],
)
def test_a_damaged_pair_is_an_error(tmp_path: Path, body: str, message: str) -> None:
    command = tmp_path / "apertium"
    command.write_text(f'#!/bin/sh\nif [ "$1" = -l ]; then echo "  eng-spa"; exit; fi\ncat > /dev/null\n{body}\n')
    command.chmod(0o755)
    broken = ApertiumTranslator(ApertiumSettings(command=str(command)))
    with pytest.raises(EngineError, match=message):
        broken.translate(["One.", "Two."], ENGLISH, SPANISH)
