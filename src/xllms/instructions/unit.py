"""One language's work: its records from all sources and shards, cleaned, into its files.

The records pass by one after another; only CLDR's facts, which a recipe bounds, are held. The file of the rejected ones
takes its name last: where it is, the language is done.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from xllms.instructions.cldr import Drawn
from xllms.instructions.cleaning import Cleaner, Placed
from xllms.instructions.shards import Shard, ShardResult
from xllms.instructions.spool import REJECTED, Spool, farthest, line_of
from xllms.manifest import whole_or_absent
from xllms.records import Instruction
from xllms.splits import SPLITS

# Of two records that repeat each other the one that is held out stays.
_ORDER = tuple(reversed(SPLITS))
_FACT = b'"source": "cldr"'  # within a text its quotes would be escaped


@dataclass(frozen=True)
class Origins:
    """Where a language's records come from.

    Attributes:
        code: of the language.
        drawn: CLDR's facts.
        own: what the user's sources hold.
        shards: translations into it.
    """

    code: str
    drawn: Drawn
    own: Spool
    shards: tuple[Shard, ...] = ()


def write_unit(folder: Path, origins: Origins, cleaner: Cleaner) -> None:
    """Clean a language's records and write `<split>/<code>.jsonl` for each split that has any, and the rejected ones.

    CLDR's facts are no text that anybody wrote: they are alike by nature, and stay.

    Args:
        folder: of the stage.
        origins: the language and its records.
        cleaner: takes out repeats and text of the benchmarks.
    """
    name = f"{origins.code}.jsonl"
    with (
        ExitStack() as scratch,
        whole_or_absent(folder / REJECTED / name) as rejected,
        ExitStack() as stack,
    ):
        files: dict[str, IO[bytes]] = {}

        def write(split: str, line: bytes) -> None:
            if split not in files:
                files[split] = stack.enter_context(whole_or_absent(folder / split / name))
            files[split].write(line)

        rejected.writelines(map(line_of, origins.drawn.rejected))
        rejected.writelines(origins.own.lines(origins.code, REJECTED))
        translated = (
            {split: scratch.enter_context(TemporaryFile(dir=folder)) for split in SPLITS} if origins.shards else {}
        )
        for shard in origins.shards:
            result = ShardResult.read(shard.path)
            rejected.writelines(map(line_of, result.rejected))
            for split, record in result.kept:
                translated[split].write(line_of(record))
        for split, line in _facts(origins, translated):
            write(split, line)
        for one in cleaner.clean(_texts(origins, translated), rejected, folder):
            write(one.split, one.line)


def _facts(origins: Origins, translated: Mapping[str, IO[bytes]]) -> Iterator[tuple[str, bytes]]:
    """CLDR's facts, drawn here or in a source; one that is both stands once, held out if either is."""
    drawn = {one.id: (split, line_of(one)) for split in SPLITS for one in origins.drawn.records[split]}
    for split in SPLITS:
        for name, line in _own_facts(origins, split):
            if name in drawn:
                drawn[name] = farthest(drawn[name][0], split), line
    for split in SPLITS:
        yield from (one for one in drawn.values() if one[0] == split)
        yield from ((split, line) for name, line in _own_facts(origins, split) if name not in drawn)
        yield from ((split, line) for line in _reread(translated.get(split)) if _FACT in line)


def _own_facts(origins: Origins, split: str) -> Iterator[tuple[str, bytes]]:
    for line in origins.own.lines(origins.code, split):
        if _FACT in line:
            yield json.loads(line)["id"], line


def _texts(origins: Origins, translated: Mapping[str, IO[bytes]]) -> Iterator[Placed]:
    """All but the facts, those first that repeats of them should give way to."""
    for split in _ORDER:
        for line in chain(origins.own.lines(origins.code, split), _reread(translated.get(split))):
            if _FACT not in line:
                yield Placed(split, line, Instruction.model_validate_json(line))


def _reread(file: IO[bytes] | None) -> Iterable[bytes]:
    if file is None:
        return ()
    file.seek(0)
    return file
