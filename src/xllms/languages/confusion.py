"""Language confusion of one answer: lines in another language, and Latin words in a text of another script.

After the Language Confusion Benchmark (Marchisio et al. 2024, arXiv 2406.20052): an answer passes by line if no line
that is long enough is in another language, and by word if a line-passing answer in another script holds no Latin word.
There the identifier must name the language of every line; here a line that nobody can tell counts in neither. So
nothing can pass in the 76 languages that pycld2 does not know (`can_be_told`), while English is found in all: of
FLORES's English sentences 99.9 % are found wrong, on average over 204 languages.

Its word list of 99,000 English words is not needed: in a text of another script, names and abbreviations keep their
capitals, so any lower-case word of four Latin letters is confusion. Of 2,421 real answers that pass by line, that
finds all 143 that the list finds and 37 more, most of them English too (with a Korean particle, or rare).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import pycld2
import regex

from xllms.languages.identification import ENGLISH_WORDS, Status, detect, identify
from xllms.languages.registry import Language, UnknownLanguage, get
from xllms.languages.vocabulary import WORD, vocabulary, words

SHORTEST = 5  # words of a line that is judged
# What one answer may cost: 10,000 lines are judged by 500 of them, spread evenly, each by its beginning.
MOST_LINES = 500
LONGEST = 2000

_FENCE = regex.compile(r"\s*(?:```+|~~~+)\s*([\w+#.-]*)\s*+$")
# Marks of a fence that holds sentences as often as not: answers asked for as JSON are judged like others.
_PROSE_FENCES = frozenset(("", "csv", "json", "markdown", "md", "plaintext", "text", "tsv", "txt", "xml", "yaml"))
# Of no language: `code`, addresses, <tags>, \commands. No part of it reads a character twice.
_MARKUP = regex.compile(
    r"`[^`\s]*+`|\b(?:https?://|www\.)[!-~]++|(?<![!-~])[!-?A-~]++@[!-~]++|</?\w[^<>]*+>|\\[A-Za-z]++"
)
# With two of these, an English sentence that has none of the words which only English has; lists of names have none.
_LITTLE = frozenset(
    word
    for line in (
        "a an and are as at be by can for has have here i in is it may",
        "more most no not on or some to use was will you",
    )
    for word in line.split()
)
_CHINESE = {"zho_Hans", "zho_Hant"}
# Scripts that put no space between words: two letters are a word (jieba and MeCab: 1.8).
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]")
# Not a part of a file's name, an option, a path or a word with a capital.
_LATIN_WORD = regex.compile(
    r"(?<![\p{Latin}\p{Nd}_@./\\#&+=-])[a-z]{4,}+(?![\p{Latin}\p{Nd}_@/\\=+-]|\.[a-z])",
)


@dataclass(frozen=True, slots=True)
class Confusion:
    """What was found in one answer.

    Attributes:
        right: lines in the language.
        wrong: lines in another one.
        undecided: lines that are long enough and cannot be told.
        foreign: Latin words in lines of another script; None where the language is written in Latin letters itself.
    """

    right: int
    wrong: int
    undecided: int
    foreign: tuple[str, ...] | None

    @property
    def lines_pass(self) -> bool | None:
        """Whether every line is in the language; None if none could be judged."""
        return not self.wrong if self.right or self.wrong else None

    @property
    def words_pass(self) -> bool | None:
        """Whether no word is foreign; None where the lines do not pass already, or nothing can be told."""
        return not self.foreign if self.lines_pass and self.foreign is not None else None

    @property
    def line_accuracy(self) -> float | None:
        """Share of the judged lines that are in the language."""
        judged = self.right + self.wrong
        return self.right / judged if judged else None


def confusion(text: str, language: Language) -> Confusion:
    """Which lines and words of an answer are in another language than was asked for.

    Lines of fewer than five words and fenced code are not looked at; of a very long answer, 500 lines are.

    Args:
        text: the answer.
        language: that was asked for.
    """
    lines = [line for line in _spread(_prose(text)) if _word_count(line) >= SHORTEST]
    counts = _statuses(lines, language)
    foreign = None if language.script == "Latn" else tuple(word for line in lines for word in latin_words(line))
    return Confusion(counts["right"], counts["wrong"], counts["undecided"], foreign)


@cache
def can_be_told(language: Language) -> bool:
    """Whether a text can be found to be in that language; of others it can only be said that it is in another one."""
    return language.code in _told()


def line_pass_rate(text: str, language: Language) -> float:
    """Share of the lines, short ones too, that are not known to be in another language; 1 where there is none."""
    counts = _statuses(_spread(_prose(text)), language)
    total = counts.total() - counts["empty"]
    return 1 - counts["wrong"] / total if total else 1.0


def word_pass_rate(text: str, language: Language) -> float:
    """Share of the words that are not English ones; names and terms in Latin letters count as the language's own."""
    if language.code == "eng_Latn":
        return 1.0
    read = "\n".join(_spread(_prose(text)))
    found = words(read)
    if not found:
        return 1.0
    latin = language.script == "Latn"
    english = ENGLISH_WORDS if latin else ENGLISH_WORDS | vocabulary(get("eng_Latn")) | set(latin_words(read))
    foreign = sum(word in english and word not in vocabulary(language) for word in found)
    return 1 - foreign / len(found)


