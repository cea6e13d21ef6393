"""BLEU, spBLEU and chrF++ equal sacrebleu's command line on real sentences in many scripts."""

import csv
import json
import lzma
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from tests.conftest import shared_data
from xllms.errors import InputError
from xllms.languages import all_languages, get
from xllms.metrics import translation
from xllms.metrics.item_statistics import by_item, interval, paired, value
from xllms.metrics.text import chrf as plain_chrf
from xllms.metrics.translation import bleu, bleu_score, bleu_tokenizer, chrf, chrf_score, spbleu, spbleu_model

# What is scored, against what: neighbours whose sentences share words.
NEIGHBOURS = [
    ("nno_Latn", "nob_Latn"),
    ("glg_Latn", "por_Latn"),
    ("yue_Hant", "zho_Hant"),
    ("ukr_Cyrl", "bel_Cyrl"),
    ("arz_Arab", "arb_Arab"),
    ("mag_Deva", "hin_Deva"),
]
UNSPACED = ["jpn_Jpan", "kor_Hang", "tha_Thai", "lao_Laoo", "khm_Khmr", "mya_Mymr", "bod_Tibt", "zho_Hans"]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def rows(path: Path) -> Iterator[dict[str, str]]:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)


@cache
def flores() -> list[dict[str, str]]:
    return list(rows(shared_data("flores200", "dev510.tsv.xz")))


def sentences(code: str, count: int = 60) -> list[str]:
    found = [row[code] for row in flores()][:count]
    assert len(found) == count
    return found


def spoilt(texts: list[str]) -> list[str]:
    """The sentences with a piece of each missing or doubled; one is empty."""
    draw = random.Random(0)
    found = []
    for text in texts:
        start, end = sorted(draw.sample(range(len(text)), 2))
        found.append(text[:start] + text[end:] if draw.random() < 0.5 else text[:end] + text[start:])
    return [*found[:-1], ""]


def command_line(outputs: list[str], references: list[str], folder: Path, *options: str) -> str:
    """What `sacrebleu` prints."""
    for name, lines in (("outputs", outputs), ("references", references)):
        (folder / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "sacrebleu", str(folder / "references"), "-i", str(folder / "outputs"), *options],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SACREBLEU": str(folder)},
    )
    return done.stdout.strip()


def check_both(outputs: list[str], references: list[str], code: str, folder: Path) -> None:
    shown = ("--score-only", "--width", "10")
    tokenizer = bleu_tokenizer(get(code))
    theirs = command_line(outputs, references, folder, "-m", "bleu", "--tokenize", tokenizer, *shown)
    assert 0.5 < float(theirs) < 99
    assert f"{value(bleu(outputs, references, get(code))):.10f}" == theirs
    theirs = command_line(outputs, references, folder, "-m", "chrf", "--chrf-word-order", "2", *shown)
    assert 0.5 < float(theirs) < 99
    assert f"{value(chrf(outputs, references)):.10f}" == theirs


@pytest.mark.parametrize(("written", "code"), NEIGHBOURS)
def test_neighbours_score_as_on_sacrebleus_command_line(written: str, code: str, tmp_path: Path) -> None:
    check_both(sentences(written), sentences(code), code, tmp_path)


@pytest.mark.parametrize("code", UNSPACED)
def test_scripts_without_spaces_score_as_on_sacrebleus_command_line(code: str, tmp_path: Path) -> None:
    check_both(spoilt(sentences(code)), sentences(code), code, tmp_path)


def test_human_translations_score_as_on_sacrebleus_command_line(tmp_path: Path) -> None:
    """Tatoeba's short sentences: what two languages make of the same English one."""
    by_language: dict[str, dict[str, str]] = {}
    for row in rows(shared_data("tatoeba", "tatoeba_v1_eng_pairs.tsv.xz")):
        by_language.setdefault(row["lang"], {})[row["eng"]] = row["text"]
    for written, code, tag in (("nds", "deu_Latn", "deu"), ("por", "spa_Latn", "spa"), ("ina", "fra_Latn", "fra")):
        both = [eng for eng in by_language[written] if eng in by_language[tag]]
        assert len(both) > 40
        outputs, references = ([by_language[one][eng] for eng in both] for one in (written, tag))
        check_both(outputs, references, code, tmp_path)


