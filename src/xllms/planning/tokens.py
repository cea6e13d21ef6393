"""How many tokens records are: with the model's tokenizer where it is at hand, else by bytes.

By bytes, a text is cut into pieces as long as a token of its language is on average, so that what shares its beginning
still does. `fertility.csv` has these lengths for two tokenizers, of 262,144 and of 49,152 tokens, measured on the 510
sentences of FLORES-200's dev set that were at hand: `xllms tokens flores.tsv --model gemma3-270m`, and SmolLM2-135M.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from xllms.planning.data import Item
from xllms.prompting import alpaca_prompt, chat_message
from xllms.records import Prompt

if TYPE_CHECKING:
    from xllms.prompting import PromptTemplate

Ids = tuple[Any, ...]
Sequences = tuple[tuple[Ids, Ids], ...]  # prompt and completion of each answer
_ENGLISH = "eng_Latn"
_LARGE = 100_000  # tokens of a vocabulary that was made for many languages
_FRAME = 12  # tokens that a chat template puts around a question
_END: Ids = (b"",)


@dataclass
class TokenCounter:
    """Turns records into token sequences, or what stands for them.

    Attributes:
        template: tokenizer and template; None: by bytes.
        kind: of the template.
        vocabulary: tokens of the model, where known: which of the measured tokenizers is nearer.
    """

    template: "PromptTemplate | None"
    kind: Literal["alpaca", "chat"]
    vocabulary: int
    _prompts: dict[tuple[str, str, str], Ids] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """How tokens are counted, in words."""
        if self.template is not None:
            return f"counted with the model's tokenizer ({len(self.template.tokenizer):,} tokens)"
        like = "Gemma-3's" if self._large else "SmolLM2's"
        return f"ASSUMED: the model's tokenizer is not at hand; by bytes, as {like} tokens are on FLORES-200"

    def sequences(self, item: Item) -> Sequences:
        """Prompt and completion of each answer."""
        answers = (item.output,) if isinstance(item, Prompt) else item.answers
        prompt = self.prompt(item.instruction, item.input, item.instruction_language)
        return tuple((prompt, self.completion(answer, item.language)) for answer in answers)

    def prompt(self, instruction: str, given: str, language: str = _ENGLISH) -> Ids:
        """A prompt in its template."""
        key = (instruction, given, language)
        if key not in self._prompts:
            self._prompts[key] = self._prompt(*key)
        return self._prompts[key]

    def plain(self, text: str, language: str) -> Ids:
        """A text without the template, as choices are ranked after."""
        return self.template.plain_ids(text) if self.template is not None else self._pieces(text, language)

    def completion(self, answer: str, language: str) -> Ids:
        """An answer and its end."""
        if self.template is not None:
            return self.template.completion_ids(answer)
        return (*self._pieces(answer, language), *_END)

    def against(self, code: str, other: str) -> float:
        """Tokens of a text in one language for each token of the same text in the other."""
        return _measured(code, self._large)[1] / _measured(other, self._large)[1]

    def _prompt(self, instruction: str, given: str, language: str) -> Ids:
        if self.template is not None:
            return self.template.prompt_ids(instruction, given)
        whole = alpaca_prompt(instruction, given) if self.kind == "alpaca" else chat_message(instruction, given)
        frame = _END if self.kind == "alpaca" else _END * _FRAME
        head = whole[: whole.find(instruction)]
        return (*frame, *self._pieces(head, _ENGLISH), *self._pieces(whole[len(head) :], language))

    def _pieces(self, text: str, language: str) -> Ids:
        data, length = text.encode("utf-8", "replace"), _measured(language, self._large)[0]
        cuts = [round(at * length) for at in range(int(len(data) / length) + 2)]
        return tuple(data[a:b] for a, b in pairwise(cuts) if data[a:b])

    @property
    def _large(self) -> bool:
        return self.vocabulary >= _LARGE


def nodes(sequences: Sequence[tuple[Ids, Ids]]) -> int:
    """Nodes of the trie of these sequences: a shared prefix counts once, a last token is predicted and not run."""
    paths = sorted(prompt + completion[:-1] for prompt, completion in sequences)
    shared = sum(_common(one, other) for one, other in pairwise(paths))
    return sum(map(len, paths)) - shared


def shared_prefix(one: tuple[Ids, Ids], other: tuple[Ids, Ids]) -> int:
    """Nodes that a sequence finds in the trie of another one."""
    return _common(one[0] + one[1][:-1], other[0] + other[1][:-1])


def _common(one: Ids, other: Ids) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@cache
def _table() -> dict[str, tuple[tuple[float, float], tuple[float, float]]]:
    """FLORES code -> for the small and the large vocabulary: bytes of a token, tokens of a text against English."""
    with files("xllms.planning").joinpath("fertility.csv").open(encoding="utf-8") as file:
        return {
            row["code"]: (
                (float(row["small_bytes"]), float(row["small_ratio"])),
                (float(row["large_bytes"]), float(row["large_ratio"])),
            )
            for row in csv.DictReader(file)
        }


@cache
def _measured(code: str, large: bool) -> tuple[float, float]:
    """Of a language that FLORES has not, the middle of those in its script, or of all."""
    table = _table()
    if code in table:
        return table[code][large]
    script = code.partition("_")[2]
    like = [row[large] for name, row in table.items() if name.endswith(script)] or [r[large] for r in table.values()]
    return median(row[0] for row in like), median(row[1] for row in like)
