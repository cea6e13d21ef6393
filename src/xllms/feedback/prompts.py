"""Prompts of the user's own for this stage: files whose rows need no answer, joined over languages by `parallel_id`.

They are records of a type of their own (`Prompt`), which training does not take.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from xllms.errors import InputError
from xllms.formats.fields import Row, as_row, digest, language_code, own_text, shown, text
from xllms.formats.instruction_forms import Given
from xllms.formats.json_file import BadRecord, scan_values
from xllms.formats.parquet_file import scan_rows
from xllms.formats.reading import Reading, is_parquet, rows_to_records, said
from xllms.recipe.data import PromptFile
from xllms.records import Prompt
from xllms.splits import prompt_key

_FORM = "prompts"
_SHOWN = 3  # broken rows of a file that the manifest names


@dataclass(frozen=True)
class _PromptForm:
    """A row with an instruction, for `rows_to_records`; the file's columns by our names for them."""

    settings: PromptFile
    name: str = _FORM

    def records(self, value: Any, where: str, given: Given) -> Iterator[Prompt]:
        """The prompt of one row.

        Raises:
            BadRecord: it has no instruction, or a column is not there.
        """
        row = _renamed(as_row(value, where, "instruction"), self.settings.columns, where)
        language = language_code(given.language, row, "language", where)
        if not language:
            raise BadRecord(where, "the row names no `language`; set that of the file in `feedback.prompts_from`")
        asked_in = language_code(given.instruction_language, row, "instruction_language", where) or language
        asked, more = text(row, "instruction", where), text(row, "input", where, optional=True)
        parallel = _name(row, "parallel_id", where)
        parallel = parallel or f"{given.source}:{_name(row, 'id', where) or digest(asked, more).hex()[:16]}"
        yield Prompt(
            id=f"{parallel}:{language}" if asked_in == language else f"{parallel}:{asked_in}>{language}",
            instruction=asked,
            input=more,
            output=text(row, "output", where, optional=True).strip(),
            language=language,
            instruction_language=asked_in,
            source=own_text(row, "source", where) or given.source,
            kind=own_text(row, "kind", where),
            parallel_id=parallel,
        )


def read_prompts(
    files: Sequence[PromptFile], held_out: Set[str] = frozenset()
) -> tuple[dict[str, list[Prompt]], dict[str, Any]]:
    """All prompts by the language to answer in, in the files' order; and what was left out, by why.

    Of a prompt that stands twice, the row that has an answer is taken.

    Args:
        files: of the recipe.
        held_out: `splits.prompt_key` of what the evaluation asks: left out.

    Raises:
        InputError: a file cannot be read or holds nothing, a row is broken (without `skip_bad`), or two prompts that
            differ have one id.
    """
    taken: dict[str, Prompt] = {}
    left_out: Counter[str] = Counter()
    broken: dict[str, list[str]] = {}
    for settings in files:
        reading = _reading(settings)
        for prompt in reading:
            if prompt_key(prompt.instruction, prompt.input) in held_out:
                left_out["asked in the evaluation"] += 1
                continue
            before = taken.setdefault(prompt.id, prompt)
            if (before.instruction, before.input) != (prompt.instruction, prompt.input):
                raise InputError(
                    f"{settings.path}: two prompts that differ have the id {prompt.id}; give each its own `parallel_id`"
                )
            left_out["repeated"] += before is not prompt
            if prompt.output and not before.output:
                taken[prompt.id] = prompt
        left_out["broken"] += len(reading.skipped)
        if reading.skipped:
            broken[str(settings.path)] = [f"{where}: {reason}" for where, reason in reading.skipped[:_SHOWN]]
    by_language: dict[str, list[Prompt]] = {}
    for prompt in taken.values():
        by_language.setdefault(prompt.language, []).append(prompt)
    why: dict[str, Any] = {**+left_out, **({"broken rows": broken} if broken else {})}
    return {code: by_language[code] for code in sorted(by_language)}, why


def _reading(settings: PromptFile) -> Reading[Prompt]:
    rows = (scan_rows if is_parquet(settings.path) else scan_values)(settings.path)
    given = said(settings.language, settings.instruction_language, settings.path.stem)
    forms = {_FORM: _PromptForm(settings)}
    return rows_to_records(rows, str(settings.path), forms, _FORM, given, settings.skip_bad)


def _renamed(row: Row, columns: Mapping[Any, str], where: str) -> Row:
    absent = next((theirs for theirs in columns.values() if theirs not in row), None)
    if absent is not None:
        raise BadRecord(where, f"no column `{absent}` (has: {', '.join(map(str, row))[:200]})")
    return {**row, **{ours: row[theirs] for ours, theirs in columns.items()}}


def _name(row: Row, name: str, where: str) -> str:
    """A text or a whole number that names the row; pandas makes 3.0 of the 3 in a column where some have none (NaN).

    Raises:
        BadRecord: something else, which as no name would part this row from its parallels.
    """
    found = row.get(name)
    if isinstance(found, float):
        found = None if math.isnan(found) else int(found) if found.is_integer() else found
    if isinstance(found, bool) or not isinstance(found, int | str | None):
        raise BadRecord(where, f"field `{name}` is no name (a text or a whole number) but {shown(found)}")
    return str(found) if isinstance(found, int) else own_text(row, name, where).strip()