def test_signatures_are_sacrebleus(tmp_path: Path) -> None:
    outputs, references = sentences("nno_Latn"), sentences("nob_Latn")
    theirs = json.loads(command_line(outputs, references, tmp_path, "-m", "bleu", "chrf", "--chrf-word-order", "2"))
    assert [one["name"] for one in theirs] == ["BLEU", "chrF2++"]
    assert bleu(outputs, references, get("nob_Latn")).signature == theirs[0]["signature"]
    assert chrf(outputs, references).signature == theirs[1]["signature"]
    assert "tok:char" in bleu(sentences("tha_Thai"), sentences("tha_Thai"), get("tha_Thai")).signature


def test_spbleu_scores_as_on_sacrebleus_command_line(tmp_path: Path) -> None:
    """With a SentencePiece model of the test's own where FLORES-200's would lie."""
    sentencepiece = pytest.importorskip("sentencepiece")
    references = sentences("tha_Thai") + sentences("swh_Latn")
    outputs = spoilt(references)
    (tmp_path / "models").mkdir()
    model = tmp_path / "models" / spbleu_model().name
    with model.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(references), model_writer=file, vocab_size=400, minloglevel=2
        )
    theirs = command_line(
        outputs, references, tmp_path, "-m", "bleu", "--tokenize", "flores200", "--score-only", "-w", "10"
    )
    code = (
        "import json, sys\n"
        "from xllms.metrics.item_statistics import value\n"
        "from xllms.metrics.translation import spbleu\n"
        "stats = spbleu(*json.load(sys.stdin))\n"
        "print(f'{value(stats):.10f}', stats.signature)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([outputs, references]),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SACREBLEU": str(tmp_path)},
    )
    ours, signature = done.stdout.split()
    assert ours == theirs
    assert "tok:flores200" in signature


def test_spbleu_without_its_model_says_where_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sacrebleu.utils.SACREBLEU_DIR", str(tmp_path))
    with pytest.raises(InputError, match="FLORES-200's SentencePiece model") as caught:
        spbleu(["a"], ["a"])
    assert str(tmp_path / "models" / "flores200sacrebleuspm") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_language_has_its_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {language.code: bleu_tokenizer(language) for language in all_languages()}
    assert found["zho_Hans"] == found["zho_Hant"] == found["yue_Hant"] == "zh"
    assert found["deu_Latn"] == found["hin_Deva"] == found["arb_Arab"] == found["amh_Ethi"] == "13a"
    assert {code for code, tokenizer in found.items() if tokenizer == "char"} - {"jpn_Jpan", "kor_Hang"} == {
        "tha_Thai",
        "lao_Laoo",
        "khm_Khmr",
        "mya_Mymr",
        "shn_Mymr",
        "bod_Tibt",
        "dzo_Tibt",
    }
    monkeypatch.setattr(translation, "_installed", lambda *modules: True)
    assert [bleu_tokenizer(get(code)) for code in ("jpn_Jpan", "kor_Hang")] == ["ja-mecab", "ko-mecab"]
    monkeypatch.setattr(translation, "_installed", lambda *modules: False)
    assert [bleu_tokenizer(get(code)) for code in ("jpn_Jpan", "kor_Hang")] == ["char", "char"]


