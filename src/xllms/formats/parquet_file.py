"""Parquet, by row group, so that memory does not grow with the file; pyarrow is asked for when it is needed."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from xllms.errors import InputError

# Rows held at once: a row group when writing.
_BATCH = 1024


def scan_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (file with row, counted from 0; row as an object).

    Raises:
        InputError: pyarrow is not installed, or the file cannot be read or is damaged.
    """
    arrow, parquet = _pyarrow(path)
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    yield f"{path}: row {number}", row
                    number += 1
    except (arrow.ArrowException, OSError, ValueError, MemoryError, OverflowError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        shown = "".join(c if c.isprintable() else "?" for c in reason)
        raise InputError(f"{path}: cannot be read as Parquet after row {number}: {shown}") from None


def write_rows(file: IO[bytes], path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows of one shape; the first rows give the columns.

    Raises:
        InputError: pyarrow is not installed.
    """
    arrow, parquet = _pyarrow(path)
    waiting = iter(rows)
    table = arrow.Table.from_pylist(list(itertools.islice(waiting, _BATCH)))
    with parquet.ParquetWriter(file, table.schema, compression="zstd") as writer:
        while table.num_rows:
            writer.write_table(table)
            table = arrow.Table.from_pylist(list(itertools.islice(waiting, _BATCH)), schema=table.schema)


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(f"{path}: Parquet needs pyarrow, which is not installed; run `pip install pyarrow`") from None
    return pyarrow, pyarrow.parquet
