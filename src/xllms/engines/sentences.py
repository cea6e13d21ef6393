"""A text as sentences, and back: NLLB was trained on sentences and drops some of a longer input.

Rules over Unicode's sentence-ending marks, in all scripts of the registry's languages; pysbd knows 22 languages and has
been still since 2021, syntok three, wtpsplit needs torch. A text of a script that marks no end (Thai, Lao) stays
whole up to its line breaks.
"""

import regex

from xllms.languages import Language

# Burmese ၊ is a comma, though Unicode lists it; Tibetan shads end sentences, though it does not.
_MARK = r"[[\p{STerm}…།༎]--[\u104a]]"
# As `str.strip` has it.
_SPACE = r"[\s\x1c-\x1f]"
# No space follows these.
_WIDE = r"[。｡！？．]"
_END = regex.compile(
    rf"(?V1)(?P<mark>{_WIDE}+)[\p{{Pe}}\p{{Pf}}]*(?!{_MARK})(?P<space>{_SPACE}*)"
    rf"|(?P<mark>{_MARK}+)[\p{{Pe}}\p{{Pf}}\p{{Pi}}\"']*(?P<space>{_SPACE}+)"
)
_GREEK_QUESTION = regex.compile(rf"(?P<mark>;)[\p{{Pf}}\"']*(?P<space>{_SPACE}+)")
_BREAK = regex.compile(rf"{_SPACE}*[\n\r\v\f\x85\u2028\u2029]{_SPACE}*")
_LOWER = regex.compile(r"[\p{Pi}\p{Ps}\"'—–-]*\p{Ll}")
# A full stop after these ends no sentence: titles, Latin, dates; and, before a number, what is counted.
_TITLES = "mr mrs ms dr prof st sr jr rev gen col sgt capt lt sen rep gov hon sra srta"
_LATIN = "vs e.g i.e eg ie cf ca approx bzw usw z.b d.h"
_DATES = "jan feb mar apr jun jul aug sep sept oct nov dec"
_ABBREVIATIONS = frozenset(f"{_TITLES} {_LATIN} {_DATES}".split())
_COUNTED = frozenset({"no", "nos", "nr", "fig", "figs", "vol", "eq", "sec", "ch", "p", "pp", "art"})
_INITIAL = regex.compile(r"(?:[\p{Lu}--I]|(?:\p{L}\.)+\p{L})", regex.V1)  # "Then you and I. He" is two sentences
_NUMBER = regex.compile(r"\d{1,2}")
_LAST_WORD = regex.compile(r"(?:(?<=^|[\s\p{Ps}\p{Pi}\"'])[\p{L}\p{N}.]*[\p{L}\p{N}])$")
# "Am 3. Oktober": a full stop makes an ordinal of a number.
_ORDINAL = "bos ces dan deu est eus fao fin hrv hun isl ltz lvs nno nob pol slk slv srp tur"
_ORDINAL_DOT = frozenset(_ORDINAL.split())
# No space stands between two sentences of these scripts.
_UNSPACED = frozenset({"Jpan", "Hans", "Hant"})


def split_sentences(text: str, language: Language) -> list[tuple[str, str]]:
    """The sentences of a text.

    Args:
        text: any.
        language: that it is in.

    Returns:
        (sentence, the white space after it); joined they are the text again. Only the first sentence may be empty:
        where the text begins with white space.
    """
    parts: list[tuple[str, str]] = []
    start = 0
    for match in _BREAK.finditer(text):
        parts += _split_line(text[start : match.start()], match.group(), language)
        start = match.end()
    return parts + _split_line(text[start:], "", language)


def join_sentences(parts: list[tuple[str, str]], language: Language) -> str:
    """A text of (sentence, white space after it in the original), spaced between sentences as `language` writes."""
    pieces = []
    for number, (sentence, after) in enumerate(parts):
        pieces.append(sentence)
        last = number + 1 == len(parts)
        if last or _BREAK.fullmatch(after) or not sentence:
            pieces.append(after)
        elif language.script not in _UNSPACED:
            pieces.append(after or " ")
    return "".join(pieces)


def _split_line(line: str, after: str, language: Language) -> list[tuple[str, str]]:
    """Sentences of one line; `after` is the white space with the break that follows it."""
    body = line.strip()
    head = len(line) - len(line.lstrip()) if body else 0
    parts = [("", line[:head])] if head else []
    start = 0
    for end, following in _ends(body, language):
        if following < len(body):
            parts.append((body[start:end], body[end:following]))
            start = following
    remains = line[head + len(body) :] + after
    if body or remains:
        parts.append((body[start:], remains))
    return parts


def _ends(body: str, language: Language) -> list[tuple[int, int]]:
    """(where a sentence ends, where the next begins), in order."""
    matches = list(_END.finditer(body))
    if language.script == "Grek":
        matches = sorted([*matches, *_GREEK_QUESTION.finditer(body)], key=lambda match: match.start())
    return [(m.start("space"), m.end()) for m in matches if not (m["space"] and _goes_on(body, m, language))]


def _goes_on(body: str, match: "regex.Match[str]", language: Language) -> bool:
    """Whether the sentence goes on after this mark and the space that follows it."""
    if match.end() == len(body) or _LOWER.match(body, match.end()):
        return True
    if match["mark"] != ".":
        return False
    word = _LAST_WORD.search(body[max(0, match.start() - 40) : match.start()])
    if word is None:
        return False
    text = word.group()
    if _NUMBER.fullmatch(text):
        at_start = match.start() == len(text)  # "1. Mix the flour."
        return at_start or language.code.partition("_")[0] in _ORDINAL_DOT
    if text.lower() in _COUNTED:
        return body[match.end()].isdigit()
    return text.lower() in _ABBREVIATIONS or _INITIAL.fullmatch(text) is not None
