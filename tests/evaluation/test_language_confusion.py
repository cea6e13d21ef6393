"""Language confusion: the benchmark's prompts, and two models' real answers judged as its identifier judges them."""

import csv
import lzma
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from tests.conftest import shared_data
from xllms.errors import InputError
from xllms.evaluation.benchmark import Asked, Item, Table, Task
from xllms.evaluation.benchmarks import find
from xllms.evaluation.benchmarks.language_confusion import benchmark, harmonic_mean
from xllms.evaluation.judging import predictions, statistics_of
from xllms.evaluation.subjects import Output
from xllms.languages import get, resolve
from xllms.languages.confusion import Confusion, confusion, latin_words
from xllms.metrics.item_statistics import value
from xllms.recipe.evaluation import BenchmarkOptions, Protocol

COMMAND_R, LLAMA_2 = "command-r", "llama-2-instruct"
CODES = ("ar", "de", "en", "es", "fr", "hi", "id", "it", "ja", "ko", "pt", "ru", "tr", "vi", "zh")
# Line pass rates by the benchmark's definitions and its identifier (lid.176, the compressed form), mean over sources,
# in the order of CODES; the paper's averages and its Table 6 come out within 0.6 but for Chinese and Japanese.
THEIRS: Mapping[tuple[str, str], tuple[float, ...]] = {
    (COMMAND_R, "monolingual"): (
        99.7,
        98.0,
        99.5,
        95.0,
        99.0,
        100.0,
        92.0,
        98.0,
        98.0,
        100.0,
        98.0,
        100.0,
        99.0,
        99.0,
        94.4,
    ),
    (COMMAND_R, "crosslingual"): (
        61.6,
        63.2,
        np.nan,
        72.9,
        73.8,
        65.5,
        70.4,
        65.7,
        64.1,
        69.5,
        66.9,
        69.8,
        68.0,
        65.0,
        71.3,
    ),
    (LLAMA_2, "monolingual"): (0.3, 60.0, 98.5, 96.3, 87.0, 1.0, 64.0, 71.0, 6.0, 0.0, 90.5, 89.9, 33.0, 18.0, 10.0),
    (LLAMA_2, "crosslingual"): (
        12.4,
        52.3,
        np.nan,
        77.3,
        71.5,
        21.5,
        45.3,
        66.5,
        16.9,
        4.8,
        74.6,
        38.6,
        24.0,
        20.4,
        12.1,
    ),
}
# The paper's own: averages over languages, and of Table 6 the languages that it has.
PUBLISHED = {(COMMAND_R, "monolingual"): 98.6, (LLAMA_2, "monolingual"): 48.3, (LLAMA_2, "crosslingual"): 38.4}
PUBLISHED_MONOLINGUAL = {
    COMMAND_R: {"ar": 100.0, "hi": 100.0, "ja": 100.0, "ko": 100.0, "vi": 99.0, "zh": 98.5},
    LLAMA_2: {"ar": 0.3, "hi": 1.0, "ja": 7.0, "ko": 0.0, "vi": 17.0, "zh": 10.5},
}
Answers = Mapping[tuple[str, str, str], Mapping[str, Sequence[tuple[str, Confusion]]]]


def asked(data: Path, *languages: str, protocol: Protocol = "standard", **options: object) -> Asked:
    return Asked(resolve(languages), protocol, BenchmarkOptions.model_validate(options), data)


def tables(data: Path, *languages: str, protocol: Protocol = "standard", **options: object) -> dict[str, Table]:
    found = benchmark.tables(asked(data, *languages, protocol=protocol, **options))
    return {table.name.rpartition(".")[2]: table for table in found}


def prompts() -> Path:
    return shared_data("language_confusion", "test_sets.zip").parent


@cache
def answers() -> Answers:
    """(model, setting, language) -> source -> real answers, each with what was found in it."""
    found: dict[tuple[str, str, str], dict[str, list[tuple[str, Confusion]]]] = defaultdict(lambda: defaultdict(list))
    for model in (COMMAND_R, LLAMA_2):
        with lzma.open(
            shared_data("language_confusion", f"{model}.csv.xz"), "rt", encoding="utf-8", newline=""
        ) as file:
            for row in csv.DictReader(file):
                text = row["completion"]
                by_source = found[model, row["task"], row["language"]]
                by_source[row["source"]].append((text, confusion(text, get(row["language"]))))
    return found


def ours(model: str, setting: str) -> dict[str, float]:
    """Line pass rate by language in percent, mean over the sources as the paper has it."""
    return {
        code: mean(share(found.lines_pass for _, found in rows) for rows in answers()[model, setting, code].values())
        for code in CODES
        if (model, setting, code) in answers()
    }


