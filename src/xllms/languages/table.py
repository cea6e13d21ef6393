"""Languages as plain text: a table for `xllms languages`, names for a message."""

import unicodedata
from collections.abc import Iterable, Sequence

from xllms.languages.registry import Language

HEADER = ("code", "name", "autonym", "script", "resource", "CLDR", "groups")


def format_table(languages: Iterable[Language]) -> str:
    """One line a language under a header, columns aligned as a terminal shows them; ends in a line break."""
    rows: list[Sequence[str]] = [HEADER, *(_cells(language) for language in languages)]
    widths = [max(_width(row[column]) for row in rows) for column in range(len(HEADER))]
    return "".join(_line(row, widths) + "\n" for row in rows)


def some_names(languages: Sequence[Language], shown: int = 5) -> str:
    """English names, the first few of many: `Thai, Lao and 3 more`."""
    names = ", ".join(language.name for language in languages[:shown])
    return names if len(languages) <= shown else f"{names} and {len(languages) - shown} more"


def _cells(language: Language) -> tuple[str, ...]:
    return (
        language.code,
        language.name,
        language.autonym,
        language.script,
        language.resource,
        "yes" if language.cldr else "no",
        " ".join(language.groups),
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
    return "  ".join(cells).rstrip()


def _width(text: str) -> int:
    """Terminal columns: none for combining marks, two for wide East Asian letters."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
