"""Self-Instruct's user-oriented tasks: the real 252, and translations beside them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import shared_data
from xllms.errors import InputError
from xllms.evaluation.benchmark import Asked, Table
from xllms.evaluation.benchmarks import self_instruct
from xllms.evaluation.judging import predictions, statistics_of
from xllms.evaluation.subjects import Output
from xllms.languages import resolve
from xllms.metrics.item_statistics import value
from xllms.recipe.evaluation import BenchmarkOptions
from xllms.records import Instruction, Prediction, read_json_lines

FILE = "user_oriented_instructions.jsonl"
SWAHILI = {
    "id": "user_oriented_task_0",
    "motivation_app": "Grammarly",
    "instruction": "Andika sentensi hii kwa ufupi.",
    "instances": [
        {"input": "Kama una maswali yoyote, niambie.", "output": "Niambie ukiwa na maswali."},
        {"input": "Ninaenda sokoni kununua matunda.", "output": "Naenda kununua matunda sokoni."},
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the authors' file in it."""
    place = tmp_path / "self_instruct"
    place.mkdir()
    shutil.copy(shared_data("self_instruct", FILE), place)
    return tmp_path


def table(data: Path, *languages: str, limit: int | None = None) -> Table:
    asked = Asked(resolve(languages), "standard", BenchmarkOptions(), data, limit=limit)
    (found,) = self_instruct.benchmark.tables(asked)
    return found


def answered(asked: Table, texts: list[str], number: int = 0) -> list[Prediction]:
    task = asked.tasks[number]
    outputs = [Output(id=item.id, text=text) for item, text in zip(task.items, texts, strict=True)]
    return predictions(self_instruct.benchmark, asked, task, "base", outputs)


def write(path: Path, *rows: Any) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_the_authors_252_tasks() -> None:
    asked = table(shared_data("self_instruct").parent, "English")
    (task,) = asked.tasks
    assert (task.key, len(task.items), asked.max_new_tokens, asked.in_language) == ("eng_Latn", 252, 512, True)
    rows = [row for _, row in read_json_lines(shared_data("self_instruct", FILE))]
    assert [(i.prompt, i.input, i.reference) for i in task.items] == [
        (row["instruction"], row["instances"][0]["input"], row["instances"][0]["output"]) for row in rows
    ]
    assert sum(bool(item.input) for item in task.items) == 208
    found = answered(asked, [item.reference for item in task.items])
    measured = {name: value(stats) for name, stats in statistics_of(self_instruct.benchmark, found).items()}
    assert measured["chrf"] == pytest.approx(100)
    assert measured["off_target"] < 0.02
    # A few references are figures or formulas without a word of a-z or a digit.
    assert measured["rougeL"] > 98
    assert "win_rate" not in measured


def test_translations_beside_the_authors_file(folder: Path) -> None:
    write(folder / "self_instruct" / "sw.jsonl", SWAHILI)
    own = Instruction(
        id="th:1",
        instruction="เมืองหลวงของประเทศไทยคืออะไร",
        output="กรุงเทพมหานคร",
        language="tha_Thai",
        source="own",
        kind="x",
    )
    write(folder / "self_instruct" / "tha_Thai.jsonl", json.loads(own.to_json()))
    tasks = {task.key: task for task in table(folder, "English", "Swahili", "Thai").tasks}
    assert {key: len(task.items) for key, task in tasks.items()} == {"eng_Latn": 252, "swh_Latn": 2, "tha_Thai": 1}
    one, two = tasks["swh_Latn"].items
    assert one.id == "self_instruct:swh_Latn:user_oriented_task_0"
    assert two.id == "self_instruct:swh_Latn:user_oriented_task_0#2"
    assert (two.prompt, two.input) == (SWAHILI["instruction"], "Ninaenda sokoni kununua matunda.")
    (thai,) = tasks["tha_Thai"].items
    assert (thai.prompt, thai.reference, thai.kind) == (own.instruction, own.output, "x")


def test_the_hubs_form_of_instances(folder: Path) -> None:
    columns = {"input": ["a", "b"], "output": ["c", "d"]}
    write(folder / "self_instruct" / "swh_Latn.jsonl", {**SWAHILI, "instances": columns})
    (task,) = table(folder, "Swahili").tasks
    assert [(item.input, item.reference) for item in task.items] == [("a", "c"), ("b", "d")]


def test_an_english_answer_to_a_swahili_task_is_off_target(folder: Path) -> None:
    write(folder / "self_instruct" / "sw.jsonl", SWAHILI)
    asked = table(folder, "Swahili")
    found = answered(asked, ["You can tell me whenever you have any questions about this.", ""])
    assert [one.verdict for one in found] == ["wrong", "empty"]
    assert found[1].scores["chrf"] == found[1].scores["rougeL"] == 0
    measured = {name: value(stats) for name, stats in statistics_of(self_instruct.benchmark, found).items()}
    assert measured["off_target"] == 1


def test_a_language_without_a_file_is_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [task.key for task in table(folder, "English", "Swahili", "Thai", limit=3).tasks] == ["eng_Latn"]
    assert "left out" in (said := capsys.readouterr().err)
    assert "swh_Latn.jsonl, tha_Thai.jsonl" in said
    with pytest.raises(InputError, match=r"none of self_instruct's files for the evaluation's languages"):
        table(folder, "Swahili")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "1", "instances": []}, r"sw\.jsonl:1: no text in field `instruction`"),
        (
            {"id": "1", "instruction": "a", "instances": []},
            r"sw\.jsonl:1: `instances` is no list of inputs and outputs",
        ),
        ({"id": "1", "instruction": "a", "instances": ["b"]}, r"sw\.jsonl:1: `instances` is no list"),
        ({"id": "1", "instruction": "a", "instances": {"input": ["b"]}}, r"sw\.jsonl:1: `instances` is no list"),
        ({"id": "1", "instruction": "a", "instances": [{"input": "b"}]}, r"sw\.jsonl:1: no text in field `output`"),
        ({"id": "1", "instruction": "a", "input": "", "output": " "}, r"sw\.jsonl:1: an empty instruction or output"),
        (
            {"id": "1", "instruction": "a", "output": "b", "language": "Thai"},
            r"sw\.jsonl:1: is in Thai, in the file of",
        ),
        ({"instruction": "a", "output": "b"}, r"sw\.jsonl:1: no text in field `id`"),
        (
            {"id": "1", "instruction": "a", "instances": {"input": ["b"], "output": []}},
            r"sw\.jsonl:1: `instances` is no",
        ),
        ([1], r"sw\.jsonl:1: .*an object with the item's fields was expected"),
    ],
)
def test_another_form_is_refused(folder: Path, row: Any, message: str) -> None:
    write(folder / "self_instruct" / "sw.jsonl", row)
    with pytest.raises(InputError, match=message):
        table(folder, "Swahili")
