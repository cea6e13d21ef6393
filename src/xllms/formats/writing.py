"""Records into files that other tools read: row by row, so that memory does not grow, and whole or absent."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from xllms.errors import InputError
from xllms.formats.instruction_forms import INSTRUCTION_FORMS
from xllms.formats.parquet_file import write_rows
from xllms.formats.preference_forms import PREFERENCE_FORMS
from xllms.manifest import whole_or_absent
from xllms.records import Instruction, Preference

_Rows = Iterator[dict[str, Any]]


def write_instructions(path: Path, records: Iterable[Instruction], form: str = "xllms") -> int:
    """Write instruction records.

    Args:
        path: .jsonl, .json (an array) or .parquet decides the container.
        records: taken one at a time.
        form: xllms (every field), alpaca (the authors' three fields), trl (prompt and completion), messages or
            sharegpt. Those of one prompt join instruction and input with a blank line.

    Returns:
        How many were written.

    Raises:
        InputError: an unknown form or ending, or pyarrow is missing.
        XllmsError: the disk is full or the folder cannot be written.
    """
    return _write(path, records, form, {name: one.write for name, one in INSTRUCTION_FORMS.items() if one.write})


def write_preferences(path: Path, records: Iterable[Preference], form: str = "xllms") -> int:
    """Write preference pairs.

    Args:
        path: as in `write_instructions`.
        records: taken one at a time.
        form: xllms (every field), authors (`prefered_output`, `rejected_output`), trl (texts) or messages (TRL's, too).

    Returns:
        How many were written.

    Raises:
        InputError: as in `write_instructions`.
        XllmsError: likewise.
    """
    return _write(path, records, form, {name: one.write for name, one in PREFERENCE_FORMS.items() if one.write})


def _write(path: Path, records: Iterable[Any], form: str, shapes: Mapping[str, Callable[[Any], dict[str, Any]]]) -> int:
    shape, container = shapes.get(form), _CONTAINERS.get(path.suffix)
    if shape is None:
        raise InputError(f"cannot write the form {form!r}; there are {', '.join(shapes)}")
    if container is None:
        raise InputError(f"{path}: unknown ending; name the file {', '.join(f'*{end}' for end in _CONTAINERS)}")
    count = 0

    def rows() -> _Rows:
        nonlocal count
        for record in records:
            yield shape(record)
            count += 1

    with whole_or_absent(path) as file:
        container(file, path, rows())
    return count


def _json_lines(file: IO[bytes], path: Path, rows: _Rows) -> None:
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _json_array(file: IO[bytes], path: Path, rows: _Rows) -> None:
    mark = b"[\n"
    for row in rows:
        file.write(mark + json.dumps(row, ensure_ascii=False).encode())
        mark = b",\n"
    file.write(b"[]\n" if mark == b"[\n" else b"\n]\n")


_CONTAINERS: Mapping[str, Callable[[IO[bytes], Path, _Rows], None]] = {
    ".jsonl": _json_lines,
    ".json": _json_array,
    ".parquet": write_rows,
}
