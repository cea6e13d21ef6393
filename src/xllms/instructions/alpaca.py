"""Source `alpaca`: the user's own data in Alpaca form, a JSON array or JSON lines."""

from collections.abc import Iterator

from xllms.errors import InputError
from xllms.formats.fields import as_row, digest, text
from xllms.formats.json_file import read_values
from xllms.languages import get
from xllms.recipe import AlpacaSource, Shares
from xllms.records import Instruction


def alpaca_records(settings: AlpacaSource) -> Iterator[Instruction]:
    """The records of one file, in order; equal ones have one id.

    Raises:
        InputError: the file cannot be read, is empty or cut off, or a record lacks what it needs; names file
            and line.
    """
    language, asked_in = get(settings.language).code, get(settings.instruction_language).code
    found = False
    for where, value in read_values(settings.path):
        found = True
        row = as_row(value, where, "instruction, input, output")
        fields = {name: text(row, name, where, optional=name == "input") for name in ("instruction", "input", "output")}
        parallel_id = f"alpaca:{digest(*fields.values()).hex()[:16]}"
        yield Instruction(
            id=f"{parallel_id}:{language}",
            **fields,
            language=language,
            instruction_language=asked_in,
            source="alpaca",
            parallel_id=parallel_id,
        )
    if not found:
        raise InputError(f"{settings.path}: holds no records; fill it or take the source out")


def split_of(settings: Shares, seed: int, *prompt: str) -> str:
    """The split of a prompt: it comes from the seed and the prompt alone, so two responses to one never part."""
    point = int.from_bytes(digest(str(seed), *prompt)[:8]) / 2**64
    for split in ("validation", "feedback", "evaluation"):
        share: float = getattr(settings, f"{split}_share")
        if point < share:
            return split
        point -= share
    return "train"
