"""The language registry: one table, one `Language` type, names of every kind, and groups.

`languages.csv` is made by `scripts/build_languages.py`, where the source of each column stands; `aliases.csv`
holds the names and codes that people use besides. A FLORES-200 code such as `swh_Latn` is the key everywhere.
"""

import csv
import difflib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from io import StringIO

from xllms.errors import InputError

NAMED_GROUPS = ("hundred", "thirty", "flores-200")
RESOURCE_CLASSES = ("high", "medium", "low", "very-low")
# BCP-47 calls Korean's script Kore (Hangul and Han), FLORES Hang.
SAME_SCRIPT = {"Kore": "Hang"}
TAG = re.compile(r"(?P<language>[a-z]{2,3})(-(?P<script>[a-z]{4}))?(-(?P<region>[a-z]{2}|\d{3}))?(-\w{5,8})*")


class UnknownLanguage(InputError):
    """A name that is no language and no group of the registry."""


@dataclass(frozen=True, slots=True)
class Language:
    """One language in one script, as the registry's table has it.

    `cldr`, `google` and `nllb` are empty where that system has nothing for this language in this script.
    """

    code: str
    bcp47: str
    name: str
    autonym: str
    script: str
    family: str
    direction: str
    resource: str
    nllb: str
    google: str
    cldr: str
    groups: tuple[str, ...]

    def __hash__(self) -> int:
        return hash(self.code)  # caches by language are asked for every word of every text


def get(name: str) -> Language:
    """The language of that FLORES code, BCP-47 tag, ISO 639 code, English name, autonym or common alias.

    Case, accents and punctuation do not matter. A region is dropped (`pt-BR` is Portuguese); a script is not
    (`sr-Latn` is unknown, since the registry has Serbian in Cyrillic only).

    Raises:
        UnknownLanguage: no such name; gives the nearest ones.
    """
    found = _find(name)
    if found is None:
        nearest = _nearest(name, with_groups=False)
        raise UnknownLanguage(f"unknown language {name!r}{nearest}; see `xllms languages`")
    return found


def group(name: str) -> tuple[Language, ...]:
    """The languages of a group such as `hundred`, `script:Arab`, `Arab` or `resource:low`, in table order.

    Raises:
        UnknownLanguage: no such group; names them.
    """
    members = _groups().get(_group_key(name))
    if members is None:
        raise UnknownLanguage(f"unknown language group {name!r}; there are {', '.join(group_names())}")
    return members


def group_names() -> tuple[str, ...]:
    """Names of all groups, those of a script as `script:Arab` and of a resource class as `resource:low`."""
    scripts = sorted({language.script for language in all_languages()})
    return (
        *NAMED_GROUPS,
        *(f"resource:{name}" for name in RESOURCE_CLASSES),
        *(f"script:{name}" for name in scripts),
    )


def resolve(names: Sequence[str]) -> tuple[Language, ...]:
    """The languages that groups and single names stand for: each once, in the order of first mention.

    Raises:
        UnknownLanguage: a name is neither; gives the nearest ones.
    """
    chosen: dict[str, Language] = {}
    for name in names:
        members = _groups().get(_group_key(name))
        if members is None:
            found = _find(name)
            if found is None:
                nearest = _nearest(name, with_groups=True)
                raise UnknownLanguage(f"unknown language or group {name!r}{nearest}; see `xllms languages`")
            members = (found,)
        chosen.update((language.code, language) for language in members)
    return tuple(chosen.values())


def search(query: str) -> list[Language]:
    """Languages whose code, names, family, script or groups contain the query; an exact name comes first."""
    key = _key(query)
    if not key:
        return list(all_languages())
    hits = [language for language in all_languages() if key in _search_text(language)]
    hits += [_languages_by_code()[code] for alias, code in _aliases() if key in _key(alias)]
    hits += _groups().get(_group_key(query), ())
    exact = _find(query)
    ordered = [exact, *hits] if exact else hits
    return list({language.code: language for language in ordered}.values())


