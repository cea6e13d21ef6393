"""Human translations pass the gates; copies, other languages, halves and loops do not."""

import lzma
import shutil
import zlib
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import cache
from random import Random
from string import ascii_lowercase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.conftest import shared_data
from xllms.engines.apertium import ApertiumTranslator
from xllms.errors import InputError
from xllms.instructions.gates import Pair, Reason, noise, passes
from xllms.instructions.similarity import round_trip
from xllms.languages import get, group
from xllms.metrics.evenness import evenness
from xllms.metrics.repetition import compression, phrase_share
from xllms.recipe import ApertiumSettings
from xllms.recipe.gates import GateSettings
from xllms.records import Instruction

CODES = {
    "afr": "afr_Latn", "ara": "arb_Arab", "ben": "ben_Beng", "deu": "deu_Latn", "ell": "ell_Grek", "fin": "fin_Latn",
    "hin": "hin_Deva", "jpn": "jpn_Jpan", "kor": "kor_Hang", "rus": "rus_Cyrl", "spa": "spa_Latn", "swh": "swh_Latn",
    "tam": "tam_Taml", "tha": "tha_Thai", "tur": "tur_Latn", "vie": "vie_Latn",
}  # fmt: skip
DEFAULTS = GateSettings()


@cache
def tatoeba() -> dict[str, list[tuple[str, str]]]:
    """(English, translation) by FLORES code."""
    pairs = defaultdict(list)
    with lzma.open(shared_data("tatoeba", "tatoeba_v1_eng_pairs.tsv.xz"), "rt", encoding="utf-8") as file:
        for line in file:
            language, english, text = line.rstrip("\n").split("\t")
            if language in CODES:
                pairs[CODES[language]].append((english, text))
    assert len(pairs) == len(CODES)
    return pairs


def record(text: str, code: str, **fields: str) -> Instruction:
    values = {"instruction": text, "output": text, "instruction_language": code} | fields
    return Instruction(id="1", language=code, source="t", **values)


def reason(english: str, text: str, code: str, thresholds: GateSettings = DEFAULTS) -> Reason | None:
    return passes(record(english, "eng_Latn"), record(text, code), thresholds, get(code))


def texts(code: str, sentences: int = 8, count: int = 10) -> list[tuple[str, str]]:
    """Longer texts: some sentences each."""
    pairs = Random(0).sample(tatoeba()[code], sentences * count)
    chunks = [pairs[at : at + sentences] for at in range(0, len(pairs), sentences)]
    return [(" ".join(english for english, _ in chunk), " ".join(text for _, text in chunk)) for chunk in chunks]


@pytest.mark.parametrize("code", CODES.values())
def test_human_translations_pass(code: str) -> None:
    pairs = Random(1).sample(tatoeba()[code], min(300, len(tatoeba()[code])))
    refused = [(pair, str(found)) for pair in pairs if (found := reason(*pair, code))]
    assert len(refused) <= 0.02 * len(pairs), refused
    assert [reason(*pair, code) for pair in texts(code)] == [None] * 10


