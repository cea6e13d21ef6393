"""The user's own sources together: what they hold, each record once, and the digests of what was read."""

from importlib.metadata import version
from pathlib import Path

from xllms.errors import InputError
from xllms.instructions.alpaca import alpaca_records
from xllms.instructions.cldr import Drawn
from xllms.instructions.cleaning import benchmarks_digest
from xllms.instructions.files import file_records
from xllms.instructions.rejected import Rejected
from xllms.manifest import sha256_file
from xllms.recipe import AlpacaSource, CldrSource, HubSource, InstructionsSettings
from xllms.records import Instruction
from xllms.splits import SPLITS


def own_records(settings: InstructionsSettings, seed: int) -> Drawn:
    """The records of all sources but CLDR; what two of them share stands once, held out if one of them holds it out.

    Raises:
        InputError: a source cannot be read, or two of them call different records the same.
    """
    order = {split: number for number, split in enumerate(SPLITS)}
    taken: dict[str, tuple[str, Instruction]] = {}
    rejected: list[Rejected] = []
    for source in settings.sources:
        if isinstance(source, CldrSource):
            continue
        by_split, refused = (
            alpaca_records(source, seed) if isinstance(source, AlpacaSource) else file_records(source, seed)
        )
        rejected += refused
        for split in SPLITS:
            for record in by_split[split]:
                before = taken.get(record.id)
                if before is None:
                    taken[record.id] = (split, record)
                    continue
                texts = [(one.instruction, one.input, one.output) for one in (before[1], record)]
                if texts[0] != texts[1]:
                    raise InputError(f"two sources have different records with the id {record.id}; rename one file")
                held_out = max(before[0], split, key=order.__getitem__)
                taken[record.id] = (held_out, before[1])
                about = {"language": record.language, "source": record.source, "text": record.instruction}
                rejected.append(Rejected(id=record.parallel_id, **about, reason="stands in an earlier source"))
    merged: dict[str, list[Instruction]] = {split: [] for split in SPLITS}
    for split, record in taken.values():
        merged[split].append(record)
    return Drawn(merged, rejected)


def inputs(settings: InstructionsSettings) -> dict[str, str]:
    """Digests of the files that are read, and the version of Babel, which is CLDR's."""
    found = {}
    for source in settings.sources:
        if isinstance(source, CldrSource):
            found["babel"] = version("babel")
            continue
        # Of a data set on the hub its name is all that is known before it is read; shards know what they hold.
        local = Path(source.dataset) if isinstance(source, HubSource) else source.path
        if isinstance(source, HubSource) and not local.is_dir():
            continue
        for path in sorted(local.rglob("*")) if local.is_dir() else [local]:
            if path.is_dir():
                continue
            try:
                found[str(path)] = sha256_file(path)
            except OSError as error:
                raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if settings.contamination.data is not None:
        found["benchmarks"] = benchmarks_digest(settings.contamination.data)
    return found
