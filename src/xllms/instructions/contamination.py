"""Text of the benchmarks in training records: an index of their n-grams, and what it finds.

As for GPT-3, a text is known by its runs of 13 words; a shorter one counts as a whole, where it stands in a record as a
sentence or line of its own. Scripts without spaces are compared by characters. The index holds 64-bit hashes and no
text, so it can be kept beside the data; only what a record itself says is ever shown.

FLORES (204 languages), XCOPA, PAWS-X, MGSM and the others at hand are 2.2 million n-grams: 37 MB, built in 4 s. A
bitmap over the hashes' high bits answers nearly every look-up with one read: 170,000 sentences a second on one core.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xllms.errors import InputError
from xllms.instructions.duplicates import Hashes, Places, Reading, Units, batches, record_length
from xllms.recipe.cleaning import ContaminationSettings
from xllms.records import Instruction

FIELDS = ("instruction", "input", "output")
SHOWN = 200  # characters of a hit's text
EXAMPLES = 5  # ids kept for a cell of the report


@dataclass(frozen=True)
class Hit:
    """A record that holds a benchmark's text.

    Attributes:
        id: of the record.
        language: of the record.
        field: where the text stands: instruction, input or output.
        benchmark: whose text it is.
        matched: the first run of it, as the record has it, at most 200 characters.
        share: of the field's words (characters) that are the benchmark's.
    """

    id: str
    language: str
    field: str
    benchmark: str
    matched: str
    share: float


@dataclass(frozen=True)
class NgramIndex:
    """The n-grams of all benchmarks; `build_index` makes it.

    Attributes:
        settings: what an n-gram is.
        benchmarks: their names.
        counts: texts of each that are in the index.
        hashes: (N,) sorted.
        owner: (N,) number of the benchmark of each hash.
        sieve: bitmap over the hashes' highest bits.
        lengths: of the texts that count as a whole, in words and in characters.
    """

    settings: ContaminationSettings
    benchmarks: tuple[str, ...]
    counts: Mapping[str, int]
    hashes: Hashes
    owner: NDArray[np.uint8]
    sieve: NDArray[np.uint8]
    lengths: tuple[tuple[int, ...], tuple[int, ...]]

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.hashes.nbytes + self.owner.nbytes + self.sieve.nbytes

    def find(self, record: Instruction) -> Hit | None:
        """The benchmark's text in a record, from the field that has the largest share of it; or None.

        One record alone costs as much as twenty in `find_all`.
        """
        return next(self.find_all([record]))[1]

    def find_all(self, records: Iterable[Instruction]) -> Iterator[tuple[Instruction, Hit | None]]:
        """Each record with what `find` says of it; read some at a time."""
        for batch in batches(records, record_length):
            places = [(at, name) for at, record in enumerate(batch) for name in FIELDS if getattr(record, name)]
            hits: dict[int, Hit] = {}
            for text, found in self._search([getattr(batch[at], name) for at, name in places]):
                at, name = places[text]
                hit = Hit(batch[at].id, batch[at].language, name, *found)
                if hit.share >= self.settings.share and (at not in hits or hits[at].share < hit.share):
                    hits[at] = hit
            for at, record in enumerate(batch):
                yield record, hits.get(at)

    def _search(self, texts: Sequence[str]) -> Iterator[tuple[int, tuple[str, str, float]]]:
        """(number of a text, (benchmark, matched, share)) for the texts that hold any n-gram."""
        reading = Reading(texts)
        yield from self._matches(reading, reading.words(), self.settings.ngram, self.lengths[0])
        yield from self._matches(reading, reading.characters(), self.settings.ngram_characters, self.lengths[1])

    def _matches(
        self, reading: Reading, units: Units, ngram: int, lengths: Sequence[int]
    ) -> Iterator[tuple[int, tuple[str, str, float]]]:
        found: list[tuple[int, int, int]] = []  # first unit, length, benchmark
        openers = np.flatnonzero(units.opens)
        for length in (*lengths, ngram):
            first = units.starts(length) if length == ngram else _alone(units, openers, length)
            at, owner = self._known(units.hashes(first, length))
            found += zip(first[at].tolist(), [length] * len(at), owner.tolist(), strict=True)
        by_text: dict[int, list[tuple[int, int, int]]] = {}
        for match in sorted(found):
            by_text.setdefault(int(units.text[match[0]]), []).append(match)
        for text, matches in by_text.items():
            begin, end = np.searchsorted(units.text, [text, text + 1])
            covered = np.zeros(int(end - begin), dtype=bool)
            for first_unit, length, _ in matches:
                covered[first_unit - begin : first_unit - begin + length] = True
            run = int(begin) + int(np.argmax(covered))
            stop = run + int(np.argmin(np.append(covered[run - begin :], False)))
            matched = reading.joined[int(units.start[run]) : int(units.end[stop - 1])]
            yield text, (self.benchmarks[matches[0][2]], matched[:SHOWN], float(covered.mean()))

    def _known(self, hashes: Hashes) -> tuple[Places, NDArray[np.uint8]]:
        """Which of the hashes the index has, and whose they are."""
        slot = hashes >> np.uint64(64 - _bits(self.sieve))
        maybe = np.flatnonzero((self.sieve[slot >> np.uint64(3)] >> (slot & np.uint64(7)).astype(np.uint8)) & 1)
        place = np.minimum(np.searchsorted(self.hashes, hashes[maybe]), max(0, len(self.hashes) - 1))
        true = self.hashes[place] == hashes[maybe] if len(self.hashes) else np.zeros(len(maybe), dtype=bool)
        return maybe[true], self.owner[place[true]]


def build_index(texts: Iterable[tuple[str, str]], settings: ContaminationSettings) -> NgramIndex:
    """Index (benchmark, text) pairs; a text in several benchmarks belongs to the first.

    Texts with fewer words than `settings.whole` say too little to be looked for, and are left out.

    Raises:
        InputError: more than 256 benchmarks.
    """
    counts: dict[str, int] = {}
    hashes: list[Hashes] = []
    owners: list[NDArray[np.uint8]] = []
    lengths: tuple[set[int], set[int]] = (set(), set())
    for batch in batches(texts, lambda one: len(one[1])):
        numbers = np.array([_number(counts, name) for name, _ in batch])
        reading = Reading([text for _, text in batch])
        kept = np.zeros(len(batch), dtype=bool)
        for units, used, sizes, whole, seen in (
            (reading.words(), ~reading.unspaced, settings.ngram, settings.whole, lengths[0]),
            (reading.characters(), reading.unspaced, settings.ngram_characters, settings.whole_characters, lengths[1]),
        ):
            for key, text in _keys(units, used, sizes, whole, seen):
                hashes.append(key)
                owners.append(numbers[text].astype(np.uint8))
                kept[text] = True
        for name, use in zip((name for name, _ in batch), kept.tolist(), strict=True):
            counts[name] += use
    return _index(settings, counts, hashes, owners, lengths)


def _number(counts: dict[str, int], name: str) -> int:
    """Number of a benchmark, by first mention."""
    counts.setdefault(name, 0)
    if len(counts) > 256:
        raise InputError(f"contamination: more than 256 benchmarks, {name} is one too many; join some under one name")
    return list(counts).index(name)


def _keys(
    units: Units, used: NDArray[np.bool_], ngram: int, whole: int, seen: set[int]
) -> Iterator[tuple[Hashes, Places]]:
    """Hashes and text numbers of what the texts are known by; lengths of whole texts are noted in `seen`."""
    begin = np.searchsorted(units.text, np.arange(len(used) + 1))
    long = units.starts(ngram)
    long = long[used[units.text[long]]]
    yield units.hashes(long, ngram), units.text[long]
    sizes = np.diff(begin)
    for size in range(whole, ngram):
        short = np.flatnonzero(used & (sizes == size))
        if len(short):
            seen.add(size)
            yield units.hashes(begin[short], size), short


def _index(
    settings: ContaminationSettings,
    counts: dict[str, int],
    hashes: list[Hashes],
    owners: list[NDArray[np.uint8]],
    lengths: tuple[set[int], set[int]],
) -> NgramIndex:
    keys, first = np.unique(np.concatenate([*hashes, np.empty(0, dtype=np.uint64)]), return_index=True)
    owner = np.concatenate([*owners, np.empty(0, dtype=np.uint8)])[first]
    bits = max(10, (32 * len(keys)).bit_length())
    sieve = np.zeros(1 << (bits - 3), dtype=np.uint8)
    slot = keys >> np.uint64(64 - bits)
    np.bitwise_or.at(sieve, slot >> np.uint64(3), np.left_shift(1, slot & np.uint64(7)).astype(np.uint8))
    words, characters = (tuple(sorted(sizes)) for sizes in lengths)
    return NgramIndex(settings, tuple(counts), counts, keys, owner, sieve, (words, characters))


def _bits(sieve: NDArray[np.uint8]) -> int:
    return (8 * len(sieve)).bit_length() - 1


def _alone(units: Units, openers: Places, length: int) -> Places:
    """Units that begin a run of `length` which has punctuation, a line's or the text's end on both sides."""
    first = openers[: np.searchsorted(openers, len(units.text) - length, side="right")]
    last, after = first + length - 1, np.minimum(first + length, len(units.text) - 1)
    closes = units.opens[after] | (after == last)
    alone: Places = first[closes & (units.text[first] == units.text[last])]
    return alone


@dataclass
class ContaminationReport:
    """Hits by benchmark, language and field, with up to 5 record ids each; reports of several units add up.

    Attributes:
        absent: benchmarks that were not there to compare with.
        counts: hits of each (benchmark, language, field).
        ids: the first of them.
    """

    absent: tuple[str, ...] = ()
    counts: dict[tuple[str, str, str], int] = field(default_factory=dict)
    ids: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)

    def add(self, hit: Hit) -> None:
        """Count one hit."""
        self._add((hit.benchmark, hit.language, hit.field), 1, [hit.id])

    def merge(self, other: "ContaminationReport") -> None:
        """Count what another report counted."""
        for cell, count in other.counts.items():
            self._add(cell, count, other.ids[cell])

    def to_json(self) -> dict[str, Any]:
        """A JSON value for a manifest: absent benchmarks, and one row a cell in a fixed order."""
        names = ("benchmark", "language", "field")
        rows = [
            {**dict(zip(names, cell, strict=True)), "records": count, "ids": self.ids[cell]}
            for cell, count in sorted(self.counts.items())
        ]
        return {"absent": list(self.absent), "found": rows}

    def _add(self, cell: tuple[str, str, str], count: int, ids: list[str]) -> None:
        self.counts[cell] = self.counts.get(cell, 0) + count
        self.ids[cell] = [*self.ids.get(cell, []), *ids][:EXAMPLES]
