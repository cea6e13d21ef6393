"""Tokens of each language's texts: what a word costs, what the same sentence costs against English, what is cut off.

Texts are encoded in batches, a prompt that repeats in a batch once. Lengths are those that training sees: prompt in its
template, answer and its end (a test holds them to `PromptTemplate.sequence`).
"""

import itertools
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from xllms.errors import InputError
from xllms.languages import get
from xllms.prompting import PromptTemplate
from xllms.token_report.texts import Text

MAX_LENGTHS = (256, 512, 1024, 2048)
PERCENTILES = (50, 95, 99)
# They put no space between words; Tibetan marks syllables.
NO_SPACES = frozenset({"Hani", "Hans", "Hant", "Jpan", "Khmr", "Laoo", "Mymr", "Thai", "Tibt"})
_ENGLISH = "eng_Latn"
_BATCH = 4096


@dataclass(frozen=True)
class LanguageTokens:
    """One language's figures; what cannot be told is none.

    Attributes:
        code: FLORES code.
        name: in English.
        texts: how many were counted.
        fertility: tokens per word, or per character that is no space, as `unit` says.
        unit: `word`, or `character` in a script that writes without spaces.
        against_english: tokens over those of the English texts with the same parallel ids.
        parallel: how many texts that compares.
        bytes_per_token: of UTF-8.
        characters_per_token: Unicode code points.
        tokens_per_text: mean of the text alone, without prompt and end.
        lengths: percentile -> tokens of prompt, text and end together.
        cut: max_length -> share of texts that are longer.
        lost: max_length -> share of all tokens past it.
    """

    code: str
    name: str
    texts: int
    fertility: float
    unit: Literal["word", "character"]
    against_english: float | None
    parallel: int
    bytes_per_token: float
    characters_per_token: float
    tokens_per_text: float
    lengths: dict[int, int]
    cut: dict[int, float]
    lost: dict[int, float]


@dataclass(frozen=True)
class TokenReport:
    """All languages, the dearest first: by the ratio to English where there is one, else by tokens per text."""

    model: str
    template: str
    vocabulary: int
    max_lengths: tuple[int, ...]
    languages: tuple[LanguageTokens, ...]


@dataclass
class _Tally:
    lengths: "array[int]" = field(default_factory=lambda: array("I"))
    counts: Counter[str] = field(default_factory=Counter)
    parallel: dict[str, int] = field(default_factory=dict)

    def add(self, text: Text, tokens: int, length: int) -> None:
        written = text.completion
        words = written.split()
        self.lengths.append(length)
        self.counts["tokens"] += tokens
        self.counts["words"] += len(words)
        self.counts["letters"] += sum(map(len, words))
        self.counts["characters"] += len(written)
        self.counts["bytes"] += len(written.encode())
        if text.parallel_id:
            self.parallel.setdefault(text.parallel_id, tokens)


def token_report(
    texts: Iterable[Text],
    template: PromptTemplate,
    model: str = "",
    max_lengths: Sequence[int] = MAX_LENGTHS,
) -> TokenReport:
    """Count the tokens of texts.

    Args:
        texts: any number, in any order; taken in batches.
        template: tokenizer and prompt.
        model: its name, for the report.
        max_lengths: of prompt, text and end, to tell what each would cut off.

    Raises:
        InputError: no texts, or a max_length below 1.
    """
    wanted = tuple(sorted(set(max_lengths)))
    if wanted and wanted[0] < 1:
        raise InputError(f"max_length {wanted[0]}: must be 1 or more")
    tallies: dict[str, _Tally] = {}
    for text, tokens, length in _counted(texts, template):
        tallies.setdefault(text.language, _Tally()).add(text, tokens, length)
    if not tallies:
        raise InputError("no texts to count the tokens of")
    english = tallies[_ENGLISH].parallel if _ENGLISH in tallies else {}
    rows = [_figures(code, tally, english, wanted) for code, tally in tallies.items()]
    rows.sort(key=lambda row: (-(row.against_english or 0), -row.tokens_per_text, row.code))
    return TokenReport(model, template.kind, len(template.tokenizer), wanted, tuple(rows))


def _counted(texts: Iterable[Text], template: PromptTemplate) -> Iterator[tuple[Text, int, int]]:
    """(text, its tokens, those of prompt, text and end together)."""
    start = _start(template)
    waiting = iter(texts)
    while batch := list(itertools.islice(waiting, _BATCH)):
        asked = list(dict.fromkeys(text.prompt for text in batch if text.prompt is not None))
        prompts = _encoded(template, [template.text(*prompt) for prompt in asked])
        before = {
            prompt: len(ids) + (0 if ids[: len(start)] == start else len(start))
            for prompt, ids in zip(asked, prompts, strict=True)
        }
        for text, ids in zip(batch, _encoded(template, [text.completion for text in batch]), strict=True):
            ahead = len(start) if text.prompt is None else before[text.prompt]
            yield text, len(ids), ahead + len(ids) + 1


def _start(template: PromptTemplate) -> list[int]:
    """What stands in front of every prompt: BOS, where the tokenizer has it."""
    whole = template.plain_ids("x")
    return list(whole[: len(whole) - len(template.continuation_ids("x"))])


def _encoded(template: PromptTemplate, texts: list[str]) -> list[list[int]]:
    if not texts:
        return []
    encoded = template.tokenizer(texts, add_special_tokens=False, return_attention_mask=False)
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def _figures(code: str, tally: _Tally, english: dict[str, int], max_lengths: Sequence[int]) -> LanguageTokens:
    language, counts = get(code), tally.counts
    lengths = sorted(tally.lengths)
    total, tokens = sum(lengths), max(1, counts["tokens"])
    shared = tally.parallel.keys() & english.keys()
    in_english = sum(english[one] for one in shared)
    spaceless = language.script in NO_SPACES
    return LanguageTokens(
        code=code,
        name=language.name,
        texts=len(lengths),
        fertility=counts["tokens"] / max(1, counts["letters" if spaceless else "words"]),
        unit="character" if spaceless else "word",
        against_english=sum(tally.parallel[one] for one in shared) / in_english if in_english else None,
        parallel=len(shared),
        bytes_per_token=counts["bytes"] / tokens,
        characters_per_token=counts["characters"] / tokens,
        tokens_per_text=counts["tokens"] / len(lengths),
        lengths={share: _percentile(lengths, share) for share in PERCENTILES},
        cut={limit: sum(length > limit for length in lengths) / len(lengths) for limit in max_lengths},
        lost={limit: sum(max(0, length - limit) for length in lengths) / total for limit in max_lengths},
    )


def _percentile(ordered: Sequence[int], share: int) -> int:
    """Smallest length that `share` per cent of the texts do not exceed."""
    return ordered[-(-share * len(ordered) // 100) - 1]
