"""Sources `file` and `hub`: instruction data in any form that `formats` reads."""

from xllms.errors import InputError
from xllms.formats import Reading, read_instructions
from xllms.formats.fields import digest
from xllms.formats.hub import read_hub
from xllms.instructions.alpaca import DUPLICATE, split_of
from xllms.instructions.rejected import Rejected
from xllms.recipe import FileSource, HubSource
from xllms.records import Instruction
from xllms.splits import SPLITS

BySplit = dict[str, list[Instruction]]


def file_records(settings: FileSource | HubSource, seed: int) -> tuple[BySplit, list[Rejected]]:
    """The records of one source by split; its repeated ones, and with `skip_bad` its broken ones.

    Raises:
        InputError: the file or data set cannot be read, or (without `skip_bad`) a record is broken; says where.
    """
    records: BySplit = {split: [] for split in SPLITS}
    rejected: list[Rejected] = []
    languages: dict[str, str] = {}
    by_parallel: dict[str, str] = {}
    by_prompt: dict[tuple[str, str], str] = {}
    name = str(settings.path) if isinstance(settings, FileSource) else settings.dataset
    reading = _reading(settings)
    for record in reading:
        whole = _identified(record)
        if whole.id in languages:
            rejected.append(_rejected(whole, DUPLICATE))
            continue
        languages[whole.id] = whole.language
        # Held out by prompt, and in all languages or in none.
        prompt = whole.instruction, whole.input
        split = by_parallel.get(whole.parallel_id) or by_prompt.get(prompt)
        split = split or split_of(settings, seed, whole.parallel_id)
        by_parallel[whole.parallel_id] = by_prompt[prompt] = split
        records[split].append(whole)
    if not languages:
        raise InputError(f"{name}: holds no records; fill it or take the source out")
    code = next(iter(languages.values()))  # a broken row may not say its own
    for where, reason in reading.skipped:
        rejected.append(Rejected(id=where, language=code, source=settings.type, reason=f"broken: {reason}"))
    return records, rejected


def _reading(settings: FileSource | HubSource) -> Reading[Instruction]:
    languages, bad = (settings.language, settings.instruction_language), settings.skip_bad
    about = dict(zip(("language", "instruction_language"), languages, strict=True))
    if isinstance(settings, FileSource):
        return read_instructions(settings.path, settings.form, **about, source=settings.path.stem, skip_bad=bad)
    return read_hub(settings.dataset, settings.split, settings.columns, **about, skip_bad=bad)


def _identified(record: Instruction) -> Instruction:
    parallel = (
        record.parallel_id or f"{record.source}:{digest(record.instruction, record.input, record.output).hex()[:16]}"
    )
    return record.model_copy(update={"parallel_id": parallel, "id": f"{parallel}:{record.language}"})


def _rejected(record: Instruction, reason: str) -> Rejected:
    about = {"language": record.language, "source": record.source, "kind": record.kind}
    return Rejected(id=record.parallel_id, **about, reason=reason, text=record.instruction)