@cache
def all_languages() -> tuple[Language, ...]:
    """Every language of the table, sorted by code."""
    rows = _table("languages.csv")
    return tuple(Language(**{**row, "groups": tuple(row["groups"].split())}) for row in rows)  # type: ignore[arg-type]


def read_table(file: str) -> str:
    """The text of a table that lies beside this module."""
    return resources.files("xllms.languages").joinpath(file).read_text(encoding="utf-8")


def _table(file: str) -> Iterator[dict[str, str]]:
    # Not `splitlines`, which also breaks at characters that may stand inside a cell (U+2028).
    return csv.DictReader(StringIO(read_table(file), newline=""))


@cache
def _languages_by_code() -> dict[str, Language]:
    return {language.code: language for language in all_languages()}


@cache
def _aliases() -> tuple[tuple[str, str], ...]:
    return tuple((row["alias"], row["code"]) for row in _table("aliases.csv"))


@cache
def _by_name() -> dict[str, Language]:
    """Every name of every language; where two claim one, codes win over names and names over aliases."""
    index: dict[str, Language] = {}
    for names_of in (_codes, _bare_codes, _words):
        for language in all_languages():
            for name in names_of(language):
                index.setdefault(_key(name), language)
    for alias, code in _aliases():
        index.setdefault(_key(alias), _languages_by_code()[code])
    return index


def _codes(language: Language) -> Iterator[str]:
    yield language.code
    yield language.bcp47


def _bare_codes(language: Language) -> Iterator[str]:
    # The bare code belongs to the row whose tag needs no script: `ace` is Acehnese in Latin script.
    if "-" not in language.bcp47:
        yield language.code.partition("_")[0]
    yield from (code for code in (language.google, language.cldr) if code)


def _words(language: Language) -> Iterator[str]:
    yield language.name
    yield language.autonym


def _key(name: str) -> str:
    """Case, accents, punctuation and doubled spaces removed; vowel signs of Indic scripts stay."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    bare = "".join(c for c in decomposed if unicodedata.combining(c) < 200)
    return " ".join(re.sub(r"[\s\-_(),.'’ʻ`]+", " ", bare).split())


@lru_cache(maxsize=4096)  # every row of a file names its language
def _find(name: str) -> Language | None:
    return _by_name().get(_key(name)) or _find_tag(name)


def _find_tag(name: str) -> Language | None:
    """The language of a tag with subtags that the table does not list, unless its script is another one."""
    tag = TAG.fullmatch(name.strip().replace("_", "-").lower())
    if tag is None:
        return None
    script = (tag["script"] or "").title()
    with_script = f"{tag['language']}-{script}"
    with_region = f"{tag['language']}-{tag['region']}"
    for candidate in (with_script, with_region, tag["language"]):
        found = _by_name().get(_key(candidate))
        if found is not None and (not script or SAME_SCRIPT.get(script, script) == found.script):
            return found
    return None


def _nearest(name: str, with_groups: bool) -> str:
    """`; did you mean ...?` with up to three names that look like this one."""
    spelled = {_key(word): word for language in all_languages() for word in (language.name, language.code)}
    spelled.update((_key(alias), alias) for alias, _ in _aliases() if len(alias) > 3)
    if with_groups:
        spelled.update((_key(word), word) for word in group_names())
    near = difflib.get_close_matches(_key(name), spelled, n=3, cutoff=0.6)
    return f"; did you mean {', '.join(spelled[key] for key in near)}?" if near else ""


def _group_key(name: str) -> str:
    return name.strip().lower().removeprefix("script:")


@cache
def _groups() -> dict[str, tuple[Language, ...]]:
    """Members of each group, keyed in lower case; a script's group by its bare code."""
    members: dict[str, list[Language]] = {}
    for language in all_languages():
        for name in (*language.groups, language.script, f"resource:{language.resource}"):
            members.setdefault(name.lower(), []).append(language)
    return {name: tuple(languages) for name, languages in members.items()}


def _search_text(language: Language) -> str:
    names = (language.code, language.bcp47, language.name, language.autonym, language.family, language.script)
    return _key(" ".join(names)) + " " + _key(language.code.replace("_", ""))
