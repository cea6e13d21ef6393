"""Records as token sequences: encoded once, counted per language, never cut off in silence."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from xllms.packing.trie import TokenSequence, Trie
from xllms.prompting import PromptTemplate
from xllms.records import Instruction, Preference, Ranking

TooLong = Literal["drop", "truncate"]


@dataclass(frozen=True)
class Example:
    """One record as token sequences.

    Attributes:
        language: FLORES code of the response.
        sequences: one; or chosen and rejected; or all ranked answers, best first.
        reference: log-probability of each under the reference model, if known.
        fact: the same for one record in all its languages, if it has others.
        id: of the record, for messages.
    """

    language: str
    sequences: tuple[TokenSequence, ...]
    reference: tuple[float, ...] = ()
    fact: str = ""
    id: str = ""

    def with_reference(self, logprobs: Sequence[float]) -> "Example":
        """The same example with its reference log-probabilities."""
        return replace(self, reference=tuple(logprobs))

    @property
    def tokens(self) -> int:
        """Tokens of all its sequences."""
        return sum(map(len, self.sequences))

    @property
    def scored(self) -> int:
        """Scored tokens of all its sequences."""
        return sum(len(sequence.completion) for sequence in self.sequences)

    @cached_property
    def nodes(self) -> int:
        """Nodes of its own trie."""
        only, *others = self.sequences
        if not others:
            return len(only) - bool(only.completion)
        return len(Trie.build(self.sequences))


@dataclass
class Batch:
    """Examples laid out as one trie.

    Attributes:
        trie: all sequences, example by example.
        languages: of each of the B examples.
        counts: sequences of each example.
        reference: (number of sequences,) reference log-probabilities; empty without.
    """

    trie: Trie
    languages: list[str]
    counts: list[int]
    reference: Tensor

    def by_example(self, values: Tensor) -> tuple[Tensor, ...]:
        """(number of sequences,) values -> those of each example."""
        return torch.split(values, self.counts)

    @classmethod
    def collate(cls, examples: Sequence[Example]) -> "Batch":
        """Lay examples out."""
        return cls(
            Trie.build(sequence for example in examples for sequence in example.sequences),
            [example.language for example in examples],
            [len(example.sequences) for example in examples],
            torch.tensor([value for example in examples for value in example.reference], dtype=torch.float32),
        )


@dataclass(frozen=True)
class Encoded:
    """Examples that fit, and how many of each language did not."""

    examples: list[Example]
    too_long: dict[str, int] = field(default_factory=dict)

    def warning(self, stage: str, max_length: int, rule: TooLong) -> str | None:
        """What to say of those that were too long; None if there were none."""
        if not self.too_long:
            return None
        worst = sorted(self.too_long.items(), key=lambda item: (-item[1], item[0]))
        named = ", ".join(f"{code} {count}" for code, count in worst[:5])
        rest = f" and {len(worst) - 5} languages more" if len(worst) > 5 else ""
        done = "left out" if rule == "drop" else "cut off"
        total = sum(self.too_long.values())
        return f"{stage}: {total} records of over {max_length} tokens {done} ({named}{rest}); see {stage}.max_length"


def encode_instructions(
    records: Iterable[Instruction],
    template: PromptTemplate,
    max_length: int,
    too_long: TooLong = "drop",
    loss_on: Literal["completion", "all"] = "completion",
) -> Encoded:
    """Each record as one sequence.

    Args:
        records: to encode.
        template: turns text into ids.
        max_length: tokens of prompt and completion at most.
        too_long: `truncate` cuts completions off; where the prompt alone is too long, a record is dropped all the same.
        loss_on: `all` scores every token but the first.
    """
    scored = _whole if loss_on == "all" else None
    return _fitting(
        (Example(r.language, (template.sequence(r.instruction, r.input, r.output),), id=r.id) for r in records),
        max_length,
        too_long,
        scored,
    )


def encode_preferences(
    records: Iterable[Preference | Ranking], template: PromptTemplate, max_length: int, too_long: TooLong = "drop"
) -> Encoded:
    """Each record as its answers, best first; one with an answer over `max_length` is dropped, or that answer cut."""
    return _fitting(
        (
            Example(
                r.language,
                tuple(template.sequence(r.instruction, r.input, answer) for answer in r.answers),
                fact=r.parallel_id or f"{r.instruction}\n{r.input}",
                id=r.id,
            )
            for r in records
        ),
        max_length,
        too_long,
    )


def _fitting(
    examples: Iterable[Example],
    max_length: int,
    too_long: TooLong,
    change: Callable[[TokenSequence], TokenSequence] | None = None,
) -> Encoded:
    fitting: list[Example] = []
    over: Counter[str] = Counter()
    one_of_each: dict[int, int] = {}  # a tokenizer makes a new number for each token: 36 bytes instead of 8
    for example in examples:
        kept = replace(example, sequences=tuple(_with_shared_ids(s, one_of_each) for s in example.sequences))
        if max(map(len, example.sequences)) > max_length:
            over[example.language] += 1
            if too_long == "drop" or any(len(s.prompt) >= max_length for s in example.sequences):
                continue
            kept = replace(kept, sequences=tuple(_cut_off(s, max_length) for s in kept.sequences))
        if change is not None:
            kept = replace(kept, sequences=tuple(map(change, kept.sequences)))
        fitting.append(kept)
    return Encoded(fitting, dict(sorted(over.items())))


def _with_shared_ids(sequence: TokenSequence, known: dict[int, int]) -> TokenSequence:
    prompt, completion = (tuple(known.setdefault(i, i) for i in ids) for ids in (sequence.prompt, sequence.completion))
    return TokenSequence(prompt, completion)


def _cut_off(sequence: TokenSequence, max_length: int) -> TokenSequence:
    return TokenSequence(sequence.prompt, sequence.completion[: max_length - len(sequence.prompt)])


def _whole(sequence: TokenSequence) -> TokenSequence:
    """The first token, BOS as a rule, is all the context there is."""
    ids = sequence.prompt + sequence.completion
    return TokenSequence(ids[:1], ids[1:])
