"""Alpaca files as people have them, whole and broken."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from xllms.errors import InputError
from xllms.instructions.alpaca import alpaca_records
from xllms.instructions.rejected import Rejected
from xllms.instructions.sources import DUPLICATE, spool_sources
from xllms.instructions.spool import REJECTED
from xllms.recipe import AlpacaSource, InstructionsSettings
from xllms.records import Instruction
from xllms.splits import SPLITS

DEMO = Path(__file__).parents[3] / "shared/data/llamafactory_demo"


def _row(number: int = 0, **more: str) -> dict[str, str]:
    return {"instruction": f"Say {number}.", "input": "", "output": f"{number}", **more}


def _read(path: Path, text: str, **settings: object) -> list[str]:
    path.write_text(text, encoding="utf-8")
    return [record.output for record in alpaca_records(AlpacaSource.model_validate({"path": path, **settings}))]


def _split(source: AlpacaSource, seed: int, folder: Path) -> tuple[dict[str, list[Instruction]], list[Rejected]]:
    """The records of a source by split, and its rejected ones."""
    spool = spool_sources(InstructionsSettings(sources=(source,)), seed, folder, "test")
    (code,) = spool.languages
    records = {split: [Instruction.model_validate_json(line) for line in spool.lines(code, split)] for split in SPLITS}
    return records, [Rejected.model_validate_json(line) for line in spool.lines(code, REJECTED)]


@pytest.mark.skipif(not DEMO.exists(), reason="shared/data/llamafactory_demo is not there")
@pytest.mark.parametrize(("name", "code"), [("en", "eng_Latn"), ("zh", "zho_Hans")])
def test_real_data(tmp_path: Path, name: str, code: str) -> None:
    path = DEMO / f"alpaca_{name}_demo.json"
    source = AlpacaSource(path=path, language=code, instruction_language=code)
    records, rejected = _split(source, 0, tmp_path)
    total = sum(map(len, records.values()))
    assert total + len(rejected) == len(json.loads(path.read_text(encoding="utf-8")))
    held_out = source.validation_share + source.feedback_share + source.evaluation_share
    assert len(records["train"]) == pytest.approx((1 - held_out) * total, rel=0.04)
    assert 0 < len(records["validation"]) < min(len(records["feedback"]), len(records["evaluation"]))
    assert {one.language for split in records.values() for one in split} == {code}
    assert _split(source, 0, tmp_path)[0] == records
    assert _split(source, 1, tmp_path)[0] != records


def test_array_and_lines_give_the_same_records(tmp_path: Path) -> None:
    rows = [_row(n, source="ignored") for n in range(40)]
    array = _read(tmp_path / "a.json", json.dumps(rows, indent=2))
    lines = _read(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert len(array) == 40
    assert array == lines


def test_input_may_be_absent_and_a_repeated_record_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    row = {"instruction": "Say a.", "output": "a"}
    path.write_text(json.dumps([row, row]))
    records, rejected = _split(AlpacaSource(path=path), 0, tmp_path / "spool")
    assert sum(map(len, records.values())) == 1
    assert [one.reason for one in rejected] == [DUPLICATE]


def test_two_answers_to_one_prompt_stay_in_one_split(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([_row(n, output=answer) for n in range(100) for answer in "xy"]))
    records, _ = _split(AlpacaSource(path=path, validation_share=0.3, feedback_share=0.3), 0, tmp_path / "spool")
    prompts = [{one.instruction for one in split} for split in records.values()]
    assert sum(map(len, prompts)) == len(set().union(*prompts)) == 100


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no records"),
        ("[]", "holds no records"),
        ("\n\n", "holds no records"),
        (
            '[{"instruction": "a",\n "output": "b"},\n {"instruction": "c"}]',
            ":3: record 1: field `output` is missing",
        ),
        ('[{"instruction": "a", "output": " "}]', ":1: record 0: field `output` is empty"),
        ('[{"instruction": "a", "output": 3}]', "field `output` is not a text but 3"),
        ('[{"instruction": "a", "output": "b"},\n{"instruction": "a", "outp', "cut off"),
        ('[{"instruction": "a", "output": "b"}\n', ":2: not JSON"),
        ('[{"instruction": "a", "output": "b"},', "cut off"),
        ('["a"]', "record 0: not an object"),
        ('{"instruction": "a", "output": "b"}\n[1]\n', ":2: not an object"),
        ('{"instruction": "a", "output": "b"}\n{"instruction": "a", "outp', ":2: not JSON"),
        ('{"instruction": "a", "output": "b"}\n{"output": "b"}\n', ":2: field `instruction` is missing"),
    ],
)
def test_bad_files_name_the_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.json"
    with pytest.raises(InputError) as caught:
        _read(path, text)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        list(alpaca_records(AlpacaSource(path=tmp_path / "none.json")))
    (tmp_path / "latin.json").write_bytes('[{"instruction": "é"}]'.encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        list(alpaca_records(AlpacaSource(path=tmp_path / "latin.json")))


def test_shares_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(ValidationError, match="leave nothing to train on"):
        AlpacaSource(path=Path("x.jsonl"), validation_share=0.5, feedback_share=0.4, evaluation_share=0.1)
