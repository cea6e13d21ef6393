"""Sources `file` and `hub`: instruction data in any form that `formats` reads."""

from collections.abc import Iterator

from xllms.errors import InputError
from xllms.formats import Reading, read_instructions
from xllms.formats.fields import digest
from xllms.formats.hub import read_hub
from xllms.instructions.alpaca import split_of
from xllms.instructions.compact_map import CompactMap
from xllms.instructions.rejected import Rejected
from xllms.recipe import FileSource, HubSource
from xllms.records import Instruction
from xllms.splits import SPLITS


def file_records(settings: FileSource | HubSource) -> Iterator[Instruction | Rejected]:
    """The records of one source, in order, each with its ids; with `skip_bad`, its broken ones at the end.

    Raises:
        InputError: the file or data set cannot be read, or (without `skip_bad`) a record is broken; says where.
    """
    code = ""
    name = str(settings.path) if isinstance(settings, FileSource) else settings.dataset
    reading = _reading(settings)
    for record in reading:
        code = code or record.language
        yield _identified(record)
    if not code:
        raise InputError(f"{name}: holds no records; fill it or take the source out")
    for where, reason in reading.skipped:  # a broken row may not say its own language
        yield Rejected(id=where, language=code, source=settings.type, reason=f"broken: {reason}")


class PromptSplits:
    """Splits of one source's records: a prompt is held out with all its answers, and in all languages or in none.

    Args:
        settings: shares of the splits.
        seed: decides with the prompt.
    """

    def __init__(self, settings: FileSource | HubSource, seed: int) -> None:
        self._settings, self._seed = settings, seed
        self._known = CompactMap(1)

    def __call__(self, record: Instruction) -> str:
        """The split of the next record."""
        prompt = record.instruction, record.input
        known = self._known.get(record.parallel_id)
        if known is None:
            known = self._known.get(prompt)
        if known is None:
            known = SPLITS.index(split_of(self._settings, self._seed, record.parallel_id))
        self._known.set(record.parallel_id, known)
        self._known.set(prompt, known)
        return SPLITS[known]


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
