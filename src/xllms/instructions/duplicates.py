"""Repeated records within one language: the same text, or nearly the same words; the first stays.

Near repeats are found by bands of a MinHash (rensa) over shingles and then compared shingle by shingle, so that a
rejection is never an accident of hashing; at most 1 in 100 at the very threshold is missed, further above it none.
A shingle is a few words, or a few characters where a script puts no spaces between words.

Words are cut and hashed for a batch of texts at once, in numpy: a prefix sum of `code point x base^position` gives the
hash of any word, and one over words that of any n-gram. Base and mixing are constants: every run and machine agrees.
"""

import re
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import regex
from numpy.typing import NDArray

from xllms.errors import InputError
from xllms.instructions.band_index import BandIndex, neighbours
from xllms.instructions.kept_texts import KeptTexts, Text
from xllms.languages.writing import unicode_scripts
from xllms.recipe.cleaning import DuplicateSettings
from xllms.records import Instruction

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

WITHOUT_SPACES = ("Thai", "Laoo", "Khmr", "Mymr", "Tibt", "Hans", "Hant", "Jpan")
INVISIBLE = re.compile(
    "[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]"
)  # soft hyphens, joiners, direction marks
BATCH = 256  # records read at once: their code points fit a processor's cache
CHARACTERS = 1 << 20
One = TypeVar("One")

BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
INVERSE = pow(BASE, -1, 2**64)
CODE_POINT, KIND_SHIFT = (1 << 21) - 1, 24
WORD, UNSPACED = 1, 2
LAST_LETTER = 0x32000  # no letters are assigned beyond

PERMUTATIONS, SEED = 256, 0
_NOTHING = np.empty((0, PERMUTATIONS), dtype=np.uint32)
RECALL = 0.99  # at the threshold, by the number of bands; at 0.8 that is 32 of 8 rows, 0.997
# A corpus made from one template makes all its records candidates: 200 comparisons take 2 ms, 50,000 half a second.
COMPARED = 200


@dataclass(frozen=True)
class Units:
    """Words or characters of a batch of texts, in order.

    Attributes:
        text: (K,) number of the text that each stands in.
        start: (K,) where it begins in the joined texts.
        end: (K,) where it ends.
        opens: (K,) whether more than a space (for characters: anything) stands before it.
        sums: (K + 1,) prefix sums of hash x base^k.
    """

    text: Places
    start: Places
    end: Places
    opens: NDArray[np.bool_]
    sums: Hashes

    def starts(self, length: int) -> Places:
        """Every unit that has `length - 1` more after it in its text."""
        count = max(0, len(self.text) - length + 1)
        return np.flatnonzero(self.text[:count] == self.text[length - 1 :][:count])

    def hashes(self, first: Places, length: int) -> Hashes:
        """Hash of the n-gram of `length` units at each place."""
        return _mixed((self.sums[first + length] - self.sums[first]) * _powers(INVERSE, len(self.sums))[first])


class Reading:
    """Words and characters of a batch of texts.

    Args:
        texts: as people wrote them; case, compatibility forms and invisible characters make no difference.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.plain = plain = [_composed(text) for text in texts]
        self.joined = "\n".join((*plain, ""))
        entries = _letters()[np.frombuffer(self.joined.encode("utf-32-le", "surrogatepass"), dtype="<u4")]
        self._kind = entries >> KIND_SHIFT
        self._points = entries & CODE_POINT
        self._text = np.repeat(np.arange(len(texts)), np.array([len(text) + 1 for text in plain], dtype=np.int64))
        self._count = len(texts)

    @cached_property
    def _unspaced_letters(self) -> Places:
        return np.bincount(self._text[self._kind == UNSPACED], minlength=self._count)

    @cached_property
    def unspaced(self) -> NDArray[np.bool_]:
        """(texts,) whether a text is mostly in scripts without spaces; a Han letter counts as three Latin ones."""
        spaced = np.bincount(self._text[self._kind == WORD], minlength=self._count)
        return np.asarray(3 * self._unspaced_letters > spaced)

    def words(self) -> Units:
        """Runs of letters, marks and digits."""
        inside = np.append(self._kind > 0, False)
        turns = np.flatnonzero(inside[1:] != inside[:-1]) + 1
        edges = np.concatenate(([0], turns)) if inside[0] else turns
        start, end = edges[::2], edges[1::2]
        sums = _prefix_sums(self._points)
        hashes = _mixed((sums[end] - sums[start]) * _powers(INVERSE, len(sums))[start])
        breaks = np.cumsum((self._kind == 0) & (self._points != ord(" ")))[start]
        return Units(self._text[start], start, end, np.diff(breaks, prepend=-1) != 0, _prefix_sums(hashes))

    def characters(self) -> Units:
        """Letters, marks and digits of the texts that have any letter of a script without spaces."""
        at = np.flatnonzero((self._kind > 0) & (self._unspaced_letters > 0)[self._text])
        hashes = ~_mixed(self._points[at].astype(np.uint64))  # a character is never taken for a word of one letter
        return Units(self._text[at], at, at + 1, np.diff(at, prepend=-2) > 1, _prefix_sums(hashes))


def record_length(record: Instruction) -> int:
    """Characters of a record's fields."""
    return len(record.instruction) + len(record.input) + len(record.output)


