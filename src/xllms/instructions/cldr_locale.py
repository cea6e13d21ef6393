"""Babel's locales, each read for itself, and the list of all things that CLDR names."""

from functools import lru_cache
from typing import TYPE_CHECKING

import regex

from xllms.errors import InputError

if TYPE_CHECKING:
    from babel import Locale

ENGLISH = "en"
_PLAIN = regex.compile(r"(?!.* - )[\p{L}\p{M} .&-]+")
_NO_TERRITORY = frozenset(("ZZ", "XA", "XB", "EZ", "QO", "EU", "UN"))
_NO_LANGUAGE = frozenset(("und", "mul", "mis", "zxx"))


def load_locale(cldr: str) -> "Locale":
    """A locale whose data nobody shares.

    Babel writes an alias that it resolved into the data that all locales inherit: after Igbo, French weekdays
    can be Igbo ones (https://github.com/python-babel/babel/issues/1234). So every locale is read afresh, in 6
    ms.

    Raises:
        InputError: Babel has no such locale.
    """
    from babel import Locale, UnknownLocaleError, localedata

    localedata._cache.clear()
    try:
        locale = Locale.parse(cldr)
        locale.territories  # noqa: B018  Babel reads the data with the first look
    except (UnknownLocaleError, ValueError):
        raise InputError(f"Babel has no CLDR locale `{cldr}`; correct it in languages.csv") from None
    return locale


def has_locale(cldr: str) -> bool:
    """True when Babel carries data for this locale."""
    from babel import localedata

    return bool(cldr) and bool(localedata.exists(cldr))


@lru_cache(maxsize=1)
def root_weekdays() -> frozenset[str]:
    """What a locale without weekdays of its own would show."""
    from babel import localedata

    return frozenset(localedata.load("root", merge_inherited=False)["days"]["format"]["wide"].values())


@lru_cache(maxsize=1)
def universe() -> dict[str, tuple[str, ...]]:
    """All named things there are to ask for: kind -> keys, those with a plain English name.

    Names with a remark in English (`Myanmar (Burma)`, `Congo - Kinshasa`) or an apostrophe (Luo's Côte
    d’Ivoire is cut off at it), pseudo territories, groups of languages and currencies that are out of use are
    left out.
    """
    from babel.core import get_global

    english = load_locale(ENGLISH)
    rows = [row for rows in get_global("territory_currencies").values() for row in rows]
    used = {code for code, _, end, tender in rows if tender and not end}
    tables = {
        "territory": {k: v for k, v in english.territories.items() if len(k) == 2 and k not in _NO_TERRITORY},
        "language": {k: v for k, v in english.languages.items() if len(k) <= 3 and k not in _NO_LANGUAGE},
        "currency": {k: v for k, v in english.currencies.items() if k in used},
    }
    plain = {
        kind: tuple(sorted(key for key, name in table.items() if _PLAIN.fullmatch(name)))
        for kind, table in tables.items()
    }
    return {**plain, "month": tuple(str(n) for n in range(1, 13)), "weekday": tuple(str(n) for n in range(7))}
