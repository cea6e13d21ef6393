"""The gates a translated record passes before it is trained on: each a small pure function that says what is wrong.

Measured on Tatoeba's human translations (83 languages of the registry, 69,073 pairs, instruction and output both
the sentence): 77 languages lose at most 2 %. In the other six that many sentences are in another script than the
label says (Serbian 70 % Latin, Chinese 48 % traditional, Uzbek 30 % Cyrillic, Tatar, Javanese; of Kurmanji's 5 % one
half, the other is taken for another language). The thresholds were chosen on the same pairs. Of texts of eight
sentences the gates refuse 100 % of copies and of halves left in English, 99.8 % of thirds, 87 % of halves, 88 % of
loops, 100 % of texts in another script and 84 % of those in another language of the same script; of single sentences
95 % of copies (the rest have no three lower-case words) and 42 % of another language in the same script, since a
language that cannot be told passes.

All gates together take 315 µs of a processor for a record of 422 characters and its source: a quarter for scripts,
CLDR's words and pycld2, a fifth each for masking and for the words of both sides, a tenth for zlib. Before that a
process loads CLDR's words in one second.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from io import StringIO

from xllms.instructions.masking import NUMBER, code_share, has_words, mask
from xllms.languages import Language, get
from xllms.languages.identification import ENGLISH_WORDS, identify, other_letters, own_letters
from xllms.languages.vocabulary import vocabulary
from xllms.metrics.evenness import evenness
from xllms.metrics.repetition import compression, phrase_share
from xllms.recipe.gates import GateSettings
from xllms.records import Instruction

FIELDS = ("instruction", "input", "output")
MOSTLY_CODE = 0.5
MIN_ENGLISH_WORDS = 3
TRIPLE = 3
RUN = bytes([True] * TRIPLE)
# Characters of a line that are read to tell its language. On 664 texts of 14 sentences ten verdicts were others on the
# whole text, none of them right for wrong or wrong for right.
READ = 200
MIN_TRIPLES = 4
# Where a character is a syllable or a word, 100 of them hardly repeat any (`metrics.evenness`).
DENSE_SCRIPTS = frozenset({"Hans", "Hant", "Jpan", "Hang", "Ethi", "Laoo"})
DENSE_SLACK = 0.025
MIN_COPIED_WORDS = 3
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
ASCII_WORD = re.compile("[A-Za-z]+(?:'[A-Za-z]+)*")  # the same where a text has no other letters; twice as fast


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a translated record is refused: the gate's name and what it found."""

    gate: str
    detail: str

    def __str__(self) -> str:
        return f"{self.gate}: {self.detail}"


@dataclass
class Pair:
    """One field in both languages, without what masking takes out where all of that came through.

    What several gates look at is found once, when the first of them asks.
    """

    name: str
    source: str
    target: str
    source_language: Language
    language: Language
    parts: int
    lost: tuple[str, ...]

    @cached_property
    def words(self) -> list[str]:
        """The translation's words in lower case."""
        return _words(self.target.lower())

    @cached_property
    def foreign(self) -> bool:
        """Whether the translation has a letter that is not of the language's scripts."""
        return bool(other_letters(self.language.script).search(self.target))


Gate = Callable[[Sequence[Pair], GateSettings], str | None]


def passes(source: Instruction, translated: Instruction, settings: GateSettings, language: Language) -> Reason | None:
    """Run all gates, the cheap ones first.

    Args:
        source: the record that was translated.
        translated: what came of it. A field in the source's own language, as `language` and
            `instruction_language` say, is not looked at; nor is an output of code that was kept.
        settings: thresholds; the overrides of `language` apply.
        language: language of the translation.

    Returns:
        The first gate's reason, or None where the record passes.
    """
    settings = settings.for_language(language.code)
    if name := _emptied(source, translated):
        return Reason("empty", name)
    pairs = tuple(_pairs(source, translated))
    for name, gate in GATES.items():
        if (detail := gate(pairs, settings)) is not None:
            return Reason(name, detail)
    return None


def _emptied(source: Instruction, translated: Instruction) -> str | None:
    """A field that has a text in the source and none in the translation."""
    for name in FIELDS:
        if getattr(source, name).strip() and not getattr(translated, name).strip():
            return name
    return None


