"""The forms that instruction data come in, each with how a row becomes records and a record a row.

Forms that have room for it carry `id`, `language` and the rest of a record in further columns, which trainers ignore
and our readers take up again. The authors' Alpaca form has its three fields and nothing else.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xllms.errors import InputError
from xllms.formats.conversations import joined, messages, read_turns, split_answer
from xllms.formats.fields import Row, as_row, digest, language_code, own_text, text, whole_text
from xllms.formats.json_file import BadRecord
from xllms.records import Instruction, RecordT, parse_record

Texts = dict[str, str]
_TEXTS = ("instruction", "input", "output")
_ABOUT_FIELDS = tuple(name for name in Instruction.model_fields if name not in _TEXTS)
_REQUIRED = {name for name, field in Instruction.model_fields.items() if field.is_required()}


@dataclass(frozen=True)
class Given:
    """What the caller says about a file, as far as its rows do not: FLORES codes and a source, each may be empty."""

    language: str = ""
    instruction_language: str = ""
    source: str = ""


@dataclass(frozen=True)
class InstructionForm:
    """One form.

    Attributes:
        name: as `form=` takes it.
        keys: a row that has all of them is of this form.
        read: (row, where) -> texts of each record: instruction, input, output.
        write: record -> row; none where the form is only read.
    """

    name: str
    keys: frozenset[str]
    read: Callable[[Row, str], Iterator[Texts]]
    write: Callable[[Instruction], dict[str, Any]] | None = None

    def fits(self, row: Row) -> bool:
        """Whether a row looks like this form."""
        return self.keys <= row.keys() and (self.name != "xllms" or row.keys() <= Instruction.model_fields.keys())

    def records(self, value: Any, where: str, given: Given) -> Iterator[Instruction]:
        """The records of one row.

        Raises:
            BadRecord: the row lacks what a record needs; says which field.
        """
        row = as_row(value, where, ", ".join(sorted(self.keys)))
        if self.name == "xllms":
            yield own_record(row, Instruction, where)
            return
        several = list(self.read(row, where))
        for number, texts in enumerate(several):
            about = identity(row, where, given, self.name, tuple(texts.values()), str(number) if number else "")
            ours = {name: row[name] for name in _ABOUT_FIELDS if name in row} if is_ours(row) else {}
            yield own_record({"kind": own_text(row, "kind", where), **ours, **texts, **about}, Instruction, where)


def identity(row: Row, where: str, given: Given, form: str, texts: tuple[str, ...], part: str = "") -> Texts:
    """id, languages, source and parallel_id of a row: its own where it has them.

    Raises:
        BadRecord: no language is known.
    """
    language = language_code(given.language, row, "language", where)
    if not language:
        raise BadRecord(where, "the row names no `language`; say which one the file is in (`language=`)")
    asked_in = language_code(given.instruction_language, row, "instruction_language", where) or language
    source = given.source or own_text(row, "source", where).strip() or form
    named = row.get("id")
    own = str(named) if isinstance(named, int) else own_text(row, "id", where)
    parallel = own_text(row, "parallel_id", where)
    about = {"language": language, "instruction_language": asked_in, "source": source}
    if is_ours(row):
        return {**about, "id": own, "parallel_id": parallel}
    name = f"{source}:{own or digest(*texts).hex()[:16]}{part and '.' + part}"
    return {**about, "id": f"{name}:{language}", "parallel_id": parallel or name}


def is_ours(row: Row) -> bool:
    """Whether a row of another form carries our columns: we wrote it, and its identity is to be kept."""
    return isinstance(row.get("id"), str) and bool(row["id"]) and "parallel_id" in row


def own_record(row: Row, record_type: type[RecordT], where: str) -> RecordT:
    """A row that is a record of ours.

    Raises:
        BadRecord: a field is missing, unknown or of the wrong kind, or its language is none of the registry.
    """
    for name, value in row.items():
        if isinstance(value, str):
            whole_text(value, str(name), where, blank=True)
    try:
        record = parse_record(dict(row), record_type, where)
    except InputError as error:
        raise BadRecord(where, str(error).removeprefix(f"{where}: ")) from None
    for name in ("language", "instruction_language"):
        if row.get(name) and language_code("", row, name, where) != row[name]:
            raise BadRecord(where, f"field `{name}` is no FLORES code")
    return record


def detect(forms: Mapping[str, Any], value: Any, where: str) -> Any:
    """The form that a row is of.

    Raises:
        BadRecord: none; names those there are.
    """
    row = as_row(value, where, "the fields of a known form")
    found = next((form for form in forms.values() if form.fits(row)), None)
    if found is None:
        has = ", ".join(map(str, row))[:120]
        raise BadRecord(where, f"no known form (has: {has or 'nothing'}); there are {', '.join(forms)}")
    return found


def _read_alpaca(row: Row, where: str) -> Iterator[Texts]:
    yield {name: text(row, name, where, optional=name == "input") for name in _TEXTS}


def _read_self_instruct(row: Row, where: str) -> Iterator[Texts]:
    instruction = text(row, "instruction", where)
    instances = row.get("instances")
    if not isinstance(instances, list) or not instances:
        raise BadRecord(where, "field `instances` holds no instance")
    for number, value in enumerate(instances):
        place = f"{where}: instance {number}"
        one = as_row(value, place, "input and output")
        given = text(one, "input", place, optional=True)
        yield {"instruction": instruction, "input": given, "output": text(one, "output", place)}


def _read_conversation(field: str) -> Callable[[Row, str], Iterator[Texts]]:
    def read(row: Row, where: str) -> Iterator[Texts]:
        turns = read_turns(row.get(field), field, where)
        system = own_text(row, "system", where)  # ShareGPT has it beside the turns, too
        prompt, output = split_answer(turns, where)
        yield {"instruction": joined(system, prompt) if system.strip() else prompt, "input": "", "output": output}

    return read


def _read_trl(row: Row, where: str) -> Iterator[Texts]:
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, list):
        turns = [*read_turns(prompt, "prompt", where), *read_turns(completion, "completion", where)]
        asked, output = split_answer(turns, where)
    else:
        asked, output = text(row, "prompt", where), text(row, "completion", where)
    yield {"instruction": asked, "input": "", "output": output}


def _about(record: Instruction) -> dict[str, str]:
    return {name: getattr(record, name) for name in _ABOUT_FIELDS}


def _prompt(record: Instruction) -> str:
    return joined(record.instruction, record.input)


def _write_messages(record: Instruction) -> dict[str, Any]:
    return {"messages": messages(("user", _prompt(record)), ("assistant", record.output)), **_about(record)}


def _write_sharegpt(record: Instruction) -> dict[str, Any]:
    turns = [{"from": "human", "value": _prompt(record)}, {"from": "gpt", "value": record.output}]
    return {"conversations": turns, **_about(record)}


INSTRUCTION_FORMS: dict[str, InstructionForm] = {
    form.name: form
    for form in (
        InstructionForm("xllms", frozenset(_REQUIRED), _read_alpaca, lambda record: record.model_dump()),
        InstructionForm("self-instruct", frozenset({"instruction", "instances"}), _read_self_instruct),
        InstructionForm("sharegpt", frozenset({"conversations"}), _read_conversation("conversations"), _write_sharegpt),
        InstructionForm("messages", frozenset({"messages"}), _read_conversation("messages"), _write_messages),
        InstructionForm(
            "trl",
            frozenset({"prompt", "completion"}),
            _read_trl,
            lambda record: {"prompt": _prompt(record), "completion": record.output, **_about(record)},
        ),
        InstructionForm(
            "alpaca",
            frozenset({"instruction"}),
            _read_alpaca,
            lambda record: {name: getattr(record, name) for name in _TEXTS},
        ),
    )
}
