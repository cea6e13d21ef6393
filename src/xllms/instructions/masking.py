"""What must come out of a translator untouched is taken out of the text first, and put back afterwards.

Without it, Apertium (eng-spa) returned 114 of the 144 such parts of the 175 seed tasks of Self-Instruct, and all
of them in 23 of the 38 tasks that have any. As `QX0Z` all 144 came back; so did they as `⟦0⟧`, `__0__`, `X0X`,
`<x0/>`, `{0}` and nine others, so the choice is for plain capitals, which need no rare character of a vocabulary, with
ends that differ, so that no two marks run into one. Neural engines were not measured.

The three fields of a record go through a translator as one text, so that they share their context; a line of `=====`
between them came back twice in all 175.

Of the seed tasks `translatable` lets 138 through, keeps 19 outputs in English (9 code, 10 without a word) and drops
18: 16 about the form of English (grammar, rhyme, letters, synonyms, ...), 2 translations. A pun that only the input or
output shows is not seen.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from xllms.records import Instruction

MARK = "QX{}Z"
# As it comes back: with a space in it, in another case, with the digits of another script.
MARK_FOUND = re.compile(r"[Qq][^\S\n]?[Xx][^\S\n]?(\d{1,6})[^\S\n]?[Zz]")
SEPARATOR = "====="
SEPARATOR_FOUND = re.compile(r"^[^\S\n]*=(?:\s?=){4}[^\S\n]*$", re.MULTILINE)

ANY = rf"(?:(?!\n{SEPARATOR}\n)[\s\S])"  # never beyond the field
FENCE = re.compile(rf"(?P<fence>```|~~~){ANY}*?(?P=fence)")
MARKUP = (
    r"`[^`\n]+`",
    r"(?:https?://|www\.)[^\s<>\"']*[^\s<>\"'.,;:!?)\]]",
    rf"\$\${ANY}+?\$\$|\\\([^\n]+?\\\)|\\\[{ANY}+?\\\]",
    rf"\\begin\{{(?P<name>\w+\*?)\}}{ANY}*?\\end\{{(?P=name)\}}|\\[A-Za-z]+(?:\[[^\[\]\n]*\])?(?:\{{[^{{}}\n]*\}})+",
    r"\$(?=[^$\n]*[\\^_={}])[^$\s](?:[^$\n]*[^$\s])?\$",
    rf"<!--{ANY}*?-->|</?[A-Za-z!][^<>\n]*>|&(?:[a-z]{{2,8}}|#\d{{1,6}});",
    r"\{\{[^{}\n]+\}\}|\$\{\w+\}|\{[A-Za-z_]\w*\}|\{\d*\}|%\(\w+\)[sdif]|%(?:\d*\.?\d+)?[sdif]\b",
    r"\[[A-Z][A-Z0-9_ -]*\]|_{3,}|(?<!\w)@\w{2,}",
    r"(?<![\w/])(?:~?/|\.{1,2}/)(?:[\w.-]+/)+[\w.-]*\w",
)
UNITS = (
    r"km/h|km/hr|mph|m/s|(?:km|m|cm)[²2³3]|km|cm|mm|nm|m|mi|ft|yd|kg|mg|µg|g|lbs?|oz|ml|cl|[lL]|°\s?[CF]|[CF]"
    r"|[kMG]Hz|Hz|kWh|[kM]?W|V|kcal|[kKMGT]B|[MG]bps|px|fps|ms|min|h"
)
CURRENCY = r"[$€£¥₹₩]"
NUMBERS = (
    rf"{CURRENCY}\s?\d(?:[\d,.]*\d)?(?:[kKMB]\b|bn\b)?",
    r"\d{1,2}:\d{2}(?::\d{2})?(?:\s?(?:[ap]m\b|[AP]M\b|[ap]\.m\.))?|\d{1,2}\s?(?:[ap]m\b|[AP]M\b)",
    r"\d{4}-\d{2}-\d{2}\b|\(\d{3}\)\s?\d{3}-\d{4}\b",
    rf"[+-]?\d+(?:[.,]\d+)*(?:\s?[%€£]|[\s-]?(?:{UNITS})(?![\w'’/]))",
    r"\d+(?:[.,]\d+)+(?:[eE][+-]?\d+)?(?!\w)|\d+[eE][+-]?\d+\b",
)
NUMBER = re.compile(rf"(?<![\w.,])(?:{'|'.join(NUMBERS)})")
# What a part can start with is looked at before anything else: four times faster than to try every form everywhere.
INLINE = re.compile(
    r"(?=[`~$\\<&{%\[_@./\d€£¥₹₩(+-]|http|www|[Qq][^\S\n]?[Xx])"
    rf"(?:{MARK_FOUND.pattern}|{'|'.join(MARKUP)}|{NUMBER.pattern})"
)
NAMED = re.compile(
    r"(?<![\w.+-])[\w.+-]+(?:@[\w-]+(?:\.[\w-]+)+|\.(?:py|js|ts|java|cpp|html?|css|jsonl?|ya?ml|xml|csv|tsv|txt|md"
    r"|pdf|docx?|xlsx?|png|jpe?g|gif|sh|zip)\b)|(?<!\w)[A-Za-z]:\\[\w.\\-]*\w"
)
# Begins with what is rare, not with any letter, which takes 20 instead of 26 µs a text.
HAS_NAMED = re.compile(r"[.@:](?:(?<=\w[.@])\w|(?<=:)\\)")
# A line that nobody would read out loud, in Python, the C family, shell or SQL.
CODE_LINE = re.compile(
    r"^[ \t]*(?:(?:def|class)\s+\w+\s*[(:].*:|import\s+[\w.]+(?:\s+as\s+\w+)?;?|from\s+[\w.]+\s+import\s.*"
    r"|(?:if|elif|for|while|with|except)\b.*[()=<>\[\].].*:|(?:else|try|finally):|#include\s*[<\"].*|#!/.*"
    r"|(?:var|let|const|int|float|double|char|String|bool|auto)\s+\w+\s*(?:[=;(]).*"
    r"|(?:public|private|protected|static|void)\s.*[({;]|function\s*\w*\s*\(.*|.*\)\s*\{|.*=.*;|[})\]]+[;,]?"
    r"|[\w.\[\]'\"]+\s*(?:[-+*/%|&]|//|\*\*)?=(?!.*[A-Za-z]{2} [A-Za-z]{2})\s*[^\s=].*"
    r"|[A-Za-z_][\w.]*\((?:.*[\"'=,\[(].*)?\)\s*;?"
    r"|(?:SELECT\s.*\sFROM|INSERT\s+INTO|UPDATE\s+\w+\s+SET|CREATE\s+TABLE|DELETE\s+FROM)\b.*)[ \t]*$"
    r"|^[ \t]+return\b.*$",
    re.MULTILINE,
)
BESIDE_CODE = re.compile(r"[ \t]{2,}|\t|\s*(?:#|//|/\*|\"\"\"|''')|\s*$")
TRANSLATION = re.compile(
    r"\btranslat(?:e|es|ed|ing|ions?|or)\b|\b(?:in|into|to|from) (?:English|Chinese|Mandarin|Japanese|Korean|French"
    r"|German|Spanish|Italian|Portuguese|Russian|Arabic|Hindi|Latin|Greek|Dutch|Turkish)\b"
    r"(?=\s*(?:[.,:;?!)\"]|$|(?:in)?to\b))",
    re.IGNORECASE,
)
ENGLISH_FORM = re.compile(
    r"\b(?:grammar|(?:un)?grammatical(?:ly)?|punctuat\w+|misspell\w*|spell(?:ed|ings?)|capitali[sz]\w+|alphabetical\w*"
    r"|(?:upper|lower).?case|pronounc\w+|pronunciation|abbreviat\w+|acronyms?|etymolog\w+|collocations?|idioms?"
    r"|rhym\w+|puns?|haikus?|limericks?|syllabl\w+|alliterat\w+|anagrams?|palindrom\w+|tongue.twisters?|knock.knock"
    r"|crosswords?|scrabble|hangman|word ?(?:play|games?|ladder|search)|homo(?:phone|nym)s?|(?:syno|anto)nyms?"
    r"|vowels?|consonants?|(?:pro)?nouns?|(?:ad)?verbs?|adjectives?|prepositions?|pos.tags?|parts? of speech"
    r"|dependency pars\w+|(?:past|present|future) tense|(?:passive|active) voice|plural (?:form|of)"
    r"|(?:first|last|each|every|missing) letters?|letters? of the|the letters? ['\"]?[a-z]"
    r"|(?:number|count) of (?:the )?(?:words|letters|characters)|words? (?:count|that (?:start|end|begin|correspond)s?)"
    r"|(?:start|end|begin)s? with the (?:word|letter)|(?:definition|meaning) of the word)\b",
    re.IGNORECASE,
)
MOSTLY = 0.5
WORD = re.compile(r"[^\W\d_]{2,}")


Action = Literal["translate", "keep_output", "drop"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with an English record, and why: `keep_output` translates all but the output."""

    action: Action
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Masked:
    """A text to translate, and what its marks stand for: `QX0Z` for the first of `parts`."""

    text: str
    parts: tuple[str, ...]


