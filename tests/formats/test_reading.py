"""Every form as its tools write it, from real files where there are some, and files as people break them."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import shared_data
from xllms.errors import InputError
from xllms.formats import read_instructions, read_preferences
from xllms.languages import UnknownLanguage
from xllms.records import Instruction, Preference

GOOD = {"instruction": "Say a.", "input": "", "output": "a"}


def _file(folder: Path, rows: list[Any], name: str = "data.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _one(folder: Path, row: Any, **more: Any) -> Instruction:
    (record,) = read_instructions(_file(folder, [row]), language="sw", **more)
    return record


def _pair(folder: Path, row: Any) -> Preference:
    (record,) = read_preferences(_file(folder, [row]), language="sw")
    return record


@pytest.mark.parametrize(("name", "code"), [("en", "eng_Latn"), ("zh", "zho_Hans")])
def test_real_alpaca_array(name: str, code: str) -> None:
    path = shared_data("llamafactory_demo", f"alpaca_{name}_demo.json")
    rows = json.loads(path.read_text(encoding="utf-8"))
    records = list(read_instructions(path, language=code))
    assert [(r.instruction, r.input, r.output) for r in records] == [
        (row["instruction"], row["input"], row["output"]) for row in rows
    ]
    assert {(r.language, r.instruction_language, r.source) for r in records} == {(code, code, "alpaca")}


def test_real_self_instruct_seeds_give_a_record_per_instance() -> None:
    path = shared_data("self_instruct", "seed_tasks.en.jsonl")
    tasks = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    records = list(read_instructions(path, language="English"))
    assert len(records) == sum(len(task["instances"]) for task in tasks) >= 175
    assert len({record.id for record in records}) == len(records)
    assert records[0].output == tasks[0]["instances"][0]["output"]
    assert records[0].id == "self-instruct:seed_task_0:eng_Latn"


@pytest.mark.parametrize("code", ["en", "fr", "ru", "zh"])
def test_real_seeds_in_four_languages_share_their_parallel_ids(code: str) -> None:
    records = list(read_instructions(shared_data("seed_tasks", f"{code}.jsonl"), language=code, source="seeds"))
    assert len(records) >= 125
    assert "seeds:seed_task_1" in {record.parallel_id for record in records}


@pytest.mark.parametrize("name", ["en", "zh"])
def test_real_preferences_in_llamafactorys_form(name: str) -> None:
    path = shared_data("llamafactory_demo", f"dpo_{name}_demo.json")
    rows = json.loads(path.read_text(encoding="utf-8"))
    records = list(read_preferences(path, language=name))
    assert [(r.chosen, r.rejected) for r in records] == [(r["chosen"]["value"], r["rejected"]["value"]) for r in rows]
    for row, record in zip(rows, records, strict=True):
        assert all(turn["value"] in record.instruction for turn in row["conversations"])
        if len(row["conversations"]) == 1:
            assert record.instruction == row["conversations"][0]["value"]


HUMAN, GPT = {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}
USER, ASSISTANT = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Hi", "output": "Hello"},
        {"instruction": "Hi", "input": None, "output": "Hello"},
        {"conversations": [HUMAN, GPT]},
        {"conversations": [HUMAN, GPT], "system": ""},
        {"messages": [USER, ASSISTANT]},
        {"prompt": "Hi", "completion": "Hello"},
        {"prompt": [USER], "completion": [ASSISTANT]},
        {"instruction": "Hi", "instances": [{"input": "", "output": "Hello"}]},
    ],
)
def test_one_exchange_in_every_form(tmp_path: Path, row: dict[str, Any]) -> None:
    record = _one(tmp_path, row)
    assert (record.instruction, record.input, record.output) == ("Hi", "", "Hello")
    assert (record.language, record.instruction_language) == ("swh_Latn", "swh_Latn")


def test_earlier_turns_and_the_system_stand_in_the_instruction(tmp_path: Path) -> None:
    system, more = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Again"}
    record = _one(tmp_path, {"messages": [system, USER, ASSISTANT, more, {"role": "assistant", "content": "Hello!"}]})
    assert record.instruction == "Be brief.\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Again"
    assert record.output == "Hello!"
    assert _one(tmp_path, {"conversations": [HUMAN, GPT], "system": "Be brief."}).instruction == "Be brief.\n\nHi"


BAD, BAD_TURN = {"role": "assistant", "content": "Go"}, {"from": "gpt", "value": "Go"}


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Hi", "input": "", "prefered_output": "Hello", "rejected_output": "Go"},
        {"instruction": "Hi", "chosen": "Hello", "rejected": "Go"},
        {"prompt": "Hi", "chosen": "Hello", "rejected": "Go"},
        {"prompt": [USER], "chosen": [ASSISTANT], "rejected": [BAD]},
        {"prompt": "Hi", "chosen": [ASSISTANT], "rejected": [BAD]},
        {"chosen": [USER, ASSISTANT], "rejected": [USER, BAD]},
        {"conversations": [HUMAN], "chosen": GPT, "rejected": BAD_TURN},
    ],
)
def test_one_pair_in_every_form(tmp_path: Path, row: dict[str, Any]) -> None:
    record = _pair(tmp_path, row)
    assert (record.instruction, record.input, record.chosen, record.rejected) == ("Hi", "", "Hello", "Go")


def test_a_rows_own_language_counts_where_the_caller_says_none(tmp_path: Path) -> None:
    path = _file(tmp_path, [{**GOOD, "language": "Swahili"}, {**GOOD, "language": "th", "output": "ก"}])
    assert [record.language for record in read_instructions(path)] == ["swh_Latn", "tha_Thai"]
    assert {record.language for record in read_instructions(path, language="de")} == {"deu_Latn"}
    with pytest.raises(InputError, match="names no `language`"):
        list(read_instructions(_file(tmp_path, [GOOD])))
    with pytest.raises(InputError, match=r":1: field `language`: unknown language 'python'"):
        list(read_instructions(_file(tmp_path, [{**GOOD, "language": "python"}])))


def test_columns_of_other_peoples_that_are_named_as_ours(tmp_path: Path) -> None:
    record = _one(tmp_path, {**GOOD, "response": "Sure!", "made_by": 3, "kind": ["x"], "source": None, "id": 7})
    assert (record.response, record.made_by, record.kind, record.source) == ("", "", "", "alpaca")
    assert record.id == "alpaca:7:swh_Latn"
    with pytest.raises(InputError, match=r":1: response: Input should be"):
        _one(tmp_path, {**GOOD, "id": "1", "parallel_id": "", "response": "Sure!"})


def test_wrong_arguments_fail_before_the_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown form 'alpca'; there are auto, xllms"):
        read_instructions(tmp_path / "none", "alpca")
    with pytest.raises(UnknownLanguage):
        read_preferences(tmp_path / "none", language="Klingonish")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        list(read_instructions(tmp_path / "none"))


def test_marks_of_byte_order_and_mixed_line_ends_are_taken(tmp_path: Path) -> None:
    line = json.dumps(GOOD).encode()
    for start in (b"", b"\xef\xbb\xbf"):
        path = tmp_path / "mixed.jsonl"
        path.write_bytes(start + line + b"\r\n" + line + b"\r" + line + b"\n\n\r\n\xef\xbb\xbf" + line)
        assert len(list(read_instructions(path, language="en"))) == 4
    path.write_bytes(b"\xef\xbb\xbf[" + line + b",\r\n" + line + b"]\r\n")
    assert len(list(read_instructions(path, language="en"))) == 2


def test_ten_megabytes_in_one_field(tmp_path: Path) -> None:
    assert len(_one(tmp_path, {**GOOD, "output": "x\n" * 5_000_000}).output) == 10_000_000
    with pytest.raises(InputError) as caught:
        _one(tmp_path, {**GOOD, "output": ["x" * 10_000_000]})
    assert len(str(caught.value)) < 500


BROKEN = [
    (b'{"instruction": "a", "output": "b\xff"}', "not UTF-8 text (byte 87); save it as UTF-8"),
    (b'{"instruction": "a", "output": "\\ud83d"}', "field `output` holds half a character"),
    (b'{"instruction": "a", "output": "b\\u0000"}', "field `output` holds a NUL character"),
    (b'{"instruction": "a", "output": "b\0"}', "holds NUL bytes"),
    (b"\0\0\0\0", "holds NUL bytes"),
    (b'{"instruction": "a", "output": null}', "field `output` is not a text but null"),
    (b'{"instruction": null, "output": "b"}', "field `instruction` is not a text but null"),
    (b'{"instruction": "a", "outp', "not JSON: Unterminated string"),
    (b'{"instruction": "a"}', "field `output` is missing (has: instruction)"),
    (b'{"\\ud800\\n": "a"}', "field `instruction` is missing (has: \\ud800\\n)"),
    (b"3", "not an object with instruction: 3"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"a":' * 100_000, "nested too deeply"),
    (b"1" * 5000, "not JSON that can be read"),
]


@pytest.mark.parametrize(("line", "message"), BROKEN)
def test_a_broken_line_is_named_and_can_be_skipped(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "broken.jsonl"
    good = json.dumps(GOOD).encode()
    path.write_bytes(good + b"\n" + line + b"\n" + good + b"\n")
    assert path.read_bytes().find(b"\xff") in (-1, 87)
    with pytest.raises(InputError) as caught:
        list(read_instructions(path, language="en"))
    assert str(caught.value).startswith(f"{path}:2: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    reading = read_instructions(path, language="en", skip_bad=True)
    assert len(list(reading)) == 2
    assert [where for where, _ in reading.skipped] == [f"{path}:2"]
    assert message in reading.skipped[0][1]


def test_after_a_break_in_an_array_the_rest_is_counted_as_lost(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_text(json.dumps([GOOD, {**GOOD, "output": 3}, GOOD], indent=1)[:-20])
    reading = read_instructions(path, language="en", skip_bad=True)
    assert len(list(reading)) == 1
    assert [reason.partition(":")[0] for _, reason in reading.skipped] == [
        "field `output` is not a text but 3",
        "not JSON in record 2 (counted from 0)",
    ]
    assert "cut off here" in reading.skipped[1][1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"conversations": []}, "field `conversations` is not a list of turns but []"),
        ({"conversations": [HUMAN]}, "does not end with an answer"),
        ({"conversations": [GPT]}, "no question of the human"),
        ({"messages": [{"role": "tool", "content": "3"}, ASSISTANT]}, 'has a turn of "tool"'),
        ({"messages": [USER, {"role": "assistant", "content": None}]}, "field `messages.content` is not a text"),
        ({"instruction": "a", "instances": []}, "field `instances` holds no instance"),
        ({"instruction": "a", "instances": [{"input": "b"}]}, "instance 0: field `output` is missing"),
        ({"text": "a"}, "no known form (has: text); there are xllms, self-instruct"),
        ({"prompt": [USER], "completion": "Hello"}, "field `completion` is not a list of turns"),
    ],
)
def test_what_a_row_lacks_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        _one(tmp_path, row)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": None}, "field `rejected` is not a text but null"),
        ({"chosen": [ASSISTANT], "rejected": [BAD]}, "no question of the human"),
        ({"chosen": [USER, ASSISTANT, USER], "rejected": [USER, BAD]}, "field `chosen` is not one answer"),
        ({"conversations": [HUMAN], "chosen": "b", "rejected": GPT}, "field `chosen` is not a list of turns"),
    ],
)
def test_what_a_pair_lacks_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        _pair(tmp_path, row)
    assert message in str(caught.value)


def test_an_xllms_record_is_held_to_its_fields(tmp_path: Path) -> None:
    record = Instruction(id="1", instruction="a", output="b", language="swh_Latn", source="cldr").model_dump()
    assert _one(tmp_path, record).model_dump() == record
    with pytest.raises(InputError, match="field `language` is no FLORES code"):
        _one(tmp_path, {**record, "language": "sw"})
    with pytest.raises(InputError, match=r":1: output: field is missing"):
        _one(tmp_path, {name: value for name, value in record.items() if name != "output"}, form="xllms")


def test_nothing_in_the_file_is_an_error(tmp_path: Path) -> None:
    for text in ("", "\n\n", "[]", "[ ]\n"):
        (tmp_path / "empty.json").write_text(text)
        with pytest.raises(InputError, match="holds no records"):
            list(read_instructions(tmp_path / "empty.json", language="en"))


def test_parquet_of_any_form_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    rows = [{"messages": [USER, ASSISTANT]}] * 3000
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=700)
    assert [record.output for record in read_instructions(path, language="en")] == ["Hello"] * 3000
    pq.write_table(pa.table({"instruction": ["a", None], "input": [None, None], "output": ["b", "c"]}), path)
    reading = read_instructions(path, language="en", skip_bad=True)
    assert len(list(reading)) == 1
    assert reading.skipped == [(f"{path}: row 1", "field `instruction` is not a text but null")]


def test_damaged_parquet_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.Table.from_pylist([GOOD] * 10), path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="cannot be read as Parquet after row 0"):
        list(read_instructions(path, language="en"))
