"""What is exported comes back equal, in every form and container, and is what the other tools read."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import shared_data
from xllms.errors import InputError, XllmsError
from xllms.formats import read_instructions, read_preferences, write_instructions, write_preferences
from xllms.formats.conversations import joined
from xllms.formats.preference_forms import CHOSEN_REASON, REJECTED_REASON
from xllms.records import Instruction, Preference

ENDINGS = (".json", ".jsonl", ".parquet")
# Half characters and NUL are refused by the readers.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
FULL = TEXT.filter(lambda text: bool(text.strip()))
CODE = st.sampled_from(["swh_Latn", "tha_Thai", "arb_Arab", "eng_Latn"])
INSTRUCTIONS = st.builds(
    Instruction, id=FULL, instruction=FULL, input=TEXT, output=FULL, language=CODE, instruction_language=CODE,
    source=FULL.map(str.strip), kind=TEXT, parallel_id=TEXT,
    response=st.sampled_from(["", "translated", "written", "kept"]), made_by=TEXT,
)  # fmt: skip
PREFERENCES = st.builds(
    Preference, id=FULL, instruction=FULL, input=TEXT, chosen=FULL, rejected=TEXT, language=CODE,
    instruction_language=CODE, chosen_reason=FULL, rejected_reason=FULL, parallel_id=TEXT,
)  # fmt: skip


@pytest.mark.parametrize("form", ["xllms", "alpaca", "trl", "messages", "sharegpt"])
@pytest.mark.parametrize("ending", ENDINGS)
@given(records=st.lists(INSTRUCTIONS, min_size=1, max_size=4))
@settings(deadline=None, max_examples=25)
def test_instructions_come_back(form: str, ending: str, records: list[Instruction]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"data{ending}"
        assert write_instructions(path, records, form) == len(records)
        back = list(read_instructions(path, language="sw" if form == "alpaca" else ""))
    if form == "alpaca":  # three fields and no more
        records = [
            again.model_copy(update={name: getattr(record, name) for name in ("instruction", "input", "output")})
            for record, again in zip(records, back, strict=True)
        ]
    elif form != "xllms":  # one prompt, in which the input stands below the instruction
        records = [
            record.model_copy(update={"instruction": joined(record.instruction, record.input), "input": ""})
            for record in records
        ]
    assert back == records


@pytest.mark.parametrize("form", ["xllms", "authors", "trl", "messages"])
@pytest.mark.parametrize("ending", ENDINGS)
@given(records=st.lists(PREFERENCES, min_size=1, max_size=4))
@settings(deadline=None, max_examples=25)
def test_preferences_come_back(form: str, ending: str, records: list[Preference]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"data{ending}"
        assert write_preferences(path, records, form) == len(records)
        back = list(read_preferences(path, language="sw" if form == "authors" else ""))
    if form == "authors":
        names = ("instruction", "input", "chosen", "rejected")
        assert {(one.chosen_reason, one.rejected_reason) for one in back} == {(CHOSEN_REASON, REJECTED_REASON)}
        assert [[getattr(one, n) for n in names] for one in back] == [[getattr(r, n) for n in names] for r in records]
        return
    if form != "xllms":
        records = [
            record.model_copy(update={"instruction": joined(record.instruction, record.input), "input": ""})
            for record in records
        ]
    assert back == records


@given(INSTRUCTIONS, PREFERENCES)
@settings(deadline=None, max_examples=5)
def test_every_field_of_a_record_is_drawn(instruction: Instruction, preference: Preference) -> None:
    assert instruction.model_fields_set == set(Instruction.model_fields)
    assert preference.model_fields_set == set(Preference.model_fields)


def test_the_authors_forms_have_their_fields_and_nothing_else(tmp_path: Path) -> None:
    record = Instruction(id="1", instruction="a", output="b", language="swh_Latn", source="s")
    write_instructions(tmp_path / "a.json", [record], "alpaca")
    assert json.loads((tmp_path / "a.json").read_text()) == [{"instruction": "a", "input": "", "output": "b"}]
    pair = Preference(
        id="1", instruction="a", chosen="b", rejected="c", language="swh_Latn", chosen_reason="", rejected_reason=""
    )
    write_preferences(tmp_path / "p.json", [pair], "authors")
    assert json.loads((tmp_path / "p.json").read_text()) == [
        {"instruction": "a", "input": "", "prefered_output": "b", "rejected_output": "c"}
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("form", "kind"), [("trl", "prompt-completion"), ("messages", "messages")])
def test_datasets_and_trl_take_an_export(tmp_path: Path, form: str, kind: str) -> None:
    datasets = pytest.importorskip("datasets")
    utilities = pytest.importorskip("trl.data_utils")
    demo = shared_data("llamafactory_demo", "alpaca_zh_demo.json")
    for ending, builder in ((".jsonl", "json"), (".parquet", "parquet")):
        path = tmp_path / f"data{ending}"
        count = write_instructions(path, read_instructions(demo, language="zh"), form)
        loaded = datasets.load_dataset(builder, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
        assert len(loaded) == count > 900
        assert utilities.is_conversational(loaded[0]) == (kind == "messages")
        assert set(loaded["language"]) == {"zho_Hans"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path, ending: str) -> None:
    record = Instruction(id="1", instruction="a", output="b", language="swh_Latn", source="s")
    path = tmp_path / f"data{ending}"
    write_instructions(path, [record])
    before = path.read_bytes()

    def broken() -> Iterator[Instruction]:
        for _ in range(3000):
            yield record
        raise InputError("the source is broken")

    with pytest.raises(InputError, match="the source is broken"):
        write_instructions(path, broken())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_records_are_taken_as_they_are_written(tmp_path: Path) -> None:
    """A list of all rows would take 60 MB here."""
    import tracemalloc

    def many() -> Iterator[Instruction]:
        for number in range(200):
            yield Instruction(
                id=str(number), instruction="a" * 100_000, output="b" * 200_000, language="swh_Latn", source="s"
            )

    for name in ("a.json", "a.jsonl"):
        tracemalloc.start()
        assert write_instructions(tmp_path / name, many()) == 200
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (tmp_path / name).stat().st_size > 60_000_000
        assert peak < 10_000_000
        (tmp_path / name).unlink()


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    none: list[Any] = []
    with pytest.raises(InputError, match=r"cannot write the form 'self-instruct'; there are xllms"):
        write_instructions(tmp_path / "a.json", none, "self-instruct")
    with pytest.raises(InputError, match=r"a.txt: unknown ending; name the file \*.jsonl, \*.json, \*.parquet"):
        write_instructions(tmp_path / "a.txt", none)
    (tmp_path / "file").write_text("")
    with pytest.raises(XllmsError, match="cannot be written"):
        write_instructions(tmp_path / "file" / "a.json", none)
    for ending in ENDINGS:
        assert write_instructions(tmp_path / f"none{ending}", none) == 0
        with pytest.raises(InputError, match="holds no records"):
            list(read_instructions(tmp_path / f"none{ending}"))
