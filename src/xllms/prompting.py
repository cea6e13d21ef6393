"""The one place where a record becomes token ids, for training, alignment and inference alike.

The prompt and the completion are tokenized apart and joined by ids, never cut by string lengths: what the model is
asked at inference is, id for id, what it was trained to follow. BOS stands once, if the tokenizer has it; the end is
supervised.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xllms.errors import InputError
from xllms.manifest import fingerprint, read_json, write_atomic

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xllms.packing.trie import TokenSequence

# Stanford Alpaca's template (github.com/tatsu-lab/stanford_alpaca), with and without an input.
_ALPACA_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
_ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)
# Llama 3.2's template and others write today's date, so that an adapter would be asked otherwise tomorrow than it was
# trained today. Every prompt is of the day that Llama's template falls back to.
_ONE_DAY = "{%- macro strftime_now(format) %}26 Jul 2024{% endmacro %}"
_MARK = "\ue000answer\ue000"
TEMPLATE_FILE = "template.json"


def alpaca_prompt(instruction: str, input: str = "") -> str:
    """Instruction and input in Alpaca's template, as text: for models behind a server too, so it needs no torch."""
    # Not str.format: an instruction may hold braces of its own, and is put in last.
    template = _ALPACA_INPUT if input else _ALPACA
    head, _, tail = template.partition("{instruction}")
    return head + instruction + tail.replace("{input}", input)


def chat_message(instruction: str, input: str = "") -> str:
    """What the user says where the model has a chat template."""
    return f"{instruction}\n\n{input}" if input else instruction


class PromptTemplate:
    """Turns instruction, input and output into token ids.

    Args:
        tokenizer: of the model that will read the ids.
        kind: `alpaca`, or `chat` for the tokenizer's own chat template.

    Raises:
        InputError: the tokenizer has no EOS, or no chat template when that is asked for.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", kind: Literal["alpaca", "chat"]) -> None:
        if tokenizer.eos_token_id is None:
            raise InputError("the model's tokenizer has no end-of-sequence token; answers could never stop")
        if kind == "chat" and not tokenizer.chat_template:
            raise InputError("the model's tokenizer has no chat template; use `template: alpaca`")
        self.tokenizer = tokenizer
        self.kind = kind

    def text(self, instruction: str, input: str = "") -> str:
        """The prompt as text, for people to read; without BOS."""
        if self.kind == "chat":
            return self._rendered(self._messages(instruction, input), add_generation_prompt=True)
        return alpaca_prompt(instruction, input)

    def prompt_ids(self, instruction: str, input: str = "") -> tuple[int, ...]:
        """Ids that the model continues; BOS exactly once if its tokenizer uses one."""
        text = self.text(instruction, input)
        return self.plain_ids(text)

    def plain_ids(self, text: str) -> tuple[int, ...]:
        """Ids of a text without the template, BOS in front: what likelihood ranking conditions on."""
        ids = self.continuation_ids(text)
        return ids if not self._bos or ids[: len(self._bos)] == self._bos else self._bos + ids

    def continuation_ids(self, text: str) -> tuple[int, ...]:
        """Ids of a text that goes on from another."""
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def completion_ids(self, output: str) -> tuple[int, ...]:
        """Ids of an answer and of its end."""
        return (*self.continuation_ids(output), self.end_id)

    def sequence(self, instruction: str, input: str, output: str) -> "TokenSequence":
        """Prompt as context, answer and its end as what is scored."""
        from xllms.packing.trie import TokenSequence

        return TokenSequence(self.prompt_ids(instruction, input), self.completion_ids(output))

    def decode(self, ids: tuple[int, ...]) -> str:
        """The answer as text, without its end and surrounding space."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return frozenset({self.end_id, int(self.tokenizer.eos_token_id)})

    @cached_property
    def end_id(self) -> int:
        """What closes an answer: EOS, or the first token that the chat template puts after one."""
        if self.kind == "alpaca":
            return int(self.tokenizer.eos_token_id)
        messages = [*self._messages("?", ""), {"role": "assistant", "content": _MARK}]
        after = self._rendered(messages, add_generation_prompt=False).partition(_MARK)[2].strip()
        ids = self.tokenizer(after, add_special_tokens=False)["input_ids"]
        return int(ids[0]) if ids else int(self.tokenizer.eos_token_id)

    @cached_property
    def _bos(self) -> tuple[int, ...]:
        """What the tokenizer itself puts in front of a text."""
        bare = self.tokenizer("x", add_special_tokens=False)["input_ids"]
        full = self.tokenizer("x")["input_ids"]
        at = next((i for i in range(len(full)) if full[i : i + len(bare)] == bare), 0)
        return tuple(full[:at])

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the template: a fixed record as the ids that it becomes, and the texts behind it."""
        probe = [
            self.sequence("Name a colour.", "", "Blue."),
            self.sequence("Translate.", "Guten Tag", "Good day"),
        ]
        ids = [[*sequence.prompt, -1, *sequence.completion] for sequence in probe]
        return fingerprint({"kind": self.kind, "ids": ids})

    def save(self, folder: Path) -> None:
        """Store the template's name and fingerprint beside an adapter."""
        value = {"template": self.kind, "fingerprint": self.fingerprint}
        write_atomic(folder / TEMPLATE_FILE, json.dumps(value, indent=1) + "\n")

    def check(self, folder: Path) -> None:
        """Refuse to ask an adapter in another way than it was trained.

        Raises:
            InputError: the adapter's template differs; says which one to use.
        """
        stored = read_json(folder / TEMPLATE_FILE)
        if stored.get("fingerprint") == self.fingerprint:
            return
        if stored.get("template") != self.kind:
            hint = f"set `template: {stored.get('template')}` in the recipe"
        else:
            hint = "its tokenizer or chat template has changed since; use the model that it was trained on"
        raise InputError(f"{folder}: was trained with another prompt template; {hint}")

    def _rendered(self, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
        template = self.tokenizer.get_chat_template()
        return str(
            self.tokenizer.apply_chat_template(
                messages,
                chat_template=_ONE_DAY + template if "strftime_now" in template else template,
                add_generation_prompt=add_generation_prompt,
                tokenize=False,
            )
        )

    @staticmethod
    def _messages(instruction: str, input: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": chat_message(instruction, input)}]