def lost(pairs: Sequence[Pair], settings: GateSettings) -> str | None:
    """Code, an address, markup or a placeholder did not come through. Numbers may be written as the language does."""
    if settings.max_lost is None:
        return None
    for pair in pairs:
        if pair.lost and len(pair.lost) > settings.max_lost * pair.parts:
            return f"{pair.name}: {pair.lost[0][:40]!r}"
    return None


def length(pairs: Sequence[Pair], settings: GateSettings) -> str | None:
    """Too short or too long for the source, as scripts go."""
    if settings.length is None and settings.length_slack is None:
        return None
    for pair in pairs:
        if not pair.source:
            continue
        low, high = settings.length or _bounds(pair.source_language.script, pair.language.script)
        slack = settings.length_slack or 1.0
        least = len(pair.source) * low / slack - settings.length_margin
        most = len(pair.source) * high * slack + settings.length_margin
        if not least <= len(pair.target) <= most:
            return f"{pair.name}: {len(pair.target)} characters for {len(pair.source)}, not {least:.0f} to {most:.0f}"
    return None


def repetition(pairs: Sequence[Pair], settings: GateSettings) -> str | None:
    """One phrase over and over, where the source has none so often."""
    if settings.max_repetition is None:
        return None
    for pair in pairs:
        share = phrase_share(pair.target, settings.max_repetition)
        if share > settings.max_repetition and share > phrase_share(pair.source) + 0.1:
            return f"{pair.name}: {share:.0%} of the text is one phrase"
    return None


def compressed(pairs: Sequence[Pair], settings: GateSettings) -> str | None:
    """zlib leaves less of a loop than of a language."""
    if settings.min_compression is None:
        return None
    for pair in pairs:
        ratio = compression(pair.target)
        if ratio is not None and ratio < settings.min_compression:
            before = compression(pair.source)
            if before is None or ratio < 0.8 * before:
                return f"{pair.name}: compresses to {ratio:.2f}, like a loop"
    return None


def noise(pairs: Sequence[Pair], settings: GateSettings) -> str | None:
    """All characters come about equally often, as in no language, and not in the source either."""
    if settings.max_evenness is None:
        return None
    for pair in pairs:
        most = settings.max_evenness + (DENSE_SLACK if pair.language.script in DENSE_SCRIPTS else 0.0)
        found = evenness(pair.target)
        if found is not None and found > most and (evenness(pair.source) or 0.0) <= settings.max_evenness:
            return f"{pair.name}: its characters come equally often ({found:.3f}), as in noise"
    return None


def residue(pairs: Sequence[Pair], settings: GateSettings) -> str | None:
    """The source was not translated, or not all of it. Names do not count: words with a capital."""
    if settings.max_residue is None:
        return None
    for pair in pairs:
        if not pair.foreign and not own_letters(pair.language.script).search(pair.source):
            continue  # no letter in common
        before = _words(pair.source.lower())
        common = set(before).intersection(pair.words)
        if RUN not in bytes(map(common.__contains__, before)):
            continue
        words = _words(pair.source)
        if sum(map(str.islower, words)) >= MIN_COPIED_WORDS and before == pair.words:
            return f"{pair.name}: not translated"
        triples = _triples(words)
        kept = len(triples & _triples(_words(pair.target)))
        if len(triples) >= MIN_TRIPLES and kept > settings.max_residue * len(triples):
            return f"{pair.name}: {kept} of {len(triples)} word triples of the source"
    return None


def mixed(pairs: Sequence[Pair], settings: GateSettings) -> str | None:
    """Words of another script, unless they are names of the source, or words that only English has."""
    for pair in pairs:
        if settings.max_foreign is not None and (share := _foreign(pair)) > settings.max_foreign:
            return f"{pair.name}: {share:.0%} of the letters are not {pair.language.script}"
        if settings.max_english_words is not None and pair.language.script == "Latn":
            english = sum(map(_english_only(pair.language).__contains__, pair.words))
            if english >= MIN_ENGLISH_WORDS and english > settings.max_english_words * len(pair.words):
                return f"{pair.name}: {english} of {len(pair.words)} words are English"
    return None


