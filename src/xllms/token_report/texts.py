"""What is counted: records of a stage's folder or of a file in any form, or parallel sentences in a table."""

import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from xllms.errors import InputError
from xllms.formats import read_instructions
from xllms.languages import UnknownLanguage, get
from xllms.records import Instruction
from xllms.splits import SPLITS

_TABLES = (".tsv", ".tsv.xz")
_ROW_NUMBERS = ("", "id", "line")


@dataclass(frozen=True, slots=True)
class Text:
    """One text in one language.

    Attributes:
        language: FLORES code of `completion`.
        completion: the text whose cost is measured.
        prompt: instruction and input in front of it; none for a sentence that stands alone.
        parallel_id: the same for one text in all its languages; may be empty.
    """

    language: str
    completion: str
    prompt: tuple[str, str] | None
    parallel_id: str


def read_texts(data: Path, language: str = "") -> Iterator[Text]:
    """The texts of a folder or a file.

    Args:
        data: folder of a finished instructions stage; a JSON, JSONL or Parquet file in any form that `formats` reads;
            or a TSV (perhaps .xz) with a language per column and parallel sentences per row.
        language: of the responses in a file whose rows do not name it.

    Raises:
        InputError: nothing there that can be read; names the file, and the line or the column.
    """
    if data.is_dir():
        return _stage(data)
    if data.name.endswith(_TABLES):
        return _table(data)
    return map(_text, read_instructions(data, language=language))


def _text(record: Instruction) -> Text:
    return Text(record.language, record.output, (record.instruction, record.input), record.parallel_id)


def _stage(folder: Path) -> Iterator[Text]:
    files = [path for split in SPLITS for path in sorted((folder / split).glob("*.jsonl"))]
    if not files:
        raise InputError(
            f"{folder}: no records here (train/*.jsonl); name the folder of an instructions stage, or a file"
        )
    for path in files:
        yield from map(_text, read_instructions(path, "xllms"))


def _table(path: Path) -> Iterator[Text]:
    try:
        with _open(path) as file:
            names = [name.strip() for name in file.readline().rstrip("\r\n").split("\t")]
            codes = [_code(name, path) for name in names]
            if not any(codes):
                raise InputError(f"{path}: no column is a language; its first line should name one per column")
            for number, line in enumerate(file, 2):
                cells = line.rstrip("\r\n").split("\t")  # no quoting: sentences hold quotes of their own
                if len(cells) != len(codes):
                    raise InputError(f"{path}:{number}: {len(cells)} columns where the first line has {len(codes)}")
                for code, cell in zip(codes, cells, strict=True):
                    if code and cell.strip():
                        yield Text(code, cell, None, str(number))
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from None


def _open(path: Path) -> IO[str]:
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8-sig", newline="\n")
    return path.open(encoding="utf-8-sig", newline="\n")


def _code(name: str, path: Path) -> str:
    """FLORES code of a column's language; empty for row numbers."""
    if name.casefold() in _ROW_NUMBERS:
        return ""
    try:
        return get(name).code
    except UnknownLanguage as error:
        raise InputError(f"{path}: column {name!r}: {error}") from None
