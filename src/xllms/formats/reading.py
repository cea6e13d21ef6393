"""From a file in one of the known forms to records, one at a time.

The container (JSON array, JSON lines, Parquet) is told by the file, the form by its first row that is of a known one.
Both are then expected of all rows: a row that lacks a field is named as that, not taken for another form.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from xllms.errors import InputError
from xllms.formats.instruction_forms import INSTRUCTION_FORMS, Given, detect
from xllms.formats.json_file import BadRecord, scan_values
from xllms.formats.parquet_file import scan_rows
from xllms.formats.preference_forms import PREFERENCE_FORMS
from xllms.languages import get
from xllms.records import Instruction, Preference, Record

T_co = TypeVar("T_co", bound=Record, covariant=True)
T = TypeVar("T", bound=Record)


class Form(Protocol[T_co]):
    """What instruction forms and preference forms have in common."""

    @property
    def name(self) -> str:
        """As `form=` takes it."""
        ...

    def records(self, value: Any, where: str, given: Given) -> Iterable[T_co]:
        """The records of one row."""
        ...


class Reading(Iterator[T], Generic[T]):
    """The records of a file, in order, and what was skipped on the way.

    Attributes:
        skipped: (file and line, reason) of each bad record passed over so far; empty unless they may be skipped.
    """

    def __init__(self, records: Callable[[list[tuple[str, str]]], Iterator[T]]) -> None:
        self.skipped: list[tuple[str, str]] = []
        self._records = records(self.skipped)

    def __next__(self) -> T:
        return next(self._records)


def read_instructions(
    path: Path,
    form: str = "auto",
    *,
    language: str = "",
    instruction_language: str = "",
    source: str = "",
    skip_bad: bool = False,
) -> Reading[Instruction]:
    """Read instruction data.

    Args:
        path: JSON, JSONL or Parquet.
        form: alpaca, self-instruct, sharegpt, trl, messages or xllms; auto looks.
        language: of the responses; not needed where each row has a field `language`, and stronger than it.
        instruction_language: likewise; if nothing says it, that of the response.
        source: kept in the records; if not given, the row's own, or the form's name.
        skip_bad: pass over what is broken instead of stopping there; see `Reading.skipped`.

    Raises:
        InputError: an unknown form or language at once; when iterated, a file that cannot be read or holds nothing, or
            a bad record, with file and line.
    """
    given = said(language, instruction_language, source)
    return rows_to_records(_rows(path), str(path), INSTRUCTION_FORMS, form, given, skip_bad)


def read_preferences(
    path: Path,
    form: str = "auto",
    *,
    language: str = "",
    instruction_language: str = "",
    skip_bad: bool = False,
) -> Reading[Preference]:
    """Read preference pairs.

    Args:
        path: JSON, JSONL or Parquet.
        form: authors (`prefered_output`, `rejected_output`), sharegpt (LLaMA-Factory), alpaca, trl (texts or messages)
            or xllms; auto looks.
        language: of the answers, as in `read_instructions`.
        instruction_language: likewise.
        skip_bad: likewise.

    Raises:
        InputError: as in `read_instructions`.
    """
    given = said(language, instruction_language, "")
    return rows_to_records(_rows(path), str(path), PREFERENCE_FORMS, form, given, skip_bad)


def rows_to_records(
    rows: Iterable[tuple[str, Any]],
    name: str,
    forms: Mapping[str, Form[T]],
    form: str,
    given: Given,
    skip_bad: bool,
) -> Reading[T]:
    """Records of (where, row) pairs; `name` is what they come from, for messages.

    Raises:
        InputError: an unknown form at once; the rest when iterated.
    """
    if form != "auto" and form not in forms:
        raise InputError(f"unknown form {form!r}; there are auto, {', '.join(forms)}")

    def records(skipped: list[tuple[str, str]]) -> Iterator[T]:
        chosen, found = forms.get(form), False
        for where, value in rows:
            found = True
            try:
                if isinstance(value, BadRecord):
                    raise value
                chosen = chosen or detect(forms, value, where)
                made = _made(chosen, value, where, given)
            except BadRecord as error:
                if not skip_bad:
                    raise
                skipped.append((error.where, error.reason))
                continue
            yield from made
        if not found:
            raise InputError(f"{name}: holds no records")

    return Reading(records)


def _made(form: Form[T], value: Any, where: str, given: Given) -> list[T]:
    try:
        return list(form.records(value, where, given))
    except RecursionError:
        raise BadRecord(where, "nested too deeply to be a record") from None


def said(language: str, instruction_language: str, source: str) -> Given:
    """What the caller says about a file, its languages by any of their names.

    Raises:
        UnknownLanguage: a name that is none.
    """
    code, asked_in = (get(name).code if name else "" for name in (language, instruction_language))
    return Given(code, asked_in, source)


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Rows of whichever container; opened when the first is asked for."""
    yield from (scan_rows if is_parquet(path) else scan_values)(path)


def is_parquet(path: Path) -> bool:
    """Whether the file is Parquet, by its first bytes, whatever its name.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
