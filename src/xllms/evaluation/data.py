"""Rows of a benchmark's files: from a local folder, or from the hub by id, as the same rows.

TSV is read without quoting (PAWS-X holds raw quotes, and CSV rules would swallow rows); a file that ends in .xz or .gz
is unpacked on the way. A language whose file is not there is left out and said so; none at all is an error.
"""

import csv
import gzip
import lzma
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import IO, Any

from xllms.errors import InputError, one_line
from xllms.evaluation.benchmark import Asked
from xllms.formats.hub import hub_rows
from xllms.formats.json_file import read_values
from xllms.formats.parquet_file import scan_rows

Row = tuple[str, Mapping[str, Any]]  # where it stands, for messages; and its fields
_OPEN: Mapping[str, Callable[..., IO[Any]]] = {".xz": lzma.open, ".gz": gzip.open}
_LARGEST_FIELD = 1 << 24
_SHOWN = 400
_WHOLE = re.compile(r"\d{1,9}")  # str.isdigit takes ² as well, and any length, which int does not


class Files:
    """Where one benchmark's rows are.

    Args:
        asked: names the folder or the hub's data set.
        name: the benchmark, and the folder that its files are in.

    Raises:
        InputError: the folder is not there.
    """

    def __init__(self, asked: Asked, name: str) -> None:
        self._asked, self._name = asked, name
        self.hub = asked.options.hub
        self.root = self._root()
        self._absent: list[str] = []
        self._found = False

    def rows(
        self, names: Sequence[str], config: str = "", split: str = "", header: Sequence[str] = ()
    ) -> list[Row] | None:
        """The rows of one language.

        Args:
            names: files that they may be in, below the folder; the first that is there counts.
            config: of the hub's data set, mostly the language.
            split: of the hub's data set; none: the one that the recipe asks for, or test.
            header: as in `read_rows`.

        Returns:
            None where none of the files is there.

        Raises:
            InputError: a file that cannot be read; names file and line.
        """
        if self.hub:
            self._found = True
            return list(hub_rows(self.hub, split or self._asked.options.split or "test", config or None))
        path = next((self.root / name for name in names if (self.root / name).is_file()), None)
        if path is None:
            self._absent.append(names[0])
            return None
        self._found = True
        found = list(read_rows(path, header))
        if not found:
            raise InputError(f"{path}: holds no items; was the download cut off?")
        return found

    def close(self) -> None:
        """Say which languages were left out.

        Raises:
            InputError: no file was there at all.
        """
        if not self._found:
            wanted = ", ".join(self._absent[:3]) or "its files"
            raise InputError(
                f"{self.root}: none of {self._name}'s files for the evaluation's languages is here (such as {wanted}); "
                f"evaluation.{self._name}.path names another folder, evaluation.languages other languages"
            )
        if self._absent:
            more = f" and {len(self._absent) - 4} more" if len(self._absent) > 4 else ""
            print(
                f"{self._name}: left out, as their files are not in {self.root}: {', '.join(self._absent[:4])}{more}",
                file=sys.stderr,
            )

    def _root(self) -> Path:
        options, data = self._asked.options, self._asked.data
        if options.hub:
            return Path(options.hub)
        if options.path is not None:
            root = options.path
        else:
            assert data is not None, "the recipe sees to it"
            root = data / self._name if (data / self._name).is_dir() else data
        if not root.is_dir():
            raise InputError(f"evaluation.{self._name}: {root}: no such folder")
        return root


def read_rows(path: Path, header: Sequence[str] = ()) -> Iterator[Row]:
    """Rows of a JSON, JSONL, CSV, TSV or Parquet file, perhaps packed (.xz, .gz).

    Args:
        path: of the file.
        header: names of the fields of a CSV or TSV file whose first line is a row already.

    Raises:
        InputError: a row that cannot be read; names file and line.
    """
    packed = path.suffix if path.suffix in _OPEN else ""
    kind = Path(path.stem).suffix if packed else path.suffix
    if kind == ".parquet" and not packed:
        rows: Iterator[tuple[str, Any]] = scan_rows(path)
    elif kind in (".tsv", ".csv"):
        rows = _table(path, packed, tabs=kind == ".tsv", header=header)
    elif packed:
        rows = _packed_lines(path, packed)
    else:
        rows = read_values(path)
    for where, row in rows:
        if not isinstance(row, Mapping):
            raise InputError(f"{where}: an object with the item's fields was expected")
        yield where, row


def field(row: Row, name: str) -> str:
    """A text field that must be there; a number is taken as it is written.

    Raises:
        InputError: it is not; names the place and the fields that are.
    """
    where, fields = row
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        there = one_line(", ".join(map(str, fields))[:_SHOWN]) or "nothing"
        raise InputError(
            f"{where}: no text in field `{name}` (there is {there}); is this file of another version of the benchmark?"
        )
    return str(value)


def number(row: Row, name: str, choices: int, first: int = 0) -> int:
    """The number of the right choice, counted from 0.

    Args:
        row: where it stands.
        name: of the field.
        choices: how many there are.
        first: what the file counts from.

    Raises:
        InputError: no number, or out of range.
    """
    text = field(row, name)
    gold = int(text) - first if _WHOLE.fullmatch(text.strip()) else -1
    if not 0 <= gold < choices:
        raise InputError(
            f"{row[0]}: the right answer is `{one_line(text[:40])}`, but must be {first} to {first + choices - 1}; "
            "copies of some benchmarks have their labels removed"
        )
    return gold


def limited(items: Sequence[Any], asked: Asked, usual: int | None = None) -> tuple[Any, ...]:
    """The first items, as many as asked for, or as the protocol has it."""
    limits = [limit for limit in (asked.options.limit, asked.limit) if limit is not None]
    return tuple(islice(items, min(limits) if limits else usual))


def _table(path: Path, packed: str, *, tabs: bool, header: Sequence[str]) -> Iterator[tuple[str, Any]]:
    csv.field_size_limit(_LARGEST_FIELD)
    style: Mapping[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {}
    number = 1
    try:
        with closing(_text(path, packed)) as file:
            # Without quoting a line is a row: universal newlines would only split at what a field may hold.
            reader = csv.reader((line.replace("\0", "") for line in file), **style)
            head = list(header) or next(reader, [])
            for cells in reader:
                number = reader.line_num
                if len(cells) != len(head):
                    named = "there are to be" if header else "the first line names"
                    raise InputError(f"{path}:{number}: {len(cells)} fields, but {named} {len(head)}")
                yield f"{path}:{number}", dict(zip(head, cells, strict=True))
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: after line {number}: cannot be read: {error}") from None


def _packed_lines(path: Path, packed: str) -> Iterator[tuple[str, Any]]:
    import json

    try:
        with closing(_text(path, packed)) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path}:{number}", json.loads(line)
    except (OSError, EOFError, lzma.LZMAError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def _text(path: Path, packed: str) -> IO[str]:
    opened = _OPEN.get(packed, open)
    text: IO[str] = opened(path, "rt", encoding="utf-8-sig", newline="\n" if path.suffix != ".csv" else "")
    return text
