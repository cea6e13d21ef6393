"""Which writing systems a text uses: letters by script, and simplified or traditional Han."""

from collections import Counter
from functools import cache

import regex

from xllms.languages.registry import all_languages

# ISO 15924 names three systems that Unicode writes with other scripts; a text's Han letters are one of them.
UNICODE_SCRIPTS = {"Jpan": ("Hira", "Kana", "Hani"), "Hans": ("Hani",), "Hant": ("Hani",), "Hang": ("Hang",)}
KANA = ("Hira", "Kana")


def unicode_scripts(script: str) -> tuple[str, ...]:
    """The Unicode scripts that an ISO 15924 script of the registry is written in."""
    return UNICODE_SCRIPTS.get(script, (script,))


def letters_by_script(text: str) -> Counter[str]:
    """Letters of the text by Unicode script (`Latn`, `Hani`, ...), without those common to several."""
    letters: Counter[str] = Counter()
    for character, times in Counter(text).items():  # a text has few different ones
        if script := _script(character):
            letters[script] += times
    return letters


@cache
def _script(character: str) -> str:
    """Unicode script of a letter, `Zyyy` for one that no registry language uses, empty for all else."""
    if not character.isalpha() or regex.match(r"[\p{Script=Common}\p{Script=Inherited}]", character):
        return ""
    return next((name for name, pattern in _patterns() if pattern.match(character)), "Zyyy")


@cache
def _patterns() -> tuple[tuple[str, "regex.Pattern[str]"], ...]:
    names = {part for language in all_languages() for part in unicode_scripts(language.script)}
    return tuple((name, regex.compile(rf"\p{{Script={name}}}")) for name in sorted(names))


def han_forms(text: str) -> tuple[int, int]:
    """(letters that only simplified Chinese writes, letters that only traditional Chinese writes).

    GB 2312 holds the simplified letters and Big5 the traditional ones; a letter in both says nothing.
    """
    simplified = traditional = 0
    for character in text:
        in_gb, in_big5 = _encodes(character, "gb2312"), _encodes(character, "big5")
        simplified += in_gb and not in_big5
        traditional += in_big5 and not in_gb
    return simplified, traditional


@cache
def _encodes(character: str, encoding: str) -> bool:
    if _script(character) != "Hani":
        return False
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
