"""Predictions on disk: one Parquet file for a model's answers to one task, with prompt, output and verdicts.

Parquet, since people read it with pandas or DuckDB beside this tool; a file is whole or absent.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet

from xllms.errors import InputError
from xllms.manifest import whole_or_absent
from xllms.records import Prediction, parse_record

SUFFIX = ".parquet"
_TEXT = ("id", "benchmark", "model", "language", "kind", "prompt", "output", "parsed", "reference", "source")
_SCHEMA = arrow.schema(
    [
        *((name, arrow.string()) for name in _TEXT),
        ("correct", arrow.bool_()),
        ("verdict", arrow.string()),
        ("found_language", arrow.string()),
        ("scores", arrow.map_(arrow.string(), arrow.float64())),
    ]
)


def predictions_folder(run: Path, table: str, model: str) -> Path:
    """Where a run keeps one model's predictions for one table of scores."""
    return run / "evaluation" / "predictions" / table / model


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write a task's predictions.

    Raises:
        XllmsError: the disk is full or the folder cannot be written.
    """
    rows = [_row(prediction) for prediction in predictions]
    with whole_or_absent(path) as file:
        parquet.write_table(arrow.Table.from_pylist(rows, schema=_SCHEMA), file, compression="zstd")


def read_predictions(path: Path) -> list[Prediction]:
    """A task's predictions, in the order of its items.

    Raises:
        InputError: no such file, or not one of predictions; says how it is made again.
    """
    try:
        rows = parquet.read_table(path).to_pylist()
    except (arrow.ArrowException, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(
            f"{path}: cannot be read as predictions: {reason}; remove it and run `xllms evaluate RECIPE` again"
        ) from None
    return list(_records(rows, path))


def _row(prediction: Prediction) -> dict[str, Any]:
    row = prediction.model_dump()
    # A model may write half a surrogate pair, which no file of text can hold.
    row |= {name: row[name].encode("utf-8", "replace").decode() for name in _TEXT if row[name] is not None}
    return row | {"scores": list(prediction.scores.items())}


def _records(rows: Sequence[dict[str, Any]], path: Path) -> Iterator[Prediction]:
    for number, row in enumerate(rows):
        yield parse_record(row | {"scores": dict(row.get("scores") or ())}, Prediction, f"{path}: row {number}")