def wrong_language(pairs: Sequence[Pair], settings: GateSettings) -> str | None:
    """The instruction or output, or too many of its lines, are surely in another language."""
    for pair in pairs:
        if pair.name == "input":
            continue
        lines = [line for line in pair.target.splitlines() if line.strip()]
        found = [identify(line[:READ], pair.language).status for line in lines] if len(lines) > 1 else []
        wrong = sum(len(line) for line, status in zip(lines, found, strict=False) if status == "wrong")
        total = sum(map(len, lines))
        if settings.max_wrong_lines is not None and wrong > settings.max_wrong_lines * total:
            return f"{pair.name}: {wrong / total:.0%} of the text is lines of another language"
        if not settings.language or ("right" in found and not wrong):
            continue
        verdict = identify(pair.target[: 2 * READ], pair.language)
        if verdict.status == "wrong":
            return f"{pair.name}: {verdict.found or 'not ' + pair.language.code} ({verdict.reason})"
    return None


GATES: dict[str, Gate] = {
    "lost": lost,
    "length": length,
    "repetition": repetition,
    "compression": compressed,
    "noise": noise,
    "residue": residue,
    "mixed": mixed,
    "language": wrong_language,
}


def _pairs(source: Instruction, translated: Instruction) -> Iterator[Pair]:
    """The fields that were to be translated."""
    for name in FIELDS:
        before, after = getattr(source, name), getattr(translated, name)
        field = "language" if name == "output" else "instruction_language"
        source_code, code = getattr(source, field), getattr(translated, field)
        if source_code == code or not before:
            continue
        if name == "output" and translated.response == "written":  # no translation: there is nothing to hold it against
            yield Pair(name, "", after, _language(source_code), _language(code), 0, ())
            continue
        if before == after and (not has_words(before) or code_share(before) >= MOSTLY_CODE):
            continue
        parts = mask(before).parts
        gone = _lost(parts, after) if parts else ()
        if parts and not gone:  # else the lengths would not compare
            before, after = _without(before, parts), _without(after, parts)
        yield Pair(name, before, after, _language(source_code), _language(code), len(parts), gone)


def _without(text: str, parts: tuple[str, ...]) -> str:
    for part in parts:
        text = text.replace(part, " ", 1)
    return text


def _lost(parts: tuple[str, ...], text: str) -> tuple[str, ...]:
    fixed = [part for part in parts if not NUMBER.fullmatch(part)]
    return tuple(part for part, times in Counter(fixed).items() if text.count(part) < times)


def _triples(words: list[str]) -> set[tuple[str, ...]]:
    """Word triples of which at most one may be a name."""
    some = (words[i : i + TRIPLE] for i in range(len(words) - TRIPLE + 1))
    return {tuple(map(str.lower, triple)) for triple in some if sum(map(str.islower, triple)) >= TRIPLE - 1}


def _words(text: str) -> list[str]:
    return (ASCII_WORD if text.isascii() else WORD).findall(text)


def _foreign(pair: Pair) -> float:
    """Share of letters outside the language's script, names of the source apart."""
    if not pair.foreign:
        return 0.0
    words = other_letters(pair.language.script).findall(pair.target)
    names = {word for word in _words(pair.source) if not word.islower()}
    foreign = sum(len(word) for word in words if word not in names)
    letters = sum(map(str.isalpha, pair.target))
    return foreign / letters if letters else 0.0


@cache
def _english_only(language: Language) -> frozenset[str]:
    return ENGLISH_WORDS - vocabulary(language)


@cache
def _language(code: str) -> Language:
    return get(code)


@cache
def _bounds(source: str, target: str) -> tuple[float, float]:
    """Characters at least and at most for each of the source's, by script; the widest where a script is unknown."""
    table = _ratios()
    median = table[source][1] if source in table and source != "Latn" else 1.0
    low, _, high = table.get(target, (0.15, 1.0, 2.5))
    return low / median, high / median


@cache
def _ratios() -> dict[str, tuple[float, float, float]]:
    text = resources.files("xllms.instructions").joinpath("length_ratios.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(StringIO(text, newline=""))
    return {row["script"]: (float(row["low"]), float(row["median"]), float(row["high"])) for row in rows}
