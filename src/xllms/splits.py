"""The four splits of the instruction data, and how later stages read them."""

from pathlib import Path

from xllms.errors import InputError
from xllms.formats.fields import digest
from xllms.manifest import MANIFEST, read_manifest
from xllms.records import Instruction, read_jsonl

SPLITS = ("train", "validation", "feedback", "evaluation")


def read_split(folder: Path, split: str, *, required: bool = True) -> dict[str, list[Instruction]]:
    """The records of one split of a finished instructions stage.

    Args:
        folder: the stage's folder, such as runs/quickstart/instructions.
        split: one of `SPLITS`.
        required: whether a split that holds nothing is an error.

    Returns:
        FLORES code -> records, in the order of the codes; a language without records here is left out.

    Raises:
        InputError: an unknown split, a stage that is not finished, or a split that holds nothing.
    """
    if split not in SPLITS:
        raise InputError(f"unknown split `{split}`; there are {', '.join(SPLITS)}")
    read_manifest(folder)
    paths = sorted((folder / split).glob("*.jsonl"))
    if not paths and required:
        raise InputError(
            f"{folder / split}: no language has records in this split; raise `{split}` of a source in "
            "`instructions.sources` and run the stage again with `--overwrite`"
        )
    return {path.stem: list(read_jsonl(path, Instruction)) for path in paths}


def asked_in_evaluation(folder: Path | None) -> frozenset[str]:
    """`prompt_key` of all that the evaluation asks of an instructions stage; empty where none is finished there."""
    if folder is None or not (folder / MANIFEST).exists():
        return frozenset()
    paths = sorted((folder / "evaluation").glob("*.jsonl"))
    records = (record for path in paths for record in read_jsonl(path, Instruction))
    return frozenset(prompt_key(one.instruction, one.input) for one in records)


def prompt_key(instruction: str, given: str) -> str:
    """Identity of what is asked, whatever space stands around it."""
    return digest(instruction.strip(), given.strip()).hex()[:32]
