"""The language registry; which language a text is in is asked of `xllms.languages.identification`."""

from xllms.languages.registry import (
    Language,
    UnknownLanguage,
    all_languages,
    get,
    group,
    group_names,
    resolve,
    search,
)

__all__ = ["Language", "UnknownLanguage", "all_languages", "get", "group", "group_names", "resolve", "search"]
