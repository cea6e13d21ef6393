"""XCOPA: the real files, in lm-evaluation-harness's words and in the authors'."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import shared_data
from xllms.errors import InputError
from xllms.evaluation.benchmark import Asked, Item, Table
from xllms.evaluation.benchmarks import xcopa
from xllms.languages import resolve
from xllms.recipe.evaluation import BenchmarkOptions

ALL = resolve(("flores-200",))


def asked(data: Path, **options: object) -> Asked:
    return Asked(ALL, options=BenchmarkOptions.model_validate(options), data=data)


def tables(data: Path, **options: object) -> dict[str, Table]:
    return {table.name: table for table in xcopa.benchmark.tables(asked(data, **options))}


def test_all_twelve_languages_are_read_and_balanced() -> None:
    ranked = tables(shared_data("xcopa").parent, split="validation")["xcopa.ranked"]
    assert len(ranked.tasks) == 12
    assert all(len(task.items) == 100 for task in ranked.tasks)
    for task in tables(shared_data("xcopa"), split="test")["xcopa.ranked"].tasks:
        # The originals are balanced; copies that carry label 0 everywhere are not.
        assert sum(item.gold == 1 for item in task.items) == 250


def test_a_split_that_some_languages_lack_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    found = tables(shared_data("xcopa"), split="test")["xcopa.ranked"]
    assert len(found.tasks) == 6
    assert "left out" in capsys.readouterr().err


def test_validation_files_stand_in_for_test_files_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    root = shared_data("xcopa")
    without = sorted(folder for folder in xcopa.LANGUAGES if not (root / folder / f"test.{folder}.jsonl").exists())
    assert len(without) == 6
    both = {task.key: task.items for task in tables(root)["xcopa.ranked"].tasks}
    said = f"xcopa: no test file, so the validation file is asked: {', '.join(without)}\n"
    assert capsys.readouterr().err == said
    validation = {task.key: task.items for task in tables(root, split="validation")["xcopa.ranked"].tasks}
    test = {task.key: task.items for task in tables(root, split="test")["xcopa.ranked"].tasks}
    assert capsys.readouterr().err.count("no test file") == 0
    assert both == validation | test
    ids = [item.id for by_key in (validation, test) for items in by_key.values() for item in items]
    assert len(ids) == len(set(ids)) == 12 * 100 + 6 * 500
    (written,) = tables(root, split="test", ways=("written",), limit=1).values()
    assert (
        written.tasks[0].items[0].id.startswith(f"xcopa:{next(f for f in xcopa.LANGUAGES if f not in without)}:test:")
    )


def test_the_words_are_those_of_the_harness() -> None:
    found = {task.key: task for task in tables(shared_data("xcopa"), split="validation")["xcopa.ranked"].tasks}
    english = found["eng_Latn"].items[0]
    assert english.prompt.endswith((" because", " therefore"))
    assert "." not in english.prompt[-14:]
    thai = found["tha_Thai"].items[0]
    assert all(choice.startswith(" ") for choice in thai.choices)


def test_shots_are_the_same_in_front_of_every_item() -> None:
    plain = tables(shared_data("xcopa"), split="test", limit=3)["xcopa.ranked"].tasks[0]
    shown = tables(shared_data("xcopa"), split="test", limit=3, shots=5)["xcopa.ranked"].tasks[0]
    ahead = {item.prompt.removesuffix(bare.prompt) for item, bare in zip(shown.items, plain.items, strict=True)}
    assert len(ahead) == 1
    assert ahead.pop().count("\n\n") == 5


def test_the_authors_way_asks_for_a_letter() -> None:
    (table,) = xcopa.benchmark.tables(Asked(resolve(("Swahili",)), protocol="paper", data=shared_data("xcopa")))
    assert (table.name, table.max_new_tokens) == ("xcopa.written", 512)
    item = table.tasks[0].items[0]
    assert item.prompt.startswith("Here is a premise: ")
    assert item.reference in "AB"


@pytest.mark.parametrize(
    ("output", "found"),
    [
        ("B", "B"),
        ("-A: he left", "A"),
        ("The more plausible option is (b).", "B"),
        ("Option A.", "A"),
        ("我选B。", "B"),
        ("I don't know.", None),
        ("", None),
        ("he stayed at home", "B"),
        ("It is because he left", "A"),
        ("he left, or he stayed at home", None),
    ],
)
def test_the_letter_is_found_or_nothing_is(output: str, found: str | None) -> None:
    item = Item("x", "?", "A", source="he left\nhe stayed at home")
    assert xcopa.benchmark.parse(item, output) == found


@pytest.mark.parametrize("form", ["-{}: {}", "({}) {}", "{}. {}", "{}) {}", "**{}** {}"])
def test_of_all_real_choices_one_is_an_answer_and_both_are_none(form: str) -> None:
    for task in tables(shared_data("xcopa"), ways=("written",), limit=100)["xcopa.written"].tasks:
        for item in task.items:
            both = [form.format(*named) for named in zip("AB", item.source.split("\n"), strict=True)]
            assert [xcopa.benchmark.parse(item, one) for one in both] == ["A", "B"]
            for apart in (", ", " ", "\n"):
                assert xcopa.benchmark.parse(item, apart.join(both)) is None
            assert xcopa.benchmark.parse(item, item.prompt) is None


@given(st.text(max_size=200))
def test_any_answer_is_parsed_or_counted(output: str) -> None:
    assert xcopa.benchmark.parse(Item("x", "?", "A", source="one\ntwo"), output) in ("A", "B", None)


def test_no_file_at_all_is_named(tmp_path: Path) -> None:
    (tmp_path / "xcopa").mkdir()
    with pytest.raises(InputError, match=r"none of xcopa's files.*test\.en\.jsonl"):
        tables(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"premise": "a", "choice1": "b", "choice2": "c", "question": "cause", "label": 0, "idx": 0}\n{"pre',
            "not JSON",
        ),
        ('{"premise": "a", "choice1": "b", "question": "cause", "label": 0, "idx": 0}\n', "field `choice2`.*version"),
        (
            '{"premise": "a", "choice1": "b", "choice2": "c", "question": "cause", "label": 2, "idx": 0}',
            "must be 0 to 1",
        ),
        (
            '{"premise": "a", "choice1": "b", "choice2": "c", "question": "cause", "label": -1, "idx": 0}',
            "must be 0 to 1",
        ),
        ('{"premise": "a", "choice1": "b", "choice2": "c", "question": "why", "label": 1, "idx": 0}', "not cause or"),
        ("", "holds no items"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "sw" / "test.sw.jsonl"
    path.parent.mkdir()
    path.write_text(line)
    with pytest.raises(InputError, match=message) as raised:
        tables(tmp_path)
    assert "test.sw.jsonl" in str(raised.value)
