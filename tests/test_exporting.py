"""A run's data leave in the forms of others, and what cannot be written is said before anything is."""

import json
from pathlib import Path

import pytest

from xllms.errors import InputError
from xllms.exporting import export
from xllms.instructions import stage
from xllms.languages import get
from xllms.recipe import CldrSource, InstructionsSettings


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    settings = InstructionsSettings(sources=(CldrSource(train=5, validation=1, feedback=2, evaluation=2),))
    stage.run(settings, [get("deu_Latn"), get("tha_Thai")], 0, folder / "instructions")
    return folder


def test_each_split_is_one_file_in_the_form_asked_for_and_the_card_knows_it(run: Path, tmp_path: Path) -> None:
    written = export(run, tmp_path / "out", form="alpaca", container="json")
    assert written == {"evaluation.json": 4, "feedback.json": 4, "train.json": 10, "validation.json": 2}
    rows = json.loads((tmp_path / "out" / "train.json").read_text())
    assert len(rows) == 10
    assert set(rows[0]) == {"instruction", "input", "output"}
    card = (tmp_path / "out" / "README.md").read_text()
    assert "path: train.json" in card
    assert "*.jsonl" not in card


def test_some_languages_alone(run: Path, tmp_path: Path) -> None:
    assert export(run, tmp_path / "out", form="trl", languages=["Thai"])["train.jsonl"] == 5
    rows = [json.loads(line) for line in (tmp_path / "out" / "train.jsonl").read_text().splitlines()]
    assert {row["language"] for row in rows} == {"tha_Thai"}
    assert {"prompt", "completion"} <= set(rows[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stage": "sft"}, "cannot export `sft`"),
        ({"container": "xml"}, "cannot write `xml`"),
        ({"form": "nope"}, "cannot write the form 'nope'"),
        ({"stage": "feedback"}, "stage 'feedback' is not finished"),
        ({"languages": ["Swahili"]}, "has nothing in the languages asked for"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    run: Path, tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        export(run, tmp_path / "out", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