def mask(text: str) -> Masked:
    """Take out what must not be translated: code, addresses, placeholders, markup, numbers with units.

    A text that holds a mark already loses it to a mark of ours, so `unmask` gives every text back.
    """
    pieces: list[str] = []
    parts: list[str] = []
    at = 0
    for start, end in _spans(text):
        pieces += [text[at:start], MARK.format(len(parts))]
        parts.append(text[start:end])
        at = end
    return Masked("".join((*pieces, text[at:])), tuple(parts))


def unmask(text: str, parts: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Put the parts back where their marks are.

    Returns:
        The text, and the parts that are not in it exactly once. Marks of parts that never were stay.
    """
    seen = [0] * len(parts)

    def part(found: re.Match[str]) -> str:
        number = int(found[1])
        if number >= len(parts):
            return found[0]
        seen[number] += 1
        return parts[number]

    text = MARK_FOUND.sub(part, text)
    return text, tuple(part for part, times in zip(parts, seen, strict=True) if times != 1)


def join_fields(instruction: str, input: str, output: str) -> str:
    """The three fields as one text, so that a translator reads each in the light of the others."""
    return f"\n{SEPARATOR}\n".join((instruction, input, output))


def split_fields(text: str) -> tuple[str, str, str] | None:
    """The three fields of a joined text, without white space around each.

    Returns:
        None where there are not exactly two separators: then translate each field alone.
    """
    fields = [field.strip() for field in SEPARATOR_FOUND.split(text)]
    return (fields[0], fields[1], fields[2]) if len(fields) == 3 else None


def code_share(text: str) -> float:
    """Share of the text's words that stand in code."""
    total = len(WORD.findall(text))
    return sum(len(WORD.findall(text[start:end])) for start, end in _code(text)) / total if total else 0.0


def has_words(text: str) -> bool:
    """Whether anything is left to translate once the parts are masked."""
    return bool(WORD.search(MARK_FOUND.sub(" ", mask(text).text)))


def translatable(record: Instruction) -> Decision:
    """Whether an English record still makes sense in another language, by rules on its instruction and output."""
    if found := TRANSLATION.search(record.instruction):
        return Decision("drop", f"translation: {found[0]}")
    if found := ENGLISH_FORM.search(record.instruction):
        return Decision("drop", f"English form: {found[0]}")
    if not has_words(record.instruction):
        return Decision("drop", "no words: the instruction is all markup, code or numbers")
    if code_share(record.output) >= MOSTLY:
        return Decision("keep_output", "code")
    if not has_words(record.output):
        return Decision("keep_output", "no words")
    return Decision("translate")


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where the parts are, in order and apart: code first, then markup and numbers, then names with a dot or an @."""
    for start, end, code in _with_gaps(_code(text), 0, len(text)):
        if code:
            yield start, end
            continue
        found = (match.span() for match in INLINE.finditer(text, start, end))
        for low, high, inline in _with_gaps(found, start, end):
            if inline:
                yield low, high
            elif HAS_NAMED.search(text, low, high):
                yield from (match.span() for match in NAMED.finditer(text, low, high))


def _with_gaps(spans: Iterable[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """The spans, marked True, and what lies between them, marked False."""
    for low, high in spans:
        yield start, low, False
        yield low, high, True
        start = high
    yield start, end, False


def _code(text: str) -> Iterator[tuple[int, int]]:
    """Fenced blocks, and between them lines that are plainly code with the indented ones and comments after them."""
    fences = (match.span() for match in FENCE.finditer(text)) if "```" in text or "~~~" in text else ()
    for start, end, fenced in _with_gaps(fences, 0, len(text)):
        if fenced:
            yield start, end
        elif CODE_LINE.search(text, start, end):
            yield from _code_lines(text, start, end)


def _code_lines(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    block: tuple[int, int] | None = None
    for line in text[start:end].splitlines(keepends=True):
        stop = start + len(line.rstrip())
        if CODE_LINE.match(line):
            block = (block[0] if block else start, stop)
        elif block and BESIDE_CODE.match(line):
            block = (block[0], stop) if line.strip() else block
        elif block:
            yield block
            block = None
        start += len(line)
    if block:
        yield block
