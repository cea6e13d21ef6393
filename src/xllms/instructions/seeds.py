"""What is translated: the sources' records in their own language, dealt out in shards to the languages of the recipe.

The records stay on the disk, in `<code>/seeds.jsonl` of the spool; in memory a record is 16 bytes, its hash and where
its line begins, and up to 64 more for each language that has some of them already. A shard says which lines are its
own, and whoever works on it reads them.
"""

import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xllms.errors import InputError
from xllms.instructions.shards import Lines, Shard, ShardTranslator
from xllms.instructions.spool import Spool
from xllms.languages import Language, get
from xllms.manifest import fingerprint, whole_or_absent
from xllms.splits import SPLITS

SEEDS = "seeds"
_Keys = NDArray[np.int64]


@dataclass(frozen=True)
class Seeds:
    """The records of one language that can be translated.

    Attributes:
        path: file of [split, record] lines.
        keys: (N,) hashes of the parallel ids.
        starts: (N + 1,) where the lines begin, and the last one ends.
    """

    path: Path
    keys: _Keys
    starts: _Keys


class Planner:
    """Plans the shards of a translation.

    Args:
        spool: the sources' records.
        size: records in a shard.
        folder: where the results go.

    Raises:
        InputError: no source has a record that can be translated.
    """

    def __init__(self, spool: Spool, size: int, folder: Path) -> None:
        self._spool, self._size, self._folder = spool, size, folder
        found = {code: _lay_down(spool, code) for code in spool.records}
        self._seeds = {code: seeds for code, seeds in found.items() if len(seeds.keys)}
        self._names: dict[Lines, str] = {}  # most languages have the same parts
        if not self._seeds:
            raise InputError("translation: no source has records whose instruction and output are in one language")

    def shards(self, languages: Sequence[Language], translator: ShardTranslator) -> tuple[list[Shard], list[str]]:
        """The units of translation, and the codes of the languages that no translator has."""
        shards: list[Shard] = []
        without: list[str] = []
        for language in languages:
            others = [code for code in self._seeds if code != language.code]
            reached = [code for code in others if translator.translator(get(code), language) is not None]
            if others and not reached:
                without.append(language.code)
            shards += self._into(language.code, reached)
        return shards, without

    def _into(self, code: str, reached: Sequence[str]) -> Iterator[Shard]:
        if not reached:
            return
        # Not what the sources have in this language already, nor what another source language gave.
        given = np.array([hash(one["parallel_id"]) for _, one, _ in _records(self._spool, code)], dtype=np.int64)
        for source in reached:
            seeds = self._seeds[source]
            open_ = np.flatnonzero(~np.isin(seeds.keys, given))
            given = np.concatenate([given, seeds.keys[open_]])
            for start in range(0, len(open_), self._size):
                lines = _lines(seeds, open_[start : start + self._size])
                yield Shard(self._folder / f"{code}-{source}-{self._name(lines)}.json", code, lines)

    def _name(self, lines: Lines) -> str:
        if lines not in self._names:
            self._names[lines] = fingerprint(lines.read())[:16]
        return self._names[lines]


def _lay_down(spool: Spool, code: str) -> Seeds:
    path = spool.folder / code / f"{SEEDS}.jsonl"
    keys, starts, at = array("q"), array("q", [0]), 0
    with whole_or_absent(path) as file:
        for split, record, line in _records(spool, code):
            if record["language"] == record["instruction_language"]:
                at += file.write(b'["%b", %b]\n' % (split.encode(), line.rstrip(b"\n")))
                keys.append(hash(record["parallel_id"]))
                starts.append(at)
    return Seeds(path, np.array(keys, dtype=np.int64), np.array(starts, dtype=np.int64))


def _records(spool: Spool, code: str) -> Iterator[tuple[str, dict[str, Any], bytes]]:
    """(split, record, its line) of one language."""
    for split in SPLITS:
        for line in spool.lines(code, split):
            yield split, json.loads(line), line


def _lines(seeds: Seeds, places: _Keys) -> Lines:
    """Of the records at these places; those in a row are read at once."""
    breaks = np.flatnonzero(np.diff(places) != 1) + 1
    runs = np.split(places, breaks)
    return Lines(seeds.path, tuple((int(seeds.starts[run[0]]), int(seeds.starts[run[-1] + 1])) for run in runs))
