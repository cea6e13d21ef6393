"""Whatever is in a file, the readers give records or one line that says what is wrong; nothing else."""

import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xllms.errors import InputError
from xllms.formats import read_instructions, read_preferences
from xllms.formats.instruction_forms import INSTRUCTION_FORMS
from xllms.formats.preference_forms import PREFERENCE_FORMS
from xllms.records import Instruction, Preference

READERS = (read_instructions, read_preferences)
INSTRUCTION = Instruction(
    id="a:1", instruction="Sema «ndiyo».", input="\n", output="ndiyo ✓", language="swh_Latn", source="a"
)
PREFERENCE = Preference(
    id="b", instruction="ใช่", chosen="ใช่", rejected="no", language="tha_Thai", chosen_reason="c", rejected_reason="d"
)
ROWS: list[Any] = [
    *(form.write(INSTRUCTION) for form in INSTRUCTION_FORMS.values() if form.write),
    *(form.write(PREFERENCE) for form in PREFERENCE_FORMS.values() if form.write),
    {"instruction": "a", "instances": [{"input": "", "output": "c"}, {"output": "d"}]},
    {"conversations": [{"from": "human", "value": "x"}], "chosen": {"from": "gpt", "value": "y"}, "rejected": [{}]},
]


def _check(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data"
        path.write_bytes(content)
        for read in READERS:
            for skip_bad in (False, True):
                _read(read, path, skip_bad)


def _read(read: Callable[..., Any], path: Path, skip_bad: bool) -> None:
    reading = read(path, language="sw", skip_bad=skip_bad)
    try:
        for record in reading:
            record.to_json().encode()
    except InputError as error:
        said = str(error).removeprefix(str(path))
        assert said != str(error), "names the file"
        assert said.isprintable() and len(said) < 400
    assert skip_bad or reading.skipped == []
    for where, reason in reading.skipped:
        assert where.startswith(str(path)) and reason.isprintable()


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=150)
def test_random_bytes(content: bytes) -> None:
    _check(content)


@given(st.lists(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*ROWS[0], *ROWS[-1], "role", "content", "from", "value", "messages"]), inner),
    max_leaves=12,
), max_size=3), st.booleans())  # fmt: skip
@settings(deadline=None, max_examples=200)
def test_random_values_under_the_names_of_known_fields(values: list[Any], array: bool) -> None:
    _check((json.dumps(values) if array else "\n".join(map(json.dumps, values))).encode())


def _mutated(draw: st.DrawFn, content: bytes) -> bytes:
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        what = draw(st.sampled_from(["flip", "cut", "insert", "drop", "swap"]))
        if what == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif what == "cut":
            del data[at:]
        elif what == "drop":
            del data[at : at + draw(st.integers(1, 20))]
        elif what == "insert":
            tokens = [b"\0", b"\xff", b"\\ud800", b"null", b"[", b"{", b'"', b"\r", b"\xef\xbb\xbf", b"1e999", b","]
            data[at:at] = draw(st.sampled_from(tokens))
        else:
            data[at:] = data[at:][::-1]
    return bytes(data)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_mutated_json(data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.sampled_from(ROWS), min_size=1, max_size=4))
    lines = [json.dumps(row, ensure_ascii=data.draw(st.booleans())) for row in rows]
    whole = "[" + ",\n".join(lines) + "]" if data.draw(st.booleans()) else "\n".join(lines) + "\n"
    _check(data.draw(st.composite(lambda draw: _mutated(draw, whole.encode()))()))


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_mutated_parquet(data: st.DataObject) -> None:
    table = pa.Table.from_pylist([data.draw(st.sampled_from(ROWS[:-1]))] * 3)
    sink = io.BytesIO()
    pq.write_table(table, sink)
    _check(data.draw(st.composite(lambda draw: _mutated(draw, sink.getvalue()))()))


@pytest.mark.parametrize("row", ROWS[:-1])
def test_the_rows_that_are_mutated_are_good_ones(row: Any, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(row))
    read = read_preferences if {"rejected", "rejected_output"} & row.keys() else read_instructions
    assert list(read(path, language="sw"))
