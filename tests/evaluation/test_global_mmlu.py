"""Global-MMLU: a small file in its format (the data are not at hand), its cultural split, and letters."""

from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from tests.evaluation.conftest import items, judged, tables, write_rows
from xllms.errors import InputError
from xllms.evaluation.benchmarks.global_mmlu import LANGUAGES, benchmark
from xllms.metrics.item_statistics import value
from xllms.predictions import read_predictions, write_predictions


def row(number: int, answer: str = "A", label: str = "-", split: str = "test", **other: Any) -> dict[str, Any]:
    return {
        "sample_id": f"anatomy/{split}/{number}",
        "subject": "anatomy",
        "subject_category": "Medical",
        "question": f" {split} {number}?",
        **{f"option_{letter}": f"{letter}{number}" for letter in "abcd"},
        "answer": answer,
        "required_knowledge": "none",
        "cultural_sensitivity_label": label,
        "is_annotated": label in ("CS", "CA"),
        **other,
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    labels = ("CS", "CS", "CA", "-", "-")
    write_rows(tmp_path / "sw" / "test.jsonl", [row(n, "AABCD"[n], label) for n, label in enumerate(labels)])
    dev = [row(n, "BCD"[n], split="dev", subject=("law", "anatomy", "anatomy")[n]) for n in range(3)]
    write_rows(tmp_path / "sw" / "dev.jsonl", dev)
    return tmp_path


def test_there_are_42_languages_each_with_a_code_of_its_own() -> None:
    assert len(LANGUAGES) == len(set(LANGUAGES.values())) == 42
    assert (LANGUAGES["fil"], LANGUAGES["ar"], LANGUAGES["zh"]) == ("tgl_Latn", "arb_Arab", "zho_Hans")


def test_the_context_is_that_of_lm_evaluation_harness(root: Path) -> None:
    (table,) = tables(benchmark, root, "Swahili")
    first = table.tasks[0].items[0]
    assert (table.name, first.id) == ("global_mmlu.ranked", "global_mmlu:sw:anatomy/test/0")
    assert first.prompt == "test 0?\nA. a0\nB. b0\nC. c0\nD. d0\nAnswer:"
    assert first.choices == (" A", " B", " C", " D")
    assert [item.gold for item in table.tasks[0].items] == [0, 0, 1, 2, 3]


def test_examples_are_the_first_of_the_subject(root: Path) -> None:
    found = items(benchmark, root, "Swahili", shots=2)
    assert found[0].prompt.startswith("dev 1?\nA. a1\nB. b1\nC. c1\nD. d1\nAnswer: C\n\ndev 2?\n")
    assert found[0].prompt.endswith("Answer: D\n\ntest 0?\nA. a0\nB. b0\nC. c0\nD. d0\nAnswer:")
    with pytest.raises(InputError, match=r"dev split has 2 questions in `anatomy` for 3 shots; ask for fewer"):
        items(benchmark, root, "Swahili", shots=3)
    (root / "sw" / "dev.jsonl").unlink()
    with pytest.raises(InputError, match=r"sw/dev\.jsonl: no such file; evaluation\.global_mmlu\.shots"):
        items(benchmark, root, "Swahili", shots=1)


def test_no_item_is_its_own_example(root: Path) -> None:
    write_rows(root / "sw" / "dev.jsonl", [row(n, split="dev") for n in range(2)])
    found = items(benchmark, root, "Swahili", shots=1, split="dev")
    assert [item.prompt.split("?")[0] for item in found] == ["dev 1", "dev 0"]


def test_accuracy_is_given_in_and_out_of_a_culture(root: Path, tmp_path: Path) -> None:
    (table,) = tables(benchmark, root, "Swahili", ways=("written",))
    found = judged(benchmark, table, ["A", "B", "the answer is B", "", "D"])
    figures = {name: value(one) for name, one in benchmark.statistics(found).items()}
    assert figures == {"accuracy": 0.6, "accuracy_sensitive": 0.5, "accuracy_agnostic": 1.0}
    assert [p.kind for p in found] == ["CS", "CS", "CA", "", ""]
    assert found[3].parsed is None
    write_predictions(tmp_path / "p.parquet", found)
    assert [p.correct for p in read_predictions(tmp_path / "p.parquet")] == [True, False, True, False, True]


def test_a_label_that_nobody_gave_counts_for_neither(root: Path) -> None:
    write_rows(root / "sw" / "test.jsonl", [row(0), row(1, label="CA", is_annotated=False), row(2, label="")])
    (table,) = tables(benchmark, root, "Swahili", ways=("written",))
    assert set(benchmark.statistics(judged(benchmark, table, ["A"] * 3))) == {"accuracy"}


def test_a_copy_of_the_hubs_folder_is_read(root: Path) -> None:
    (root / "yo").mkdir()
    parquet.write_table(arrow.Table.from_pylist([row(0, "C", "CS")]), root / "yo" / "test-00000-of-00001.parquet")
    ((german,),) = [table.tasks for table in tables(benchmark, root, "Yoruba")]
    assert [(item.reference, item.kind) for item in german.items] == [("C", "CS")]


def test_what_is_wrong_with_a_file_is_said(root: Path) -> None:
    path = root / "sw" / "test.jsonl"
    with pytest.raises(InputError, match=r"none of global_mmlu's files .* is here .such as ha/test\.jsonl."):
        tables(benchmark, root, "Hausa")
    for wrong in ("E", "1", "AB", ""):
        write_rows(path, [row(0), row(1, wrong)])
        with pytest.raises(
            InputError, match=rf"test\.jsonl:2: the right answer is `{wrong}`, but must be A, B, C or D"
        ):
            tables(benchmark, root, "Swahili")
    write_rows(path, [{"question": "?", "choices": ["a", "b", "c", "d"], "answer": 1}])
    with pytest.raises(InputError, match=r"test\.jsonl:1: .*another version"):
        tables(benchmark, root, "Swahili")
    write_rows(path, [{"sample_id": "1", "question": "?", "choices": ["a", "b", "c", "d"], "answer": "B"}])
    with pytest.raises(InputError, match=r"test\.jsonl:1: no text in field `option_a` .*another version"):
        tables(benchmark, root, "Swahili")
    path.write_text("")
    with pytest.raises(InputError, match=r"test\.jsonl: holds no items"):
        tables(benchmark, root, "Swahili")
