"""How much a text repeats itself: the share of its most frequent phrase, and what zlib leaves of it.

A model that loops is seen by both. They look at different lengths: the phrase at texts of a few words, zlib at
repetitions that are long or far apart. Scripts without spaces are read by letters instead of words.
"""

import codecs
import zlib
from collections import Counter
from collections.abc import Sequence

PHRASE = 3
# Letters of a phrase where words are not written apart: Thai, Lao, Khmer, Burmese, Tibetan, Chinese, Japanese.
UNSPACED_PHRASE = 6
LETTERS_PER_WORD = 15
SHORTEST = 100
ONE_BYTE = 256
LESS_ONE = bytes(max(0, code - 1) for code in range(ONE_BYTE))


def phrase_share(text: str, above: float = 0.0) -> float:
    """Share of the text in its most frequent phrase of three words, 0 if none comes three times.

    Overlapping occurrences are counted once, so `ha ha ha ha ha ha` gives 1.

    Args:
        text: to look at.
        above: shares up to this one do not matter and may come back as 0, which most often needs no phrases counted.
    """
    words = text.split()
    if len(text) > LETTERS_PER_WORD * max(1, len(words)):
        return _share("".join(words), UNSPACED_PHRASE, above)
    return _share(words, PHRASE, above)


def _share(tokens: Sequence[str], length: int, above: float) -> float:
    if len(tokens) < 3 * length:
        return 0.0
    # Of what a phrase covers two thirds at least are tokens that stand earlier in the text.
    if 3 * (len(tokens) - len(set(tokens))) <= 2 * above * len(tokens):
        return 0.0
    grams = list(zip(*(tokens[i:] for i in range(length)), strict=False))
    gram, count = Counter(grams).most_common(1)[0]
    if count < 3:
        return 0.0
    covered = {at + i for at, other in enumerate(grams) if other == gram for i in range(length)}
    return len(covered) / len(tokens)


def compression(text: str) -> float | None:
    """Compressed over raw size, each distinct character one byte, so that scripts compare; None below 100 characters.

    UTF-8 would tell scripts apart rather than texts: four sentences of FLORES leave 0.60 in Latin script and 0.31
    in Burmese.
    """
    if len(text) < SHORTEST:
        return None
    raw = _one_byte_each(text)
    return len(zlib.compress(raw, 6)) / len(raw)


def _one_byte_each(text: str) -> bytes:
    """Characters numbered in the order in which they first come; UTF-16 where a byte has too few numbers."""
    characters = "".join(dict.fromkeys(text))
    if len(characters) > ONE_BYTE:
        return text.encode("utf-16-le", "surrogatepass")
    if len(characters) == ONE_BYTE or "\0" in characters:
        return bytes(map({character: number for number, character in enumerate(characters)}.__getitem__, text))
    # Python's fast tables must have \0 for 0.
    coded, _ = codecs.charmap_encode(text, "strict", codecs.charmap_build("\0" + characters))
    return coded.translate(LESS_ONE)