def latin_words(text: str) -> list[str]:
    """Lower-case words of four Latin letters or more, as they stand in a text of another script."""
    return _LATIN_WORD.findall(_MARKUP.sub(" ", text))


@cache
def _told() -> frozenset[str]:
    found = set()
    for name, tag in pycld2.LANGUAGES:
        if name in pycld2.DETECTED_LANGUAGES and tag != "sg":  # of 60 sentences in Sango it finds one
            try:
                # What it calls Kurdish is written in Arabic letters.
                found.add(get("ckb_Arab" if tag == "ku" else tag).code)
            except UnknownLanguage:
                continue
    return frozenset(found)


def _prose(text: str) -> list[str]:
    """Lines that are not blank and not program code."""
    found: list[str] = []
    code = fenced = False
    for line in text.splitlines():
        if mark := _FENCE.match(line):
            fenced = not fenced
            code = fenced and mark[1].casefold() not in _PROSE_FENCES
        elif not code and line and not line.isspace():
            found.append(line)
    return found


def _spread(lines: Sequence[str]) -> list[str]:
    """At most 500 of the lines, the same distance apart, cut to what is read of each."""
    step = -(-len(lines) // MOST_LINES) or 1
    return [line[:LONGEST] for line in lines[::step]]


def _statuses(lines: Sequence[str], language: Language) -> Counter[Status]:
    counts: Counter[Status] = Counter()
    for line, times in Counter(lines).items():  # an answer that repeats itself is read once
        counts[_status(_MARKUP.sub(" ", line), language)] += times
    return counts


def _status(line: str, language: Language) -> Status:
    verdict = identify(line, language)
    if verdict.status == "wrong" and {verdict.found, language.code} <= _CHINESE:
        return "right"  # another way to write it is no other language
    if verdict.status == "undecided" and (_is_english(line, language) or _is_japanese(line, language)):
        return "wrong"
    return verdict.status


def _is_english(line: str, expected: Language) -> bool:
    if expected.code == "eng_Latn":
        return False
    found = words(line)
    return sum(word in _LITTLE for word in found) >= max(2, len(found) / 8) and detect(line) == "eng_Latn"


def _is_japanese(line: str, expected: Language) -> bool:
    """Whether the line has kana, though Chinese was asked for; half of its letters are those of Chinese."""
    return expected.code in _CHINESE and detect(line) == "jpn_Jpan"


def _word_count(line: str) -> int:
    unspaced = len(_UNSPACED.findall(line))
    spaced = sum(not _UNSPACED.search(word[0]) for word in WORD.finditer(line))
    return spaced + unspaced // 2
