"""Conversations as lists of turns, `{"role", "content"}` or ShareGPT's `{"from", "value"}`, against a record's texts.

A record holds one instruction and its answer. Of the 300 English pairs that LLaMA-Factory shows its form with, 106
have more turns before: they are written into the instruction, who speaks in front of each, so that what the answer
refers to stays with it, and only the last answer is learnt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xllms.formats.fields import as_row, shown, whole_text
from xllms.formats.json_file import BadRecord

_SPEAKERS = {
    "human": "Human", "user": "Human", "gpt": "Assistant", "assistant": "Assistant", "model": "Assistant",
    "chatgpt": "Assistant", "bing": "Assistant", "bard": "Assistant", "system": "System",
}  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """What one speaker says: `Human`, `Assistant` or `System`."""

    speaker: str
    text: str


def read_turns(value: Any, name: str, where: str, *, blank: bool = False) -> list[Turn]:
    """The turns of a conversation.

    Args:
        value: list of turns, or one turn.
        name: of the field, for messages.
        where: place of the row.
        blank: the last turn may be empty.

    Raises:
        BadRecord: no list of turns, an unknown speaker, or a turn without text.
    """
    listed = [value] if isinstance(value, dict) else value
    if not isinstance(listed, list) or not listed:
        raise BadRecord(where, f"field `{name}` is not a list of turns but {shown(value)}")
    return [_turn(one, name, where, blank and one is listed[-1]) for one in listed]


def _turn(value: Any, name: str, where: str, blank: bool) -> Turn:
    row = as_row(value, where, f"role and content in `{name}`")
    who, what = ("from", "value") if "from" in row else ("role", "content")
    speaker = _SPEAKERS.get(str(row.get(who)))
    if speaker is None:
        known = "human (user), gpt (assistant) and system"
        raise BadRecord(where, f"`{name}` has a turn of {shown(row.get(who))}; a record takes {known}")
    return Turn(speaker, whole_text(row.get(what), f"{name}.{what}", where, blank=blank or speaker == "System"))


def as_prompt(turns: Sequence[Turn], where: str) -> str:
    """The text of an instruction that asks what these turns ask.

    Raises:
        BadRecord: the last word is not the human's.
    """
    spoken = [turn for turn in turns if turn.speaker != "System"]
    if not spoken or spoken[-1].speaker != "Human":
        raise BadRecord(where, "the conversation has no question of the human before the answer")
    system = [turn.text for turn in turns if turn.speaker == "System" and turn.text.strip()]
    said = [f"{turn.speaker}: {turn.text}" for turn in spoken] if len(spoken) > 1 else [spoken[0].text]
    return "\n\n".join([*system, *said])


def split_answer(turns: Sequence[Turn], where: str) -> tuple[str, str]:
    """(prompt, last answer) of a whole conversation.

    Raises:
        BadRecord: it does not end with an answer.
    """
    if turns[-1].speaker != "Assistant":
        raise BadRecord(where, "the conversation does not end with an answer of the assistant")
    return as_prompt(turns[:-1], where), turns[-1].text


def joined(instruction: str, input: str) -> str:
    """Instruction and input as one text, as the chat template of `prompting` asks them."""
    return f"{instruction}\n\n{input}" if input else instruction


def messages(*turns: tuple[str, str]) -> list[dict[str, str]]:
    """(role, text) pairs as OpenAI's and TRL's messages."""
    return [{"role": role, "content": text} for role, text in turns]
