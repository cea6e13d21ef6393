"""Benchmark texts in training records: seeded ones are found, and real training data hardly ever are accused."""

import json
import lzma
import os
import pickle
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.conftest import shared_data
from tests.instructions.test_duplicates import flores
from xllms.errors import InputError
from xllms.instructions.benchmark_texts import READERS, absent_benchmarks, benchmark_texts
from xllms.instructions.contamination import (
    FIELDS,
    ContaminationReport,
    Hit,
    NgramIndex,
    build_index,
)
from xllms.instructions.duplicates import normalise
from xllms.recipe.cleaning import ContaminationSettings
from xllms.recipe.evaluation import BENCHMARKS
from xllms.records import Instruction

DEFAULT = ContaminationSettings()


def record(instruction: str, *, more: str = "", output: str = "-", language: str = "eng_Latn") -> Instruction:
    return Instruction(id="r", instruction=instruction, input=more, output=output, language=language, source="test")


def alpaca(name: str) -> list[Instruction]:
    path = shared_data("llamafactory_demo", f"alpaca_{name}_demo.json")
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [
        Instruction(id=f"{name}{number}", language=name, source="alpaca", **{field: row[field] for field in FIELDS})
        for number, row in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def texts() -> list[tuple[str, str]]:
    return list(benchmark_texts(shared_data("flores200").parent))


@pytest.fixture(scope="module")
def index(texts: list[tuple[str, str]]) -> NgramIndex:
    return build_index(texts, DEFAULT)


def test_every_benchmark_at_hand_is_read(texts: list[tuple[str, str]]) -> None:
    counts = Counter(name for name, _ in texts)
    folder = shared_data("flores200").parent
    assert counts["flores"] == 510 * 205
    assert counts["mgsm"] == 11 * 250
    assert counts["xcopa"] == 3 * sum(len(p.read_text().splitlines()) for p in folder.glob("xcopa/*/*.jsonl"))
    assert counts["self_instruct"] == 3 * 252
    assert counts["x_alpacaeval"] == 13 * 805
    assert counts["paws_x"] > 2 * 9 * 1900
    assert counts["language_confusion"] > 6000
    assert absent_benchmarks(folder) == ("belebele", "global_mmlu", "xl_sum")


def test_every_benchmark_of_the_evaluation_is_searched_for() -> None:
    assert set(BENCHMARKS) - set(READERS) == {"facts"}  # the run's own held-out split


def test_benchmarks_that_are_not_at_hand_are_read_in_their_publishers_form(tmp_path: Path) -> None:
    rows = {
        "belebele/swh_Latn.jsonl": {
            "flores_passage": "p",
            "question": "q",
            **{f"mc_answer{n}": "a" for n in range(1, 5)},
        },
        "global_mmlu/sw/test.jsonl": {"question": "q", **{f"option_{letter}": "o" for letter in "abcd"}},
        "xl_sum/swahili_test.jsonl": {"id": "1", "url": "u", "title": "t", "summary": "s", "text": "x"},
    }
    for name, row in rows.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(json.dumps(row) + "\n")
    (tmp_path / "flores" / "devtest").mkdir(parents=True)
    (tmp_path / "flores" / "devtest" / "swh_Latn.devtest").write_text("Habari.\nNjema.\n")
    assert Counter(name for name, _ in benchmark_texts(tmp_path)) == {
        "flores": 2,
        "belebele": 6,
        "global_mmlu": 5,
        "xl_sum": 3,
    }


@pytest.mark.parametrize("code", ["eng_Latn", "amh_Ethi", "tha_Thai", "zho_Hans"])
def test_a_seeded_sentence_is_found_in_whatever_field_it_stands(index: NgramIndex, code: str) -> None:
    draw = random.Random(code)
    sentences = [text for text in flores(code)[code] if len(text) > 100 or (code == "zho_Hans" and len(text) > 40)]
    for sentence in draw.sample(sentences, 40):
        field = draw.choice(FIELDS)
        text = f"1234 {sentence.upper().replace('.', ' !')}  5678"
        hit = index.find(record("?", language=code).model_copy(update={field: text}))
        assert hit is not None, sentence
        assert (hit.benchmark, hit.field, hit.language, hit.id) == ("flores", field, code, "r")
        assert normalise(hit.matched)[:20] in normalise(text)
        assert hit.share > 0.5


@pytest.mark.parametrize("code", ["eng_Latn", "amh_Ethi", "tha_Thai", "zho_Hans"])
def test_half_a_sentence_is_found_where_it_is_long_enough(index: NgramIndex, code: str) -> None:
    sentence = max(flores(code)[code], key=len)
    half = sentence[: len(sentence) // 2]
    hit = index.find(record(f"Explain this to me, please: {half}", language=code))
    assert hit is not None
    assert normalise(hit.matched) in normalise(half)
    assert index.find(record(f"Explain this to me, please: {sentence[:12]}", language=code)) is None


def test_a_short_benchmark_text_counts_as_a_sentence_of_its_own(index: NgramIndex) -> None:
    alone = record("What happened next?", more="Premise: The man turned on the faucet. Choose!")
    hit = index.find(alone)
    assert hit is not None
    assert (hit.benchmark, hit.matched, hit.field) == ("xcopa", "The man turned on the faucet", "input")
    within = record("Yesterday the man turned on the faucet of his neighbour")
    assert index.find(within) is None
    thai = record("ช่วยแปล: ผู้ชายเปิดก๊อกนํ้า ขอบคุณ", language="tha_Thai")
    assert index.find(thai) is not None


def test_every_instruction_of_the_benchmark_itself_is_found(index: NgramIndex) -> None:
    path = shared_data("self_instruct", "user_oriented_instructions.jsonl")
    instructions = [json.loads(line)["instruction"] for line in path.open(encoding="utf-8")]
    long = [record(text) for text in instructions if len(text.split()) > 7]
    assert len(long) > 200
    assert [row.instruction for row, hit in index.find_all(long) if hit is None] == []


def test_real_training_data_are_hardly_ever_accused(index: NgramIndex, texts: list[tuple[str, str]]) -> None:
    rows = [*alpaca("en"), *alpaca("zh")]
    assert len(rows) == 1999
    hits = [hit for _, hit in index.find_all(rows) if hit]
    everything = "\n".join(normalise(text) for _, text in texts)
    assert len(hits) < 0.005 * len(rows)
    assert all(normalise(hit.matched) in everything for hit in hits)


def test_the_declaration_and_the_seed_tasks_are_clean(index: NgramIndex) -> None:
    with lzma.open(shared_data("udhr", "udhr_articles.tsv.xz"), "rt", encoding="utf-8", newline="\n") as file:
        articles = [line.rstrip("\n").split("\t") for line in file][1:]
    assert len(articles) > 10_000
    rows = [record(article[4] or "-", language=article[0]) for article in articles]
    for line in shared_data("self_instruct", "seed_tasks.en.jsonl").open(encoding="utf-8"):
        task = json.loads(line)
        one = task["instances"][0]
        rows.append(record(task["instruction"], more=one["input"], output=one["output"]))
    hits = [hit for _, hit in index.find_all(rows) if hit]
    assert len(hits) <= 2, hits


def test_a_share_can_be_asked_for() -> None:
    sentence = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    strict = build_index([("counting", sentence)], ContaminationSettings(share=0.5))
    assert strict.find(record(sentence)) is not None
    assert strict.find(record(f"{sentence} {'and so on ' * 20}")) is None


UNITS = st.sampled_from(["a", "b", "c", "ሀ", "d."])
THAI = st.text(alphabet="กขค", max_size=30)


@settings(max_examples=300, deadline=None)
@given(item=st.lists(UNITS, min_size=1, max_size=9), text=st.lists(UNITS, min_size=1, max_size=20))
def test_words_match_as_lists_of_strings_do(item: list[str], text: list[str]) -> None:
    chosen = ContaminationSettings(ngram=4, whole=4)
    hit = build_index([("b", " ".join(item))], chosen).find(record(" ".join(text)))
    bare, mine = [unit.strip(".") for unit in item], [unit.strip(".") for unit in text]
    grams = {tuple(bare[at : at + 4]) for at in range(len(bare) - 3)}
    found = [at for at in range(len(mine) - 3) if tuple(mine[at : at + 4]) in grams]
    assert (hit is not None) == bool(found)
    if hit:
        covered = {at + step for at in found for step in range(4)}
        assert hit.share == pytest.approx(len(covered) / len(mine))


@settings(max_examples=300, deadline=None)
@given(item=THAI, text=THAI)
def test_characters_match_as_strings_do(item: str, text: str) -> None:
    chosen = ContaminationSettings(ngram_characters=5, whole_characters=5)
    hit = build_index([("b", item)], chosen).find(record(f"?{text}"))
    assert (hit is not None) == any(item[at : at + 5] in text for at in range(len(item) - 4))


@given(texts=st.lists(st.text(max_size=60), max_size=8))
@settings(max_examples=100, deadline=None)
def test_no_text_is_too_odd(texts: list[str]) -> None:
    index = build_index([("odd", text) for text in texts], ContaminationSettings(whole=2, ngram=3))
    assert list(index.find_all([record(f"?{text}") for text in texts]))[: len(texts)] is not None
    assert len(index.hashes) == len(index.owner) == len(np.unique(index.hashes))


def test_the_index_holds_no_text_and_few_bytes(index: NgramIndex) -> None:
    sentence = flores("eng_Latn")["eng_Latn"][0]
    dump = pickle.dumps(index)
    assert sentence[:20].encode() not in dump
    assert b"xcopa" in dump
    assert len(index.hashes) > 1_000_000
    assert index.size < 20 * len(index.hashes)
    assert pickle.loads(dump).find(record(sentence)) == index.find(record(sentence))


def test_an_empty_index_finds_nothing() -> None:
    index = build_index([], DEFAULT)
    assert index.find(record("The man turned on the faucet. " * 5)) is None


def test_hashes_are_the_same_in_every_process() -> None:
    code = (
        "import hashlib\n"
        "from xllms.instructions.contamination import build_index\n"
        "from xllms.recipe.cleaning import ContaminationSettings\n"
        "index = build_index([('a', 'one two three four five six'), ('b', '人人生而自由在尊严和权利上')],"
        " ContaminationSettings())\n"
        "print([hex(key) for key in index.hashes.tolist()])\n"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert made == {"['0x977056cf9301cfa', '0xbf87dac1ef6b46c4']"}  # noted once: the same on every machine


def test_reports_of_units_add_up() -> None:
    def hit(number: int, field: str = "input") -> Hit:
        return Hit(f"r{number}", "swh_Latn", field, "xcopa", "text", 1.0)

    one, other = ContaminationReport(absent=("mgsm",)), ContaminationReport()
    for number in range(4):
        one.add(hit(number))
        other.add(hit(number + 4))
    other.add(hit(9, "output"))
    one.merge(other)
    cell = {"benchmark": "xcopa", "language": "swh_Latn"}
    assert json.loads(json.dumps(one.to_json())) == {
        "absent": ["mgsm"],
        "found": [
            {**cell, "field": "input", "records": 8, "ids": ["r0", "r1", "r2", "r3", "r4"]},
            {**cell, "field": "output", "records": 1, "ids": ["r9"]},
        ],
    }


def test_absent_files_are_named_and_broken_ones_refused(tmp_path: Path) -> None:
    (tmp_path / "mgsm").mkdir()
    (tmp_path / "mgsm" / "mgsm_sw.tsv").write_text("Bata wa Janet hutaga mayai 16 kwa siku\t18\n", encoding="utf-8")
    assert list(benchmark_texts(tmp_path)) == [("mgsm", "Bata wa Janet hutaga mayai 16 kwa siku")]
    assert set(absent_benchmarks(tmp_path)) == set(READERS) - {"mgsm"}
    cut = lzma.compress(b"line\teng_Latn\n1\tA sentence.\n" * 900)[:-30]
    for name, content in (
        ("flores200/dev510.tsv.xz", cut),
        ("xcopa/sw/val.sw.jsonl", b'{"premise": "cut'),
        ("paws_x/de/dev_2k.tsv", b"id\tsentence1\n1\tonly\n"),
        ("self_instruct/user_oriented_instructions.jsonl", b'{"id": 1}\n'),
        ("language_confusion/test_sets.zip", b"PK"),
        ("x_alpacaeval/sw.json.xz", b"{}"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        with pytest.raises(InputError, match=path.name) as refused:
            list(benchmark_texts(tmp_path))
        assert "\n" not in str(refused.value)
        path.unlink()


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValidationError, match="at most `ngram`"):
        ContaminationSettings(ngram=4)
