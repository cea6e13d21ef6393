"""The words of a language that CLDR knows: names of places, languages, months, weekdays and currencies.

Short answers are mostly such words, and a statistical identifier cannot tell them: of its reliable answers on
lists of three territories in the Latin-script languages of CLDR, pycld2 had 684 of 1,757 wrong.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import regex

from xllms.languages.registry import Language, all_languages

WORD = regex.compile(r"[\p{L}\p{M}]+(?:['’ʼʻ‘-][\p{L}\p{M}]+)*")


def words(text: str) -> list[str]:
    """The words of a text in lower case, without digits and punctuation."""
    return [word.casefold().replace("’", "'") for word in WORD.findall(text)]


@cache
def vocabulary(language: Language) -> frozenset[str]:
    """Every word in CLDR's names of things in that language; empty if it has no locale."""
    if not language.cldr:
        return frozenset()
    return frozenset(words("\n".join(_texts(language.cldr))))


@cache
def connectives(language: Language) -> frozenset[str]:
    """The words that join a list, such as English `and` and `or`; empty without a locale."""
    if not language.cldr:
        return frozenset()
    return frozenset(word for text in _list_patterns(language.cldr) for word in words(text))


@cache
def speakers(script: str) -> dict[str, tuple[Language, ...]]:
    """For every word that CLDR has in a language of that script, the languages it has it in."""
    index: dict[str, list[Language]] = {}
    for language in all_languages():
        if language.script == script:
            for word in vocabulary(language):
                index.setdefault(word, []).append(language)
    return {word: tuple(languages) for word, languages in index.items()}


def _texts(cldr: str) -> Iterator[str]:
    """CLDR's names and patterns of one locale."""
    locale = _locale(cldr)
    yield from locale.territories.values()
    yield from locale.languages.values()
    yield from locale.currencies.values()
    for names in (locale.months, locale.days):
        for context in ("format", "stand-alone"):
            yield from names[context]["wide"].values()
    yield from _list_patterns(cldr)
    for pattern in locale.date_formats.values():
        # Quoted parts of a date pattern are words: `d 'de' MMMM 'de' y`.
        yield from regex.findall(r"'([^']+)'", str(pattern.pattern))


def _list_patterns(cldr: str) -> Iterator[str]:
    for patterns in _locale(cldr).list_patterns.values():
        yield from (regex.sub(r"\{\d\}", " ", pattern) for pattern in patterns.values())


def _locale(cldr: str) -> Any:
    # Babel takes 0.1 s to import; only texts in a script of several languages need it.
    from babel import Locale

    return Locale.parse(cldr)
