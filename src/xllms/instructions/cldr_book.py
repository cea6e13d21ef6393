"""What one CLDR locale says: its own names of things, its own way to write dates, numbers and lists.

A text is taken only if the locale has it itself. What it inherits from the root (`M03`, `Thu`) or lacks, what
is written in another script, and what is no plain name is refused with a reason.
"""

from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from typing import Any

import regex

from xllms.instructions.cldr_locale import ENGLISH, load_locale, root_weekdays, universe

NO_ENTRY = "the locale has no own entry"
OTHER_SCRIPT = "written in another script"
REMARK = "carries a remark or an alternative"
_SCRIPTS = {"Hans": "Hani", "Hant": "Hani", "Jpan": "Hani|Hira|Kana", "Kore": "Hang", "Hang": "Hang"}
_ZEROS = {"arab": "٠", "arabext": "۰", "beng": "০", "deva": "०", "mymr": "၀"}
# Left-to-right and right-to-left marks, soft hyphens: nobody types them, and no answer should hang on them.
_INVISIBLE = regex.compile("[\u00ad\u061c\u200b\u200e\u200f\u2066-\u2069]")
_LETTER = regex.compile(r"\p{L}")
_CODE = regex.compile("[A-Z]{1,4}")
_REMARK = regex.compile(r"[()\[\]{}/;=]")


@dataclass(frozen=True)
class Entity:
    """One fact to ask for, before any language.

    Attributes:
        id: such as territory:FR, date:2026-03-05, list:language:de+fr+sw, number:1250 EUR.
        kind: kind of fact, as in `CldrSource.kinds`.
        form: how it is asked for and written; other than the kind for numbers: decimal, percent, amount.
        parts: ids of the named things within it, itself for a name; its split is theirs.
    """

    id: str
    kind: str
    form: str
    parts: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The id without its kind."""
        return self.id.partition(":")[2]


class Book:
    """The texts of one locale.

    Args:
        cldr: Babel locale id such as `sw` or `zh_Hant`.
        script: ISO 15924 code of the script that letters must belong to.

    Attributes:
        names: id of a territory, language, currency, month or weekday -> the locale's own name.
        refused: id -> why the locale's name was not taken.

    Raises:
        InputError: Babel has no such locale.
    """

    def __init__(self, cldr: str, script: str) -> None:
        self._locale = load_locale(cldr)
        scripts = (*_SCRIPTS.get(script, script).split("|"), "Common", "Inherited")
        own = "".join(rf"\p{{Script={name}}}" for name in scripts)
        self._foreign = regex.compile(rf"(?V1)[\p{{L}}--[{own}]]")
        zero = _ZEROS.get(self._locale.default_numbering_system)
        self._digits = {ord("0") + i: chr(ord(zero) + i) for i in range(10)} if zero else {}
        self.names: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self._written: dict[str, str | None] = {}
        self._read_names()

    def write(self, entity: Entity) -> str | None:
        """The entity in this locale's words; None where it or a part of it is not to be had."""
        if entity.id not in self._written:
            self._written[entity.id] = self._compose(entity)
        return self._written[entity.id]

    def _compose(self, entity: Entity) -> str | None:
        if any(part not in self.names for part in entity.parts):
            return None
        if entity.id in self.names:
            return self.names[entity.id]
        text = self._tidy(getattr(self, f"_{entity.form}")(entity))
        return None if self._objection(text, allow=entity.form in ("decimal", "percent")) else text

    def _read_names(self) -> None:
        data = self._locale
        months, days = data.months["stand-alone"]["wide"], data.days["stand-alone"]["wide"]
        tables: dict[str, Any] = {
            "territory": data.territories,
            "language": data.languages,
            "currency": data.currencies,
            "month": {str(k): v for k, v in months.items() if not regex.fullmatch(r"M?\d+", v)},
            "weekday": {str(k): v for k, v in days.items() if v not in root_weekdays()},
        }
        for kind, keys in universe().items():
            for key in keys:
                name = tables[kind].get(key)
                # Wolof's quetzal is `GT`: a few capitals are a code, whosever they are.
                bare = not name or name == key or _CODE.fullmatch(name)
                reason = NO_ENTRY if bare else self._objection(name := self._tidy(name))
                if reason:
                    self.refused[f"{kind}:{key}"] = reason
                else:
                    self.names[f"{kind}:{key}"] = name

    def _objection(self, text: str, allow: bool = False) -> str:
        """Why `text` is no answer in this language; '' if it is. `allow`: without letters is fine."""
        if not allow and not _LETTER.search(text):
            return NO_ENTRY
        if not allow and _REMARK.search(text):
            return REMARK
        return OTHER_SCRIPT if self._foreign.search(text) else ""

    def _tidy(self, text: str) -> str:
        return " ".join(_INVISIBLE.sub("", text).split()).translate(self._digits)

    def _date(self, entity: Entity) -> str:
        from babel.dates import format_date

        return str(format_date(date.fromisoformat(entity.key), "full", locale=self._locale))

    def _list(self, entity: Entity) -> str:
        from babel.lists import format_list

        return str(format_list([self.names[part] for part in entity.parts], locale=self._locale))

    def _decimal(self, entity: Entity) -> str:
        from babel.numbers import format_decimal

        return str(format_decimal(float(entity.key), locale=self._locale, numbering_system="default"))

    def _percent(self, entity: Entity) -> str:
        from babel.numbers import format_percent

        share = int(entity.key.removesuffix("%")) / 100
        text = str(format_percent(share, locale=self._locale, numbering_system="default"))
        return text.replace("%", self._sign)

    def _amount(self, entity: Entity) -> str:
        from babel.numbers import format_currency

        value, currency = entity.key.split()
        how = {"locale": self._locale, "format_type": "name", "numbering_system": "default"}
        return str(format_currency(int(value), currency, **how))

    @cached_property
    def _sign(self) -> str:
        symbols = self._locale.number_symbols.get(self._locale.default_numbering_system, {})
        return str(symbols.get("percentSign", "%"))


@lru_cache(maxsize=1)
def common() -> frozenset[str]:
    """Ids that even a sparse locale names: what Kamba has, 223 territories and 45 languages among them.

    Facts that every language must share are taken from these, or most languages would lack them.
    """
    return frozenset(Book("kam", "Latn").names)


@lru_cache(maxsize=1)
def english_book() -> Book:
    """The English texts, which instructions quote."""
    return Book(ENGLISH, "Latn")