def batches(stream: Iterable[One], length: Callable[[One], int]) -> Iterator[list[One]]:
    """What is read at once: 256, or fewer of many characters, each of which takes some 80 bytes while it is read."""
    batch: list[One] = []
    characters = 0
    for one in stream:
        batch.append(one)
        characters += length(one)
        if len(batch) == BATCH or characters >= CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def mark_duplicates(
    records: Iterable[Instruction], settings: DuplicateSettings, folder: Path | None = None
) -> Iterator[tuple[Instruction, str | None]]:
    """Each record with why it is a repeat of an earlier one of its language, or None.

    What is kept in memory for an accepted record is 8 bytes a band and some 40; its shingles are in a temporary file.

    Args:
        records: in an order that decides which of two stays; read some at a time.
        settings: what counts as a repeat. Records with fewer words than a shingle are compared as whole texts.
        folder: of the temporary file; None: the system's.

    Raises:
        InputError: rensa is not installed, or more records of a language than the index can number.
    """
    languages: dict[str, _Seen] = {}
    for batch in batches(records, record_length):
        reading = Reading([_text(record, settings) for record in batch])
        texts = [
            Text(record.id, _digest(text), shingles)
            for record, text, shingles in zip(batch, reading.plain, _shingles(reading, settings), strict=True)
        ]
        places: dict[str, list[int]] = {}
        for at, record in enumerate(batch):
            places.setdefault(record.language, []).append(at)
        reasons: dict[int, str | None] = {}
        for language, mine in places.items():
            seen = languages.get(language) or languages.setdefault(language, _Seen(settings.threshold, folder))
            reasons.update(zip(mine, seen.add([texts[at] for at in mine]), strict=True))
        yield from ((record, reasons[at]) for at, record in enumerate(batch))


class _Seen:
    """Accepted records of one language."""

    def __init__(self, threshold: float, folder: Path | None) -> None:
        self.threshold = threshold
        self.index = BandIndex(bands(threshold), COMPARED)
        self._kept = KeptTexts(folder)

    def add(self, texts: Sequence[Text]) -> list[str | None]:
        """Accept each of some records, or say which one it repeats."""
        compared = [at for at, text in enumerate(texts) if text.shingles]  # the others are shorter than one
        row = {at: number for number, at in enumerate(compared)}
        keys = self.index.keys(_sketches([texts[at].shingles for at in compared]))
        earlier, beside = self.index.find(keys), neighbours(keys)
        numbers: dict[int, int] = {}  # of the rows that are accepted
        reasons: list[str | None] = []
        for at, text in enumerate(texts):
            candidates: list[int] = []
            if at in row:
                candidates = [*earlier[row[at]].tolist(), *(numbers[one] for one in beside[row[at]] if one in numbers)]
            reasons.append(self._repeated(text, candidates[:COMPARED]))
            if reasons[-1] is None:
                number = self._kept.add(text)
                if at in row:
                    numbers[row[at]] = number
        self.index.add(keys[list(numbers)], list(numbers.values()))
        return reasons

    def _repeated(self, text: Text, candidates: Sequence[int]) -> str | None:
        if (same := self._kept.same(text.digest)) is not None:
            return f"same text as {same.id}"
        for number in candidates:
            other = self._kept.read(number)
            if (common := jaccard(text.shingles, other.shingles)) >= self.threshold:
                return f"nearly the same text as {other.id} ({common:.2f} of their shingles)"
        return None


