"""Which prompts are answered side by side, and how many of them are read at a time: as many as memory allows.

Both are decided by the prompts and the machine's size, never by what happens to be free: the same call makes the same
batches, and so the same answers. What reading and keeping take is estimated from the configuration; on a CPU in
float32, prompts of 2,000 tokens took SmolLM2-135M 0.87 of the estimate, and of 1,500 tokens Gemma-3-270M 0.91.

Of 1,000 prompts of 20 to 2,000 tokens in batches of 64, a fifth of the columns is padding; sorted by their ids alone,
three quarters were.
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from xllms.packing.logprobs import base_model

Ids = tuple[int, ...]

_CPU_BYTES = 2 << 30
_READING = 4  # reading may take one part in four of the memory for keys and values
_LIKE = 1.25  # prompts whose lengths differ by less stand together by what they share, not by length


@dataclass(frozen=True)
class Costs:
    """Bytes that a model takes.

    Attributes:
        column: keys and values of one token of one answer.
        row: an answer's logits, and their copy where they are drawn from.
        node: of one token while it is read: activations of a layer, keys and values before they are dealt out.
        score: of one pair of tokens while they are read: what branches add to the scores of attention.
        weights: of the model.
    """

    column: int
    row: int
    node: int
    score: float
    weights: int

    @classmethod
    def of(cls, model: torch.nn.Module) -> "Costs":
        """From a model's configuration."""
        causal_lm = base_model(model)
        config, itemsize = causal_lm.config.get_text_config(), causal_lm.dtype.itemsize
        heads = int(config.num_attention_heads)
        key_heads = int(getattr(config, "num_key_value_heads", None) or heads)
        width = int(config.hidden_size)
        head = int(getattr(config, "head_dim", None) or width // heads)
        inner = int(getattr(config, "intermediate_size", None) or 4 * width)
        column = 2 * int(config.num_hidden_layers) * key_heads * head * itemsize
        layer = (6 * width + 3 * inner + 3 * heads * head + 10 * key_heads * head) * itemsize
        score = heads / key_heads * itemsize if causal_lm.device.type == "cpu" else 0.0
        weights = sum(int(p.numel() * p.element_size()) for p in causal_lm.parameters())
        return cls(column, 8 * int(config.vocab_size), column + layer, score, weights)


def device_bytes(model: torch.nn.Module, costs: Costs) -> int:
    """Memory for the keys and values of a batch: 2 GiB on a CPU, or an eighth of its memory where that is less; on a
    GPU half of what the model leaves of it (not measured)."""
    device = base_model(model).device
    if device.type == "cuda":
        total = int(torch.cuda.get_device_properties(device).total_memory)
        return max(total - costs.weights, total // 16) // 2
    if not hasattr(os, "sysconf"):  # Windows
        return _CPU_BYTES
    return min(_CPU_BYTES, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8)


def batches(prompts: Sequence[Ids], limit: int, size: int, costs: Costs, memory: int) -> Iterator[list[int]]:
    """Prompts in batches: those of like length together, and among these, those that share a beginning.

    A batch is padded to its longest prompt, and each step reads the padding, as it reads the weights: where the one
    comes to more than the other, a batch more costs less. One row is let through whatever it takes.

    Args:
        prompts: token ids.
        limit: tokens of an answer at most.
        size: rows of a batch at most.
        costs: of the model.
        memory: bytes for a batch.

    Yields:
        The prompts' numbers; each stands in one batch.
    """
    batch: list[int] = []
    longest = tokens = 0
    for number in sorted(range(len(prompts)), key=lambda i: (_length_class(prompts[i]), prompts[i])):
        length, rows = len(prompts[number]), len(batch) + 1
        longest, tokens = max(longest, length), tokens + length
        needed = rows * ((longest + limit) * costs.column + costs.row)
        padding = (rows * longest - tokens) * costs.column
        if batch and (rows > size or needed > memory or padding > costs.weights):
            yield batch
            batch, longest, tokens = [], length, length
        batch.append(number)
    if batch:
        yield batch


def reading_parts(prompts: Sequence[Ids], costs: Costs, memory: int) -> Iterator[range]:
    """Successive prompts of a batch whose tries fit into a part of `memory`; at least one each."""
    start, needed = 0, 0.0
    before: Ids = ()
    for row, prompt in enumerate(prompts):
        new = len(prompt) - (_shared(before, prompt) if row > start else 0)
        more = new * (costs.node + costs.score * len(prompt))
        if row > start and needed + more > memory / _READING:
            yield range(start, row)
            start, needed = row, 0.0
            more = len(prompt) * (costs.node + costs.score * len(prompt))
        needed += more
        before = prompt
    yield range(start, len(prompts))


def _length_class(prompt: Ids) -> int:
    return int(math.log(max(len(prompt), 1), _LIKE))


def _shared(one: Ids, other: Ids) -> int:
    """Tokens that both begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
