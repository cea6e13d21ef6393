"""Likelihood ranking: the log-probability of every choice of every question.

All questions are one trie: a premise is run once for its choices, a few-shot prefix once for all (`packing.chain`).

Token ids are those of lm-evaluation-harness (Gao et al. 2024), so numbers agree with its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from xllms.errors import InputError, XllmsError
from xllms.models import Loaded
from xllms.packing.chain import completion_logprobs
from xllms.packing.logprobs import base_model
from xllms.packing.trie import TokenSequence
from xllms.prompting import PromptTemplate

Question = tuple[str, Sequence[str]]
Normaliser = Literal["none", "tokens", "characters", "bytes"]

_DEFAULT_LENGTH = 2048


@dataclass(frozen=True)
class Ranked:
    """The choices of one question.

    Attributes:
        logprobs: of each choice, summed over its tokens.
        tokens: scored tokens of each choice.
        characters: of each choice, without the space that joins it to the context.
        bytes: of the same text in UTF-8.
        truncated: tokens cut off the left of the longest sequence, which the model's context could not hold.
    """

    logprobs: tuple[float, ...]
    tokens: tuple[int, ...]
    characters: tuple[int, ...]
    bytes: tuple[int, ...]
    truncated: int = 0

    def scores(self, normaliser: Normaliser = "none") -> tuple[float, ...]:
        """Log-probability of each choice, per token, character or byte if asked."""
        if normaliser == "none":
            return self.logprobs
        lengths = {"tokens": self.tokens, "characters": self.characters, "bytes": self.bytes}[normaliser]
        return tuple(logprob / length for logprob, length in zip(self.logprobs, lengths, strict=True))

    def best(self, normaliser: Normaliser = "none") -> int:
        """The choice with the highest score; a tie goes to the first."""
        scores = self.scores(normaliser)
        return scores.index(max(scores))


def rank(
    loaded: Loaded, questions: Sequence[Question], names: Sequence[str] = (), *, nodes: int | None = None
) -> list[Ranked]:
    """Score the choices of every question.

    Args:
        loaded: the model, on a trie or with padded rows.
        questions: (context, choices); a choice is the text that goes on from the context, a space in front included.
            Where the context is empty, the whole choice is scored after BOS.
        names: of the questions, for messages; none: their numbers, from 1.
        nodes: trie nodes (or padded tokens) in a batch; None for what suits the device.

    Returns:
        One for each question, in order.

    Raises:
        InputError: a question without choices, a choice without tokens of its own or longer than the model's context.
        XllmsError: a log-probability that is no finite number.
    """
    limit = context_length(loaded)
    names = names or [f"question {number}" for number in range(1, len(questions) + 1)]
    encoded = [_encode(loaded.template, *named, limit) for named in zip(questions, names, strict=True)]
    sequences = [sequence for item in encoded for sequence, _ in item]
    sums = iter(completion_logprobs(loaded.model, sequences, batching=loaded.batching, nodes=nodes))
    ranked = []
    for (_, choices), name, item in zip(questions, names, encoded, strict=True):
        logprobs = tuple(next(sums) for _ in item)
        _check(loaded, name, logprobs)
        bare = [choice.lstrip() or choice for choice in choices]
        ranked.append(
            Ranked(
                logprobs=logprobs,
                tokens=tuple(len(sequence.completion) for sequence, _ in item),
                characters=tuple(len(choice) for choice in bare),
                bytes=tuple(len(choice.encode()) for choice in bare),
                truncated=max(cut for _, cut in item),
            )
        )
    return ranked


def context_length(loaded: Loaded) -> int:
    """Tokens that the model reads at most, as lm-evaluation-harness takes them from its configuration."""
    config = base_model(loaded.model).config
    config = getattr(config, "text_config", None) or config
    for name in ("n_positions", "max_position_embeddings", "n_ctx"):
        if (length := getattr(config, name, None)) is not None:
            return int(length)
    length = loaded.template.tokenizer.model_max_length
    return int(length) if length < 1e9 else _DEFAULT_LENGTH


def pair_ids(template: PromptTemplate, context: str, choice: str) -> TokenSequence:
    """Context and choice as token ids.

    Both are encoded as one text, and the choice is what is left after as many ids as the context has alone: where the
    two melt into one token, the choice loses it. White space at the end of the context belongs to the choice.
    """
    bare = context.rstrip()
    prompt = template.plain_ids(bare) if context else ()
    if prompt:
        return TokenSequence(prompt, template.plain_ids(context + choice)[len(prompt) :])
    tokenizer = template.tokenizer
    first = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    ids = template.continuation_ids(context + choice)
    return TokenSequence((first,), ids[1:] if ids[:1] == (first,) else ids)


def _encode(template: PromptTemplate, question: Question, name: str, limit: int) -> list[tuple[TokenSequence, int]]:
    """Each choice's sequence, and how many tokens were cut off its left."""
    context, choices = question
    if not choices:
        raise InputError(f"{name}: has no choices to rank")
    encoded = []
    for choice in choices:
        sequence = pair_ids(template, context, choice)
        if not sequence.completion:
            raise InputError(f"{name}: choice {choice!r} adds no token to its context; nothing to score")
        if len(sequence.completion) > limit:
            raise InputError(f"{name}: a choice of {len(sequence.completion)} tokens; the model reads {limit}")
        cut = max(0, len(sequence) - limit - 1)  # the last token is only predicted
        encoded.append((TokenSequence(sequence.prompt[cut:], sequence.completion), cut))
    return encoded


def _check(loaded: Loaded, name: str, logprobs: Sequence[float]) -> None:
    if all(map(math.isfinite, logprobs)):
        return
    model = base_model(loaded.model).config._name_or_path or type(base_model(loaded.model)).__name__
    raise XllmsError(
        f"model {model}: {name}: log-probabilities {', '.join(f'{value:g}' for value in logprobs)}: no "
        "score can be made of these; the weights are damaged or overflow in this dtype (try model.dtype: float32)"
    )
