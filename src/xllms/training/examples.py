"""Records as token sequences: encoded once, counted per language, never cut off in silence."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xllms.packing.trie import TokenSequence, Trie
from xllms.prompting import PromptTemplate
from xllms.records import Instruction, Preference


@dataclass(frozen=True, slots=True)
class Example:
    """One record as token sequences.

    Attributes:
        language: FLORES code of the response.
        sequences: one, or chosen and rejected.
        reference: log-probability of each under the reference model, if known.
        fact: the same for one record in all its languages, if it has others.
    """

    language: str
    sequences: tuple[TokenSequence, ...]
    reference: tuple[float, ...] = ()
    fact: str = ""

    def with_reference(self, logprobs: Sequence[float]) -> "Example":
        """The same example with its reference log-probabilities."""
        return replace(self, reference=tuple(logprobs))


@dataclass
class Batch:
    """Examples laid out as one trie.

    Attributes:
        trie: all sequences, example by example.
        languages: of each of the B examples.
        reference: (B, sequences per example) reference log-probabilities; (B, 0) without.
    """

    trie: Trie
    languages: list[str]
    reference: Tensor

    @classmethod
    def collate(cls, examples: Sequence[Example]) -> "Batch":
        """Lay a batch out; the trainer's collator."""
        return cls(
            Trie.build(sequence for example in examples for sequence in example.sequences),
            [example.language for example in examples],
            torch.tensor([example.reference for example in examples], dtype=torch.float32).view(len(examples), -1),
        )


@dataclass(frozen=True)
class Encoded:
    """Examples that fit, and how many of each language did not."""

    examples: list[Example]
    too_long: dict[str, int]


def encode_instructions(records: Iterable[Instruction], template: PromptTemplate, max_length: int) -> Encoded:
    """Each record as one sequence; those over `max_length` tokens are dropped and counted per language."""
    return _fitting(
        (Example(r.language, (template.sequence(r.instruction, r.input, r.output),)) for r in records),
        max_length,
    )


def encode_preferences(records: Iterable[Preference], template: PromptTemplate, max_length: int) -> Encoded:
    """Each record as (chosen, rejected); a pair of which one is over `max_length` tokens is dropped."""
    return _fitting(
        (
            Example(
                r.language,
                (
                    template.sequence(r.instruction, r.input, r.chosen),
                    template.sequence(r.instruction, r.input, r.rejected),
                ),
                fact=r.parallel_id or f"{r.instruction}\n{r.input}",
            )
            for r in records
        ),
        max_length,
    )


def _fitting(examples: Iterable[Example], max_length: int) -> Encoded:
    fitting: list[Example] = []
    too_long: Counter[str] = Counter()
    for example in examples:
        if max(map(len, example.sequences)) <= max_length:
            fitting.append(example)
        else:
            too_long[example.language] += 1
    return Encoded(fitting, dict(sorted(too_long.items())))
