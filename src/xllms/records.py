"""The records that cross between stages, and the JSONL files that carry them."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xllms.errors import InputError


class Record(BaseModel):
    """Base of all records: immutable, and a field that nobody declared is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_json(self) -> str:
        """One line of JSON; equal records give equal bytes."""
        return json.dumps(self.model_dump(exclude_defaults=False), ensure_ascii=False, sort_keys=False)


class Prompt(Record):
    """What a model is asked, in which language it is to answer, and the right answer where one is known."""

    id: str = Field(min_length=1)
    instruction: str = Field(min_length=1)
    input: str = ""
    output: str = Field(default="", description="the reference; empty where there is none")
    language: str = Field(description="FLORES-200 code of the response, such as swh_Latn")
    instruction_language: str = "eng_Latn"
    source: str = Field(description="where the record comes from, such as cldr or alpaca")
    kind: str = Field(default="", description="kind of task within the source, such as territory")
    parallel_id: str = Field(default="", description="the same for one record in all its languages")

    @property
    def one_line(self) -> bool:
        """A fact is one line: a model that goes on to invent further questions is judged by its answer alone."""
        return self.source == "cldr"


class Instruction(Prompt):
    """An instruction with the response that a model should learn to give: a prompt that has its answer."""

    output: str = Field(min_length=1)
    response: Literal["", "translated", "written", "kept"] = Field(
        default="", description="how a translated record came by its output: kept is the source's own, such as code"
    )
    made_by: str = Field(default="", description="translator, and who wrote the response")


class Preference(Record):
    """Two responses to one instruction, the better first, with why each stands where it does."""

    id: str = Field(min_length=1)
    instruction: str = Field(min_length=1)
    input: str = ""
    chosen: str = Field(min_length=1)
    rejected: str
    language: str = Field(description="FLORES-200 code of the response that was asked for")
    instruction_language: str = "eng_Latn"
    chosen_reason: str
    rejected_reason: str
    parallel_id: str = ""

    @property
    def answers(self) -> tuple[str, ...]:
        """Best first."""
        return self.chosen, self.rejected


class Ranking(Record):
    """All answers to one instruction, best first, with why each stands where it does: for the ranking loss."""

    id: str = Field(min_length=1)
    instruction: str = Field(min_length=1)
    input: str = ""
    answers: tuple[str, ...] = Field(min_length=2)
    reasons: tuple[str, ...] = ()
    language: str = Field(description="FLORES-200 code of the response that was asked for")
    instruction_language: str = "eng_Latn"
    parallel_id: str = ""


class Prediction(Record):
    """What one model answered to one item of a benchmark, and what was made of it."""

    id: str = Field(min_length=1)
    benchmark: str = Field(description="table of scores, such as xcopa.ranked")
    model: str
    language: str = Field(description="FLORES-200 code of the task's language, which the answer should be in")
    kind: str = ""
    prompt: str
    output: str = Field(description="as the model wrote it, or the choice that it ranks first")
    parsed: str | None = Field(default=None, description="the answer found in the output; None: there is none")
    reference: str
    source: str = Field(default="", description="what was to be translated or summarised")
    correct: bool
    verdict: str = Field(default="", description="right, wrong, undecided or empty: the language of the output")
    found_language: str | None = None
    scores: dict[str, float] = Field(default_factory=dict)


RecordT = TypeVar("RecordT", bound=Record)


def read_jsonl(path: Path, record_type: type[RecordT]) -> Iterator[RecordT]:
    """Read one record a line.

    Raises:
        InputError: the file is missing, or a line is no record; names the file, the line and the field.
    """
    for number, value in read_json_lines(path):
        yield parse_record(value, record_type, f"{path}:{number}")


def read_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line number, JSON value) for every line that is not blank.

    Raises:
        InputError: the file cannot be read or a line is not JSON; a cut-off last line is named as such.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    yield number, json.loads(line)
                except json.JSONDecodeError as error:
                    cut = "" if line.endswith("\n") else " (the file seems to be cut off here)"
                    raise InputError(f"{path}:{number}: not JSON: {error.msg}{cut}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def parse_record(value: Any, record_type: type[RecordT], where: str) -> RecordT:
    """Validate one JSON value; `where` is the `file:line` that an error names."""
    try:
        return record_type.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "record"
        message = "field is missing" if first["type"] == "missing" else first["msg"]
        raise InputError(f"{where}: {field}: {message} (a {record_type.__name__} record)") from None


def to_jsonl(records: Iterable[Record]) -> str:
    """The text of a JSONL file with these records."""
    return "".join(record.to_json() + "\n" for record in records)
