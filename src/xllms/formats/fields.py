"""What one row must hold: texts that are whole, a language, and an identity where it brings none."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from xllms.formats.json_file import BadRecord
from xllms.languages import UnknownLanguage, get

Row = Mapping[str, Any]
_LONGEST_NAME = 100


def as_row(value: Any, where: str, wanted: str) -> Row:
    """The value as an object.

    Raises:
        BadRecord: it is none; says what the object should hold.
    """
    if not isinstance(value, Mapping):
        raise BadRecord(where, f"not an object with {wanted}: {shown(value)}")
    return value


def text(row: Row, name: str, where: str, *, optional: bool = False, blank: bool = False) -> str:
    """One field that holds a text.

    Args:
        row: the object.
        name: of the field.
        where: place of the object, for the message.
        optional: may be absent, null or empty, which all read as empty.
        blank: may be empty, but must be there.

    Raises:
        BadRecord: missing, no text, empty, or with characters that no tokenizer or file takes.
    """
    if name not in row and not optional:
        has = ", ".join(map(str, row))[:200]
        raise BadRecord(where, f"field `{name}` is missing (has: {has or 'nothing'})")
    found = row.get(name)
    return whole_text("" if found is None and optional else found, name, where, blank=blank or optional)


def whole_text(value: Any, name: str, where: str, *, blank: bool = False) -> str:
    """A value that must be a text, without half characters and NUL.

    Raises:
        BadRecord: it is not.
    """
    if not isinstance(value, str):
        raise BadRecord(where, f"field `{name}` is not a text but {shown(value)}")
    if not value.isprintable():  # fast; a line break makes it look closer
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise BadRecord(
                where, f"field `{name}` holds half a character (a lone surrogate); repair or drop the record"
            )
        if "\0" in value:
            raise BadRecord(where, f"field `{name}` holds a NUL character; repair or drop the record")
    if not blank and not value.strip():
        raise BadRecord(where, f"field `{name}` is empty; fill it or remove the record")
    return value


def own_text(row: Row, name: str, where: str) -> str:
    """A text that a row may bring along, as its source; anything that is no text counts as absent."""
    found = row.get(name)
    return whole_text(found, name, where, blank=True) if isinstance(found, str) else ""


def language_code(given: str, row: Row, name: str, where: str) -> str:
    """FLORES code of a row: the one that the caller gave, else that of its own field `name`, else empty.

    Raises:
        BadRecord: the field names no language of the registry.
    """
    if given:
        return given
    named = own_text(row, name, where)
    if not named:
        return ""
    try:
        if len(named) > _LONGEST_NAME:
            raise UnknownLanguage("a text of that length is no language")
        return get(named).code
    except UnknownLanguage as error:
        raise BadRecord(where, f"field `{name}`: {error}; or say which language the file is in") from None


def digest(*texts: str) -> bytes:
    """Identity of some texts together."""
    return sha256(json.dumps(texts, ensure_ascii=False).encode("utf-8", "surrogatepass")).digest()


def shown(value: Any) -> str:
    """The start of a value, for a message."""
    return json.dumps(value, default=repr)[:40]