def share(verdicts: Iterator[bool | None]) -> float:
    known = [verdict for verdict in verdicts if verdict is not None]
    return 100 * sum(known) / len(known)


@pytest.mark.parametrize("model", [COMMAND_R, LLAMA_2])
@pytest.mark.parametrize("setting", ["monolingual", "crosslingual"])
def test_line_pass_rates_are_those_of_the_benchmark(model: str, setting: str) -> None:
    mine = ours(model, setting)
    theirs = {code: rate for code, rate in zip(CODES, THEIRS[model, setting], strict=True) if not np.isnan(rate)}
    assert mine.keys() == theirs.keys()
    differences = {code: mine[code] - theirs[code] for code in mine}
    # Measured: 0.9 to 1.6; the most in Indonesian and Chinese, which lid.176 takes for Malay and Japanese.
    assert mean(map(abs, differences.values())) < 2, differences
    assert max(map(abs, differences.values())) < 9, differences
    if published := PUBLISHED.get((model, setting)):
        assert mean(mine.values()) == pytest.approx(published, abs=1)


def test_one_model_is_near_perfect_and_the_other_poor() -> None:
    good, poor = ours(COMMAND_R, "monolingual"), ours(LLAMA_2, "monolingual")
    assert mean(good.values()) > 98.5
    assert min(good.values()) > 95
    assert 45 < mean(poor.values()) < 52
    assert all(good[code] >= poor[code] - 1 for code in CODES)
    across, across_poor = ours(COMMAND_R, "crosslingual"), ours(LLAMA_2, "crosslingual")
    assert mean(across.values()) - mean(across_poor.values()) > 25
    for model, rates in ((COMMAND_R, good), (LLAMA_2, poor)):
        for code, published in PUBLISHED_MONOLINGUAL[model].items():
            assert rates[code] == pytest.approx(published, abs=2), (model, code)


