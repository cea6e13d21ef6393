"""Text of any language on an HTML page: its language, its direction; what must not stay invisible is spelled out."""

import unicodedata
from dataclasses import dataclass, replace
from functools import cache

from babel import Locale

from xllms.errors import InputError, visible
from xllms.languages import get

_RIGHT_TO_LEFT_SCRIPTS = {"Arab", "Hebr", "Syrc", "Thaa", "Nkoo", "Adlm", "Rohg", "Mand", "Samr"}
_UNKNOWN = "unknown"
# CLDR calls these two just "Simplified" and "Traditional", which says nothing in a column of scripts.
_SCRIPT_NAMES = {"Hans": "Han, simplified", "Hant": "Han, traditional"}
MAX_CHARACTERS = 600


@dataclass(frozen=True)
class LanguageInfo:
    """What the page says about a language, also about one that the registry does not know."""

    code: str
    name: str
    autonym: str
    script: str
    family: str
    direction: str
    resource: str
    bcp47: str


@dataclass(frozen=True)
class Text:
    """A piece of text with its HTML `lang` (empty: unknown) and `dir`."""

    text: str
    lang: str
    dir: str
    cut: int = 0


@cache
def describe(code: str) -> LanguageInfo:
    """The registry's entry for a code; for an unknown code, what the code itself says."""
    try:
        known = get(code)
    except InputError:
        return _pair(*code.split("-")) if code.count("-") == 1 and "_" in code else _undescribed(code)
    return LanguageInfo(
        code=code,
        name=known.name,
        autonym=known.autonym or "",
        script=script_name(known.script),
        family=known.family or _UNKNOWN,
        direction=known.direction,
        resource=str(known.resource or _UNKNOWN),
        bcp47=known.bcp47,
    )


def _pair(source: str, target: str) -> LanguageInfo:
    """A row that goes from one language into another: it is about the second."""
    into = describe(target)
    return replace(into, code=f"{source}-{target}", name=f"{describe(source).name} → {into.name}")


def script_name(code: str) -> str:
    """The English name of an ISO 15924 script: Latn is Latin."""
    return str(_SCRIPT_NAMES.get(code) or Locale("en").scripts.get(code) or code or _UNKNOWN)


def _undescribed(code: str) -> LanguageInfo:
    script = code.partition("_")[2]
    direction = "rtl" if script in _RIGHT_TO_LEFT_SCRIPTS else "ltr"
    bcp47 = code.replace("_", "-")
    if not all(part.isascii() and part.isalnum() for part in bcp47.split("-")):
        bcp47 = ""
    return LanguageInfo(code, code, "", script_name(script), _UNKNOWN, direction, _UNKNOWN, bcp47)


def text_in(text: str, language: str | None, *, most: int = MAX_CHARACTERS, end: bool = False) -> Text:
    """A text in the named language, or in one that nobody knows.

    Of a longer text the first `most` characters are kept; with `end` the last, since a prompt's examples come first.

    The direction is that of the text's first letter, so that an answer in the wrong script still reads right;
    a text without letters, such as a number, runs as its language does.
    """
    info = describe(language) if language else None
    cut = len(text) if len(text) > most else 0
    shown = text if not cut else f"…{text[-most:]}" if end else f"{text[:most]}…"
    direction = _direction(text) or (info.direction if info else "ltr")
    return Text(visible(shown), info.bcp47 if info else "", direction, cut)


def _direction(text: str) -> str | None:
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind == "L":
            return "ltr"
        if kind in ("R", "AL"):
            return "rtl"
    return None