def bands(threshold: float) -> int:
    """The fewest bands that bring two records of this Jaccard together with a probability of at least `RECALL`."""
    for count in (1 << power for power in range(PERMUTATIONS.bit_length())):
        if 1 - (1 - threshold ** (PERMUTATIONS // count)) ** count >= RECALL:
            return count
    return PERMUTATIONS


def jaccard(one: bytes, other: bytes) -> float:
    """Share of the shingles of either that both have; each is a sorted array of distinct 64-bit hashes."""
    first, second = np.frombuffer(one, dtype="<u8"), np.frombuffer(other, dtype="<u8")
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / (len(first) + len(second) - common)


def normalise(text: str) -> str:
    """The text without differences of case, spacing, compatibility forms and invisible characters."""
    return _folded(_composed(text))


def _text(record: Instruction, settings: DuplicateSettings) -> str:
    fields = [record.instruction, record.input, *([record.output] if settings.output else [])]
    return "\n".join(part for part in fields if part)


def _shingles(reading: Reading, settings: DuplicateSettings) -> list[bytes]:
    """Sorted distinct shingles of each text; empty for a text shorter than one."""
    words = reading.words()
    spaced = words.starts(settings.words)
    spaced = spaced[~reading.unspaced[words.text[spaced]]]
    hashes, text = words.hashes(spaced, settings.words), words.text[spaced]
    if reading.unspaced.any():
        characters = reading.characters()
        dense = characters.starts(settings.characters)
        dense = dense[reading.unspaced[characters.text[dense]]]
        hashes = np.concatenate((hashes, characters.hashes(dense, settings.characters)))
        text = np.concatenate((text, characters.text[dense]))
    order = np.lexsort((hashes, text))
    hashes, text = hashes[order], text[order]
    first = np.append(True, (hashes[1:] != hashes[:-1]) | (text[1:] != text[:-1]))[: len(text)]
    hashes, text = hashes[first], text[first]
    ends = np.searchsorted(text, np.arange(len(reading.plain) + 1))
    data = hashes.astype("<u8").tobytes()
    return [data[8 * int(a) : 8 * int(b)] for a, b in pairwise(ends)]


def _digest(text: str) -> bytes:
    return blake2b(_folded(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _sketches(shingles: Sequence[bytes]) -> NDArray[np.uint32]:
    """(texts, permutations)"""
    numbers = array("I")  # numpy takes twice as long to read a list
    for one in shingles:
        numbers.extend(_sketch(one).digest())
    return np.frombuffer(numbers, dtype=np.uint32).reshape(-1, PERMUTATIONS) if numbers else _NOTHING


def _sketch(shingles: bytes) -> Any:
    sketch = _rensa().RMinHash(PERMUTATIONS, SEED)
    sketch.update(np.frombuffer(shingles, "V8").tolist())
    return sketch


@cache
def _rensa() -> Any:
    try:
        import rensa
    except ImportError:
        raise InputError("near duplicates need rensa, which is not installed: pip install rensa") from None
    return rensa


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _composed(text: str) -> str:
    return text if text.isascii() else INVISIBLE.sub("", unicodedata.normalize("NFKC", text))


@cache
def _letters() -> NDArray[np.uint32]:
    """For every code point its lower-case form, and whether it is of a word, and of a script without spaces."""
    scripts = sorted({name for script in WITHOUT_SPACES for name in unicode_scripts(script)})
    unspaced = regex.compile("[" + "".join(rf"\p{{Script={name}}}" for name in scripts) + "]")
    table = np.zeros(0x110000, dtype=np.uint32)
    for point in range(LAST_LETTER):
        character = chr(point)
        kind = 0
        if unicodedata.category(character)[0] in "LMN":
            kind = UNSPACED if unspaced.match(character) else WORD
        folded = character.casefold()
        table[point] = (kind << KIND_SHIFT) | (ord(folded) if len(folded) == 1 else point)
    return table


def _mixed(hashes: Hashes) -> Hashes:
    """Each bit of the result depends on all bits (the finaliser of splitmix64)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def _prefix_sums(values: NDArray[Any]) -> Hashes:
    sums = np.zeros(len(values) + 1, dtype=np.uint64)
    np.cumsum(values * _powers(BASE, len(values))[: len(values)], out=sums[1:])
    return sums


def _powers(base: int, count: int) -> Hashes:
    return _power_table(base, 1 << max(16, count.bit_length()))


@cache
def _power_table(base: int, size: int) -> Hashes:
    powers = np.full(size, base, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)