def test_every_word_of_the_benchmarks_list_is_found() -> None:
    with lzma.open(shared_data("language_confusion", "words.xz"), "rt", encoding="utf-8") as file:
        listed = {word for word in map(str.strip, file) if word.islower() and len(word) > 3}
    punctuation = str.maketrans("", "", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~،")
    either = both = extra = total = 0
    for (_, _, code), by_source in answers().items():
        if code not in ("ar", "hi", "ko", "ru"):  # the others need their tokenizers
            continue
        for text, found in (answer for rows in by_source.values() for answer in rows):
            if not found.lines_pass:
                continue
            total += 1
            lines = [line.split() for line in text.translate(punctuation).split("\n")]
            theirs = any(word in listed for line in lines if len(line) >= 5 for word in line)
            either += theirs
            both += theirs and found.words_pass is False
            extra += found.words_pass is False and not theirs
    assert total > 1000
    assert either > 50
    # A word of a file's name or of code is one for them.
    assert both >= 0.95 * either, (both, either)
    assert extra <= 0.03 * total, (extra, total)


def test_the_word_rule_needs_no_list() -> None:
    assert latin_words("Это называется machine learning.") == ["machine", "learning"]


def test_rates_of_real_answers_as_the_runner_makes_them() -> None:
    for code, has_words in (("ko", True), ("fr", False)):
        language = get(code).code
        texts = [text for rows in answers()[COMMAND_R, "crosslingual", code].values() for text, _ in rows]
        items = tuple(Item(f"language_confusion:crosslingual:{language}:x:{n}", "?", "pass") for n in range(len(texts)))
        task = Task(language, language, items)
        table = Table("language_confusion.crosslingual", [task], 100, in_language=True)
        outputs = [Output(id=item.id, text=text) for item, text in zip(items, texts, strict=True)]
        found = predictions(benchmark, table, task, "sft", outputs)
        rates = {name: value(one) for name, one in statistics_of(benchmark, found).items()}
        assert rates.keys() == {"lpr", "confused", "off_target"} | ({"wpr", "lcpr"} if has_words else set())
        assert 0.6 < rates["lpr"] < 0.8
        assert rates["confused"] == pytest.approx(1 - rates["lpr"], abs=0.05)
        if has_words:
            lpr, wpr = rates["lpr"], rates["wpr"]
            assert wpr > 0.85
            assert rates["lcpr"] == pytest.approx(2 * lpr * wpr / (lpr + wpr))
        failed = [one for one in found if one.parsed and one.parsed.startswith("line: ")]
        assert failed and not any(one.correct for one in failed)


def test_a_model_that_says_nothing_has_no_rate() -> None:
    items = tuple(Item(f"language_confusion:monolingual:kor_Hang:x:{number}", "?", "pass") for number in range(3))
    task = Task("kor_Hang", "kor_Hang", items)
    table = Table("language_confusion.monolingual", [task], 100, in_language=True)
    found = predictions(benchmark, table, task, "sft", [Output(id=item.id, text=" \n") for item in items])
    assert benchmark.statistics(found) == {}
    assert [one.parsed for one in found] == [None] * 3


def test_a_language_that_nobody_can_tell_has_no_pass_rate() -> None:
    items = tuple(Item(f"language_confusion:crosslingual:umb_Latn:x:{number}", "?", "pass") for number in range(2))
    task = Task("umb_Latn", "umb_Latn", items)
    table = Table("language_confusion.crosslingual", [task], 100, in_language=True)
    texts = (
        "They would have been there because of what you and I said.",
        "Omanu vosi vacitiwa valipwa kuenda valisoka.",
    )
    outputs = [Output(id=item.id, text=text) for item, text in zip(items, texts, strict=True)]
    statistics = benchmark.statistics(predictions(benchmark, table, task, "sft", outputs))
    assert {name: value(one) for name, one in statistics.items()} == {"confused": 0.5}


def test_the_harmonic_mean_of_no_passing_line_is_zero_and_of_nothing_undefined() -> None:
    sums = np.array([[8, 10, 4, 8], [0, 10, 0, 0], [5, 10, 0, 5], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=float)
    assert harmonic_mean(sums).tolist() == pytest.approx([8 / 13, 0, 0, np.nan, 1], nan_ok=True)


def test_all_prompts_are_read() -> None:
    found = tables(prompts(), "flores-200", protocol="paper")
    assert {table.max_new_tokens for table in found.values()} == {100}
    alone, across = ({task.key: len(task.items) for task in table.tasks} for table in found.values())
    assert sum(alone.values()) == 2400
    assert set(alone) == {get(code).code for code in CODES}
    assert across == {get(code).code: 299 for code in CODES if code != "en"}


def test_any_language_but_english_can_be_asked_for() -> None:
    found = tables(prompts(), "Swahili", "German", "Umbundu", "English")
    assert [task.key for task in found["monolingual"].tasks] == ["eng_Latn", "deu_Latn"]
    across = {task.key: task.items for task in found["crosslingual"].tasks}
    assert across.keys() == {"swh_Latn", "deu_Latn", "umb_Latn"}
    for swahili, german in zip(across["swh_Latn"], across["deu_Latn"], strict=True):
        assert swahili.prompt == german.prompt.replace("German", "Swahili")
        assert swahili.prompt.count("Swahili") == 1
    ids = [item.id for items in across.values() for item in items]
    assert len(ids) == len(set(ids)) == 3 * 299


def test_a_limit_leaves_some_of_each_source() -> None:
    table = tables(prompts(), "Swahili", limit=6)["crosslingual"]
    assert sorted(item.kind for item in table.tasks[0].items) == sorted(("complex_prompts", "okapi", "sharegpt") * 2)


def test_the_papers_languages_are_all_that_its_protocol_has() -> None:
    with pytest.raises(InputError, match=r"none of evaluation\.languages .* protocol standard asks"):
        tables(prompts(), "Swahili", protocol="paper")


def test_an_unpacked_folder_reads_as_the_archive_does(tmp_path: Path) -> None:
    with zipfile.ZipFile(prompts() / "test_sets.zip") as archive:
        archive.extractall(tmp_path)
    packed, unpacked = (tables(folder, "Korean", "Thai") for folder in (prompts(), tmp_path))
    assert packed == unpacked
    assert unpacked == tables(tmp_path / "test_sets", "Korean", "Thai")


def cut(folder: Path) -> None:
    (folder / "test_sets.zip").write_bytes((prompts() / "test_sets.zip").read_bytes()[:300_000])


def empty(folder: Path) -> None:
    (folder / "monolingual").mkdir()


def other_fields(folder: Path) -> None:
    (folder / "monolingual" / "okapi").mkdir(parents=True)
    (folder / "monolingual" / "okapi" / "de.csv").write_text("question,language\nWas?,de\n", encoding="utf-8")


def unnamed(folder: Path) -> None:
    (folder / "crosslingual" / "okapi").mkdir(parents=True)
    (folder / "crosslingual" / "okapi" / "de.csv").write_text(
        "prompt,phrasing,language,source\nReply in Deutsch.,reply,de,okapi\n", encoding="utf-8"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (cut, "cannot be read: .*cut off"),
        (empty, r"neither test_sets\.zip nor the folders"),
        (other_fields, r"de\.csv:2: no text in field `source`|de\.csv:2: no text in field `prompt`"),
        (unnamed, "in no language do all cross-lingual prompts name it once"),
    ],
)
def test_bad_prompts_are_said_to_be(make: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(InputError, match=message):
        tables(tmp_path, "German", "Thai")


def test_it_is_found_by_name() -> None:
    assert find("language_confusion") is benchmark
