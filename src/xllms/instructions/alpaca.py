"""Source `alpaca`: the user's own data in Alpaca form, a JSON array or JSON lines."""

from xllms.errors import InputError
from xllms.formats.fields import as_row, digest, text
from xllms.formats.json_file import read_values
from xllms.instructions.rejected import Rejected
from xllms.languages import get
from xllms.recipe import AlpacaSource, Shares
from xllms.records import Instruction
from xllms.splits import SPLITS

DUPLICATE = "stands earlier in the file"


def alpaca_records(settings: AlpacaSource, seed: int) -> tuple[dict[str, list[Instruction]], list[Rejected]]:
    """The records of one file by split, and its repeated ones.

    The split comes from the seed and the prompt alone, so two responses to one prompt never part.

    Raises:
        InputError: the file cannot be read, is empty or cut off, or a record lacks what it needs; names file
            and line.
    """
    language, asked_in = get(settings.language).code, get(settings.instruction_language).code
    records: dict[str, list[Instruction]] = {split: [] for split in SPLITS}
    rejected: list[Rejected] = []
    seen: set[str] = set()
    for where, value in read_values(settings.path):
        row = as_row(value, where, "instruction, input, output")
        fields = {name: text(row, name, where, optional=name == "input") for name in ("instruction", "input", "output")}
        parallel_id = f"alpaca:{digest(*fields.values()).hex()[:16]}"
        if parallel_id in seen:
            again = {"id": parallel_id, "language": language, "source": "alpaca", "text": fields["instruction"]}
            rejected.append(Rejected(**again, reason=DUPLICATE))
            continue
        seen.add(parallel_id)
        split = split_of(settings, seed, fields["instruction"], fields["input"])
        record = Instruction(
            id=f"{parallel_id}:{language}",
            **fields,
            language=language,
            instruction_language=asked_in,
            source="alpaca",
            parallel_id=parallel_id,
        )
        records[split].append(record)
    if not seen:
        raise InputError(f"{settings.path}: holds no records; fill it or take the source out")
    return records, rejected


def split_of(settings: Shares, seed: int, *prompt: str) -> str:
    """The split of a prompt: it comes from the seed and the prompt alone."""
    point = int.from_bytes(digest(str(seed), *prompt)[:8]) / 2**64
    for split in ("validation", "feedback", "evaluation"):
        share: float = getattr(settings, f"{split}_share")
        if point < share:
            return split
        point -= share
    return "train"
