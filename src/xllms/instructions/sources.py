"""The user's own sources together: each record once, laid down by language, and the digests of what was read."""

from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from xllms.errors import InputError
from xllms.instructions.alpaca import alpaca_records, split_of
from xllms.instructions.cleaning import benchmarks_digest
from xllms.instructions.compact_map import CompactMap
from xllms.instructions.files import PromptSplits, file_records
from xllms.instructions.rejected import Rejected
from xllms.instructions.spool import Spool, SpoolWriter, farthest, remove_spool
from xllms.manifest import disk_error, sha256_file
from xllms.recipe import AlpacaSource, CldrSource, FileSource, HubSource, InstructionsSettings
from xllms.records import Instruction
from xllms.splits import SPLITS

DUPLICATE = "stands earlier in the file"
ELSEWHERE = "stands in an earlier source"
OwnSource = AlpacaSource | FileSource | HubSource
_SPLIT_BITS, _SOURCE_BITS = 2, 16
_SPLITS, _SOURCES = (1 << _SPLIT_BITS) - 1, (1 << _SOURCE_BITS) - 1
_TEXTS = (1 << 64 - _SPLIT_BITS - _SOURCE_BITS) - 1


def spool_sources(settings: InstructionsSettings, seed: int, folder: Path, identity: str) -> Spool:
    """Lay down the records of all sources but CLDR, one after another.

    A record of two sources stands once, held out if one of them holds it out. What is kept in memory of a record is its
    hashes: 22 to 43 bytes, and for a source of type `file` or `hub` twice 12 to 24 more while it is read.

    Args:
        settings: the sources.
        seed: decides splits.
        folder: where they go; what stands there is removed, and so is what was written when a source is bad.
        identity: of what is laid down.

    Raises:
        InputError: a source cannot be read, or two of them call different records the same.
    """
    remove_spool(folder)
    own = [source for source in settings.sources if not isinstance(source, CldrSource)]
    if not own:
        return Spool(folder)
    together = _Together(SpoolWriter(folder))
    try:
        for source in own:
            together.read(source, seed)
        return together.finish(identity)
    except OSError as error:
        remove_spool(folder)
        raise disk_error(error, folder) from None
    except BaseException:
        remove_spool(folder)
        raise


class _Together:
    """Reads sources into one spool, and knows by id what was read."""

    def __init__(self, spool: SpoolWriter) -> None:
        self._spool = spool
        self._known = CompactMap(8)  # id -> hash of the texts, number of the last source that has it, split
        self._number = 0
        self._moved: set[str] = set()

    def read(self, source: OwnSource, seed: int) -> None:
        records, split_for = _opened(source, seed)
        for record in records:
            if isinstance(record, Rejected):
                self._spool.reject(record)
                continue
            known = self._known.get(record.id)
            if known is not None and known >> _SPLIT_BITS & _SOURCES == self._number:
                self._spool.reject(_repeat(record, DUPLICATE))
                continue
            split = split_for(record)
            texts = hash((record.instruction, record.input, record.output)) & _TEXTS
            if known is None:
                self._spool.add(split, record)
            else:
                split = self._again(record, split, texts, known)
            number = texts << _SOURCE_BITS | self._number
            self._known.set(record.id, number << _SPLIT_BITS | SPLITS.index(split))
        self._spool.end_source()
        self._number += 1

    def finish(self, identity: str) -> Spool:
        for code in sorted(self._moved):
            self._spool.move(code, self._split)
        return self._spool.finish(identity)

    def _again(self, record: Instruction, split: str, texts: int, known: int) -> str:
        """The split of a record that an earlier source has."""
        if known >> _SPLIT_BITS + _SOURCE_BITS != texts:
            raise InputError(f"two sources have different records with the id {record.id}; rename one file")
        self._spool.reject(_repeat(record, ELSEWHERE), split)
        before = SPLITS[known & _SPLITS]
        if (held_out := farthest(before, split)) != before:
            self._moved.add(record.language)
        return held_out

    def _split(self, record_id: str) -> str:
        known = self._known.get(record_id)
        assert known is not None, record_id
        return SPLITS[known & _SPLITS]


def _opened(source: OwnSource, seed: int) -> tuple[Iterator[Instruction | Rejected], Callable[[Instruction], str]]:
    """A source's records, and what says their splits."""
    if isinstance(source, AlpacaSource):
        return iter(alpaca_records(source)), lambda one: split_of(source, seed, one.instruction, one.input)
    return file_records(source), PromptSplits(source, seed)


def _repeat(record: Instruction, reason: str) -> Rejected:
    about = {"language": record.language, "source": record.source, "text": record.instruction}
    kind = record.kind if reason == DUPLICATE else ""
    return Rejected(id=record.parallel_id, **about, kind=kind, reason=reason)


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
