"""PAWS-X: every row of the real files, lm-evaluation-harness's words, and what counts as yes or no."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import shared_data
from tests.evaluation.conftest import items, judged, tables
from xllms.errors import InputError
from xllms.evaluation.benchmark import Item
from xllms.evaluation.benchmarks.paws_x import LANGUAGES, benchmark
from xllms.metrics.item_statistics import value

CODES = [words.code for words in LANGUAGES.values()]
HEAD = "id\tsentence1\tsentence2\tlabel\n"


def written(folder: Path, *rows: str, language: str = "de", name: str = "test_2k") -> Path:
    path = folder / language / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return folder


def test_every_line_of_the_files_is_an_item(capsys: pytest.CaptureFixture[str]) -> None:
    root = shared_data("paws_x")
    (table,) = tables(benchmark, root, *CODES)
    assert [task.key for task in table.tasks] == CODES
    for folder, task in zip(LANGUAGES, table.tasks, strict=True):
        tests = root / folder / "test_2k.tsv"
        path = tests if tests.exists() else tests.with_name("dev_2k.tsv")
        lines = path.read_bytes().count(b"\n") - 1
        assert len(task.items) == lines, path
        assert {item.gold for item in task.items} == {0, 1}
    assert "no test file, so the dev file is asked: es, fr, ja, ko" in capsys.readouterr().err


def test_a_raw_quote_survives_and_swallows_no_row() -> None:
    path = shared_data("paws_x") / "es" / "dev_2k.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        assert len(list(csv.reader(file, delimiter="\t"))) == 1971, "with quoting, 30 of 2,000 rows are swallowed"
    raw = path.read_text(encoding="utf-8").split("\n")[1:-1]
    found = items(benchmark, path.parents[1], "Spanish", ways=("written",))
    assert len(found) == len(raw) == 2000
    for line, item in zip(raw, found, strict=True):
        first, second = line.split("\t")[1:3]
        assert f"Sentence1: {first}\nSentence2: {second}.\n" in item.prompt


def test_items_of_two_splits_are_told_apart(tmp_path: Path) -> None:
    root = shared_data("paws_x")
    ids = {
        split: [item.id for item in items(benchmark, root, "German", split=split)] for split in ("test", "validation")
    }
    numbers = {split: {one.removeprefix(f"paws_x:de:{split}:") for one in found} for split, found in ids.items()}
    assert all(number.isdigit() for found in numbers.values() for number in found)
    assert len(numbers["test"] & numbers["validation"]) > 100, "both count from 1"
    assert not set(ids["test"]) & set(ids["validation"])
    assert items(benchmark, root, "German")[0].id == ids["test"][0]
    assert items(benchmark, root, "Korean")[0].id == "paws_x:ko:validation:1", "Korean has the dev file only"
    assert items(benchmark, root, "German", split="dev_2k")[0].id == ids["validation"][0]
    written(tmp_path, "7\tA\tB\t0", name="train")
    (one,) = items(benchmark, tmp_path, "German", split="train", ways=("written",))
    assert one.id == "paws_x:de:train:7"
    assert benchmark.parse(one, "Ja") == "yes"


def test_placeholders_are_marked_and_always_label_0() -> None:
    root = shared_data("paws_x")
    for language, count in (("German", 32), ("Chinese", 25), ("English", 0)):
        marked = [item for item in items(benchmark, root, language) if item.kind == "placeholder"]
        assert (len(marked), {item.gold for item in marked} - {0}) == (count, set())


def test_the_choices_are_those_of_lm_evaluation_harness() -> None:
    root = shared_data("paws_x")
    english = {item.id: item for item in items(benchmark, root, "English")}["paws_x:en:test:12"]
    first = "The Tabaci River is a tributary of the River Leurda in Romania"
    second = "the Leurda River is a tributary of the River Tabaci in Romania."
    assert english.prompt == ""
    assert english.choices == (f"{first}, right? No, {second}", f"{first}, right? Yes, {second}")
    japanese = items(benchmark, root, "Japanese")[0]
    line = (root / "ja" / "dev_2k.tsv").read_text(encoding="utf-8").split("\n")[1].split("\t")
    assert japanese.choices[1] == f"{line[1]}, ですね? はい, {line[2]}"


def test_sentences_are_detokenised_as_lm_evaluation_harness_does(tmp_path: Path) -> None:
    row = """1\tHe did n't ( ever ) say " no " , he said .\tHe 's Here ."""
    (item,) = items(benchmark, written(tmp_path, f"{row}\t0", language="en"), "English")
    assert item.choices[0] == """He didn't (ever) say"no", he said, right? No, he's Here."""


def test_the_authors_ask_in_english() -> None:
    root = shared_data("paws_x")
    (table,) = tables(benchmark, root, "Korean", protocol="paper")
    line = (root / "ko" / "dev_2k.tsv").read_text(encoding="utf-8").split("\n")[1].split("\t")
    assert (table.name, table.max_new_tokens) == ("paws_x.written", 512)
    assert table.tasks[0].items[0].prompt == (
        f"The following are two sentences:\nSentence1: {line[1]}\nSentence2: {line[2]}.\nYou should provide a yes or "
        "no answer to the question: Does Sentence1 paraphrase Sentence2?\nPlease only return either yes or no."
    )


def test_examples_stand_in_front_and_no_item_is_its_own_example() -> None:
    root = shared_data("paws_x")
    alone = items(benchmark, root, "French")
    found = items(benchmark, root, "French", shots=2)  # French has the dev file only: its first rows are the examples
    solved = [item.choices[item.gold or 0] for item in alone[:3]]
    assert found[0].prompt == f"{solved[1]}\n\n{solved[2]}\n\n"
    assert found[1].prompt == f"{solved[0]}\n\n{solved[2]}\n\n"
    assert {item.prompt for item in found[2:]} == {f"{solved[0]}\n\n{solved[1]}\n\n"}
    (german, *_) = items(benchmark, root, "German", shots=1, ways=("written",))
    assert german.prompt.count("Please only return either yes or no.\nyes\n\nThe following") == 1


def test_always_no_is_half_right_when_balanced_and_placeholders_can_be_left_out(tmp_path: Path) -> None:
    rows = [f"{number}\tEins.\tZwei.\t{label}" for number, label in enumerate("0001")]
    (table,) = tables(benchmark, written(tmp_path, *rows, "9\tNS\tDrei.\t0"), "German")
    found = benchmark.statistics(judged(benchmark, table, [(0.0, -1.0)] * 5))
    assert {name: value(one) for name, one in found.items()} == {
        "accuracy": 0.8,
        "balanced_accuracy": 0.5,
        "accuracy_without_placeholders": 0.75,
    }


@pytest.mark.parametrize(
    ("language", "answer", "found"),
    [
        ("en", "Yes", "yes"),
        ("en", " no.\n", "no"),
        ("en", "**Yes**", "yes"),
        ("en", "Yes, there is no difference.", "yes"),
        ("en", "No. Yes would be wrong.", "no"),
        ("en", "The answer is no.", "no"),
        ("en", "Answer: 'Yes'", "yes"),
        ("en", "There is no difference between them.", None),
        ("en", "yes or no", None),
        ("en", "Yes/No", None),
        ("en", "I do not know", None),
        ("en", "", None),
        ("de", "Ja, beide Sätze sagen dasselbe.", "yes"),
        ("de", "Nein", "no"),
        ("de", "YES", "yes"),
        ("de", "Oui", None),
        ("es", "Sí.", "yes"),
        ("es", "No", "no"),
        ("es", "No puedo decirlo", None),
        ("fr", "Oui !", "yes"),
        ("fr", "« Non »", "no"),
        ("ja", "はい、同じ意味です。", "yes"),
        ("ja", "答えは「いいえ」です", "no"),
        ("ko", "아니요.", "no"),
        ("ko", "네, 같은 뜻입니다.", "yes"),
        ("ko", "예를 들어", None),
        ("zh", "是的，它们意思相同。", "yes"),
        ("zh", "不是。", "no"),
        ("zh", "答案是：否", "no"),
        ("zh", "是不是", None),
        ("zh", "不能确定", None),
    ],
)
def test_yes_and_no_as_models_write_them(language: str, answer: str, found: str | None) -> None:
    item = Item(f"paws_x:{language}:test:1", "?", "yes")
    assert benchmark.parse(item, answer) == found
    assert benchmark.correct(item, found) is (found == "yes")


@given(st.sampled_from(sorted(LANGUAGES)), st.text(st.characters(exclude_categories=["P", "S", "Z", "C"]), min_size=9))
def test_a_word_that_is_neither_is_no_answer(language: str, word: str) -> None:
    assert benchmark.parse(Item(f"paws_x:{language}:test:1", "?", "yes"), f"{word} {word}") is None


@given(st.sampled_from(sorted(LANGUAGES)), st.booleans(), st.sampled_from([".", "!\n", ", because so", " - x", "。"]))
def test_a_languages_own_word_is_understood(language: str, affirms: bool, after: str) -> None:
    words = LANGUAGES[language]
    answer = f"\n{words.yes if affirms else words.no}{after}"
    assert benchmark.parse(Item(f"paws_x:{language}:test:1", "?", "yes"), answer) == ("yes" if affirms else "no")


def test_rows_without_a_label_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = written(tmp_path, "1\tA\tB\t0", "2\tA\tB\t", "3\t\tB\t1")
    assert [item.id for item in items(benchmark, root, "German")] == ["paws_x:de:test:1"]
    assert "paws_x: de: left out 2 rows without a label or a sentence" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"not one of the 1 rows of de has sentences and a label"):
        items(benchmark, written(tmp_path, "2\tA\tB\t"), "German")


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none of paws_x's files for the evaluation's languages.*de/test_2k\.tsv"):
        tables(benchmark, tmp_path, "German")
    with pytest.raises(InputError, match=r"test_2k\.tsv:2: the right answer is `2`, but must be 0 to 1"):
        items(benchmark, written(tmp_path, "1\tA\tB\t2"), "German")
    with pytest.raises(InputError, match=r"test_2k\.tsv:2: 3 fields, but the first line names 4"):
        items(benchmark, written(tmp_path, "1\tA\tB"), "German")
    with pytest.raises(InputError, match=r"test_2k\.tsv: holds no items"):
        items(benchmark, written(tmp_path), "German")
    (tmp_path / "de" / "test_2k.tsv").write_text("a\tb\tc\n1\t2\t3\n")
    with pytest.raises(
        InputError, match=r"no text in field `label` .there is a, b, c.; is this file of another version"
    ):
        items(benchmark, tmp_path, "German")
    with pytest.raises(InputError, match=r"de/dev_2k\.tsv: no such file; evaluation\.paws_x\.shots"):
        items(benchmark, written(tmp_path, "1\tA\tB\t1"), "German", shots=1)