@pytest.mark.parametrize("code", ["deu_Latn", "swh_Latn", "hin_Deva", "jpn_Jpan", "tha_Thai"])
def test_a_copy_a_third_a_loop_and_another_language_are_refused(code: str) -> None:
    for english, text in texts(code):
        assert reason(english, english, code)
        found = reason(english, text[: len(text) // 3], code)
        assert found and found.gate == "length"
        assert reason(english, (text[:20] + " ") * (len(text) // 20), code)
        other = "fin_Latn" if code.endswith("Latn") else "rus_Cyrl"
        assert reason(english, texts(other)[0][1], code)


def test_the_reason_names_gate_field_and_what_was_found() -> None:
    english = "Where is the nearest railway station, please?"
    assert str(reason(english, english, "deu_Latn")) == "residue: instruction: not translated"
    german = "Wo ist bitte der nächste Bahnhof?"
    asked = record(german, "deu_Latn", output="Öffne die Datei.")
    source = record(english, "eng_Latn", output="Open {file} there.")
    assert str(passes(source, asked, DEFAULTS, get("deu"))) == "lost: output: '{file}'"
    spanish = record(german, "deu_Latn", output="El tren sale de la estación a las ocho de la mañana y llega tarde.")
    source = record(english, "eng_Latn", output="The train leaves the station at eight in the morning and is late.")
    found = passes(source, spanish, DEFAULTS, get("deu"))
    assert found and found.gate == "language" and "spa_Latn" in found.detail


def test_lines_left_in_english_are_refused() -> None:
    german = ["Wasche zuerst das Gemüse in kaltem Wasser.", "Schneide danach die Zwiebeln in kleine Würfel."]
    english = [
        "Wash the vegetables in cold water first of all.",
        "Then cut the onions into small cubes with this knife.",
    ]
    source = "\n".join([*english, "Then you put them into the pan.", "Then they should be served hot."])
    assert reason(source, "\n".join([*german, *german]), "deu_Latn") is None
    found = reason(source, "\n".join([*german, *english]), "deu_Latn")
    assert found and found.gate in ("residue", "language")


def test_an_instruction_left_in_english_and_an_output_of_code_are_not_looked_at() -> None:
    code = "def f(x):\n    return x + 1"
    source = record("Write a function that adds one to a number.", "eng_Latn", output=code)
    kept = record("Schreibe eine Funktion, die eins zu einer Zahl addiert.", "deu_Latn", output=code)
    assert passes(source, kept, DEFAULTS, get("deu")) is None
    asked_in_english = record(source.instruction, "eng_Latn").model_copy(
        update={"language": "deu_Latn", "output": "Das hier ist ein ganz gewöhnlicher Satz."}
    )
    english = record(source.instruction, "eng_Latn", output="This is a quite ordinary sentence.")
    assert passes(english, asked_in_english, DEFAULTS, get("deu")) is None


def test_overrides_hold_for_their_language_only() -> None:
    english, short = "A sentence that is of a certain length, as one may see.", "Ein Satz ist das hier, ja."
    strict = GateSettings(overrides={"German": {"length": (0.9, 1.1), "length_margin": 0, "length_slack": 1.0}})
    found = reason(english, short, "deu_Latn", strict)
    assert found and found.gate == "length"
    assert reason(english, short, "deu_Latn") is None
    assert reason(english, "Dit is een zin van een zekere lengte.", "nld_Latn", strict) is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"Germann": {}}, "did you mean German"),
        ({"German": {"max_loss": 1}}, r"overrides.German.max_loss: Extra inputs"),
        ({"German": {"max_lost": 2}}, "less than or equal to 1"),
    ],
)
def test_a_wrong_override_is_named(overrides: dict[str, dict[str, float]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GateSettings(overrides=overrides)


def test_repetition_is_measured() -> None:
    assert phrase_share("ha ha ha ha ha ha ha ha ha") == 1
    assert phrase_share("我很好" * 10) > 0.9
    assert phrase_share("The cat sat on the mat and looked at the other cat for a while.") == 0
    assert compression("short") is None
    loop, text = compression("one and the same " * 20), compression(" ".join(t for t, _ in texts("deu_Latn", 8, 1)))
    assert loop is not None and text is not None and loop < 0.25 < text


NOISE: dict[str, Callable[[Random, int], str]] = {
    "base64": lambda draw, length: b64encode(draw.randbytes(length)).decode()[:length],
    "keyboard": lambda draw, length: "".join(draw.choices(ascii_lowercase + "    ", k=length)),
    "ideographs": lambda draw, length: "".join(chr(draw.randrange(0x4E00, 0x9FA5)) for _ in range(length)),
}


@pytest.mark.parametrize(
    ("kind", "code"), [("base64", "deu_Latn"), ("keyboard", "swh_Latn"), ("ideographs", "zho_Hans")]
)
def test_noise_is_refused(kind: str, code: str) -> None:
    """By the gate alone, as the bounds of length differ by script."""
    only = GateSettings(length_slack=None, language=False, max_foreign=None, max_wrong_lines=None)
    off = only.model_copy(update={"max_evenness": None})
    english = texts("deu_Latn", 20, 1)[0][0]
    for draw in map(Random, range(20)):
        text = NOISE[kind](draw, 400)
        found = reason(english, text, code, only)
        assert found is not None and found.gate == "noise", text
        assert reason(english, text, code, off) is None
        pair = Pair("output", NOISE[kind](draw, 400), text, get("en"), get(code), 0, ())
        assert noise([pair], only) is None  # the source is no better


def test_human_texts_in_84_languages_are_no_noise() -> None:
    """Sentences joined to 100 characters and more; at most one of 1,000 is taken for noise."""
    languages = {one.code[:3]: one for code in ("flores-200", "thirty") for one in group(code)}
    seen: Counter[str] = Counter()
    refused = []
    joined: dict[str, str] = {}
    with lzma.open(shared_data("tatoeba", "tatoeba_v1_eng_pairs.tsv.xz"), "rt", encoding="utf-8") as file:
        for line in file:
            name, _, text = line.rstrip("\n").split("\t")
            joined[name] = f"{joined.get(name, '')} {text}".strip()
            if name in languages and len(joined[name]) >= 100:
                seen[name] += 1
                pair = Pair("output", "", joined.pop(name), get("en"), languages[name], 0, ())
                refused += [(name, pair.target)] if noise([pair], DEFAULTS) else []
    assert len(seen) >= 70 and seen.total() > 10_000
    assert len(refused) <= 0.001 * seen.total(), refused


def test_evenness_is_measured() -> None:
    assert evenness("a" * 99) is None
    assert evenness("a" * 100) == evenness(" " * 100) == 0
    assert evenness("ab \n" * 50) == pytest.approx(1)
    assert evenness("aaab" * 50) == pytest.approx(0.8112781)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "ab", "我", "b b a", "x y z w"]), max_size=60), st.floats(0, 1))
def test_a_share_that_matters_is_the_same_whatever_does_not_matter(words: list[str], above: float) -> None:
    for text in (" ".join(words), "".join(words) * 4):
        share = phrase_share(text)
        assert phrase_share(text, above) == share if share > above else phrase_share(text, above) <= above


@settings(deadline=None)
@given(st.text(min_size=100, max_size=400))
def test_compression_numbers_characters_as_they_come(text: str) -> None:
    numbers = {character: number for number, character in enumerate(dict.fromkeys(text))}
    raw = bytes(numbers[character] for character in text) if len(numbers) <= 256 else None
    if raw is not None:
        assert compression(text) == len(zlib.compress(raw, 6)) / len(raw)


@pytest.mark.skipif(shutil.which("apertium") is None, reason="needs apertium and apertium-eng-spa")
def test_a_round_trip_through_apertium_scores_what_comes_back() -> None:
    sources = ["The house is red.", "The house is red."]
    translator = ApertiumTranslator(ApertiumSettings())
    good, bad = round_trip(sources, ["La casa es roja.", "El perro duerme."], translator, get("eng"), get("spa"))
    assert good > 90 and bad < 50
    with pytest.raises(InputError, match="apertium does not translate from Thai to English"):
        round_trip(sources, sources, translator, get("eng"), get("tha"))