def test_thai_is_scored_by_its_characters() -> None:
    """13a takes a clause for a word: one letter of twenty left out, and hardly a word is right."""
    references = sentences("tha_Thai")
    outputs = ["".join(letter for at, letter in enumerate(text) if at % 20 != 10) for text in references]
    assert BLEU(tokenize="13a").corpus_score(outputs, [references]).score < 20
    assert value(bleu(outputs, references, get("tha_Thai"))) > 70


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=6))
@settings(deadline=None)
def test_any_texts_score_as_in_sacrebleu(pairs: list[tuple[str, str]]) -> None:
    outputs, references = [one for one, _ in pairs], [other for _, other in pairs]
    expected = CHRF(word_order=2).corpus_score(outputs, [references]).score
    assert value(chrf(outputs, references)) == pytest.approx(expected, rel=1e-12)
    expected = BLEU().corpus_score(outputs, [references]).score
    assert value(bleu(outputs, references, get("deu_Latn"))) == pytest.approx(expected, rel=1e-12)


def test_scores_of_many_resamples_are_sacrebleus_one_by_one() -> None:
    draw = np.random.default_rng(0)
    outputs, references = spoilt(sentences("swh_Latn")), sentences("swh_Latn")
    outputs[:20] = sentences("zul_Latn")[:20]
    for stats, score, metric in (
        (bleu(outputs, references, get("swh_Latn")), bleu_score, BLEU()),
        (chrf(outputs, references), chrf_score, CHRF(word_order=2)),
    ):
        sums = stats.rows[draw.integers(60, size=(40, 3))].sum(axis=1)
        expected = [metric._compute_score_from_stats(one.astype(int).tolist()).score for one in sums]
        assert len({round(one, 6) for one in expected}) > 20
        assert score(sums) == pytest.approx(np.array(expected), rel=1e-12)
        assert score(sums.reshape(8, 5, -1)).ravel() == pytest.approx(score(sums))


def test_chrf_is_the_one_of_the_facts() -> None:
    outputs, references = spoilt(sentences("swh_Latn")), sentences("swh_Latn")
    assert value(chrf(outputs, references)) == pytest.approx(plain_chrf(outputs, references), rel=1e-12)


def test_worse_translations_are_told_apart() -> None:
    references = sentences("swh_Latn")
    good, bad = spoilt(references), [" ".join(text.split()[::2]) for text in spoilt(references)]
    for better, worse in (
        (chrf(good, references), chrf(bad, references)),
        (bleu(good, references, get("swh_Latn")), bleu(bad, references, get("swh_Latn"))),
    ):
        found = paired(better, worse)
        assert found.p < 0.01
        assert found.high < 0
        low, high = interval(better)
        assert low < value(better) < high
    assert by_item(chrf(good, references)).argmin() == 59  # the empty one


def test_intervals_and_p_values_are_about_sacrebleus(tmp_path: Path) -> None:
    """Both resample, with draws of their own: its half width and p to within their noise."""
    one, other, references = (sentences(code) for code in ("dan_Latn", "nno_Latn", "nob_Latn"))
    bokmaal = get("nob_Latn")
    (tmp_path / "other").write_text("".join(text + "\n" for text in other), encoding="utf-8")
    shown = ("-m", "bleu", "-f", "json", "--width", "6")
    swaps = ("--paired-ar", "--paired-ar-n", "2000")
    theirs = json.loads(command_line(one, references, tmp_path, str(tmp_path / "other"), *shown, *swaps))
    ours = paired(bleu(one, references, bokmaal), bleu(other, references, bokmaal), draws=2000)
    assert ours.difference == pytest.approx(theirs[1]["BLEU"]["score"] - theirs[0]["BLEU"]["score"])
    assert 0.1 < ours.p < 0.5
    assert ours.p == pytest.approx(theirs[1]["BLEU"]["p_value"], abs=0.05)
    alone = json.loads(command_line(one, references, tmp_path, *shown, "--confidence"))
    low, high = interval(bleu(one, references, bokmaal))
    assert (high - low) / 2 == pytest.approx(alone["confidence_var"], rel=0.15)


def test_outputs_and_references_are_pairs() -> None:
    for outputs, references in (([], []), (["a"], []), (["a"], ["a", "b"])):
        for metric in (lambda one, other: bleu(one, other, get("deu_Latn")), chrf):
            with pytest.raises(ValueError, match="one at least"):
                metric(outputs, references)
