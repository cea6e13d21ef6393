"""Likelihood ranking: the log-probability of every choice of every question, through the token trie.

All questions are one trie: a premise is run once for its choices, a few-shot prefix once for all. It is run in batches
of bounded size, in the order of its sequences, and each batch goes on from the keys and values of the nodes that it
shares with the one before: however small the batches, no node is run twice. Only choices go through the output matrix,
and no logits matrix is made.

Token ids are those of lm-evaluation-harness (Gao et al. 2024), so numbers agree with its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from xllms.errors import InputError, XllmsError
from xllms.models import Loaded
from xllms.packing.attention import TreeAttention
from xllms.packing.branches import Branches
from xllms.packing.head import head_logprobs
from xllms.packing.logprobs import base_model, logit_bend, run_trie, token_logprobs
from xllms.packing.plan import Scoring
from xllms.packing.trie import TokenSequence, Trie
from xllms.prompting import PromptTemplate

Question = tuple[str, Sequence[str]]
Normaliser = Literal["none", "tokens", "characters", "bytes"]

_NODES = {"cpu": 1024, "cuda": 16384}
_WORTH = 8  # shared tokens; fewer are run again
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
    sums = iter(_sums(loaded, sequences, nodes))
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


@torch.inference_mode()
def _sums(loaded: Loaded, sequences: Sequence[TokenSequence], nodes: int | None) -> list[float]:
    """Summed log-probability of each completion, in order."""
    model = base_model(loaded.model)
    budget = nodes or _NODES.get(model.device.type, _NODES["cuda"])
    sums = [0.0] * len(sequences)
    batches = _padded_batches(sequences, budget) if loaded.batching == "padded" else _trie_batches(sequences, budget)
    passes = _Passes(model)
    for number, (members, _) in enumerate(batches):
        trie = Trie.build([sequences[index] for index in members])
        if loaded.batching == "padded":
            values = token_logprobs(loaded.model, trie, batching="padded")
        else:
            following = batches[number + 1][1] if number + 1 < len(batches) else 0
            values = passes.logprobs(trie, trie.paths[-1][:following])
        for index, total in zip(members, trie.sum_by_sequence(values.double()).tolist(), strict=True):
            sums[index] = total
    return sums


Batch = tuple[list[int], int]  # sequences, and how many nodes they share with the batch before


def _padded_batches(sequences: Sequence[TokenSequence], budget: int) -> list[Batch]:
    """Rows of like length, the longest first: what does not fit in memory fails at once."""
    batches: list[Batch] = []
    for index in sorted(range(len(sequences)), key=lambda index: -len(sequences[index])):
        members = batches[-1][0] if batches else []
        if not members or len(sequences[members[0]]) * (len(members) + 1) > budget:
            batches.append(([], 0))
        batches[-1][0].append(index)
    return batches


def _trie_batches(sequences: Sequence[TokenSequence], budget: int) -> list[Batch]:
    """Sharers side by side, cut wherever the budget is spent."""
    runs = [(sequence.prompt + sequence.completion)[:-1] for sequence in sequences]
    batches: list[Batch] = []
    room = 0
    before: tuple[int, ...] = ()
    for index in sorted(range(len(runs)), key=runs.__getitem__):
        shared = _common(before, runs[index])
        if not batches or len(runs[index]) - shared > max(room, 0):
            batches.append(([], shared if shared >= _WORTH else 0))
            room = budget - shared + batches[-1][1]
        batches[-1][0].append(index)
        room -= len(runs[index]) - shared
        before = runs[index]
    return batches


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


class _Passes:
    """Runs tries one after another, each from the nodes that the one before has kept for it."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.keep = torch.empty(0, dtype=torch.long, device=model.device)
        self.hidden = torch.empty(0, device=model.device)
        self.cache = Cache(layer_class_to_replicate=partial(_ChainLayer, self))

    def logprobs(self, trie: Trie, keep: Tensor) -> Tensor:
        """Log-probabilities of a trie's pairs.

        Args:
            trie: its first nodes are the ones that were kept.
            keep: nodes of one path from the root, for the next trie.
        """
        kept = len(self.keep)
        self.keep = keep.to(self.model.device)
        caching = {"past_key_values": self.cache, "use_cache": True} if kept or len(keep) else {}
        run = partial(_run_rest, kept=kept) if kept else run_trie
        hidden = run(self.model, trie, **caching).last_hidden_state[0]
        hidden = torch.cat([self.hidden.to(hidden.dtype), hidden]) if kept else hidden
        self.hidden = hidden[self.keep]
        scored, row = torch.unique(trie.node, return_inverse=True)
        return head_logprobs(
            self.model.get_output_embeddings(),
            hidden[scored.to(hidden.device)],
            row.to(hidden.device),
            trie.target.to(hidden.device),
            bend=logit_bend(self.model.config),
        )


class _ChainLayer(DynamicLayer):
    """One layer's keys and values of the kept nodes; those of a trie's other nodes go when the layer has run."""

    def __init__(self, passes: _Passes) -> None:
        super().__init__()
        self.passes = passes

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        keys, values = super().update(key_states, value_states, *args, **kwargs)
        self.keys, self.values = (tensor.index_select(2, self.passes.keep) for tensor in (keys, values))
        return keys, values


def _run_rest(model: Any, trie: Trie, *, kept: int, **caching: Any) -> Any:
    """As `run_trie`, for the nodes after the first `kept`, whose keys and values the cache holds."""
    decoder = getattr(model, model.base_model_prefix)
    with TreeAttention(model, _Rest(trie, kept)):
        return decoder(
            input_ids=trie.ids[None, kept:].to(model.device),
            position_ids=trie.depth[None, kept:].to(model.device),
            **caching,
        )


class _Rest:
    """The attention plan of a trie's nodes after the first `kept`: those are keys only, and stand last."""

    def __init__(self, trie: Trie, kept: int) -> None:
        self.kept = kept
        chunks = zip(trie.chunks, trie.chunk_path, strict=True)
        new = ((path, stop - max(start, kept)) for (start, stop), path in chunks)
        self.branches = Branches([((trie.paths[path] - kept) % len(trie), count) for path, count in new if count > 0])

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """As `Plan.attend`, over the keys of the kept nodes and the rest."""
        key, value = (torch.roll(tensor, -self.kept, dims=2) for tensor in (key, value))
        return self.branches.attend(query, key, value, scoring)
