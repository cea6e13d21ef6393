"""The data hub: a data set's rows as records, and a folder of ours sent there, when somebody asks for it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xllms.errors import InputError
from xllms.formats.instruction_forms import INSTRUCTION_FORMS
from xllms.formats.reading import Reading, rows_to_records, said
from xllms.records import Instruction


def read_hub(
    dataset_id: str,
    split: str = "train",
    columns: Mapping[str, str] | None = None,
    *,
    form: str = "auto",
    config: str | None = None,
    language: str = "",
    instruction_language: str = "",
    skip_bad: bool = False,
) -> Reading[Instruction]:
    """Instruction records of a data set on the hub, read as it streams in.

    Args:
        dataset_id: such as `owner/name`, or a local folder that `datasets` can load.
        split: of the data set.
        columns: our name -> the data set's, such as {"instruction": "query"}; the others keep theirs.
        form: as in `read_instructions`.
        config: name of a subset.
        language: as in `read_instructions`.
        instruction_language: likewise.
        skip_bad: likewise.

    Raises:
        InputError: `datasets` is missing, the hub is not in reach, there is no such data set, split or column, or a bad
            record.
    """
    given = said(language, instruction_language, dataset_id)
    rows = hub_rows(dataset_id, split, config, dict(columns or {}))
    return rows_to_records(rows, f"{dataset_id} ({split})", INSTRUCTION_FORMS, form, given, skip_bad)


def push(folder: Path, repo_id: str, *, private: bool = True) -> str:
    """Send a folder to a data set repository on the hub, made where it is not there yet; the address of the commit.

    Credentials are those of `hf auth login` or HF_TOKEN.

    Raises:
        InputError: no such folder, `huggingface_hub` is missing, or the hub refused or is not in reach.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        raise InputError(f"{folder}: no folder with files to send")
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise InputError("huggingface_hub is not installed; run `pip install huggingface_hub`") from None
    api = HfApi()
    try:
        api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id, repo_type="dataset", folder_path=folder, ignore_patterns=["**/.part-*", ".part-*"]
        )
    except Exception as error:
        if not _is_about_the_hub(error):
            raise
        raise InputError(f"{repo_id}: {_reason(error)}; see that `hf auth whoami` answers and send again") from None
    return str(commit.commit_url)


def hub_rows(
    dataset_id: str, split: str, config: str | None = None, columns: Mapping[str, str] | None = None
) -> Iterator[tuple[str, Any]]:
    """Rows of a data set on the hub, as it streams in, each with the place that a message names.

    Raises:
        InputError: as `read_hub`.
    """
    try:
        from datasets import load_dataset
    except ImportError:
        raise InputError(
            f"{dataset_id}: needs `datasets`, which is not installed; run `pip install datasets`"
        ) from None
    number = 0
    try:
        for row in load_dataset(dataset_id, config, split=split, streaming=True):
            yield f"{dataset_id} ({split}) row {number}", _renamed(row, columns or {}, dataset_id)
            number += 1
    except InputError:
        raise
    except Exception as error:
        if not _is_about_the_hub(error):
            raise
        raise InputError(
            f"{dataset_id} ({split}): {_reason(error)}; check the name, or, where the hub is not in reach, download "
            "the files elsewhere (with HF_HUB_OFFLINE unset) and read them from a local folder"
        ) from None


def _renamed(row: Mapping[str, Any], columns: Mapping[str, str], dataset_id: str) -> dict[str, Any]:
    absent = next((theirs for theirs in columns.values() if theirs not in row), None)
    if absent is not None:
        raise InputError(f"{dataset_id}: no column `{absent}`; there are {', '.join(row)}")
    kept = {name: value for name, value in row.items() if name not in columns.values()}
    return kept | {ours: row[theirs] for ours, theirs in columns.items()}


def _is_about_the_hub(error: Exception) -> bool:
    """Whether a library failed on the network, the hub or a file, and not on a mistake of ours."""
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, (OSError, ValueError)) or library in ("huggingface_hub", "datasets", "httpx", "pyarrow")


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
