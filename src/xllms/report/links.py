"""Where the page links to: the prediction files of its own run, by paths that hold wherever the folder is moved."""

from pathlib import Path
from urllib.parse import quote

from xllms.predictions import SUFFIX, predictions_folder

_FROM_PAGE = Path("..")


def prediction_folder(table: str, model: str) -> str:
    """Address of the folder of one model's predictions, seen from the page."""
    return f"{_address(predictions_folder(_FROM_PAGE, table, model))}/"


def prediction_file(table: str, model: str, key: str) -> str:
    """Address of the file of one model's predictions in one language."""
    return _address(predictions_folder(_FROM_PAGE, table, model) / f"{key}{SUFFIX}")


def _address(path: Path) -> str:
    # A name may hold what an address may not: `a b`, `50%`, `x:sft`.
    return quote(path.as_posix())
