"""The forms that preference pairs come in, each with how a row becomes a record and a record a row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from xllms.formats.conversations import Turn, as_prompt, joined, messages, read_turns
from xllms.formats.fields import Row, as_row, own_text, text
from xllms.formats.instruction_forms import Given, Texts, identity, own_record
from xllms.formats.json_file import BadRecord
from xllms.records import Preference

CHOSEN_REASON, REJECTED_REASON = "preferred in the source", "not preferred in the source"
_ABOUT_FIELDS = ("id", "language", "instruction_language", "chosen_reason", "rejected_reason", "parallel_id")
_REQUIRED = {name for name, field in Preference.model_fields.items() if field.is_required()}


@dataclass(frozen=True)
class PreferenceForm:
    """One form.

    Attributes:
        name: as `form=` takes it.
        keys: a row that has all of them is of this form.
        read: (row, where) -> instruction, input, chosen, rejected.
        write: record -> row; none where the form is only read.
    """

    name: str
    keys: frozenset[str]
    read: Callable[[Row, str], Texts]
    write: Callable[[Preference], dict[str, Any]] | None = None

    def fits(self, row: Row) -> bool:
        """Whether a row looks like this form."""
        return self.keys <= row.keys() and (self.name != "xllms" or row.keys() <= Preference.model_fields.keys())

    def records(self, value: Any, where: str, given: Given) -> tuple[Preference]:
        """The record of one row.

        Raises:
            BadRecord: the row lacks what a record needs; says which field.
        """
        row = as_row(value, where, ", ".join(sorted(self.keys)))
        if self.name == "xllms":
            return (own_record(row, Preference, where),)
        texts = self.read(row, where)
        about = identity(row, where, given, self.name, tuple(texts.values()))
        del about["source"]
        why = {
            "chosen_reason": own_text(row, "chosen_reason", where) or CHOSEN_REASON,
            "rejected_reason": own_text(row, "rejected_reason", where) or REJECTED_REASON,
        }
        return (Preference(**texts, **about, **why),)


def _read_pair(chosen: str, rejected: str) -> Callable[[Row, str], Texts]:
    def read(row: Row, where: str) -> Texts:
        return {
            "instruction": text(row, "instruction", where),
            "input": text(row, "input", where, optional=True),
            "chosen": text(row, chosen, where),
            "rejected": text(row, rejected, where, blank=True),
        }

    return read


def _read_trl(row: Row, where: str) -> Texts:
    """TRL's explicit prompt as text or messages, or its implicit one: where both conversations begin alike."""
    if isinstance(row.get("chosen"), list):
        chosen = read_turns(row["chosen"], "chosen", where)
        rejected = read_turns(row.get("rejected"), "rejected", where, blank=True)
        if row.get("prompt") is None:
            return _texts(*_common_start(chosen, rejected), where)
        prompt = row["prompt"]
        asked = [Turn("Human", text(row, "prompt", where))] if isinstance(prompt, str) else []
        return _texts(asked or read_turns(prompt, "prompt", where), chosen, rejected, where)
    return {
        "instruction": text(row, "prompt", where),
        "input": "",
        "chosen": text(row, "chosen", where),
        "rejected": text(row, "rejected", where, blank=True),
    }


def _read_sharegpt(row: Row, where: str) -> Texts:
    """LLaMA-Factory's form: the conversation so far, and two turns that could follow."""
    turns = read_turns(row.get("conversations"), "conversations", where)
    system = own_text(row, "system", where)
    chosen = read_turns(row.get("chosen"), "chosen", where)
    rejected = read_turns(row.get("rejected"), "rejected", where, blank=True)
    return _texts([Turn("System", system), *turns], chosen, rejected, where)


def _common_start(chosen: list[Turn], rejected: list[Turn]) -> tuple[list[Turn], list[Turn], list[Turn]]:
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    return chosen[:shared], chosen[shared:], rejected[shared:]


def _texts(prompt: list[Turn], chosen: list[Turn], rejected: list[Turn], where: str) -> Texts:
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        if len(turns) != 1 or turns[0].speaker != "Assistant":
            raise BadRecord(where, f"field `{name}` is not one answer of the assistant after a shared prompt")
    asked = as_prompt(prompt, where)
    return {"instruction": asked, "input": "", "chosen": chosen[0].text, "rejected": rejected[0].text}


def _about(record: Preference) -> dict[str, str]:
    return {name: getattr(record, name) for name in _ABOUT_FIELDS}


def _write_authors(record: Preference) -> dict[str, Any]:
    return {
        "instruction": record.instruction,
        "input": record.input,
        "prefered_output": record.chosen,
        "rejected_output": record.rejected,
    }


def _write_trl(record: Preference) -> dict[str, Any]:
    asked = joined(record.instruction, record.input)
    return {"prompt": asked, "chosen": record.chosen, "rejected": record.rejected, **_about(record)}


def _write_messages(record: Preference) -> dict[str, Any]:
    return {
        "prompt": messages(("user", joined(record.instruction, record.input))),
        "chosen": messages(("assistant", record.chosen)),
        "rejected": messages(("assistant", record.rejected)),
        **_about(record),
    }


# In the order of detection. `trl` reads both of TRL's shapes; `messages` is how its second one is written.
PREFERENCE_FORMS: Mapping[str, PreferenceForm] = {
    form.name: form
    for form in (
        PreferenceForm("xllms", frozenset(_REQUIRED), _read_trl, lambda record: record.model_dump()),
        PreferenceForm(
            "authors",
            frozenset({"instruction", "prefered_output", "rejected_output"}),
            _read_pair("prefered_output", "rejected_output"),
            _write_authors,
        ),
        PreferenceForm("sharegpt", frozenset({"conversations", "chosen", "rejected"}), _read_sharegpt),
        PreferenceForm("alpaca", frozenset({"instruction", "chosen", "rejected"}), _read_pair("chosen", "rejected")),
        PreferenceForm("trl", frozenset({"chosen", "rejected"}), _read_trl, _write_trl),
        PreferenceForm("messages", frozenset({"prompt", "chosen", "rejected"}), _read_trl, _write_messages),
    )
}
